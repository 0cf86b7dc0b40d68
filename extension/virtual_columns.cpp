#include "virtual_columns.h"

namespace byoc {
namespace {

HeapTuple compute(Expr** expressions, TupleDesc columns, HeapTuple row) {
  if (row == nullptr) return nullptr;
  const auto count = static_cast<Size>(columns->natts);
  auto* values = static_cast<Datum*>(palloc0(sizeof(Datum) * count));
  auto* nulls = static_cast<bool*>(palloc0(sizeof(bool) * count));
  auto* replaced = static_cast<bool*>(palloc0(sizeof(bool) * count));
  TupleTableSlot* slot = MakeSingleTupleTableSlot(columns, &TTSOpsHeapTuple);
  ExecStoreHeapTuple(row, slot, false);
  ExprContext* context = CreateStandaloneExprContext();
  context->ecxt_scantuple = slot;
  for (Size i = 0; i < count; ++i) {
    if (expressions[i] == nullptr) continue;
    values[i] = ExecEvalExpr(ExecInitExpr(expressions[i], nullptr), context, &nulls[i]);
    replaced[i] = true;
  }
  HeapTuple computed = heap_modify_tuple(row, columns, values, nulls, replaced);
  FreeExprContext(context, true);
  ExecDropSingleTupleTableSlot(slot);
  return computed;
}

}  // namespace

Expr** plan_virtual_columns(Relation table) {
  const int count = RelationGetNumberOfAttributes(table);
  Expr** expressions = nullptr;
  for (int i = 0; i < count; ++i) {
    Expr* expression = plan_virtual_column(table, static_cast<AttrNumber>(i + 1));
    if (expression == nullptr) continue;
    if (expressions == nullptr) expressions = static_cast<Expr**>(palloc0(sizeof(Expr*) * static_cast<Size>(count)));
    expressions[i] = expression;
  }
  return expressions;
}

RowPair with_virtual_columns(Expr** expressions, const RowPair& stored) {
  if (expressions == nullptr) return stored;
  return {stored.columns, compute(expressions, stored.columns, stored.new_row),
          compute(expressions, stored.columns, stored.old_row)};
}

}  // namespace byoc
