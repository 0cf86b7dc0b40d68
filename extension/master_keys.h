// The master keys in force: read from byoc.keyring_file or byoc.keyring_command, kept in shared memory.
#pragma once

#include "shared_state.h"

namespace byoc {

// Reads the ring while the server starts. A problem is logged as a warning and kept, so that the server serves other
// databases and every use of a key fails with the reason.
void load_keyring_at_start(SharedState& state);

// Copies the ring to `copy`, which the caller cleanses, or raises the problem that was found when it was read.
void copy_keyring(Keyring& copy);

}  // namespace byoc
