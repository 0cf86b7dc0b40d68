-- Calls: requests that may be repeated without harm, because the provider tells by the call's id, or by what is asked for, that
-- it has been made (a calendar event, a webhook). So no request in flight needs to be known: a call whose outcome is not recorded
-- within its lease is simply made again.

CREATE DOMAIN byoc.call_status AS text
    CHECK (VALUE IN ('available', 'running', 'retryable', 'completed', 'discarded', 'cancelled', 'paused'));
COMMENT ON DOMAIN byoc.call_status IS
    'Internal: state of a call. available: waits for its turn. running: a dispatcher has it. retryable: failed, and is tried again. completed: the provider '
    'took it. discarded: refused, or failed for too long. cancelled: not wanted any more. paused: came with a restored database.';

CREATE TABLE byoc.calls (
    org_id uuid NOT NULL,
    id uuid NOT NULL,
    credential_type text NOT NULL,
    credential_id uuid NOT NULL,
    operation text NOT NULL,
    subject uuid NOT NULL,
    revision integer NOT NULL,
    payload jsonb NOT NULL CHECK (jsonb_typeof(payload) = 'object'),
    status byoc.call_status NOT NULL DEFAULT 'available',
    send_at timestamptz NOT NULL DEFAULT now(),
    due_at timestamptz DEFAULT now(),
    retry_until timestamptz,
    attempts smallint NOT NULL DEFAULT 0,
    claim_id uuid,
    used_credential_id uuid,
    used_credential_version integer,
    claimed_at timestamptz,
    http_status smallint,
    error_code text,
    error_message text,
    result jsonb,
    source_table text,
    created_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    PRIMARY KEY (org_id, id),
    UNIQUE (org_id, subject, revision),
    CHECK ((due_at IS NULL) = (status NOT IN ('available', 'running', 'retryable'))),
    CHECK ((claim_id IS NULL) = (status <> 'running')),
    CHECK ((finished_at IS NULL) = (status NOT IN ('completed', 'discarded', 'cancelled')))
);
COMMENT ON TABLE byoc.calls IS 'Calls to providers, waiting and finished.';
COMMENT ON COLUMN byoc.calls.credential_id IS 'Credential to use; the nil UUID: the organization''s default of that type when it is made.';
COMMENT ON COLUMN byoc.calls.subject IS
    'What it is about. Of the calls about one subject only the last revision is made, and not while another one is being made; '
    'once more if an older one may have come after it.';
