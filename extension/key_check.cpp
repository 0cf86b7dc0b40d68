#include "key_check.h"

#include "data_keys.h"

extern "C" {
#include "catalog/dependency.h"
#include "catalog/pg_class.h"
#include "catalog/pg_database.h"
#include "commands/extension.h"
#include "postmaster/bgworker.h"

PGDLLEXPORT void byoc_check_all_databases(Datum argument);
PGDLLEXPORT void byoc_check_database(Datum database);
}

namespace byoc {
namespace {

constexpr int32 invalid_database = -2;  // datconnlimit of one whose DROP DATABASE was interrupted

struct Database {
  Oid oid;
  NameData name;
};

// All databases, in palloc'ed memory.
Database* list_databases(int* count) {
  int capacity = 16;
  auto* databases = static_cast<Database*>(palloc(sizeof(Database) * capacity));
  *count = 0;
  Relation table = table_open(DatabaseRelationId, AccessShareLock);
  SysScanDesc scan = systable_beginscan(table, InvalidOid, false, nullptr, 0, nullptr);
  HeapTuple tuple;
  while (HeapTupleIsValid(tuple = systable_getnext(scan))) {
    const auto* row = reinterpret_cast<Form_pg_database>(GETSTRUCT(tuple));
    if (row->datconnlimit == invalid_database) continue;
    if (*count == capacity) databases = static_cast<Database*>(repalloc(databases, sizeof(Database) * (capacity *= 2)));
    databases[(*count)++] = {row->oid, row->datname};
  }
  systable_endscan(scan);
  table_close(table, AccessShareLock);
  return databases;
}

// Runs byoc_check_database and waits for its end. `request` is 0 after a start. False when no worker could be had.
bool run_worker(const Database& database, uint64 request) {
  BackgroundWorker worker;
  memset(&worker, 0, sizeof worker);
  snprintf(worker.bgw_name, sizeof worker.bgw_name, "pg_byoc key check of %s", NameStr(database.name));
  strlcpy(worker.bgw_type, "pg_byoc key check", sizeof worker.bgw_type);
  strlcpy(worker.bgw_library_name, "pg_byoc", sizeof worker.bgw_library_name);
  strlcpy(worker.bgw_function_name, "byoc_check_database", sizeof worker.bgw_function_name);
  worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
  worker.bgw_start_time = BgWorkerStart_ConsistentState;
  worker.bgw_restart_time = BGW_NEVER_RESTART;
  worker.bgw_main_arg = ObjectIdGetDatum(database.oid);
  worker.bgw_notify_pid = MyProcPid;
  memcpy(worker.bgw_extra, &request, sizeof request);
  BackgroundWorkerHandle* handle = nullptr;
  return RegisterDynamicBackgroundWorker(&worker, &handle) && WaitForBackgroundWorkerShutdown(handle) == BGWH_STOPPED;
}

// byoc.organization_keys of the current database if it is the extension's own, else InvalidOid.
Oid own_data_key_table() {
  const Oid extension = get_extension_oid("pg_byoc", true);
  const Oid schema = get_namespace_oid("byoc", true);
  if (!OidIsValid(extension) || !OidIsValid(schema)) return InvalidOid;
  const Oid table = get_relname_relid("organization_keys", schema);
  return OidIsValid(table) && getExtensionOfObject(RelationRelationId, table) == extension ? table : InvalidOid;
}

void add_line(StringInfo text, const WrappingKey& key) {
  appendStringInfo(text, "%sMaster key \"%s\" wraps " INT64_FORMAT " data key(s) in database \"%s\".",
                   text->len == 0 ? "" : "\n", key.id, key.data_keys, get_database_name(MyDatabaseId));
}

void warn_of_missing_keys(const WrappingKey* used, int count) {
  SharedState* state = shared_state();
  StringInfoData missing;
  initStringInfo(&missing);
  for (int i = 0; i < count; ++i) {
    LWLockAcquire(state->lock, LW_SHARED);
    const bool has = state->keyring.find(used[i].id) != nullptr;
    LWLockRelease(state->lock);
    if (!has) add_line(&missing, used[i]);
  }
  if (missing.len > 0) {
    ereport(WARNING,
            (errcode(ERRCODE_CONFIG_FILE_ERROR), errmsg("the key ring of pg_byoc lacks master keys that are in use"),
             errdetail("%s", missing.data),
             errhint("Put them back into the key ring and call byoc.reload_keyring(). Nothing is lost while they "
                     "exist somewhere.")));
  }
}

// Writes what the reload that asked wants to know to shared memory.
void answer(uint64 request, const WrappingKey* used, int count) {
  KeyCheck& check = shared_state()->key_check;
  StringInfoData found;
  initStringInfo(&found);
  for (int i = 0; i < count; ++i) {
    for (int k = 0; k < check.id_count; ++k) {  // fixed while the request is
      if (strcmp(used[i].id, check.ids[k]) == 0) add_line(&found, used[i]);
    }
  }
  LWLockAcquire(shared_state()->lock, LW_EXCLUSIVE);
  if (check.request == request) {
    check.answered = true;
    strlcpy(check.found, found.data, sizeof check.found);
  }
  LWLockRelease(shared_state()->lock);
}

void end_request(int, Datum) {
  pg_atomic_write_u32(&shared_state()->key_check.busy, 0);
}

}  // namespace

void register_start_check() {
  BackgroundWorker worker;
  memset(&worker, 0, sizeof worker);
  strlcpy(worker.bgw_name, "pg_byoc key check", sizeof worker.bgw_name);
  strlcpy(worker.bgw_type, "pg_byoc key check", sizeof worker.bgw_type);
  strlcpy(worker.bgw_library_name, "pg_byoc", sizeof worker.bgw_library_name);
  strlcpy(worker.bgw_function_name, "byoc_check_all_databases", sizeof worker.bgw_function_name);
  worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
  worker.bgw_start_time = BgWorkerStart_ConsistentState;
  worker.bgw_restart_time = BGW_NEVER_RESTART;
  RegisterBackgroundWorker(&worker);
}

void check_other_databases(const char (*ids)[key_id_capacity + 1], int count, OtherDatabases& result) {
  initStringInfo(&result.used);
  initStringInfo(&result.unchecked);
  SharedState* state = shared_state();
  KeyCheck& check = state->key_check;
  uint32 idle = 0;
  if (!pg_atomic_compare_exchange_u32(&check.busy, &idle, 1)) {
    ereport(ERROR, (errcode(ERRCODE_OBJECT_IN_USE), errmsg("another session is removing master keys from the key ring"),
                    errhint("Try again when it has ended.")));
  }
  PG_ENSURE_ERROR_CLEANUP(end_request, Datum{});
  {
    int database_count = 0;
    const Database* databases = list_databases(&database_count);
    for (int i = 0; i < database_count; ++i) {
      if (databases[i].oid == MyDatabaseId) continue;
      LWLockAcquire(state->lock, LW_EXCLUSIVE);
      const uint64 request = ++check.request;  // never 0
      check.answered = false;
      check.id_count = count;
      memcpy(check.ids, ids, sizeof *ids * static_cast<size_t>(count));
      LWLockRelease(state->lock);
      (void)run_worker(databases[i], request);
      char found[sizeof check.found];
      LWLockAcquire(state->lock, LW_SHARED);
      const bool answered = check.answered;
      memcpy(found, check.found, sizeof found);
      LWLockRelease(state->lock);
      if (!answered) {
        appendStringInfo(&result.unchecked, "%s\"%s\"", result.unchecked.len == 0 ? "" : ", ",
                         NameStr(databases[i].name));
      } else if (found[0] != '\0') {
        appendStringInfo(&result.used, "%s%s", result.used.len == 0 ? "" : "\n", found);
      }
    }
  }
  PG_END_ENSURE_ERROR_CLEANUP(end_request, Datum{});
  end_request(0, Datum{});
}

}  // namespace byoc

