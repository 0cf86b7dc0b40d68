// Events of Google Calendar (https://developers.google.com/workspace/calendar/api/v3/reference/events).
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "../json.h"
#include "form.h"
#include "google_calendar.h"
#include "google_problems.h"
#include "json_members.h"

namespace byocd {

namespace {

using nlohmann::json;
using Ending = CallOutcome::Kind;

// `first` is what the operation says.
enum Step { first, insert, look, replace, remove };

Step step_of(const ClaimedCall& call, int step) {
  if (step != first) return static_cast<Step>(step);
  if (call.operation == "event.update") return replace;
  return call.operation == "event.delete" ? remove : insert;
}

// A member as it is, where there is one.
void copy_member(const json& payload, const char* name, json& body) {
  if (const auto found = payload.find(name); found != payload.end()) body[name] = *found;
}

json boundary(const json& payload, const char* time, const char* day) {
  if (const auto date = text_member(payload, day)) return {{"date", *date}};
  return {{"dateTime", text_member(payload, time).value_or("")},
          {"timeZone", text_member(payload, "time_zone").value_or("UTC")}};
}

// What tells the event that this call wrote from what others made of it.
constexpr const char* mark = "byoc_call";

std::string event_body(const ClaimedCall& call, const json& payload) {
  json body = {{"id", payload.at("event_id")},
               {"status", "confirmed"},
               {"start", boundary(payload, "starts_at", "starts_on")},
               {"end", boundary(payload, "ends_at", "ends_before")},
               {"extendedProperties", {{"private", {{mark, call.id}}}}}};
  for (const char* name : {"summary", "description", "location", "recurrence"}) copy_member(payload, name, body);
  if (const auto found = payload.find("attendees"); found != payload.end()) {
    body["attendees"] = json::array();
    for (const auto& email : *found) body["attendees"].push_back({{"email", email}});
  }
  return dump_json(body);
}

bool is_written_by(const ClaimedCall& call, const json& event) {
  const auto properties = event.find("extendedProperties");
  if (properties == event.end() || !properties->is_object()) return false;
  const auto own = properties->find("private");
  return own != properties->end() && own->is_object() && text_member(*own, mark) == call.id &&
         text_member(event, "status") != "cancelled";
}

CallOutcome accepted(int status, const json& event) {
  CallOutcome outcome;
  outcome.kind = Ending::accepted;
  outcome.http_status = status;
  json kept = json::object();
  if (const auto link = text_member(event, "htmlLink")) kept["html_link"] = *link;
  outcome.result = dump_json(kept);
  return outcome;
}

CallOutcome go_on(Step step) {
  CallOutcome outcome;
  outcome.kind = Ending::next;
  outcome.next_step = step;
  return outcome;
}

// Whether a refusal says something about the connection, not about the event.
bool is_about_the_credential(const HttpResponse& response, const Problem& problem) {
  constexpr std::array codes = {"calendar_not_found", "scope_missing", "api_disabled", "requiredAccessLevel"};
  return response.status == 401 || std::find(codes.begin(), codes.end(), problem.code) != codes.end();
}

CallOutcome refused(const HttpResponse& response) {
  const Problem problem = google_calendar_problem(response);
  CallOutcome outcome;
  outcome.http_status = response.status;
  outcome.error_code = problem.code;
  outcome.error_message = problem.text();
  if (response.retry_after) outcome.retry_after = *response.retry_after;
  if (is_google_throttling(response)) {
    outcome.kind = Ending::throttled;
  } else if (problem.unreachable) {
    outcome.kind = Ending::unavailable;
  } else if (is_about_the_credential(response, problem)) {
    outcome.kind = Ending::bad_credential;
  } else {
    outcome.kind = Ending::rejected;
    const auto message = google_error(response).message;
    if (!message.empty()) outcome.error_message = message;
  }
  return outcome;
}

}  // namespace

Result<HttpRequest, PrepareError> GoogleCalendar::prepare_call(const ClaimedCall& call,
                                                               const CredentialFields& credential, int step) const {
  const json payload = parse_json(call.payload);
  const auto id = payload.is_object() ? text_member(payload, "event_id") : std::nullopt;
  if (!call.operation.starts_with("event.") || !id)
    return fail(PrepareError{"unknown_operation", "this byocd knows no operation " + call.operation});
  const Step now = step_of(call, step);
  const std::string event = "/" + percent_encoded(*id);
  const std::string updates = "?sendUpdates=" + percent_encoded(text_member(payload, "send_updates").value_or("none"));
  HttpRequest request = request_for(credential, "/events" + (now == insert ? updates
                                                             : now == look ? event
                                                                           : event + updates));
  request.method = now == insert    ? HttpRequest::Method::post
                   : now == replace ? HttpRequest::Method::put
                   : now == remove  ? HttpRequest::Method::del
                                    : HttpRequest::Method::get;
  if (now == insert || now == replace) {
    request.headers.emplace_back("Content-Type: application/json");
    request.body = event_body(call, payload);
  }
  return request;
}

CallOutcome GoogleCalendar::interpret_call(const ClaimedCall& call, int step, const HttpResult& result) const {
  if (!result) return call_outcome_of_failure(result.error());
  const Step now = step_of(call, step);
  const int status = result->status;
  const bool gone = status == 404 || status == 410;
  if (status == 409 && now == insert) return go_on(look);
  if (now == look && gone) return go_on(replace);
  // Not there, or no such calendar: the insert tells.
  if (now == replace && gone) return go_on(insert);
  if (now == remove && (gone || (status >= 200 && status < 300))) return accepted(status, json::object());
  if (status < 200 || status >= 300) return refused(*result);
  const json event = parse_json(result->body);
  if (!event.is_object() || !text_member(event, "id")) {
    CallOutcome outcome = refused(*result);
    outcome.kind = Ending::unavailable;
    return outcome;
  }
  if (now == look && !is_written_by(call, event)) return go_on(replace);
  return accepted(status, event);
}

}  // namespace byocd
