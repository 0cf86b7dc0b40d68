// LOCK TABLE on a view locks the tables behind it with the rights of the view's owner. A tenant, who may DELETE from
// byoc.credentials, could so lock out every other organization. Only the owner may.

#include "lock_guard.h"

#include "pg_boundary.h"

extern "C" {
#include "rewrite/rewriteHandler.h"
#include "tcop/utility.h"
}

namespace byoc {
namespace {

ProcessUtility_hook_type previous_hook = nullptr;

void refuse_foreign_lock(Oid relation, Oid schema);

bool refuse_in_query(Node* node, void* schema) {
  if (node == nullptr) return false;
  const auto walker = as_walker(refuse_in_query);
  if (!IsA(node, Query)) return expression_tree_walker(node, walker, schema);
  auto* query = castNode(Query, node);
  ListCell* cell;
  foreach (cell, query->rtable) {
    const auto* entry = lfirst_node(RangeTblEntry, cell);
    if (entry->rtekind == RTE_RELATION) refuse_foreign_lock(entry->relid, *static_cast<Oid*>(schema));
  }
  return query_tree_walker(query, walker, schema, QTW_IGNORE_JOINALIASES);
}

// Raises 42501 when locking `relation` would lock another owner's view in `schema`.
void refuse_foreign_lock(Oid relation, Oid schema) {
  if (get_rel_relkind(relation) != RELKIND_VIEW) return;
  if (get_rel_namespace(relation) == schema) {
    if (owns_relation(relation, GetUserId())) return;
    ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
                    errmsg("permission denied to lock view %s", get_rel_name(relation)),
                    errdetail("That would lock the rows of all organizations.")));
  }
  check_stack_depth();
  Relation view = relation_open(relation, AccessShareLock);
  // A view names itself twice, as old and new: those are no tables that it reads.
  auto* query = static_cast<Query*>(copyObjectImpl(get_view_query(view)));
  relation_close(view, AccessShareLock);
  List* reads = NIL;
  ListCell* cell;
  foreach (cell, query->rtable) {
    auto* entry = lfirst_node(RangeTblEntry, cell);
    if (entry->rtekind != RTE_RELATION || entry->relid != relation) reads = lappend(reads, entry);
  }
  query->rtable = reads;
  (void)refuse_in_query(reinterpret_cast<Node*>(query), &schema);
}

void refuse_foreign_locks(const LockStmt* lock) {
  const Oid schema = get_namespace_oid("byoc", true);
  if (!OidIsValid(schema) || lock->mode <= RowExclusiveLock) return;
  ListCell* cell;
  foreach (cell, lock->relations) {
    const Oid relation = RangeVarGetRelid(lfirst_node(RangeVar, cell), NoLock, true);
    if (OidIsValid(relation)) refuse_foreign_lock(relation, schema);
  }
}

void guard(PlannedStmt* statement, const char* source, bool read_only_tree, ProcessUtilityContext context,
           ParamListInfo parameters, QueryEnvironment* environment, DestReceiver* destination,
           QueryCompletion* result) {
  const Node* utility = statement->utilityStmt;
  const auto* lock = IsA(utility, LockStmt) ? reinterpret_cast<const LockStmt*>(utility) : nullptr;
  if (lock != nullptr) refuse_foreign_locks(lock);
  const auto next = previous_hook != nullptr ? previous_hook : standard_ProcessUtility;
  next(statement, source, read_only_tree, context, parameters, environment, destination, result);
  // Again: a view may have been replaced while LOCK waited. Now its definition stands still.
  if (lock != nullptr) refuse_foreign_locks(lock);
}

}  // namespace

void install_lock_guard() {
  previous_hook = ProcessUtility_hook;
  ProcessUtility_hook = guard;
}

}  // namespace byoc
