-- What recipients send back, and who does not want to hear from an organization any more.

CREATE TABLE byoc.inbound_messages (
    org_id uuid NOT NULL,
    id uuid NOT NULL DEFAULT byoc.uuid_v7(),
    credential_id uuid NOT NULL,
    provider_sid text NOT NULL,
    from_number text NOT NULL,
    to_number text NOT NULL,
    body text NOT NULL,
    keyword text CHECK (keyword IN ('stop', 'start', 'help')),
    received_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (org_id, id),
    UNIQUE (org_id, provider_sid)
);
COMMENT ON TABLE byoc.inbound_messages IS
    'Messages that recipients sent to an organization''s numbers, each once. A superuser can put an AFTER INSERT trigger on it, whose '
    'function should be SECURITY DEFINER and the application''s: it runs with the rights of the extension''s owner otherwise.';
COMMENT ON COLUMN byoc.inbound_messages.credential_id IS 'Credential whose webhook it came by.';
COMMENT ON COLUMN byoc.inbound_messages.keyword IS 'stop, start or help when that is all it says, or what the provider made of it; else NULL.';
COMMENT ON COLUMN byoc.inbound_messages.org_id IS 'The organization.';
COMMENT ON COLUMN byoc.inbound_messages.id IS 'The message.';
COMMENT ON COLUMN byoc.inbound_messages.provider_sid IS 'The provider''s id of it.';
COMMENT ON COLUMN byoc.inbound_messages.from_number IS 'Who sent it, E.164.';
COMMENT ON COLUMN byoc.inbound_messages.to_number IS 'The organization''s number that it came to.';
COMMENT ON COLUMN byoc.inbound_messages.body IS 'Its text.';
COMMENT ON COLUMN byoc.inbound_messages.received_at IS 'When it came in.';
ALTER TABLE byoc.inbound_messages ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON byoc.inbound_messages FOR SELECT USING (org_id = (SELECT byoc.current_org_id()));
SELECT pg_extension_config_dump('byoc.inbound_messages', '');

-- extension/opt_outs.cpp finds rows by the first two columns.
CREATE TABLE byoc.opt_outs (
    org_id uuid NOT NULL,
    number text NOT NULL,
    source text NOT NULL CHECK (source IN ('inbound', 'provider')),
    opted_out_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (org_id, number)
);
COMMENT ON TABLE byoc.opt_outs IS
    'Numbers that an organization must not text: what it sends them fails at once, with code 21610 and without a request. START from the '
    'number lifts it, or byoc.lift_opt_out().';
COMMENT ON COLUMN byoc.opt_outs.source IS 'inbound: the recipient''s own word came by webhook. provider: it refused a message with 21610.';
COMMENT ON COLUMN byoc.opt_outs.org_id IS 'The organization.';
COMMENT ON COLUMN byoc.opt_outs.number IS 'E.164.';
COMMENT ON COLUMN byoc.opt_outs.opted_out_at IS 'When it was first heard of.';
ALTER TABLE byoc.opt_outs ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON byoc.opt_outs FOR SELECT USING (org_id = (SELECT byoc.current_org_id()));
SELECT pg_extension_config_dump('byoc.opt_outs', '');
CREATE TRIGGER forget_lookups AFTER INSERT OR UPDATE OR DELETE ON byoc.opt_outs FOR EACH ROW EXECUTE FUNCTION byoc.forget_lookups();
ALTER TABLE byoc.opt_outs ENABLE ALWAYS TRIGGER forget_lookups; -- also for replicated changes

CREATE INDEX organization_api_credentials_id ON byoc.organization_api_credentials (id);

