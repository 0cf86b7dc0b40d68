// How many jobs and requests of each lane there are, and how many more there may be.
#pragma once

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "../db/job.h"

namespace byocd {

/// A lane is an account of an organization, as the database sees it. One whose provider is slow, or does not answer at
/// all, must not take every slot. So of each there is a limit below the whole; and another request of it may only go
/// out while it has no more of them than what stays free allows (as of the limit to the rest: usually twice as much),
/// so that each one that hangs leaves some to the others.
class LaneLoads {
  struct Load {
    int jobs = 0;
    int requests = 0;
    int holds = 0;
    bool silent = false;
    Clock::time_point last_sign;  // its last answer, or the first of its requests
  };
  using Loads = std::unordered_map<std::string, Load>;

 public:
  /// A lane that has jobs or is held. There until the last of them is removed, and the last hold.
  using Lane = Loads::value_type*;

  /// `slots` requests at a time, of each lane no more than `limit`.
  LaneLoads(int slots, int limit) : requests_(slots), requests_limit_(limit), slots_(slots), limit_(limit) {}

  /// Replaces both numbers; scale() makes them take effect.
  void set_limits(int slots, int limit);
  /// Lets there be `times` as many jobs as requests.
  void scale(double times);

  /// A job came in, or is done.
  Lane add(const std::string& lane);
  void remove(Lane lane);

  /// A request of one of its jobs goes out; it ended, by an answer or without.
  void begin(Lane lane, Clock::time_point now);
  void end(Lane lane, bool answered, Clock::time_point now);

  /// Until what it returns is gone, the lane gets no jobs and nothing is sent of it. To be gone before this is.
  std::shared_ptr<void> hold(Lane lane);
  static bool held(Lane lane) { return lane->second.holds > 0; }

  /// Requests on their way.
  int sent() const { return sent_; }
  /// Whether another request may go out at all, and of this lane.
  bool may_send() const { return sent_ < requests_; }
  bool may_send(Lane lane) const;

  /// Finds lanes with requests that did not answer for a second: until they do they get no more jobs, and those that
  /// they have beyond their requests do not count. True: there are new ones.
  bool find_silent(Clock::time_point now);

  /// How many jobs there may be, of one lane too, and how many more now. What a lane got while the limit was higher
  /// must not keep others waiting: if its provider hangs, it does not come back.
  int slots() const { return slots_; }
  int limit() const { return limit_; }
  int free_slots() const { return slots_ - taken_; }
  /// How many more jobs the lane may have.
  int room(const std::string& lane) const;
  /// The room of each lane that has jobs or is held.
  std::vector<LaneRoom> rooms() const;
  /// Lanes without room.
  std::vector<std::string> full() const;

 private:
  int taken_by(const Load& load) const;
  int room_of(const Load& load) const;
  void forget_if_unused(Lane lane);
  template <class Change>
  void change(Load& load, Change change);

  int requests_;
  int requests_limit_;
  int slots_;
  int limit_;
  int sent_ = 0;
  int taken_ = 0;
  Loads loads_;
};

}  // namespace byocd
