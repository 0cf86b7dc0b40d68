#include "google_times.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <ctime>
#include <filesystem>

namespace simulator {
namespace {

using namespace std::chrono;

/// Sets the C library's time zone. This program has one thread.
void enter(const std::string& zone) {
  ::setenv("TZ", (":" + zone).c_str(), 1);
  ::tzset();
}

timestamp from_local(timestamp local, const std::string& zone) {
  enter(zone);
  const auto day = floor<days>(local);
  const year_month_day date(day);
  const auto in_day = floor<seconds>(local - day);
  const hh_mm_ss time(in_day);
  std::tm fields{};
  fields.tm_year = static_cast<int>(date.year()) - 1900;
  fields.tm_mon = static_cast<int>(static_cast<unsigned>(date.month())) - 1;
  fields.tm_mday = static_cast<int>(static_cast<unsigned>(date.day()));
  fields.tm_hour = static_cast<int>(time.hours().count());
  fields.tm_min = static_cast<int>(time.minutes().count());
  fields.tm_sec = static_cast<int>(time.seconds().count());
  fields.tm_isdst = -1;
  return timestamp(seconds(std::mktime(&fields))) + (local - day - in_day);
}

/// Minutes east of UTC of `Z` or `+HH:MM`; nothing when it is neither.
std::optional<int> parse_offset(std::string_view text) {
  if (text == "Z") return 0;
  if (text.size() != 6 || (text[0] != '+' && text[0] != '-') || text[3] != ':') return std::nullopt;
  for (const auto at : {1, 2, 4, 5})
    if (std::isdigit(static_cast<unsigned char>(text[static_cast<std::size_t>(at)])) == 0) return std::nullopt;
  const int value = (text[1] - '0') * 600 + (text[2] - '0') * 60 + (text[4] - '0') * 10 + (text[5] - '0');
  return text[0] == '-' ? -value : value;
}

}  // namespace

bool is_time_zone(const std::string& name) {
  const bool plain = !name.empty() && name.find("..") == name.npos && name.front() != '/' &&
                     std::all_of(name.begin(), name.end(), [](unsigned char c) {
                       return std::isalnum(c) != 0 || c == '_' || c == '-' || c == '+' || c == '/';
                     });
  std::error_code ignored;
  return plain && std::filesystem::is_regular_file("/usr/share/zoneinfo/" + name, ignored);
}

std::optional<timestamp> parse_day(std::string_view text, const std::string& zone) {
  const auto date = parse_date(text);
  if (!date || !date->whole_day) return std::nullopt;
  return from_local(date->instant, zone);
}

std::optional<timestamp> parse_time(std::string_view text, const std::string& zone) {
  constexpr std::size_t shortest = 19;  // YYYY-MM-DDTHH:MM:SS
  if (text.size() < shortest) return std::nullopt;
  const auto offset_at = text.find_first_of("Z+-", shortest);
  const auto local = parse_date(std::string(text.substr(0, offset_at)) + "Z");
  if (!local || local->whole_day) return std::nullopt;
  if (offset_at == text.npos) return zone.empty() ? std::nullopt : std::optional(from_local(local->instant, zone));
  const auto offset = parse_offset(text.substr(offset_at));
  if (!offset) return std::nullopt;
  return local->instant - minutes(*offset);
}

std::string rfc3339(timestamp when, const std::string& zone) {
  enter(zone.empty() ? "UTC" : zone);
  const std::time_t seconds_since = floor<seconds>(when).time_since_epoch().count();
  std::tm fields{};
  ::localtime_r(&seconds_since, &fields);
  const auto text = fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}", fields.tm_year + 1900, fields.tm_mon + 1,
                                fields.tm_mday, fields.tm_hour, fields.tm_min, fields.tm_sec);
  const long offset = fields.tm_gmtoff / 60;
  if (offset == 0) return text + "Z";
  return fmt::format("{}{}{:02}:{:02}", text, offset < 0 ? '-' : '+', std::abs(offset) / 60, std::abs(offset) % 60);
}

}  // namespace simulator
