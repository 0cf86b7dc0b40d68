/// Errors as Google's token endpoint and Calendar API answer them
/// (https://developers.google.com/workspace/calendar/api/guides/errors).
#pragma once

#include <string>
#include <string_view>

#include "http.h"

namespace simulator {

/// RFC 6749, section 5.2.
answer oauth_error(int status, std::string_view error, std::string_view description);

/// `{"error":{"errors":[{"domain","reason","message"}],"code","message"}}`.
answer calendar_error(int status, std::string_view reason, std::string_view message);

/// The document that Google sends along with `status` when it answers nothing better.
std::string google_error_body(int status);

}  // namespace simulator
