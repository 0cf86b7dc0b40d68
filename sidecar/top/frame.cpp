#include "frame.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace byocd {

namespace {

enum class Style { plain, bold, faint, alarm };

constexpr const char* ansi(Style style) {
  switch (style) {
    case Style::bold:
      return "\x1b[1m";
    case Style::faint:
      return "\x1b[2m";
    case Style::alarm:
      return "\x1b[1;31m";
    case Style::plain:
      break;
  }
  return "";
}

// 12,345
std::string counted(double number) {
  std::string digits = fmt::format("{:.0f}", number);
  for (std::size_t at = digits.size(); at > 3; at -= 3)
    digits.insert(digits.begin() + static_cast<std::ptrdiff_t>(at - 3), ',');
  return digits;
}

std::string lasting(double seconds) {
  if (seconds < 10) return fmt::format("{:.1f} s", seconds);
  if (seconds < 120) return fmt::format("{:.0f} s", seconds);
  if (seconds < 7200) return fmt::format("{:.0f} min", std::floor(seconds / 60));
  return fmt::format("{:.0f} h", std::floor(seconds / 3600));
}

std::string state_of(const QueueLane& lane) {
  const auto next = lane.figures.find("next_in");
  const std::string until = next != lane.figures.end() ? " for " + lasting(std::max(0.0, next->second)) : std::string();
  if (!lane.paused.empty()) return "paused: " + lane.paused;
  if (lane.breaker == "open") return "breaker open" + until;
  if (lane.breaker == "half_open") return "breaker half open";
  return lane.limited ? "limited" + until : "";
}

// Plain ASCII is one character a byte; of other texts (a reason) an incomplete last character is left out.
std::string cut(std::string line, std::size_t width) {
  if (line.size() <= width) return line;
  while (width > 0 && (static_cast<unsigned char>(line[width]) & 0xc0) == 0x80) --width;
  line.resize(width);
  return line;
}

class Frame {
 public:
  Frame(std::size_t width, std::size_t height, bool styled) : width_(width), height_(height), styled_(styled) {}

  void add(std::string line, Style style = Style::plain) {
    if (height_ != 0 && lines_.size() == height_) return;
    line = cut(std::move(line), width_);
    if (styled_ && style != Style::plain) line = fmt::format("{}{}\x1b[0m", ansi(style), line);
    lines_.push_back(std::move(line));
  }
  std::vector<std::string> take() { return std::move(lines_); }

 private:
  std::size_t width_;
  std::size_t height_;
  bool styled_;
  std::vector<std::string> lines_;
};

constexpr const char* columns = "{:<36}  {:<34}  {:>9}  {:>7}  {:>9}  {:>7}  {:>10}  {:>7}  {}";

}  // namespace

std::vector<std::string> make_frame(const QueueOverview& overview, const std::string& time, std::size_t width,
                                    std::size_t height, bool styled) {
  Frame frame(width, height, styled);
  const auto total = [&](const char* name) { return counted(figure(overview.totals, name)); };
  const auto hour = [&](const char* name) { return counted(figure(overview.last_hour, name)); };
  const double dispatchers =
      figure(overview.totals, "dispatchers_sending") + figure(overview.totals, "dispatchers_sleeping");
  const double breakers = figure(overview.totals, "breakers_open") + figure(overview.totals, "breakers_half_open");

  frame.add(fmt::format("pg_byoc in {}, {}", overview.database, time), Style::bold);
  frame.add(fmt::format("waiting {}, the oldest for {}; scheduled {}; due {}; sending {}; looked for {}; unknown {}",
                        total("waiting"), lasting(figure(overview.totals, "oldest_waiting_seconds")),
                        total("scheduled"), total("due"),
                        counted(figure(overview.totals, "sending") - figure(overview.totals, "reconciling")),
                        total("reconciling"), total("unknown")));
  frame.add(fmt::format("last hour: sent {}; failed {}; expired {}; unknown {}", hour("sent_last_hour"),
                        hour("failed_last_hour"), hour("expired_last_hour"), hour("unknown_last_hour")));
  frame.add(dispatchers > 0 ? fmt::format("byocd: {} sending, {} waiting for work", total("dispatchers_sending"),
                                          total("dispatchers_sleeping"))
                            : std::string("byocd: none sends"),
            dispatchers > 0 ? Style::plain : Style::alarm);
  frame.add(fmt::format("lanes: {} with an open breaker, {} limited, {} paused; credentials: {} verified, {} pending, "
                        "{} failed",
                        counted(breakers), total("lanes_limited"), total("lanes_paused"), total("credentials_verified"),
                        total("credentials_pending"), total("credentials_failed")),
            breakers > 0 ? Style::alarm : Style::plain);
  frame.add("");
  frame.add(fmt::format(fmt::runtime(columns), "ORGANIZATION", "SENDER", "WAITING", "OLDEST", "SCHEDULED", "SENDING",
                        "LOOKED FOR", "UNKNOWN", "STATE"),
            Style::faint);
  for (const auto& lane : overview.lanes) {
    const auto number = [&](const char* name) { return counted(figure(lane.figures, name)); };
    const auto oldest = lane.figures.find("oldest_waiting");
    const std::string state = state_of(lane);
    frame.add(fmt::format(fmt::runtime(columns), lane.org_id, lane.sender, number("waiting"),
                          oldest != lane.figures.end() ? lasting(oldest->second) : "", number("scheduled"),
                          number("sending"), number("reconciling"), number("unknown"), state),
              state.empty() ? Style::plain : Style::alarm);
  }
  if (overview.lanes.empty()) frame.add("nothing waits, and nothing is wrong");
  return frame.take();
}

}  // namespace byocd
