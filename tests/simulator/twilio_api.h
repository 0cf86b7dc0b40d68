/// Twilio's REST API, version 2010-04-01: who asks, and for what.
#pragma once

#include "accounts.h"
#include "http.h"
#include "statistics.h"
#include "twilio_messages.h"

namespace simulator {

class twilio_api {
 public:
  twilio_api(const account_store& accounts, twilio_messages& messages, statistics& stats)
      : accounts_(accounts), messages_(messages), stats_(stats) {}

  /// Answers one request under `/2010-04-01`.
  answer handle(const request& asked);

 private:
  answer route(const request& asked);

  const account_store& accounts_;
  twilio_messages& messages_;
  statistics& stats_;
};

}  // namespace simulator
