#include "audit_mac.h"

#include "keyring.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/params.h>

#include <new>

namespace byoc {
namespace {

constexpr std::string_view key_purpose = "pg_byoc audit 1";
constexpr std::uint32_t null_length = 0xFFFFFFFF;

bool add_length(EVP_MAC_CTX* context, std::uint32_t length) {
  const unsigned char bytes[4] = {static_cast<unsigned char>(length >> 24), static_cast<unsigned char>(length >> 16),
                                  static_cast<unsigned char>(length >> 8), static_cast<unsigned char>(length)};
  return EVP_MAC_update(context, bytes, sizeof bytes) == 1;
}

bool add(EVP_MAC_CTX* context, const AuditField& field) {
  if (field.null) return add_length(context, null_length);
  if (field.value.size() >= null_length) return false;
  return add_length(context, static_cast<std::uint32_t>(field.value.size())) &&
         EVP_MAC_update(context, reinterpret_cast<const unsigned char*>(field.value.data()), field.value.size()) == 1;
}

EVP_MAC_CTX* make_context(const std::uint8_t* key) {
  EVP_MAC* algorithm = EVP_MAC_fetch(nullptr, "HMAC", nullptr);
  EVP_MAC_CTX* context = algorithm == nullptr ? nullptr : EVP_MAC_CTX_new(algorithm);
  EVP_MAC_free(algorithm);
  char digest[] = "SHA256";
  const OSSL_PARAM parameters[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
                                   OSSL_PARAM_construct_end()};
  if (context != nullptr && EVP_MAC_init(context, key, audit_key_size, parameters) == 1) return context;
  EVP_MAC_CTX_free(context);
  return nullptr;
}

}  // namespace

AuditKey* AuditKey::create(const std::uint8_t (&data_key)[audit_key_size]) noexcept {
  std::uint8_t subkey[audit_mac_size];
  if (!derive_subkey(data_key, key_purpose, subkey)) return nullptr;
  auto* key = new (std::nothrow) AuditKey;
  if (key != nullptr && (key->context_ = make_context(subkey)) == nullptr) {
    delete key;
    key = nullptr;
  }
  OPENSSL_cleanse(subkey, sizeof subkey);
  return key;
}

void AuditKey::destroy(AuditKey* key) noexcept {
  delete key;
}

AuditKey::~AuditKey() {
  EVP_MAC_CTX_free(context_);
}

bool AuditKey::mac(std::string_view purpose, const AuditField* fields, std::size_t count, std::uint8_t* out) noexcept {
  // Without a key: begins a new message with the one before.
  bool good = EVP_MAC_init(context_, nullptr, 0, nullptr) == 1 && add(context_, {purpose});
  for (std::size_t i = 0; good && i < count; ++i) good = add(context_, fields[i]);
  std::size_t size = 0;
  return good && EVP_MAC_final(context_, out, &size, audit_mac_size) == 1 && size == audit_mac_size;
}

bool AuditKey::verify(std::string_view purpose, const AuditField* fields, std::size_t count,
                      std::string_view expected) noexcept {
  std::uint8_t found[audit_mac_size];
  return expected.size() == sizeof found && mac(purpose, fields, count, found) &&
         CRYPTO_memcmp(found, expected.data(), sizeof found) == 0;
}

}  // namespace byoc
