/// Where every request comes in: the control API undisturbed, the provider's API through faults and latency.
#pragma once

#include <chrono>
#include <functional>

#include "control_api.h"
#include "faults.h"
#include "google_calendar.h"
#include "google_oauth.h"
#include "http.h"
#include "latency.h"
#include "statistics.h"
#include "stripe_api.h"
#include "twilio_api.h"

namespace simulator {

class front_door {
 public:
  /// Every provider's API.
  struct providers {
    twilio_api& twilio;
    google_oauth& google_identity;
    google_calendar_api& google_calendar;
    stripe_api& stripe;
  };

  front_door(providers all, control_api& control, fault_rules& faults, latency_settings& latency, statistics& stats)
      : providers_(all), control_(control), faults_(faults), latency_(latency), stats_(stats) {}

  answer handle(const request& asked);

 private:
  /// The provider whose API has this path. Another provider is another line here.
  answer provider_answer(const request& asked);

  providers providers_;
  control_api& control_;
  fault_rules& faults_;
  latency_settings& latency_;
  statistics& stats_;
};

}  // namespace simulator
