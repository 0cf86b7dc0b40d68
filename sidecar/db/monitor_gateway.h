// The database calls of /metrics and /readyz. On a connection of its own, so that a scrape delays no message.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "connection.h"
#include "figures.h"
#include "gateway.h"
#include "handshake.h"

namespace byocd {

/// A lane with work or trouble, as byoc.queue_health() shows it.
struct LaneFigures {
  std::string org_id;
  /// Empty: the organization had no credential when its messages were queued.
  std::string credential_id;
  /// closed, open or half_open.
  std::string breaker;
  Figures figures;
};

/// Messages that took at most so long until they were accepted, and longer than the bucket before.
struct AcceptanceBucket {
  /// Seconds; infinity for the last one.
  double up_to = 0;
  double messages = 0;
  /// How long all of them took together.
  double seconds = 0;
};

/// What a database of an earlier release, or one where this role's grants were not renewed, does not tell is absent.
struct DatabaseFigures {
  Figures totals;
  std::optional<Figures> calls;
  std::optional<std::vector<AcceptanceBucket>> acceptance;
  std::vector<LaneFigures> lanes;
};

/// What keeps a database from being sent from, if it is false.
struct DatabaseReadiness {
  bool adopted = false;
  bool keyring = false;
};

/// Callbacks come from the loop.
class MonitorGateway {
 public:
  virtual ~MonitorGateway() = default;

  /// How far the connection came.
  virtual Handshake::Progress progress() const = 0;
  /// byoc.readiness
  virtual void readiness(DbCallback<DatabaseReadiness> callback) = 0;
  /// byoc.queue_totals, byoc.key_totals, byoc.call_totals and byoc.acceptance_times; `with_lanes`: byoc.queue_health
  /// too.
  virtual void figures(bool with_lanes, DbCallback<DatabaseFigures> callback) = 0;
};

class PgMonitorGateway final : public MonitorGateway {
 public:
  PgMonitorGateway(Loop& loop, const Database& database);

  void open() { connection_.open(); }
  void close() { connection_.close(); }

  Handshake::Progress progress() const override { return handshake_.progress(); }
  void readiness(DbCallback<DatabaseReadiness> callback) override;
  void figures(bool with_lanes, DbCallback<DatabaseFigures> callback) override;

 private:
  struct Collection;
  void ask(const Statement& statement, const std::shared_ptr<Collection>& collection, bool is_optional,
           std::function<void(const Rows&)> take);

  Connection connection_;
  Handshake handshake_;
};

}  // namespace byocd
