// Sealing: entries that have committed are put under one chain an organization, seal by seal. A seal's digest covers
// its predecessor's, so that no entry can be taken out or put in afterwards; the chain's head says where it ends.

#include "audit.h"
#include "data_keys.h"
#include "enqueue.h"
#include "failed_authentication.h"
#include "uuid_arrays.h"

#include <initializer_list>

extern "C" {
#include "access/htup_details.h"
#include "utils/array.h"
#include "utils/typcache.h"
}

namespace byoc {
namespace {

constexpr std::string_view seal_purpose = "audit seal";
constexpr std::string_view head_purpose = "audit head";
constexpr int entries_of_a_seal = 1000;    // at most; a call does not hold up the connection that makes it
constexpr int organizations_a_call = 200;  // likewise

// Columns of byoc.audit_seals and byoc.audit_chain_heads, in the order of their definitions.
enum SealColumn { seal_org_id, seal_n, seal_entries, seal_sealed_at, seal_digest, seal_column_count };
enum HeadColumn { head_org_id, head_n, head_digest, head_last_entry, head_sealed_at, head_mac, head_column_count };

// Every name is qualified: cached plans are analysed again under the caller's search path.

// What waits, by organization, and where its chain ends. A head that is missing where there are seals was taken away.
const char waiting_statement[] =
    "WITH RECURSIVE waiting AS ("
    "  (SELECT u.org_id FROM byoc.audit_unsealed u ORDER BY u.org_id LIMIT 1)"
    "  UNION ALL"
    "  SELECT next.org_id FROM waiting w CROSS JOIN LATERAL"
    "   (SELECT u.org_id FROM byoc.audit_unsealed u WHERE u.org_id OPERATOR(pg_catalog.>) w.org_id"
    "    ORDER BY u.org_id LIMIT 1) AS next)"
    " SELECT o.org_id, h.n, h.digest, h.last_entry, h.sealed_at, h.mac, e.ids, e.macs"
    " FROM (SELECT w.org_id FROM waiting w LIMIT $1) AS o"
    " LEFT JOIN LATERAL (SELECT c.* FROM byoc.audit_chain_heads c WHERE c.org_id OPERATOR(pg_catalog.=) o.org_id LIMIT "
    "1)"
    " AS h ON true"
    " CROSS JOIN LATERAL"
    "  (SELECT pg_catalog.array_agg(w.id ORDER BY w.id) AS ids, pg_catalog.array_agg(w.mac ORDER BY w.id) AS macs"
    "   FROM (SELECT u.id, (SELECT e.mac FROM byoc.audit_entries e"
    "                       WHERE e.org_id OPERATOR(pg_catalog.=) u.org_id AND e.id OPERATOR(pg_catalog.=) u.id) AS mac"
    "         FROM byoc.audit_unsealed u WHERE u.org_id OPERATOR(pg_catalog.=) o.org_id ORDER BY u.id LIMIT $2) AS w) "
    "AS e"
    " WHERE h.org_id IS NOT NULL"
    " OR (SELECT s.n FROM byoc.audit_seals s WHERE s.org_id OPERATOR(pg_catalog.=) o.org_id LIMIT 1) IS NULL";

const char write_statement[] =
    "WITH entry AS (SELECT e.org_id, e.id FROM unnest($1, $2) AS e (org_id, id)),"
    " sealed AS (DELETE FROM byoc.audit_unsealed u USING entry e"
    "            WHERE u.org_id OPERATOR(pg_catalog.=) e.org_id AND u.id OPERATOR(pg_catalog.=) e.id),"
    " seal AS (INSERT INTO byoc.audit_seals (org_id, n, entries, sealed_at, digest)"
    "          SELECT s.org_id, s.n, e.ids, $8, s.digest"
    "          FROM unnest($3, $4, $5) AS s (org_id, n, digest)"
    "          JOIN (SELECT e.org_id, pg_catalog.array_agg(e.id ORDER BY e.id) AS ids FROM entry e GROUP BY e.org_id) "
    "AS e"
    "               ON e.org_id OPERATOR(pg_catalog.=) s.org_id)"
    " INSERT INTO byoc.audit_chain_heads AS h (org_id, n, digest, last_entry, sealed_at, mac)"
    " SELECT s.org_id, s.n, s.digest, s.last_entry, $8, s.mac"
    " FROM unnest($3, $4, $5, $6, $7) AS s (org_id, n, digest, last_entry, mac)"
    " ON CONFLICT (org_id) DO UPDATE SET n = excluded.n, digest = excluded.digest, last_entry = excluded.last_entry,"
    "                                    sealed_at = excluded.sealed_at, mac = excluded.mac";

void execute(SPIPlanPtr& plan, const char* statement, int count, Oid* types, Datum* values) {
  if (plan == nullptr) plan = keep_plan(statement, count, types);
  const int result = SPI_execute_plan(plan, values, nullptr, false, 0);
  if (result < 0) elog(ERROR, "could not seal the audit log: %s", SPI_result_code_string(result));
}

AuditField field_of(const pg_uuid_t* id) {
  return {{reinterpret_cast<const char*>(id->data), UUID_LEN}};
}

AuditField field_of(const EncodedInteger& integer) {
  return {integer.view()};
}

// A null Datum: a null field.
AuditField field_of(Datum value, bool null) {
  if (null) return {{}, true};
  const bytea* bytes = DatumGetByteaPP(value);
  return {{VARDATA_ANY(bytes), VARSIZE_ANY_EXHDR(bytes)}};
}

// What a seal's digest covers. `ids` and `macs` have `count` elements; the MAC of a missing entry is null.
struct SealMessage {
  AuditField* fields;
  size_t count;
  EncodedInteger n;
  EncodedInteger sealed_at;

