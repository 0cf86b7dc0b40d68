-- What became of an attempt. What people do to messages afterwards is in commands.sql.

CREATE FUNCTION byoc.retry_window() RETURNS interval
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN interval '24 hours';
COMMENT ON FUNCTION byoc.retry_window() IS
    'How long after its creation (or send_at) a message without expires_at is tried, and how long a message list that cannot be read is asked for.';

CREATE FUNCTION byoc.store_sent(org_ids uuid[], ids uuid[], claim_ids uuid[], provider_sids text[], from_numbers text[], segments smallint[],
                                http_statuses smallint[], durations_ms integer[], OUT claims uuid[], OUT messages integer[])
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'byoc_store_sent';
COMMENT ON FUNCTION byoc.store_sent(uuid[], uuid[], uuid[], text[], text[], smallint[], smallint[], integer[]) IS
    'Internal: stores without statements that the provider took these messages, with their history, of claims that are locked; returns how many '
    'messages of which claim were still theirs. NULLs, and nothing done: only a statement may write to these tables, as somebody gave them a trigger, say.';

CREATE FUNCTION byoc.store_sent_by_statement(
    org_ids uuid[], ids uuid[], claim_ids uuid[], provider_sids text[], from_numbers text[], segments smallint[],
    http_statuses smallint[], durations_ms integer[], OUT claims uuid[], OUT messages integer[])
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET jit = off
AS $$
BEGIN
    WITH sent AS (
        UPDATE byoc.messages m
        SET status = 'sent', claim_id = NULL, finished_at = clock_timestamp(), sent_at = clock_timestamp(), provider_sid = t.provider_sid,
            from_number = t.from_number, segments = coalesce(nullif(t.segments, 0), m.segments), error_code = NULL, error_message = NULL
        FROM unnest(org_ids, ids, claim_ids, provider_sids, from_numbers, store_sent_by_statement.segments, http_statuses, durations_ms)
            AS t (org_id, id, claim_id, provider_sid, from_number, segments, http_status, duration_ms)
        WHERE m.org_id = t.org_id AND m.id = t.id AND m.claim_id = t.claim_id
        RETURNING m.org_id, m.id, m.attempts, t.claim_id, t.http_status, t.provider_sid, t.duration_ms,
                  byoc.count_acceptance(greatest(m.created_at, m.send_at))
    ), noted AS (
        INSERT INTO byoc.message_events (org_id, message_id, id, event, attempt, http_status, provider_sid, duration_ms)
        SELECT s.org_id, s.id, byoc.uuid_v7(), 'accepted', s.attempts, s.http_status, s.provider_sid, s.duration_ms FROM sent s
    )
    SELECT array_agg(s.claim_id), array_agg(s.messages) INTO claims, messages
    FROM (SELECT s.claim_id, count(*)::integer AS messages FROM sent s GROUP BY s.claim_id) AS s;
END
$$;
COMMENT ON FUNCTION byoc.store_sent_by_statement(uuid[], uuid[], uuid[], text[], text[], smallint[], smallint[], integer[]) IS
    'Internal: byoc.store_sent() for tables that only a statement may write to.';

CREATE FUNCTION byoc.settle_accepted(org_ids uuid[], ids uuid[], claim_ids uuid[], provider_sids text[], from_numbers text[], segments smallint[],
                                     http_statuses smallint[], durations_ms integer[]) RETURNS integer
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET jit = off
AS $$
DECLARE
    settled record;
