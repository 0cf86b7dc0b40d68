// Keeps our leases alive, and takes over the jobs of dispatchers that died.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

#include "../db/gateway.h"
#include "../timers.h"
#include "identities.h"

namespace byocd {

/// Heartbeat every third of a lease, rescue every half. Outcomes that we know by then are recorded first: what is known
/// must not be rescued as if it were not. Later ones are not waited for, or a busy process would never rescue.
class Rescuer {
 public:
  struct Hooks {
    /// How many outcomes there were in all, and how many of them are recorded, in their order.
    std::function<std::uint64_t()> known;
    std::function<std::uint64_t()> recorded;
    /// So many jobs were taken over.
    std::function<void(int)> on_rescued = nullptr;
  };

  Rescuer(Gateway& gateway, Timers& timers, Identities& identities, Hooks hooks, std::chrono::milliseconds lease);

  /// A connection became ready or was lost.
  void connection_changed();
  void stop();

 private:
  void heartbeat();
  void rescue();

  Gateway& gateway_;
  Timers& timers_;
  Identities& identities_;
  Hooks hooks_;
  std::chrono::milliseconds lease_;
  std::unique_ptr<Timer> heartbeat_timer_;
  std::unique_ptr<Timer> rescue_timer_;
  bool connected_ = false;
  std::optional<std::uint64_t> recorded_first_;  // a rescue that is due waits for so many
};

}  // namespace byocd
