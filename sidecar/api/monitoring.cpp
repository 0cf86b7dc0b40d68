#include "monitoring.h"

#include "../log.h"
#include "../metrics/process_figures.h"
#include "../metrics/queue_figures.h"

namespace byocd {

namespace {

using namespace std::chrono_literals;

constexpr std::chrono::milliseconds readiness_kept = 1s;
constexpr std::chrono::milliseconds figures_kept = 5s;
constexpr std::chrono::milliseconds patience = 2s;

template <class T>
DbCallback<T> value_or_nothing(std::function<void(std::optional<T>)> done) {
  return [done = std::move(done)](Result<T, DbError>&& result) {
    if (result) return done(std::move(*result));
    if (!result.error().connection_lost) log::error("monitoring: {}", result.error().text());
    done(std::nullopt);
  };
}

}  // namespace

Monitoring::Monitoring(MonitorGateway& gateway, Timers& timers, const Instruments& instruments, Hooks hooks,
                       bool with_lanes)
    : gateway_(gateway),
      instruments_(instruments),
      hooks_(std::move(hooks)),
      with_lanes_(with_lanes),
      readiness_(timers, readiness_kept, patience,
                 [this](auto done) { gateway_.readiness(value_or_nothing<DatabaseReadiness>(std::move(done))); }),
      figures_(timers, figures_kept, patience, [this](auto done) {
        gateway_.figures(with_lanes_, value_or_nothing<DatabaseFigures>(std::move(done)));
      }) {}

void Monitoring::add_routes(Router& router) {
  router.add("GET", "/healthz", [](const ApiRequest&, const Reply& reply) { reply(health_answer()); });
  router.add("GET", "/readyz", [this](const ApiRequest&, const Reply& reply) { answer_readiness(reply); });
  router.add("GET", "/metrics", [this](const ApiRequest&, const Reply& reply) { answer_metrics(reply); });
}

void Monitoring::answer_readiness(const Reply& reply) {
  readiness_.get([this, reply](const std::optional<DatabaseReadiness>& database) {
    Readiness readiness = hooks_.readiness();
    readiness.database = gateway_.progress() != Handshake::Progress::unreachable;
    readiness.api_version = gateway_.progress() == Handshake::Progress::version_matches;
    readiness.adopted = database && database->adopted;
    readiness.keyring = database && database->keyring;
    reply(readiness_answer(readiness));
  });
}

void Monitoring::answer_metrics(const Reply& reply) {
  figures_.get([this, reply](const std::optional<DatabaseFigures>& figures) {
    Exposition exposition;
    instruments_.write(exposition, hooks_.gauges());
    write_queue_figures(exposition, figures);
    if (with_lanes_) write_lane_figures(exposition, figures);
    write_process_figures(exposition);
    reply({200, Exposition::content_type, exposition.text(), {}, {}});
  });
}

}  // namespace byocd
