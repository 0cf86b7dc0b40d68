// Lanes as most are: nobody else serves them (byoc.take_lanes), nothing about them is to be remembered, and all their
// messages may go. A claim takes from them without a lock and without a statement; whatever is unusual it leaves to
// byoc.serve_lanes(), which has the rules.
#include "plain_lanes.h"

#include "claim.h"
#include "lanes.h"

namespace byoc {
namespace {

constexpr int most_lanes = 8 * lanes_at_once;

// Lanes that may have more. They are passed on in the end: the same claim would meet them again.
struct Unfinished {
  LaneWakeup lanes[most_lanes];
  int count;
};

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

// Takes at most so many; false, and nothing done, when the lane or its next message is unusual.
bool serve(const Mover& mover, const LaneWakeup& lane, TimestampTz at, int size, int& taken, Unfinished& unfinished) {
  const Datum organization = UUIDPGetDatum(&lane.organization), id = UUIDPGetDatum(&lane.lane);
  if (!is_unburdened(organization, id, at)) return false;
  const LaneSender credential = find_sender(organization, id);
  if (!credential.exists || !is_verified(credential) || !is_unlimited(credential.values[sender_fields])) return false;
  const Sender sender = {&lane.lane, DatumGetUUIDP(credential.values[sender_id]),
                         DatumGetInt32(credential.values[sender_version]), at};
  const TakenOfLane got =
      take(mover, sender, &lane.organization, &lane.from_id, size, Limit{false, 0, 0}, Unusual::left);
  if (got.taken == 0 && got.is_cut_short) return false;
  if (got.taken >= size || got.is_cut_short)
    unfinished.lanes[unfinished.count++] = {lane.organization, lane.lane, got.last_id};
  taken += got.taken;
  return true;
}

}  // namespace

int Rooms::of(const pg_uuid_t& lane) const {
  const int i = lanes.position(lane);
  return i < 0 ? of_others : rooms[i];
}

TakenOfPlain take_from_plain_lanes(LaneWakeup* lanes, int& count, int slots, const Uuids& full_lanes, TimestampTz at,
                                   const Rooms& rooms) {
  TakenOfPlain taken = {0, false};
  auto* unfinished = static_cast<Unfinished*>(palloc(sizeof(Unfinished)));
  unfinished->count = 0;
  const Mover mover = open_mover();
  int others = 0;
  for (int served = 0; count > 0;) {
    // As of now: all that these lanes' notes are about is visible.
    PushActiveSnapshot(GetTransactionSnapshot());
    for (int i = 0; i < count; ++i) {
      CHECK_FOR_INTERRUPTS();
      // Each has the same; what lanes before it did not need goes around.
      const int share = (slots - taken.messages) / (count - i);
      if (!serve(mover, lanes[i], at, Min(share, rooms.of(lanes[i].lane)), taken.messages, *unfinished))
        lanes[others++] = lanes[i];
    }
    PopActiveSnapshot();
    served += count;
    if (others > 0 || count < lanes_at_once || taken.messages == slots || served == most_lanes) break;
    const ReadyLanes more = take_lanes(Min(lanes_at_once, slots - taken.messages), full_lanes, lanes);
    taken.overflowed |= more.overflowed;
    count = more.count;
  }
  close_mover(mover);
  for (int i = 0; i < unfinished->count; ++i) pass_on_lane(unfinished->lanes[i]);
  pfree(unfinished);
  count = others;
  return taken;
}

}  // namespace byoc
