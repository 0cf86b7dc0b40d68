#include "queue/lane_loads.h"

#include <gtest/gtest.h>

namespace byocd {
namespace {

TEST(LaneLoads, AnUnusedLaneHasAllItsRoom) {
  const LaneLoads lanes(3);
  EXPECT_EQ(lanes.room("a"), 3);
  EXPECT_TRUE(lanes.rooms().empty());
  EXPECT_TRUE(lanes.full().empty());
}

TEST(LaneLoads, RoomShrinksAndComesBack) {
  LaneLoads lanes(2);
  lanes.add("a");
  lanes.add("a");
  lanes.add("b");
  EXPECT_EQ(lanes.room("a"), 0);
  EXPECT_EQ(lanes.room("b"), 1);
  EXPECT_EQ(lanes.full(), std::vector<std::string>{"a"});
  EXPECT_EQ(lanes.rooms().size(), 2u);
  lanes.remove("a");
  lanes.remove("b");
  lanes.remove("b");
  EXPECT_EQ(lanes.room("a"), 1);
  EXPECT_EQ(lanes.room("b"), 2);
  EXPECT_TRUE(lanes.full().empty());
}

TEST(LaneLoads, WhatALaneGotUnderAHigherLimitDoesNotCountAgainstOthers) {
  LaneLoads lanes(2);
  lanes.scale(2);
  for (int i = 0; i < 4; ++i) lanes.add("a");
  lanes.add("b");
  EXPECT_EQ(lanes.within_limit(), 5);
  lanes.scale(1);
  EXPECT_EQ(lanes.within_limit(), 3);
  lanes.remove("a");
  lanes.remove("a");
  EXPECT_EQ(lanes.within_limit(), 3);
  lanes.remove("a");
  lanes.remove("b");
  EXPECT_EQ(lanes.within_limit(), 1);
  lanes.add("c");
  lanes.scale(2);
  EXPECT_EQ(lanes.within_limit(), 2);
}

}  // namespace
}  // namespace byocd
