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

CREATE FUNCTION byoc.is_reconciling(org_id uuid, message_id uuid, claim_id uuid) RETURNS boolean
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT EXISTS (SELECT FROM byoc.reconciliations r
                   WHERE r.org_id = is_reconciling.org_id AND r.message_id = is_reconciling.message_id AND r.claim_id = is_reconciling.claim_id);
END;
COMMENT ON FUNCTION byoc.is_reconciling(uuid, uuid, uuid) IS
    'Internal: whether the claim''s attempt ended ambiguously: then it is not the claim''s business any more.';

CREATE FUNCTION byoc.lock_reconciliations(outcomes jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
BEGIN
    PERFORM FROM jsonb_to_recordset(outcomes) AS t (org_id uuid, id uuid, outcome text)
    JOIN byoc.messages m ON m.org_id = t.org_id AND m.id = t.id
    JOIN byoc.reconciliations r ON r.org_id = m.org_id AND r.to_number = m.to_number
         -- One that is unknown by now may look the same as others that are looked for.
         AND (r.message_id = m.id OR (t.outcome = 'accepted' AND m.status = 'unknown'))
    ORDER BY r.message_id FOR UPDATE OF r;
END
$$;
COMMENT ON FUNCTION byoc.lock_reconciliations(jsonb) IS
    'Internal: locks what these outcomes are about, in the order in which byoc.record_reconciliation() does, so that both cannot give the same id away.';

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
    PERFORM byoc.lock_reconciliations(outcomes); -- the one of an attempt before is made this one's
    WITH told AS MATERIALIZED (
        SELECT t.* FROM jsonb_to_recordset(outcomes) AS t (
            org_id uuid, id uuid, claim_id uuid, outcome text, http_status smallint, error_code text, error_message text, duration_ms integer)
        WHERE t.outcome = 'rescued' OR byoc.is_ambiguous(t.outcome, t.http_status)
    ), entering AS MATERIALIZED (
        SELECT t.*, m.used_credential_id, m.used_credential_version, m.to_number, m.claimed_at, m.attempts
        FROM told t JOIN byoc.messages m ON m.org_id = t.org_id AND m.id = t.id AND m.claim_id = t.claim_id
        WHERE m.used_credential_id IS NOT NULL
          -- Recording twice does no harm.
          AND NOT EXISTS (SELECT FROM byoc.reconciliations r WHERE r.org_id = t.org_id AND r.message_id = t.id AND r.claim_id = t.claim_id
                                                               AND r.reason <> 'lease_expired')
    ), stored AS (
        INSERT INTO byoc.reconciliations AS r (org_id, message_id, claim_id, credential_id, account, sender, to_number, attempt_from,
                                               attempt_until, reason, due_at)
        SELECT e.org_id, e.id, e.claim_id, e.used_credential_id, CASE WHEN c.version = e.used_credential_version THEN s.account END, s.sender, e.to_number,
               e.claimed_at, clock_timestamp(), coalesce(e.error_code, 'http_' || e.http_status, e.outcome),
               clock_timestamp() + (byoc.reconciliation_schedule())[1]
        FROM entering e
        CROSS JOIN LATERAL (
            SELECT k.version, k.fields FROM byoc.organization_api_credentials k WHERE k.org_id = e.org_id AND k.id = e.used_credential_id
            UNION ALL
            SELECT f.version, f.fields FROM byoc.fallback_senders f
            WHERE e.used_credential_id = '00000000-0000-0000-0000-000000000000' AND f.version = e.used_credential_version) AS c
        CROSS JOIN LATERAL byoc.sender_of(c.fields) AS s
        -- The same attempt once more: its dispatcher was taken for dead and has spoken after all.
        ON CONFLICT (org_id, message_id) DO UPDATE
        SET claim_id = excluded.claim_id, credential_id = excluded.credential_id, sender = excluded.sender,
            account = CASE WHEN r.claim_id = excluded.claim_id THEN r.account ELSE excluded.account END,
            attempt_from = excluded.attempt_from, attempt_until = excluded.attempt_until, reason = excluded.reason,
            due_at = excluded.due_at, leased_until = NULL, absences = 0, failures = 0
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
        WHERE c.ctid = ANY (ARRAY(SELECT x.ctid FROM byoc.claims x WHERE x.lease_until < clock_timestamp() FOR UPDATE SKIP LOCKED))
        RETURNING c.id, c.org_ids, c.message_ids
    ), member AS (
        SELECT m.used_credential_id, jsonb_build_object('org_id', m.org_id, 'id', m.id, 'claim_id', m.claim_id, 'outcome', 'rescued',
                                                        'error_code', 'lease_expired', 'retry_ms', 0) AS outcome
        FROM dead d CROSS JOIN unnest(d.org_ids, d.message_ids) AS i (org_id, id)
        JOIN byoc.messages m ON m.org_id = i.org_id AND m.id = i.id AND m.claim_id = d.id
        WHERE NOT byoc.is_reconciling(i.org_id, i.id, d.id)
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
  -- A credential that has failed reads no list either: its tenant may mend it in time.
  AND (r.attempt_until + byoc.retry_window() <= clock_timestamp()
       OR NOT EXISTS (SELECT FROM byoc.organization_api_credentials c
                      WHERE c.org_id = r.org_id AND c.id = r.credential_id AND c.is_active AND c.verification_status = 'failed'))
  -- With an environment's account only those read its list who have it, while somebody may.
  AND (r.credential_id <> '00000000-0000-0000-0000-000000000000'
       OR r.attempt_until + byoc.retry_window() <= clock_timestamp()
       OR EXISTS (SELECT FROM byoc.fallback_senders f WHERE f.version = byoc.session_fallback() AND f.fields ->> 'account_sid' = r.account))
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
    -- Whoever has one locked is settling it; who waited for that while holding others could wait for ever. LATERAL and ctid leave the planner one
    -- way only, each by its key: with what it knows of a table that is empty mostly, it would find those that are due anew for each of them.
    -- Settled meanwhile by a late answer:
    DELETE FROM byoc.reconciliations r
    WHERE r.ctid = ANY (ARRAY(
        SELECT k.ctid FROM byoc.due_reconciliations d
        CROSS JOIN LATERAL (SELECT l.ctid FROM byoc.reconciliations l
                            WHERE l.org_id = d.org_id AND l.message_id = d.message_id
                              AND (SELECT m.claim_id FROM byoc.messages m WHERE m.org_id = l.org_id AND m.id = l.message_id) IS DISTINCT FROM l.claim_id
                            FOR UPDATE SKIP LOCKED) AS k));
    -- Nobody can read the list with what is left of these credentials.
    PERFORM byoc.give_up_reconciling(r.org_id, r.message_id, r.reason)
    FROM (SELECT k.* FROM byoc.due_reconciliations d
          CROSS JOIN LATERAL (SELECT l.org_id, l.message_id, CASE
                                     WHEN NOT c.is_active THEN 'the credential was revoked'
                                     WHEN l.account IS NULL THEN 'the credential was changed during the attempt'
                                     ELSE 'the credential now has another account' END AS reason
                              FROM byoc.reconciliations l
                              JOIN byoc.organization_api_credentials c ON c.org_id = d.org_id AND c.id = d.credential_id
                              WHERE l.org_id = d.org_id AND l.message_id = d.message_id
                                AND (NOT c.is_active OR l.account IS NULL OR l.account IS DISTINCT FROM (byoc.sender_of(c.fields)).account)
                              FOR UPDATE OF l SKIP LOCKED) AS k) AS r;
    PERFORM byoc.give_up_reconciling(r.org_id, r.message_id, 'no byocd has the account in its environment any more')
    FROM (SELECT k.* FROM byoc.due_reconciliations d
          CROSS JOIN LATERAL (SELECT l.org_id, l.message_id FROM byoc.reconciliations l
                              WHERE l.org_id = d.org_id AND l.message_id = d.message_id
                                AND l.credential_id = '00000000-0000-0000-0000-000000000000'
                                AND NOT EXISTS (SELECT FROM byoc.fallback_senders f
                                                WHERE f.version = byoc.session_fallback() AND f.fields ->> 'account_sid' = l.account)
                              FOR UPDATE SKIP LOCKED) AS k) AS r;
    RETURN QUERY
    WITH due AS MATERIALIZED (
        SELECT d.org_id, d.account, d.to_number, (array_agg(d.credential_id ORDER BY d.due_at))[1] AS credential_id
        FROM byoc.due_reconciliations d
        GROUP BY d.org_id, d.account, d.to_number ORDER BY min(d.due_at) LIMIT max_count
    ), taken AS (
        UPDATE byoc.reconciliations r SET leased_until = clock_timestamp() + lease
        WHERE r.ctid = ANY (ARRAY(
            SELECT k.ctid FROM due d
            CROSS JOIN LATERAL (SELECT l.ctid FROM byoc.reconciliations l
                                WHERE l.org_id = d.org_id AND l.to_number = d.to_number AND l.account = d.account FOR UPDATE SKIP LOCKED) AS k))
        RETURNING r.org_id, r.account, r.to_number, r.attempt_from
    )
    SELECT d.org_id, d.credential_id, coalesce(c.version, 0), coalesce(c.credential_type, 'twilio'), d.account, d.to_number,
           date_trunc('second', min(t.attempt_from) - byoc.reconciliation_slack()), clock_timestamp()
    FROM due d
    JOIN taken t ON t.org_id = d.org_id AND t.to_number = d.to_number AND t.account = d.account
    LEFT JOIN byoc.organization_api_credentials c ON c.org_id = d.org_id AND c.id = d.credential_id
    GROUP BY d.org_id, d.credential_id, c.version, c.credential_type, d.account, d.to_number;
END
$$;
COMMENT ON FUNCTION byoc.claim_reconciliations(integer, interval) IS
    'For byocd: message lists to read now, one for each account and recipient: all messages to to_number that the account''s list shows since '
    'then. They come up again after the lease unless byoc.record_reconciliation() is told.';

-- Answers that came too late.

CREATE FUNCTION byoc.recorded_sids(org_id uuid, sids text[], since timestamptz) RETURNS text[]
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET enable_hashjoin = on
AS $$
    SELECT coalesce(array_agg(r.provider_sid), '{}')
    FROM (SELECT m.provider_sid FROM byoc.messages m JOIN unnest(sids) AS s (sid) ON s.sid = m.provider_sid
          WHERE m.org_id = recorded_sids.org_id
            -- A request takes at most ten minutes (byocd's largest request-timeout).
            AND m.claimed_at >= since - interval '10 minutes' - byoc.reconciliation_slack()
          UNION ALL
          SELECT a.provider_sid FROM byoc.earlier_attempts a
          WHERE a.org_id = recorded_sids.org_id AND a.provider_sid = ANY (sids)) AS r;
$$;
COMMENT ON FUNCTION byoc.recorded_sids(uuid, text[], timestamptz) IS
    'Internal: which of these provider ids, made since then, belong to a message of the organization already. Reads all its messages since then.';

CREATE FUNCTION byoc.recorded_sids(org_ids uuid[], sids text[], since timestamptz[]) RETURNS TABLE (org_id uuid, sid text)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT o.org_id, r.sid
    FROM (SELECT t.org_id, array_agg(t.sid) AS sids, min(t.since) AS since FROM unnest(org_ids, sids, since) AS t (org_id, sid, since)
          GROUP BY t.org_id) AS o
    CROSS JOIN LATERAL unnest(byoc.recorded_sids(o.org_id, o.sids, o.since)) AS r (sid);
$$;
COMMENT ON FUNCTION byoc.recorded_sids(uuid[], text[], timestamptz[]) IS
    'Internal: the same for many at once (parallel arrays): each organization''s messages are read once.';

CREATE FUNCTION byoc.without_exchanged(outcomes jsonb) RETURNS jsonb
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
DECLARE
    late record;
    exchanged uuid[];
BEGIN
    PERFORM byoc.lock_reconciliations(outcomes);
    SELECT array_agg(t.org_id) AS org_ids, array_agg(t.id) AS ids, array_agg(t.provider_sid) AS sids, array_agg(r.attempt_from) AS since INTO late
    FROM jsonb_to_recordset(outcomes) AS t (org_id uuid, id uuid, claim_id uuid, outcome text, provider_sid text)
    JOIN byoc.reconciliations r ON r.org_id = t.org_id AND r.message_id = t.id AND r.claim_id = t.claim_id
    WHERE t.outcome = 'accepted';
    exchanged := ARRAY(SELECT l.id FROM unnest(late.org_ids, late.ids, late.sids) AS l (org_id, id, sid)
                       JOIN byoc.recorded_sids(late.org_ids, late.sids, late.since) AS r ON r.org_id = l.org_id AND r.sid = l.sid);
    IF exchanged = '{}' THEN
        RETURN outcomes;
    END IF;
    RETURN (SELECT coalesce(jsonb_agg(o), '[]') FROM jsonb_array_elements(outcomes) AS o WHERE (o ->> 'id')::uuid <> ALL (exchanged));
END
$$;
COMMENT ON FUNCTION byoc.without_exchanged(jsonb) IS
    'Internal: the outcomes but those of attempts whose listed message was given to another one that looks the same: those two have changed places, '
    'and this one is looked for on, as the other would have been.';

CREATE FUNCTION byoc.note_late(outcomes jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
BEGIN
    WITH news AS MATERIALIZED (
        SELECT t.*, m.id IS NOT NULL AS is_taken_out, m.claimed_at FROM jsonb_to_recordset(outcomes) AS t (
            org_id uuid, id uuid, claim_id uuid, attempt smallint, outcome text, provider_sid text, from_number text, segments smallint,
            duration_ms integer)
        LEFT JOIN byoc.messages m ON m.org_id = t.org_id AND m.id = t.id
        WHERE t.outcome = 'accepted' AND t.provider_sid IS NOT NULL
          AND EXISTS (SELECT FROM byoc.message_events e WHERE e.org_id = t.org_id AND e.message_id = t.id)
          AND NOT EXISTS (SELECT FROM byoc.message_events e
                          WHERE e.org_id = t.org_id AND e.message_id = t.id AND e.provider_sid = t.provider_sid)
    ), recorded AS MATERIALIZED (
        SELECT r.* FROM (SELECT array_agg(n.org_id) AS org_ids, array_agg(n.provider_sid) AS sids, array_agg(n.claimed_at) AS since
                         FROM news n WHERE n.is_taken_out) AS n
        CROSS JOIN LATERAL byoc.recorded_sids(n.org_ids, n.sids, n.since) AS r
    ), late AS MATERIALIZED (
        -- One that looks the same may have got its id from the list.
        SELECT n.* FROM news n
        WHERE NOT n.is_taken_out OR NOT EXISTS (SELECT FROM recorded r WHERE r.org_id = n.org_id AND r.sid = n.provider_sid)
    ), known AS (
        UPDATE byoc.messages m
        SET status = 'sent', sent_at = clock_timestamp(), provider_sid = t.provider_sid, from_number = t.from_number,
            segments = coalesce(nullif(t.segments, 0), m.segments),
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
