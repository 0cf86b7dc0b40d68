#include "crypto/keyring.h"
#include "crypto/base64.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>

namespace byoc {
namespace {

std::string line_of(const MasterKey& key) {
  char line[keyring_line_capacity];
  const auto size = format_keyring_line(key, line);
  return {line, size};
}

MasterKey new_key(bool active = true) {
  MasterKey key = {};
  EXPECT_TRUE(generate_master_key("2026-01-31", key));
  key.active = active;
  return key;
}

KeyringError keyring_error(const std::string& text) {
  Keyring ring;
  return parse_keyring(text, ring).error;
}

TEST(Keyring, ReadsWhatItWrites) {
  const MasterKey active = new_key();
  const MasterKey retired = new_key(false);
  Keyring ring;
  const auto problem = parse_keyring("# comment\n\n" + line_of(retired) + "\r\n" + line_of(active), ring);
  ASSERT_EQ(problem.error, KeyringError::none);
  ASSERT_EQ(ring.count, 2u);
  EXPECT_STREQ(ring.active()->id, active.id);
  EXPECT_STREQ(ring.find(retired.id)->created, "2026-01-31");
  EXPECT_EQ(std::memcmp(ring.find(active.id)->bytes, active.bytes, master_key_size), 0);
  EXPECT_EQ(ring.find("k-nobody"), nullptr);
}

TEST(Keyring, RefusesAnEmptyFile) {
  EXPECT_EQ(keyring_error(""), KeyringError::empty);
  EXPECT_EQ(keyring_error("# nothing here\n"), KeyringError::empty);
}

TEST(Keyring, FindsEveryChangedCharacterOfALine) {
  const std::string line = line_of(new_key());
  for (std::size_t i = 0; i < line.size(); ++i) {
    std::string damaged = line;
    damaged[i] = damaged[i] == 'x' ? 'y' : 'x';
    Keyring ring;
    const auto problem = parse_keyring(damaged, ring);
    // The date is for people and not part of the key; every digit of it may still not become a letter.
    EXPECT_NE(problem.error, KeyringError::none) << "character " << i;
    EXPECT_EQ(problem.line, 1);
    EXPECT_EQ(ring.count, 0u);
  }
}

TEST(Keyring, NamesTheLine) {
  Keyring ring;
  const auto problem = parse_keyring(line_of(new_key()) + "\nnot a key\n", ring);
  EXPECT_EQ(problem.error, KeyringError::malformed_line);
  EXPECT_EQ(problem.line, 2);
}

TEST(Keyring, WantsExactlyOneActiveKey) {
  EXPECT_EQ(keyring_error(line_of(new_key(false))), KeyringError::no_active_key);
  EXPECT_EQ(keyring_error(line_of(new_key()) + "\n" + line_of(new_key())), KeyringError::several_active_keys);
}

TEST(Keyring, RefusesADuplicateId) {
  const MasterKey key = new_key();
  MasterKey same_id = new_key(false);
  std::memcpy(same_id.id, key.id, sizeof key.id);
  EXPECT_EQ(keyring_error(line_of(key) + "\n" + line_of(same_id)), KeyringError::duplicate_id);
}

TEST(Keyring, RefusesAWeakKey) {
  MasterKey key = new_key();
  std::memset(key.bytes, 0, sizeof key.bytes);
  EXPECT_EQ(keyring_error(line_of(key)), KeyringError::weak_key);
}

TEST(Keyring, RefusesTooMuch) {
  EXPECT_EQ(keyring_error(std::string(keyring_file_limit + 1, '#')), KeyringError::too_large);
  std::string many = line_of(new_key());
  for (std::size_t i = 0; i < keyring_capacity; ++i) many += "\n" + line_of(new_key(false));
  EXPECT_EQ(keyring_error(many), KeyringError::too_many_keys);
}

TEST(Keyring, DescribesEveryProblemWithoutQuotingTheFile) {
  for (int i = 0; i <= static_cast<int>(KeyringError::several_active_keys); ++i) {
    EXPECT_STRNE(describe(static_cast<KeyringError>(i)), "unknown problem");
  }
}

TEST(Keyring, DerivesAnotherKeyForEachPurpose) {
  const MasterKey key = new_key();
  std::uint8_t one[32];
  std::uint8_t again[32];
  std::uint8_t two[32];
  ASSERT_TRUE(derive_subkey(key.bytes, "one", one) && derive_subkey(key.bytes, "one", again) &&
              derive_subkey(key.bytes, "two", two));
  EXPECT_EQ(std::memcmp(one, again, sizeof one), 0);
  EXPECT_NE(std::memcmp(one, two, sizeof one), 0);
}

// RFC 4648, section 10, and RFC 7515, appendix C.
TEST(Base64, KnownAnswers) {
  char out[16];
  EXPECT_EQ(base64_encode(reinterpret_cast<const std::uint8_t*>("foobar"), 6, out), 8u);
  EXPECT_STREQ(out, "Zm9vYmFy");
  EXPECT_EQ(base64_encode(reinterpret_cast<const std::uint8_t*>("fooba"), 5, out), 8u);
  EXPECT_STREQ(out, "Zm9vYmE=");
  const std::uint8_t octets[] = {3, 236, 255, 224, 193};
  EXPECT_EQ(base64url_encode(octets, sizeof octets, out), 7u);
  EXPECT_STREQ(out, "A-z_4ME");
  std::uint8_t back[8];
  std::size_t size = 0;
  ASSERT_TRUE(base64url_decode("A-z_4ME", back, sizeof back, size));
  ASSERT_EQ(size, sizeof octets);
  EXPECT_EQ(std::memcmp(back, octets, size), 0);
}

TEST(Base64, OneSpellingOnly) {
  std::uint8_t out[8];
  std::size_t size = 0;
  EXPECT_TRUE(base64_decode_exact("Zm9vYmE=", out, 5));
  EXPECT_FALSE(base64_decode_exact("Zm9vYmF=", out, 5));  // trailing bits
  EXPECT_FALSE(base64_decode_exact("Zm9vYmE", out, 5));   // padding missing
  EXPECT_FALSE(base64_decode_exact("Zm9v YmE=", out, 5));
  EXPECT_FALSE(base64url_decode("A-z_4M", out, 3, size));  // does not fit
  EXPECT_FALSE(base64url_decode("A", out, sizeof out, size));
  EXPECT_FALSE(base64url_decode("A+z/", out, sizeof out, size));  // the other alphabet
}

}  // namespace
}  // namespace byoc
