// Twilio's signature of its requests to us (https://www.twilio.com/docs/usage/security#validating-requests).
#pragma once

#include <string_view>

namespace byocd {

/// A request as it came, with the address that Twilio was given for it.
struct SignedRequest {
  /// The public URL with path and query, without fragment. Never made from the Host header.
  std::string_view url;
  std::string_view content_type;
  std::string_view body;
  /// The header X-Twilio-Signature.
  std::string_view signature;
};

/// Whether the account with this auth token signed the request. A form's fields are part of what is signed; any other
/// body is by its SHA-256, which the query then holds as `bodySHA256`. A port in the URL may or may not have been
/// signed.
bool is_signed_by(std::string_view auth_token, const SignedRequest& request);

}  // namespace byocd
