#include "call_recorder.h"

#include <iterator>

#include "../log.h"

namespace byocd {

namespace {

using namespace std::chrono_literals;

constexpr auto retry_wait = 200ms;

}  // namespace

CallRecorder::CallRecorder(Gateway& gateway, Timers& timers, std::function<void()> on_recorded)
    : gateway_(gateway), on_recorded_(std::move(on_recorded)), timer_(timers.make_timer([this] { flush(); })) {}

void CallRecorder::add(CallRecord record) {
  waiting_.push_back(std::move(record));
  // In the loop's next turn: what finished in this one goes together.
  if (!timer_->pending()) timer_->start(0us);
}

void CallRecorder::connection_changed() {
  if (gateway_.can_record()) flush();
}

void CallRecorder::flush() {
  if (!sending_.empty() || waiting_.empty() || !gateway_.can_record()) return;
  if (one_by_one_) {
    sending_.push_back(std::move(waiting_.back()));
    waiting_.pop_back();
  } else {
    sending_.swap(waiting_);
  }
  one_by_one_ = one_by_one_ && !waiting_.empty();
  gateway_.record_calls(sending_, [this](const Result<int, DbError>& result) { on_answer(result); });
}

void CallRecorder::on_answer(const Result<int, DbError>& result) {
  auto sent = std::exchange(sending_, {});
  if (!result) {
    const bool again = result.error().transient() || sent.size() > 1;
    if (!result.error().connection_lost)
      log::error("recording {} calls failed: {}", sent.size(), result.error().text());
    if (again) std::move(sent.begin(), sent.end(), std::back_inserter(waiting_));
    one_by_one_ = !result.error().transient();
    if (!result.error().connection_lost && !waiting_.empty()) timer_->start(retry_wait);
    return;
  }
  if (!waiting_.empty()) timer_->start(0us);
  on_recorded_();
}

}  // namespace byocd
