// What systemd is told of a service: see sd_notify(3) and systemd.service(5), Type=notify and WatchdogSec=.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "timers.h"

namespace byocd {

/// Without systemd nothing happens.
class Service {
 public:
  /// Looks up an environment variable: NOTIFY_SOCKET, WATCHDOG_USEC, WATCHDOG_PID.
  using Environment = std::function<std::optional<std::string>(const std::string&)>;

  Service(Timers& timers, const Environment& environment);
  ~Service();
  Service(const Service&) = delete;
  Service& operator=(const Service&) = delete;

  /// From now on the watchdog is fed, by a timer: a loop that stands still feeds it no more.
  void ready();
  void reloading();
  void reloaded();
  /// It may take so long to end.
  void stopping(std::chrono::microseconds longest);
  /// One line for `systemctl status`.
  void status(std::string_view text);

 private:
  void tell(std::string_view state);
  void feed();

  int socket_ = -1;
  std::string address_;
  std::string status_;
  std::chrono::microseconds watchdog_{0};
  std::unique_ptr<Timer> watchdog_timer_;
};

}  // namespace byocd
