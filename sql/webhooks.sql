-- Webhooks: signed events to a tenant's own address, made as calls (calls.sql). A call's payload is the body as it is sent:
-- {"type": event type, "timestamp": when it happened, "data": what the application says about it}, as Standard Webhooks has it.

CREATE FUNCTION byoc.webhook_problem(event_type text, payload jsonb) RETURNS text
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF event_type IS NULL OR event_type !~ '^[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*$' OR length(event_type) > 128 THEN
        RETURN 'event_type must be words of letters, digits and _ with dots between them, such as lead.created, of at most 128 characters';
    ELSIF event_type ~ '^byoc\.' THEN
        RETURN 'event types that begin with byoc. are reserved';
    ELSIF payload IS NULL THEN
        RETURN 'payload must not be null';
    ELSIF octet_length(payload::text) > 65536 THEN
        RETURN 'payload must have at most 64 kB as text';
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION byoc.webhook_problem(text, jsonb) IS 'Internal: why there can be no such event, as a sentence; NULL: there can.';

CREATE FUNCTION byoc.webhook_body(event_type text, payload jsonb) RETURNS jsonb
LANGUAGE sql STABLE
RETURN jsonb_build_object('type', event_type, 'timestamp', to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), 'data', payload);
COMMENT ON FUNCTION byoc.webhook_body(text, jsonb) IS 'Internal: an event of this transaction as it is sent.';

CREATE FUNCTION byoc.call_webhook(event_type text, payload jsonb DEFAULT '{}', send_at timestamptz DEFAULT now(), credential_id uuid DEFAULT NULL,
                                  idempotency_key text DEFAULT NULL, org_id uuid DEFAULT byoc.current_org_id()) RETURNS uuid
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    problem CONSTANT text := byoc.webhook_problem(event_type, payload);
    id uuid := byoc.uuid_v7();
BEGIN
    PERFORM byoc.require_organization(org_id);
    IF NOT EXISTS (SELECT FROM byoc.organizations o WHERE o.id = org_id AND o.shredded_at IS NULL) THEN
        RAISE EXCEPTION 'organization % does not exist or was shredded', org_id USING ERRCODE = 'foreign_key_violation';
    ELSIF problem IS NOT NULL THEN
        RAISE EXCEPTION '%', problem USING ERRCODE = 'invalid_parameter_value';
    ELSIF credential_id IS NOT NULL AND NOT EXISTS (
        SELECT FROM byoc.organization_api_credentials c
        WHERE c.org_id = call_webhook.org_id AND c.id = call_webhook.credential_id AND c.credential_type = 'webhook' AND c.is_active) THEN
        RAISE EXCEPTION 'credential % is not an active webhook credential of the organization', credential_id
            USING ERRCODE = 'invalid_parameter_value', HINT = 'byoc.credentials lists them; NULL means the default one.';
    ELSIF length(idempotency_key) NOT BETWEEN 1 AND 255 THEN
        RAISE EXCEPTION 'idempotency_key must have 1 to 255 characters' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF idempotency_key IS NULL THEN
        RETURN byoc.enqueue_call(org_id, 'webhook', 'event', byoc.webhook_body(event_type, payload), NULL, credential_id, send_at, NULL, id);
    END IF;
    -- The same key is the same call. A concurrent one is waited for.
    id := encode(substr(sha256(convert_to('webhook ' || org_id || ' ' || idempotency_key, 'UTF8')), 1, 16), 'hex')::uuid;
    BEGIN
        PERFORM byoc.enqueue_call(org_id, 'webhook', 'event', byoc.webhook_body(event_type, payload), NULL, credential_id, send_at, NULL, id);
    EXCEPTION WHEN unique_violation THEN
        NULL;
    END;
    RETURN id;
