#include "providers/json_object.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <random>

namespace byocd {
namespace {

using nlohmann::json;

TEST(JsonObject, ReadsTextAndWholeNumbers) {
  const std::string text =
      R"( {"sid" : "SM1", "n": 12 , "m": "-7", "body": "caf\u00e9 \"x\" ü", "none": null, "empty": "",
      "deep": {"sid": "other", "list": ["}", {"n": 3}]}, "price": 0.5, "yes": true} )";
  const auto object = JsonObject::parse(text);
  ASSERT_TRUE(object);
  EXPECT_EQ(object->text("sid"), "SM1");
  EXPECT_EQ(object->number("n"), 12);
  EXPECT_EQ(object->number("m"), -7);
  EXPECT_EQ(object->text("body"), "caf\xC3\xA9 \"x\" \xC3\xBC");
  for (const char* name : {"none", "empty", "deep", "price", "yes", "n", "missing", "list"})
    EXPECT_FALSE(object->text(name)) << name;
  for (const char* name : {"none", "empty", "deep", "price", "yes", "sid", "missing"})
    EXPECT_FALSE(object->number(name)) << name;
}

TEST(JsonObject, TheLastOfEqualNamesCounts) {
  EXPECT_EQ(JsonObject::parse(R"({"sid": "a", "s\u0069d": "b"})")->text("sid"), "b");
}

TEST(JsonObject, ANumberThatIsTooLargeIsNone) {
  EXPECT_FALSE(JsonObject::parse(R"({"n": 99999999999})")->number("n"));
  EXPECT_FALSE(JsonObject::parse(R"({"n": "99999999999"})")->number("n"));
}

// Random changes of an answer: what the library takes for an object is taken, with the same members, and nothing else.
TEST(JsonObject, AgreesWithTheLibrary) {
  const std::string seed =
      R"({"sid": "SM1", "from": null, "body": "\ud83d\udd25 ü\\", "n":"2", "c": -21, "u": {"m": ["/x", 1.5e3, {}]}, "t": true })";
  const std::string letters = "{}[]\",:\\ u0e-.n\t\x01\xC3\xBC";
  std::mt19937 random(20240229);
  const auto below = [&](std::size_t end) { return std::uniform_int_distribution<std::size_t>(0, end - 1)(random); };
  int objects = 0;
  for (int round = 0; round < 30'000; ++round) {
    std::string text = seed;
    for (std::size_t changes = below(4); changes > 0; --changes) {
      const std::size_t at = below(text.size());
      switch (below(3)) {
        case 0:
          text.erase(at, 1 + below(3));
          break;
        case 1:
          text.insert(at, 1, letters[below(letters.size())]);
          break;
        default:
          text[at] = letters[below(letters.size())];
      }
    }
    const json expected = json::parse(text, nullptr, false);
    const auto object = JsonObject::parse(text);
    ASSERT_EQ(object.has_value(), expected.is_object()) << text;
    if (!object) continue;
    ++objects;
    for (const char* name : {"sid", "from", "body", "n", "c", "u", "t"}) {
      const json value = expected.value(name, json());
      const bool is_text = value.is_string() && value != "";
      ASSERT_EQ(object->text(name), is_text ? std::optional(value.get<std::string>()) : std::nullopt) << text;
      if (value.is_number_integer()) {
        ASSERT_EQ(object->number(name), value.get<int>()) << text;
      }
    }
  }
  EXPECT_GT(objects, 1'000);
}

}  // namespace
}  // namespace byocd
