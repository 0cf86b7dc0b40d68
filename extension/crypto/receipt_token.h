// The token in the address that a provider calls back with a message's status:
//
//     base64url of  organization (16 bytes) | message (16) | attempt (2, big endian) | MAC (16)
//
// The MAC is the beginning of HMAC-SHA256 (NIST SP 800-107, section 5.1) over what stands before it. Its key is derived
// from a master key, so it survives restarts, and a token stays good for as long as that master key is in the ring.
#pragma once

#include "keyring.h"

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace byoc {

constexpr std::size_t receipt_key_size = 32;
constexpr std::size_t receipt_token_capacity = 69;  // 67 characters, one of padding, a zero

// What a receipt is about.
struct ReceiptSubject {
  std::uint8_t organization[16];
  std::uint8_t message[16];
  std::uint16_t attempt;  // from 1
};

// The key that signs receipt tokens under this master key. False when OpenSSL fails.
bool derive_receipt_key(const MasterKey& master, std::uint8_t (&key)[receipt_key_size]) noexcept;

// Writes a zero-terminated token. False when OpenSSL fails.
bool mint_receipt_token(const std::uint8_t (&key)[receipt_key_size], const ReceiptSubject& subject,
                        char (&out)[receipt_token_capacity]) noexcept;

// Fills `subject` from a token that any of the ring's keys signed; false for every other text.
bool read_receipt_token(const Keyring& ring, std::string_view token, ReceiptSubject& subject) noexcept;

}  // namespace byoc
