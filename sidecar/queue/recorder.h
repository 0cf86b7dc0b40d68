// Writes outcomes to the database, in batches, until they are there.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "../db/gateway.h"
#include "../timers.h"
#include "identities.h"

namespace byocd {

/// One batch at a time: at once after a quiet time, and otherwise when it is full, when something
/// but an acceptance is in it, or after 40 ms. A batch that failed with the connection is sent again (recording twice
/// does no harm). A batch that the database refuses is halved until the one outcome that it cannot take stands alone;
/// that one is tried without its free text, and else set aside and tried again slowly.
class Recorder {
 public:
  struct Hooks {
    /// Outcomes were recorded.
    std::function<void()> on_progress;
    /// These are the ones. Called before on_progress.
    std::function<void(const std::vector<JobOutcome>&)> on_recorded = nullptr;
  };

  Recorder(Gateway& gateway, Timers& timers, Identities& identities, Hooks hooks);

  /// Jobs came in: their claims are held until their outcomes are recorded.
  void expect(const std::vector<ClaimedJob>& jobs);
  /// One of them is done.
  void add(JobOutcome outcome);
  /// A connection became ready or was lost.
  void connection_changed();

  /// Outcomes not recorded yet.
  std::size_t unrecorded() const { return waiting_.size() + sending_.size() + aside_.size(); }
  /// Outcomes that are recorded, and all that were added.
  std::uint64_t recorded() const { return recorded_; }
  std::uint64_t known() const { return recorded_ + unrecorded(); }

 private:
  void schedule();
  void flush();
  void on_recorded(Result<int, DbError> result);
  void on_refused(const DbError& error);
  void on_unrecordable(const DbError& error);
  void retry_aside();

  Gateway& gateway_;
  Timers& timers_;
  Identities& identities_;
  Hooks hooks_;
  std::unique_ptr<Timer> flush_timer_;
  std::unique_ptr<Timer> aside_timer_;
  std::deque<JobOutcome> waiting_;
  std::vector<JobOutcome> sending_;
  std::vector<JobOutcome> aside_;
  std::uint64_t recorded_ = 0;
  std::size_t batch_limit_;
  Clock::time_point last_flush_;
  bool urgent_ = false;  // something waits that is recorded at once
  int failures_ = 0;
};

}  // namespace byocd
