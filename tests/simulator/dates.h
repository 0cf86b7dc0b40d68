/// Points in time as the simulator stores, writes and reads them. All of them are UTC.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace simulator {

/// Microseconds since the Unix epoch.
using timestamp = std::chrono::sys_time<std::chrono::microseconds>;

timestamp now();

/// `Fri, 20 Nov 2026 12:00:00 +0000`: the form of dates in Twilio's resources (RFC 2822).
std::string rfc2822(timestamp when);

/// `Fri, 20 Nov 2026 12:00:00 GMT`: the form of dates in HTTP (RFC 9110, section 5.6.7).
std::string http_date(timestamp when);

/// `2026-11-20T12:00:00.000000Z` (ISO 8601).
std::string iso8601(timestamp when);

/// A date filter's value. `whole_day` when only `YYYY-MM-DD` was given.
struct date_value {
  timestamp instant;
  bool whole_day;
};

/// Reads `YYYY-MM-DD` or `YYYY-MM-DDTHH:MM:SS[.fraction]Z` (what Twilio's client libraries send); nothing when it is
/// neither.
std::optional<date_value> parse_date(std::string_view text);

}  // namespace simulator
