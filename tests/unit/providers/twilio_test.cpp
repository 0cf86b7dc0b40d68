#include "providers/twilio.h"

#include <gtest/gtest.h>

#include "support/jobs.h"
#include "support/recorded.h"

namespace byocd {
namespace {

using namespace std::chrono_literals;

class TwilioTest : public testing::Test {
 protected:
  ClaimedJob job(const std::string& body = "hello") {
    ClaimedJob made = make_job(make_claim("claim", {}), "message-1");
    made.body = body;
    return made;
  }
  Outcome interpret(int status, std::string body) const { return twilio.interpret(response(status, std::move(body))); }

  Twilio twilio{"https://api.example.test"};
};

TEST_F(TwilioTest, PreparesAPostWithBasicAuthentication) {
  const auto request = twilio.prepare(job(), token_fields());
  ASSERT_TRUE(request.ok());
  EXPECT_EQ(request->method, HttpRequest::Method::post);
  EXPECT_EQ(request->url,
            "https://api.example.test/2010-04-01/Accounts/AC00000000000000000000000000000001/Messages.json");
  EXPECT_EQ(request->user, account_sid);
  EXPECT_EQ(request->password.reveal(), "00000000000000000000000000000aaa");
  EXPECT_EQ(request->body, "To=%2B15005550010&From=%2B15005550006&Body=hello");
}

TEST_F(TwilioTest, KeepsUnicodeByteForByte) {
  const auto request = twilio.prepare(job("\xF0\x9F\x94\xA5 HOT LEAD & 1+1=2\n"), token_fields());
  ASSERT_TRUE(request.ok());
  EXPECT_NE(request->body.find("Body=%F0%9F%94%A5%20HOT%20LEAD%20%26%201%2B1%3D2%0A"), std::string::npos);
}

TEST_F(TwilioTest, UsesAnApiKeyInsteadOfTheToken) {
  const auto request = twilio.prepare(job(), make_fields({{"account_sid", account_sid.c_str()},
                                                          {"api_key_sid", "SK00000000000000000000000000000001"},
                                                          {"api_key_secret", "made-up-secret"},
                                                          {"phone_number", "+15005550006"}}));
  ASSERT_TRUE(request.ok());
  EXPECT_EQ(request->user, "SK00000000000000000000000000000001");
  EXPECT_EQ(request->password.reveal(), "made-up-secret");
  EXPECT_NE(request->url.find(account_sid), std::string::npos);
}

TEST_F(TwilioTest, UsesAMessagingServiceInsteadOfANumber) {
  const auto request =
      twilio.prepare(job(), make_fields({{"account_sid", account_sid.c_str()},
                                         {"auth_token", "made-up-token"},
                                         {"messaging_service_sid", "MG00000000000000000000000000000001"}}));
  ASSERT_TRUE(request.ok());
  EXPECT_NE(request->body.find("MessagingServiceSid=MG00000000000000000000000000000001"), std::string::npos);
  EXPECT_EQ(request->body.find("From="), std::string::npos);
}

TEST_F(TwilioTest, LimitsTheValidityPeriodToWhatTwilioTakes) {
  auto timed = job();
  timed.validity_seconds = 90;
  EXPECT_NE(twilio.prepare(timed, token_fields())->body.find("ValidityPeriod=90"), std::string::npos);
  timed.validity_seconds = 0;
  EXPECT_NE(twilio.prepare(timed, token_fields())->body.find("ValidityPeriod=1"), std::string::npos);
  timed.validity_seconds = 999'999;
  EXPECT_NE(twilio.prepare(timed, token_fields())->body.find("ValidityPeriod=36000"), std::string::npos);
}

TEST_F(TwilioTest, NamesTheFieldThatACredentialLacks) {
  const auto no_sender =
      twilio.prepare(job(), make_fields({{"account_sid", account_sid.c_str()}, {"auth_token", "made-up-token"}}));
  ASSERT_FALSE(no_sender.ok());
  EXPECT_EQ(no_sender.error().code, "credential_incomplete");
  EXPECT_NE(no_sender.error().message.find("phone_number"), std::string::npos);
  EXPECT_FALSE(twilio.prepare(job(), make_fields({{"auth_token", "made-up-token"}})).ok());
  EXPECT_FALSE(twilio.prepare(job(), make_fields({{"account_sid", account_sid.c_str()}})).ok());
}

TEST_F(TwilioTest, ReadsAnAcceptedMessage) {
  const Outcome outcome = interpret(201, recorded("twilio/message_created"));
  EXPECT_EQ(outcome.kind, OutcomeKind::accepted);
  EXPECT_EQ(outcome.provider_sid, "SM00000000000000000000000000000001");
  EXPECT_EQ(outcome.provider_status, "queued");
  EXPECT_EQ(outcome.from_number, "+15005550006");
  EXPECT_EQ(outcome.segments, 2);
}

TEST_F(TwilioTest, ReadsAMessageOfAServiceWithoutASender) {
  const Outcome outcome = interpret(201, recorded("twilio/message_accepted_by_service"));
  EXPECT_EQ(outcome.kind, OutcomeKind::accepted);
  EXPECT_EQ(outcome.provider_status, "accepted");
  EXPECT_FALSE(outcome.from_number);
  EXPECT_EQ(outcome.segments, 0);
}

TEST_F(TwilioTest, ReadsARejection) {
  const Outcome outcome = interpret(400, recorded("twilio/error_21211"));
  EXPECT_EQ(outcome.kind, OutcomeKind::rejected);
  EXPECT_EQ(outcome.http_status, 400);
  EXPECT_EQ(outcome.error_code, "21211");
  EXPECT_NE(outcome.error_message->find("not a valid phone number"), std::string::npos);
}

TEST_F(TwilioTest, AnAuthenticationFailureHasItsCodeEvenWithoutABody) {
  EXPECT_EQ(interpret(401, recorded("twilio/error_20003")).error_code, "20003");
  const Outcome bare = interpret(401, "");
  EXPECT_EQ(bare.kind, OutcomeKind::rejected);
  EXPECT_EQ(bare.error_code, "20003");
}

TEST_F(TwilioTest, TellsAnAccountThatIsRefusedFromAMessage) {
  EXPECT_TRUE(interpret(401, recorded("twilio/error_20003")).refuses_account);
  EXPECT_TRUE(interpret(403, R"({"code": 30002, "message": "Account suspended", "status": 403})").refuses_account);
  EXPECT_FALSE(interpret(400, recorded("twilio/error_21211")).refuses_account);
  EXPECT_FALSE(interpret(401, "<html>Who are you?</html>").refuses_account);
  EXPECT_FALSE(interpret(503, "").refuses_account);
}

TEST_F(TwilioTest, AnAuthenticationFailureThatIsNotTwiliosIsNotTheCredentials) {
  const Outcome outcome = interpret(401, "<html>Who are you?</html>");
  EXPECT_EQ(outcome.kind, OutcomeKind::unavailable);
  EXPECT_EQ(outcome.error_code, "http_401");
}

TEST_F(TwilioTest, ARefusalThatIsNotTwiliosNamesTheStatus) {
  const Outcome outcome = interpret(404, "<html>not here</html>");
  EXPECT_EQ(outcome.kind, OutcomeKind::rejected);
  EXPECT_EQ(outcome.error_code, "http_404");
}

TEST_F(TwilioTest, TooManyRequestsIsThrottledAndKeepsRetryAfter) {
  HttpResponse answer;
  answer.status = 429;
  answer.body = recorded("twilio/error_20429");
  answer.retry_after = 3s;
  const Outcome outcome = twilio.interpret(answer);
  EXPECT_EQ(outcome.kind, OutcomeKind::throttled);
  EXPECT_EQ(outcome.error_code, "20429");
  EXPECT_EQ(outcome.retry_after, 3000ms);
  EXPECT_EQ(interpret(429, "").error_code, "20429");
}

TEST_F(TwilioTest, AServerErrorIsUnavailable) {
  EXPECT_EQ(interpret(500, recorded("twilio/error_20500")).kind, OutcomeKind::unavailable);
  EXPECT_EQ(interpret(500, recorded("twilio/error_20500")).error_code, "20500");
  EXPECT_EQ(interpret(503, "upstream gone").error_code, "http_503");
}

TEST_F(TwilioTest, ASuccessThatCannotBeReadIsUnknown) {
  for (const char* body : {"", "{", "[]", "{}", R"({"sid": null})", R"({"sid": 7})", R"({"sid": ""})", "\xff\xfe"}) {
    const Outcome outcome = interpret(201, body);
    EXPECT_EQ(outcome.kind, OutcomeKind::unknown) << body;
    EXPECT_EQ(outcome.error_code, "bad_answer") << body;
  }
}

TEST_F(TwilioTest, ARedirectIsUnknown) {
  EXPECT_EQ(interpret(302, "").error_code, "bad_answer");
}

TEST_F(TwilioTest, FailuresBeforeWritingAreUnavailableThoseAfterItUnknown) {
  using Kind = HttpFailure::Kind;
  const auto of = [&](Kind kind, bool written) { return twilio.interpret(fail(HttpFailure{kind, written, "why"})); };
  EXPECT_EQ(of(Kind::connect_failed, false).kind, OutcomeKind::unavailable);
  EXPECT_EQ(of(Kind::connect_failed, false).error_code, "connect_failed");
  EXPECT_EQ(of(Kind::timeout, true).kind, OutcomeKind::unknown);
  EXPECT_EQ(of(Kind::timeout, true).error_code, "timeout");
  EXPECT_EQ(of(Kind::connection_lost, true).kind, OutcomeKind::unknown);
  EXPECT_EQ(of(Kind::connection_lost, true).error_code, "connection_lost");
  EXPECT_EQ(of(Kind::cancelled, false).kind, OutcomeKind::returned);
  EXPECT_EQ(of(Kind::cancelled, true).kind, OutcomeKind::unknown);
}

class TwilioVerificationTest : public TwilioTest {
 protected:
  CredentialFields key_fields() const {
    return make_fields({{"account_sid", account_sid.c_str()},
                        {"api_key_sid", "SK00000000000000000000000000000001"},
                        {"api_key_secret", "made-up-secret"},
                        {"messaging_service_sid", "MG00000000000000000000000000000001"}});
  }
  Verdict judge(int step, int status, std::string body) const {
    return twilio.interpret_verification(token_fields(), step, response(status, std::move(body)));
  }
};

TEST_F(TwilioVerificationTest, AsksForTheAccountAndThenForItsNumber) {
  EXPECT_EQ(twilio.prepare_verification(token_fields(), 0)->url,
            "https://api.example.test/2010-04-01/Accounts/AC00000000000000000000000000000001.json");
  const auto second = twilio.prepare_verification(token_fields(), 1);
  EXPECT_EQ(second->method, HttpRequest::Method::get);
  EXPECT_EQ(second->url,
            "https://api.example.test/2010-04-01/Accounts/AC00000000000000000000000000000001/"
            "IncomingPhoneNumbers.json?PhoneNumber=%2B15005550006");
}

TEST_F(TwilioVerificationTest, AnActiveAccountWithTheNumberIsVerified) {
  EXPECT_EQ(judge(0, 200, recorded("twilio/account_active")).kind, Verdict::Kind::next);
  EXPECT_EQ(judge(1, 200, recorded("twilio/numbers_one")).kind, Verdict::Kind::verified);
  EXPECT_EQ(judge(1, 200, recorded("twilio/numbers_one")).note, "");
}

TEST_F(TwilioVerificationTest, SaysWhatTheTenantCanDo) {
  const Verdict suspended = judge(0, 200, recorded("twilio/account_suspended"));
  EXPECT_EQ(suspended.kind, Verdict::Kind::failed);
  EXPECT_NE(suspended.problem.fix.find("Add a payment method"), std::string::npos);
  EXPECT_NE(judge(0, 401, recorded("twilio/error_20003")).problem.fix.find("Copy both again"), std::string::npos);
  EXPECT_NE(judge(1, 200, recorded("twilio/numbers_none")).problem.fix.find("Active Numbers"), std::string::npos);
  EXPECT_NE(judge(1, 200, recorded("twilio/numbers_voice_only")).problem.cause.find("cannot send SMS"),
            std::string::npos);
}

TEST_F(TwilioVerificationTest, ATroubledProviderIsNotTheTenantsFault) {
  EXPECT_EQ(judge(0, 503, "").kind, Verdict::Kind::retry);
  EXPECT_EQ(judge(0, 429, "").kind, Verdict::Kind::retry);
  EXPECT_EQ(judge(0, 200, "garbage").kind, Verdict::Kind::retry);
  const HttpResult unreachable = fail(HttpFailure{HttpFailure::Kind::connect_failed, false, "refused"});
  EXPECT_EQ(twilio.interpret_verification(token_fields(), 0, unreachable).kind, Verdict::Kind::retry);
}

TEST_F(TwilioVerificationTest, AnApiKeyIsNotAskedForTheAccountItCannotRead) {
  EXPECT_NE(twilio.prepare_verification(key_fields(), 0)->url.find("/Messages.json?PageSize=1"), std::string::npos);
  EXPECT_EQ(twilio.interpret_verification(key_fields(), 0, response(200, R"({"messages": []})")).kind,
            Verdict::Kind::next);
}

TEST_F(TwilioVerificationTest, AKeyThatMayNotReadTheSendersProvesNothingAgainstThem) {
  for (const int status : {401, 403}) {
    const auto refused = response(status, recorded("twilio/error_20003"));
    const Verdict unread = twilio.interpret_verification(key_fields(), 1, refused);
    EXPECT_EQ(unread.kind, Verdict::Kind::verified);
    EXPECT_NE(unread.note.find("neither the account nor its senders"), std::string::npos);
    EXPECT_EQ(twilio.interpret_verification(key_fields(), 0, refused).kind, Verdict::Kind::failed);
  }
  EXPECT_EQ(judge(1, 401, recorded("twilio/error_20003")).kind, Verdict::Kind::failed);
}

TEST_F(TwilioVerificationTest, AsksTheMessagingApiForAMessagingService) {
  const auto request = Twilio("https://api.twilio.com").prepare_verification(key_fields(), 1);
  EXPECT_EQ(request->url, "https://messaging.twilio.com/v1/Services/MG00000000000000000000000000000001");
  const auto judged = [this](int status, std::string body) {
    return twilio.interpret_verification(key_fields(), 1, response(status, std::move(body)));
  };
  const Verdict found = judged(200, R"({"sid": "MG00000000000000000000000000000001"})");
  EXPECT_EQ(found.kind, Verdict::Kind::verified);
  EXPECT_NE(found.note.find("may not read the account"), std::string::npos);
  const auto missing =
      judged(404, R"({"code": 20404, "message": "The requested resource was not found", "status": 404})");
  EXPECT_EQ(missing.kind, Verdict::Kind::failed);
  EXPECT_NE(missing.problem.cause.find("does not exist in this account"), std::string::npos);
  EXPECT_EQ(judged(503, "").kind, Verdict::Kind::retry);
}

}  // namespace
}  // namespace byocd
