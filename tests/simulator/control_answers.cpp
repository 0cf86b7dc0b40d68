#include "control_answers.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

namespace simulator {

using nlohmann::json;

answer json_answer(const json& document, int status) {
  answer result;
  result.status = status;
  result.body = document.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
  return result;
}

answer refused(int status, std::string_view sentence) {
  return json_answer({{"error", sentence}}, status);
}

answer wrong_method(const request& asked) {
  return refused(405, fmt::format("{} does not take {}", asked.path, asked.method));
}

}  // namespace simulator
