// `POST /webhooks/twilio/status/{token}`: Twilio tells what became of a message.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "../db/receipt_gateway.h"
#include "../queue/credential_cache.h"
#include "../queue/receipt_recorder.h"
#include "../timers.h"
#include "exchange.h"

namespace byocd {

/// Answers 204 once the receipt is committed. 400: not a status callback; 401: without signature; 403: the signature is
/// not of the message's account; 404: the token is forged, or its message gone; 503: not now, come again.
class TwilioStatusWebhook {
 public:
  struct Parts {
    ReceiptGateway& gateway;
    CredentialCache& credentials;
    ReceiptRecorder& recorder;
    Timers& timers;
  };
  struct Options {
    /// What callbacks are signed over: never the Host header.
    std::string public_url;
    /// Take a callback whose signature cannot be checked, for want of an auth token, by its token alone.
    bool accept_unsigned = false;
  };

  TwilioStatusWebhook(Parts parts, Options options);

  void handle(const ApiRequest& request, Reply reply);

  /// From now on callbacks are asked to come again.
  void stop() { stopped_ = true; }
  /// Callbacks that were not answered yet.
  int pending() const { return pending_; }

 private:
  /// One callback on its way.
  struct Callback {
    std::string token;
    std::string url;
    std::string content_type;
    std::string body;
    std::string signature;
    ReceiptFacts facts;
    Reply reply;
  };
  using CallbackPtr = std::shared_ptr<Callback>;

  void look_up();
  void on_target(const CallbackPtr& callback, const std::optional<ReceiptTarget>& target);
  void on_credential(const CallbackPtr& callback, const ReceiptTarget& target, const CredentialCache::Answer& answer);
  void record(const CallbackPtr& callback, const ReceiptTarget& target);
  void finish(const CallbackPtr& callback, ApiAnswer answer);

  Parts parts_;
  Options options_;
  std::unique_ptr<Timer> look_up_timer_;
  std::vector<CallbackPtr> waiting_;
  bool looking_up_ = false;
  bool stopped_ = false;
  int pending_ = 0;
};

}  // namespace byocd
