#include "enqueue.h"

#include "lookup_memory.h"
#include "opt_outs.h"
#include "own_tables.h"
#include "template/sms_segments.h"
#include "template/template.h"
#include "uuid_v7.h"
#include "wakeup.h"

#include <string_view>

namespace byoc {
namespace {

constexpr size_t body_limit = 1600;  // characters; Twilio's limit (error 21617)

std::string_view view_of(const text* value) {
  if (value == nullptr) return {};
  return {VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value)};
}

// E.164: a plus sign, then 7 to 15 digits of which the first is not 0 (ITU-T E.164, section 6).
bool is_e164(std::string_view number) {
  if (number.size() < 8 || number.size() > 16 || number[0] != '+' || number[1] == '0') return false;
  for (char c : number.substr(1)) {
    if (c < '0' || c > '9') return false;
  }
  return true;
}

// The columns of byoc.queue in the order of its definition, then what other statements take.
enum Parameter {
  p_org,
  p_lane,
  p_id,
  p_to,
  p_body,
  p_credential,
  p_attempts,
  p_source,
  p_key,
  p_created,
  p_send_at,
  p_expires,
  p_segments,
  queue_columns,
  p_reason = queue_columns,
  p_code,
  parameter_count
};

struct Parameters {
  Datum values[parameter_count];
  char nulls[parameter_count];  // as SPI takes them

  void set(Parameter parameter, Datum value, bool present = true) {
    values[parameter] = value;
    nulls[parameter] = present ? ' ' : 'n';
  }
};

// Fills what all three kinds of messages share.
void bind(const NewMessage& message, const pg_uuid_t* id, Parameters& parameters) {
  const text* body = message.body;
  parameters.set(p_org, UUIDPGetDatum(message.organization));
  parameters.set(p_lane, 0, false);
  parameters.set(p_id, UUIDPGetDatum(id));
  parameters.set(p_to, PointerGetDatum(message.to_number), message.to_number != nullptr);
  parameters.set(p_body, PointerGetDatum(body), body != nullptr);
  parameters.set(p_credential, UUIDPGetDatum(message.credential_id), message.credential_id != nullptr);
  parameters.set(p_attempts, Int16GetDatum(0));
  parameters.set(p_source, PointerGetDatum(message.source_table), message.source_table != nullptr);
  parameters.set(p_key, PointerGetDatum(message.idempotency_key), message.idempotency_key != nullptr);
  parameters.set(p_created, TimestampTzGetDatum(GetCurrentTransactionStartTimestamp()));
  parameters.set(p_send_at, TimestampTzGetDatum(message.send_at), message.has_send_at);
  parameters.set(p_expires, TimestampTzGetDatum(message.expires_at), message.has_expires_at);
  parameters.set(p_segments, Int16GetDatum(body == nullptr ? 1 : static_cast<int16>(count_segments(view_of(body)))));
  parameters.set(p_reason, 0, false);
  parameters.set(p_code, 0, false);
}

// Runs a statement with the owner's rights; `plan` keeps its plan for the session.
void execute(SPIPlanPtr& plan, const char* statement, Parameters& parameters) {
  static Oid types[parameter_count] = {UUIDOID,        UUIDOID,        UUIDOID, TEXTOID, TEXTOID,
                                       UUIDOID,        INT2OID,        TEXTOID, TEXTOID, TIMESTAMPTZOID,
                                       TIMESTAMPTZOID, TIMESTAMPTZOID, INT2OID, TEXTOID, TEXTOID};
  SPI_connect();
  const OwnerRights saved = begin_owner_rights();
  if (plan == nullptr) plan = keep_plan(statement, parameter_count, types);
  const int result = SPI_execute_plan(plan, parameters.values, parameters.nulls, false, 0);
  if (result < 0) elog(ERROR, "could not enqueue: %s", SPI_result_code_string(result));
  end_owner_rights(saved);
  SPI_finish();
}

// A cached plan is analysed again under the search path of the session that runs it, so a statement that runs with the
// owner's rights qualifies every function, operator and type: a name of the caller's must never get in.

// For a queue that rows cannot be added to by hand.
const char queue_statement[] =
    "INSERT INTO byoc.queue (org_id, lane, id, to_number, body, credential_id, attempts, source_table, "
    "idempotency_key, "
    "                        created_at, send_at, expires_at, segments)"
    " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)";

const char schedule_statement[] =
    "INSERT INTO byoc.schedule (org_id, id, to_number, body, credential_id, source_table, idempotency_key, created_at, "
    "                           send_at, due_at, expires_at, segments)"
    " VALUES ($1, $3, $4, $5, $6, $8, $9, $10, $11, $11, $12, $13)";

const char failed_statement[] =
    "WITH failed AS ("
    "  INSERT INTO byoc.messages (org_id, id, to_number, body, credential_id, attempts, source_table, idempotency_key, "
    "                             created_at, send_at, expires_at, segments, status, error_code, error_message, "
    "finished_at)"
    "  VALUES ($1, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, 'failed', $15, $14, pg_catalog.clock_timestamp()))"
    " INSERT INTO byoc.message_events (org_id, message_id, id, event, attempt, error_code, error_message)"
    " VALUES ($1, $3, byoc.uuid_v7(), 'refused', 0, $15, $14)";

// The organization's default credential, or the nil UUID when it has none. As byoc.lane_of() in SQL.
pg_uuid_t default_lane(const pg_uuid_t* organization) {
  struct Lane {
    bool known;
    pg_uuid_t id;
  };
  static LookupMemory<own_credentials, Lane> memory;
  Lane& lane = memory.of(organization);
  if (lane.known) return lane.id;
  constexpr AttrNumber column_org = 1, column_id = 2, column_type = 3;
  ScanKeyData keys[2];
  ScanKeyInit(&keys[0], column_org, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(organization));
  ScanKeyInit(&keys[1], column_type, BTEqualStrategyNumber, F_TEXTEQ, CStringGetTextDatum("twilio"));
  keys[1].sk_collation = DEFAULT_COLLATION_OID;
  const FoundRow row = find_row(own_credentials, own_default_credentials, keys, 2);
  lane = {true, {}};
  if (row.tuple != nullptr) {
    bool null = false;
    lane.id = *DatumGetUUIDP(heap_getattr(row.tuple, column_id, RelationGetDescr(row.table), &null));
  }
  release_row(row);
  return lane.id;
}

}  // namespace

