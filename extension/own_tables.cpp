#include "own_tables.h"

namespace byoc {

// Rows that wait to be stored in one go, which costs much less than each for itself.
struct PendingRows {
  static constexpr int most = 64;
  HeapTuple rows[most];
  int count;
  TupleTableSlot* slots[most];  // as heap_multi_insert() takes them
  int slots_made;
};

namespace {

struct OwnName {
  const char* name;
  int checks;  // CHECK constraints that the extension gave it: who writes by hand has to keep to them
};

constexpr OwnName names[own_relation_count] = {
    {"queue", 0},
    {"opt_outs", 0},
    {"opt_outs_pkey", 0},
    {"organization_api_credentials", 5},
    {"organization_api_credentials_pkey", 0},
    {"organization_api_credentials_one_default", 0},
    {"queue_pkey", 0},
    {"schedule", 0},
    {"schedule_due", 0},
    {"lanes", 0},
    {"lanes_pkey", 0},
    {"lanes_waiting", 0},
    {"messages", 2},
    {"messages_pkey", 0},
    {"message_events", 0},
    {"claims", 1},
    {"installation", 0},
    {"sender_limits", 2},
    {"receipt_watches", 0},
};
constexpr int most_columns = 24;
constexpr int most_indexes = 8;

// How rows get into a table.
struct Storage {
  bool is_known;
  bool is_plain;  // without statements, and without passing over anything
  int index_count;
  Oid indexes[most_indexes];
  IndexInfo entries[most_indexes];  // what goes into them
};

struct KnownRelation {
  Oid id;              // InvalidOid: to be looked up
  bool tells_changes;  // by an invalidation
  uint64 changes;
  Storage storage;
};
KnownRelation known[own_relation_count] = {};

void on_relcache_invalidation(Datum, Oid relation) {
  for (KnownRelation& one : known) {
    if (relation != InvalidOid && relation != one.id) continue;
    one.id = InvalidOid;
    one.storage.is_known = false;
    ++one.changes;
  }
}

// InvalidOid when it does not exist.
Oid find_relation(OwnRelation relation) {
  Oid& id = known[relation].id;
  if (!OidIsValid(id)) id = get_relname_relid(names[relation].name, get_namespace_oid("byoc", false));
  return id;
}

// Whether whoever changes its rows has every session told, replication too.
bool tells_changes(Relation table) {
  const TriggerDesc* triggers = table->trigdesc;
  for (int i = 0; triggers != nullptr && i < triggers->numtriggers; ++i) {
    const Trigger& trigger = triggers->triggers[i];
    if (strcmp(trigger.tgname, "forget_lookups") == 0 && trigger.tgenabled == TRIGGER_FIRES_ALWAYS) return true;
  }
  return false;
}

// Of what inserting by hand would pass over, there is nothing.
bool has_plain_rows(Relation table, int columns, int checks) {
  const TupleDesc description = RelationGetDescr(table);
  const TupleConstr* constraints = description->constr;
  return table->rd_rel->relkind == RELKIND_RELATION && table->rd_rel->relam == HEAP_TABLE_AM_OID &&
         !table->rd_rel->relhastriggers && !table->rd_rel->relhasrules && description->natts == columns &&
         (constraints == nullptr || (constraints->num_check == checks && !constraints->has_generated_stored));
}

void learn_storage(Relation table, int columns, int checks, KnownRelation& own) {
  own.id = RelationGetRelid(table);  // so that a change meanwhile counts
  const uint64 changes = own.changes;
  Storage& storage = own.storage;
  List* indexes = RelationGetIndexList(table);
  storage.is_plain = has_plain_rows(table, columns, checks) && list_length(indexes) <= most_indexes;
  storage.index_count = storage.is_plain ? list_length(indexes) : 0;
  for (int i = 0; i < storage.index_count; ++i) {
    storage.indexes[i] = list_nth_oid(indexes, i);
    Relation index = index_open(storage.indexes[i], AccessShareLock);
    IndexInfo& entry = storage.entries[i] = *BuildIndexInfo(index);
    index_close(index, AccessShareLock);
    if (entry.ii_Expressions != NIL || entry.ii_Predicate != NIL || entry.ii_ExclusionOps != nullptr)
      storage.is_plain = false;
  }
  storage.is_known = own.changes == changes;
}

// INSERT INTO byoc.TABLE VALUES ($1, ...), for who has the owner's rights.
void write_by_statement(Relation table, Datum* values, const bool* nulls, int columns) {
  Oid types[most_columns];
  char flags[most_columns];
  StringInfoData statement;
  initStringInfo(&statement);
  appendStringInfo(&statement, "INSERT INTO byoc.%s VALUES (", quote_identifier(RelationGetRelationName(table)));
  for (int i = 0; i < columns; ++i) {
    types[i] = getBaseType(TupleDescAttr(RelationGetDescr(table), i)->atttypid);
    flags[i] = nulls[i] ? 'n' : ' ';
    appendStringInfo(&statement, "%s$%d", i == 0 ? "" : ", ", i + 1);
  }
  appendStringInfoChar(&statement, ')');
  SPI_connect();
  const int result = SPI_execute_with_args(statement.data, columns, types, values, flags, false, 0);
  if (result < 0)
    elog(ERROR, "could not write to byoc.%s: %s", RelationGetRelationName(table), SPI_result_code_string(result));
  SPI_finish();
}

void add_index_entries(const OwnTable& table, HeapTuple* rows, int count, StaleIndexes stale) {
  const Storage& storage = known[table.name].storage;
  if (!storage.is_plain) elog(ERROR, "byoc.%s changed while it was written", RelationGetRelationName(table.relation));
  const TupleDesc columns = RelationGetDescr(table.relation);
  for (int i = 0; i < storage.index_count; ++i) {
    IndexInfo entry = storage.entries[i];  // the index may keep something in it
    entry.ii_Context = CurrentMemoryContext;
    if (!entry.ii_ReadyForInserts) continue;
    Relation index = index_open(storage.indexes[i], RowExclusiveLock);
    const IndexUniqueCheck check = index->rd_index->indisunique ? UNIQUE_CHECK_YES : UNIQUE_CHECK_NO;
    for (int row = 0; row < count && (stale == StaleIndexes::all || is_summarizing(index)); ++row) {
      Datum values[INDEX_MAX_KEYS];
      bool nulls[INDEX_MAX_KEYS];
      for (int key = 0; key < entry.ii_NumIndexAttrs; ++key)
        values[key] = heap_getattr(rows[row], entry.ii_IndexAttrNumbers[key], columns, &nulls[key]);
      index_insert(index, values, nulls, &rows[row]->t_self, table.relation, check, false, &entry);
    }
    finish_index_inserts(index, &entry);
    index_close(index, RowExclusiveLock);
  }
}

// Into the table, not into its indexes.
void insert_together(Relation table, PendingRows& pending) {
  for (int i = 0; i < pending.count; ++i) {
    if (i == pending.slots_made)
      pending.slots[pending.slots_made++] = MakeSingleTupleTableSlot(RelationGetDescr(table), &TTSOpsHeapTuple);
    constexpr bool slot_frees_it = true;  // otherwise it would be copied
    ExecStoreHeapTuple(pending.rows[i], pending.slots[i], slot_frees_it);
  }
  heap_multi_insert(table, pending.slots, pending.count, GetCurrentCommandId(true), 0, nullptr);
  for (int i = 0; i < pending.count; ++i) pending.rows[i]->t_self = pending.slots[i]->tts_tid;
}

void store_pending(const OwnTable& table) {
  PendingRows& pending = *table.pending;
  if (pending.count == 0) return;
  if (pending.count == 1) {
    heap_insert(table.relation, pending.rows[0], GetCurrentCommandId(true), 0, nullptr);
    add_index_entries(table, pending.rows, 1, StaleIndexes::all);
    heap_freetuple(pending.rows[0]);
  } else {
    insert_together(table.relation, pending);
    add_index_entries(table, pending.rows, pending.count, StaleIndexes::all);
    for (int i = 0; i < pending.count; ++i) ExecClearTuple(pending.slots[i]);
  }
  pending.count = 0;
}

Taking take_by_statement(Relation table, HeapTuple row) {
  const char* name = quote_identifier(RelationGetRelationName(table));
  char* statement = psprintf(
      "DELETE FROM byoc.%s WHERE ctid OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT t.ctid FROM byoc.%s AS t"
      " WHERE t.ctid OPERATOR(pg_catalog.=) $1 FOR UPDATE SKIP LOCKED))",
      name, name);
  Oid types[] = {TIDOID};
  Datum values[] = {PointerGetDatum(&row->t_self)};
  SPI_connect();
  const int result = SPI_execute_with_args(statement, 1, types, values, nullptr, false, 0);
  if (result < 0) elog(ERROR, "could not delete from byoc.%s: %s", name, SPI_result_code_string(result));
  const Taking taking = SPI_processed == 1 ? Taking::taken : Taking::held;
  SPI_finish();
  return taking;
}

}  // namespace

Relation open_own_table(OwnRelation table, LOCKMODE lock) {
  const bool is_new = !OidIsValid(known[table].id);
  const Oid id = find_relation(table);
  if (!OidIsValid(id))
    ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE), errmsg("table byoc.%s does not exist", names[table].name)));
  Relation relation = table_open(id, lock);
  if (is_new) known[table].tells_changes = tells_changes(relation);
  return relation;
}

