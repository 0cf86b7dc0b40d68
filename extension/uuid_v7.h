// UUID version 7 (RFC 9562): ids that sort by time of creation, so that queues and histories grow at one end.
#pragma once

#include "pg_boundary.h"

namespace byoc {

// A new id, greater than every id that this backend made before.
void make_uuid_v7(pg_uuid_t* id);

}  // namespace byoc
