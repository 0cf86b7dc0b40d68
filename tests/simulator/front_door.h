/// Where every request comes in: the control API undisturbed, the provider's API through faults and latency.
#pragma once

#include <chrono>
#include <functional>

#include "control_api.h"
#include "faults.h"
#include "http.h"
#include "latency.h"
#include "statistics.h"
#include "twilio_api.h"

namespace simulator {

class front_door {
 public:
  front_door(twilio_api& twilio, control_api& control, fault_rules& faults, latency_settings& latency,
             statistics& stats)
      : twilio_(twilio), control_(control), faults_(faults), latency_(latency), stats_(stats) {}

  answer handle(const request& asked);

 private:
  /// The provider whose API has this path. Another provider is another line here.
  answer provider_answer(const request& asked);

  twilio_api& twilio_;
  control_api& control_;
  fault_rules& faults_;
  latency_settings& latency_;
  statistics& stats_;
};

}  // namespace simulator
