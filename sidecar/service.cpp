#include "service.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <charconv>
#include <cstddef>
#include <cstring>

namespace byocd {

namespace {

std::int64_t number(const std::optional<std::string>& text) {
  std::int64_t value = 0;
  if (text) std::from_chars(text->data(), text->data() + text->size(), value);
  return value;
}

std::int64_t monotonic_microseconds() {
  timespec time{};
  ::clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * std::int64_t{1'000'000} + time.tv_nsec / 1000;
}

}  // namespace

Service::Service(Timers& timers, const Environment& environment)
    : address_(environment("NOTIFY_SOCKET").value_or("")), watchdog_timer_(timers.make_timer([this] { feed(); })) {
  if (address_.empty() || address_.size() >= sizeof(sockaddr_un::sun_path)) return;
  socket_ = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  // A child of the service inherits the variables, but the watchdog is not its own.
  const auto owner = environment("WATCHDOG_PID");
  if (!owner || number(owner) == ::getpid())
    watchdog_ = std::chrono::microseconds(number(environment("WATCHDOG_USEC")));
}

Service::~Service() {
  if (socket_ >= 0) ::close(socket_);
}

void Service::ready() {
  tell("READY=1");
  if (watchdog_.count() > 0) feed();
}

void Service::reloading() {
  tell(fmt::format("RELOADING=1\nMONOTONIC_USEC={}", monotonic_microseconds()));
}

void Service::reloaded() {
  tell("READY=1");
}

void Service::stopping(std::chrono::microseconds longest) {
  tell(fmt::format("STOPPING=1\nEXTEND_TIMEOUT_USEC={}", longest.count()));
}

void Service::status(std::string_view text) {
  if (text == status_) return;
  status_ = text;
  tell("STATUS=" + status_);
}

void Service::feed() {
  tell("WATCHDOG=1");
  watchdog_timer_->start(watchdog_ / 3);
}

void Service::tell(std::string_view state) {
  if (socket_ < 0) return;
  sockaddr_un to{};
  to.sun_family = AF_UNIX;
  std::memcpy(to.sun_path, address_.data(), address_.size());
  if (to.sun_path[0] == '@') to.sun_path[0] = '\0';  // systemd's way to write an abstract name
  // Should it not be heard, there is nobody to tell.
  (void)::sendto(socket_, state.data(), state.size(), MSG_NOSIGNAL, reinterpret_cast<const sockaddr*>(&to),
                 static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + address_.size()));
}

}  // namespace byocd
