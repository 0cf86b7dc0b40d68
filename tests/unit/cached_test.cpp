#include "cached.h"

#include <gtest/gtest.h>

#include "support/manual_timers.h"

namespace byocd {
namespace {

using namespace std::chrono_literals;

class CachedTest : public testing::Test {
 protected:
  void get() {
    cached.get([this](const std::optional<int>& value) { got.push_back(value.value_or(-1)); });
  }
  void fetch(std::optional<int> value) {
    ASSERT_EQ(fetches.size(), 1U);
    auto done = std::move(fetches.front());
    fetches.clear();
    done(value);
  }

  ManualTimers timers;
  std::vector<std::function<void(std::optional<int>)>> fetches;
  Cached<int> cached{timers, 5s, 2s, [this](auto done) { fetches.push_back(std::move(done)); }};
  std::vector<int> got;
};

TEST_F(CachedTest, FetchesOnceForAllWhoAsk) {
  get();
  get();
  EXPECT_TRUE(got.empty());
  fetch(7);
  EXPECT_EQ(got, (std::vector{7, 7}));
}

TEST_F(CachedTest, KeepsWhatItFetched) {
  get();
  fetch(7);
  timers.pass(4s);
  get();
  EXPECT_EQ(got, (std::vector{7, 7}));
  timers.pass(2s);
  get();
  fetch(8);
  EXPECT_EQ(got.back(), 8);
}

TEST_F(CachedTest, WhoWaitsTooLongGetsNothing) {
  get();
  timers.pass(1s);
  get();
  timers.pass(1s);
  EXPECT_EQ(got, (std::vector{-1, -1}));
  get();  // the same fetch is still on its way
  fetch(7);
  EXPECT_EQ(got.back(), 7);
}

TEST_F(CachedTest, DoesNotKeepAFailure) {
  get();
  fetch(std::nullopt);
  EXPECT_EQ(got, std::vector{-1});
  get();
  fetch(7);
  EXPECT_EQ(got.back(), 7);
}

}  // namespace
}  // namespace byocd
