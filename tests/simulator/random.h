/// SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014): small, seedable, the same
/// everywhere.
#pragma once

#include <cstdint>

namespace simulator {

constexpr std::uint64_t mixed(std::uint64_t value) {
  value += 0x9E3779B97F4A7C15;
  value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9;
  value = (value ^ (value >> 27)) * 0x94D049BB133111EB;
  return value ^ (value >> 31);
}

/// A repeatable sequence: equal seeds give equal draws.
class random_sequence {
 public:
  explicit random_sequence(std::uint64_t seed = 1) : state_(seed) {}

  std::uint64_t next() {
    const auto value = mixed(state_);
    state_ += 0x9E3779B97F4A7C15;
    return value;
  }

  /// Uniform in [0, 1).
  double fraction() { return static_cast<double>(next() >> 11) * 0x1.0p-53; }

 private:
  std::uint64_t state_;
};

}  // namespace simulator
