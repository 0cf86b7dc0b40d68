// What makes changes to the audit trail evident: HMAC-SHA256 (RFC 2104) over a list of fields, keyed by a subkey of the
// installation's audit key.
//
// A message is the purpose and then each field: four bytes of length (big endian), then the bytes; a null field is the
// length 0xFFFFFFFF alone. So no two lists of fields give the same message.
#pragma once

#include <openssl/evp.h>

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace byoc {

constexpr std::size_t audit_key_size = 32;
constexpr std::size_t audit_mac_size = 32;

// One field of a message; plain data. Values have less than 2^32 - 1 bytes.
struct AuditField {
  std::string_view value;
  bool null = false;
};

// The subkey with its OpenSSL context kept.
class AuditKey {
 public:
  // Derives the subkey from a data key; null when OpenSSL fails. The caller may wipe `data_key` afterwards.
  static AuditKey* create(const std::uint8_t (&data_key)[audit_key_size]) noexcept;
  static void destroy(AuditKey* key) noexcept;  // accepts null; wipes the key

  // Writes audit_mac_size bytes to `out`. False when OpenSSL fails.
  bool mac(std::string_view purpose, const AuditField* fields, std::size_t count, std::uint8_t* out) noexcept;
  // Whether `expected` is the message's MAC; compares in constant time.
  bool verify(std::string_view purpose, const AuditField* fields, std::size_t count,
              std::string_view expected) noexcept;

 private:
  AuditKey() noexcept = default;
  ~AuditKey();

  EVP_MAC_CTX* context_ = nullptr;
};

}  // namespace byoc
