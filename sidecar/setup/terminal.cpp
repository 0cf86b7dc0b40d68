#include "terminal.h"

#include <fmt/format.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>

namespace byocd {

namespace {

constexpr std::size_t longest_line = 1024;
constexpr std::array ending_signals{SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP};

// For the signal handler.
termios shown;

void restore_and_end(int signal) {
  tcsetattr(STDIN_FILENO, TCSANOW, &shown);
  struct sigaction usual {};
  usual.sa_handler = SIG_DFL;
  sigaction(signal, &usual, nullptr);
  raise(signal);  // takes effect when this handler returns
}

/// The terminal does not show what is typed while this exists.
class Hidden {
 public:
  Hidden() {
    if (tcgetattr(STDIN_FILENO, &shown) != 0) return;
    struct sigaction action {};
    action.sa_handler = restore_and_end;
    for (std::size_t i = 0; i < ending_signals.size(); ++i) sigaction(ending_signals[i], &action, &before_[i]);
    termios hidden = shown;
    hidden.c_lflag &= ~static_cast<tcflag_t>(ECHO);
    hidden.c_lflag |= ECHONL;  // the end of the line is shown
    changed_ = tcsetattr(STDIN_FILENO, TCSAFLUSH, &hidden) == 0;
  }
  ~Hidden() {
    if (!changed_) return;
    tcsetattr(STDIN_FILENO, TCSANOW, &shown);
    for (std::size_t i = 0; i < ending_signals.size(); ++i) sigaction(ending_signals[i], &before_[i], nullptr);
  }
  Hidden(const Hidden&) = delete;
  Hidden& operator=(const Hidden&) = delete;

 private:
  std::array<struct sigaction, ending_signals.size()> before_{};
  bool changed_ = false;
};

}  // namespace

std::optional<SecretString> ask(const std::string& question, bool hidden) {
  std::optional<Hidden> hiding;
  if (hidden) hiding.emplace();
  fmt::print(stderr, "{}: ", question);
  std::fflush(stderr);
  // Not through stdio, whose buffer is not wiped.
  std::array<char, longest_line> line{};
  std::size_t length = 0;
  bool ended = false;
  while (!ended && length < line.size()) {
    const ssize_t got = read(STDIN_FILENO, &line[length], 1);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    ended = line[length] == '\n';
    ++length;
  }
  std::string_view text(line.data(), length);
  while (!text.empty() && static_cast<unsigned char>(text.back()) <= ' ') text.remove_suffix(1);
  text.remove_prefix(std::min(text.find_first_not_of(" \t"), text.size()));
  SecretString answer(text);
  OPENSSL_cleanse(line.data(), line.size());
  if (!ended) return std::nullopt;
  return answer;
}

}  // namespace byocd
