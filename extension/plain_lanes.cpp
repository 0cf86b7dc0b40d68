// Lanes as most are: nobody else serves them (byoc.take_lanes), nothing about them is to be remembered, and all their
// messages may go. A claim takes from them without a lock and without a statement; whatever is unusual it leaves to
// byoc.claim_jobs(), which has the rules.
#include "claim.h"
#include "lanes.h"
#include "result_row.h"
#include "uuid_arrays.h"
#include "wakeup.h"

namespace byoc {
namespace {

// Neither waiting nor failing nor limited; or never was: then it has no row.
bool is_unburdened(Datum organization, Datum lane, TimestampTz at) {
  constexpr AttrNumber busy = 3, next_at = 4, failures = 6, barred = 9, tokens = 10;
  const FoundRow row = find_lane(organization, lane);
  const auto value = [&](AttrNumber column, bool& null) {
    return heap_getattr(row.tuple, column, RelationGetDescr(row.table), &null);
  };
  bool null = false;
  bool unburdened = true;
  if (row.tuple != nullptr) {
    unburdened = !DatumGetBool(value(busy, null)) && DatumGetTimestampTz(value(next_at, null)) <= at &&
                 DatumGetInt32(value(failures, null)) == 0 && !DatumGetBool(value(barred, null));
    value(tokens, null);
    unburdened &= null;
  }
  release_row(row);
  return unburdened;
}

// It sends by a Messaging Service, which has no limit of its own (byoc.default_sender_rate).
bool is_unlimited(Datum fields) {
  constexpr char name[] = "messaging_service_sid";
  JsonbValue found;
  const JsonbValue* service =
      getKeyJsonValueFromContainer(&DatumGetJsonbP(fields)->root, name, static_cast<int>(sizeof name) - 1, &found);
  return service != nullptr && service->type == jbvString && service->val.string.len > 2 &&
         memcmp(service->val.string.val, "MG", 2) == 0;
}

bool is_verified(const LaneSender& sender) {
  return !sender.nulls[sender_state] &&
         DatumGetBool(DirectFunctionCall2Coll(texteq, DEFAULT_COLLATION_OID, sender.values[sender_state],
                                              CStringGetTextDatum("verified")));
}

// How much more each lane may have.
struct Rooms {
  Uuids lanes;
  const int32* rooms;
  int of_others;

  int of(const pg_uuid_t& lane) const {
    const int i = lanes.position(lane);
    return i < 0 ? of_others : rooms[i];
  }
};

Rooms read_rooms(const ArrayType* lanes, const ArrayType* rooms, int of_others) {
  const Uuids in_use = read_uuids(lanes);
  if (ARR_HASNULL(rooms) || ArrayGetNItems(ARR_NDIM(rooms), ARR_DIMS(rooms)) != in_use.count)
    ereport(ERROR, (errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR), errmsg("each lane in use needs its room")));
  return {in_use, reinterpret_cast<const int32*>(ARR_DATA_PTR(rooms)), of_others};
}

// Parallel arrays.
struct Lanes {
  Uuids organizations, ids, from_ids;
};

Lanes read_lanes(FunctionCallInfo fcinfo, int first_argument) {
  const Lanes lanes = {read_uuids(PG_GETARG_ARRAYTYPE_P(first_argument)),
                       read_uuids(PG_GETARG_ARRAYTYPE_P(first_argument + 1)),
                       read_uuids(PG_GETARG_ARRAYTYPE_P(first_argument + 2))};
  if (lanes.ids.count != lanes.organizations.count || lanes.from_ids.count != lanes.organizations.count)
    ereport(ERROR, (errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR), errmsg("arrays must have the same number of elements")));
  return lanes;
}

// Takes at most so many; false, and nothing done, when the lane or its next message is unusual.
bool serve(const Mover& mover, const LaneWakeup& lane, TimestampTz at, int size, int& taken) {
  const Datum organization = UUIDPGetDatum(&lane.organization), id = UUIDPGetDatum(&lane.lane);
  if (!is_unburdened(organization, id, at)) return false;
  const LaneSender credential = find_sender(organization, id);
  if (!credential.exists || !is_verified(credential) || !is_unlimited(credential.values[sender_fields])) return false;
  const Sender sender = {&lane.lane, DatumGetUUIDP(credential.values[sender_id]),
                         DatumGetInt32(credential.values[sender_version]), at};
  const TakenOfLane got =
      take(mover, sender, &lane.organization, &lane.from_id, size, Limit{false, 0, 0}, Unusual::left);
  if (got.taken == 0 && got.is_cut_short) return false;
  if (got.taken >= size || got.is_cut_short) pass_on_lane({lane.organization, lane.lane, got.last_id});
  taken += got.taken;
  return true;
}

// In the order in which everybody locks lanes, and adds rows for them.
void sort_lanes(LaneWakeup* lanes, int count) {
  qsort(lanes, count, sizeof *lanes,
        [](const void* one, const void* other) { return memcmp(one, other, offsetof(LaneWakeup, from_id)); });
}

Datum column_of(const LaneWakeup* lanes, int count, pg_uuid_t LaneWakeup::*column) {
  auto* ids = static_cast<Datum*>(palloc(sizeof(Datum) * Max(count, 1)));
  for (int i = 0; i < count; ++i) ids[i] = UUIDPGetDatum(&(lanes[i].*column));
  return make_uuids(ids, count);
}

}  // namespace

extern "C" {

PG_FUNCTION_INFO_V1(byoc_take_from_plain_lanes);
// byoc.take_from_plain_lanes(claim_id uuid, slots integer, at timestamptz, is_any_limit boolean, lanes_in_use uuid[],
//                            rooms integer[], room integer, INOUT org_ids uuid[], INOUT lanes uuid[],
//                            INOUT from_ids uuid[], OUT taken integer)
Datum byoc_take_from_plain_lanes(PG_FUNCTION_ARGS) {
  PreventCommandIfReadOnly("claiming messages");
  const int slots = PG_GETARG_INT32(1);
  const TimestampTz at = PG_GETARG_TIMESTAMPTZ(2);
  const bool is_any_limit = PG_GETARG_BOOL(3);
  const Rooms rooms = read_rooms(PG_GETARG_ARRAYTYPE_P(4), PG_GETARG_ARRAYTYPE_P(5), PG_GETARG_INT32(6));
  const Lanes lanes = read_lanes(fcinfo, 7);
  const int count = lanes.ids.count;
  auto* left = static_cast<LaneWakeup*>(palloc(sizeof(LaneWakeup) * Max(count, 1)));
  int left_count = 0;
  int taken = 0;
  begin_claim(PG_GETARG_UUID_P(0));
  const Mover mover = open_mover();
  for (int i = 0; i < count; ++i) {
    CHECK_FOR_INTERRUPTS();
    const LaneWakeup lane = {lanes.organizations.items[i], lanes.ids.items[i], lanes.from_ids.items[i]};
    // Each has the same; what lanes before it did not need goes around.
    const int share = (slots - taken) / (count - i);
    if (!is_any_limit && serve(mover, lane, at, Min(share, rooms.of(lane.lane)), taken)) continue;
    left[left_count++] = lane;
  }
  close_mover(mover);
  sort_lanes(left, left_count);
  Datum values[] = {column_of(left, left_count, &LaneWakeup::organization),
                    column_of(left, left_count, &LaneWakeup::lane), column_of(left, left_count, &LaneWakeup::from_id),
                    Int32GetDatum(taken)};
  bool nulls[lengthof(values)] = {};
  return row_of(fcinfo, values, nulls);
}
}

}  // namespace byoc
