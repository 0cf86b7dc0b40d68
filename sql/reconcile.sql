-- What was perhaps sent: the request was made and nobody knows what became of it. Such a message stays where it is, being
-- sent, until the account's message list was read: found there it was sent; absent for long enough it is sent again; what
-- cannot be decided becomes unknown.

CREATE TABLE byoc.reconciliations (
    org_id uuid NOT NULL,
    message_id uuid NOT NULL,
    claim_id uuid NOT NULL,
    credential_id uuid NOT NULL,
    account text,
    sender text,
    to_number text NOT NULL,
    attempt_from timestamptz NOT NULL,
    attempt_until timestamptz NOT NULL,
    reason text NOT NULL,
    due_at timestamptz NOT NULL,
    leased_until timestamptz,
    absences smallint NOT NULL DEFAULT 0,
    failures smallint NOT NULL DEFAULT 0,
    PRIMARY KEY (org_id, message_id)
);
COMMENT ON TABLE byoc.reconciliations IS
    'Attempts of which nobody knows whether the provider took them. Their messages are still being sent and keep their claim_id, so a '
    'late answer settles them; a row without such a message is stale. Not dumped.';
COMMENT ON COLUMN byoc.reconciliations.account IS
    'The provider''s account that the attempt was made with; NULL: the credential was changed during the attempt, so nobody knows.';
COMMENT ON COLUMN byoc.reconciliations.sender IS 'Number that it was sent from; NULL: chosen by the provider.';
COMMENT ON COLUMN byoc.reconciliations.attempt_from IS 'The request was written between this time and attempt_until, or never.';
COMMENT ON COLUMN byoc.reconciliations.reason IS 'Error code of the attempt, or lease_expired.';
COMMENT ON COLUMN byoc.reconciliations.due_at IS 'When the list is to be read next.';
COMMENT ON COLUMN byoc.reconciliations.leased_until IS 'Until then a byocd is reading the list for it.';
COMMENT ON COLUMN byoc.reconciliations.absences IS 'Complete lists that did not show it.';
COMMENT ON COLUMN byoc.reconciliations.failures IS 'Reads that could not decide.';
CREATE INDEX reconciliations_due ON byoc.reconciliations (due_at);
CREATE INDEX reconciliations_recipient ON byoc.reconciliations (org_id, to_number);
ALTER TABLE byoc.reconciliations ENABLE ROW LEVEL SECURITY;

