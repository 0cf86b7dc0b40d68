#include "queue/receipt_recorder.h"

#include <gtest/gtest.h>

#include "support/fake_receipt_gateway.h"
#include "support/manual_timers.h"

namespace byocd {
namespace {

using namespace std::chrono_literals;
using Held = std::vector<std::size_t>;

class ReceiptRecorderTest : public testing::Test {
 protected:
  void add(const std::string& id) {
    recorder.add({"org-1", id, 1, {"SM1", "delivered", {}, {}, {}}, false},
                 [this, id](bool recorded) { answers.push_back(id + (recorded ? " recorded" : " refused")); });
  }

  ManualTimers timers;
  FakeReceiptGateway gateway;
  ReceiptRecorder recorder{gateway, timers};
  std::vector<std::string> answers;
};

TEST_F(ReceiptRecorderTest, GroupsWhatComesTogether) {
  add("a");
  add("b");
  timers.turn();
  add("c");
  timers.turn();
  ASSERT_EQ(gateway.records.size(), 1u);
  EXPECT_EQ(answer(gateway.records, {Held{}}).size(), 2u);
  timers.turn();
  ASSERT_EQ(gateway.records.size(), 1u);
  EXPECT_EQ(answer(gateway.records, {Held{}}).size(), 1u);
  EXPECT_EQ(answers, (std::vector<std::string>{"a recorded", "b recorded", "c recorded"}));
  EXPECT_EQ(recorder.unrecorded(), 0u);
}

TEST_F(ReceiptRecorderTest, AnswersOnlyWhenItIsCommitted) {
  add("a");
  timers.turn();
  EXPECT_TRUE(answers.empty());
  answer<std::vector<Receipt>, Held>(gateway.records, fail(lost()));
  EXPECT_EQ(answers, std::vector<std::string>{"a refused"});
}

TEST_F(ReceiptRecorderTest, BringsHeldOnesAgain) {
  add("a");
  add("b");
  timers.turn();
  answer(gateway.records, {Held{0}});
  EXPECT_EQ(answers, std::vector<std::string>{"b recorded"});
  EXPECT_EQ(recorder.unrecorded(), 1u);
  timers.pass(20ms);
  ASSERT_EQ(gateway.records.size(), 1u);
  EXPECT_EQ(answer(gateway.records, {Held{}}).front().id, "a");
  EXPECT_EQ(answers.back(), "a recorded");
}

TEST_F(ReceiptRecorderTest, SettlesAfterTwoSecondsAndGivesUpAfterTen) {
  add("a");
  timers.turn();
  const auto begin = timers.now();
  while (!gateway.records.empty()) {
    const bool settle = answer(gateway.records, {Held{0}}).front().settle;
    EXPECT_EQ(settle, timers.now() - begin >= 2s);
    timers.pass(20ms);
  }
  EXPECT_EQ(timers.now() - begin, 10s + 20ms);
  EXPECT_EQ(answers, std::vector<std::string>{"a refused"});
}

}  // namespace
}  // namespace byocd
