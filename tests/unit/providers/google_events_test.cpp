#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "providers/google_calendar.h"
#include "support/jobs.h"
#include "support/recorded.h"

namespace byocd {
namespace {

using nlohmann::json;
using Ending = CallOutcome::Kind;
using Method = HttpRequest::Method;

constexpr const char* event_path = "http://google.example.test/calendar/v3/calendars/primary/events";
constexpr const char* timed = R"({"event_id": "0123456789abcdefghijklmnoo", "send_updates": "all", "summary": "Zoë",
  "time_zone": "Europe/Berlin", "starts_at": "2026-03-29T08:00:00Z", "ends_at": "2026-03-29T08:45:00Z",
  "attendees": ["ada@example.org"], "recurrence": ["RRULE:FREQ=WEEKLY"]})";
constexpr const char* whole_days = R"({"event_id": "0123456789abcdefghijklmnoo", "send_updates": "none", "summary": "x",
  "time_zone": "UTC", "starts_on": "2026-12-24", "ends_before": "2026-12-27"})";

class GoogleEventsTest : public testing::Test {
 protected:
  static ClaimedCall make_call(const std::string& operation, const char* payload = timed) {
    ClaimedCall call;
    call.id = "call-1";
    call.operation = operation;
    call.payload = payload;
    return call;
  }
  HttpRequest prepared(const ClaimedCall& call, int step = 0) const {
    auto request = calendar.prepare_call(call, credential, step);
    EXPECT_TRUE(request.ok());
    return std::move(*request);
  }
  CallOutcome answered(const std::string& operation, int status, const std::string& body, int step = 0) const {
    return calendar.interpret_call(make_call(operation), step, response(status, body));
  }
  // Where the answer leads.
  int led(const std::string& operation, int status, const std::string& body, int step = 0) const {
    const auto outcome = answered(operation, status, body, step);
    EXPECT_EQ(outcome.kind, Ending::next);
    return outcome.next_step;
  }

  CredentialFields credential = make_fields({{"access_token", "ya29.0"}});
  GoogleCalendar calendar{"http://google.example.test", GoogleOAuth("http://google.example.test", nullptr)};
};

TEST_F(GoogleEventsTest, InsertsTheEventUnderItsOwnId) {
  const auto request = prepared(make_call("event.insert"));
  EXPECT_EQ(request.method, Method::post);
  EXPECT_EQ(request.url, std::string(event_path) + "?sendUpdates=all");
  const json body = json::parse(request.body);
  EXPECT_EQ(body["id"], "0123456789abcdefghijklmnoo");
  EXPECT_EQ(body["summary"], "Zoë");
  EXPECT_EQ(body["start"], (json{{"dateTime", "2026-03-29T08:00:00Z"}, {"timeZone", "Europe/Berlin"}}));
  EXPECT_EQ(body["end"], (json{{"dateTime", "2026-03-29T08:45:00Z"}, {"timeZone", "Europe/Berlin"}}));
  EXPECT_EQ(body["attendees"], (json::array({{{"email", "ada@example.org"}}})));
  EXPECT_EQ(body["recurrence"], json::array({"RRULE:FREQ=WEEKLY"}));
  EXPECT_EQ(body["extendedProperties"]["private"]["byoc_call"], "call-1");
}

TEST_F(GoogleEventsTest, WholeDaysAreDates) {
  const json body = json::parse(prepared(make_call("event.insert", whole_days)).body);
  EXPECT_EQ(body["start"], (json{{"date", "2026-12-24"}}));
  EXPECT_EQ(body["end"], (json{{"date", "2026-12-27"}}));
  EXPECT_FALSE(body.contains("attendees"));
}

TEST_F(GoogleEventsTest, UpdatesAndDeletesTheSameEvent) {
  const auto update = prepared(make_call("event.update"));
  EXPECT_EQ(update.method, Method::put);
  EXPECT_EQ(update.url, std::string(event_path) + "/0123456789abcdefghijklmnoo?sendUpdates=all");
  EXPECT_EQ(json::parse(update.body)["status"], "confirmed");
  const auto gone = prepared(make_call("event.delete"));
  EXPECT_EQ(gone.method, Method::del);
  EXPECT_EQ(gone.url, update.url);
  EXPECT_TRUE(gone.body.empty());
}

