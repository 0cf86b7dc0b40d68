#include "session_cookie.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>

#include <algorithm>
#include <cctype>

namespace byocd {

namespace {

constexpr std::string_view scheme = "bearer ";

bool begins_with_scheme(std::string_view text) {
  return text.size() > scheme.size() && std::equal(scheme.begin(), scheme.end(), text.begin(), [](char a, char b) {
           return a == std::tolower(static_cast<unsigned char>(b));
         });
}

bool is_https(std::string_view url) {
  return url.starts_with("https://");
}

std::string cookie_name(const std::string& public_url) {
  const char* prefix = path_of(public_url).empty() ? "__Host-" : "__Secure-";
  return (is_https(public_url) ? prefix : std::string()) + "byoc_session";
}

std::string_view find_cookie(std::string_view cookies, std::string_view name) {
  while (!cookies.empty()) {
    const std::size_t end = std::min(cookies.find(';'), cookies.size());
    std::string_view one = cookies.substr(0, end);
    cookies.remove_prefix(std::min(end + 1, cookies.size()));
    while (!one.empty() && one.front() == ' ') one.remove_prefix(1);
    if (one.starts_with(name) && one.substr(name.size()).starts_with('=')) return one.substr(name.size() + 1);
  }
  return {};
}

std::string_view host_of(std::string_view url) {
  const std::size_t start = url.find("://");
  if (start == url.npos) return {};
  url.remove_prefix(start + 3);
  return url.substr(0, url.find('/'));
}

std::string cookie_attributes(const std::string& public_url) {
  return "; Path=" + path_of(public_url) + "/; HttpOnly; SameSite=Strict" + (is_https(public_url) ? "; Secure" : "");
}

}  // namespace

bool looks_like_token(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '-' || c == '_' || c == '.' || c == '=';
  });
}

std::string cookie_value(const ApiRequest& request, std::string_view name) {
  return std::string(find_cookie(request.header("cookie"), name));
}

ShownToken shown_token(const ApiRequest& request, const std::string& public_url) {
  std::string_view header = request.header("authorization");
  if (begins_with_scheme(header)) {
    header.remove_prefix(scheme.size());
    while (!header.empty() && header.front() == ' ') header.remove_prefix(1);
    return {SecretString(header), false};
  }
  if (!header.empty()) return {};
  return {SecretString(find_cookie(request.header("cookie"), cookie_name(public_url))), true};
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
  return cookie_name(public_url) + "=" + token.reveal() + cookie_attributes(public_url);
}

std::string no_session_cookie(const std::string& public_url) {
  return cookie_name(public_url) + "=; Max-Age=0" + cookie_attributes(public_url);
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
  if (host.empty()) return false;
  // Over plain http anybody on the way can answer in our name.
  if (host == host_of(public_url)) return is_https(origin) || !is_https(public_url);
  return host == request.header("host");
}

}  // namespace byocd
