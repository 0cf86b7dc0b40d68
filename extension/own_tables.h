// The extension's own tables, read and written without a statement: to start one costs more than its row.
#pragma once

#include "pg_boundary.h"

namespace byoc {

enum OwnRelation {
  own_queue,
  own_opt_outs,
  own_opt_outs_key,
  own_credentials,
  own_default_credentials,  // index (org_id, credential_type)
  own_relation_count
};

// Opens one of our tables; raises 42P01 when it does not exist. The caller closes it.
Relation open_own_table(OwnRelation table, LOCKMODE lock);

// A row as of now, not as of the query's snapshot. release_row() gives it back, also when there is none.
struct FoundRow {
  Relation table;
  SysScanDesc scan;
  HeapTuple tuple;  // null: there is none
};

// The first row that the keys find through the index; `keys` name the table's columns.
FoundRow find_row(OwnRelation table, OwnRelation index, ScanKeyData* keys, int count);
void release_row(const FoundRow& row);

// Adds a row, given in the order of the table's columns ('n' in `nulls`: NULL, as SPI has it), and its index entries.
// False, and nothing done, for a table that only a statement may write to: somebody gave it a trigger, a check, another
// column or an index over expressions or some rows, or distributed it.
bool add_row(OwnRelation table, Datum* values, const char* nulls, int columns);

// Registers the callback that forgets relations; called once at load.
void install_own_table_callbacks();

}  // namespace byoc