BEGIN
    -- The claim's id fences off a dispatcher that was taken for dead. Claims are locked first, as byoc.rescue_expired() does:
    -- whoever comes first wins, and neither waits for the other in a circle.
    PERFORM FROM byoc.claims c WHERE c.id = ANY (claim_ids) ORDER BY c.id FOR UPDATE;
    settled := byoc.store_sent(org_ids, ids, claim_ids, provider_sids, from_numbers, segments, http_statuses, durations_ms);
    IF settled.claims IS NULL THEN
        settled := byoc.store_sent_by_statement(org_ids, ids, claim_ids, provider_sids, from_numbers, segments, http_statuses, durations_ms);
    END IF;
    WITH less AS (
        UPDATE byoc.claims c SET unsettled = c.unsettled - s.messages
        FROM unnest(settled.claims, settled.messages) AS s (claim, messages) WHERE c.id = s.claim AND c.unsettled > s.messages
    )
    DELETE FROM byoc.claims c USING unnest(settled.claims, settled.messages) AS s (claim, messages) WHERE c.id = s.claim AND c.unsettled <= s.messages;
    RETURN coalesce((SELECT sum(n) FROM unnest(settled.messages) AS n), 0);
END
$$;
COMMENT ON FUNCTION byoc.settle_accepted(uuid[], uuid[], uuid[], text[], text[], smallint[], smallint[], integer[]) IS
    'Internal: the provider took these messages (parallel arrays); returns how many of them were still the claims''.';

CREATE FUNCTION byoc.record_accepted(org_ids uuid[], ids uuid[], claim_ids uuid[], attempts smallint[], provider_sids text[], from_numbers text[],
                                     segments smallint[], durations_ms integer[]) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    recorded integer := 0;
BEGIN
    IF NOT EXISTS (SELECT FROM byoc.reconciliations) AND NOT EXISTS (SELECT FROM byoc.lanes l WHERE l.failures > 0) THEN
        recorded := byoc.settle_accepted(org_ids, ids, claim_ids, provider_sids, from_numbers, segments, NULL, durations_ms);
    END IF;
    -- Something is late, or in trouble: those that are settled stay so.
    IF recorded < cardinality(ids) THEN
        recorded := recorded + byoc.record_outcomes((
            SELECT jsonb_agg(to_jsonb(t) || '{"outcome": "accepted"}')
            FROM unnest(org_ids, ids, claim_ids, attempts, provider_sids, from_numbers, record_accepted.segments, durations_ms)
                AS t (org_id, id, claim_id, attempt, provider_sid, from_number, segments, duration_ms)));
    END IF;
    RETURN recorded;
END
$$;
COMMENT ON FUNCTION byoc.record_accepted(uuid[], uuid[], uuid[], smallint[], text[], text[], smallint[], integer[]) IS
    'For byocd: byoc.record_outcomes() for accepted messages alone, in parallel arrays: there are many. NULL: the provider did not say.';

CREATE FUNCTION byoc.record_outcomes(outcomes jsonb) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET jit = off
AS $$
DECLARE
    recorded integer;
BEGIN
    IF EXISTS (SELECT FROM byoc.reconciliations) THEN
        outcomes := byoc.without_exchanged(outcomes);
    END IF;
    SELECT byoc.settle_accepted(array_agg(t.org_id), array_agg(t.id), array_agg(t.claim_id), array_agg(t.provider_sid), array_agg(t.from_number),
                                array_agg(t.segments), array_agg(t.http_status), array_agg(t.duration_ms)) INTO recorded
    FROM jsonb_to_recordset(outcomes) AS t (org_id uuid, id uuid, claim_id uuid, outcome text, provider_sid text, from_number text, segments smallint,
                                            http_status smallint, duration_ms integer)
    WHERE t.outcome = 'accepted';
    IF recorded > 0 AND EXISTS (SELECT FROM byoc.lanes l WHERE l.failures > 0) THEN
        PERFORM byoc.close_breakers(outcomes);
    END IF;
    IF recorded < jsonb_array_length(outcomes) THEN
        recorded := recorded + byoc.record_setbacks(outcomes);
        IF recorded < jsonb_array_length(outcomes) THEN
            PERFORM byoc.note_late(outcomes);
        END IF;
    END IF;
    RETURN recorded;
END
$$;
COMMENT ON FUNCTION byoc.record_outcomes(jsonb) IS
    'For byocd: records what became of claimed messages: accepted, rejected, throttled, unavailable, unknown or returned. The classes in '
    'byoc.provider_errors decide what is tried again. Returns how many were still the caller''s.';

