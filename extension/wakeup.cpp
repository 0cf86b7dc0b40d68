#include "wakeup.h"

#include "settings.h"
#include "shared_state.h"

namespace byoc {
namespace {

constexpr char channel[] = "byoc_jobs";
constexpr int64 sweep_interval = USECS_PER_SEC;
constexpr int64 committers_patience = USECS_PER_SEC;  // past it the poll of the dispatcher has to do

bool enqueued = false;  // by this transaction
bool counted_as_committing = false;
WakeupSet noted = {};   // by this transaction
WakeupSet taken = {};   // by this transaction of what others left: published again when it fails
bool sleeping = false;  // this session is a dispatcher and asked to be notified

// The state of this database; null when there are more databases than places, which then always notify.
DatabaseWakeup* find_wakeup() {
  static DatabaseWakeup* found = nullptr;
  if (found != nullptr) return found;
  SharedState* state = shared_state();
  LWLockAcquire(state->lock, LW_EXCLUSIVE);
  for (DatabaseWakeup& wakeup : state->wakeups) {
    if (wakeup.database == InvalidOid) wakeup.database = MyDatabaseId;
    if (wakeup.database != MyDatabaseId) continue;
    found = &wakeup;
    break;
  }
  LWLockRelease(state->lock);
  return found;
}

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

// Adds to what the dispatchers take, and empties `lanes`.
void publish(WakeupSet& lanes) {
  DatabaseWakeup* wakeup = find_wakeup();
  if (lanes.is_empty() || wakeup == nullptr) return;
  // Many transactions become visible at once and would wait for the lock. A note that is still there is taken before
  // the snapshot of a claim that sees this transaction's rows: taking it and becoming visible are both full barriers.
  pg_memory_barrier();
  if (lanes.count == 1 && !lanes.overflowed && holds(wakeup->lanes, lanes.places[next_used(lanes, 0)])) return;
  LWLockAcquire(shared_state()->lock, LW_EXCLUSIVE);
  move(lanes, wakeup->lanes);
  pg_atomic_write_u32(&wakeup->has_lanes, 1);
  LWLockRelease(shared_state()->lock);
}

void forget(WakeupSet& lanes) {
  if (!lanes.is_empty()) memset(static_cast<void*>(&lanes), 0, offsetof(WakeupSet, places));
}

// What is not published by now was rolled back, prepared, or taken for good.
void after_transaction() {
  forget(noted);
  forget(taken);
  if (counted_as_committing) pg_atomic_fetch_sub_u32(&find_wakeup()->committing, 1);
  counted_as_committing = false;
  enqueued = false;
}

void on_transaction_event(XactEvent event, void*) {
  switch (event) {
    case XACT_EVENT_PRE_COMMIT:
      if (enqueued) before_commit();
      break;
    case XACT_EVENT_COMMIT:
      publish(noted);
      after_transaction();
      break;
    case XACT_EVENT_ABORT:
      publish(taken);
      after_transaction();
      break;
    case XACT_EVENT_PREPARE:
      after_transaction();
      break;  // a prepared transaction is found by the poll
    default:
      break;
  }
}

bool wake_up() {
  if (!sleeping) return false;
  sleeping = false;
  if (DatabaseWakeup* wakeup = find_wakeup()) pg_atomic_fetch_sub_u32(&wakeup->sleepers, 1);
  return true;
}

void on_exit(int, Datum) {
  wake_up();
}

}  // namespace

void note_enqueued() {
  enqueued = true;
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
// byoc.has_wakeups() -> boolean. A database without a place in shared memory always has some.
Datum byoc_has_wakeups(PG_FUNCTION_ARGS) {
  DatabaseWakeup* wakeup = find_wakeup();
  PG_RETURN_BOOL(wakeup == nullptr || pg_atomic_read_u32(&wakeup->has_lanes) != 0 || !noted.is_empty());
}

PG_FUNCTION_INFO_V1(byoc_take_wakeup);
// byoc.take_wakeup(OUT org_id uuid, OUT lane uuid, OUT from_id uuid)
Datum byoc_take_wakeup(PG_FUNCTION_ARGS) {
  LaneWakeup one;
  bool found = take_one(noted, one);
  DatabaseWakeup* wakeup = find_wakeup();
  if (!found && wakeup != nullptr) {
    LWLockAcquire(shared_state()->lock, LW_EXCLUSIVE);
    found = take_one(wakeup->lanes, one);
    if (wakeup->lanes.is_empty()) pg_atomic_write_u32(&wakeup->has_lanes, 0);
    LWLockRelease(shared_state()->lock);
    if (found) add(taken, one);
  }
  TupleDesc columns = nullptr;
  if (get_call_result_type(fcinfo, nullptr, &columns) != TYPEFUNC_COMPOSITE) elog(ERROR, "not a row type");
  Datum values[] = {UUIDPGetDatum(&one.organization), UUIDPGetDatum(&one.lane), UUIDPGetDatum(&one.from_id)};
  bool nulls[] = {!found, !found, !found};
  PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(columns), values, nulls)));
}

