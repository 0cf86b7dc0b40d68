#include "crypto/receipt_token.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>

namespace byoc {
namespace {

ReceiptSubject subject_of(std::uint16_t attempt) {
  ReceiptSubject subject = {};
  std::memset(subject.organization, 0xaa, 16);
  std::memset(subject.message, 0xbb, 16);
  subject.attempt = attempt;
  return subject;
}

Keyring ring_of(std::uint32_t count) {
  Keyring ring = {};
  for (std::uint32_t i = 0; i < count; ++i) EXPECT_TRUE(generate_master_key("2026-01-31", ring.keys[i]));
  ring.count = count;
  return ring;
}

std::string mint(const MasterKey& master, const ReceiptSubject& subject) {
  std::uint8_t key[receipt_key_size];
  EXPECT_TRUE(derive_receipt_key(master, key));
  char token[receipt_token_capacity];
  EXPECT_TRUE(mint_receipt_token(key, subject, token));
  return token;
}

// Computed with Python's hmac and base64 from the format's description.
TEST(ReceiptToken, IsAsDescribed) {
  std::uint8_t key[receipt_key_size];
  for (std::size_t i = 0; i < receipt_key_size; ++i) key[i] = static_cast<std::uint8_t>(i);
  char token[receipt_token_capacity];
  ASSERT_TRUE(mint_receipt_token(key, subject_of(258), token));
  EXPECT_STREQ(token, "qqqqqqqqqqqqqqqqqqqqqru7u7u7u7u7u7u7u7u7u7sBAvUfB_F8yZk-E4M72e_u1cY");
}

TEST(ReceiptToken, ReadsWhatItMinted) {
  const Keyring ring = ring_of(1);
  for (const std::uint16_t attempt : {1, 255, 256, 32767}) {
    ReceiptSubject read = {};
    ASSERT_TRUE(read_receipt_token(ring, mint(ring.keys[0], subject_of(attempt)), read));
    EXPECT_EQ(std::memcmp(read.organization, subject_of(attempt).organization, 16), 0);
    EXPECT_EQ(std::memcmp(read.message, subject_of(attempt).message, 16), 0);
    EXPECT_EQ(read.attempt, attempt);
  }
}

TEST(ReceiptToken, EveryChangedCharacterIsRefused) {
  const Keyring ring = ring_of(1);
  const std::string token = mint(ring.keys[0], subject_of(1));
  ReceiptSubject read = {};
  for (std::size_t i = 0; i < token.size(); ++i) {
    std::string altered = token;
    altered[i] = token[i] == 'A' ? 'B' : 'A';
    EXPECT_FALSE(read_receipt_token(ring, altered, read)) << altered;
  }
  for (const std::string& other : {std::string(), token + "A", token.substr(1), token + "=", std::string(1000, 'A')})
    EXPECT_FALSE(read_receipt_token(ring, other, read)) << other;
}

TEST(ReceiptToken, StaysGoodWhileItsMasterKeyIsInTheRing) {
  Keyring ring = ring_of(2);
  const std::string token = mint(ring.keys[1], subject_of(1));
  ReceiptSubject read = {};
  EXPECT_TRUE(read_receipt_token(ring, token, read));
  ring.count = 1;
  EXPECT_FALSE(read_receipt_token(ring, token, read));
}

}  // namespace
}  // namespace byoc
