/// Google's OAuth 2.0 endpoints for web applications
/// (https://developers.google.com/identity/protocols/oauth2/web-server): the consent page, the exchange of codes and
/// refresh tokens, revocation.
#pragma once

#include "google_identity.h"
#include "http.h"

namespace simulator {

inline constexpr std::string_view google_authorization_path = "/o/oauth2/v2/auth";
inline constexpr std::string_view google_token_path = "/token";
inline constexpr std::string_view google_revocation_path = "/revoke";

class google_oauth {
 public:
  explicit google_oauth(google_identity& identity) : identity_(identity) {}

  static bool has(std::string_view path) {
    return path == google_authorization_path || path == google_token_path || path == google_revocation_path;
  }
  answer handle(const request& asked);

 private:
  /// GET: the page that asks. POST, which the page's form makes: back to the client.
  answer authorize(const request& asked);
  answer token(const request& asked);
  answer revoke(const request& asked);

  google_identity& identity_;
};

}  // namespace simulator
