// A provider as the queue sees it: a pure adapter between jobs and HTTP. No I/O, no state, no secrets kept.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "../db/job.h"
#include "../db/receipt.h"
#include "../http/request.h"
#include "problem.h"

namespace byocd {

/// Why no request can be made: the credential lacks a field, say.
struct PrepareError {
  std::string code;
  std::string message;
};

/// What an answer to a verification request means.
struct Verdict {
  enum class Kind {
    /// So far so good: prepare the next step.
    next,
    verified,
    /// The tenant has to do something: `problem` says what.
    failed,
    /// Nothing was learned (network, provider down): ask again later.
    retry,
  };
  Kind kind = Kind::retry;
  Problem problem{};
  /// What was seen, for people: names and values in the order to show them.
  std::vector<std::pair<std::string, std::string>> details{};
  /// The account may send to verified recipients only.
  bool on_trial = false;
  /// Of a verified credential: what could not be checked, in a sentence; empty: everything was.
  std::string note{};
};

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

/// One way to send messages. Implementations are stateless but for their base URL.
class Provider {
 public:
  virtual ~Provider() = default;

  /// The name in byoc.providers.
  virtual std::string_view name() const = 0;

  /// The request that sends `job` with the account of `credential`.
  virtual Result<HttpRequest, PrepareError> prepare(const ClaimedJob& job,
                                                    const CredentialFields& credential) const = 0;
  /// What the answer to it, or its absence, means.
  virtual Outcome interpret(const HttpResult& result) const = 0;

  /// The request of verification step `step` (from 0), for as long as the verdict before it was `next`; or what is
  /// wrong already without one.
  virtual Result<HttpRequest, Problem> prepare_verification(const CredentialFields& credential, int step) const = 0;
  virtual Verdict interpret_verification(const CredentialFields& credential, int step,
                                         const HttpResult& result) const = 0;

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

/// Field `name` of a credential, or nothing when it is absent or empty.
const SecretString* find_field(const CredentialFields& credential, std::string_view name);

}  // namespace byocd
