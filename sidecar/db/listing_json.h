// The JSON that byoc.record_reconciliation() takes.
#pragma once

#include <string>
#include <vector>

#include "job.h"

namespace byocd {

/// The name that SQL knows.
const char* to_string(MessageListing::State state);

/// As in 2026-11-20T12:00:00Z.
std::string utc_text(std::chrono::sys_seconds time);

/// An array with one object a message. Texts are kept as they are, but for what jsonb cannot hold.
std::string messages_to_json(const std::vector<ListedMessage>& messages);

}  // namespace byocd
