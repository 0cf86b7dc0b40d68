#include "wakeup.h"

#include "result_row.h"
#include "settings.h"
#include "shared_state.h"
#include "uuid_arrays.h"

namespace byoc {
namespace {

constexpr char channel[] = "byoc_jobs";
constexpr int64 sweep_interval = USECS_PER_SEC;
constexpr int64 rests_a_sweep = 9;                    // where a sweep takes long, it takes a tenth of the time
constexpr int64 committers_patience = USECS_PER_SEC;  // past it the poll of the dispatcher has to do

bool enqueued = false;  // by this transaction
bool counted_as_committing = false;
WakeupSet noted = {};   // by this transaction
WakeupSet taken = {};   // what this transaction serves of what others left, as it was: published again when it fails
bool sleeping = false;  // this session is a dispatcher and asked to be notified
TimestampTz next_sweep = 0;
TimestampTz sweeping_since = 0;  // 0: this transaction does not

void before_commit() {
  if (wakeup_mode == wakeup_poll) return;
  DatabaseWakeup* wakeup = find_wakeup();
  if (wakeup != nullptr) {
    pg_atomic_fetch_add_u32(&wakeup->committing, 1);  // a full barrier
    if (pg_atomic_read_u32(&wakeup->sleepers) == 0) {
      counted_as_committing = true;
      return;
    }
    pg_atomic_fetch_sub_u32(&wakeup->committing, 1);
  }
  Async_Notify(channel, "");  // every role may LISTEN: whose work it is, is nobody else's business
}

// What the dispatchers of this database share. One of a database without a place there has its own, filled by sweeps.
WakeupSet& shared_lanes() {
  static WakeupSet own_lanes = {};
  DatabaseWakeup* wakeup = find_wakeup();
  return wakeup == nullptr ? own_lanes : wakeup->lanes;
}

void copy(const WakeupSet& from, WakeupSet& to) {
  for (uint16 place = from.first; place != 0; place = from.at(place).next) {
    if (is_woken(from.at(place))) add(to, from.at(place).wakeup);
  }
  to.overflowed |= from.overflowed;
}

// Gives back the lanes that this transaction served, and shows the others those that it left work in.
void publish() {
  if (noted.is_empty() && taken.is_empty()) return;
  WakeupSet& lanes = shared_lanes();
  // Many transactions become visible at once and would wait for the lock. A note that is still there is taken before
  // the snapshot of a claim that sees this transaction's rows: taking it and becoming visible are both full barriers.
  pg_memory_barrier();
  if (taken.is_empty() && noted.count == 1 && !noted.overflowed && holds(lanes, noted.at(noted.first).wakeup)) return;
  LWLockAcquire(shared_state()->lock, LW_EXCLUSIVE);
  for (uint16 place = taken.first; place != 0; place = taken.at(place).next) {
    const uint16 there = find(lanes, taken.at(place).wakeup);
    if (there != 0 && lanes.at(there).owner == MyProcPid) release(lanes, there);
  }
  copy(noted, lanes);
  LWLockRelease(shared_state()->lock);
}

// What is not published by now was rolled back, prepared, or served.
void after_transaction() {
  clear(noted);
  clear(taken);
  if (counted_as_committing) pg_atomic_fetch_sub_u32(&find_wakeup()->committing, 1);
  counted_as_committing = false;
  enqueued = false;
  if (sweeping_since != 0) {
    const TimestampTz now = GetCurrentTimestamp();
    next_sweep = Max(next_sweep, now + rests_a_sweep * (now - sweeping_since));
    sweeping_since = 0;
  }
}

void on_transaction_event(XactEvent event, void*) {
  switch (event) {
    case XACT_EVENT_PRE_COMMIT:
      if (enqueued) before_commit();
      break;
    case XACT_EVENT_COMMIT:
      publish();
      after_transaction();
      break;
    case XACT_EVENT_ABORT:
      clear(noted);
      copy(taken, noted);
      publish();
      after_transaction();
      break;
    case XACT_EVENT_PREPARE:
      clear(noted);
      publish();
      after_transaction();
      break;  // a prepared transaction is found by the poll
    default:
      break;
  }
}

void on_exit(int, Datum) {
  end_sleep();
}

// Whether it waits, or will when who serves it is done: nobody notifies of that, so who sleeps has to look before.
bool has_work(const WakeupSet::Place& place) {
  return place.owner == 0 || is_woken(place);
}

// Whether this transaction may serve it.
bool waits(const WakeupSet::Place& place) {
  return place.owner == 0 || (place.owner == MyProcPid && is_woken(place));
}

// Lets this transaction own a lane that waits, and adds it to `to`.
void take(WakeupSet& lanes, uint16 place, WakeupSet& to) {
  const LaneWakeup wakeup = own(lanes, place, MyProcPid);
  add(taken, wakeup);
  add(to, wakeup);
}

// Takes lanes that others left, into `to`, until there are so many.
void take_shared(WakeupSet& lanes, WakeupSet& to, int most, const Uuids& full_lanes) {
  for (uint16 place = lanes.first, next; place != 0 && to.count < most; place = next) {
    next = lanes.at(place).next;
    if (waits(lanes.at(place)) && !full_lanes.contains(lanes.at(place).wakeup.lane)) take(lanes, place, to);
  }
}

// The same of what this transaction noted, such as messages whose time has come. A lane that others serve stays noted:
// they would not see what is not committed yet.
void take_noted(WakeupSet& lanes, WakeupSet& to, int most, const Uuids& full_lanes) {
  for (uint16 place = noted.first, next; place != 0 && to.count < most; place = next) {
    next = noted.at(place).next;
    const LaneWakeup wakeup = noted.at(place).wakeup;
    const uint16 known = find(lanes, wakeup);
    const bool is_served = known != 0 && lanes.at(known).owner != 0 && lanes.at(known).owner != MyProcPid;
    if (is_served || full_lanes.contains(wakeup.lane)) continue;
    // Only that it is served: should this transaction fail, its notes are as little as what they are about.
    if (known == 0) add(lanes, {wakeup.organization, wakeup.lane, nothing()});
    const uint16 there = find(lanes, wakeup);  // 0: no place is left
    if (there != 0) take(lanes, there, to);
    add(to, wakeup);
    remove(noted, place);
  }
}

// Whether lanes were left out for want of places, and there are places now. Of a set that is this session's own only a
// sweep knows.
bool take_overflow(WakeupSet& lanes, bool is_own) {
  if (is_own && lanes.count == 0) return true;
  if (!noted.overflowed && !(lanes.overflowed && lanes.count < wakeup_places / 8)) return false;
  noted.overflowed = lanes.overflowed = false;
  taken.overflowed = true;  // should this transaction fail
  return true;
}

}  // namespace

void note_enqueued() {
  enqueued = true;
}

bool end_sleep() {
  if (!sleeping) return false;
  sleeping = false;
  if (DatabaseWakeup* wakeup = find_wakeup()) pg_atomic_fetch_sub_u32(&wakeup->sleepers, 1);
  return true;
}

bool is_sweep_due() {
  const TimestampTz now = GetCurrentTimestamp();
  if (now < next_sweep) return false;
  next_sweep = now + sweep_interval;
  sweeping_since = now;
  return true;
}

ReadyLanes take_lanes(int most, const Uuids& full_lanes, LaneWakeup* to) {
  static WakeupSet batch = {};
  clear(batch);
  WakeupSet& lanes = shared_lanes();
  const bool is_own = find_wakeup() == nullptr;  // asked before the lock, which it takes itself
  LWLockAcquire(shared_state()->lock, LW_EXCLUSIVE);
  take_shared(lanes, batch, most, full_lanes);
  take_noted(lanes, batch, most, full_lanes);
  ReadyLanes ready = {0, take_overflow(lanes, is_own)};
  LWLockRelease(shared_state()->lock);
  for (uint16 place = batch.first; place != 0; place = batch.at(place).next) to[ready.count++] = batch.at(place).wakeup;
  return ready;
}

Datum column_of(const LaneWakeup* lanes, int count, pg_uuid_t LaneWakeup::*column) {
  auto* ids = static_cast<Datum*>(palloc(sizeof(Datum) * static_cast<size_t>(Max(count, 1))));
  for (int i = 0; i < count; ++i) ids[i] = UUIDPGetDatum(&(lanes[i].*column));
  return make_uuids(ids, count);
}

void pass_on_lane(const LaneWakeup& wakeup) {
  add(noted, wakeup);
}

void wake_lane(const LaneWakeup& wakeup) {
  note_enqueued();
  add(noted, wakeup);
}

void install_wakeup_callbacks() {
  RegisterXactCallback(on_transaction_event, nullptr);
}

extern "C" {

PG_FUNCTION_INFO_V1(byoc_announce_sleep);
// byoc.announce_sleep() -> void: this session wants a NOTIFY from now on, and everything that was being committed
// without one is visible to its next snapshot.
Datum byoc_announce_sleep(PG_FUNCTION_ARGS) {
  DatabaseWakeup* wakeup = find_wakeup();
  if (wakeup == nullptr) PG_RETURN_VOID();
  if (!sleeping) {
    static bool registered = false;
    if (!registered) before_shmem_exit(on_exit, 0);
    registered = true;
    pg_atomic_fetch_add_u32(&wakeup->sleepers, 1);  // a full barrier
    sleeping = true;
  }
  const TimestampTz give_up = GetCurrentTimestamp() + committers_patience;
  while (pg_atomic_read_u32(&wakeup->committing) != 0 && GetCurrentTimestamp() < give_up) {
    CHECK_FOR_INTERRUPTS();
    pg_usleep(50);
  }
  PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(byoc_sleeping_dispatchers);
// byoc.sleeping_dispatchers() -> integer
Datum byoc_sleeping_dispatchers(PG_FUNCTION_ARGS) {
  DatabaseWakeup* wakeup = find_wakeup();
  if (wakeup == nullptr) PG_RETURN_NULL();
  PG_RETURN_INT32(static_cast<int32>(pg_atomic_read_u32(&wakeup->sleepers)));
}

PG_FUNCTION_INFO_V1(byoc_wake_dispatcher);
// byoc.wake_dispatcher(org_id uuid) -> void: for work that SQL leaves, such as a verification.
Datum byoc_wake_dispatcher(PG_FUNCTION_ARGS) {
  note_enqueued();
  PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(byoc_has_wakeups);
// byoc.has_wakeups(full_lanes uuid[]) -> boolean
Datum byoc_has_wakeups(PG_FUNCTION_ARGS) {
  const Uuids full_lanes = read_uuids(PG_GETARG_ARRAYTYPE_P(0));
  bool found = false;
  for (uint16 place = noted.first; place != 0 && !found; place = noted.at(place).next)
    found = !full_lanes.contains(noted.at(place).wakeup.lane);
  const WakeupSet& lanes = shared_lanes();
  LWLockAcquire(shared_state()->lock, LW_SHARED);
  for (uint16 place = lanes.first; place != 0 && !found; place = lanes.at(place).next)
    found = has_work(lanes.at(place)) && !full_lanes.contains(lanes.at(place).wakeup.lane);
  LWLockRelease(shared_state()->lock);
  PG_RETURN_BOOL(found);
}

PG_FUNCTION_INFO_V1(byoc_take_lanes);
// byoc.take_lanes(most integer, full_lanes uuid[], OUT org_ids uuid[], OUT lanes uuid[], OUT from_ids uuid[],
//                 OUT overflowed boolean)
Datum byoc_take_lanes(PG_FUNCTION_ARGS) {
  static LaneWakeup taken_lanes[wakeup_places];
  const ReadyLanes ready = take_lanes(PG_GETARG_INT32(0), read_uuids(PG_GETARG_ARRAYTYPE_P(1)), taken_lanes);
  Datum values[] = {column_of(taken_lanes, ready.count, &LaneWakeup::organization),
                    column_of(taken_lanes, ready.count, &LaneWakeup::lane),
                    column_of(taken_lanes, ready.count, &LaneWakeup::from_id), BoolGetDatum(ready.overflowed)};
  bool nulls[lengthof(values)] = {};
  return row_of(fcinfo, values, nulls);
}

PG_FUNCTION_INFO_V1(byoc_pass_on_lane);
// byoc.pass_on_lane(org_id uuid, lane uuid, from_id uuid) -> void
Datum byoc_pass_on_lane(PG_FUNCTION_ARGS) {
  pass_on_lane({*PG_GETARG_UUID_P(0), *PG_GETARG_UUID_P(1), *PG_GETARG_UUID_P(2)});
  PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(byoc_note_lanes);
// byoc.note_lanes(org_ids uuid[], lanes uuid[], from_ids uuid[]) -> integer
Datum byoc_note_lanes(PG_FUNCTION_ARGS) {
  // Where the places did not suffice, the next sweep goes on: its lanes are in the same order.
  static int next = 0;
  const Uuids organizations = read_uuids(PG_GETARG_ARRAYTYPE_P(0));
  const Uuids ids = read_uuids(PG_GETARG_ARRAYTYPE_P(1));
  const Uuids from_ids = read_uuids(PG_GETARG_ARRAYTYPE_P(2));
  const int count = Min(organizations.count, Min(ids.count, from_ids.count));
  WakeupSet& lanes = shared_lanes();
  int woken = 0;
  LWLockAcquire(shared_state()->lock, LW_EXCLUSIVE);
  if (next >= count) next = 0;
  for (int seen = 0; seen < count; ++seen, next = (next + 1) % count) {
    const LaneWakeup wakeup = {organizations.items[next], ids.items[next], from_ids.items[next]};
    const bool changed = add(lanes, wakeup);
    const uint16 place = find(lanes, wakeup);
    if (place == 0) break;
    if (changed) ++woken;
  }
  LWLockRelease(shared_state()->lock);
  PG_RETURN_INT32(woken);
}

PG_FUNCTION_INFO_V1(byoc_is_sweep_due);
// byoc.is_sweep_due() -> boolean
Datum byoc_is_sweep_due(PG_FUNCTION_ARGS) {
  PG_RETURN_BOOL(is_sweep_due());
}

PG_FUNCTION_INFO_V1(byoc_end_sleep);
// byoc.end_sleep() -> boolean
Datum byoc_end_sleep(PG_FUNCTION_ARGS) {
  PG_RETURN_BOOL(end_sleep());
}
}

}  // namespace byoc
