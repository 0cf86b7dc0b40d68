// Session tokens from anywhere: none is accepted that this ring did not sign.
#include "crypto/session_token.h"

#include <cstdint>
#include <cstdlib>
#include <cstring>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace byoc;
  static const Keyring ring = [] {
    Keyring made = {};
    made.count = 1;
    std::strcpy(made.keys[0].id, "k-00000001");
    made.keys[0].active = true;
    std::memset(made.keys[0].bytes, 7, master_key_size);
    made.keys[0].bytes[0] = 1;
    return made;
  }();
  TenantContext context = {};
  if (read_session_token(ring, {reinterpret_cast<const char*>(data), size}, context) == TokenError::none) std::abort();
  return 0;
}
