// Under which names this process holds claims, and until when.
#pragma once

#include <chrono>
#include <map>
#include <string>
#include <vector>

#include "../db/job.h"
#include "../timers.h"

namespace byocd {

/// Each dispatch session gets a new identity. A claim whose answer was lost with its session then belongs to an
/// identity that is no longer renewed once the jobs that did arrive are settled: its lease ends and its jobs are
/// rescued. With one identity for the whole process the heartbeat would keep such a claim alive, and its jobs stuck,
/// for ever.
class Identities {
 public:
  explicit Identities(std::chrono::milliseconds lease) : lease_(lease) {}

  /// A new identity for a new session; it becomes the current one.
  std::string renew();
  const std::string& current() const { return current_; }

  /// A job came in, or its outcome is recorded.
  void hold(const std::string& identity) { ++held_[identity]; }
  void settle(const std::string& identity);

  /// The identities whose claims must be kept: the current one and those with jobs that are not settled.
  std::vector<std::string> to_renew() const;
  /// A heartbeat sent at `sent` went well.
  void renewed(const std::string& identity, Clock::time_point sent);

  /// Whether the claim is surely ours for a third of a lease from `now` (a request takes at most half of one).
  /// A process that was stopped or cut off finds out here, before it sends what somebody else may have been given.
  bool surely_held(const Claim& claim, Clock::time_point now) const;
  /// Until when it is surely ours, unless it is renewed.
  Clock::time_point held_until(const Claim& claim) const;

 private:
  std::chrono::milliseconds lease_;
  std::string current_;
  std::map<std::string, int> held_;
  std::map<std::string, Clock::time_point> renewed_until_;
};

}  // namespace byocd
