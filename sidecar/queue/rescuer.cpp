#include "rescuer.h"

#include "../log.h"

namespace byocd {

namespace {

using namespace std::chrono_literals;

// How soon to look again whether the outcomes are recorded.
constexpr std::chrono::milliseconds short_wait = 200ms;

}  // namespace

Rescuer::Rescuer(Gateway& gateway, Timers& timers, Identities& identities, Hooks hooks, std::chrono::milliseconds lease)
    : gateway_(gateway),
      timers_(timers),
      identities_(identities),
      hooks_(std::move(hooks)),
      lease_(lease),
      heartbeat_timer_(timers.make_timer([this] { heartbeat(); })),
      rescue_timer_(timers.make_timer([this] { rescue(); })) {}

void Rescuer::connection_changed() {
  const bool connected = gateway_.can_record();
  if (connected && !connected_) {
    heartbeat();
    rescue();
  } else if (!connected) {
    stop();
  }
  connected_ = connected;
}

void Rescuer::stop() {
  heartbeat_timer_->stop();
  rescue_timer_->stop();
  recorded_first_.reset();
}

void Rescuer::heartbeat() {
  heartbeat_timer_->start(lease_ / 3);
  for (const auto& identity : identities_.to_renew())
    gateway_.heartbeat(identity, [this, identity, sent = timers_.now()](const Result<int, DbError>& result) {
      if (result)
        identities_.renewed(identity, sent);
      else if (!result.error().connection_lost)
        log::error("heartbeat failed: {}", result.error().text());
    });
}

void Rescuer::rescue() {
  if (!recorded_first_) recorded_first_ = hooks_.known();
  if (hooks_.recorded() < *recorded_first_) return rescue_timer_->start(short_wait);
  recorded_first_.reset();
  rescue_timer_->start(lease_ / 2);
  gateway_.rescue_expired([this](const Result<int, DbError>& result) {
    if (!result) {
      if (!result.error().connection_lost) log::error("rescuing expired jobs failed: {}", result.error().text());
    } else if (*result > 0) {
      log::warn("took over {} jobs whose lease had run out", *result);
      if (hooks_.on_rescued) hooks_.on_rescued(*result);
    }
  });
}

}  // namespace byocd
