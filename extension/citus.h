// Citus, which distributes tables over nodes (sql/distribute.sql). Nothing costs a server without it more than
// is_citus_loaded().
#pragma once

#include "pg_boundary.h"

namespace byoc {

// Whether the server has Citus's library, whatever databases do with it.
inline bool is_citus_loaded() {
  return GetConfigOption("citus.propagate_set_commands", true, false) != nullptr;
}

}  // namespace byoc
