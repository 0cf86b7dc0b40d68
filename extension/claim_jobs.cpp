// byoc.claim_jobs(): the course of a claim. Where all is as usual it takes no statement, as to start one would be most
// of what a claim of few messages costs; the rest is done by byoc.prepare_claim() and byoc.serve_lanes().
#include "claim.h"
#include "enqueue.h"
#include "lanes.h"
#include "plain_lanes.h"
#include "settings.h"
#include "uuid_v7.h"

namespace byoc {
namespace {

enum Argument { arg_dispatcher, arg_slots, arg_lease, arg_lanes_in_use, arg_rooms, arg_room };

const char prepare_statement[] = "SELECT byoc.prepare_claim($1, $2)";
const char sweep_statement[] = "SELECT byoc.sweep_lanes()";
const char serve_statement[] = "SELECT byoc.serve_lanes($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
const char audit_statement[] = "SELECT byoc.audit_fallback($1)";

// A SELECT of one value that is passed by value.
Datum select(SPIPlanPtr& plan, const char* statement, int count, Oid* types, Datum* values) {
  SPI_connect();
  if (plan == nullptr) plan = keep_plan(statement, count, types);
  const int result = SPI_execute_plan(plan, values, nullptr, false, 0);
  if (result != SPI_OK_SELECT || SPI_processed != 1)
    elog(ERROR, "could not claim messages: %s", SPI_result_code_string(result));
  bool null = false;
  const Datum value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &null);
  SPI_finish();
  return value;
}

void prepare(bool is_sweep_due, const ArrayType* full_lanes) {
  static SPIPlanPtr plan = nullptr;
  Oid types[] = {BOOLOID, UUIDARRAYOID};
  Datum values[] = {BoolGetDatum(is_sweep_due), PointerGetDatum(full_lanes)};
  select(plan, prepare_statement, lengthof(types), types, values);
}

void sweep() {
  static SPIPlanPtr plan = nullptr;
  select(plan, sweep_statement, 0, nullptr, nullptr);
}

// In the order in which everybody locks lanes, and adds rows for them.
void sort_lanes(LaneWakeup* lanes, int count) {
  qsort(lanes, count, sizeof *lanes,
        [](const void* one, const void* other) { return memcmp(one, other, offsetof(LaneWakeup, from_id)); });
}

// Returns how many messages were taken.
int serve_others(FunctionCallInfo fcinfo, const pg_uuid_t* claim, TimestampTz at, LaneWakeup* lanes, int count,
                 int slots, int room) {
  sort_lanes(lanes, count);
  static SPIPlanPtr plan = nullptr;
  Oid types[] = {UUIDOID,        UUIDARRAYOID, UUIDARRAYOID, UUIDARRAYOID, INT4OID,
                 TIMESTAMPTZOID, INTERVALOID,  UUIDARRAYOID, INT4ARRAYOID, INT4OID};
  Datum values[] = {UUIDPGetDatum(claim),
                    column_of(lanes, count, &LaneWakeup::organization),
                    column_of(lanes, count, &LaneWakeup::lane),
                    column_of(lanes, count, &LaneWakeup::from_id),
                    Int32GetDatum(slots),
                    TimestampTzGetDatum(at),
                    PG_GETARG_DATUM(arg_lease),
                    PG_GETARG_DATUM(arg_lanes_in_use),
                    PG_GETARG_DATUM(arg_rooms),
                    Int32GetDatum(room)};
  return DatumGetInt32(select(plan, serve_statement, lengthof(types), types, values));
}

void audit_fallback(const pg_uuid_t* claim) {
  static SPIPlanPtr plan = nullptr;
  Oid types[] = {UUIDOID};
  Datum values[] = {UUIDPGetDatum(claim)};
  select(plan, audit_statement, lengthof(types), types, values);
}

Rooms read_rooms(FunctionCallInfo fcinfo, int of_others) {
  const Uuids in_use = read_uuids(PG_GETARG_ARRAYTYPE_P(arg_lanes_in_use));
  const ArrayType* rooms = PG_GETARG_ARRAYTYPE_P(arg_rooms);
  if (ARR_HASNULL(rooms) || ArrayGetNItems(ARR_NDIM(rooms), ARR_DIMS(rooms)) != in_use.count)
    ereport(ERROR, (errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR), errmsg("each lane in use needs its room")));
  return {in_use, reinterpret_cast<const int32*>(ARR_DATA_PTR(rooms)), of_others};
}

