#include "dates.h"

#include <fmt/format.h>

#include <array>
#include <charconv>

namespace simulator {
namespace {

using namespace std::chrono;

/// Reads exactly `width` digits at `at`; -1 when they are not digits.
int digits(std::string_view text, std::size_t at, std::size_t width) {
  int value = 0;
  if (text.size() < at + width) return -1;
  for (const char c : text.substr(at, width)) {
    if (c < '0' || c > '9') return -1;
    value = value * 10 + (c - '0');
  }
  return value;
}

}  // namespace

timestamp now() {
  return time_point_cast<microseconds>(system_clock::now());
}

std::string rfc2822(timestamp when) {
  constexpr std::array days_of_week = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  constexpr std::array months = {"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  const auto day = floor<days>(when);
  const year_month_day date(day);
  const hh_mm_ss time(floor<seconds>(when - day));
  return fmt::format("{}, {:02} {} {} {:02}:{:02}:{:02} +0000", days_of_week[weekday(day).c_encoding()],
                     static_cast<unsigned>(date.day()), months[static_cast<unsigned>(date.month()) - 1],
                     static_cast<int>(date.year()), time.hours().count(), time.minutes().count(),
                     time.seconds().count());
}

std::string http_date(timestamp when) {
  const auto text = rfc2822(when);
  return text.substr(0, text.rfind(' ') + 1) + "GMT";
}

std::string iso8601(timestamp when) {
  const auto day = floor<days>(when);
  const year_month_day date(day);
  const hh_mm_ss time(when - day);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}Z", static_cast<int>(date.year()),
                     static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()), time.hours().count(),
                     time.minutes().count(), time.seconds().count(), time.subseconds().count());
}

std::optional<date_value> parse_date(std::string_view text) {
  const int y = digits(text, 0, 4);
  const int m = digits(text, 5, 2);
  const int d = digits(text, 8, 2);
  if (y < 0 || m < 0 || d < 0 || text[4] != '-' || text[7] != '-') return std::nullopt;
  const year_month_day date(year(y), month(static_cast<unsigned>(m)), day(static_cast<unsigned>(d)));
  if (!date.ok()) return std::nullopt;
  const timestamp midnight = sys_days(date);
  if (text.size() == 10) return date_value{midnight, true};
  const int h = digits(text, 11, 2);
  const int min = digits(text, 14, 2);
  const int s = digits(text, 17, 2);
  if (text[10] != 'T' || h < 0 || h > 23 || min < 0 || min > 59 || s < 0 || s > 60 || text[13] != ':' ||
      text[16] != ':')
    return std::nullopt;
  auto rest = text.substr(19);
  if (rest.empty() || rest.back() != 'Z') return std::nullopt;
  rest.remove_suffix(1);
  microseconds fraction{0};
  if (!rest.empty()) {
    if (rest.front() != '.' || rest.size() < 2 || rest.size() > 7) return std::nullopt;
    const int value = digits(rest, 1, rest.size() - 1);
    if (value < 0) return std::nullopt;
    std::int64_t scaled = value;
    for (auto places = rest.size() - 1; places < 6; ++places) scaled *= 10;
    fraction = microseconds(scaled);
  }
  return date_value{midnight + hours(h) + minutes(min) + seconds(s) + fraction, false};
}

}  // namespace simulator
