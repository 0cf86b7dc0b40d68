#include "google_oauth.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "../../extension/crypto/base64.h"
#include "../json.h"
#include "form.h"
#include "google_problems.h"
#include "json_members.h"
#include "provider.h"

namespace byocd {

namespace {

using nlohmann::json;

// To make and change events, and to see when somebody is free; no more.
constexpr std::array<std::string_view, 2> needed_scopes = {"https://www.googleapis.com/auth/calendar.events",
                                                           "https://www.googleapis.com/auth/calendar.freebusy"};
// Whose account it is.
constexpr std::string_view identity_scopes = "openid email";
constexpr std::size_t longest_id_token = 8192;
constexpr int default_lifetime = 300;  // seconds, when Google does not say how long a token lasts
constexpr int longest_lifetime = 24 * 3600;

HttpRequest form_request(const std::string& url, std::string form) {
  HttpRequest request;
  request.method = HttpRequest::Method::post;
  request.url = url;
  request.body = std::move(form);
  return request;
}

// The address in an ID token. It came from the token endpoint itself, over TLS, so its signature proves nothing more
// (OpenID Connect Core, section 3.1.3.7).
std::string account_of(const std::string& id_token) {
  const auto first = id_token.find('.');
  const auto second = first == id_token.npos ? first : id_token.find('.', first + 1);
  if (second == id_token.npos || id_token.size() > longest_id_token) return {};
  std::string payload(second - first, '\0');
  std::size_t size = 0;
  if (!byoc::base64url_decode(std::string_view(id_token).substr(first + 1, second - first - 1),
                              reinterpret_cast<std::uint8_t*>(payload.data()), payload.size(), size))
    return {};
  const json claims = parse_json(payload.substr(0, size));
  return claims.is_object() ? text_member(claims, "email").value_or("") : "";
}

struct Tokens {
  TokenGrant grant;
  std::string scope;
};

Result<Tokens, Problem> read_tokens(const HttpResult& result) {
  if (!result) return fail(failure_problem(result.error(), "Google"));
  if (result->status != 200) return fail(google_token_problem(*result));
  const json document = parse_json(result->body);
  const auto access = document.is_object() ? text_member(document, "access_token") : std::nullopt;
  // What goes into a header line must not end it.
  const bool printable =
      access && std::all_of(access->begin(), access->end(), [](char c) { return c > ' ' && c <= '~'; });
  if (!printable) return fail(not_google_problem(result->status));
  Tokens tokens;
  tokens.grant.access_token = SecretString(*access);
  tokens.grant.refresh_token = SecretString(text_member(document, "refresh_token").value_or(""));
  const int lifetime = number_member(document, "expires_in").value_or(default_lifetime);
  tokens.grant.expires_in = std::chrono::seconds(std::clamp(lifetime, 0, longest_lifetime));
  tokens.grant.account = account_of(text_member(document, "id_token").value_or(""));
  tokens.scope = text_member(document, "scope").value_or("");
  return tokens;
}

bool has_word(std::string_view words, std::string_view wanted) {
  while (!words.empty()) {
    const auto end = std::min(words.find(' '), words.size());
    if (words.substr(0, end) == wanted) return true;
    words.remove_prefix(std::min(end + 1, words.size()));
  }
  return false;
}

}  // namespace

GoogleOAuth::GoogleOAuth(const std::string& base_url, std::shared_ptr<const OAuthClient> client)
    : authorization_address_((base_url.empty() ? "https://accounts.google.com" : base_url) + "/o/oauth2/v2/auth"),
      token_address_((base_url.empty() ? "https://oauth2.googleapis.com" : base_url) + "/token"),
      revocation_address_((base_url.empty() ? "https://oauth2.googleapis.com" : base_url) + "/revoke"),
      client_(std::move(client)) {}

std::string GoogleOAuth::authorization_url(const AuthorizationRequest& request) const {
  std::string scope(identity_scopes);
  for (const auto& each : needed_scopes) scope.append(" ").append(each);
  std::string query;
  append_field(query, "client_id", request.client_id);
  append_field(query, "redirect_uri", request.redirect_uri);
  append_field(query, "response_type", "code");
  append_field(query, "scope", scope);
  append_field(query, "state", request.state);
  append_field(query, "code_challenge", request.code_challenge);
  append_field(query, "code_challenge_method", "S256");
  append_field(query, "access_type", "offline");
  // Without it a second connection of the same account comes without a refresh token.
  append_field(query, "prompt", "consent");
  return authorization_address_ + "?" + query;
}

HttpRequest GoogleOAuth::prepare_exchange(const AuthorizationCode& code, const OAuthClient& client) const {
  std::string form;
  append_field(form, "grant_type", "authorization_code");
  append_field(form, "code", code.code.reveal());
  append_field(form, "redirect_uri", code.redirect_uri);
  append_field(form, "code_verifier", code.verifier.reveal());
  append_field(form, "client_id", client.id);
  append_field(form, "client_secret", client.secret.reveal());
  return form_request(token_address_, std::move(form));
}

Result<TokenGrant, Problem> GoogleOAuth::interpret_exchange(const HttpResult& result) const {
  auto tokens = read_tokens(result);
  if (!tokens) {
    if (tokens.error().code == "invalid_grant")
      return fail(Problem{"invalid_grant", "Google did not accept the code that came back.", "Connect once more."});
    return fail(std::move(tokens.error()));
  }
  // The scope may be left out when it is what was asked for (RFC 6749, section 5.1).
  const bool all_allowed =
      tokens->scope.empty() || std::all_of(needed_scopes.begin(), needed_scopes.end(),
                                           [&](auto scope) { return has_word(tokens->scope, scope); });
  if (!all_allowed)
    return fail(Problem{"scope_missing", "Not everything that is needed was allowed.",
                        "Connect once more and leave all boxes ticked."});
  if (tokens->grant.refresh_token.empty())
    return fail(Problem{"no_refresh_token", "Google gave no lasting access.", "Connect once more."});
  return std::move(tokens->grant);
}

Result<HttpRequest, Problem> GoogleOAuth::prepare_refresh(const CredentialFields& credential) const {
  const SecretString* token = find_field(credential, "refresh_token");
  if (!token) return fail(Problem{"not_connected", "No Google account is connected yet.", "Connect Google Calendar."});
  const SecretString* id = find_field(credential, "client_id");
  const SecretString* secret = find_field(credential, "client_secret");
  if (secret && !id)
    return fail(Problem{"credential_incomplete", "There is a client secret, but no client ID.",
                        "Enter both, and connect Google Calendar again."});
  if (!secret && (!client_ || (id && id->reveal() != client_->id)))
    return fail(Problem{"client_changed",
                        "This server does not have the client ID any more that Google was connected by.",
                        "Connect Google Calendar again."});
  std::string form;
  append_field(form, "grant_type", "refresh_token");
  append_field(form, "refresh_token", token->reveal());
  append_field(form, "client_id", secret ? id->reveal() : client_->id);
  append_field(form, "client_secret", secret ? secret->reveal() : client_->secret.reveal());
  return form_request(token_address_, std::move(form));
}

Result<TokenGrant, Problem> GoogleOAuth::interpret_refresh(const HttpResult& result) const {
  auto tokens = read_tokens(result);
  if (!tokens) return fail(std::move(tokens.error()));
  return std::move(tokens->grant);
}

HttpRequest GoogleOAuth::prepare_revocation(const SecretString& token) const {
  std::string form;
  append_field(form, "token", token.reveal());
  return form_request(revocation_address_, std::move(form));
}

std::optional<Problem> GoogleOAuth::interpret_revocation(const HttpResult& result) const {
  if (!result) return failure_problem(result.error(), "Google");
  if (result->status == 200) return std::nullopt;
  const json document = parse_json(result->body);
  // It was revoked before, or has expired.
  if (result->status == 400 && document.is_object() && text_member(document, "error") == "invalid_token")
    return std::nullopt;
  return google_token_problem(*result);
}

}  // namespace byocd