CREATE FUNCTION byoc.inbound_keyword(body text, provider_keyword text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
           WHEN upper(provider_keyword) IN ('STOP', 'START', 'HELP') THEN lower(provider_keyword)
           WHEN upper(btrim(body, E' \t\r\n')) IN ('STOP', 'STOPALL', 'UNSUBSCRIBE', 'CANCEL', 'END', 'QUIT', 'REVOKE', 'OPTOUT') THEN 'stop'
           WHEN upper(btrim(body, E' \t\r\n')) IN ('START', 'YES', 'UNSTOP') THEN 'start'
           WHEN upper(btrim(body, E' \t\r\n')) IN ('HELP', 'INFO') THEN 'help' END;
COMMENT ON FUNCTION byoc.inbound_keyword(text, text) IS
    'Internal: what a message means for opting out: what the provider says (Twilio''s OptOutType), else its default words '
    '(https://help.twilio.com/articles/223134027).';

CREATE FUNCTION byoc.opt_out(org_id uuid, number text, source text) RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    reason text := byoc.receipt_reason('21610');
BEGIN
    -- No waiting for an open transaction of the tenant, which would hold up everybody's receipts.
    PERFORM FROM byoc.opt_outs o WHERE o.org_id = opt_out.org_id AND o.number = opt_out.number FOR KEY SHARE NOWAIT;
    IF NOT FOUND THEN
        INSERT INTO byoc.opt_outs (org_id, number, source) VALUES (opt_out.org_id, opt_out.number, opt_out.source) ON CONFLICT DO NOTHING;
    END IF;
    -- What waits must not go out either. What is locked is being claimed or cancelled.
    WITH unsent AS (
        DELETE FROM byoc.schedule s
        WHERE s.ctid = ANY (ARRAY(SELECT w.ctid FROM byoc.schedule w WHERE w.org_id = opt_out.org_id AND w.to_number = opt_out.number
                                  FOR UPDATE SKIP LOCKED))
        RETURNING s.org_id, s.id, s.to_number, s.body, s.credential_id, s.attempts, s.source_table, s.idempotency_key, s.created_at, s.send_at, s.expires_at, s.segments
    ), queued AS (
        DELETE FROM byoc.queue q
        WHERE q.ctid = ANY (ARRAY(SELECT w.ctid FROM byoc.queue w WHERE w.org_id = opt_out.org_id AND w.to_number = opt_out.number
                                  FOR UPDATE SKIP LOCKED))
        RETURNING q.org_id, q.id, q.to_number, q.body, q.credential_id, q.attempts, q.source_table, q.idempotency_key, q.created_at, q.send_at, q.expires_at, q.segments
    ), stored AS (
        INSERT INTO byoc.messages (org_id, id, to_number, body, credential_id, attempts, source_table, idempotency_key, created_at, send_at,
                                   expires_at, segments, status, finished_at, error_code, error_message)
        SELECT u.*, 'failed', clock_timestamp(), '21610', reason FROM (TABLE unsent UNION ALL TABLE queued) AS u
        RETURNING messages.org_id, messages.id, messages.attempts
    )
    INSERT INTO byoc.message_events (org_id, message_id, id, event, attempt, error_code, error_message)
    SELECT s.org_id, s.id, byoc.uuid_v7(), 'refused', s.attempts, '21610', reason FROM stored s;
END
$$;
COMMENT ON FUNCTION byoc.opt_out(uuid, text, text) IS 'Internal: notes an opt-out, and fails the messages to that number that wait. Raises 55P03 while '
    'it is being lifted.';

CREATE FUNCTION byoc.lift_opt_out(number text, org_id uuid DEFAULT byoc.current_org_id()) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM byoc.require_organization(org_id, 'admin');
    DELETE FROM byoc.opt_outs o WHERE o.org_id = lift_opt_out.org_id AND o.number = lift_opt_out.number;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the number has not opted out' USING ERRCODE = 'no_data_found';
    END IF;
END
$$;
COMMENT ON FUNCTION byoc.lift_opt_out(text, uuid) IS
    'Lets messages to a number go out again, for a START that did not come this way. The provider may still refuse them. Needs the organization role admin.';

-- For byocd

CREATE FUNCTION byoc.inbound_credential(credential_id uuid) RETURNS TABLE (org_id uuid, version integer)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT c.org_id, c.version FROM byoc.organization_api_credentials c
    WHERE c.id = inbound_credential.credential_id AND c.is_active AND c.credential_type = 'twilio';
END
$$;
COMMENT ON FUNCTION byoc.inbound_credential(uuid) IS 'For byocd: whose active Twilio credential this is; no row when there is none.';

CREATE FUNCTION byoc.record_inbound(org_id uuid, credential_id uuid, provider_sid text, from_number text, to_number text, body text,
                                    provider_keyword text) RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    keyword text := byoc.inbound_keyword(body, provider_keyword);
    problem text;
BEGIN
    BEGIN
        INSERT INTO byoc.inbound_messages (org_id, credential_id, provider_sid, from_number, to_number, body, keyword)
        VALUES (record_inbound.org_id, record_inbound.credential_id, record_inbound.provider_sid, record_inbound.from_number,
                record_inbound.to_number, record_inbound.body, keyword)
        ON CONFLICT ON CONSTRAINT inbound_messages_org_id_provider_sid_key DO NOTHING;
        IF NOT FOUND THEN
            RETURN NULL; -- told before; a later word may have come since
        END IF;
    EXCEPTION WHEN OTHERS THEN
        problem := SQLSTATE; -- an application's trigger must not keep anybody from opting out
    END;
    IF keyword = 'stop' THEN
        PERFORM byoc.opt_out(org_id, from_number, 'inbound');
    ELSIF keyword = 'start' THEN
        DELETE FROM byoc.opt_outs o
        WHERE o.ctid = (SELECT w.ctid FROM byoc.opt_outs w WHERE w.org_id = record_inbound.org_id AND w.number = record_inbound.from_number
                        FOR UPDATE SKIP LOCKED);
    END IF;
    RETURN problem;
END
$$;
COMMENT ON FUNCTION byoc.record_inbound(uuid, uuid, text, text, text, text, text) IS
    'For byocd: keeps a message that came in and does what STOP and START mean. Returns NULL or, when an application''s trigger kept it from being '
    'kept, the SQLSTATE: bring it again.';

CREATE FUNCTION byoc.note_refusals(org_ids uuid[], ids uuid[]) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM byoc.opt_out(m.org_id, m.to_number, 'provider')
    FROM unnest(org_ids, ids) AS t (org_id, id)
    JOIN byoc.messages m ON m.org_id = t.org_id AND m.id = t.id
    WHERE m.status = 'failed' AND m.error_code = '21610'
      AND NOT EXISTS (SELECT FROM byoc.opt_outs o WHERE o.org_id = m.org_id AND o.number = m.to_number);
END
$$;
COMMENT ON FUNCTION byoc.note_refusals(uuid[], uuid[]) IS 'For byocd: messages that the provider refused; those with 21610 tell who has opted out.';
