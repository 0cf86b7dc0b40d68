// Lanes that have work, each once, in the order in which they came: what a transaction notes, and what the dispatchers
// of a database have yet to serve.
#pragma once

#include "pg_boundary.h"

namespace byoc {

struct LaneWakeup {
  pg_uuid_t organization;
  pg_uuid_t lane;
  pg_uuid_t from_id;  // the first message that is meant
};

// The from_id that stands for no message: the largest UUID.
pg_uuid_t nothing();

constexpr uint16 wakeup_places = 2048;

// All zero: empty. It may stand in shared memory. Places are counted from 1; 0 is none.
struct WakeupSet {
  struct Place {
    LaneWakeup wakeup;
    int owner;  // process whose transaction serves the lane; 0: it waits to be served
    uint16 in_bucket;
    uint16 previous, next;
  };

  uint16 count;
  bool overflowed;  // there were more lanes than places
  uint16 first, last;
  uint16 reached;  // those beyond were never used
  uint16 unused;   // the first of those that were given back, chained by `next`
  uint16 buckets[wakeup_places];
  Place places[wakeup_places];

  bool is_empty() const { return count == 0 && !overflowed; }
  Place& at(uint16 place) { return places[place - 1]; }
  const Place& at(uint16 place) const { return places[place - 1]; }
};

// Adds it behind all others. Of two wake-ups of a lane, the smaller from_id stays, where the lane already is. False
// when nothing changed: the set says so already, or is full.
bool add(WakeupSet& set, const LaneWakeup& wakeup);

// The lane's place; 0 when it has none.
uint16 find(const WakeupSet& set, const LaneWakeup& wakeup);

// True when adding the wake-up would change nothing and its lane waits to be served. May be asked without the lock, for
// a hint.
bool holds(const WakeupSet& set, const LaneWakeup& wakeup);

// Gives the lane to a process: it goes behind all others, and is kept until release(). Answers what it was woken for.
LaneWakeup own(WakeupSet& set, uint16 place, int owner);
// False when nothing is meant, as of an owned lane that was not woken anew.
bool is_woken(const WakeupSet::Place& place);
// Ends that: the lane goes, unless it was woken anew.
void release(WakeupSet& set, uint16 place);

void remove(WakeupSet& set, uint16 place);
void clear(WakeupSet& set);

}  // namespace byoc
