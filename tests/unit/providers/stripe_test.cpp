#include "providers/stripe.h"

#include <gtest/gtest.h>

#include "support/jobs.h"
#include "support/recorded.h"

namespace byocd {
namespace {

using Kind = Verdict::Kind;

class StripeTest : public testing::Test {
 protected:
  Verdict judge(int status, const std::string& name, const char* key = "sk_test_0000000000") const {
    return judge_body(status, recorded("stripe/" + name), key);
  }
  Verdict judge_body(int status, std::string body, const char* key = "sk_test_0000000000") const {
    return stripe.interpret_verification(make_fields({{"secret_key", key}}), 0, response(status, std::move(body)));
  }

  Stripe stripe{"https://api.example.test"};
};

TEST_F(StripeTest, AsksForTheKeysAccount) {
  const auto request = stripe.prepare_verification(make_fields({{"secret_key", "sk_test_0000000000"}}), 0);
  ASSERT_TRUE(request.ok());
  EXPECT_EQ(request->method, HttpRequest::Method::get);
  EXPECT_EQ(request->url, "https://api.example.test/v1/account");
  EXPECT_EQ(request->user, "");
  ASSERT_EQ(request->headers.size(), 1u);
  EXPECT_EQ(request->headers[0].reveal(), "Authorization: Bearer sk_test_0000000000");
  EXPECT_FALSE(request->untrusted_url);
  EXPECT_EQ(stripe.prepare_verification({}, 0).error().code, "credential_incomplete");
}

TEST_F(StripeTest, AnAccountIsVerified) {
  const Verdict verdict = judge(200, "account");
  EXPECT_EQ(verdict.kind, Kind::verified);
  EXPECT_EQ(verdict.note, "");
  EXPECT_EQ(verdict.details,
            (std::vector<std::pair<std::string, std::string>>{{"account", "acct_000000000000001"}, {"country", "US"}}));
  const Verdict incomplete = judge(200, "account_incomplete");
  EXPECT_EQ(incomplete.kind, Kind::verified);
  EXPECT_NE(incomplete.note.find("does not let this account charge"), std::string::npos);
}

TEST_F(StripeTest, AWrongOrExpiredKeyFails) {
  for (const auto& [name, code] :
       {std::pair("error_wrong_key", "http_401"), std::pair("error_expired_key", "api_key_expired")}) {
    const Verdict verdict = judge(401, name);
    EXPECT_EQ(verdict.kind, Kind::failed);
    EXPECT_EQ(verdict.problem.code, code);
    EXPECT_EQ(verdict.problem.text().find("sk_test"), std::string::npos) << "no part of the key is repeated";
  }
}

TEST_F(StripeTest, ARestrictedKeyNeedNotReadTheAccount) {
  const Verdict verdict = judge(403, "error_restricted_key", "rk_test_0000000000");
  EXPECT_EQ(verdict.kind, Kind::verified);
  EXPECT_NE(verdict.note.find("restricted key"), std::string::npos);
  EXPECT_EQ(judge(401, "error_wrong_key", "rk_test_0000000000").kind, Kind::failed);
  // A full key that may not is one of an account that is closed to it.
  EXPECT_EQ(judge(403, "error_restricted_key").kind, Kind::failed);
}

TEST_F(StripeTest, WhatSaysNothingAboutTheKeyIsAskedAgain) {
  EXPECT_EQ(judge(429, "error_rate_limit").kind, Kind::retry);
  for (const int status : {500, 503}) EXPECT_EQ(judge_body(status, "{}").kind, Kind::retry);
  for (const int status : {200, 302, 401, 403, 404}) {
    EXPECT_EQ(judge_body(status, "<html>").kind, Kind::retry) << status;
    EXPECT_EQ(judge_body(status, "{}").kind, Kind::retry) << status;
    EXPECT_EQ(judge_body(status, R"({"error": "no"})").kind, Kind::retry) << status;
  }
  const HttpFailure failure{HttpFailure::Kind::timeout, true, "too slow", HttpFailure::Reason::timeout};
  EXPECT_EQ(stripe.interpret_verification(make_fields({{"secret_key", "sk_test_0000000000"}}), 0, fail(failure)).kind,
            Kind::retry);
}

}  // namespace
}  // namespace byocd
