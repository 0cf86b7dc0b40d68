// byoc.expect_receipts(): which messages were sent that have no receipt yet. The rules are in sql/receipts.sql.
#include "enqueue.h"
#include "own_tables.h"
#include "uuid_arrays.h"
#include "uuid_v7.h"

namespace byoc {
namespace {

// How long a receipt may take before the status is asked for: where nobody calls back, and where somebody does.
constexpr int64 patience = 10 * USECS_PER_SEC;
constexpr int64 patience_with_callbacks = 10 * 60 * USECS_PER_SEC;

// Columns of byoc.receipt_watches.
enum WatchColumn { w_org, w_id, w_due_at, w_messages, watch_columns };

struct SentMessage {
  pg_uuid_t organization;
  bool called_back;
  pg_uuid_t id;
};

// 0 for those that share a row.
int compare_rows(const SentMessage& one, const SentMessage& other) {
  const int difference = memcmp(&one.organization, &other.organization, UUID_LEN);
  return difference != 0 ? difference : one.called_back - other.called_back;
}

int compare(const void* one, const void* other) {
  const auto& first = *static_cast<const SentMessage*>(one);
  const auto& second = *static_cast<const SentMessage*>(other);
  const int difference = compare_rows(first, second);
  return difference != 0 ? difference : memcmp(&first.id, &second.id, UUID_LEN);
}

SentMessage* read_messages(FunctionCallInfo fcinfo, int& count) {
  const Uuids organizations = read_uuids(PG_GETARG_ARRAYTYPE_P(0));
  const Uuids ids = read_uuids(PG_GETARG_ARRAYTYPE_P(1));
  Datum* called_back = nullptr;
  int answers = 0;
  deconstruct_array(PG_GETARG_ARRAYTYPE_P(2), BOOLOID, sizeof(bool), true, TYPALIGN_CHAR, &called_back, nullptr,
                    &answers);
  count = ids.count;
  require_as_many(organizations.count, count);
  require_as_many(answers, count);
  auto* messages = static_cast<SentMessage*>(palloc(sizeof(SentMessage) * Max(count, 1)));
  for (int i = 0; i < count; ++i) messages[i] = {organizations.items[i], DatumGetBool(called_back[i]), ids.items[i]};
  return messages;
}

void write_watch(const OwnTable& watches, SentMessage* messages, int count, TimestampTz now) {
  auto* ids = static_cast<Datum*>(palloc(sizeof(Datum) * count));
  for (int i = 0; i < count; ++i) ids[i] = UUIDPGetDatum(&messages[i].id);
  pg_uuid_t id;
  make_uuid_v7(&id);
  Datum values[watch_columns] = {
      UUIDPGetDatum(&messages->organization), UUIDPGetDatum(&id),
      TimestampTzGetDatum(now + (messages->called_back ? patience_with_callbacks : patience)), make_uuids(ids, count)};
  bool nulls[watch_columns] = {};
  write_row(watches, values, nulls, watch_columns);
}

}  // namespace

extern "C" {

PG_FUNCTION_INFO_V1(byoc_expect_receipts);
// byoc.expect_receipts(org_ids uuid[], ids uuid[], called_back boolean[]) -> void
Datum byoc_expect_receipts(PG_FUNCTION_ARGS) {
  PreventCommandIfReadOnly("expecting receipts");
  int count = 0;
  SentMessage* messages = read_messages(fcinfo, count);
  qsort(messages, count, sizeof *messages, compare);
  const OwnerRights saved = begin_owner_rights();
  const OwnTable watches = open_to_write(own_receipt_watches, watch_columns);
  const TimestampTz now = GetCurrentTimestamp();
  for (int begin = 0, end = 0; begin < count; begin = end) {
    while (end < count && compare_rows(messages[begin], messages[end]) == 0) ++end;
    write_watch(watches, &messages[begin], end - begin, now);
  }
  close_written(watches);
  end_owner_rights(saved);
  PG_RETURN_VOID();
}
}

}  // namespace byoc
