-- What all triggers have in common that an application puts on its own tables (byoc.create_sms_trigger and its like).

CREATE FUNCTION byoc.require_new_trigger(target regclass, name name) RETURNS void
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF has_table_privilege(byoc.invoking_role()::oid, target, 'TRIGGER') IS NOT TRUE THEN
        RAISE EXCEPTION 'permission denied to define triggers on %', target USING ERRCODE = 'insufficient_privilege';
    END IF;
    -- TRIGGER lets a role add to another's table, never change what its owner or others put there.
    IF EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = target AND t.tgname = require_new_trigger.name) THEN
        RAISE EXCEPTION 'trigger "%" of % exists already', name, target USING ERRCODE = 'duplicate_object';
    END IF;
END
$$;
COMMENT ON FUNCTION byoc.require_new_trigger(regclass, name) IS
    'Internal: raises 42501 unless the invoking role may create triggers on the table, 42710 when it has one of that name.';

CREATE FUNCTION byoc.forget_trigger_definitions(target regclass, name name) RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    definitions regclass;
BEGIN
    FOREACH definitions IN ARRAY '{byoc.sms_trigger_definitions,byoc.calendar_trigger_definitions,byoc.webhook_trigger_definitions}'::regclass[] LOOP
        EXECUTE format('DELETE FROM %s d WHERE NOT EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = d.target AND t.tgname = d.name) '
                       'OR (d.target = $1 AND d.name = $2)', definitions) USING target, name;
    END LOOP;
END
$$;
COMMENT ON FUNCTION byoc.forget_trigger_definitions(regclass, name) IS
    'Internal: deletes definitions of any kind whose trigger was dropped without us, and those that a new trigger of this name would be taken for.';

CREATE FUNCTION byoc.require_table_owner(target regclass) RETURNS void
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = target AND pg_has_role(byoc.invoking_role()::oid, c.relowner, 'USAGE')) THEN
        RAISE EXCEPTION 'must be owner of table %', target USING ERRCODE = 'insufficient_privilege';
    END IF;
END
$$;
COMMENT ON FUNCTION byoc.require_table_owner(regclass) IS 'Internal: raises 42501 unless the invoking role owns the table.';

CREATE FUNCTION byoc.require_on_error(on_error text, failed text) RETURNS void
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF on_error IS NULL OR on_error NOT IN ('record', 'raise') THEN
        RAISE EXCEPTION 'on_error must be record or raise, not "%"', on_error
            USING ERRCODE = 'invalid_parameter_value', HINT = format('record: a bad row becomes a failed %s. raise: it aborts the statement.', failed);
    END IF;
END
$$;
COMMENT ON FUNCTION byoc.require_on_error(text, text) IS 'Internal: raises 22023 unless on_error is record or raise. failed: what a bad row becomes.';

CREATE FUNCTION byoc.free_trigger_name(target regclass, prefix text) RETURNS name
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT format('%s_%s', prefix, n)::name FROM generate_series(1, 1 + (SELECT count(*) FROM pg_trigger t WHERE t.tgrelid = target)) AS n
    WHERE NOT EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = target AND t.tgname = format('%s_%s', prefix, n))
    ORDER BY n LIMIT 1;
$$;
COMMENT ON FUNCTION byoc.free_trigger_name(regclass, text) IS 'Internal: prefix_1, or the first number after it that no trigger of the table has.';

-- Turns 'INSERT OR UPDATE OF status, score' into the clause of CREATE TRIGGER, with every word checked.
CREATE FUNCTION byoc.trigger_events_clause(events text) RETURNS text
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    event text;
    columns text[];
    clauses text[] := '{}';
BEGIN
    FOREACH event IN ARRAY regexp_split_to_array(btrim(events), '[[:space:]]+or[[:space:]]+', 'i') LOOP
        columns := regexp_match(event, '^update[[:space:]]+of[[:space:]]+(.+)$', 'i');
        IF columns IS NOT NULL THEN
            clauses := clauses || ('UPDATE OF ' || (SELECT string_agg(quote_ident((parse_ident(c))[1]), ', ')
                                                    FROM regexp_split_to_table(columns[1], ',') AS c));
        ELSIF lower(event) IN ('insert', 'update', 'delete') THEN
            clauses := clauses || upper(event);
        ELSE
            RAISE EXCEPTION 'unknown trigger event "%"', event
                USING ERRCODE = 'invalid_parameter_value',
                      HINT = 'Events are INSERT, UPDATE, UPDATE OF column, ... and DELETE, joined by OR.';
        END IF;
    END LOOP;
    RETURN array_to_string(clauses, ' OR ');
END
$$;
COMMENT ON FUNCTION byoc.trigger_events_clause(text) IS 'Internal: the events clause of CREATE TRIGGER, every word checked.';
