#include "signature.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <algorithm>

#include "base64.h"

namespace simulator {

std::string_view without_fragment(std::string_view url) {
  return url.substr(0, url.find('#'));
}

std::string twilio_signature(std::string_view auth_token, std::string_view url, const form& fields) {
  auto sorted = fields.fields();
  std::stable_sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  std::string text(without_fragment(url));
  for (const auto& [name, value] : sorted) text.append(name).append(value);
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int length = 0;
  HMAC(EVP_sha1(), auth_token.data(), static_cast<int>(auth_token.size()),
       reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest, &length);
  return base64_encode({reinterpret_cast<const char*>(digest), length});
}

}  // namespace simulator