  SealMessage(const pg_uuid_t* organization, int64 seal_number, const AuditField& previous, TimestampTz time,
              const Datum* ids, const Datum* macs, const bool* macs_null, int entries)
      : n(seal_number), sealed_at(time) {
    count = 4 + 2 * static_cast<size_t>(entries);
    fields = static_cast<AuditField*>(palloc(sizeof(AuditField) * count));
    fields[0] = field_of(organization);
    fields[1] = field_of(n);
    fields[2] = previous;
    fields[3] = field_of(sealed_at);
    for (int i = 0; i < entries; ++i) {
      fields[4 + 2 * i] = field_of(DatumGetUUIDP(ids[i]));
      fields[5 + 2 * i] = field_of(macs[i], macs_null[i]);
    }
  }
  SealMessage(const SealMessage&) = delete;  // fields point into it
};

// What a head's MAC covers.
struct HeadMessage {
  AuditField fields[5];
  EncodedInteger n;
  EncodedInteger sealed_at;

  HeadMessage(const pg_uuid_t* organization, int64 seal_number, const AuditField& digest, const pg_uuid_t* last_entry,
              TimestampTz time)
      : n(seal_number), sealed_at(time) {
    fields[0] = field_of(organization);
    fields[1] = field_of(n);
    fields[2] = digest;
    fields[3] = field_of(last_entry);
    fields[4] = field_of(sealed_at);
  }
  HeadMessage(const HeadMessage&) = delete;
};

bool is_authentic_head(const Datum* values) {
  const HeadMessage message(DatumGetUUIDP(values[head_org_id]), DatumGetInt64(values[head_n]),
                            field_of(values[head_digest], false), DatumGetUUIDP(values[head_last_entry]),
                            DatumGetTimestampTz(values[head_sealed_at]));
  AuditKey* key = audit_key();
  return key != nullptr &&
         key->verify(head_purpose, message.fields, lengthof(message.fields), field_of(values[head_mac], false).value);
}

bytea* mac_of(std::string_view purpose, const AuditField* fields, size_t count) {
  auto* mac = static_cast<bytea*>(palloc(VARHDRSZ + audit_mac_size));
  SET_VARSIZE(mac, VARHDRSZ + audit_mac_size);
  AuditKey* key = audit_key();
  if (key == nullptr || !key->mac(purpose, fields, count, reinterpret_cast<uint8*>(VARDATA(mac)))) {
    ereport(ERROR, (errcode(ERRCODE_EXTERNAL_ROUTINE_EXCEPTION), errmsg("could not seal the audit log")));
  }
  return mac;
}

// Columns of waiting_statement: those of a head come first.
enum WaitingColumn { waiting_ids = head_column_count, waiting_macs, waiting_column_count };

// Elements of an array that is to be.
class Elements {
 public:
  void add(Datum item) {
    if (count_ == capacity_) {
      capacity_ *= 2;
      items_ = static_cast<Datum*>(repalloc(items_, sizeof(Datum) * static_cast<size_t>(capacity_)));
    }
    items_[count_++] = item;
  }
  int count() const { return count_; }
  Datum uuids() const { return make_uuids(items_, count_); }
  Datum integers() const {
    return PointerGetDatum(construct_array(items_, count_, INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
  }
  Datum byteas() const { return PointerGetDatum(construct_array(items_, count_, BYTEAOID, -1, false, TYPALIGN_INT)); }

 private:
  int capacity_ = 16;
  int count_ = 0;
  Datum* items_ = static_cast<Datum*>(palloc(sizeof(Datum) * static_cast<size_t>(capacity_)));
};

// The seals of a call, and what they cover; parallel arrays.
struct Seals {
  Elements organizations, numbers, digests, last_entries, macs;
  Elements entry_organizations, entries;
  TimestampTz time = GetCurrentTimestamp();
};

// Puts a seal on what waits of an organization. Not when the end of its chain was tampered with: going on would hide
// that, so the entries wait, and byoc.verify_audit_log() tells.
void add_seal(Seals& seals, const Datum* waiting, const bool* nulls) {
  const bool first = nulls[head_n];
  if (!first && !is_authentic_head(waiting)) return;
  Datum *ids, *macs;
  bool* macs_null;
  int count = 0;
  deconstruct_array(DatumGetArrayTypeP(waiting[waiting_ids]), UUIDOID, UUID_LEN, false, TYPALIGN_CHAR, &ids, nullptr,
                    &count);
  deconstruct_array(DatumGetArrayTypeP(waiting[waiting_macs]), BYTEAOID, -1, false, TYPALIGN_INT, &macs, &macs_null,
                    &count);
  const Datum organization = waiting[head_org_id];
  const pg_uuid_t* organization_id = DatumGetUUIDP(organization);
  const int64 n = first ? 1 : DatumGetInt64(waiting[head_n]) + 1;
  const SealMessage seal(organization_id, n, field_of(waiting[head_digest], first), seals.time, ids, macs, macs_null,
                         count);
  const Datum digest = PointerGetDatum(mac_of(seal_purpose, seal.fields, seal.count));
  const Datum last_entry = ids[count - 1];
  const HeadMessage head(organization_id, n, field_of(digest, false), DatumGetUUIDP(last_entry), seals.time);
  seals.organizations.add(organization);
  seals.numbers.add(Int64GetDatum(n));
  seals.digests.add(digest);
  seals.last_entries.add(last_entry);
  seals.macs.add(PointerGetDatum(mac_of(head_purpose, head.fields, lengthof(head.fields))));
  for (int i = 0; i < count; ++i) {
    seals.entry_organizations.add(organization);
    seals.entries.add(ids[i]);
  }
}

void write_seals(const Seals& seals) {
  static SPIPlanPtr plan = nullptr;
  Oid types[] = {UUIDARRAYOID,  UUIDARRAYOID, UUIDARRAYOID,  INT8ARRAYOID,
                 BYTEAARRAYOID, UUIDARRAYOID, BYTEAARRAYOID, TIMESTAMPTZOID};
  Datum values[] = {seals.entry_organizations.uuids(),
                    seals.entries.uuids(),
                    seals.organizations.uuids(),
                    seals.numbers.integers(),
                    seals.digests.byteas(),
                    seals.last_entries.uuids(),
                    seals.macs.byteas(),
                    TimestampTzGetDatum(seals.time)};
  execute(plan, write_statement, lengthof(types), types, values);
}

// Returns how many entries were sealed.
int seal_waiting() {
  static SPIPlanPtr plan = nullptr;
  Oid types[] = {INT4OID, INT4OID};
  Datum values[] = {Int32GetDatum(organizations_a_call), Int32GetDatum(entries_of_a_seal)};
  execute(plan, waiting_statement, lengthof(types), types, values);
  const SPITupleTable* rows = SPI_tuptable;
  const int count = static_cast<int>(SPI_processed);
  Seals seals;
  for (int i = 0; i < count; ++i) {
    Datum waiting[waiting_column_count];
    bool nulls[waiting_column_count];
    heap_deform_tuple(rows->vals[i], rows->tupdesc, waiting, nulls);
    add_seal(seals, waiting, nulls);
  }
  if (seals.entries.count() > 0) write_seals(seals);
  return seals.entries.count();
}

// Plans are made once, and one made while the tables are empty must not read them as a whole when they are full. Until
// AtEOXact_GUC() gets what this returns.
int begin_index_plans() {
  const int nest_level = NewGUCNestLevel();
  for (const char* setting : {"enable_seqscan", "jit"})
    (void)set_config_option(setting, "off", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
  return nest_level;
}

// One sealer at a time. Not an advisory lock: anybody could hold that, and keep entries from being sealed.
bool lock_chains() {
  const Oid table = get_relname_relid("audit_chain_heads", get_namespace_oid("byoc", false));
  if (!OidIsValid(table)) elog(ERROR, "table byoc.audit_chain_heads does not exist");
  return ConditionalLockRelationOid(table, ShareUpdateExclusiveLock);
}

// The columns of a row that is a function's argument.
void read_row(HeapTupleHeader header, int count, Datum* values, bool* nulls) {
  TupleDesc columns = lookup_rowtype_tupdesc(HeapTupleHeaderGetTypeId(header), HeapTupleHeaderGetTypMod(header));
  if (columns->natts != count) elog(ERROR, "the row has %d columns, expected %d", columns->natts, count);
  HeapTupleData tuple = {};
  tuple.t_len = HeapTupleHeaderGetDatumLength(header);
  tuple.t_data = header;
  heap_deform_tuple(&tuple, columns, values, nulls);
  ReleaseTupleDesc(columns);
}

}  // namespace

extern "C" {

PG_FUNCTION_INFO_V1(byoc_seal_audit_log);
// byoc.seal_audit_log() -> int: how many entries were sealed
Datum byoc_seal_audit_log(PG_FUNCTION_ARGS) {
  if (!lock_chains()) PG_RETURN_INT32(0);  // another session is at it
  SPI_connect();
  const OwnerRights saved = begin_owner_rights();
  const int nest_level = begin_index_plans();
  audit_failed_authentications();
  const int sealed = seal_waiting();
  AtEOXact_GUC(true, nest_level);
  end_owner_rights(saved);
  SPI_finish();
  PG_RETURN_INT32(sealed);
}

PG_FUNCTION_INFO_V1(byoc_is_authentic_seal);
// byoc.is_authentic_seal(seal byoc.audit_seals, previous bytea, macs bytea[]) -> boolean
Datum byoc_is_authentic_seal(PG_FUNCTION_ARGS) {
  if (PG_ARGISNULL(0) || PG_ARGISNULL(2)) PG_RETURN_BOOL(false);
  Datum values[seal_column_count];
  bool nulls[seal_column_count];
  read_row(PG_GETARG_HEAPTUPLEHEADER(0), seal_column_count, values, nulls);
  for (bool null : nulls) {
    if (null) PG_RETURN_BOOL(false);
  }
  Datum *ids, *macs;
  bool *ids_null, *macs_null;
  int count = 0;
  int mac_count = 0;
  deconstruct_array(DatumGetArrayTypeP(values[seal_entries]), UUIDOID, UUID_LEN, false, TYPALIGN_CHAR, &ids, &ids_null,
                    &count);
  deconstruct_array(PG_GETARG_ARRAYTYPE_P(2), BYTEAOID, -1, false, TYPALIGN_INT, &macs, &macs_null, &mac_count);
  if (count != mac_count) PG_RETURN_BOOL(false);
  for (int i = 0; i < count; ++i) {
    if (ids_null[i]) PG_RETURN_BOOL(false);
  }
  const AuditField previous = field_of(PG_ARGISNULL(1) ? 0 : PG_GETARG_DATUM(1), PG_ARGISNULL(1));
  const SealMessage message(DatumGetUUIDP(values[seal_org_id]), DatumGetInt64(values[seal_n]), previous,
                            DatumGetTimestampTz(values[seal_sealed_at]), ids, macs, macs_null, count);
  const AuditField digest = field_of(values[seal_digest], false);
  AuditKey* key = audit_key();
  PG_RETURN_BOOL(key != nullptr && key->verify(seal_purpose, message.fields, message.count, digest.value));
}

PG_FUNCTION_INFO_V1(byoc_is_authentic_head);
// byoc.is_authentic_head(head byoc.audit_chain_heads) -> boolean
Datum byoc_is_authentic_head(PG_FUNCTION_ARGS) {
  Datum values[head_column_count];
  bool nulls[head_column_count];
  read_row(PG_GETARG_HEAPTUPLEHEADER(0), head_column_count, values, nulls);
  for (bool null : nulls) {
    if (null) PG_RETURN_BOOL(false);
  }
  PG_RETURN_BOOL(is_authentic_head(values));
}
}

}  // namespace byoc
