#include "queue/verifier.h"

#include <gtest/gtest.h>

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
  VerifierTest() { registry.add(std::make_unique<Twilio>("https://api.example.test")); }
  void begin() {
    verifier.wake();
    timers.pass(50ms);
    answer(gateway.verification_claims, {std::vector<VerificationJob>{{"org-1", "credential-1", "twilio", 1}}});
    std::vector<OpenedCredential> opened;
    opened.push_back(make_credential());
    answer(gateway.opens, {std::move(opened)});
  }

  ManualTimers timers;
  FakeGateway gateway;
  FakeHttp http;
  Registry registry;
  CredentialCache credentials{gateway, timers};
  Verifier verifier{{gateway, registry, http, credentials, timers}, 1000ms};
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
