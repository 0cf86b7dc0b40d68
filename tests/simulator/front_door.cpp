#include "front_door.h"

#include "twilio_errors.h"
#include "twilio_paths.h"

namespace simulator {

answer front_door::handle(const request& asked) {
  if (asked.path.starts_with(control_path)) {
    auto result = control_.handle(asked);
    result.is_control = true;
    return result;
  }
  ++stats_.requests;
  const auto* rule = faults_.empty() ? nullptr : faults_.strike(asked);
  answer result;
  if (rule == nullptr || is_processed(rule->action)) result = provider_answer(asked);
  if (rule != nullptr) {
    result = faulty_answer(*rule, std::move(result));
    ++stats_.faults[std::string(to_string(rule->action))];
  }
  result.delay = latency_.draw();
  return result;
}

answer front_door::provider_answer(const request& asked) {
  if (asked.path.starts_with("/2010-04-01/") || asked.path.starts_with(twilio_services_path))
    return twilio_.handle(asked);
  return to_answer(not_found_error(asked.path));
}

}  // namespace simulator
