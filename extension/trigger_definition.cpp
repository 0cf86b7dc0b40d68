#include "trigger_definition.h"

#include "citus.h"
#include "enqueue.h"
#include "virtual_columns.h"

namespace byoc {
namespace {

// Makes the position of a syntax error one within the condition, not within the statement that is running.
void point_into_condition(void* condition) {
  const int position = geterrposition();
  if (position <= 0) return;
  errposition(0);
  internalerrposition(position);
  internalerrquery(static_cast<const char*>(condition));
}

// Sets the search path that the condition's names are found by, until AtEOXact_GUC(nest level) or an error. Also around
// each execution: a cached plan is analysed again when the path differs from the one it was made under.
int begin_search_path(const char* search_path) {
  const int nest_level = NewGUCNestLevel();
  (void)set_config_option("search_path", search_path, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
  return nest_level;
}

bool finds_parameter(Node* node, void*) {
  if (node == nullptr) return false;
  if (IsA(node, ParamRef)) return true;
  return raw_expression_tree_walker(node, as_walker(finds_parameter), nullptr);
}

// A condition must be one expression and nothing else; text that merely fits between parentheses could be more.
void check_is_one_expression(const char* condition) {
  ErrorContextCallback callback = {error_context_stack, point_into_condition, const_cast<char*>(condition)};
  error_context_stack = &callback;
  List* statements = raw_parser(condition, RAW_PARSE_PLPGSQL_EXPR);
  error_context_stack = callback.previous;
  auto* select = castNode(SelectStmt, linitial_node(RawStmt, statements)->stmt);
  const bool is_expression =
      list_length(select->targetList) == 1 && linitial_node(ResTarget, select->targetList)->name == nullptr &&
      select->fromClause == NIL && select->whereClause == nullptr && select->groupClause == NIL &&
      select->havingClause == nullptr && select->windowClause == NIL && select->sortClause == NIL &&
      select->limitCount == nullptr && select->limitOffset == nullptr && select->lockingClause == NIL &&
      select->distinctClause == NIL && select->op == SETOP_NONE && select->withClause == nullptr &&
      !finds_parameter(reinterpret_cast<Node*>(select), nullptr);
  if (!is_expression) {
    ereport(ERROR, (errcode(ERRCODE_SYNTAX_ERROR), errmsg("condition must be one boolean expression over the row"),
                    errhint("For example: NEW.score >= 80")));
  }
}

// NEW and OLD are subqueries over the two row parameters. An unqualified column means NEW's, the inner one.
SPIPlanPtr prepare_condition(Relation table, const char* condition, const char* search_path) {
  check_is_one_expression(condition);
  const int nest_level = begin_search_path(search_path);
  Oid types[2] = {table->rd_rel->reltype, table->rd_rel->reltype};
  char* statement =
      psprintf("SELECT (SELECT (\n%s\n) FROM (SELECT ($1).*) AS new) FROM (SELECT ($2).*) AS old", condition);
  SPI_connect();
  SPIPlanPtr plan = SPI_prepare(statement, 2, types);
  if (plan == nullptr) elog(ERROR, "could not prepare the condition: %s", SPI_result_code_string(SPI_result));
  const auto* source = linitial_node(CachedPlanSource, SPI_plan_get_plan_sources(plan));
  const Oid result = TupleDescAttr(source->resultDesc, 0)->atttypid;
  if (result != BOOLOID) {
    ereport(ERROR,
            (errcode(ERRCODE_DATATYPE_MISMATCH), errmsg("condition must be boolean, not %s", format_type_be(result))));
  }
  SPI_keepplan(plan);
  SPI_finish();
  AtEOXact_GUC(true, nest_level);
  return plan;
}

AttrNumber find_org_column(Relation table, const char* name) {
  const int column = SPI_fnumber(RelationGetDescr(table), name);
  if (column <= 0) {
    ereport(ERROR, (errcode(ERRCODE_UNDEFINED_COLUMN),
                    errmsg("table %s has no column \"%s\" for the organization", RelationGetRelationName(table), name),
                    errhint("Name the uuid column that holds the organization: org_id => 'column'.")));
  }
  const Oid type = TupleDescAttr(RelationGetDescr(table), column - 1)->atttypid;
  if (type != UUIDOID) {
    ereport(ERROR,
            (errcode(ERRCODE_DATATYPE_MISMATCH),
             errmsg("column \"%s\" holds the organization and must be uuid, not %s", name, format_type_be(type))));
  }
  return static_cast<AttrNumber>(column);
}

// organizations.settings ->> name, as text; null when it is not set.
text* read_setting(const pg_uuid_t* organization, const char* name) {
  static SPIPlanPtr plan = nullptr;
  Oid types[2] = {UUIDOID, TEXTOID};
  Datum values[2] = {UUIDPGetDatum(organization), CStringGetTextDatum(name)};
  SPI_connect();
  const OwnerRights saved = begin_owner_rights();
  if (plan == nullptr) {
    plan = keep_plan(
        "SELECT o.settings OPERATOR(pg_catalog.->>) $2 FROM byoc.organizations o"
        " WHERE o.id OPERATOR(pg_catalog.=) $1",
        2, types);
  }
  if (SPI_execute_plan(plan, values, nullptr, true, 1) != SPI_OK_SELECT) elog(ERROR, "could not read a setting");
  end_owner_rights(saved);
  text* setting = nullptr;
  if (SPI_processed > 0) {
    bool null = false;
    const Datum value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &null);
    if (!null) setting = DatumGetTextPP(SPI_datumTransfer(value, false, -1));
  }
  SPI_finish();
  return setting;
}

std::string_view read_value(ValueSource& source, const RowPair& rows, const pg_uuid_t* organization) {
  if (source.setting != nullptr) {
    const text* value = organization == nullptr ? nullptr : read_setting(organization, source.setting);
    if (value == nullptr) return {};
    return {VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value)};
  }
  bool null = false;
  const Datum value = heap_getattr(rows.current(), source.column, rows.columns, &null);
  if (null) return {};
  return OutputFunctionCall(&source.output, value);
}

}  // namespace

