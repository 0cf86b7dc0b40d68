// Time as the queue sees it: an interface, so that tests turn the clock by hand.
#pragma once

#include <functional>
#include <memory>

#include "clock.h"

namespace byocd {

/// One timer, fires once for each start. Destroying it stops it.
class Timer {
 public:
  virtual ~Timer() = default;
  /// Fires after `delay` (0: in the next turn of the loop); a pending start is replaced.
  virtual void start(std::chrono::microseconds delay) = 0;
  virtual void stop() = 0;
  virtual bool pending() const = 0;
};

/// Where timers and the current time come from.
class Timers {
 public:
  virtual ~Timers() = default;
  virtual std::unique_ptr<Timer> make_timer(std::function<void()> on_fire) = 0;
  virtual Clock::time_point now() const = 0;
};

}  // namespace byocd
