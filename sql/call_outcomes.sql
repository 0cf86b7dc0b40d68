-- What became of calls.

CREATE FUNCTION byoc.call_backoff(attempts integer) RETURNS interval
LANGUAGE sql VOLATILE PARALLEL SAFE
RETURN least(interval '15 minutes', interval '1 second' * 2 ^ least(greatest(attempts, 1) - 1, 10)) * (0.8 + 0.4 * random());
COMMENT ON FUNCTION byoc.call_backoff(integer) IS
    'Internal: how long after so many attempts the next one is made: 1 second, doubling up to 15 minutes, give or take a fifth.';

CREATE FUNCTION byoc.asked_wait(retry_ms bigint) RETURNS interval
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN least(greatest(retry_ms, 0), 3600000) * interval '1 millisecond';
COMMENT ON FUNCTION byoc.asked_wait(bigint) IS 'Internal: how long to wait that a provider asked for so many milliseconds (NULL: 0): an hour at most.';

CREATE FUNCTION byoc.move_call_breakers(outcomes jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    threshold CONSTANT integer := byoc.breaker_threshold();
    told record;
    breaker byoc.call_breakers;
BEGIN
    -- One after the other, in the order in which everybody locks them.
    FOR told IN
        SELECT c.org_id, c.credential_type, c.credential_id, c.used_credential_id, c.used_credential_version, count(*) FILTER (WHERE t.outcome = 'unavailable')::integer AS failures,
               max(c.claimed_at) AS claimed_at, bool_or(t.outcome = 'throttled') AS is_throttled,
               byoc.asked_wait(max(t.retry_ms) FILTER (WHERE t.outcome = 'throttled')) AS asked,
               bool_or(t.outcome = 'accepted' OR (t.outcome IN ('rejected', 'bad_credential') AND t.http_status IS NOT NULL)) AS is_answered
        FROM jsonb_to_recordset(outcomes) AS t (org_id uuid, id uuid, claim_id uuid, outcome text, http_status integer, retry_ms bigint)
        JOIN byoc.calls c ON c.org_id = t.org_id AND c.id = t.id AND c.claim_id = t.claim_id
        GROUP BY c.org_id, c.credential_type, c.credential_id, c.used_credential_id, c.used_credential_version
        ORDER BY c.org_id, c.credential_type, c.credential_id, c.used_credential_version
    LOOP
        IF told.is_throttled OR (told.failures > 0 AND NOT told.is_answered) THEN
            INSERT INTO byoc.call_breakers AS b (org_id, credential_type, credential_id, used_credential_id, used_credential_version, failures, paused_until, changed_at)
            VALUES (told.org_id, told.credential_type, told.credential_id, told.used_credential_id, told.used_credential_version,
                    least(threshold, greatest(told.failures, 1)), '-infinity', clock_timestamp())
            ON CONFLICT ON CONSTRAINT call_breakers_pkey DO UPDATE
            SET used_credential_id = excluded.used_credential_id, used_credential_version = excluded.used_credential_version,
                paused_until = CASE WHEN (b.used_credential_id, b.used_credential_version) IS DISTINCT FROM (excluded.used_credential_id, excluded.used_credential_version)
                                    THEN '-infinity' ELSE b.paused_until END,
                failures = CASE WHEN (b.used_credential_id, b.used_credential_version) IS DISTINCT FROM (excluded.used_credential_id, excluded.used_credential_version)
                                THEN excluded.failures
                                WHEN b.failures < threshold AND NOT told.is_throttled THEN least(threshold, b.failures + excluded.failures)
                                -- What was on its way when the last one failed says nothing new.
                                ELSE b.failures + (told.claimed_at > b.changed_at)::integer END,
                changed_at = clock_timestamp()
            RETURNING b.* INTO breaker;
            UPDATE byoc.call_breakers b
            SET paused_until = greatest(b.paused_until, clock_timestamp() + CASE
                WHEN told.is_throttled THEN greatest(told.asked, byoc.call_backoff(least(breaker.failures, 7)))
                WHEN breaker.failures >= threshold THEN least(interval '10 seconds', interval '0.5 seconds' * 2 ^ least(10, breaker.failures - threshold)) END)
            WHERE b.org_id = told.org_id AND b.credential_type = told.credential_type AND b.credential_id = told.credential_id;
        ELSIF told.is_answered THEN
            DELETE FROM byoc.call_breakers b
            WHERE b.org_id = told.org_id AND b.credential_type = told.credential_type AND b.credential_id = told.credential_id
              AND b.paused_until <= clock_timestamp();
        END IF;
    END LOOP;
END
$$;
COMMENT ON FUNCTION byoc.move_call_breakers(jsonb) IS
    'Internal: makes the calls of credentials wait whose provider throttles (as long as it asked, an hour at most, or longer each time, up to a minute), or failed '
    'byoc.breaker_threshold() times in a row (up to 10 seconds); an answer ends that.';

CREATE FUNCTION byoc.repeat_overtaken_calls(outcomes jsonb) RETURNS void
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
    UPDATE byoc.calls n SET status = 'available', due_at = clock_timestamp(), finished_at = NULL, retry_until = NULL
    WHERE n.status = 'completed'
      AND (n.org_id, n.subject) IN (SELECT c.org_id, c.subject FROM jsonb_to_recordset(outcomes) AS t (org_id uuid, id uuid)
                                    JOIN byoc.calls c ON c.org_id = t.org_id AND c.id = t.id)
      AND NOT EXISTS (SELECT FROM byoc.calls m WHERE m.org_id = n.org_id AND m.subject = n.subject AND m.revision > n.revision)
      AND EXISTS (SELECT FROM byoc.calls o WHERE o.org_id = n.org_id AND o.subject = n.subject AND o.revision < n.revision
                                             AND o.status IN ('completed', 'discarded') AND o.finished_at > n.claimed_at);
$$;
COMMENT ON FUNCTION byoc.repeat_overtaken_calls(jsonb) IS
    'Internal: of subjects of which two revisions were on their way at once, has the newest made once more: the provider may have got the older one last.';

CREATE FUNCTION byoc.record_calls(outcomes jsonb) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
-- As byoc.claim_calls: calls are found by their indexes, however many there are.
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET jit = off
AS $$
DECLARE
    recorded integer;
BEGIN
    IF EXISTS (SELECT FROM jsonb_to_recordset(outcomes) AS t (outcome text)
               WHERE t.outcome IS NULL OR t.outcome NOT IN ('accepted', 'rejected', 'bad_credential', 'throttled', 'unavailable', 'returned')) THEN
        RAISE EXCEPTION 'outcome must be accepted, rejected, bad_credential, throttled, unavailable or returned' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    -- Those about one subject end one after the other.
    PERFORM FROM byoc.calls c
    WHERE c.claim_id IS NOT NULL AND (c.org_id, c.subject) IN (
        SELECT s.org_id, s.subject FROM jsonb_to_recordset(outcomes) AS t (org_id uuid, id uuid)
        JOIN byoc.calls s ON s.org_id = t.org_id AND s.id = t.id)
    ORDER BY c.org_id, c.id FOR UPDATE;
    PERFORM byoc.move_call_breakers(outcomes);
    PERFORM byoc.fail_credential(c.org_id, c.used_credential_id, c.used_credential_version, c.claimed_at, t.error_code,
                                 coalesce(t.error_message, format('The provider refused the credential (error %s).', t.error_code)))
    FROM jsonb_to_recordset(outcomes) AS t (org_id uuid, id uuid, claim_id uuid, outcome text, error_code text, error_message text)
    JOIN byoc.calls c ON c.org_id = t.org_id AND c.id = t.id AND c.claim_id = t.claim_id
    LEFT JOIN byoc.provider_errors e ON e.provider = c.credential_type AND e.code = t.error_code AND e.class = 'pause_credential'
    WHERE t.outcome = 'bad_credential' OR (t.outcome = 'rejected' AND e.code IS NOT NULL);
    WITH told AS (
        SELECT t.*, c.attempts, n.next,
               CASE n.next WHEN 'retryable' THEN clock_timestamp() + greatest(byoc.asked_wait(t.retry_ms), byoc.call_backoff(c.attempts))
                           WHEN 'available' THEN clock_timestamp() END AS due_at
        FROM jsonb_to_recordset(outcomes) AS t (org_id uuid, id uuid, claim_id uuid, outcome text, http_status smallint, error_code text,
                                                error_message text, retry_ms bigint, result jsonb)
        JOIN byoc.calls c ON c.org_id = t.org_id AND c.id = t.id AND c.claim_id = t.claim_id
        LEFT JOIN byoc.provider_errors e ON t.outcome = 'rejected' AND e.provider = c.credential_type AND e.code = t.error_code
        CROSS JOIN LATERAL (
            SELECT CASE WHEN t.outcome = 'accepted' THEN 'completed'
                        -- What was refused because of the credential waits for that, however long.
                        WHEN t.outcome IN ('returned', 'bad_credential') OR e.class = 'pause_credential' THEN 'available'
                        WHEN (t.outcome <> 'rejected' OR e.class IN ('retry_later', 'resend')) AND c.retry_until > clock_timestamp() THEN 'retryable'
                        ELSE 'discarded' END AS next) AS n
    ), changed AS (
        UPDATE byoc.calls c
        SET status = t.next, due_at = t.due_at, claim_id = NULL, finished_at = CASE WHEN t.due_at IS NULL THEN clock_timestamp() END,
            attempts = c.attempts - (t.outcome = 'returned')::integer, retry_until = CASE t.next WHEN 'available' THEN NULL ELSE c.retry_until END,
            http_status = t.http_status, error_code = t.error_code, error_message = t.error_message, result = coalesce(t.result, c.result)
        FROM told t WHERE c.org_id = t.org_id AND c.id = t.id AND c.claim_id = t.claim_id
        RETURNING c.org_id
    )
    SELECT count(*) INTO recorded FROM changed;
    PERFORM byoc.repeat_overtaken_calls(outcomes);
    RETURN recorded;
END
$$;
COMMENT ON FUNCTION byoc.record_calls(jsonb) IS
    'For byocd: records what became of claimed calls: accepted, rejected, bad_credential (it fails, and they wait for it), throttled, unavailable or '
    'returned. The classes in byoc.provider_errors decide which rejected ones are tried again or wait for their credential too. A call that an older revision '
    'may have overtaken is made once more. Returns how many were still the caller''s.';