PG_FUNCTION_INFO_V1(byoc_drain_wakeups);
// byoc.drain_wakeups(OUT org_ids uuid[], OUT lanes uuid[], OUT from_ids uuid[], OUT overflowed boolean)
Datum byoc_drain_wakeups(PG_FUNCTION_ARGS) {
  static WakeupSet published = {};
  bool overflowed = noted.overflowed;
  if (DatabaseWakeup* wakeup = find_wakeup()) {
    LWLockAcquire(shared_state()->lock, LW_EXCLUSIVE);
    move(wakeup->lanes, published);
    pg_atomic_write_u32(&wakeup->has_lanes, 0);
    LWLockRelease(shared_state()->lock);
    overflowed |= published.overflowed;
  } else {
    overflowed = true;
  }
  Datum organizations[2 * wakeup_places];
  Datum lanes[2 * wakeup_places];
  Datum ids[2 * wakeup_places];
  int count = 0;
  for (const WakeupSet* set : {&published, &noted}) {
    for (uint32 place = 0; (place = next_used(*set, place)) < wakeup_places; ++place) {
      organizations[count] = UUIDPGetDatum(&set->places[place].organization);
      lanes[count] = UUIDPGetDatum(&set->places[place].lane);
      ids[count++] = UUIDPGetDatum(&set->places[place].from_id);
    }
  }
  TupleDesc columns = nullptr;
  if (get_call_result_type(fcinfo, nullptr, &columns) != TYPEFUNC_COMPOSITE) elog(ERROR, "not a row type");
  Datum values[] = {0, 0, 0, BoolGetDatum(overflowed)};
  bool nulls[lengthof(values)] = {};
  Datum* const lists[] = {organizations, lanes, ids};
  for (size_t i = 0; i < lengthof(lists); ++i)
    values[i] = PointerGetDatum(construct_array(lists[i], count, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR));
  const HeapTuple row = heap_form_tuple(BlessTupleDesc(columns), values, nulls);
  move(published, taken);
  forget(noted);
  PG_RETURN_DATUM(HeapTupleGetDatum(row));
}

PG_FUNCTION_INFO_V1(byoc_is_sweep_due);
// byoc.is_sweep_due() -> boolean: true once a second in a session that asks all the time.
Datum byoc_is_sweep_due(PG_FUNCTION_ARGS) {
  static TimestampTz due_at = 0;
  const TimestampTz now = GetCurrentTimestamp();
  if (now < due_at) PG_RETURN_BOOL(false);
  due_at = now + sweep_interval;
  PG_RETURN_BOOL(true);
}

PG_FUNCTION_INFO_V1(byoc_end_sleep);
// byoc.end_sleep() -> boolean: this session is awake and needs no NOTIFY; true when it slept.
Datum byoc_end_sleep(PG_FUNCTION_ARGS) {
  PG_RETURN_BOOL(wake_up());
}
}

}  // namespace byoc
