// Who must not be texted.
#pragma once

#include "pg_boundary.h"

namespace byoc {

// What byoc.messages says of a message to somebody who opted out.
constexpr char opted_out_code[] = "21610";
constexpr char opted_out_reason[] = "the recipient has opted out";

// True when byoc.opt_outs has the number, as of this statement: not of the snapshot of a transaction that began
// earlier.
bool has_opted_out(const pg_uuid_t* organization, const text* number);

}  // namespace byoc
