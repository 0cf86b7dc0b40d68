#include "dates.h"

#include <gtest/gtest.h>

namespace simulator {
namespace {

using namespace std::chrono;

TEST(dates, are_written_as_twilio_http_and_iso_write_them) {
  const timestamp when = sys_days(2026y / November / 5) + 3h + 4min + 5s + 6us;
  EXPECT_EQ(rfc2822(when), "Thu, 05 Nov 2026 03:04:05 +0000");
  EXPECT_EQ(http_date(when), "Thu, 05 Nov 2026 03:04:05 GMT");
  EXPECT_EQ(iso8601(when), "2026-11-05T03:04:05.000006Z");
}

TEST(dates, are_read_by_day_and_by_instant) {
  const timestamp midnight = sys_days(2026y / November / 5);
  const auto day = parse_date("2026-11-05");
  ASSERT_TRUE(day);
  EXPECT_TRUE(day->whole_day);
  EXPECT_EQ(day->instant, midnight);
  const auto instant = parse_date("2026-11-05T03:04:05.25Z");
  ASSERT_TRUE(instant);
  EXPECT_FALSE(instant->whole_day);
  EXPECT_EQ(instant->instant, midnight + 3h + 4min + 5s + 250ms);
  EXPECT_TRUE(parse_date("2026-11-05T03:04:05Z"));
}

TEST(dates, of_any_other_form_are_refused) {
  for (const auto* text : {"", "yesterday", "2026-13-01", "2026-02-30", "2026-11-5", "2026-11-05 03:04:05",
                           "2026-11-05T24:00:00Z", "2026-11-05T03:04:05", "2026-11-05T03:04:05.Z", "05-11-2026"}) {
    EXPECT_FALSE(parse_date(text)) << text;
  }
}

}  // namespace
}  // namespace simulator
