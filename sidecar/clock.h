// The clock that leases are measured by.
#pragma once

#include <time.h>

#include <chrono>

namespace byocd {

/// Monotonic: it goes on while the process is stopped and while the machine is suspended, and never jumps with the wall
/// clock.
struct Clock {
  using duration = std::chrono::nanoseconds;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::time_point<Clock>;
  static constexpr bool is_steady = true;

  static time_point now() {
    timespec time{};
    ::clock_gettime(CLOCK_BOOTTIME, &time);
    return time_point(std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec));
  }
};

}  // namespace byocd
