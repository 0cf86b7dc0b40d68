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

// Takes messages, at most `slots`, for the claim that begin_claim() began, from those of the lanes that are verified,
// without a limit, a failure or a wait, as are their next messages. Returns how many; the other lanes are left.
int take_from_plain_lanes(LaneWakeup* lanes, int& count, int slots, TimestampTz at, const Rooms& rooms);

}  // namespace byoc
