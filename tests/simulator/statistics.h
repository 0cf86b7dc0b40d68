/// What the simulator counted since the last reset: plain numbers, written by the part that knows, read by the control
/// API.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "dates.h"

namespace simulator {

struct statistics {
  std::uint64_t requests = 0;                   // provider requests; control requests are not counted
  std::uint64_t accepted = 0;                   // messages created
  std::map<int, std::uint64_t> rejected;        // by Twilio error code
  std::map<std::string, std::uint64_t> faults;  // by action
  std::uint64_t connections = 0;                // TCP connections accepted, control ones included
  std::uint64_t in_flight = 0;                  // provider requests read and not answered yet
  std::uint64_t max_in_flight = 0;
  std::optional<timestamp> first_accepted;
  std::optional<timestamp> last_accepted;

  struct {
    std::uint64_t posted = 0;     // requests written to a receiver, repeats and retries included
    std::uint64_t succeeded = 0;  // answered 2xx
    std::uint64_t failed = 0;     // answered otherwise, or not at all after the retry
    std::uint64_t dropped = 0;    // swallowed by the delivery knobs
  } callbacks;

  /// Zeroes everything but what is still going on.
  void reset() {
    const auto still_in_flight = in_flight;
    *this = statistics{};
    in_flight = max_in_flight = still_in_flight;
  }
};

}  // namespace simulator
