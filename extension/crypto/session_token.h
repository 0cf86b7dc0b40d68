// The token that byoc.set_org mints, and that stands in for a verified JWT: a tenant context that only this server can
// make and only one backend can use.
//
//     byoc1.<base64url payload>.<base64url HMAC-SHA256>
//
// The MAC's key is derived from a master key of the ring, so that a token can be verified by every backend and forged
// by none of its clients. The token never leaves the server: it is bound to one backend and expires.
#pragma once

#include "keyring.h"

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace byoc {

constexpr std::size_t user_id_capacity = 255;  // bytes
constexpr std::size_t session_token_capacity = 600;

enum class OrganizationRole : std::uint8_t { member = 0, admin = 1, owner = 2 };

// Plain data: it is stored as a setting's parsed value.
struct TenantContext {
  std::uint8_t organization[16];
  std::int64_t expires_at;  // microseconds since 2000-01-01 UTC, PostgreSQL's own epoch
  std::uint64_t signer;     // fingerprint of the JWK that proved it; 0 when byoc.set_org did
  std::int32_t process_id;  // backend that the token is bound to; 0 when it is bound to none
  OrganizationRole role;
  std::uint8_t user_id_size;
  char user_id[user_id_capacity + 1];  // zero-terminated
};

enum class TokenError { none, malformed, unknown_key, bad_signature, failed };

// Writes a zero-terminated token signed with the ring's active key.
TokenError mint_session_token(const Keyring& ring, const TenantContext& context,
                              char (&out)[session_token_capacity]) noexcept;

// Checks form and signature and fills `context`; expiry and backend are the caller's to check.
TokenError read_session_token(const Keyring& ring, std::string_view token, TenantContext& context) noexcept;

// True when the text claims to be such a token (and not, say, a JWT).
bool is_session_token(std::string_view token) noexcept;

}  // namespace byoc
