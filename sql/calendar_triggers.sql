-- Events that follow the rows of an application's table. extension/row_trigger.cpp reads a row with the rights of who changes it;
-- what becomes of it is decided here.

CREATE TABLE byoc.calendar_trigger_definitions (
    target regclass NOT NULL,
    name name NOT NULL,
    summary text NOT NULL,
    starts_at text NOT NULL,
    ends_at text,
    duration interval,
    attendees text,
    time_zone text NOT NULL,
    description text,
    location text,
    recurrence text,
    send_updates text NOT NULL,
    org_column text NOT NULL,
    key_columns text[] NOT NULL,
    condition text,
    on_error text NOT NULL CHECK (on_error IN ('record', 'raise')),
    search_path text NOT NULL,
    created_by name NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (target, name)
);
COMMENT ON TABLE byoc.calendar_trigger_definitions IS 'What the triggers made by byoc.create_calendar_trigger do.';
COMMENT ON COLUMN byoc.calendar_trigger_definitions.starts_at IS 'Column; ends_at is one too, and where there is none the event lasts for duration.';
COMMENT ON COLUMN byoc.calendar_trigger_definitions.key_columns IS 'The table''s primary key: which row an event follows.';
COMMENT ON COLUMN byoc.calendar_trigger_definitions.search_path IS 'Search path of its creator, for the names in condition.';
ALTER TABLE byoc.calendar_trigger_definitions ENABLE ROW LEVEL SECURITY;
SELECT pg_extension_config_dump('byoc.calendar_trigger_definitions',
    'WHERE EXISTS (SELECT FROM pg_catalog.pg_trigger t WHERE t.tgrelid = target AND t.tgname = name)');

CREATE FUNCTION byoc.follow_row_trigger() RETURNS trigger
LANGUAGE c AS 'MODULE_PATHNAME', 'byoc_follow_row_trigger';
COMMENT ON FUNCTION byoc.follow_row_trigger() IS 'Row trigger made by byoc.create_calendar_trigger; its definition is found by table and name.';

CREATE FUNCTION byoc.rehearse_row_trigger(target regclass, names text[], templates text[], org_column text, condition text, search_path text) RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'byoc_rehearse_row_trigger';
COMMENT ON FUNCTION byoc.rehearse_row_trigger(regclass, text[], text[], text, text, text) IS
    'Internal: raises what would be wrong with such a trigger, before it exists; names tell in errors which template is meant.';

CREATE FUNCTION byoc.row_trigger(relation oid, trigger_name name, OUT target oid, OUT org_column text, OUT condition text, OUT search_path text,
                                 OUT on_error text, OUT templates text[]) RETURNS SETOF record
LANGUAGE sql STABLE ROWS 1
BEGIN ATOMIC
    -- A partition's trigger is a clone: its definition is kept for the table that the trigger was created on.
    SELECT d.target, d.org_column, d.condition, d.search_path, d.on_error,
           ARRAY[d.summary, d.description, d.location, d.attendees, d.time_zone, d.recurrence]
    FROM byoc.calendar_trigger_definitions d
    WHERE d.name = trigger_name AND (d.target = relation OR d.target IN (SELECT a.relid FROM pg_partition_ancestors(relation) AS a))
    UNION ALL
    SELECT d.target, d.org_column, d.condition, d.search_path, d.on_error, '{}'
    FROM byoc.webhook_trigger_definitions d
    WHERE d.name = trigger_name AND (d.target = relation OR d.target IN (SELECT a.relid FROM pg_partition_ancestors(relation) AS a))
    LIMIT 1;
END;
COMMENT ON FUNCTION byoc.row_trigger(oid, name) IS 'Internal: what extension/row_trigger.cpp has to read of a row.';

CREATE FUNCTION byoc.row_time(kind text, value text, time_zone text) RETURNS timestamptz
LANGUAGE sql STABLE
RETURN CASE kind WHEN 'timestamp without time zone' THEN value::timestamp AT TIME ZONE time_zone WHEN 'date' THEN NULL ELSE value::timestamptz END;
COMMENT ON FUNCTION byoc.row_time(text, text, text) IS
    'Internal: a column''s time; one without a zone is meant in the event''s. NULL for a date, which is no time.';

