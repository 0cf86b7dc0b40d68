#include "queue/recorder.h"

#include <gtest/gtest.h>

#include "support/fake_gateway.h"
#include "support/jobs.h"
#include "support/manual_timers.h"

namespace byocd {
namespace {

using namespace std::chrono_literals;

class RecorderTest : public testing::Test {
 protected:
  void expect(const std::shared_ptr<const Claim>& claim, int count) { recorder.expect(make_jobs(claim, count)); }
  static JobOutcome outcome(const std::shared_ptr<const Claim>& claim, const std::string& id) {
    JobOutcome done;
    done.claim = claim;
    done.id = id;
    done.outcome.kind = OutcomeKind::accepted;
    done.outcome.provider_status = "queued";
    return done;
  }
  void add(const std::shared_ptr<const Claim>& claim, const std::string& id) { recorder.add(outcome(claim, id)); }

  ManualTimers timers;
  FakeGateway gateway;
  Identities identities{30s};
  int progress = 0;
  Recorder recorder{gateway, timers, identities, {[this] { ++progress; }}};
  std::shared_ptr<const Claim> claim = make_claim("claim-1", timers.now() + 30s);
};

TEST_F(RecorderTest, RecordsInTheNextTurnWhatFinishedInThisOne) {
  expect(claim, 2);
  add(claim, "a");
  add(claim, "b");
  EXPECT_TRUE(gateway.records.empty());
  timers.turn();
  ASSERT_EQ(gateway.records.size(), 1u);
  EXPECT_EQ(gateway.records.front().arguments.size(), 2u);
  answer(gateway.records, {2});
  EXPECT_EQ(recorder.unrecorded(), 0u);
  EXPECT_EQ(progress, 1);
}

TEST_F(RecorderTest, GroupsWhatComesWhileABatchIsOnItsWay) {
  expect(claim, 4);
  add(claim, "a");
  timers.turn();
  add(claim, "b");
  add(claim, "c");
  timers.turn();
  ASSERT_EQ(gateway.records.size(), 1u);
  answer(gateway.records, {1});
  timers.pass(40ms);
  ASSERT_EQ(gateway.records.size(), 1u);
  EXPECT_EQ(gateway.records.front().arguments.size(), 2u);
}

TEST_F(RecorderTest, WaitsForOthersOnlyWhenABatchWentJustNow) {
  expect(claim, 3);
  add(claim, "a");
  timers.turn();
  answer(gateway.records, {1});
  add(claim, "b");
  timers.pass(39ms);
  add(claim, "c");
  EXPECT_TRUE(gateway.records.empty());
  timers.pass(1ms);
  ASSERT_EQ(gateway.records.size(), 1u);
  EXPECT_EQ(gateway.records.front().arguments.size(), 2u);
}

TEST_F(RecorderTest, WhatMayStopALaneDoesNotWait) {
  expect(claim, 3);
  add(claim, "a");
  timers.turn();
  answer(gateway.records, {1});
  add(claim, "b");
  auto refused = outcome(claim, "c");
  refused.outcome.kind = OutcomeKind::rejected;
  recorder.add(refused);
  timers.turn();
  ASSERT_EQ(gateway.records.size(), 1u);
  EXPECT_EQ(gateway.records.front().arguments.size(), 2u);
}

TEST_F(RecorderTest, AFullBatchDoesNotWait) {
  expect(claim, 600);
  add(claim, "first");
  timers.turn();
  answer(gateway.records, {1});
  for (int i = 0; i < 511; ++i) add(claim, std::to_string(i));
  timers.turn();
  EXPECT_TRUE(gateway.records.empty());
  add(claim, "512th");
  timers.turn();
  ASSERT_EQ(gateway.records.size(), 1u);
  EXPECT_EQ(gateway.records.front().arguments.size(), 512u);
}

TEST_F(RecorderTest, SendsABatchAgainAfterALostConnectionInItsOrder) {
  expect(claim, 3);
  add(claim, "a");
  add(claim, "b");
  timers.turn();
  add(claim, "c");
  gateway.connected = false;
  answer(gateway.records, {fail(lost())});
  timers.pass(10s);
  EXPECT_TRUE(gateway.records.empty());
  EXPECT_EQ(recorder.unrecorded(), 3u);
  gateway.connected = true;
  recorder.connection_changed();
  ASSERT_EQ(gateway.records.size(), 1u);
  const auto& sent = gateway.records.front().arguments;
  ASSERT_EQ(sent.size(), 3u);
  EXPECT_EQ(sent[0].id, "a");
  EXPECT_EQ(sent[2].id, "c");
}

TEST_F(RecorderTest, TriesAgainAfterATransientError) {
  expect(claim, 1);
  add(claim, "a");
  timers.turn();
  answer(gateway.records, {fail(sql_error("40P01"))});
  timers.pass(99ms);
  EXPECT_TRUE(gateway.records.empty());
  timers.pass(1ms);
  EXPECT_EQ(gateway.records.size(), 1u);
}

TEST_F(RecorderTest, OneOutcomeThatTheDatabaseRefusesDoesNotHoldUpTheOthers) {
  expect(claim, 8);
  for (const char* id : {"a", "b", "c"}) add(claim, id);
  auto bad = outcome(claim, "BAD");
  bad.hold = std::make_shared<int>();
  const std::weak_ptr<void> hold = bad.hold;
  recorder.add(std::move(bad));
  for (const char* id : {"e", "f", "g", "h"}) add(claim, id);
  std::vector<std::string> recorded;
  for (int round = 0; round < 30; ++round) {
    timers.pass(20ms);
    if (gateway.records.empty()) break;
    const auto sent = gateway.records.front().arguments;
    const bool is_bad = std::any_of(sent.begin(), sent.end(), [](const auto& each) { return each.id == "BAD"; });
    if (!is_bad)
      for (const auto& each : sent) recorded.push_back(each.id);
    answer(gateway.records, is_bad ? Result<int, DbError>(fail(sql_error("22P05"))) : Result<int, DbError>(1));
  }
  EXPECT_EQ(recorded.size(), 7u);
  EXPECT_EQ(recorder.unrecorded(), 1u);
  EXPECT_TRUE(hold.expired());

  // It is not forgotten, and goes without the free text that may have been its fault.
  timers.pass(30s);
  ASSERT_EQ(gateway.records.size(), 1u);
  EXPECT_EQ(gateway.records.front().arguments.front().id, "BAD");
  EXPECT_FALSE(gateway.records.front().arguments.front().outcome.provider_status);
  answer(gateway.records, {1});
  EXPECT_EQ(recorder.unrecorded(), 0u);
}

TEST_F(RecorderTest, KeepsAnIdentityAliveUntilItsOutcomesAreRecorded) {
  const std::string first = identities.renew();
  const auto held = make_claim("claim-3", timers.now() + 30s, first);
  expect(held, 1);
  const std::string second = identities.renew();
  EXPECT_EQ(identities.to_renew().size(), 2u);
  add(held, "a");
  timers.turn();
  EXPECT_EQ(identities.to_renew().size(), 2u);
  answer(gateway.records, {1});
  EXPECT_EQ(identities.to_renew(), std::vector<std::string>{second});
}

}  // namespace
}  // namespace byocd
