\echo Use "ALTER EXTENSION pg_byoc UPDATE TO '0.1.0'" to load this file. \quit

SELECT pg_catalog.set_config('pg_byoc.existing', coalesce(array_agg(o.class || ' ' || o.oid), '{}')::text, true)
FROM pg_catalog.pg_namespace n,
     LATERAL (SELECT n.tableoid::regclass AS class, n.oid
              UNION ALL SELECT p.tableoid, p.oid FROM pg_catalog.pg_proc p WHERE p.pronamespace = n.oid
              UNION ALL SELECT c.tableoid, c.oid FROM pg_catalog.pg_class c WHERE c.relnamespace = n.oid
              UNION ALL SELECT t.tableoid, t.oid FROM pg_catalog.pg_type t WHERE t.typnamespace = n.oid) AS o
WHERE n.nspname = 'byoc';

-- By hand: what cannot be derived, such as changes of tables. Nothing that is named here is derived below.

-- Derived by `make upgrade-scripts`: change the files in sql/ instead.

DO $$
BEGIN
    IF pg_catalog.getdatabaseencoding() <> 'UTF8' THEN
        RAISE EXCEPTION 'pg_byoc needs a database with encoding UTF8, this one has %', pg_catalog.getdatabaseencoding()
            USING ERRCODE = 'feature_not_supported';
    END IF;
END
$$;

CREATE OR REPLACE FUNCTION byoc.adopt_installation() RETURNS bigint
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
    PERFORM byoc.audit_if_possible('installation.adopted', jsonb_build_object('paused', paused));
    RETURN paused;
END
$$;

DO $$
DECLARE
    shared record;
BEGIN
    FOR shared IN
        SELECT a.attname, col_description(a.attrelid, a.attnum) AS meaning FROM pg_catalog.pg_attribute a
        WHERE a.attrelid = 'byoc.credentials'::regclass AND a.attnum > 0 AND NOT a.attisdropped AND a.attname <> 'fields'
    LOOP
        EXECUTE format('COMMENT ON COLUMN byoc.decrypted_credentials.%I IS %L', shared.attname, shared.meaning);
    END LOOP;
END
$$;

DO $$
DECLARE
    storage record;
BEGIN
    FOR storage IN
        SELECT a.attrelid::regclass AS relation, string_agg(format('ALTER COLUMN %I SET STATISTICS 0', a.attname), ', ') AS changes
        FROM pg_catalog.pg_attribute a
        WHERE a.attnum > 0 AND NOT a.attisdropped AND a.attrelid IN ('byoc.organizations'::regclass, 'byoc.organization_api_credentials'::regclass,
            'byoc.messages'::regclass, 'byoc.message_events'::regclass, 'byoc.queue'::regclass, 'byoc.schedule'::regclass,
            'byoc.inbound_messages'::regclass, 'byoc.opt_outs'::regclass, 'byoc.calls'::regclass,
            'byoc.calendar_entries'::regclass)
        GROUP BY a.attrelid
    LOOP
        EXECUTE format('ALTER TABLE %s %s', storage.relation, storage.changes);
    END LOOP;
END
$$;

DO $$
DECLARE
    existing text[] := current_setting('pg_byoc.existing');
    opened record;
BEGIN
    FOR opened IN
        WITH object (id, kind, name, owner, acl) AS (
            SELECT n.tableoid::regclass || ' ' || n.oid, 'SCHEMA', n.nspname::text, n.nspowner, n.nspacl FROM pg_catalog.pg_namespace n WHERE n.nspname = 'byoc'
            UNION ALL
            SELECT p.tableoid::regclass || ' ' || p.oid, 'FUNCTION', p.oid::regprocedure::text, p.proowner, coalesce(p.proacl, acldefault('f', p.proowner))
            FROM pg_catalog.pg_proc p WHERE p.pronamespace = 'byoc'::regnamespace
            UNION ALL
            SELECT c.tableoid::regclass || ' ' || c.oid, 'TABLE', c.oid::regclass::text, c.relowner, c.relacl
            FROM pg_catalog.pg_class c WHERE c.relnamespace = 'byoc'::regnamespace AND c.relkind IN ('r', 'v')
            UNION ALL
            SELECT t.tableoid::regclass || ' ' || t.oid, 'TYPE', t.oid::regtype::text, t.typowner, coalesce(t.typacl, acldefault('T', t.typowner))
            FROM pg_catalog.pg_type t WHERE t.typnamespace = 'byoc'::regnamespace AND t.typcategory <> 'A'
        )
        SELECT DISTINCT o.kind, o.name, CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END AS grantee
        FROM object o, aclexplode(o.acl) AS a WHERE a.grantee <> o.owner AND o.id <> ALL (existing)
    LOOP
        EXECUTE format('REVOKE ALL ON %s %s FROM %s', opened.kind, opened.name, opened.grantee);
    END LOOP;
END
$$;

DROP FUNCTION byoc.close_types();

DROP FUNCTION byoc.renew_grants();
