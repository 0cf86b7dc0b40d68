#include "envelope.h"

#include <openssl/crypto.h>
#include <openssl/rand.h>

#include <cstring>
#include <new>

namespace byoc {
namespace {

constexpr std::uint8_t format_version = 1;

const unsigned char* bytes_of(std::string_view text) noexcept {
  return reinterpret_cast<const unsigned char*>(text.data());
}

}  // namespace

bool NonceSource::next(int current_process_id, std::uint8_t* nonce) noexcept {
  if (process_id != current_process_id || used == sizeof block) {
    if (RAND_bytes(block, sizeof block) != 1) return false;
    process_id = current_process_id;
    used = 0;
  }
  std::memcpy(nonce, block + used, nonce_size);
  used += nonce_size;
  return true;
}

AeadKey* AeadKey::create(const std::uint8_t (&key)[envelope_key_size]) noexcept {
  auto* aead = new (std::nothrow) AeadKey();
  if (aead == nullptr) return nullptr;
  aead->sealing_ = EVP_CIPHER_CTX_new();
  aead->opening_ = EVP_CIPHER_CTX_new();
  const bool good = aead->sealing_ != nullptr && aead->opening_ != nullptr &&
                    EVP_EncryptInit_ex(aead->sealing_, EVP_aes_256_gcm(), nullptr, key, nullptr) == 1 &&
                    EVP_DecryptInit_ex(aead->opening_, EVP_aes_256_gcm(), nullptr, key, nullptr) == 1;
  if (good) return aead;
  destroy(aead);
  return nullptr;
}

void AeadKey::destroy(AeadKey* key) noexcept {
  delete key;
}

AeadKey::~AeadKey() {
  EVP_CIPHER_CTX_free(sealing_);  // wipes the key schedule
  EVP_CIPHER_CTX_free(opening_);
}

// Associated data: header | organization | size of place (8, big endian) | place | context. Only the last part has no
// length, so no two bindings give the same bytes.
bool AeadKey::authenticate(EVP_CIPHER_CTX* context, std::string_view header, const Binding& binding) noexcept {
  std::uint8_t fixed[2 + envelope_key_id_limit + organization_id_size + 8];
  std::uint8_t* end = fixed;
  std::memcpy(end, header.data(), header.size());
  end += header.size();
  std::memcpy(end, binding.organization, organization_id_size);
  end += organization_id_size;
  for (int shift = 56; shift >= 0; shift -= 8) *end++ = static_cast<std::uint8_t>(binding.place.size() >> shift);
  int written = 0;
  const auto add = [&](const unsigned char* data, std::size_t size) {
    return size == 0 || EVP_CipherUpdate(context, nullptr, &written, data, static_cast<int>(size)) == 1;
  };
  return add(fixed, static_cast<std::size_t>(end - fixed)) && add(bytes_of(binding.place), binding.place.size()) &&
         add(bytes_of(binding.context), binding.context.size());
}

EnvelopeError AeadKey::seal(std::string_view key_id, const Binding& binding, const std::uint8_t* nonce,
                            std::string_view plaintext, std::uint8_t* out) noexcept {
  if (key_id.empty() || key_id.size() > envelope_key_id_limit) return EnvelopeError::malformed;
  out[0] = format_version;
  out[1] = static_cast<std::uint8_t>(key_id.size());
  std::memcpy(out + 2, key_id.data(), key_id.size());
  const std::string_view header(reinterpret_cast<const char*>(out), 2 + key_id.size());
  std::memcpy(out + header.size(), nonce, nonce_size);
  std::uint8_t* ciphertext = out + header.size() + nonce_size;
  std::uint8_t* tag = ciphertext + plaintext.size();
  int written = 0;
  const bool good = EVP_EncryptInit_ex(sealing_, nullptr, nullptr, nullptr, nonce) == 1 &&
                    authenticate(sealing_, header, binding) &&
                    (plaintext.empty() || EVP_EncryptUpdate(sealing_, ciphertext, &written, bytes_of(plaintext),
                                                            static_cast<int>(plaintext.size())) == 1) &&
                    EVP_EncryptFinal_ex(sealing_, tag, &written) == 1 &&
                    EVP_CIPHER_CTX_ctrl(sealing_, EVP_CTRL_AEAD_GET_TAG, static_cast<int>(tag_size), tag) == 1;
  return good ? EnvelopeError::none : EnvelopeError::failed;
}

EnvelopeError AeadKey::open(std::string_view envelope, const Binding& binding, std::uint8_t* out) noexcept {
  std::string_view key_id;
  std::size_t plaintext_size = 0;
  if (const auto error = read_header(envelope, key_id, plaintext_size); error != EnvelopeError::none) return error;
  const auto header = envelope.substr(0, 2 + key_id.size());
  const auto* nonce = bytes_of(envelope) + header.size();
  const auto* ciphertext = nonce + nonce_size;
  std::uint8_t tag[tag_size];
  std::memcpy(tag, ciphertext + plaintext_size, tag_size);
  int written = 0;
  const bool ready = EVP_DecryptInit_ex(opening_, nullptr, nullptr, nullptr, nonce) == 1 &&
                     authenticate(opening_, header, binding) &&
                     (plaintext_size == 0 ||
                      EVP_DecryptUpdate(opening_, out, &written, ciphertext, static_cast<int>(plaintext_size)) == 1) &&
                     EVP_CIPHER_CTX_ctrl(opening_, EVP_CTRL_AEAD_SET_TAG, static_cast<int>(tag_size), tag) == 1;
  if (ready && EVP_DecryptFinal_ex(opening_, out + plaintext_size, &written) == 1) return EnvelopeError::none;
  OPENSSL_cleanse(out, plaintext_size);
  return ready ? EnvelopeError::not_authentic : EnvelopeError::failed;
}

EnvelopeError read_header(std::string_view envelope, std::string_view& key_id, std::size_t& plaintext_size) noexcept {
  if (envelope.size() < 2) return EnvelopeError::malformed;
  if (static_cast<std::uint8_t>(envelope[0]) != format_version) return EnvelopeError::unknown_version;
  const auto key_id_size = static_cast<std::size_t>(static_cast<std::uint8_t>(envelope[1]));
  if (key_id_size == 0 || key_id_size > envelope_key_id_limit) return EnvelopeError::malformed;
  if (envelope.size() < envelope_size(key_id_size, 0)) return EnvelopeError::malformed;
  key_id = envelope.substr(2, key_id_size);
  plaintext_size = envelope.size() - envelope_size(key_id_size, 0);
  return EnvelopeError::none;
}

}  // namespace byoc
