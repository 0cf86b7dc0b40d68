// Waking the dispatcher without a NOTIFY in every transaction: a transaction that enqueued notifies at commit only
// when a dispatcher sleeps. (NOTIFY in each transaction serializes commits and cuts concurrent inserts to a third.)
//
//   writer, before commit:     committing++, barrier, read sleepers; if somebody sleeps: committing--, NOTIFY
//   writer, after commit:      committing-- if still counted
//   dispatcher, before sleep:  sleepers++, barrier, wait until committing is 0, then look at the queue once more
//
// So a writer either sees the sleeper and notifies, or is waited for and its rows are seen.
//
// Which lanes have work is said in shared memory too, at commit, before the NOTIFY: a table of such notes would be dead
// rows for the most part, and a note in the lane's own row would make inserters wait for each other. A dispatcher takes
// the lanes that have waited longest and owns them until its transaction ends; those with more work then go behind all
// others. So lanes take turns, and two dispatchers do not meet in one.
//
// The notes are only hints: what is sent stands in the queue. Those that a crash, PREPARE TRANSACTION, a savepoint
// rolled back or a crowd of lanes loses are found by byoc.sweep_lanes().
#pragma once

#include "uuid_arrays.h"
#include "wakeup_set.h"

namespace byoc {

// This transaction enqueued work.
void note_enqueued();

// This transaction put a message into the queue.
void wake_lane(const LaneWakeup& wakeup);

// There is more to do in a lane that this transaction served.
void pass_on_lane(const LaneWakeup& wakeup);

// This session is awake and needs no NOTIFY; true when it slept.
bool end_sleep();

// True once a second in a session that asks all the time, less often where the transactions that are told so take long.
bool is_sweep_due();

// Takes lanes that have work, none of full_lanes, into `to`: at most so many, and never more than wakeup_places.
struct ReadyLanes {
  int count;
  bool overflowed;  // there were more than there are places: byoc.sweep_lanes() has to look for the rest
};
ReadyLanes take_lanes(int most, const Uuids& full_lanes, LaneWakeup* to);

// One of their columns, as an array.
Datum column_of(const LaneWakeup* lanes, int count, pg_uuid_t LaneWakeup::*column);

// Registers the callbacks; called once at load.
void install_wakeup_callbacks();

}  // namespace byoc
