#include "loop.h"

#include <event2/event.h>

#include <stdexcept>

namespace byocd {

namespace {

timeval to_timeval(std::chrono::microseconds delay) {
  const auto microseconds = delay.count() > 0 ? delay.count() : 0;
  timeval tv{};
  tv.tv_sec = static_cast<time_t>(microseconds / 1'000'000);
  tv.tv_usec = static_cast<suseconds_t>(microseconds % 1'000'000);
  return tv;
}

detail::EventHandle make_event(event_base* base, int fd, short what, event_callback_fn callback, void* context) {
  detail::EventHandle handle(event_new(base, fd, what, callback, context));
  if (!handle) throw std::runtime_error("libevent: no memory for an event");
  return handle;
}

class LoopTimer final : public Timer {
 public:
  LoopTimer(event_base* base, std::function<void()> on_fire)
      : on_fire_(std::move(on_fire)), event_(make_event(base, -1, 0, &LoopTimer::fire, this)) {}

  void start(std::chrono::microseconds delay) override {
    const timeval tv = to_timeval(delay);
    event_add(event_.get(), &tv);
  }
  void stop() override { event_del(event_.get()); }
  bool pending() const override { return event_pending(event_.get(), EV_TIMEOUT, nullptr) != 0; }

 private:
  static void fire(int, short, void* self) { static_cast<LoopTimer*>(self)->on_fire_(); }

  std::function<void()> on_fire_;
  detail::EventHandle event_;
};

}  // namespace

namespace detail {
void EventFree::operator()(event* e) const {
  event_free(e);
}
void EventBaseFree::operator()(event_base* base) const {
  event_base_free(base);
}
}  // namespace detail

SocketWatch::SocketWatch(event_base* base, int fd, Callback on_ready)
    : fd_(fd),
      on_ready_(std::move(on_ready)),
      read_(make_event(base, fd, EV_READ | EV_PERSIST, &SocketWatch::fire, this)),
      write_(make_event(base, fd, EV_WRITE | EV_PERSIST, &SocketWatch::fire, this)) {}

SocketWatch::~SocketWatch() = default;

void SocketWatch::watch(SocketEvents events) {
  if (events.read != watched_.read) {
    if (events.read)
      event_add(read_.get(), nullptr);
    else
      event_del(read_.get());
  }
  if (events.write != watched_.write) {
    if (events.write)
      event_add(write_.get(), nullptr);
    else
      event_del(write_.get());
  }
  watched_ = events;
}

void SocketWatch::fire(int, short what, void* self) {
  // A copy, because the callback may destroy the watch and with it the original.
  const Callback callback = static_cast<SocketWatch*>(self)->on_ready_;
  callback(SocketEvents{(what & EV_READ) != 0, (what & EV_WRITE) != 0});
}

SignalWatch::SignalWatch(event_base* base, int signal, std::function<void()> on_signal)
    : on_signal_(std::move(on_signal)),
      event_(make_event(base, signal, EV_SIGNAL | EV_PERSIST, &SignalWatch::fire, this)) {
  event_add(event_.get(), nullptr);
}

void SignalWatch::fire(int, short, void* self) {
  static_cast<SignalWatch*>(self)->on_signal_();
}

Loop::Loop() : base_(event_base_new()) {
  if (!base_) throw std::runtime_error("libevent cannot start");
}

Loop::~Loop() = default;

void Loop::run() {
  event_base_loop(base_.get(), EVLOOP_NO_EXIT_ON_EMPTY);
}

void Loop::stop() {
  event_base_loopbreak(base_.get());
}

std::unique_ptr<Timer> Loop::make_timer(std::function<void()> on_fire) {
  return std::make_unique<LoopTimer>(base_.get(), std::move(on_fire));
}

std::unique_ptr<SocketWatch> Loop::watch_socket(int fd, SocketWatch::Callback on_ready) {
  return std::make_unique<SocketWatch>(base_.get(), fd, std::move(on_ready));
}

std::unique_ptr<SignalWatch> Loop::on_signal(int signal, std::function<void()> callback) {
  return std::make_unique<SignalWatch>(base_.get(), signal, std::move(callback));
}

}  // namespace byocd
