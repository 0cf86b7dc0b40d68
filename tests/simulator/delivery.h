/// How a message moves on after it was accepted. Nothing moves by itself: a message carries its course, and its status
/// is read off the clock. So a message without StatusCallback costs no timer.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dates.h"
#include "random.h"

namespace simulator {

enum class message_status : std::uint8_t { accepted, queued, sending, sent, delivered, undelivered, failed };

std::string_view to_string(message_status status);

/// The status that callbacks report as `name`; nothing for other names, `accepted` included.
std::optional<message_status> callback_status_from(std::string_view name);

/// One move: the status and when it is reached, in milliseconds after the message was received.
struct step {
  message_status status;
  std::uint32_t after_ms;
};

/// All moves of one message, in order; fixed when it is accepted.
struct course {
  std::array<step, 4> steps{};
  std::uint8_t count = 0;
  std::uint16_t error_code = 0;  // of the final status; 0 for none

  const step* begin() const { return steps.data(); }
  const step* end() const { return steps.data() + count; }
};

/// The knobs of `PUT /_simulator/delivery`.
struct delivery_settings {
  /// How messages end.
  struct ending {
    message_status status = message_status::delivered;  // delivered, undelivered or failed
    int error_code = 0;
  };

  // Milliseconds from one status to the next. 0 is at once; absent is never, and the message stays where it is.
  std::optional<std::uint32_t> queued_ms = 0;  // accepted -> queued, with a Messaging Service only
  std::optional<std::uint32_t> sending_ms = 10;
  std::optional<std::uint32_t> sent_ms = 20;
  std::optional<std::uint32_t> final_ms = 50;
  ending final{};
  std::map<std::string, ending, std::less<>> recipients{};  // endings of particular To numbers

  double drop_probability = 0;                  // of each callback
  std::vector<message_status> drop_statuses{};  // callbacks that are always swallowed
  std::uint32_t repeat = 0;                     // extra copies of each callback
  bool out_of_order = false;                    // callbacks come last status first, once the final one is reached
  std::uint64_t seed = 1;                       // of drop_probability
};

/// Twilio's error code for an ending that names none: 30003 undelivered, 30008 failed, 0 delivered.
int default_error_code(message_status status);

/// The course of a new message to `to`.
course plan_course(const delivery_settings& settings, std::string_view to, bool with_service);

}  // namespace simulator
