#include "monitor_gateway.h"

namespace byocd {

namespace {

constexpr Statement readiness_statement{"readiness", "SELECT adopted, keyring FROM byoc.readiness()"};
constexpr Statement totals_statement{"totals", "SELECT q.*, k.* FROM byoc.queue_totals() q, byoc.key_totals() k"};
// Not the sender, which may be a phone number.
constexpr Statement lanes_statement{
    "lanes",
    "SELECT org_id, coalesce(credential_id::text, ''), breaker, waiting, extract(epoch FROM oldest_waiting) AS "
    "oldest_waiting_seconds, scheduled, sending, reconciling, unknown FROM byoc.queue_health()"};
constexpr int first_lane_figure = 3;

}  // namespace

PgMonitorGateway::PgMonitorGateway(Loop& loop, const Database& database)
    : connection_(loop, "monitor", database), handshake_(connection_, loop, "monitor", {}) {
  Connection::Handlers handlers;
  handlers.on_session = [this] { handshake_.run(); };
  handlers.on_lost = [this] { handshake_.reset(); };
  connection_.set_handlers(std::move(handlers));
}

void PgMonitorGateway::readiness(DbCallback<DatabaseReadiness> callback) {
  connection_.query(readiness_statement, {}, [callback = std::move(callback)](QueryResult result) {
    if (!result) return callback(fail(std::move(result.error())));
    callback(DatabaseReadiness{result->text(0, 0) == "t", result->text(0, 1) == "t"});
  });
}

void PgMonitorGateway::figures(bool with_lanes, DbCallback<DatabaseFigures> callback) {
  connection_.query(totals_statement, {}, [this, with_lanes, callback = std::move(callback)](QueryResult totals) {
    if (!totals) return callback(fail(std::move(totals.error())));
    DatabaseFigures figures{read_figures(*totals, 0), {}};
    figures.totals["sending"] -= figures.totals["reconciling"];  // which are still under their claims
    if (!with_lanes) return callback(std::move(figures));
    connection_.query(lanes_statement, {}, [figures = std::move(figures), callback](QueryResult lanes) mutable {
      if (!lanes) return callback(fail(std::move(lanes.error())));
      for (int row = 0; row < lanes->count(); ++row)
        figures.lanes.push_back({std::string(lanes->text(row, 0)), std::string(lanes->text(row, 1)),
                                 std::string(lanes->text(row, 2)), read_figures(*lanes, row, first_lane_figure)});
      callback(std::move(figures));
    });
  });
}

}  // namespace byocd
