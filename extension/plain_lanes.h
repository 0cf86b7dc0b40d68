// Lanes that a claim can take from without a statement: most are.
#pragma once

#include "wakeup.h"

namespace byoc {

// How many more messages each lane may have.
struct Rooms {
  Uuids lanes;
  const int32* rooms;
  int of_others;

  int of(const pg_uuid_t& lane) const;
};

// Lanes that are taken together, each for the same share of what is free.
constexpr int lanes_at_once = 16;

struct TakenOfPlain {
  int messages;
  bool overflowed;  // as ReadyLanes says
};

// Takes messages, at most `slots`, for the claim that begin_claim() began, from those of the lanes that are verified,
// without a limit, a failure or a wait, as are their next messages; then from lanes that wait behind these, while there
// are slots and all lanes are of that kind. The others are left, in the place of the first.
TakenOfPlain take_from_plain_lanes(LaneWakeup* lanes, int& count, int slots, const Uuids& full_lanes, TimestampTz at,
                                   const Rooms& rooms);

}  // namespace byoc
