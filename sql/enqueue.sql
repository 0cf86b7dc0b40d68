-- Putting messages into the queue: byoc.send_sms, and triggers on application tables.

CREATE FUNCTION byoc.enqueue_sms(org_id uuid, to_number text, body text, credential_id uuid, send_at timestamptz,
                                 expires_at timestamptz, idempotency_key text) RETURNS uuid
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'byoc_enqueue_sms';
COMMENT ON FUNCTION byoc.enqueue_sms(uuid, text, text, uuid, timestamptz, timestamptz, text) IS
    'Internal: queues or schedules a message. Raises 22023 for one that cannot be sent. No access check.';

CREATE FUNCTION byoc.send_sms(to_number text, body text, send_at timestamptz DEFAULT now(), credential_id uuid DEFAULT NULL,
                              idempotency_key text DEFAULT NULL, expires_at timestamptz DEFAULT NULL,
                              org_id uuid DEFAULT byoc.current_org_id()) RETURNS uuid
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    message_id uuid;
BEGIN
    PERFORM byoc.require_organization(org_id);
    IF NOT EXISTS (SELECT FROM byoc.organizations o WHERE o.id = org_id AND o.shredded_at IS NULL) THEN
        IF EXISTS (SELECT FROM byoc.organizations o WHERE o.id = org_id) THEN
            RAISE EXCEPTION 'organization % was shredded', org_id USING ERRCODE = 'object_not_in_prerequisite_state';
        END IF;
        RAISE EXCEPTION 'organization % does not exist', org_id USING ERRCODE = 'foreign_key_violation';
    END IF;
    IF credential_id IS NOT NULL AND NOT EXISTS (
        SELECT FROM byoc.organization_api_credentials c
        WHERE c.org_id = send_sms.org_id AND c.id = send_sms.credential_id AND c.credential_type = 'twilio' AND c.is_active) THEN
        RAISE EXCEPTION 'credential % is not an active twilio credential of the organization', credential_id
            USING ERRCODE = 'invalid_parameter_value', HINT = 'byoc.credentials lists them; NULL means the default one.';
    END IF;
    IF expires_at <= greatest(send_at, now()) THEN
        RAISE EXCEPTION 'expires_at must be after send_at and in the future' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF idempotency_key IS NOT NULL THEN
        IF length(idempotency_key) NOT BETWEEN 1 AND 255 THEN
            RAISE EXCEPTION 'idempotency_key must have 1 to 255 characters' USING ERRCODE = 'invalid_parameter_value';
        END IF;
        -- Waits for a concurrent sender with the same key, then finds its message.
        INSERT INTO byoc.idempotency_keys AS k (org_id, key) VALUES (send_sms.org_id, send_sms.idempotency_key) ON CONFLICT DO NOTHING;
        IF NOT FOUND THEN
            SELECT k.message_id INTO message_id FROM byoc.idempotency_keys k
            WHERE k.org_id = send_sms.org_id AND k.key = send_sms.idempotency_key;
            RETURN message_id;
        END IF;
    END IF;
    message_id := byoc.enqueue_sms(org_id, to_number, body, credential_id, nullif(send_at, now()), nullif(expires_at, 'infinity'),
                                    idempotency_key);
    IF idempotency_key IS NOT NULL THEN
        UPDATE byoc.idempotency_keys k SET message_id = message_id
        WHERE k.org_id = send_sms.org_id AND k.key = send_sms.idempotency_key;
    END IF;
    RETURN message_id;
END
$$;
COMMENT ON FUNCTION byoc.send_sms(text, text, timestamptz, uuid, text, timestamptz, uuid) IS
    'Queues an SMS in this transaction and returns its id. to_number is E.164, body has at most 1,600 characters; send_at in the future '
    'schedules it; not sent after expires_at. The same idempotency_key of an organization returns the first message''s id.';

-- Triggers on application tables. extension/sms_trigger.cpp reads the first eight columns by position.

CREATE TABLE byoc.sms_trigger_definitions (
    target regclass NOT NULL,
    name name NOT NULL,
    to_number text NOT NULL,
    body text NOT NULL,
    org_column text NOT NULL,
    condition text,
    on_error text NOT NULL CHECK (on_error IN ('record', 'raise')),
    search_path text NOT NULL,
    created_by name NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (target, name)
);
COMMENT ON TABLE byoc.sms_trigger_definitions IS 'What the triggers made by byoc.create_sms_trigger do.';
COMMENT ON COLUMN byoc.sms_trigger_definitions.search_path IS 'Search path of its creator, for the names in condition.';
ALTER TABLE byoc.sms_trigger_definitions ENABLE ROW LEVEL SECURITY;
-- A definition whose trigger was dropped without byoc.drop_sms_trigger is not dumped, and goes when the next one is made.
SELECT pg_extension_config_dump('byoc.sms_trigger_definitions',
    'WHERE EXISTS (SELECT FROM pg_catalog.pg_trigger t WHERE t.tgrelid = target AND t.tgname = name)');

