// What PostgreSQL's versions call differently; of 15, 17 and 18. Included by pg_boundary.h only.
#pragma once

namespace byoc {

inline LocalTransactionId local_transaction() {
#if PG_VERSION_NUM >= 170000
  return MyProc->vxid.lxid;
#else
  return MyProc->lxid;
#endif
}

inline bool is_autovacuum_worker() {
#if PG_VERSION_NUM >= 170000
  return AmAutoVacuumWorkerProcess();
#else
  return IsAutoVacuumWorkerProcess();
#endif
}

inline bool owns_relation(Oid relation, Oid role) {
#if PG_VERSION_NUM >= 160000
  return object_ownercheck(RelationRelationId, relation, role);
#else
  return pg_class_ownercheck(relation, role);
#endif
}

using TreeWalker = bool (*)(Node*, void*);

// As the functions that walk trees take it.
#if PG_VERSION_NUM >= 160000
inline TreeWalker as_walker(TreeWalker walker) {
  return walker;
}
#else
// Declared without its parameters there; the detour through another type says that it is meant.
inline auto as_walker(TreeWalker walker) {
  return reinterpret_cast<bool (*)()>(reinterpret_cast<void (*)()>(walker));
}
#endif

// Memory of a setting's value, which the setting frees. Null when there is none.
inline void* allocate_for_setting(size_t size) {
#if PG_VERSION_NUM >= 160000
  return guc_malloc(LOG, size);
#else
  return malloc(size);
#endif
}

inline void free_from_setting(void* memory) {
#if PG_VERSION_NUM >= 160000
  guc_free(memory);
#else
  free(memory);
#endif
}

// Which indexes of a table have to hear of an update.
enum class StaleIndexes { none, summarizing, all };

// heap_update() that waits for nobody's snapshot. Since 16 a change of a column that only a summarizing index (BRIN)
// has may be heap-only, too: that index is told nevertheless.
inline TM_Result update_row(Relation table, ItemPointer old_row, HeapTuple changed, StaleIndexes& stale) {
  TM_FailureData failure;
  LockTupleMode mode;
#if PG_VERSION_NUM >= 160000
  TU_UpdateIndexes indexes;
  const TM_Result result =
      heap_update(table, old_row, changed, GetCurrentCommandId(true), InvalidSnapshot, true, &failure, &mode, &indexes);
  stale = indexes == TU_All ? StaleIndexes::all : indexes == TU_None ? StaleIndexes::none : StaleIndexes::summarizing;
#else
  const TM_Result result =
      heap_update(table, old_row, changed, GetCurrentCommandId(true), InvalidSnapshot, true, &failure, &mode);
  stale = HeapTupleIsHeapOnly(changed) ? StaleIndexes::none : StaleIndexes::all;
#endif
  return result;
}

inline IndexScanDesc begin_index_scan(Relation table, Relation index, Snapshot snapshot, int keys) {
#if PG_VERSION_NUM >= 180000
  return index_beginscan(table, index, snapshot, nullptr, keys, 0);
#else
  return index_beginscan(table, index, snapshot, keys, 0);
#endif
}

inline bool is_summarizing(Relation index) {
#if PG_VERSION_NUM >= 160000
  return index->rd_indam->amsummarizing;
#else
  (void)index;
  return false;
#endif
}

// After the last entry that was inserted with this `info`.
inline void finish_index_inserts(Relation index, IndexInfo* info) {
#if PG_VERSION_NUM >= 170000
  index_insert_cleanup(index, info);
#else
  (void)index;
  (void)info;
#endif
}

// What a virtual generated column (from 18 on) is computed by, planned; null for any other column.
inline Expr* plan_virtual_column(Relation table, AttrNumber column) {
#if PG_VERSION_NUM >= 180000
  if (TupleDescAttr(RelationGetDescr(table), column - 1)->attgenerated == ATTRIBUTE_GENERATED_VIRTUAL)
    return expression_planner(reinterpret_cast<Expr*>(build_generation_expression(table, column)));
#else
  (void)table;
  (void)column;
#endif
  return nullptr;
}

}  // namespace byoc
