#include "base64.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

namespace byoc {
namespace {

// Value of one base64 digit, or -1. `plus` and `slash` are the two digits that the alphabets differ in.
int digit(char c, char plus, char slash) noexcept {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  if (c == plus) return 62;
  if (c == slash) return 63;
  return -1;
}

// Decodes digits without padding. OpenSSL's decoder skips white space and ignores trailing bits; a key ring and a
// signed token must have one spelling only, so this one does neither.
bool decode(std::string_view text, char plus, char slash, std::uint8_t* out, std::size_t capacity,
            std::size_t& size) noexcept {
  size = 0;
  if (text.size() % 4 == 1) return false;
  unsigned bits = 0;
  int pending = 0;
  for (char c : text) {
    const int value = digit(c, plus, slash);
    if (value < 0) return false;
    bits = bits << 6 | static_cast<unsigned>(value);
    pending += 6;
    if (pending < 8) continue;
    pending -= 8;
    if (size == capacity) return false;
    out[size++] = static_cast<std::uint8_t>(bits >> pending);
    bits &= (1u << pending) - 1;
  }
  return bits == 0;
}

}  // namespace

std::size_t base64_encode(const std::uint8_t* data, std::size_t size, char* out) noexcept {
  return static_cast<std::size_t>(EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out), data, static_cast<int>(size)));
}

bool base64_decode_exact(std::string_view text, std::uint8_t* out, std::size_t size) noexcept {
  std::size_t decoded = 0;
  bool good = text.size() == base64_length(size);
  if (good) {
    const std::size_t padding = (3 - size % 3) % 3;
    for (std::size_t i = 0; i < padding; ++i) good = good && text[text.size() - 1 - i] == '=';
    text.remove_suffix(padding);
    good = good && decode(text, '+', '/', out, size, decoded) && decoded == size;
  }
  if (!good) OPENSSL_cleanse(out, size);
  return good;
}

std::size_t base64url_encode(const std::uint8_t* data, std::size_t size, char* out) noexcept {
  std::size_t length = base64_encode(data, size, out);
  while (length > 0 && out[length - 1] == '=') out[--length] = '\0';
  for (std::size_t i = 0; i < length; ++i) {
    if (out[i] == '+') out[i] = '-';
    if (out[i] == '/') out[i] = '_';
  }
  return length;
}

bool base64url_decode(std::string_view text, std::uint8_t* out, std::size_t capacity, std::size_t& size) noexcept {
  return decode(text, '-', '_', out, capacity, size);
}

}  // namespace byoc
