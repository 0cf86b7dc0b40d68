#include "database_problem.h"

#include <fmt/format.h>

namespace byocd {

Problem database_problem(const DbError& error, const char* part) {
  if (error.connection_lost)
    return {"database_unreachable", fmt::format("The database could not be reached: {}.", error.message),
            "Check that PostgreSQL runs, and DATABASE_URL or PGHOST, PGPORT, PGDATABASE and PGUSER.", true};
  if (error.sqlstate == "42501")
    return {"permission_denied", fmt::format("The database refuses: {}.", error.message),
            fmt::format("Connect as a role that has its part by {}(role).", part)};
  if (error.sqlstate == "3F000" || error.sqlstate == "42883")
    return {"not_installed", fmt::format("This database has no pg_byoc that fits: {}.", error.message),
            "CREATE EXTENSION pg_byoc in this database, or name the right one in DATABASE_URL or PGDATABASE."};
  return {error.sqlstate.empty() ? "database_error" : error.sqlstate,
          fmt::format("The database refuses: {}.", error.message),
          error.hint.empty() ? "See the server's log." : error.hint};
}

}  // namespace byocd
