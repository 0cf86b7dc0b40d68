// NIST's known answers for AES-256-GCM through the code that seals envelopes.
#include "crypto/envelope.h"

#include "support/hex.h"

#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <map>
#include <memory>
#include <vector>

namespace byoc {
namespace {

// One block of a response file: Key, IV, PT, AAD, CT and Tag as bytes.
using Vector = std::map<std::string, std::string>;

std::vector<Vector> read_vectors(const std::string& name) {
  std::ifstream file(std::string(BYOC_UNIT_TEST_FOLDER) + "/crypto/nist/" + name);
  EXPECT_TRUE(file) << name;
  std::vector<Vector> vectors;
  for (std::string line; std::getline(file, line);) {
    const std::size_t equals = line.find(" =");
    if (equals == std::string::npos || line[0] == '[' || line[0] == '#') continue;
    const std::string label = line.substr(0, equals);
    if (label == "Count") {
      vectors.emplace_back();
    } else {
      vectors.back()[label] = unhex(line.substr(std::min(equals + 3, line.size())));
    }
  }
  return vectors;
}

const std::uint8_t* bytes_of(const std::string& text) {
  return reinterpret_cast<const std::uint8_t*>(text.data());
}

struct Cipher {
  std::unique_ptr<AeadKey, void (*)(AeadKey*)> key{nullptr, AeadKey::destroy};
  explicit Cipher(const std::string& bytes) {
    std::uint8_t key_bytes[envelope_key_size];
    EXPECT_EQ(bytes.size(), sizeof key_bytes);
    std::memcpy(key_bytes, bytes.data(), sizeof key_bytes);
    key.reset(AeadKey::create(key_bytes));
  }
  // Ciphertext and tag.
  std::string encrypt(const Vector& vector, const AssociatedParts& associated) const {
    const std::string& plaintext = vector.at("PT");
    std::string out(plaintext.size() + tag_size, '\0');
    auto* start = reinterpret_cast<std::uint8_t*>(out.data());
    EXPECT_TRUE(key->encrypt(bytes_of(vector.at("IV")), associated, plaintext, start, start + plaintext.size()));
    return out;
  }
  EnvelopeError decrypt(const Vector& vector, const std::string& associated, const std::string& tag,
                        std::string& plaintext) const {
    plaintext.assign(vector.at("CT").size(), 'x');
    return key->decrypt(bytes_of(vector.at("IV")), {associated, "", ""}, vector.at("CT"), bytes_of(tag),
                        reinterpret_cast<std::uint8_t*>(plaintext.data()));
  }
};

TEST(AesGcm, KnownAnswersOfNist) {
  const auto vectors = read_vectors("gcmEncryptExtIV256.rsp");
  ASSERT_EQ(vectors.size(), 50u);
  for (const Vector& vector : vectors) {
    const Cipher cipher(vector.at("Key"));
    const std::string& associated = vector.at("AAD");
    const std::string expected = vector.at("CT") + vector.at("Tag");
    EXPECT_EQ(cipher.encrypt(vector, {associated, "", ""}), expected);
    const std::string_view whole = associated;
    const std::size_t third = whole.size() / 3;
    EXPECT_EQ(cipher.encrypt(vector, {whole.substr(0, third), whole.substr(third, third), whole.substr(2 * third)}),
              expected)
        << "in parts";
    std::string plaintext;
    EXPECT_EQ(cipher.decrypt(vector, associated, vector.at("Tag"), plaintext), EnvelopeError::none);
    EXPECT_EQ(plaintext, vector.at("PT"));
  }
}

TEST(AesGcm, NoOtherTagOrAssociatedDataPasses) {
  for (const Vector& vector : read_vectors("gcmEncryptExtIV256.rsp")) {
    const Cipher cipher(vector.at("Key"));
    const std::string nothing(vector.at("CT").size(), '\0');
    std::string plaintext;
    for (std::size_t bit = 0; bit < 8 * tag_size; ++bit) {
      std::string tag = vector.at("Tag");
      tag[bit / 8] = static_cast<char>(tag[bit / 8] ^ (1 << bit % 8));
      EXPECT_EQ(cipher.decrypt(vector, vector.at("AAD"), tag, plaintext), EnvelopeError::not_authentic) << bit;
      EXPECT_EQ(plaintext, nothing);
    }
    EXPECT_EQ(cipher.decrypt(vector, vector.at("AAD") + '\0', vector.at("Tag"), plaintext),
              EnvelopeError::not_authentic);
  }
}

}  // namespace
}  // namespace byoc
