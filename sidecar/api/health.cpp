#include "health.h"

#include <nlohmann/json.hpp>

namespace byocd {

ApiAnswer health_answer() {
  return json_answer(200, {{"status", "ok"}});
}

ApiAnswer readiness_answer(const Readiness& readiness) {
  const bool ready = readiness.database && readiness.api_version && readiness.adopted && readiness.keyring &&
                     readiness.can_claim && readiness.can_record && !readiness.draining;
  return json_answer(ready ? 200 : 503, {{"status", ready ? "ready" : "not ready"},
                                         {"database", readiness.database},
                                         {"api_version", readiness.api_version},
                                         {"adopted", readiness.adopted},
                                         {"keyring", readiness.keyring},
                                         {"dispatch_connection", readiness.can_claim},
                                         {"record_connection", readiness.can_record},
                                         {"draining", readiness.draining}});
}

}  // namespace byocd
