// A provider that calls go out to.
#pragma once

#include "../db/call.h"
#include "provider.h"

namespace byocd {

/// One way to make calls. A call may be made again after a lost answer, and by another byocd: its provider must tell by
/// the call's id, or by what it asks for, that it has been made.
class CallProvider : public Provider {
 public:
  /// The request of step `step`: 0 at first, then what the outcome before it said in `next_step`.
  virtual Result<HttpRequest, PrepareError> prepare_call(const ClaimedCall& call, const CredentialFields& credential,
                                                         int step) const = 0;
  /// What the answer to it, or its absence, means.
  virtual CallOutcome interpret_call(const ClaimedCall& call, int step, const HttpResult& result) const = 0;
};

/// The outcome of a request without a complete answer.
CallOutcome call_outcome_of_failure(const HttpFailure& failure);

}  // namespace byocd
