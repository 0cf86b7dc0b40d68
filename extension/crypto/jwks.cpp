#include "jwks.h"

#include "base64.h"
#include "json.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>

namespace byoc {
namespace {

constexpr std::size_t coordinate_size = 32;  // of P-256
constexpr std::size_t most_secret_size = 1024;
constexpr std::size_t most_exponent_size = 8;

enum class Usable { yes, skip, wrong };

// The bytes of a member that is base64url, wiped at the end.
template <std::size_t capacity>
struct Bytes {
  std::uint8_t data[capacity];
  std::size_t size = 0;
  ~Bytes() { OPENSSL_cleanse(data, sizeof data); }

  bool read(const json_t* key, const char* name) noexcept {
    bool present = false;
    const std::string_view text = json_text(key, name, present);
    return !text.empty() && base64url_decode(text, data, sizeof data, size) && size > 0;
  }
};

struct DigestRelease {
  void operator()(EVP_MD_CTX* digest) const noexcept { EVP_MD_CTX_free(digest); }
};

// The first 8 bytes of SHA-256 over algorithm and key; 0 when OpenSSL fails.
std::uint64_t fingerprint_of(JwtAlgorithm algorithm, const std::uint8_t* first, std::size_t first_size,
                             const std::uint8_t* second, std::size_t second_size) noexcept {
  const std::unique_ptr<EVP_MD_CTX, DigestRelease> hash(EVP_MD_CTX_new());
  std::uint8_t digest[EVP_MAX_MD_SIZE];
  if (hash == nullptr || EVP_DigestInit_ex(hash.get(), EVP_sha256(), nullptr) != 1 ||
      EVP_DigestUpdate(hash.get(), &algorithm, sizeof algorithm) != 1 ||
      EVP_DigestUpdate(hash.get(), first, first_size) != 1 || EVP_DigestUpdate(hash.get(), second, second_size) != 1 ||
      EVP_DigestFinal_ex(hash.get(), digest, nullptr) != 1) {
    return 0;
  }
  std::uint64_t value;
  std::memcpy(&value, digest, sizeof value);
  return value == 0 ? 1 : value;
}

JwksError read_secret(const json_t* json, VerificationKey& out) noexcept {
  Bytes<most_secret_size> secret;
  if (!secret.read(json, "k")) return JwksError::malformed_key;
  if (secret.size < least_secret_size) return JwksError::weak_key;
  out.signature_size = 32;
  out.fingerprint = fingerprint_of(out.algorithm, secret.data, secret.size, nullptr, 0);
  out.key = cjose_jwk_create_oct_spec(secret.data, secret.size, nullptr);
  return out.key == nullptr ? JwksError::failed : JwksError::none;
}

JwksError read_rsa(const json_t* json, VerificationKey& out) noexcept {
  Bytes<most_rsa_bits / 8> modulus;
  Bytes<most_exponent_size> exponent;
  if (!modulus.read(json, "n") || !exponent.read(json, "e")) return JwksError::malformed_key;
  // Base64urlUInt has no leading zeros (RFC 7518, section 2); with them a short modulus would look long.
  if (modulus.data[0] == 0 || exponent.data[0] == 0) return JwksError::malformed_key;
  std::size_t bits = modulus.size * 8;
  for (unsigned top = modulus.data[0]; top < 0x80; top <<= 1) --bits;
  const std::uint8_t lowest = exponent.data[exponent.size - 1];
  if (bits < least_rsa_bits || lowest % 2 == 0 || (exponent.size == 1 && lowest < 3)) return JwksError::weak_key;
  cjose_jwk_rsa_keyspec spec = {};
  spec.n = modulus.data;
  spec.nlen = modulus.size;
  spec.e = exponent.data;
  spec.elen = exponent.size;
  out.signature_size = modulus.size;
  out.fingerprint = fingerprint_of(out.algorithm, modulus.data, modulus.size, exponent.data, exponent.size);
  out.key = cjose_jwk_create_RSA_spec(&spec, nullptr);
  return out.key == nullptr ? JwksError::malformed_key : JwksError::none;
}

JwksError read_p256(const json_t* json, VerificationKey& out) noexcept {
  Bytes<coordinate_size> x;
  Bytes<coordinate_size> y;
  if (!x.read(json, "x") || !y.read(json, "y") || x.size != coordinate_size || y.size != coordinate_size) {
    return JwksError::malformed_key;
  }
  cjose_jwk_ec_keyspec spec = {};
  spec.crv = CJOSE_JWK_EC_P_256;
  spec.x = x.data;
  spec.xlen = x.size;
  spec.y = y.data;
  spec.ylen = y.size;
  out.signature_size = 2 * coordinate_size;
  out.fingerprint = fingerprint_of(out.algorithm, x.data, x.size, y.data, y.size);
  out.key = cjose_jwk_create_EC_spec(&spec, nullptr);  // refuses a point that is not on the curve
  return out.key == nullptr ? JwksError::malformed_key : JwksError::none;
}

// Whether the key is for verifying signatures (RFC 7517, sections 4.2 and 4.3).
Usable is_for_verifying(const json_t* json) noexcept {
  if (const json_t* use = json_object_get(json, "use"); use != nullptr) {
    if (!json_is_string(use)) return Usable::wrong;
    if (std::strcmp(json_string_value(use), "sig") != 0) return Usable::skip;
  }
  const json_t* operations = json_object_get(json, "key_ops");
  if (operations == nullptr) return Usable::yes;
  if (!json_is_array(operations)) return Usable::wrong;
  for (std::size_t i = 0; i < json_array_size(operations); ++i) {
    const json_t* operation = json_array_get(operations, i);
    if (json_is_string(operation) && std::strcmp(json_string_value(operation), "verify") == 0) return Usable::yes;
  }
  return Usable::skip;
}

// Picks the key's one algorithm.
Usable choose_algorithm(std::string_view type, const json_t* json, JwtAlgorithm& algorithm, JwksError& error) noexcept {
  error = JwksError::malformed_key;
  bool present = false;
  if (type == "oct") {
    algorithm = JwtAlgorithm::hs256;
  } else if (type == "RSA") {
    algorithm = JwtAlgorithm::rs256;
  } else if (type == "EC") {
    if (json_text(json, "crv", present) != "P-256") return present ? Usable::skip : Usable::wrong;
    algorithm = JwtAlgorithm::es256;
  } else {
    return Usable::skip;
  }
  const std::string_view stated = json_text(json, "alg", present);
  if (!present || stated == name_of(algorithm)) return Usable::yes;
  if (stated.empty()) return Usable::wrong;
  if (type == "RSA" && stated == name_of(JwtAlgorithm::ps256)) {
    algorithm = JwtAlgorithm::ps256;
    return Usable::yes;
  }
  for (const auto other : {JwtAlgorithm::hs256, JwtAlgorithm::rs256, JwtAlgorithm::ps256, JwtAlgorithm::es256}) {
    if (stated != name_of(other)) continue;
    error = JwksError::wrong_type;
    return Usable::wrong;
  }
  return Usable::skip;
}

// Reads one member of "keys" into `out`. `out.key` stays null when the key is to be skipped.
JwksError read_key(const json_t* json, VerificationKey& out) noexcept {
  if (!json_is_object(json)) return JwksError::malformed_key;
  bool present = false;
  const std::string_view type = json_text(json, "kty", present);
  if (type.empty()) return JwksError::malformed_key;
  if (type != "oct" && json_object_get(json, "d") != nullptr) return JwksError::private_key;
  if (const Usable usable = is_for_verifying(json); usable != Usable::yes) {
    return usable == Usable::skip ? JwksError::none : JwksError::malformed_key;
  }
  JwksError error;
  if (const Usable usable = choose_algorithm(type, json, out.algorithm, error); usable != Usable::yes) {
    return usable == Usable::skip ? JwksError::none : error;
  }
  const std::string_view id = json_text(json, "kid", present);
  if ((present && id.empty()) || id.size() > jwk_id_capacity) return JwksError::malformed_key;
  out.id[id.copy(out.id, jwk_id_capacity)] = '\0';
  switch (out.algorithm) {
    case JwtAlgorithm::hs256:
      return read_secret(json, out);
    case JwtAlgorithm::es256:
      return read_p256(json, out);
    case JwtAlgorithm::rs256:
    case JwtAlgorithm::ps256:
      break;
  }
  return read_rsa(json, out);
}

JwksProblem read_keys(const json_t* keys, Jwks& set) noexcept {
  int position = 0;
  int without_id = 0;
  for (std::size_t i = 0; i < json_array_size(keys); ++i) {
    ++position;
    if (set.count == jwks_capacity) return {JwksError::too_many_keys, position};
    VerificationKey& key = set.keys[set.count];
    key = {};
    if (const JwksError error = read_key(json_array_get(keys, i), key); error != JwksError::none) {
      return {error, position};
    }
    if (key.key == nullptr) continue;
    if (key.fingerprint == 0) {
      cjose_jwk_release(key.key);
      return {JwksError::failed, position};
    }
    for (std::uint32_t other = 0; other < set.count; ++other) {
      if (key.id[0] == '\0' || std::strcmp(key.id, set.keys[other].id) != 0) continue;
      cjose_jwk_release(key.key);
      return {JwksError::duplicate_id, position};
    }
    if (key.id[0] == '\0' && without_id == 0) without_id = position;
    ++set.count;
  }
  if (set.count == 0) return {JwksError::no_key, 0};
  if (set.count > 1 && without_id != 0) return {JwksError::missing_id, without_id};
  return {};
}

}  // namespace

const char* name_of(JwtAlgorithm algorithm) noexcept {
  switch (algorithm) {
    case JwtAlgorithm::hs256:
      return "HS256";
    case JwtAlgorithm::rs256:
      return "RS256";
    case JwtAlgorithm::ps256:
      return "PS256";
    case JwtAlgorithm::es256:
      break;
  }
  return "ES256";
}

const VerificationKey* Jwks::find(std::string_view id) const noexcept {
  if (id.empty()) return count == 1 ? &keys[0] : nullptr;
  for (std::uint32_t i = 0; i < count; ++i) {
    if (id == keys[i].id) return &keys[i];
  }
  return nullptr;
}

bool Jwks::has(std::uint64_t fingerprint) const noexcept {
  for (std::uint32_t i = 0; i < count; ++i) {
    if (keys[i].fingerprint == fingerprint) return true;
  }
  return false;
}

bool Jwks::holds_secret() const noexcept {
  for (std::uint32_t i = 0; i < count; ++i) {
    if (keys[i].algorithm == JwtAlgorithm::hs256) return true;
  }
  return false;
}

JwksProblem parse_jwks(std::string_view text, Jwks& set) noexcept {
  set.count = 0;
  if (text.size() > jwks_file_limit) return {JwksError::too_large, 0};
  const JsonObject json = parse_json_object(text);
  const json_t* keys = json_object_get(json.get(), "keys");
  if (!json_is_array(keys)) return {JwksError::malformed, 0};
  const JwksProblem problem = read_keys(keys, set);
  if (problem.error != JwksError::none) release(set);
  ERR_clear_error();  // of keys that OpenSSL refused: PostgreSQL must not take them for its own
  return problem;
}

void release(Jwks& set) noexcept {
  for (std::uint32_t i = 0; i < set.count; ++i) cjose_jwk_release(set.keys[i].key);
  set = {};
}

const char* describe(JwksError error) noexcept {
  switch (error) {
    case JwksError::none:
      return "no problem";
    case JwksError::too_large:
      return "it is larger than 256 kB";
    case JwksError::malformed:
      return "it is not a JSON object with an array \"keys\", or a member occurs twice";
    case JwksError::too_many_keys:
      return "it holds more than 64 keys";
    case JwksError::malformed_key:
      return "a member is missing, has the wrong type or is not base64url";
    case JwksError::private_key:
      return "it is a private key; keep that where tokens are signed and put the public key here";
    case JwksError::weak_key:
      return "it is too weak: HS256 needs 32 bytes, RSA 2048 to 8192 bits and an odd exponent of at least 3";
    case JwksError::wrong_type:
      return "its \"alg\" does not go with its \"kty\"";
    case JwksError::missing_id:
      return "it has no \"kid\", which each key needs when there are several";
    case JwksError::duplicate_id:
      return "another key has the same \"kid\"";
    case JwksError::no_key:
      return "it holds no key that can verify HS256, RS256, PS256 or ES256";
    case JwksError::failed:
      break;
  }
  return "out of memory";
}

}  // namespace byoc