END
$$;
COMMENT ON FUNCTION byoc.call_webhook(text, jsonb, timestamptz, uuid, text, uuid) IS
    'Sends an event to the organization''s webhook (its default one, or credential_id) once this transaction commits, or at send_at; returns its id, '
    'which is the receiver''s webhook-id. event_type is like lead.created, payload any JSON of at most 64 kB. The same idempotency_key of an '
    'organization returns the first event''s id, for as long as that is kept.';

CREATE VIEW byoc.all_webhook_calls AS
SELECT c.id, c.org_id, c.payload ->> 'type' AS event_type, c.payload -> 'data' AS payload,
       nullif(c.credential_id, '00000000-0000-0000-0000-000000000000') AS credential_id,
       CASE c.status WHEN 'running' THEN 'sending' WHEN 'retryable' THEN 'retrying' WHEN 'completed' THEN 'delivered' WHEN 'discarded' THEN 'failed'
                     WHEN 'cancelled' THEN 'cancelled' WHEN 'available' THEN CASE WHEN c.due_at > clock_timestamp() THEN 'scheduled' ELSE 'queued' END
                     ELSE 'queued' END AS status,
       c.attempts::integer AS attempts, c.http_status::integer AS http_status, c.error_code, c.error_message,
       CASE WHEN c.status = 'paused' THEN 'paused: it came with a restored database (byoc.resume_restored)'
            WHEN c.finished_at IS NULL AND c.id IS NOT NULL AND c.credential_id = '00000000-0000-0000-0000-000000000000' AND k.id IS NULL THEN 'paused: the organization has no webhook'
            WHEN c.finished_at IS NULL AND byoc.is_barred(k.verification_status)
            THEN 'paused: ' || CASE k.verification_status WHEN 'failed' THEN 'the credential failed' ELSE 'the credential is not verified yet' END
                 || coalesce(': ' || k.verification_error, '') END AS waiting_reason,
       c.source_table, c.created_at, CASE WHEN c.status IN ('available', 'retryable') THEN c.due_at END AS next_at, c.finished_at
FROM byoc.calls c
LEFT JOIN byoc.organization_api_credentials k ON k.org_id = c.org_id AND k.credential_type = 'webhook'
    AND CASE c.credential_id WHEN '00000000-0000-0000-0000-000000000000' THEN k.is_default ELSE k.id = c.credential_id END
WHERE c.credential_type = 'webhook';
COMMENT ON VIEW byoc.all_webhook_calls IS 'Internal: webhook events of all organizations.';

CREATE VIEW byoc.webhook_calls WITH (security_barrier) AS
WITH barrier AS (SELECT)
SELECT c.* FROM byoc.all_webhook_calls c WHERE c.org_id = (SELECT byoc.current_org_id())
UNION ALL
SELECT c.* FROM byoc.all_webhook_calls c WHERE (SELECT byoc.sees_all_organizations());
COMMENT ON VIEW byoc.webhook_calls IS 'The organization''s webhook events, made by byoc.call_webhook and by triggers of byoc.create_webhook_trigger.';
COMMENT ON COLUMN byoc.webhook_calls.id IS 'The receiver''s webhook-id.';
COMMENT ON COLUMN byoc.webhook_calls.status IS
    'scheduled: for later. queued: its turn is to come. sending: on its way. retrying: the receiver did not take it, and is asked again at next_at. delivered: the '
    'receiver answered 2xx. failed: refused for good, or for 24 hours; byoc.retry_webhook sends it again. cancelled: by byoc.cancel_webhook.';
