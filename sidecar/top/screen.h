// The terminal as a screen to draw on.
#pragma once

#include <chrono>
#include <string>
#include <vector>

namespace byocd {

/// Takes over standard output's terminal, and gives it back as it was, also when a signal ends the process.
class Screen {
 public:
  Screen();
  ~Screen();
  Screen(const Screen&) = delete;
  Screen& operator=(const Screen&) = delete;

  struct Size {
    std::size_t width;
    std::size_t height;
  };
  Size size() const;
  /// Replaces what is shown.
  void show(const std::vector<std::string>& lines);
  /// Waits for a key, a new size of the window, or so long. Answers the key, 0 for anything else.
  char wait(std::chrono::milliseconds time);
};

}  // namespace byocd
