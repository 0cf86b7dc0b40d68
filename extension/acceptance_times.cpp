#include "acceptance_times.h"

#include "shared_state.h"

#include <limits>

namespace byoc {

void start_acceptance_times(AcceptanceTimes* times) {
  for (int i = 0; i < acceptance_buckets; ++i) {
    pg_atomic_init_u64(&times->messages[i], 0);
    pg_atomic_init_u64(&times->microseconds[i], 0);
  }
}

void count_acceptance(TimestampTz since, TimestampTz now) {
  DatabaseWakeup* database = find_wakeup();
  if (database == nullptr) return;
  const int64 took = Max(now - since, 0);
  int bucket = 0;
  while (bucket < acceptance_bound_count && took > acceptance_bounds[bucket] * USECS_PER_SEC) ++bucket;
  pg_atomic_fetch_add_u64(&database->accepted.messages[bucket], 1);
  pg_atomic_fetch_add_u64(&database->accepted.microseconds[bucket], took);
}

extern "C" {

PG_FUNCTION_INFO_V1(byoc_count_acceptance);
// byoc.count_acceptance(since timestamptz) -> void
Datum byoc_count_acceptance(PG_FUNCTION_ARGS) {
  count_acceptance(PG_GETARG_TIMESTAMPTZ(0), GetCurrentTimestamp());
  PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(byoc_acceptance_times);
// byoc.acceptance_times() -> table (up_to double precision, messages bigint, seconds double precision)
Datum byoc_acceptance_times(PG_FUNCTION_ARGS) {
  InitMaterializedSRF(fcinfo, 0);
  const auto* result = reinterpret_cast<ReturnSetInfo*>(fcinfo->resultinfo);
  DatabaseWakeup* database = find_wakeup();
  for (int i = 0; database != nullptr && i < acceptance_buckets; ++i) {
    Datum values[] = {
        Float8GetDatum(i < acceptance_bound_count ? acceptance_bounds[i] : std::numeric_limits<double>::infinity()),
        Int64GetDatum(pg_atomic_read_u64(&database->accepted.messages[i])),
        Float8GetDatum(static_cast<double>(pg_atomic_read_u64(&database->accepted.microseconds[i])) / USECS_PER_SEC)};
    bool nulls[lengthof(values)] = {};
    tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
  }
  PG_RETURN_NULL();
}
}

}  // namespace byoc
