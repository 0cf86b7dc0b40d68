// When a Google Calendar is busy (https://developers.google.com/workspace/calendar/api/v3/reference/freebusy).
#include <nlohmann/json.hpp>

#include "../json.h"
#include "google_calendar.h"
#include "google_problems.h"
#include "json_members.h"

namespace byocd {

namespace {

using nlohmann::json;

std::string calendar_of(const CredentialFields& credential) {
  const SecretString* calendar = find_field(credential, "calendar_id");
  return calendar ? calendar->reveal() : "primary";
}

}  // namespace

HttpRequest GoogleCalendar::prepare_busy(const CredentialFields& credential, const std::string& from,
                                         const std::string& to) const {
  HttpRequest request = request_for(credential, "");
  request.url = api_url_ + "/calendar/v3/freeBusy";
  request.method = HttpRequest::Method::post;
  request.headers.emplace_back("Content-Type: application/json");
  request.body = dump_json(json{{"timeMin", from}, {"timeMax", to}, {"items", {{{"id", calendar_of(credential)}}}}});
  return request;
}

Result<std::string, Problem> GoogleCalendar::interpret_busy(const CredentialFields& credential,
                                                            const HttpResult& result) const {
  if (!result) return fail(failure_problem(result.error(), "Google"));
  if (result->status != 200) return fail(google_calendar_problem(*result));
  const json document = parse_json(result->body);
  const auto calendars = document.is_object() ? document.find("calendars") : document.end();
  if (calendars == document.end() || !calendars->is_object()) return fail(not_google_problem(result->status));
  const auto found = calendars->find(calendar_of(credential));
  // Google names it as it was asked for; an unknown one comes with errors instead of times.
  if (found == calendars->end() || !found->is_object() || found->contains("errors") || !found->contains("busy"))
    return fail(Problem{"calendar_not_found", "This Google account has no such calendar.",
                        "Check the calendar ID: it is in the calendar's settings, under Integrate calendar."});
  json times = json::array();
  for (const auto& each : (*found)["busy"]) {
    const auto start = each.is_object() ? text_member(each, "start") : std::nullopt;
    const auto end = each.is_object() ? text_member(each, "end") : std::nullopt;
    if (!start || !end) return fail(not_google_problem(result->status));
    times.push_back({{"start", *start}, {"end", *end}});
  }
  return dump_json(times);
}

}  // namespace byocd
