// How far a long run is, on a terminal as a bar, elsewhere as lines.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

namespace byocd {

class Progress {
 public:
  using Write = std::function<void(const std::string&)>;

  /// `what` follows the numbers, as in "3 of 7 data keys re-wrapped". `terminal`: the bar is drawn over itself.
  Progress(std::string what, std::int64_t total, bool terminal, Write write);

  /// `done` may pass the total when work was added meanwhile.
  void update(std::int64_t done);
  /// Ends the bar's line.
  void finish();

 private:
  std::string what_;
  std::int64_t total_;
  bool terminal_;
  bool drawn_ = false;
  Write write_;
};

}  // namespace byocd
