#include "messages.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace simulator {
namespace {

using namespace std::chrono_literals;

constexpr std::string_view account_a = "AC00000000000000000000000000000001";
constexpr std::string_view account_b = "AC00000000000000000000000000000002";
const timestamp noon = std::chrono::sys_days(std::chrono::year(2026) / 11 / 20) + 12h;

class message_lists : public testing::Test {
 protected:
  const message& add(std::string_view account, const std::string& to, const std::string& body,
                     timestamp received = noon) {
    message value;
    value.to = to;
    value.from = "+15550000001";
    value.body = body;
    value.received = received;
    return store.add(account, std::move(value));
  }

  std::vector<std::string> bodies(const message_filter& filter, const page_request& page = {}) {
    std::vector<std::string> result;
    const auto found = store.list(account_a, filter, page, noon + 1h);
    for (const auto* each : found->messages) result.push_back(each->body);
    return result;
  }

  message_store store;
};

TEST_F(message_lists, come_newest_first_and_stay_in_their_account) {
  add(account_a, "+15551000001", "one");
  add(account_b, "+15551000001", "other");
  add(account_a, "+15551000002", "two");
  add(account_a, "+15551000001", "three");
  EXPECT_THAT(bodies({}), testing::ElementsAre("three", "two", "one"));
  EXPECT_THAT(bodies({.to = "+15551000001"}), testing::ElementsAre("three", "one"));
  EXPECT_THAT(bodies({.to = "+15551000009"}), testing::IsEmpty());
  EXPECT_THAT(bodies({.from = "+15550000001"}), testing::SizeIs(3));
  EXPECT_THAT(bodies({.from = "+15550000002"}), testing::IsEmpty());
}

TEST_F(message_lists, filter_by_when_a_message_was_sent_or_else_created) {
  add(account_a, "+15551000001", "yesterday", noon - 24h);
  add(account_a, "+15551000001", "today");
  EXPECT_THAT(bodies({.sent_from = noon - 12h}), testing::ElementsAre("today"));
  EXPECT_THAT(bodies({.sent_until = noon - 12h}), testing::ElementsAre("yesterday"));
  EXPECT_THAT(bodies({.sent_from = noon, .sent_until = noon + 1us}), testing::ElementsAre("today"));
}

TEST_F(message_lists, are_paged_by_number) {
  for (int i = 0; i < 5; ++i) add(account_a, "+15551000001", std::to_string(i));
  EXPECT_THAT(bodies({}, {.page = 0, .page_size = 2}), testing::ElementsAre("4", "3"));
  EXPECT_THAT(bodies({}, {.page = 2, .page_size = 2}), testing::ElementsAre("0"));
  EXPECT_THAT(bodies({}, {.page = 3, .page_size = 2}), testing::IsEmpty());
  EXPECT_TRUE(store.list(account_a, {}, {.page = 1, .page_size = 2}, noon)->has_more);
  EXPECT_FALSE(store.list(account_a, {}, {.page = 0, .page_size = 5}, noon)->has_more);
}

TEST_F(message_lists, paged_by_anchor_do_not_shift_when_messages_arrive) {
  std::vector<std::string> sids;
  for (int i = 0; i < 5; ++i) sids.emplace_back(add(account_a, "+15551000001", std::to_string(i)).sid_text());
  add(account_a, "+15551000001", "late");
  EXPECT_THAT(bodies({}, {.page = 1, .page_size = 2, .after = sids[3]}), testing::ElementsAre("2", "1"));
  EXPECT_THAT(bodies({.to = "+15551000001"}, {.page = 1, .page_size = 2, .after = sids[3]}),
              testing::ElementsAre("2", "1"));
  EXPECT_THAT(bodies({}, {.page = 0, .page_size = 2, .before = sids[2]}), testing::ElementsAre("4", "3"));
  EXPECT_FALSE(store.list(account_b, {}, {.after = sids[3]}, noon)) << "an anchor of another account";
}

TEST_F(message_lists, find_by_sid_within_the_account) {
  const auto& stored = add(account_a, "+15551000001", "one");
  EXPECT_EQ(store.find(account_a, stored.sid_text()), &stored);
  EXPECT_EQ(store.find(account_b, stored.sid_text()), nullptr);
  EXPECT_EQ(store.find(account_a, "SM00000000000000000000000000000000"), nullptr);
  EXPECT_EQ(store.find(account_a, "nonsense"), nullptr);
}

TEST_F(message_lists, never_give_a_sid_twice) {
  const std::string first(add(account_a, "+15551000001", "one").sid_text());
  store.clear();
  EXPECT_EQ(store.find(account_a, first), nullptr);
  EXPECT_NE(add(account_a, "+15551000001", "two").sid_text(), first);
  EXPECT_THAT(bodies({.to = "+15551000001"}), testing::ElementsAre("two"));
}

TEST(message_course, is_read_off_the_clock) {
  message subject;
  subject.received = noon;
  subject.moves = plan_course({.sending_ms = 10, .sent_ms = 20, .final_ms = 30}, "+15551000001", false);
  EXPECT_EQ(state_at(subject, noon).status, message_status::queued);
  EXPECT_EQ(state_at(subject, noon + 10ms).status, message_status::sending);
  EXPECT_FALSE(state_at(subject, noon + 10ms).sent);
  EXPECT_EQ(state_at(subject, noon + 30ms).status, message_status::sent);
  const auto last = state_at(subject, noon + 1h);
  EXPECT_EQ(last.status, message_status::delivered);
  EXPECT_EQ(last.sent, noon + 30ms);
  EXPECT_EQ(last.updated, noon + 60ms);
  EXPECT_EQ(last.error_code, 0);
}

TEST(message_course, ends_as_the_knobs_say) {
  delivery_settings settings;
  settings.final = {message_status::failed, 30008};
  settings.recipients["+15551000002"] = {message_status::undelivered, 30005};
  message subject;
  subject.received = noon;
  subject.moves = plan_course(settings, "+15551000001", false);
  EXPECT_EQ(state_at(subject, noon + 1h).status, message_status::failed);
  EXPECT_EQ(state_at(subject, noon + 1h).error_code, 30008);
  EXPECT_FALSE(state_at(subject, noon + 1h).sent) << "a failed message was never sent";
  subject.moves = plan_course(settings, "+15551000002", false);
  EXPECT_EQ(state_at(subject, noon + 1h).error_code, 30005);
  settings.sent_ms = std::nullopt;
  subject.moves = plan_course(settings, "+15551000002", false);
  EXPECT_EQ(state_at(subject, noon + 1h).status, message_status::sending) << "stays where the knobs stop it";
  EXPECT_EQ(state_at(subject, noon + 1h).error_code, 0);
}

TEST(message_course, with_a_messaging_service_starts_accepted_and_without_sender) {
  message subject;
  subject.received = noon;
  subject.with_service = true;
  subject.moves = plan_course({.queued_ms = 5}, "+15551000001", true);
  EXPECT_EQ(state_at(subject, noon).status, message_status::accepted);
  EXPECT_FALSE(state_at(subject, noon).sender_is_known);
  EXPECT_EQ(state_at(subject, noon + 5ms).status, message_status::queued);
  EXPECT_TRUE(state_at(subject, noon + 5ms).sender_is_known);
}

}  // namespace
}  // namespace simulator
