// Stripe (https://docs.stripe.com/api): keeps the key of those who charge with it, and knows whether it holds.
#pragma once

#include <string>

#include "provider.h"

namespace byocd {

/// Credential field: `secret_key`, a secret or a restricted key.
class Stripe final : public Provider {
 public:
  /// `base_url` without a slash at its end, such as https://api.stripe.com.
  explicit Stripe(std::string base_url) : base_url_(std::move(base_url)) {}

  std::string_view name() const override { return "stripe"; }

  /// One step: the key's own account. A restricted key that may not read it is good, since Stripe knows it.
  Result<HttpRequest, Problem> prepare_verification(const CredentialFields& credential, int step) const override;
  Verdict interpret_verification(const CredentialFields& credential, int step, const HttpResult& result) const override;

 private:
  std::string base_url_;
};

}  // namespace byocd
