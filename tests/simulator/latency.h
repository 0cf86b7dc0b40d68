/// How long the provider takes to answer (`PUT /_simulator/latency`).
#pragma once

#include <chrono>
#include <cstdint>

#include "random.h"

namespace simulator {

struct latency_settings {
  std::uint32_t ms = 0;
  std::uint32_t jitter_ms = 0;  // at most this much is added, uniformly
  random_sequence draws{1};

  std::chrono::milliseconds draw() {
    if (jitter_ms == 0) return std::chrono::milliseconds(ms);
    return std::chrono::milliseconds(ms + draws.next() % (std::uint64_t{jitter_ms} + 1));
  }
};

}  // namespace simulator
