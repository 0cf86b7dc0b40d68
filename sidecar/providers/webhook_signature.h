// Signatures of webhooks as Standard Webhooks describes them (https://www.standardwebhooks.com), version 1.
#pragma once

#include <chrono>
#include <optional>
#include <string_view>
#include <vector>

#include "../secret.h"

namespace byocd {

/// What is signed.
struct WebhookMessage {
  /// The same for each attempt.
  std::string_view id;
  /// Of the attempt.
  std::chrono::sys_seconds sent_at;
  std::string_view body;
};

/// The bytes of a secret: `whsec_` and base64 of at least 24 bytes. Nothing when it is not that.
std::optional<SecretString> webhook_key(std::string_view secret);

/// The header lines webhook-id, webhook-timestamp and webhook-signature, with a signature by each of the keys.
std::vector<SecretString> webhook_headers(const WebhookMessage& message, const std::vector<SecretString>& keys);

}  // namespace byocd
