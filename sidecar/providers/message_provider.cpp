#include "message_provider.h"

namespace byocd {

Outcome outcome_of_failure(const HttpFailure& failure) {
  Outcome outcome;
  outcome.error_message = failure.message;
  switch (failure.kind) {
    case HttpFailure::Kind::connect_failed:
      outcome.kind = OutcomeKind::unavailable;
      outcome.error_code = "connect_failed";
      break;
    case HttpFailure::Kind::timeout:
      outcome.kind = OutcomeKind::unknown;
      outcome.error_code = "timeout";
      break;
    case HttpFailure::Kind::connection_lost:
      outcome.kind = OutcomeKind::unknown;
      outcome.error_code = "connection_lost";
      break;
    case HttpFailure::Kind::cancelled:
      outcome.kind = failure.possibly_written ? OutcomeKind::unknown : OutcomeKind::returned;
      if (failure.possibly_written) outcome.error_code = "timeout";
      break;
    case HttpFailure::Kind::too_late:
      outcome.kind = OutcomeKind::returned;
      break;
  }
  return outcome;
}

}  // namespace byocd
