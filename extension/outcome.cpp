// The part of byoc.record_accepted() that is done for each message: it is sent, and its history says so. The rules are
// in sql/outcome.sql.
#include "acceptance_times.h"
#include "own_tables.h"
#include "result_row.h"
#include "uuid_arrays.h"
#include "uuid_v7.h"

#include <initializer_list>

namespace byoc {
namespace {

// Columns of byoc.messages that change or are looked at, counted from 1.
constexpr AttrNumber m_org = 1, m_id = 2, m_from = 4, m_status = 6, m_claim = 10, m_attempts = 12, m_provider_sid = 13,
                     m_segments = 14, m_error_code = 15, m_error_message = 16, m_created_at = 19, m_send_at = 20,
                     m_sent_at = 22, m_finished_at = 24;
constexpr int message_columns = 24;

// Columns of byoc.message_events.
enum EventColumn {
  e_org,
  e_message,
  e_id,
  e_at,
  e_event,
  e_attempt,
  e_http_status,
  e_error_code,
  e_error_message,
  e_provider_sid,
  e_duration,
  event_columns
};

// One of the parallel arrays.
struct Column {
  Datum* values;
  bool* nulls;
  int count;
};

// An absent array is one of nulls.
Column read_column(FunctionCallInfo fcinfo, int argument, int count) {
  Column column = {nullptr, nullptr, count};
  if (PG_ARGISNULL(argument)) {
    column.values = static_cast<Datum*>(palloc0(sizeof(Datum) * count));
    column.nulls = static_cast<bool*>(palloc(count));
    memset(column.nulls, true, count);
    return column;
  }
  ArrayType* array = PG_GETARG_ARRAYTYPE_P(argument);
  int16 size;
  bool by_value;
  char alignment;
  get_typlenbyvalalign(ARR_ELEMTYPE(array), &size, &by_value, &alignment);
  deconstruct_array(array, ARR_ELEMTYPE(array), size, by_value, alignment, &column.values, &column.nulls,
                    &column.count);
  require_as_many(column.count, count);
  return column;
}

enum Argument { a_org, a_id, a_claim, a_provider_sid, a_from, a_segments, a_http_status, a_duration, argument_count };

struct Accepted {
  Column columns[argument_count];

  Datum value(Argument column, int i) const { return columns[column].values[i]; }
  bool is_null(Argument column, int i) const { return columns[column].nulls[i]; }
};

// The message as it is once it was sent.
HeapTuple sent_row(TupleDesc columns, HeapTuple row, const Accepted& accepted, int i, TimestampTz now) {
  Datum values[message_columns] = {};
  bool nulls[message_columns] = {};
  bool replaced[message_columns] = {};
  const auto set = [&](AttrNumber column, Datum value, bool present) {
    values[column - 1] = value;
    nulls[column - 1] = !present;
    replaced[column - 1] = true;
  };
  set(m_status, CStringGetTextDatum("sent"), true);
  set(m_provider_sid, accepted.value(a_provider_sid, i), !accepted.is_null(a_provider_sid, i));
  set(m_from, accepted.value(a_from, i), !accepted.is_null(a_from, i));
  if (!accepted.is_null(a_segments, i) && DatumGetInt16(accepted.value(a_segments, i)) != 0)
    set(m_segments, accepted.value(a_segments, i), true);
  for (AttrNumber column : {m_claim, m_error_code, m_error_message}) set(column, 0, false);
  for (AttrNumber column : {m_sent_at, m_finished_at}) set(column, TimestampTzGetDatum(now), true);
  return heap_modify_tuple(row, columns, values, nulls, replaced);
}

void add_event(const OwnTable& events, const Accepted& accepted, int i, Datum attempt, TimestampTz now) {
  Datum values[event_columns] = {};
  bool nulls[event_columns];
  memset(nulls, true, sizeof nulls);
  const auto set = [&](EventColumn column, Datum value, bool present = true) {
    values[column] = value;
    nulls[column] = !present;
  };
  pg_uuid_t id;
  make_uuid_v7(&id);
  set(e_org, accepted.value(a_org, i));
  set(e_message, accepted.value(a_id, i));
  set(e_id, UUIDPGetDatum(&id));
  set(e_at, TimestampTzGetDatum(now));
  set(e_event, CStringGetTextDatum("accepted"));
  set(e_attempt, attempt);
  set(e_http_status, accepted.value(a_http_status, i), !accepted.is_null(a_http_status, i));
  set(e_provider_sid, accepted.value(a_provider_sid, i), !accepted.is_null(a_provider_sid, i));
  set(e_duration, accepted.value(a_duration, i), !accepted.is_null(a_duration, i));
  write_row(events, values, nulls, event_columns);
}

// From when on the message could be sent.
TimestampTz sendable_since(TupleDesc columns, HeapTuple row) {
  bool null = false;
  const TimestampTz created = DatumGetTimestampTz(heap_getattr(row, m_created_at, columns, &null));
  const Datum send_at = heap_getattr(row, m_send_at, columns, &null);
  return null ? created : Max(created, DatumGetTimestampTz(send_at));
}

// Finds messages one after the other: to begin a scan costs as much as what it finds.
struct Finder {
  static constexpr int key_columns = 2;
  Relation index;
  IndexScanDesc scan;
  TupleTableSlot* slot;
};

Finder begin_finding(const OwnTable& messages) {
  Relation index = open_own_index(own_messages_key);
  return {index, begin_index_scan(messages.relation, index, GetActiveSnapshot(), Finder::key_columns),
          table_slot_create(messages.relation, nullptr)};
}

// Null when there is none; it is there until the next one is looked for.
HeapTuple find(const Finder& finder, Datum organization, Datum id) {
  ScanKeyData keys[Finder::key_columns];
  ScanKeyInit(&keys[0], m_org, BTEqualStrategyNumber, F_UUID_EQ, organization);
  ScanKeyInit(&keys[1], m_id, BTEqualStrategyNumber, F_UUID_EQ, id);
  index_rescan(finder.scan, keys, lengthof(keys), nullptr, 0);
  if (!index_getnext_slot(finder.scan, ForwardScanDirection, finder.slot)) return nullptr;
  return ExecFetchSlotHeapTuple(finder.slot, false, nullptr);
}

void end_finding(const Finder& finder) {
  ExecDropSingleTupleTableSlot(finder.slot);
  index_endscan(finder.scan);
  index_close(finder.index, AccessShareLock);
}

// False, and nothing done, unless the claim still has the message.
bool store_one(const OwnTable& messages, const OwnTable& events, const Finder& finder, const Accepted& accepted, int i,
               TimestampTz now) {
  for (Argument key : {a_org, a_id, a_claim}) {
    if (accepted.is_null(key, i)) return false;
  }
  HeapTuple row = find(finder, accepted.value(a_org, i), accepted.value(a_id, i));
  if (row == nullptr) return false;
  const TupleDesc columns = RelationGetDescr(messages.relation);
  bool null = false;
  const Datum claim = heap_getattr(row, m_claim, columns, &null);
  if (null || memcmp(DatumGetUUIDP(claim), DatumGetUUIDP(accepted.value(a_claim, i)), UUID_LEN) != 0) return false;
  const Datum attempt = heap_getattr(row, m_attempts, columns, &null);
  if (!change_row(messages, row, sent_row(columns, row, accepted, i, now))) return false;
  add_event(events, accepted, i, attempt, now);
  count_acceptance(sendable_since(columns, row), now);
  return true;
}

// How many messages of each claim.
struct Counts {
  Datum* claims;
  Datum* counts;
  int size;

