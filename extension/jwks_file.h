// The keys of byoc.jwks_file, read when a backend first needs them and again after each reload of the configuration.
#pragma once

#include "crypto/jwks.h"

namespace byoc {

// The key set as of the last reload. Null when there is none that can be used: `problem` says why, with the file's
// name. It stays valid until the next call.
const Jwks* current_jwks(const char** problem);

// True while the key that signed a context's token (TenantContext::signer) is in the key set. Raises F0000 when the
// file cannot be used. Costs two comparisons except after a reload.
bool is_signer_trusted(std::uint64_t signer);

}  // namespace byoc
