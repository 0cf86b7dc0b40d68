#include "command.h"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <unistd.h>

#include <ctime>
#include <optional>

#include "../clock.h"
#include "../db/database_problem.h"
#include "../db/queue_view.h"
#include "frame.h"
#include "screen.h"

namespace byocd {

namespace {

using namespace std::chrono_literals;

constexpr int no_database = 3;
constexpr auto last_hour_kept = 15s;
constexpr std::size_t frame_width_in_files = 200;

Result<QueueView, DbError> open_view(const Config& config) {
  auto session = Session::open(config.database_url, "byocd top");
  if (!session) return fail(std::move(session.error()));
  return QueueView(std::move(*session));
}

int complain(const DbError& error) {
  fmt::print(stderr, "byocd: {}\n", database_problem(error, "byoc.grant_dispatcher").text());
  return no_database;
}

std::string time_of_day() {
  return fmt::format("{:%H:%M:%S}", fmt::localtime(std::time(nullptr)));
}

int print_once(QueueView view) {
  const auto overview = view.look(true);
  if (!overview) return complain(overview.error());
  for (const auto& line : make_frame(*overview, time_of_day(), frame_width_in_files, 0, false))
    fmt::print("{}\n", line);
  return 0;
}

int show_live(QueueView first, const TopOptions& options, const Config& config) {
  Screen screen;
  std::optional<QueueView> view(std::move(first));
  Figures last_hour;
  std::optional<Clock::time_point> last_hour_at;
  for (;;) {
    const auto [width, height] = screen.size();
    const bool due = !last_hour_at || Clock::now() - *last_hour_at > last_hour_kept;
    std::optional<DbError> error;
    if (!view) {
      if (auto again = open_view(config))
        view.emplace(std::move(*again));
      else
        error = std::move(again.error());
    }
    if (view) {
      if (auto overview = view->look(due)) {
        if (due) {
          last_hour = overview->last_hour;
          last_hour_at = Clock::now();
        }
        overview->last_hour = last_hour;
        screen.show(make_frame(*overview, time_of_day(), width, height, true));
      } else {
        error = std::move(overview.error());
        view.reset();
      }
    }
    if (error) screen.show({time_of_day() + " " + error->text(), "", "trying again; q ends"});
    if (const char key = screen.wait(std::chrono::milliseconds(static_cast<int>(options.interval_seconds * 1000)));
        key == 'q')
      return 0;
  }
}

}  // namespace

int top_command(const TopOptions& options, const Config& config) {
  auto view = open_view(config);
  if (!view) return complain(view.error());
  if (options.once || isatty(STDOUT_FILENO) == 0) return print_once(std::move(*view));
  return show_live(std::move(*view), options, config);
}

}  // namespace byocd
