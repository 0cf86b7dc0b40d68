#include "db/listing_json.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace byocd {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;

ListedMessage made(const std::string& text) {
  ListedMessage message;
  message.sid = "SM00000000000000000000000000000001";
  message.texts = {text};
  message.created_at = std::chrono::sys_seconds(1795176000s);
  message.status = "sent";
  return message;
}

TEST(ListingJson, WritesWhatIsKnown) {
  ListedMessage message = made("hello");
  EXPECT_EQ(json::parse(messages_to_json({message})),
            json::parse(R"([{"sid": "SM00000000000000000000000000000001", "texts": ["hello"], "text_is_hidden": false,
                             "created_at": "2026-11-20T12:00:00Z", "status": "sent"}])"));
  message.sender = "+15005550006";
  message.segments = 2;
  message.error_code = "30008";
  message.error_message = "Unknown error";
  const json full = json::parse(messages_to_json({message}))[0];
  EXPECT_EQ(full["sender"], "+15005550006");
  EXPECT_EQ(full["segments"], 2);
  EXPECT_EQ(full["error_code"], "30008");
  EXPECT_EQ(full["error_message"], "Unknown error");
  EXPECT_EQ(messages_to_json({}), "[]");
}

TEST(ListingJson, KeepsTextsForComparison) {
  const std::string text = "🔥 HOT LEAD\nName: Zoë\t" + std::string(1600, 'x');
  EXPECT_EQ(json::parse(messages_to_json({made(text)}))[0]["texts"][0], text);
}

TEST(ListingJson, WritesWhatJsonbCanHold) {
  const std::string json_text = messages_to_json({made(std::string("a\0b\xFF", 4))});
  EXPECT_EQ(json_text.find("\\u0000"), std::string::npos);
  EXPECT_EQ(json::parse(json_text)[0]["texts"][0],
            "a\x01"
            "b\xEF\xBF\xBD");
}

}  // namespace
}  // namespace byocd
