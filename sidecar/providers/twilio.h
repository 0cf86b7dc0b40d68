// Twilio's Messages API (https://www.twilio.com/docs/messaging/api/message-resource), version 2010-04-01.
#pragma once

#include <string>

#include "message_provider.h"

namespace byocd {

/// Credential fields: `account_sid` with `auth_token`, or with `api_key_sid` and `api_key_secret`;
/// the sender is `messaging_service_sid` or `phone_number`. `edge` and `region` choose the host (twilio_hosts.h).
class Twilio final : public MessageProvider {
 public:
  /// `base_url` without a slash at its end, such as https://api.twilio.com; twilio_url() tells what becomes of it.
  explicit Twilio(std::string base_url) : base_url_(std::move(base_url)) {}

  std::string_view name() const override { return "twilio"; }
  Result<HttpRequest, PrepareError> prepare(const ClaimedJob& job, const CredentialFields& credential) const override;
  Outcome interpret(const HttpResult& result) const override;

  /// Step 0: the account's status; an API key, which cannot read it, is proved by a harmless page instead.
  /// Step 1: the sender's number or Messaging Service in the account; a key that may not read those proves nothing, and
  /// that is no reason against it.
  Result<HttpRequest, Problem> prepare_verification(const CredentialFields& credential, int step) const override;
  Verdict interpret_verification(const CredentialFields& credential, int step, const HttpResult& result) const override;

  /// Whom a trial account may send to: its verified numbers.
  Result<HttpRequest, PrepareError> prepare_recipients(const CredentialFields& credential) const;
  static Result<std::vector<std::string>, Problem> interpret_recipients(const HttpResult& result);

  /// All messages to the number, the last ones first.
  Result<HttpRequest, PrepareError> prepare_list(const ReconciliationJob& job, const CredentialFields& credential,
                                                 const std::string& next) const override;
  Result<ListedPage, ListProblem> interpret_list(const HttpResult& result) const override;

  bool verifies_callbacks(const CredentialFields& credential) const override;
  Result<HttpRequest, PrepareError> prepare_status(const CredentialFields& credential,
                                                   const std::string& provider_sid) const override;
  std::optional<ReceiptFacts> interpret_status(const HttpResult& result) const override;

 private:
  /// A request for `path` on the product's host, with the credential's user and password.
  Result<HttpRequest, PrepareError> request_to(const CredentialFields& credential, const std::string& path,
                                               std::string_view product = "api") const;
  /// For the credential's own account: `rest` follows its SID.
  Result<HttpRequest, PrepareError> request_for(const CredentialFields& credential, const std::string& rest) const;

  std::string base_url_;
};

}  // namespace byocd
