// The parameters that byoc.record_accepted() takes.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "job.h"

namespace byocd {

/// Whether byoc.record_accepted() can take it: accepted, and its texts are short plain ASCII. Any other outcome goes as
/// JSON.
bool is_plainly_accepted(const JobOutcome& outcome);

/// Those of the outcomes, as arrays in binary format.
std::vector<std::optional<std::string>> accepted_params(const std::vector<JobOutcome>& outcomes);

}  // namespace byocd
