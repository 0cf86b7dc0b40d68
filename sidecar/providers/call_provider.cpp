#include "call_provider.h"

namespace byocd {

CallOutcome call_outcome_of_failure(const HttpFailure& failure) {
  using Kind = HttpFailure::Kind;
  CallOutcome outcome;
  outcome.error_message = failure.message;
  switch (failure.kind) {
    case Kind::connect_failed:
      outcome.error_code = "connect_failed";
      break;
    case Kind::timeout:
      outcome.error_code = "timeout";
      break;
    case Kind::connection_lost:
      outcome.error_code = "connection_lost";
      break;
    case Kind::cancelled:
    case Kind::too_late:
      return outcome;
  }
  outcome.kind = CallOutcome::Kind::unavailable;
  return outcome;
}

}  // namespace byocd
