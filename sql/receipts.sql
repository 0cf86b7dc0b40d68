-- Delivery receipts: what the provider says about a message after it took it. They come as callbacks, whose address holds a
-- signed token; where callbacks cannot come, or stay away, byocd asks for the status instead.

CREATE TABLE byoc.receipt_watches (
    org_id uuid NOT NULL,
    id uuid NOT NULL DEFAULT byoc.uuid_v7(),
    due_at timestamptz NOT NULL,
    message_ids uuid[] NOT NULL,
    PRIMARY KEY (org_id, id)
);
ALTER TABLE byoc.receipt_watches ALTER COLUMN message_ids SET STORAGE EXTERNAL; -- random: to compress them takes most of the insert
COMMENT ON TABLE byoc.receipt_watches IS
    'Messages that the provider took at about the same time; from due_at on the status of those that had no final receipt is asked for. '
    'Many messages a row, so that sending pays next to nothing. Not dumped: a copy must not ask.';
CREATE INDEX receipt_watches_due ON byoc.receipt_watches (due_at);
ALTER TABLE byoc.receipt_watches ENABLE ROW LEVEL SECURITY;

CREATE TABLE byoc.status_checks (
    org_id uuid NOT NULL,
    id uuid NOT NULL,
    due_at timestamptz NOT NULL,
    checks smallint NOT NULL DEFAULT 0,
    PRIMARY KEY (org_id, id)
);
COMMENT ON TABLE byoc.status_checks IS 'Messages whose status is asked for because no final receipt came. Not dumped.';
COMMENT ON COLUMN byoc.status_checks.checks IS 'How often it was asked for.';
CREATE INDEX status_checks_due ON byoc.status_checks (due_at);
ALTER TABLE byoc.status_checks ENABLE ROW LEVEL SECURITY;

CREATE FUNCTION byoc.receipt_key() RETURNS bytea
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'byoc_receipt_key';
COMMENT ON FUNCTION byoc.receipt_key() IS
    'For byocd: the key that signs receipt tokens, derived from the active master key. Tokens are good while that master key is in the key ring.';

CREATE FUNCTION byoc.read_receipt_token(token text, OUT org_id uuid, OUT message_id uuid, OUT attempt integer)
LANGUAGE c STABLE STRICT AS 'MODULE_PATHNAME', 'byoc_read_receipt_token';
COMMENT ON FUNCTION byoc.read_receipt_token(text) IS 'Internal: what a receipt token is about; all NULL unless a master key of the key ring signed it.';

CREATE FUNCTION byoc.credential_for_account(org_id uuid, credential_id uuid)
RETURNS TABLE (id uuid, version integer, credential_type text)
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT '00000000-0000-0000-0000-000000000000'::uuid, 0, 'twilio'
    WHERE CASE WHEN credential_for_account.credential_id IS NULL THEN byoc.falls_back(credential_for_account.org_id)
               ELSE credential_for_account.credential_id = '00000000-0000-0000-0000-000000000000' END
    UNION ALL
    (SELECT c.id, c.version, c.credential_type
    FROM byoc.organization_api_credentials c
    LEFT JOIN byoc.organization_api_credentials used ON used.org_id = c.org_id AND used.id = credential_for_account.credential_id
    WHERE c.org_id = credential_for_account.org_id AND c.is_active AND c.credential_type = 'twilio'
      AND (c.id = used.id OR c.fields ->> 'account_sid' = used.fields ->> 'account_sid' OR (used.id IS NULL AND c.is_default))
      AND credential_for_account.credential_id IS DISTINCT FROM '00000000-0000-0000-0000-000000000000'
    ORDER BY c.id = used.id DESC, c.is_default DESC, c.created_at LIMIT 1);
END;
COMMENT ON FUNCTION byoc.credential_for_account(uuid, uuid) IS
    'Internal: the credential, or once it is revoked another active one of the same account; the default when none is named. The nil UUID: an environment''s account.';

