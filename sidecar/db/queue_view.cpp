#include "queue_view.h"

namespace byocd {

namespace {

constexpr char lanes_query[] =
    "SELECT org_id, coalesce(sender, ''), breaker, limited, coalesce(paused, ''), waiting,"
    " extract(epoch FROM oldest_waiting) AS oldest_waiting, scheduled, sending, reconciling, unknown,"
    " extract(epoch FROM next_at - now()) AS next_in"
    " FROM byoc.queue_health() ORDER BY waiting DESC, unknown DESC, scheduled + sending DESC, org_id LIMIT 500";
constexpr int first_shown_figure = 5;

}  // namespace

Result<QueueOverview, DbError> QueueView::look(bool last_hour) {
  QueueOverview overview;
  auto totals = session_.run("SELECT current_database() AS name, q.* FROM byoc.queue_totals() q");
  if (!totals) return fail(std::move(totals.error()));
  overview.database = totals->text(0, 0);
  overview.totals = read_figures(*totals, 0, 1);
  if (last_hour) {
    auto stats =
        session_.run("SELECT sent_last_hour, failed_last_hour, expired_last_hour, unknown_last_hour FROM byoc.stats()");
    if (!stats) return fail(std::move(stats.error()));
    overview.last_hour = read_figures(*stats, 0);
  }
  auto lanes = session_.run(lanes_query);
  if (!lanes) return fail(std::move(lanes.error()));
  for (int row = 0; row < lanes->count(); ++row)
    overview.lanes.push_back({std::string(lanes->text(row, 0)), std::string(lanes->text(row, 1)),
                              std::string(lanes->text(row, 2)), lanes->text(row, 3) == "t",
                              std::string(lanes->text(row, 4)), read_figures(*lanes, row, first_shown_figure)});
  return overview;
}

}  // namespace byocd
