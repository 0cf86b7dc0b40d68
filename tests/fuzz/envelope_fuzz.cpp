// Envelopes from anywhere: opening one must never read past it, and must fail unless this key sealed it. Places and
// contexts from anywhere: an envelope opens in its own place only.
#include "crypto/envelope.h"

#include <cstdint>
#include <cstdlib>
#include <string>

namespace {

using namespace byoc;

const std::uint8_t organization[organization_id_size] = {2};

AeadKey& key() {
  static const std::uint8_t bytes[envelope_key_size] = {1};
  static AeadKey* const aead = AeadKey::create(bytes);
  return *aead;
}

bool opens(std::string_view envelope, const Binding& binding, std::string& plaintext) {
  std::string_view id;
  std::size_t size = 0;
  if (read_header(envelope, id, size) != EnvelopeError::none) return false;
  plaintext.assign(size, '\0');
  return key().open(envelope, binding, reinterpret_cast<std::uint8_t*>(plaintext.data())) == EnvelopeError::none;
}

std::string sealed(std::string_view plaintext, const Binding& binding) {
  const std::uint8_t nonce[nonce_size] = {3};
  std::string envelope(envelope_size(4, plaintext.size()), '\0');
  if (key().seal("key1", binding, nonce, plaintext, reinterpret_cast<std::uint8_t*>(envelope.data())) !=
      EnvelopeError::none) {
    std::abort();
  }
  return envelope;
}

void expect(bool holds) {
  if (!holds) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const Binding binding = {organization, "fuzz", "context"};
  std::string plaintext;
  expect(!opens(input, binding, plaintext));  // whatever the fuzzer made up was not sealed with this key
  expect(opens(sealed(input, binding), binding, plaintext) && plaintext == input);

  const std::size_t half = size / 2;
  const Binding split = {organization, input.substr(0, half), input.substr(half)};
  const std::string envelope = sealed("secret", split);
  expect(opens(envelope, split, plaintext) && plaintext == "secret");
  if (size > 0) {
    expect(!opens(envelope, {organization, input, ""}, plaintext));
    expect(!opens(envelope, {organization, split.place, split.context.substr(1)}, plaintext));
  }
  return 0;
}
