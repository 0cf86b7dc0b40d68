#include "session_cookie.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>

#include <algorithm>
#include <cctype>

namespace byocd {

namespace {

constexpr std::string_view cookie_name = "byoc_session";
constexpr std::string_view scheme = "bearer ";

bool begins_with_scheme(std::string_view text) {
  return text.size() > scheme.size() && std::equal(scheme.begin(), scheme.end(), text.begin(), [](char a, char b) {
           return a == std::tolower(static_cast<unsigned char>(b));
         });
}

std::string_view cookie_value(std::string_view cookies) {
  while (!cookies.empty()) {
    const std::size_t end = std::min(cookies.find(';'), cookies.size());
    std::string_view one = cookies.substr(0, end);
    cookies.remove_prefix(std::min(end + 1, cookies.size()));
    while (!one.empty() && one.front() == ' ') one.remove_prefix(1);
    if (one.starts_with(cookie_name) && one.substr(cookie_name.size()).starts_with('='))
      return one.substr(cookie_name.size() + 1);
  }
  return {};
}

std::string_view host_of(std::string_view url) {
  const std::size_t start = url.find("://");
  if (start == url.npos) return {};
  url.remove_prefix(start + 3);
  return url.substr(0, url.find('/'));
}

std::string attributes(const std::string& public_url) {
  return "; Path=" + path_of(public_url) + "/; HttpOnly; SameSite=Strict" +
         (public_url.starts_with("https://") ? "; Secure" : "");
}

}  // namespace

bool looks_like_token(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '-' || c == '_' || c == '.' || c == '=';
  });
}

ShownToken shown_token(const ApiRequest& request) {
  std::string_view header = request.header("authorization");
  if (begins_with_scheme(header)) {
    header.remove_prefix(scheme.size());
    while (!header.empty() && header.front() == ' ') header.remove_prefix(1);
    return {SecretString(header), false};
  }
  if (!header.empty()) return {};
  return {SecretString(cookie_value(request.header("cookie"))), true};
}

std::string csrf_token(const SecretString& token) {
  const std::string text = "byoc csrf " + token.reveal();
  unsigned char digest[SHA256_DIGEST_LENGTH];
  SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest);
  std::string hex;
  for (const unsigned char byte : digest) {
    hex += "0123456789abcdef"[byte >> 4];
    hex += "0123456789abcdef"[byte & 15];
  }
  return hex;
}

bool has_csrf_token(const ApiRequest& request, const SecretString& token) {
  const std::string expected = csrf_token(token);
  const std::string& given = request.header("x-csrf-token");
  return given.size() == expected.size() && CRYPTO_memcmp(given.data(), expected.data(), given.size()) == 0;
}

std::string session_cookie(const SecretString& token, const std::string& public_url) {
  return std::string(cookie_name) + "=" + token.reveal() + attributes(public_url);
}

std::string no_session_cookie(const std::string& public_url) {
  return std::string(cookie_name) + "=; Max-Age=0" + attributes(public_url);
}

std::string path_of(const std::string& public_url) {
  const std::size_t start = public_url.find("://");
  const std::size_t slash = start == public_url.npos ? start : public_url.find('/', start + 3);
  return slash == public_url.npos ? "" : public_url.substr(slash);
}

bool has_known_origin(const ApiRequest& request, const std::string& public_url,
                      const std::vector<std::string>& allowed) {
  const std::string& origin = request.header("origin");
  if (std::find(allowed.begin(), allowed.end(), origin) != allowed.end()) return true;
  const std::string_view host = host_of(origin);
  return !host.empty() && (host == request.header("host") || host == host_of(public_url));
}

}  // namespace byocd
