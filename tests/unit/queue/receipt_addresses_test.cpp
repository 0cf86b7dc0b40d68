#include "queue/receipt_addresses.h"

#include <gtest/gtest.h>

#include "crypto/receipt_token.h"
#include "support/fake_receipt_gateway.h"
#include "support/jobs.h"
#include "support/manual_timers.h"

namespace byocd {
namespace {

using namespace std::chrono_literals;

class ReceiptAddressesTest : public testing::Test {
 protected:
  ReceiptAddressesTest() {
    EXPECT_TRUE(byoc::generate_master_key("2026-01-31", ring.keys[0]));
    ring.count = 1;
    job.org_id = "aaaaaaaa-0000-4000-8000-00000000000a";
    job.id = "bbbbbbbb-0000-7000-8000-00000000000B";
    job.attempt = 3;
  }
  SecretString key() const {
    std::uint8_t bytes[byoc::receipt_key_size];
    EXPECT_TRUE(byoc::derive_receipt_key(ring.keys[0], bytes));
    return SecretString({reinterpret_cast<const char*>(bytes), sizeof bytes});
  }

  ManualTimers timers;
  FakeReceiptGateway gateway;
  byoc::Keyring ring = {};
  ClaimedJob job = make_job(make_claim("claim", {}), "id");
  int settled = 0;
  ReceiptAddresses addresses{gateway, timers, "https://example.test/byoc", [this] { ++settled; }};
};

TEST_F(ReceiptAddressesTest, HoldATokenThatTheDatabaseCanRead) {
  addresses.connection_changed();
  EXPECT_FALSE(addresses.settled());
  EXPECT_FALSE(addresses.address_for(job));
  answer(gateway.keys, {key()});
  EXPECT_TRUE(addresses.settled());
  EXPECT_EQ(settled, 1);
  const std::string address = addresses.address_for(job).value_or("");
  const std::string before = "https://example.test/byoc/webhooks/twilio/status/";
  ASSERT_EQ(address.substr(0, before.size()), before);
  byoc::ReceiptSubject subject = {};
  ASSERT_TRUE(byoc::read_receipt_token(
      ring, std::string_view(address).substr(before.size(), address.find('#') - before.size()), subject));
  EXPECT_EQ(subject.organization[0], 0xaa);
  EXPECT_EQ(subject.message[15], 0x0b);
  EXPECT_EQ(subject.attempt, 3);
}

TEST_F(ReceiptAddressesTest, FetchTheKeyAgain) {
  addresses.connection_changed();
  answer(gateway.keys, {key()});
  timers.pass(5min);
  ASSERT_EQ(gateway.keys.size(), 1u);
  answer<int, SecretString>(gateway.keys, fail(sql_error("42501")));
  EXPECT_TRUE(addresses.address_for(job)) << "the old key is better than none";
  EXPECT_EQ(settled, 1);
}

TEST_F(ReceiptAddressesTest, AreNotWaitedForForEver) {
  timers.pass(5s);
  EXPECT_TRUE(addresses.settled());
  EXPECT_EQ(settled, 1);
  EXPECT_FALSE(addresses.address_for(job));
}

TEST_F(ReceiptAddressesTest, NeedAPublicUrl) {
  ReceiptAddresses none(gateway, timers, "", [] { FAIL() << "settled from the start"; });
  EXPECT_TRUE(none.settled());
  none.connection_changed();
  EXPECT_TRUE(gateway.keys.empty());
  EXPECT_FALSE(none.address_for(job));
}

}  // namespace
}  // namespace byocd
