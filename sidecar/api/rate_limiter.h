// How many requests a second one token may make.
#pragma once

#include <string>
#include <unordered_map>

#include "../clock.h"

namespace byocd {

/// A token bucket for each caller that holds a second's worth. Who was not seen for a second has a full one and is
/// forgotten.
class RateLimiter {
 public:
  explicit RateLimiter(int per_second) : per_second_(per_second) {}

  void set_rate(int per_second) { per_second_ = per_second; }

  /// Whether `caller` may make one more request now.
  bool admit(const std::string& caller, Clock::time_point now);
  std::size_t callers() const { return buckets_.size(); }

 private:
  struct Bucket {
    double left;
    Clock::time_point at;
  };

  int per_second_;
  std::unordered_map<std::string, Bucket> buckets_;
  Clock::time_point swept_{};
};

}  // namespace byocd
