// Decides when to claim and how much.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <vector>

#include "../db/gateway.h"
#include "../timers.h"
#include "lane_loads.h"

namespace byocd {

/// Never claims more than there are free slots. Woken (NOTIFY, poll, a freed slot) it claims at once; while the queue
/// holds more than the slots do, it lets freed slots add up for a moment instead of claiming for each. After an empty
/// claim it announces that it sleeps, which makes inserts notify. A lane that got all its room may have more: it is
/// looked after when its requests come back.
class Claimer {
 public:
  struct Hooks {
    /// How many jobs may be held, and how many more now.
    std::function<int()> slots;
    std::function<int()> free_slots;
    /// How many of them there are for each request that can be on its way: what is above 1 waits for its turn.
    std::function<double()> jobs_a_request;
    /// False while too many outcomes wait to be recorded.
    std::function<bool()> may_claim;
    /// How long a request takes these days: the scale for letting slots add up.
    std::function<std::chrono::microseconds()> typical_duration;
    std::function<void(std::vector<ClaimedJob>)> on_jobs;
    /// From now on transactions that leave work notify: whoever else waits for work looks for what came before.
    std::function<void()> on_asleep = nullptr;
  };
  struct Options {
    std::chrono::milliseconds poll_interval{1'000};
  };

  Claimer(Gateway& gateway, Timers& timers, const LaneLoads& lanes, Hooks hooks, Options options);

  /// There may be work (a NOTIFY).
  void wake();
  /// A slot became free, outcomes were recorded: look whether a claim is possible now.
  void advance();
  /// A connection became ready or was lost.
  void connection_changed();
  /// No more claims. One on its way still delivers its jobs.
  void stop();
  bool claiming() const { return phase_ == Phase::claiming; }

 private:
  enum class Phase { idle, claiming, announcing };

  void claim(int slots);
  void on_claimed(int asked, Result<std::vector<ClaimedJob>, DbError> result);
  void announce();
  void on_announced(Result<std::optional<std::chrono::milliseconds>, DbError> result);
  void pause(std::chrono::milliseconds wait) { pause_timer_->start(wait); }
  std::chrono::microseconds batch_wait() const;
  bool worth_a_claim(int count) const;

  /// How many jobs a claim could bring, as far as we know.
  int expected() const;

  Gateway& gateway_;
  const LaneLoads& lanes_;
  Hooks hooks_;
  Options options_;
  std::unique_ptr<Timer> wake_timer_;   // poll, or work that is due
  std::unique_ptr<Timer> pause_timer_;  // no claim while it runs
  std::unique_ptr<Timer> batch_timer_;  // freed slots add up while it runs
  Phase phase_ = Phase::idle;
  bool stopped_ = false;
  bool work_ = true;                     // there may be something to claim
  bool woken_ = false;                   // a wake() came during the call that is on its way
  bool backlog_ = false;                 // the last claim was full
  bool batch_due_ = false;               // waited long enough for slots to add up
  std::vector<std::string> full_lanes_;  // without room after the last claim: they may have more work
  int last_count_ = 0;                   // rows of the last claim
  int fruitless_ = 0;                    // claims in a row without a row though work was announced
  int failures_ = 0;                     // calls in a row that failed
};

}  // namespace byocd