-- What was not accepted: rare, so plain statements.
CREATE FUNCTION byoc.record_setbacks(outcomes jsonb) RETURNS integer
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    finished integer;
    returned integer;
BEGIN
    IF EXISTS (SELECT FROM jsonb_to_recordset(outcomes) AS t (outcome text)
               WHERE t.outcome IS NULL
                  OR t.outcome NOT IN ('accepted', 'rejected', 'throttled', 'unavailable', 'unknown', 'returned')) THEN
        RAISE EXCEPTION 'outcome must be accepted, rejected, throttled, unavailable, unknown or returned'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM FROM byoc.claims c
    WHERE c.id IN (SELECT t.claim_id FROM jsonb_to_recordset(outcomes) AS t (claim_id uuid)) ORDER BY c.id FOR UPDATE;
    PERFORM byoc.close_breakers(outcomes);
    PERFORM byoc.open_breakers(outcomes);
    PERFORM byoc.fail_credentials(outcomes);
    -- Final: the provider refused it for good. What it refused because of the credential waits for that, however long.
    WITH told AS MATERIALIZED (
        SELECT t.*, t.outcome IN ('throttled', 'unavailable')
                    OR (t.outcome = 'rejected' AND coalesce(e.class IN ('retry_later', 'resend', 'pause_credential'), false)) AS retryable,
               t.outcome = 'rejected' AND e.class = 'pause_credential' AS waits
        FROM jsonb_to_recordset(outcomes) AS t (
            org_id uuid, id uuid, claim_id uuid, outcome text, from_number text, error_code text, error_message text,
            http_status smallint, duration_ms integer)
        LEFT JOIN byoc.provider_errors e ON e.provider = 'twilio' AND e.code = t.error_code
        WHERE t.outcome NOT IN ('accepted', 'returned')
    ), final AS (
        UPDATE byoc.messages m
        SET status = CASE WHEN m.expires_at <= clock_timestamp() AND t.retryable THEN 'expired' ELSE 'failed' END,
            claim_id = NULL, finished_at = clock_timestamp(), from_number = t.from_number, error_code = t.error_code,
            error_message = t.error_message
        FROM told t
        WHERE m.org_id = t.org_id AND m.id = t.id AND m.claim_id = t.claim_id AND NOT byoc.is_ambiguous(t.outcome, t.http_status)
          -- An environment's account is no credential that its tenant could mend.
          AND (NOT t.retryable OR (t.waits AND m.used_credential_id = '00000000-0000-0000-0000-000000000000')
               OR coalesce(m.expires_at, CASE WHEN t.waits THEN 'infinity' ELSE greatest(m.send_at, m.created_at) + byoc.retry_window() END)
                  <= clock_timestamp())
        RETURNING m.org_id, m.id, m.attempts, t.outcome, t.http_status, t.error_code, t.error_message, t.duration_ms
    ), noted AS (
        INSERT INTO byoc.message_events (org_id, message_id, id, event, attempt, http_status, error_code, error_message, duration_ms)
        SELECT f.org_id, f.id, byoc.uuid_v7(), f.outcome, f.attempts, f.http_status, f.error_code, f.error_message, f.duration_ms
        FROM final f
        RETURNING 1
    )
    SELECT count(*) INTO finished FROM noted;
    -- The rest is tried again, or was never tried, or nobody knows.
    returned := byoc.take_back(outcomes) + byoc.reconcile_later(outcomes);
    UPDATE byoc.claims c
    SET unsettled = (SELECT count(*) FROM unnest(c.org_ids, c.message_ids) AS i (org_id, id)
                     JOIN byoc.messages m ON m.org_id = i.org_id AND m.id = i.id AND m.claim_id = c.id
                     WHERE NOT byoc.is_reconciling(i.org_id, i.id, c.id))
    WHERE c.id IN (SELECT t.claim_id FROM jsonb_to_recordset(outcomes) AS t (claim_id uuid));
    DELETE FROM byoc.claims c
    WHERE c.unsettled = 0 AND c.id IN (SELECT t.claim_id FROM jsonb_to_recordset(outcomes) AS t (claim_id uuid));
    RETURN finished + returned;
