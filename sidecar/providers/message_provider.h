// A provider that messages go out by.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "../db/receipt.h"
#include "provider.h"

namespace byocd {

/// One page of a message list.
struct ListedPage {
  std::vector<ListedMessage> messages;
  /// What prepare_list needs for the next page; empty: this was the last.
  std::string next;
  /// Nothing on later pages is newer than this.
  std::optional<std::chrono::sys_seconds> oldest;
};

/// Why a page is missing.
struct ListProblem {
  MessageListing::State state = MessageListing::State::unavailable;
  /// A sentence's rest: `the list ...`.
  std::string message;
};

/// One way to send messages. A request for a message is never repeated without knowing what became of the one before:
/// its provider would send it twice.
class MessageProvider : public Provider {
 public:
  /// The request that sends `job` with the account of `credential`.
  virtual Result<HttpRequest, PrepareError> prepare(const ClaimedJob& job,
                                                    const CredentialFields& credential) const = 0;
  /// What the answer to it, or its absence, means.
  virtual Outcome interpret(const HttpResult& result) const = 0;

  /// The request for a page of the account's message list, newest first: the first one, or the one that `next` of the
  /// page before leads to.
  virtual Result<HttpRequest, PrepareError> prepare_list(const ReconciliationJob& job,
                                                         const CredentialFields& credential,
                                                         const std::string& next) const = 0;
  virtual Result<ListedPage, ListProblem> interpret_list(const HttpResult& result) const = 0;

  /// Whether this credential has the secret that callbacks about its messages are signed with.
  virtual bool verifies_callbacks(const CredentialFields& credential) const = 0;
  /// The request that asks for a message's status.
  virtual Result<HttpRequest, PrepareError> prepare_status(const CredentialFields& credential,
                                                           const std::string& provider_sid) const = 0;
  /// What the answer says; nothing when nothing was learned.
  virtual std::optional<ReceiptFacts> interpret_status(const HttpResult& result) const = 0;
};

/// The outcome of a request without a complete answer; the same for every provider.
Outcome outcome_of_failure(const HttpFailure& failure);

}  // namespace byocd
