#include "google_oauth.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "form.h"
#include "google_errors.h"

namespace simulator {
namespace {

constexpr std::string_view form_type = "application/x-www-form-urlencoded";

answer page(int status, std::string_view body) {
  answer result;
  result.status = status;
  result.content_type = "text/html; charset=utf-8";
  result.body = fmt::format("<!doctype html>\n<html lang=\"en\"><title>Simulated Google account</title>\n{}\n", body);
  return result;
}

/// What cannot be told to the client, since nobody proved where it is.
answer error_page(int status, std::string_view error) {
  return page(status, fmt::format("<h1>Access blocked</h1>\n<p>Error {}: {}</p>", status, error));
}

std::string html(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '&' || c == '<' || c == '>' || c == '"' || c == '\'')
      out += fmt::format("&#{};", static_cast<int>(c));
    else
      out += c;
  }
  return out;
}

/// Whether the user may leave it out; who somebody is comes along.
bool is_optional(std::string_view scope) {
  return scope != "openid" && scope != "email";
}

bool is_known_scope(std::string_view scope) {
  return scope.starts_with("https://www.googleapis.com/auth/calendar") || scope == "openid" || scope == "email";
}

std::set<std::string> words_of(std::string_view text) {
  std::set<std::string> words;
  while (!text.empty()) {
    const auto end = std::min(text.find(' '), text.size());
    if (end > 0) words.emplace(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return words;
}

/// The first thing that is wrong with an authorization request; empty: nothing.
std::string problem_of(const form& query, const std::set<std::string>& scopes) {
  if (query.get("response_type") != "code") return "invalid_request (response_type)";
  if (scopes.empty()) return "invalid_request (scope)";
  if (!std::all_of(scopes.begin(), scopes.end(), is_known_scope)) return "invalid_scope";
  const auto method = query.get("code_challenge_method");
  if (query.find("code_challenge") != nullptr && (method != "S256" && method != "plain"))
    return "invalid_request (code_challenge_method)";
  if (query.get("code_challenge_method") == "S256" && query.get("code_challenge").size() != 43)
    return "invalid_request (code_challenge)";
  return {};
}

std::string with_query(std::string_view url, const form& fields) {
  return fmt::format("{}{}{}", url, url.find('?') == url.npos ? '?' : '&', fields.encoded());
}

answer redirect(std::string location) {
  answer result;
  result.status = 302;
  result.location = std::move(location);
  result.content_type = "text/html; charset=utf-8";
  return result;
}

std::string consent_form(const google_identity& identity, const request& asked, const form& query,
                         const std::set<std::string>& scopes) {
  std::string out =
      fmt::format("<h1>{} wants access to your Google Account</h1>\n<form method=\"post\" action=\"{}?{}\">\n",
                  html(query.get("client_id")), asked.path, html(asked.query));
  out += "<p><label>Account <select name=\"email\">\n";
  for (const auto& [email, user] : identity.users())
    out += fmt::format("<option{}>{}</option>\n", query.get("login_hint") == email ? " selected" : "", html(email));
  out += "</select></label></p>\n";
  for (const auto& scope : scopes)
    if (is_optional(scope))
      out += fmt::format("<p><label><input type=\"checkbox\" name=\"scope\" value=\"{0}\" checked> {0}</label></p>\n",
                         html(scope));
  return out +
         "<button name=\"decision\" value=\"deny\">Cancel</button>\n<button name=\"decision\" "
         "value=\"allow\">Allow</button>\n</form>";
}

}  // namespace

answer google_oauth::handle(const request& asked) {
  if (asked.path == google_authorization_path) return authorize(asked);
  if (asked.method != "POST") return oauth_error(405, "invalid_request", "Method not allowed");
  return asked.path == google_token_path ? token(asked) : revoke(asked);
}

answer google_oauth::authorize(const request& asked) {
  const auto query = form::parse(asked.query);
  const auto* client = identity_.find_client(query.get("client_id"));
  if (client == nullptr) return error_page(401, "invalid_client");
  const auto& uris = client->redirect_uris;
  if (std::find(uris.begin(), uris.end(), query.get("redirect_uri")) == uris.end())
    return error_page(400, "redirect_uri_mismatch");
  const auto scopes = words_of(query.get("scope"));
  if (const auto problem = problem_of(query, scopes); !problem.empty()) return error_page(400, problem);
  if (asked.method == "GET") return page(200, consent_form(identity_, asked, query, scopes));
  if (asked.method != "POST" || !asked.content_type.starts_with(form_type)) return error_page(400, "invalid_request");

  const auto decision = form::parse(asked.body);
  form back;
  if (const auto* state = query.find("state")) back.add("state", *state);
  consent given{client->id,
                std::string(decision.get("email")),
                {},
                std::string(query.get("redirect_uri")),
                std::string(query.get("code_challenge")),
                std::string(query.get("code_challenge_method")),
                query.get("access_type") == "offline",
                query.get("prompt") == "consent"};
  for (const auto& [name, value] : decision.fields())
    if (name == "scope" && scopes.contains(value)) given.scopes.insert(value);
  const bool allows_something = !given.scopes.empty();
  for (const auto& scope : scopes)
    if (!is_optional(scope)) given.scopes.insert(scope);
  if (decision.get("decision") != "allow" || !allows_something) {
    back.add("error", "access_denied");
  } else if (identity_.find_user(given.email) == nullptr) {
    return error_page(400, "there is no such account");
  } else {
    std::string scope;
    for (const auto& each : given.scopes) scope += (scope.empty() ? "" : " ") + each;
    back.add("code", identity_.allow(std::move(given)));
    back.add("scope", scope);
  }
  return redirect(with_query(query.get("redirect_uri"), back));
}

answer google_oauth::token(const request& asked) {
  if (!asked.content_type.starts_with(form_type)) return oauth_error(400, "invalid_request", "Invalid content type.");
  const auto fields = form::parse(asked.body);
  const auto* client = identity_.find_client(fields.get("client_id"));
  if (client == nullptr) return oauth_error(401, "invalid_client", "The OAuth client was not found.");
  if (fields.get("client_secret") != client->secret) return oauth_error(401, "invalid_client", "Unauthorized");
  const auto type = fields.get("grant_type");
  std::variant<google_tokens, grant_problem> result;
  if (type == "authorization_code") {
    if (fields.find("code") == nullptr) return oauth_error(400, "invalid_request", "Missing required parameter: code");
    result = identity_.redeem(fields.get("code"), *client, fields.get("redirect_uri"), fields.find("code_verifier"));
  } else if (type == "refresh_token") {
    if (fields.find("refresh_token") == nullptr)
      return oauth_error(400, "invalid_request", "Missing required parameter: refresh_token");
    result = identity_.refresh(fields.get("refresh_token"), *client);
  } else {
    return oauth_error(400, "unsupported_grant_type", fmt::format("Invalid grant_type: {}", type));
  }
  if (const auto* problem = std::get_if<grant_problem>(&result))
    return oauth_error(problem->status, problem->error, problem->description);
  const auto& tokens = std::get<google_tokens>(result);
  nlohmann::json document = {{"access_token", tokens.access_token},
                             {"expires_in", tokens.expires_in},
                             {"scope", tokens.scope},
                             {"token_type", "Bearer"}};
  if (!tokens.id_token.empty()) document["id_token"] = tokens.id_token;
  if (!tokens.refresh_token.empty()) document["refresh_token"] = tokens.refresh_token;
  answer good;
  good.body = document.dump();
  return good;
}

answer google_oauth::revoke(const request& asked) {
  // Google takes the token in the query, too.
  const auto fields = form::parse(asked.body.empty() ? asked.query : asked.body);
  if (fields.find("token") == nullptr) return oauth_error(400, "invalid_request", "Missing required parameter: token");
  if (!identity_.revoke(fields.get("token"))) return oauth_error(400, "invalid_token", "Token expired or revoked");
  answer good;
  good.body = "{}";
  return good;
}

}  // namespace simulator
