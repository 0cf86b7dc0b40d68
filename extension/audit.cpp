#include "audit.h"

#include "data_keys.h"
#include "enqueue.h"
#include "log_guard.h"
#include "tenant_context.h"
#include "uuid_v7.h"

extern "C" {
#include "access/htup_details.h"
#include "utils/inet.h"
#include "utils/typcache.h"
}

namespace byoc {
namespace {

constexpr std::string_view entry_purpose = "audit entry";

// Columns of byoc.audit_entries, in the order of its definition.
enum Column {
  column_org_id,
  column_id,
  column_at,
  column_action,
  column_object_id,
  column_details,
  column_role,
  column_session_role,
  column_user_id,
  column_org_role,
  column_client_addr,
  column_application_name,
  column_pid,
  column_after_seal,
  column_mac,
  column_count
};

Oid types[column_count] = {UUIDOID, UUIDOID, TIMESTAMPTZOID, TEXTOID, UUIDOID, JSONBOID, TEXTOID, TEXTOID,
                           TEXTOID, TEXTOID, INETOID,        TEXTOID, INT4OID, INT8OID,  BYTEAOID};

struct EntryRow {
  Datum values[column_count];
  bool nulls[column_count];

  void set(Column column, Datum value) {
    values[column] = value;
    nulls[column] = false;
  }
  void set_text(Column column, const char* value) {
    if (value[0] != '\0') set(column, CStringGetTextDatum(value));
  }
};

// The fields that the MAC covers: every column but the MAC, as its type prints it. A time, whose text depends on
// settings, as microseconds.
void list_fields(const EntryRow& row, AuditField (&fields)[column_mac]) {
  for (int i = 0; i < column_mac; ++i) {
    fields[i] = {};
    fields[i].null = row.nulls[i];
    if (row.nulls[i]) continue;
    if (types[i] == TIMESTAMPTZOID) {
      auto* encoded = static_cast<char*>(palloc(sizeof(EncodedInteger::bytes)));
      memcpy(encoded, EncodedInteger(DatumGetTimestampTz(row.values[i])).bytes, sizeof(EncodedInteger::bytes));
      fields[i].value = {encoded, sizeof(EncodedInteger::bytes)};
    } else {
      Oid output = InvalidOid;
      bool varlena = false;
      getTypeOutputInfo(types[i], &output, &varlena);
      fields[i].value = OidOutputFunctionCall(output, row.values[i]);
    }
  }
}

// A cached plan is analysed again under the search path of the session that runs it: every name is qualified.

const char head_statement[] = "SELECT h.n FROM byoc.audit_chain_heads h WHERE h.org_id OPERATOR(pg_catalog.=) $1";

const char insert_statement[] =
    "WITH entry AS (INSERT INTO byoc.audit_entries"
    "               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15))"
    " INSERT INTO byoc.audit_unsealed (org_id, id) VALUES ($1, $2)";

const char make_key_statement[] =
    "INSERT INTO byoc.organization_keys (org_id, key_id, wrapping_key_id, wrapped_key, state)"
    " SELECT $1, 1, k.wrapping_key_id, k.wrapped_key, 'active' FROM byoc.new_data_key($1, 1) AS k"
    " ON CONFLICT DO NOTHING";

void execute(SPIPlanPtr plan, Datum* values, const char* nulls) {
  const int result = SPI_execute_plan(plan, values, nulls, false, 0);
  if (result < 0) elog(ERROR, "could not write an audit entry: %s", SPI_result_code_string(result));
}

// How many seals the organization's chain has. An entry cannot stand in a seal that was there before it.
int64 count_seals(Datum organization) {
  static SPIPlanPtr plan = nullptr;
  if (plan == nullptr) plan = keep_plan(head_statement, 1, types);
  execute(plan, &organization, nullptr);
  bool null = false;
  return SPI_processed == 0 ? 0 : DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &null));
}

