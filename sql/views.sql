-- What tenants see. The views run with their owner's rights and show the rows of the tenant context's organization; a role
-- that bypasses row-level security and has no context sees all. Each branch is a plain scan by org_id, or nothing at all.
--
-- WITH is there to keep the barrier: PostgreSQL pulls a view that is a plain UNION ALL up into the query, security_barrier or
-- not, and runs a cheap function of the query on all rows before it compares org_id. With a WITH it leaves the view alone.

-- All messages of all organizations, wherever they are. Internal: only the view below reads it.
CREATE VIEW byoc.all_sms_messages AS
SELECT m.id, m.org_id, m.to_number, m.from_number, m.body, m.status::text AS status, m.provider_sid, m.error_code, m.error_message,
       m.attempts::integer AS attempts, m.segments::integer AS segments, m.source_table, m.created_at, m.sent_at, m.delivered_at,
       m.send_at, m.expires_at, m.credential_id, m.idempotency_key, NULL AS waiting_reason
FROM byoc.messages m
UNION ALL
SELECT q.id, q.org_id, q.to_number, NULL, q.body, 'queued', NULL, NULL, NULL,
       q.attempts, NULL, q.source_table, q.created_at, NULL, NULL, q.send_at, q.expires_at, q.credential_id, q.idempotency_key,
       (SELECT c.waiting_reason FROM byoc.senders c
        WHERE c.org_id = q.org_id AND (c.id = q.lane OR (c.is_default AND q.credential_id IS NULL)) ORDER BY c.id = q.lane DESC LIMIT 1)
FROM byoc.queue q
UNION ALL
SELECT s.id, s.org_id, s.to_number, NULL, s.body, CASE WHEN s.attempts = 0 AND s.due_at > clock_timestamp() THEN 'scheduled' ELSE 'queued' END, NULL, NULL, NULL,
       s.attempts, NULL, s.source_table, s.created_at, NULL, NULL, s.send_at, s.expires_at, s.credential_id, s.idempotency_key,
       (SELECT c.waiting_reason FROM byoc.senders c
        WHERE (s.attempts > 0 OR s.due_at <= now()) AND c.org_id = s.org_id
          AND CASE WHEN s.credential_id IS NULL THEN c.is_default ELSE c.id = s.credential_id END)
FROM byoc.schedule s;
COMMENT ON VIEW byoc.all_sms_messages IS 'Internal: messages of all organizations.';

CREATE VIEW byoc.sms_messages WITH (security_barrier) AS
WITH barrier AS (SELECT)
SELECT m.* FROM byoc.all_sms_messages m WHERE m.org_id = (SELECT byoc.current_org_id())
UNION ALL
SELECT m.* FROM byoc.all_sms_messages m WHERE (SELECT byoc.sees_all_organizations());
COMMENT ON VIEW byoc.sms_messages IS
    'The organization''s SMS with their status. INSERT (to_number, body, and optionally send_at, expires_at, credential_id, idempotency_key) queues one.';

COMMENT ON COLUMN byoc.sms_messages.waiting_reason IS 'Why a queued message is not sent although its time has come: its credential may not send; NULL: nothing stands in its way.';
COMMENT ON COLUMN byoc.sms_messages.id IS 'The message; what byoc.send_sms() returned.';
COMMENT ON COLUMN byoc.sms_messages.org_id IS 'The organization.';
COMMENT ON COLUMN byoc.sms_messages.to_number IS 'The recipient, E.164; NULL: the row that it was made of had none.';
COMMENT ON COLUMN byoc.sms_messages.from_number IS 'The sender, as the provider says; NULL: it did not say yet.';
COMMENT ON COLUMN byoc.sms_messages.body IS 'The text.';
COMMENT ON COLUMN byoc.sms_messages.status IS
    'A state of byoc.message_status. scheduled: for later. queued: its turn is to come, also for another attempt.';
COMMENT ON COLUMN byoc.sms_messages.provider_sid IS 'The provider''s id of it; NULL: not accepted.';
COMMENT ON COLUMN byoc.sms_messages.error_code IS 'Why it failed: the provider''s code (byoc.provider_errors), or a word.';
COMMENT ON COLUMN byoc.sms_messages.error_message IS 'The same as a sentence.';
COMMENT ON COLUMN byoc.sms_messages.attempts IS 'How often a request was made.';
COMMENT ON COLUMN byoc.sms_messages.segments IS 'Segments that the provider billed, or our own count until it says; NULL: not tried yet.';
COMMENT ON COLUMN byoc.sms_messages.source_table IS 'Table whose trigger made it; NULL: none did.';
COMMENT ON COLUMN byoc.sms_messages.created_at IS 'When it was queued.';
COMMENT ON COLUMN byoc.sms_messages.sent_at IS 'When the provider took it.';
COMMENT ON COLUMN byoc.sms_messages.delivered_at IS 'When the provider reported it delivered.';
COMMENT ON COLUMN byoc.sms_messages.send_at IS 'Not sent before.';
COMMENT ON COLUMN byoc.sms_messages.expires_at IS 'Not sent after; NULL: tried for byoc.retry_window().';
COMMENT ON COLUMN byoc.sms_messages.credential_id IS 'Credential that the sender asked for; NULL: the organization''s default.';
COMMENT ON COLUMN byoc.sms_messages.idempotency_key IS 'As the sender gave it.';

