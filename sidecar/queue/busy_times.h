// Asks a tenant's calendar when it is busy, on behalf of a request that waits for it.
#pragma once

#include <functional>
#include <string>

#include "../http/request.h"
#include "../providers/registry.h"
#include "access_tokens.h"
#include "credential_cache.h"

namespace byocd {

/// What is asked for: one credential's calendar, from and to as RFC 3339 times.
struct BusyQuestion {
  CredentialRef credential;
  int credential_version = 0;
  std::string from;
  std::string to;
};

class BusyTimes {
 public:
  /// A JSON array of {"start", "end"}.
  using Answer = Result<std::string, Problem>;

  virtual ~BusyTimes() = default;
  /// The callback comes from the loop, or at once.
  virtual void ask(const BusyQuestion& question, std::function<void(Answer)> callback) = 0;
};

class CalendarBusyTimes final : public BusyTimes {
 public:
  struct Parts {
    const Registry& registry;
    HttpClient& http;
    CredentialCache& credentials;
    AccessTokens& tokens;
  };

  explicit CalendarBusyTimes(Parts parts) : parts_(parts) {}
  void ask(const BusyQuestion& question, std::function<void(Answer)> callback) override;

 private:
  void send(const BusyQuestion& question, const CredentialCache::Credential& credential,
            const std::function<void(Answer)>& callback);

  Parts parts_;
};

}  // namespace byocd
