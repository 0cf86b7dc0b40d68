-- Which database this is: a restored or copied one must not start texting by itself.

CREATE TABLE byoc.installation (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    system_identifier bigint NOT NULL,
    database_oid oid NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE byoc.installation IS
    'The database that these tables belong to. It is dumped, so a restored copy holds the row of its origin beside its own and is recognized.';
ALTER TABLE byoc.installation ENABLE ROW LEVEL SECURITY;
SELECT pg_extension_config_dump('byoc.installation', '');

CREATE FUNCTION byoc.record_installation() RETURNS void
LANGUAGE sql VOLATILE
BEGIN ATOMIC
    INSERT INTO byoc.installation (system_identifier, database_oid)
    SELECT s.system_identifier, d.oid FROM pg_control_system() AS s, pg_database AS d WHERE d.datname = current_database();
END;
COMMENT ON FUNCTION byoc.record_installation() IS 'Internal: notes that these tables belong to this database.';
SELECT byoc.record_installation();

CREATE FUNCTION byoc.is_adopted() RETURNS boolean
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT count(*) = 1 AND bool_and(i.system_identifier = s.system_identifier AND i.database_oid = d.oid)
    FROM byoc.installation i, pg_control_system() AS s, pg_database AS d
    WHERE d.datname = current_database();
END;
COMMENT ON FUNCTION byoc.is_adopted() IS 'Internal: false in a database that came from another one by restore or copy.';

CREATE FUNCTION byoc.adopt_installation() RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    paused bigint;
BEGIN
    IF byoc.is_adopted() THEN
        RETURN 0;
    END IF;
    LOCK TABLE byoc.queue, byoc.schedule, byoc.messages, byoc.calls IN SHARE ROW EXCLUSIVE MODE;
    -- What came along is paused: kept among the messages, without a job.
    WITH unsent AS (
        DELETE FROM byoc.schedule s
        RETURNING s.org_id, s.id, s.to_number, s.body, s.segments, s.credential_id, s.attempts, s.source_table, s.idempotency_key, s.created_at, s.send_at, s.expires_at
    ), queued AS (
        DELETE FROM byoc.queue q
        RETURNING q.org_id, q.id, q.to_number, q.body, q.segments, q.credential_id, q.attempts, q.source_table, q.idempotency_key, q.created_at, q.send_at, q.expires_at
    ), stored AS (
        INSERT INTO byoc.messages (org_id, id, to_number, body, segments, credential_id, attempts, source_table, idempotency_key, created_at, send_at, expires_at, status)
        SELECT u.*, 'queued' FROM (TABLE unsent UNION ALL TABLE queued) AS u
        RETURNING 1
    )
    SELECT count(*) INTO paused FROM stored;
    -- What its origin was sending may have been sent: a person decides.
    WITH unsure AS (
        UPDATE byoc.messages m
        SET status = 'unknown', claim_id = NULL, finished_at = clock_timestamp(), error_code = 'restored',
            error_message = 'it was being sent when the copy was made'
        WHERE m.status = 'sending'
        RETURNING m.org_id, m.id
    )
    INSERT INTO byoc.unknown_messages (org_id, message_id) SELECT u.org_id, u.id FROM unsure u ON CONFLICT DO NOTHING;
    WITH waiting AS (
        UPDATE byoc.calls c SET status = 'paused', due_at = NULL, claim_id = NULL WHERE c.due_at IS NOT NULL RETURNING 1
    )
    SELECT paused + count(*) INTO paused FROM waiting;
    DELETE FROM byoc.call_breakers;
    DELETE FROM byoc.claims;
    DELETE FROM byoc.reconciliations;
    DELETE FROM byoc.receipt_watches;
    DELETE FROM byoc.status_checks;
    DELETE FROM byoc.lanes;
    DELETE FROM byoc.oauth_states;
    DELETE FROM byoc.provider_revocations;
    PERFORM byoc.take_lanes();
    DELETE FROM byoc.installation;
    PERFORM byoc.record_installation();
    PERFORM byoc.close_types();
    PERFORM byoc.audit_if_possible('installation.adopted', jsonb_build_object('paused', paused));
    RETURN paused;
END
$$;
COMMENT ON FUNCTION byoc.adopt_installation() IS
    'After a restore or copy: makes this database the one that sends. Messages and calls it came with stay paused until byoc.resume_restored(); '
    'returns how many. Make sure that the origin does not send any more.';

CREATE FUNCTION byoc.resume_restored(org_id uuid DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    resumed bigint;
BEGIN
    SELECT count(*) INTO resumed FROM byoc.messages m
    WHERE m.status = 'queued' AND (org_id IS NULL OR m.org_id = resume_restored.org_id)
      AND byoc.requeue(m.org_id, m.id, ARRAY['queued'], 'resumed');
    WITH due AS (
        UPDATE byoc.calls c SET status = 'available', due_at = greatest(clock_timestamp(), c.send_at), retry_until = NULL
        WHERE c.status = 'paused' AND (org_id IS NULL OR c.org_id = resume_restored.org_id)
        RETURNING c.org_id
    )
    SELECT resumed + count(byoc.wake_dispatcher(d.org_id)) INTO resumed FROM due d;
    IF resumed > 0 THEN
        PERFORM byoc.audit(org_id, 'messages.resumed', NULL, jsonb_build_object('count', resumed));
    END IF;
    RETURN resumed;
END
$$;
COMMENT ON FUNCTION byoc.resume_restored(uuid) IS
    'Makes jobs of the paused messages and calls that a restored database came with, of one organization or of all; returns how many.';
