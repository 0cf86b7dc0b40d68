-- What people do to messages: cancel, send again, decide.

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
    INSERT INTO byoc.schedule (org_id, id, due_at, to_number, body, segments, credential_id, attempts, source_table, idempotency_key, created_at, send_at,
                               expires_at)
    VALUES (message.org_id, message.id, greatest(clock_timestamp(), message.send_at), message.to_number, message.body, coalesce(message.segments, 1),
            message.credential_id, message.attempts, message.source_table, message.idempotency_key, message.created_at,
            greatest(now(), message.send_at), CASE WHEN event = 'resumed' OR message.expires_at > now() THEN message.expires_at END);
    INSERT INTO byoc.earlier_attempts (org_id, provider_sid)
    SELECT message.org_id, message.provider_sid WHERE message.provider_sid IS NOT NULL ON CONFLICT DO NOTHING;
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
            RETURNING s.org_id, s.id, s.to_number, s.body, s.segments, s.credential_id, s.attempts, s.source_table, s.idempotency_key, s.created_at, s.send_at, s.expires_at
        ), queued AS (
            DELETE FROM byoc.queue q WHERE q.org_id = of_org AND q.id = cancel_sms.id
                AND q.lane = (SELECT k.lane FROM byoc.queue k WHERE k.org_id = of_org AND k.id = cancel_sms.id)
            RETURNING q.org_id, q.id, q.to_number, q.body, q.segments, q.credential_id, q.attempts, q.source_table, q.idempotency_key, q.created_at, q.send_at, q.expires_at
        ), stored AS (
            INSERT INTO byoc.messages (org_id, id, to_number, body, segments, credential_id, attempts, source_table, idempotency_key, created_at, send_at,
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
    DELETE FROM byoc.unknown_messages u WHERE u.org_id = of_org AND u.message_id = resolve_unknown_sms.id;
END
$$;
COMMENT ON FUNCTION byoc.resolve_unknown_sms(uuid, text) IS
    'Decides a message whose answer was lost: sent (it arrived), resend (send it again) or failed (leave it).';
