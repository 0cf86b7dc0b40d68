#include "queue/status_poller.h"

#include <gtest/gtest.h>

#include "providers/twilio.h"
#include "support/fake_http.h"
#include "support/fake_receipt_gateway.h"
#include "support/jobs.h"
#include "support/manual_timers.h"

namespace byocd {
namespace {

using namespace std::chrono_literals;

const std::string sid = "SM00000000000000000000000000000001";

class StatusPollerTest : public testing::Test {
 protected:
  StatusPollerTest() { registry.add(std::make_unique<Twilio>("https://api.example.test")); }
  JobOutcome outcome(const std::string& id, OutcomeKind kind = OutcomeKind::accepted) {
    JobOutcome job;
    job.org_id = "org-1";
    job.id = id;
    job.outcome.kind = kind;
    if (kind == OutcomeKind::accepted) job.outcome.provider_sid = sid;
    return job;
  }
  void claim(int count) {
    std::vector<StatusCheck> checks;
    for (int i = 0; i < count; ++i)
      checks.push_back({"org-1", "message-" + std::to_string(i), 1, sid, "twilio", "credential-1", 1});
    answer(gateway.checks, {std::move(checks)});
  }
  void open_credential() {
    std::vector<OpenedCredential> opened;
    opened.push_back(make_credential());
    answer(claims.opens, {std::move(opened)});
  }

  ManualTimers timers;
  FakeGateway claims;
  FakeReceiptGateway gateway;
  FakeHttp http;
  Registry registry;
  CredentialCache credentials{claims, timers};
  ReceiptRecorder recorder{gateway, timers};
  bool may_poll = true;
  StatusPoller poller{{gateway, registry, http, credentials, recorder, timers}, 1000ms, [this] { return may_poll; }};
};

TEST_F(StatusPollerTest, NotesAcceptedMessagesTogether) {
  poller.expect({outcome("a"), outcome("b", OutcomeKind::rejected)});
  poller.expect({outcome("c")});
  EXPECT_FALSE(poller.settled());
  timers.pass(1s);
  ASSERT_EQ(gateway.expectations.size(), 1u);
  const auto noted = answer(gateway.expectations, {Done{}});
  ASSERT_EQ(noted.size(), 2u);
  EXPECT_EQ(noted[0].id, "a");
  EXPECT_EQ(noted[1].id, "c");
  EXPECT_TRUE(poller.settled());
}

TEST_F(StatusPollerTest, NotesAgainWhatWasLost) {
  poller.expect({outcome("a")});
  timers.pass(1s);
  answer<std::vector<SentMessage>, Done>(gateway.expectations, fail(lost()));
  timers.pass(1s);
  EXPECT_EQ(answer(gateway.expectations, {Done{}}).front().id, "a");
}

TEST_F(StatusPollerTest, NotesAtOnceWhenItStops) {
  poller.expect({outcome("a")});
  poller.stop();
  ASSERT_EQ(gateway.expectations.size(), 1u);
  poller.expect({outcome("b")});
  answer(gateway.expectations, {Done{}});
  ASSERT_EQ(gateway.expectations.size(), 1u);
  EXPECT_EQ(answer(gateway.expectations, {Done{}}).front().id, "b");
  EXPECT_TRUE(poller.settled());
}

TEST_F(StatusPollerTest, AsksAndRecords) {
  poller.connection_changed();
  claim(1);
  open_credential();
  ASSERT_EQ(http.calls.size(), 1u);
  EXPECT_NE(http.answer(200, R"({"sid": ")" + sid + R"(", "status": "delivered"})").url.find(sid), std::string::npos);
  timers.turn();
  ASSERT_EQ(gateway.records.size(), 1u);
  const Receipt receipt = answer(gateway.records, {std::vector<std::size_t>{}}).front();
  EXPECT_EQ(receipt.id, "message-0");
  EXPECT_EQ(receipt.facts.status, "delivered");
}

TEST_F(StatusPollerTest, RecordsNothingWhenNothingWasLearned) {
  poller.connection_changed();
  claim(2);
  open_credential();
  http.answer(404, "{}");
  http.answer(fail(HttpFailure{}));
  timers.turn();
  EXPECT_TRUE(gateway.records.empty());
  EXPECT_TRUE(poller.settled());
}

TEST_F(StatusPollerTest, AsksGently) {
  poller.connection_changed();
  claim(8);
  open_credential();
  EXPECT_EQ(http.calls.size(), 8u);
  timers.pass(5s);
  EXPECT_TRUE(gateway.checks.empty()) << "not while eight requests are under way";
  http.answer(200, "{}");
  timers.pass(999ms);
  timers.pass(1ms);
  ASSERT_EQ(gateway.checks.size(), 1u);
  EXPECT_EQ(gateway.checks.front().arguments, 1);
}

TEST_F(StatusPollerTest, NotInADatabaseThatMustNotSend) {
  may_poll = false;
  poller.connection_changed();
  timers.pass(5s);
  EXPECT_TRUE(gateway.checks.empty());
}

}  // namespace
}  // namespace byocd