CREATE FUNCTION byoc.open_receipts(tokens text[])
RETURNS TABLE (ordinal integer, org_id uuid, id uuid, attempt integer, credential_id uuid, credential_version integer)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT t.n::integer - 1, r.org_id, r.message_id, r.attempt, c.id, c.version
    FROM unnest(tokens) WITH ORDINALITY AS t (token, n)
    CROSS JOIN LATERAL byoc.read_receipt_token(t.token) AS r
    CROSS JOIN LATERAL (
        SELECT coalesce(m.used_credential_id, m.credential_id) AS credential_id
        FROM byoc.messages m WHERE m.org_id = r.org_id AND m.id = r.message_id
        UNION ALL
        SELECT s.credential_id FROM byoc.schedule s WHERE s.org_id = r.org_id AND s.id = r.message_id
        UNION ALL
        SELECT q.credential_id FROM byoc.queue q
        WHERE q.org_id = r.org_id AND q.lane = ANY (byoc.lanes_of(r.org_id)) AND q.id = r.message_id
        LIMIT 1) AS m
    LEFT JOIN LATERAL byoc.credential_for_account(r.org_id, m.credential_id) AS c ON true;
END
$$;
COMMENT ON FUNCTION byoc.open_receipts(text[]) IS
    'For byocd: what the tokens (numbered from 0) are about, and the credential whose secret signs such callbacks, NULL when none is left. '
    'A token that is forged, or whose message is gone, is missing from the answer.';

CREATE FUNCTION byoc.lanes_of(org_id uuid) RETURNS uuid[]
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT array_agg(c.id) || '00000000-0000-0000-0000-000000000000'::uuid
    FROM byoc.organization_api_credentials c WHERE c.org_id = lanes_of.org_id;
END;
COMMENT ON FUNCTION byoc.lanes_of(uuid) IS 'Internal: every lane that messages of the organization can be queued in.';