COMMENT ON COLUMN byoc.webhook_calls.waiting_reason IS 'Why it waits although its time has come: its credential may not be used; NULL: nothing stands in its way.';
COMMENT ON COLUMN byoc.webhook_calls.org_id IS 'The organization.';
COMMENT ON COLUMN byoc.webhook_calls.event_type IS 'As it was given to byoc.call_webhook() or the trigger.';
COMMENT ON COLUMN byoc.webhook_calls.payload IS 'What the event is about: data in the body that is sent.';
COMMENT ON COLUMN byoc.webhook_calls.credential_id IS 'Credential that was asked for; NULL: the default one.';
COMMENT ON COLUMN byoc.webhook_calls.attempts IS 'How often it was tried.';
COMMENT ON COLUMN byoc.webhook_calls.http_status IS 'Of the last answer; NULL: there was none.';
COMMENT ON COLUMN byoc.webhook_calls.error_code IS 'Why the last attempt failed, as a word or number.';
COMMENT ON COLUMN byoc.webhook_calls.error_message IS 'The same as a sentence.';
COMMENT ON COLUMN byoc.webhook_calls.source_table IS 'Table whose trigger made it; NULL: byoc.call_webhook().';
COMMENT ON COLUMN byoc.webhook_calls.created_at IS 'When it was made.';
COMMENT ON COLUMN byoc.webhook_calls.next_at IS 'When it is tried next; NULL: it is not waiting.';
COMMENT ON COLUMN byoc.webhook_calls.finished_at IS 'When it was delivered, given up or cancelled; NULL: not yet.';

CREATE FUNCTION byoc.change_webhook(id uuid, from_status text[], to_status text) RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    of_org uuid := byoc.current_org_id();
    found_status text;
    obstacle text;
BEGIN
    IF byoc.sees_all_organizations() THEN
        SELECT c.org_id INTO of_org FROM byoc.calls c WHERE c.id = change_webhook.id AND c.credential_type = 'webhook';
    ELSE
        PERFORM byoc.require_organization(of_org);
    END IF;
    IF to_status = 'available' THEN
        SELECT CASE WHEN c.error_code = 'refused_row' THEN c.error_message
                    WHEN NOT EXISTS (SELECT FROM byoc.organizations o WHERE o.id = c.org_id AND o.shredded_at IS NULL) THEN 'the organization was shredded' END
        INTO obstacle
        FROM byoc.calls c WHERE c.org_id = of_org AND c.id = change_webhook.id AND c.credential_type = 'webhook';
        IF obstacle IS NOT NULL THEN
            RAISE EXCEPTION 'webhook event % can never be sent: %', id, obstacle USING ERRCODE = 'object_not_in_prerequisite_state';
        END IF;
    END IF;
    -- One that is being sent is not even locked: whoever records its outcome would wait for this transaction.
    UPDATE byoc.calls c
    SET status = to_status, due_at = CASE to_status WHEN 'available' THEN greatest(clock_timestamp(), c.send_at) END,
        finished_at = CASE to_status WHEN 'cancelled' THEN clock_timestamp() END, retry_until = NULL
    WHERE c.org_id = of_org AND c.id = change_webhook.id AND c.credential_type = 'webhook' AND c.status = ANY (from_status);
    IF NOT FOUND THEN
        SELECT c.status INTO found_status FROM byoc.all_webhook_calls c WHERE c.org_id = of_org AND c.id = change_webhook.id;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'webhook event % does not exist', id USING ERRCODE = 'no_data_found';
        END IF;
        RAISE EXCEPTION 'webhook event % is %', id, found_status USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    PERFORM byoc.wake_dispatcher(of_org) WHERE to_status = 'available';
END
$$;
COMMENT ON FUNCTION byoc.change_webhook(uuid, text[], text) IS 'Internal: cancels an event or sends it again, for its organization.';

CREATE FUNCTION byoc.cancel_webhook(id uuid) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT byoc.change_webhook(cancel_webhook.id, ARRAY['available', 'retryable', 'paused'], 'cancelled');
$$;
COMMENT ON FUNCTION byoc.cancel_webhook(uuid) IS 'Cancels a webhook event that waits, or is tried again.';

CREATE FUNCTION byoc.retry_webhook(id uuid) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT byoc.change_webhook(retry_webhook.id, ARRAY['discarded', 'cancelled'], 'available');
$$;
COMMENT ON FUNCTION byoc.retry_webhook(uuid) IS 'Sends a webhook event again that failed or was cancelled, with the same webhook-id, not before its send_at.';
