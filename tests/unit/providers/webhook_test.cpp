#include "providers/webhook.h"

#include <gtest/gtest.h>

#include "support/jobs.h"
#include "support/recorded.h"

namespace byocd {
namespace {

using Ending = CallOutcome::Kind;

const std::string secret = "whsec_" + std::string(32, 'A');
const std::string previous = "whsec_" + std::string(32, 'B');

CredentialFields fields() {
  return make_fields({{"url", "https://hooks.example.test/in?x=1"}, {"secret", secret.c_str()}});
}

HttpResult not_permitted() {
  return fail(HttpFailure{HttpFailure::Kind::connect_failed, false, "it leads to an address that is not public",
                          HttpFailure::Reason::not_permitted});
}

class WebhookTest : public testing::Test {
 protected:
  WebhookTest() {
    call.id = "0190cafe-0000-7000-8000-000000000001";
    call.payload = R"({"type": "lead.created", "data": {}})";
  }
  CallOutcome interpret(int status) const { return webhook.interpret_call(call, 0, response(status, "no matter")); }
  Verdict judge(const HttpResult& result) const { return webhook.interpret_verification(fields(), 0, result); }

  ClaimedCall call;
  Webhook webhook{[] { return std::chrono::sys_seconds(std::chrono::seconds(1'614'265'330)); }};
};

TEST_F(WebhookTest, PostsThePayloadAsItIsWithASignature) {
  const auto request = webhook.prepare_call(call, fields(), 0);
  ASSERT_TRUE(request.ok());
  EXPECT_EQ(request->method, HttpRequest::Method::post);
  EXPECT_EQ(request->url, "https://hooks.example.test/in?x=1");
  EXPECT_TRUE(request->untrusted_url);
  EXPECT_EQ(request->body, call.payload);
  EXPECT_EQ(request->user, "");
  ASSERT_EQ(request->headers.size(), 4u);
  EXPECT_EQ(request->headers[0].reveal(), "webhook-id: " + call.id);
  EXPECT_EQ(request->headers[1].reveal(), "webhook-timestamp: 1614265330");
  EXPECT_EQ(request->headers[2].reveal().find("webhook-signature: v1,"), 0u);
  EXPECT_EQ(request->headers[3].reveal(), "Content-Type: application/json");
}

TEST_F(WebhookTest, SignsWithThePreviousSecretToo) {
  auto both = fields();
  both.emplace("previous_secret", SecretString(previous));
  const auto request = webhook.prepare_call(call, both, 0);
  ASSERT_TRUE(request.ok());
  const std::string line = request->headers[2].reveal();
  EXPECT_EQ(std::count(line.begin(), line.end(), ','), 2);
  EXPECT_EQ(line.find(webhook.prepare_call(call, fields(), 0)->headers[2].reveal()), 0u) << "the new one comes first";
}

TEST_F(WebhookTest, NeedsAUrlAndAProperSecret) {
  for (const auto& incomplete :
       {make_fields({{"url", "https://hooks.example.test"}}), make_fields({{"secret", secret.c_str()}}),
        make_fields({{"url", "https://hooks.example.test"}, {"secret", "whsec_short"}})}) {
    const auto request = webhook.prepare_call(call, incomplete, 0);
    ASSERT_FALSE(request.ok());
    EXPECT_EQ(request.error().code, "credential_incomplete");
    EXPECT_EQ(webhook.prepare_verification(incomplete, 0).error().code, "credential_incomplete");
  }
}

TEST_F(WebhookTest, ReadsAnswers) {
  for (const int status : {200, 201, 202, 204, 299}) EXPECT_EQ(interpret(status).kind, Ending::accepted) << status;
  for (const int status : {408, 425, 500, 502, 503, 599})
    EXPECT_EQ(interpret(status).kind, Ending::unavailable) << status;
  for (const int status : {301, 302, 307, 308, 400, 401, 403, 404, 422}) {
    EXPECT_EQ(interpret(status).kind, Ending::rejected) << status;
    EXPECT_EQ(interpret(status).error_code, "refused") << status;
    EXPECT_EQ(interpret(status).http_status, status);
  }
  EXPECT_EQ(interpret(410).kind, Ending::rejected);
  EXPECT_EQ(interpret(410).error_code, "http_410");
  HttpResponse busy;
  busy.status = 429;
  busy.retry_after = std::chrono::seconds(7);
  const CallOutcome throttled = webhook.interpret_call(call, 0, HttpResult(busy));
  EXPECT_EQ(throttled.kind, Ending::throttled);
  EXPECT_EQ(throttled.retry_after, std::chrono::seconds(7));
  EXPECT_EQ(interpret(400).error_message->find("no matter"), std::string::npos) << "the answer's body is not repeated";
}

TEST_F(WebhookTest, AMissingAnswerIsTriedAgainAndAForbiddenAddressIsNot) {
  const HttpFailure timeout{HttpFailure::Kind::timeout, true, "too slow", HttpFailure::Reason::timeout};
  EXPECT_EQ(webhook.interpret_call(call, 0, fail(timeout)).kind, Ending::unavailable);
  const CallOutcome forbidden = webhook.interpret_call(call, 0, not_permitted());
  EXPECT_EQ(forbidden.kind, Ending::rejected);
  EXPECT_EQ(forbidden.error_code, "address_not_permitted");
  EXPECT_NE(forbidden.error_message->find("not public"), std::string::npos);
}

TEST_F(WebhookTest, IsVerifiedByASignedEvent) {
  const auto request = webhook.prepare_verification(fields(), 0);
  ASSERT_TRUE(request.ok());
  EXPECT_TRUE(request->untrusted_url);
  EXPECT_EQ(request->body, R"({"type":"byoc.verification","timestamp":"2021-02-25T15:02:10Z","data":{}})");
  EXPECT_EQ(request->headers[0].reveal(), "webhook-id: verification_1614265330");
  EXPECT_EQ(judge(response(204, "")).kind, Verdict::Kind::verified);
  for (const int status : {302, 400, 401, 404, 410}) {
    const Verdict verdict = judge(response(status, ""));
    EXPECT_EQ(verdict.kind, Verdict::Kind::failed) << status;
    EXPECT_NE(verdict.problem.text().find(std::to_string(status)), std::string::npos);
  }
  for (const int status : {429, 500, 503}) EXPECT_EQ(judge(response(status, "")).kind, Verdict::Kind::retry) << status;
  EXPECT_EQ(judge(not_permitted()).kind, Verdict::Kind::failed);
  EXPECT_EQ(
      judge(fail(HttpFailure{HttpFailure::Kind::connect_failed, false, "refused", HttpFailure::Reason::refused})).kind,
      Verdict::Kind::retry);
}

}  // namespace
}  // namespace byocd
