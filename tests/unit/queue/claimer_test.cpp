#include "queue/claimer.h"

#include <gtest/gtest.h>

#include "support/fake_gateway.h"
#include "support/jobs.h"
#include "support/manual_timers.h"

namespace byocd {
namespace {

using namespace std::chrono_literals;
using Due = std::optional<std::chrono::milliseconds>;

class ClaimerTest : public testing::Test {
 protected:
  static constexpr int slots = 8;

  std::vector<ClaimedJob> jobs(int count) { return make_jobs(make_claim("claim", timers.now() + 30s), count); }
  // Answers a claim, and occupies slots for its jobs.
  int claimed(int count) { return answer(gateway.claims, {jobs(count)}); }
  void sleep_answer(Due due) { answer(gateway.sleeps, {due}); }
  // The lane has as many jobs as it may.
  LaneLoads::Lane fill(const std::string& name) {
    for (int i = 1; i < slots; ++i) lanes.add(name);
    return lanes.add(name);
  }
  void fall_asleep() {
    claimer.connection_changed();
    claimed(0);
    sleep_answer(std::nullopt);
  }

  ManualTimers timers;
  FakeGateway gateway;
  int busy = 0;
  double jobs_a_request = 1;
  bool may_claim = true;
  std::chrono::microseconds duration{0};
  LaneLoads lanes{slots, slots};
  Claimer claimer{gateway,
                  timers,
                  lanes,
                  {[] { return slots; }, [this] { return slots - busy; }, [this] { return jobs_a_request; },
                   [this] { return may_claim; }, [this] { return duration; },
                   [this](const std::vector<ClaimedJob>& got) { busy += static_cast<int>(got.size()); }},
                  {1000ms}};
};

TEST_F(ClaimerTest, ClaimsAllFreeSlotsWhenConnected) {
  gateway.connected = false;
  claimer.connection_changed();
  EXPECT_TRUE(gateway.claims.empty());
  gateway.connected = true;
  busy = 3;
  claimer.connection_changed();
  ASSERT_EQ(gateway.claims.size(), 1u);
  EXPECT_EQ(gateway.claims.front().arguments, 5);
}

TEST_F(ClaimerTest, AnnouncesSleepAfterAnEmptyClaimAndWaitsForANotification) {
  claimer.connection_changed();
  claimed(3);
  EXPECT_TRUE(gateway.sleeps.empty()) << "a short claim does not mean an empty queue";
  claimed(0);
  ASSERT_EQ(gateway.sleeps.size(), 1u);
  sleep_answer(std::nullopt);
  timers.pass(999ms);
  EXPECT_TRUE(gateway.claims.empty());
  claimer.wake();
  ASSERT_EQ(gateway.claims.size(), 1u);
  EXPECT_EQ(gateway.claims.front().arguments, 5);
}

TEST_F(ClaimerTest, LetsFewRequestsGoOutBeforeItAsksForMore) {
  busy = -16;  // 24 slots
  claimer.connection_changed();
  claimed(2);
  EXPECT_TRUE(gateway.claims.empty());
  timers.pass(1ms);
  EXPECT_EQ(gateway.claims.size(), 1u);
  claimed(1);
  claimer.wake();
  EXPECT_EQ(gateway.claims.size(), 1u) << "a notification ends the wait";
  claimed(10);
  EXPECT_EQ(gateway.claims.size(), 1u) << "after more it does not wait";
}

TEST_F(ClaimerTest, PollsWhenNoNotificationComes) {
  fall_asleep();
  timers.pass(1000ms);
  EXPECT_EQ(gateway.claims.size(), 1u);
}

TEST_F(ClaimerTest, WakesWhenWorkIsDueBeforeThePoll) {
  claimer.connection_changed();
  claimed(0);
  sleep_answer(40ms);
  timers.pass(39ms);
  EXPECT_TRUE(gateway.claims.empty());
  timers.pass(1ms);
  EXPECT_EQ(gateway.claims.size(), 1u);
}

TEST_F(ClaimerTest, ClaimsAgainAtOnceWhenWorkArrivedBeforeTheSleep) {
  claimer.connection_changed();
  claimed(2);
  claimed(0);
  sleep_answer(0ms);
  EXPECT_EQ(gateway.claims.size(), 1u);
}

TEST_F(ClaimerTest, DoesNotSpinOnWorkThatCannotBeHad) {
  claimer.connection_changed();
  int claims = 0;
  const auto end = timers.now() + 1s;
  while (timers.now() < end) {
    if (gateway.claims.empty()) {
      timers.pass(1ms);
      continue;
    }
    claimed(0);
    sleep_answer(0ms);
    ++claims;
  }
  EXPECT_LE(claims, 30);
  EXPECT_GE(claims, 15);
}

TEST_F(ClaimerTest, ANotificationEndsTheWaitForWorkThatCouldNotBeHad) {
  claimer.connection_changed();
  for (int i = 0; i < 8; ++i) {
    claimed(0);
    sleep_answer(0ms);
    if (gateway.claims.empty() && i < 7) timers.pass(50ms);
  }
  ASSERT_TRUE(gateway.claims.empty());
  claimer.wake();
  EXPECT_EQ(gateway.claims.size(), 1u);
}

TEST_F(ClaimerTest, ANotificationDuringAClaimIsNotForgotten) {
  claimer.connection_changed();
  claimer.wake();
  claimed(0);
  EXPECT_TRUE(gateway.sleeps.empty());
  EXPECT_EQ(gateway.claims.size(), 1u);
}

TEST_F(ClaimerTest, ANotificationDuringTheAnnouncementIsNotForgotten) {
  claimer.connection_changed();
  claimed(0);
  claimer.wake();
  sleep_answer(std::nullopt);
  EXPECT_EQ(gateway.claims.size(), 1u);
}

TEST_F(ClaimerTest, NeverClaimsWithoutAFreeSlot) {
  claimer.connection_changed();
  claimed(slots);
  claimer.wake();
  timers.pass(10s);
  EXPECT_TRUE(gateway.claims.empty());
}

TEST_F(ClaimerTest, WithABacklogFreedSlotsAddUpToAQuarter) {
  claimer.connection_changed();
  claimed(slots);
  --busy;
  claimer.advance();
  EXPECT_TRUE(gateway.claims.empty());
  --busy;
  claimer.advance();
  ASSERT_EQ(gateway.claims.size(), 1u);
  EXPECT_EQ(gateway.claims.front().arguments, 2);
}

TEST_F(ClaimerTest, WithABacklogAFreedSlotWaitsOnlyForAPartOfARequestsTime) {
  duration = 64ms;
  claimer.connection_changed();
  claimed(slots);
  --busy;
  claimer.advance();
  timers.pass(1999us);
  EXPECT_TRUE(gateway.claims.empty());
  timers.pass(1us);
  EXPECT_EQ(gateway.claims.size(), 1u);
}

TEST_F(ClaimerTest, ClaimsBeforeTheJobsThatWaitForARequestRunOut) {
  jobs_a_request = 8.0 / 6;  // 6 requests, and 2 jobs that wait
  claimer.connection_changed();
  claimed(slots);
  --busy;
  claimer.advance();
  ASSERT_EQ(gateway.claims.size(), 1u);
  EXPECT_EQ(gateway.claims.front().arguments, 1);
}

TEST_F(ClaimerTest, WaitsWhileTooManyOutcomesAreUnrecorded) {
  may_claim = false;
  claimer.connection_changed();
  EXPECT_TRUE(gateway.claims.empty());
  may_claim = true;
  claimer.advance();
  EXPECT_EQ(gateway.claims.size(), 1u);
}

TEST_F(ClaimerTest, BacksOffAfterAnErrorAndRecovers) {
  claimer.connection_changed();
  answer(gateway.claims, {fail(sql_error("XX000"))});
  claimer.wake();
  timers.pass(99ms);
  EXPECT_TRUE(gateway.claims.empty());
  timers.pass(1ms);
  ASSERT_EQ(gateway.claims.size(), 1u);
  answer(gateway.claims, {fail(sql_error("XX000"))});
  timers.pass(199ms);
  EXPECT_TRUE(gateway.claims.empty());
  timers.pass(1ms);
  EXPECT_EQ(gateway.claims.size(), 1u);
}

TEST_F(ClaimerTest, GoesOnAfterALostConnection) {
  claimer.connection_changed();
  gateway.connected = false;
  answer(gateway.claims, {fail(lost())});
  claimer.connection_changed();
  timers.pass(10s);
  EXPECT_TRUE(gateway.claims.empty());
  gateway.connected = true;
  claimer.connection_changed();
  EXPECT_EQ(gateway.claims.size(), 1u);
}

TEST_F(ClaimerTest, StopLetsAClaimOnItsWayDeliver) {
  claimer.connection_changed();
  claimer.stop();
  EXPECT_TRUE(claimer.claiming());
  claimed(2);
  EXPECT_EQ(busy, 2);
  EXPECT_FALSE(claimer.claiming());
  claimer.wake();
  timers.pass(10s);
  EXPECT_TRUE(gateway.claims.empty());
  EXPECT_TRUE(gateway.sleeps.empty());
}

TEST_F(ClaimerTest, TellsTheRoomOfLanesInUse) {
  lanes.add("slow");
  claimer.connection_changed();
  EXPECT_EQ(gateway.last_claim.room, slots);
  ASSERT_EQ(gateway.last_claim.rooms.size(), 1u);
  EXPECT_EQ(gateway.last_claim.rooms[0].lane, "slow");
  EXPECT_EQ(gateway.last_claim.rooms[0].room, slots - 1);
}

TEST_F(ClaimerTest, LooksAfterAFullLaneWhenItsRequestsComeBack) {
  const auto slow = fill("slow");
  claimer.connection_changed();
  claimed(0);
  ASSERT_EQ(gateway.sleeps.size(), 1u);
  EXPECT_EQ(gateway.sleeps.front().arguments, std::vector<std::string>{"slow"});
  sleep_answer(std::nullopt);
  claimer.advance();
  EXPECT_TRUE(gateway.claims.empty()) << "the lane has no room yet";
  lanes.remove(slow);
  lanes.remove(slow);
  claimer.advance();
  EXPECT_EQ(gateway.claims.size(), 1u);
}

TEST_F(ClaimerTest, ASilentLaneIsAFullOneUntilItAnswers) {
  const auto silent = lanes.add("silent");
  lanes.begin(silent, timers.now());
  timers.freeze(1s);
  ASSERT_TRUE(lanes.find_silent(timers.now()));
  claimer.connection_changed();
  ASSERT_EQ(gateway.last_claim.rooms.size(), 1u);
  EXPECT_EQ(gateway.last_claim.rooms[0].room, 0);
  claimed(0);
  ASSERT_EQ(gateway.sleeps.size(), 1u);
  EXPECT_EQ(gateway.sleeps.front().arguments, std::vector<std::string>{"silent"});
  sleep_answer(std::nullopt);
  claimer.advance();
  EXPECT_TRUE(gateway.claims.empty());
  lanes.end(silent, true, timers.now());
  lanes.remove(silent);
  claimer.advance();
  EXPECT_EQ(gateway.claims.size(), 1u);
}

TEST_F(ClaimerTest, DoesNotClaimForEachSlotOfAFullLane) {
  const auto slow = fill("slow");
  claimer.connection_changed();
  claimed(0);
  sleep_answer(std::nullopt);
  lanes.remove(slow);
  claimer.advance();
  EXPECT_TRUE(gateway.claims.empty());
  timers.pass(1ms);
  EXPECT_EQ(gateway.claims.size(), 1u);
}

}  // namespace
}  // namespace byocd
