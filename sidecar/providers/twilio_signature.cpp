#include "twilio_signature.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <algorithm>
#include <string>

#include "form.h"

namespace byocd {

namespace {

// In constant time for texts of one length.
bool equal(std::string_view a, std::string_view b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

std::string signature_of(std::string_view auth_token, std::string_view text) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  HMAC(EVP_sha1(), auth_token.data(), static_cast<int>(auth_token.size()),
       reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest, &size);
  unsigned char encoded[32];
  const int length = EVP_EncodeBlock(encoded, digest, static_cast<int>(size));
  return {reinterpret_cast<const char*>(encoded), static_cast<std::size_t>(length)};
}

std::string hex_sha256(std::string_view text) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  EVP_Digest(text.data(), text.size(), digest, &size, EVP_sha256(), nullptr);
  static constexpr char digits[] = "0123456789abcdef";
  std::string hex;
  for (unsigned int i = 0; i < size; ++i) {
    hex += digits[digest[i] >> 4];
    hex += digits[digest[i] & 0x0f];
  }
  return hex;
}

// Fields sorted by name, then value, each once, names and values run together.
std::string signed_fields(std::string_view body) {
  auto fields = parse_form(body);
  std::sort(fields.begin(), fields.end());
  fields.erase(std::unique(fields.begin(), fields.end()), fields.end());
  std::string text;
  for (const auto& [name, value] : fields) text.append(name).append(value);
  return text;
}

// The URL with its scheme's own port written out when it names none, and without port when it does.
std::string other_spelling(std::string_view url) {
  const std::size_t scheme_end = url.find("://");
  if (scheme_end == url.npos) return std::string(url);
  const std::size_t host = scheme_end + 3;
  const std::size_t path = std::min(url.find_first_of("/?", host), url.size());
  const std::size_t colon = url.rfind(':', path - 1);
  const bool has_port =
      colon != url.npos && colon >= host && url.substr(colon, path - colon).find(']') == url.npos && path > colon + 1;
  std::string other(url);
  if (has_port) return other.erase(colon, path - colon);
  return other.insert(path, url.substr(0, scheme_end) == "https" ? ":443" : ":80");
}

}  // namespace

bool is_signed_by(std::string_view auth_token, const SignedRequest& request) {
  std::string rest;
  const std::size_t query = request.url.find('?');
  if (request.content_type.starts_with("application/x-www-form-urlencoded")) {
    rest = signed_fields(request.body);
  } else {
    std::string claimed;
    if (query != request.url.npos)
      for (auto& [name, value] : parse_form(request.url.substr(query + 1)))
        if (name == "bodySHA256") claimed = std::move(value);
    if (!equal(claimed, hex_sha256(request.body))) return false;
  }
  bool good = false;
  for (const std::string& url : {std::string(request.url), other_spelling(request.url)})
    good = equal(signature_of(auth_token, url + rest), request.signature) || good;
  return good;
}

}  // namespace byocd
