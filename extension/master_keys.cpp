#include "master_keys.h"

#include "data_keys.h"
#include "key_check.h"
#include "keyring_command.h"
#include "keyring_file.h"
#include "settings.h"

#include <openssl/crypto.h>

namespace byoc {
namespace {

// Why a ring could not be read.
struct ReadProblem {
  char text[sizeof SharedState::keyring_problem];  // empty: it was read. Shown to whoever uses a key
  char said[256];                                  // what the command wrote to standard error. For administrators
};

bool is_set(const char* setting) {
  return setting != nullptr && setting[0] != '\0';
}

// Reads and parses the ring from where the settings say. On a problem `ring` is empty. Raises nothing.
void read_keyring(Keyring& ring, ReadProblem& problem) {
  memset(&problem, 0, sizeof problem);
  cleanse(ring);
  if (is_set(keyring_file) == is_set(keyring_command)) {
    snprintf(
        problem.text, sizeof problem.text, "%s",
        is_set(keyring_file)
            ? "byoc.keyring_file and byoc.keyring_command are both set; set one of them to ''"
            : "byoc.keyring_file is not set; make a key ring with: byocd keyring generate --file PATH and set "
              "byoc.keyring_file = 'PATH' in postgresql.conf, or byoc.keyring_command to a command that prints one");
    return;
  }
  static char text[keyring_file_limit + 1];  // one byte more than allowed; in the process's own memory, wiped below
  size_t size = 0;
  char source[sizeof problem.text / 2];
  if (is_set(keyring_file)) {
    snprintf(source, sizeof source, "byoc.keyring_file \"%s\"", keyring_file);
    (void)read_keyring_file(keyring_file, text, sizeof text, size, problem.text, sizeof problem.text);
  } else {
    snprintf(source, sizeof source, "the output of byoc.keyring_command");
    CommandReport report;
    run_keyring_command(keyring_command, text, sizeof text, size, report);
    snprintf(problem.text, sizeof problem.text, "%s", report.problem);
    snprintf(problem.said, sizeof problem.said, "%s", report.said);
  }
  if (problem.text[0] == '\0') {
    const KeyringProblem found = parse_keyring({text, size}, ring);
    if (found.error != KeyringError::none && found.line > 0) {
      snprintf(problem.text, sizeof problem.text, "%s, line %d: %s", source, found.line, describe(found.error));
    } else if (found.error != KeyringError::none) {
      snprintf(problem.text, sizeof problem.text, "%s: %s", source, describe(found.error));
    }
  }
  OPENSSL_cleanse(text, sizeof text);
}

// True when `ring` opens what a master key with this id of `other` wrapped.
bool has_same_key(const Keyring& ring, const MasterKey& other) {
  const MasterKey* found = ring.find(other.id);
  return found != nullptr && CRYPTO_memcmp(found->bytes, other.bytes, master_key_size) == 0;
}

// A list of master keys, each with how many data keys it wraps, for DETAIL.
struct KeyList {
  StringInfoData text;
  int count;

