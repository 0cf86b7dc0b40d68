// Row triggers whose row is described by any number of templates, kept up with as the row changes. What is read of the
// row is read with the rights of who changes it; what it becomes is decided by a SQL function of ours.
#include "enqueue.h"
#include "tenant_context.h"
#include "trigger_definition.h"
#include "try_to.h"
#include "virtual_columns.h"

namespace byoc {
namespace {

// What byoc.row_trigger() answered.
struct RowDefinition {
  Oid target;
  NameData name;
  DefinitionText text;
  Datum templates;  // text[]
  bool raises;
};

// What is made of one row.
struct Reading {
  const pg_uuid_t* organization;
  Datum values;   // text[]: the templates' results, in their order
  Datum rows[2];  // jsonb: new and old
  bool has_row[2];
};

// Of the trigger of that name; `definition` has it.
bool read_definition(Oid table, RowDefinition& definition) {
  static SPIPlanPtr plan = nullptr;
  Oid types[] = {OIDOID, NAMEOID};
  Datum values[] = {ObjectIdGetDatum(table), NameGetDatum(&definition.name)};
  SPI_connect();
  const OwnerRights saved = begin_owner_rights();
  if (plan == nullptr) {
    plan = keep_plan(
        "SELECT d.target, d.org_column, d.condition, d.search_path, d.on_error, d.templates FROM byoc.row_trigger($1, "
        "$2) AS d",
        2, types);
  }
  if (SPI_execute_plan(plan, values, nullptr, true, 1) != SPI_OK_SELECT) elog(ERROR, "could not read a definition");
  end_owner_rights(saved);
  const bool found = SPI_processed > 0;
  if (found) {
    const auto read = [&](int column) -> const char* {
      const char* value = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, column);
      if (value == nullptr) return nullptr;
      auto* kept = static_cast<char*>(SPI_palloc(strlen(value) + 1));
      return strcpy(kept, value);
    };
    bool null = false;
    definition.target = DatumGetObjectId(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &null));
    definition.text = {"", "", read(2), read(3), read(4)};
    definition.raises = strcmp(read(5), "raise") == 0;
    definition.templates =
        SPI_datumTransfer(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 6, &null), false, -1);
  }
  SPI_finish();
  return found;
}

bool find_definition(const TriggerData* trigger, RowDefinition& definition) {
  namestrcpy(&definition.name, trigger->tg_trigger->tgname);
  if (read_definition(RelationGetRelid(trigger->tg_relation), definition)) return true;
  Oid table = InvalidOid;
  return find_distributed_trigger(trigger, table, definition.name) && read_definition(table, definition);
}

void deconstruct(Datum texts, Datum** values, bool** nulls, int* count) {
  deconstruct_array(DatumGetArrayTypeP(texts), TEXTOID, -1, false, TYPALIGN_INT, values, nulls, count);
}

Datum render_one(Relation table, Datum source, const RowPair& rows, const pg_uuid_t* organization) {
  const ReadyTemplate ready = prepare_template(table, "trigger", TextDatumGetCString(source));
  Datum result = 0;
  PG_TRY();
  { result = PointerGetDatum(render(ready, rows, organization)); }
  PG_FINALLY();
  { Template::destroy(ready.compiled); }
  PG_END_TRY();
  return result;
}

// Each template's result over the new row, or the old one when it is gone; null for a null template.
Datum render_all(Relation table, Datum templates, const RowPair& rows, const pg_uuid_t* organization) {
  Datum* sources;
  bool* nulls;
  int count;
  deconstruct(templates, &sources, &nulls, &count);
  auto* results = static_cast<Datum*>(palloc0(sizeof(Datum) * static_cast<Size>(count + 1)));
  for (int i = 0; i < count; ++i) {
    if (!nulls[i]) results[i] = render_one(table, sources[i], rows, organization);
  }
  int dimensions[1] = {count};
  int lower[1] = {1};
  return PointerGetDatum(construct_md_array(results, nulls, 1, dimensions, lower, TEXTOID, -1, false, TYPALIGN_INT));
}

// The row as JSON, by the rights of who changes it: a cast to JSON may be anybody's function.
Datum row_as_json(Relation table, HeapTuple row) {
  Oid types[] = {table->rd_rel->reltype};
  Datum values[] = {heap_copy_tuple_as_datum(row, RelationGetDescr(table))};
  SPI_connect();
  if (SPI_execute_with_args("SELECT pg_catalog.to_jsonb($1)", 1, types, values, nullptr, true, 1) != SPI_OK_SELECT)
    elog(ERROR, "could not read the row");
  bool null = false;
  const Datum json =
      SPI_datumTransfer(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &null), false, -1);
  SPI_finish();
  return json;
}

void read_as_json(Relation table, const RowPair& rows, Reading& reading) {
  const HeapTuple both[] = {rows.new_row, rows.old_row};
  for (int i = 0; i < 2; ++i) {
    if (both[i] == nullptr) continue;
    reading.rows[i] = row_as_json(table, both[i]);
    reading.has_row[i] = true;
  }
}

