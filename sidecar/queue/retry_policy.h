// How long to wait before the next try.
#pragma once

#include <chrono>
#include <functional>
#include <optional>

namespace byocd {

/// What a provider asks for beyond this (Retry-After) is not believed.
constexpr std::chrono::milliseconds longest_retry_after{3'600'000};

/// Twilio's advice (https://www.twilio.com/docs/usage/rate-limits): 100 ms, doubling, with jitter, at most 30 s.
/// Equal jitter: half of the wait is fixed, half is random, so that clients that failed together do not return
/// together. What the provider asked for (Retry-After) is the least, up to an hour.
class RetryPolicy {
 public:
  /// Gives numbers from 0 (inclusive) to 1 (exclusive).
  using Random = std::function<double()>;

  explicit RetryPolicy(Random random = system_random());

  /// The wait after attempt `attempt` (from 1).
  std::chrono::milliseconds delay(int attempt, std::optional<std::chrono::milliseconds> retry_after = {}) const;

 private:
  static Random system_random();

  Random random_;
};

}  // namespace byocd
