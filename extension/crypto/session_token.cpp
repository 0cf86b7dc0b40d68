#include "session_token.h"

#include "base64.h"

#include <openssl/crypto.h>
#include <openssl/hmac.h>

#include <cstring>

namespace byoc {
namespace {

constexpr std::string_view prefix = "byoc1.";
constexpr std::string_view session_purpose = "pg_byoc session token 1";
constexpr std::size_t session_mac_size = 32;
constexpr std::size_t encoded_mac_size = 43;  // base64url of 32 bytes

// Payload: key id size, key id, organization (16), expiry (8), signer (8), process (4), role (1), user id size (1),
// user id.
constexpr std::size_t payload_capacity = 1 + key_id_capacity + 16 + 8 + 8 + 4 + 1 + 1 + user_id_capacity;

void put_integer(std::uint8_t*& end, std::uint64_t value, int size) noexcept {
  for (int shift = (size - 1) * 8; shift >= 0; shift -= 8) *end++ = static_cast<std::uint8_t>(value >> shift);
}

std::uint64_t take_integer(const std::uint8_t*& at, int size) noexcept {
  std::uint64_t value = 0;
  for (int i = 0; i < size; ++i) value = value << 8 | *at++;
  return value;
}

bool sign(const MasterKey& key, std::string_view text, std::uint8_t (&mac)[session_mac_size]) noexcept {
  std::uint8_t subkey[32];
  unsigned int size = 0;
  const bool good = derive_subkey(key.bytes, session_purpose, subkey) &&
                    HMAC(EVP_sha256(), subkey, sizeof subkey, reinterpret_cast<const unsigned char*>(text.data()),
                         text.size(), mac, &size) != nullptr;
  OPENSSL_cleanse(subkey, sizeof subkey);
  return good;
}

}  // namespace

bool is_session_token(std::string_view token) noexcept {
  return token.substr(0, prefix.size()) == prefix;
}

TokenError mint_session_token(const Keyring& ring, const TenantContext& context,
                              char (&out)[session_token_capacity]) noexcept {
  const MasterKey* key = ring.active();
  if (key == nullptr) return TokenError::unknown_key;
  std::uint8_t payload[payload_capacity];
  std::uint8_t* end = payload;
  const std::size_t id_size = std::strlen(key->id);
  put_integer(end, id_size, 1);
  std::memcpy(end, key->id, id_size);
  end += id_size;
  std::memcpy(end, context.organization, 16);
  end += 16;
  put_integer(end, static_cast<std::uint64_t>(context.expires_at), 8);
  put_integer(end, context.signer, 8);
  put_integer(end, static_cast<std::uint32_t>(context.process_id), 4);
  put_integer(end, static_cast<std::uint8_t>(context.role), 1);
  put_integer(end, context.user_id_size, 1);
  std::memcpy(end, context.user_id, context.user_id_size);
  end += context.user_id_size;

  std::memcpy(out, prefix.data(), prefix.size());
  std::size_t length = prefix.size();
  length += base64url_encode(payload, static_cast<std::size_t>(end - payload), out + length);
  std::uint8_t mac[session_mac_size];
  if (!sign(*key, {out, length}, mac)) return TokenError::failed;
  out[length++] = '.';
  base64url_encode(mac, session_mac_size, out + length);
  return TokenError::none;
}

TokenError read_session_token(const Keyring& ring, std::string_view token, TenantContext& context) noexcept {
  if (!is_session_token(token) || token.size() < prefix.size() + 1 + encoded_mac_size) return TokenError::malformed;
  const auto signed_part = token.substr(0, token.size() - encoded_mac_size - 1);
  if (token[signed_part.size()] != '.') return TokenError::malformed;
  std::uint8_t payload[payload_capacity];
  std::size_t size = 0;
  if (!base64url_decode(signed_part.substr(prefix.size()), payload, sizeof payload, size)) return TokenError::malformed;
  std::uint8_t mac[session_mac_size];
  std::size_t claimed_size = 0;
  if (!base64url_decode(token.substr(signed_part.size() + 1), mac, session_mac_size, claimed_size) ||
      claimed_size != session_mac_size) {
    return TokenError::malformed;
  }

  const std::uint8_t* at = payload;
  const std::uint8_t* end = payload + size;
  if (at == end || *at == 0 || *at > key_id_capacity || end - at < 1 + *at + 16 + 8 + 8 + 4 + 1 + 1) {
    return TokenError::malformed;
  }
  const std::size_t id_size = *at++;
  const MasterKey* key = ring.find({reinterpret_cast<const char*>(at), id_size});
  if (key == nullptr) return TokenError::unknown_key;
  std::uint8_t expected[session_mac_size];
  if (!sign(*key, signed_part, expected)) return TokenError::failed;
  if (CRYPTO_memcmp(mac, expected, session_mac_size) != 0) return TokenError::bad_signature;

  at += id_size;
  std::memcpy(context.organization, at, 16);
  at += 16;
  context.expires_at = static_cast<std::int64_t>(take_integer(at, 8));
  context.signer = take_integer(at, 8);
  context.process_id = static_cast<std::int32_t>(take_integer(at, 4));
  context.role = static_cast<OrganizationRole>(take_integer(at, 1));
  context.user_id_size = static_cast<std::uint8_t>(take_integer(at, 1));
  if (end - at != context.user_id_size || context.role > OrganizationRole::owner) return TokenError::malformed;
  std::memcpy(context.user_id, at, context.user_id_size);
  context.user_id[context.user_id_size] = '\0';
  return TokenError::none;
}

}  // namespace byoc
