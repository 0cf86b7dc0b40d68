#include "data_keys.h"

#include "master_keys.h"
#include "result_row.h"
#include "shared_state.h"

#include <openssl/crypto.h>
#include <openssl/rand.h>

namespace byoc {
namespace {

constexpr char table_name[] = "organization_keys";
constexpr std::string_view wrap_place = "organization_keys.wrapped_key";
constexpr std::string_view wrap_purpose = "pg_byoc wrap 1";
constexpr long cache_limit = 1000;  // keys; past it the cache starts again, so that 100,000 tenants fit in memory
constexpr int32 active_key = 0;     // asks for the active key; real ids begin at 1

// Columns of byoc.organization_keys, in the order of its definition.
enum Column { column_org_id = 1, column_key_id, column_wrapping_key_id, column_wrapped_key, column_state };

struct CacheKey {
  pg_uuid_t organization;
  int32 key_id;
};

struct CacheEntry {
  CacheKey key;
  int32 key_id;     // the real id, also for active_key
  AeadKey* aead;    // of an organization
  AuditKey* audit;  // of the installation
};

HTAB* cache = nullptr;
CacheEntry* latest = nullptr;  // of the cache: most uses ask for the same key as the one before
uint64 cache_generation = 0;
bool cache_stale = false;  // set by invalidations, which may come at any time; obeyed at the next use
Oid cached_table = InvalidOid;
bool keys_changed = false;  // by this transaction

void drop_cache() {
  if (cache != nullptr) {
    HASH_SEQ_STATUS scan;
    hash_seq_init(&scan, cache);
    while (auto* entry = static_cast<CacheEntry*>(hash_seq_search(&scan))) {
      AeadKey::destroy(entry->aead);
      AuditKey::destroy(entry->audit);
    }
    hash_destroy(cache);
    cache = nullptr;  // making the new one may raise
    latest = nullptr;
  }
  HASHCTL control = {};
  control.keysize = sizeof(CacheKey);
  control.entrysize = sizeof(CacheEntry);
  control.hcxt = TopMemoryContext;
  cache = hash_create("pg_byoc data keys", 64, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
  cache_stale = false;
}

// A change of keys reaches every backend by the shared generation, and standbys by relcache invalidation.
void refresh_cache() {
  const uint64 generation = pg_atomic_read_u64(&shared_state()->key_generation);
  pg_read_barrier();  // the generation is read before any row
  if (cache == nullptr || cache_stale || generation != cache_generation || hash_get_num_entries(cache) >= cache_limit) {
    drop_cache();
    cache_generation = generation;
  }
}

void on_relcache_invalidation(Datum, Oid relation) {
  if (relation == InvalidOid || relation == cached_table) cache_stale = true;
}

void on_transaction_event(XactEvent event, void*) {
  if (!keys_changed) return;
  switch (event) {
    case XACT_EVENT_PRE_PREPARE:
      ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
                      errmsg("cannot PREPARE a transaction that changed organization keys")));
      break;
    case XACT_EVENT_COMMIT:  // the change is visible now
      pg_atomic_fetch_add_u64(&shared_state()->key_generation, 1);
      keys_changed = false;
      break;
    case XACT_EVENT_ABORT:
      cache_stale = true;
      keys_changed = false;
      break;
    default:
      break;
  }
}

void on_subtransaction_event(SubXactEvent event, SubTransactionId, SubTransactionId, void*) {
  if (event == SUBXACT_EVENT_ABORT_SUB && keys_changed) cache_stale = true;
}

// One row of organization_keys, copied out of the table.
struct KeyRow {
  int32 key_id;
  bool destroyed;
  size_t wrapped_size;
  uint8 wrapped[envelope_size(key_id_capacity, envelope_key_size)];
};

// Reads the row in C with a catalog snapshot, which is newer than the generation that was read before it. The query's
// own snapshot may be older, and would cache a dead key for good.
bool read_key_row(const pg_uuid_t* organization, int32 wanted, KeyRow& row) {
  cached_table = data_key_table();
  Relation table = table_open(cached_table, AccessShareLock);
  (void)RelationGetIndexList(table);  // finds the primary key
  ScanKeyData keys[2];
  ScanKeyInit(&keys[0], column_org_id, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(organization));
  ScanKeyInit(&keys[1], column_key_id, BTEqualStrategyNumber, F_INT4EQ, Int32GetDatum(wanted));
  SysScanDesc scan = systable_beginscan(table, table->rd_pkindex, true, nullptr, wanted == active_key ? 1 : 2, keys);
  bool found = false;
  HeapTuple tuple;
  while (!found && HeapTupleIsValid(tuple = systable_getnext(scan))) {
    bool null = false;
    const TupleDesc columns = RelationGetDescr(table);
    char* state = TextDatumGetCString(heap_getattr(tuple, column_state, columns, &null));
    if (wanted == active_key && strcmp(state, "active") != 0) continue;
    row.key_id = DatumGetInt32(heap_getattr(tuple, column_key_id, columns, &null));
    const Datum wrapped = heap_getattr(tuple, column_wrapped_key, columns, &null);
    row.destroyed = null;
    row.wrapped_size = 0;
    if (!null) {
      const bytea* value = DatumGetByteaPP(wrapped);
      row.wrapped_size = VARSIZE_ANY_EXHDR(value);
      if (row.wrapped_size > sizeof row.wrapped) row.wrapped_size = 0;  // no envelope of ours: fails to open
      memcpy(row.wrapped, VARDATA_ANY(value), row.wrapped_size);
    }
    found = true;
  }
  systable_endscan(scan);
  table_close(table, AccessShareLock);
  return found;
}

Binding wrap_binding(const pg_uuid_t* organization, const EncodedKeyId& key_id) {
  return {organization->data, wrap_place, key_id.view()};
}

// The key that wraps data keys, from one of the ring's master keys; null when OpenSSL fails.
AeadKey* wrapping_key(const MasterKey& master) {
  uint8 subkey[32];
  AeadKey* aead = derive_subkey(master.bytes, wrap_purpose, subkey) ? AeadKey::create(subkey) : nullptr;
  OPENSSL_cleanse(subkey, sizeof subkey);
  return aead;
}

char* organization_text(const pg_uuid_t* organization) {
  return DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(organization)));
}

