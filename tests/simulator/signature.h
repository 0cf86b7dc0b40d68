/// Twilio's request signature (https://www.twilio.com/docs/usage/security#validating-requests).
#pragma once

#include <string>
#include <string_view>

#include "form.h"

namespace simulator {

/// The URL that is requested and signed: everything before `#`. The fragment holds Twilio's retry settings.
std::string_view without_fragment(std::string_view url);

/// The value of `X-Twilio-Signature`: base64(HMAC-SHA1(auth token, URL without fragment + POST fields sorted by name)).
/// `url` is the full public URL, query included. Never fails.
std::string twilio_signature(std::string_view auth_token, std::string_view url, const form& fields);

}  // namespace simulator