// Another session may be making it: then this waits for its end, and takes that one. True when this one made it.
bool make_audit_key() {
  Datum organization = UUIDPGetDatum(&installation);
  const int result = SPI_execute_with_args(make_key_statement, 1, types, &organization, nullptr, false, 0);
  if (result < 0) elog(ERROR, "could not make the audit key: %s", SPI_result_code_string(result));
  const bool made = SPI_processed > 0;
  CommandCounterIncrement();
  if (audit_key() == nullptr) elog(ERROR, "the audit key is not there");
  return made;
}

void set_actor(EntryRow& row, const AuditActor& actor) {
  row.set(column_at, TimestampTzGetDatum(actor.at));
  row.set_text(column_role, actor.role);
  row.set_text(column_session_role, actor.session_role);
  row.set_text(column_application_name, actor.application_name);
  row.set(column_pid, Int32GetDatum(actor.pid));
  if (actor.client_addr[0] != '\0') {
    row.set(column_client_addr, DirectFunctionCall1(inet_in, CStringGetDatum(actor.client_addr)));
  }
}

// SPI is connected, with the owner's rights.
void insert_entry(const AuditEntry& entry) {
  static SPIPlanPtr plan = nullptr;
  EntryRow row;
  memset(row.values, 0, sizeof row.values);
  memset(row.nulls, true, sizeof row.nulls);
  pg_uuid_t id;
  make_uuid_v7(&id);
  row.set(column_org_id, UUIDPGetDatum(entry.organization));
  row.set(column_id, UUIDPGetDatum(&id));
  row.set(column_action, CStringGetTextDatum(entry.action));
  if (entry.object != nullptr) row.set(column_object_id, UUIDPGetDatum(entry.object));
  if (entry.details != nullptr) row.set(column_details, JsonbPGetDatum(entry.details));
  set_actor(row, entry.actor == nullptr ? current_actor() : *entry.actor);
  const TenantContext* context = entry.actor == nullptr ? stated_context() : nullptr;
  if (context != nullptr) {
    row.set_text(column_user_id, context->user_id);
    row.set_text(column_org_role, role_name(context->role));
  }
  row.set(column_after_seal, Int64GetDatum(count_seals(row.values[column_org_id])));

  AuditField fields[column_mac];
  list_fields(row, fields);
  auto* mac = static_cast<bytea*>(palloc(VARHDRSZ + audit_mac_size));
  SET_VARSIZE(mac, VARHDRSZ + audit_mac_size);
  // The key is asked for last: other calls may drop it from the cache.
  AuditKey* key = audit_key();
  if (key == nullptr || !key->mac(entry_purpose, fields, column_mac, reinterpret_cast<uint8*>(VARDATA(mac)))) {
    ereport(ERROR, (errcode(ERRCODE_EXTERNAL_ROUTINE_EXCEPTION), errmsg("could not sign an audit entry")));
  }
  row.set(column_mac, PointerGetDatum(mac));
  char nulls[column_count];
  for (int i = 0; i < column_count; ++i) nulls[i] = row.nulls[i] ? 'n' : ' ';
  if (plan == nullptr) plan = keep_plan(insert_statement, column_count, types);
  execute(plan, row.values, nulls);
}

}  // namespace

EncodedInteger::EncodedInteger(int64 value) {
  for (int i = 0; i < 8; ++i) bytes[i] = static_cast<char>(static_cast<uint64>(value) >> (56 - 8 * i));
}

AuditActor current_actor() {
  AuditActor actor;
  memset(&actor, 0, sizeof actor);
  actor.at = GetCurrentTimestamp();
  actor.pid = MyProcPid;
  const auto name_of = [](Oid role) {
    const char* name = IsTransactionState() ? GetUserNameFromId(role, true) : nullptr;
    return name == nullptr ? "" : name;
  };
  strlcpy(actor.role, name_of(GetOuterUserId()), sizeof actor.role);
  strlcpy(actor.session_role, name_of(GetSessionUserId()), sizeof actor.session_role);
  strlcpy(actor.application_name, application_name == nullptr ? "" : application_name, sizeof actor.application_name);
  LOCAL_FCINFO(call, 0);
  InitFunctionCallInfoData(*call, nullptr, 0, InvalidOid, nullptr, nullptr);
  const Datum address = inet_client_addr(call);
  if (!call->isnull) {
    strlcpy(actor.client_addr, DatumGetCString(DirectFunctionCall1(inet_out, address)), sizeof actor.client_addr);
  }
  return actor;
}

