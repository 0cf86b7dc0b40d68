#include "enqueue.h"

#include "opt_outs.h"
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

enum Parameter {
  p_org,
  p_id,
  p_to,
  p_body,
  p_credential,
  p_expires,
  p_key,
  p_source,
  p_due,
  p_extra,
  p_segments,
  p_code,
  parameter_count
};

// Fills the parameters that all three statements share.
void bind(const NewMessage& message, const pg_uuid_t* id, Datum* values, char* nulls) {
  const auto set = [&](Parameter parameter, Datum value, bool present) {
    values[parameter] = value;
    nulls[parameter] = present ? ' ' : 'n';
  };
  set(p_org, UUIDPGetDatum(message.organization), true);
  set(p_id, UUIDPGetDatum(id), true);
  set(p_to, PointerGetDatum(message.to_number), message.to_number != nullptr);
  set(p_body, PointerGetDatum(message.body), message.body != nullptr);
  set(p_credential, UUIDPGetDatum(message.credential_id), message.credential_id != nullptr);
  set(p_expires, TimestampTzGetDatum(message.expires_at), message.has_expires_at);
  set(p_key, PointerGetDatum(message.idempotency_key), message.idempotency_key != nullptr);
  set(p_source, PointerGetDatum(message.source_table), message.source_table != nullptr);
  set(p_due, TimestampTzGetDatum(message.send_at), message.has_send_at);
  set(p_extra, 0, false);
  set(p_segments,
      Int16GetDatum(message.body == nullptr ? 1 : static_cast<int16>(count_segments(view_of(message.body)))), true);
  set(p_code, 0, false);
}

void execute(SPIPlanPtr plan, Datum* values, const char* nulls) {
  const int result = SPI_execute_plan(plan, values, nulls, false, 0);
  if (result < 0) elog(ERROR, "could not enqueue: %s", SPI_result_code_string(result));
}

Oid types[parameter_count] = {UUIDOID, UUIDOID, TEXTOID,        TEXTOID, UUIDOID, TIMESTAMPTZOID,
                              TEXTOID, TEXTOID, TIMESTAMPTZOID, TEXTOID, INT2OID, TEXTOID};

// A cached plan is analysed again under the search path of the session that runs it, so a statement that runs with the
// owner's rights qualifies every function, operator and type: a name of the caller's must never get in.

// The lane is the credential that the message will go out by; the nil UUID stands for none. A lane that the dispatcher
// does not already work on gets a wake-up row, unless $10 says that this transaction left one.
const char queue_statement[] =
    "WITH sender AS MATERIALIZED ("
    "  SELECT coalesce($5, (SELECT c.id FROM byoc.organization_api_credentials c"
    "                       WHERE c.org_id OPERATOR(pg_catalog.=) $1 AND c.credential_type OPERATOR(pg_catalog.=) "
    "'twilio'"
    "                         AND c.is_default AND c.is_active),"
    "                  '00000000-0000-0000-0000-000000000000'::pg_catalog.uuid) AS lane),"
    " queued AS ("
    "  INSERT INTO byoc.queue (org_id, lane, id, to_number, body, credential_id, expires_at, idempotency_key, "
    "source_table, send_at, segments)"
    "  SELECT $1, s.lane, $2, $3, $4, $5, $6, $7, $8, $9, $11 FROM sender s)"
    " INSERT INTO byoc.wakeups (org_id, lane, from_id)"
    " SELECT $1, s.lane, $2 FROM sender s"
    " WHERE $10 IS NULL AND NOT EXISTS (SELECT FROM byoc.lanes l"
    "                                   WHERE l.org_id OPERATOR(pg_catalog.=) $1 AND l.lane OPERATOR(pg_catalog.=) "
    "s.lane AND l.busy)";

const char schedule_statement[] =
    "INSERT INTO byoc.schedule (org_id, id, to_number, body, credential_id, expires_at, idempotency_key, source_table,"
    "                           send_at, due_at, segments)"
    " SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $9, $11 WHERE $10 IS NULL";

const char failed_statement[] =
    "WITH failed AS ("
    "  INSERT INTO byoc.messages (org_id, id, to_number, body, credential_id, expires_at, idempotency_key, "
    "source_table,"
    "                             send_at, status, error_code, error_message, attempts, finished_at, segments)"
    "  VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 'failed', $12, $10, 0, pg_catalog.clock_timestamp(), $11))"
    " INSERT INTO byoc.message_events (org_id, message_id, id, event, attempt, error_code, error_message)"
    " VALUES ($1, $2, byoc.uuid_v7(), 'refused', 0, $12, $10)";

// Organizations whose default lane this transaction left a wake-up row for; a bulk insert needs one a lane, not one a
// row. A rolled back subtransaction takes its rows along, hence the subtransaction's id. Forgetting one does no harm.
struct Woken {
  LocalTransactionId transaction;
  SubTransactionId subtransaction;
  pg_uuid_t organization;
};
constexpr size_t woken_places = 1024;
Woken woken[woken_places] = {};

bool is_already_woken(const NewMessage& message) {
  if (message.credential_id != nullptr) return false;
  Woken& place = woken[hash_bytes(message.organization->data, UUID_LEN) % woken_places];
  const Woken now = {MyProc->lxid, GetCurrentSubTransactionId(), *message.organization};
  const bool same = place.transaction == now.transaction && place.subtransaction == now.subtransaction &&
                    memcmp(&place.organization, &now.organization, UUID_LEN) == 0;
  place = now;
  return same;
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
  if (has_opted_out(message.organization, message.to_number))
    return store_failed(message, opted_out_code, opted_out_reason, id);
  make_uuid_v7(id);
  Datum values[parameter_count];
  char nulls[parameter_count];
  bind(message, id, values, nulls);
  const OwnerRights saved = begin_owner_rights();
  if (message.has_send_at && message.send_at > GetCurrentTimestamp()) {
    if (schedule_plan == nullptr) schedule_plan = keep_plan(schedule_statement, parameter_count, types);
    execute(schedule_plan, values, nulls);
  } else {
    if (queue_plan == nullptr) queue_plan = keep_plan(queue_statement, parameter_count, types);
    if (is_already_woken(message)) {
      values[p_extra] = CStringGetTextDatum("");
      nulls[p_extra] = ' ';
    }
    execute(queue_plan, values, nulls);
  }
  end_owner_rights(saved);
  note_enqueued();
}

void store_failed(const NewMessage& message, const char* code, const char* reason, pg_uuid_t* id) {
  static SPIPlanPtr plan = nullptr;
  make_uuid_v7(id);
  Datum values[parameter_count];
  char nulls[parameter_count];
  bind(message, id, values, nulls);
  values[p_extra] = CStringGetTextDatum(reason);
  values[p_code] = CStringGetTextDatum(code);
  nulls[p_extra] = nulls[p_code] = ' ';
  const OwnerRights saved = begin_owner_rights();
  if (plan == nullptr) plan = keep_plan(failed_statement, parameter_count, types);
  execute(plan, values, nulls);
  end_owner_rights(saved);
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
  SPI_connect();
  enqueue(message, id);
  SPI_finish();
  PG_RETURN_UUID_P(id);
}

PG_FUNCTION_INFO_V1(byoc_sms_segments);
// byoc.sms_segments(body text) -> integer
Datum byoc_sms_segments(PG_FUNCTION_ARGS) {
  PG_RETURN_INT32(count_segments(view_of(PG_GETARG_TEXT_PP(0))));
}
}

}  // namespace byoc
