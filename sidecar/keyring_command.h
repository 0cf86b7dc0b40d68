// `byocd keyring`: makes and extends the file with the master keys.
#pragma once

#include <string>

namespace byocd {

/// Each answers an exit code and writes to standard output, or the problem to standard error. A key is never printed.
/// Makes a ring with one active key; refuses to overwrite. Mode 0600.
int keyring_generate(const std::string& path);
/// Adds a new active key; the one that was active becomes retired. The file is replaced by rename, so a reader sees
/// either the old ring or the new one; owner and mode stay.
int keyring_add(const std::string& path);
/// Prints id, state and date of each key.
int keyring_list(const std::string& path);

}  // namespace byocd
