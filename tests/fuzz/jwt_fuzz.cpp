// JSON Web Tokens from anywhere: none is accepted that the key did not sign. The same bytes as a key set: no crash.
#include "crypto/jwt.h"

#include <cstdlib>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace byoc;
  static const Jwks* const keys = [] {
    static Jwks set = {};
    // RFC 7515, A.3. The secret half is public knowledge, but no input of a search signs with it by chance.
    const auto problem = parse_jwks(
        R"({"keys":[{"kty":"EC","crv":"P-256","kid":"f","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]})",
        set);
    if (problem.error != JwksError::none) std::abort();
    return &set;
  }();
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  TenantContext context;
  if (verify_jwt(*keys, text, {}, context) == JwtError::none) std::abort();
  Jwks parsed = {};
  parse_jwks(text, parsed);
  release(parsed);
  return 0;
}