const ArrayType* full_lanes_of(const Rooms& rooms) {
  auto* full = static_cast<Datum*>(palloc(sizeof(Datum) * static_cast<size_t>(Max(rooms.lanes.count, 1))));
  int count = 0;
  for (int i = 0; i < rooms.lanes.count; ++i) {
    if (rooms.rooms[i] <= 0) full[count++] = UUIDPGetDatum(&rooms.lanes.items[i]);
  }
  return DatumGetArrayTypeP(make_uuids(full, count));
}

void claim(FunctionCallInfo fcinfo) {
  const int slots = PG_GETARG_INT32(arg_slots);
  const int room = PG_ARGISNULL(arg_room) ? slots : PG_GETARG_INT32(arg_room);
  const Rooms rooms = read_rooms(fcinfo, room);
  const ArrayType* full_lane_ids = full_lanes_of(rooms);
  const Uuids full_lanes = read_uuids(full_lane_ids);
  // Who just slept has looked everywhere before.
  const bool sweeps = !end_sleep() && is_sweep_due();
  const Surroundings around = look_around();
  if (sweeps || !around.are_usual() || fallback != 0) prepare(sweeps, full_lane_ids);
  InitMaterializedSRF(fcinfo, 0);
  if (slots < 1) return;

  LaneWakeup lanes[lanes_at_once];
  ReadyLanes ready = take_lanes(Min(lanes_at_once, slots), full_lanes, lanes);
  if (ready.overflowed && !sweeps) sweep();
  if (ready.count == 0) return;

  pg_uuid_t id;
  make_uuid_v7(&id);
  begin_claim(&id);
  const TimestampTz started = GetCurrentTimestamp();
  int taken = 0;
  if (!around.is_any_limit) {
    CommandCounterIncrement();
    const TakenOfPlain plain = take_from_plain_lanes(lanes, ready.count, slots, full_lanes, started, rooms);
    taken = plain.messages;
    if (plain.overflowed && !sweeps) sweep();
  }
  if (ready.count > 0) taken += serve_others(fcinfo, &id, started, lanes, ready.count, slots - taken, room);
  if (taken == 0) return;
  finish_claim(fcinfo, PG_GETARG_UUID_P(arg_dispatcher),
               DatumGetTimestampTz(DirectFunctionCall2(timestamptz_pl_interval, TimestampTzGetDatum(started),
                                                       PG_GETARG_DATUM(arg_lease))));
  if (fallback != 0) audit_fallback(&id);
}

}  // namespace

extern "C" {

PG_FUNCTION_INFO_V1(byoc_claim_jobs);
// byoc.claim_jobs(dispatcher uuid, slots integer, lease interval, lanes_in_use uuid[], rooms integer[], room integer)
//   -> table (claim_id uuid, org_id uuid, id uuid, provider text, credential_id uuid, credential_version integer,
//             to_number text, body text, attempt integer, validity_seconds integer, lane uuid)
Datum byoc_claim_jobs(PG_FUNCTION_ARGS) {
  for (int i = 0; i < arg_room; ++i) {
    if (PG_ARGISNULL(i))
      ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("argument %d must not be null", i + 1)));
  }
  PreventCommandIfReadOnly("claiming messages");
  const OwnerRights saved = begin_owner_rights();
  claim(fcinfo);
  end_owner_rights(saved);
  PG_RETURN_NULL();
}
}

}  // namespace byoc
