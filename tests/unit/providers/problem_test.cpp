#include "providers/problem.h"

#include <gtest/gtest.h>

#include "providers/twilio.h"
#include "providers/twilio_problems.h"
#include "support/jobs.h"

namespace byocd {
namespace {

std::string code_of(std::string_view number) {
  const auto problem = number_problem(number, "The sender's number");
  return problem ? problem->code : "";
}

TEST(NumberProblem, TakesNumbersInE164Form) {
  for (const char* number : {"+14155550100", "+15005550006", "+442071838750", "+99999999"})
    EXPECT_EQ(code_of(number), "") << number;
  for (const char* number : {"", "+", "4155550100", "+04155550100", "+1 415 555 0100", "+1415555010", "+1415555010a",
                             "+10155550100", "+123456789012345", "+1234567", "+44207183875012345", "+1415555０100"})
    EXPECT_EQ(code_of(number), "not_e164") << number;
}

TEST(NumberProblem, KnowsThePlaceholder) {
  EXPECT_EQ(code_of("+1234567890"), "placeholder_number");
  EXPECT_NE(number_problem("+1234567890", "The recipient")->cause.find("placeholder +1234567890"), std::string::npos);
}

TEST(FailureProblem, NamesWhatWentWrong) {
  using Reason = HttpFailure::Reason;
  const auto code = [](Reason reason) {
    const Problem problem = failure_problem({HttpFailure::Kind::connect_failed, false, "why", reason}, "Twilio");
    EXPECT_TRUE(problem.unreachable);
    EXPECT_NE(problem.cause.find("(why)"), std::string::npos);
    EXPECT_FALSE(problem.fix.empty());
    return problem.code;
  };
  EXPECT_EQ(code(Reason::name_not_found), "dns");
  EXPECT_EQ(code(Reason::refused), "connect_failed");
  EXPECT_EQ(code(Reason::tls), "tls");
  EXPECT_EQ(code(Reason::timeout), "timeout");
  EXPECT_EQ(code(Reason::other), "connection_lost");
}

Problem of_answer(int status, std::string body) {
  HttpResponse response;
  response.status = status;
  response.body = std::move(body);
  return twilio_answer_problem(response);
}

TEST(TwilioProblem, ExplainsWhatTwilioRefuses) {
  const Problem known = of_answer(400, R"({"code": 21608, "message": "unverified", "status": 400})");
  EXPECT_EQ(known.code, "21608");
  EXPECT_FALSE(known.unreachable);
  EXPECT_NE(known.fix.find("Verified Caller IDs"), std::string::npos);
  const Problem fresh = of_answer(400, R"({"code": 29999, "message": "Something new", "status": 400})");
  EXPECT_NE(fresh.cause.find("29999: Something new"), std::string::npos);
  EXPECT_NE(fresh.fix.find("/errors/29999"), std::string::npos);
  EXPECT_EQ(of_answer(401, "{}").code, "20003");
  EXPECT_EQ(of_answer(403, "{}").code, "http_403");
}

TEST(TwilioProblem, TellsTroubleFromRefusal) {
  EXPECT_TRUE(of_answer(503, "").unreachable);
  EXPECT_EQ(of_answer(503, "").code, "http_503");
  EXPECT_EQ(of_answer(429, R"({"code": 20429})").code, "20429");
  EXPECT_TRUE(of_answer(429, "").unreachable);
  EXPECT_EQ(of_answer(302, "").code, "bad_answer");
  EXPECT_EQ(of_answer(407, "<html>").code, "bad_answer");
}

TEST(TwilioRecipients, AreTheVerifiedNumbers) {
  HttpResponse response;
  response.status = 200;
  response.body = R"({"outgoing_caller_ids": [{"phone_number": "+15551000002"}, {"phone_number": null}, 1]})";
  const auto numbers = Twilio::interpret_recipients(HttpResult(response));
  ASSERT_TRUE(numbers.ok());
  EXPECT_EQ(*numbers, std::vector<std::string>{"+15551000002"});
  response.body = "{}";
  EXPECT_EQ(Twilio::interpret_recipients(HttpResult(response)).error().code, "bad_answer");
}

TEST(TwilioVerification, FindsWhatIsWrongWithTheSenderWithoutARequest) {
  const Twilio twilio("https://api.example.test");
  const auto code = [&](const char* number) {
    const auto fields =
        make_fields({{"account_sid", account_sid.c_str()}, {"auth_token", "made-up"}, {"phone_number", number}});
    const auto request = twilio.prepare_verification(fields, 1);
    return request ? "" : request.error().code;
  };
  EXPECT_EQ(code("+1234567890"), "placeholder_number");
  EXPECT_EQ(code("555-0100"), "not_e164");
  EXPECT_EQ(code(""), "credential_incomplete");
  EXPECT_EQ(code("+14155550100"), "");
}

TEST(TwilioVerification, ANumberThatOnlyContainsTheDigitsIsAnother) {
  const Twilio twilio("https://api.example.test");
  HttpResponse response;
  response.status = 200;
  response.body = R"({"incoming_phone_numbers": [{"phone_number": "+150055500061", "capabilities": {"sms": true}}]})";
  EXPECT_EQ(twilio.interpret_verification(token_fields(), 1, HttpResult(response)).problem.code,
            "number_not_in_account");
}

TEST(TwilioVerification, ShowsWhatTheAccountIs) {
  const Twilio twilio("https://api.example.test");
  HttpResponse response;
  response.status = 200;
  response.body = R"({"status": "active", "type": "Trial", "friendly_name": "Клиника 😀", "date_created": "x"})";
  const Verdict verdict = twilio.interpret_verification(token_fields(), 0, HttpResult(response));
  EXPECT_EQ(verdict.kind, Verdict::Kind::next);
  EXPECT_TRUE(verdict.on_trial);
  ASSERT_EQ(verdict.details.size(), 4u);
  EXPECT_EQ(verdict.details[0], std::pair(std::string("account"), std::string("Клиника 😀")));
  response.body = R"({"status": "closed"})";
  EXPECT_EQ(twilio.interpret_verification(token_fields(), 0, HttpResult(response)).problem.code, "account_closed");
}

}  // namespace
}  // namespace byocd
