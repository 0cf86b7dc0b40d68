#include "front_door.h"

#include "google_errors.h"
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
    if (asked.path.starts_with(google_calendar_path) && answers_error(rule->action) && !rule->body)
      result.body = google_error_body(rule->http_status);
    ++stats_.faults[std::string(to_string(rule->action))];
  }
  result.delay = latency_.draw();
  return result;
}

answer front_door::provider_answer(const request& asked) {
  if (asked.path.starts_with("/2010-04-01/") || asked.path.starts_with(twilio_services_path))
    return providers_.twilio.handle(asked);
  if (google_oauth::has(asked.path)) return providers_.google_identity.handle(asked);
  if (asked.path.starts_with(google_calendar_path)) return providers_.google_calendar.handle(asked);
  if (stripe_api::has(asked.path)) return providers_.stripe.handle(asked);
  return to_answer(not_found_error(asked.path));
}

}  // namespace simulator