COMMENT ON COLUMN byoc.calls.send_at IS 'Never made before, whatever happens to it.';
COMMENT ON COLUMN byoc.calls.due_at IS 'Not made before; running: when its lease ends. NULL: it is not to be made.';
COMMENT ON COLUMN byoc.calls.retry_until IS 'Until when it is tried again; set by the first attempt.';
COMMENT ON COLUMN byoc.calls.claim_id IS 'Claim that is making it; a result from any other claim is ignored.';
COMMENT ON COLUMN byoc.calls.result IS 'What the provider''s adapter kept of the answer.';
-- Finished calls are in none of these.
CREATE INDEX calls_due ON byoc.calls (org_id, credential_type, credential_id, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX calls_running ON byoc.calls (org_id, credential_type, credential_id) WHERE claim_id IS NOT NULL;
ALTER TABLE byoc.calls ENABLE ROW LEVEL SECURITY;
SELECT pg_extension_config_dump('byoc.calls', '');

CREATE TABLE byoc.call_breakers (
    org_id uuid NOT NULL,
    credential_type text NOT NULL,
    credential_id uuid NOT NULL,
    used_credential_id uuid,
    used_credential_version integer,
    failures integer NOT NULL,
    paused_until timestamptz NOT NULL,
    changed_at timestamptz NOT NULL,
    PRIMARY KEY (org_id, credential_type, credential_id)
);
COMMENT ON TABLE byoc.call_breakers IS
    'Credentials whose calls failed or were throttled last; an answer removes the row. Not dumped: it says nothing about calls.';
COMMENT ON COLUMN byoc.call_breakers.failures IS
    'In a row. From byoc.breaker_threshold() on one call at a time tries the way.';
COMMENT ON COLUMN byoc.call_breakers.used_credential_version IS
    'Says nothing about the credential once that has changed. Nobody deletes it then: the dispatcher would wait for a tenant''s transaction.';
ALTER TABLE byoc.call_breakers ENABLE ROW LEVEL SECURITY;

CREATE FUNCTION byoc.enqueue_call(org_id uuid, credential_type text, operation text, payload jsonb, subject uuid DEFAULT NULL,
                                  credential_id uuid DEFAULT NULL, due_at timestamptz DEFAULT now(), source_table text DEFAULT NULL,
                                  id uuid DEFAULT byoc.uuid_v7()) RETURNS uuid
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    revision integer := 1;
BEGIN
    IF subject IS NOT NULL THEN
        UPDATE byoc.calls c SET status = 'cancelled', due_at = NULL, finished_at = clock_timestamp(), error_code = 'superseded'
        WHERE c.org_id = enqueue_call.org_id AND c.subject = enqueue_call.subject AND c.status IN ('available', 'retryable', 'paused');
        SELECT max(c.revision) + 1 INTO revision FROM byoc.calls c WHERE c.org_id = enqueue_call.org_id AND c.subject = enqueue_call.subject;
    END IF;
    INSERT INTO byoc.calls (org_id, id, credential_type, credential_id, operation, subject, revision, payload, send_at, due_at, source_table)
    VALUES (enqueue_call.org_id, enqueue_call.id, enqueue_call.credential_type,
            coalesce(enqueue_call.credential_id, '00000000-0000-0000-0000-000000000000'), enqueue_call.operation,
            coalesce(enqueue_call.subject, enqueue_call.id), coalesce(revision, 1), enqueue_call.payload, enqueue_call.due_at, enqueue_call.due_at,
            enqueue_call.source_table);
    PERFORM byoc.wake_dispatcher(org_id);
    RETURN id;
END
$$;
COMMENT ON FUNCTION byoc.enqueue_call(uuid, text, text, jsonb, uuid, uuid, timestamptz, text, uuid) IS
    'Internal: leaves a call to be made once this transaction commits; returns its id. No access check. It takes the place of calls about the same '
    'subject that still wait; who gives a subject holds a lock on it. NULL subject: the call itself.';

CREATE FUNCTION byoc.claim_calls(max_count integer, lease interval, per_credential integer)
RETURNS TABLE (org_id uuid, id uuid, claim_id uuid, credential_type text, credential_id uuid, credential_version integer, operation text,
               subject uuid, payload jsonb, attempt integer, created_at bigint)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
-- Plans are made once, and one made while the table is empty must not read it as a whole when it is full.
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    new_claim CONSTANT uuid := byoc.uuid_v7();
    started CONSTANT timestamptz := clock_timestamp();
BEGIN
    IF NOT EXISTS (SELECT FROM byoc.calls c WHERE c.due_at IS NOT NULL) THEN
        RETURN;
    END IF;
    PERFORM byoc.require_adopted();
    RETURN QUERY
    -- Steps from credential to credential through the index instead of reading every call.
    WITH RECURSIVE lanes AS (
        (SELECT c.org_id, c.credential_type, c.credential_id FROM byoc.calls c WHERE c.due_at IS NOT NULL
         ORDER BY c.org_id, c.credential_type, c.credential_id LIMIT 1)
        UNION ALL
        SELECT n.org_id, n.credential_type, n.credential_id
        FROM lanes l CROSS JOIN LATERAL (
            SELECT c.org_id, c.credential_type, c.credential_id FROM byoc.calls c
            WHERE c.due_at IS NOT NULL AND (c.org_id, c.credential_type, c.credential_id) > (l.org_id, l.credential_type, l.credential_id)
            ORDER BY c.org_id, c.credential_type, c.credential_id LIMIT 1) AS n
    ), busy AS MATERIALIZED (
        SELECT l.org_id, l.credential_type, l.credential_id, r.running, sum(r.running) OVER (PARTITION BY l.org_id)::integer AS org_running,
               -- No organization has more than two thirds of what there is room for: an address that never answers leaves slots to the others.
               ceil((max_count + sum(r.running) OVER ()) * 2 / 3.0)::integer AS org_most
        FROM lanes l CROSS JOIN LATERAL (
            SELECT count(*)::integer AS running FROM byoc.calls c
            WHERE c.org_id = l.org_id AND c.credential_type = l.credential_type AND c.credential_id = l.credential_id
              AND c.claim_id IS NOT NULL AND c.due_at > started) AS r
    ), open AS MATERIALIZED (
        SELECT l.org_id, l.credential_type, l.credential_id, l.running, l.org_running, l.org_most, k.id AS sender, k.version,
               -- Somebody may yet give the organization a default one.
               CASE WHEN k.id IS NULL AND l.credential_id = '00000000-0000-0000-0000-000000000000' THEN byoc.retry_window() ELSE interval '0' END AS waits,
               least(CASE WHEN b.failures IS NULL OR b.failures < byoc.breaker_threshold() THEN per_credential ELSE 1 END - l.running,
                     l.org_most - l.org_running, max_count) AS room
        FROM busy l
        LEFT JOIN byoc.organization_api_credentials k
            ON k.org_id = l.org_id AND k.credential_type = l.credential_type AND k.is_active
           AND CASE l.credential_id WHEN '00000000-0000-0000-0000-000000000000' THEN k.is_default ELSE k.id = l.credential_id END
        LEFT JOIN byoc.call_breakers b
            ON b.org_id = l.org_id AND b.credential_type = l.credential_type AND b.credential_id = l.credential_id
           AND (b.used_credential_id, b.used_credential_version) IS NOT DISTINCT FROM (k.id, k.version)
        WHERE NOT byoc.is_barred(k.verification_status) AND coalesce(b.paused_until <= started, true)
    ), ready AS MATERIALIZED (
        -- Whoever has least on the way comes first: of the organizations, and within each of its credentials.
        SELECT t.* FROM (
            SELECT o.org_id, d.id, d.due_at, d.is_outdated, d.is_unanswered, o.sender, o.version, o.org_most,
                   o.org_running + row_number() OVER (PARTITION BY o.org_id ORDER BY o.running + d.turn, d.due_at) AS turn
            FROM open o CROSS JOIN LATERAL (
                SELECT f.*, row_number() OVER (ORDER BY f.due_at) AS turn
                FROM (SELECT c.id, c.due_at, EXISTS (SELECT FROM byoc.calls n WHERE n.org_id = c.org_id AND n.subject = c.subject
                                                                              AND n.revision > c.revision) AS is_outdated,
                             c.claim_id IS NOT NULL OR (c.attempts > 0 AND c.http_status IS NULL) AS is_unanswered
                      FROM byoc.calls c
                      WHERE c.org_id = o.org_id AND c.credential_type = o.credential_type AND c.credential_id = o.credential_id
                        AND c.due_at <= started - o.waits
                        AND NOT EXISTS (SELECT FROM byoc.calls n WHERE n.org_id = c.org_id AND n.subject = c.subject AND n.id <> c.id
                                                                   AND n.claim_id IS NOT NULL AND n.due_at > started)
                      ORDER BY c.due_at LIMIT greatest(o.room, 0) FOR UPDATE OF c SKIP LOCKED) AS f) AS d) AS t
        WHERE t.turn <= t.org_most
        ORDER BY t.turn, t.due_at LIMIT max_count
    ), outdated AS (
        UPDATE byoc.calls c
        SET status = 'cancelled', due_at = NULL, claim_id = NULL, finished_at = started, error_code = 'superseded'
        FROM ready r WHERE c.org_id = r.org_id AND c.id = r.id AND r.is_outdated
        RETURNING c.org_id, c.subject, r.is_unanswered
    ), overtaken AS (
        -- A request that nobody saw answered may have arrived after the newest one, which therefore goes out once more.
        UPDATE byoc.calls n SET status = 'available', due_at = started, finished_at = NULL, retry_until = NULL
        FROM outdated o
        WHERE o.is_unanswered AND n.org_id = o.org_id AND n.subject = o.subject AND n.status = 'completed'
          AND NOT EXISTS (SELECT FROM byoc.calls m WHERE m.org_id = n.org_id AND m.subject = n.subject AND m.revision > n.revision)
    )
    UPDATE byoc.calls c
    SET status = 'running', due_at = started + lease, claim_id = new_claim, claimed_at = started, attempts = least(c.attempts + 1, 32767),
        retry_until = coalesce(c.retry_until, started + byoc.retry_window()), used_credential_id = r.sender, used_credential_version = r.version
    FROM ready r WHERE c.org_id = r.org_id AND c.id = r.id AND NOT r.is_outdated
    RETURNING c.org_id, c.id, new_claim, c.credential_type, r.sender, r.version, c.operation, c.subject, c.payload, c.attempts::integer,
              floor(extract(epoch FROM c.created_at))::bigint;
END
$$;
COMMENT ON FUNCTION byoc.claim_calls(integer, interval, integer) IS
    'For byocd: at most max_count calls to make now, fairly between organizations and between credentials of each; at most per_credential of a credential '
    'at a time, and of an organization two thirds of max_count and what is being made. A call comes up again after the lease unless its '
    'outcome is recorded. credential_id NULL: it cannot be made, as the credential was revoked, or the organization had no default one for byoc.retry_window().';
