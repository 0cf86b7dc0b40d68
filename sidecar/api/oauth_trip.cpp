#include "oauth_trip.h"

#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <openssl/sha.h>

#include <algorithm>
#include <cctype>
#include <stdexcept>

#include "../../extension/crypto/base64.h"

namespace byocd {

namespace {

constexpr std::size_t size = 32;      // bytes of randomness, and of a digest
constexpr std::size_t length = 43;    // of their base64url
constexpr char lifetime_s[] = "600";  // as byoc.take_oauth_state()

std::string base64url(const unsigned char (&bytes)[size]) {
  char text[byoc::base64_length(size) + 1];
  return {text, byoc::base64url_encode(bytes, size, text)};
}

std::string random_text() {
  unsigned char bytes[size];
  if (RAND_bytes(bytes, size) != 1) throw std::runtime_error("no random bytes from OpenSSL");
  std::string text = base64url(bytes);
  OPENSSL_cleanse(bytes, size);
  return text;
}

bool is_secure(const std::string& public_url) {
  return public_url.starts_with("https://");
}

std::string trip_cookie_attributes(const std::string& public_url) {
  // Path=/ and no domain are what __Host- demands.
  return std::string("; Path=/; HttpOnly; SameSite=Lax") + (is_secure(public_url) ? "; Secure" : "");
}

}  // namespace

OAuthTrip new_oauth_trip() {
  return {random_text(), SecretString(random_text())};
}

bool looks_like_trip(std::string_view text) {
  return text.size() == length && std::all_of(text.begin(), text.end(), [](unsigned char c) {
           return std::isalnum(c) != 0 || c == '-' || c == '_';
         });
}

SecretString code_verifier(const OAuthTrip& trip) {
  const std::string text = "byoc pkce " + trip.state;
  const std::string& key = trip.browser.reveal();
  unsigned char digest[size];
  HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), reinterpret_cast<const unsigned char*>(text.data()),
       text.size(), digest, nullptr);
  return SecretString(base64url(digest));
}

std::string code_challenge(const SecretString& verifier) {
  unsigned char digest[size];
  SHA256(reinterpret_cast<const unsigned char*>(verifier.reveal().data()), verifier.reveal().size(), digest);
  return base64url(digest);
}

std::string sha256(std::string_view text) {
  unsigned char digest[size];
  SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest);
  return {reinterpret_cast<const char*>(digest), size};
}

std::string trip_cookie_name(const std::string& public_url) {
  // The prefix keeps other hosts of the same site from setting it (RFC 6265bis, section 4.1.3).
  return is_secure(public_url) ? "__Host-byoc_oauth" : "byoc_oauth";
}

std::string trip_cookie(const SecretString& browser, const std::string& public_url) {
  return trip_cookie_name(public_url) + "=" + browser.reveal() + "; Max-Age=" + lifetime_s +
         trip_cookie_attributes(public_url);
}

std::string no_trip_cookie(const std::string& public_url) {
  return trip_cookie_name(public_url) + "=; Max-Age=0" + trip_cookie_attributes(public_url);
}

}  // namespace byocd
