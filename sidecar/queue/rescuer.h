// Keeps our leases alive, and takes over the jobs of dispatchers that died.
#pragma once

#include <chrono>
#include <functional>
#include <memory>

#include "../db/gateway.h"
#include "../timers.h"
#include "identities.h"

namespace byocd {

/// Heartbeat every third of a lease, rescue every half. After a lost connection our own outcomes are recorded first:
/// what is known must not be rescued as if it were not.
class Rescuer {
 public:
  struct Hooks {
    /// False while outcomes of ours wait.
    std::function<bool()> may_rescue;
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
};

}  // namespace byocd
