#include "queue/lane_loads.h"

#include <gtest/gtest.h>

namespace byocd {
namespace {

using namespace std::chrono_literals;

class LaneLoadsTest : public testing::Test {
 protected:
  // One job more, sent if it may be.
  static bool send(LaneLoads& lanes, const std::string& name, Clock::time_point now = {}) {
    const auto lane = lanes.add(name);
    const bool may = lanes.may_send(lane);
    if (may)
      lanes.begin(lane, now);
    else
      lanes.remove(lane);
    return may;
  }
  // Sends until it may not; answers how many went out.
  static int fill(LaneLoads& lanes, const std::string& name, Clock::time_point now = {}) {
    int sent = 0;
    while (send(lanes, name, now)) ++sent;
    return sent;
  }
  static void answer(LaneLoads& lanes, LaneLoads::Lane lane, Clock::time_point now = {}) {
    lanes.end(lane, true, now);
    lanes.remove(lane);
  }

  Clock::time_point start{1h};
};

TEST_F(LaneLoadsTest, AnUnusedLaneHasAllItsRoom) {
  const LaneLoads lanes(4, 3);
  EXPECT_EQ(lanes.room("a"), 3);
  EXPECT_TRUE(lanes.rooms().empty());
  EXPECT_TRUE(lanes.full().empty());
}

TEST_F(LaneLoadsTest, RoomShrinksAndComesBack) {
  LaneLoads lanes(3, 2);
  const auto a = lanes.add("a");
  EXPECT_EQ(lanes.add("a"), a);
  const auto b = lanes.add("b");
  EXPECT_EQ(lanes.room("a"), 0);
  EXPECT_EQ(lanes.room("b"), 1);
  EXPECT_EQ(lanes.full(), std::vector<std::string>{"a"});
  EXPECT_EQ(lanes.rooms().size(), 2u);
  lanes.remove(a);
  lanes.remove(b);
  EXPECT_EQ(lanes.room("a"), 1);
  EXPECT_EQ(lanes.room("b"), 2);
  EXPECT_TRUE(lanes.full().empty());
}

TEST_F(LaneLoadsTest, WhatALaneGotUnderAHigherLimitDoesNotCountAgainstOthers) {
  LaneLoads lanes(3, 2);
  lanes.scale(2);
  EXPECT_EQ(lanes.slots(), 6);
  const auto a = lanes.add("a");
  for (int i = 0; i < 3; ++i) lanes.add("a");
  const auto b = lanes.add("b");
  EXPECT_EQ(lanes.free_slots(), 1);
  lanes.scale(1);
  EXPECT_EQ(lanes.free_slots(), 0);
  lanes.remove(a);
  lanes.remove(a);
  EXPECT_EQ(lanes.free_slots(), 0);
  lanes.remove(a);
  lanes.remove(b);
  EXPECT_EQ(lanes.free_slots(), 2);
  lanes.add("c");
  lanes.scale(2);
  EXPECT_EQ(lanes.free_slots(), 4);
}

TEST_F(LaneLoadsTest, LimitsCanChange) {
  LaneLoads lanes(4, 3);
  EXPECT_EQ(fill(lanes, "a"), 3);
  lanes.set_limits(20, 10);
  lanes.scale(1);
  EXPECT_EQ(lanes.slots(), 20);
  EXPECT_EQ(lanes.free_slots(), 17);
  EXPECT_EQ(lanes.room("a"), 7);
  EXPECT_EQ(lanes.sent(), 3);
  lanes.set_limits(2, 1);
  lanes.scale(1);
  EXPECT_EQ(lanes.room("a"), 0);
  EXPECT_FALSE(send(lanes, "b"));
  const auto a = lanes.add("a");
  for (int i = 0; i < 3; ++i) answer(lanes, a);
  EXPECT_TRUE(send(lanes, "b"));
}

TEST_F(LaneLoadsTest, OneLaneAloneMaySendAsManyAsItsLimit) {
  for (const auto& [slots, limit] : std::vector<std::pair<int, int>>{{96, 64}, {96, 96}, {96, 1}, {3, 2}, {1, 1}}) {
    LaneLoads lanes(slots, limit);
    EXPECT_EQ(fill(lanes, "a"), limit) << slots;
    EXPECT_EQ(lanes.may_send(), limit < slots);
  }
}

TEST_F(LaneLoadsTest, LanesThatDoNotAnswerLeaveSomethingToOthers) {
  LaneLoads lanes(96, 64);
  EXPECT_EQ(fill(lanes, "a"), 64);
  EXPECT_EQ(fill(lanes, "b"), 21);
  EXPECT_EQ(fill(lanes, "c"), 7);
  EXPECT_TRUE(send(lanes, "d"));
  const auto a = lanes.add("a");
  for (int i = 0; i < 64; ++i) answer(lanes, a);
  EXPECT_EQ(fill(lanes, "d"), 44) << "what they hold counts as long as they hold it";
}

TEST_F(LaneLoadsTest, LanesThatBeginTogetherShareEvenly) {
  LaneLoads lanes(96, 64);
  int sent = 0;
  for (bool any = true; any;) {
    any = false;
    for (const char* lane : {"a", "b"}) {
      if (!send(lanes, lane)) continue;
      ++sent;
      any = true;
    }
  }
  EXPECT_EQ(sent, 76) << "twenty slots are free though two lanes want more";
}

TEST_F(LaneLoadsTest, ALaneThatHasNoneMaySendWhileAnySlotIsFree) {
  LaneLoads lanes(8, 5);
  int lane = 0;
  while (lanes.may_send()) ASSERT_TRUE(send(lanes, std::to_string(lane++)));
  EXPECT_EQ(lane, 8);
  EXPECT_FALSE(send(lanes, "another"));
}

TEST_F(LaneLoadsTest, ASilentLaneGetsNoMoreJobsAndCountsByItsRequests) {
  LaneLoads lanes(6, 4);
  lanes.scale(2);
  fill(lanes, "a", start);
  for (int i = 0; i < 3; ++i) lanes.add("a");
  EXPECT_EQ(lanes.free_slots(), 5);
  EXPECT_FALSE(lanes.find_silent(start + 999ms));
  EXPECT_TRUE(lanes.find_silent(start + 1s));
  EXPECT_FALSE(lanes.find_silent(start + 2s)) << "that is no news";
  EXPECT_EQ(lanes.free_slots(), 8);
  EXPECT_EQ(lanes.room("a"), 0);
  EXPECT_EQ(lanes.full(), std::vector<std::string>{"a"});
}

TEST_F(LaneLoadsTest, AHeldLaneHasNoRoomAlsoWithoutJobs) {
  LaneLoads lanes(6, 4);
  const auto a = lanes.add("a");
  EXPECT_FALSE(LaneLoads::held(a));
  auto first = lanes.hold(a);
  auto second = lanes.hold(a);
  lanes.remove(a);
  EXPECT_EQ(lanes.room("a"), 0);
  EXPECT_EQ(lanes.full(), std::vector<std::string>{"a"});
  EXPECT_EQ(lanes.free_slots(), 6);
  first.reset();
  EXPECT_EQ(lanes.add("a"), a);
  EXPECT_TRUE(LaneLoads::held(a));
  second.reset();
  EXPECT_FALSE(LaneLoads::held(a));
  EXPECT_EQ(lanes.room("a"), 3);
  lanes.remove(a);
  EXPECT_TRUE(lanes.rooms().empty());
}

TEST_F(LaneLoadsTest, AnAnswerEndsTheSilenceAndAFailureDoesNot) {
  LaneLoads lanes(6, 4);
  fill(lanes, "a", start);
  ASSERT_TRUE(lanes.find_silent(start + 1s));
  const auto a = lanes.add("a");
  lanes.end(a, false, start + 1s);
  lanes.remove(a);
  lanes.remove(a);
  EXPECT_EQ(lanes.room("a"), 0);
  answer(lanes, a, start + 1500ms);
  EXPECT_EQ(lanes.room("a"), 2);
  EXPECT_FALSE(lanes.find_silent(start + 2s));
  EXPECT_TRUE(lanes.find_silent(start + 2500ms)) << "two requests are still out";
  lanes.end(a, false, start + 3s);
  lanes.end(a, false, start + 3s);
  EXPECT_FALSE(lanes.find_silent(start + 9s)) << "nothing is waited for";
  EXPECT_GT(lanes.room("a"), 0);
}

}  // namespace
}  // namespace byocd
