#include "top/frame.h"

#include <gtest/gtest.h>

namespace byocd {
namespace {

class FrameTest : public testing::Test {
 protected:
  QueueLane lane(const std::string& org_id) {
    QueueLane lane;
    lane.org_id = org_id;
    lane.sender = "+15550100000";
    lane.breaker = "closed";
    lane.figures = {{"waiting", 12345}, {"oldest_waiting", 90}, {"sending", 3}};
    return lane;
  }
  std::string text(std::size_t width = 200, std::size_t height = 0, bool styled = false) {
    std::string all;
    for (const auto& line : make_frame(overview, "12:00:00", width, height, styled)) all += line + "\n";
    return all;
  }
  bool shows(const std::string& part) { return text().find(part) != std::string::npos; }

  QueueOverview overview{.database = "app", .totals = {{"dispatchers_sleeping", 1}}, .last_hour = {}, .lanes = {}};
};

TEST_F(FrameTest, AnEmptyQueue) {
  EXPECT_TRUE(shows("pg_byoc in app, 12:00:00"));
  EXPECT_TRUE(shows("byocd: 0 sending, 1 waiting for work"));
  EXPECT_TRUE(shows("nothing waits, and nothing is wrong"));
}

TEST_F(FrameTest, Totals) {
  overview.totals = {{"waiting", 1234567}, {"oldest_waiting_seconds", 600}, {"sending", 10}, {"reconciling", 4}};
  overview.last_hour = {{"sent_last_hour", 999}};
  EXPECT_TRUE(
      shows("waiting 1,234,567, the oldest for 10 min; scheduled 0; due 0; sending 6; looked for 4; unknown 0"));
  EXPECT_TRUE(shows("last hour: sent 999;"));
  EXPECT_TRUE(shows("byocd: none sends"));
}

TEST_F(FrameTest, SaysWhyALaneWaits) {
  overview.lanes.assign(5, lane("aaaaaaaa-0000-4000-8000-00000000000a"));
  overview.lanes[1].breaker = "open";
  overview.lanes[1].figures["next_in"] = 4.2;
  overview.lanes[2].breaker = "half_open";
  overview.lanes[3].limited = true;
  overview.lanes[3].figures["next_in"] = 0.3;
  overview.lanes[4].paused = "the credential is not verified";
  EXPECT_TRUE(shows("aaaaaaaa-0000-4000-8000-00000000000a  +15550100000"));
  EXPECT_TRUE(shows("12,345     90 s"));
  EXPECT_TRUE(shows("breaker open for 4.2 s"));
  EXPECT_TRUE(shows("breaker half open"));
  EXPECT_TRUE(shows("limited for 0.3 s"));
  EXPECT_TRUE(shows("paused: the credential is not verified"));
}

TEST_F(FrameTest, FitsTheWindow) {
  overview.lanes.assign(100, lane("aaaaaaaa-0000-4000-8000-00000000000a"));
  overview.lanes[0].paused = "\xe2\x80\xa2\xe2\x80\xa2\xe2\x80\xa2";  // characters of three bytes
  for (std::size_t width = 40; width < 180; ++width) {
    const auto lines = make_frame(overview, "12:00:00", width, 24, false);
    EXPECT_EQ(lines.size(), 24U);
    for (const auto& line : lines) {
      EXPECT_LE(line.size(), width);
      EXPECT_FALSE(line.ends_with('\xe2'));
    }
  }
}

TEST_F(FrameTest, StylesOnlyATerminal) {
  EXPECT_EQ(text().find('\x1b'), std::string::npos);
  EXPECT_NE(text(200, 0, true).find("\x1b[1m"), std::string::npos);
}

}  // namespace
}  // namespace byocd