TEST_F(GoogleEventsTest, KeepsTheLinkOfWhatWasWritten) {
  const auto outcome = answered("event.insert", 200, recorded("google/event"));
  EXPECT_EQ(outcome.kind, Ending::accepted);
  EXPECT_EQ(json::parse(outcome.result.value())["html_link"], "https://www.google.com/calendar/event?eid=MDEyMw");
}

TEST_F(GoogleEventsTest, AnInsertThatWasMadeBeforeIsDone) {
  const int look = led("event.insert", 409, recorded("google/error_duplicate"));
  const auto request = prepared(make_call("event.insert"), look);
  EXPECT_EQ(request.method, Method::get);
  EXPECT_EQ(request.url, std::string(event_path) + "/0123456789abcdefghijklmnoo");
  EXPECT_EQ(answered("event.insert", 200, recorded("google/event"), look).kind, Ending::accepted);
}

TEST_F(GoogleEventsTest, AConflictWithAnythingElseIsWrittenOver) {
  const int look = led("event.insert", 409, recorded("google/error_duplicate"));
  json event = json::parse(recorded("google/event"));
  event["status"] = "cancelled";
  const int replace = led("event.insert", 200, event.dump(), look);
  EXPECT_EQ(prepared(make_call("event.insert"), replace).method, Method::put);
  event = json::parse(recorded("google/event"));
  event["extendedProperties"]["private"]["byoc_call"] = "call-0";
  EXPECT_EQ(led("event.insert", 200, event.dump(), look), replace);
  event.erase("extendedProperties");
  EXPECT_EQ(led("event.insert", 200, event.dump(), look), replace);
}

TEST_F(GoogleEventsTest, AnUpdateOfWhatIsNotThereInsertsIt) {
  for (const int status : {404, 410}) {
    const int insert = led("event.update", status, recorded("google/error_404"));
    EXPECT_EQ(prepared(make_call("event.update"), insert).method, Method::post);
    EXPECT_EQ(answered("event.update", 404, recorded("google/error_404"), insert).kind, Ending::bad_credential)
        << "then it is the calendar that is not there";
  }
}

TEST_F(GoogleEventsTest, ADeleteOfWhatIsNotThereIsDone) {
  for (const int status : {204, 200, 404, 410})
    EXPECT_EQ(answered("event.delete", status, "").kind, Ending::accepted) << status;
}

TEST_F(GoogleEventsTest, TellsQuotaTroubleCredentialAndEventApart) {
  const auto kind = [&](int status, const std::string& body) { return answered("event.insert", status, body).kind; };
  EXPECT_EQ(kind(403, recorded("google/error_rate_limit")), Ending::throttled);
  EXPECT_EQ(kind(429, ""), Ending::throttled);
  EXPECT_EQ(kind(503, ""), Ending::unavailable);
  EXPECT_EQ(kind(200, "<html>"), Ending::unavailable);
  EXPECT_EQ(kind(302, ""), Ending::unavailable);
  EXPECT_EQ(kind(401, recorded("google/error_401")), Ending::bad_credential);
  EXPECT_EQ(kind(403, recorded("google/error_scopes")), Ending::bad_credential);
  const auto refused = answered("event.insert", 400, recorded("google/error_attendee"));
  EXPECT_EQ(refused.kind, Ending::rejected);
  EXPECT_EQ(refused.error_code, "invalid");
  EXPECT_EQ(refused.error_message, "Invalid attendee email.");
}

TEST_F(GoogleEventsTest, KnowsNoOtherOperation) {
  EXPECT_EQ(calendar.prepare_call(make_call("mail.send"), credential, 0).error().code, "unknown_operation");
  EXPECT_EQ(calendar.prepare_call(make_call("event.insert", "{}"), credential, 0).error().code, "unknown_operation");
}

}  // namespace
}  // namespace byocd
