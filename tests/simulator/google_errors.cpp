#include "google_errors.h"

#include <nlohmann/json.hpp>

namespace simulator {
namespace {

std::string_view domain_of(std::string_view reason) {
  if (reason == "rateLimitExceeded" || reason == "userRateLimitExceeded" || reason == "quotaExceeded")
    return "usageLimits";
  return reason == "timeRangeEmpty" ? "calendar" : "global";
}

}  // namespace

answer oauth_error(int status, std::string_view error, std::string_view description) {
  answer result;
  result.status = status;
  result.body = nlohmann::json{{"error", error}, {"error_description", description}}.dump();
  return result;
}

answer calendar_error(int status, std::string_view reason, std::string_view message) {
  nlohmann::json detail = {{"domain", domain_of(reason)}, {"reason", reason}, {"message", message}};
  if (reason == "authError") {
    detail["locationType"] = "header";
    detail["location"] = "Authorization";
  }
  answer result;
  result.status = status;
  result.body =
      nlohmann::json{{"error", {{"errors", nlohmann::json::array({detail})}, {"code", status}, {"message", message}}}}
          .dump();
  return result;
}

std::string google_error_body(int status) {
  switch (status) {
    case 401:
      return calendar_error(status, "authError", "Invalid Credentials").body;
    case 403:
    case 429:
      return calendar_error(status, "rateLimitExceeded", "Rate Limit Exceeded").body;
    case 404:
      return calendar_error(status, "notFound", "Not Found").body;
    default:
      return calendar_error(status, "backendError", "Backend Error").body;
  }
}

}  // namespace simulator
