// A trigger's definition, as stored in byoc.sms_trigger_definitions, checked against its table and made ready to run.
#pragma once

#include "pg_boundary.h"
#include "template/template.h"

namespace byoc {

// The text of a definition. Null pointers where a part is absent.
struct DefinitionText {
  const char* to_number;
  const char* body;
  const char* org_column;
  const char* condition;    // null: every row
  const char* search_path;  // for the condition
};

// Where a template reference's value comes from.
struct ValueSource {
  AttrNumber column;    // 0 for a setting of the organization
  FmgrInfo output;      // of the column's type
  const char* setting;  // null for a column
};

struct ReadyTemplate {
  Template* compiled;  // freed by release()
  ValueSource* sources;
};

struct ReadyDefinition {
  ReadyTemplate to_number;
  ReadyTemplate body;
  AttrNumber org_column;
  Expr** virtual_columns;  // as plan_virtual_columns() makes them
  SPIPlanPtr condition;    // null: every row; freed by release()
  char* search_path;       // for the condition's names
};

// Checks a template against the table's columns; `what` names it in errors. In the current memory context, but for
// `compiled`, which the caller destroys.
ReadyTemplate prepare_template(Relation table, const char* what, const char* source);

// Checks the definition against the table's columns and prepares it, in the current memory context, into an empty
// `ready`. Raises an error that names the wrong part; then only the organization's column may be known.
void prepare_definition(Relation table, const DefinitionText& definition, ReadyDefinition& ready);
// Frees what is not in a memory context; the organization's column stays known.
void release_definition(ReadyDefinition& ready);

// The values that a condition and a template read. Either row may be null.
struct RowPair {
  TupleDesc columns;
  HeapTuple new_row;
  HeapTuple old_row;

  HeapTuple current() const { return new_row != nullptr ? new_row : old_row; }
};

// The rows that a trigger function was called for. Raises an error unless it was as an AFTER ROW trigger; `function`
// names it there, `maker` what creates such triggers.
RowPair rows_of_call(FunctionCallInfo fcinfo, const char* function, const char* maker);

// For a trigger on a shard of Citus: the table that the shard is of, here, and the name of that one's trigger, which
// its definition is kept by. False for any other trigger.
bool find_distributed_trigger(const TriggerData* trigger, Oid& table, NameData& name);

// Evaluates the condition with the rights of the current user; NULL counts as false.
bool meets_condition(const ReadyDefinition& ready, const RowPair& rows);

// Renders one template over the current row; settings of `organization` are read with the owner's rights.
text* render(const ReadyTemplate& source, const RowPair& rows, const pg_uuid_t* organization);

// The row's organization; null when the column is NULL.
pg_uuid_t* organization_of(const ReadyDefinition& ready, const RowPair& rows);

}  // namespace byoc
