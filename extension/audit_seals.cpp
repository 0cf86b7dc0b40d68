// Sealing: entries that have committed are put under one chain an organization, seal by seal. A seal's digest covers
// its predecessor's, so that no entry can be taken out or put in afterwards; the chain's head says where it ends.

#include "audit.h"
#include "data_keys.h"
#include "enqueue.h"
#include "failed_authentication.h"
#include "uuid_arrays.h"

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

const char head_statement[] =
    "SELECT h.org_id, h.n, h.digest, h.last_entry, h.sealed_at, h.mac FROM byoc.audit_chain_heads h"
    " WHERE h.org_id OPERATOR(pg_catalog.=) $1";

const char has_seals_statement[] = "SELECT FROM byoc.audit_seals s WHERE s.org_id OPERATOR(pg_catalog.=) $1 LIMIT 1";

const char waiting_statement[] =
    "SELECT w.id, e.mac"
    " FROM (SELECT u.id FROM byoc.audit_unsealed u WHERE u.org_id OPERATOR(pg_catalog.=) $1 ORDER BY u.id LIMIT $2) AS "
    "w"
    " LEFT JOIN byoc.audit_entries e ON e.org_id OPERATOR(pg_catalog.=) $1 AND e.id OPERATOR(pg_catalog.=) w.id"
    " ORDER BY w.id";

const char next_statement[] =
    "SELECT u.org_id FROM byoc.audit_unsealed u WHERE u.org_id OPERATOR(pg_catalog.>) $1 ORDER BY u.org_id LIMIT 1";

const char write_statement[] =
    "WITH sealed AS (DELETE FROM byoc.audit_unsealed u"
    "                WHERE u.org_id OPERATOR(pg_catalog.=) $1 AND u.id OPERATOR(pg_catalog.=) ANY ($3)),"
    " seal AS (INSERT INTO byoc.audit_seals (org_id, n, entries, sealed_at, digest) VALUES ($1, $2, $3, $4, $5))"
    " INSERT INTO byoc.audit_chain_heads AS h (org_id, n, digest, last_entry, sealed_at, mac)"
    " VALUES ($1, $2, $5, $6, $4, $7)"
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

// Finds where the organization's chain ends. False when that was tampered with: going on would hide it, so the entries
// wait, and byoc.verify_audit_log() tells.
bool find_head(Datum organization, int64& n, Datum& digest, bool& first) {
  static SPIPlanPtr head_plan = nullptr;
  static SPIPlanPtr has_seals_plan = nullptr;
  Oid types[] = {UUIDOID};
  execute(head_plan, head_statement, lengthof(types), types, &organization);
  if (SPI_processed == 0) {
    n = 0;
    first = true;
    execute(has_seals_plan, has_seals_statement, lengthof(types), types, &organization);
    return SPI_processed == 0;
  }
  Datum values[head_column_count];
  bool nulls[head_column_count];
  heap_deform_tuple(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, values, nulls);
  n = DatumGetInt64(values[head_n]);
  digest = values[head_digest];
  first = false;
  return is_authentic_head(values);
}

// Seals what waits of one organization; returns how many entries.
int seal_organization(const pg_uuid_t* organization) {
  static SPIPlanPtr waiting_plan = nullptr;
  static SPIPlanPtr write_plan = nullptr;
  const Datum org = UUIDPGetDatum(organization);
  int64 n = 0;
  Datum previous = 0;
  bool first = true;
  if (!find_head(org, n, previous, first)) return 0;

  Oid waiting_types[] = {UUIDOID, INT4OID};
  Datum waiting_values[] = {org, Int32GetDatum(entries_of_a_seal)};
  execute(waiting_plan, waiting_statement, lengthof(waiting_types), waiting_types, waiting_values);
  const int count = static_cast<int>(SPI_processed);
  if (count == 0) return 0;
  auto* ids = static_cast<Datum*>(palloc(sizeof(Datum) * static_cast<size_t>(count)));
  auto* macs = static_cast<Datum*>(palloc(sizeof(Datum) * static_cast<size_t>(count)));
  auto* macs_null = static_cast<bool*>(palloc(sizeof(bool) * static_cast<size_t>(count)));
  for (int i = 0; i < count; ++i) {
    bool null = false;
    ids[i] = SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &null);
    macs[i] = SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 2, &macs_null[i]);
  }
  const TimestampTz now = GetCurrentTimestamp();
  const SealMessage seal(organization, n + 1, field_of(previous, first), now, ids, macs, macs_null, count);
  bytea* digest = mac_of(seal_purpose, seal.fields, seal.count);
  const HeadMessage head(organization, n + 1, field_of(PointerGetDatum(digest), false), DatumGetUUIDP(ids[count - 1]),
                         now);
  bytea* mac = mac_of(head_purpose, head.fields, lengthof(head.fields));

  Oid types[] = {UUIDOID, INT8OID, UUIDARRAYOID, TIMESTAMPTZOID, BYTEAOID, UUIDOID, BYTEAOID};
  Datum values[] = {org,
                    Int64GetDatum(n + 1),
                    make_uuids(ids, count),
                    TimestampTzGetDatum(now),
                    PointerGetDatum(digest),
                    ids[count - 1],
                    PointerGetDatum(mac)};
  execute(write_plan, write_statement, lengthof(types), types, values);
  return count;
}

// The next organization with entries that wait; false when there is none.
bool next_organization(pg_uuid_t& organization) {
  static SPIPlanPtr plan = nullptr;
  Oid types[] = {UUIDOID};
  Datum value = UUIDPGetDatum(&organization);
  execute(plan, next_statement, lengthof(types), types, &value);
  if (SPI_processed == 0) return false;
  bool null = false;
  organization = *DatumGetUUIDP(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &null));
  return true;
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
  audit_failed_authentications();
  int sealed = seal_organization(&installation);
  pg_uuid_t organization = installation;
  for (int i = 0; i < organizations_a_call && next_organization(organization); ++i) {
    sealed += seal_organization(&organization);
  }
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
