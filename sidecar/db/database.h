// Which database connections go to, and who watches them.
#pragma once

#include <memory>
#include <string>

#include "connection_observer.h"
#include "resolver.h"

namespace byocd {

struct Database {
  /// libpq connection string or URI; empty: libpq's own variables and defaults.
  std::string conninfo;
  /// Null: nobody.
  ConnectionObserver* observer = nullptr;
  /// How names are looked up.
  Resolver::Lookup lookup = look_up;
  /// Behind it is a pooler that gives each transaction any session (PgBouncer's pool_mode = transaction): a connection
  /// keeps nothing in the session, and brings its settings along with each transaction.
  bool pooled = false;
  /// What byoc.fallback is in the sessions that announced the environment's account; shared by who needs it in theirs.
  std::shared_ptr<std::string> fallback = std::make_shared<std::string>("0");
};

}  // namespace byocd
