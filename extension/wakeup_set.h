// Lanes that have work, each once: what a transaction notes and what the dispatchers of a database have yet to take.
#pragma once

#include "pg_boundary.h"

namespace byoc {

struct LaneWakeup {
  pg_uuid_t organization;
  pg_uuid_t lane;
  pg_uuid_t from_id;  // the first message that is meant
};

constexpr uint32 wakeup_places = 512;

// All zero: empty. It may stand in shared memory.
struct WakeupSet {
  uint32 count;
  bool overflowed;  // there were more lanes than places
  bool used[wakeup_places];
  LaneWakeup places[wakeup_places];

  bool is_empty() const { return count == 0 && !overflowed; }
};

// Of two wake-ups of a lane, the smaller from_id stays.
void add(WakeupSet& set, const LaneWakeup& wakeup);

// True when adding the wake-up would change nothing. May be asked without the lock, for a hint.
bool holds(const WakeupSet& set, const LaneWakeup& wakeup);

// The first place in use from `place` on; wakeup_places: there is none.
uint32 next_used(const WakeupSet& set, uint32 place);

// Takes one out; false when there is none.
bool take_one(WakeupSet& set, LaneWakeup& wakeup);

// Moves everything from one set into another.
void move(WakeupSet& from, WakeupSet& to);

}  // namespace byoc
