#include "control_api.h"

#include <fmt/format.h>

#include <charconv>
#include <nlohmann/json.hpp>

#include "account_json.h"
#include "control_answers.h"
#include "form.h"
#include "json_fields.h"
#include "knobs_json.h"
#include "message_log.h"
#include "statistics_json.h"

namespace simulator {
namespace {

/// A setting that is read, replaced, or put back to its default.
template <typename Settings, typename Parse>
answer setting(const request& asked, Settings& current, Parse parse) {
  if (asked.method == "PUT" || asked.method == "POST")
    current = parse(parse_json(asked.body));
  else if (asked.method == "DELETE")
    current = Settings{};
  else if (asked.method != "GET")
    return wrong_method(asked);
  return json_answer(to_json(current));
}

std::optional<std::size_t> whole_number(const form& query, std::string_view name) {
  const auto* text = query.find(name);
  if (text == nullptr) return std::nullopt;
  std::size_t value = 0;
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), value);
  if (error != std::errc{} || end != text->data() + text->size()) {
    throw input_error(fmt::format("parameter {} must be a whole number, 0 or more", name));
  }
  return value;
}

}  // namespace

answer control_api::handle(const request& asked) {
  try {
    return route(asked);
  } catch (const input_error& error) {
    return refused(400, error.what());
  }
}

answer control_api::route(const request& asked) {
  const auto rest = asked.path.substr(control_path.size());
  const auto slash = rest.find('/');
  const auto topic = rest.substr(0, slash);
  const auto name = slash == std::string_view::npos ? std::string_view() : rest.substr(slash + 1);
  if (topic == "accounts") return accounts(asked, name);
  if (topic == "google") return targets_.google.handle(asked, name);
  if (topic == "stripe") return targets_.stripe.control(asked, name);
  if (!name.empty()) return refused(404, fmt::format("there is no {}", asked.path));
  if (topic == "messages") return messages(asked);
  if (topic == "faults") return faults(asked);
  if (topic == "latency") return setting(asked, targets_.latency, latency_from_json);
  if (topic == "lists") return setting(asked, targets_.lists, lists_from_json);
  if (topic == "delivery") {
    auto result = setting(asked, targets_.delivery, delivery_from_json);
    if (asked.method != "GET") targets_.on_delivery_changed();
    return result;
  }
  if (topic == "stats") return asked.method == "GET" ? json_answer(to_json(targets_.stats)) : wrong_method(asked);
  return refused(404, fmt::format("there is no {}", asked.path));
}

answer control_api::messages(const request& asked) {
  if (asked.method == "DELETE") {
    const auto count = targets_.messages.size();
    targets_.messages.clear();
    targets_.stats.reset();
    return json_answer({{"deleted", count}});
  }
  if (asked.method != "GET") return wrong_method(asked);
  const auto query = form::parse(asked.query);
  log_filter filter;
  for (const auto& [name, value] : query.fields()) {
    if (name == "account_sid")
      filter.account_sid = value;
    else if (name == "to")
      filter.to = value;
    else if (name == "since")
      filter.since = *whole_number(query, name);
    else if (name == "limit")
      filter.limit = *whole_number(query, name);
    else
      throw input_error(fmt::format("parameter {} is not known here; use account_sid, to, since, limit", name));
  }
  answer result;
  result.body = message_log(targets_.messages, filter, now());
  return result;
}

answer control_api::accounts(const request& asked, std::string_view sid) {
  auto& store = targets_.accounts;
  if (asked.method == "GET") {
    if (!sid.empty()) {
      const auto* found = store.find(sid);
      return found == nullptr ? refused(404, fmt::format("there is no account {}", sid))
                              : json_answer(public_json(*found));
    }
    auto list = nlohmann::json::array();
    for (const auto& [key, value] : store.all()) list.push_back(public_json(value));
    return json_answer(list);
  }
  if (asked.method == "DELETE") {
    if (sid.empty())
      store.clear();
    else if (!store.remove(sid))
      return refused(404, fmt::format("there is no account {}", sid));
    return json_answer({{"accounts", store.all().size()}});
  }
  if (!sid.empty()) return wrong_method(asked);
  const auto document = parse_json(asked.body);
  bool any_new = false;
  auto list = nlohmann::json::array();
  for (auto& value : accounts_from_json(document)) {
    list.push_back(public_json(value));
    any_new = store.put(std::move(value)) || any_new;
  }
  return json_answer(document.is_array() ? list : list[0], any_new ? 201 : 200);
}

answer control_api::faults(const request& asked) {
  if (asked.method == "PUT" || asked.method == "POST")
    targets_.faults.set(faults_from_json(parse_json(asked.body)));
  else if (asked.method == "DELETE")
    targets_.faults.set({});
  else if (asked.method != "GET")
    return wrong_method(asked);
  if (asked.method != "GET") targets_.on_faults_changed();
  auto list = nlohmann::json::array();
  for (const auto& rule : targets_.faults.all()) list.push_back(to_json(rule));
  return json_answer(list);
}

}  // namespace simulator
