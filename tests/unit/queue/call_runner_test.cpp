#include "queue/call_runner.h"

#include <gtest/gtest.h>

#include "providers/oauth.h"

#include "support/fake_gateway.h"
#include "support/fake_http.h"
#include "support/jobs.h"
#include "support/manual_timers.h"

namespace byocd {
namespace {

using namespace std::chrono_literals;
using Kind = CallOutcome::Kind;

// Does what the status says: 2xx is good, 302 leads to the next step, 429 throttles, else it is refused.
class StubProvider final : public CallProvider {
 public:
  std::string_view name() const override { return "stub"; }
  Result<HttpRequest, Problem> prepare_verification(const CredentialFields&, int) const override {
    return fail(Problem{});
  }
  Verdict interpret_verification(const CredentialFields&, int, const HttpResult&) const override { return {}; }
  const OAuthProvider* oauth() const override { return oauth_; }
  Result<HttpRequest, PrepareError> prepare_call(const ClaimedCall& call, const CredentialFields& credential,
                                                 int step) const override {
    if (call.operation == "unknown") return fail(PrepareError{"unknown_operation", "no such operation"});
    HttpRequest request;
    request.url = "https://api.example.test/" + call.id + "/" + std::to_string(step);
    request.user = find_field(credential, "token")->reveal();
    return request;
  }
  CallOutcome interpret_call(const ClaimedCall&, int step, const HttpResult& result) const override {
    if (!result) return call_outcome_of_failure(result.error());
    CallOutcome outcome;
    outcome.http_status = result->status;
    outcome.retry_after = result->retry_after;
    outcome.kind = result->status < 300 ? Kind::accepted : Kind::rejected;
    if (result->status == 302) outcome.kind = Kind::next;
    outcome.next_step = step + 1;
    return outcome;
  }

  const OAuthProvider* oauth_ = nullptr;
};

// Takes every answer but 200 for the end of the connection.
class StubOAuth final : public OAuthProvider {
 public:
  std::string authorization_url(const AuthorizationRequest&) const override { return {}; }
  HttpRequest prepare_exchange(const AuthorizationCode&, const OAuthClient&) const override { return {}; }
  Result<TokenGrant, Problem> interpret_exchange(const HttpResult&) const override { return fail(Problem{}); }
  Result<HttpRequest, Problem> prepare_refresh(const CredentialFields&) const override {
    HttpRequest request;
    request.url = "https://oauth.example.test/token";
    return request;
  }
  Result<TokenGrant, Problem> interpret_refresh(const HttpResult& result) const override {
    if (result->status != 200) return fail(Problem{"invalid_grant", "It ended.", "Connect again."});
    return TokenGrant{SecretString(result->body), {}, 1h, ""};
  }
  HttpRequest prepare_revocation(const SecretString&) const override { return {}; }
  std::optional<Problem> interpret_revocation(const HttpResult&) const override { return {}; }
  const OAuthClient* deployment_client() const override { return nullptr; }
};

class CallRunnerTest : public testing::Test {
 protected:
  CallRunnerTest() {
    auto stub = std::make_unique<StubProvider>();
    provider = stub.get();
    registry.add(std::move(stub));
  }
  static ClaimedCall make_call(const std::string& id) {
    ClaimedCall call;
    call.org_id = "org-1";
    call.id = id;
    call.claim_id = "claim-1";
    call.credential_type = "stub";
    call.credential_id = "credential-1";
    call.credential_version = 1;
    call.operation = "do";
    return call;
  }
  void claimed(std::vector<ClaimedCall> calls) { answer(gateway.call_claims, {std::move(calls)}); }
  void opened(const std::string& kind = "stub") {
    std::vector<OpenedCredential> all;
    all.push_back({"org-1", "credential-1", kind, 1, make_fields({{"token", "t0"}}), std::nullopt});
    answer(gateway.opens, {std::move(all)});
  }
  // Brings one call on its way.
  void begin(ClaimedCall call = make_call("call-1")) {
    timers.pass(5ms);
    runner.wake();
    claimed({std::move(call)});
    if (!gateway.opens.empty()) opened();
  }
  // What was handed over, in the loop's next turn.
  std::vector<CallRecord> recorded() {
    timers.pass(0ms);
    EXPECT_EQ(gateway.call_records.size(), 1u);
    return answer(gateway.call_records, {1});
  }