Relation open_own_index(OwnRelation index) {
  const Oid id = find_relation(index);
  if (!OidIsValid(id))
    ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("index byoc.%s does not exist", names[index].name)));
  return index_open(id, AccessShareLock);
}

uint64 changes_of(OwnRelation table) {
  static LocalTransactionId transaction = InvalidLocalTransactionId;
  static CommandId command = 0;
  if (transaction != local_transaction() || command != GetCurrentCommandId(false)) {
    transaction = local_transaction();
    command = GetCurrentCommandId(false);
    AcceptInvalidationMessages();
    for (KnownRelation& one : known) {
      if (!one.tells_changes) ++one.changes;
    }
  }
  return known[table].changes;
}

FoundRow find_row(OwnRelation table, OwnRelation index, ScanKeyData* keys, int count) {
  FoundRow row = {open_own_table(table, AccessShareLock), nullptr, nullptr};
  // Only now: while the table is locked, no index of it goes away.
  const Oid through = index == own_relation_count ? InvalidOid : find_relation(index);
  row.scan = systable_beginscan(row.table, through, OidIsValid(through), nullptr, count, keys);
  row.tuple = systable_getnext(row.scan);
  return row;
}

void release_row(const FoundRow& row) {
  systable_endscan(row.scan);
  table_close(row.table, AccessShareLock);
}

