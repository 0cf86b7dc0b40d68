// JSON Web Tokens from anywhere: none is accepted that the key did not sign. The same bytes as header (first line) and
// claims (the rest) of a token that is signed: what is accepted makes sense. The same bytes as a key set: no crash.
#include "crypto/jwt.h"

#include "support/token_maker.h"

#include <algorithm>
#include <cstdint>
#include <cstdlib>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace byoc;
  static const std::string secret(32, 's');
  static const Jwks* const keys = [] {
    static Jwks set = {};
    // RFC 7515, A.3. The secret half is public knowledge, but no input of a search signs with it by chance.
    const auto problem = parse_jwks(
        R"({"keys":[{"kty":"EC","crv":"P-256","kid":"f","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"},)" +
            secret_jwk(secret, R"(,"kid":"s")") + "]}",
        set);
    if (problem.error != JwksError::none) std::abort();
    return &set;
  }();
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  TenantContext context;
  if (verify_jwt(*keys, text, {}, context) == JwtError::none) std::abort();

  JwtRules rules;
  rules.audience = "app";
  rules.organization_claim = "app.org_id";
  const std::size_t header_size = std::min(text.find('\n'), size);
  const std::string_view claims = text.substr(std::min(header_size + 1, size));
  std::string token = signing_input(std::string(text.substr(0, header_size)), std::string(claims));
  token += '.' + base64url(hmac(EVP_sha256(), secret, token));
  if (verify_jwt(*keys, token, rules, context) == JwtError::none &&
      (context.expires_at <= rules.now || context.user_id_size > user_id_capacity ||
       context.user_id[context.user_id_size] != '\0' || context.role > OrganizationRole::owner)) {
    std::abort();
  }

  Jwks parsed = {};
  parse_jwks(text, parsed);
  release(parsed);
  return 0;
}
