#include "health.h"

#include <nlohmann/json.hpp>

namespace byocd {

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

}  // namespace byocd
