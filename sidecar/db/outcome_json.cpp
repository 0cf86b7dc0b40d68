#include "outcome_json.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <nlohmann/json.hpp>

#include "../json.h"

namespace byocd {

namespace {

using nlohmann::json;

bool is_plain_ascii(char c) {
  return c >= ' ' && c <= '~' && c != '"' && c != '\\';
}

// Nearly all text is plain ASCII; the library knows the rest.
void append_text(std::string& json_text, std::string_view text) {
  if (text.size() > longest_text || !std::all_of(text.begin(), text.end(), is_plain_ascii)) {
    json_text += dump_json(json(storable_text(text)));
    return;
  }
  json_text += '"';
  json_text += text;
  json_text += '"';
}

// Writes one object, member by member.
class ObjectWriter {
 public:
  explicit ObjectWriter(std::string& json_text) : json_text_(json_text) { json_text_ += '{'; }

  void text(std::string_view name, std::string_view value) {
    begin(name);
    append_text(json_text_, value);
  }
  void text_or_null(std::string_view name, const std::optional<std::string>& value) {
    value ? text(name, *value) : null(name);
  }
  void number(std::string_view name, std::int64_t value) {
    begin(name);
    const fmt::format_int digits(value);
    json_text_.append(digits.data(), digits.size());
  }
  void number_or_null(std::string_view name, std::optional<int> value) { value ? number(name, *value) : null(name); }
  void end() { json_text_ += '}'; }

 private:
  void begin(std::string_view name) {
    if (json_text_.back() != '{') json_text_ += ',';
    append_text(json_text_, name);
    json_text_ += ':';
  }
  void null(std::string_view name) {
    begin(name);
    json_text_ += "null";
  }

  std::string& json_text_;
};

void append(std::string& json_text, const JobOutcome& job) {
  const Outcome& outcome = job.outcome;
  ObjectWriter object(json_text);
  object.text("org_id", job.org_id);
  object.text("id", job.id);
  object.text("claim_id", job.claim->id);
  object.number("attempt", job.attempt);
  object.text("outcome", to_string(outcome.kind));
  object.number("duration_ms", job.duration.count());
  if (outcome.kind == OutcomeKind::accepted) {
    object.text_or_null("provider_sid", outcome.provider_sid);
    object.text_or_null("provider_status", outcome.provider_status);
    object.text_or_null("from_number", outcome.from_number);
    object.number_or_null("segments", outcome.segments);
  } else {
    object.number_or_null("http_status", outcome.http_status);
    object.text_or_null("error_code", outcome.error_code);
    object.text_or_null("error_message", outcome.error_message);
    object.number("retry_ms", job.retry_delay.count());
  }
  object.end();
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
  std::string json_text = "[";
  for (const auto& outcome : outcomes) {
    if (json_text.size() > 1) json_text += ',';
    append(json_text, outcome);
  }
  return json_text + ']';
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
