#include "check/checker.h"

#include <gtest/gtest.h>

#include <deque>
#include <memory>

#include "support/jobs.h"

namespace byocd {
namespace {

using namespace std::chrono_literals;
using State = CheckResult::State;

constexpr const char* recipient = "+15551000002";

class FakeQueue final : public CheckQueue {
 public:
  Result<std::string, Problem> send(const std::string&, const std::string& body) override {
    body_ = body;
    return std::string("message-1");
  }
  // The last state stays.
  Result<QueuedMessage, Problem> look(const std::string&) override {
    const QueuedMessage message = states.front();
    if (states.size() > 1) states.pop_front();
    return message;
  }
  std::optional<Problem> obstacle() override { return obstacle_; }
  Problem delay() const override { return {"not_sent", "It waits.", "Look."}; }

  std::deque<QueuedMessage> states;
  std::optional<Problem> obstacle_;
  std::string body_;
};

class CheckerTest : public testing::Test {
 protected:
  Checker checker(CheckQueue* queue) {
    CheckTerms terms;
    terms.ask = [this](HttpRequest request) {
      requests.push_back(request.url);
      const HttpResult answer = answers.front();
      if (answers.size() > 1) answers.pop_front();
      return answer;
    };
    terms.wait = [this](std::chrono::milliseconds time) { now += time; };
    terms.now = [this] { return now; };
    terms.mark = "abc123";
    return {std::move(terms), twilio, credential, queue};
  }
  void answer(int status, const std::string& body) {
    HttpResponse response;
    response.status = status;
    response.body = body;
    answers.emplace_back(std::move(response));
  }
  void message(const std::string& status, const std::string& more = "") {
    answer(200, R"({"sid": "SM00000000000000000000000000000001", "status": ")" + status + "\"" + more + "}");
  }

  Twilio twilio{"https://api.example.test"};
  CredentialFields credential = token_fields();
  FakeQueue queue;
  std::deque<HttpResult> answers;
  std::vector<std::string> requests;
  Clock::time_point now{};
};

TEST_F(CheckerTest, FollowsAMessageUntilItIsDelivered) {
  message("queued");
  message("sending");
  message("sent");
  message("delivered");
  const CheckResult result = checker(nullptr).test_sms(recipient);
  EXPECT_EQ(result.state, State::passed);
  EXPECT_EQ(result.details.back(), std::pair(std::string("status"), std::string("delivered after 0.5 s")));
  EXPECT_DOUBLE_EQ(result.seconds.value(), 0.5);
  EXPECT_EQ(requests.size(), 4u);
}

TEST_F(CheckerTest, GivesUpFollowingAfterAWhileAndSaysWhatIsKnown) {
  message("sent");
  const CheckResult sent = checker(nullptr).test_sms(recipient);
  EXPECT_EQ(sent.state, State::passed);
  EXPECT_NE(sent.warning.find("not every carrier"), std::string::npos);
  EXPECT_LT(requests.size(), 60u);

  answers.clear();
  message("accepted");
  EXPECT_EQ(checker(nullptr).test_sms(recipient).problem.code, "not_delivered");
}

TEST_F(CheckerTest, AStatusThatCannotBeReadIsNoFailure) {
  message("queued");
  answer(403, "{}");
  const CheckResult result = checker(nullptr).test_sms(recipient);
  EXPECT_EQ(result.state, State::passed);
  EXPECT_NE(result.warning.find("could not be read"), std::string::npos);
}

TEST_F(CheckerTest, WarnsWhenAHotLeadTakesLongerThanPromised) {
  message("queued");
  for (int i = 0; i < 22; ++i) message("sent");
  message("delivered");
  const CheckResult result = checker(nullptr).hot_lead_sms(recipient);
  EXPECT_EQ(result.state, State::passed);
  EXPECT_NE(result.warning.find("5 seconds"), std::string::npos);
}

TEST_F(CheckerTest, AnUndeliveredMessageIsExplained) {
  message("queued");
  message("undelivered", R"(, "error_code": 30006)");
  const CheckResult result = checker(nullptr).test_sms(recipient);
  EXPECT_EQ(result.state, State::failed);
  EXPECT_EQ(result.problem.code, "30006");
}

TEST_F(CheckerTest, TheHotLeadGoesThroughTheQueue) {
  queue.states = {
      {"queued", "", "", ""}, {"sending", "", "", ""}, {"sent", "SM00000000000000000000000000000001", "", ""}};
  message("delivered");
  const CheckResult result = checker(&queue).hot_lead_sms(recipient);
  EXPECT_EQ(result.state, State::passed);
  EXPECT_NE(queue.body_.find("abc123"), std::string::npos);
  ASSERT_EQ(requests.size(), 1u);
  EXPECT_NE(requests.front().find("/Messages/SM00000000000000000000000000000001.json"), std::string::npos);
}

TEST_F(CheckerTest, TellsWhyTheQueueDidNotSend) {
  const auto problem = [&](QueuedMessage message) {
    queue.states = {std::move(message)};
    const CheckResult result = checker(&queue).hot_lead_sms(recipient);
    EXPECT_EQ(result.state, State::failed);
    return result.problem;
  };
  EXPECT_EQ(problem({"failed", "", "21614", "not mobile"}).code, "21614");
  EXPECT_EQ(problem({"unknown", "", "timeout", "no answer"}).cause,
            "byocd could not send the message: it is unknown, no answer.");
  EXPECT_EQ(problem({"expired", "", "", ""}).code, "expired");
  EXPECT_NE(problem({"queued", "", "", ""}).cause.find("still queued. It waits."), std::string::npos);
  EXPECT_TRUE(requests.empty());
  queue.obstacle_ = Problem{"no_dispatcher", "Nobody.", "Start one."};
  EXPECT_EQ(problem({"queued", "", "", ""}).code, "no_dispatcher");
}

TEST_F(CheckerTest, TheAccountIsAskedForOnce) {
  answer(200, R"({"status": "active", "type": "Full"})");
  answer(200, R"({"incoming_phone_numbers": [{"phone_number": "+15005550006", "capabilities": {"sms": true}}]})");
  Checker both = checker(nullptr);
  EXPECT_EQ(both.account().state, State::passed);
  EXPECT_EQ(both.number("").state, State::passed);
  EXPECT_EQ(requests.size(), 2u);
}

TEST_F(CheckerTest, ATrialAccountsRecipientsAreLookedUp) {
  answer(200, R"({"status": "active", "type": "Trial"})");
  answer(200, R"({"incoming_phone_numbers": [{"phone_number": "+15005550006", "capabilities": {"sms": true}}]})");
  answer(200, R"({"outgoing_caller_ids": []})");
  const CheckResult result = checker(nullptr).number("");
  EXPECT_EQ(result.state, State::passed);
  EXPECT_EQ(result.details.back().second, "no recipient, and a trial account sends to no other");
}

}  // namespace
}  // namespace byocd
