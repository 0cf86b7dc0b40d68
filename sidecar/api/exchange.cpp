#include "exchange.h"

#include <nlohmann/json.hpp>

#include "../json.h"

namespace byocd {

using nlohmann::ordered_json;

const std::string& ApiRequest::header(const std::string& name) const {
  static const std::string absent;
  const auto found = headers.find(name);
  return found == headers.end() ? absent : found->second;
}

ApiAnswer empty_answer() {
  return {204, "", "", {}, {}};
}

ApiAnswer json_answer(int status, const ordered_json& document) {
  return {status, "application/json", dump_json(document) + "\n", {}, {}};
}

ApiAnswer problem_answer(int status, const std::string& title, const std::string& detail) {
  auto answer =
      json_answer(status, {{"type", "about:blank"}, {"title", title}, {"status", status}, {"detail", detail}});
  answer.content_type = "application/problem+json";
  return answer;
}

}  // namespace byocd
