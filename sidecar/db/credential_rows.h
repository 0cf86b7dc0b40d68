// Opened credentials as byoc.open_credentials() answers them.
#pragma once

#include <vector>

#include "job.h"
#include "rows.h"

namespace byocd {

/// Columns org_id, id, provider, version, fields, error. Wipes the rows.
std::vector<OpenedCredential> read_credentials(Rows& rows);

}  // namespace byocd
