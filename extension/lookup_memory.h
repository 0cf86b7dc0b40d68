// What was looked up of organizations in one of our tables: most rows of an application ask about few organizations,
// again and again.
#pragma once

#include "own_tables.h"

namespace byoc {

template <OwnRelation table, class Value>
struct LookupMemory {
  struct Place {
    uint64 as_of;
    pg_uuid_t organization;
    Value value;
  };
  Place places[1024];

  // As it was left; all zero when it was not yet, or the table has changed since. To be asked before the table is.
  Value& of(const pg_uuid_t* organization) {
    Place& place = places[hash_bytes(organization->data, UUID_LEN) % lengthof(places)];
    const uint64 now = changes_of(table);
    if (place.as_of != now || memcmp(&place.organization, organization, UUID_LEN) != 0)
      place = {now, *organization, {}};
    return place.value;
  }
};

}  // namespace byoc
