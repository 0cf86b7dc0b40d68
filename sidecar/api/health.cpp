#include "health.h"

#include <nlohmann/json.hpp>

namespace byocd {

namespace {

using nlohmann::ordered_json;

ApiAnswer json_answer(int status, const ordered_json& document) {
  return {status, "application/json", document.dump(-1, ' ', false, ordered_json::error_handler_t::replace) + "\n"};
}

}  // namespace

ApiAnswer health_answer() {
  return json_answer(200, {{"status", "ok"}});
}

ApiAnswer readiness_answer(const Readiness& readiness) {
  const bool ready = readiness.can_claim && readiness.can_record && !readiness.draining;
  return json_answer(ready ? 200 : 503, {{"status", ready ? "ready" : "not ready"},
                                         {"dispatch_connection", readiness.can_claim},
                                         {"record_connection", readiness.can_record},
                                         {"draining", readiness.draining}});
}

ApiAnswer problem_answer(int status, const std::string& title, const std::string& detail) {
  auto answer =
      json_answer(status, {{"type", "about:blank"}, {"title", title}, {"status", status}, {"detail", detail}});
  answer.content_type = "application/problem+json";
  return answer;
}

}  // namespace byocd
