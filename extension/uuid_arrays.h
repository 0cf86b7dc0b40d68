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

inline Datum make_uuids(Datum* items, int count) {
  return PointerGetDatum(construct_array(items, count, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR));
}

}  // namespace byoc