CREATE FUNCTION byoc.later_in_zone(start timestamptz, duration interval, time_zone text) RETURNS timestamptz
LANGUAGE sql STABLE
-- An hour is 60 minutes across a change of the clocks, a day ends when the clock shows the same.
RETURN CASE date_trunc('day', duration) WHEN interval '0' THEN start
       ELSE (start AT TIME ZONE time_zone + date_trunc('day', duration)) AT TIME ZONE time_zone END + (duration - date_trunc('day', duration));
COMMENT ON FUNCTION byoc.later_in_zone(timestamptz, interval, text) IS
    'Internal: so much later, with days and months as they pass in that zone and not in the session''s.';

CREATE FUNCTION byoc.row_event(definition byoc.calendar_trigger_definitions, entry byoc.calendar_entries, new_row jsonb, texts text[])
RETURNS byoc.calendar_entries
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    kind text;
    ends_kind text;
BEGIN
    entry.summary := texts[1];
    entry.description := nullif(texts[2], '');
    entry.location := nullif(texts[3], '');
    entry.attendees := (SELECT array_agg(btrim(a)) FROM regexp_split_to_table(texts[4], '[,;\s]+') AS a WHERE btrim(a) <> '');
    entry.time_zone := texts[5];
    entry.recurrence := (SELECT array_agg(btrim(r)) FROM regexp_split_to_table(texts[6], '\s+') AS r WHERE btrim(r) <> '');
    entry.send_updates := definition.send_updates;
    IF NOT byoc.is_time_zone(entry.time_zone) THEN
        RETURN entry; -- which byoc.calendar_problem() says
    END IF;
    SELECT max(format_type(a.atttypid, NULL)) FILTER (WHERE a.attname = definition.starts_at),
           max(format_type(a.atttypid, NULL)) FILTER (WHERE a.attname = definition.ends_at)
    INTO kind, ends_kind
    FROM pg_attribute a WHERE a.attrelid = definition.target AND a.attnum > 0 AND NOT a.attisdropped;
    IF kind = 'date' THEN
        entry.starts_on := (new_row ->> definition.starts_at)::date;
        entry.ends_on := coalesce(CASE ends_kind WHEN 'date' THEN (new_row ->> definition.ends_at)::date END, entry.starts_on);
        entry.starts_at := NULL;
        entry.ends_at := NULL;
    ELSE
        entry.starts_at := byoc.row_time(kind, new_row ->> definition.starts_at, entry.time_zone);
        entry.ends_at := CASE WHEN definition.ends_at IS NULL THEN byoc.later_in_zone(entry.starts_at, definition.duration, entry.time_zone)
                              ELSE byoc.row_time(ends_kind, new_row ->> definition.ends_at, entry.time_zone) END;
        entry.starts_on := NULL;
        entry.ends_on := NULL;
    END IF;
    RETURN entry;
END
$$;
COMMENT ON FUNCTION byoc.row_event(byoc.calendar_trigger_definitions, byoc.calendar_entries, jsonb, text[]) IS
    'Internal: the event that a row describes, put into `entry`; texts are the rendered templates.';

CREATE FUNCTION byoc.row_key(key_columns text[], row_image jsonb) RETURNS text
LANGUAGE sql IMMUTABLE
RETURN (SELECT jsonb_agg(row_image -> k.name ORDER BY k.n)::text FROM unnest(key_columns) WITH ORDINALITY AS k (name, n));
COMMENT ON FUNCTION byoc.row_key(text[], jsonb) IS 'Internal: which row this is: the values of its key, a JSON array.';

CREATE FUNCTION byoc.follow_row(target oid, trigger_name name, org_id uuid, new_row jsonb, old_row jsonb, texts text[], failure text) RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    none CONSTANT uuid := '00000000-0000-0000-0000-000000000000';
    definition byoc.calendar_trigger_definitions;
    webhook byoc.webhook_trigger_definitions;
    source_name CONSTANT text := (SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = target);
    old_org uuid;
    key text;
    stored byoc.calendar_entries;
    entry byoc.calendar_entries;
