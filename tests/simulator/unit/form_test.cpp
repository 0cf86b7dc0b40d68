#include "form.h"

#include <gtest/gtest.h>

#include "text.h"

namespace simulator {
namespace {

using namespace std::string_literals;

TEST(form, decodes_names_and_values) {
  const auto fields = form::parse("To=%2B15550000002&Body=Hello+w%C3%B6rld%21&Empty=&Bare");
  EXPECT_EQ(fields.get("To"), "+15550000002");
  EXPECT_EQ(fields.get("Body"), "Hello wörld!");
  ASSERT_NE(fields.find("Empty"), nullptr);
  EXPECT_EQ(*fields.find("Empty"), "");
  EXPECT_NE(fields.find("Bare"), nullptr);
  EXPECT_EQ(fields.find("Absent"), nullptr);
}

TEST(form, decodes_byte_for_byte) {
  EXPECT_EQ(form::parse("Body=%00%ff%0a%26%3D").get("Body"), "\0\xff\n&="s);
}

TEST(form, keeps_stray_percent_signs) {
  EXPECT_EQ(form::parse("Body=100%+sure%2").get("Body"), "100% sure%2");
  EXPECT_EQ(form::parse("Body=%zz").get("Body"), "%zz");
}

TEST(form, reads_comparison_names_of_date_filters) {
  EXPECT_EQ(form::parse("DateSent>=2026-11-20").get("DateSent>"), "2026-11-20");
  EXPECT_EQ(form::parse("DateSent%3E=2026-11-20").get("DateSent>"), "2026-11-20");
}

TEST(form, keeps_the_first_of_repeated_names) {
  const auto fields = form::parse("a=1&&a=2");
  EXPECT_EQ(fields.get("a"), "1");
  EXPECT_EQ(fields.fields().size(), 2U);
}

TEST(form, encoding_is_the_inverse_of_parsing) {
  form fields;
  fields.add("Body", "50% off & more = 😀\n\0"s);
  fields.add("To", "+15550000002");
  const auto again = form::parse(fields.encoded());
  EXPECT_EQ(again.fields(), fields.fields());
}

TEST(json_string, escapes_what_json_needs_escaped) {
  std::string out;
  append_json_string(out, "a\"b\\c\n\x01 ü😀\0"s);
  EXPECT_EQ(out, R"("a\"b\\c\n\u0001 ü😀\u0000")");
}

}  // namespace
}  // namespace simulator
