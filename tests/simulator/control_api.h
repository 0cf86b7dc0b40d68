/// The API under `/_simulator`, by which tests arrange the provider and look at what it received. README.md describes
/// it.
#pragma once

#include <functional>
#include <string_view>

#include "accounts.h"
#include "delivery.h"
#include "faults.h"
#include "google_control.h"
#include "http.h"
#include "latency.h"
#include "lists.h"
#include "messages.h"
#include "statistics.h"
#include "stripe_api.h"

namespace simulator {

inline constexpr std::string_view control_path = "/_simulator/";

/// Everything that the control API reads and changes.
struct control_targets {
  account_store& accounts;
  message_store& messages;
  fault_rules& faults;
  latency_settings& latency;
  list_settings& lists;
  delivery_settings& delivery;
  statistics& stats;
  google_control& google;
  stripe_api& stripe;
  std::function<void()> on_delivery_changed;
  std::function<void()> on_faults_changed;
};

class control_api {
 public:
  explicit control_api(control_targets targets) : targets_(std::move(targets)) {}

  /// Answers one control request. Wrong input is answered 400 with `{"error": sentence}`.
  answer handle(const request& asked);

 private:
  answer route(const request& asked);
  answer messages(const request& asked);
  answer accounts(const request& asked, std::string_view sid);
  answer faults(const request& asked);

  control_targets targets_;
};

}  // namespace simulator
