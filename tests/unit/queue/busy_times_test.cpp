#include "queue/busy_times.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "providers/google_calendar.h"
#include "support/fake_gateway.h"
#include "support/fake_http.h"
#include "support/jobs.h"
#include "support/manual_timers.h"
#include "support/recorded.h"

namespace byocd {
namespace {

using nlohmann::json;

class BusyTimesTest : public testing::Test {
 protected:
  BusyTimesTest() {
    registry.add(std::make_unique<GoogleCalendar>("http://google.example.test",
                                                  GoogleOAuth("http://google.example.test", nullptr)));
  }
  void ask() {
    busy_times.ask({{"org-1", "credential-1"}, 1, "2026-07-01T00:00:00Z", "2026-07-02T00:00:00Z"},
                   [this](BusyTimes::Answer answer) { answered.emplace(std::move(answer)); });
    std::vector<OpenedCredential> all;
    all.push_back({"org-1", "credential-1", "google_calendar", 1,
                   make_fields({{"client_id", "id"}, {"client_secret", "s"}, {"refresh_token", "r"}}), std::nullopt});
    answer(gateway.opens, {std::move(all)});
  }

  ManualTimers timers;
  FakeGateway gateway;
  FakeHttp http;
  Registry registry;
  CredentialCache credentials{gateway, timers};
  AccessTokens tokens{registry, http, timers};
  CalendarBusyTimes busy_times{{registry, http, credentials, tokens}};
  std::optional<BusyTimes::Answer> answered;
};

TEST_F(BusyTimesTest, AsksTheCalendarWithATokenOfItsOwn) {
  ask();
  http.answer(200, recorded("google/tokens_refreshed"));
  const auto request = http.answer(200, recorded("google/free_busy"));
  EXPECT_EQ(request.url, "http://google.example.test/calendar/v3/freeBusy");
  EXPECT_EQ(
      json::parse(request.body),
      json::parse(
          R"({"timeMin": "2026-07-01T00:00:00Z", "timeMax": "2026-07-02T00:00:00Z", "items": [{"id": "primary"}]})"));
  ASSERT_TRUE(answered && answered->ok());
  EXPECT_EQ(json::parse(**answered),
            json::parse(R"([{"start": "2026-07-01T09:00:00Z", "end": "2026-07-01T10:30:00Z"}])"));
}

TEST_F(BusyTimesTest, SaysWhoCanMendWhatIsWrong) {
  ask();
  http.answer(400, recorded("google/error_invalid_grant"));
  ASSERT_TRUE(answered && !answered->ok());
  EXPECT_EQ(answered->error().code, "invalid_grant");
  EXPECT_FALSE(answered->error().unreachable);
}

TEST_F(BusyTimesTest, TroubleAtGoogleIsNobodysFault) {
  ask();
  http.answer(200, recorded("google/tokens_refreshed"));
  http.answer(503, "");
  ASSERT_TRUE(answered && !answered->ok());
  EXPECT_TRUE(answered->error().unreachable);
}

TEST_F(BusyTimesTest, AnUnknownCalendarIsNoFreeOne) {
  ask();
  http.answer(200, recorded("google/tokens_refreshed"));
  http.answer(200,
              R"({"calendars": {"primary": {"errors": [{"domain": "global", "reason": "notFound"}], "busy": []}}})");
  ASSERT_TRUE(answered && !answered->ok());
  EXPECT_EQ(answered->error().code, "calendar_not_found");
}

TEST_F(BusyTimesTest, ARefusedTokenIsNotUsedAgain) {
  ask();
  http.answer(200, recorded("google/tokens_refreshed"));
  http.answer(401, recorded("google/error_401"));
  EXPECT_EQ(tokens.size(), 0u);
}

}  // namespace
}  // namespace byocd
