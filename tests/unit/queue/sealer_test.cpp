#include "queue/sealer.h"

#include <gtest/gtest.h>

#include "support/fake_gateway.h"
#include "support/manual_timers.h"

namespace byocd {
namespace {

using namespace std::chrono_literals;

class SealerTest : public testing::Test {
 protected:
  ManualTimers timers;
  FakeGateway gateway;
  Sealer sealer{gateway, timers};
};

TEST_F(SealerTest, SealsOnceASecondAndOneCallAtATime) {
  sealer.connection_changed();
  timers.pass(999ms);
  EXPECT_TRUE(gateway.seals.empty());
  timers.pass(1ms);
  ASSERT_EQ(gateway.seals.size(), 1u);
  sealer.connection_changed();
  timers.pass(5s);
  ASSERT_EQ(gateway.seals.size(), 1u);
  answer(gateway.seals, {0});
  timers.pass(1s);
  EXPECT_EQ(gateway.seals.size(), 1u);
}

TEST_F(SealerTest, GoesOnSoonWhileEntriesWait) {
  sealer.connection_changed();
  timers.pass(1s);
  answer(gateway.seals, {200});
  timers.pass(100ms);
  EXPECT_EQ(gateway.seals.size(), 1u);
}

TEST_F(SealerTest, TriesAgainLaterAfterAnError) {
  sealer.connection_changed();
  timers.pass(1s);
  answer(gateway.seals, {fail(sql_error("22000"))});
  timers.pass(9s);
  EXPECT_TRUE(gateway.seals.empty());
  timers.pass(1s);
  EXPECT_EQ(gateway.seals.size(), 1u);
}

TEST_F(SealerTest, WaitsForTheConnectionAfterALoss) {
  sealer.connection_changed();
  timers.pass(1s);
  gateway.connected = false;
  sealer.connection_changed();
  answer(gateway.seals, {fail(lost())});
  timers.pass(20s);
  EXPECT_TRUE(gateway.seals.empty());
  gateway.connected = true;
  sealer.connection_changed();
  timers.pass(1s);
  EXPECT_EQ(gateway.seals.size(), 1u);
}

TEST_F(SealerTest, StopsForGood) {
  sealer.connection_changed();
  timers.pass(1s);
  sealer.stop();
  answer(gateway.seals, {1});
  sealer.connection_changed();
  timers.pass(20s);
  EXPECT_TRUE(gateway.seals.empty());
}

}  // namespace
}  // namespace byocd
