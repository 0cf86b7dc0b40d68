#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "providers/twilio.h"
#include "support/jobs.h"

namespace byocd {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;
using State = MessageListing::State;

const std::string next_uri =
    "/2010-04-01/Accounts/" + account_sid + "/Messages.json?To=%2B15005550010&Page=1&PageToken=PASM1";

// A message as Twilio lists it.
json listed(const json& changes = json::object()) {
  json message{{"sid", "SM00000000000000000000000000000001"},
               {"to", "+15005550010"},
               {"from", "+15005550006"},
               {"body", "hello\n👋"},
               {"status", "sent"},
               {"direction", "outbound-api"},
               {"num_segments", "2"},
               {"date_created", "Fri, 20 Nov 2026 12:00:00 +0000"},
               {"date_sent", "Fri, 20 Nov 2026 12:00:05 +0000"},
               {"error_code", nullptr},
               {"error_message", nullptr}};
  message.update(changes);
  return message;
}

class TwilioListTest : public testing::Test {
 protected:
  TwilioListTest() {
    job.account = account_sid;
    job.to_number = "+15005550010";
    job.since = std::chrono::sys_seconds(1795000000s);
  }
  Result<ListedPage, ListProblem> interpret(int status, const std::string& body) const {
    HttpResponse response;
    response.status = status;
    response.body = body;
    return twilio.interpret_list(HttpResult(std::move(response)));
  }
  Result<ListedPage, ListProblem> page(const json& messages, const json& next = nullptr) const {
    return interpret(200, json{{"messages", messages}, {"next_page_uri", next}}.dump());
  }
  ListedMessage one(const json& changes) const { return page(json::array({listed(changes)}))->messages.at(0); }

  ReconciliationJob job;
  Twilio twilio{"https://api.example.test"};
};

TEST_F(TwilioListTest, AsksForTheMessagesOfTheAccountThatSentTo) {
  const auto request = twilio.prepare_list(job, token_fields(), "");
  ASSERT_TRUE(request.ok());
  EXPECT_EQ(request->method, HttpRequest::Method::get);
  EXPECT_EQ(request->url, "https://api.example.test/2010-04-01/Accounts/" + account_sid +
                              "/Messages.json?To=%2B15005550010&PageSize=200");
  EXPECT_EQ(request->user, account_sid);
}

TEST_F(TwilioListTest, StaysWithTheAccountOfTheAttempt) {
  job.account = "AC00000000000000000000000000000099";
  const auto request = twilio.prepare_list(job, token_fields(), "");
  ASSERT_TRUE(request.ok());
  EXPECT_NE(request->url.find("/Accounts/AC00000000000000000000000000000099/"), std::string::npos);
}

TEST_F(TwilioListTest, FollowsItsOwnPagesOnly) {
  EXPECT_EQ(twilio.prepare_list(job, token_fields(), next_uri)->url, "https://api.example.test" + next_uri);
  EXPECT_FALSE(twilio.prepare_list(job, token_fields(), "https://evil.example.test/").ok());
  EXPECT_FALSE(twilio.prepare_list(job, token_fields(), "/2010-04-01/Accounts/AC2/Messages.json?Page=1").ok());
}

TEST_F(TwilioListTest, ReadsAPage) {
  const auto got = page(json::array({listed()}), next_uri);
  ASSERT_TRUE(got.ok());
  EXPECT_EQ(got->next, next_uri);
  EXPECT_EQ(got->oldest, std::chrono::sys_seconds(1795176005s));
  ASSERT_EQ(got->messages.size(), 1u);
  const ListedMessage& message = got->messages[0];
  EXPECT_EQ(message.sid, "SM00000000000000000000000000000001");
  EXPECT_EQ(message.sender, "+15005550006");
  EXPECT_EQ(message.texts, std::vector<std::string>{"hello\n👋"});
  EXPECT_FALSE(message.text_is_hidden);
  EXPECT_EQ(message.created_at, std::chrono::sys_seconds(1795176000s));
  EXPECT_EQ(message.status, "sent");
  EXPECT_EQ(message.segments, 2);
  EXPECT_FALSE(message.error_code);
}

TEST_F(TwilioListTest, TheLastPageHasNoNext) {
  const auto got = page(json::array());
  ASSERT_TRUE(got.ok());
  EXPECT_EQ(got->next, "");
  EXPECT_FALSE(got->oldest);
}

TEST_F(TwilioListTest, AMessageThatWasNotSentYetIsAsNewAsItsMaking) {
  EXPECT_EQ(page(json::array({listed({{"date_sent", nullptr}})}))->oldest, std::chrono::sys_seconds(1795176000s));
}

TEST_F(TwilioListTest, LeavesInboundMessagesOut) {
  EXPECT_TRUE(page(json::array({listed({{"direction", "inbound"}})}))->messages.empty());
}

TEST_F(TwilioListTest, ToldStatesAreFour) {
  for (const auto& [told, expected] : std::map<std::string, std::string>{{"queued", "sent"},
                                                                         {"accepted", "sent"},
                                                                         {"sending", "sent"},
                                                                         {"delivered", "delivered"},
                                                                         {"read", "delivered"},
                                                                         {"undelivered", "undelivered"},
                                                                         {"failed", "failed"},
                                                                         {"canceled", "failed"},
                                                                         {"something new", "sent"}})
    EXPECT_EQ(one({{"status", told}}).status, expected) << told;
  const auto failed = one({{"status", "failed"}, {"error_code", 30008}, {"error_message", "Unknown error"}});
  EXPECT_EQ(failed.error_code, "30008");
  EXPECT_EQ(failed.error_message, "Unknown error");
}

TEST_F(TwilioListTest, KnowsWhenATextIsHidden) {
  for (const json& text : {json(nullptr), json(""), json("***"), json("XXXX"), json("__REDACTED__")})
    EXPECT_TRUE(one({{"body", text}}).text_is_hidden) << text;
}

TEST_F(TwilioListTest, ATrialAccountsNoticeIsNotTheText) {
  EXPECT_EQ(one({{"body", "Sent from your Twilio trial account - hello"}}).texts,
            (std::vector<std::string>{"Sent from your Twilio trial account - hello", "hello"}));
}

TEST_F(TwilioListTest, WhatWasNotReadIsUnavailableOrRefused) {
  const HttpFailure timeout{HttpFailure::Kind::timeout, true, "timed out"};
  EXPECT_EQ(twilio.interpret_list(fail(timeout)).error().state, State::unavailable);
  for (const int status : {429, 500, 503}) EXPECT_EQ(interpret(status, "{}").error().state, State::unavailable);
  for (const int status : {400, 401, 403, 404}) EXPECT_EQ(interpret(status, "{}").error().state, State::refused);
  EXPECT_EQ(interpret(403, R"({"code": 20003})").error().message, "Twilio refused it with HTTP 403 (20003)");
}

TEST_F(TwilioListTest, WhatIsNotUnderstoodIsNeverAnEmptyList) {
  for (const char* body : {"", "not JSON", "[]", "{}", R"({"messages": {}})", R"({"messages": [1]})"})
    EXPECT_EQ(interpret(200, body).error().state, State::refused) << body;
  EXPECT_EQ(interpret(302, R"({"messages": []})").error().state, State::refused);
  EXPECT_FALSE(page(json::array({listed({{"sid", nullptr}})})).ok());
  EXPECT_FALSE(page(json::array({listed({{"date_created", "yesterday"}})})).ok());
}

}  // namespace
}  // namespace byocd
