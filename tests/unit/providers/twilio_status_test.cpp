#include "providers/twilio_status.h"

#include <gtest/gtest.h>

#include "providers/form.h"
#include "providers/twilio.h"
#include "support/jobs.h"

namespace byocd {
namespace {

constexpr const char* form_type = "application/x-www-form-urlencoded";
const std::string sid = "SM00000000000000000000000000000001";

HttpResult ok(std::string body) {
  HttpResponse response;
  response.status = 200;
  response.body = std::move(body);
  return response;
}

TEST(TwilioStatus, ReadsForms) {
  const auto facts = read_status_callback(
      form_type, "SmsSid=" + sid + "&MessageStatus=undelivered&ErrorCode=30003&From=%2B15005550006&New=%FF%zz&x");
  ASSERT_TRUE(facts);
  EXPECT_EQ(facts->provider_sid, sid);
  EXPECT_EQ(facts->status, "undelivered");
  EXPECT_EQ(facts->error_code, "30003");
  EXPECT_EQ(facts->from_number, "+15005550006");
  EXPECT_FALSE(facts->at);
}

TEST(TwilioStatus, ReadsJson) {
  const auto facts = read_status_callback(
      "application/json; charset=utf-8",
      R"({"MessageSid": ")" + sid + R"(", "MessageStatus": "delivered", "ErrorCode": null, "More": {"a": [1]}})");
  ASSERT_TRUE(facts);
  EXPECT_EQ(facts->status, "delivered");
  EXPECT_FALSE(facts->error_code);
  EXPECT_FALSE(facts->from_number);
}

TEST(TwilioStatus, WhatCannotBeStoredIsNotRead) {
  const std::vector<std::string> bodies{"",
                                        "MessageStatus=sent",
                                        "MessageSid=" + sid,
                                        "MessageSid=SM1&MessageStatus=sent",
                                        "MessageSid=CA" + sid.substr(2) + "&MessageStatus=sent",
                                        "MessageSid=" + sid + "&MessageStatus=Sent%00",
                                        "MessageSid=" + sid + "&MessageStatus=" + std::string(40, 'x')};
  for (const std::string& body : bodies) EXPECT_FALSE(read_status_callback(form_type, body)) << body;
  for (const char* body : {"", "[]", "{", "7", R"({"MessageSid": {}, "MessageStatus": "sent"})"})
    EXPECT_FALSE(read_status_callback("application/json", body)) << body;
  const auto facts =
      read_status_callback(form_type, "MessageSid=" + sid + "&MessageStatus=failed&ErrorCode=x&From=a%00b");
  ASSERT_TRUE(facts);
  EXPECT_FALSE(facts->error_code);
  EXPECT_EQ(facts->from_number, "a b");
}

TEST(TwilioStatus, ReadsMessagesThatCameIn) {
  const auto message = read_inbound_message(
      form_type, "MessageSid=" + sid + "&From=%2B15005550010&To=12345&Body=a%0Ab%00%FF%F0%9F%92%8D&OptOutType=STOP");
  ASSERT_TRUE(message);
  EXPECT_EQ(message->provider_sid, sid);
  EXPECT_EQ(message->from_number, "+15005550010");
  EXPECT_EQ(message->to_number, "12345");
  EXPECT_EQ(message->body, "a\nb\uFFFD\U0001F48D");
  EXPECT_EQ(message->provider_keyword, "STOP");
  EXPECT_TRUE(read_inbound_message(form_type, "MessageSid=" + sid + "&From=x&OptOutType=other"))
      << "a picture has no text";
  EXPECT_FALSE(read_inbound_message(form_type, "MessageSid=" + sid));
  EXPECT_FALSE(read_inbound_message(form_type, "From=x&Body=y"));
}

TEST(TwilioStatus, AsksForAMessage) {
  const Twilio twilio("https://api.example.test");
  const auto request = twilio.prepare_status(token_fields(), sid);
  ASSERT_TRUE(request.ok());
  EXPECT_EQ(request->method, HttpRequest::Method::get);
  EXPECT_EQ(request->url, "https://api.example.test/2010-04-01/Accounts/" + account_sid + "/Messages/" + sid + ".json");
  EXPECT_FALSE(twilio.prepare_status({}, sid).ok());
}

TEST(TwilioStatus, UnderstandsTheAnswer) {
  const Twilio twilio("https://api.example.test");
  const auto facts = twilio.interpret_status(ok(
      R"({"sid": ")" + sid +
      R"(", "status": "failed", "error_code": 30008, "from": null, "date_updated": "Thu, 24 Aug 2023 05:01:45 +0000"})"));
  ASSERT_TRUE(facts);
  EXPECT_EQ(facts->status, "failed");
  EXPECT_EQ(facts->error_code, "30008");
  EXPECT_EQ(facts->at, 1692853305);
  EXPECT_FALSE(twilio.interpret_status(ok("{}")));
  EXPECT_FALSE(twilio.interpret_status(ok("no JSON")));
  EXPECT_FALSE(twilio.interpret_status(fail(HttpFailure{})));
  HttpResponse gone;
  gone.status = 404;
  gone.body = R"({"sid": ")" + sid + R"(", "status": "delivered"})";
  EXPECT_FALSE(twilio.interpret_status(HttpResult(gone)));
}

TEST(TwilioStatus, OnlyAnAuthTokenVerifiesCallbacks) {
  const Twilio twilio("https://api.example.test");
  EXPECT_TRUE(twilio.verifies_callbacks(token_fields()));
  EXPECT_FALSE(twilio.verifies_callbacks(make_fields({{"account_sid", account_sid.c_str()},
                                                      {"api_key_sid", "SK00000000000000000000000000000001"},
                                                      {"api_key_secret", "0"}})));
}

TEST(TwilioStatus, CallbackAddressesAreGivenAlong) {
  const Twilio twilio("https://api.example.test");
  auto job = make_job(make_claim("claim", {}), "id");
  EXPECT_EQ(twilio.prepare(job, token_fields())->body.find("StatusCallback"), std::string::npos);
  job.receipt_address = "https://example.test/hook#rc=1";
  const auto fields = parse_form(twilio.prepare(job, token_fields())->body);
  EXPECT_EQ(std::count(fields.begin(), fields.end(),
                       std::pair<std::string, std::string>("StatusCallback", *job.receipt_address)),
            1);
}

}  // namespace
}  // namespace byocd