void append_audit_entry(const AuditEntry& entry) {
  SPI_connect();
  const OwnerRights saved = begin_owner_rights();
  if (audit_key() == nullptr && make_audit_key()) {
    // The installation's first entry: verification misses it when somebody empties the tables.
    insert_entry({&installation, "audit.started", nullptr, nullptr, entry.actor});
  }
  insert_entry(entry);
  end_owner_rights(saved);
  SPI_finish();
}

void log_audit(const char* what, const AuditActor& actor) {
  StringInfoData line;
  initStringInfo(&line);
  appendStringInfo(&line, "pg_byoc audit: %s; role ", what);
  escape_json(&line, actor.role);
  appendStringInfoString(&line, ", session of ");
  escape_json(&line, actor.session_role);
  appendStringInfo(&line, ", client %s, application ", actor.client_addr[0] == '\0' ? "[local]" : actor.client_addr);
  escape_json(&line, actor.application_name);
  log_unguarded(line.data);
  pfree(line.data);
}

Jsonb* audit_details(const char* name, const char* value, const char* count_name, int64 count) {
  StringInfoData text;
  initStringInfo(&text);
  appendStringInfoChar(&text, '{');
  escape_json(&text, name);
  appendStringInfoString(&text, ": ");
  escape_json(&text, value);
  if (count != 0) {
    appendStringInfoString(&text, ", ");
    escape_json(&text, count_name);
    appendStringInfo(&text, ": " INT64_FORMAT, count);
  }
  appendStringInfoChar(&text, '}');
  return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(text.data)));
}

extern "C" {

PG_FUNCTION_INFO_V1(byoc_audit);
// byoc.audit(org_id uuid, action text, object_id uuid, details jsonb) -> void
Datum byoc_audit(PG_FUNCTION_ARGS) {
  if (PG_ARGISNULL(1)) ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("action must not be null")));
  AuditEntry entry = {};
  entry.organization = PG_ARGISNULL(0) ? &installation : PG_GETARG_UUID_P(0);
  entry.action = text_to_cstring(PG_GETARG_TEXT_PP(1));
  entry.object = PG_ARGISNULL(2) ? nullptr : PG_GETARG_UUID_P(2);
  entry.details = PG_ARGISNULL(3) ? nullptr : PG_GETARG_JSONB_P(3);
  append_audit_entry(entry);
  PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(byoc_is_authentic_entry);
// byoc.is_authentic_entry(entry byoc.audit_entries) -> boolean
Datum byoc_is_authentic_entry(PG_FUNCTION_ARGS) {
  HeapTupleHeader header = PG_GETARG_HEAPTUPLEHEADER(0);
  TupleDesc columns = lookup_rowtype_tupdesc(HeapTupleHeaderGetTypeId(header), HeapTupleHeaderGetTypMod(header));
  if (columns->natts != column_count) elog(ERROR, "byoc.audit_entries has %d columns", columns->natts);
  HeapTupleData tuple = {};
  tuple.t_len = HeapTupleHeaderGetDatumLength(header);
  tuple.t_data = header;
  EntryRow row;
  heap_deform_tuple(&tuple, columns, row.values, row.nulls);
  ReleaseTupleDesc(columns);
  if (row.nulls[column_mac]) PG_RETURN_BOOL(false);
  const bytea* mac = DatumGetByteaPP(row.values[column_mac]);
  AuditField fields[column_mac];
  list_fields(row, fields);
  AuditKey* key = audit_key();
  PG_RETURN_BOOL(key != nullptr &&
                 key->verify(entry_purpose, fields, column_mac, {VARDATA_ANY(mac), VARSIZE_ANY_EXHDR(mac)}));
}
}

}  // namespace byoc
