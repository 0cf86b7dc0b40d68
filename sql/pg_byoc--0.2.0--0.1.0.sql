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

CREATE OR REPLACE FUNCTION byoc.sms_in_range(org_id uuid, low uuid, high uuid, max_count integer)
RETURNS TABLE (id uuid, to_number text, from_number text, body text, status text, provider_sid text, error_code text, error_message text,
               attempts integer, segments integer, source_table text, credential_id uuid, created_at timestamptz, send_at timestamptz,
               expires_at timestamptz, sent_at timestamptz, delivered_at timestamptz, waiting_reason text)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_bitmapscan = off
SET jit = off
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    (SELECT m.id, m.to_number, m.from_number, m.body, m.status::text, m.provider_sid, m.error_code, m.error_message, m.attempts::integer,
            m.segments::integer, m.source_table, m.credential_id, m.created_at, m.send_at, m.expires_at, m.sent_at, m.delivered_at, NULL
     FROM byoc.messages m WHERE m.org_id = sms_in_range.org_id AND m.id BETWEEN low AND high ORDER BY m.id DESC LIMIT max_count)
    UNION ALL
    (SELECT n.id, n.to_number, NULL, n.body, 'queued', NULL, NULL, NULL, n.attempts::integer, NULL, n.source_table, n.credential_id, n.created_at,
            n.send_at, n.expires_at, NULL, NULL,
            (SELECT c.waiting_reason FROM byoc.senders c
             WHERE c.org_id = n.org_id AND (c.id = n.lane OR (c.is_default AND n.credential_id IS NULL)) ORDER BY c.id = n.lane DESC LIMIT 1)
     FROM unnest(byoc.lanes_of(sms_in_range.org_id)) AS l CROSS JOIN LATERAL (
         SELECT * FROM byoc.queue q WHERE q.org_id = sms_in_range.org_id AND q.lane = l AND q.id BETWEEN low AND high
         ORDER BY q.id DESC LIMIT max_count) AS n)
    UNION ALL
    (SELECT s.id, s.to_number, NULL, s.body, CASE WHEN s.attempts = 0 AND s.due_at > clock_timestamp() THEN 'scheduled' ELSE 'queued' END, NULL, NULL,
            NULL, s.attempts::integer, NULL, s.source_table, s.credential_id, s.created_at, s.send_at, s.expires_at, NULL, NULL,
            (SELECT c.waiting_reason FROM byoc.senders c
             WHERE (s.attempts > 0 OR s.due_at <= now()) AND c.org_id = s.org_id
               AND CASE WHEN s.credential_id IS NULL THEN c.is_default ELSE c.id = s.credential_id END)
     FROM byoc.schedule s WHERE s.org_id = sms_in_range.org_id AND s.id BETWEEN low AND high ORDER BY s.id DESC LIMIT max_count)
    ORDER BY 1 DESC LIMIT max_count;
END
$$;

CREATE OR REPLACE FUNCTION byoc.rest_messages(statuses text, search text, page_size text, after text) RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    own CONSTANT uuid := byoc.current_org_id();
    size CONSTANT integer := byoc.rest_number('limit', page_size, 1, 100, 50);
    start CONSTANT uuid := (byoc.read_rest_cursor(after)).id;
    wanted CONSTANT text[] := string_to_array(nullif(statuses, ''), ',');
    words CONSTANT text := lower(nullif(search, ''));
    number CONSTANT text := nullif(translate(words, ' ()-./', ''), '');
    -- Where most do not match, a page looks at so many and goes on with the next.
    reach CONSTANT integer := CASE WHEN wanted IS NULL AND words IS NULL THEN size ELSE 5000 END;
BEGIN
    PERFORM byoc.require_organization(own);
    IF EXISTS (SELECT FROM unnest(wanted) AS w WHERE w NOT IN ('scheduled', 'queued', 'sending', 'sent', 'delivered', 'undelivered', 'failed',
                                                               'cancelled', 'expired', 'unknown')) THEN
        RAISE EXCEPTION 'it must be states of a message with commas between them' USING ERRCODE = 'invalid_parameter_value', COLUMN = 'status';
    ELSIF length(words) > 200 THEN
        RAISE EXCEPTION 'it has more than 200 characters' USING ERRCODE = 'invalid_parameter_value', COLUMN = 'search';
    END IF;
    RETURN (
        WITH found AS MATERIALIZED (
            SELECT r.*, row_number() OVER (ORDER BY r.id DESC) AS n
            FROM byoc.sms_in_range(own, '00000000-0000-0000-0000-000000000000', start, reach + 1) AS r
        ), fitting AS MATERIALIZED (
            SELECT f.*, row_number() OVER (ORDER BY f.n) AS place FROM found f
            WHERE f.n <= reach AND (wanted IS NULL OR f.status = ANY (wanted))
              AND (words IS NULL OR strpos(lower(f.body), words) > 0 OR strpos(f.to_number, number) > 0 OR strpos(f.from_number, number) > 0
                   OR lower(f.provider_sid) = words OR f.id::text = words)
            ORDER BY f.n LIMIT size + 1
        ), following AS (
            SELECT coalesce((SELECT f.id FROM fitting f WHERE f.place > size), (SELECT f.id FROM found f WHERE f.n > reach)) AS id
        )
        SELECT jsonb_build_object(
            'items', (SELECT coalesce(jsonb_agg(to_jsonb(f) - 'n' - 'place' ORDER BY f.n), '[]') FROM fitting f WHERE f.place <= size),
            'next', (SELECT byoc.rest_cursor('epoch', f.id) FROM following f)));
END
$$;

CREATE OR REPLACE FUNCTION byoc.rest_message(id uuid) RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    own CONSTANT uuid := byoc.current_org_id();
    message jsonb;
BEGIN
    PERFORM byoc.require_organization(own);
    SELECT to_jsonb(m) INTO message FROM byoc.sms_in_range(own, rest_message.id, rest_message.id, 1) AS m;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'message % does not exist', id USING ERRCODE = 'no_data_found';
    END IF;
    RETURN jsonb_build_object('id', message -> 'id', 'body', message || jsonb_build_object('events', (
        SELECT coalesce(jsonb_agg(to_jsonb(e) - 'org_id' - 'message_id' ORDER BY e.id), '[]')
        FROM byoc.message_events e WHERE e.org_id = own AND e.message_id = rest_message.id)));
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
