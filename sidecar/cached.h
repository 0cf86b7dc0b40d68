// An answer that is costly to have, and asked for more often than it changes.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "timers.h"

namespace byocd {

/// Fetches at most once in `keep`, for all who ask; who has waited `patience` long for it gets nothing.
template <class T>
class Cached {
 public:
  /// Gives the value later, or nothing when it cannot be had; not from within the call.
  using Fetch = std::function<void(std::function<void(std::optional<T>)>)>;
  using Callback = std::function<void(const std::optional<T>&)>;

  Cached(Timers& timers, std::chrono::milliseconds keep, std::chrono::milliseconds patience, Fetch fetch)
      : timers_(timers),
        keep_(keep),
        patience_(patience),
        fetch_(std::move(fetch)),
        impatience_(timers.make_timer([this] { answer(std::nullopt); })) {}

  /// May call back at once.
  void get(Callback callback) {
    if (value_ && timers_.now() - fetched_at_ < keep_) return callback(value_);
    waiting_.push_back(std::move(callback));
    if (waiting_.size() == 1) impatience_->start(patience_);
    if (fetching_) return;
    fetching_ = true;
    fetch_([this](std::optional<T> value) {
      fetching_ = false;
      value_ = std::move(value);
      fetched_at_ = timers_.now();
      answer(value_);
    });
  }

 private:
  void answer(const std::optional<T>& value) {
    impatience_->stop();
    for (auto callbacks = std::exchange(waiting_, {}); auto& callback : callbacks) callback(value);
  }

  Timers& timers_;
  std::chrono::milliseconds keep_;
  std::chrono::milliseconds patience_;
  Fetch fetch_;
  std::unique_ptr<Timer> impatience_;
  std::vector<Callback> waiting_;
  std::optional<T> value_;
  Clock::time_point fetched_at_;
  bool fetching_ = false;
};

}  // namespace byocd