// Opens a wrapped data key into `key`, which the caller wipes. `key` holds nothing when this raises.
void unwrap(const pg_uuid_t* organization, int32 key_id, std::string_view envelope, uint8 (&key)[envelope_key_size]) {
  std::string_view master_id;
  size_t size = 0;
  EnvelopeError error = read_header(envelope, master_id, size);
  if (error == EnvelopeError::none && size != envelope_key_size) error = EnvelopeError::malformed;
  bool master_missing = false;
  if (error == EnvelopeError::none) {
    Keyring ring;
    copy_keyring(ring);
    const MasterKey* master = ring.find(master_id);
    master_missing = master == nullptr;
    AeadKey* wrapping = master_missing ? nullptr : wrapping_key(*master);
    cleanse(ring);
    error = wrapping == nullptr ? EnvelopeError::failed
                                : wrapping->open(envelope, wrap_binding(organization, EncodedKeyId(key_id)), key);
    AeadKey::destroy(wrapping);
  }
  if (master_missing) {
    ereport(ERROR,
            (errcode(ERRCODE_DATA_EXCEPTION),
             errmsg("the key of organization %s is wrapped by master key \"%.*s\", which the key ring does not have",
                    organization_text(organization), static_cast<int>(master_id.size()), master_id.data()),
             errhint("Put that key back into the key ring and call byoc.reload_keyring().")));
  }
  if (error != EnvelopeError::none) {
    ereport(ERROR, (errcode(ERRCODE_DATA_EXCEPTION),
                    errmsg("the key of organization %s cannot be unwrapped", organization_text(organization)),
                    errdetail("%s", error == EnvelopeError::not_authentic
                                        ? "The stored key was altered, or the master key with its id is another one."
                                        : "The stored key is malformed or OpenSSL failed.")));
  }
}

bool is_installation(const pg_uuid_t* organization) {
  return memcmp(organization->data, installation.data, UUID_LEN) == 0;
}

// Makes the key of `entry` ready: one for envelopes, or of the installation the one for the audit trail.
void load_key(const pg_uuid_t* organization, const KeyRow& row, CacheEntry& entry) {
  uint8 key[envelope_key_size];
  unwrap(organization, row.key_id, {reinterpret_cast<const char*>(row.wrapped), row.wrapped_size}, key);
  entry.aead = is_installation(organization) ? nullptr : AeadKey::create(key);
  entry.audit = is_installation(organization) ? AuditKey::create(key) : nullptr;
  OPENSSL_cleanse(key, sizeof key);
  if (entry.aead == nullptr && entry.audit == nullptr)
    ereport(ERROR, (errcode(ERRCODE_EXTERNAL_ROUTINE_EXCEPTION), errmsg("OpenSSL failed")));
}

