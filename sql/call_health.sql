-- Who waits with calls, for how long and why.

CREATE VIEW byoc.all_call_health AS
SELECT w.org_id, w.credential_type, nullif(w.credential_id, '00000000-0000-0000-0000-000000000000') AS credential_id, w.waiting, w.oldest_waiting, w.retrying, w.running,
       CASE WHEN b.paused_until > clock_timestamp() THEN b.paused_until END AS paused_until, coalesce(b.failures, 0) AS failures,
       CASE WHEN w.credential_id = '00000000-0000-0000-0000-000000000000' AND k.id IS NULL THEN 'the organization has no default credential of that type'
            WHEN byoc.is_barred(k.verification_status)
            THEN CASE k.verification_status WHEN 'failed' THEN 'the credential failed' ELSE 'the credential is not verified yet' END
                 || coalesce(': ' || k.verification_error, '') END AS paused
FROM (SELECT c.org_id, c.credential_type, c.credential_id, count(*) FILTER (WHERE c.status = 'available') AS waiting,
             clock_timestamp() - min(c.due_at) FILTER (WHERE c.status = 'available' AND c.due_at <= clock_timestamp()) AS oldest_waiting,
             count(*) FILTER (WHERE c.status = 'retryable') AS retrying, count(*) FILTER (WHERE c.status = 'running') AS running
      FROM byoc.calls c WHERE c.due_at IS NOT NULL GROUP BY c.org_id, c.credential_type, c.credential_id) AS w
LEFT JOIN byoc.organization_api_credentials k ON k.org_id = w.org_id AND k.credential_type = w.credential_type
    AND CASE w.credential_id WHEN '00000000-0000-0000-0000-000000000000' THEN k.is_default ELSE k.id = w.credential_id END
LEFT JOIN byoc.call_breakers b ON b.org_id = w.org_id AND b.credential_type = w.credential_type AND b.credential_id = w.credential_id
    AND (b.used_credential_id, b.used_credential_version) IS NOT DISTINCT FROM (k.id, k.version);
COMMENT ON VIEW byoc.all_call_health IS 'Internal: byoc.call_health of all organizations.';

CREATE VIEW byoc.call_health WITH (security_barrier) AS
WITH barrier AS (SELECT)
SELECT h.* FROM byoc.all_call_health h WHERE h.org_id = (SELECT byoc.current_org_id())
UNION ALL
SELECT h.* FROM byoc.all_call_health h WHERE (SELECT byoc.sees_all_organizations());
COMMENT ON VIEW byoc.call_health IS 'Credentials with calls that wait or are being made: calendar events, webhooks. byoc.queue_health is the same for messages.';
COMMENT ON COLUMN byoc.call_health.credential_id IS 'NULL: the organization''s default one of that type.';
COMMENT ON COLUMN byoc.call_health.oldest_waiting IS 'How long the first of those that could be made has been waiting.';
COMMENT ON COLUMN byoc.call_health.retrying IS 'Calls that failed and wait for their next attempt.';
COMMENT ON COLUMN byoc.call_health.paused_until IS 'Until then none is made: the provider asked for it, or failed too often; NULL: no such pause.';
COMMENT ON COLUMN byoc.call_health.failures IS 'Failures of the provider in a row.';
COMMENT ON COLUMN byoc.call_health.paused IS 'Why none is made before somebody does something; NULL: nothing stands in the way.';
COMMENT ON COLUMN byoc.call_health.org_id IS 'The organization.';
COMMENT ON COLUMN byoc.call_health.credential_type IS 'What kind of call: the provider.';
COMMENT ON COLUMN byoc.call_health.waiting IS 'Calls that wait for their turn or time.';
COMMENT ON COLUMN byoc.call_health.running IS 'Calls that are being made.';
