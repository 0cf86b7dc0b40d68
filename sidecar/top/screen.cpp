#include "screen.h"

#include <poll.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <string_view>

namespace byocd {

namespace {

// The alternate screen without a cursor, and back: xterm's sequences, which tmux and screen know too.
constexpr std::string_view enter = "\x1b[?1049h\x1b[?25l";
constexpr std::string_view leave = "\x1b[?25h\x1b[?1049l";
constexpr std::array ending_signals{SIGINT, SIGTERM, SIGHUP, SIGQUIT};

// For the signal handler.
termios before;
bool has_keyboard = false;

void print(std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(STDOUT_FILENO, text.data(), text.size());
    if (written <= 0) return;
    text.remove_prefix(static_cast<std::size_t>(written));
  }
}

void restore() {
  print(leave);
  if (has_keyboard) tcsetattr(STDIN_FILENO, TCSANOW, &before);
}

void restore_and_end(int signal) {
  restore();
  struct sigaction usual {};
  usual.sa_handler = SIG_DFL;
  sigaction(signal, &usual, nullptr);
  raise(signal);  // takes effect when this handler returns
}

void note_new_size(int) {}  // ends poll()

}  // namespace

Screen::Screen() {
  has_keyboard = tcgetattr(STDIN_FILENO, &before) == 0;
  struct sigaction action {};
  action.sa_handler = restore_and_end;
  for (const int signal : ending_signals) sigaction(signal, &action, nullptr);
  action.sa_handler = note_new_size;
  sigaction(SIGWINCH, &action, nullptr);
  if (has_keyboard) {
    termios keys = before;
    keys.c_lflag &= ~static_cast<tcflag_t>(ECHO | ICANON);
    tcsetattr(STDIN_FILENO, TCSANOW, &keys);
  }
  print(enter);
}

Screen::~Screen() {
  restore();
}

Screen::Size Screen::size() const {
  winsize window{};
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &window) != 0 || window.ws_col == 0 || window.ws_row == 0) return {80, 24};
  return {window.ws_col, window.ws_row};
}

void Screen::show(const std::vector<std::string>& lines) {
  // Over what is there, so that nothing flickers: to the start, each line with the rest of its row, and what is below.
  std::string text = "\x1b[H";
  for (std::size_t i = 0; i < lines.size(); ++i) text += (i > 0 ? "\r\n" : "") + lines[i] + "\x1b[K";
  print(text + "\x1b[J");
}

char Screen::wait(std::chrono::milliseconds time) {
  pollfd keyboard{has_keyboard ? STDIN_FILENO : -1, POLLIN, 0};
  char key = 0;
  if (::poll(&keyboard, 1, static_cast<int>(time.count())) == 1 && ::read(STDIN_FILENO, &key, 1) == 1) return key;
  return 0;
}

}  // namespace byocd
