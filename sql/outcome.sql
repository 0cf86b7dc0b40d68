-- What became of an attempt, and what people do to messages afterwards.

CREATE FUNCTION byoc.retry_window() RETURNS interval
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN interval '24 hours';
COMMENT ON FUNCTION byoc.retry_window() IS 'How long after its creation (or send_at) a message without expires_at is tried.';

CREATE FUNCTION byoc.record_outcomes(outcomes jsonb) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET jit = off
AS $$
DECLARE
    finished integer;
    returned integer := 0;
BEGIN
    IF EXISTS (SELECT FROM jsonb_to_recordset(outcomes) AS t (outcome text)
               WHERE t.outcome IS NULL
                  OR t.outcome NOT IN ('accepted', 'rejected', 'throttled', 'unavailable', 'unknown', 'returned')) THEN
        RAISE EXCEPTION 'outcome must be accepted, rejected, throttled, unavailable, unknown or returned'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    -- Claims first, as byoc.rescue_expired() does: whoever comes first wins, and neither waits for the other in a circle.
    PERFORM FROM byoc.claims c
    WHERE (c.org_id, c.id) IN (SELECT t.org_id, t.claim_id FROM jsonb_to_recordset(outcomes) AS t (org_id uuid, claim_id uuid))
    ORDER BY c.org_id, c.id FOR UPDATE;
    -- Final: the provider took it, or refused it for good. The claim's id fences off a dispatcher that was
    -- taken for dead.
    WITH told AS MATERIALIZED (
        SELECT t.*, t.outcome IN ('throttled', 'unavailable')
                    OR (t.outcome = 'rejected'
                        AND EXISTS (SELECT FROM byoc.provider_errors e
                                    WHERE e.provider = 'twilio' AND e.code = t.error_code AND e.class = 'retry_later')) AS retryable
        FROM jsonb_to_recordset(outcomes) AS t (
            org_id uuid, id uuid, claim_id uuid, outcome text, provider_sid text, from_number text, segments smallint,
            error_code text, error_message text, http_status smallint, duration_ms integer)
    ), final AS (
        UPDATE byoc.messages m
        SET status = CASE t.outcome
                         WHEN 'accepted' THEN 'sent'
                         ELSE CASE WHEN m.expires_at <= clock_timestamp() AND t.retryable THEN 'expired' ELSE 'failed' END END,
            claim_id = NULL, finished_at = clock_timestamp(),
            sent_at = CASE t.outcome WHEN 'accepted' THEN clock_timestamp() END,
            provider_sid = t.provider_sid, from_number = t.from_number, segments = t.segments,
            error_code = t.error_code, error_message = t.error_message
        FROM told t
        WHERE m.org_id = t.org_id AND m.id = t.id AND m.claim_id = t.claim_id
          AND t.outcome <> 'returned' AND NOT byoc.is_ambiguous(t.outcome, t.http_status)
          AND (NOT t.retryable
               OR coalesce(m.expires_at, greatest(m.send_at, m.created_at) + byoc.retry_window()) <= clock_timestamp())
        RETURNING m.org_id, m.id, m.attempts, t.outcome, t.http_status, t.error_code, t.error_message, t.provider_sid, t.duration_ms
    ), noted AS (
        INSERT INTO byoc.message_events (org_id, message_id, id, event, attempt, http_status, error_code, error_message, provider_sid, duration_ms)
        SELECT f.org_id, f.id, byoc.uuid_v7(), f.outcome, f.attempts, f.http_status, f.error_code, f.error_message, f.provider_sid, f.duration_ms
        FROM final f
        RETURNING 1
    )
    SELECT count(*) INTO finished FROM noted;
    -- The rest is tried again, or was never tried, or nobody knows.
    IF finished < jsonb_array_length(outcomes) THEN
        returned := byoc.take_back(outcomes) + byoc.reconcile_later(outcomes);
    END IF;
    IF finished + returned < jsonb_array_length(outcomes) THEN
        PERFORM byoc.note_late(outcomes);
    END IF;
    DELETE FROM byoc.claims c
    USING jsonb_to_recordset(outcomes) AS t (org_id uuid, claim_id uuid, last boolean)
    WHERE t.last AND c.org_id = t.org_id AND c.id = t.claim_id
      AND NOT EXISTS (SELECT FROM byoc.messages m WHERE m.org_id = c.org_id AND m.id = ANY (c.message_ids) AND m.claim_id = c.id);
    RETURN finished + returned;