CREATE FUNCTION byoc.receipt_result(provider_status text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE provider_status
           WHEN 'delivered' THEN 'delivered' WHEN 'read' THEN 'delivered'
           WHEN 'undelivered' THEN 'undelivered'
           WHEN 'failed' THEN 'failed' WHEN 'canceled' THEN 'failed' END;
COMMENT ON FUNCTION byoc.receipt_result(text) IS 'Internal: the final message status that a provider''s status means; NULL: not final.';

-- A message waits for another attempt although the last one reached the provider: nobody knew, until this receipt.
CREATE FUNCTION byoc.recall_waiting(receipts jsonb) RETURNS uuid[]
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    told record;
    busy uuid[] := '{}';
BEGIN
    FOR told IN
        WITH waiting AS MATERIALIZED (
            SELECT DISTINCT t.org_id, t.id, t.attempt, t.provider_sid
            FROM jsonb_to_recordset(receipts) AS t (org_id uuid, id uuid, attempt integer, provider_sid text)
            WHERE NOT EXISTS (SELECT FROM byoc.messages m WHERE m.org_id = t.org_id AND m.id = t.id)
              -- With a provider's id on record the attempt was known, and the message waits because somebody wants it sent again.
              AND NOT EXISTS (SELECT FROM byoc.message_events e
                              WHERE e.org_id = t.org_id AND e.message_id = t.id AND e.attempt = t.attempt AND e.provider_sid IS NOT NULL)
        ), recorded AS MATERIALIZED (
            SELECT r.* FROM (SELECT array_agg(w.org_id) AS org_ids, array_agg(w.provider_sid) AS sids,
                                    array_agg((SELECT min(e.at) - interval '10 minutes' FROM byoc.message_events e
                                               WHERE e.org_id = w.org_id AND e.message_id = w.id AND e.attempt = w.attempt)) AS since
                             FROM waiting w) AS w
            CROSS JOIN LATERAL byoc.recorded_sids(w.org_ids, w.sids, w.since) AS r
        )
        -- One that looks the same got this id from the message list: the two have changed places, and this one is to be sent.
        SELECT w.* FROM waiting w
        WHERE NOT EXISTS (SELECT FROM recorded r WHERE r.org_id = w.org_id AND r.sid = w.provider_sid)
    LOOP
        WITH unsent AS (
            DELETE FROM byoc.schedule s
            WHERE s.ctid = (SELECT w.ctid FROM byoc.schedule w WHERE w.org_id = told.org_id AND w.id = told.id AND w.attempts = told.attempt
                            FOR UPDATE SKIP LOCKED)
            RETURNING s.org_id, s.id, s.to_number, s.body, s.credential_id, s.attempts, s.source_table, s.idempotency_key, s.created_at, s.send_at, s.expires_at, s.segments
        ), queued AS (
            DELETE FROM byoc.queue q
            WHERE q.ctid = (SELECT w.ctid FROM byoc.queue w
                            WHERE w.org_id = told.org_id AND w.lane = ANY (byoc.lanes_of(told.org_id)) AND w.id = told.id AND w.attempts = told.attempt
                            FOR UPDATE SKIP LOCKED)
            RETURNING q.org_id, q.id, q.to_number, q.body, q.credential_id, q.attempts, q.source_table, q.idempotency_key, q.created_at, q.send_at, q.expires_at, q.segments
        )
        -- When it was claimed is forgotten. Later than that is good enough for byoc.recorded_sids().
        INSERT INTO byoc.messages (org_id, id, to_number, body, credential_id, attempts, source_table, idempotency_key, created_at, send_at,
                                   expires_at, segments, status, finished_at, claimed_at)
        SELECT u.*, 'unknown', clock_timestamp(), clock_timestamp() FROM (TABLE unsent UNION ALL TABLE queued) AS u;
        -- Somebody has it locked, and perhaps an open transaction of its tenant: nobody waits for that.
        IF NOT FOUND AND (EXISTS (SELECT FROM byoc.schedule s WHERE s.org_id = told.org_id AND s.id = told.id AND s.attempts = told.attempt)
                          OR EXISTS (SELECT FROM byoc.queue q WHERE q.org_id = told.org_id AND q.lane = ANY (byoc.lanes_of(told.org_id))
                                                                AND q.id = told.id AND q.attempts = told.attempt)) THEN
            busy := busy || told.id;
        END IF;
    END LOOP;
    RETURN busy;
END
$$;
COMMENT ON FUNCTION byoc.recall_waiting(jsonb) IS
    'Internal: takes messages out of the queue whose last attempt, by these receipts, did reach the provider; they are unknown until the receipts settle them. '
    'Returns those that are locked.';

CREATE FUNCTION byoc.record_receipts(receipts jsonb) RETURNS integer[]
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
-- As byoc.record_outcomes: a plan made while the tables are empty must not read them as a whole when they are full.
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET jit = off
AS $$
DECLARE
    now CONSTANT timestamptz := clock_timestamp();
    busy CONSTANT uuid[] := byoc.recall_waiting(receipts);
    sought uuid[];
    ready bigint[];
    held integer[];
    failed_orgs uuid[];
    failed uuid[];
BEGIN
    -- These rows are locked while a message list settles messages, and before the messages: the list must not take this one's message for that
    -- of another one to the same recipient, which looks alike.
    sought := ARRAY(SELECT r.message_id FROM byoc.reconciliations r
                    JOIN (SELECT DISTINCT m.org_id, m.to_number FROM jsonb_to_recordset(receipts) AS t (org_id uuid, id uuid)
                          JOIN byoc.messages m ON m.org_id = t.org_id AND m.id = t.id WHERE m.provider_sid IS NULL) AS t
                      ON r.org_id = t.org_id AND r.to_number = t.to_number
                    FOR UPDATE OF r SKIP LOCKED);
    -- Whoever has a message locked is about to change it, most likely with the outcome of the very attempt: no waiting, so no
    -- deadlock, but again a moment later. For the same reason a message that a live claim is sending waits unless told to settle.
    WITH told AS MATERIALIZED (
        SELECT t.* FROM ROWS FROM (jsonb_to_recordset(receipts) AS (org_id uuid, id uuid, settle boolean)) WITH ORDINALITY AS t (org_id, id, settle, n)
    ), locked AS MATERIALIZED (
        SELECT m.org_id, m.id, NOT k.is_sought AND EXISTS (SELECT FROM byoc.claims c WHERE c.id = m.claim_id AND c.lease_until > now) AS in_flight,
               m.provider_sid IS NULL AND EXISTS (SELECT FROM byoc.reconciliations r
                                                  WHERE r.org_id = m.org_id AND r.to_number = m.to_number AND r.message_id <> ALL (sought)) AS is_compared
        FROM (SELECT DISTINCT d.org_id, d.id FROM told d) AS t
        JOIN byoc.messages m ON m.org_id = t.org_id AND m.id = t.id
        CROSS JOIN LATERAL byoc.is_reconciling(m.org_id, m.id, m.claim_id) AS k (is_sought)
        FOR NO KEY UPDATE OF m SKIP LOCKED
    ), sorted AS (
        SELECT t.n, l.id IS NOT NULL AND NOT l.is_compared AND (NOT l.in_flight OR coalesce(t.settle, false)) AS is_ready
        FROM told t
        LEFT JOIN locked l ON l.org_id = t.org_id AND l.id = t.id
        WHERE t.id = ANY (busy) OR EXISTS (SELECT FROM byoc.messages m WHERE m.org_id = t.org_id AND m.id = t.id)
    )
    SELECT array_agg(s.n) FILTER (WHERE s.is_ready), array_agg(s.n - 1) FILTER (WHERE NOT s.is_ready) INTO ready, held FROM sorted s;

    WITH told AS MATERIALIZED (
        SELECT t.org_id, t.id, t.attempt, t.provider_sid, t.status, t.error_code, t.from_number, t.n,
               byoc.receipt_result(t.status) AS result, least(to_timestamp(t.at), now) AS at
        FROM ROWS FROM (jsonb_to_recordset(receipts) AS (
            org_id uuid, id uuid, attempt smallint, provider_sid text, status text, error_code text, from_number text, at double precision))
            WITH ORDINALITY AS t (org_id, id, attempt, provider_sid, status, error_code, from_number, at, n)
        WHERE t.n = ANY (ready)
    ), recorded AS MATERIALIZED (
        SELECT r.* FROM (SELECT array_agg(m.org_id) AS org_ids, array_agg(t.provider_sid) AS sids, array_agg(m.claimed_at) AS since
                         FROM told t JOIN byoc.messages m ON m.org_id = t.org_id AND m.id = t.id
                         WHERE m.provider_sid IS NULL) AS t
        CROSS JOIN LATERAL byoc.recorded_sids(t.org_ids, t.sids, t.since) AS r
    ), news AS MATERIALIZED (
        -- What can move a message: it stands at this attempt and is not final. A final status counts before any other.
        SELECT DISTINCT ON (m.org_id, m.id) m.org_id, m.id, m.status AS before, t.provider_sid, t.from_number, t.result,
               CASE WHEN t.result IN ('undelivered', 'failed') THEN coalesce(t.error_code, t.status) END AS error_code,
               greatest(t.at, m.sent_at, m.created_at) AS at
        FROM told t
        JOIN byoc.messages m ON m.org_id = t.org_id AND m.id = t.id
        WHERE m.attempts = t.attempt AND coalesce(m.provider_sid, t.provider_sid) = t.provider_sid
          -- The id of another message belongs to one that looks the same: the two have changed places (byoc.without_exchanged).
          AND (m.provider_sid IS NOT NULL OR NOT EXISTS (SELECT FROM recorded r WHERE r.org_id = t.org_id AND r.sid = t.provider_sid))
          AND (m.status IN ('sending', 'unknown') OR (m.status = 'sent' AND (t.result IS NOT NULL OR m.provider_sid IS NULL)))
        ORDER BY m.org_id, m.id, t.result IS NULL, t.n
    ), changed AS (
        UPDATE byoc.messages m
        SET status = coalesce(n.result, 'sent'), claim_id = NULL, provider_sid = n.provider_sid,
            from_number = coalesce(m.from_number, n.from_number), sent_at = coalesce(m.sent_at, n.at), finished_at = coalesce(m.finished_at, now),
            delivered_at = CASE n.result WHEN 'delivered' THEN n.at END, error_code = n.error_code,
            error_message = CASE WHEN n.error_code IS NOT NULL THEN byoc.receipt_reason(n.error_code) END
        FROM news n
        WHERE m.org_id = n.org_id AND m.id = n.id
        RETURNING m.org_id, m.id, m.attempts, m.provider_sid, n.before, n.result
    ), found AS (
        DELETE FROM byoc.reconciliations r USING changed c WHERE r.org_id = c.org_id AND r.message_id = c.id AND c.id = ANY (sought)
    ), answered AS (
        DELETE FROM byoc.status_checks s USING changed c WHERE s.org_id = c.org_id AND s.id = c.id AND c.result IS NOT NULL
    ), watched AS (
        INSERT INTO byoc.receipt_watches (org_id, due_at, message_ids)
        SELECT c.org_id, now + interval '10 minutes', array_agg(c.id) FROM changed c
        WHERE c.before <> 'sent' AND c.result IS NULL GROUP BY c.org_id
    ), history AS (
        SELECT c.org_id, c.id, 'settled' AS event, c.attempts AS attempt, NULL AS error_code, c.provider_sid, 0 AS n
        FROM changed c WHERE c.before <> 'sent'
        UNION ALL
        (SELECT DISTINCT ON (t.org_id, t.id, t.attempt, t.status, t.provider_sid) t.org_id, t.id, t.status, t.attempt, t.error_code, t.provider_sid, t.n
         FROM told t
         WHERE t.status IN ('sent', 'delivered', 'undelivered', 'failed', 'canceled', 'read', 'partially_delivered')
           AND NOT EXISTS (SELECT FROM byoc.message_events e
                           WHERE e.org_id = t.org_id AND e.message_id = t.id AND e.attempt = t.attempt AND e.event = t.status
                             AND e.provider_sid = t.provider_sid)
         ORDER BY t.org_id, t.id, t.attempt, t.status, t.provider_sid, t.n)
    ), noted AS (
        INSERT INTO byoc.message_events (org_id, message_id, id, event, attempt, error_code, provider_sid)
        SELECT h.org_id, h.id, byoc.uuid_v7(), h.event, h.attempt, h.error_code, h.provider_sid
        FROM (SELECT * FROM history ORDER BY history.n) AS h
    )
    SELECT array_agg(c.org_id), array_agg(c.id) INTO failed_orgs, failed FROM changed c WHERE c.result IN ('failed', 'undelivered');
    IF failed IS NOT NULL THEN
        -- A suspended account, an unregistered sender: the next ones would not arrive either.
        PERFORM byoc.fail_credentials((
            SELECT jsonb_agg(jsonb_build_object('org_id', m.org_id, 'id', m.id, 'outcome', 'rejected', 'error_code', m.error_code))
            FROM unnest(failed_orgs, failed) AS t (org_id, id) JOIN byoc.messages m ON m.org_id = t.org_id AND m.id = t.id));
        PERFORM byoc.send_again(failed_orgs, failed);
    END IF;
    RETURN coalesce(held, '{}');
END
$$;
COMMENT ON FUNCTION byoc.record_receipts(jsonb) IS
    'For byocd: what the provider says about messages that it took: org_id, id, attempt, provider_sid, status (the provider''s word) and perhaps '
    'error_code, from_number, at (seconds since 1970) and settle. delivered, undelivered and failed are final, but for a failure whose class in '
    'byoc.provider_errors has the message sent again (byoc.send_again); a message never goes back, and a receipt that comes twice, late or about another attempt changes nothing. One for a message whose answer was lost settles it. Returns '
    'the receipts (numbered from 0) to bring again in a moment: their message is being changed, or its answer is still awaited, until settle is true.';

CREATE FUNCTION byoc.receipt_reason(error_code text) RETURNS text
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT max(e.title) FROM byoc.provider_errors e WHERE e.provider = 'twilio' AND e.code = error_code;
END;
COMMENT ON FUNCTION byoc.receipt_reason(text) IS 'Internal: what byoc.provider_errors says about a code; receipts bring the code only.';

CREATE FUNCTION byoc.expect_receipts(org_ids uuid[], ids uuid[], called_back boolean[]) RETURNS void
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'byoc_expect_receipts';
COMMENT ON FUNCTION byoc.expect_receipts(uuid[], uuid[], boolean[]) IS
    'For byocd: messages that the provider took. Their status is asked for from ten seconds on or, where callbacks can come, after ten minutes of silence.';

CREATE FUNCTION byoc.claim_status_checks(max_count integer)
RETURNS TABLE (org_id uuid, id uuid, attempt integer, provider_sid text, provider text, credential_id uuid, credential_version integer)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
-- Its tables are empty for long and then, within seconds, are not: a plan from before would read all of them.
SET plan_cache_mode = force_custom_plan
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
#variable_conflict use_column
DECLARE
    waits CONSTANT interval[] := ARRAY['1 minute', '10 minutes', '1 hour', '4 hours'];
    fallback CONSTANT integer := byoc.session_fallback();
BEGIN
    WITH due AS (
        -- By ctid, as byoc.expire_queued().
        DELETE FROM byoc.receipt_watches w
        WHERE w.ctid = ANY (ARRAY(SELECT d.ctid FROM byoc.receipt_watches d WHERE d.due_at <= clock_timestamp()
                                  ORDER BY d.due_at LIMIT max_count FOR UPDATE SKIP LOCKED))
        RETURNING w.org_id, w.message_ids
    )
    INSERT INTO byoc.status_checks (org_id, id, due_at)
    SELECT m.org_id, m.id, clock_timestamp()
    FROM due d CROSS JOIN unnest(d.message_ids) AS u (id)
    JOIN byoc.messages m ON m.org_id = d.org_id AND m.id = u.id
    WHERE m.status = 'sent' AND m.provider_sid IS NOT NULL
    ON CONFLICT DO NOTHING;

    RETURN QUERY
    WITH due AS MATERIALIZED (
        SELECT s.org_id, s.id FROM byoc.status_checks s
        WHERE s.due_at <= clock_timestamp()
          -- What was sent with another environment's account, that byocd asks for.
          AND NOT EXISTS (SELECT FROM byoc.messages m
                          WHERE m.org_id = s.org_id AND m.id = s.id AND m.sent_at > clock_timestamp() - interval '24 hours'
                            AND m.used_credential_id = '00000000-0000-0000-0000-000000000000' AND m.used_credential_version IS DISTINCT FROM fallback)
        ORDER BY s.due_at LIMIT max_count FOR UPDATE SKIP LOCKED
    ), open AS MATERIALIZED (
        SELECT d.org_id, d.id, m.attempts, m.provider_sid, c.credential_type, c.id AS credential_id, c.version
        FROM due d
        JOIN byoc.messages m ON m.org_id = d.org_id AND m.id = d.id
        CROSS JOIN LATERAL byoc.credential_for_account(m.org_id, m.used_credential_id) AS c
        WHERE m.status = 'sent' AND m.provider_sid IS NOT NULL AND m.sent_at > clock_timestamp() - interval '24 hours'
    ), closed AS (
        DELETE FROM byoc.status_checks s USING due d
        WHERE s.org_id = d.org_id AND s.id = d.id AND NOT EXISTS (SELECT FROM open o WHERE o.org_id = d.org_id AND o.id = d.id)
    ), taken AS (
        UPDATE byoc.status_checks s
        SET checks = least(s.checks + 1, 32767), due_at = clock_timestamp() + waits[least(s.checks + 1, 4)]
        FROM open o WHERE s.org_id = o.org_id AND s.id = o.id
    )
    SELECT o.org_id, o.id, o.attempts::integer, o.provider_sid, o.credential_type, o.credential_id, o.version FROM open o;
END
$$;
COMMENT ON FUNCTION byoc.claim_status_checks(integer) IS
    'For byocd: messages whose status to ask the provider for. Each comes again after a minute, ten minutes, an hour and then every four hours, '
    'until byoc.record_receipts() had a final status or 24 hours have passed.';
