#include "google_control.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "control_answers.h"
#include "form.h"
#include "google_times.h"
#include "json_fields.h"

namespace simulator {
namespace {

using nlohmann::json;

bool is_put(const request& asked) {
  return asked.method == "PUT" || asked.method == "POST";
}

/// The objects of an array, or the one object that the document is.
std::vector<json_fields> objects_of(const json& document) {
  std::vector<json_fields> objects;
  if (!document.is_array()) return {json_fields(document, "")};
  for (std::size_t i = 0; i < document.size(); ++i) objects.emplace_back(document[i], fmt::format("[{}]", i));
  return objects;
}

google_calendar calendar_from(json_fields& fields, std::string id, const char* role) {
  google_calendar value;
  value.id = std::move(id);
  value.summary = fields.string("summary").value_or(value.id);
  value.time_zone = fields.string("time_zone").value_or("UTC");
  if (!is_time_zone(value.time_zone)) fields.complain("time_zone", "be a name of the IANA database");
  value.role = fields.choice("role", {"owner", "writer", "reader", "freeBusyReader"}).value_or(role);
  return value;
}

}  // namespace

answer google_control::handle(const request& asked, std::string_view topic) {
  if (topic.empty() && asked.method == "DELETE") {
    identity_.clear();
    events_.clear();
    calendar_.counts.clear();
    return json_answer(json::object());
  }
  if (topic == "clients") return clients(asked);
  if (topic == "users") return users(asked);
  if (topic == "grants") return grants(asked);
  if (topic == "events") return events(asked);
  if (topic == "settings") return settings(asked);
  if (topic == "requests" && asked.method == "GET") return json_answer(calendar_.counts);
  if (topic == "access_tokens" && asked.method == "DELETE") {
    identity_.forget_access_tokens();
    return json_answer(json::object());
  }
  return json_answer({{"error", fmt::format("there is no {}", asked.path)}}, 404);
}

answer google_control::clients(const request& asked) {
  if (is_put(asked)) {
    const auto document = parse_json(asked.body);
    for (auto& fields : objects_of(document)) {
      google_client value{fields.required_string("client_id"), fields.required_string("client_secret"),
                          fields.strings("redirect_uris")};
      fields.finish();
      identity_.put_client(std::move(value));
    }
  } else if (asked.method != "GET") {
    return wrong_method(asked);
  }
  auto list = json::array();
  for (const auto& [id, client] : identity_.clients())
    list.push_back({{"client_id", id}, {"redirect_uris", client.redirect_uris}});
  return json_answer(list);
}

answer google_control::users(const request& asked) {
  if (is_put(asked)) {
    const auto document = parse_json(asked.body);
    for (auto& fields : objects_of(document)) {
      google_user user;
      user.email = fields.required_string("email");
      user.calendars.push_back(calendar_from(fields, user.email, "owner"));
      fields.objects("calendars", [&](json_fields calendar) {
        auto id = calendar.required_string("id");
        user.calendars.push_back(calendar_from(calendar, std::move(id), "owner"));
        calendar.finish();
      });
      fields.finish();
      identity_.put_user(std::move(user));
    }
  } else if (asked.method != "GET") {
    return wrong_method(asked);
  }
  auto list = json::array();
  for (const auto& [email, user] : identity_.users()) {
    auto calendars = json::array();
    for (const auto& each : user.calendars)
      calendars.push_back(
          {{"id", each.id}, {"summary", each.summary}, {"time_zone", each.time_zone}, {"role", each.role}});
    list.push_back({{"email", email}, {"calendars", calendars}});
  }
  return json_answer(list);
}

answer google_control::grants(const request& asked) {
  if (is_put(asked)) {
    const auto document = parse_json(asked.body);
    json_fields fields(document, "");
    const auto email = fields.required_string("email");
    const auto client = fields.required_string("client_id");
    auto scopes = fields.strings("scopes");
    fields.finish();
    if (identity_.find_user(email) == nullptr) fields.complain("email", "be a user's");
    if (identity_.find_client(client) == nullptr) fields.complain("client_id", "be a client's");
    if (scopes.empty()) scopes.emplace_back("https://www.googleapis.com/auth/calendar");
    return json_answer({{"refresh_token", identity_.grant(email, client, {scopes.begin(), scopes.end()})}}, 201);
  }
  if (asked.method == "DELETE")
    identity_.end_grants();
  else if (asked.method != "GET")
    return wrong_method(asked);
  auto list = json::array();
  for (const auto& [id, grant] : identity_.grants())
    list.push_back({{"email", grant.email},
                    {"client_id", grant.client_id},
                    {"scopes", grant.scopes},
                    {"refreshes", grant.refreshes}});
  return json_answer(list);
}

answer google_control::events(const request& asked) {
  if (asked.method == "DELETE") {
    events_.clear();
    calendar_.counts.clear();
  } else if (asked.method != "GET") {
    return wrong_method(asked);
  }
  const auto query = form::parse(asked.query);
  auto list = json::array();
  for (const auto* each : events_.list(query.get("calendar_id"))) {
    auto event = event_resource(*each, each->calendar_id);
    event["index"] = each->index;
    event["calendar_id"] = each->calendar_id;
    list.push_back(std::move(event));
  }
  return json_answer(list);
}

answer google_control::settings(const request& asked) {
  if (is_put(asked)) {
    const auto document = parse_json(asked.body);
    json_fields fields(document, "");
    const auto seconds = fields.whole("access_token_seconds", 1'000'000);
    fields.finish();
    identity_.access_seconds = static_cast<int>(seconds.value_or(3599));
  } else if (asked.method != "GET") {
    return wrong_method(asked);
  }
  return json_answer({{"access_token_seconds", identity_.access_seconds}});
}

}  // namespace simulator