END
$$;
COMMENT ON FUNCTION byoc.record_setbacks(jsonb) IS 'Internal: records every outcome but accepted; returns how many were still the caller''s.';

CREATE FUNCTION byoc.take_back(outcomes jsonb) RETURNS integer
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    taken integer;
BEGIN
    WITH told AS MATERIALIZED (
        SELECT t.* FROM jsonb_to_recordset(outcomes) AS t (
            org_id uuid, id uuid, claim_id uuid, outcome text, error_code text, error_message text, http_status smallint,
            retry_ms integer, duration_ms integer)
        WHERE t.outcome <> 'accepted' AND NOT byoc.is_ambiguous(t.outcome, t.http_status)
    ), back AS (
        DELETE FROM byoc.messages m USING told t
        WHERE m.org_id = t.org_id AND m.id = t.id AND m.claim_id = t.claim_id
        RETURNING m.*, t.outcome, t.retry_ms, t.http_status, t.duration_ms, t.error_code AS code, t.error_message AS reason
    ), waiting AS (
        INSERT INTO byoc.schedule (org_id, id, due_at, to_number, body, segments, credential_id, attempts, source_table, idempotency_key,
                                   created_at, send_at, expires_at)
        SELECT b.org_id, b.id,
               CASE WHEN b.outcome = 'returned' THEN clock_timestamp()
                    ELSE clock_timestamp() + greatest(coalesce(b.retry_ms, 1000), 0) * interval '1 millisecond' END,
               b.to_number, b.body, coalesce(b.segments, 1), b.credential_id, b.attempts - (b.outcome = 'returned')::integer, b.source_table,
               b.idempotency_key, b.created_at, b.send_at, b.expires_at
        FROM back b
    ), noted AS (
        INSERT INTO byoc.message_events (org_id, message_id, id, event, attempt, http_status, error_code, error_message, duration_ms)
        SELECT b.org_id, b.id, byoc.uuid_v7(), b.outcome, b.attempts, b.http_status, b.code, b.reason, b.duration_ms
        FROM back b
        RETURNING org_id
    )
    SELECT count(byoc.wake_dispatcher(n.org_id)) INTO taken FROM noted n;
    RETURN taken;
END
$$;
COMMENT ON FUNCTION byoc.take_back(jsonb) IS 'Internal: puts claimed messages back to be sent later (retry_ms) or, when returned, at once.';

-- The breaker of a lane. Closed: failures below the threshold. Open: next_at lies in the future. Half open: next_at has passed, one
-- message at a time.

