#include "progress.h"

#include <fmt/format.h>

#include <algorithm>

namespace byocd {

namespace {
constexpr int bar_width = 30;
}

Progress::Progress(std::string what, std::int64_t total, bool terminal, Write write)
    : what_(std::move(what)), total_(total), terminal_(terminal), write_(std::move(write)) {}

void Progress::update(std::int64_t done) {
  total_ = std::max(total_, done);
  const std::string text = fmt::format("{} of {} {}", done, total_, what_);
  if (!terminal_) return write_(text + "\n");
  const int filled = total_ == 0 ? bar_width : static_cast<int>(done * bar_width / total_);
  write_(fmt::format("\r[{}{}] {:3}%  {}", std::string(filled, '#'), std::string(bar_width - filled, '.'),
                     total_ == 0 ? 100 : done * 100 / total_, text));
  drawn_ = true;
}

void Progress::finish() {
  if (drawn_) write_("\n");
  drawn_ = false;
}

}  // namespace byocd
