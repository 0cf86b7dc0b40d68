// Whether the daemon lives and whether it can work.
#pragma once

#include "exchange.h"

namespace byocd {

/// What readiness depends on.
struct Readiness {
  bool can_claim = false;
  bool can_record = false;
  bool draining = false;
};

/// `GET /healthz`: 200 for as long as the loop turns.
ApiAnswer health_answer();

/// `GET /readyz`: 200 when jobs can be claimed and recorded, else 503 with what is missing.
ApiAnswer readiness_answer(const Readiness& readiness);

}  // namespace byocd
