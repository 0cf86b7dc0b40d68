#include "google_identity.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base64.h"
#include "random.h"

namespace simulator {
namespace {

constexpr auto code_lifetime = std::chrono::minutes(10);
constexpr std::string_view code_prefix = "4/0";

std::string base64url(std::string_view bytes) {
  auto text = base64_encode(bytes);
  std::replace(text.begin(), text.end(), '+', '-');
  std::replace(text.begin(), text.end(), '/', '_');
  return text.substr(0, text.find('='));
}

/// RFC 7636, section 4.6.
std::string challenge_of(std::string_view verifier, std::string_view method) {
  if (method == "plain") return std::string(verifier);
  std::string digest(SHA256_DIGEST_LENGTH, '\0');
  SHA256(reinterpret_cast<const unsigned char*>(verifier.data()), verifier.size(),
         reinterpret_cast<unsigned char*>(digest.data()));
  return base64url(digest);
}

grant_problem invalid_grant(const char* description) {
  return {400, "invalid_grant", description};
}

}  // namespace

const google_calendar* google_user::find_calendar(std::string_view id) const {
  if (id == "primary") return &calendars.front();
  const auto found = std::find_if(calendars.begin(), calendars.end(), [&](const auto& each) { return each.id == id; });
  return found == calendars.end() ? nullptr : &*found;
}

const google_client* google_identity::find_client(std::string_view id) const {
  const auto found = clients_.find(id);
  return found == clients_.end() ? nullptr : &found->second;
}

const google_user* google_identity::find_user(std::string_view email) const {
  const auto found = users_.find(email);
  return found == users_.end() ? nullptr : &found->second;
}

std::pair<google_identity::grant_id, bool> google_identity::grant_for(const std::string& email,
                                                                      const std::string& client_id,
                                                                      const std::set<std::string>& scopes) {
  const auto found = std::find_if(grants_.begin(), grants_.end(), [&](const auto& each) {
    return each.second.email == email && each.second.client_id == client_id;
  });
  const bool is_new = found == grants_.end();
  const auto id = is_new ? ++serial_ : found->first;
  auto& grant = grants_[id];
  grant.email = email;
  grant.client_id = client_id;
  grant.scopes.insert(scopes.begin(), scopes.end());
  return {id, is_new};
}

std::string google_identity::new_token(std::string_view prefix) {
  const auto value = ++serial_;
  return fmt::format("{}simulated-{:016x}{:016x}", prefix, mixed(value), mixed(~value));
}

std::string google_identity::id_token_for(const google_client& client, const std::string& email) const {
  const auto seconds = std::chrono::floor<std::chrono::seconds>(now()).time_since_epoch().count();
  const nlohmann::json claims = {{"iss", "https://accounts.google.com"},
                                 {"aud", client.id},
                                 {"sub", email},
                                 {"email", email},
                                 {"email_verified", true},
                                 {"iat", seconds},
                                 {"exp", seconds + 3600}};
  const auto signed_part = base64url(R"({"alg":"HS256","typ":"JWT"})") + "." + base64url(claims.dump());
  std::string digest(SHA256_DIGEST_LENGTH, '\0');
  HMAC(EVP_sha256(), client.secret.data(), static_cast<int>(client.secret.size()),
       reinterpret_cast<const unsigned char*>(signed_part.data()), signed_part.size(),
       reinterpret_cast<unsigned char*>(digest.data()), nullptr);
  return signed_part + "." + base64url(digest);
}

std::string google_identity::allow(consent given) {
  const auto [id, is_new] = grant_for(given.email, given.client_id, given.scopes);
  const bool with_refresh_token = given.offline && (is_new || given.forced);
  auto code = new_token(code_prefix);
  codes_[code] = {std::move(given), id, now() + code_lifetime, with_refresh_token};
  return code;
}

google_tokens google_identity::tokens_of(grant_id of, const std::set<std::string>& scopes) {
  google_tokens result{new_token("ya29."), "", fmt::format("{}", fmt::join(scopes, " ")), access_seconds};
  access_tokens_[result.access_token] = {of, scopes, now() + std::chrono::seconds(access_seconds)};
  return result;
}

std::variant<google_tokens, grant_problem> google_identity::redeem(std::string_view code, const google_client& client,
                                                                   std::string_view redirect_uri,
                                                                   const std::string* verifier) {
  if (!code.starts_with(code_prefix)) return invalid_grant("Malformed auth code.");
  const auto found = codes_.find(code);
  if (found == codes_.end() || found->second.expires < now() || !grants_.contains(found->second.of) ||
      found->second.given.client_id != client.id)
    return invalid_grant("Bad Request");
  const auto issued = found->second;
  // Once, whatever comes of it.
  codes_.erase(found);
  if (issued.given.redirect_uri != redirect_uri) return grant_problem{400, "redirect_uri_mismatch", "Bad Request"};
  if (!issued.given.challenge.empty()) {
    if (verifier == nullptr) return invalid_grant("Missing code verifier.");
    if (challenge_of(*verifier, issued.given.challenge_method) != issued.given.challenge)
      return invalid_grant("Invalid code verifier.");
  }
  auto tokens = tokens_of(issued.of, issued.given.scopes);
  if (issued.given.scopes.contains("openid")) tokens.id_token = id_token_for(client, issued.given.email);
  if (issued.with_refresh_token) {
    tokens.refresh_token = new_token("1//0");
    refresh_tokens_[tokens.refresh_token] = issued.of;
  }
  return tokens;
}

std::variant<google_tokens, grant_problem> google_identity::refresh(std::string_view refresh_token,
                                                                    const google_client& client) {
  const auto found = refresh_tokens_.find(refresh_token);
  if (found == refresh_tokens_.end()) return invalid_grant("Token has been expired or revoked.");
  auto& grant = grants_.at(found->second);
  if (grant.client_id != client.id) return grant_problem{401, "unauthorized_client", "Unauthorized"};
  ++grant.refreshes;
  return tokens_of(found->second, grant.scopes);
}

bool google_identity::revoke(std::string_view token) {
  grant_id of = 0;
  if (const auto refresh = refresh_tokens_.find(token); refresh != refresh_tokens_.end())
    of = refresh->second;
  else if (const auto access = access_tokens_.find(token); access != access_tokens_.end())
    of = access->second.of;
  if (grants_.erase(of) == 0) return false;
  std::erase_if(refresh_tokens_, [&](const auto& each) { return each.second == of; });
  std::erase_if(access_tokens_, [&](const auto& each) { return each.second.of == of; });
  return true;
}

std::optional<google_access> google_identity::authenticate(std::string_view authorization) const {
  constexpr std::string_view scheme = "Bearer ";
  if (!authorization.starts_with(scheme)) return std::nullopt;
  const auto found = access_tokens_.find(authorization.substr(scheme.size()));
  if (found == access_tokens_.end() || found->second.expires < now()) return std::nullopt;
  const auto* user = find_user(grants_.at(found->second.of).email);
  return user == nullptr ? std::nullopt : std::optional(google_access{user, found->second.scopes});
}

std::string google_identity::grant(const std::string& email, const std::string& client_id,
                                   std::set<std::string> scopes) {
  auto token = new_token("1//0");
  refresh_tokens_[token] = grant_for(email, client_id, scopes).first;
  return token;
}

void google_identity::end_grants() {
  grants_.clear();
  codes_.clear();
  refresh_tokens_.clear();
  access_tokens_.clear();
}

}  // namespace simulator
