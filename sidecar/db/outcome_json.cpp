#include "outcome_json.h"

#include <nlohmann/json.hpp>

namespace byocd {

namespace {

using nlohmann::json;

json text_or_null(const std::optional<std::string>& text) {
  return text ? json(storable_text(*text)) : json(nullptr);
}
json number_or_null(const std::optional<int>& number) {
  return number ? json(*number) : json(nullptr);
}

json to_json(const JobOutcome& job) {
  const Outcome& outcome = job.outcome;
  json object{{"org_id", job.org_id},
              {"id", job.id},
              {"claim_id", job.claim->id},
              {"attempt", job.attempt},
              {"outcome", to_string(outcome.kind)},
              {"duration_ms", job.duration.count()}};
  if (outcome.kind == OutcomeKind::accepted) {
    object["provider_sid"] = text_or_null(outcome.provider_sid);
    object["provider_status"] = text_or_null(outcome.provider_status);
    object["from_number"] = text_or_null(outcome.from_number);
    object["segments"] = number_or_null(outcome.segments);
  } else {
    object["http_status"] = number_or_null(outcome.http_status);
    object["error_code"] = text_or_null(outcome.error_code);
    object["error_message"] = text_or_null(outcome.error_message);
    object["retry_ms"] = job.retry_delay.count();
  }
  if (job.last) object["last"] = true;
  return object;
}

}  // namespace

const char* to_string(OutcomeKind kind) {
  switch (kind) {
    case OutcomeKind::accepted:
      return "accepted";
    case OutcomeKind::rejected:
      return "rejected";
    case OutcomeKind::throttled:
      return "throttled";
    case OutcomeKind::unavailable:
      return "unavailable";
    case OutcomeKind::unknown:
      return "unknown";
    case OutcomeKind::returned:
      return "returned";
  }
  return "unknown";
}

std::string outcomes_to_json(const std::vector<JobOutcome>& outcomes) {
  json array = json::array();
  for (const auto& outcome : outcomes) array.push_back(to_json(outcome));
  return array.dump(-1, ' ', false, json::error_handler_t::replace);
}

std::string storable_text(std::string_view text, std::size_t max_bytes) {
  if (text.size() > max_bytes) {
    // Cut between characters: continuation bytes are 10xxxxxx.
    while (max_bytes > 0 && (static_cast<unsigned char>(text[max_bytes]) & 0xc0) == 0x80) --max_bytes;
    text = text.substr(0, max_bytes);
  }
  std::string clean(text);
  for (char& c : clean)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  return clean;
}

}  // namespace byocd
