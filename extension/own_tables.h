// The extension's own tables, read and written without a statement: to start one costs more than its row.
#pragma once

#include "pg_boundary.h"

namespace byoc {

enum OwnRelation {
  own_queue,
  own_opt_outs,
  own_opt_outs_key,
  own_credentials,
  own_credentials_key,
  own_default_credentials,  // index (org_id, credential_type)
  own_queue_key,
  own_schedule,
  own_schedule_due,  // index (due_at)
  own_lanes,
  own_lanes_key,
  own_lanes_waiting,  // index (next_at), of those that wait
  own_messages,
  own_messages_key,
  own_events,
  own_claims,
  own_installation,
  own_sender_limits,
  own_receipt_watches,
  own_relation_count  // none
};

// Opens one of our tables; raises 42P01 when it does not exist. The caller closes it.
Relation open_own_table(OwnRelation table, LOCKMODE lock);

// The same for an index of a table that is open.
Relation open_own_index(OwnRelation index);

// Rises when the table may have changed as far as this session can know: with what it commits or sees committed, if the
// table has the trigger forget_lookups, otherwise with every statement. Within a statement others' changes do not show.
uint64 changes_of(OwnRelation table);

// A row as of now, not as of the query's snapshot. release_row() gives it back, also when there is none.
struct FoundRow {
  Relation table;
  SysScanDesc scan;
  HeapTuple tuple;  // null: there is none
};

// The first row that the keys find through the index (own_relation_count: without one); `keys` name the table's
// columns.
FoundRow find_row(OwnRelation table, OwnRelation index, ScanKeyData* keys, int count);
void release_row(const FoundRow& row);

// Adds a row, given in the order of the table's columns ('n' in `nulls`: NULL, as SPI has it), and its index entries.
// False, and nothing done, for a table that only a statement may write to: somebody gave it a trigger, a check, another
// column or an index over expressions or some rows, or distributed it.
bool add_row(OwnRelation table, Datum* values, const char* nulls, int columns);

// One of our tables, opened to write rows as add_row() does, but many and in any case: where only a statement may
// write, by a statement.
struct PendingRows;
struct OwnTable {
  Relation relation;
  OwnRelation name;
  bool is_plain;  // written without statements
  PendingRows* pending;
};
OwnTable open_to_write(OwnRelation table, int columns);
void deform_row(const OwnTable& table, HeapTuple row, Datum* values, bool* nulls, int columns);
// It is stored together with those that follow, by close_written() at the latest.
void write_row(const OwnTable& table, Datum* values, bool* nulls, int columns);
// Deletes a row that was read through `table`; who has it locked or changed is not waited for.
enum class Taking { taken, held, gone };
Taking take_row(const OwnTable& table, HeapTuple row);
// Puts another version in the place of a row that was read through a plain table; who changes it is waited for. False
// when it is not that row any more.
bool change_row(const OwnTable& table, HeapTuple row, HeapTuple changed);
void close_written(const OwnTable& table);

// Registers the callback that forgets relations; called once at load.
void install_own_table_callbacks();

}  // namespace byoc