ReadyTemplate prepare_template(Relation table, const char* what, const char* source) {
  TemplateProblem problem;
  ReadyTemplate ready = {Template::compile(source, problem), nullptr};
  if (ready.compiled == nullptr) {
    ereport(ERROR, (errcode(ERRCODE_SYNTAX_ERROR),
                    errmsg("%s template, at character %zu: %s", what, problem.position, describe(problem.error))));
  }
  const TupleDesc columns = RelationGetDescr(table);
  const size_t count = ready.compiled->references().size();
  ready.sources = static_cast<ValueSource*>(palloc0(sizeof(ValueSource) * (count + 1)));
  for (size_t i = 0; i < count; ++i) {
    const Reference& reference = ready.compiled->references()[i];
    ValueSource& value = ready.sources[i];
    if (reference.kind == ReferenceKind::setting) {
      value.setting = pstrdup(reference.name.c_str());
      continue;
    }
    const int column = SPI_fnumber(columns, reference.name.c_str());
    if (column <= 0) {
      char* name = pstrdup(reference.name.c_str());
      Template::destroy(ready.compiled);
      ereport(ERROR, (errcode(ERRCODE_UNDEFINED_COLUMN),
                      errmsg("%s template: table %s has no column \"%s\"", what, RelationGetRelationName(table), name),
                      errhint("A template may use the table's columns, {{column}}, and the organization's settings, "
                              "{{org.setting}}.")));
    }
    Oid output = InvalidOid;
    bool is_varlena = false;
    getTypeOutputInfo(TupleDescAttr(columns, column - 1)->atttypid, &output, &is_varlena);
    value.column = static_cast<AttrNumber>(column);
    fmgr_info_cxt(output, &value.output, CurrentMemoryContext);
  }
  return ready;
}

void prepare_definition(Relation table, const DefinitionText& definition, ReadyDefinition& ready) {
  PG_TRY();
  {
    ready.org_column = find_org_column(table, definition.org_column);
    ready.to_number = prepare_template(table, "to_number", definition.to_number);
    ready.body = prepare_template(table, "body", definition.body);
    ready.virtual_columns = plan_virtual_columns(table);
    ready.search_path = pstrdup(definition.search_path);
    if (definition.condition != nullptr) {
      ready.condition = prepare_condition(table, definition.condition, definition.search_path);
    }
  }
  PG_CATCH();
  {
    release_definition(ready);
    PG_RE_THROW();
  }
  PG_END_TRY();
}

void release_definition(ReadyDefinition& ready) {
  Template::destroy(ready.to_number.compiled);
  Template::destroy(ready.body.compiled);
  if (ready.condition != nullptr) SPI_freeplan(ready.condition);
  const AttrNumber org_column = ready.org_column;
  ready = {};
  ready.org_column = org_column;
}

