-- Webhook events made of the rows of an application's table. extension/row_trigger.cpp reads a row with the rights of who changes
-- it; what becomes of it is decided here.

CREATE TABLE byoc.webhook_trigger_definitions (
    target regclass NOT NULL,
    name name NOT NULL,
    event_type text NOT NULL,
    columns text[],
    org_column text NOT NULL,
    condition text,
    on_error text NOT NULL CHECK (on_error IN ('record', 'raise')),
    search_path text NOT NULL,
    created_by name NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (target, name)
);
COMMENT ON TABLE byoc.webhook_trigger_definitions IS 'What the triggers made by byoc.create_webhook_trigger do.';
COMMENT ON COLUMN byoc.webhook_trigger_definitions.columns IS 'What of the row is sent; NULL: all of it.';
COMMENT ON COLUMN byoc.webhook_trigger_definitions.search_path IS 'Search path of its creator, for the names in condition.';
ALTER TABLE byoc.webhook_trigger_definitions ENABLE ROW LEVEL SECURITY;
SELECT pg_extension_config_dump('byoc.webhook_trigger_definitions',
    'WHERE EXISTS (SELECT FROM pg_catalog.pg_trigger t WHERE t.tgrelid = target AND t.tgname = name)');

CREATE FUNCTION byoc.follow_webhook_row(definition byoc.webhook_trigger_definitions, source text, org_id uuid, image jsonb, failure text) RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    payload CONSTANT jsonb := CASE WHEN definition.columns IS NULL THEN image
        ELSE (SELECT jsonb_object_agg(c, image -> c) FROM unnest(definition.columns) AS c) END;
    problem CONSTANT text := CASE
        WHEN failure IS NOT NULL THEN failure
        WHEN org_id IS NULL THEN 'the row names no organization'
        WHEN NOT EXISTS (SELECT FROM byoc.organizations o WHERE o.id = follow_webhook_row.org_id AND o.shredded_at IS NULL)
        THEN 'the organization does not exist or was shredded'
        ELSE byoc.webhook_problem(definition.event_type, payload) END;
    id CONSTANT uuid := byoc.uuid_v7();
BEGIN
    IF problem IS NULL THEN
        PERFORM byoc.enqueue_call(org_id, 'webhook', 'event', byoc.webhook_body(definition.event_type, payload), source_table => source, id => id);
    ELSIF definition.on_error = 'raise' THEN
        RAISE EXCEPTION 'no webhook event can be made of this row: %', problem
            USING ERRCODE = 'invalid_parameter_value', HINT = 'The trigger was created with on_error => ''raise''.';
    ELSE
        INSERT INTO byoc.calls (org_id, id, credential_type, credential_id, operation, subject, revision, payload, status, due_at, error_code, error_message,
                                source_table, finished_at)
        VALUES (coalesce(follow_webhook_row.org_id, '00000000-0000-0000-0000-000000000000'), id, 'webhook', '00000000-0000-0000-0000-000000000000',
                'event', id, 1, byoc.webhook_body(definition.event_type, NULL), 'discarded', NULL, 'refused_row', problem, source, clock_timestamp());
    END IF;
END
$$;
COMMENT ON FUNCTION byoc.follow_webhook_row(byoc.webhook_trigger_definitions, text, uuid, jsonb, text) IS
    'Internal: makes the event of a row that met the condition. failure: it could not be read.';