CREATE FUNCTION byoc.reconciliation_schedule() RETURNS interval[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN ARRAY['2 seconds', '8 seconds', '20 seconds']::interval[];
COMMENT ON FUNCTION byoc.reconciliation_schedule() IS
    'When the message list is read after an attempt that nobody knows the end of. A message that is absent each time was not sent.';

CREATE FUNCTION byoc.reconciliation_slack() RETURNS interval
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN interval '1 minute';
COMMENT ON FUNCTION byoc.reconciliation_slack() IS
    'By how much the provider''s clock may differ from the database''s: a listed message may have been made so much before or after the attempt.';

CREATE FUNCTION byoc.is_ambiguous(outcome text, http_status integer) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN coalesce(outcome = 'unknown' OR (outcome = 'unavailable' AND http_status >= 500), false);
COMMENT ON FUNCTION byoc.is_ambiguous(text, integer) IS
    'Internal: whether an attempt that ended so may have been carried out: its answer was lost, or was a server''s error.';

CREATE FUNCTION byoc.sender_of(fields jsonb, OUT account text, OUT sender text)
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (fields ->> 'account_sid', fields ->> 'phone_number');
COMMENT ON FUNCTION byoc.sender_of(jsonb) IS
    'Internal: the provider''s account of a credential, and the number that it sends from; NULL when a Messaging Service chooses one.';

CREATE FUNCTION byoc.reconcile_later(outcomes jsonb) RETURNS integer
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
DECLARE
    entered integer;
BEGIN
    WITH told AS MATERIALIZED (
        SELECT t.* FROM jsonb_to_recordset(outcomes) AS t (
            org_id uuid, id uuid, claim_id uuid, outcome text, http_status smallint, error_code text, error_message text, duration_ms integer)
        WHERE t.outcome = 'rescued' OR byoc.is_ambiguous(t.outcome, t.http_status)
    ), entering AS MATERIALIZED (
        SELECT t.*, m.used_credential_id, m.used_credential_version, m.to_number, m.claimed_at, m.attempts
        FROM told t JOIN byoc.messages m ON m.org_id = t.org_id AND m.id = t.id AND m.claim_id = t.claim_id
        WHERE m.used_credential_id IS NOT NULL
    ), stored AS (
        INSERT INTO byoc.reconciliations AS r (org_id, message_id, claim_id, credential_id, account, sender, to_number, attempt_from,
                                               attempt_until, reason, due_at)
        SELECT e.org_id, e.id, e.claim_id, e.used_credential_id, CASE WHEN c.version = e.used_credential_version THEN s.account END, s.sender, e.to_number,
               e.claimed_at, clock_timestamp(), coalesce(e.error_code, 'http_' || e.http_status, e.outcome),
               clock_timestamp() + (byoc.reconciliation_schedule())[1]
        FROM entering e
        JOIN byoc.organization_api_credentials c ON c.org_id = e.org_id AND c.id = e.used_credential_id
        CROSS JOIN LATERAL byoc.sender_of(c.fields) AS s
        -- The same attempt once more: its dispatcher was taken for dead and has spoken after all.
        ON CONFLICT (org_id, message_id) DO UPDATE
        SET claim_id = excluded.claim_id, credential_id = excluded.credential_id, sender = excluded.sender,
            account = CASE WHEN r.claim_id = excluded.claim_id THEN r.account ELSE excluded.account END,
            attempt_from = excluded.attempt_from, attempt_until = excluded.attempt_until, reason = excluded.reason,
            due_at = excluded.due_at, leased_until = NULL, absences = 0, failures = 0
    ), shortened AS (
        -- What is reconciled is not the claim's business any more.
        UPDATE byoc.claims c SET message_ids = ARRAY(SELECT i FROM unnest(c.message_ids) AS i WHERE i <> ALL (g.ids))
        FROM (SELECT e.org_id, e.claim_id, array_agg(e.id) AS ids FROM entering e GROUP BY e.org_id, e.claim_id) AS g
        WHERE c.org_id = g.org_id AND c.id = g.claim_id
    ), noted AS (
        INSERT INTO byoc.message_events (org_id, message_id, id, event, attempt, http_status, error_code, error_message, duration_ms)
        SELECT e.org_id, e.id, byoc.uuid_v7(), e.outcome, e.attempts, e.http_status, e.error_code, e.error_message, e.duration_ms
        FROM entering e
        RETURNING 1
    )
    SELECT count(*) INTO entered FROM noted;
    RETURN entered;
END
$$;
COMMENT ON FUNCTION byoc.reconcile_later(jsonb) IS
    'Internal: notes attempts that ended ambiguously, so that byocd looks for them in the account''s message list; returns how many.';

CREATE FUNCTION byoc.rescue_expired() RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
DECLARE
    lost jsonb;
    unsent jsonb;
BEGIN
    WITH dead AS MATERIALIZED (
        DELETE FROM byoc.claims c
        USING (SELECT x.org_id, x.id FROM byoc.claims x WHERE x.lease_until < clock_timestamp() FOR UPDATE SKIP LOCKED) AS e
        WHERE c.org_id = e.org_id AND c.id = e.id
        RETURNING c.org_id, c.id, c.message_ids
    ), member AS (
        SELECT m.used_credential_id, jsonb_build_object('org_id', m.org_id, 'id', m.id, 'claim_id', m.claim_id, 'outcome', 'rescued',
                                                        'error_code', 'lease_expired', 'retry_ms', 0) AS outcome
        FROM dead d CROSS JOIN unnest(d.message_ids) AS i (id)
        JOIN byoc.messages m ON m.org_id = d.org_id AND m.id = i.id AND m.claim_id = d.id
    )
    -- Without a credential nothing was sent.
    SELECT jsonb_agg(m.outcome) FILTER (WHERE m.used_credential_id IS NOT NULL), jsonb_agg(m.outcome) FILTER (WHERE m.used_credential_id IS NULL)
    INTO lost, unsent FROM member m;
    RETURN byoc.reconcile_later(coalesce(lost, '[]')) + byoc.take_back(coalesce(unsent, '[]'));
END
$$;
COMMENT ON FUNCTION byoc.rescue_expired() IS
    'For byocd: takes over the messages of dispatchers whose lease ran out; returns how many. What may have been sent is reconciled first.';

CREATE VIEW byoc.due_reconciliations AS
SELECT r.* FROM byoc.reconciliations r
WHERE r.due_at <= clock_timestamp() AND (r.leased_until IS NULL OR r.leased_until <= clock_timestamp())
ORDER BY r.due_at LIMIT 1000;
COMMENT ON VIEW byoc.due_reconciliations IS 'Internal: those whose list is to be read now, the first thousand.';

CREATE FUNCTION byoc.claim_reconciliations(max_count integer, lease interval)
RETURNS TABLE (org_id uuid, credential_id uuid, credential_version integer, provider text, account text, to_number text, since timestamptz,
               read_at timestamptz)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
#variable_conflict use_column
BEGIN
    PERFORM byoc.require_adopted();
    -- Settled meanwhile by a late answer.
    DELETE FROM byoc.reconciliations r
    USING (SELECT d.org_id, d.message_id FROM byoc.due_reconciliations d) AS due
    WHERE r.org_id = due.org_id AND r.message_id = due.message_id
      AND NOT EXISTS (SELECT FROM byoc.messages m WHERE m.org_id = r.org_id AND m.id = r.message_id AND m.claim_id = r.claim_id);
    -- Nobody can read the list with what is left of these credentials.
    PERFORM byoc.give_up_reconciling(r.org_id, r.message_id, CASE
            WHEN NOT c.is_active THEN 'the credential was revoked'
            WHEN r.account IS NULL THEN 'the credential was changed during the attempt'
            ELSE 'the credential now has another account' END)
    FROM byoc.due_reconciliations r
    JOIN byoc.organization_api_credentials c ON c.org_id = r.org_id AND c.id = r.credential_id
    WHERE NOT c.is_active OR r.account IS NULL OR r.account IS DISTINCT FROM (byoc.sender_of(c.fields)).account;
    RETURN QUERY
    WITH due AS MATERIALIZED (
        SELECT d.org_id, d.account, d.to_number, (array_agg(d.credential_id ORDER BY d.due_at))[1] AS credential_id
        FROM byoc.due_reconciliations d
        GROUP BY d.org_id, d.account, d.to_number ORDER BY min(d.due_at) LIMIT max_count
    ), taken AS (
        UPDATE byoc.reconciliations r SET leased_until = clock_timestamp() + lease
        FROM (SELECT k.org_id, k.message_id FROM due d
              JOIN byoc.reconciliations k ON k.org_id = d.org_id AND k.to_number = d.to_number AND k.account = d.account
              FOR UPDATE OF k SKIP LOCKED) AS locked
        WHERE r.org_id = locked.org_id AND r.message_id = locked.message_id
        RETURNING r.org_id, r.account, r.to_number, r.attempt_from
    )
    SELECT d.org_id, d.credential_id, c.version, c.credential_type, d.account, d.to_number,
           min(t.attempt_from) - byoc.reconciliation_slack(), clock_timestamp()
    FROM due d
    JOIN taken t ON t.org_id = d.org_id AND t.to_number = d.to_number AND t.account = d.account
    JOIN byoc.organization_api_credentials c ON c.org_id = d.org_id AND c.id = d.credential_id
    GROUP BY d.org_id, d.credential_id, c.version, c.credential_type, d.account, d.to_number;
END
$$;
COMMENT ON FUNCTION byoc.claim_reconciliations(integer, interval) IS
    'For byocd: message lists to read now, one for each account and recipient: all messages to to_number that the account''s list shows since '
    'then. They come up again after the lease unless byoc.record_reconciliation() is told.';

-- Settling

CREATE FUNCTION byoc.give_up_reconciling(org_id uuid, message_id uuid, problem text) RETURNS boolean
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    gone byoc.reconciliations;
BEGIN
    DELETE FROM byoc.reconciliations r WHERE r.org_id = give_up_reconciling.org_id AND r.message_id = give_up_reconciling.message_id
    RETURNING r.* INTO gone;
    WITH parked AS (
        UPDATE byoc.messages m
        SET status = 'unknown', claim_id = NULL, finished_at = clock_timestamp(), error_code = gone.reason,
            error_message = 'it may have been sent, and the message list could not tell: ' || problem
        WHERE m.org_id = gone.org_id AND m.id = gone.message_id AND m.claim_id = gone.claim_id
        RETURNING m.org_id, m.id, m.attempts, m.error_code, m.error_message
    )
    INSERT INTO byoc.message_events (org_id, message_id, id, event, attempt, error_code, error_message)
    SELECT p.org_id, p.id, byoc.uuid_v7(), 'undecided', p.attempts, p.error_code, p.error_message FROM parked p;
    RETURN FOUND;
END
$$;
COMMENT ON FUNCTION byoc.give_up_reconciling(uuid, uuid, text) IS
    'Internal: makes the message unknown, with the problem as its reason; false when its answer had come after all.';

CREATE FUNCTION byoc.settle_absent(org_id uuid, message_id uuid) RETURNS boolean
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    gone byoc.reconciliations;
BEGIN
    DELETE FROM byoc.reconciliations r WHERE r.org_id = settle_absent.org_id AND r.message_id = settle_absent.message_id RETURNING r.* INTO gone;
    WITH ended AS (
        UPDATE byoc.messages m
        SET status = CASE WHEN m.expires_at <= clock_timestamp() THEN 'expired' ELSE 'failed' END, claim_id = NULL,
            finished_at = clock_timestamp(), error_code = gone.reason, error_message = 'it was tried until now, and not sent'
        WHERE m.org_id = gone.org_id AND m.id = gone.message_id AND m.claim_id = gone.claim_id
          AND coalesce(m.expires_at, greatest(m.send_at, m.created_at) + byoc.retry_window()) <= clock_timestamp()
        RETURNING m.org_id, m.id, m.attempts
    )
    INSERT INTO byoc.message_events (org_id, message_id, id, event, attempt)
    SELECT e.org_id, e.id, byoc.uuid_v7(), 'not_found', e.attempts FROM ended e;
    RETURN FOUND OR byoc.take_back(jsonb_build_array(jsonb_build_object(
        'org_id', gone.org_id, 'id', gone.message_id, 'claim_id', gone.claim_id, 'outcome', 'not_found', 'retry_ms', 0))) > 0;
END
$$;
COMMENT ON FUNCTION byoc.settle_absent(uuid, uuid) IS
    'Internal: the message was not sent: it is sent again, or has expired, or failed when it was tried for long enough. False when its answer had '
    'come after all.';

CREATE FUNCTION byoc.settle_found(org_id uuid, message_id uuid, listed jsonb) RETURNS boolean
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    gone byoc.reconciliations;
    state text := listed ->> 'status';
BEGIN
    DELETE FROM byoc.reconciliations r WHERE r.org_id = settle_found.org_id AND r.message_id = settle_found.message_id RETURNING r.* INTO gone;
    WITH settled AS (
        UPDATE byoc.messages m
        SET status = CASE WHEN state IN ('delivered', 'undelivered', 'failed') THEN state ELSE 'sent' END, claim_id = NULL, finished_at = clock_timestamp(), provider_sid = listed ->> 'sid', from_number = listed ->> 'sender',
            segments = (listed ->> 'segments')::smallint, sent_at = (listed ->> 'created_at')::timestamptz,
            delivered_at = CASE state WHEN 'delivered' THEN clock_timestamp() END,
            error_code = listed ->> 'error_code', error_message = listed ->> 'error_message'
        WHERE m.org_id = gone.org_id AND m.id = gone.message_id AND m.claim_id = gone.claim_id
        RETURNING m.org_id, m.id, m.attempts, m.provider_sid, m.error_code, m.error_message
    )
    INSERT INTO byoc.message_events (org_id, message_id, id, event, attempt, provider_sid, error_code, error_message)
    SELECT s.org_id, s.id, byoc.uuid_v7(), 'found', s.attempts, s.provider_sid, s.error_code, s.error_message FROM settled s;
    RETURN FOUND;
END
$$;
COMMENT ON FUNCTION byoc.settle_found(uuid, uuid, jsonb) IS
    'Internal: the message was sent, as the list says; false when its answer had come after all.';

-- Listed messages that may be one of the recipient's reconciliations: of its sender, made within its time. `text_is_hidden`
-- tells one whose text the provider does not show.
CREATE FUNCTION byoc.plausible_messages(org_id uuid, account text, to_number text, listed jsonb) RETURNS jsonb
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce(jsonb_agg(l.message ORDER BY l.created_at, l.message ->> 'sid'), '[]')
    FROM (SELECT e AS message, (e ->> 'created_at')::timestamptz AS created_at, e ->> 'sender' AS sender FROM jsonb_array_elements(listed) AS e) AS l
    WHERE EXISTS (SELECT FROM byoc.reconciliations r
                  WHERE r.org_id = plausible_messages.org_id AND r.account = plausible_messages.account AND r.to_number = plausible_messages.to_number
                    AND l.created_at BETWEEN r.attempt_from - byoc.reconciliation_slack() AND r.attempt_until + byoc.reconciliation_slack()
                    AND coalesce(l.sender = r.sender, true));
$$;
COMMENT ON FUNCTION byoc.plausible_messages(uuid, text, text, jsonb) IS
    'Internal: those of the listed messages that may belong to an ambiguous attempt by sender and time, oldest first.';

CREATE FUNCTION byoc.recorded_sids(org_id uuid, sids text[], since timestamptz) RETURNS text[]
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
AS $$
    SELECT coalesce(array_agg(m.provider_sid), '{}') FROM byoc.messages m
    WHERE m.org_id = recorded_sids.org_id AND m.provider_sid = ANY (sids)
      -- A request takes at most ten minutes (byocd's largest request-timeout).
      AND m.claimed_at >= since - interval '10 minutes' - byoc.reconciliation_slack();
$$;
COMMENT ON FUNCTION byoc.recorded_sids(uuid, text[], timestamptz) IS
    'Internal: which of these provider ids, made since then, belong to a message of the organization already.';

CREATE FUNCTION byoc.match_listed(org_id uuid, account text, to_number text, plausible jsonb) RETURNS text[]
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    message jsonb;
    match uuid;
    matched text[] := '{}';
BEGIN
    FOR message IN SELECT e FROM jsonb_array_elements(plausible) AS e LOOP
        -- The attempt that ended first: then every one that can have a message gets one.
        SELECT r.message_id INTO match
        FROM byoc.reconciliations r JOIN byoc.messages m ON m.org_id = r.org_id AND m.id = r.message_id AND m.claim_id = r.claim_id
        WHERE r.org_id = match_listed.org_id AND r.account = match_listed.account AND r.to_number = match_listed.to_number
          AND message -> 'texts' ? m.body AND coalesce(message ->> 'sender' = r.sender, true)
          AND (message ->> 'created_at')::timestamptz BETWEEN r.attempt_from - byoc.reconciliation_slack()
                                                          AND r.attempt_until + byoc.reconciliation_slack()
        ORDER BY r.attempt_until, r.message_id LIMIT 1;
        IF FOUND AND byoc.settle_found(org_id, match, message) THEN
            matched := matched || (message ->> 'sid');
        END IF;
    END LOOP;
    RETURN matched;
END
$$;
COMMENT ON FUNCTION byoc.match_listed(uuid, text, text, jsonb) IS
    'Internal: settles ambiguous attempts as sent that have a listed message with their text; returns its ids. Attempts that look alike are '
    'interchangeable: of two, one listed message settles one.';

CREATE FUNCTION byoc.record_reconciliation(org_id uuid, account text, to_number text, read_at timestamptz, listed jsonb, state text,
                                           problem text) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
DECLARE
    most_failures CONSTANT integer := 5;
    shortest_wait CONSTANT interval := least((byoc.reconciliation_schedule())[1], interval '2 seconds');
    times CONSTANT interval[] := byoc.reconciliation_schedule();
    plausible jsonb;
    in_flight jsonb;
    recorded text[];
    settled integer := 0;
    matched text[] := '{}';
    doubt text;
    due record;
BEGIN
    IF state IS NULL OR state NOT IN ('complete', 'incomplete', 'refused', 'unavailable') THEN
        RAISE EXCEPTION 'state must be complete, incomplete, refused or unavailable' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM FROM byoc.reconciliations r
    WHERE r.org_id = record_reconciliation.org_id AND r.account = record_reconciliation.account AND r.to_number = record_reconciliation.to_number
    ORDER BY r.message_id FOR UPDATE;
    plausible := byoc.plausible_messages(org_id, account, to_number, coalesce(listed, '[]'));
    IF plausible <> '[]' THEN
        -- First what is in flight, then what is recorded: nothing can slip from one to the other unseen.
        SELECT coalesce(jsonb_agg(jsonb_build_object('body', m.body, 'claimed_at', m.claimed_at)), '[]') INTO in_flight
        FROM byoc.claims c CROSS JOIN unnest(c.message_ids) AS i (id)
        JOIN byoc.messages m ON m.org_id = c.org_id AND m.id = i.id AND m.claim_id = c.id
        WHERE c.org_id = record_reconciliation.org_id AND m.to_number = record_reconciliation.to_number;
        recorded := byoc.recorded_sids(org_id, ARRAY(SELECT e ->> 'sid' FROM jsonb_array_elements(plausible) AS e),
                                       (plausible -> 0 ->> 'created_at')::timestamptz);
        SELECT coalesce(jsonb_agg(e ORDER BY n), '[]') INTO plausible
        FROM jsonb_array_elements(plausible) WITH ORDINALITY AS p (e, n) WHERE e ->> 'sid' <> ALL (recorded);
        -- A message that another claim is sending may own one of them: its answer tells.
        IF EXISTS (SELECT FROM jsonb_array_elements(plausible) AS e, jsonb_array_elements(in_flight) AS f
                   WHERE (e -> 'texts' ? (f ->> 'body') OR (e ->> 'text_is_hidden')::boolean)
                     AND (f ->> 'claimed_at')::timestamptz <= (e ->> 'created_at')::timestamptz + byoc.reconciliation_slack()) THEN
            UPDATE byoc.reconciliations r SET due_at = clock_timestamp() + shortest_wait, leased_until = NULL
            WHERE r.org_id = record_reconciliation.org_id AND r.account = record_reconciliation.account
              AND r.to_number = record_reconciliation.to_number AND r.due_at <= read_at;
            RETURN 0;
        END IF;
        matched := byoc.match_listed(org_id, account, to_number, plausible);
    END IF;
    settled := cardinality(matched);
    -- The rest was not there. Only what was due when the read began counts it.
    FOR due IN
        SELECT r.*, coalesce(m.expires_at, greatest(m.send_at, m.created_at) + byoc.retry_window()) <= clock_timestamp() AS too_late,
               -- Somebody's message, and perhaps this one: Messaging Services change texts (Smart Encoding, short links).
               EXISTS (SELECT FROM jsonb_array_elements(plausible) AS e
                       WHERE e ->> 'sid' <> ALL (matched)
                         AND (r.sender IS NULL OR ((e ->> 'text_is_hidden')::boolean AND coalesce(e ->> 'sender' = r.sender, true)))
                         AND (e ->> 'created_at')::timestamptz BETWEEN r.attempt_from - byoc.reconciliation_slack()
                                                                   AND r.attempt_until + byoc.reconciliation_slack()) AS is_unclear
        FROM byoc.reconciliations r JOIN byoc.messages m ON m.org_id = r.org_id AND m.id = r.message_id AND m.claim_id = r.claim_id
        WHERE r.org_id = record_reconciliation.org_id AND r.account = record_reconciliation.account
          AND r.to_number = record_reconciliation.to_number AND r.due_at <= read_at
    LOOP
        doubt := CASE WHEN state <> 'complete' THEN coalesce(problem, state)
                      WHEN due.is_unclear THEN 'it shows a message that may be this one, with another text or none' END;
        IF doubt IS NULL AND due.absences + 1 >= cardinality(times) THEN
            settled := settled + byoc.settle_absent(due.org_id, due.message_id)::integer;
        ELSIF doubt IS NOT NULL AND (CASE state WHEN 'unavailable' THEN due.too_late ELSE due.failures + 1 >= most_failures END) THEN
            settled := settled + byoc.give_up_reconciling(due.org_id, due.message_id, doubt)::integer;
        ELSE
            UPDATE byoc.reconciliations r
            SET leased_until = NULL,
                absences = r.absences + (doubt IS NULL)::integer,
                failures = r.failures + (doubt IS NOT NULL AND state <> 'unavailable')::integer,
                due_at = CASE WHEN doubt IS NULL
                              THEN greatest(r.attempt_until + times[r.absences + 2], clock_timestamp() + shortest_wait)
                              ELSE clock_timestamp() + greatest(shortest_wait, least(interval '1 minute', clock_timestamp() - r.attempt_until)) END
            WHERE r.org_id = due.org_id AND r.message_id = due.message_id;
        END IF;
    END LOOP;
    RETURN settled;
END
$$;
COMMENT ON FUNCTION byoc.record_reconciliation(uuid, text, text, timestamptz, jsonb, text, text) IS
    'For byocd: what an account''s message list shows for a recipient (an array of sid, sender, texts, text_is_hidden, created_at, status, '
    'segments, error_code, error_message). state: complete (all since claim_reconciliations'' `since`), incomplete, refused (it may not be '
    'read) or unavailable (not now); problem says why. Returns how many messages were settled.';

-- An answer that came too late.
CREATE FUNCTION byoc.note_late(outcomes jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
BEGIN
    WITH late AS MATERIALIZED (
        SELECT t.* FROM jsonb_to_recordset(outcomes) AS t (
            org_id uuid, id uuid, claim_id uuid, attempt smallint, outcome text, provider_sid text, from_number text, segments smallint,
            duration_ms integer)
        WHERE t.outcome = 'accepted' AND t.provider_sid IS NOT NULL
          AND EXISTS (SELECT FROM byoc.message_events e WHERE e.org_id = t.org_id AND e.message_id = t.id)
          AND NOT EXISTS (SELECT FROM byoc.message_events e
                          WHERE e.org_id = t.org_id AND e.message_id = t.id AND e.provider_sid = t.provider_sid)
    ), known AS (
        UPDATE byoc.messages m
        SET status = 'sent', sent_at = clock_timestamp(), provider_sid = t.provider_sid, from_number = t.from_number, segments = t.segments,
            error_code = NULL, error_message = NULL
        FROM late t
        WHERE m.org_id = t.org_id AND m.id = t.id AND m.status = 'unknown' AND m.attempts = t.attempt
    )
    INSERT INTO byoc.message_events (org_id, message_id, id, event, attempt, provider_sid, duration_ms)
    SELECT t.org_id, t.id, byoc.uuid_v7(), 'late', t.attempt, t.provider_sid, t.duration_ms FROM late t WHERE t.attempt IS NOT NULL;
END
$$;
COMMENT ON FUNCTION byoc.note_late(jsonb) IS
    'Internal: keeps in the history that an attempt was accepted after its message was taken from it: one that is unknown is sent after all; '
    'one that was sent again went out twice.';
