#include "queue/retry_policy.h"

#include <gtest/gtest.h>

namespace byocd {
namespace {

using namespace std::chrono_literals;

TEST(RetryPolicy, DoublesFromAHundredMillisecondsWithHalfOfItFixed) {
  const RetryPolicy least([] { return 0.0; });
  EXPECT_EQ(least.delay(1), 50ms);
  EXPECT_EQ(least.delay(2), 100ms);
  EXPECT_EQ(least.delay(5), 800ms);

  const RetryPolicy most([] { return 0.999999; });
  EXPECT_EQ(most.delay(1), 99ms);
  EXPECT_EQ(most.delay(2), 199ms);
}

TEST(RetryPolicy, NeverExceedsThirtySeconds) {
  const RetryPolicy most([] { return 0.999999; });
  EXPECT_LE(most.delay(9), 25'600ms);
  EXPECT_LE(most.delay(10), 30s);
  EXPECT_GE(most.delay(10), 29s);
  EXPECT_LE(most.delay(2'000'000'000), 30s);
}

TEST(RetryPolicy, TreatsAnAttemptBelowOneAsTheFirst) {
  const RetryPolicy least([] { return 0.0; });
  EXPECT_EQ(least.delay(0), 50ms);
  EXPECT_EQ(least.delay(-5), 50ms);
}

TEST(RetryPolicy, WaitsAtLeastAsLongAsTheProviderAsked) {
  const RetryPolicy least([] { return 0.0; });
  EXPECT_EQ(least.delay(1, 7s), 7s);
  EXPECT_EQ(least.delay(8, 1s), 6'400ms);
}

TEST(RetryPolicy, DoesNotBelieveARetryAfterOfDays) {
  const RetryPolicy least([] { return 0.0; });
  EXPECT_EQ(least.delay(1, 48h), 1h);
}

TEST(RetryPolicy, SystemRandomSpreads) {
  const RetryPolicy policy;
  const auto first = policy.delay(9);
  bool spread = false;
  for (int i = 0; i < 100; ++i) {
    const auto delay = policy.delay(9);
    EXPECT_GE(delay, 12'800ms);
    EXPECT_LT(delay, 25'600ms);
    spread = spread || delay != first;
  }
  EXPECT_TRUE(spread);
}

}  // namespace
}  // namespace byocd
