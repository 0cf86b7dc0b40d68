#include "db/conninfo.h"

#include <gtest/gtest.h>

namespace byocd {
namespace {

TEST(Conninfo, FindsAPassword) {
  EXPECT_TRUE(*conninfo_has_password("postgresql://u:p@h/d"));
  EXPECT_TRUE(*conninfo_has_password("host=h password=p"));
  EXPECT_FALSE(*conninfo_has_password("postgresql://u@h/d"));
  EXPECT_FALSE(*conninfo_has_password("mydb"));
  EXPECT_FALSE(*conninfo_has_password(""));
}

TEST(Conninfo, TheErrorDoesNotQuoteTheString) {
  const auto parsed = conninfo_has_password("host=h passwort=hunter2");
  ASSERT_FALSE(parsed.ok());
  EXPECT_EQ(parsed.error().find("hunter2"), std::string::npos);
}

}  // namespace
}  // namespace byocd
