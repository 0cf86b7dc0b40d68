#include "queue/dispatcher.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "providers/twilio.h"
#include "support/fake_gateway.h"
#include "support/fake_http.h"
#include "support/jobs.h"
#include "support/manual_timers.h"

namespace byocd {
namespace {

using namespace std::chrono_literals;

Registry registry_with_twilio() {
  Registry registry;
  registry.add(std::make_unique<Twilio>("https://api.example.test"));
  return registry;
}

class DispatcherTest : public testing::Test {
 protected:
  std::vector<ClaimedJob> jobs(int count, const std::string& lane = "lane-1") {
    auto made = make_jobs(make_claim("claim", timers.now() + 30s), count);
    for (auto& job : made) job.lane = lane;
    return made;
  }
  void open_credential(int version = 1) {
    std::vector<OpenedCredential> opened;
    opened.push_back(make_credential(version));
    answer(gateway.opens, {std::move(opened)});
  }

  ManualTimers timers;
  FakeGateway gateway;
  FakeHttp http;
  Registry registry = registry_with_twilio();
  CredentialCache credentials{gateway, timers};
  Identities identities{30s};
  LaneLoads lanes{6, 4};
  RetryPolicy retry_policy{[] { return 0.0; }};
  std::vector<JobOutcome> outcomes;
  int freed = 0;
  Dispatcher dispatcher{{registry, http, credentials, identities, lanes, retry_policy, timers},
                        {[this](JobOutcome outcome) { outcomes.push_back(std::move(outcome)); }, [this] { ++freed; }}};
};

TEST_F(DispatcherTest, OpensACredentialOnceAndSendsEveryJob) {
  dispatcher.dispatch(jobs(3));
  EXPECT_EQ(dispatcher.in_flight(), 3);
  ASSERT_EQ(gateway.opens.size(), 1u);
  EXPECT_EQ(gateway.opens.front().arguments.size(), 1u);
  open_credential();
  ASSERT_EQ(http.calls.size(), 3u);
  timers.freeze(7ms);
  http.answer(201, R"({"sid": "SM00000000000000000000000000000001", "status": "queued", "num_segments": "1"})");
  ASSERT_EQ(outcomes.size(), 1u);
  EXPECT_EQ(outcomes[0].outcome.kind, OutcomeKind::accepted);
  EXPECT_EQ(outcomes[0].duration, 7ms);
  EXPECT_EQ(dispatcher.in_flight(), 2);
  EXPECT_EQ(freed, 1);

  dispatcher.dispatch(jobs(1));
  EXPECT_TRUE(gateway.opens.empty());
  EXPECT_EQ(http.calls.size(), 3u);
}

TEST_F(DispatcherTest, ANewerVersionIsOpenedAnew) {
  dispatcher.dispatch(jobs(1));
  open_credential(1);
  auto newer = jobs(1);
  newer[0].credential_version = 2;
  dispatcher.dispatch(std::move(newer));
  ASSERT_EQ(gateway.opens.size(), 1u);
  EXPECT_EQ(http.calls.size(), 1u);
  open_credential(2);
  EXPECT_EQ(http.calls.size(), 2u);
}

TEST_F(DispatcherTest, WithoutACredentialNothingIsSent) {
  auto claimed = jobs(1);
  claimed[0].credential_id.reset();
  dispatcher.dispatch(std::move(claimed));
  ASSERT_EQ(outcomes.size(), 1u);
  EXPECT_EQ(outcomes[0].outcome.kind, OutcomeKind::rejected);
  EXPECT_EQ(outcomes[0].outcome.error_code, "no_credential");
  EXPECT_EQ(dispatcher.in_flight(), 0);
}

TEST_F(DispatcherTest, ARevokedCredentialGivesTheJobBack) {
  dispatcher.dispatch(jobs(1));
  answer(gateway.opens, {std::vector<OpenedCredential>{}});
  ASSERT_EQ(outcomes.size(), 1u);
  EXPECT_EQ(outcomes[0].outcome.kind, OutcomeKind::returned);
}

TEST_F(DispatcherTest, AnUnreadableCredentialIsUnavailable) {
  dispatcher.dispatch(jobs(1));
  auto unreadable = make_credential();
  unreadable.error = "key k1 is not in the ring";
  std::vector<OpenedCredential> opened;
  opened.push_back(std::move(unreadable));
  answer(gateway.opens, {std::move(opened)});
  ASSERT_EQ(outcomes.size(), 1u);
  EXPECT_EQ(outcomes[0].outcome.kind, OutcomeKind::unavailable);
  EXPECT_EQ(outcomes[0].outcome.error_code, "credential_unreadable");
}

TEST_F(DispatcherTest, ALostDatabaseGivesTheJobBackAndAsksAgainNextTime) {
  dispatcher.dispatch(jobs(1));
  answer(gateway.opens, {fail(lost())});
  ASSERT_EQ(outcomes.size(), 1u);
  EXPECT_EQ(outcomes[0].outcome.kind, OutcomeKind::returned);
  dispatcher.dispatch(jobs(1));
  EXPECT_EQ(gateway.opens.size(), 1u);
}

TEST_F(DispatcherTest, AJobWhoseLeaseMayHaveRunOutIsNotSent) {
  auto claimed = jobs(1);
  dispatcher.dispatch(jobs(1));
  open_credential();
  http.calls.clear();
  timers.freeze(21s);  // stopped for more than two thirds of the lease
  dispatcher.dispatch(std::move(claimed));
  EXPECT_TRUE(http.calls.empty());
  ASSERT_EQ(outcomes.size(), 1u);
  EXPECT_EQ(outcomes[0].outcome.kind, OutcomeKind::returned);
}

TEST_F(DispatcherTest, ARequestIsNotWrittenAfterTheLease) {
  const auto begin = timers.now();
  dispatcher.dispatch(jobs(1));
  open_credential();
  ASSERT_EQ(http.calls.size(), 1u);
  EXPECT_EQ(http.calls.front().request.not_after, begin + 30s);
  http.answer(fail(HttpFailure{HttpFailure::Kind::too_late, false, "too late"}));
  ASSERT_EQ(outcomes.size(), 1u);
  EXPECT_EQ(outcomes[0].outcome.kind, OutcomeKind::returned);
}

TEST_F(DispatcherTest, AHeartbeatKeepsAJobSendable) {
  const std::string identity = identities.renew();
  dispatcher.dispatch(make_jobs(make_claim("slow", timers.now() + 30s, identity), 1));
  timers.freeze(25s);
  identities.renewed(identity, timers.now());
  open_credential();
  EXPECT_EQ(http.calls.size(), 1u);
}

TEST_F(DispatcherTest, DrainGivesBackWhatWasNotSentAndFinishesTheRest) {
  dispatcher.dispatch(jobs(1));
  open_credential();
  auto waiting = jobs(1);
  waiting[0].credential_id = "credential-2";
  dispatcher.dispatch(std::move(waiting));
  dispatcher.drain();
  dispatcher.dispatch(jobs(2));  // a claim that was on its way
  ASSERT_EQ(outcomes.size(), 2u);
  EXPECT_EQ(outcomes[0].outcome.kind, OutcomeKind::returned);
  answer(gateway.opens, {std::vector<OpenedCredential>{}});
  EXPECT_EQ(outcomes.size(), 3u);
  EXPECT_EQ(outcomes[2].outcome.kind, OutcomeKind::returned);
  http.answer(201, R"({"sid": "SM00000000000000000000000000000001"})");
  ASSERT_EQ(outcomes.size(), 4u);
  EXPECT_EQ(outcomes[3].outcome.kind, OutcomeKind::accepted);
  EXPECT_EQ(dispatcher.in_flight(), 0);
}

TEST_F(DispatcherTest, TheRetryDelayGrowsWithTheAttemptAndHonoursRetryAfter) {
  auto claimed = jobs(2);
  claimed[0].attempt = 3;
  dispatcher.dispatch(std::move(claimed));
  open_credential();
  http.answer(503, "");
  EXPECT_EQ(outcomes[0].retry_delay, 200ms);
  HttpResponse throttled;
  throttled.status = 429;
  throttled.retry_after = 9s;
  http.answer(HttpResult(throttled));
  EXPECT_EQ(outcomes[1].retry_delay, 9s);
}

TEST_F(DispatcherTest, JobsBeyondTheRequestsOfAnAccountWaitInTheirOrder) {
  dispatcher.dispatch(jobs(6));
  open_credential();
  EXPECT_EQ(http.calls.size(), 4u);
  EXPECT_EQ(dispatcher.in_flight(), 6);
  http.answer(201, R"({"sid": "SM00000000000000000000000000000001", "status": "queued", "num_segments": "1"})");
  EXPECT_EQ(http.calls.size(), 4u) << "one came back, the next one went out";
  EXPECT_EQ(dispatcher.in_flight(), 5);
}

TEST_F(DispatcherTest, FullAccountsLeaveARequestForAnotherOne) {
  dispatcher.dispatch(jobs(5));
  open_credential();
  dispatcher.dispatch(jobs(3, "lane-2"));
  EXPECT_EQ(http.calls.size(), 5u) << "four of the first, and one of what was left of six";
  dispatcher.dispatch(jobs(3, "lane-3"));
  EXPECT_EQ(http.calls.size(), 6u);
  dispatcher.dispatch(jobs(1, "lane-4"));
  EXPECT_EQ(http.calls.size(), 6u);
}

TEST_F(DispatcherTest, AccountsThatWaitTakeTurns) {
  dispatcher.dispatch(jobs(4));
  open_credential();
  for (const char* lane : {"lane-2", "lane-3", "lane-4"}) dispatcher.dispatch(jobs(3, lane));
  ASSERT_EQ(http.calls.size(), 6u);
  const auto waiting = [this](const std::string& lane) {
    const auto rooms = lanes.rooms();
    const auto found =
        std::find_if(rooms.begin(), rooms.end(), [&](const LaneRoom& room) { return room.lane == lane; });
    return found == rooms.end() ? 0 : lanes.limit() - found->room;
  };
  while (!http.calls.empty()) {
    http.answer(201, R"({"sid": "SM00000000000000000000000000000001", "status": "queued", "num_segments": "1"})");
    EXPECT_LE(waiting("lane-4") - waiting("lane-2"), 2) << "one in its turn, and one that came when there was room";
  }
  EXPECT_EQ(outcomes.size(), 13u);
}

TEST_F(DispatcherTest, TellsOfAnAccountThatFellSilentOnce) {
  dispatcher.dispatch(jobs(5));
  open_credential();
  ASSERT_EQ(lanes.free_slots(), 2) << "of the limit of four no more counts";
  timers.pass(999ms);
  EXPECT_EQ(freed, 0);
  timers.pass(2s);
  EXPECT_EQ(freed, 1);
  EXPECT_EQ(lanes.room("lane-1"), 0);
  http.answer(201, R"({"sid": "SM00000000000000000000000000000001", "status": "queued", "num_segments": "1"})");
  EXPECT_EQ(freed, 2);
  timers.pass(900ms);
  EXPECT_EQ(freed, 2) << "it answered";
}

TEST_F(DispatcherTest, WhatWaitsOfAnAccountThatFailsAgainAndAgainIsGivenBack) {
  dispatcher.dispatch(jobs(20));
  open_credential();
  for (int i = 0; i < 9; ++i) http.answer(503, "");
  http.answer(201, R"({"sid": "SM00000000000000000000000000000001", "status": "queued", "num_segments": "1"})");
  ASSERT_EQ(outcomes.size(), 10u);
  EXPECT_EQ(http.calls.size(), 4u);
  dispatcher.dispatch(jobs(10));
  for (int i = 0; i < 9; ++i) http.answer(429, "");
  EXPECT_EQ(outcomes.size(), 19u) << "an answer between them ended the first row";
  http.answer(HttpResult(fail(HttpFailure{HttpFailure::Kind::connection_lost, true, "reset"})));
  EXPECT_EQ(http.calls.size(), 3u) << "what is on its way stays so";
  EXPECT_EQ(outcomes.size(), 27u);
  EXPECT_EQ(std::count_if(outcomes.begin(), outcomes.end(),
                          [](const JobOutcome& each) { return each.outcome.kind == OutcomeKind::returned; }),
            7);
}

TEST_F(DispatcherTest, NothingMoreIsSentOfAnAccountThatWasRefusedUntilThatIsRecorded) {
  dispatcher.dispatch(jobs(6));
  open_credential();
  ASSERT_EQ(http.calls.size(), 4u);
  http.answer(401, R"({"code": 20003, "message": "Authenticate", "status": 401})");
  ASSERT_EQ(outcomes.size(), 3u);
  EXPECT_EQ(outcomes[0].outcome.kind, OutcomeKind::returned);
  EXPECT_EQ(outcomes[1].outcome.kind, OutcomeKind::returned);
  EXPECT_EQ(outcomes[2].outcome.kind, OutcomeKind::rejected);
  EXPECT_EQ(lanes.room("lane-1"), 0);

  dispatcher.dispatch(jobs(2));
  EXPECT_EQ(http.calls.size(), 3u) << "only what was on its way";
  ASSERT_EQ(outcomes.size(), 5u);
  EXPECT_EQ(outcomes[4].outcome.kind, OutcomeKind::returned);
  dispatcher.dispatch(jobs(1, "lane-2"));
  EXPECT_EQ(http.calls.size(), 4u) << "others go on";

  for (int i = 0; i < 3; ++i) http.answer(403, R"({"code": 30002, "message": "Account suspended", "status": 403})");
  outcomes.resize(6);
  EXPECT_EQ(lanes.room("lane-1"), 0) << "the last two are not recorded yet";
  outcomes.clear();
  dispatcher.dispatch(jobs(1));
  EXPECT_EQ(http.calls.size(), 2u);
}

TEST_F(DispatcherTest, ARefusedMessageStopsNoOther) {
  dispatcher.dispatch(jobs(6));
  open_credential();
  http.answer(400, R"({"code": 21211, "message": "Invalid 'To' Phone Number", "status": 400})");
  EXPECT_EQ(outcomes.size(), 1u);
  EXPECT_EQ(http.calls.size(), 4u);
}

TEST_F(DispatcherTest, JobsThatWaitAreGivenBackWhenItDrains) {
  dispatcher.dispatch(jobs(6));
  open_credential();
  dispatcher.drain();
  ASSERT_EQ(outcomes.size(), 2u);
  EXPECT_EQ(outcomes[0].outcome.kind, OutcomeKind::returned);
  http.answer(201, R"({"sid": "SM00000000000000000000000000000001", "status": "queued", "num_segments": "1"})");
  EXPECT_EQ(http.calls.size(), 3u) << "nothing more is sent";
}

}  // namespace
}  // namespace byocd
