// Has the database seal its audit trail.
#pragma once

#include <chrono>
#include <memory>

#include "../db/gateway.h"
#include "../timers.h"

namespace byocd {

/// About once a second, one call at a time; sooner again while entries wait. Never needed for sending: a failure is
/// reported once and tried again.
class Sealer {
 public:
  Sealer(Gateway& gateway, Timers& timers);

  /// A connection became ready or was lost.
  void connection_changed();
  void stop();

 private:
  void seal();
  void on_sealed(const Result<int, DbError>& result);

  Gateway& gateway_;
  std::unique_ptr<Timer> timer_;
  bool calling_ = false;
  bool stopped_ = false;
  bool reported_ = false;
};

}  // namespace byocd
