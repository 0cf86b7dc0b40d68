#include "providers/webhook_signature.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace byocd {
namespace {

using testing::ElementsAre;

// The example of Standard Webhooks' own libraries.
constexpr const char* example_secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const WebhookMessage example{"msg_p5jXN8AQM9LWM0D4loKWxJek",
                             std::chrono::sys_seconds(std::chrono::seconds(1'614'265'330)), R"({"test": 2432232314})"};

std::vector<std::string> headers(const WebhookMessage& message, std::initializer_list<const char*> secrets) {
  std::vector<SecretString> keys;
  for (const char* secret : secrets) keys.push_back(webhook_key(secret).value());
  std::vector<std::string> lines;
  for (const auto& line : webhook_headers(message, keys)) lines.push_back(line.reveal());
  return lines;
}

TEST(WebhookSignature, IsThatOfThePublishedExample) {
  EXPECT_THAT(headers(example, {example_secret}),
              ElementsAre("webhook-id: msg_p5jXN8AQM9LWM0D4loKWxJek", "webhook-timestamp: 1614265330",
                          "webhook-signature: v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="));
}

TEST(WebhookSignature, IsGivenByEachKey) {
  const std::string other = "whsec_" + std::string(32, 'A');
  const std::string both = headers(example, {other.c_str(), example_secret}).back();
  EXPECT_EQ(both.find("webhook-signature: v1,"), 0u);
  EXPECT_NE(both.find(" v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="), std::string::npos);
  EXPECT_EQ(std::count(both.begin(), both.end(), ' '), 2);
}

TEST(WebhookSignature, DependsOnEverything) {
  const std::string same = headers(example, {example_secret}).back();
  WebhookMessage other = example;
  other.id = "msg_p5jXN8AQM9LWM0D4loKWxJel";
  EXPECT_NE(headers(other, {example_secret}).back(), same);
  other = example;
  other.sent_at += std::chrono::seconds(1);
  EXPECT_NE(headers(other, {example_secret}).back(), same);
  other = example;
  other.body = R"({"test": 2432232315})";
  EXPECT_NE(headers(other, {example_secret}).back(), same);
}

TEST(WebhookSignature, KeysAreAtLeast24BytesOfBase64) {
  EXPECT_EQ(webhook_key("whsec_" + std::string(32, 'A'))->reveal(), std::string(24, '\0'));
  EXPECT_EQ(webhook_key("whsec_" + std::string(34, 'A') + "==")->reveal().size(), 25u);
  EXPECT_EQ(webhook_key("whsec_" + std::string(35, 'A') + "=")->reveal().size(), 26u);
  for (const std::string& wrong :
       {std::string(), std::string("whsec_"), std::string(32, 'A'), "whsec_" + std::string(28, 'A'),
        "whsec_" + std::string(30, 'A') + "==", "whsec_" + std::string(33, 'A'), "whsec_" + std::string(31, 'A') + "!",
        "WHSEC_" + std::string(32, 'A'), "whsec_" + std::string(31, 'A') + " ",
        "whsec_" + std::string(32, 'A') + "===="})
    EXPECT_FALSE(webhook_key(wrong)) << wrong;
}

}  // namespace
}  // namespace byocd