// (wrapping_key_id text, wrapped_key bytea) of `key`, wrapped by the ring's active master key. Wipes `key`.
Datum wrap(FunctionCallInfo fcinfo, const pg_uuid_t* organization, int32 key_number, uint8 (&key)[envelope_key_size]) {
  const EncodedKeyId key_id(key_number);
  Keyring ring;
  char master_id[sizeof MasterKey::id];
  uint8 sealed[envelope_size(key_id_capacity, envelope_key_size)];
  size_t size = 0;
  uint8 nonce[nonce_size];
  bool good = false;
  PG_TRY();
  { copy_keyring(ring); }
  PG_CATCH();
  {
    OPENSSL_cleanse(key, sizeof key);
    PG_RE_THROW();
  }
  PG_END_TRY();
  strcpy(master_id, ring.active()->id);
  AeadKey* wrapping = wrapping_key(*ring.active());
  cleanse(ring);
  size = envelope_size(strlen(master_id), envelope_key_size);
  good = wrapping != nullptr && RAND_bytes(nonce, sizeof nonce) == 1 &&
         wrapping->seal(master_id, wrap_binding(organization, key_id), nonce,
                        {reinterpret_cast<const char*>(key), sizeof key}, sealed) == EnvelopeError::none;
  OPENSSL_cleanse(key, sizeof key);
  AeadKey::destroy(wrapping);
  if (!good) ereport(ERROR, (errcode(ERRCODE_EXTERNAL_ROUTINE_EXCEPTION), errmsg("could not wrap a data key")));

  auto* wrapped = static_cast<bytea*>(palloc(VARHDRSZ + size));
  SET_VARSIZE(wrapped, VARHDRSZ + size);
  memcpy(VARDATA(wrapped), sealed, size);
  Datum values[] = {CStringGetTextDatum(master_id), PointerGetDatum(wrapped)};
  bool nulls[] = {false, false};
  return row_of(fcinfo, values, nulls);
}

CacheEntry* find_key(const pg_uuid_t* organization, int32 wanted) {
  refresh_cache();
  CacheKey key;
  memset(&key, 0, sizeof key);
  key.organization = *organization;
  key.key_id = wanted;
  if (latest != nullptr && memcmp(&latest->key, &key, sizeof key) == 0) return latest;
  latest = static_cast<CacheEntry*>(hash_search(cache, &key, HASH_FIND, nullptr));
  if (latest != nullptr) return latest;
  KeyRow row;
  if (!read_key_row(organization, wanted, row)) return nullptr;
  if (row.destroyed) {
    ereport(ERROR, (errcode(ERRCODE_DATA_EXCEPTION),
                    errmsg("key %d of organization %s was destroyed", row.key_id, organization_text(organization))));
  }
  CacheEntry loaded = {};
  load_key(organization, row, loaded);
  bool found = false;
  // Reading the row may have processed invalidations; what was loaded is not older than they are.
  auto* entry = static_cast<CacheEntry*>(hash_search(cache, &key, HASH_ENTER_NULL, &found));
  if (entry == nullptr) {
    AeadKey::destroy(loaded.aead);
    AuditKey::destroy(loaded.audit);
    ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
  }
  entry->key_id = row.key_id;
  entry->aead = loaded.aead;
  entry->audit = loaded.audit;
  latest = entry;
  return entry;
}

}  // namespace

const pg_uuid_t installation = {};

EncodedKeyId::EncodedKeyId(int32 key_id) {
  for (int i = 0; i < 4; ++i) bytes[i] = static_cast<char>(static_cast<uint32>(key_id) >> (24 - 8 * i));
}

Oid data_key_table() {
  const Oid table = get_relname_relid(table_name, get_namespace_oid("byoc", false));
  if (!OidIsValid(table))
    ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE), errmsg("table byoc.%s does not exist", table_name)));
  return table;
}

