#include "statistics_json.h"

#include <nlohmann/json.hpp>

namespace simulator {

nlohmann::json to_json(const statistics& stats) {
  auto rejected = nlohmann::json::object();
  for (const auto& [code, count] : stats.rejected) rejected[std::to_string(code)] = count;
  const auto date = [](const std::optional<timestamp>& when) {
    return when ? nlohmann::json(iso8601(*when)) : nlohmann::json();
  };
  nlohmann::json rate;
  if (stats.accepted > 1 && *stats.last_accepted > *stats.first_accepted) {
    const std::chrono::duration<double> span = *stats.last_accepted - *stats.first_accepted;
    rate = static_cast<double>(stats.accepted - 1) / span.count();
  }
  return {{"requests", stats.requests},
          {"accepted", stats.accepted},
          {"rejected", rejected},
          {"faults", stats.faults},
          {"connections", stats.connections},
          {"in_flight", stats.in_flight},
          {"max_in_flight", stats.max_in_flight},
          {"first_accepted_at", date(stats.first_accepted)},
          {"last_accepted_at", date(stats.last_accepted)},
          {"accepted_per_second", rate},
          {"callbacks",
           {{"posted", stats.callbacks.posted},
            {"succeeded", stats.callbacks.succeeded},
            {"failed", stats.callbacks.failed},
            {"dropped", stats.callbacks.dropped}}}};
}

}  // namespace simulator
