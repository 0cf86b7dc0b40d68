// Arrays of UUIDs, as SQL gives and takes them.
#pragma once

#include "pg_boundary.h"

namespace byoc {

struct Uuids {
  const pg_uuid_t* items;
  int count;

  // -1: it has none.
  int position(const pg_uuid_t& id) const {
    for (int i = 0; i < count; ++i) {
      if (memcmp(&items[i], &id, UUID_LEN) == 0) return i;
    }
    return -1;
  }
  bool contains(const pg_uuid_t& id) const { return position(id) >= 0; }
};

// Reads it where it is; raises 22004 for one with nulls.
inline Uuids read_uuids(const ArrayType* array) {
  if (ARR_HASNULL(array))
    ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("array must not contain nulls")));
  return {reinterpret_cast<const pg_uuid_t*>(ARR_DATA_PTR(array)), ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array))};
}

// For arrays whose elements belong together; raises 2202E when their numbers differ.
inline void require_as_many(int count, int expected) {
  if (count != expected)
    ereport(ERROR, (errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR), errmsg("arrays must have the same number of elements")));
}

inline Datum make_uuids(Datum* items, int count) {
  return PointerGetDatum(construct_array(items, count, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR));
}

}  // namespace byoc
