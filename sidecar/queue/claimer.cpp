#include "claimer.h"

#include <algorithm>

#include "../log.h"

namespace byocd {

namespace {

using namespace std::chrono_literals;

// Lets requests go out before the database is asked for more.
constexpr std::chrono::milliseconds rest_after_few = 1ms;
constexpr std::chrono::microseconds longest_batch_wait = 25ms;
constexpr std::chrono::milliseconds longest_fruitless_wait = 50ms;
constexpr std::chrono::milliseconds longest_error_wait = 5s;

// 1, 2, 4 ... milliseconds times `first`.
std::chrono::milliseconds doubling(std::chrono::milliseconds first, int times, std::chrono::milliseconds most) {
  return std::min(first * (1 << std::clamp(times - 1, 0, 12)), most);
}

}  // namespace

Claimer::Claimer(Gateway& gateway, Timers& timers, const LaneLoads& lanes, Hooks hooks, Options options)
    : gateway_(gateway),
      lanes_(lanes),
      hooks_(std::move(hooks)),
      options_(options),
      wake_timer_(timers.make_timer([this] { wake(); })),
      pause_timer_(timers.make_timer([this] { advance(); })),
      batch_timer_(timers.make_timer([this] {
        batch_due_ = true;
        advance();
      })) {}

void Claimer::wake() {
  woken_ = true;
  work_ = true;
  if (phase_ == Phase::idle) backlog_ = false;
  if (failures_ == 0) pause_timer_->stop();  // what could not be had may be free now
  advance();
}

void Claimer::connection_changed() {
  if (gateway_.can_claim()) work_ = true;
  advance();
}

void Claimer::stop() {
  stopped_ = true;
  wake_timer_->stop();
  pause_timer_->stop();
  batch_timer_->stop();
}

void Claimer::advance() {
  if (stopped_ || phase_ != Phase::idle || pause_timer_->pending()) return;
  if (!work_ && full_lanes_.empty()) return;
  if (!gateway_.can_claim() || !gateway_.can_record() || !hooks_.may_claim()) return;
  const int count = expected();
  if (count <= 0) return;
  // With work waiting, a claim for each freed slot would cost more than the requests themselves.
  if ((backlog_ || !work_) && !batch_due_ && !worth_a_claim(count)) {
    if (!batch_timer_->pending()) batch_timer_->start(batch_wait());
    return;
  }
  claim(hooks_.free_slots());
}

int Claimer::expected() const {
  const int free = hooks_.free_slots();
  if (work_) return free;
  int room = 0;
  for (const auto& lane : full_lanes_) room += lanes_.room(lane);
  return std::min(free, room);
}

bool Claimer::worth_a_claim(int count) const {
  // Half of those that wait for their turn: the others keep the requests going meanwhile. Where none wait, a quarter.
  const int all = work_ ? hooks_.slots() : lanes_.limit();
  const int waiting = static_cast<int>(all * (1 - 1 / hooks_.jobs_a_request()));
  return waiting > 0 ? count * 2 >= waiting : count * 4 >= all;
}

std::chrono::microseconds Claimer::batch_wait() const {
  // Where nothing waits for its turn, a thirtieth of a request's time leaves that part of the slots unused at most.
  if (hooks_.jobs_a_request() > 1.05) return longest_batch_wait;
  return std::clamp<std::chrono::microseconds>(hooks_.typical_duration() / 32, 1ms, longest_batch_wait);
}

void Claimer::claim(int slots) {
  phase_ = Phase::claiming;
  batch_due_ = false;
  woken_ = false;
  batch_timer_->stop();
  wake_timer_->stop();
  gateway_.claim_jobs({slots, lanes_.limit(), lanes_.rooms()},
                      [this, slots](auto result) { on_claimed(slots, std::move(result)); });
}

void Claimer::on_claimed(int asked, Result<std::vector<ClaimedJob>, DbError> result) {
  if (!result) {
    phase_ = Phase::idle;
    if (result.error().connection_lost || stopped_) return;  // connection_changed() goes on
    log::error("claiming failed: {}", result.error().text());
    return pause(doubling(100ms, ++failures_, longest_error_wait));
  }
  failures_ = 0;
  last_count_ = static_cast<int>(result->size());
  if (last_count_ > 0) {
    fruitless_ = 0;
    log::debug("claimed {} of {} jobs", last_count_, asked);
    hooks_.on_jobs(std::move(*result));  // slots may become free within: `claiming` keeps advance() out
  }
  full_lanes_ = lanes_.full();
  phase_ = Phase::idle;
  if (stopped_) return;
  backlog_ = last_count_ >= asked;
  work_ = last_count_ > 0 || woken_;  // a short claim does not mean an empty queue
  if (!work_) return announce();
  if (last_count_ * 8 < asked && !woken_) return pause(rest_after_few);
  advance();
}

void Claimer::announce() {
  phase_ = Phase::announcing;
  gateway_.announce_sleep(full_lanes_, [this](auto result) { on_announced(std::move(result)); });
}

void Claimer::on_announced(Result<std::optional<std::chrono::milliseconds>, DbError> result) {
  phase_ = Phase::idle;
  if (stopped_) return;
  std::chrono::milliseconds due = options_.poll_interval;
  if (!result) {
    if (result.error().connection_lost) return;
    log::error("announcing sleep failed: {}", result.error().text());
  } else {
    if (*result) due = std::min(due, **result);
    if (hooks_.on_asleep) hooks_.on_asleep();
  }
  if (due > 0ms && !woken_) {
    fruitless_ = 0;
    wake_timer_->start(due);
    return advance();  // slots of a full lane may have come back meanwhile
  }
  work_ = true;
  // Work that is there but cannot be had (another dispatcher holds it locked) must not become a busy loop.
  if (last_count_ == 0 && !woken_) {
    if (++fruitless_ > 1) return pause(doubling(1ms, fruitless_ - 1, longest_fruitless_wait));
  }
  advance();
}

}  // namespace byocd
