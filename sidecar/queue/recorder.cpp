#include "recorder.h"

#include <algorithm>

#include "../log.h"

namespace byocd {

namespace {

using namespace std::chrono_literals;

// A call costs as much as many of its messages: so many go at once, fewer wait for others for a moment.
constexpr std::size_t most_outcomes = 512;
constexpr std::chrono::microseconds grouping_time = 40ms;
constexpr std::chrono::milliseconds longest_pause = 5s;
constexpr std::chrono::milliseconds aside_interval = 30s;

}  // namespace

Recorder::Recorder(Gateway& gateway, Timers& timers, Identities& identities, Hooks hooks)
    : gateway_(gateway),
      timers_(timers),
      identities_(identities),
      hooks_(std::move(hooks)),
      flush_timer_(timers.make_timer([this] { flush(); })),
      aside_timer_(timers.make_timer([this] { retry_aside(); })),
      batch_limit_(most_outcomes) {}

void Recorder::expect(const std::vector<ClaimedJob>& jobs) {
  for (const auto& job : jobs) identities_.hold(job.claim->dispatcher);
}

void Recorder::add(JobOutcome outcome) {
  // Anything else may stop its lane: the sooner, the fewer of its requests go out in vain.
  urgent_ |= outcome.outcome.kind != OutcomeKind::accepted;
  waiting_.push_back(std::move(outcome));
  if (failures_ == 0) schedule();
}

void Recorder::schedule() {
  if (!sending_.empty() || waiting_.empty()) return;
  // In the loop's next turn at the earliest: what finished in this one goes together.
  const bool at_once = urgent_ || waiting_.size() >= batch_limit_;
  const auto wait = at_once ? Clock::duration(0) : last_flush_ + grouping_time - timers_.now();
  if (!flush_timer_->pending() || at_once)
    flush_timer_->start(std::chrono::duration_cast<std::chrono::microseconds>(std::max(wait, Clock::duration(0))));
}

void Recorder::connection_changed() {
  failures_ = 0;
  if (gateway_.can_record()) flush();
}

void Recorder::flush() {
  if (!sending_.empty() || waiting_.empty() || !gateway_.can_record()) return;
  const std::size_t count = std::min(waiting_.size(), batch_limit_);
  const auto end = waiting_.begin() + static_cast<std::ptrdiff_t>(count);
  sending_.assign(std::make_move_iterator(waiting_.begin()), std::make_move_iterator(end));
  waiting_.erase(waiting_.begin(), end);
  last_flush_ = timers_.now();
  urgent_ &= !waiting_.empty();
  gateway_.record_outcomes(sending_, [this](auto result) { on_recorded(std::move(result)); });
}

void Recorder::on_recorded(Result<int, DbError> result) {
  if (!result) return on_refused(result.error());
  if (*result < static_cast<int>(sending_.size()))
    log::warn("{} of {} outcomes changed nothing: recorded before, or the jobs were not ours any more",
              static_cast<int>(sending_.size()) - *result, sending_.size());
  for (const auto& outcome : sending_) identities_.settle(outcome.claim->dispatcher);
  if (hooks_.on_recorded) hooks_.on_recorded(sending_);
  recorded_ += sending_.size();
  sending_.clear();
  failures_ = 0;
  batch_limit_ = std::min(batch_limit_ * 2, most_outcomes);
  schedule();
  hooks_.on_progress();
}

void Recorder::on_refused(const DbError& error) {
  // Back to the front, in their order.
  waiting_.insert(waiting_.begin(), std::make_move_iterator(sending_.begin()), std::make_move_iterator(sending_.end()));
  const std::size_t count = sending_.size();
  sending_.clear();
  if (error.connection_lost) return;  // connection_changed() goes on
  if (error.transient()) {
    log::warn("recording {} outcomes failed: {}; trying again", count, error.text());
    flush_timer_->start(std::min<std::chrono::milliseconds>(100ms * (1 << std::min(failures_++, 10)), longest_pause));
    return;
  }
  if (count > 1)
    batch_limit_ = (count + 1) / 2;
  else
    on_unrecordable(error);
  flush_timer_->start(0us);
}

void Recorder::on_unrecordable(const DbError& error) {
  JobOutcome& job = waiting_.front();
  Outcome& outcome = job.outcome;
  log::error({{"message_id", job.id}, {"org_id", job.org_id}},
             "the outcome of message {} of organization {} cannot be recorded: {}", job.id, job.org_id, error.text());
  if (outcome.error_message || outcome.provider_status || outcome.from_number) {
    // A provider's free text is the likeliest cause, and the outcome matters more than its words.
    outcome.error_message.reset();
    outcome.provider_status.reset();
    outcome.from_number.reset();
    return;
  }
  job.hold.reset();  // this may take for ever
  aside_.push_back(std::move(job));
  waiting_.pop_front();
  if (!aside_timer_->pending()) aside_timer_->start(aside_interval);
}

void Recorder::retry_aside() {
  for (auto& outcome : std::exchange(aside_, {})) waiting_.push_back(std::move(outcome));
  flush();
}

}  // namespace byocd
