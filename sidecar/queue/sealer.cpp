#include "sealer.h"

#include "../log.h"

namespace byocd {

namespace {

using namespace std::chrono_literals;

constexpr std::chrono::milliseconds interval = 1s;
// While entries wait; leaves the connection to what is more urgent in between.
constexpr std::chrono::milliseconds busy_interval = 100ms;
constexpr std::chrono::milliseconds failure_interval = 10s;

}  // namespace

Sealer::Sealer(Gateway& gateway, Timers& timers) : gateway_(gateway), timer_(timers.make_timer([this] { seal(); })) {}

void Sealer::connection_changed() {
  if (!gateway_.can_record())
    timer_->stop();
  else if (!calling_ && !stopped_ && !timer_->pending())
    timer_->start(interval);
}

void Sealer::stop() {
  stopped_ = true;
  timer_->stop();
}

void Sealer::seal() {
  calling_ = true;
  gateway_.seal_audit_log([this](const Result<int, DbError>& result) {
    calling_ = false;
    on_sealed(result);
  });
}

void Sealer::on_sealed(const Result<int, DbError>& result) {
  if (stopped_) return;
  if (result) {
    reported_ = false;
    return timer_->start(*result > 0 ? busy_interval : interval);
  }
  if (result.error().connection_lost) return connection_changed();
  if (!reported_) log::error("sealing the audit log failed: {}; trying again", result.error().text());
  reported_ = true;
  timer_->start(failure_interval);
}

}  // namespace byocd