  void add(const WrappingKey& key) {
    appendStringInfo(&text, "%sMaster key \"%s\" wraps " INT64_FORMAT " data key(s) in database \"%s\".",
                     count++ == 0 ? "" : "\n", key.id, key.data_keys, get_database_name(MyDatabaseId));
  }
};

}  // namespace

void load_keyring_at_start(SharedState& state) {
  ReadProblem problem;
  read_keyring(state.keyring, problem);
  static_assert(sizeof problem.text == sizeof state.keyring_problem);
  memcpy(state.keyring_problem, problem.text, sizeof problem.text);
  if (problem.text[0] != '\0') {
    ereport(WARNING, (errcode(ERRCODE_CONFIG_FILE_ERROR), errmsg("pg_byoc has no key ring: %s", problem.text),
                      errdetail("The server starts, but no credential can be stored or used.%s%s",
                                problem.said[0] == '\0' ? "" : " The command said: ", problem.said)));
  } else {
    ereport(LOG, (errmsg("pg_byoc key ring loaded: %u key(s), \"%s\" is active", state.keyring.count,
                         state.keyring.active()->id),
                  errdetail("Whether databases need other master keys is checked once they can be read.")));
  }
}

void copy_keyring(Keyring& copy) {
  SharedState* state = shared_state();
  char problem[sizeof state->keyring_problem];
  LWLockAcquire(state->lock, LW_SHARED);
  memcpy(problem, state->keyring_problem, sizeof problem);
  if (problem[0] == '\0') copy = state->keyring;
  LWLockRelease(state->lock);
  if (problem[0] != '\0') {
    ereport(ERROR, (errcode(ERRCODE_CONFIG_FILE_ERROR), errmsg("pg_byoc has no key ring: %s", problem),
                    errhint("Mend that and call byoc.reload_keyring(), or restart PostgreSQL.")));
  }
}

extern "C" {

PG_FUNCTION_INFO_V1(byoc_load_keyring);
// byoc.load_keyring() -> text: the active master key's id
Datum byoc_load_keyring(PG_FUNCTION_ARGS) {
  SharedState* state = shared_state();
  KeyList removed = {};
  KeyList missing = {};
  initStringInfo(&removed.text);
  initStringInfo(&missing.text);

  // One reload after the other, so that the last one to read is the last one to load.
  const Oid table = data_key_table();
  LockRelationOid(table, ShareUpdateExclusiveLock);
  Keyring ring;
  Keyring previous;
  ReadProblem problem;
  read_keyring(ring, problem);
  CHECK_FOR_INTERRUPTS();  // read_keyring cleansed the ring when it was interrupted
  if (problem.text[0] != '\0') {
    ereport(ERROR, (errcode(ERRCODE_CONFIG_FILE_ERROR), errmsg("the key ring cannot be loaded: %s", problem.text),
                    problem.said[0] == '\0' ? 0 : errdetail("The command said: %s", problem.said),
                    errhint("The key ring that was loaded before stays in force.")));
  }
  LWLockAcquire(state->lock, LW_SHARED);
  previous = state->keyring;  // empty when there was a problem
  LWLockRelease(state->lock);
  char removed_ids[keyring_capacity][key_id_capacity + 1];
  int removed_count = 0;
  for (uint32 i = 0; i < previous.count; ++i) {
    if (!has_same_key(ring, previous.keys[i])) strcpy(removed_ids[removed_count++], previous.keys[i].id);
  }
  cleanse(previous);
  OtherDatabases others = {};
  if (removed_count > 0) {
    PG_TRY();
    { check_other_databases(removed_ids, removed_count, others); }
    PG_CATCH();
    {
      cleanse(ring);
      PG_RE_THROW();
    }
    PG_END_TRY();
  }
  // Nobody may wrap a data key by a master key that is just being removed. The locks end here, since a rollback does
  // not bring the old ring back.
  LockRelationOid(table, ShareLock);
  int used_count = 0;
  const WrappingKey* used = count_wrapping_keys(&used_count);
  for (int i = 0; i < used_count; ++i) {
    bool is_removed = false;
    for (int k = 0; k < removed_count; ++k) is_removed = is_removed || strcmp(removed_ids[k], used[i].id) == 0;
    if (is_removed)
      removed.add(used[i]);
    else if (ring.find(used[i].id) == nullptr)
      missing.add(used[i]);
  }
  if (others.used.data != nullptr && others.used.len > 0) {
    appendStringInfo(&removed.text, "%s%s", removed.count++ == 0 ? "" : "\n", others.used.data);
  }
  if (removed.count > 0) {
    cleanse(ring);
    ereport(
        ERROR,
        (errcode(ERRCODE_OBJECT_IN_USE), errmsg("the key ring cannot be loaded: it lacks master keys that are in use"),
         errdetail("%s", removed.text.data),
         errhint("The key ring that was loaded before stays in force. Put the key back as retired, load the ring, and "
                 "remove the key after byoc.rewrap_keys() has returned 0 in every database.")));
  }
  if (others.unchecked.data != nullptr && others.unchecked.len > 0) {
    cleanse(ring);
    ereport(ERROR,
            (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
             errmsg("the key ring cannot be loaded: whether these databases need the removed master keys could not be "
                    "checked: %s",
                    others.unchecked.data),
             errdetail("No background worker was free to look, or the database accepts none."),
             errhint("Try again, or raise max_worker_processes. The key ring that was loaded before stays in force.")));
  }
  const uint32 count = ring.count;
  char* active = pstrdup(ring.active()->id);
  LWLockAcquire(state->lock, LW_EXCLUSIVE);
  state->keyring = ring;
  state->keyring_problem[0] = '\0';
  LWLockRelease(state->lock);
  pg_atomic_fetch_add_u64(&state->key_generation, 1);  // every backend unwraps its data keys anew
  cleanse(ring);
  UnlockRelationOid(table, ShareLock);
  UnlockRelationOid(table, ShareUpdateExclusiveLock);
  ereport(LOG, (errmsg("pg_byoc key ring reloaded: %u key(s), \"%s\" is active", count, active)));
  if (missing.count > 0) {
    ereport(WARNING, (errcode(ERRCODE_CONFIG_FILE_ERROR),
                      errmsg("the key ring lacks master keys that are in use, as it did before"),
                      errdetail("%s", missing.text.data)));
  }
  PG_RETURN_TEXT_P(cstring_to_text(active));
}

PG_FUNCTION_INFO_V1(byoc_keyring);
// byoc.keyring() -> setof (id text, state text, created text)
Datum byoc_keyring(PG_FUNCTION_ARGS) {
  InitMaterializedSRF(fcinfo, 0);
  auto* result = reinterpret_cast<ReturnSetInfo*>(fcinfo->resultinfo);
  Keyring ring;
  copy_keyring(ring);
  for (MasterKey& key : ring.keys)
    OPENSSL_cleanse(key.bytes, sizeof key.bytes);  // not needed, and what follows can raise
  for (uint32 i = 0; i < ring.count; ++i) {
    const MasterKey& key = ring.keys[i];
    Datum values[] = {CStringGetTextDatum(key.id), CStringGetTextDatum(key.active ? "active" : "retired"),
                      CStringGetTextDatum(key.created)};
    bool nulls[] = {false, false, false};
    tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
  }
  return Datum{};
}
}

}  // namespace byoc
