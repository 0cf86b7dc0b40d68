// One blocking connection, for commands that do one thing after the other. The daemon uses Connection.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "rows.h"

struct pg_conn;

namespace byocd {

/// Connects once and does not come back by itself.
class Session {
 public:
  /// Connects within 10 seconds and checks byoc.api_version(). `conninfo` may be empty (libpq's variables and
  /// defaults). `name` is what pg_stat_activity and the audit trail show. `connection_lost` of the error tells a server
  /// that cannot be reached from one that refuses.
  static Result<Session, DbError> open(const std::string& conninfo, const char* name);

  /// Runs one statement in a transaction of its own. Text parameters; nothing stands for NULL.
  QueryResult run(const char* sql, const std::vector<std::optional<std::string>>& params = {});

 private:
  struct Finish {
    void operator()(pg_conn* connection) const;
  };
  explicit Session(pg_conn* connection) : connection_(connection) {}

  std::unique_ptr<pg_conn, Finish> connection_;
};

}  // namespace byocd
