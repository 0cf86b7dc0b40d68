// What Google's refusals mean, for the tenant who has to do something
// (https://developers.google.com/workspace/calendar/api/guides/errors).
#pragma once

#include <string>

#include "problem.h"

namespace byocd {

/// What stands in a document of the Calendar API's errors; empty where it has none.
struct GoogleError {
  std::string reason;
  std::string message;
};

GoogleError google_error(const HttpResponse& response);

/// Whether Google wants fewer requests, for now.
bool is_google_throttling(const HttpResponse& response);

/// A refusal of the Calendar API: any status but 2xx.
Problem google_calendar_problem(const HttpResponse& response);

/// A refusal of the token endpoint.
Problem google_token_problem(const HttpResponse& response);

/// For an answer that cannot be Google's.
Problem not_google_problem(int http_status);

}  // namespace byocd