RowPair rows_of_call(FunctionCallInfo fcinfo, const char* function, const char* maker) {
  if (!CALLED_AS_TRIGGER(fcinfo)) elog(ERROR, "%s is a trigger function", function);
  const auto* trigger = reinterpret_cast<TriggerData*>(fcinfo->context);
  if (!TRIGGER_FIRED_AFTER(trigger->tg_event) || !TRIGGER_FIRED_FOR_ROW(trigger->tg_event)) {
    ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
                    errmsg("%s must be an AFTER ROW trigger", function), errhint("Create it with %s.", maker)));
  }
  const TupleDesc columns = RelationGetDescr(trigger->tg_relation);
  if (TRIGGER_FIRED_BY_UPDATE(trigger->tg_event)) return {columns, trigger->tg_newtuple, trigger->tg_trigtuple};
  if (TRIGGER_FIRED_BY_DELETE(trigger->tg_event)) return {columns, nullptr, trigger->tg_trigtuple};
  return {columns, trigger->tg_trigtuple, nullptr};
}

bool meets_condition(const ReadyDefinition& ready, const RowPair& rows) {
  if (ready.condition == nullptr) return true;
  Datum values[2] = {0, 0};
  char nulls[2] = {'n', 'n'};
  const HeapTuple both[2] = {rows.new_row, rows.old_row};
  for (int i = 0; i < 2; ++i) {
    if (both[i] == nullptr) continue;
    values[i] = heap_copy_tuple_as_datum(both[i], rows.columns);
    nulls[i] = ' ';
  }
  SPI_connect();
  const int nest_level = begin_search_path(ready.search_path);
  if (SPI_execute_plan(ready.condition, values, nulls, false, 1) != SPI_OK_SELECT) elog(ERROR, "condition did not run");
  AtEOXact_GUC(true, nest_level);
  bool null = true;
  const Datum value = SPI_processed == 0 ? 0 : SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &null);
  SPI_finish();
  return !null && DatumGetBool(value);
}

text* render(const ReadyTemplate& source, const RowPair& rows, const pg_uuid_t* organization) {
  const size_t count = source.compiled->references().size();
  auto* values = static_cast<std::string_view*>(palloc0(sizeof(std::string_view) * (count + 1)));
  for (size_t i = 0; i < count; ++i) values[i] = read_value(source.sources[i], rows, organization);
  const size_t size = source.compiled->render(values, nullptr, 0);
  auto* result = static_cast<text*>(palloc(VARHDRSZ + size));
  SET_VARSIZE(result, VARHDRSZ + size);
  source.compiled->render(values, VARDATA(result), size);
  return result;
}

bool find_distributed_trigger(const TriggerData* trigger, Oid& table, NameData& name) {
  if (!is_citus_loaded()) return false;
  static SPIPlanPtr plan = nullptr;
  Oid types[] = {OIDOID, NAMEOID};
  namestrcpy(&name, trigger->tg_trigger->tgname);
  Datum values[] = {ObjectIdGetDatum(RelationGetRelid(trigger->tg_relation)), NameGetDatum(&name)};
  SPI_connect();
  const OwnerRights saved = begin_owner_rights();
  if (plan == nullptr) plan = keep_plan("SELECT t.target, t.name FROM byoc.distributed_trigger($1, $2) AS t", 2, types);
  if (SPI_execute_plan(plan, values, nullptr, true, 1) != SPI_OK_SELECT) elog(ERROR, "could not look for a shard");
  end_owner_rights(saved);
  bool is_none = true;
  if (SPI_processed > 0) {
    const HeapTuple row = SPI_tuptable->vals[0];
    table = DatumGetObjectId(SPI_getbinval(row, SPI_tuptable->tupdesc, 1, &is_none));
    if (!is_none) name = *DatumGetName(SPI_getbinval(row, SPI_tuptable->tupdesc, 2, &is_none));
  }
  SPI_finish();
  return !is_none;
}

pg_uuid_t* organization_of(const ReadyDefinition& ready, const RowPair& rows) {
  if (ready.org_column == 0) return nullptr;
  bool null = false;
  const Datum value = heap_getattr(rows.current(), ready.org_column, rows.columns, &null);
  return null ? nullptr : DatumGetUUIDP(value);
}

}  // namespace byoc