  ManualTimers timers;
  FakeGateway gateway;
  FakeHttp http;
  Registry registry;
  StubProvider* provider;
  CredentialCache credentials{gateway, timers};
  AccessTokens tokens{registry, http, timers};
  StubOAuth oauth;
  std::vector<std::string> ended;
  CallRunner runner{
      {gateway, registry, http, credentials, tokens, timers},
      {1000ms, 30s, 4, 2},
      [this](const ClaimedCall& call, const CallOutcome& outcome, Clock::duration duration) {
        ended.push_back(call.id + " " + to_string(outcome.kind) + " " +
                        std::to_string(std::chrono::duration_cast<std::chrono::milliseconds>(duration).count()));
      }};
};

TEST_F(CallRunnerTest, MakesACallAtOnceAndRecordsItsOutcome) {
  begin();
  ASSERT_EQ(http.calls.size(), 1u);
  EXPECT_EQ(http.calls.front().request.url, "https://api.example.test/call-1/0");
  EXPECT_EQ(http.calls.front().request.not_after, timers.now() + 15s) << "half of the lease";
  EXPECT_EQ(runner.in_flight(), 1);
  timers.pass(30ms);
  http.answer(200, "");
  EXPECT_EQ(ended, std::vector<std::string>{"call-1 accepted 30"});
  EXPECT_EQ(runner.in_flight(), 0);
  EXPECT_FALSE(runner.settled());
  const auto records = recorded();
  EXPECT_EQ(records.front().id, "call-1");
  EXPECT_EQ(records.front().claim_id, "claim-1");
  EXPECT_EQ(records.front().outcome.kind, Kind::accepted);
}

TEST_F(CallRunnerTest, GoesFromStepToStepButNotForEver) {
  begin();
  for (int step = 0; step < 5; ++step) {
    ASSERT_EQ(http.calls.size(), 1u);
    EXPECT_EQ(http.calls.front().request.url, "https://api.example.test/call-1/" + std::to_string(step));
    http.answer(302, "");
  }
  http.answer(302, "");
  EXPECT_TRUE(http.calls.empty());
  EXPECT_EQ(recorded().front().outcome.error_code, "endless");
}

TEST_F(CallRunnerTest, BelievesNoRetryAfterBeyondAnHour) {
  for (const auto& [said, believed] : {std::pair(7s, 7s), std::pair(86'400s, 3'600s)}) {
    begin();
    HttpResponse response;
    response.status = 503;
    response.retry_after = said;
    http.answer(std::move(response));
    EXPECT_EQ(recorded().front().outcome.retry_after, believed);
  }
}

TEST_F(CallRunnerTest, SaysWhyNoRequestIsMade) {
  auto without_credential = make_call("call-1");
  without_credential.credential_id.reset();
  auto unknown = make_call("call-2");
  unknown.operation = "unknown";
  runner.wake();
  claimed({without_credential, unknown});
  opened();
  const auto records = recorded();
  ASSERT_EQ(records.size(), 2u);
  EXPECT_EQ(records[0].outcome.error_code, "no_credential");
  EXPECT_EQ(records[1].outcome.error_code, "unknown_operation");
}

TEST_F(CallRunnerTest, AProviderThatMakesNoCallsIsRefused) {
  runner.wake();
  claimed({make_call("call-1")});
  opened("twilio");
  EXPECT_EQ(recorded().front().outcome.error_code, "unknown_provider");
}

TEST_F(CallRunnerTest, WithoutATokenTheCredentialIsAtFault) {
  provider->oauth_ = &oauth;
  begin();
  http.answer(400, "");
  EXPECT_TRUE(http.calls.empty());
  const auto outcome = recorded().front().outcome;
  EXPECT_EQ(outcome.kind, Kind::bad_credential);
  EXPECT_EQ(outcome.error_code, "invalid_grant");
  EXPECT_EQ(outcome.error_message, "It ended. Connect again.");
}

TEST_F(CallRunnerTest, ARefusedTokenIsRenewedOnce) {
  provider->oauth_ = &oauth;
  begin();
  http.answer(200, "token-1");
  http.answer(401, "");
  ASSERT_EQ(http.calls.size(), 1u);
  EXPECT_EQ(http.calls.front().request.url, "https://oauth.example.test/token") << "tried again with a fresh one";
  http.answer(200, "token-2");
  http.answer(401, "");
  EXPECT_TRUE(http.calls.empty());
  EXPECT_EQ(recorded().front().outcome.kind, Kind::rejected);
}

TEST_F(CallRunnerTest, ClaimsNoMoreThanItCanMake) {
  runner.wake();
  EXPECT_EQ(gateway.call_claims.front().arguments, 4);
  claimed({make_call("call-1"), make_call("call-2"), make_call("call-3"), make_call("call-4")});
  opened();
  timers.pass(1000ms);
  EXPECT_TRUE(gateway.call_claims.empty());
  http.answer(200, "");
  recorded();
  timers.pass(5ms);
  ASSERT_EQ(gateway.call_claims.size(), 1u) << "an outcome makes room";
  EXPECT_EQ(gateway.call_claims.front().arguments, 1);
}

TEST_F(CallRunnerTest, WokenWhileItLooksItLooksAgain) {
  runner.wake();
  runner.wake();
  claimed({});
  timers.pass(5ms);
  EXPECT_EQ(gateway.call_claims.size(), 1u);
}

TEST_F(CallRunnerTest, WokenAllTheTimeItLooksNowAndThen) {
  runner.wake();
  claimed({});
  for (int i = 0; i < 100; ++i) runner.wake();
  EXPECT_TRUE(gateway.call_claims.empty());
  timers.pass(5ms);
  EXPECT_EQ(gateway.call_claims.size(), 1u);
}

TEST_F(CallRunnerTest, WhereALookTakesLongItLooksLessOften) {
  runner.wake();
  timers.pass(40ms);
  claimed({});
  runner.wake();
  timers.pass(159ms);
  EXPECT_TRUE(gateway.call_claims.empty());
  timers.pass(1ms);
  EXPECT_EQ(gateway.call_claims.size(), 1u);
}

TEST_F(CallRunnerTest, LooksAtEveryPoll) {
  runner.wake();
  claimed({});
  timers.pass(1000ms);
  EXPECT_EQ(gateway.call_claims.size(), 1u);
}

TEST_F(CallRunnerTest, StoppedItEndsWhatIsOnItsWayAndGivesBackTheRest) {
  begin();
  runner.stop();
  EXPECT_FALSE(runner.settled());
  http.answer(302, "");
  EXPECT_TRUE(http.calls.empty());
  EXPECT_EQ(recorded().front().outcome.error_code, "interrupted") << "it was tried";
  EXPECT_TRUE(runner.settled());
  runner.wake();
  timers.pass(2000ms);
  EXPECT_TRUE(gateway.call_claims.empty());
}

TEST_F(CallRunnerTest, WhatWasNotWrittenIsGivenBackAndWhatPerhapsWasIsNot) {
  for (bool possibly_written : {false, true}) {
    begin();
    http.answer(fail(HttpFailure{HttpFailure::Kind::cancelled, possibly_written, "broken off"}));
    EXPECT_EQ(recorded().front().outcome.kind, possibly_written ? Kind::unavailable : Kind::returned);
    timers.pass(5ms);
    claimed({});  // it looks whether there is room for more
  }
}

TEST_F(CallRunnerTest, AnOutcomeIsKeptUntilTheDatabaseHasIt) {
  begin();
  http.answer(200, "");
  timers.pass(0ms);
  answer(gateway.call_records, {fail(lost())});
  EXPECT_FALSE(runner.settled());
  runner.connection_changed();
  EXPECT_EQ(recorded().size(), 1u);
}

TEST_F(CallRunnerTest, WhatTheDatabaseRefusesDoesNotKeepOthersFromBeingRecorded) {
  runner.wake();
  claimed({make_call("call-1"), make_call("call-2")});
  opened();
  http.answer(200, "");
  http.answer(200, "");
  timers.pass(0ms);
  answer(gateway.call_records, {fail(sql_error("22P05"))});
  timers.pass(200ms);
  EXPECT_EQ(answer(gateway.call_records, {fail(sql_error("22P05"))}).front().id, "call-2");
  timers.pass(200ms);
  EXPECT_EQ(recorded().front().id, "call-1");
  EXPECT_TRUE(gateway.call_records.empty());
}

}  // namespace
}  // namespace byocd
