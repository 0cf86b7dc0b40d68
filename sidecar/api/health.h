// Whether the daemon lives and whether it can work.
#pragma once

#include "exchange.h"

namespace byocd {

/// What readiness depends on.
struct Readiness {
  /// The database can be reached, and speaks our byoc.api_version().
  bool database = false;
  bool api_version = false;
  /// It is no copy that nobody adopted; its key ring has what it needs.
  bool adopted = false;
  bool keyring = false;
  bool can_claim = false;
  bool can_record = false;
  bool draining = false;
};

/// `GET /healthz`: 200 for as long as the loop turns.
ApiAnswer health_answer();

/// `GET /readyz`: 200 when jobs can be claimed, sent and recorded, else 503 with what is missing.
ApiAnswer readiness_answer(const Readiness& readiness);

}  // namespace byocd
