// A browser's trip to an OAuth provider and back: what binds both ends together. Nothing of it is kept here.
#pragma once

#include <string>
#include <string_view>

#include "../secret.h"

namespace byocd {

/// Two random values (43 characters of base64url each): the state goes by the provider, the other one stays in the
/// browser's cookie. The database knows their hashes only.
struct OAuthTrip {
  std::string state;
  SecretString browser;
};

/// Throws std::runtime_error when the system has no randomness to give.
OAuthTrip new_oauth_trip();

/// Whether the text may be one of the two.
bool looks_like_trip(std::string_view text);

/// The PKCE verifier (RFC 7636): made of both, so that it need not be kept, and nobody has it who lacks the cookie.
SecretString code_verifier(const OAuthTrip& trip);

/// BASE64URL(SHA-256(verifier))
std::string code_challenge(const SecretString& verifier);

/// 32 bytes.
std::string sha256(std::string_view text);

/// The cookie of a trip, and the header Set-Cookie that sets it for ten minutes or takes it away. Unlike the session's
/// it comes along when another site leads here. `public_url` says whether it is for https only.
std::string trip_cookie_name(const std::string& public_url);
std::string trip_cookie(const SecretString& browser, const std::string& public_url);
std::string no_trip_cookie(const std::string& public_url);

}  // namespace byocd
