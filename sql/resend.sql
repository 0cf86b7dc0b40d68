-- Sending again what the provider took and then reported as failed: what byoc.provider_errors calls resend, a bounded number of
-- times, and what it calls retry_later for as long as the message may be tried.

CREATE TABLE byoc.earlier_attempts (
    org_id uuid NOT NULL,
    provider_sid text NOT NULL,
    left_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (org_id, provider_sid)
);
COMMENT ON TABLE byoc.earlier_attempts IS
    'Provider''s ids of messages that are sent again, and whose rows forget them: what a message list shows under such an id is no other attempt. '
    'Not dumped.';
ALTER TABLE byoc.earlier_attempts ENABLE ROW LEVEL SECURITY;

CREATE FUNCTION byoc.resend_schedule() RETURNS interval[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN ARRAY['1 minute', '10 minutes']::interval[];
COMMENT ON FUNCTION byoc.resend_schedule() IS
    'How long after each report of an error of class resend a message is sent again; as often as there are times.';

CREATE FUNCTION byoc.resend_delay(class byoc.error_class, resends integer) RETURNS interval
LANGUAGE sql STABLE PARALLEL SAFE
RETURN CASE class WHEN 'resend' THEN (byoc.resend_schedule())[resends + 1]
                  WHEN 'retry_later' THEN least(interval '1 hour', (byoc.resend_schedule())[1] * 2 ^ least(resends, 20)) END;
COMMENT ON FUNCTION byoc.resend_delay(byoc.error_class, integer) IS
    'Internal: how long after a report of such an error a message that was sent again so many times is sent again; NULL: it is not.';

CREATE FUNCTION byoc.send_again(org_ids uuid[], ids uuid[]) RETURNS integer
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    resent integer;
BEGIN
    WITH due AS MATERIALIZED (
        SELECT m.org_id, m.id, m.error_code, m.error_message, clock_timestamp() + byoc.resend_delay(e.class, s.resends) AS due_at
        FROM unnest(org_ids, ids) AS t (org_id, id)
        JOIN byoc.messages m ON m.org_id = t.org_id AND m.id = t.id
        JOIN byoc.provider_errors e ON e.provider = 'twilio' AND e.code = m.error_code
        -- A person's retry begins a new count.
        CROSS JOIN LATERAL (
            SELECT count(*)::integer AS resends FROM byoc.message_events r
            WHERE r.org_id = m.org_id AND r.message_id = m.id AND r.event = 'resent'
              AND NOT EXISTS (SELECT FROM byoc.message_events p WHERE p.org_id = m.org_id AND p.message_id = m.id AND p.event = 'retried' AND p.id > r.id)) AS s
        WHERE m.status IN ('failed', 'undelivered')
          -- Whatever contradicts itself is not worth a second message.
          AND NOT EXISTS (SELECT FROM byoc.message_events d
                          WHERE d.org_id = m.org_id AND d.message_id = m.id AND d.attempt = m.attempts AND d.event IN ('delivered', 'read'))
          AND NOT EXISTS (SELECT FROM byoc.opt_outs o WHERE o.org_id = m.org_id AND o.number = m.to_number)
    ), back AS (
        DELETE FROM byoc.messages m USING due d
        WHERE m.org_id = d.org_id AND m.id = d.id
          AND d.due_at < coalesce(m.expires_at, greatest(m.send_at, m.created_at) + byoc.retry_window())
        RETURNING m.*, d.due_at, d.error_code AS code, d.error_message AS reason
    ), waiting AS (
        INSERT INTO byoc.schedule (org_id, id, due_at, to_number, body, segments, credential_id, attempts, source_table, idempotency_key,
                                   created_at, send_at, expires_at)
        SELECT b.org_id, b.id, b.due_at, b.to_number, b.body, coalesce(b.segments, 1), b.credential_id, b.attempts, b.source_table,
               b.idempotency_key, b.created_at, b.send_at, b.expires_at
        FROM back b
    ), kept AS (
        INSERT INTO byoc.earlier_attempts (org_id, provider_sid)
        SELECT b.org_id, b.provider_sid FROM back b WHERE b.provider_sid IS NOT NULL ON CONFLICT DO NOTHING
    ), noted AS (
        INSERT INTO byoc.message_events (org_id, message_id, id, event, attempt, error_code, error_message)
        SELECT b.org_id, b.id, byoc.uuid_v7(), 'resent', b.attempts, b.code, b.reason FROM back b
        RETURNING org_id
    )
    SELECT count(byoc.wake_dispatcher(n.org_id)) INTO resent FROM noted n;
    RETURN resent;
END
$$;
COMMENT ON FUNCTION byoc.send_again(uuid[], uuid[]) IS
    'Internal: schedules those of the messages again that just turned failed or undelivered with an error of class resend or retry_later, unless the '
    'recipient has opted out, the message would have expired by then, or it was sent often enough; returns how many.';
