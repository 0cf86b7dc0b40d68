#include "send_rules.h"

#include <gtest/gtest.h>

#include "twilio_messages.h"
#include "twilio_resources.h"

namespace simulator {
namespace {

account sender() {
  account result;
  result.sid = "AC00000000000000000000000000000001";
  result.auth_token = "11111111111111111111111111111111";
  result.numbers = {{"+15550000001", true}, {"+15550000002", false}};
  result.messaging_services = {{"MG00000000000000000000000000000001", std::nullopt},
                               {"MG00000000000000000000000000000002", std::vector<std::string>{}}};
  result.opted_out = {"+15551000004"};
  return result;
}

/// The code that the request is refused with, 0 when it is accepted.
int code(const account& owner, std::string_view request) {
  const auto error = refusal(owner, form::parse(request));
  return error ? error->code : 0;
}

TEST(send_rules, accept_a_proper_request) {
  EXPECT_EQ(code(sender(), "To=%2B15551000001&From=%2B15550000001&Body=hi"), 0);
  EXPECT_EQ(code(sender(), "To=%2B15551000001&MessagingServiceSid=MG00000000000000000000000000000001&Body=hi"), 0);
  EXPECT_EQ(code(sender(), "To=%2B15551000001&From=%2B15005550006&Body=hi"), 0);
}

TEST(send_rules, name_what_is_missing) {
  EXPECT_EQ(code(sender(), ""), 21604);
  EXPECT_EQ(code(sender(), "To=%2B15551000001"), 21603);
  EXPECT_EQ(code(sender(), "To=%2B15551000001&From=%2B15550000001"), 21602);
}

TEST(send_rules, limit_the_body_in_characters) {
  const auto with_body = [](const std::string& body) {
    return code(sender(), "To=%2B15551000001&From=%2B15550000001&Body=" + body);
  };
  EXPECT_EQ(with_body(std::string(1600, 'a')), 0);
  EXPECT_EQ(with_body(std::string(1601, 'a')), 21617);
  std::string cyrillic;
  for (int i = 0; i < 1600; ++i) cyrillic += "ж";
  EXPECT_EQ(with_body(cyrillic), 0);
  EXPECT_EQ(with_body("%ff"), 20001);
}

TEST(send_rules, check_the_sender) {
  const auto with_from = [](std::string_view from) {
    return code(sender(), "To=%2B15551000001&Body=hi&From=" + std::string(from));
  };
  EXPECT_EQ(with_from("%2B15550000002"), 21606) << "not SMS-capable";
  EXPECT_EQ(with_from("%2B15550000009"), 21606) << "not owned";
  EXPECT_EQ(with_from("5550000001"), 21212);
  EXPECT_EQ(with_from("%2B15005550001"), 21212);
  EXPECT_EQ(with_from("%2B15005550007"), 21606);
  EXPECT_EQ(with_from("%2B15005550008"), 21611);
}

TEST(send_rules, check_the_messaging_service) {
  const auto with_service = [](std::string_view sid) {
    return code(sender(), "To=%2B15551000001&Body=hi&MessagingServiceSid=" + std::string(sid));
  };
  EXPECT_EQ(with_service("MG00000000000000000000000000000009"), 21701);
  EXPECT_EQ(with_service("MG00000000000000000000000000000002"), 21703);
  EXPECT_EQ(with_service("MG1"), 21705);
}

TEST(send_rules, check_the_recipient) {
  const auto with_to = [](std::string_view to) {
    return code(sender(), "From=%2B15550000001&Body=hi&To=" + std::string(to));
  };
  EXPECT_EQ(with_to("%2B1234567890"), 21211) << "a placeholder, not a number";
  EXPECT_EQ(with_to("5551000001"), 21211);
  EXPECT_EQ(with_to("%2B44 7700900001"), 21211);
  EXPECT_EQ(with_to("%2B447700900001"), 0);
  EXPECT_EQ(with_to("%2B15005550001"), 21211);
  EXPECT_EQ(with_to("%2B15005550002"), 21612);
  EXPECT_EQ(with_to("%2B15005550003"), 21408);
  EXPECT_EQ(with_to("%2B15005550004"), 21610);
  EXPECT_EQ(with_to("%2B15005550009"), 21614);
  EXPECT_EQ(with_to("%2B15551000004"), 21610) << "opted out";
}

TEST(send_rules, hold_trial_accounts_to_verified_recipients) {
  auto trial = sender();
  trial.type = "Trial";
  trial.verified_callers = {"+15551000002"};
  EXPECT_EQ(code(trial, "To=%2B15551000001&From=%2B15550000001&Body=hi"), 21608);
  EXPECT_EQ(code(trial, "To=%2B15551000002&From=%2B15550000001&Body=hi"), 0);
}

TEST(send_rules, refuse_suspended_accounts) {
  auto suspended = sender();
  suspended.status = "suspended";
  EXPECT_EQ(code(suspended, "To=%2B15551000001&From=%2B15550000001&Body=hi"), 30002);
}

TEST(send_rules, refuse_callback_addresses_that_are_no_urls) {
  const std::string request = "To=%2B15551000001&From=%2B15550000001&Body=hi&StatusCallback=";
  EXPECT_EQ(code(sender(), request + "example.com"), 21609);
  EXPECT_EQ(code(sender(), request + "http%3A%2F%2F"), 21609);
  EXPECT_EQ(code(sender(), request + "https%3A%2F%2Fexample.com%2Fcb%3Fa%3D1%23rc%3D2"), 0);
}

TEST(list_filters, read_dates_in_all_forms_that_clients_use) {
  const auto day = message_filter_from(form::parse("To=%2B15551000001&DateSent=2026-11-20"));
  ASSERT_TRUE(day);
  EXPECT_EQ(*day->sent_until - *day->sent_from, std::chrono::hours(24));
  const auto from = message_filter_from(form::parse("DateSent>=2026-11-20"));
  EXPECT_EQ(from->sent_from, day->sent_from);
  EXPECT_FALSE(from->sent_until);
  EXPECT_EQ(message_filter_from(form::parse("DateSent%3C=2026-11-20"))->sent_until, day->sent_until)
      << "the day itself is included";
  EXPECT_EQ(message_filter_from(form::parse("DateSent%3E=2026-11-20T00%3A00%3A00.000Z"))->sent_from, day->sent_from);
  EXPECT_FALSE(message_filter_from(form::parse("DateSent=today")));
}

TEST(number_filters, match_parts_and_wildcards) {
  EXPECT_TRUE(number_matches("+15550000001", ""));
  EXPECT_TRUE(number_matches("+15550000001", "+15550000001"));
  EXPECT_TRUE(number_matches("+15550000001", "555"));
  EXPECT_TRUE(number_matches("+15550000001", "5*5000"));
  EXPECT_FALSE(number_matches("+15550000001", "+15550000002"));
  EXPECT_FALSE(number_matches("+15550000001", "*15550000001"));
}

}  // namespace
}  // namespace simulator
