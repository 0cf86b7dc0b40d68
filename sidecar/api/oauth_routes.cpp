#include "oauth_routes.h"

#include <map>
#include <nlohmann/json.hpp>

#include "../log.h"
#include "../providers/form.h"
#include "../uuid.h"
#include "refusal.h"
#include "session_cookie.h"

namespace byocd {

namespace {

constexpr Statement start_statement{"start_oauth", "SELECT byoc.start_oauth($1, $2::bytea, $3::bytea, $4, $5::uuid)"};
constexpr std::size_t longest_code = 2048;

std::map<std::string, std::string> query_of(const ApiRequest& request) {
  std::map<std::string, std::string> query;
  for (auto& [name, value] : parse_form(request.query)) query.emplace(std::move(name), std::move(value));
  return query;
}

std::string value_of(const std::map<std::string, std::string>& query, const char* name) {
  const auto found = query.find(name);
  return found == query.end() ? std::string() : found->second;
}

bool is_browser(const ApiRequest& request) {
  return request.header("accept").find("text/html") != std::string::npos;
}

// What the settings page has a sentence for.
std::string outcome_of(int http_status) {
  switch (http_status) {
    case 401:
      return "signed_out";
    case 403:
      return "not_allowed";
    case 404:
      return "gone";
    case 409:
      return "not_configured";
    case 429:
    case 503:
      return "unavailable";
    default:
      return "failed";
  }
}

ApiAnswer see_other(const std::string& address) {
  ApiAnswer answer{303, "", "", {}, {}};
  answer.headers.emplace_back("Location", address);
  return answer;
}

}  // namespace

// One browser that came back.
struct OAuthRoutes::Return {
  Reply reply;
  OAuthTrip trip;
  SecretString code;
  // What the provider says instead of a code.
  std::string error;
  // The state was one of this browser's, and is used up now.
  bool taken = false;
};

OAuthRoutes::OAuthRoutes(Parts parts, const OAuthProvider& oauth, Options options)
    : parts_(std::move(parts)), oauth_(oauth), options_(std::move(options)) {}

void OAuthRoutes::add_routes(Router& router) {
  router.add("GET", options_.path + "/start",
             [this](const ApiRequest& request, const Reply& reply) { start(request, reply); });
  router.add("GET", options_.path + "/callback",
             [this](const ApiRequest& request, const Reply& reply) { call_back(request, reply); });
}

ApiAnswer OAuthRoutes::to_settings(const std::string& outcome) const {
  return see_other(path_of(options_.public_url) + "/dashboard/settings?connect=" + outcome);
}

ApiAnswer OAuthRoutes::refused(const ApiRequest& request, ApiAnswer problem) const {
  return is_browser(request) ? to_settings(outcome_of(problem.status)) : std::move(problem);
}

void OAuthRoutes::start(const ApiRequest& request, const Reply& reply) {
  if (options_.public_url.empty())
    return reply(refused(request, problem_answer(409, "Conflict", "This server does not know its public address.")));
  const auto token = parts_.admit(request);
  if (!token) return reply(refused(request, token.error()));
  const std::string credential = value_of(query_of(request), "credential");
  if (!credential.empty() && !is_uuid(credential))
    return reply(refused(request, field_problem("credential", "It must be a credential's id.")));
  const auto trip = std::make_shared<const OAuthTrip>(new_oauth_trip());
  const OAuthClient* deployment = oauth_.deployment_client();
  Params params{options_.provider, bytea(sha256(trip->state)), bytea(sha256(trip->browser.reveal())), std::nullopt,
                std::nullopt};
  if (deployment) params[3] = deployment->id;
  if (!credential.empty()) params[4] = credential;
  parts_.tenants.run(
      *token, start_statement, std::move(params),
      [this, request, reply, trip](const QueryResult& result) { send_off(request, reply, *trip, result); });
}

void OAuthRoutes::send_off(const ApiRequest& request, const Reply& reply, const OAuthTrip& trip,
                           const QueryResult& result) const {
  if (!result) return reply(refused(request, refusal_problem(result.error())));
  const std::string address = oauth_.authorization_url(
      {std::string(result->text(0, 0)), redirect_uri(), trip.state, code_challenge(code_verifier(trip))});
  ApiAnswer answer = is_browser(request) ? see_other(address) : json_answer(200, {{"authorization_url", address}});
  answer.headers.emplace_back("Set-Cookie", trip_cookie(trip.browser, options_.public_url));
  reply(std::move(answer));
}

void OAuthRoutes::call_back(const ApiRequest& request, const Reply& reply) {
  const auto query = query_of(request);
  const auto back = std::make_shared<Return>();
  back->trip.state = value_of(query, "state");
  back->trip.browser = SecretString(cookie_value(request, trip_cookie_name(options_.public_url)));
  back->code = SecretString(value_of(query, "code"));
  back->error = value_of(query, "error");
  // Without the cookie there is nothing to look up, and none to take away.
  if (!looks_like_trip(back->trip.state) || !looks_like_trip(back->trip.browser.reveal()))
    return reply(to_settings("expired"));
  back->reply = reply;
  ++pending_;
  parts_.gateway.take_state(sha256(back->trip.state), sha256(back->trip.browser.reveal()), [this, back](auto result) {
    if (!result) {
      if (!result.error().transient()) log::error("taking an OAuth state failed: {}", result.error().text());
      return finish(back, "unavailable");
    }
    if (!*result || (*result)->provider != options_.provider) return finish(back, "expired");
    exchange(back, **result);
  });
}

void OAuthRoutes::exchange(const ReturnPtr& back, const TakenState& taken) {
  back->taken = true;
  if (!back->error.empty()) return finish(back, back->error == "access_denied" ? "denied" : "refused");
  if (back->code.empty() || back->code.reveal().size() > longest_code) return finish(back, "refused");
  const OAuthClient* deployment = oauth_.deployment_client();
  OAuthClient client{taken.client_id, taken.client_secret.copy()};
  if (client.secret.empty()) {
    if (!deployment || deployment->id != client.id) return finish(back, "not_configured");
    client.secret = deployment->secret.copy();
  }
  auto request = oauth_.prepare_exchange({back->code.copy(), redirect_uri(), code_verifier(back->trip)}, client);
  parts_.http.send(std::move(request), [this, back, org_id = taken.org_id](const HttpResult& result) {
    const auto grant = oauth_.interpret_exchange(result);
    if (grant) return store(back, *grant);
    log::warn("organization {} could not be connected to {}: {} ({})", org_id, options_.provider, grant.error().cause,
              grant.error().code);
    if (grant.error().unreachable) return finish(back, "unavailable");
    const std::string& code = grant.error().code;
    finish(back, code == "scope_missing" || code == "no_refresh_token" ? code : "refused");
  });
}

void OAuthRoutes::store(const ReturnPtr& back, const TokenGrant& grant) {
  parts_.gateway.add_credential(sha256(back->trip.state), grant.refresh_token, grant.account,
                                [this, back](const auto& result) {
                                  if (result) return finish(back, "connected");
                                  log::warn("what a user granted could not be stored: {}", result.error().text());
                                  finish(back, outcome_of(refusal_problem(result.error()).status));
                                });
}

void OAuthRoutes::finish(const ReturnPtr& back, const std::string& outcome) {
  --pending_;
  ApiAnswer answer = to_settings(outcome);
  // A forged state must not end the way that the browser is on.
  if (back->taken) answer.headers.emplace_back("Set-Cookie", no_trip_cookie(options_.public_url));
  back->reply(std::move(answer));
}

}  // namespace byocd
