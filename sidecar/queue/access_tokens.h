// Access tokens of credentials whose provider wants one: fetched when needed, kept in memory until they expire.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "../http/request.h"
#include "../providers/oauth.h"
#include "../providers/registry.h"
#include "../timers.h"
#include "credential_cache.h"

namespace byocd {

/// One request for a token of a credential at a time; who asks meanwhile gets its answer. Another byocd has tokens of
/// its own.
class AccessTokens {
 public:
  using Credential = CredentialCache::Credential;
  /// `unreachable` problems say nothing about the credential: ask again later.
  using Answer = Result<Credential, Problem>;
  using Callback = std::function<void(const Answer&)>;

  AccessTokens(const Registry& registry, HttpClient& http, Timers& timers);

  /// Answers the credential as it is when its provider wants no access token, else with one more field `access_token`,
  /// that is good for a minute at least. Calls back at once when it is known.
  void get(const Credential& credential, Callback callback);
  /// The same with a new token: proves that the credential can get one.
  void renew(const Credential& credential, Callback callback);
  /// The provider refused the access token of this credential, which get() gave: it is not given any more.
  void refused(const Credential& credential);

  std::size_t size() const { return tokens_.size(); }

 private:
  // A credential's id and version: with other fields it has other tokens.
  using Key = std::pair<std::string, int>;
  struct Token {
    SecretString text;
    Clock::time_point usable_until;
  };
  struct Waiting {
    Credential credential;
    std::vector<Callback> callbacks;
  };

  const OAuthProvider* oauth_of(const Credential& credential) const;
  void answer(const Key& key, const OAuthProvider& oauth, const HttpResult& result);
  void sweep();

  const Registry& registry_;
  HttpClient& http_;
  Timers& timers_;
  std::unique_ptr<Timer> sweep_timer_;
  std::map<Key, Token> tokens_;
  std::map<Key, Waiting> waiting_;
};

}  // namespace byocd
