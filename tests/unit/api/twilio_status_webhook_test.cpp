#include "api/twilio_status_webhook.h"

#include <gtest/gtest.h>

#include "support/fake_receipt_gateway.h"
#include "support/jobs.h"
#include "support/manual_timers.h"

namespace byocd {
namespace {

using namespace std::chrono_literals;
using Targets = std::vector<std::optional<ReceiptTarget>>;

const std::string token(67, 'T');

class TwilioStatusWebhookTest : public testing::Test {
 protected:
  // A callback with a signature that is not good; those that are, tests/e2e/receipts.test.mjs posts.
  void post(std::map<std::string, std::string> headers = {{"x-twilio-signature", "AAAA"},
                                                          {"content-type", "application/x-www-form-urlencoded"}},
            const std::string& parameter = token) {
    ApiRequest request;
    request.method = "POST";
    request.path = "/webhooks/twilio/status/" + parameter;
    request.parameter = parameter;
    request.body = "MessageSid=SM00000000000000000000000000000001&MessageStatus=delivered";
    request.headers = std::move(headers);
    webhook->handle(request, [this](const ApiAnswer& answer) { statuses.push_back(answer.status); });
    timers.turn();
  }
  void open(Targets targets) { answer(gateway.opens, {std::move(targets)}); }
  static ReceiptTarget target(std::optional<std::string> credential = "credential-1") {
    return {"org-1", "message-1", 1, std::move(credential), 1};
  }
  void open_credential(CredentialFields fields) {
    std::vector<OpenedCredential> opened;
    opened.push_back(make_credential());
    opened.back().fields = std::move(fields);
    answer(claims.opens, {std::move(opened)});
  }
  static CredentialFields key_fields() { return make_fields({{"account_sid", account_sid.c_str()}}); }

  ManualTimers timers;
  FakeGateway claims;
  FakeReceiptGateway gateway;
  CredentialCache credentials{claims, timers};
  ReceiptRecorder recorder{gateway, timers};
  TwilioStatusWebhook strict{{gateway, credentials, recorder, timers}, {"https://example.test", false}};
  TwilioStatusWebhook trusting{{gateway, credentials, recorder, timers}, {"https://example.test", true}};
  TwilioStatusWebhook* webhook = &strict;
  std::vector<int> statuses;
};

TEST_F(TwilioStatusWebhookTest, RefusesWithoutTheDatabaseWhatCannotBe) {
  post({});
  post({{"x-twilio-signature", "AAAA"}}, "short");
  post({{"x-twilio-signature", "AAAA"}}, std::string(66, 'T') + ",");
  post({{"x-twilio-signature", "AAAA"}, {"content-type", "application/json"}});
  EXPECT_EQ(statuses, (std::vector<int>{401, 404, 404, 400}));
  EXPECT_TRUE(gateway.opens.empty());
}

TEST_F(TwilioStatusWebhookTest, LooksUpTogether) {
  post();
  post();
  post();
  ASSERT_EQ(gateway.opens.size(), 1u);
  open({std::nullopt});
  ASSERT_EQ(gateway.opens.size(), 1u);
  EXPECT_EQ(gateway.opens.front().arguments.size(), 2u);
  open({std::nullopt, std::nullopt});
  EXPECT_EQ(statuses, (std::vector<int>{404, 404, 404}));
  EXPECT_EQ(webhook->pending(), 0);
}

TEST_F(TwilioStatusWebhookTest, AWrongSignatureIsForbidden) {
  post();
  open({target()});
  open_credential(token_fields());
  EXPECT_EQ(statuses, std::vector<int>{403});
}

TEST_F(TwilioStatusWebhookTest, SoIsOneThatCannotBeChecked) {
  post();
  open({target()});
  open_credential(key_fields());
  post();
  open({target(std::nullopt)});
  EXPECT_EQ(statuses, (std::vector<int>{403, 403}));
}

TEST_F(TwilioStatusWebhookTest, UnlessTheOperatorAllowsIt) {
  webhook = &trusting;
  post();
  open({target()});
  open_credential(key_fields());
  timers.turn();
  ASSERT_EQ(gateway.records.size(), 1u);
  EXPECT_TRUE(statuses.empty()) << "not before it is committed";
  EXPECT_EQ(answer(gateway.records, {std::vector<std::size_t>{}}).front().id, "message-1");
  EXPECT_EQ(statuses, std::vector<int>{204});
}

TEST_F(TwilioStatusWebhookTest, AsksToComeAgainWhenTheDatabaseIsAway) {
  post();
  answer<std::vector<std::string>, Targets>(gateway.opens, fail(lost()));
  post();
  open({target()});
  answer<std::vector<CredentialRef>, std::vector<OpenedCredential>>(claims.opens, fail(lost()));
  gateway.connected = false;
  post();
  gateway.connected = true;
  webhook->stop();
  post();
  EXPECT_EQ(statuses, (std::vector<int>{503, 503, 503, 503}));
}

TEST_F(TwilioStatusWebhookTest, HasItsLimit) {
  for (int i = 0; i < 3000; ++i) post();
  EXPECT_EQ(statuses.size(), 3000u - 2048u);
  EXPECT_EQ(statuses.front(), 503);
}

}  // namespace
}  // namespace byocd
