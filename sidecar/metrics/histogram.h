// How often something took how long.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>

namespace byocd {

/// Durations, counted by upper bounds that suit both a call to the database and a request to a provider.
class Histogram {
 public:
  /// Seconds; one more, without a bound, takes the rest.
  static constexpr std::array bounds{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,
                                     0.25,  0.5,    1.0,   2.5,  5.0,   10.0, 30.0};

  void observe(std::chrono::duration<double> duration) {
    std::size_t bucket = 0;
    while (bucket < bounds.size() && duration.count() > bounds[bucket]) ++bucket;
    ++counts_[bucket];
    sum_ += duration.count();
  }

  /// How many were above the bound before and not above this one.
  std::uint64_t count(std::size_t bucket) const { return counts_[bucket]; }
  double sum() const { return sum_; }

 private:
  std::array<std::uint64_t, bounds.size() + 1> counts_{};
  double sum_ = 0;
};

}  // namespace byocd
