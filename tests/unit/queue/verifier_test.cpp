#include "queue/verifier.h"

#include <gtest/gtest.h>

#include "providers/google_calendar.h"
#include "providers/twilio.h"
#include "support/fake_gateway.h"
#include "support/fake_http.h"
#include "support/jobs.h"
#include "support/manual_timers.h"

namespace byocd {
namespace {

using namespace std::chrono_literals;

class VerifierTest : public testing::Test {
 protected:
  VerifierTest() {
    registry.add(std::make_unique<Twilio>("https://api.example.test"));
    registry.add(std::make_unique<GoogleCalendar>("https://google.example.test",
                                                  GoogleOAuth("https://google.example.test", nullptr)));
  }
  void begin() { begin(make_credential()); }
  void begin(OpenedCredential credential) {
    verifier.wake();
    timers.pass(50ms);
    answer(gateway.verification_claims,
           {std::vector<VerificationJob>{{"org-1", "credential-1", credential.provider, 1}}});
    std::vector<OpenedCredential> opened;
    opened.push_back(std::move(credential));
    answer(gateway.opens, {std::move(opened)});
  }

  ManualTimers timers;
  FakeGateway gateway;
  FakeHttp http;
  Registry registry;
  CredentialCache credentials{gateway, timers};
  AccessTokens tokens{registry, http, timers};
  Verifier verifier{{gateway, registry, http, credentials, tokens, timers}, 1000ms};
};

TEST_F(VerifierTest, TakesACredentialThroughBothSteps) {
  begin();
  ASSERT_EQ(http.calls.size(), 1u);
  http.answer(200, R"({"status": "active", "type": "Full"})");
  ASSERT_EQ(http.calls.size(), 1u);
  http.answer(200, R"({"incoming_phone_numbers": [{"phone_number": "+15005550006", "capabilities": {"sms": true}}]})");
  ASSERT_EQ(gateway.verifications.size(), 1u);
  EXPECT_EQ(gateway.verifications.front().arguments.first, "verified");
  EXPECT_EQ(verifier.running(), 1);
  answer(gateway.verifications, {Done{}});
  EXPECT_EQ(verifier.running(), 0);
}

TEST_F(VerifierTest, StopsAtTheFirstFailure) {
  begin();
  http.answer(401, R"({"code": 20003, "message": "Authenticate", "status": 401})");
  ASSERT_EQ(gateway.verifications.size(), 1u);
  EXPECT_EQ(gateway.verifications.front().arguments.first, "failed");
  EXPECT_NE(gateway.verifications.front().arguments.second.find("Copy both again"), std::string::npos);
}

TEST_F(VerifierTest, WhatTheServerCannotOpenOrCheckSaysNothingAboutTheCredential) {
  OpenedCredential unreadable = make_credential();
  unreadable.error = "the key ring has no key m2";
  OpenedCredential unknown = make_credential();
  unknown.provider = "telegraph";
  for (auto* opened : {&unreadable, &unknown}) {
    verifier.wake();
    timers.pass(50ms);
    answer(gateway.verification_claims, {std::vector<VerificationJob>{{"org-1", "credential-1", opened->provider, 1}}});
    std::vector<OpenedCredential> all;
    all.push_back(std::move(*opened));
    answer(gateway.opens, {std::move(all)});
    ASSERT_EQ(gateway.verifications.size(), 1u);
    EXPECT_EQ(gateway.verifications.front().arguments.first, "retry");
    answer(gateway.verifications, {Done{}});
  }
  EXPECT_TRUE(http.calls.empty());
}

TEST_F(VerifierTest, FetchesANewAccessTokenFirst) {
  begin(make_google_credential());
  ASSERT_EQ(http.calls.size(), 1u);
  http.answer(200, R"({"access_token": "ya29.one", "expires_in": 3599})");
  ASSERT_EQ(http.calls.size(), 1u);
  EXPECT_EQ(http.calls.front().request.headers.at(0).reveal(), "Authorization: Bearer ya29.one");
  http.answer(200, R"({"accessRole": "owner", "summary": "Ada"})");
  ASSERT_EQ(gateway.verifications.size(), 1u);
  EXPECT_EQ(gateway.verifications.front().arguments.first, "verified");
}

TEST_F(VerifierTest, WhatIsNotConnectedAnyMoreFails) {
  begin(make_google_credential());
  http.answer(400, R"({"error": "invalid_grant", "error_description": "Token has been expired or revoked."})");
  ASSERT_EQ(gateway.verifications.size(), 1u);
  EXPECT_EQ(gateway.verifications.front().arguments.first, "failed");
  EXPECT_NE(gateway.verifications.front().arguments.second.find("Connect Google Calendar again"), std::string::npos);
  EXPECT_TRUE(http.calls.empty());
}

TEST_F(VerifierTest, ATokenEndpointInTroubleSaysNothingAboutTheCredential) {
  begin(make_google_credential());
  http.answer(503, "");
  ASSERT_EQ(gateway.verifications.size(), 1u);
  EXPECT_EQ(gateway.verifications.front().arguments.first, "retry");
}

TEST_F(VerifierTest, AskedOftenLooksOnce) {
  for (int i = 0; i < 100; ++i) verifier.wake();
  timers.pass(50ms);
  EXPECT_EQ(gateway.verification_claims.size(), 1u);
}

TEST_F(VerifierTest, LooksAtEveryPoll) {
  verifier.wake();
  timers.pass(50ms);
  answer(gateway.verification_claims, {std::vector<VerificationJob>{}});
  timers.pass(1000ms);
  EXPECT_EQ(gateway.verification_claims.size(), 1u);
}

}  // namespace
}  // namespace byocd
