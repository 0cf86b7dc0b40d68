#include "envelope.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/params.h>
#include <openssl/rand.h>

#include <cstring>
#include <new>

namespace byoc {
namespace {

constexpr std::uint8_t format_version = 1;

const unsigned char* bytes_of(std::string_view text) noexcept {
  return reinterpret_cast<const unsigned char*>(text.data());
}

// Associated data: header | organization | size of place (8, big endian) | place | context. Only the last part has no
// length, so no two bindings give the same bytes. Each part costs OpenSSL a call, so what is short becomes one.
class AssociatedData {
 public:
  AssociatedData(std::string_view header, const Binding& binding) noexcept {
    append(header);
    append({reinterpret_cast<const char*>(binding.organization), organization_id_size});
    for (int shift = 56; shift >= 0; shift -= 8) bytes_[size_++] = static_cast<char>(binding.place.size() >> shift);
    if (binding.place.size() + binding.context.size() <= short_size) {
      append(binding.place);
      append(binding.context);
    } else {
      parts_ = {"", binding.place, binding.context};
    }
    parts_[0] = {bytes_, size_};
  }
  AssociatedData(const AssociatedData&) = delete;
  AssociatedData& operator=(const AssociatedData&) = delete;

  const AssociatedParts& parts() const noexcept { return parts_; }

 private:
  static constexpr std::size_t short_size = 128;

  void append(std::string_view part) noexcept { size_ += part.copy(bytes_ + size_, part.size()); }

  char bytes_[2 + envelope_key_id_limit + organization_id_size + 8 + short_size];
  std::size_t size_ = 0;
  AssociatedParts parts_;
};

// The tag as OpenSSL's parameter: cheaper than EVP_CIPHER_CTX_ctrl, which makes one, too.
struct TagParameter {
  explicit TagParameter(std::uint8_t* tag) noexcept
      : list{OSSL_PARAM_construct_octet_string(OSSL_CIPHER_PARAM_AEAD_TAG, tag, tag_size), OSSL_PARAM_construct_end()} {
  }
  OSSL_PARAM list[2];
};

bool authenticate(EVP_CIPHER_CTX* context, const AssociatedParts& associated) noexcept {
  int written = 0;
  for (const std::string_view part : associated) {
    if (part.empty()) continue;
    if (EVP_CipherUpdate(context, nullptr, &written, bytes_of(part), static_cast<int>(part.size())) != 1) return false;
  }
  return true;
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

bool AeadKey::encrypt(const std::uint8_t* nonce, const AssociatedParts& associated, std::string_view plaintext,
                      std::uint8_t* ciphertext, std::uint8_t* tag) noexcept {
  TagParameter wanted(tag);
  int written = 0;
  return EVP_EncryptInit_ex2(sealing_, nullptr, nullptr, nonce, nullptr) == 1 && authenticate(sealing_, associated) &&
         (plaintext.empty() || EVP_EncryptUpdate(sealing_, ciphertext, &written, bytes_of(plaintext),
                                                 static_cast<int>(plaintext.size())) == 1) &&
         EVP_EncryptFinal_ex(sealing_, tag, &written) == 1 && EVP_CIPHER_CTX_get_params(sealing_, wanted.list) == 1;
}

EnvelopeError AeadKey::decrypt(const std::uint8_t* nonce, const AssociatedParts& associated,
                               std::string_view ciphertext, const std::uint8_t* tag, std::uint8_t* plaintext) noexcept {
  std::uint8_t copy[tag_size];  // the parameter wants it writable
  std::memcpy(copy, tag, tag_size);
  const TagParameter expected(copy);
  int written = 0;
  const bool ready = EVP_DecryptInit_ex2(opening_, nullptr, nullptr, nonce, expected.list) == 1 &&
                     authenticate(opening_, associated) &&
                     (ciphertext.empty() || EVP_DecryptUpdate(opening_, plaintext, &written, bytes_of(ciphertext),
                                                              static_cast<int>(ciphertext.size())) == 1);
  if (ready && EVP_DecryptFinal_ex(opening_, plaintext + ciphertext.size(), &written) == 1) return EnvelopeError::none;
  OPENSSL_cleanse(plaintext, ciphertext.size());
  return ready ? EnvelopeError::not_authentic : EnvelopeError::failed;
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
  const AssociatedData associated(header, binding);
  return encrypt(nonce, associated.parts(), plaintext, ciphertext, ciphertext + plaintext.size())
             ? EnvelopeError::none
             : EnvelopeError::failed;
}

EnvelopeError AeadKey::open(std::string_view envelope, const Binding& binding, std::uint8_t* out) noexcept {
  std::string_view key_id;
  std::size_t plaintext_size = 0;
  if (const auto error = read_header(envelope, key_id, plaintext_size); error != EnvelopeError::none) return error;
  const auto header = envelope.substr(0, 2 + key_id.size());
  const auto* nonce = bytes_of(envelope) + header.size();
  const auto ciphertext = envelope.substr(header.size() + nonce_size, plaintext_size);
  const AssociatedData associated(header, binding);
  return decrypt(nonce, associated.parts(), ciphertext, bytes_of(ciphertext) + ciphertext.size(), out);
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
