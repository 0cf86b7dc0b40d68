#include "opt_outs.h"

#include "lookup_memory.h"

namespace byoc {
namespace {

// number null: any number.
bool has_row(const pg_uuid_t* organization, const text* number) {
  ScanKeyData keys[2];
  ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(organization));
  ScanKeyInit(&keys[1], 2, BTEqualStrategyNumber, F_TEXTEQ, PointerGetDatum(number));
  keys[1].sk_collation = DEFAULT_COLLATION_OID;
  const FoundRow row = find_row(own_opt_outs, own_opt_outs_key, keys, number == nullptr ? 1 : 2);
  release_row(row);
  return row.tuple != nullptr;
}

enum class OptOuts { not_asked, none, some };

}  // namespace

bool has_opted_out(const pg_uuid_t* organization, const text* number) {
  static LookupMemory<own_opt_outs, OptOuts> memory;
  OptOuts& known = memory.of(organization);
  if (known == OptOuts::not_asked) known = has_row(organization, nullptr) ? OptOuts::some : OptOuts::none;
  return known == OptOuts::some && has_row(organization, number);
}

}  // namespace byoc
