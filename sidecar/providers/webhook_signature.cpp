#include "webhook_signature.h"

#include <fmt/format.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "../extension/crypto/base64.h"

namespace byocd {

namespace {

constexpr std::string_view prefix = "whsec_";
constexpr std::size_t shortest_key = 24;

std::string signature(const SecretString& key, std::string_view text) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  HMAC(EVP_sha256(), key.reveal().data(), static_cast<int>(key.reveal().size()),
       reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest, &size);
  std::string encoded(byoc::base64_length(size) + 1, '\0');
  encoded.resize(byoc::base64_encode(digest, size, encoded.data()));
  return encoded;
}

}  // namespace

std::optional<SecretString> webhook_key(std::string_view secret) {
  if (!secret.starts_with(prefix)) return std::nullopt;
  const std::string_view text = secret.substr(prefix.size());
  const std::size_t padding = text.ends_with("==") ? 2 : text.ends_with("=") ? 1 : 0;
  if (text.size() / 4 * 3 < shortest_key + padding) return std::nullopt;
  const std::size_t size = text.size() / 4 * 3 - padding;
  std::string bytes(size, '\0');
  const bool good = byoc::base64_decode_exact(text, reinterpret_cast<std::uint8_t*>(bytes.data()), size);
  SecretString key(bytes);
  OPENSSL_cleanse(bytes.data(), bytes.size());
  if (!good) return std::nullopt;
  return key;
}

std::vector<SecretString> webhook_headers(const WebhookMessage& message, const std::vector<SecretString>& keys) {
  const auto sent_at = message.sent_at.time_since_epoch().count();
  const std::string text = fmt::format("{}.{}.{}", message.id, sent_at, message.body);
  std::string signatures = "webhook-signature:";
  for (const auto& key : keys) signatures.append(" v1,").append(signature(key, text));
  std::vector<SecretString> headers;
  headers.emplace_back(fmt::format("webhook-id: {}", message.id));
  headers.emplace_back(fmt::format("webhook-timestamp: {}", sent_at));
  headers.emplace_back(signatures);
  return headers;
}

}  // namespace byocd
