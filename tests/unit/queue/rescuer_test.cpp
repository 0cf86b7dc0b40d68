#include "queue/rescuer.h"

#include <gtest/gtest.h>

#include "support/fake_gateway.h"
#include "support/jobs.h"
#include "support/manual_timers.h"

namespace byocd {
namespace {

using namespace std::chrono_literals;

class RescuerTest : public testing::Test {
 protected:
  void settle() {
    while (!gateway.heartbeats.empty()) answer(gateway.heartbeats, {1});
    while (!gateway.rescues.empty()) answer(gateway.rescues, {0});
  }

  ManualTimers timers;
  FakeGateway gateway;
  Identities identities{30s};
  std::uint64_t known = 0;
  std::uint64_t recorded = 0;
  Rescuer rescuer{gateway, timers, identities, {[this] { return known; }, [this] { return recorded; }}, 30s};
};

TEST_F(RescuerTest, BeatsEveryThirdOfALeaseAndRescuesEveryHalf) {
  identities.renew();
  rescuer.connection_changed();
  EXPECT_EQ(gateway.heartbeats.size(), 1u);
  EXPECT_EQ(gateway.rescues.size(), 1u);
  settle();
  timers.pass(10s);
  EXPECT_EQ(gateway.heartbeats.size(), 1u);
  EXPECT_EQ(gateway.rescues.size(), 0u);
  timers.pass(5s);
  EXPECT_EQ(gateway.rescues.size(), 1u);
}

TEST_F(RescuerTest, RescuesOnlyAfterOurOwnOutcomesAreRecorded) {
  known = 3;
  rescuer.connection_changed();
  timers.pass(1s);
  EXPECT_TRUE(gateway.rescues.empty());
  known = 8;  // and so on: it is busy
  recorded = 3;
  timers.pass(200ms);
  EXPECT_EQ(gateway.rescues.size(), 1u);
}

TEST_F(RescuerTest, AHeartbeatProlongsTheLeaseFromWhenItWasSent) {
  const std::string identity = identities.renew();
  const auto claim = make_claim("claim", timers.now(), identity);
  EXPECT_FALSE(identities.surely_held(*claim, timers.now()));
  rescuer.connection_changed();
  timers.freeze(5s);
  answer(gateway.heartbeats, {1});
  EXPECT_TRUE(identities.surely_held(*claim, timers.now() + 15s));
  EXPECT_FALSE(identities.surely_held(*claim, timers.now() + 16s));
}

TEST_F(RescuerTest, AnIdentityWithoutJobsIsRenewedOnlyWhileItIsTheCurrentOne) {
  const std::string first = identities.renew();
  rescuer.connection_changed();
  settle();
  identities.renew();
  timers.pass(10s);
  ASSERT_EQ(gateway.heartbeats.size(), 1u);
  EXPECT_NE(gateway.heartbeats.front().arguments, first);
}

}  // namespace
}  // namespace byocd
