// The JSON that byoc.record_outcomes() takes.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "job.h"

namespace byocd {

/// An array with one object an outcome.
std::string outcomes_to_json(const std::vector<JobOutcome>& outcomes);

/// How much of a provider's text is kept, in bytes.
constexpr std::size_t longest_text = 500;

/// Text from a provider as jsonb can hold it and a person can read it: valid UTF-8, no control characters
/// (jsonb refuses U+0000), at most `max_bytes` long.
std::string storable_text(std::string_view text, std::size_t max_bytes = longest_text);

}  // namespace byocd
