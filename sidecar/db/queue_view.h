// The SQL calls of `byocd top`: functions that byoc.grant_dispatcher gives.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "figures.h"
#include "session.h"

namespace byocd {

/// A row of byoc.queue_health().
struct QueueLane {
  std::string org_id;
  /// A phone number or a Messaging Service SID; empty: none.
  std::string sender;
  /// closed, open or half_open.
  std::string breaker;
  bool limited = false;
  /// Why nothing is sent; empty: it may send.
  std::string paused;
  /// waiting, oldest_waiting, scheduled, sending, reconciling, unknown; next_in: seconds until it may send again.
  Figures figures;
};

struct QueueOverview {
  std::string database;
  /// byoc.queue_totals
  Figures totals;
  /// byoc.stats, as of some seconds ago.
  Figures last_hour;
  /// The busiest first.
  std::vector<QueueLane> lanes;
};

class QueueView {
 public:
  explicit QueueView(Session session) : session_(std::move(session)) {}

  /// `last_hour`: read those figures too, which costs more.
  Result<QueueOverview, DbError> look(bool last_hour);

 private:
  Session session_;
};

}  // namespace byocd
