// The part of a claim that is done for each message: moving it from the queue to byoc.messages. Statements would cost
// more than what they do. The rules are in sql/claim.sql.
#include "claim.h"

#include "result_row.h"
#include "uuid_arrays.h"

namespace byoc {
namespace {

// Columns of byoc.queue, as heap_deform_tuple() gives them.
enum QueueColumn {
  q_org,
  q_lane,
  q_id,
  q_to,
  q_body,
  q_credential,
  q_attempts,
  q_source,
  q_key,
  q_created,
  q_send_at,
  q_expires,
  q_segments,
  queue_columns
};

// Columns of byoc.messages.
enum MessageColumn {
  m_org,
  m_id,
  m_to,
  m_from,
  m_body,
  m_status,
  m_credential,
  m_used_credential,
  m_used_version,
  m_claim,
  m_claimed_at,
  m_attempts,
  m_provider_sid,
  m_segments,
  m_error_code,
  m_error_message,
  m_source,
  m_key,
  m_created,
  m_send_at,
  m_expires,
  m_sent_at,
  m_delivered_at,
  m_finished_at,
  message_columns
};

// Where a column of the queue goes.
constexpr struct {
  QueueColumn from;
  MessageColumn to;
} kept_columns[] = {
    {q_org, m_org},
    {q_id, m_id},
    {q_to, m_to},
    {q_body, m_body},
    {q_credential, m_credential},
    {q_segments, m_segments},
    {q_source, m_source},
    {q_key, m_key},
    {q_created, m_created},
    {q_send_at, m_send_at},
    {q_expires, m_expires},
};

// What goes out to the dispatcher.
struct TakenMessage {
  pg_uuid_t organization, lane, id;
  bool has_sender;
  pg_uuid_t sender;
  int32 version;
  text* to;
  text* body;
  int32 attempt;
  bool ends;
  int32 validity_seconds;
};

// The claim that is being made.
struct {
  LocalTransactionId transaction;
  pg_uuid_t id;
  MemoryContext memory;
  TakenMessage* messages;
  int count;
  int capacity;
} claim;

text* kept_text(Datum value) {
  const text* unpacked = DatumGetTextPP(value);
  const MemoryContext caller = MemoryContextSwitchTo(claim.memory);
  text* kept = cstring_to_text_with_len(VARDATA_ANY(unpacked), static_cast<int>(VARSIZE_ANY_EXHDR(unpacked)));
  MemoryContextSwitchTo(caller);
  return kept;
}

// Who asked for another credential than the sender's gets none.
bool may_serve(const Sender& sender, const bool* nulls) {
  return sender.id != nullptr && (nulls[q_credential] || memcmp(sender.id, sender.lane, UUID_LEN) == 0);
}

void hand_out(const Sender& sender, const Datum* values, const bool* nulls, bool served) {
  if (claim.count == claim.capacity) {
    claim.capacity *= 2;
    claim.messages = static_cast<TakenMessage*>(repalloc(claim.messages, sizeof(TakenMessage) * claim.capacity));
  }
  TakenMessage& message = claim.messages[claim.count++];
  message.organization = *DatumGetUUIDP(values[q_org]);
  message.lane = *sender.lane;
  message.id = *DatumGetUUIDP(values[q_id]);
  message.has_sender = served;
  message.sender = served ? *sender.id : pg_uuid_t{};
  message.version = sender.version;
  message.to = kept_text(values[q_to]);
  message.body = kept_text(values[q_body]);
  message.attempt = DatumGetInt16(values[q_attempts]) + 1;
  message.ends = !nulls[q_expires] && !TIMESTAMP_NOT_FINITE(DatumGetTimestampTz(values[q_expires]));
  if (message.ends) {
    constexpr int64 most = 86400;
    const int64 left = DatumGetTimestampTz(values[q_expires]) - GetCurrentTimestamp();
    message.validity_seconds = static_cast<int32>(Min(most, (left + USECS_PER_SEC - 1) / USECS_PER_SEC));
  }
}

void store_sending(const OwnTable& messages, const Sender& sender, const Datum* queued, const bool* queued_nulls,
                   bool served) {
  Datum values[message_columns] = {};
  bool nulls[message_columns];
  memset(nulls, true, sizeof nulls);
  const auto set = [&](MessageColumn column, Datum value, bool present = true) {
    values[column] = value;
    nulls[column] = !present;
  };
  for (const auto& column : kept_columns) set(column.to, queued[column.from], !queued_nulls[column.from]);
  set(m_status, CStringGetTextDatum("sending"));
  set(m_used_credential, UUIDPGetDatum(sender.id), served);
  set(m_used_version, Int32GetDatum(sender.version), served);
  set(m_claim, UUIDPGetDatum(&claim.id));
  set(m_claimed_at, TimestampTzGetDatum(sender.at));
  set(m_attempts, Int16GetDatum(static_cast<int16>(Min(DatumGetInt16(queued[q_attempts]) + 1, PG_INT16_MAX))));
  write_row(messages, values, nulls, message_columns);
}

}  // namespace

// Forgets what another claim, or one that failed, had taken.
void begin_claim(const pg_uuid_t* id) {
  if (claim.transaction == local_transaction() && memcmp(&claim.id, id, UUID_LEN) == 0) return;
  claim = {local_transaction(),
           *id,
           AllocSetContextCreate(TopTransactionContext, "claimed messages", ALLOCSET_DEFAULT_SIZES),
           nullptr,
           0,
           256};
  claim.messages = static_cast<TakenMessage*>(MemoryContextAlloc(claim.memory, sizeof(TakenMessage) * claim.capacity));
}

bool Limit::lets(const TakenOfLane& so_far, int64 segments) const {
  return !exists || static_cast<double>(so_far.segments + segments) <= have || (so_far.taken == 0 && have >= burst);
}

Mover open_mover() {
  const OwnTable queue = open_to_write(own_queue, queue_columns);
  return {queue, open_to_write(own_messages, message_columns), open_own_index(own_queue_key)};
}

void close_mover(const Mover& mover) {
  index_close(mover.queue_key, AccessShareLock);
  close_written(mover.messages);
  close_written(mover.queue);
}

TakenOfLane take(const Mover& mover, const Sender& sender, const pg_uuid_t* organization, const pg_uuid_t* from_id,
                 int size, const Limit& limit, Unusual unusual) {
  constexpr AttrNumber column_org = 1, column_lane = 2, column_id = 3;
  ScanKeyData keys[3];
  ScanKeyInit(&keys[0], column_org, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(organization));
  ScanKeyInit(&keys[1], column_lane, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(sender.lane));
  ScanKeyInit(&keys[2], column_id, BTGreaterEqualStrategyNumber, F_UUID_GE, UUIDPGetDatum(from_id));
  TakenOfLane result = {};
  result.last_id = *from_id;
  if (unusual == Unusual::handled) result.expired = static_cast<Datum*>(palloc(sizeof(Datum) * Max(size, 1)));
  SysScanDesc scan =
      systable_beginscan_ordered(mover.queue.relation, mover.queue_key, GetActiveSnapshot(), lengthof(keys), keys);
  while (result.taken + result.expired_count < size) {
    HeapTuple row = systable_getnext_ordered(scan, ForwardScanDirection);
    if (row == nullptr) break;
    Datum values[queue_columns];
    bool nulls[queue_columns];
    deform_row(mover.queue, row, values, nulls, queue_columns);
    const pg_uuid_t* id = DatumGetUUIDP(values[q_id]);
    if (!nulls[q_expires] && DatumGetTimestampTz(values[q_expires]) <= sender.at) {
      result.is_cut_short = unusual == Unusual::left;
      if (result.is_cut_short) break;
      auto* expired = static_cast<pg_uuid_t*>(palloc(UUID_LEN));
      *expired = *id;
      result.expired[result.expired_count++] = UUIDPGetDatum(expired);
      result.last_id = *id;
      continue;
    }
    const int64 segments = DatumGetInt16(values[q_segments]);
    if (!limit.lets(result, segments)) {
      result.missing = result.segments + segments;
      break;
    }
    // Not what a tenant is cancelling: an open transaction of one must not hold up the others' messages.
    const Taking taking = take_row(mover.queue, row);
    if (taking == Taking::held) {
      result.is_cut_short = unusual == Unusual::left;
      if (result.is_cut_short) break;
      result.is_held = true;
    }
    if (taking != Taking::taken) continue;
    const bool served = may_serve(sender, nulls);
    hand_out(sender, values, nulls, served);
    store_sending(mover.messages, sender, values, nulls, served);
    ++result.taken;
    result.segments += segments;
    result.last_id = *id;
  }
  systable_endscan_ordered(scan);
  return result;
}

void finish_claim(FunctionCallInfo fcinfo, const pg_uuid_t* dispatcher, TimestampTz lease_until) {
  constexpr int claim_columns = 6;
  constexpr int result_columns = 11;
  const auto* result = reinterpret_cast<ReturnSetInfo*>(fcinfo->resultinfo);
  const Datum provider = CStringGetTextDatum("twilio");
  auto* organizations = static_cast<Datum*>(palloc(sizeof(Datum) * claim.capacity));
  auto* ids = static_cast<Datum*>(palloc(sizeof(Datum) * claim.capacity));
  for (int i = 0; i < claim.count; ++i) {
    TakenMessage& message = claim.messages[i];
    organizations[i] = UUIDPGetDatum(&message.organization);
    ids[i] = UUIDPGetDatum(&message.id);
    Datum values[result_columns] = {UUIDPGetDatum(&claim.id),
                                    organizations[i],
                                    ids[i],
                                    provider,
                                    UUIDPGetDatum(&message.sender),
                                    Int32GetDatum(message.version),
                                    PointerGetDatum(message.to),
                                    PointerGetDatum(message.body),
                                    Int32GetDatum(message.attempt),
                                    Int32GetDatum(message.validity_seconds),
                                    UUIDPGetDatum(&message.lane)};
    bool nulls[result_columns] = {};
    nulls[4] = nulls[5] = !message.has_sender;
    nulls[9] = !message.ends;
    tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
  }
  Datum values[claim_columns] = {UUIDPGetDatum(&claim.id),         UUIDPGetDatum(dispatcher),
                                 TimestampTzGetDatum(lease_until), make_uuids(organizations, claim.count),
                                 make_uuids(ids, claim.count),     Int32GetDatum(claim.count)};
  bool nulls[claim_columns] = {};
  const OwnTable claims = open_to_write(own_claims, claim_columns);
  write_row(claims, values, nulls, claim_columns);
  close_written(claims);
  MemoryContextDelete(claim.memory);
  claim = {};
}

extern "C" {

PG_FUNCTION_INFO_V1(byoc_take_messages);
// byoc.take_messages(claim_id uuid, org_id uuid, lane uuid, from_id uuid, size integer, at timestamptz, sender uuid,
//                    version integer, have double precision, burst double precision, OUT taken integer,
//                    OUT next_id uuid, OUT segments bigint, OUT missing bigint, OUT is_full boolean,
//                    OUT is_held boolean, OUT expired uuid[])
Datum byoc_take_messages(PG_FUNCTION_ARGS) {
  for (int i = 0; i < 6; ++i) {
    if (PG_ARGISNULL(i))
      ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("argument %d must not be null", i + 1)));
  }
  PreventCommandIfReadOnly("claiming messages");
  begin_claim(PG_GETARG_UUID_P(0));
  const int size = Min(PG_GETARG_INT32(4), 10000);
  const Sender sender = {PG_GETARG_UUID_P(2), PG_ARGISNULL(6) ? nullptr : PG_GETARG_UUID_P(6),
                         PG_ARGISNULL(7) ? 0 : PG_GETARG_INT32(7), PG_GETARG_TIMESTAMPTZ(5)};
  const Limit limit = {!PG_ARGISNULL(8), PG_ARGISNULL(8) ? 0 : PG_GETARG_FLOAT8(8),
                       PG_ARGISNULL(9) ? 0 : PG_GETARG_FLOAT8(9)};
  const Mover mover = open_mover();
  const TakenOfLane result =
      take(mover, sender, PG_GETARG_UUID_P(1), PG_GETARG_UUID_P(3), size, limit, Unusual::handled);
  close_mover(mover);
  const bool is_full = result.taken + result.expired_count >= size;
  const bool is_held = result.is_held && !is_full;
  // What is held is looked at again.
  const pg_uuid_t* next_id = is_held ? PG_GETARG_UUID_P(3) : &result.last_id;
  Datum values[] = {Int32GetDatum(result.taken),
                    UUIDPGetDatum(next_id),
                    Int64GetDatum(result.segments),
                    Int64GetDatum(result.missing),
                    BoolGetDatum(is_full),
                    BoolGetDatum(is_held),
                    make_uuids(result.expired, result.expired_count)};
  bool nulls[lengthof(values)] = {};
  nulls[3] = result.missing == 0;
  nulls[6] = result.expired_count == 0;
  return row_of(fcinfo, values, nulls);
}

PG_FUNCTION_INFO_V1(byoc_finish_claim);
// byoc.finish_claim(claim_id uuid, dispatcher uuid, lease_until timestamptz) -> table as byoc.claim_jobs(), of 0.1.0
Datum byoc_finish_claim(PG_FUNCTION_ARGS) {
  InitMaterializedSRF(fcinfo, 0);
  begin_claim(PG_GETARG_UUID_P(0));
  if (claim.count > 0) finish_claim(fcinfo, PG_GETARG_UUID_P(1), PG_GETARG_TIMESTAMPTZ(2));
  PG_RETURN_NULL();
}
}

}  // namespace byoc
