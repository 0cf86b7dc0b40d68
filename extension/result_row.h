// The row that a function with OUT parameters returns.
#pragma once

#include "pg_boundary.h"

namespace byoc {

inline Datum row_of(FunctionCallInfo fcinfo, Datum* values, bool* nulls) {
  TupleDesc columns = nullptr;
  if (get_call_result_type(fcinfo, nullptr, &columns) != TYPEFUNC_COMPOSITE) elog(ERROR, "not a row type");
  return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(columns), values, nulls));
}

}  // namespace byoc
