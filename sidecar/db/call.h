// Calls: requests to a provider that may be repeated without harm.
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "../clock.h"

namespace byocd {

/// One call that is ours until its lease ends.
struct ClaimedCall {
  std::string org_id;
  /// The same for every attempt: what makes a repetition harmless.
  std::string id;
  std::string claim_id;
  /// The provider.
  std::string credential_type;
  /// Nothing: the organization has no such credential.
  std::optional<std::string> credential_id;
  int credential_version = 0;
  /// What the provider is asked to do; its adapter knows the names.
  std::string operation;
  /// What the call is about; the call's own id when it shares that with no other.
  std::string subject;
  /// A JSON object.
  std::string payload;
  /// Counts from 1.
  int attempt = 1;
  std::chrono::sys_seconds created_at;
  /// No request for it is written after this: another byocd may have it by then.
  Clock::time_point not_after;
};

/// What an answer to a call's request means.
struct CallOutcome {
  enum class Kind {
    /// Go on with the request of step `next_step`.
    next,
    accepted,
    /// It will never be accepted as it is; `error_code` may say otherwise (byoc.provider_errors).
    rejected,
    /// The credential is at fault, and fails: the call waits for it. `error_message` tells the tenant what to do.
    bad_credential,
    /// The provider wants fewer requests.
    throttled,
    /// Nothing is known: it is tried again.
    unavailable,
    /// Not tried: give it back.
    returned,
  };
  Kind kind = Kind::returned;
  int next_step = 0;
  std::optional<int> http_status;
  /// The provider's code as text, or one of ours (`no_credential`, `timeout`, ...).
  std::optional<std::string> error_code;
  std::optional<std::string> error_message;
  /// What the provider asked to wait.
  std::optional<std::chrono::milliseconds> retry_after;
  /// What is kept of the answer: a JSON object, or nothing.
  std::optional<std::string> result;
};

/// An outcome with the call it belongs to.
struct CallRecord {
  std::string org_id;
  std::string id;
  std::string claim_id;
  CallOutcome outcome;
};

/// The name that SQL knows; `next` has none.
const char* to_string(CallOutcome::Kind kind);

}  // namespace byocd
