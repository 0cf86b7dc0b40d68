// From start to drain: what happens to the parts while byocd runs.
#include <cstdlib>

#include "daemon_parts.h"
#include "log.h"
#include "version.h"

namespace byocd {
namespace {

using namespace std::chrono_literals;

// After the requests in flight are settled or broken off, recording their outcomes gets this long.
constexpr auto record_grace = 5s;
constexpr auto drain_check = 10ms;

}  // namespace

int Daemon::run() {
  log::info("byocd {} runs: {} requests in flight at most, HTTP on {} port {}", version, config_.max_in_flight,
            config_.http_host, server_.port());
  if (config_.fallback)
    log::warn("allow-env-fallback: organizations that never had a credential send with the environment's account {}",
              config_.fallback->fields.at("account_sid").reveal());
  gateway_.open();
  receipt_gateway_.open();
  monitor_gateway_.open();
  tenants_.open();
  if (!tenants_.configured()) log::info("the REST API is switched off: set tenant-role (BYOC_TENANT_ROLE)");
  if (work_.pooled) log::info("through the pooler: all connections but 'dispatch'");
  service_.ready();
  tell_status();
  loop_.run();
  tenants_.close();
  monitor_gateway_.close();
  receipt_gateway_.close();
  gateway_.close();
  return exit_code_;
}

void Daemon::on_signal() {
  if (draining_) {
    log::warn("second signal: leaving at once; {} requests in flight are left to their leases",
              dispatcher_.in_flight());
    // Not through destructors: their order is for a quiet process.
    std::_Exit(1);
  }
  begin_drain();
}

void Daemon::reload() {
  if (draining_) return;
  service_.reloading();
  auto config = reload_();
  if (!config) {
    log::error("the settings stay as they were: {}", config.error().message);
    return service_.reloaded();
  }
  for (const auto& name : restart_settings(config_, *config))
    log::warn("setting {} was changed: that takes effect with a restart", name);
  log::configure(config->log_level, config->log_format);
  config_.max_in_flight = config->max_in_flight;
  config_.max_in_flight_per_account = config->max_in_flight_per_account;
  config_.drain_timeout = config->drain_timeout;
  lanes_.set_limits(config->max_in_flight, config->max_in_flight_per_account);
  lanes_.scale(jobs_a_request());
  rest_api_.set_rate(config->api_rate);
  log::info("read the settings again: {} requests in flight at most", config_.max_in_flight);
  service_.reloaded();
  claimer_.advance();
}

void Daemon::tell_status() {
  service_.status(draining_                                       ? "Stopping"
                  : gateway_.can_claim() && gateway_.can_record() ? "Sending"
                                                                  : "Waiting for the database");
}

void Daemon::begin_drain() {
  log::info("stopping: {} jobs in flight", dispatcher_.in_flight());
  draining_ = true;
  service_.stopping(config_.drain_timeout + record_grace + 1s);
  tell_status();
  drain_deadline_ = loop_.now() + config_.drain_timeout;
  claimer_.stop();
  verifier_.stop();
  reconciler_.stop();
  call_runner_.stop();
  revoker_.stop();
  status_poller_.stop();
  status_webhook_.stop();
  rest_api_.stop();
  dispatcher_.drain();
  check_drain();
}

bool Daemon::settled() const {
  return !claimer_.claiming() && dispatcher_.in_flight() == 0 && verifier_.running() == 0 &&
         reconciler_.running() == 0 && call_runner_.settled() && revoker_.settled() && google_.pending() == 0 &&
         recorder_.unrecorded() == 0 && receipt_recorder_.unrecorded() == 0 && status_webhook_.pending() == 0 &&
         (status_poller_.settled() || !receipt_gateway_.ready());
}

void Daemon::check_drain() {
  if (settled()) return leave(0);
  const auto now = loop_.now();
  if (now >= drain_deadline_ && !broken_off_) {
    log::warn("drain timeout: breaking off {} requests", dispatcher_.in_flight());
    broken_off_ = true;
    http_.cancel_all();
  }
  if (now >= drain_deadline_ + record_grace) {
    log::error("{} outcomes could not be recorded; their jobs are left to their leases", recorder_.unrecorded());
    return leave(1);
  }
  drain_timer_->start(drain_check);
}

void Daemon::leave(int exit_code) {
  log::info("stopped");
  exit_code_ = exit_code;
  rescuer_.stop();
  sealer_.stop();
  loop_.stop();
}

}  // namespace byocd
