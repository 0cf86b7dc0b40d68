#include "google_problems.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "../json.h"
#include "json_members.h"

namespace byocd {

namespace {

using nlohmann::json;

constexpr const char* reconnect = "Connect Google Calendar again.";

Problem try_again(std::string code, std::string cause) {
  return {std::move(code), std::move(cause), "It is tried again by itself.", true};
}

// A code that may stand in a sentence: nothing but what Google's are made of.
std::string plain_code(std::string code, int http_status) {
  const bool plain = !code.empty() && code.size() <= 40 && std::all_of(code.begin(), code.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '_';
  });
  return plain ? code : fmt::format("http_{}", http_status);
}

}  // namespace

GoogleError google_error(const HttpResponse& response) {
  const json document = parse_json(response.body);
  const auto error = document.is_object() ? document.find("error") : document.end();
  if (error == document.end() || !error->is_object()) return {};
  GoogleError found;
  found.message = text_member(*error, "message").value_or("");
  const auto errors = error->find("errors");
  if (errors != error->end() && errors->is_array() && !errors->empty() && errors->front().is_object())
    found.reason = text_member(errors->front(), "reason").value_or("");
  return found;
}

bool is_google_throttling(const HttpResponse& response) {
  constexpr std::array reasons = {"rateLimitExceeded", "userRateLimitExceeded", "quotaExceeded", "dailyLimitExceeded",
                                  "calendarUsageLimitsExceeded"};
  if (response.status == 429) return true;
  return response.status == 403 &&
         std::find(reasons.begin(), reasons.end(), google_error(response).reason) != reasons.end();
}

Problem google_calendar_problem(const HttpResponse& response) {
  const auto [reason, message] = google_error(response);
  if (is_google_throttling(response)) return try_again("throttled", "Google wants fewer requests for now.");
  if (response.status >= 500)
    return try_again(fmt::format("http_{}", response.status),
                     fmt::format("Google is in trouble (HTTP {}).", response.status));
  if (reason.empty()) return not_google_problem(response.status);
  if (response.status == 401) return {reason, "Google does not accept the access token.", reconnect};
  if (response.status == 404)
    return {"calendar_not_found", "This Google account has no such calendar.",
            "Check the calendar ID: it is in the calendar's settings, under Integrate calendar."};
  if (reason == "insufficientPermissions")
    return {"scope_missing", "This Google account did not allow everything that is needed.",
            "Connect Google Calendar again and leave all boxes ticked."};
  if (reason == "accessNotConfigured" || reason == "SERVICE_DISABLED")
    return {"api_disabled", "The Google Calendar API is not switched on for this client ID.",
            "Switch it on in the Google Cloud console, under APIs & Services > Library."};
  return {plain_code(reason, response.status), fmt::format("Google refused the request (HTTP {}).", response.status),
          "Check the calendar's sharing, and what the account's administrator allows."};
}

Problem google_token_problem(const HttpResponse& response) {
  if (response.status == 429) return try_again("throttled", "Google wants fewer requests for now.");
  if (response.status >= 500)
    return try_again(fmt::format("http_{}", response.status),
                     fmt::format("Google is in trouble (HTTP {}).", response.status));
  const json document = parse_json(response.body);
  const auto error = document.is_object() ? text_member(document, "error") : std::nullopt;
  if (response.status < 400 || !error) return not_google_problem(response.status);
  if (*error == "invalid_grant")
    return {"invalid_grant",
            "Google does not accept this connection any more: access was taken away, or it has expired.", reconnect};
  if (*error == "invalid_client" || *error == "unauthorized_client")
    return {*error, "Google does not accept the client ID and client secret.",
            "Copy both again from the Google Cloud console, under APIs & Services > Credentials, and connect again."};
  return {plain_code(*error, response.status),
          fmt::format("Google refused to connect ({}).", plain_code(*error, response.status)),
          "Connect Google Calendar again; if that does not help, ask who administers the Google account."};
}

Problem not_google_problem(int http_status) {
  return {"bad_answer", fmt::format("What answered (HTTP {}) does not speak Google's API.", http_status),
          "Check the provider's base URL if one is set, and whether a proxy answers in Google's place.", true};
}

}  // namespace byocd
