// Calls between SQL's rows and JSON, and the program's types.
#pragma once

#include <string>
#include <vector>

#include "call.h"
#include "rows.h"

namespace byocd {

/// Rows of byoc.claim_calls(); `not_after` is left to the caller.
std::vector<ClaimedCall> read_calls(const Rows& rows);

/// The JSON that byoc.record_calls() takes. Of a provider's free text as much is kept as a person can read.
std::string calls_to_json(const std::vector<CallRecord>& records);

}  // namespace byocd
