-- For `byocd check`: what an organization sends with, and one test message through the queue.

CREATE FUNCTION byoc.check_subject(org_id uuid)
RETURNS TABLE (organization text, alert_phone text, credential_id uuid, state text, verification_status text, verification_error text,
               has_dispatcher boolean)
LANGUAGE sql STABLE SECURITY DEFINER
BEGIN ATOMIC
    SELECT o.name, o.settings ->> 'alert_phone', c.id,
           CASE WHEN o.shredded_at IS NOT NULL THEN 'shredded'
                WHEN c.id IS NULL THEN 'none'
                WHEN NOT c.is_active THEN 'revoked'
                WHEN NOT c.is_default THEN 'no_default'
                ELSE 'ready' END,
           c.verification_status, c.verification_error,
           byoc.sleeping_dispatchers() > 0 OR EXISTS (
               SELECT FROM pg_catalog.pg_stat_activity a
               WHERE a.application_name = 'byocd' AND a.datname = pg_catalog.current_database())
    FROM byoc.organizations o
    LEFT JOIN LATERAL (
        SELECT d.id, d.is_active, d.is_default, d.verification_status, d.verification_error FROM byoc.organization_api_credentials d
        WHERE d.org_id = o.id AND d.credential_type = 'twilio'
        ORDER BY d.is_default DESC, d.is_active DESC, d.created_at DESC LIMIT 1) AS c ON true
    WHERE o.id = check_subject.org_id;
END;
COMMENT ON FUNCTION byoc.check_subject(uuid) IS
    'For byocd check: the organization and the twilio credential that it sends with; no row when there is no such organization. state: ready, none, '
    'no_default, revoked (the last one it had) or shredded. has_dispatcher: a byocd is connected to this database.';

CREATE FUNCTION byoc.send_check_sms(org_id uuid, to_number text, body text) RETURNS uuid
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    message_id uuid;
BEGIN
    PERFORM byoc.require_adopted();
    IF NOT EXISTS (SELECT FROM byoc.organizations o WHERE o.id = send_check_sms.org_id AND o.shredded_at IS NULL) THEN
        RAISE EXCEPTION 'organization % does not exist or was shredded', org_id USING ERRCODE = 'foreign_key_violation';
    END IF;
    message_id := byoc.enqueue_sms(org_id, to_number, body, NULL, NULL, clock_timestamp() + interval '2 minutes', NULL);
    PERFORM byoc.audit(org_id, 'check.sms_queued', message_id);
    RETURN message_id;
END
$$;
COMMENT ON FUNCTION byoc.send_check_sms(uuid, text, text) IS
    'For byocd check: queues a test message that goes the way of every other one and is not sent any more after two minutes. Audited.';

CREATE FUNCTION byoc.check_sms(org_id uuid, id uuid)
RETURNS TABLE (status text, provider_sid text, error_code text, error_message text)
LANGUAGE sql STABLE SECURITY DEFINER
BEGIN ATOMIC
    SELECT m.status, m.provider_sid, m.error_code, m.error_message
    FROM byoc.all_sms_messages m WHERE m.org_id = check_sms.org_id AND m.id = check_sms.id;
END;
COMMENT ON FUNCTION byoc.check_sms(uuid, uuid) IS 'For byocd check: how the message is doing that byoc.send_check_sms queued; or any other.';
