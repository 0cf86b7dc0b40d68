// Base64 (RFC 4648, with padding) and base64url (without padding) over OpenSSL's block coder.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace byoc {

// Characters needed for `size` bytes, without a terminating zero.
constexpr std::size_t base64_length(std::size_t size) noexcept {
  return (size + 2) / 3 * 4;
}

// Writes base64_length(size) characters and a terminating zero to `out`; returns the number of characters.
std::size_t base64_encode(const std::uint8_t* data, std::size_t size, char* out) noexcept;

// Decodes strictly (length a multiple of 4, padding only at the end, no white space). Returns false, and leaves no
// secret in `out`, when the text is not base64 or does not decode to exactly `size` bytes.
bool base64_decode_exact(std::string_view text, std::uint8_t* out, std::size_t size) noexcept;

// base64url without padding (RFC 7515, section 2): `out` needs base64_length(size) + 1 bytes.
std::size_t base64url_encode(const std::uint8_t* data, std::size_t size, char* out) noexcept;

// Decodes base64url without padding into `out`, at most `capacity` bytes; returns false on any other character, an
// impossible length, non-zero trailing bits or when it does not fit.
bool base64url_decode(std::string_view text, std::uint8_t* out, std::size_t capacity, std::size_t& size) noexcept;

}  // namespace byoc
