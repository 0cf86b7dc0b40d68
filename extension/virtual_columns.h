// Virtual generated columns: a trigger is given rows without their values.
#pragma once

#include "trigger_definition.h"

namespace byoc {

// What each of the table's columns is computed by, null for one that is stored; null for a table without any to
// compute. In the current memory context.
Expr** plan_virtual_columns(Relation table);

// The rows with the values of virtual columns, in the current memory context. Raises what computing them does.
RowPair with_virtual_columns(Expr** expressions, const RowPair& stored);

}  // namespace byoc
