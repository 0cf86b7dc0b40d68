#include "access_tokens.h"

namespace byocd {

namespace {

using namespace std::chrono_literals;

// A token is not used in its last minute: the request with it takes its time, and clocks differ.
constexpr auto margin = 60s;
constexpr auto token_sweep_interval = 1min;
constexpr const char* field = "access_token";

CredentialCache::Credential with_token(const OpenedCredential& credential, const SecretString& token) {
  auto copy = std::make_shared<OpenedCredential>();
  copy->org_id = credential.org_id;
  copy->id = credential.id;
  copy->provider = credential.provider;
  copy->version = credential.version;
  for (const auto& [name, value] : credential.fields) copy->fields.emplace(name, value.copy());
  copy->fields.insert_or_assign(field, token.copy());
  return copy;
}

}  // namespace

AccessTokens::AccessTokens(const Registry& registry, HttpClient& http, Timers& timers)
    : registry_(registry), http_(http), timers_(timers), sweep_timer_(timers.make_timer([this] { sweep(); })) {}

const OAuthProvider* AccessTokens::oauth_of(const Credential& credential) const {
  const Provider* provider = registry_.find(credential->provider);
  return provider ? provider->oauth() : nullptr;
}

void AccessTokens::get(const Credential& credential, Callback callback) {
  if (!oauth_of(credential)) return callback(credential);
  const auto found = tokens_.find({credential->id, credential->version});
  if (found == tokens_.end() || found->second.usable_until <= timers_.now())
    return renew(credential, std::move(callback));
  callback(with_token(*credential, found->second.text));
}

void AccessTokens::renew(const Credential& credential, Callback callback) {
  const OAuthProvider* oauth = oauth_of(credential);
  if (!oauth) return callback(credential);
  const Key key{credential->id, credential->version};
  if (const auto found = waiting_.find(key); found != waiting_.end()) {
    found->second.callbacks.push_back(std::move(callback));
    return;
  }
  auto request = oauth->prepare_refresh(credential->fields);
  if (!request) return callback(fail(std::move(request.error())));
  auto& waiting = waiting_[key];
  waiting.credential = credential;
  waiting.callbacks.push_back(std::move(callback));
  http_.send(std::move(*request), [this, key, oauth](const HttpResult& result) { answer(key, *oauth, result); });
}

void AccessTokens::answer(const Key& key, const OAuthProvider& oauth, const HttpResult& result) {
  const auto found = waiting_.find(key);
  const Waiting waiting = std::move(found->second);
  waiting_.erase(found);
  auto grant = oauth.interpret_refresh(result);
  if (!grant) {
    // An older token may still be good, but what it stands for is in doubt.
    if (!grant.error().unreachable) tokens_.erase(key);
    for (const auto& callback : waiting.callbacks) callback(fail(Problem(grant.error())));
    return;
  }
  const auto credential = with_token(*waiting.credential, grant->access_token);
  tokens_[key] = {std::move(grant->access_token), timers_.now() + grant->expires_in - margin};
  if (!sweep_timer_->pending()) sweep_timer_->start(token_sweep_interval);
  for (const auto& callback : waiting.callbacks) callback(credential);
}

void AccessTokens::refused(const Credential& credential) {
  const auto found = tokens_.find({credential->id, credential->version});
  const auto given = credential->fields.find(field);
  // Not one that was fetched since.
  if (found == tokens_.end() || given == credential->fields.end()) return;
  if (found->second.text.reveal() == given->second.reveal()) tokens_.erase(found);
}

void AccessTokens::sweep() {
  std::erase_if(tokens_, [&](const auto& each) { return each.second.usable_until <= timers_.now(); });
  if (!tokens_.empty()) sweep_timer_->start(token_sweep_interval);
}

}  // namespace byocd
