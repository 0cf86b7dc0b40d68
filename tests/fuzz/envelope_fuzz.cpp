// Envelopes from anywhere: opening one must never read past it, and must fail unless this key sealed it.
#include "crypto/envelope.h"

#include <cstdlib>
#include <string>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace byoc;
  static const std::uint8_t key[envelope_key_size] = {1};
  static const std::uint8_t organization[organization_id_size] = {2};
  static AeadKey* aead = AeadKey::create(key);
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const Binding binding = {organization, "fuzz", "context"};

  std::string_view id;
  std::size_t plaintext_size = 0;
  if (read_header(input, id, plaintext_size) == EnvelopeError::none) {
    std::string plaintext(plaintext_size, '\0');
    // Whatever the fuzzer made up was not sealed with this key.
    if (aead->open(input, binding, reinterpret_cast<std::uint8_t*>(plaintext.data())) == EnvelopeError::none)
      std::abort();
  }

  // What is sealed opens to the same bytes.
  const std::uint8_t nonce[nonce_size] = {3};
  std::string envelope(envelope_size(4, size), '\0');
  std::string plaintext(size, '\0');
  if (aead->seal("key1", binding, nonce, input, reinterpret_cast<std::uint8_t*>(envelope.data())) !=
          EnvelopeError::none ||
      aead->open(envelope, binding, reinterpret_cast<std::uint8_t*>(plaintext.data())) != EnvelopeError::none ||
      plaintext != input) {
    std::abort();
  }
  return 0;
}
