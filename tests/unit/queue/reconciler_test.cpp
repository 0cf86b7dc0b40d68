#include "queue/reconciler.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "providers/twilio.h"
#include "support/fake_gateway.h"
#include "support/fake_http.h"
#include "support/jobs.h"
#include "support/manual_timers.h"

namespace byocd {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;
using State = MessageListing::State;

const std::string next_uri = "/2010-04-01/Accounts/" + account_sid + "/Messages.json?Page=1";

class ReconcilerTest : public testing::Test {
 protected:
  ReconcilerTest() {
    registry.add(std::make_unique<Twilio>("https://api.example.test"));
    reconciler.connection_changed();
  }
  ReconciliationJob job() const {
    ReconciliationJob made;
    made.org_id = "org-1";
    made.credential_id = "credential-1";
    made.credential_version = 1;
    made.provider = "twilio";
    made.account = account_sid;
    made.to_number = "+15005550010";
    made.since = std::chrono::sys_seconds(1795176000s);  // Fri, 20 Nov 2026 12:00:00
    return made;
  }
  void claim() {
    timers.pass(20ms);
    answer(gateway.reconciliation_claims, {std::vector<ReconciliationJob>{job()}});
  }
  void begin() {
    claim();
    std::vector<OpenedCredential> opened;
    opened.push_back(make_credential());
    answer(gateway.opens, {std::move(opened)});
  }
  // One page with a message made at this time.
  static std::string page(const std::string& time, const json& next = nullptr) {
    const json message{{"sid", "SM" + time}, {"body", "x"}, {"date_created", "Fri, 20 Nov 2026 " + time + " +0000"}};
    return json{{"messages", json::array({message})}, {"next_page_uri", next}}.dump();
  }
  MessageListing recorded() { return answer(gateway.listings, {1}); }

  ManualTimers timers;
  FakeGateway gateway;
  FakeHttp http;
  Registry registry;
  CredentialCache credentials{gateway, timers};
  Reconciler reconciler{{gateway, registry, http, credentials, timers}, 1000ms};
};

TEST_F(ReconcilerTest, ReadsAListToItsEndAndRecordsIt) {
  begin();
  EXPECT_EQ(reconciler.running(), 1);
  http.answer(200, page("12:00:09", next_uri));
  ASSERT_EQ(http.calls.size(), 1u);
  EXPECT_EQ(http.calls.front().request.url, "https://api.example.test" + next_uri);
  http.answer(200, page("12:00:08"));
  ASSERT_EQ(gateway.listings.size(), 1u);
  const auto listing = recorded();
  EXPECT_EQ(listing.state, State::complete);
  ASSERT_EQ(listing.messages.size(), 2u);
  EXPECT_EQ(listing.messages[1].sid, "SM12:00:08");
  EXPECT_EQ(reconciler.running(), 0);
}

TEST_F(ReconcilerTest, StopsWhereTheListGetsOlderThanTheAttempt) {
  begin();
  http.answer(200, page("11:59:59", next_uri));
  EXPECT_TRUE(http.calls.empty());
  const auto listing = recorded();
  EXPECT_EQ(listing.state, State::complete);
  EXPECT_TRUE(listing.messages.empty());
}

TEST_F(ReconcilerTest, AListWithoutEndIsIncomplete) {
  begin();
  for (int pages = 0; pages < 25; ++pages) http.answer(200, page("12:00:01", next_uri));
  EXPECT_TRUE(http.calls.empty());
  const auto listing = recorded();
  EXPECT_EQ(listing.state, State::incomplete);
  EXPECT_EQ(listing.messages.size(), 25u);
}

TEST_F(ReconcilerTest, APageThatIsMissingMakesTheListIncomplete) {
  begin();
  http.answer(200, page("12:00:09", next_uri));
  http.answer(503, "");
  const auto listing = recorded();
  EXPECT_EQ(listing.state, State::unavailable);
  EXPECT_EQ(listing.problem, "Twilio answered HTTP 503");
  EXPECT_EQ(listing.messages.size(), 1u);
}

TEST_F(ReconcilerTest, TellsThatAListMayNotBeRead) {
  begin();
  http.answer(403, "{}");
  EXPECT_EQ(recorded().state, State::refused);
}

TEST_F(ReconcilerTest, TellsThatACredentialCannotBeOpened) {
  claim();
  answer(gateway.opens, {fail(lost())});
  EXPECT_EQ(recorded().state, State::unavailable);

  claim();
  auto unreadable = make_credential();
  unreadable.error = "key k1 is not in the ring";
  std::vector<OpenedCredential> opened;
  opened.push_back(std::move(unreadable));
  answer(gateway.opens, {std::move(opened)});
  EXPECT_EQ(recorded().state, State::refused);
}

TEST_F(ReconcilerTest, LooksAtEveryPollAndSoonAfterAList) {
  begin();
  timers.pass(1000ms);
  ASSERT_EQ(gateway.reconciliation_claims.size(), 1u);
  EXPECT_EQ(answer(gateway.reconciliation_claims, {std::vector<ReconciliationJob>{}}), 7);
  http.answer(200, page("12:00:09"));
  recorded();
  timers.pass(20ms);
  EXPECT_EQ(gateway.reconciliation_claims.size(), 1u);
}

TEST_F(ReconcilerTest, NothingIsClaimedWhereClaimsAreNotAllowed) {
  gateway.connected = false;
  timers.pass(2000ms);
  EXPECT_TRUE(gateway.reconciliation_claims.empty());
}

TEST_F(ReconcilerTest, StoppingLeavesTheRestOfAList) {
  begin();
  reconciler.stop();
  http.answer(200, page("12:00:09", next_uri));
  EXPECT_EQ(recorded().state, State::unavailable);
  timers.pass(2000ms);
  EXPECT_TRUE(gateway.reconciliation_claims.empty());
}

}  // namespace
}  // namespace byocd
