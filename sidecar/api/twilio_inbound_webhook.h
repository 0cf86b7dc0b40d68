// `POST /webhooks/twilio/inbound/{credential}`: a recipient sent something back.
#pragma once

#include <memory>
#include <string>

#include "../db/receipt_gateway.h"
#include "../queue/credential_cache.h"
#include "exchange.h"

namespace byocd {

/// Answers 200 with an empty TwiML document (send no reply) once the message is committed. 400: not a message; 401:
/// without signature; 403: the signature is not of the credential's account; 404: no such credential; 503: not now.
class TwilioInboundWebhook {
 public:
  TwilioInboundWebhook(ReceiptGateway& gateway, CredentialCache& credentials, std::string public_url);

  void handle(const ApiRequest& request, Reply reply);

 private:
  /// One message on its way.
  struct Arrival {
    ApiRequest request;
    InboundMessage message;
    Reply reply;
  };
  using ArrivalPtr = std::shared_ptr<const Arrival>;

  void on_credential(const ArrivalPtr& arrival, const std::string& org_id, const CredentialCache::Answer& answer);
  void record(const ArrivalPtr& arrival, const std::string& org_id);

  ReceiptGateway& gateway_;
  CredentialCache& credentials_;
  std::string public_url_;
};

}  // namespace byocd
