#include "db/rows.h"

#include <gtest/gtest.h>

#include "support/rows_of.h"

namespace byocd {
namespace {

using namespace std::string_literals;

TEST(Rows, ReadsTextAndBinaryAlike) {
  const Rows text = rows_of({{"-7", "9000000000", "01020304-0506-0708-090a-0b0c0d0e0fff", "sm\303\266rg\303\245s"}});
  const Rows binary =
      rows_of({{"\xff\xff\xff\xf9"s, "\x00\x00\x00\x02\x18\x71\x1a\x00"s,
                "\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\xff"s, "sm\303\266rg\303\245s"}},
              1);
  for (const Rows* rows : {&text, &binary}) {
    EXPECT_EQ(rows->integer(0, 0), -7);
    EXPECT_EQ(rows->long_integer(0, 1), 9'000'000'000);
    EXPECT_EQ(rows->uuid(0, 2), "01020304-0506-0708-090a-0b0c0d0e0fff");
    EXPECT_EQ(rows->text(0, 3), "sm\303\266rg\303\245s");
  }
}

TEST(Rows, ReadsNullsAsZero) {
  for (int format : {0, 1}) {
    const Rows rows = rows_of({{std::nullopt}}, format);
    EXPECT_TRUE(rows.is_null(0, 0));
    EXPECT_EQ(rows.long_integer(0, 0), 0);
  }
}

}  // namespace
}  // namespace byocd