BEGIN
    SELECT d.* INTO webhook FROM byoc.webhook_trigger_definitions d WHERE d.target = follow_row.target AND d.name = trigger_name;
    IF FOUND THEN
        PERFORM byoc.follow_webhook_row(webhook, source_name, org_id, coalesce(new_row, old_row), failure) WHERE texts IS NOT NULL OR failure IS NOT NULL;
        RETURN;
    END IF;
    SELECT d.* INTO definition FROM byoc.calendar_trigger_definitions d WHERE d.target = follow_row.target AND d.name = trigger_name;
    key := byoc.row_key(definition.key_columns, coalesce(new_row, old_row));
    old_org := coalesce((old_row ->> definition.org_column)::uuid, none);
    IF old_row IS NOT NULL THEN
        SELECT e.* INTO stored FROM byoc.calendar_entries e
        WHERE e.org_id = old_org AND e.source = follow_row.target AND e.source_trigger = trigger_name
          AND e.source_key = byoc.row_key(definition.key_columns, old_row) AND e.cancelled_at IS NULL
        FOR UPDATE;
    END IF;
    -- Gone, not wanted any more, or another organization's now.
    IF stored.id IS NOT NULL AND (new_row IS NULL OR (texts IS NULL AND failure IS NULL) OR coalesce(org_id, none) <> old_org) THEN
        IF byoc.current_org_id() IS NOT NULL THEN
            PERFORM byoc.require_organization(old_org);
        END IF;
        PERFORM byoc.cancel_calendar_entry(stored.org_id, stored.id);
        stored := NULL;
    END IF;
    IF new_row IS NULL OR (texts IS NULL AND failure IS NULL) THEN
        RETURN;
    END IF;
    entry := stored;
    IF entry.id IS NULL THEN
        entry.org_id := coalesce(org_id, none);
        entry.id := byoc.uuid_v7();
        entry.source := target;
        entry.source_table := source_name;
        entry.source_trigger := trigger_name;
        entry.created_at := now();
        entry.updated_at := now();
    END IF;
    entry.source_key := key;
    entry.refusal := failure;
    IF failure IS NULL THEN
        entry := byoc.row_event(definition, entry, new_row, texts);
        entry.refusal := CASE
            WHEN org_id IS NULL THEN 'the row names no organization'
            WHEN NOT EXISTS (SELECT FROM byoc.organizations o WHERE o.id = org_id AND o.shredded_at IS NULL) THEN 'the organization does not exist'
            ELSE byoc.calendar_problem(entry) END;
    END IF;
    IF entry.refusal IS NOT NULL AND definition.on_error = 'raise' THEN
        RAISE EXCEPTION 'no calendar event can be made of this row: %', entry.refusal
            USING ERRCODE = 'invalid_parameter_value', HINT = 'The trigger was created with on_error => ''raise''.';
    END IF;
    IF entry IS DISTINCT FROM stored THEN
        PERFORM byoc.put_calendar_entry(entry);
    END IF;
END
$$;
COMMENT ON FUNCTION byoc.follow_row(oid, name, uuid, jsonb, jsonb, text[], text) IS
    'Internal: makes the event of a row what the row says now. texts NULL: the row is gone or does not meet the condition; failure: it could not be read.';

