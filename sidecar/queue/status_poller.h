// Asks providers what became of messages that nobody called back about.
#pragma once

#include <chrono>
#include <memory>
#include <vector>

#include "../db/receipt_gateway.h"
#include "../http/request.h"
#include "../providers/registry.h"
#include "../timers.h"
#include "credential_cache.h"
#include "receipt_recorder.h"

namespace byocd {

/// Gently: a few requests at a time, beside the slots of messages. The database says whom to ask about and when; what
/// could not be learned comes up again by itself.
class StatusPoller {
 public:
  struct Parts {
    ReceiptGateway& gateway;
    const Registry& registry;
    HttpClient& http;
    CredentialCache& credentials;
    ReceiptRecorder& recorder;
    Timers& timers;
  };

  /// Looks at every `interval`, at most ten times a second. `may_poll` is false in a database that must not send.
  StatusPoller(Parts parts, std::chrono::milliseconds interval, std::function<bool()> may_poll);

  /// Outcomes were recorded: the accepted messages among them are to be asked about, should they stay silent.
  void expect(const std::vector<JobOutcome>& outcomes);
  /// The connection became ready or was lost.
  void connection_changed();
  void stop();

  /// Whether everything that was expected is noted in the database, and no request is under way.
  bool settled() const { return expected_.empty() && noting_.empty() && running_ == 0; }

 private:
  void note();
  void look();
  void start(StatusCheck check);
  void ask(const StatusCheck& check, const CredentialCache::Credential& credential);

  Parts parts_;
  std::chrono::milliseconds interval_;
  std::function<bool()> may_poll_;
  std::unique_ptr<Timer> note_timer_;
  std::unique_ptr<Timer> look_timer_;
  std::vector<SentMessage> expected_;
  std::vector<SentMessage> noting_;  // on their way to the database
  bool looking_ = false;
  bool stopped_ = false;
  int running_ = 0;
};

}  // namespace byocd
