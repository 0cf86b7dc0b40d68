// Looks for master keys that data keys need, in every database of the server: background workers can open each of them.
#pragma once

#include "shared_state.h"

namespace byoc {

// Registers the check that runs once after each start of the server: it logs a warning for each database whose data
// keys are wrapped by master keys that the key ring lacks. Called once from _PG_init.
void register_start_check();

// What check_other_databases found, as lines for an error's DETAIL.
struct OtherDatabases {
  StringInfoData used;       // "Master key ... wraps ..."; empty: none
  StringInfoData unchecked;  // names of databases that could not be looked at, separated by commas
};

// Looks in all databases but the current one for data keys that are wrapped by one of these master keys
// (zero-terminated ids). Waits for transactions there that change data keys. Raises 55006 while another session does
// the same.
void check_other_databases(const char (*ids)[key_id_capacity + 1], int count, OtherDatabases& result);

}  // namespace byoc
