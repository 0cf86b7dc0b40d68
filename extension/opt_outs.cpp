#include "opt_outs.h"

#include "own_tables.h"

namespace byoc {

bool has_opted_out(const pg_uuid_t* organization, const text* number) {
  ScanKeyData keys[2];
  ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(organization));
  ScanKeyInit(&keys[1], 2, BTEqualStrategyNumber, F_TEXTEQ, PointerGetDatum(number));
  keys[1].sk_collation = DEFAULT_COLLATION_OID;
  const FoundRow row = find_row(own_opt_outs, own_opt_outs_key, keys, 2);
  release_row(row);
  return row.tuple != nullptr;
}

}  // namespace byoc