CREATE FUNCTION byoc.register_calendar_trigger(definition jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    d byoc.calendar_trigger_definitions := jsonb_populate_record(NULL::byoc.calendar_trigger_definitions, definition);
BEGIN
    PERFORM byoc.require_new_trigger(d.target, d.name);
    PERFORM byoc.forget_trigger_definitions(d.target, d.name);
    d.created_by := byoc.invoking_role()::text;
    d.created_at := now();
    INSERT INTO byoc.calendar_trigger_definitions SELECT d.*;
END
$$;
COMMENT ON FUNCTION byoc.register_calendar_trigger(jsonb) IS
    'Internal: stores the definition of a trigger that is about to be created, for whoever may create triggers on the table.';

CREATE FUNCTION byoc.unregister_calendar_trigger(target regclass, name name) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM byoc.require_table_owner(target);
    DELETE FROM byoc.calendar_trigger_definitions d
    WHERE d.target = unregister_calendar_trigger.target AND d.name = unregister_calendar_trigger.name;
    RETURN FOUND;
END
$$;
COMMENT ON FUNCTION byoc.unregister_calendar_trigger(regclass, name) IS 'Internal: removes a definition for the table''s owner; false when there was none.';

-- search_path is a parameter because its default is evaluated for the caller, before the function's own is set.
CREATE FUNCTION byoc.create_calendar_trigger(target regclass, summary text, starts_at text, ends_at text DEFAULT NULL, attendees text DEFAULT NULL,
                                             time_zone text DEFAULT 'UTC', description text DEFAULT NULL, location text DEFAULT NULL,
                                             recurrence text DEFAULT NULL, duration interval DEFAULT '1 hour', org_id text DEFAULT 'org_id',
                                             condition text DEFAULT NULL, name text DEFAULT NULL, on_error text DEFAULT 'record',
                                             send_updates text DEFAULT 'all',
                                             search_path text DEFAULT pg_catalog.current_setting('search_path')) RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY INVOKER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    trigger_name CONSTANT name := coalesce(name::name, byoc.free_trigger_name(target, 'byoc_calendar'));
    key_columns text[];
    place record;
BEGIN
    IF target IS NULL OR summary IS NULL OR starts_at IS NULL OR time_zone IS NULL OR org_id IS NULL THEN
        RAISE EXCEPTION 'target, summary, starts_at, time_zone and org_id must not be null' USING ERRCODE = 'null_value_not_allowed';
    ELSIF send_updates IS NULL OR send_updates NOT IN ('all', 'externalOnly', 'none') THEN
        RAISE EXCEPTION 'send_updates must be all, externalOnly or none, not "%"', send_updates USING ERRCODE = 'invalid_parameter_value';
    ELSIF ends_at IS NULL AND (duration IS NULL OR duration <= interval '0') THEN
        RAISE EXCEPTION 'duration must be more than 0 where no column ends_at is named' USING ERRCODE = 'invalid_parameter_value';
    ELSIF time_zone !~ '\{\{' AND NOT byoc.is_time_zone(time_zone) THEN
        RAISE EXCEPTION 'time_zone "%" is no IANA time zone', time_zone
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Such as Europe/Berlin, or a template: {{time_zone}}, {{org.time_zone}}.';
    END IF;
    PERFORM byoc.require_on_error(on_error, 'event');
    PERFORM byoc.rehearse_row_trigger(target, ARRAY['summary', 'description', 'location', 'attendees', 'time_zone', 'recurrence'],
                                      ARRAY[summary, description, location, attendees, time_zone, recurrence], org_id, condition, search_path);
    FOR place IN SELECT p.what, p.column_name, format_type(a.atttypid, NULL) AS kind
                 FROM (VALUES ('starts_at', starts_at), ('ends_at', ends_at)) AS p (what, column_name)
                 LEFT JOIN pg_attribute a ON a.attrelid = target AND a.attname = p.column_name AND a.attnum > 0 AND NOT a.attisdropped
                 WHERE p.column_name IS NOT NULL LOOP
        IF place.kind IS NULL THEN
            RAISE EXCEPTION 'table % has no column "%" for %', target, place.column_name, place.what USING ERRCODE = 'undefined_column';
        ELSIF place.kind NOT IN ('timestamp with time zone', 'timestamp without time zone', 'date') THEN
            RAISE EXCEPTION 'column "%" is %, and must be a time or a date', place.column_name, place.kind USING ERRCODE = 'datatype_mismatch';
        END IF;
    END LOOP;
    SELECT array_agg(a.attname ORDER BY k.n) INTO key_columns
    FROM pg_index i CROSS JOIN unnest(i.indkey::smallint[]) WITH ORDINALITY AS k (number, n)
    JOIN pg_attribute a ON a.attrelid = target AND a.attnum = k.number
    WHERE i.indrelid = target AND i.indisprimary;
    IF key_columns IS NULL THEN
        RAISE EXCEPTION 'table % has no primary key, by which an event follows its row', target USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    PERFORM byoc.register_calendar_trigger(jsonb_build_object(
        'target', target::oid, 'name', trigger_name, 'summary', summary, 'starts_at', starts_at, 'ends_at', ends_at, 'duration', duration,
        'attendees', attendees, 'time_zone', time_zone, 'description', description, 'location', location, 'recurrence', recurrence,
        'send_updates', send_updates, 'org_column', org_id, 'key_columns', key_columns, 'condition', condition, 'on_error', on_error,
        'search_path', search_path));
    EXECUTE format('CREATE TRIGGER %I AFTER INSERT OR UPDATE OR DELETE ON %s FOR EACH ROW EXECUTE FUNCTION byoc.follow_row_trigger()', trigger_name, target);
    RETURN trigger_name;
END
$$;
COMMENT ON FUNCTION byoc.create_calendar_trigger(regclass, text, text, text, text, text, text, text, text, interval, text, text, text, text, text, text) IS
    'Makes a trigger by which a calendar event follows each row: it comes with the row, changes with it and goes with it, and stands while condition (over NEW '
    'and OLD) is true. starts_at and ends_at are columns (of type date: whole days), duration counts where there is no ends_at; the other parts are templates as for '
    'byoc.create_sms_trigger, attendees e-mail addresses separated by commas, recurrence RRULE lines separated by blanks. Everything is checked now. A bad row becomes '
    'a failed event, or an error with on_error => ''raise''. Needs the table''s TRIGGER privilege and a primary key; returns the trigger''s name.';

CREATE FUNCTION byoc.drop_calendar_trigger(target regclass, name text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY INVOKER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NOT byoc.unregister_calendar_trigger(target, name) THEN
        RAISE EXCEPTION 'table % has no calendar trigger "%"', target, name
            USING ERRCODE = 'undefined_object', HINT = 'byoc.calendar_triggers lists them.';
    END IF;
    EXECUTE format('DROP TRIGGER IF EXISTS %I ON %s', name, target);
END
$$;
COMMENT ON FUNCTION byoc.drop_calendar_trigger(regclass, text) IS 'Drops a trigger made by byoc.create_calendar_trigger; events stay in their calendars.';

CREATE VIEW byoc.calendar_triggers AS
SELECT d.target, d.name::text AS name, d.summary, d.starts_at, d.ends_at, d.duration, d.attendees, d.time_zone, d.description, d.location, d.recurrence,
       d.send_updates, d.org_column AS org_id, d.condition, d.on_error, d.created_by::text AS created_by, d.created_at
FROM byoc.calendar_trigger_definitions d
JOIN pg_trigger t ON t.tgrelid = d.target AND t.tgname = d.name
WHERE has_table_privilege(d.target, 'SELECT, TRIGGER');
COMMENT ON VIEW byoc.calendar_triggers IS 'Triggers made by byoc.create_calendar_trigger on tables that the current role can read or put triggers on.';
COMMENT ON COLUMN byoc.calendar_triggers.target IS 'Table that it is on.';
COMMENT ON COLUMN byoc.calendar_triggers.name IS 'The trigger''s name.';
COMMENT ON COLUMN byoc.calendar_triggers.summary IS 'Template.';
COMMENT ON COLUMN byoc.calendar_triggers.starts_at IS 'Column with the beginning; of type date: whole days.';
COMMENT ON COLUMN byoc.calendar_triggers.ends_at IS 'Column with the end; NULL: duration counts.';
COMMENT ON COLUMN byoc.calendar_triggers.duration IS 'How long an event lasts where there is no ends_at.';
COMMENT ON COLUMN byoc.calendar_triggers.attendees IS 'Template: e-mail addresses, separated by commas.';
COMMENT ON COLUMN byoc.calendar_triggers.time_zone IS 'Template: an IANA zone.';
COMMENT ON COLUMN byoc.calendar_triggers.description IS 'Template.';
COMMENT ON COLUMN byoc.calendar_triggers.location IS 'Template.';
COMMENT ON COLUMN byoc.calendar_triggers.recurrence IS 'Template: RRULE lines, separated by blanks.';
COMMENT ON COLUMN byoc.calendar_triggers.send_updates IS 'Whom the provider writes to: all attendees, externalOnly or none.';
COMMENT ON COLUMN byoc.calendar_triggers.org_id IS 'Column of the table that holds a row''s organization.';
COMMENT ON COLUMN byoc.calendar_triggers.condition IS 'SQL over NEW and OLD, true for the rows that count; NULL: all of them.';
COMMENT ON COLUMN byoc.calendar_triggers.on_error IS 'record: a bad row becomes a failed event. raise: it is an error.';
COMMENT ON COLUMN byoc.calendar_triggers.created_by IS 'Database role that made it.';
COMMENT ON COLUMN byoc.calendar_triggers.created_at IS 'When it was made.';