CREATE FUNCTION byoc.register_webhook_trigger(target regclass, name name, event_type text, columns text[], org_column text, condition text,
                                              on_error text, search_path text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM byoc.require_new_trigger(target, name);
    PERFORM byoc.forget_trigger_definitions(target, name);
    INSERT INTO byoc.webhook_trigger_definitions (target, name, event_type, columns, org_column, condition, on_error, search_path, created_by)
    VALUES (register_webhook_trigger.target, register_webhook_trigger.name, register_webhook_trigger.event_type, register_webhook_trigger.columns,
            register_webhook_trigger.org_column, register_webhook_trigger.condition, register_webhook_trigger.on_error,
            register_webhook_trigger.search_path, byoc.invoking_role()::text);
END
$$;
COMMENT ON FUNCTION byoc.register_webhook_trigger(regclass, name, text, text[], text, text, text, text) IS
    'Internal: stores the definition of a trigger that is about to be created, for whoever may create triggers on the table.';

CREATE FUNCTION byoc.unregister_webhook_trigger(target regclass, name name) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM byoc.require_table_owner(target);
    DELETE FROM byoc.webhook_trigger_definitions d
    WHERE d.target = unregister_webhook_trigger.target AND d.name = unregister_webhook_trigger.name;
    RETURN FOUND;
END
$$;
COMMENT ON FUNCTION byoc.unregister_webhook_trigger(regclass, name) IS 'Internal: removes a definition for the table''s owner; false when there was none.';

-- search_path is a parameter because its default is evaluated for the caller, before the function's own is set.
CREATE FUNCTION byoc.create_webhook_trigger(target regclass, event_type text, columns text[] DEFAULT NULL, org_id text DEFAULT 'org_id',
                                            condition text DEFAULT NULL, events text DEFAULT 'INSERT', name text DEFAULT NULL,
                                            on_error text DEFAULT 'record',
                                            search_path text DEFAULT pg_catalog.current_setting('search_path')) RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY INVOKER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    trigger_name CONSTANT name := coalesce(name::name, byoc.free_trigger_name(target, 'byoc_webhook'));
    problem CONSTANT text := byoc.webhook_problem(event_type, '{}');
    missing text;
BEGIN
    IF target IS NULL OR org_id IS NULL THEN
        RAISE EXCEPTION 'target and org_id must not be null' USING ERRCODE = 'null_value_not_allowed';
    ELSIF problem IS NOT NULL THEN
        RAISE EXCEPTION '%', problem USING ERRCODE = 'invalid_parameter_value';
    ELSIF columns = '{}' THEN
        RAISE EXCEPTION 'columns must name at least one column' USING ERRCODE = 'invalid_parameter_value', HINT = 'NULL means all.';
    END IF;
    SELECT c INTO missing FROM unnest(columns) AS c
    WHERE NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = target AND a.attname = c AND a.attnum > 0 AND NOT a.attisdropped) LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'table % has no column "%"', target, missing USING ERRCODE = 'undefined_column';
    END IF;
    PERFORM byoc.require_on_error(on_error, 'event');
    PERFORM byoc.rehearse_row_trigger(target, '{}', '{}', org_id, condition, search_path);
    PERFORM byoc.register_webhook_trigger(target, trigger_name, event_type, columns, org_id, condition, on_error, search_path);
    EXECUTE format('CREATE TRIGGER %I AFTER %s ON %s FOR EACH ROW EXECUTE FUNCTION byoc.follow_row_trigger()',
                   trigger_name, byoc.trigger_events_clause(events), target);
    RETURN trigger_name;
END
$$;
COMMENT ON FUNCTION byoc.create_webhook_trigger(regclass, text, text[], text, text, text, text, text, text) IS
    'Makes a trigger that sends an event to the webhook of a row''s organization. Its payload is the row as JSON: the given columns, or all. '
    'condition is a boolean expression over NEW and OLD, its names found by search_path; events as for CREATE TRIGGER. Everything is checked now. A bad row becomes '
    'a failed event, or an error with on_error => ''raise''. Needs the table''s TRIGGER privilege; returns the trigger''s name.';

CREATE FUNCTION byoc.drop_webhook_trigger(target regclass, name text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY INVOKER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NOT byoc.unregister_webhook_trigger(target, name) THEN
        RAISE EXCEPTION 'table % has no webhook trigger "%"', target, name
            USING ERRCODE = 'undefined_object', HINT = 'byoc.webhook_triggers lists them.';
    END IF;
    EXECUTE format('DROP TRIGGER IF EXISTS %I ON %s', name, target);
END
$$;
COMMENT ON FUNCTION byoc.drop_webhook_trigger(regclass, text) IS 'Drops a trigger made by byoc.create_webhook_trigger.';

CREATE VIEW byoc.webhook_triggers AS
SELECT d.target, d.name::text AS name, d.event_type, d.columns, d.org_column AS org_id, d.condition, d.on_error,
       pg_get_triggerdef(t.oid) AS definition, d.created_by::text AS created_by, d.created_at
FROM byoc.webhook_trigger_definitions d
JOIN pg_trigger t ON t.tgrelid = d.target AND t.tgname = d.name
WHERE has_table_privilege(d.target, 'SELECT, TRIGGER');
COMMENT ON VIEW byoc.webhook_triggers IS 'Triggers made by byoc.create_webhook_trigger on tables that the current role can read or put triggers on.';
COMMENT ON COLUMN byoc.webhook_triggers.target IS 'Table that it is on.';
COMMENT ON COLUMN byoc.webhook_triggers.name IS 'The trigger''s name.';
COMMENT ON COLUMN byoc.webhook_triggers.event_type IS 'Type of its events.';
COMMENT ON COLUMN byoc.webhook_triggers.columns IS 'What of the row is sent; NULL: all of it.';
COMMENT ON COLUMN byoc.webhook_triggers.definition IS 'Its CREATE TRIGGER statement.';
COMMENT ON COLUMN byoc.webhook_triggers.org_id IS 'Column of the table that holds a row''s organization.';
COMMENT ON COLUMN byoc.webhook_triggers.condition IS 'SQL over NEW and OLD, true for the rows that count; NULL: all of them.';
COMMENT ON COLUMN byoc.webhook_triggers.on_error IS 'record: a bad row becomes a failed event. raise: it is an error.';
COMMENT ON COLUMN byoc.webhook_triggers.created_by IS 'Database role that made it.';
COMMENT ON COLUMN byoc.webhook_triggers.created_at IS 'When it was made.';
