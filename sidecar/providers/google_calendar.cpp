#include "google_calendar.h"

#include <nlohmann/json.hpp>

#include "../json.h"
#include "form.h"
#include "google_problems.h"
#include "json_members.h"

namespace byocd {

namespace {

using nlohmann::json;
using Kind = Verdict::Kind;

}  // namespace

HttpRequest GoogleCalendar::request_for(const CredentialFields& credential, const std::string& rest) const {
  const SecretString* calendar = find_field(credential, "calendar_id");
  const SecretString* token = find_field(credential, "access_token");
  HttpRequest request;
  request.url =
      api_url_ + "/calendar/v3/calendars/" + percent_encoded(calendar ? calendar->reveal() : "primary") + rest;
  request.headers.emplace_back("Authorization: Bearer " + (token ? token->reveal() : ""));
  return request;
}

Result<HttpRequest, Problem> GoogleCalendar::prepare_verification(const CredentialFields& credential, int) const {
  return request_for(credential, "/events?maxResults=1&fields=summary%2CtimeZone%2CaccessRole");
}

Verdict GoogleCalendar::interpret_verification(const CredentialFields&, int, const HttpResult& result) const {
  if (!result) return verdict_of(failure_problem(result.error(), "Google"));
  if (result->status != 200) return verdict_of(google_calendar_problem(*result));
  const json document = parse_json(result->body);
  const auto role = document.is_object() ? text_member(document, "accessRole") : std::nullopt;
  if (!role) return verdict_of(not_google_problem(result->status));
  Verdict verdict{Kind::verified, {}};
  for (const auto& [title, name] : {std::pair("calendar", "summary"), std::pair("time zone", "timeZone")})
    if (const auto value = text_member(document, name)) verdict.details.emplace_back(title, *value);
  if (*role != "owner" && *role != "writer") {
    verdict.kind = Kind::failed;
    verdict.problem = {"calendar_read_only", "This Google account may not change the calendar's events.",
                       "Ask its owner for the right to make changes to events, or choose another calendar."};
  }
  return verdict;
}

}  // namespace byocd
