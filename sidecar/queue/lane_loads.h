// How many jobs, or requests, of each lane there are.
#pragma once

#include <string>
#include <unordered_map>
#include <vector>

#include "../db/job.h"

namespace byocd {

/// A lane is an account of an organization, as the database sees it. One whose provider is slow must not take every
/// slot, so each has a limit below the whole.
class LaneLoads {
 public:
  explicit LaneLoads(int limit) : base_(limit), limit_(limit) {}

  /// Makes the limit `times` what it was at first.
  void scale(double times);

  void add(const std::string& lane);
  void remove(const std::string& lane);

  int limit() const { return limit_; }
  /// All of them, but of each lane no more than the limit. What a lane got while the limit was higher must not keep
  /// others waiting: if its provider hangs, it does not come back.
  int within_limit() const { return within_limit_; }
  /// How many more requests the lane may have.
  int room(const std::string& lane) const;
  /// The room of each lane that has requests in flight.
  std::vector<LaneRoom> rooms() const;
  /// Lanes without room.
  std::vector<std::string> full() const;

 private:
  int base_;
  int limit_;
  int within_limit_ = 0;
  std::unordered_map<std::string, int> loads_;
};

}  // namespace byocd
