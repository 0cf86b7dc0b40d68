#include "queue/access_tokens.h"

#include <gtest/gtest.h>

#include "providers/google_calendar.h"
#include "providers/twilio.h"
#include "support/fake_http.h"
#include "support/jobs.h"
#include "support/manual_timers.h"

namespace byocd {
namespace {

using namespace std::chrono_literals;

class AccessTokensTest : public testing::Test {
 protected:
  AccessTokensTest() {
    registry.add(std::make_unique<Twilio>("https://api.example.test"));
    registry.add(std::make_unique<GoogleCalendar>("https://google.example.test",
                                                  GoogleOAuth("https://google.example.test", nullptr)));
  }
  static AccessTokens::Credential google(int version = 1) {
    return std::make_shared<const OpenedCredential>(make_google_credential(version));
  }
  /// Notes what was answered: the token, or the problem's code.
  AccessTokens::Callback note() {
    return [this](const AccessTokens::Answer& answer) {
      answers.push_back(answer ? (*answer)->fields.at("access_token").reveal() : answer.error().code);
      if (answer) last = *answer;
    };
  }
  void grant(const std::string& token, int seconds = 3599) {
    http.answer(200, R"({"access_token": ")" + token + R"(", "expires_in": )" + std::to_string(seconds) + "}");
  }

  ManualTimers timers;
  FakeHttp http;
  Registry registry;
  AccessTokens tokens{registry, http, timers};
  std::vector<std::string> answers;
  AccessTokens::Credential last;
};

TEST_F(AccessTokensTest, ACredentialWithoutOAuthIsAnsweredAsItIs) {
  const auto twilio = std::make_shared<const OpenedCredential>(make_credential());
  tokens.get(twilio, [&](const AccessTokens::Answer& answer) { EXPECT_EQ(*answer, twilio); });
  EXPECT_TRUE(http.calls.empty());
}

TEST_F(AccessTokensTest, TenJobsAskOnce) {
  for (int i = 0; i < 10; ++i) tokens.get(google(), note());
  ASSERT_EQ(http.calls.size(), 1u);
  grant("one");
  EXPECT_EQ(answers, std::vector<std::string>(10, "one"));
  tokens.get(google(), note());
  EXPECT_EQ(answers.back(), "one");
  EXPECT_TRUE(http.calls.empty());
  EXPECT_EQ(last->fields.at("refresh_token").reveal(), "1//000");
}

TEST_F(AccessTokensTest, FetchesANewOneBeforeTheOldOneExpires) {
  tokens.get(google(), note());
  grant("one", 600);
  timers.pass(539s);
  tokens.get(google(), note());
  EXPECT_TRUE(http.calls.empty());
  timers.pass(1s);
  tokens.get(google(), note());
  grant("two", 600);
  EXPECT_EQ(answers, (std::vector<std::string>{"one", "one", "two"}));
}

TEST_F(AccessTokensTest, ForgetsWhatHasExpired) {
  tokens.get(google(), note());
  grant("one", 600);
  EXPECT_EQ(tokens.size(), 1u);
  timers.pass(601s);
  EXPECT_EQ(tokens.size(), 0u);
}

TEST_F(AccessTokensTest, ATokenThatLastsNoMinuteIsUsedOnce) {
  tokens.get(google(), note());
  grant("short", 30);
  EXPECT_EQ(answers, std::vector<std::string>{"short"});
  tokens.get(google(), note());
  EXPECT_EQ(http.calls.size(), 1u);
}

TEST_F(AccessTokensTest, OtherFieldsHaveOtherTokens) {
  tokens.get(google(1), note());
  tokens.get(google(2), note());
  ASSERT_EQ(http.calls.size(), 2u);
  grant("one");
  grant("two");
  EXPECT_EQ(answers, (std::vector<std::string>{"one", "two"}));
}

TEST_F(AccessTokensTest, RefusedTokensAreNotGivenAgain) {
  tokens.get(google(), note());
  grant("one");
  const auto old = last;
  tokens.refused(old);
  tokens.get(google(), note());
  grant("two");
  tokens.refused(old);  // what came later is not meant
  tokens.get(google(), note());
  EXPECT_EQ(answers, (std::vector<std::string>{"one", "two", "two"}));
}

TEST_F(AccessTokensTest, RenewingAsksAlthoughOneIsKnown) {
  tokens.get(google(), note());
  grant("one");
  tokens.renew(google(), note());
  ASSERT_EQ(http.calls.size(), 1u);
  grant("two");
  tokens.get(google(), note());
  EXPECT_EQ(answers, (std::vector<std::string>{"one", "two", "two"}));
}

TEST_F(AccessTokensTest, EverybodyHearsTheProblem) {
  tokens.get(google(), note());
  tokens.get(google(), note());
  http.answer(400, R"({"error": "invalid_grant"})");
  EXPECT_EQ(answers, (std::vector<std::string>{"invalid_grant", "invalid_grant"}));
  tokens.get(google(), note());
  http.answer(fail(HttpFailure{HttpFailure::Kind::timeout, true, "no answer", HttpFailure::Reason::timeout}));
  EXPECT_EQ(answers.back(), "timeout");
}

TEST_F(AccessTokensTest, WhatTroublesTheTokenEndpointDoesNotEndAGoodToken) {
  tokens.get(google(), note());
  grant("one");
  tokens.renew(google(), note());
  http.answer(500, "");
  tokens.get(google(), note());
  EXPECT_EQ(answers, (std::vector<std::string>{"one", "http_500", "one"}));
  tokens.renew(google(), note());
  http.answer(400, R"({"error": "invalid_grant"})");
  tokens.get(google(), note());
  EXPECT_EQ(http.calls.size(), 1u);
}

TEST_F(AccessTokensTest, WhatIsNotConnectedAsksNobody) {
  OpenedCredential credential = make_google_credential();
  credential.fields.erase("refresh_token");
  tokens.get(std::make_shared<const OpenedCredential>(std::move(credential)), note());
  EXPECT_EQ(answers, std::vector<std::string>{"not_connected"});
  EXPECT_TRUE(http.calls.empty());
}

}  // namespace
}  // namespace byocd
