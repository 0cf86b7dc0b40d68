#include "sms_trigger.h"

#include "enqueue.h"
#include "tenant_context.h"
#include "trigger_definition.h"
#include "try_to.h"
#include "virtual_columns.h"

#include <initializer_list>

namespace byoc {
namespace {

constexpr char table_name[] = "sms_trigger_definitions";

// Columns of byoc.sms_trigger_definitions, in the order of its definition.
enum Column {
  column_target = 1,
  column_name,
  column_to_number,
  column_body,
  column_org,
  column_condition,
  column_on_error,
  column_search_path
};

struct CacheEntry {
  Oid trigger;  // key: the trigger on this very table or partition
  bool valid;
  bool in_use;  // by a trigger further up the stack; left in use by an error, then never freed
  bool raises;  // on_error = 'raise'
  MemoryContext memory;
  text* source_table;
  char* broken;  // why the definition does not fit the table any more; null when it does
  ReadyDefinition ready;
};

HTAB* cache = nullptr;
Oid definitions = InvalidOid;

void on_relcache_invalidation(Datum, Oid relation) {
  if (cache == nullptr) return;
  HASH_SEQ_STATUS scan;
  hash_seq_init(&scan, cache);
  // Any change of a table may change its columns: definitions are cheap to make again.
  while (auto* entry = static_cast<CacheEntry*>(hash_seq_search(&scan))) entry->valid = false;
  if (relation == definitions) definitions = InvalidOid;
}

void forget(CacheEntry* entry) {
  if (entry->memory == nullptr || entry->in_use) return;
  release_definition(entry->ready);
  MemoryContextDelete(entry->memory);
  entry->memory = nullptr;
}

// Reads the definition of (table, trigger name) into `text`; false when there is none.
bool read_definition(Oid target, const char* name, DefinitionText& definition, bool& raises) {
  definitions = get_relname_relid(table_name, get_namespace_oid("byoc", false));
  Relation table = table_open(definitions, AccessShareLock);
  (void)RelationGetIndexList(table);  // finds the primary key
  NameData trigger_name;
  namestrcpy(&trigger_name, name);
  ScanKeyData keys[2];
  ScanKeyInit(&keys[0], column_target, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(target));
  ScanKeyInit(&keys[1], column_name, BTEqualStrategyNumber, F_NAMEEQ, NameGetDatum(&trigger_name));
  SysScanDesc scan = systable_beginscan(table, table->rd_pkindex, true, nullptr, 2, keys);
  HeapTuple tuple = systable_getnext(scan);
  const bool found = HeapTupleIsValid(tuple);
  const auto read = [&](Column column) -> const char* {
    bool null = false;
    const Datum value = heap_getattr(tuple, column, RelationGetDescr(table), &null);
    return null ? nullptr : TextDatumGetCString(value);
  };
  if (found) {
    definition = {read(column_to_number), read(column_body), read(column_org), read(column_condition),
                  read(column_search_path)};
    raises = strcmp(read(column_on_error), "raise") == 0;
  }
  systable_endscan(scan);
  table_close(table, AccessShareLock);
  return found;
}

// A partition's trigger is a clone: its definition is kept for the table that the trigger was created on. So is a
// shard's, whose table is what the message is said to come from: `table`.
bool find_definition(const TriggerData* trigger, DefinitionText& definition, bool& raises, Oid& table) {
  table = RelationGetRelid(trigger->tg_relation);
  const char* name = trigger->tg_trigger->tgname;
  if (read_definition(table, name, definition, raises)) return true;
  if (trigger->tg_relation->rd_rel->relispartition) {
    ListCell* cell;
    foreach (cell, get_partition_ancestors(table)) {
      if (read_definition(lfirst_oid(cell), name, definition, raises)) return true;
    }
  }
  NameData distributed;
  return find_distributed_trigger(trigger, table, distributed) &&
         read_definition(table, NameStr(distributed), definition, raises);
}

// The trigger's definition, ready to run; made again after any change. Null when it has none.
CacheEntry* find_entry(const TriggerData* trigger) {
  if (cache == nullptr) {
    HASHCTL control = {};
    control.keysize = sizeof(Oid);
    control.entrysize = sizeof(CacheEntry);
    control.hcxt = TopMemoryContext;
    cache = hash_create("pg_byoc triggers", 32, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
  }
  bool found = false;
  auto* entry = static_cast<CacheEntry*>(hash_search(cache, &trigger->tg_trigger->tgoid, HASH_ENTER, &found));
  if (!found) {
    memset(&entry->valid, 0, sizeof(CacheEntry) - offsetof(CacheEntry, valid));
  } else if (entry->valid) {
    return entry;
  }
  forget(entry);
  DefinitionText definition = {};
  bool raises = false;
  Oid table = InvalidOid;
  if (!find_definition(trigger, definition, raises, table)) return nullptr;
  // Goes with the caller's context when an error ends this; kept when all is ready.
  MemoryContext memory = AllocSetContextCreate(CurrentMemoryContext, "pg_byoc trigger", ALLOCSET_SMALL_SIZES);
  MemoryContext caller = MemoryContextSwitchTo(memory);
  ReadyDefinition ready = {};
  char* broken = nullptr;
  if (raises) {
    prepare_definition(trigger->tg_relation, definition, ready);
  } else {
    broken = try_to([&] { prepare_definition(trigger->tg_relation, definition, ready); });
  }
  if (broken != nullptr) {
    broken = MemoryContextStrdup(
        memory, psprintf("trigger \"%s\" does not fit the table any more: %s", trigger->tg_trigger->tgname, broken));
  }
  text* source =
      cstring_to_text(quote_qualified_identifier(get_namespace_name(get_rel_namespace(table)), get_rel_name(table)));
  MemoryContextSwitchTo(caller);
  MemoryContextSetParent(memory, TopMemoryContext);
  entry->memory = memory;
  entry->ready = ready;
  entry->source_table = source;
  entry->broken = broken;
  entry->raises = raises;
  entry->in_use = false;
  entry->valid = true;
  return entry;
}

// The action's failure, null when it went well; where the trigger raises, so does this.
template <class Action>
const char* attempt(const CacheEntry* entry, const Action& action) {
  if (!entry->raises) return try_to(action);
  action();
  return nullptr;
}

void run(CacheEntry* entry, const RowPair& stored) {
  static const pg_uuid_t no_organization = {};
  RowPair rows = stored;
  bool met = true;
  const char* reason = entry->broken;
  if (reason == nullptr && entry->ready.virtual_columns != nullptr) {
    RowPair computed = {};
    const char* failure =
        attempt(entry, [&] { computed = with_virtual_columns(entry->ready.virtual_columns, stored); });
    if (failure == nullptr) {
      rows = computed;
    } else {
      reason = psprintf("a virtual column failed: %s", failure);
    }
  }
  if (reason == nullptr && entry->ready.condition != nullptr) {
    const char* failure = attempt(entry, [&] { met = meets_condition(entry->ready, rows); });
    if (failure != nullptr) reason = psprintf("condition failed: %s", failure);
  }
  if (reason == nullptr && !met) return;

  NewMessage message = {};
  const pg_uuid_t* organization = organization_of(entry->ready, rows);
  if (organization != nullptr && current_context() != nullptr)
    require_organization(organization, OrganizationRole::member);
  message.organization = organization == nullptr ? &no_organization : organization;
  if (entry->broken == nullptr) {
    message.to_number = render(entry->ready.to_number, rows, organization);
    message.body = render(entry->ready.body, rows, organization);
  }
  message.source_table = entry->source_table;
  if (reason == nullptr && organization == nullptr) reason = "the row names no organization";
  if (reason == nullptr) reason = reason_to_refuse(message);
  pg_uuid_t id;
  if (reason == nullptr) {
    enqueue(message, &id);
  } else if (entry->raises) {
    ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("no SMS can be made of this row: %s", reason),
                    errhint("The trigger was created with on_error => 'raise'.")));
  } else {
    store_failed(message, refused_code, reason, &id);
  }
}

}  // namespace

