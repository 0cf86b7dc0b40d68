// The envelope: AES-256-GCM (NIST SP 800-38D) with a header that says which key opens it.
//
//     0x01 | n | key id (n bytes) | nonce (12) | ciphertext | tag (16)
//
// The header and the binding (organization, place, context) are associated data: an envelope that was moved to
// another organization, table, row or column, or whose header was changed, does not open.
// Nonces are random; SP 800-38D allows 2^32 random nonces a key, which is why each organization has its own key.
#pragma once

#include <openssl/evp.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace byoc {

constexpr std::size_t organization_id_size = 16;
constexpr std::size_t envelope_key_size = 32;
constexpr std::size_t envelope_key_id_limit = 16;
constexpr std::size_t nonce_size = 12;
constexpr std::size_t tag_size = 16;

enum class EnvelopeError {
  none,
  malformed,        // too short for an envelope, or a key id that cannot be
  unknown_version,  // written by a newer release
  not_authentic,    // wrong key, organization, place or context, or altered bytes
  failed,           // OpenSSL or the random generator failed
};

// Where an envelope belongs. `place` names the table, row and column (or the caller), `context` is the caller's own.
struct Binding {
  const std::uint8_t* organization;  // organization_id_size bytes
  std::string_view place;
  std::string_view context;
};

// Associated data is their concatenation; parts may be empty.
using AssociatedParts = std::array<std::string_view, 3>;

// Random nonces drawn in blocks, since a draw of 12 bytes costs more than an encryption. A block belongs to the
// process that drew it: after a fork the child draws its own.
struct NonceSource {
  std::uint8_t block[340 * nonce_size];
  std::size_t used = sizeof block;
  int process_id = 0;

  // Fills `nonce`; `process_id` is the caller's. False when the random generator fails.
  bool next(int current_process_id, std::uint8_t* nonce) noexcept;
};

// One AES-256-GCM key with its two OpenSSL contexts kept, so that a message sets only its nonce.
class AeadKey {
 public:
  // Null when OpenSSL fails. The caller may wipe `key` afterwards.
  static AeadKey* create(const std::uint8_t (&key)[envelope_key_size]) noexcept;
  static void destroy(AeadKey* key) noexcept;  // accepts null; wipes the key schedule

  // AES-256-GCM itself. Writes plaintext.size() bytes and tag_size bytes.
  bool encrypt(const std::uint8_t* nonce, const AssociatedParts& associated, std::string_view plaintext,
               std::uint8_t* ciphertext, std::uint8_t* tag) noexcept;
  // Writes ciphertext.size() bytes; wipes them unless the tag is right.
  EnvelopeError decrypt(const std::uint8_t* nonce, const AssociatedParts& associated, std::string_view ciphertext,
                        const std::uint8_t* tag, std::uint8_t* plaintext) noexcept;

  // Writes envelope_size(plaintext) bytes to `out`.
  EnvelopeError seal(std::string_view key_id, const Binding& binding, const std::uint8_t* nonce,
                     std::string_view plaintext, std::uint8_t* out) noexcept;
  // Writes the plaintext, plaintext_size() bytes, to `out`; wipes `out` unless the envelope is authentic.
  EnvelopeError open(std::string_view envelope, const Binding& binding, std::uint8_t* out) noexcept;

 private:
  AeadKey() noexcept = default;
  ~AeadKey();

  EVP_CIPHER_CTX* sealing_ = nullptr;
  EVP_CIPHER_CTX* opening_ = nullptr;
};

constexpr std::size_t envelope_size(std::size_t key_id_size, std::size_t plaintext_size) noexcept {
  return 2 + key_id_size + nonce_size + plaintext_size + tag_size;
}

// Reads the header: the key's id and the plaintext's size.
EnvelopeError read_header(std::string_view envelope, std::string_view& key_id, std::size_t& plaintext_size) noexcept;

}  // namespace byoc
