#include "text.h"

#include <gtest/gtest.h>

namespace simulator {
namespace {

std::string repeated(std::string_view text, std::size_t times) {
  std::string out;
  while (times-- > 0) out += text;
  return out;
}

struct segment_case {
  std::string text;
  unsigned segments;
};

class segments : public testing::TestWithParam<segment_case> {};

TEST_P(segments, are_counted) {
  EXPECT_EQ(count_segments(GetParam().text), GetParam().segments);
}

INSTANTIATE_TEST_SUITE_P(
    gsm7, segments,
    testing::Values(segment_case{"", 1}, segment_case{repeated("a", 160), 1}, segment_case{repeated("a", 161), 2},
                    segment_case{repeated("a", 306), 2}, segment_case{repeated("a", 307), 3},
                    // Extension characters take two septets.
                    segment_case{repeated("€", 80), 1}, segment_case{repeated("€", 81), 2},
                    // An escape pair is not split: 76 pairs and one free septet in each part of 153.
                    segment_case{repeated("€", 152), 2}, segment_case{repeated("€", 153), 3},
                    segment_case{repeated("é", 160), 1}, segment_case{"line\r\nline @£$¥_ÄÖÑÜ§¿Ω", 1},
                    segment_case{repeated("a", 1600), 11}));

INSTANTIATE_TEST_SUITE_P(ucs2, segments,
                         testing::Values(segment_case{repeated("ж", 70), 1}, segment_case{repeated("ж", 71), 2},
                                         segment_case{repeated("ж", 134), 2}, segment_case{repeated("ж", 135), 3},
                                         // One emoji makes the whole message UCS-2 and takes two units itself.
                                         segment_case{repeated("a", 68) + "😀", 1},
                                         segment_case{repeated("a", 69) + "😀", 2}, segment_case{repeated("😀", 35), 1},
                                         segment_case{repeated("😀", 36), 2},
                                         // A surrogate pair is not split: 33 emoji in each part of 67.
                                         segment_case{repeated("😀", 66), 2}, segment_case{repeated("😀", 67), 3},
                                         // GSM-7 has no lower-case c with cedilla, backtick or tab.
                                         segment_case{repeated("ç", 71), 2}, segment_case{repeated("`", 71), 2},
                                         segment_case{repeated("\t", 71), 2}));

TEST(characters, are_code_points) {
  EXPECT_EQ(count_characters("aé€😀"), 4U);
  EXPECT_EQ(count_characters(""), 0U);
}

TEST(utf8, is_checked_as_rfc_3629_says) {
  EXPECT_TRUE(is_utf8("aé€😀"));
  for (const auto* text :
       {"\xff", "\xc3", "\xc0\x80", "\xe0\x80\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\x80", "a\xe2\x82"}) {
    EXPECT_FALSE(is_utf8(text));
  }
}

}  // namespace
}  // namespace simulator
