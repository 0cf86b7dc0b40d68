// The one event loop of the process (libevent): sockets, timers, signals.
#pragma once

#include <functional>
#include <memory>

#include "timers.h"

struct event;
struct event_base;

namespace byocd {

/// What a socket is watched for, or found ready for.
struct SocketEvents {
  bool read = false;
  bool write = false;
};

namespace detail {
struct EventFree {
  void operator()(event* e) const;
};
struct EventBaseFree {
  void operator()(event_base* base) const;
};
using EventHandle = std::unique_ptr<event, EventFree>;
using EventBaseHandle = std::unique_ptr<event_base, EventBaseFree>;
}  // namespace detail

/// Watches one file descriptor until it is destroyed. Destroy it before the descriptor is closed.
/// The callback may destroy its own watch.
class SocketWatch {
 public:
  using Callback = std::function<void(SocketEvents)>;

  SocketWatch(event_base* base, int fd, Callback on_ready);
  ~SocketWatch();
  SocketWatch(const SocketWatch&) = delete;
  SocketWatch& operator=(const SocketWatch&) = delete;

  /// Replaces what is watched for.
  void watch(SocketEvents events);
  int fd() const { return fd_; }

 private:
  static void fire(int fd, short what, void* self);

  int fd_;
  Callback on_ready_;
  SocketEvents watched_;
  detail::EventHandle read_;
  detail::EventHandle write_;
};

/// Calls back from the loop, not from the signal handler, each time the signal arrives.
class SignalWatch {
 public:
  SignalWatch(event_base* base, int signal, std::function<void()> on_signal);

 private:
  static void fire(int signal, short what, void* self);

  std::function<void()> on_signal_;
  detail::EventHandle event_;
};

/// RAII over libevent's base. Everything made by it must be destroyed before it.
class Loop final : public Timers {
 public:
  /// Throws std::runtime_error when libevent cannot start.
  Loop();
  ~Loop() override;

  /// Serves events until stop().
  void run();
  void stop();

  std::unique_ptr<Timer> make_timer(std::function<void()> on_fire) override;
  Clock::time_point now() const override { return Clock::now(); }

  std::unique_ptr<SocketWatch> watch_socket(int fd, SocketWatch::Callback on_ready);
  std::unique_ptr<SignalWatch> on_signal(int signal, std::function<void()> callback);

  /// For evhttp, which needs the base itself.
  event_base* base() { return base_.get(); }

 private:
  detail::EventBaseHandle base_;
};

}  // namespace byocd