CREATE FUNCTION byoc.sms_messages_insert() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY INVOKER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    new_id uuid;
BEGIN
    IF num_nonnulls(NEW.id, NEW.status, NEW.from_number, NEW.provider_sid, NEW.error_code, NEW.error_message, NEW.attempts, NEW.segments,
                    NEW.source_table, NEW.created_at, NEW.sent_at, NEW.delivered_at, NEW.waiting_reason) > 0 THEN
        RAISE EXCEPTION 'only org_id, to_number, body, send_at, expires_at, credential_id and idempotency_key of a message can be given'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    new_id := byoc.send_sms(NEW.to_number, NEW.body, coalesce(NEW.send_at, now()), NEW.credential_id, NEW.idempotency_key,
                            NEW.expires_at, coalesce(NEW.org_id, byoc.current_org_id()));
    SELECT * INTO NEW FROM byoc.sms_messages m WHERE m.id = new_id AND m.org_id = coalesce(NEW.org_id, byoc.current_org_id());
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION byoc.sms_messages_insert() IS 'Internal: INSERT on byoc.sms_messages.';
CREATE TRIGGER sms_messages_insert INSTEAD OF INSERT ON byoc.sms_messages FOR EACH ROW EXECUTE FUNCTION byoc.sms_messages_insert();

CREATE VIEW byoc.sms_events WITH (security_barrier) AS
WITH barrier AS (SELECT)
SELECT e.id, e.org_id, e.message_id, e.at, e.event, e.attempt::integer AS attempt, e.http_status::integer AS http_status, e.error_code,
       e.error_message, e.provider_sid, e.duration_ms
FROM byoc.message_events e WHERE e.org_id = (SELECT byoc.current_org_id())
UNION ALL
SELECT e.id, e.org_id, e.message_id, e.at, e.event, e.attempt::integer, e.http_status::integer, e.error_code,
       e.error_message, e.provider_sid, e.duration_ms
FROM byoc.message_events e WHERE (SELECT byoc.sees_all_organizations());
COMMENT ON VIEW byoc.sms_events IS
    'History of the organization''s SMS: one row for each attempt''s outcome (accepted, rejected, throttled, unavailable, unknown, returned) '
    'and each other change (refused, rescued, found, not_found, late, expired, cancelled, retried, resent, resolved, resumed), what the '
    'provider reported later (sent, delivered, undelivered, failed, ...), and settled: a report that proved an attempt whose answer was lost.';
COMMENT ON COLUMN byoc.sms_events.id IS 'Rises with time, within a session.';
COMMENT ON COLUMN byoc.sms_events.org_id IS 'The organization.';
COMMENT ON COLUMN byoc.sms_events.message_id IS 'The message.';
COMMENT ON COLUMN byoc.sms_events.at IS 'When it happened.';
COMMENT ON COLUMN byoc.sms_events.event IS 'What happened: see above.';
COMMENT ON COLUMN byoc.sms_events.attempt IS 'Attempt that it is about, counted from 1; 0: none was made.';
COMMENT ON COLUMN byoc.sms_events.http_status IS 'Of the provider''s answer; NULL: there was none.';
COMMENT ON COLUMN byoc.sms_events.error_code IS 'The provider''s code, or a word.';
COMMENT ON COLUMN byoc.sms_events.error_message IS 'The same as a sentence.';
COMMENT ON COLUMN byoc.sms_events.provider_sid IS 'The provider''s id of the message.';
COMMENT ON COLUMN byoc.sms_events.duration_ms IS 'From the request''s start to its outcome, in milliseconds.';

CREATE VIEW byoc.sms_triggers AS
SELECT d.target, d.name::text AS name, d.to_number, d.body, d.org_column AS org_id, d.condition, d.on_error,
       pg_get_triggerdef(t.oid) AS definition, d.created_by::text AS created_by, d.created_at
FROM byoc.sms_trigger_definitions d
JOIN pg_trigger t ON t.tgrelid = d.target AND t.tgname = d.name
WHERE has_table_privilege(d.target, 'SELECT, TRIGGER');
COMMENT ON VIEW byoc.sms_triggers IS 'Triggers made by byoc.create_sms_trigger on tables that the current role can read or put triggers on.';
COMMENT ON COLUMN byoc.sms_triggers.target IS 'Table that it is on.';
COMMENT ON COLUMN byoc.sms_triggers.name IS 'The trigger''s name.';
COMMENT ON COLUMN byoc.sms_triggers.to_number IS 'Template: the recipient.';
COMMENT ON COLUMN byoc.sms_triggers.body IS 'Template: the text.';
COMMENT ON COLUMN byoc.sms_triggers.definition IS 'Its CREATE TRIGGER statement.';
COMMENT ON COLUMN byoc.sms_triggers.org_id IS 'Column of the table that holds a row''s organization.';
COMMENT ON COLUMN byoc.sms_triggers.condition IS 'SQL over NEW and OLD, true for the rows that count; NULL: all of them.';
COMMENT ON COLUMN byoc.sms_triggers.on_error IS 'record: a bad row becomes a failed message. raise: it is an error.';
COMMENT ON COLUMN byoc.sms_triggers.created_by IS 'Database role that made it.';
COMMENT ON COLUMN byoc.sms_triggers.created_at IS 'When it was made.';

-- Row estimates of EXPLAIN are made from statistics of all organizations: without these nobody can ask whether a number, a
-- name or an organization is among them. The primary keys decide every plan that matters.
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

ALTER TABLE byoc.organizations ENABLE ROW LEVEL SECURITY;
-- Whoever may create organizations administers them all; everybody else sees the one of the tenant context. The function is
-- looked up now, as regprocedure: text would be by each caller's search_path, with the caller's types.
CREATE POLICY own_or_administered ON byoc.organizations
    USING (id = (SELECT byoc.current_org_id()) OR (SELECT has_function_privilege('byoc.create_organization(text, uuid)'::regprocedure, 'EXECUTE')));
