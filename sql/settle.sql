-- What an account's message list says about ambiguous attempts, and what then becomes of their messages.

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
    ), listed AS (
        INSERT INTO byoc.unknown_messages (org_id, message_id) SELECT p.org_id, p.id FROM parked p ON CONFLICT DO NOTHING
    )
    INSERT INTO byoc.message_events (org_id, message_id, id, event, attempt, error_code, error_message)
    SELECT p.org_id, p.id, byoc.uuid_v7(), 'unknown', p.attempts, p.error_code, p.error_message FROM parked p;
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
        SET status = CASE WHEN state IN ('delivered', 'undelivered', 'failed') THEN state ELSE 'sent' END, claim_id = NULL,
            provider_sid = listed ->> 'sid', from_number = listed ->> 'sender',
            segments = coalesce(nullif((listed ->> 'segments')::smallint, 0), m.segments), sent_at = (listed ->> 'created_at')::timestamptz, finished_at = clock_timestamp(),
            delivered_at = CASE state WHEN 'delivered' THEN clock_timestamp() END,
            error_code = listed ->> 'error_code', error_message = listed ->> 'error_message'
        WHERE m.org_id = gone.org_id AND m.id = gone.message_id AND m.claim_id = gone.claim_id
        RETURNING m.org_id, m.id, m.status, m.attempts, m.provider_sid, m.error_code, m.error_message
    ), watched AS (
        INSERT INTO byoc.receipt_watches (org_id, due_at, message_ids)
        SELECT s.org_id, clock_timestamp() + interval '10 minutes', ARRAY[s.id] FROM settled s WHERE s.status = 'sent'
    )
    INSERT INTO byoc.message_events (org_id, message_id, id, event, attempt, provider_sid, error_code, error_message)
    SELECT s.org_id, s.id, byoc.uuid_v7(), 'found', s.attempts, s.provider_sid, s.error_code, s.error_message FROM settled s;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM byoc.send_again(ARRAY[gone.org_id], ARRAY[gone.message_id]);
    RETURN true;
END
$$;
COMMENT ON FUNCTION byoc.settle_found(uuid, uuid, jsonb) IS
    'Internal: the message was sent, as the list says, and is sent again when it failed since (byoc.send_again); false when its answer had come after all.';

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

CREATE FUNCTION byoc.record_reconciliation(org_id uuid, account text, to_number text, since timestamptz, read_at timestamptz, listed jsonb,
                                           state text, problem text) RETURNS integer
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
    settled integer;
    matched text[] := '{}';
    is_busy boolean := false;
    doubt text;
    due record;
