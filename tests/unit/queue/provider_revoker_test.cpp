#include "queue/provider_revoker.h"

#include <gtest/gtest.h>

#include "providers/google_calendar.h"
#include "support/fake_http.h"
#include "support/fake_oauth_gateway.h"
#include "support/manual_timers.h"

namespace byocd {
namespace {

using namespace std::chrono_literals;

class ProviderRevokerTest : public testing::Test {
 protected:
  ProviderRevokerTest() {
    registry.add(std::make_unique<GoogleCalendar>("https://google.example.test",
                                                  GoogleOAuth("https://google.example.test", nullptr)));
  }
  void begin(const std::string& provider = "google_calendar") {
    revoker.wake();
    timers.pass(50ms);
    std::vector<Revocation> due;
    due.push_back({"org-1", "revocation-1", provider, SecretString("1//000")});
    take_first(gateway.claims)(std::move(due));
  }

  ManualTimers timers;
  FakeOAuthGateway gateway;
  FakeHttp http;
  Registry registry;
  ProviderRevoker revoker{{gateway, registry, http, timers}, 1000ms};
};

TEST_F(ProviderRevokerTest, RevokesAndSaysSo) {
  begin();
  ASSERT_EQ(http.calls.size(), 1u);
  EXPECT_FALSE(revoker.settled());
  EXPECT_EQ(http.answer(200, "{}").body, "token=1%2F%2F000");
  auto record = take_first(gateway.records);
  EXPECT_EQ(record.id, "revocation-1");
  EXPECT_TRUE(record.revoked);
  record.callback(Done{});
  EXPECT_TRUE(revoker.settled());
}

TEST_F(ProviderRevokerTest, WhatTheProviderDoesNotAnswerIsNotRevoked) {
  begin();
  http.answer(503, "");
  EXPECT_FALSE(take_first(gateway.records).revoked);
}

TEST_F(ProviderRevokerTest, WhatIsRevokedAlreadyIsDone) {
  begin();
  http.answer(400, R"({"error": "invalid_token"})");
  EXPECT_TRUE(take_first(gateway.records).revoked);
}

TEST_F(ProviderRevokerTest, AProviderThatThisProgramDoesNotKnowIsForAnotherOne) {
  begin("telegraph");
  EXPECT_TRUE(http.calls.empty());
  EXPECT_FALSE(take_first(gateway.records).revoked);
}

TEST_F(ProviderRevokerTest, LooksAtEveryPollAndNotWithoutADatabase) {
  revoker.wake();
  timers.pass(50ms);
  take_first(gateway.claims)(std::vector<Revocation>{});
  timers.pass(1000ms);
  EXPECT_EQ(gateway.claims.size(), 1u);
  take_first(gateway.claims)(std::vector<Revocation>{});
  gateway.is_ready = false;
  timers.pass(5000ms);
  EXPECT_TRUE(gateway.claims.empty());
  gateway.is_ready = true;
  revoker.stop();
  timers.pass(5000ms);
  EXPECT_TRUE(gateway.claims.empty());
}

TEST_F(ProviderRevokerTest, LooksSoonHoweverOftenItIsWoken) {
  for (int i = 0; i < 10; ++i) {
    revoker.wake();
    timers.pass(10ms);
  }
  EXPECT_EQ(gateway.claims.size(), 1u);
}

TEST_F(ProviderRevokerTest, WhatItGetsAfterItsStopIsLeftToTheLease) {
  revoker.wake();
  timers.pass(50ms);
  revoker.stop();
  EXPECT_FALSE(revoker.settled());
  std::vector<Revocation> due;
  due.push_back({"org-1", "revocation-1", "google_calendar", SecretString("1//000")});
  take_first(gateway.claims)(std::move(due));
  EXPECT_TRUE(http.calls.empty());
  EXPECT_TRUE(gateway.records.empty());
  EXPECT_TRUE(revoker.settled());
}

}  // namespace
}  // namespace byocd
