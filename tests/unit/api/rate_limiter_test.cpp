#include "api/rate_limiter.h"

#include <gtest/gtest.h>

namespace byocd {
namespace {

using namespace std::chrono_literals;

TEST(RateLimiter, GivesEachCallerSoMuchASecond) {
  RateLimiter limiter(2);
  Clock::time_point now{1h};
  EXPECT_TRUE(limiter.admit("a", now));
  EXPECT_TRUE(limiter.admit("a", now));
  EXPECT_FALSE(limiter.admit("a", now));
  EXPECT_TRUE(limiter.admit("b", now));
  now += 500ms;
  EXPECT_TRUE(limiter.admit("a", now));
  EXPECT_FALSE(limiter.admit("a", now));
  now += 1h;
  EXPECT_TRUE(limiter.admit("a", now));
  EXPECT_TRUE(limiter.admit("a", now));
  EXPECT_FALSE(limiter.admit("a", now)) << "no more than a second's worth is saved up";
}

TEST(RateLimiter, ForgetsWhoWasNotSeen) {
  RateLimiter limiter(1);
  Clock::time_point now{1h};
  for (int i = 0; i < 1000; ++i) limiter.admit(std::to_string(i), now);
  limiter.admit("later", now + 2s);
  EXPECT_EQ(limiter.callers(), 1u);
}

}  // namespace
}  // namespace byocd
