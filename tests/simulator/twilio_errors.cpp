#include "twilio_errors.h"

#include <fmt/format.h>

#include <iterator>

#include "text.h"

namespace simulator {

twilio_error authentication_error() {
  return {401, 20003, "Authenticate"};
}

twilio_error not_found_error(std::string_view path) {
  return {404, 20404, fmt::format("The requested resource {} was not found", path)};
}

std::string_view delivery_error_text(int code) {
  switch (code) {
    case 30001:
      return "Queue overflow";
    case 30002:
      return "Account suspended";
    case 30003:
      return "Unreachable destination handset";
    case 30004:
      return "Message blocked";
    case 30005:
      return "Unknown destination handset";
    case 30006:
      return "Landline or unreachable carrier";
    case 30007:
      return "Message filtered";
    case 30008:
      return "Unknown error";
    case 30034:
      return "Message from an Unregistered Number";
    case 30410:
      return "Provider timeout error";
    default:
      return {};
  }
}

answer to_answer(const twilio_error& error) {
  answer result;
  result.status = error.status;
  result.challenge = error.status == 401;
  result.body = fmt::format(R"({{"code":{},"message":)", error.code);
  append_json_string(result.body, error.message);
  fmt::format_to(std::back_inserter(result.body),
                 R"(,"more_info":"https://www.twilio.com/docs/errors/{}","status":{}}})", error.code, error.status);
  return result;
}

}  // namespace simulator
