#include "monitor_gateway.h"

#include <limits>
#include <utility>

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
constexpr Statement calls_statement{
    "call_totals",
    "SELECT waiting, scheduled, running, oldest_waiting_seconds, breakers_open, breakers_half_open, paused"
    " FROM byoc.call_totals()"};
// The last one has no bound.
constexpr Statement acceptance_statement{
    "acceptance_times",
    "SELECT nullif(up_to, 'infinity') AS up_to, messages, seconds FROM byoc.acceptance_times() ORDER BY 1 NULLS LAST"};

// Of what is newer than the database, or than the grants in it.
bool is_missing(const DbError& error) {
  return error.sqlstate == "42883" || error.sqlstate == "42501";
}

std::vector<AcceptanceBucket> read_acceptance(const Rows& rows) {
  std::vector<AcceptanceBucket> buckets;
  for (int row = 0; row < rows.count(); ++row) {
    const auto columns = read_figures(rows, row);
    const auto bound = columns.find("up_to");
    buckets.push_back({bound != columns.end() ? bound->second : std::numeric_limits<double>::infinity(),
                       figure(columns, "messages"), figure(columns, "seconds")});
  }
  return buckets;
}

std::vector<LaneFigures> read_lanes(const Rows& rows) {
  std::vector<LaneFigures> lanes;
  for (int row = 0; row < rows.count(); ++row)
    lanes.push_back({std::string(rows.text(row, 0)), std::string(rows.text(row, 1)), std::string(rows.text(row, 2)),
                     read_figures(rows, row, first_lane_figure)});
  return lanes;
}

}  // namespace

/// What several queries bring together.
struct PgMonitorGateway::Collection {
  DatabaseFigures figures;
  std::optional<DbError> problem;
  int outstanding = 0;
  DbCallback<DatabaseFigures> callback;
};

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

void PgMonitorGateway::ask(const Statement& statement, const std::shared_ptr<Collection>& collection, bool is_optional,
                           std::function<void(const Rows&)> take) {
  ++collection->outstanding;
  connection_.query(statement, {}, [collection, is_optional, take = std::move(take)](QueryResult result) {
    if (result)
      take(*result);
    else if (!collection->problem && !(is_optional && is_missing(result.error())))
      collection->problem = std::move(result.error());
    if (--collection->outstanding > 0) return;
    if (collection->problem) return collection->callback(fail(std::move(*collection->problem)));
    collection->callback(std::move(collection->figures));
  });
}

void PgMonitorGateway::figures(bool with_lanes, DbCallback<DatabaseFigures> callback) {
  const auto collection = std::make_shared<Collection>();
  collection->callback = std::move(callback);
  DatabaseFigures& figures = collection->figures;
  ask(totals_statement, collection, false, [&figures](const Rows& rows) {
    figures.totals = read_figures(rows, 0);
    figures.totals["sending"] -= figures.totals["reconciling"];  // which are still under their claims
  });
  ask(calls_statement, collection, true, [&figures](const Rows& rows) { figures.calls = read_figures(rows, 0); });
  ask(acceptance_statement, collection, true,
      [&figures](const Rows& rows) { figures.acceptance = read_acceptance(rows); });
  if (with_lanes)
    ask(lanes_statement, collection, false, [&figures](const Rows& rows) { figures.lanes = read_lanes(rows); });
}

}  // namespace byocd
