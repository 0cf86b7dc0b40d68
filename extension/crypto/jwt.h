// JSON Web Tokens (RFC 7519) in compact JWS form (RFC 7515), verified against a key set: who a session acts for, as an
// identity provider or the application's own back end says.
//
// cjose checks signatures. What it leaves open is closed here: one algorithm a key, one spelling of each part, no
// "crit".
#pragma once

#include "jwks.h"
#include "session_token.h"

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace byoc {

constexpr std::size_t jwt_limit = 16 * 1024;  // characters
constexpr std::int64_t jwt_skew = 30;         // seconds that clocks may differ, for "exp" and "nbf"

enum class JwtError {
  none,
  too_large,  // over jwt_limit
  malformed,  // not three parts of base64url, header or claims no JSON object, a member twice or of the wrong type
  critical_header,  // the header asks for an extension ("crit"), and none is known here
  unknown_key,      // no key has its "kid"
  wrong_algorithm,  // not the one that the key is for; also "none"
  bad_signature,
  no_expiry,  // no "exp"
  expired,
  not_yet_valid,  // "nbf" lies ahead
  wrong_issuer,
  wrong_audience,
  bad_organization,  // the claim is missing or no uuid
  bad_user,          // "sub" is no text or over user_id_capacity
  bad_role,          // "org_role" is none of owner, admin, member
};

// What the claims must say. Empty text: not checked.
struct JwtRules {
  std::string_view issuer;
  std::string_view audience;
  // The organization's claim: the name of a member, else names separated by dots that lead into objects.
  std::string_view organization_claim = "org_id";
  std::int64_t now = 0;  // microseconds since 2000-01-01 UTC
};

// Checks form, algorithm and signature. Points `payload` into `buffer`.
JwtError verify_jws(const Jwks& keys, std::string_view token, std::uint8_t (&buffer)[jwt_limit],
                    std::string_view& payload, std::uint64_t& signer) noexcept;

// Verifies signature and claims and fills `context`, whose expiry is "exp" plus jwt_skew, bound to no backend.
JwtError verify_jwt(const Jwks& keys, std::string_view token, const JwtRules& rules, TenantContext& context) noexcept;

// For people, without anything that stood in the token: "its signature is wrong".
const char* describe(JwtError error) noexcept;

}  // namespace byoc