extern "C" {

// Background worker, once after each start.
void byoc_check_all_databases(Datum) {
  using namespace byoc;
  BackgroundWorkerUnblockSignals();
  SharedState* state = shared_state();
  LWLockAcquire(state->lock, LW_SHARED);
  const bool usable = state->keyring_problem[0] == '\0';
  LWLockRelease(state->lock);
  if (!usable) return;  // said already
  BackgroundWorkerInitializeConnection(nullptr, nullptr, 0);
  StartTransactionCommand();
  int count = 0;
  const MemoryContext previous = MemoryContextSwitchTo(TopMemoryContext);
  const Database* databases = list_databases(&count);
  MemoryContextSwitchTo(previous);
  CommitTransactionCommand();
  for (int i = 0; i < count; ++i) {
    if (!run_worker(databases[i], 0)) {
      ereport(LOG, (errmsg("pg_byoc could not check the master keys of database \"%s\": no background worker is free",
                           NameStr(databases[i].name)),
                    errhint("View byoc.master_keys shows what is missing. Consider a higher max_worker_processes.")));
    }
  }
}

// Background worker: looks at one database, for a start or a reload.
void byoc_check_database(Datum database) {
  using namespace byoc;
  uint64 request = 0;
  memcpy(&request, MyBgworkerEntry->bgw_extra, sizeof request);
  BackgroundWorkerUnblockSignals();
  BackgroundWorkerInitializeConnectionByOid(DatumGetObjectId(database), InvalidOid, BGWORKER_BYPASS_ALLOWCONN);
  StartTransactionCommand();
  PushActiveSnapshot(GetTransactionSnapshot());
  int count = 0;
  const WrappingKey* used = nullptr;
  const Oid table = own_data_key_table();
  if (OidIsValid(table)) {
    if (request != 0) LockRelationOid(table, ShareLock);  // wrapped but not committed yet counts too
    used = count_wrapping_keys(&count);
  }
  if (request == 0)
    warn_of_missing_keys(used, count);
  else
    answer(request, used, count);
  PopActiveSnapshot();
  CommitTransactionCommand();
}
}