// When this fails, the organization's column stays known in `ready`, and in `reading` the rows as they are stored.
void read_row(Relation table, const RowDefinition& definition, const RowPair& stored, ReadyDefinition& ready,
              Reading& reading) {
  read_as_json(table, stored, reading);
  prepare_definition(table, definition.text, ready);
  PG_TRY();
  {
    const RowPair rows = with_virtual_columns(ready.virtual_columns, stored);
    if (rows.current() != stored.current()) read_as_json(table, rows, reading);
    reading.organization = organization_of(ready, rows);
    if (meets_condition(ready, rows))
      reading.values = render_all(table, definition.templates, rows, reading.organization);
  }
  PG_FINALLY();
  { release_definition(ready); }
  PG_END_TRY();
}

void follow(const RowDefinition& definition, const Reading& reading, const char* failure) {
  static SPIPlanPtr plan = nullptr;
  Oid types[] = {OIDOID, NAMEOID, UUIDOID, JSONBOID, JSONBOID, TEXTARRAYOID, TEXTOID};
  Datum values[] = {ObjectIdGetDatum(definition.target),
                    NameGetDatum(&definition.name),
                    UUIDPGetDatum(reading.organization),
                    reading.rows[0],
                    reading.rows[1],
                    reading.values,
                    failure == nullptr ? 0 : CStringGetTextDatum(failure)};
  const auto mark = [](bool present) { return present ? ' ' : 'n'; };
  const char nulls[] = {' ',
                        ' ',
                        mark(reading.organization != nullptr),
                        mark(reading.has_row[0]),
                        mark(reading.has_row[1]),
                        mark(reading.values != 0),
                        mark(failure != nullptr),
                        0};
  SPI_connect();
  const OwnerRights saved = begin_owner_rights();
  if (plan == nullptr) plan = keep_plan("SELECT byoc.follow_row($1, $2, $3, $4, $5, $6, $7)", 7, types);
  if (SPI_execute_plan(plan, values, nulls, false, 1) != SPI_OK_SELECT) elog(ERROR, "could not follow the row");
  end_owner_rights(saved);
  SPI_finish();
}

}  // namespace

extern "C" {

PG_FUNCTION_INFO_V1(byoc_follow_row_trigger);
// byoc.follow_row_trigger(): AFTER ROW trigger for INSERT, UPDATE and DELETE, made by byoc.create_calendar_trigger
// and byoc.create_webhook_trigger.
Datum byoc_follow_row_trigger(PG_FUNCTION_ARGS) {
  const RowPair rows = rows_of_call(fcinfo, "byoc.follow_row_trigger", "the function that makes such triggers");
  const auto* trigger = reinterpret_cast<TriggerData*>(fcinfo->context);
  RowDefinition definition = {};
  if (!find_definition(trigger, definition)) {
    ereport(WARNING, (errcode(ERRCODE_UNDEFINED_OBJECT),
                      errmsg("trigger \"%s\" on table %s has no definition in pg_byoc, so it does nothing",
                             trigger->tg_trigger->tgname, RelationGetRelationName(trigger->tg_relation)),
                      errhint("Drop it, and create it again with the function that made it.")));
    PG_RETURN_POINTER(nullptr);
  }
  ReadyDefinition ready = {};
  Reading reading = {};
  const char* failure = nullptr;
  if (definition.raises) {
    read_row(trigger->tg_relation, definition, rows, ready, reading);
  } else {
    failure = try_to([&] { read_row(trigger->tg_relation, definition, rows, ready, reading); });
  }
  if (failure != nullptr) reading.organization = organization_of(ready, rows);
  if (reading.organization != nullptr && current_context() != nullptr)
    require_organization(reading.organization, OrganizationRole::member);
  follow(definition, reading, failure);
  PG_RETURN_POINTER(nullptr);
}

PG_FUNCTION_INFO_V1(byoc_rehearse_row_trigger);
// byoc.rehearse_row_trigger(target regclass, names text[], templates text[], org_column text, condition text,
//                           search_path text) -> void
// Raises what would be wrong with such a trigger: a missing column, a bad template, a condition that is not one.
Datum byoc_rehearse_row_trigger(PG_FUNCTION_ARGS) {
  for (int argument : {0, 1, 2, 3, 5}) {
    if (PG_ARGISNULL(argument)) {
      ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
                      errmsg("target, names, templates, org_id and search_path must not be null")));
    }
  }
  const DefinitionText definition = {"", "", text_to_cstring(PG_GETARG_TEXT_PP(3)),
                                     PG_ARGISNULL(4) ? nullptr : text_to_cstring(PG_GETARG_TEXT_PP(4)),
                                     text_to_cstring(PG_GETARG_TEXT_PP(5))};
  Relation table = table_open(PG_GETARG_OID(0), AccessShareLock);
  ReadyDefinition ready = {};
  prepare_definition(table, definition, ready);
  const RowPair no_rows = {RelationGetDescr(table), nullptr, nullptr};
  (void)meets_condition(ready, no_rows);
  release_definition(ready);
  Datum* names;
  Datum* templates;
  bool* no_names;
  bool* no_templates;
  int name_count;
  int template_count;
  deconstruct(PG_GETARG_DATUM(1), &names, &no_names, &name_count);
  deconstruct(PG_GETARG_DATUM(2), &templates, &no_templates, &template_count);
  for (int i = 0; i < template_count; ++i) {
    if (no_templates[i]) continue;
    const char* name = i < name_count && !no_names[i] ? TextDatumGetCString(names[i]) : "trigger";
    Template::destroy(prepare_template(table, name, TextDatumGetCString(templates[i])).compiled);
  }
  table_close(table, AccessShareLock);
  PG_RETURN_VOID();
}
}

}  // namespace byoc
