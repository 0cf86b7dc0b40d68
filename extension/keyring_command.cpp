#include "keyring_command.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <initializer_list>

extern char** environ;

namespace byoc {
namespace {

constexpr int time_limit_ms = 30000;  // the server does not start before the command has ended

int64 now_ms() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<int64>(now.tv_sec) * 1000 + now.tv_nsec / 1000000;
}

// Keeps the last bytes of standard error.
struct Tail {
  char bytes[1024];
  size_t size;

  void add(const char* more, size_t count) {
    if (count > sizeof bytes) more += count - sizeof bytes, count = sizeof bytes;
    const size_t keep = Min(size, sizeof bytes - count);
    memmove(bytes, bytes + size - keep, keep);
    memcpy(bytes + keep, more, count);
    size = keep + count;
  }

  // Writes the last line that is not empty.
  void last_line(char* out, size_t capacity) const {
    size_t end = size;
    while (end > 0 && (bytes[end - 1] == '\n' || bytes[end - 1] == '\r' || bytes[end - 1] == ' ')) --end;
    size_t begin = end;
    while (begin > 0 && bytes[begin - 1] != '\n') --begin;
    const size_t count = Min(end - begin, capacity - 1);
    for (size_t i = 0; i < count; ++i) {
      const char c = bytes[begin + i];
      out[i] = c >= ' ' && c <= '~' ? c : '?';
    }
    out[count] = '\0';
  }
};

// Starts /bin/sh -c `command`; 0 or an errno.
int spawn(const char* command, int output, int errors, pid_t& pid) {
  posix_spawn_file_actions_t files;
  posix_spawnattr_t attributes;
  posix_spawn_file_actions_init(&files);
  posix_spawnattr_init(&attributes);
  posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&files, output, STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&files, errors, STDERR_FILENO);
  posix_spawn_file_actions_addclosefrom_np(&files, STDERR_FILENO + 1);
  // The postmaster blocks signals at this time and ignores some.
  sigset_t none;
  sigset_t defaults;
  sigemptyset(&none);
  sigemptyset(&defaults);
  for (int signal : {SIGPIPE, SIGINT, SIGQUIT, SIGTERM, SIGHUP, SIGALRM, SIGCHLD, SIGUSR1, SIGUSR2})
    sigaddset(&defaults, signal);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &defaults);
  posix_spawnattr_setpgroup(&attributes, 0);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
  char shell[] = "sh";
  char option[] = "-c";
  char* const arguments[] = {shell, option, const_cast<char*>(command), nullptr};
  const int error = posix_spawn(&pid, "/bin/sh", &files, &attributes, arguments, environ);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&files);
  return error;
}

enum class Ending { by_itself, too_late, cancelled, too_much };

// Reads both streams until their ends.
Ending read_streams(int output, int errors, int64 deadline, char* text, size_t capacity, size_t& size, Tail& tail) {
  pollfd streams[] = {{output, POLLIN, 0}, {errors, POLLIN, 0}};
  while (streams[0].fd >= 0 || streams[1].fd >= 0) {
    if (QueryCancelPending || ProcDiePending) return Ending::cancelled;
    const int64 left = deadline - now_ms();
    if (left <= 0) return Ending::too_late;
    if (poll(streams, 2, static_cast<int>(left)) < 0) continue;  // a signal
    if (streams[0].fd >= 0 && streams[0].revents != 0) {
      const ssize_t got = read(output, text + size, capacity - size);
      if (got > 0) size += static_cast<size_t>(got);
      if (size == capacity) return Ending::too_much;
      if (got == 0) streams[0].fd = -1;
    }
    if (streams[1].fd >= 0 && streams[1].revents != 0) {
      char more[sizeof tail.bytes];
      const ssize_t got = read(errors, more, sizeof more);
      if (got > 0) tail.add(more, static_cast<size_t>(got));
      if (got == 0) streams[1].fd = -1;
    }
  }
  return Ending::by_itself;
}

// Waits for the end of the process; ends it and its children when it is late.
Ending reap(pid_t pid, Ending ending, int64 deadline, int& status) {
  while (ending == Ending::by_itself) {
    const pid_t ended = waitpid(pid, &status, WNOHANG);
    if (ended == pid || (ended < 0 && errno != EINTR)) return ending;
    if (QueryCancelPending || ProcDiePending)
      ending = Ending::cancelled;
    else if (now_ms() >= deadline)
      ending = Ending::too_late;
    else
      poll(nullptr, 0, 5);
  }
  kill(-pid, SIGKILL);
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return ending;
}

}  // namespace

void run_keyring_command(const char* command, char* text, size_t capacity, size_t& size, CommandReport& report) {
  memset(&report, 0, sizeof report);
  size = 0;
  int output[2] = {-1, -1};
  int errors[2] = {-1, -1};
  pid_t pid = 0;
  int error = pipe2(output, O_CLOEXEC) != 0 || pipe2(errors, O_CLOEXEC) != 0 ? errno : 0;
  if (error == 0) error = spawn(command, output[1], errors[1], pid);
  if (output[1] >= 0) close(output[1]);
  if (errors[1] >= 0) close(errors[1]);
  if (error == 0) {
    const int64 deadline = now_ms() + time_limit_ms;
    Tail tail = {};
    int status = 0;
    Ending ending = read_streams(output[0], errors[0], deadline, text, capacity, size, tail);
    ending = reap(pid, ending, deadline, status);
    tail.last_line(report.said, sizeof report.said);
    if (ending == Ending::too_late) {
      snprintf(report.problem, sizeof report.problem, "byoc.keyring_command did not end within %d seconds",
               time_limit_ms / 1000);
    } else if (ending == Ending::cancelled) {
      snprintf(report.problem, sizeof report.problem, "byoc.keyring_command was cancelled");
    } else if (ending == Ending::by_itself && WIFSIGNALED(status)) {
      snprintf(report.problem, sizeof report.problem, "byoc.keyring_command was ended by signal %d", WTERMSIG(status));
    } else if (ending == Ending::by_itself && WEXITSTATUS(status) != 0) {
      snprintf(report.problem, sizeof report.problem, "byoc.keyring_command ended with exit status %d",
               WEXITSTATUS(status));
    }
  } else {
    snprintf(report.problem, sizeof report.problem, "byoc.keyring_command cannot be started: %s", strerror(error));
  }
  if (output[0] >= 0) close(output[0]);
  if (errors[0] >= 0) close(errors[0]);
}

}  // namespace byoc