CREATE FUNCTION byoc.enqueue_sms_trigger() RETURNS trigger
LANGUAGE c AS 'MODULE_PATHNAME', 'byoc_enqueue_sms_trigger';
COMMENT ON FUNCTION byoc.enqueue_sms_trigger() IS 'Row trigger made by byoc.create_sms_trigger; its definition is found by table and name.';

CREATE FUNCTION byoc.rehearse_sms_trigger(target regclass, to_number text, body text, org_column text, condition text,
                                          search_path text) RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'byoc_rehearse_sms_trigger';
COMMENT ON FUNCTION byoc.rehearse_sms_trigger(regclass, text, text, text, text, text) IS
    'Internal: raises what would be wrong with such a trigger, before it exists.';

CREATE FUNCTION byoc.register_sms_trigger(target regclass, name name, to_number text, body text, org_column text, condition text,
                                          on_error text, search_path text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM byoc.require_new_trigger(target, name);
    PERFORM byoc.forget_trigger_definitions(target, name);
    INSERT INTO byoc.sms_trigger_definitions
        (target, name, to_number, body, org_column, condition, on_error, search_path, created_by)
    VALUES (register_sms_trigger.target, register_sms_trigger.name, register_sms_trigger.to_number, register_sms_trigger.body,
            register_sms_trigger.org_column, register_sms_trigger.condition, register_sms_trigger.on_error,
            register_sms_trigger.search_path, byoc.invoking_role()::text);
END
$$;
COMMENT ON FUNCTION byoc.register_sms_trigger(regclass, name, text, text, text, text, text, text) IS
    'Internal: stores the definition of a trigger that is about to be created, for whoever may create triggers on the table.';

CREATE FUNCTION byoc.unregister_sms_trigger(target regclass, name name) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM byoc.require_table_owner(target);
    DELETE FROM byoc.sms_trigger_definitions d
    WHERE d.target = unregister_sms_trigger.target AND d.name = unregister_sms_trigger.name;
    RETURN FOUND;
END
$$;
COMMENT ON FUNCTION byoc.unregister_sms_trigger(regclass, name) IS 'Internal: removes a definition for the table''s owner; false when there was none.';

-- search_path is a parameter because its default is evaluated for the caller, before the function's own is set.
CREATE FUNCTION byoc.create_sms_trigger(target regclass, to_number text, body text, org_id text DEFAULT 'org_id',
                                        condition text DEFAULT NULL, events text DEFAULT 'INSERT', name text DEFAULT NULL,
                                        on_error text DEFAULT 'record',
                                        search_path text DEFAULT pg_catalog.current_setting('search_path')) RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY INVOKER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    trigger_name CONSTANT name := coalesce(name::name, byoc.free_trigger_name(target, 'byoc_sms'));
BEGIN
    IF target IS NULL OR to_number IS NULL OR body IS NULL OR org_id IS NULL THEN
        RAISE EXCEPTION 'target, to_number, body and org_id must not be null' USING ERRCODE = 'null_value_not_allowed';
    END IF;
    PERFORM byoc.require_on_error(on_error, 'message');
    PERFORM byoc.rehearse_sms_trigger(target, to_number, body, org_id, condition, search_path);
    PERFORM byoc.register_sms_trigger(target, trigger_name, to_number, body, org_id, condition, on_error, search_path);
    EXECUTE format('CREATE TRIGGER %I AFTER %s ON %s FOR EACH ROW EXECUTE FUNCTION byoc.enqueue_sms_trigger()',
                   trigger_name, byoc.trigger_events_clause(events), target);
    RETURN trigger_name;
END
$$;
COMMENT ON FUNCTION byoc.create_sms_trigger(regclass, text, text, text, text, text, text, text, text) IS
    'Makes a trigger that queues an SMS for a row. to_number and body are templates: {{column}}, {{org.setting}}, filters '
    '{{c|default:"text"}} and {{c|truncate:80}}. condition is a boolean expression over NEW and OLD, its names found by search_path. '
    'Everything is checked now. A bad row becomes a failed message, or an error with on_error => ''raise''. Needs the table''s TRIGGER '
    'privilege; returns the trigger''s name.';

CREATE FUNCTION byoc.drop_sms_trigger(target regclass, name text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY INVOKER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NOT byoc.unregister_sms_trigger(target, name) THEN
        RAISE EXCEPTION 'table % has no SMS trigger "%"', target, name
            USING ERRCODE = 'undefined_object', HINT = 'byoc.sms_triggers lists them.';
    END IF;
    EXECUTE format('DROP TRIGGER IF EXISTS %I ON %s', name, target);
END
$$;
COMMENT ON FUNCTION byoc.drop_sms_trigger(regclass, text) IS 'Drops a trigger made by byoc.create_sms_trigger.';
