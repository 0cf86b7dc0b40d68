#include "crypto/envelope.h"

#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <set>
#include <string>
#include <vector>

namespace byoc {
namespace {

struct Destroy {
  void operator()(AeadKey* key) const { AeadKey::destroy(key); }
};
using Key = std::unique_ptr<AeadKey, Destroy>;

constexpr std::uint8_t organization[16] = {1, 2, 3};
constexpr std::uint8_t other_organization[16] = {1, 2, 4};
constexpr std::uint8_t nonce[nonce_size] = {7};

Key make_key(std::uint8_t fill = 0x42) {
  std::uint8_t bytes[envelope_key_size];
  std::memset(bytes, fill, sizeof bytes);
  return Key(AeadKey::create(bytes));
}

std::string seal(AeadKey& key, std::string_view plaintext, const Binding& binding, std::string_view key_id = "id-1") {
  std::string envelope(envelope_size(key_id.size(), plaintext.size()), '\0');
  EXPECT_EQ(key.seal(key_id, binding, nonce, plaintext, reinterpret_cast<std::uint8_t*>(envelope.data())),
            EnvelopeError::none);
  return envelope;
}

EnvelopeError open(AeadKey& key, const std::string& envelope, const Binding& binding,
                   std::string* plaintext = nullptr) {
  std::string out(envelope.size(), '\0');
  const auto error = key.open(envelope, binding, reinterpret_cast<std::uint8_t*>(out.data()));
  if (error == EnvelopeError::none && plaintext != nullptr) {
    std::string_view id;
    std::size_t size = 0;
    read_header(envelope, id, size);
    *plaintext = out.substr(0, size);
  }
  return error;
}

const Binding here = {organization, "table.column", "row"};

TEST(Envelope, OpensWhatItSealed) {
  const auto key = make_key();
  for (const std::string& text :
       {std::string(), std::string("x"), std::string("\0\xff", 2), std::string(100000, 'a')}) {
    std::string back;
    ASSERT_EQ(open(*key, seal(*key, text, here), here, &back), EnvelopeError::none);
    EXPECT_EQ(back, text);
  }
}

TEST(Envelope, HeaderNamesFormatAndKey) {
  const auto key = make_key();
  const std::string envelope = seal(*key, "secret", here, "k-00000001");
  EXPECT_EQ(envelope[0], 1);
  EXPECT_EQ(envelope[1], 10);
  std::string_view id;
  std::size_t size = 0;
  ASSERT_EQ(read_header(envelope, id, size), EnvelopeError::none);
  EXPECT_EQ(id, "k-00000001");
  EXPECT_EQ(size, 6u);
}

TEST(Envelope, BelongsToOnePlace) {
  const auto key = make_key();
  const std::string envelope = seal(*key, "secret", here);
  for (const Binding& elsewhere :
       {Binding{other_organization, "table.column", "row"}, Binding{organization, "table.other", "row"},
        Binding{organization, "table.column", "other"}, Binding{organization, "table.columnr", "ow"},
        Binding{organization, "", "table.columnrow"}}) {
    EXPECT_EQ(open(*key, envelope, elsewhere), EnvelopeError::not_authentic);
  }
  const auto other_key = make_key(0x43);
  EXPECT_EQ(open(*other_key, envelope, here), EnvelopeError::not_authentic);
}

TEST(Envelope, EverySingleBitFlipIsRefused) {
  const auto key = make_key();
  const std::string envelope = seal(*key, "a secret of some length", here);
  for (std::size_t bit = 0; bit < envelope.size() * 8; ++bit) {
    std::string altered = envelope;
    altered[bit / 8] = static_cast<char>(altered[bit / 8] ^ (1 << bit % 8));
    EXPECT_NE(open(*key, altered, here), EnvelopeError::none) << "bit " << bit;
  }
}

TEST(Envelope, EveryTruncationIsRefused) {
  const auto key = make_key();
  const std::string envelope = seal(*key, "secret", here);
  for (std::size_t size = 0; size < envelope.size(); ++size) {
    EXPECT_NE(open(*key, envelope.substr(0, size), here), EnvelopeError::none) << "size " << size;
  }
  EXPECT_EQ(open(*key, envelope + 'x', here), EnvelopeError::not_authentic);
}

TEST(Envelope, ANewerFormatIsToldApart) {
  const auto key = make_key();
  std::string envelope = seal(*key, "secret", here);
  envelope[0] = 2;
  EXPECT_EQ(open(*key, envelope, here), EnvelopeError::unknown_version);
}

TEST(Envelope, ARefusedPlaintextIsWiped) {
  const auto key = make_key();
  std::string envelope = seal(*key, "secret", here);
  envelope.back() = static_cast<char>(envelope.back() ^ 1);
  std::uint8_t out[6];
  std::memset(out, 'z', sizeof out);
  EXPECT_EQ(key->open(envelope, here, out), EnvelopeError::not_authentic);
  for (std::uint8_t byte : out) EXPECT_EQ(byte, 0);
}

// The ciphertext of AES-256-GCM is independent of the associated data: test case 14 of the GCM specification (McGrew
// and Viega), a zero key, nonce and block.
TEST(Envelope, KnownCiphertext) {
  const std::uint8_t zeros[envelope_key_size] = {};
  const Key key(AeadKey::create(zeros));
  const std::string plaintext(16, '\0');
  std::string envelope(envelope_size(1, 16), '\0');
  const std::uint8_t zero_nonce[nonce_size] = {};
  ASSERT_EQ(key->seal("1", here, zero_nonce, plaintext, reinterpret_cast<std::uint8_t*>(envelope.data())),
            EnvelopeError::none);
  const std::uint8_t expected[] = {0xce, 0xa7, 0x40, 0x3d, 0x4d, 0x60, 0x6b, 0x6e,
                                   0x07, 0x4e, 0xc5, 0xd3, 0xba, 0xf3, 0x9d, 0x18};
  EXPECT_EQ(std::memcmp(envelope.data() + 3 + nonce_size, expected, sizeof expected), 0);
}

TEST(NonceSource, NeverRepeatsAlsoAcrossAFork) {
  auto parent = std::make_unique<NonceSource>();
  std::set<std::string> seen;
  const auto draw = [&seen](NonceSource& source, int process) {
    std::uint8_t bytes[nonce_size];
    ASSERT_TRUE(source.next(process, bytes));
    EXPECT_TRUE(seen.insert(std::string(reinterpret_cast<char*>(bytes), sizeof bytes)).second);
  };
  for (int i = 0; i < 1000; ++i) draw(*parent, 1);
  auto child = std::make_unique<NonceSource>(*parent);  // what a fork leaves in the child
  for (int i = 0; i < 1000; ++i) {
    draw(*parent, 1);
    draw(*child, 2);
  }
}

}  // namespace
}  // namespace byoc