  void count(Datum claim) {
    // Those of a claim mostly come together.
    for (int i = size - 1; i >= 0; --i) {
      if (memcmp(DatumGetUUIDP(claims[i]), DatumGetUUIDP(claim), UUID_LEN) != 0) continue;
      counts[i] = Int32GetDatum(DatumGetInt32(counts[i]) + 1);
      return;
    }
    claims[size] = claim;
    counts[size++] = Int32GetDatum(1);
  }
};

}  // namespace

extern "C" {

PG_FUNCTION_INFO_V1(byoc_store_sent);
// byoc.store_sent(org_ids uuid[], ids uuid[], claim_ids uuid[], provider_sids text[], from_numbers text[],
//                 segments smallint[], http_statuses smallint[], durations_ms integer[],
//                 OUT claims uuid[], OUT messages integer[])
Datum byoc_store_sent(PG_FUNCTION_ARGS) {
  PreventCommandIfReadOnly("recording outcomes");
  const ArrayType* ids = PG_ARGISNULL(a_id) ? construct_empty_array(UUIDOID) : PG_GETARG_ARRAYTYPE_P(a_id);
  const int count = ArrayGetNItems(ARR_NDIM(ids), ARR_DIMS(ids));
  Accepted accepted;
  for (int i = 0; i < argument_count; ++i) accepted.columns[i] = read_column(fcinfo, i, count);
  const OwnTable messages = open_to_write(own_messages, message_columns);
  const OwnTable events = open_to_write(own_events, event_columns);
  const bool is_plain = messages.is_plain && events.is_plain;
  Counts settled = {static_cast<Datum*>(palloc(sizeof(Datum) * Max(count, 1))),
                    static_cast<Datum*>(palloc(sizeof(Datum) * Max(count, 1))), 0};
  if (is_plain) {
    const Finder finder = begin_finding(messages);
    const TimestampTz now = GetCurrentTimestamp();
    for (int i = 0; i < count; ++i) {
      CHECK_FOR_INTERRUPTS();
      if (store_one(messages, events, finder, accepted, i, now)) settled.count(accepted.value(a_claim, i));
    }
    end_finding(finder);
  }
  close_written(events);
  close_written(messages);
  Datum values[] = {
      make_uuids(settled.claims, settled.size),
      PointerGetDatum(construct_array(settled.counts, settled.size, INT4OID, sizeof(int32), true, TYPALIGN_INT))};
  bool nulls[lengthof(values)] = {!is_plain, !is_plain};
  return row_of(fcinfo, values, nulls);
}
}

}  // namespace byoc
