#include "cors.h"

#include <algorithm>

namespace byocd {

bool Cors::is_allowed(const ApiRequest& request) const {
  return request.path.starts_with("/api/") &&
         std::find(allowed_.begin(), allowed_.end(), request.header("origin")) != allowed_.end();
}

bool Cors::is_preflight(const ApiRequest& request) const {
  return request.method == "OPTIONS" && !request.header("access-control-request-method").empty() && is_allowed(request);
}

ApiAnswer Cors::preflight_answer(const std::string& methods) const {
  ApiAnswer answer = empty_answer();
  answer.headers.emplace_back("Access-Control-Allow-Methods", methods);
  answer.headers.emplace_back("Access-Control-Allow-Headers", "Authorization, Content-Type, Idempotency-Key, If-Match");
  answer.headers.emplace_back("Access-Control-Max-Age", "600");
  return answer;
}

void Cors::allow(const ApiRequest& request, ApiAnswer& answer) const {
  if (allowed_.empty()) return;
  answer.headers.emplace_back("Vary", "Origin");
  if (!is_allowed(request)) return;
  answer.headers.emplace_back("Access-Control-Allow-Origin", request.header("origin"));
  answer.headers.emplace_back("Access-Control-Expose-Headers", "ETag, Link, Location, Retry-After, WWW-Authenticate");
}

}  // namespace byocd
