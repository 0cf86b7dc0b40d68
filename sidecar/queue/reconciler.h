// Looks for messages that were perhaps sent in the accounts' message lists.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "../db/gateway.h"
#include "../http/request.h"
#include "../providers/message_provider.h"
#include "../providers/registry.h"
#include "../timers.h"
#include "credential_cache.h"

namespace byocd {

/// A few lists at a time, beside the slots of messages. What a list means is decided by the database: this only reads.
class Reconciler {
 public:
  struct Parts {
    Gateway& gateway;
    const Registry& registry;
    HttpClient& http;
    CredentialCache& credentials;
    Timers& timers;
  };

  Reconciler(Parts parts, std::chrono::milliseconds poll_interval);

  /// A connection became ready or was lost.
  void connection_changed();
  void stop();
  int running() const { return running_; }

 private:
  /// One list on its way, page by page.
  struct Reading {
    ReconciliationJob job;
    CredentialCache::Credential credential;
    const MessageProvider* provider = nullptr;
    int pages = 0;
    std::string next;
    MessageListing listing;
  };
  using ReadingPtr = std::shared_ptr<Reading>;

  void claim();
  void start(ReconciliationJob job);
  void next_page(const ReadingPtr& reading);
  void on_page(const ReadingPtr& reading, ListedPage page);
  void finish(const ReadingPtr& reading, MessageListing::State state, std::string problem = {});

  Parts parts_;
  std::chrono::milliseconds poll_interval_;
  std::unique_ptr<Timer> timer_;
  bool stopped_ = false;
  bool claiming_ = false;
  int running_ = 0;
};

}  // namespace byocd
