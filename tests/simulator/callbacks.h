/// Turns the courses of messages into status callbacks at the right moments
/// (https://www.twilio.com/docs/messaging/guides/track-outbound-message-status).
#pragma once

#include <cstdint>
#include <queue>
#include <vector>

#include "accounts.h"
#include "callback_client.h"
#include "delivery.h"
#include "form.h"
#include "messages.h"
#include "statistics.h"

namespace simulator {

/// The form that a callback for `status` carries.
form callback_form(std::string_view account_sid, const message& subject, const step& reached);

/// One timer for all callbacks, set to the earliest.
class callback_schedule {
 public:
  callback_schedule(event_base* base, const account_store& accounts, const message_store& store,
                    const delivery_settings& delivery, callback_client& client, statistics& stats);

  /// Schedules all callbacks of a message that was just stored.
  void watch(const message& subject);

  /// Starts the sequence that `drop_probability` draws from over; called when the settings changed.
  void restart_draws() { draws_ = random_sequence(delivery_.seed); }

 private:
  struct due {
    timestamp when;
    std::uint64_t order;  // of scheduling: callbacks of one moment keep it
    std::uint64_t serial;
    std::uint8_t step;
    bool operator>(const due& other) const { return when != other.when ? when > other.when : order > other.order; }
  };

  void post(const due& callback);
  void arm();
  static void on_timer(evutil_socket_t, short, void* context);

  const account_store& accounts_;
  const message_store& store_;
  const delivery_settings& delivery_;
  callback_client& client_;
  statistics& stats_;
  event_handle timer_;
  std::priority_queue<due, std::vector<due>, std::greater<>> queue_;
  std::uint64_t next_order_ = 0;
  random_sequence draws_;
};

}  // namespace simulator
