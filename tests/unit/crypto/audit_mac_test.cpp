#include "crypto/audit_mac.h"

#include "support/token_maker.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

namespace byoc {
namespace {

struct DestroyAuditKey {
  void operator()(AuditKey* key) const { AuditKey::destroy(key); }
};
using KeyHolder = std::unique_ptr<AuditKey, DestroyAuditKey>;

KeyHolder key_of(std::uint8_t first) {
  std::uint8_t bytes[audit_key_size] = {};
  bytes[0] = first;
  return KeyHolder(AuditKey::create(bytes));
}

std::string mac_of(AuditKey& key, std::string_view purpose, const std::vector<AuditField>& fields) {
  std::uint8_t mac[audit_mac_size] = {};
  EXPECT_TRUE(key.mac(purpose, fields.data(), fields.size(), mac));
  return {reinterpret_cast<const char*>(mac), sizeof mac};
}

TEST(AuditMac, IsHmacSha256OfTheDocumentedMessage) {
  const auto key = key_of(7);
  std::string data_key(audit_key_size, '\0');
  data_key[0] = 7;
  using namespace std::string_literals;
  const std::string message = "\0\0\0\x05"s + "entry" + "\0\0\0\x02"s + "ab" + "\xFF\xFF\xFF\xFF"s + "\0\0\0\0"s;
  EXPECT_EQ(mac_of(*key, "entry", {{"ab"}, {{}, true}, {""}}),
            hmac(EVP_sha256(), hmac(EVP_sha256(), data_key, "pg_byoc audit 1"), message));
}

TEST(AuditMac, NoTwoMessagesAreAlike) {
  const auto key = key_of(1);
  std::vector<std::string> macs = {
      mac_of(*key, "entry", {{"ab"}, {"c"}}),
      mac_of(*key, "entry", {{"a"}, {"bc"}}),
      mac_of(*key, "entry", {{"abc"}}),
      mac_of(*key, "entry", {{"abc"}, {""}}),
      mac_of(*key, "entry", {{"abc"}, {{}, true}}),
      mac_of(*key, "entry", {{""}, {"abc"}}),
      mac_of(*key, "seal", {{"abc"}}),
      mac_of(*key, "entryabc", {}),
      mac_of(*key, "entry", {}),
      mac_of(*key_of(2), "entry", {}),
  };
  for (std::size_t i = 0; i < macs.size(); ++i)
    for (std::size_t k = 0; k < i; ++k) EXPECT_NE(macs[i], macs[k]) << i << " and " << k;
}

TEST(AuditMac, AMessageLeavesNoTraceInTheNext) {
  const auto key = key_of(1);
  const std::string first = mac_of(*key, "entry", {{"one"}});
  mac_of(*key, "entry", {{"another"}});
  EXPECT_EQ(mac_of(*key, "entry", {{"one"}}), first);
}

TEST(AuditMac, EveryChangedBitAndEveryOtherLengthIsRefused) {
  const auto key = key_of(1);
  const AuditField field{"value"};
  const std::string mac = mac_of(*key, "entry", {field});
  EXPECT_TRUE(key->verify("entry", &field, 1, mac));
  for (std::size_t bit = 0; bit < 8 * mac.size(); ++bit) {
    std::string altered = mac;
    altered[bit / 8] = static_cast<char>(altered[bit / 8] ^ (1 << bit % 8));
    EXPECT_FALSE(key->verify("entry", &field, 1, altered)) << bit;
  }
  for (std::size_t size = 0; size < mac.size(); ++size)
    EXPECT_FALSE(key->verify("entry", &field, 1, mac.substr(0, size))) << size;
  EXPECT_FALSE(key->verify("entry", &field, 1, mac + '\0'));
}

}  // namespace
}  // namespace byoc