END
$$;
COMMENT ON FUNCTION byoc.record_outcomes(jsonb) IS
    'For byocd: records what became of claimed messages: accepted, rejected, throttled, unavailable, unknown or returned. The classes in '
    'byoc.provider_errors decide what is tried again. Returns how many were still the caller''s.';

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
        WHERE NOT byoc.is_ambiguous(t.outcome, t.http_status)
    ), back AS (
        DELETE FROM byoc.messages m USING told t
        WHERE m.org_id = t.org_id AND m.id = t.id AND m.claim_id = t.claim_id
        RETURNING m.*, t.outcome, t.retry_ms, t.http_status, t.duration_ms, t.error_code AS code, t.error_message AS reason
    ), waiting AS (
        INSERT INTO byoc.schedule (org_id, id, due_at, to_number, body, credential_id, attempts, source_table, idempotency_key,
                                   created_at, send_at, expires_at)
        SELECT b.org_id, b.id,
               CASE WHEN b.outcome = 'returned' THEN clock_timestamp()
                    ELSE clock_timestamp() + greatest(coalesce(b.retry_ms, 1000), 0) * interval '1 millisecond' END,
               b.to_number, b.body, b.credential_id, b.attempts - (b.outcome = 'returned')::integer, b.source_table, b.idempotency_key,
               b.created_at, b.send_at, b.expires_at
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

-- Moves a message that is not being sent from byoc.messages back to the schedule.
CREATE FUNCTION byoc.requeue(org_id uuid, id uuid, from_status text[], event text) RETURNS boolean
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    message byoc.messages;
BEGIN
    DELETE FROM byoc.messages m WHERE m.org_id = requeue.org_id AND m.id = requeue.id AND m.status = ANY (from_status) RETURNING m.* INTO message;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    INSERT INTO byoc.schedule (org_id, id, due_at, to_number, body, credential_id, attempts, source_table, idempotency_key, created_at, send_at,
                               expires_at)
    VALUES (message.org_id, message.id, greatest(clock_timestamp(), message.send_at), message.to_number, message.body,
            message.credential_id, message.attempts, message.source_table, message.idempotency_key, message.created_at,
            greatest(now(), message.send_at), CASE WHEN event = 'resumed' OR message.expires_at > now() THEN message.expires_at END);
    INSERT INTO byoc.message_events (org_id, message_id, id, event, attempt)
    VALUES (message.org_id, message.id, byoc.uuid_v7(), requeue.event, message.attempts);
    PERFORM byoc.wake_dispatcher(message.org_id);
    RETURN true;
END
$$;
COMMENT ON FUNCTION byoc.requeue(uuid, uuid, text[], text) IS
    'Internal: sends a message of one of the given states again, with a new retry window and, unless resumed, without an expiry that has passed; '
    'false when there is none.';

-- The message''s organization for functions that take only its id.
CREATE FUNCTION byoc.message_org(id uuid) RETURNS uuid
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    found_org uuid := byoc.current_org_id();
BEGIN
    IF byoc.sees_all_organizations() THEN
        SELECT m.org_id INTO found_org FROM byoc.sms_messages m WHERE m.id = message_org.id;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'message % does not exist', id USING ERRCODE = 'no_data_found';
        END IF;
    END IF;
    PERFORM byoc.require_organization(found_org);
    RETURN found_org;
END
$$;
COMMENT ON FUNCTION byoc.message_org(uuid) IS
    'Internal: the organization whose message is meant: the tenant context''s, or for a role that sees all the message''s own.';

CREATE FUNCTION byoc.refuse_message_state(org_id uuid, id uuid, wish text) RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    state text;
BEGIN
    SELECT m.status INTO state FROM byoc.sms_messages m WHERE m.org_id = refuse_message_state.org_id AND m.id = refuse_message_state.id;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'message % does not exist', id USING ERRCODE = 'no_data_found';
    END IF;
    RAISE EXCEPTION 'message % is % and cannot be %', id, state, wish USING ERRCODE = 'object_not_in_prerequisite_state';
END
$$;
COMMENT ON FUNCTION byoc.refuse_message_state(uuid, uuid, text) IS 'Internal: raises why the message cannot be changed so.';

CREATE FUNCTION byoc.cancel_sms(id uuid) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    of_org uuid := byoc.message_org(id);
    cancelled integer := 0;
BEGIN
    -- Twice, because a message may move from the schedule to the queue while we wait for it.
    FOR try IN 1 .. 2 LOOP
        EXIT WHEN cancelled > 0;
        WITH unsent AS (
            DELETE FROM byoc.schedule s WHERE s.org_id = of_org AND s.id = cancel_sms.id
            RETURNING s.org_id, s.id, s.to_number, s.body, s.credential_id, s.attempts, s.source_table, s.idempotency_key, s.created_at, s.send_at, s.expires_at
        ), queued AS (
            DELETE FROM byoc.queue q WHERE q.org_id = of_org AND q.id = cancel_sms.id
                AND q.lane = (SELECT k.lane FROM byoc.queue k WHERE k.org_id = of_org AND k.id = cancel_sms.id)
            RETURNING q.org_id, q.id, q.to_number, q.body, q.credential_id, q.attempts, q.source_table, q.idempotency_key, q.created_at, q.send_at, q.expires_at
        ), stored AS (
            INSERT INTO byoc.messages (org_id, id, to_number, body, credential_id, attempts, source_table, idempotency_key, created_at, send_at,
                                       expires_at, status, finished_at)
            SELECT u.*, 'cancelled', clock_timestamp() FROM (TABLE unsent UNION ALL TABLE queued) AS u
            RETURNING messages.org_id, messages.id, messages.attempts
        ), paused AS (
            UPDATE byoc.messages m SET status = 'cancelled', finished_at = clock_timestamp()
            WHERE m.org_id = of_org AND m.id = cancel_sms.id AND m.status = 'queued'
            RETURNING m.org_id, m.id, m.attempts
        ), noted AS (
            INSERT INTO byoc.message_events (org_id, message_id, id, event, attempt)
            SELECT s.org_id, s.id, byoc.uuid_v7(), 'cancelled', s.attempts FROM (TABLE stored UNION ALL TABLE paused) AS s
            RETURNING 1
        )
        SELECT count(*) INTO cancelled FROM noted;
    END LOOP;
    IF cancelled = 0 THEN
        PERFORM byoc.refuse_message_state(of_org, id, 'cancelled');
    END IF;
END
$$;
COMMENT ON FUNCTION byoc.cancel_sms(uuid) IS 'Cancels a message that waits. Raises 55000 when it is being sent or final.';

CREATE FUNCTION byoc.retry_sms(id uuid) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    of_org uuid := byoc.message_org(id);
BEGIN
    IF EXISTS (SELECT FROM byoc.messages m WHERE m.org_id = of_org AND m.id = retry_sms.id AND m.error_code = 'refused') THEN
        RAISE EXCEPTION 'message % can never be sent: %', id,
            (SELECT m.error_message FROM byoc.messages m WHERE m.org_id = of_org AND m.id = retry_sms.id)
            USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Mend the row and send a new message.';
    END IF;
    IF NOT byoc.requeue(of_org, id, ARRAY['failed', 'undelivered', 'expired', 'cancelled'], 'retried') THEN
        PERFORM byoc.refuse_message_state(of_org, id, 'sent again');
    END IF;
END
$$;
COMMENT ON FUNCTION byoc.retry_sms(uuid) IS
    'Sends a failed, undelivered, expired or cancelled message again; an expiry that has passed no longer counts. Raises 55000 in any other state.';

CREATE FUNCTION byoc.resolve_unknown_sms(id uuid, resolution text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    of_org uuid := byoc.message_org(id);
    resolved boolean;
BEGIN
    IF resolution IS NULL OR resolution NOT IN ('sent', 'resend', 'failed') THEN
        RAISE EXCEPTION 'resolution must be sent, resend or failed, not "%"', resolution USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF resolution = 'resend' THEN
        resolved := byoc.requeue(of_org, id, ARRAY['unknown'], 'resolved');
    ELSE
        UPDATE byoc.messages m
        SET status = resolution, sent_at = CASE resolution WHEN 'sent' THEN clock_timestamp() END
        WHERE m.org_id = of_org AND m.id = resolve_unknown_sms.id AND m.status = 'unknown';
        resolved := FOUND;
        IF resolved THEN
            INSERT INTO byoc.message_events (org_id, message_id, id, event, attempt, error_message)
            SELECT m.org_id, m.id, byoc.uuid_v7(), 'resolved', m.attempts, format('resolved as %s', resolution)
            FROM byoc.messages m WHERE m.org_id = of_org AND m.id = resolve_unknown_sms.id;
        END IF;
    END IF;
    IF NOT resolved THEN
        PERFORM byoc.refuse_message_state(of_org, id, 'resolved');
    END IF;
END
$$;
COMMENT ON FUNCTION byoc.resolve_unknown_sms(uuid, text) IS
    'Decides a message whose answer was lost: sent (it arrived), resend (send it again) or failed (leave it).';
