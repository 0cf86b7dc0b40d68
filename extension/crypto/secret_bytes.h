// Fixed-size buffers for keys and other secrets, wiped when they go out of scope.
#pragma once

#include <openssl/crypto.h>

#include <cstddef>
#include <cstdint>

namespace byoc {

// N bytes of secret. Not copyable, so that a secret has one place; cleansed on destruction (OPENSSL_cleanse is
// not optimised away).
template <std::size_t N>
struct SecretBytes {
  std::uint8_t bytes[N] = {};

  SecretBytes() noexcept = default;
  SecretBytes(const SecretBytes&) = delete;
  SecretBytes& operator=(const SecretBytes&) = delete;
  ~SecretBytes() { OPENSSL_cleanse(bytes, N); }

  static constexpr std::size_t size() noexcept { return N; }
};

}  // namespace byoc