WrappingKey* count_wrapping_keys(int* count) {
  int capacity = 16;
  auto* found = static_cast<WrappingKey*>(palloc(sizeof(WrappingKey) * capacity));
  *count = 0;
  Relation table = table_open(data_key_table(), AccessShareLock);
  SysScanDesc scan = systable_beginscan(table, InvalidOid, false, nullptr, 0, nullptr);
  HeapTuple tuple;
  while (HeapTupleIsValid(tuple = systable_getnext(scan))) {
    bool null = false;
    (void)heap_getattr(tuple, column_wrapped_key, RelationGetDescr(table), &null);
    if (null) continue;  // destroyed
    const text* id = DatumGetTextPP(heap_getattr(tuple, column_wrapping_key_id, RelationGetDescr(table), &null));
    const std::string_view wanted(VARDATA_ANY(id), Min(VARSIZE_ANY_EXHDR(id), key_id_capacity));
    int i = 0;
    while (i < *count && wanted != found[i].id) ++i;
    if (i == *count) {
      if (*count == capacity) found = static_cast<WrappingKey*>(repalloc(found, sizeof(WrappingKey) * (capacity *= 2)));
      memcpy(found[i].id, wanted.data(), wanted.size());
      found[i].id[wanted.size()] = '\0';
      found[i].data_keys = 0;
      ++*count;
    }
    ++found[i].data_keys;
  }
  systable_endscan(scan);
  table_close(table, AccessShareLock);
  return found;
}

AeadKey* sealing_key(const pg_uuid_t* organization, int32* key_id) {
  const CacheEntry* entry = is_installation(organization) ? nullptr : find_key(organization, active_key);
  if (entry == nullptr) {
    ereport(ERROR,
            (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
             errmsg("organization %s has no active key", organization_text(organization)),
             errhint("Create organizations with byoc.create_organization(name); a shredded one stays unreadable.")));
  }
  *key_id = entry->key_id;
  return entry->aead;
}

AeadKey* opening_key(const pg_uuid_t* organization, int32 key_id) {
  const CacheEntry* entry = key_id > 0 && !is_installation(organization) ? find_key(organization, key_id) : nullptr;
  if (entry == nullptr) {
    ereport(ERROR, (errcode(ERRCODE_DATA_EXCEPTION),
                    errmsg("could not decrypt: organization %s has no such key", organization_text(organization))));
  }
  return entry->aead;
}

AuditKey* audit_key() {
  const CacheEntry* entry = find_key(&installation, active_key);
  return entry == nullptr ? nullptr : entry->audit;
}

void install_data_key_callbacks() {
  CacheRegisterRelcacheCallback(on_relcache_invalidation, 0);
  RegisterXactCallback(on_transaction_event, nullptr);
  RegisterSubXactCallback(on_subtransaction_event, nullptr);
}

extern "C" {

PG_FUNCTION_INFO_V1(byoc_new_data_key);
// byoc.new_data_key(org_id uuid, key_id int) -> (wrapping_key_id text, wrapped_key bytea)
// A fresh random data key, wrapped by the ring's active master key; the key itself never leaves this function.
Datum byoc_new_data_key(PG_FUNCTION_ARGS) {
  const pg_uuid_t* organization = PG_GETARG_UUID_P(0);
  uint8 key[envelope_key_size];
  if (RAND_priv_bytes(key, sizeof key) != 1) {
    ereport(ERROR, (errcode(ERRCODE_EXTERNAL_ROUTINE_EXCEPTION), errmsg("could not make a data key")));
  }
  PG_RETURN_DATUM(wrap(fcinfo, organization, PG_GETARG_INT32(1), key));
}

PG_FUNCTION_INFO_V1(byoc_rewrap_data_key);
// byoc.rewrap_data_key(org_id uuid, key_id int, wrapped_key bytea) -> (wrapping_key_id text, wrapped_key bytea)
Datum byoc_rewrap_data_key(PG_FUNCTION_ARGS) {
  const pg_uuid_t* organization = PG_GETARG_UUID_P(0);
  const bytea* wrapped = PG_GETARG_BYTEA_PP(2);
  uint8 key[envelope_key_size];
  unwrap(organization, PG_GETARG_INT32(1), {VARDATA_ANY(wrapped), VARSIZE_ANY_EXHDR(wrapped)}, key);
  PG_RETURN_DATUM(wrap(fcinfo, organization, PG_GETARG_INT32(1), key));
}

PG_FUNCTION_INFO_V1(byoc_data_keys_changed);
// Trigger on byoc.organization_keys: every backend drops its cached keys when this transaction commits.
Datum byoc_data_keys_changed(PG_FUNCTION_ARGS) {
  if (!CALLED_AS_TRIGGER(fcinfo)) elog(ERROR, "byoc.data_keys_changed is a trigger function");
  const auto* trigger = reinterpret_cast<TriggerData*>(fcinfo->context);
  keys_changed = true;
  cache_stale = true;
  CacheInvalidateRelcacheByRelid(RelationGetRelid(trigger->tg_relation));
  PG_RETURN_POINTER(nullptr);
}
}

}  // namespace byoc
