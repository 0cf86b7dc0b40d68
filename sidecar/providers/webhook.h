// Webhooks: a tenant's own HTTPS address, called with a signed JSON document (https://www.standardwebhooks.com).
#pragma once

#include <functional>

#include "call_provider.h"

namespace byocd {

/// Credential fields: `url`; `secret` that signs; `previous_secret`, which signs as well while receivers change over.
/// The id of a call is its webhook-id, by which a receiver knows a repetition; its payload is the body.
class Webhook final : public CallProvider {
 public:
  /// The time that goes into headers.
  using Now = std::function<std::chrono::sys_seconds()>;

  explicit Webhook(Now now) : now_(std::move(now)) {}

  std::string_view name() const override { return "webhook"; }

  Result<HttpRequest, PrepareError> prepare_call(const ClaimedCall& call, const CredentialFields& credential,
                                                 int step) const override;
  CallOutcome interpret_call(const ClaimedCall& call, int step, const HttpResult& result) const override;

  /// One step: an event of type `byoc.verification`, which the receiver must take as it takes any other.
  Result<HttpRequest, Problem> prepare_verification(const CredentialFields& credential, int step) const override;
  Verdict interpret_verification(const CredentialFields& credential, int step, const HttpResult& result) const override;

 private:
  Now now_;
};

}  // namespace byocd
