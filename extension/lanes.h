// What is to be known of a lane before it is served.
#pragma once

#include "own_tables.h"

namespace byoc {

// What there may be to do before lanes are served.
struct Surroundings {
  bool is_alone;  // byoc.installation has one row
  bool is_any_due, is_any_wait_over, is_any_limit;

  bool are_usual() const { return is_alone && !is_any_due && !is_any_wait_over; }
};
Surroundings look_around();

// The credential that a lane's messages go out by.
enum SenderColumn { sender_id, sender_version, sender_fields, sender_state, sender_columns };
struct LaneSender {
  bool exists;
  Datum values[sender_columns];
  bool nulls[sender_columns];
};

// As it is now: the lane's own, or when that is revoked the organization's default.
LaneSender find_sender(Datum organization, Datum lane);

// The lane's row as it is now; release_row() gives it back.
FoundRow find_lane(Datum organization, Datum lane);

}  // namespace byoc
