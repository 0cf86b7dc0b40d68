#include "twilio_messages.h"

#include <fmt/format.h>

#include <iterator>

#include "list_page.h"
#include "send_rules.h"
#include "text.h"

namespace simulator {
namespace {

// What Twilio puts before the text of a trial account's messages.
constexpr std::string_view trial_notice = "Sent from your Twilio trial account - ";

/// A PageToken is a letter for the direction, then the SID that the page is next to.
constexpr std::string_view after_token = "PA";
constexpr std::string_view before_token = "PB";

/// Formats the seconds of a burst once: RFC 2822 dates have no fraction, and two of them are in every answer.
const std::string& date_text(timestamp when) {
  static std::chrono::sys_seconds cached{};
  static std::string text = rfc2822(cached);
  const auto seconds = std::chrono::floor<std::chrono::seconds>(when);
  if (seconds != cached) {
    cached = seconds;
    text = rfc2822(seconds);
  }
  return text;
}

message new_message(const account& sender, const form& fields, const delivery_settings& delivery) {
  message result;
  result.received = now();
  result.to = fields.get("To");
  result.from = fields.get("From");
  if (sender.is_trial() && sender.trial_prefix) result.body = trial_notice;
  result.body += fields.get("Body");
  result.status_callback = fields.get("StatusCallback");
  result.messaging_service_sid = fields.get("MessagingServiceSid");
  result.with_service = !result.messaging_service_sid.empty();
  if (result.with_service && result.from.empty()) {
    result.from = service_sender(sender, *sender.find_service(result.messaging_service_sid));
  }
  result.segments = static_cast<std::uint16_t>(count_segments(result.body));
  result.moves = plan_course(delivery, result.to, result.with_service);
  return result;
}

}  // namespace

std::string message_resource(std::string_view account_sid, const message& subject, timestamp when, bool redact_body) {
  const auto state = state_at(subject, when);
  std::string out;
  out.reserve(subject.body.size() + 1024);
  const auto add = [&](std::string_view before, std::string_view text) {
    out += before;
    append_json_string(out, text);
  };
  const auto add_or_null = [&](std::string_view before, std::string_view text, bool present) {
    if (present)
      add(before, text);
    else
      out.append(before).append("null");
  };
  const auto sid = subject.sid_text();
  add("{\"sid\":", sid);
  add(",\"account_sid\":", account_sid);
  add_or_null(",\"messaging_service_sid\":", subject.messaging_service_sid, subject.with_service);
  add(",\"to\":", subject.to);
  add_or_null(",\"from\":", subject.from, state.sender_is_known);
  add(",\"body\":", redact_body ? std::string_view() : std::string_view(subject.body));
  add(",\"status\":", to_string(state.status));
  fmt::format_to(std::back_inserter(out),
                 R"(,"num_segments":"{}","num_media":"0","direction":"outbound-api","api_version":"2010-04-01")",
                 state.sender_is_known ? subject.segments : 0);
  add(R"(,"price":null,"price_unit":"USD","date_created":)", date_text(subject.received));
  add(",\"date_updated\":", date_text(state.updated));
  add_or_null(",\"date_sent\":", state.sent ? std::string_view(date_text(*state.sent)) : std::string_view(),
              state.sent.has_value());
  if (state.error_code == 0) {
    out += R"(,"error_code":null,"error_message":null)";
  } else {
    const auto text = delivery_error_text(state.error_code);
    fmt::format_to(std::back_inserter(out), ",\"error_code\":{}", state.error_code);
    add_or_null(",\"error_message\":", text, !text.empty());
  }
  fmt::format_to(std::back_inserter(out),
                 R"(,"uri":"/2010-04-01/Accounts/{0}/Messages/{1}.json","subresource_uris":)"
                 R"({{"media":"/2010-04-01/Accounts/{0}/Messages/{1}/Media.json"}}}})",
                 account_sid, sid);
  return out;
}

std::optional<message_filter> message_filter_from(const form& query) {
  using std::chrono::days;
  using std::chrono::floor;
  using std::chrono::microseconds;
  message_filter result;
  for (const auto& [name, value] : query.fields()) {
    if (name == "To") result.to = value;
    if (name == "From") result.from = value;
    if (!name.starts_with("DateSent")) continue;
    const auto date = parse_date(value);
    if (!date) return std::nullopt;
    const timestamp day = floor<days>(date->instant);
    const auto relation = std::string_view(name).substr(8);
    if (relation.empty()) {
      result.sent_from = day;
      result.sent_until = day + days(1);
    } else if (relation == ">" || relation == ">=") {
      result.sent_from = date->instant;
    } else if (relation == "<" || relation == "<=") {
      result.sent_until = date->whole_day ? day + days(1) : date->instant + microseconds(1);
    }
  }
  return result;
}

answer twilio_messages::create(const account& sender, const request& asked) {
  const auto fields = form::parse(asked.body);
  if (const auto error = refusal(sender, fields)) return to_answer(*error);
  const auto& stored = store_.add(sender.sid, new_message(sender, fields, delivery_));
  ++stats_.accepted;
  if (!stats_.first_accepted) stats_.first_accepted = stored.received;
  stats_.last_accepted = stored.received;
  if (!stored.status_callback.empty()) on_callback_wanted_(stored);
  answer result;
  result.status = 201;
  // A create always answers the first status, even if the delays are so short that the message has moved on.
  result.body = message_resource(sender.sid, stored, stored.received - std::chrono::microseconds(1));
  return result;
}

answer twilio_messages::list(const account& owner, const request& asked) const {
  const auto query = form::parse(asked.query);
  auto filter = message_filter_from(query);
  auto position = requested_page(query);
  if (!filter || !position)
    return to_answer({400, 20001, "DateSent must be YYYY-MM-DD; Page and PageSize must be numbers."});
  page_request wanted{position->page, position->page_size, {}, {}};
  const auto token = query.get("PageToken");
  if (token.starts_with(after_token))
    wanted.after = token.substr(2);
  else if (token.starts_with(before_token))
    wanted.before = token.substr(2);
  else if (!token.empty())
    return to_answer({400, 20001, "PageToken was not given by a previous page."});
  const auto when = now();
  filter->sent_only = lists_.date_filters_skip_unsent;
  filter->created_until = when - lists_.delay;
  const auto found = store_.list(owner.sid, *filter, wanted, when);
  if (!found) return to_answer({400, 20001, "PageToken was not given by a previous page."});
  position->has_next = found->has_more;
  std::vector<std::string> items;
  for (const auto* each : found->messages)
    items.push_back(message_resource(owner.sid, *each, when, lists_.redact_bodies));
  if (!found->messages.empty()) {
    position->next_token.append(after_token).append(found->messages.back()->sid_text());
    position->previous_token.append(before_token).append(found->messages.front()->sid_text());
  }
  answer result;
  result.body = list_envelope(asked.path, query, "messages", items, *position);
  return result;
}

answer twilio_messages::fetch(const account& owner, std::string_view sid, const request& asked) const {
  const auto* found = store_.find(owner.sid, sid);
  if (found == nullptr) return to_answer(not_found_error(asked.path));
  answer result;
  result.body = message_resource(owner.sid, *found, now(), lists_.redact_bodies);
  return result;
}

}  // namespace simulator
