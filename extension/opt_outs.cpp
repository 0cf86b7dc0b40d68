#include "opt_outs.h"

namespace byoc {

// By hand instead of by a statement: each message pays for it.
bool has_opted_out(const pg_uuid_t* organization, const text* number) {
  const Oid id = get_relname_relid("opt_outs", get_namespace_oid("byoc", false));
  if (!OidIsValid(id)) ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE), errmsg("table byoc.opt_outs does not exist")));
  Relation table = table_open(id, AccessShareLock);
  list_free(RelationGetIndexList(table));  // finds the primary key
  ScanKeyData keys[2];
  ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(organization));
  ScanKeyInit(&keys[1], 2, BTEqualStrategyNumber, F_TEXTEQ, PointerGetDatum(number));
  keys[1].sk_collation = DEFAULT_COLLATION_OID;
  SysScanDesc scan = systable_beginscan(table, table->rd_pkindex, true, nullptr, 2, keys);
  const bool found = HeapTupleIsValid(systable_getnext(scan));
  systable_endscan(scan);
  table_close(table, AccessShareLock);
  return found;
}

}  // namespace byoc
