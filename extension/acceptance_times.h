// How long messages took from when they could be sent until the provider had them: counted in shared memory, because
// each byocd knows only its own, and none when a message was to be sent.
#pragma once

#include "pg_boundary.h"

namespace byoc {

// Seconds; one more bucket, without a bound, takes the rest.
constexpr double acceptance_bounds[] = {0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25,  0.5,   1,
                                        2.5,    5,     10,   30,    60,   300, 1800., 7200., 36000.};
constexpr int acceptance_bound_count = lengthof(acceptance_bounds);
constexpr int acceptance_buckets = acceptance_bound_count + 1;

// Those of one database, since the server's start.
struct AcceptanceTimes {
  pg_atomic_uint64 messages[acceptance_buckets];
  pg_atomic_uint64 microseconds[acceptance_buckets];
};

void start_acceptance_times(AcceptanceTimes* times);

// Counts a message that could be sent from `since` on and was accepted `now`. Counts it also when the transaction fails
// afterwards.
void count_acceptance(TimestampTz since, TimestampTz now);

}  // namespace byoc