CREATE FUNCTION byoc.lock_lanes(outcomes jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM FROM byoc.lanes l
    WHERE (l.org_id, l.lane) IN (
        SELECT m.org_id, m.used_credential_id FROM jsonb_to_recordset(outcomes) AS t (org_id uuid, id uuid)
        JOIN byoc.messages m ON m.org_id = t.org_id AND m.id = t.id)
    ORDER BY l.org_id, l.lane FOR UPDATE;
END
$$;
COMMENT ON FUNCTION byoc.lock_lanes(jsonb) IS 'Internal: locks the lanes of these messages, in the order in which everybody locks lanes.';

CREATE FUNCTION byoc.open_breakers(outcomes jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    changed integer;
BEGIN
    -- Of most lanes there was nothing to remember so far.
    INSERT INTO byoc.lanes (org_id, lane, busy, next_at)
    SELECT DISTINCT m.org_id, m.used_credential_id, false, now()
    FROM jsonb_to_recordset(outcomes) AS t (org_id uuid, id uuid, claim_id uuid, outcome text)
    JOIN byoc.messages m ON m.org_id = t.org_id AND m.id = t.id AND m.claim_id = t.claim_id
    WHERE t.outcome NOT IN ('accepted', 'rejected', 'returned') AND m.used_credential_id IS NOT NULL
    ORDER BY m.org_id, m.used_credential_id
    ON CONFLICT DO NOTHING;
    PERFORM byoc.lock_lanes(outcomes);
    WITH told AS MATERIALIZED (
        SELECT m.org_id, m.used_credential_id AS lane, array_agg(m.id) AS ids, count(*) FILTER (WHERE t.outcome NOT IN ('rejected', 'returned')) AS failures,
               clock_timestamp() + max(greatest(t.retry_ms, 0)) FILTER (WHERE t.outcome = 'throttled') * interval '1 millisecond' AS paused_until
        FROM jsonb_to_recordset(outcomes) AS t (org_id uuid, id uuid, claim_id uuid, outcome text, retry_ms integer)
        JOIN byoc.messages m ON m.org_id = t.org_id AND m.id = t.id AND m.claim_id = t.claim_id
        WHERE t.outcome <> 'accepted'
        GROUP BY m.org_id, m.used_credential_id
    ), counted AS (
        SELECT t.org_id, t.lane, t.paused_until, c.trial_ended, k.failures + c.more AS failures, c.more > 0 OR c.trial_ended AS is_news
        FROM told t JOIN byoc.lanes k ON k.org_id = t.org_id AND k.lane = t.lane
        -- Once it has opened only trials count, not what was on its way then.
        CROSS JOIN LATERAL (
            SELECT coalesce(k.trial = ANY (t.ids), false) AS trial_ended,
                   CASE WHEN k.failures < byoc.breaker_threshold() THEN least(t.failures, byoc.breaker_threshold() - k.failures)
                        WHEN k.trial = ANY (t.ids) THEN least(t.failures, 1) ELSE 0 END::integer AS more) AS c
    ), waiting AS (
        UPDATE byoc.lanes l
        SET failures = c.failures, trial = CASE WHEN NOT c.trial_ended THEN l.trial END, paused_until = greatest(l.paused_until, c.paused_until),
            next_at = greatest(CASE WHEN NOT c.trial_ended THEN l.next_at END, l.paused_until, c.paused_until,
                CASE WHEN c.is_news AND c.failures >= byoc.breaker_threshold() THEN
                    clock_timestamp() + least(interval '10 seconds', interval '0.5 seconds' * 2 ^ least(10, c.failures - byoc.breaker_threshold())) END)
        FROM counted c
        WHERE l.org_id = c.org_id AND l.lane = c.lane AND (c.is_news OR c.paused_until IS NOT NULL)
        RETURNING l.org_id
    )
    SELECT count(byoc.wake_dispatcher(w.org_id)) INTO changed FROM waiting w;
END
$$;
COMMENT ON FUNCTION byoc.open_breakers(jsonb) IS
    'Internal: counts failures of the provider in their lanes. A lane that reaches byoc.breaker_threshold() waits, each time longer, up to 10 '
    'seconds; one that was throttled waits at least as long as the provider asked.';

CREATE FUNCTION byoc.close_breakers(outcomes jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    changed integer;
BEGIN
    PERFORM byoc.lock_lanes(outcomes);
    WITH closed AS (
        UPDATE byoc.lanes l SET failures = 0, trial = NULL, next_at = greatest(least(l.next_at, clock_timestamp()), l.paused_until)
        FROM (SELECT DISTINCT m.org_id, m.used_credential_id AS lane
              FROM jsonb_to_recordset(outcomes) AS t (org_id uuid, id uuid, outcome text, http_status integer)
              JOIN byoc.messages m ON m.org_id = t.org_id AND m.id = t.id
              WHERE t.outcome = 'accepted' OR (t.outcome = 'rejected' AND t.http_status IS NOT NULL)) AS a
        WHERE l.org_id = a.org_id AND l.lane = a.lane AND l.failures > 0
        RETURNING l.org_id
    )
    SELECT count(byoc.wake_dispatcher(c.org_id)) INTO changed FROM closed c;
END
$$;
COMMENT ON FUNCTION byoc.close_breakers(jsonb) IS 'Internal: the provider answered in these lanes: it took a message, or refused one for what it is.';
