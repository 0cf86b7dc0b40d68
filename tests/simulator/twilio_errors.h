/// Errors as Twilio's REST API answers them (https://www.twilio.com/docs/api/errors).
#pragma once

#include <string>
#include <string_view>

#include "http.h"

namespace simulator {

struct twilio_error {
  int status;  // HTTP
  int code;    // Twilio's
  std::string message;
};

/// Twilio's answer to credentials that do not hold for what was asked.
twilio_error authentication_error();

/// Twilio's answer to a resource that does not exist.
twilio_error not_found_error(std::string_view path);

/// What Twilio says in `error_message` of a message that ended with `code`; empty when unknown.
std::string_view delivery_error_text(int code);

/// The JSON answer: `{"code":…,"message":…,"more_info":…,"status":…}`.
answer to_answer(const twilio_error& error);

}  // namespace simulator