void install_trigger_callbacks() {
  CacheRegisterRelcacheCallback(on_relcache_invalidation, 0);
}

extern "C" {

PG_FUNCTION_INFO_V1(byoc_enqueue_sms_trigger);
// byoc.enqueue_sms_trigger(): AFTER ROW trigger made by byoc.create_sms_trigger.
Datum byoc_enqueue_sms_trigger(PG_FUNCTION_ARGS) {
  const RowPair rows = rows_of_call(fcinfo, "byoc.enqueue_sms_trigger", "byoc.create_sms_trigger()");
  const auto* trigger = reinterpret_cast<TriggerData*>(fcinfo->context);
  CacheEntry* entry = find_entry(trigger);
  if (entry == nullptr) {
    // It was renamed or made by hand. The application's statement goes on, as after any other fault of ours.
    ereport(WARNING, (errcode(ERRCODE_UNDEFINED_OBJECT),
                      errmsg("trigger \"%s\" on table %s has no definition in pg_byoc, so it sends nothing",
                             trigger->tg_trigger->tgname, RelationGetRelationName(trigger->tg_relation)),
                      errhint("Drop it, and create it again with byoc.create_sms_trigger().")));
    PG_RETURN_POINTER(nullptr);
  }
  const bool nested = entry->in_use;
  entry->in_use = true;
  PG_TRY();
  { run(entry, rows); }
  PG_FINALLY();
  { entry->in_use = nested; }
  PG_END_TRY();
  PG_RETURN_POINTER(nullptr);
}

PG_FUNCTION_INFO_V1(byoc_rehearse_sms_trigger);
// byoc.rehearse_sms_trigger(target regclass, to_number text, body text, org_column text, condition text,
//                           search_path text) -> void
// Raises what would be wrong with such a trigger: a missing column, a bad template, a condition that is not one.
Datum byoc_rehearse_sms_trigger(PG_FUNCTION_ARGS) {
  for (int argument : {0, 1, 2, 3, 5}) {
    if (PG_ARGISNULL(argument)) {
      ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
                      errmsg("target, to_number, body, org_id and search_path must not be null")));
    }
  }
  const DefinitionText definition = {text_to_cstring(PG_GETARG_TEXT_PP(1)), text_to_cstring(PG_GETARG_TEXT_PP(2)),
                                     text_to_cstring(PG_GETARG_TEXT_PP(3)),
                                     PG_ARGISNULL(4) ? nullptr : text_to_cstring(PG_GETARG_TEXT_PP(4)),
                                     text_to_cstring(PG_GETARG_TEXT_PP(5))};
  Relation table = table_open(PG_GETARG_OID(0), AccessShareLock);
  ReadyDefinition ready = {};
  prepare_definition(table, definition, ready);
  const RowPair no_rows = {RelationGetDescr(table), nullptr, nullptr};
  (void)meets_condition(ready, no_rows);
  release_definition(ready);
  table_close(table, AccessShareLock);
  PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(byoc_invoking_role);
// byoc.invoking_role() -> regrole: the role that runs the statement, also seen from a SECURITY DEFINER function, where
// current_user is the owner and session_user ignores SET ROLE.
Datum byoc_invoking_role(PG_FUNCTION_ARGS) {
  if (InSecurityRestrictedOperation()) {
    ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE), errmsg("not allowed within a maintenance command")));
  }
  PG_RETURN_OID(GetOuterUserId());
}
}

}  // namespace byoc
