#include "receipt_token.h"

#include "base64.h"
#include "secret_bytes.h"

#include <openssl/crypto.h>
#include <openssl/hmac.h>

#include <cstring>

namespace byoc {
namespace {

constexpr std::string_view receipt_purpose = "pg_byoc receipt token 1";
constexpr std::size_t payload_size = 16 + 16 + 2;
constexpr std::size_t receipt_mac_size = 16;

bool sign(const std::uint8_t (&key)[receipt_key_size], const std::uint8_t* payload,
          std::uint8_t (&mac)[receipt_mac_size]) noexcept {
  std::uint8_t whole[32];
  unsigned int size = 0;
  if (HMAC(EVP_sha256(), key, receipt_key_size, payload, payload_size, whole, &size) == nullptr) return false;
  std::memcpy(mac, whole, receipt_mac_size);
  return true;
}

}  // namespace

bool derive_receipt_key(const MasterKey& master, std::uint8_t (&key)[receipt_key_size]) noexcept {
  return derive_subkey(master.bytes, receipt_purpose, key);
}

bool mint_receipt_token(const std::uint8_t (&key)[receipt_key_size], const ReceiptSubject& subject,
                        char (&out)[receipt_token_capacity]) noexcept {
  std::uint8_t bytes[payload_size + receipt_mac_size];
  std::memcpy(bytes, subject.organization, 16);
  std::memcpy(bytes + 16, subject.message, 16);
  bytes[32] = static_cast<std::uint8_t>(subject.attempt >> 8);
  bytes[33] = static_cast<std::uint8_t>(subject.attempt);
  std::uint8_t mac[receipt_mac_size];
  if (!sign(key, bytes, mac)) return false;
  std::memcpy(bytes + payload_size, mac, receipt_mac_size);
  base64url_encode(bytes, sizeof bytes, out);
  return true;
}

bool read_receipt_token(const Keyring& ring, std::string_view token, ReceiptSubject& subject) noexcept {
  std::uint8_t bytes[payload_size + receipt_mac_size];
  std::size_t size = 0;
  if (!base64url_decode(token, bytes, sizeof bytes, size) || size != sizeof bytes) return false;
  bool good = false;
  for (std::uint32_t i = 0; i < ring.count && !good; ++i) {
    SecretBytes<receipt_key_size> key;
    std::uint8_t mac[receipt_mac_size];
    good = derive_receipt_key(ring.keys[i], key.bytes) && sign(key.bytes, bytes, mac) &&
           CRYPTO_memcmp(mac, bytes + payload_size, receipt_mac_size) == 0;
  }
  if (!good) return false;
  std::memcpy(subject.organization, bytes, 16);
  std::memcpy(subject.message, bytes + 16, 16);
  subject.attempt = static_cast<std::uint16_t>(bytes[32] << 8 | bytes[33]);
  return true;
}

}  // namespace byoc
