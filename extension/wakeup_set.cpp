#include "wakeup_set.h"

namespace byoc {
namespace {

constexpr uint32 most_used = wakeup_places / 4 * 3;  // fuller, looking for a place takes long

uint32 first_place(const LaneWakeup& wakeup) {
  return hash_bytes(wakeup.organization.data, UUID_LEN) ^ hash_bytes(wakeup.lane.data, UUID_LEN);
}

bool is_same_lane(const LaneWakeup& one, const LaneWakeup& other) {
  return memcmp(&one, &other, offsetof(LaneWakeup, from_id)) == 0;
}

}  // namespace

bool holds(const WakeupSet& set, const LaneWakeup& wakeup) {
  uint32 place = first_place(wakeup) % wakeup_places;
  for (uint32 seen = 0; seen < wakeup_places && set.used[place]; ++seen, place = (place + 1) % wakeup_places) {
    const LaneWakeup& there = set.places[place];
    if (is_same_lane(there, wakeup)) return memcmp(&there.from_id, &wakeup.from_id, UUID_LEN) <= 0;
  }
  return false;
}

void add(WakeupSet& set, const LaneWakeup& wakeup) {
  uint32 place = first_place(wakeup);
  for (;; ++place) {
    LaneWakeup& there = set.places[place % wakeup_places];
    bool& used = set.used[place % wakeup_places];
    if (!used) {
      if (set.count == most_used) {
        set.overflowed = true;
        return;
      }
      used = true;
      ++set.count;
      there = wakeup;
      return;
    }
    if (!is_same_lane(there, wakeup)) continue;
    if (memcmp(&wakeup.from_id, &there.from_id, UUID_LEN) < 0) there.from_id = wakeup.from_id;
    return;
  }
}

void move(WakeupSet& from, WakeupSet& to) {
  for (uint32 place = 0; from.count > 0; ++place) {
    place = next_used(from, place);
    add(to, from.places[place]);
    from.used[place] = false;
    --from.count;
  }
  to.overflowed |= from.overflowed;
  from.overflowed = false;
}

bool take_one(WakeupSet& set, LaneWakeup& wakeup) {
  if (set.count == 0) return false;
  uint32 place = next_used(set, 0);
  wakeup = set.places[place];
  set.used[place] = false;
  --set.count;
  // Those behind it may only have their places because it had its own.
  for (place = (place + 1) % wakeup_places; set.used[place]; place = (place + 1) % wakeup_places) {
    set.used[place] = false;
    --set.count;
    add(set, set.places[place]);
  }
  return true;
}

uint32 next_used(const WakeupSet& set, uint32 place) {
  const void* found = memchr(set.used + place, true, wakeup_places - place);
  return found == nullptr ? wakeup_places : static_cast<uint32>(static_cast<const bool*>(found) - set.used);
}

}  // namespace byoc
