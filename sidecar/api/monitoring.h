// What monitoring asks for: /healthz, /readyz and /metrics.
#pragma once

#include <functional>
#include <memory>

#include "../cached.h"
#include "../db/monitor_gateway.h"
#include "../metrics/instruments.h"
#include "health.h"
#include "router.h"

namespace byocd {

/// Asks the database at most every second whether it is ready, and every five seconds for figures; answers after two
/// seconds with what it has.
class Monitoring {
 public:
  struct Hooks {
    /// What the rest of the process knows; the members about the database are filled in here.
    std::function<Readiness()> readiness;
    std::function<Gauges()> gauges;
  };

  /// `with_lanes`: tell figures of single organizations.
  Monitoring(MonitorGateway& gateway, Timers& timers, const Instruments& instruments, Hooks hooks, bool with_lanes);

  void add_routes(Router& router);

 private:
  void answer_readiness(const Reply& reply);
  void answer_metrics(const Reply& reply);

  MonitorGateway& gateway_;
  const Instruments& instruments_;
  Hooks hooks_;
  bool with_lanes_;
  Cached<DatabaseReadiness> readiness_;
  Cached<DatabaseFigures> figures_;
};

}  // namespace byocd
