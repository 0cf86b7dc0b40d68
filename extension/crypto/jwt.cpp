#include "jwt.h"

#include "base64.h"
#include "json.h"

#include <cjose/jws.h>
#include <openssl/err.h>

#include <cmath>
#include <limits>

namespace byoc {
namespace {

constexpr std::int64_t second = 1'000'000;                 // microseconds
constexpr std::int64_t epoch_of_2000 = 946'684'800;        // seconds since 1970
constexpr std::int64_t latest_second = 4'000'000'000'000;  // far beyond any use, and no overflow in microseconds

struct JwsRelease {
  void operator()(cjose_jws_t* jws) const noexcept { cjose_jws_release(jws); }
};

struct Parts {
  std::string_view header, payload, signature;
};

bool split(std::string_view token, Parts& parts) noexcept {
  const std::size_t first = token.find('.');
  if (first == std::string_view::npos) return false;
  const std::size_t second_dot = token.find('.', first + 1);
  if (second_dot == std::string_view::npos) return false;
  parts = {token.substr(0, first), token.substr(first + 1, second_dot - first - 1), token.substr(second_dot + 1)};
  return parts.signature.find('.') == std::string_view::npos;
}

// Picks the key that the header names, if the header asks for that key's own algorithm.
JwtError choose_key(const Jwks& keys, const json_t* header, const VerificationKey*& key) noexcept {
  if (json_object_get(header, "crit") != nullptr) return JwtError::critical_header;
  bool has_id = false;
  bool has_algorithm = false;
  const std::string_view id = json_text(header, "kid", has_id);
  const std::string_view algorithm = json_text(header, "alg", has_algorithm);
  if ((has_id && id.empty()) || algorithm.empty()) return JwtError::malformed;
  key = keys.find(id);
  if (key == nullptr) return JwtError::unknown_key;
  return algorithm == name_of(key->algorithm) ? JwtError::none : JwtError::wrong_algorithm;
}

// Seconds since 1970 as microseconds since 2000 (NumericDate, RFC 7519, section 2).
bool read_date(const json_t* value, std::int64_t& out) noexcept {
  if (!json_is_number(value)) return false;
  const double seconds = json_number_value(value);
  if (!std::isfinite(seconds)) return false;
  const double bounded = std::fmin(std::fmax(std::floor(seconds), -1.0 * latest_second), 1.0 * latest_second);
  out = (static_cast<std::int64_t>(bounded) - epoch_of_2000) * second;
  return true;
}

JwtError check_time(const json_t* claims, const JwtRules& rules, TenantContext& context) noexcept {
  const json_t* expiry = json_object_get(claims, "exp");
  if (expiry == nullptr) return JwtError::no_expiry;
  std::int64_t when = 0;
  if (!read_date(expiry, when)) return JwtError::malformed;
  context.expires_at = when + jwt_skew * second;
  if (context.expires_at <= rules.now) return JwtError::expired;
  const json_t* start = json_object_get(claims, "nbf");
  if (start == nullptr) return JwtError::none;
  if (!read_date(start, when)) return JwtError::malformed;
  return when - jwt_skew * second > rules.now ? JwtError::not_yet_valid : JwtError::none;
}

bool is_text(const json_t* value, std::string_view expected) noexcept {
  return json_is_string(value) && std::string_view(json_string_value(value), json_string_length(value)) == expected;
}

bool names_audience(const json_t* audience, std::string_view expected) noexcept {
  for (std::size_t i = 0; i < json_array_size(audience); ++i) {
    if (is_text(json_array_get(audience, i), expected)) return true;
  }
  return is_text(audience, expected);
}

// Looks a member up by a name that is not zero-terminated. Names longer than any sensible claim are not found.
const json_t* member(const json_t* object, std::string_view name) noexcept {
  char terminated[256];
  if (name.size() >= sizeof terminated) return nullptr;
  terminated[name.copy(terminated, sizeof terminated - 1)] = '\0';
  return json_object_get(object, terminated);
}

// Finds the claim that the path names, and the object that it stands in. A claim whose name is the whole path comes
// first: namespaced claims are URLs, with dots in them.
const json_t* find_claim(const json_t* claims, std::string_view path, const json_t*& holder) noexcept {
  holder = claims;
  if (const json_t* whole = member(claims, path); whole != nullptr) return whole;
  for (std::size_t dot = path.find('.'); dot != std::string_view::npos; dot = path.find('.')) {
    holder = member(holder, path.substr(0, dot));
    path.remove_prefix(dot + 1);
  }
  return member(holder, path);
}

int hexadecimal(char c) noexcept {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// A uuid in its one usual form (RFC 9562, section 4).
bool read_uuid(const json_t* value, std::uint8_t (&out)[16]) noexcept {
  if (!json_is_string(value) || json_string_length(value) != 36) return false;
  const char* text = json_string_value(value);
  std::size_t at = 0;
  for (std::size_t i = 0; i < sizeof out; ++i) {
    if ((i == 4 || i == 6 || i == 8 || i == 10) && text[at++] != '-') return false;
    const int high = hexadecimal(text[at++]);
    const int low = hexadecimal(text[at++]);
    if (high < 0 || low < 0) return false;
    out[i] = static_cast<std::uint8_t>(high << 4 | low);
  }
  return true;
}

JwtError read_user(const json_t* subject, TenantContext& context) noexcept {
  if (subject == nullptr) return JwtError::none;
  if (!json_is_string(subject) || json_string_length(subject) > user_id_capacity) return JwtError::bad_user;
  context.user_id_size = static_cast<std::uint8_t>(json_string_length(subject));
  std::memcpy(context.user_id, json_string_value(subject), context.user_id_size);
  context.user_id[context.user_id_size] = '\0';
  return JwtError::none;
}

JwtError read_role(const json_t* role, TenantContext& context) noexcept {
  context.role = OrganizationRole::member;
  if (role == nullptr || is_text(role, "member")) return JwtError::none;
  if (is_text(role, "admin")) {
    context.role = OrganizationRole::admin;
  } else if (is_text(role, "owner")) {
    context.role = OrganizationRole::owner;
  } else {
    return JwtError::bad_role;
  }
  return JwtError::none;
}

JwtError read_claims(const json_t* claims, const JwtRules& rules, TenantContext& context) noexcept {
  if (const JwtError error = check_time(claims, rules, context); error != JwtError::none) return error;
  if (!rules.issuer.empty() && !is_text(json_object_get(claims, "iss"), rules.issuer)) return JwtError::wrong_issuer;
  if (!rules.audience.empty() && !names_audience(json_object_get(claims, "aud"), rules.audience)) {
    return JwtError::wrong_audience;
  }
  const json_t* holder = nullptr;
  if (!read_uuid(find_claim(claims, rules.organization_claim, holder), context.organization)) {
    return JwtError::bad_organization;
  }
  if (const JwtError error = read_user(json_object_get(claims, "sub"), context); error != JwtError::none) return error;
  const json_t* role = json_object_get(claims, "org_role");
  return read_role(role != nullptr ? role : json_object_get(holder, "org_role"), context);
}

}  // namespace

JwtError verify_jws(const Jwks& keys, std::string_view token, std::uint8_t (&buffer)[jwt_limit],
                    std::string_view& payload, std::uint64_t& signer) noexcept {
  if (token.size() > jwt_limit) return JwtError::too_large;
  Parts parts;
  if (!split(token, parts)) return JwtError::malformed;
  std::size_t size = 0;
  if (!base64url_decode(parts.header, buffer, sizeof buffer, size)) return JwtError::malformed;
  const JsonObject header = parse_json_object({reinterpret_cast<const char*>(buffer), size});
  if (header == nullptr) return JwtError::malformed;
  const VerificationKey* key = nullptr;
  if (const JwtError error = choose_key(keys, header.get(), key); error != JwtError::none) return error;
  // cjose decodes leniently: without this a signature would have several spellings.
  if (!base64url_decode(parts.signature, buffer, sizeof buffer, size)) return JwtError::malformed;
  if (size != key->signature_size) return JwtError::bad_signature;
  if (!base64url_decode(parts.payload, buffer, sizeof buffer, size)) return JwtError::malformed;

  const std::unique_ptr<cjose_jws_t, JwsRelease> jws(cjose_jws_import(token.data(), token.size(), nullptr));
  const bool good = jws != nullptr && cjose_jws_verify(jws.get(), key->key, nullptr);
  ERR_clear_error();  // of the signature: PostgreSQL must not take it for an error of its own
  if (!good) return JwtError::bad_signature;
  payload = {reinterpret_cast<const char*>(buffer), size};
  signer = key->fingerprint;
  return JwtError::none;
}

JwtError verify_jwt(const Jwks& keys, std::string_view token, const JwtRules& rules, TenantContext& context) noexcept {
  std::uint8_t buffer[jwt_limit];
  std::string_view payload;
  context = {};
  TenantContext proved = {};
  if (const JwtError error = verify_jws(keys, token, buffer, payload, proved.signer); error != JwtError::none)
    return error;
  const JsonObject claims = parse_json_object(payload);
  if (claims == nullptr) return JwtError::malformed;
  if (const JwtError error = read_claims(claims.get(), rules, proved); error != JwtError::none) return error;
  context = proved;
  return JwtError::none;
}

const char* describe(JwtError error) noexcept {
  switch (error) {
    case JwtError::none:
      return "no problem";
    case JwtError::too_large:
      return "it is longer than 16 kB";
    case JwtError::malformed:
      return "it is malformed";
    case JwtError::critical_header:
      return "its header asks for an extension that is not known here";
    case JwtError::unknown_key:
      return "no key in byoc.jwks_file has its key id";
    case JwtError::wrong_algorithm:
      return "its algorithm is not the one that its key is for";
    case JwtError::bad_signature:
      return "its signature is wrong";
    case JwtError::no_expiry:
      return "it has no claim \"exp\"";
    case JwtError::expired:
      return "it has expired";
    case JwtError::not_yet_valid:
      return "it is not valid yet";
    case JwtError::wrong_issuer:
      return "its issuer is not byoc.jwt_issuer";
    case JwtError::wrong_audience:
      return "its audience is not byoc.jwt_audience";
    case JwtError::bad_organization:
      return "the claim that byoc.jwt_org_claim names is missing or no uuid";
    case JwtError::bad_user:
      return "its claim \"sub\" is no text of at most 255 bytes";
    case JwtError::bad_role:
      break;
  }
  return "its claim \"org_role\" is none of owner, admin and member";
}

}  // namespace byoc
