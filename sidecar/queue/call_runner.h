// Makes calls: claims them, takes them to their providers, hands over what became of them.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <vector>

#include "../db/gateway.h"
#include "../http/request.h"
#include "../providers/call_provider.h"
#include "../providers/registry.h"
#include "../timers.h"
#include "access_tokens.h"
#include "call_recorder.h"
#include "credential_cache.h"

namespace byocd {

/// Beside the slots of messages: a provider of calls that hangs takes none of those. Looks at once when woken, and at
/// every poll, but is never busy looking; never claims more than it can make now.
class CallRunner {
 public:
  struct Parts {
    Gateway& gateway;
    const Registry& registry;
    HttpClient& http;
    CredentialCache& credentials;
    AccessTokens& tokens;
    Timers& timers;
  };
  struct Options {
    std::chrono::milliseconds poll_interval{1'000};
    std::chrono::milliseconds lease{30'000};
    int most_calls = 32;
    int most_of_a_credential = 8;
  };

  /// Told of each call that came to its end, and how long it took from its claim on.
  using OnOutcome = std::function<void(const ClaimedCall&, const CallOutcome&, Clock::duration)>;

  CallRunner(Parts parts, Options options, OnOutcome on_outcome = nullptr);

  /// There may be calls to make.
  void wake();
  /// A connection became ready or was lost.
  void connection_changed();
  /// No more claims, and no more requests.
  void stop();
  /// Calls without an outcome.
  int in_flight() const { return running_; }
  /// Whether nothing is on its way and everything is recorded.
  bool settled() const { return running_ == 0 && !claiming_ && recorder_.unrecorded() == 0; }

 private:
  /// One call on its way through its steps.
  struct Run {
    ClaimedCall call;
    Clock::time_point begin;
    CredentialCache::Credential credential;
    const CallProvider* provider = nullptr;
    int step = 0;
    int requests = 0;
    bool token_renewed = false;
    /// A request may have reached the provider.
    bool written = false;
  };
  using RunPtr = std::shared_ptr<Run>;

  void claim();
  void on_claimed(Result<std::vector<ClaimedCall>, DbError> result);
  void start(ClaimedCall call);
  void authorize(const RunPtr& run, const CredentialCache::Credential& credential);
  void send(const RunPtr& run, const CredentialCache::Credential& authorized);
  void on_answer(const RunPtr& run, const CredentialCache::Credential& authorized, const HttpResult& result);
  void finish(const RunPtr& run, CallOutcome outcome);

  Parts parts_;
  Options options_;
  OnOutcome on_outcome_;
  CallRecorder recorder_;
  std::unique_ptr<Timer> timer_;
  Clock::time_point next_look_;
  Clock::time_point last_look_;
  Clock::duration rest_;  // between two looks
  bool stopped_ = false;
  bool claiming_ = false;
  bool woken_ = false;  // a wake() came while a claim was on its way
  int running_ = 0;
};

}  // namespace byocd
