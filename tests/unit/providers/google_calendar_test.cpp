#include "providers/google_calendar.h"

#include <gtest/gtest.h>

#include "support/jobs.h"
#include "support/recorded.h"

namespace byocd {
namespace {

using Kind = Verdict::Kind;

class GoogleCalendarTest : public testing::Test {
 protected:
  Verdict judge(int status, const std::string& body) const {
    return calendar.interpret_verification({}, 0, response(status, body));
  }
  Verdict judge_recorded(int status, const std::string& name) const {
    return judge(status, recorded("google/" + name));
  }

  GoogleCalendar calendar{"http://google.example.test", GoogleOAuth("http://google.example.test", nullptr)};
};

TEST_F(GoogleCalendarTest, LooksAtTheCalendarWithTheAccessToken) {
  const auto primary = calendar.prepare_verification(make_fields({{"access_token", "ya29.0"}}), 0);
  ASSERT_TRUE(primary.ok());
  EXPECT_EQ(primary->method, HttpRequest::Method::get);
  EXPECT_TRUE(primary->url.starts_with("http://google.example.test/calendar/v3/calendars/primary/events?"));
  EXPECT_EQ(primary->headers.at(0).reveal(), "Authorization: Bearer ya29.0");
  EXPECT_TRUE(primary->user.empty());
  const auto other = calendar.prepare_verification(make_fields({{"calendar_id", "team/1@group.calendar.example"}}), 0);
  EXPECT_TRUE(other->url.starts_with(
      "http://google.example.test/calendar/v3/calendars/team%2F1%40group.calendar.example/events?"));
}

TEST_F(GoogleCalendarTest, WhoMayChangeEventsIsVerified) {
  const auto verdict = judge_recorded(200, "events_owner");
  EXPECT_EQ(verdict.kind, Kind::verified);
  EXPECT_EQ(verdict.details.front(), (std::pair<std::string, std::string>{"calendar", "Ada"}));
  EXPECT_EQ(judge_recorded(200, "events_reader").problem.code, "calendar_read_only");
  EXPECT_EQ(judge_recorded(200, "events_reader").kind, Kind::failed);
}

TEST_F(GoogleCalendarTest, SaysWhatToDoAboutARefusal) {
  for (const auto& [status, name, code] : {std::tuple(401, "error_401", "authError"),
                                           {403, "error_scopes", "scope_missing"},
                                           {403, "error_api_disabled", "api_disabled"},
                                           {404, "error_404", "calendar_not_found"}}) {
    const auto verdict = judge_recorded(status, name);
    EXPECT_EQ(verdict.kind, Kind::failed) << name;
    EXPECT_EQ(verdict.problem.code, code);
    EXPECT_FALSE(verdict.problem.fix.empty());
  }
}

TEST_F(GoogleCalendarTest, QuotaAndTroubleSayNothingAboutTheCredential) {
  EXPECT_EQ(judge_recorded(403, "error_rate_limit").kind, Kind::retry);
  for (const int status : {302, 429, 500, 503}) EXPECT_EQ(judge(status, "").kind, Kind::retry) << status;
  EXPECT_EQ(judge(404, "<html>nothing here</html>").kind, Kind::retry);
  EXPECT_EQ(judge(200, "<html>a proxy</html>").kind, Kind::retry);
  EXPECT_EQ(calendar.interpret_verification({}, 0, fail(HttpFailure{})).kind, Kind::retry);
}

}  // namespace
}  // namespace byocd
