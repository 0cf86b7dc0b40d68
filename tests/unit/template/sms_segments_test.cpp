#include "template/sms_segments.h"

#include <gtest/gtest.h>

#include <string>

namespace byoc {
namespace {

std::string times(int count, const std::string& text) {
  std::string all;
  for (int i = 0; i < count; ++i) all += text;
  return all;
}

TEST(SmsSegments, Gsm7) {
  EXPECT_EQ(count_segments(""), 1);
  EXPECT_EQ(count_segments(times(160, "a")), 1);
  EXPECT_EQ(count_segments(times(161, "a")), 2);
  EXPECT_EQ(count_segments(times(306, "a")), 2);
  EXPECT_EQ(count_segments(times(307, "a")), 3);
  EXPECT_EQ(count_segments(times(1600, "a")), 11);
  EXPECT_EQ(count_segments(times(160, "é")), 1) << "two bytes of UTF-8, one septet";
  EXPECT_EQ(count_segments(times(160, "Ω")), 1);
  EXPECT_EQ(count_segments(times(159, "@") + "\n"), 1);
}

TEST(SmsSegments, CharactersOfTheExtensionTableTakeTwoSeptets) {
  EXPECT_EQ(count_segments(times(80, "€")), 1);
  EXPECT_EQ(count_segments(times(81, "€")), 2);
  for (const char* c : {"^", "{", "}", "\\", "[", "~", "]", "|", "\f"}) {
    EXPECT_EQ(count_segments(times(158, "a") + c), 1) << c;
    EXPECT_EQ(count_segments(times(159, "a") + c), 2) << c;
  }
}

TEST(SmsSegments, AnEscapeSequenceIsNotSplit) {
  // 152 + 2 do not fit into 153: the pair moves on, and the second segment has room for one septet less.
  EXPECT_EQ(count_segments(times(152, "a") + "€" + times(151, "a")), 2);
  EXPECT_EQ(count_segments(times(152, "a") + "€" + times(152, "a")), 3);
  EXPECT_EQ(count_segments(times(151, "a") + "€" + times(153, "a")), 2);
}

TEST(SmsSegments, Ucs2) {
  EXPECT_EQ(count_segments(times(70, "你")), 1);
  EXPECT_EQ(count_segments(times(71, "你")), 2);
  EXPECT_EQ(count_segments(times(134, "你")), 2);
  EXPECT_EQ(count_segments(times(135, "你")), 3);
  EXPECT_EQ(count_segments(times(70, "a") + "ł"), 2) << "one such character makes the whole message UCS-2";
  EXPECT_EQ(count_segments("`" + times(70, "a")), 2) << "the grave accent is not in GSM-7";
  EXPECT_EQ(count_segments("ç" + times(70, "a")), 2) << "only the capital is";
  EXPECT_EQ(count_segments("\t" + times(70, "a")), 2);
}

TEST(SmsSegments, AnEmojiTakesTwoCodeUnitsThatStayTogether) {
  EXPECT_EQ(count_segments(times(35, "😀")), 1);
  EXPECT_EQ(count_segments(times(36, "😀")), 2);
  EXPECT_EQ(count_segments(times(66, "a") + "😀" + times(65, "a")), 2);
  EXPECT_EQ(count_segments(times(66, "a") + "😀" + times(66, "a")), 3)
      << "at a boundary the pair moves to the next segment";
  EXPECT_EQ(count_segments(times(65, "a") + "😀" + times(67, "a")), 2);
}

TEST(SmsSegments, BrokenUtf8CountsSomething) {
  EXPECT_EQ(count_segments("\xff\xfe\xc3"), 1);
}

}  // namespace
}  // namespace byoc
