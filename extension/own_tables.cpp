#include "own_tables.h"

namespace byoc {
namespace {

constexpr const char* names[own_relation_count] = {
    "queue", "opt_outs", "opt_outs_pkey", "organization_api_credentials", "organization_api_credentials_one_default",
};
constexpr int most_columns = 16;

Oid known[own_relation_count] = {};

void on_relcache_invalidation(Datum, Oid relation) {
  for (Oid& id : known) {
    if (relation == InvalidOid || relation == id) id = InvalidOid;
  }
}

// InvalidOid when it does not exist.
Oid find_relation(OwnRelation relation) {
  Oid& id = known[relation];
  if (!OidIsValid(id)) id = get_relname_relid(names[relation], get_namespace_oid("byoc", false));
  return id;
}

// What inserting by hand would pass over.
bool is_plain(Relation table, const ResultRelInfo* indexes, int columns) {
  const TupleDesc description = RelationGetDescr(table);
  const TupleConstr* constraints = description->constr;
  if (table->rd_rel->relkind != RELKIND_RELATION || table->rd_rel->relam != HEAP_TABLE_AM_OID ||
      table->rd_rel->relhastriggers || table->rd_rel->relhasrules || description->natts != columns ||
      (constraints != nullptr && (constraints->num_check > 0 || constraints->has_generated_stored))) {
    return false;
  }
  for (int i = 0; i < indexes->ri_NumIndices; ++i) {
    const IndexInfo* index = indexes->ri_IndexRelationInfo[i];
    if (index->ii_Expressions != NIL || index->ii_Predicate != NIL || index->ii_ExclusionOps != nullptr) return false;
  }
  return true;
}

}  // namespace

Relation open_own_table(OwnRelation table, LOCKMODE lock) {
  const Oid id = find_relation(table);
  if (!OidIsValid(id))
    ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE), errmsg("table byoc.%s does not exist", names[table])));
  return table_open(id, lock);
}

FoundRow find_row(OwnRelation table, OwnRelation index, ScanKeyData* keys, int count) {
  FoundRow row = {open_own_table(table, AccessShareLock), nullptr, nullptr};
  // Only now: while the table is locked, no index of it goes away.
  const Oid through = find_relation(index);
  row.scan = systable_beginscan(row.table, through, OidIsValid(through), nullptr, count, keys);
  row.tuple = systable_getnext(row.scan);
  return row;
}

void release_row(const FoundRow& row) {
  systable_endscan(row.scan);
  table_close(row.table, AccessShareLock);
}

bool add_row(OwnRelation table, Datum* values, const char* nulls, int columns) {
  Assert(columns <= most_columns);
  bool is_null[most_columns];
  for (int i = 0; i < columns; ++i) is_null[i] = nulls[i] != ' ';
  Relation target = open_own_table(table, RowExclusiveLock);
  CatalogIndexState indexes = CatalogOpenIndexes(target);
  const bool plain = is_plain(target, indexes, columns);
  if (plain) {
    HeapTuple tuple = heap_form_tuple(RelationGetDescr(target), values, is_null);
    CatalogTupleInsertWithInfo(target, tuple, indexes);
    heap_freetuple(tuple);
  }
  CatalogCloseIndexes(indexes);
  table_close(target, NoLock);  // locked until the transaction ends, as by a statement
  return plain;
}

void install_own_table_callbacks() {
  CacheRegisterRelcacheCallback(on_relcache_invalidation, 0);
}

}  // namespace byoc
