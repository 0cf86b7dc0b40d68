// The keys that JSON Web Tokens are verified with: a JWK Set (RFC 7517, section 5).
//
// Each key gets exactly one algorithm: its "alg", or what its type implies (oct: HS256, RSA: RS256, EC P-256: ES256).
// Keys that cannot verify with one of the four algorithms (another "use", type, curve or "alg") are skipped, as RFC
// 7517 asks, since providers publish such keys beside the ones meant. What looks like a mistake of the operator is an
// error instead: a weak key, a private key, two keys of one id.
#pragma once

#include <cjose/jwk.h>

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace byoc {

constexpr std::size_t jwks_capacity = 64;            // keys
constexpr std::size_t jwk_id_capacity = 255;         // bytes
constexpr std::size_t jwks_file_limit = 256 * 1024;  // bytes; a larger file is not a key set
constexpr std::size_t least_secret_size = 32;        // bytes of an HS256 key: RFC 7518, section 3.2
constexpr std::size_t least_rsa_bits = 2048;         // RFC 7518, section 3.3
constexpr std::size_t most_rsa_bits = 8192;

enum class JwtAlgorithm : std::uint8_t { hs256, rs256, ps256, es256 };

// "HS256" and so on, as in the header member "alg".
const char* name_of(JwtAlgorithm algorithm) noexcept;

struct VerificationKey {
  char id[jwk_id_capacity + 1];  // zero-terminated; empty when the key has none
  JwtAlgorithm algorithm;
  std::size_t signature_size;  // bytes
  std::uint64_t fingerprint;   // of the key's bytes, never 0: tells whether a key is still there after a reload
  cjose_jwk_t* key;            // owned
};

// Plain data, so that code that PostgreSQL's errors jump out of can hold it; release() frees it.
struct Jwks {
  std::uint32_t count;
  VerificationKey keys[jwks_capacity];

  // The key of this id. An empty id means the only key of a set that has just one. Null when there is none.
  const VerificationKey* find(std::string_view id) const noexcept;
  bool has(std::uint64_t fingerprint) const noexcept;
  // True when somebody who reads the set could sign tokens.
  bool holds_secret() const noexcept;
};

enum class JwksError {
  none,
  too_large,      // over jwks_file_limit
  malformed,      // not a JSON object with an array "keys", or a member twice
  too_many_keys,  // over jwks_capacity
  malformed_key,  // a member that is missing, of the wrong type or not base64url
  private_key,    // the private half of a key pair has no business here
  weak_key,       // below least_secret_size, least_rsa_bits, or an RSA exponent that is even or below 3
  wrong_type,     // "alg" does not go with "kty"
  missing_id,     // no "kid", while there are several keys
  duplicate_id,
  no_key,  // none that can verify
  failed,  // out of memory
};

struct JwksProblem {
  JwksError error = JwksError::none;
  int key = 0;  // position in "keys", from 1; 0 when the problem is not one of a key
};

// Parses a key set into `set`, which must be zero or released. On a problem `set` is left empty.
JwksProblem parse_jwks(std::string_view text, Jwks& set) noexcept;

// Frees the keys and empties the set.
void release(Jwks& set) noexcept;

// What is wrong and what to do, for people: "an RSA key has less than 2048 bits ...".
const char* describe(JwksError error) noexcept;

}  // namespace byoc