const char* reason_to_refuse(const NewMessage& message) {
  const std::string_view to = view_of(message.to_number);
  const std::string_view body = view_of(message.body);
  if (to.empty()) return "to_number is empty";
  if (!is_e164(to)) return "to_number is not an E.164 number such as +14155550100";
  if (body.find_first_not_of(" \t\r\n") == std::string_view::npos) return "body is empty";
  if (const size_t size = count_characters(body); size > body_limit) {
    return psprintf("body has %zu characters, at most %zu can be sent", size, body_limit);
  }
  return nullptr;
}

void enqueue(const NewMessage& message, pg_uuid_t* id) {
  static SPIPlanPtr queue_plan = nullptr;
  static SPIPlanPtr schedule_plan = nullptr;
  PreventCommandIfReadOnly("queuing a message");
  if (has_opted_out(message.organization, message.to_number))
    return store_failed(message, opted_out_code, opted_out_reason, id);
  make_uuid_v7(id);
  Parameters parameters;
  bind(message, id, parameters);
  if (message.has_send_at && message.send_at > GetCurrentTimestamp()) {
    execute(schedule_plan, schedule_statement, parameters);
    note_enqueued();
    return;
  }
  const pg_uuid_t lane = message.credential_id != nullptr ? *message.credential_id : default_lane(message.organization);
  parameters.set(p_lane, UUIDPGetDatum(&lane));
  if (!add_row(own_queue, parameters.values, parameters.nulls, queue_columns))
    execute(queue_plan, queue_statement, parameters);
  wake_lane({*message.organization, lane, *id});
}

void store_failed(const NewMessage& message, const char* code, const char* reason, pg_uuid_t* id) {
  static SPIPlanPtr plan = nullptr;
  make_uuid_v7(id);
  Parameters parameters;
  bind(message, id, parameters);
  parameters.set(p_reason, CStringGetTextDatum(reason));
  parameters.set(p_code, CStringGetTextDatum(code));
  execute(plan, failed_statement, parameters);
}

SPIPlanPtr keep_plan(const char* statement, int parameters, Oid* parameter_types) {
  SPIPlanPtr plan = SPI_prepare(statement, parameters, parameter_types);
  if (plan == nullptr) elog(ERROR, "could not prepare a statement: %s", SPI_result_code_string(SPI_result));
  SPI_keepplan(plan);
  return plan;
}

OwnerRights begin_owner_rights() {
  OwnerRights saved;
  GetUserIdAndSecContext(&saved.user, &saved.context);
  const Oid queue = get_relname_relid("queue", get_namespace_oid("byoc", false));
  HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(queue));
  if (!HeapTupleIsValid(tuple)) {
    ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE), errmsg("table byoc.queue does not exist")));
  }
  const Oid owner = reinterpret_cast<Form_pg_class>(GETSTRUCT(tuple))->relowner;
  ReleaseSysCache(tuple);
  SetUserIdAndSecContext(owner, saved.context | SECURITY_LOCAL_USERID_CHANGE);
  return saved;
}

void end_owner_rights(const OwnerRights& saved) {
  SetUserIdAndSecContext(saved.user, saved.context);
}

extern "C" {

PG_FUNCTION_INFO_V1(byoc_enqueue_sms);
// byoc.enqueue_sms(org_id uuid, to_number text, body text, credential_id uuid, send_at timestamptz,
//                  expires_at timestamptz, idempotency_key text) -> uuid
// Raises 22023 for a message that cannot be sent.
Datum byoc_enqueue_sms(PG_FUNCTION_ARGS) {
  NewMessage message = {};
  if (PG_ARGISNULL(0)) ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("org_id must not be null")));
  message.organization = PG_GETARG_UUID_P(0);
  message.to_number = PG_ARGISNULL(1) ? nullptr : PG_GETARG_TEXT_PP(1);
  message.body = PG_ARGISNULL(2) ? nullptr : PG_GETARG_TEXT_PP(2);
  message.credential_id = PG_ARGISNULL(3) ? nullptr : PG_GETARG_UUID_P(3);
  message.has_send_at = !PG_ARGISNULL(4);
  message.send_at = message.has_send_at ? PG_GETARG_TIMESTAMPTZ(4) : 0;
  message.has_expires_at = !PG_ARGISNULL(5);
  message.expires_at = message.has_expires_at ? PG_GETARG_TIMESTAMPTZ(5) : 0;
  message.idempotency_key = PG_ARGISNULL(6) ? nullptr : PG_GETARG_TEXT_PP(6);
  if (const char* reason = reason_to_refuse(message)) {
    ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("%s", reason)));
  }
  auto* id = static_cast<pg_uuid_t*>(palloc(sizeof(pg_uuid_t)));
  enqueue(message, id);
  PG_RETURN_UUID_P(id);
}

PG_FUNCTION_INFO_V1(byoc_sms_segments);
// byoc.sms_segments(body text) -> integer
Datum byoc_sms_segments(PG_FUNCTION_ARGS) {
  PG_RETURN_INT32(count_segments(view_of(PG_GETARG_TEXT_PP(0))));
}
}

}  // namespace byoc
