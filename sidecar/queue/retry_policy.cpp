#include "retry_policy.h"

#include <algorithm>
#include <memory>
#include <random>

namespace byocd {

namespace {

using std::chrono::milliseconds;

constexpr milliseconds first_wait{100};
constexpr milliseconds longest_backoff{30'000};
// 100 ms doubled nine times passes the cap; more doublings would only overflow.
constexpr int most_doublings = 9;

}  // namespace

RetryPolicy::RetryPolicy(Random random) : random_(std::move(random)) {}

milliseconds RetryPolicy::delay(int attempt, std::optional<milliseconds> retry_after) const {
  const int doublings = std::clamp(attempt - 1, 0, most_doublings);
  const milliseconds full = std::min(first_wait * (1 << doublings), longest_backoff);
  const auto half = full / 2;
  const milliseconds wait =
      half + milliseconds(static_cast<milliseconds::rep>(static_cast<double>((full - half).count()) * random_()));
  return retry_after ? std::max(wait, std::min(*retry_after, longest_retry_after)) : wait;
}

RetryPolicy::Random RetryPolicy::system_random() {
  auto engine = std::make_shared<std::minstd_rand>(std::random_device{}());
  return [engine] { return std::uniform_real_distribution<>(0.0, 1.0)(*engine); };
}

}  // namespace byocd