BEGIN
    IF state IS NULL OR state NOT IN ('complete', 'incomplete', 'refused', 'unavailable') THEN
        RAISE EXCEPTION 'state must be complete, incomplete, refused or unavailable' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    -- First what is in flight, then what is looked for, then what is recorded: in this order a message goes, so that none slips by unseen
    -- and has its id given to another one.
    SELECT coalesce(jsonb_agg(jsonb_build_object('body', m.body, 'claimed_at', m.claimed_at)), '[]') INTO in_flight
    FROM byoc.claims c CROSS JOIN unnest(c.org_ids, c.message_ids) AS i (org_id, id)
    JOIN byoc.messages m ON m.org_id = i.org_id AND m.id = i.id AND m.claim_id = c.id
    WHERE i.org_id = record_reconciliation.org_id AND m.to_number = record_reconciliation.to_number
      AND NOT byoc.is_reconciling(i.org_id, i.id, c.id) AND listed <> '[]'; -- otherwise it is not compared with anything
    PERFORM FROM byoc.reconciliations r
    WHERE r.org_id = record_reconciliation.org_id AND r.account = record_reconciliation.account AND r.to_number = record_reconciliation.to_number
    ORDER BY r.message_id FOR UPDATE;
    plausible := byoc.plausible_messages(org_id, account, to_number, coalesce(listed, '[]'));
    IF plausible <> '[]' THEN
        recorded := byoc.recorded_sids(org_id, ARRAY(SELECT e ->> 'sid' FROM jsonb_array_elements(plausible) AS e),
                                       (plausible -> 0 ->> 'created_at')::timestamptz);
        SELECT coalesce(jsonb_agg(e ORDER BY n), '[]') INTO plausible
        FROM jsonb_array_elements(plausible) WITH ORDINALITY AS p (e, n) WHERE e ->> 'sid' <> ALL (recorded);
        -- A message that another claim is sending may own one of them: its answer tells.
        is_busy := EXISTS (SELECT FROM jsonb_array_elements(plausible) AS e, jsonb_array_elements(in_flight) AS f
                           WHERE (e -> 'texts' ? (f ->> 'body') OR (e ->> 'text_is_hidden')::boolean)
                             AND (f ->> 'claimed_at')::timestamptz <= (e ->> 'created_at')::timestamptz + byoc.reconciliation_slack());
        IF NOT is_busy THEN
            matched := byoc.match_listed(org_id, account, to_number, plausible);
        END IF;
    END IF;
    settled := cardinality(matched);
    -- The rest was not there. That counts for what was due when the read began, and whose time the list covers.
    FOR due IN
        SELECT r.*, r.attempt_until + byoc.retry_window() <= clock_timestamp() AS too_late,
               -- Somebody's message, and perhaps this one: Messaging Services change texts (Smart Encoding, short links).
               EXISTS (SELECT FROM jsonb_array_elements(plausible) AS e
                       WHERE e ->> 'sid' <> ALL (matched)
                         AND (r.sender IS NULL OR ((e ->> 'text_is_hidden')::boolean AND coalesce(e ->> 'sender' = r.sender, true)))
                         AND (e ->> 'created_at')::timestamptz BETWEEN r.attempt_from - byoc.reconciliation_slack()
                                                                   AND r.attempt_until + byoc.reconciliation_slack()) AS is_unclear
        FROM byoc.reconciliations r JOIN byoc.messages m ON m.org_id = r.org_id AND m.id = r.message_id AND m.claim_id = r.claim_id
        WHERE r.org_id = record_reconciliation.org_id AND r.account = record_reconciliation.account
          AND r.to_number = record_reconciliation.to_number AND r.due_at <= read_at
          AND r.attempt_from - byoc.reconciliation_slack() >= record_reconciliation.since
    LOOP
        doubt := CASE WHEN is_busy THEN 'one that looks alike is still being sent'
                      WHEN state <> 'complete' THEN coalesce(problem, state)
                      WHEN due.is_unclear THEN 'it shows a message that may be this one, with another text or none' END;
        IF doubt IS NULL AND due.absences + 1 >= cardinality(times) THEN
            settled := settled + byoc.settle_absent(due.org_id, due.message_id)::integer;
        ELSIF doubt IS NOT NULL AND (CASE WHEN is_busy OR state = 'unavailable' THEN due.too_late ELSE due.failures + 1 >= most_failures END) THEN
            settled := settled + byoc.give_up_reconciling(due.org_id, due.message_id, doubt)::integer;
        ELSE
            UPDATE byoc.reconciliations r
            SET leased_until = NULL,
                absences = r.absences + (doubt IS NULL)::integer,
                failures = r.failures + (doubt IS NOT NULL AND NOT is_busy AND state <> 'unavailable')::integer,
                due_at = CASE WHEN doubt IS NULL
                              THEN greatest(r.attempt_until + times[r.absences + 2], clock_timestamp() + shortest_wait)
                              ELSE clock_timestamp()
                                  + greatest(shortest_wait, least(interval '1 minute', 0.7 * (clock_timestamp() - r.attempt_until))) END
            WHERE r.org_id = due.org_id AND r.message_id = due.message_id;
        END IF;
    END LOOP;
    RETURN settled;
END
$$;
COMMENT ON FUNCTION byoc.record_reconciliation(uuid, text, text, timestamptz, timestamptz, jsonb, text, text) IS
    'For byocd: what an account''s message list shows for a recipient (an array of sid, sender, texts, text_is_hidden, created_at, status, '
    'segments, error_code, error_message). since and read_at as claimed. state: complete (nothing since then is missing), incomplete, '
    'refused (it may not be read) or unavailable (not now); problem says why. Returns how many messages were settled.';
