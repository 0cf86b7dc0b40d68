// What was looked up in this statement: the rows of one INSERT ask about few organizations, again and again.
#pragma once

#include "pg_boundary.h"

namespace byoc {

template <class Value>
struct StatementMemory {
  struct Place {
    LocalTransactionId transaction;
    CommandId command;
    pg_uuid_t organization;
    Value value;
  };
  Place places[1024];

  // As this statement left it; all zero when it did not yet.
  Value& of(const pg_uuid_t* organization) {
    Place& place = places[hash_bytes(organization->data, UUID_LEN) % lengthof(places)];
    const CommandId command = GetCurrentCommandId(false);
    if (place.transaction != local_transaction() || place.command != command ||
        memcmp(&place.organization, organization, UUID_LEN) != 0) {
      place = {local_transaction(), command, *organization, {}};
    }
    return place.value;
  }
};

}  // namespace byoc
