#include "message_log.h"

#include <fmt/format.h>

#include <iterator>

#include "text.h"

namespace simulator {
namespace {

void append_entry(std::string& out, std::size_t index, const std::string& account_sid, const message& subject,
                  timestamp when) {
  const auto state = state_at(subject, when);
  const auto add = [&](std::string_view before, std::string_view text) {
    out += before;
    append_json_string(out, text);
  };
  fmt::format_to(std::back_inserter(out), "{{\"index\":{}", index);
  add(",\"account_sid\":", account_sid);
  add(",\"sid\":", subject.sid_text());
  add(",\"to\":", subject.to);
  if (state.sender_is_known)
    add(",\"from\":", subject.from);
  else
    out += ",\"from\":null";
  add(",\"body\":", subject.body);
  add(",\"status\":", to_string(state.status));
  add(",\"received_at\":", iso8601(subject.received));
  if (subject.with_service)
    add(",\"messaging_service_sid\":", subject.messaging_service_sid);
  else
    out += ",\"messaging_service_sid\":null";
  if (subject.status_callback.empty())
    out += ",\"status_callback\":null";
  else
    add(",\"status_callback\":", subject.status_callback);
  fmt::format_to(std::back_inserter(out), ",\"num_segments\":{},\"error_code\":", subject.segments);
  out += state.error_code == 0 ? "null" : std::to_string(state.error_code);
  out.push_back('}');
}

}  // namespace

std::string message_log(const message_store& store, const log_filter& filter, timestamp when) {
  std::string out = "[";
  std::size_t count = 0;
  for (auto index = filter.since; index < store.size() && count < filter.limit; ++index) {
    const auto& subject = store[index];
    const auto& account_sid = store.account_sid(subject);
    if (!filter.account_sid.empty() && account_sid != filter.account_sid) continue;
    if (!filter.to.empty() && subject.to != filter.to) continue;
    if (count++ > 0) out += ",\n";
    append_entry(out, index, account_sid, subject, when);
  }
  out += "]\n";
  return out;
}

}  // namespace simulator
