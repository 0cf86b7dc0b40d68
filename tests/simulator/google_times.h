/// Dates and times of events: RFC 3339, and days and local times in a time zone of the IANA database.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "dates.h"

namespace simulator {

bool is_time_zone(const std::string& name);

/// `YYYY-MM-DD`, at midnight in `zone`; nothing when it is no date.
std::optional<timestamp> parse_day(std::string_view text, const std::string& zone);

/// `YYYY-MM-DDTHH:MM:SS[.fraction]` with `Z` or an offset; without either it is local to `zone`, and nothing if that is
/// empty.
std::optional<timestamp> parse_time(std::string_view text, const std::string& zone);

/// `2026-11-20T12:00:00+01:00`, or `Z` in UTC.
std::string rfc3339(timestamp when, const std::string& zone);

}  // namespace simulator
