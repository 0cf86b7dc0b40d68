// Checks credentials with their providers when the database asks for it.
#pragma once

#include <chrono>
#include <functional>
#include <memory>

#include "../db/gateway.h"
#include "../http/request.h"
#include "../providers/registry.h"
#include "../timers.h"
#include "access_tokens.h"
#include "credential_cache.h"

namespace byocd {

/// A few checks at a time, beside the slots of messages.
class Verifier {
 public:
  struct Parts {
    Gateway& gateway;
    const Registry& registry;
    HttpClient& http;
    CredentialCache& credentials;
    AccessTokens& tokens;
    Timers& timers;
  };

  Verifier(Parts parts, std::chrono::milliseconds poll_interval);

  /// There may be a check to do (a NOTIFY): looks soon, not for every NOTIFY.
  void wake();
  /// A connection became ready or was lost.
  void connection_changed();
  void stop();
  int running() const { return running_; }

 private:
  /// One check on its way through its steps.
  struct Check {
    VerificationJob job;
    CredentialCache::Credential credential;
    const Provider* provider = nullptr;
    int step = 0;
  };
  using CheckPtr = std::shared_ptr<Check>;

  void claim();
  void start(VerificationJob job);
  void authorize(const VerificationJob& job, const CredentialCache::Credential& credential);
  void next_step(const CheckPtr& check);
  void finish(const VerificationJob& job, const Verdict& verdict);

  Parts parts_;
  std::chrono::milliseconds poll_interval_;
  std::unique_ptr<Timer> timer_;
  Clock::time_point next_look_;
  bool stopped_ = false;
  bool claiming_ = false;
  int running_ = 0;
};

}  // namespace byocd
