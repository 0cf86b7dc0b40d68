#include "faults.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "json_fields.h"
#include "knobs_json.h"

namespace simulator {
namespace {

const request create{"POST", "/2010-04-01/Accounts/AC00000000000000000000000000000001/Messages.json",
                     "",     "",
                     "",     "To=%2B15551000001&Body=x"};
const request list{
    "GET", "/2010-04-01/Accounts/AC00000000000000000000000000000002/Messages.json", "To=%2B15551000001", "", "", ""};

fault_rules rules_of(const char* text) {
  fault_rules rules;
  rules.set(faults_from_json(nlohmann::json::parse(text)));
  return rules;
}

TEST(fault_rules, match_on_every_given_part) {
  for (const auto* match : {R"({"account_sid":"AC00000000000000000000000000000001"})", R"({"method":"POST"})",
                            R"({"path":"/2010-04-01/Accounts/AC00000000000000000000000000000001/M"})",
                            R"({"to":"+15551000001","method":"POST"})"}) {
    auto rules = rules_of((std::string(R"([{"action":"reset","match":)") + match + "}]").c_str());
    EXPECT_NE(rules.strike(create), nullptr) << match;
    EXPECT_EQ(rules.strike(list), nullptr) << match;
  }
  auto by_recipient = rules_of(R"([{"action":"reset","match":{"to":"+15551000001"}}])");
  EXPECT_NE(by_recipient.strike(create), nullptr);
  EXPECT_NE(by_recipient.strike(list), nullptr);
}

TEST(fault_rules, stop_after_their_count_and_leave_the_rest_to_the_next_rule) {
  auto rules = rules_of(R"([{"action":"reset","count":2},{"action":"timeout","count":1}])");
  EXPECT_EQ(rules.strike(create)->action, fault_action::reset);
  EXPECT_EQ(rules.strike(create)->action, fault_action::reset);
  EXPECT_EQ(rules.strike(create)->action, fault_action::timeout);
  EXPECT_EQ(rules.strike(create), nullptr);
  EXPECT_EQ(rules.all()[0].hits, 2U);
}

TEST(fault_rules, strike_with_their_probability_and_repeat_with_their_seed) {
  const auto draw = [](const char* text) {
    auto rules = rules_of(text);
    std::vector<bool> struck;
    for (int i = 0; i < 10'000; ++i) struck.push_back(rules.strike(create) != nullptr);
    return struck;
  };
  const auto seven = draw(R"([{"action":"reset","probability":0.3,"seed":7}])");
  EXPECT_NEAR(static_cast<double>(std::count(seven.begin(), seven.end(), true)), 3000, 150);
  EXPECT_EQ(seven, draw(R"([{"action":"reset","probability":0.3,"seed":7}])"));
  EXPECT_NE(seven, draw(R"([{"action":"reset","probability":0.3,"seed":8}])"));
  const auto never = draw(R"([{"action":"reset","probability":0}])");
  EXPECT_EQ(std::count(never.begin(), never.end(), true), 0);
}

TEST(fault_answers, carry_twilios_error_document) {
  auto rules = rules_of(R"([{"action":"status","status":429,"retry_after":2},{"action":"status","status":503}])");
  const auto throttled = faulty_answer(rules.all()[0], {});
  EXPECT_EQ(throttled.status, 429);
  EXPECT_EQ(throttled.retry_after, 2);
  EXPECT_EQ(nlohmann::json::parse(throttled.body)["code"], 20429);
  EXPECT_EQ(faulty_answer(rules.all()[1], {}).status, 503);
  const auto custom = rules_of(R"([{"action":"status","status":500,"body":"oops"}])");
  EXPECT_EQ(faulty_answer(custom.all()[0], {}).body, "oops");
}

TEST(fault_answers, spoil_the_proper_answer) {
  answer proper;
  proper.status = 201;
  proper.body = R"({"sid":"SM"})";
  const auto spoiled = [&](const char* text) { return faulty_answer(rules_of(text).all()[0], proper); };
  EXPECT_TRUE(nlohmann::json::parse(spoiled(R"([{"action":"malformed"}])").body, nullptr, false).is_discarded());
  EXPECT_TRUE(nlohmann::json::parse(spoiled(R"([{"action":"malformed","variant":"not_json"}])").body, nullptr, false)
                  .is_discarded());
  EXPECT_EQ(spoiled(R"([{"action":"malformed","variant":"short_body"}])").how, manner::cut);
  EXPECT_EQ(spoiled(R"([{"action":"slow_body","ms":70}])").spread.count(), 70);
  EXPECT_EQ(spoiled(R"([{"action":"hold"}])").how, manner::held);
  EXPECT_EQ(spoiled(R"([{"action":"reset_after"}])").how, manner::reset);
  EXPECT_EQ(spoiled(R"([{"action":"timeout_after"}])").how, manner::never);
}

TEST(fault_input, is_refused_with_the_field_named) {
  const auto complaint = [](const char* text) -> std::string {
    try {
      faults_from_json(nlohmann::json::parse(text));
    } catch (const input_error& error) {
      return error.what();
    }
    return "accepted";
  };
  EXPECT_THAT(complaint("{}"), testing::HasSubstr("array of rules"));
  EXPECT_THAT(complaint("[{}]"), testing::HasSubstr("[0].action"));
  EXPECT_THAT(complaint(R"([{"action":"explode"}])"), testing::HasSubstr("[0].action"));
  EXPECT_THAT(complaint(R"([{"action":"reset"},{"action":"reset","count":-1}])"), testing::HasSubstr("[1].count"));
  EXPECT_THAT(complaint(R"([{"action":"reset","probability":2}])"), testing::HasSubstr("[0].probability"));
  EXPECT_THAT(complaint(R"([{"action":"reset","match":{"method":"get"}}])"), testing::HasSubstr("[0].match.method"));
  EXPECT_THAT(complaint(R"([{"action":"status"}])"), testing::HasSubstr("[0].status"));
  EXPECT_THAT(complaint(R"([{"action":"reset","cuont":1}])"), testing::HasSubstr("[0].cuont"));
}

}  // namespace
}  // namespace simulator