OwnTable open_to_write(OwnRelation table, int columns) {
  Relation target = open_own_table(table, RowExclusiveLock);
  KnownRelation& own = known[table];
  if (!own.storage.is_known) learn_storage(target, columns, names[table].checks, own);
  auto* pending = static_cast<PendingRows*>(palloc(sizeof(PendingRows)));
  pending->slots_made = pending->count = 0;
  return {target, table, own.storage.is_plain, pending};
}

void close_written(const OwnTable& table) {
  store_pending(table);
  for (int i = 0; i < table.pending->slots_made; ++i) ExecDropSingleTupleTableSlot(table.pending->slots[i]);
  pfree(table.pending);
  table_close(table.relation, NoLock);  // locked until the transaction ends, as by a statement
}

void deform_row(const OwnTable& table, HeapTuple row, Datum* values, bool* nulls, int columns) {
  const TupleDesc description = RelationGetDescr(table.relation);
  if (description->natts == columns) return heap_deform_tuple(row, description, values, nulls);
  for (int i = 0; i < columns; ++i) values[i] = heap_getattr(row, i + 1, description, &nulls[i]);
}

void write_row(const OwnTable& table, Datum* values, bool* nulls, int columns) {
  if (!table.is_plain) return write_by_statement(table.relation, values, nulls, columns);
  PendingRows& pending = *table.pending;
  pending.rows[pending.count++] = heap_form_tuple(RelationGetDescr(table.relation), values, nulls);
  if (pending.count == PendingRows::most) store_pending(table);
}

Taking take_row(const OwnTable& table, HeapTuple row) {
  if (!table.is_plain) return take_by_statement(table.relation, row);
  TM_FailureData failure;
  switch (
      heap_delete(table.relation, &row->t_self, GetCurrentCommandId(true), InvalidSnapshot, false, &failure, false)) {
    case TM_Ok:
      return Taking::taken;
    case TM_Deleted:
    case TM_SelfModified:
      return Taking::gone;
    default:
      return Taking::held;
  }
}

bool change_row(const OwnTable& table, HeapTuple row, HeapTuple changed) {
  Assert(table.is_plain);
  StaleIndexes stale;
  if (update_row(table.relation, &row->t_self, changed, stale) != TM_Ok) return false;
  if (stale != StaleIndexes::none) add_index_entries(table, &changed, 1, stale);
  return true;
}

bool add_row(OwnRelation table, Datum* values, const char* nulls, int columns) {
  Assert(columns <= most_columns);
  bool is_null[most_columns];
  for (int i = 0; i < columns; ++i) is_null[i] = nulls[i] != ' ';
  const OwnTable target = open_to_write(table, columns);
  if (target.is_plain) write_row(target, values, is_null, columns);
  close_written(target);
  return target.is_plain;
}

void install_own_table_callbacks() {
  CacheRegisterRelcacheCallback(on_relcache_invalidation, 0);
}

extern "C" {

PG_FUNCTION_INFO_V1(byoc_forget_lookups);
// byoc.forget_lookups(): row trigger on what LookupMemory is about.
Datum byoc_forget_lookups(PG_FUNCTION_ARGS) {
  if (!CALLED_AS_TRIGGER(fcinfo)) elog(ERROR, "byoc.forget_lookups is a trigger function");
  CacheInvalidateRelcacheByRelid(RelationGetRelid(reinterpret_cast<TriggerData*>(fcinfo->context)->tg_relation));
  PG_RETURN_POINTER(nullptr);
}
}

}  // namespace byoc
