// A clock that tests turn by hand.
#pragma once

#include <algorithm>
#include <vector>

#include "timers.h"

namespace byocd {

class ManualTimers final : public Timers {
 public:
  std::unique_ptr<Timer> make_timer(std::function<void()> on_fire) override {
    return std::make_unique<ManualTimer>(*this, std::move(on_fire));
  }
  Clock::time_point now() const override { return now_; }

  /// Lets `time` pass and fires what is due, in order of time.
  void pass(std::chrono::microseconds time) {
    const auto end = now_ + time;
    while (ManualTimer* next = next_due(end)) {
      now_ = std::max(now_, next->due_);
      next->pending_ = false;
      next->on_fire_();
    }
    now_ = end;
  }
  /// One turn of the loop: fires what was started with no delay.
  void turn() { pass(std::chrono::microseconds(0)); }
  /// Lets time pass without a turn of the loop, as when the process is stopped.
  void freeze(std::chrono::microseconds time) { now_ += time; }

 private:
  class ManualTimer final : public Timer {
   public:
    ManualTimer(ManualTimers& owner, std::function<void()> on_fire) : owner_(owner), on_fire_(std::move(on_fire)) {
      owner_.timers_.push_back(this);
    }
    ~ManualTimer() override { std::erase(owner_.timers_, this); }
    void start(std::chrono::microseconds delay) override {
      due_ = owner_.now_ + delay;
      pending_ = true;
    }
    void stop() override { pending_ = false; }
    bool pending() const override { return pending_; }

    ManualTimers& owner_;
    std::function<void()> on_fire_;
    Clock::time_point due_;
    bool pending_ = false;
  };

  ManualTimer* next_due(Clock::time_point end) {
    ManualTimer* next = nullptr;
    for (ManualTimer* timer : timers_)
      if (timer->pending_ && timer->due_ <= end && (next == nullptr || timer->due_ < next->due_)) next = timer;
    return next;
  }

  Clock::time_point now_ = Clock::time_point(std::chrono::hours(1));
  std::vector<ManualTimer*> timers_;
};

}  // namespace byocd
