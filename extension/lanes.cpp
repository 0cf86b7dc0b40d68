// What byoc.claim_jobs() looks at each time and in each lane. Statements would cost more than what they find.
#include "lanes.h"

#include "result_row.h"
#include "wakeup.h"

#include <initializer_list>

namespace byoc {
namespace {

bool has_row(OwnRelation table, OwnRelation index, ScanKeyData* keys, int count) {
  const FoundRow row = find_row(table, index, keys, count);
  const bool found = row.tuple != nullptr;
  release_row(row);
  return found;
}

bool find_first(IndexScanDesc scan, ScanKeyData* keys, int count, TupleTableSlot* slot, LaneWakeup& found) {
  index_rescan(scan, keys, count, nullptr, 0);
  if (!index_getnext_slot(scan, ForwardScanDirection, slot)) return false;
  constexpr AttrNumber column_org = 1, column_lane = 2, column_id = 3;
  bool null = false;
  found = {*DatumGetUUIDP(slot_getattr(slot, column_org, &null)),
           *DatumGetUUIDP(slot_getattr(slot, column_lane, &null)),
           *DatumGetUUIDP(slot_getattr(slot, column_id, &null))};
  return true;
}

struct LaneStarts {
  LaneWakeup* lanes;
  int count;
};

// Steps from lane to lane through the queue's primary key instead of reading every message.
LaneStarts find_lane_starts() {
  constexpr AttrNumber key_org = 1, key_lane = 2;
  Relation queue = open_own_table(own_queue, AccessShareLock);
  Relation key = open_own_index(own_queue_key);
  TupleTableSlot* slot = table_slot_create(queue, nullptr);
  IndexScanDesc in_organization = begin_index_scan(queue, key, GetActiveSnapshot(), 2);
  IndexScanDesc behind = begin_index_scan(queue, key, GetActiveSnapshot(), 1);
  int capacity = 64;
  LaneStarts starts = {static_cast<LaneWakeup*>(palloc(sizeof(LaneWakeup) * capacity)), 0};
  LaneWakeup last = {};
  for (StrategyNumber from = BTGreaterEqualStrategyNumber;; from = BTGreaterStrategyNumber) {
    CHECK_FOR_INTERRUPTS();
    ScanKeyData keys[2], next_organization;
    ScanKeyInit(&keys[0], key_org, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(&last.organization));
    ScanKeyInit(&keys[1], key_lane, BTGreaterStrategyNumber, F_UUID_GT, UUIDPGetDatum(&last.lane));
    ScanKeyInit(&next_organization, key_org, from, from == BTGreaterStrategyNumber ? F_UUID_GT : F_UUID_GE,
                UUIDPGetDatum(&last.organization));
    const bool found = (starts.count > 0 && find_first(in_organization, keys, 2, slot, last)) ||
                       find_first(behind, &next_organization, 1, slot, last);
    if (!found) break;
    if (starts.count == capacity) {
      capacity *= 2;
      starts.lanes = static_cast<LaneWakeup*>(repalloc(starts.lanes, sizeof(LaneWakeup) * capacity));
    }
    starts.lanes[starts.count++] = last;
  }
  index_endscan(behind);
  index_endscan(in_organization);
  ExecDropSingleTupleTableSlot(slot);
  index_close(key, AccessShareLock);
  table_close(queue, AccessShareLock);
  return starts;
}

}  // namespace

Surroundings look_around() {
  constexpr AttrNumber schedule_due_at = 3, lanes_next_at = 4;
  const Datum now = TimestampTzGetDatum(GetCurrentTimestamp());
  ScanKeyData due, over;
  ScanKeyInit(&due, schedule_due_at, BTLessEqualStrategyNumber, F_TIMESTAMPTZ_LE, now);
  ScanKeyInit(&over, lanes_next_at, BTLessEqualStrategyNumber, F_TIMESTAMPTZ_LE, now);
  const FoundRow installation = find_row(own_installation, own_relation_count, nullptr, 0);
  const bool is_alone = installation.tuple != nullptr && systable_getnext(installation.scan) == nullptr;
  release_row(installation);
  return {is_alone, has_row(own_schedule, own_schedule_due, &due, 1), has_row(own_lanes, own_lanes_waiting, &over, 1),
          has_row(own_sender_limits, own_relation_count, nullptr, 0)};
}

FoundRow find_lane(Datum organization, Datum lane) {
  constexpr AttrNumber column_org = 1, column_lane = 2;
  ScanKeyData keys[2];
  ScanKeyInit(&keys[0], column_org, BTEqualStrategyNumber, F_UUID_EQ, organization);
  ScanKeyInit(&keys[1], column_lane, BTEqualStrategyNumber, F_UUID_EQ, lane);
  return find_row(own_lanes, own_lanes_key, keys, 2);
}

LaneSender find_sender(Datum organization, Datum lane) {
  constexpr AttrNumber column_org = 1, column_id = 2, column_type = 3, column_fields = 5, column_version = 7,
                       column_active = 8, column_state = 10;
  constexpr AttrNumber told[] = {column_id, column_version, column_fields, column_state};
  const Datum type = CStringGetTextDatum("twilio");
  ScanKeyData own_keys[2], default_keys[2];
  ScanKeyInit(&own_keys[0], column_org, BTEqualStrategyNumber, F_UUID_EQ, organization);
  ScanKeyInit(&own_keys[1], column_id, BTEqualStrategyNumber, F_UUID_EQ, lane);
  default_keys[0] = own_keys[0];
  ScanKeyInit(&default_keys[1], column_type, BTEqualStrategyNumber, F_TEXTEQ, type);
  default_keys[1].sk_collation = DEFAULT_COLLATION_OID;
  LaneSender sender = {false, {}, {true, true, true, true}};
  // The current default takes the messages that did not ask for the lane's credential.
  for (bool by_default : {false, true}) {
    const FoundRow row = by_default ? find_row(own_credentials, own_default_credentials, default_keys, 2)
                                    : find_row(own_credentials, own_credentials_key, own_keys, 2);
    bool null = false;
    const TupleDesc columns = RelationGetDescr(row.table);
    sender.exists = row.tuple != nullptr && DatumGetBool(heap_getattr(row.tuple, column_active, columns, &null)) &&
                    DatumGetBool(DirectFunctionCall2Coll(texteq, DEFAULT_COLLATION_OID,
                                                         heap_getattr(row.tuple, column_type, columns, &null), type));
    if (sender.exists) {
      HeapTuple credential = heap_copytuple(row.tuple);
      for (int i = 0; i < sender_columns; ++i)
        sender.values[i] = heap_getattr(credential, told[i], columns, &sender.nulls[i]);
    }
    release_row(row);
    if (sender.exists) break;
  }
  return sender;
}

extern "C" {

PG_FUNCTION_INFO_V1(byoc_look_around);
// byoc.look_around(OUT is_alone boolean, OUT is_any_due boolean, OUT is_any_wait_over boolean, OUT is_any_limit
// boolean)
Datum byoc_look_around(PG_FUNCTION_ARGS) {
  const Surroundings around = look_around();
  Datum values[] = {BoolGetDatum(around.is_alone), BoolGetDatum(around.is_any_due),
                    BoolGetDatum(around.is_any_wait_over), BoolGetDatum(around.is_any_limit)};
  bool nulls[lengthof(values)] = {};
  return row_of(fcinfo, values, nulls);
}

PG_FUNCTION_INFO_V1(byoc_lane_starts);
// byoc.lane_starts(OUT org_ids uuid[], OUT lanes uuid[], OUT from_ids uuid[])
Datum byoc_lane_starts(PG_FUNCTION_ARGS) {
  const LaneStarts starts = find_lane_starts();
  Datum values[] = {column_of(starts.lanes, starts.count, &LaneWakeup::organization),
                    column_of(starts.lanes, starts.count, &LaneWakeup::lane),
                    column_of(starts.lanes, starts.count, &LaneWakeup::from_id)};
  bool nulls[lengthof(values)] = {};
  return row_of(fcinfo, values, nulls);
}

PG_FUNCTION_INFO_V1(byoc_lane_state);
// byoc.lane_state(org_id uuid, lane uuid) -> byoc.lanes
Datum byoc_lane_state(PG_FUNCTION_ARGS) {
  const FoundRow row = find_lane(PG_GETARG_DATUM(0), PG_GETARG_DATUM(1));
  fcinfo->isnull = row.tuple == nullptr;
  const Datum state = fcinfo->isnull ? 0 : heap_copy_tuple_as_datum(row.tuple, RelationGetDescr(row.table));
  release_row(row);
  return state;
}

PG_FUNCTION_INFO_V1(byoc_sender_of);
// byoc.sender_of(org_id uuid, lane uuid, OUT id uuid, OUT version integer, OUT fields jsonb, OUT state text)
Datum byoc_sender_of(PG_FUNCTION_ARGS) {
  LaneSender sender = find_sender(PG_GETARG_DATUM(0), PG_GETARG_DATUM(1));
  return row_of(fcinfo, sender.values, sender.nulls);
}
}

}  // namespace byoc
