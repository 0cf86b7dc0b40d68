#include "wakeup_set.h"

namespace byoc {
namespace {

uint16& bucket_of(WakeupSet& set, const LaneWakeup& wakeup) {
  const uint32 hash = hash_bytes(wakeup.organization.data, UUID_LEN) * 31 + hash_bytes(wakeup.lane.data, UUID_LEN);
  return set.buckets[hash % wakeup_places];
}

bool is_same_lane(const LaneWakeup& one, const LaneWakeup& other) {
  return memcmp(&one, &other, offsetof(LaneWakeup, from_id)) == 0;
}

bool is_before(const pg_uuid_t& one, const pg_uuid_t& other) {
  return memcmp(&one, &other, UUID_LEN) < 0;
}

void append(WakeupSet& set, uint16 place) {
  set.at(place).previous = set.last;
  set.at(place).next = 0;
  (set.last == 0 ? set.first : set.at(set.last).next) = place;
  set.last = place;
}

void unlink(WakeupSet& set, uint16 place) {
  const WakeupSet::Place& there = set.at(place);
  (there.previous == 0 ? set.first : set.at(there.previous).next) = there.next;
  (there.next == 0 ? set.last : set.at(there.next).previous) = there.previous;
}

}  // namespace

pg_uuid_t nothing() {
  pg_uuid_t id;
  memset(&id, 0xff, sizeof id);
  return id;
}

bool add(WakeupSet& set, const LaneWakeup& wakeup) {
  if (const uint16 there = find(set, wakeup); there != 0) {
    LaneWakeup& known = set.at(there).wakeup;
    if (!is_before(wakeup.from_id, known.from_id)) return false;
    known.from_id = wakeup.from_id;
    return true;
  }
  if (set.count == wakeup_places) {
    set.overflowed = true;
    return false;
  }
  uint16 place = set.unused;
  if (place == 0)
    place = ++set.reached;
  else
    set.unused = set.at(place).next;
  ++set.count;
  uint16& bucket = bucket_of(set, wakeup);
  set.at(place) = {wakeup, 0, bucket, 0, 0};
  bucket = place;
  append(set, place);
  return true;
}

uint16 find(const WakeupSet& set, const LaneWakeup& wakeup) {
  uint16 place = bucket_of(const_cast<WakeupSet&>(set), wakeup);
  // Without the lock a chain may change, and even close to a circle, while it is followed.
  for (uint16 steps = 0; place != 0 && steps < wakeup_places; ++steps, place = set.at(place).in_bucket) {
    if (is_same_lane(set.at(place).wakeup, wakeup)) return place;
  }
  return 0;
}

bool holds(const WakeupSet& set, const LaneWakeup& wakeup) {
  const uint16 place = find(set, wakeup);
  if (place == 0) return false;
  const WakeupSet::Place& there = set.at(place);
  const bool says_so = there.owner == 0 && !is_before(wakeup.from_id, there.wakeup.from_id);
  // Without the lock another lane may have come into the place meanwhile.
  pg_read_barrier();
  return says_so && is_same_lane(there.wakeup, wakeup);
}

LaneWakeup own(WakeupSet& set, uint16 place, int owner) {
  WakeupSet::Place& there = set.at(place);
  const LaneWakeup wakeup = there.wakeup;
  there.owner = owner;
  there.wakeup.from_id = nothing();
  unlink(set, place);
  append(set, place);
  return wakeup;
}

bool is_woken(const WakeupSet::Place& place) {
  const pg_uuid_t none = nothing();
  return memcmp(&place.wakeup.from_id, &none, UUID_LEN) != 0;
}

void release(WakeupSet& set, uint16 place) {
  set.at(place).owner = 0;
  if (!is_woken(set.at(place))) remove(set, place);
}

void remove(WakeupSet& set, uint16 place) {
  WakeupSet::Place& there = set.at(place);
  uint16* link = &bucket_of(set, there.wakeup);
  while (*link != place) link = &set.at(*link).in_bucket;
  *link = there.in_bucket;
  unlink(set, place);
  there.next = set.unused;
  set.unused = place;
  --set.count;
}

void clear(WakeupSet& set) {
  if (!set.is_empty()) memset(static_cast<void*>(&set), 0, offsetof(WakeupSet, places));
}

}  // namespace byoc
