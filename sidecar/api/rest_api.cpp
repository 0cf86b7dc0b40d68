#include "rest_api.h"

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

#include "../json.h"
#include "../providers/form.h"
#include "refusal.h"
#include "rest_parameters.h"
#include "session_cookie.h"

namespace byocd {

namespace {

using nlohmann::ordered_json;

// Longer ones do not fit into a cookie.
constexpr std::size_t longest_cookie_token = 3800;

// Columns: the document; for pages before it where the next begins; for one thing before it id and ETag.
constexpr Statement session_statement{"rest_session", "SELECT byoc.rest_session()"};
constexpr Statement providers{"rest_providers", "SELECT byoc.rest_providers()"};
constexpr Statement credentials{"rest_credentials", "SELECT p ->> 'next', p FROM byoc.rest_credentials($1, $2) AS p"};
constexpr Statement get_credential{"rest_credential",
                                   "SELECT a ->> 'id', a ->> 'etag', a -> 'body' FROM byoc.rest_credential($1) AS a"};
constexpr Statement add_credential{
    "rest_add_credential",
    "SELECT a ->> 'id', a ->> 'etag', a -> 'body' FROM byoc.rest_add_credential($1, NULL, $2) AS a"};
constexpr Statement add_twilio{
    "rest_add_credential_twilio",
    "SELECT a ->> 'id', a ->> 'etag', a -> 'body' FROM byoc.rest_add_credential($1, 'twilio', $2) AS a"};
constexpr Statement change_credential{
    "rest_update_credential",
    "SELECT a ->> 'id', a ->> 'etag', a -> 'body' FROM byoc.rest_update_credential($1, $2, $3) AS a"};
constexpr Statement revoke_credential{"rest_revoke_credential", "SELECT byoc.rest_revoke_credential($1, $2)"};
constexpr Statement verify_credential{
    "rest_verify_credential",
    "SELECT a ->> 'id', a ->> 'etag', a -> 'body' FROM byoc.rest_verify_credential($1, $2) AS a"};
constexpr Statement audit{"rest_audit", "SELECT p ->> 'next', p FROM byoc.rest_audit($1, $2, $3) AS p"};
constexpr Statement messages{"rest_messages", "SELECT p ->> 'next', p FROM byoc.rest_messages($1, $2, $3, $4) AS p"};
constexpr Statement get_message{"rest_message", "SELECT byoc.rest_message($1) -> 'body'"};
constexpr Statement send_test{"rest_send_test",
                              "SELECT a ->> 'id', NULL, a -> 'body' FROM byoc.rest_send_test($1, $2) AS a"};
constexpr Statement statistics{"rest_statistics", "SELECT byoc.rest_statistics($1)"};

constexpr Statement availability_window{"rest_availability_window",
                                        "SELECT org_id, credential_id, credential_version, from_time, to_time"
                                        " FROM byoc.rest_availability_window($1, $2)"};
constexpr Statement get_availability{"rest_availability", "SELECT byoc.rest_availability($1, $2, $3::jsonb)"};

constexpr char credentials_path[] = "/api/organization/credentials";
constexpr char messages_path[] = "/api/organization/messages";

ApiAnswer json_text(int status, std::string_view text) {
  return {status, "application/json", std::string(text) + "\n", {}, {}};
}

ApiAnswer resource(int status, const Rows& rows) {
  ApiAnswer answer = json_text(status, rows.text(0, 2));
  if (!rows.is_null(0, 1)) answer.headers.emplace_back("ETag", rows.text(0, 1));
  return answer;
}

ApiAnswer no_token() {
  ApiAnswer answer =
      problem_answer(401, "Unauthorized", "The request needs a token: Authorization: Bearer, or a session.");
  answer.headers.emplace_back("WWW-Authenticate", "Bearer");
  return answer;
}

ApiAnswer bad_token() {
  ApiAnswer answer = problem_answer(401, "Unauthorized", "That is not the form of a token.");
  answer.headers.emplace_back("WWW-Authenticate", "Bearer error=\"invalid_token\"");
  return answer;
}

// The tenant can mend it, or nobody here can now.
ApiAnswer calendar_problem(const Problem& problem) {
  ApiAnswer answer = problem.unreachable ? problem_answer(503, "Service Unavailable", problem.text())
                                         : problem_answer(409, "Conflict", problem.text());
  if (problem.unreachable) answer.headers.emplace_back("Retry-After", "5");
  return answer;
}

ApiAnswer unknown_origin() {
  return problem_answer(403, "Forbidden",
                        "The header Origin names neither this server nor one of its allowed origins.");
}

}  // namespace

RestApi::RestApi(TenantDatabase& database, BusyTimes& busy_times, Timers& timers, Options options)
    : database_(database),
      busy_times_(busy_times),
      timers_(timers),
      options_(std::move(options)),
      base_(path_of(options_.public_url)),
      limiter_(options_.rate),
      streams_(database, timers) {}

void RestApi::add_routes(Router& router) {
  const std::string one = std::string(credentials_path) + "/{id}";
  route(router, "GET", credentials_path, credentials, page_parameters, page);
  route(router, "POST", credentials_path, add_credential, body_parameters, new_credential);
  route(router, "POST", "/api/organization/credentials/twilio", add_twilio, body_parameters, new_credential);
  route(router, "GET", one.c_str(), get_credential, id_parameters, credential);
  route(router, "PATCH", one.c_str(), change_credential, change_parameters, credential);
  route(router, "DELETE", one.c_str(), revoke_credential, revoke_parameters, nothing);
  route(router, "POST", (one + "/verify").c_str(), verify_credential, verify_parameters, accepted_credential);
  route(router, "GET", (one + "/audit").c_str(), audit, id_page_parameters, page);
  route(router, "GET", "/api/organization/providers", providers, no_parameters, document);
  route(router, "POST", "/api/organization/sms/test", send_test, body_parameters, new_message);
  route(router, "GET", messages_path, messages, message_page_parameters, page);
  route(router, "GET", (std::string(messages_path) + "/{id}").c_str(), get_message, id_parameters, document);
  route(router, "GET", "/api/organization/statistics", statistics, statistics_parameters, document);
  route(router, "GET", "/api/session", session_statement, no_parameters, session);
  router.add("GET", "/api/organization/calendar/availability",
             [this](const ApiRequest& request, const Reply& reply) { availability(request, reply); });
  router.add("GET", "/api/organization/events", [this](const ApiRequest& request, const Reply& reply) {
    const auto token = admit(request);
    if (!token) return reply(token.error());
    streams_.open(*token, reply);
  });
  router.add("POST", "/api/session",
             [this](const ApiRequest& request, const Reply& reply) { start_session(request, reply); });
  router.add("DELETE", "/api/session",
             [this](const ApiRequest& request, const Reply& reply) { end_session(request, reply); });
  router.add("POST", "/dashboard/session",
             [this](const ApiRequest& request, const Reply& reply) { open_dashboard(request, reply); });
}

void RestApi::route(Router& router, const char* method, const char* path, const Statement& statement, Prepare prepare,
                    Compose compose) {
  router.add(method, path, [this, &statement, prepare, compose](const ApiRequest& request, const Reply& reply) {
    const auto token = admit(request);
    if (!token) return reply(token.error());
    auto params = prepare(request);
    if (!params) return reply(std::move(params.error()));
    run(request, *token, statement, std::move(*params), compose, reply);
  });
}

void RestApi::run(const ApiRequest& request, const SecretString& token, const Statement& statement, Params params,
                  Compose compose, const Reply& reply) {
  database_.run(token, statement, std::move(params), [this, request, compose, reply](const QueryResult& result) {
    reply(result ? compose(*this, request, *result) : refusal_problem(result.error()));
  });
}

Result<SecretString, ApiAnswer> RestApi::admit(const ApiRequest& request) {
  ShownToken shown = shown_token(request, options_.public_url);
  if (shown.token.empty()) return fail(no_token());
  if (auto refused = refuse(shown.token)) return fail(std::move(*refused));
  if (shown.by_cookie && request.method != "GET" && !has_csrf_token(request, shown.token))
    return fail(problem_answer(403, "Forbidden", "The header X-CSRF-Token must be the one of GET /api/session."));
  return std::move(shown.token);
}

std::optional<ApiAnswer> RestApi::refuse(const SecretString& token) {
  if (!database_.configured())
    return problem_answer(404, "Not Found", "The REST API is switched off: byocd has no setting tenant-role.");
  if (!looks_like_token(token.reveal())) return bad_token();
  // Keyed by what is no secret.
  if (limiter_.admit(csrf_token(token), timers_.now())) return std::nullopt;
  ApiAnswer answer = problem_answer(429, "Too Many Requests", "There are too many requests with this token.");
  answer.headers.emplace_back("Retry-After", "1");
  return answer;
}

void RestApi::availability(const ApiRequest& request, const Reply& reply) {
  auto admitted = admit(request);
  if (!admitted) return reply(admitted.error());
  auto params = availability_parameters(request);
  if (!params) return reply(std::move(params.error()));
  const auto token = std::make_shared<const SecretString>(std::move(*admitted));
  const auto refuse_with = [reply](const DbError& error) { reply(refusal_problem(error)); };
  database_.run(*token, availability_window, *params, [=, this, params = *params](const QueryResult& window) {
    if (!window) return refuse_with(window.error());
    const BusyQuestion question{{std::string(window->text(0, 0)), std::string(window->text(0, 1))},
                                window->integer(0, 2),
                                std::string(window->text(0, 3)),
                                std::string(window->text(0, 4))};
    busy_times_.ask(question, [=, this](const BusyTimes::Answer& busy) {
      if (!busy) return reply(calendar_problem(busy.error()));
      Params all = params;
      all.push_back(*busy);
      database_.run(*token, get_availability, std::move(all), [=](const QueryResult& slots) {
        if (!slots) return refuse_with(slots.error());
        reply(json_text(200, slots->text(0, 0)));
      });
    });
  });
}

// Answers `good` with the cookie once the database takes the token.
void RestApi::open_session(const ApiRequest& request, SecretString token, ApiAnswer good, const Reply& reply) {
  if (!has_known_origin(request, options_.public_url, options_.allowed_origins)) return reply(unknown_origin());
  if (token.reveal().size() > longest_cookie_token)
    return reply(field_problem("token", "It must have at most 3,800 characters to fit into a cookie."));
  if (auto refused = refuse(token)) return reply(std::move(*refused));
  good.headers.emplace_back("Set-Cookie", session_cookie(token, options_.public_url));
  const std::string csrf = csrf_token(token);
  database_.run(token, session_statement, {}, [good = std::move(good), csrf, reply](const QueryResult& result) mutable {
    if (!result) return reply(refusal_problem(result.error()));
    if (result->is_null(0, 0))
      return reply(problem_answer(403, "Forbidden", "The token's organization does not exist here."));
    if (good.status == 200) {
      auto document = parse_ordered_json(result->text(0, 0));
      document["csrf_token"] = csrf;
      good.body = dump_json(document) + "\n";
    }
    reply(std::move(good));
  });
}

void RestApi::start_session(const ApiRequest& request, const Reply& reply) {
  if (auto problem = json_problem(request)) return reply(std::move(*problem));
  auto document = parse_json(request.body);
  if (!document.is_object() || document.size() != 1 || !document.contains("token") || !document["token"].is_string())
    return reply(field_problem("token", "The body must be an object with the member token, a text, and no other."));
  open_session(request, SecretString(document["token"].get_ref<std::string&>()), json_text(200, ""), reply);
}

void RestApi::open_dashboard(const ApiRequest& request, const Reply& reply) {
  if (media_type(request) != "application/x-www-form-urlencoded")
    return reply(problem_answer(415, "Unsupported Media Type", "The body must be a form."));
  std::string token;
  std::string page = "settings";
  for (auto& [name, value] : parse_form(request.body)) {
    if (name == "token") token = std::move(value);
    if (name == "page") page = std::move(value);
  }
  if (token.empty()) return reply(field_problem("token", "It is missing."));
  if (page != "settings" && page != "messages") return reply(field_problem("page", "It must be settings or messages."));
  ApiAnswer onward{303, "", "", {}, {}};
  onward.headers.emplace_back("Location", base_ + "/dashboard/" + page);
  open_session(request, SecretString(token), std::move(onward), reply);
}

void RestApi::end_session(const ApiRequest& request, const Reply& reply) {
  if (!has_known_origin(request, options_.public_url, options_.allowed_origins)) return reply(unknown_origin());
  ApiAnswer answer = empty_answer();
  answer.headers.emplace_back("Set-Cookie", no_session_cookie(options_.public_url));
  reply(answer);
}

ApiAnswer RestApi::document(const RestApi&, const ApiRequest&, const Rows& rows) {
  return json_text(200, rows.text(0, 0));
}

ApiAnswer RestApi::page(const RestApi&, const ApiRequest& request, const Rows& rows) {
  ApiAnswer answer = json_text(200, rows.text(0, 1));
  if (!rows.is_null(0, 0)) answer.headers.emplace_back("Link", next_link(request, rows.text(0, 0)));
  return answer;
}

ApiAnswer RestApi::credential(const RestApi&, const ApiRequest&, const Rows& rows) {
  return resource(200, rows);
}

ApiAnswer RestApi::new_credential(const RestApi& api, const ApiRequest&, const Rows& rows) {
  ApiAnswer answer = resource(201, rows);
  answer.headers.emplace_back("Location", api.base_ + credentials_path + "/" + std::string(rows.text(0, 0)));
  return answer;
}

ApiAnswer RestApi::accepted_credential(const RestApi&, const ApiRequest&, const Rows& rows) {
  return resource(202, rows);
}

ApiAnswer RestApi::new_message(const RestApi& api, const ApiRequest&, const Rows& rows) {
  ApiAnswer answer = resource(202, rows);
  answer.headers.emplace_back("Location", api.base_ + messages_path + "/" + std::string(rows.text(0, 0)));
  return answer;
}

ApiAnswer RestApi::nothing(const RestApi&, const ApiRequest&, const Rows&) {
  return empty_answer();
}

ApiAnswer RestApi::session(const RestApi& api, const ApiRequest& request, const Rows& rows) {
  if (rows.is_null(0, 0)) return problem_answer(403, "Forbidden", "The token's organization does not exist here.");
  auto document = parse_ordered_json(rows.text(0, 0));
  document["csrf_token"] = csrf_token(shown_token(request, api.options_.public_url).token);
  return json_answer(200, document);
}

}  // namespace byocd
