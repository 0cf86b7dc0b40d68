// A claim takes messages lane by lane: each moves from byoc.queue to byoc.messages, and out to the dispatcher.
#pragma once

#include "own_tables.h"

namespace byoc {

// By whom, and when, a lane's messages are taken.
struct Sender {
  const pg_uuid_t* lane;
  const pg_uuid_t* id;  // null: the organization has no credential
  int32 version;
  TimestampTz at;
};

// What taking from a lane came to.
struct TakenOfLane {
  int taken;
  int64 segments;  // of them
  int64 missing;   // with the first that the limit kept back; 0: it kept none
  bool is_held;    // somebody has one locked
  bool is_cut_short;
  pg_uuid_t last_id;  // where to go on
  Datum* expired;
  int expired_count;
};

// The limit in segments; by a full bucket one goes out, whatever its size.
struct Limit {
  bool exists;
  double have, burst;

  bool lets(const TakenOfLane& so_far, int64 segments) const;
};

// Messages whose time is over, or that somebody has locked: passed over and told of, or left with all behind them.
enum class Unusual { handled, left };

// What messages are moved between, open for as many lanes as wanted.
struct Mover {
  OwnTable queue, messages;
  Relation queue_key;
};
Mover open_mover();
void close_mover(const Mover& mover);

// All that is taken until finish_claim() is of this claim.
void begin_claim(const pg_uuid_t* id);

// At most `size` messages of the sender's lane, from_id and those behind it.
TakenOfLane take(const Mover& mover, const Sender& sender, const pg_uuid_t* organization, const pg_uuid_t* from_id,
                 int size, const Limit& limit, Unusual unusual);

// Stores what was taken, which is something, as a claim of the dispatcher, and puts it into the set that the function
// that is being called returns.
void finish_claim(FunctionCallInfo fcinfo, const pg_uuid_t* dispatcher, TimestampTz lease_until);

}  // namespace byoc
