\echo Use "ALTER EXTENSION pg_byoc UPDATE TO '0.1.0'" to load this file. \quit

SELECT pg_catalog.set_config('pg_byoc.existing', coalesce(array_agg(o.class || ' ' || o.oid), '{}')::text, true)
FROM pg_catalog.pg_namespace n,
     LATERAL (SELECT n.tableoid::regclass AS class, n.oid
              UNION ALL SELECT p.tableoid, p.oid FROM pg_catalog.pg_proc p WHERE p.pronamespace = n.oid
              UNION ALL SELECT c.tableoid, c.oid FROM pg_catalog.pg_class c WHERE c.relnamespace = n.oid
              UNION ALL SELECT t.tableoid, t.oid FROM pg_catalog.pg_type t WHERE t.typnamespace = n.oid) AS o
WHERE n.nspname = 'byoc';

-- By hand: what cannot be derived, such as changes of tables. Nothing that is named here is derived below.

-- Derived by `make upgrade-scripts`: change the files in sql/ instead.

DO $$
BEGIN
    IF pg_catalog.getdatabaseencoding() <> 'UTF8' THEN
        RAISE EXCEPTION 'pg_byoc needs a database with encoding UTF8, this one has %', pg_catalog.getdatabaseencoding()
            USING ERRCODE = 'feature_not_supported';
    END IF;
END
$$;

COMMENT ON FUNCTION byoc.is_sweep_due() IS 'Internal: true once a second, for a dispatcher that is too busy to sleep.';

CREATE OR REPLACE TRIGGER data_keys_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON byoc.organization_keys
FOR EACH STATEMENT EXECUTE FUNCTION byoc.data_keys_changed();

ALTER TABLE byoc.organization_keys ENABLE ALWAYS TRIGGER data_keys_changed;

CREATE OR REPLACE FUNCTION byoc.change_credential(org_id uuid, id uuid, changes jsonb, display_name text, is_default boolean) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    credential byoc.organization_api_credentials;
    plain jsonb;
    field record;
    changed text[] := '{}';
BEGIN
    PERFORM byoc.require_organization(org_id, 'admin');
    PERFORM byoc.check_display_name(display_name);
    PERFORM FROM byoc.organizations o WHERE o.id = change_credential.org_id FOR NO KEY UPDATE;
    SELECT * INTO credential FROM byoc.organization_api_credentials c
    WHERE c.org_id = change_credential.org_id AND c.id = change_credential.id FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'credential % does not exist', id USING ERRCODE = 'no_data_found';
    ELSIF NOT credential.is_active THEN
        RAISE EXCEPTION 'credential % is revoked', id
            USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Add a new one with byoc.add_credential.';
    END IF;
    IF changes IS NOT NULL THEN
        IF jsonb_typeof(changes) <> 'object' THEN
            RAISE EXCEPTION 'fields must be a JSON object' USING ERRCODE = 'invalid_parameter_value';
        END IF;
        plain := byoc.unseal_fields(credential.org_id, credential.id, credential.encrypted_fields);
        FOR field IN SELECT c.key, c.value FROM jsonb_each(changes) AS c LOOP
            IF field.value = 'null' THEN
                plain := plain - field.key;
                changed := changed || field.key;
            ELSIF field.value IS DISTINCT FROM credential.fields -> field.key THEN
                plain := jsonb_set(plain, ARRAY[field.key], field.value);
                changed := changed || field.key;
            END IF;
        END LOOP;
        PERFORM byoc.check_fields(credential.credential_type, plain);
        UPDATE byoc.organization_api_credentials c
        SET fields = byoc.mask_fields(credential.credential_type, plain),
            encrypted_fields = byoc.seal_fields(c.org_id, c.id, plain),
            version = c.version + 1, verification_status = 'pending', verification_error = NULL, verification_note = NULL,
            verification_due_at = '-infinity', verification_failures = 0
        WHERE c.org_id = credential.org_id AND c.id = credential.id;
        PERFORM byoc.audit(credential.org_id, 'credential.changed', credential.id, jsonb_build_object('fields', to_jsonb(changed)));
        PERFORM byoc.wake_dispatcher(credential.org_id);
    END IF;
    IF display_name <> credential.display_name THEN
        PERFORM byoc.audit(credential.org_id, 'credential.renamed', credential.id);
    END IF;
    IF is_default THEN
        PERFORM byoc.audit(credential.org_id, 'credential.made_default', credential.id);
        UPDATE byoc.organization_api_credentials c SET is_default = false, updated_at = now()
        WHERE c.org_id = credential.org_id AND c.credential_type = credential.credential_type AND c.is_default AND c.id <> credential.id;
    END IF;
    UPDATE byoc.organization_api_credentials c
    SET display_name = coalesce(change_credential.display_name, c.display_name),
        is_default = c.is_default OR coalesce(change_credential.is_default, false), updated_at = now()
    WHERE c.org_id = credential.org_id AND c.id = credential.id;
END
$$;

COMMENT ON TABLE byoc.lanes IS
    'What is to be remembered about lanes that were served: waits, failures and limits. Not dumped: it says nothing about messages.';

CREATE OR REPLACE FUNCTION byoc.promote_due(max_count integer) RETURNS integer
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET jit = off
AS $$
DECLARE
    promoted integer;
BEGIN
    WITH due AS (
        DELETE FROM byoc.schedule s
        USING (SELECT d.org_id, d.id FROM byoc.schedule d WHERE d.due_at <= clock_timestamp()
               ORDER BY d.due_at LIMIT max_count FOR UPDATE SKIP LOCKED) AS ready
        WHERE s.org_id = ready.org_id AND s.id = ready.id
        RETURNING s.*
    ), queued AS (
        INSERT INTO byoc.queue (org_id, lane, id, to_number, body, segments, credential_id, attempts, source_table, idempotency_key,
                                created_at, send_at, expires_at)
        SELECT d.org_id, byoc.lane_of(d.org_id, d.credential_id), d.id, d.to_number, d.body, d.segments, d.credential_id, d.attempts,
               d.source_table, d.idempotency_key, d.created_at, d.send_at, d.expires_at
        FROM due d
        RETURNING org_id, lane, id
    )
    SELECT count(byoc.pass_on_lane(q.org_id, q.lane, q.id)) INTO promoted FROM queued q;
    RETURN promoted;
END
$$;

CREATE OR REPLACE FUNCTION byoc.lane_starts(OUT org_ids uuid[], OUT lanes uuid[], OUT from_ids uuid[])
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET jit = off
AS $$
BEGIN
    -- Steps from lane to lane through the queue's primary key instead of reading every message.
    WITH RECURSIVE first AS (
        (SELECT q.org_id, q.lane, q.id FROM byoc.queue q ORDER BY q.org_id, q.lane, q.id LIMIT 1)
        UNION ALL
        SELECT n.org_id, n.lane, n.id
        FROM first f CROSS JOIN LATERAL (
            SELECT q.org_id, q.lane, q.id FROM byoc.queue q WHERE (q.org_id, q.lane) > (f.org_id, f.lane)
            ORDER BY q.org_id, q.lane, q.id LIMIT 1) AS n
    )
    SELECT array_agg(f.org_id), array_agg(f.lane), array_agg(f.id) INTO org_ids, lanes, from_ids FROM first f;
END
$$;

CREATE OR REPLACE FUNCTION byoc.expire_queued(org_id uuid, lane uuid, ids uuid[]) RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET jit = off
AS $$
BEGIN
    WITH moved AS (
        DELETE FROM byoc.queue q
        USING (SELECT e.org_id, e.lane, e.id FROM byoc.queue e
               WHERE e.org_id = expire_queued.org_id AND e.lane = expire_queued.lane AND e.id = ANY (ids) AND e.expires_at <= clock_timestamp()
               FOR UPDATE SKIP LOCKED) AS late
        WHERE q.org_id = late.org_id AND q.lane = late.lane AND q.id = late.id
        RETURNING q.*
    ), stored AS (
        INSERT INTO byoc.messages (org_id, id, to_number, body, status, credential_id, attempts, segments, source_table, idempotency_key, created_at,
                                   send_at, expires_at, finished_at)
        SELECT m.org_id, m.id, m.to_number, m.body, 'expired', m.credential_id, m.attempts, m.segments, m.source_table, m.idempotency_key, m.created_at,
               m.send_at, m.expires_at, clock_timestamp()
        FROM moved m
    )
    INSERT INTO byoc.message_events (org_id, message_id, id, event, attempt)
    SELECT m.org_id, m.id, byoc.uuid_v7(), 'expired', m.attempts FROM moved m;
END
$$;

CREATE FUNCTION byoc.finish_claim(claim_id uuid, dispatcher uuid, lease_until timestamptz)
RETURNS TABLE (claim_id uuid, org_id uuid, id uuid, provider text, credential_id uuid, credential_version integer, to_number text,
               body text, attempt integer, validity_seconds integer, lane uuid)
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'byoc_finish_claim';

COMMENT ON FUNCTION byoc.finish_claim(uuid, uuid, timestamptz) IS
    'Internal: stores the claim with what byoc.take_messages() moved for it in this transaction, and returns that.';

CREATE OR REPLACE FUNCTION byoc.claim_jobs(dispatcher uuid, slots integer, lease interval, lanes_in_use uuid[] DEFAULT '{}', rooms integer[] DEFAULT '{}',
                                room integer DEFAULT NULL)
RETURNS TABLE (claim_id uuid, org_id uuid, id uuid, provider text, credential_id uuid, credential_version integer, to_number text,
               body text, attempt integer, validity_seconds integer, lane uuid)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
-- Plans are made once, and one made while the tables are empty must not read them as a whole when they are full.
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    lanes_at_once CONSTANT integer := 32;
    has_slept CONSTANT boolean := byoc.end_sleep();
    -- Who just slept has looked everywhere before.
    once_a_second CONSTANT boolean := NOT has_slept AND byoc.is_sweep_due();
    new_claim CONSTANT uuid := byoc.uuid_v7();
    none CONSTANT uuid := '00000000-0000-0000-0000-000000000000';
    fallback CONSTANT integer := byoc.session_fallback();
    started timestamptz;
    full_lanes uuid[] := '{}';
    around record;
    ready record;
    share integer;
    of_org uuid;
    of_lane uuid;
    from_id uuid;
    state byoc.lanes;
    sender record;
    is_half_open boolean;
    is_trial boolean;
    is_written boolean;
    rate double precision;
    burst double precision;
    have double precision;
    got record;
    taken integer := 0;
BEGIN
    IF fallback IS NOT NULL THEN
        PERFORM byoc.keep_fallback();
    END IF;
    around := byoc.look_around();
    -- A restore may begin under a running dispatcher: its second row shows at once.
    IF once_a_second OR NOT around.is_alone THEN
        PERFORM byoc.require_adopted();
    END IF;
    IF slots < 1 THEN
        RETURN;
    END IF;
    IF 0 >= ANY (rooms) THEN
        full_lanes := ARRAY(SELECT u.lane FROM unnest(lanes_in_use, rooms) AS u (lane, room) WHERE u.room <= 0);
    END IF;
    IF around.is_any_due THEN
        PERFORM byoc.promote_due(500);
    END IF;
    IF around.is_any_wait_over THEN
        PERFORM byoc.end_waits(lanes_at_once, full_lanes);
    END IF;
    IF once_a_second THEN
        PERFORM byoc.sweep_lanes();
    END IF;
    ready := byoc.take_lanes(least(lanes_at_once, slots), full_lanes);
    IF ready.overflowed AND NOT once_a_second THEN
        PERFORM byoc.sweep_lanes();
    END IF;
    started := clock_timestamp();
    FOR i IN 1 .. cardinality(ready.lanes) LOOP
        of_org := ready.org_ids[i];
        of_lane := ready.lanes[i];
        from_id := ready.from_ids[i];
        -- Each has the same; what lanes before it did not need goes around.
        share := (slots - taken) / (cardinality(ready.lanes) - i + 1);
        state := byoc.lane_state(of_org, of_lane);
        sender := byoc.sender_of(of_org, of_lane);
        IF of_lane = none AND sender.id IS NULL THEN
            IF byoc.is_left_to_fallback(of_org) THEN
                PERFORM byoc.leave_to_fallback(of_org, from_id);
                CONTINUE;
            END IF;
            -- This session's own account takes those of an organization that never had a credential.
            IF fallback IS NOT NULL AND byoc.falls_back(of_org) THEN
                SELECT none AS id, f.version, f.fields, NULL::text AS state INTO sender FROM byoc.fallback_senders f WHERE f.version = fallback;
            END IF;
        END IF;
        -- It waits, for these messages too.
        CONTINUE WHEN state.busy AND state.next_at > started AND state.cursor <= from_id;
        IF around.is_any_limit THEN
            SELECT m.segments_per_second, m.burst INTO rate, burst FROM byoc.sender_limit(of_org, sender.fields) AS m;
        ELSE
            rate := byoc.default_sender_rate(byoc.sender_kind(byoc.limited_sender(sender.fields)));
            burst := byoc.default_sender_burst(rate);
        END IF;
        is_half_open := coalesce(state.failures >= byoc.breaker_threshold(), false);
        -- A lane that is as most are needs no lock: nobody else serves it, and nothing about it is to be remembered.
        is_written := state.lane IS NULL OR state.busy OR state.next_at > started OR is_half_open OR state.barred OR byoc.is_barred(sender.state)
                      OR rate IS NOT NULL OR state.tokens IS NOT NULL;
        IF is_written THEN
            state := byoc.lock_lane(of_org, of_lane);
            is_half_open := state.failures >= byoc.breaker_threshold();
            IF state.lane IS NULL THEN
                PERFORM byoc.pass_on_lane(of_org, of_lane, from_id);
                CONTINUE;
            END IF;
            -- What it waited with is behind nothing that came later.
            IF state.busy THEN
                from_id := least(from_id, state.cursor);
            END IF;
            IF state.next_at > started THEN
                UPDATE byoc.lanes l SET busy = true, cursor = CASE WHEN l.busy THEN least(l.cursor, from_id) ELSE from_id END
                WHERE l.org_id = of_org AND l.lane = of_lane AND NOT (l.busy AND l.cursor <= from_id);
                CONTINUE;
            -- Looked at again now that the lane is locked: byoc.release_lanes() may have had it just before.
            ELSIF byoc.is_barred(sender.state) AND byoc.is_barred((byoc.sender_of(of_org, of_lane)).state) THEN
                PERFORM byoc.bar_lane(of_org, of_lane, from_id, share, started);
                CONTINUE;
            END IF;
        END IF;
        have := CASE WHEN rate IS NOT NULL THEN least(burst, coalesce(state.tokens + rate * extract(epoch FROM started - state.tokens_at), burst)) END;
        got := byoc.take_messages(new_claim, of_org, of_lane, from_id,
                                  CASE WHEN is_half_open THEN 1
                                       ELSE least(share, coalesce(rooms[array_position(lanes_in_use, of_lane)], claim_jobs.room, slots)) END,
                                  started, sender.id, sender.version, have, burst);
        taken := taken + got.taken;
        is_trial := is_half_open AND got.taken > 0;
        IF got.expired IS NOT NULL THEN
            PERFORM byoc.expire_queued(of_org, of_lane, got.expired);
        END IF;
        IF got.is_held AND NOT is_written THEN
            state := byoc.lock_lane(of_org, of_lane);
            is_written := state.lane IS NOT NULL;
        END IF;
        IF is_written THEN
            UPDATE byoc.lanes l
            SET cursor = got.next_id, barred = false, busy = is_trial OR got.is_held OR got.missing IS NOT NULL,
                next_at = CASE WHEN is_trial THEN started + claim_jobs.lease
                               WHEN got.is_held THEN started + interval '1 second'
                               WHEN got.missing IS NULL THEN l.next_at
                               ELSE started + (least(got.missing, burst + got.segments) - have) / rate * interval '1 second' END,
                trial = CASE WHEN is_trial THEN got.next_id ELSE l.trial END,
                tokens = have - got.segments, tokens_at = CASE WHEN rate IS NOT NULL THEN started END
            WHERE l.org_id = of_org AND l.lane = of_lane;
        END IF;
        IF got.is_full AND NOT is_trial OR got.is_held AND NOT is_written THEN
            PERFORM byoc.pass_on_lane(of_org, of_lane, got.next_id);
        END IF;
    END LOOP;
    IF taken = 0 THEN
        RETURN;
    END IF;
    RETURN QUERY SELECT f.* FROM byoc.finish_claim(new_claim, claim_jobs.dispatcher, started + claim_jobs.lease) AS f;
    IF fallback IS NOT NULL THEN
        PERFORM byoc.audit_fallback(new_claim);
    END IF;
END
$$;

CREATE OR REPLACE FUNCTION byoc.store_sent_by_statement(
    org_ids uuid[], ids uuid[], claim_ids uuid[], provider_sids text[], from_numbers text[], segments smallint[],
    http_statuses smallint[], durations_ms integer[], OUT claims uuid[], OUT messages integer[])
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET jit = off
AS $$
BEGIN
    WITH sent AS (
        UPDATE byoc.messages m
        SET status = 'sent', claim_id = NULL, finished_at = clock_timestamp(), sent_at = clock_timestamp(), provider_sid = t.provider_sid,
            from_number = t.from_number, segments = coalesce(nullif(t.segments, 0), m.segments), error_code = NULL, error_message = NULL
        FROM unnest(org_ids, ids, claim_ids, provider_sids, from_numbers, store_sent_by_statement.segments, http_statuses, durations_ms)
            AS t (org_id, id, claim_id, provider_sid, from_number, segments, http_status, duration_ms)
        WHERE m.org_id = t.org_id AND m.id = t.id AND m.claim_id = t.claim_id
        RETURNING m.org_id, m.id, m.attempts, t.claim_id, t.http_status, t.provider_sid, t.duration_ms
    ), noted AS (
        INSERT INTO byoc.message_events (org_id, message_id, id, event, attempt, http_status, provider_sid, duration_ms)
        SELECT s.org_id, s.id, byoc.uuid_v7(), 'accepted', s.attempts, s.http_status, s.provider_sid, s.duration_ms FROM sent s
    )
    SELECT array_agg(s.claim_id), array_agg(s.messages) INTO claims, messages
    FROM (SELECT s.claim_id, count(*)::integer AS messages FROM sent s GROUP BY s.claim_id) AS s;
END
$$;

CREATE OR REPLACE FUNCTION byoc.open_breakers(outcomes jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    changed integer;
BEGIN
    PERFORM byoc.lock_lanes(outcomes);
    WITH told AS MATERIALIZED (
        SELECT m.org_id, m.used_credential_id AS lane, array_agg(m.id) AS ids, count(*) FILTER (WHERE t.outcome NOT IN ('rejected', 'returned')) AS failures,
               clock_timestamp() + max(greatest(t.retry_ms, 0)) FILTER (WHERE t.outcome = 'throttled') * interval '1 millisecond' AS paused_until
        FROM jsonb_to_recordset(outcomes) AS t (org_id uuid, id uuid, claim_id uuid, outcome text, retry_ms integer)
        JOIN byoc.messages m ON m.org_id = t.org_id AND m.id = t.id AND m.claim_id = t.claim_id
        WHERE t.outcome <> 'accepted'
        GROUP BY m.org_id, m.used_credential_id
    ), counted AS (
        SELECT t.org_id, t.lane, t.paused_until, c.trial_ended, k.failures + c.more AS failures, c.more > 0 OR c.trial_ended AS is_news
        FROM told t JOIN byoc.lanes k ON k.org_id = t.org_id AND k.lane = t.lane
        -- Once it has opened only trials count, not what was on its way then.
        CROSS JOIN LATERAL (
            SELECT coalesce(k.trial = ANY (t.ids), false) AS trial_ended,
                   CASE WHEN k.failures < byoc.breaker_threshold() THEN least(t.failures, byoc.breaker_threshold() - k.failures)
                        WHEN k.trial = ANY (t.ids) THEN least(t.failures, 1) ELSE 0 END::integer AS more) AS c
    ), waiting AS (
        UPDATE byoc.lanes l
        SET failures = c.failures, trial = CASE WHEN NOT c.trial_ended THEN l.trial END, paused_until = greatest(l.paused_until, c.paused_until),
            next_at = greatest(CASE WHEN NOT c.trial_ended THEN l.next_at END, l.paused_until, c.paused_until,
                CASE WHEN c.is_news AND c.failures >= byoc.breaker_threshold() THEN
                    clock_timestamp() + least(interval '10 seconds', interval '0.5 seconds' * 2 ^ least(10, c.failures - byoc.breaker_threshold())) END)
        FROM counted c
        WHERE l.org_id = c.org_id AND l.lane = c.lane AND (c.is_news OR c.paused_until IS NOT NULL)
        RETURNING l.org_id
    )
    SELECT count(byoc.wake_dispatcher(w.org_id)) INTO changed FROM waiting w;
END
$$;

CREATE OR REPLACE FUNCTION byoc.reconcile_later(outcomes jsonb) RETURNS integer
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

CREATE OR REPLACE FUNCTION byoc.rescue_expired() RETURNS integer
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
        USING (SELECT x.id FROM byoc.claims x WHERE x.lease_until < clock_timestamp() FOR UPDATE SKIP LOCKED) AS e
        WHERE c.id = e.id
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

CREATE OR REPLACE FUNCTION byoc.claim_reconciliations(max_count integer, lease interval)
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
    PERFORM byoc.give_up_reconciling(r.org_id, r.message_id, 'no byocd has the account in its environment any more')
    FROM byoc.due_reconciliations r
    WHERE r.credential_id = '00000000-0000-0000-0000-000000000000'
      AND NOT EXISTS (SELECT FROM byoc.fallback_senders f WHERE f.version = byoc.session_fallback() AND f.fields ->> 'account_sid' = r.account);
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
    SELECT d.org_id, d.credential_id, coalesce(c.version, 0), coalesce(c.credential_type, 'twilio'), d.account, d.to_number,
           date_trunc('second', min(t.attempt_from) - byoc.reconciliation_slack()), clock_timestamp()
    FROM due d
    JOIN taken t ON t.org_id = d.org_id AND t.to_number = d.to_number AND t.account = d.account
    LEFT JOIN byoc.organization_api_credentials c ON c.org_id = d.org_id AND c.id = d.credential_id
    GROUP BY d.org_id, d.credential_id, c.version, c.credential_type, d.account, d.to_number;
END
$$;

CREATE OR REPLACE FUNCTION byoc.recorded_sids(org_id uuid, sids text[], since timestamptz) RETURNS text[]
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
AS $$
    SELECT coalesce(array_agg(r.provider_sid), '{}')
    FROM (SELECT m.provider_sid FROM byoc.messages m
          WHERE m.org_id = recorded_sids.org_id AND m.provider_sid = ANY (sids)
            -- A request takes at most ten minutes (byocd's largest request-timeout).
            AND m.claimed_at >= since - interval '10 minutes' - byoc.reconciliation_slack()
          UNION ALL
          SELECT a.provider_sid FROM byoc.earlier_attempts a
          WHERE a.org_id = recorded_sids.org_id AND a.provider_sid = ANY (sids)) AS r;
$$;

COMMENT ON FUNCTION byoc.recorded_sids(uuid, text[], timestamptz) IS
    'Internal: which of these provider ids, made since then, belong to a message of the organization already.';

CREATE OR REPLACE FUNCTION byoc.without_exchanged(outcomes jsonb) RETURNS jsonb
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
DECLARE
    late record;
    exchanged uuid[] := '{}';
BEGIN
    -- Locked as byoc.record_reconciliation() does, so that both cannot give the same id away.
    FOR late IN
        SELECT t.org_id, t.id, t.provider_sid, r.attempt_from
        FROM jsonb_to_recordset(outcomes) AS t (org_id uuid, id uuid, claim_id uuid, outcome text, provider_sid text)
        JOIN byoc.reconciliations r ON r.org_id = t.org_id AND r.message_id = t.id AND r.claim_id = t.claim_id
        WHERE t.outcome = 'accepted' ORDER BY r.message_id FOR UPDATE OF r
    LOOP
        IF byoc.recorded_sids(late.org_id, ARRAY[late.provider_sid], late.attempt_from) <> '{}' THEN
            exchanged := exchanged || late.id;
        END IF;
    END LOOP;
    IF exchanged = '{}' THEN
        RETURN outcomes;
    END IF;
    RETURN (SELECT coalesce(jsonb_agg(o), '[]') FROM jsonb_array_elements(outcomes) AS o WHERE (o ->> 'id')::uuid <> ALL (exchanged));
END
$$;

CREATE OR REPLACE FUNCTION byoc.note_late(outcomes jsonb) RETURNS void
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
          -- One that looks the same may have got it from the list.
          AND NOT EXISTS (SELECT FROM byoc.messages m
                          WHERE m.org_id = t.org_id AND m.id = t.id
                            AND byoc.recorded_sids(t.org_id, ARRAY[t.provider_sid], m.claimed_at) <> '{}')
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

CREATE OR REPLACE FUNCTION byoc.record_reconciliation(org_id uuid, account text, to_number text, since timestamptz, read_at timestamptz, listed jsonb,
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
    PERFORM FROM byoc.reconciliations r
    WHERE r.org_id = record_reconciliation.org_id AND r.account = record_reconciliation.account AND r.to_number = record_reconciliation.to_number
    ORDER BY r.message_id FOR UPDATE;
    plausible := byoc.plausible_messages(org_id, account, to_number, coalesce(listed, '[]'));
    IF plausible <> '[]' THEN
        -- First what is in flight, then what is recorded: nothing can slip from one to the other unseen.
        SELECT coalesce(jsonb_agg(jsonb_build_object('body', m.body, 'claimed_at', m.claimed_at)), '[]') INTO in_flight
        FROM byoc.claims c CROSS JOIN unnest(c.org_ids, c.message_ids) AS i (org_id, id)
        JOIN byoc.messages m ON m.org_id = i.org_id AND m.id = i.id AND m.claim_id = c.id
        WHERE i.org_id = record_reconciliation.org_id AND m.to_number = record_reconciliation.to_number
          AND NOT byoc.is_reconciling(i.org_id, i.id, c.id);
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

CREATE OR REPLACE FUNCTION byoc.recall_waiting(receipts jsonb) RETURNS uuid[]
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    told record;
    busy uuid[] := '{}';
BEGIN
    FOR told IN
        SELECT DISTINCT t.org_id, t.id, t.attempt, t.provider_sid
        FROM jsonb_to_recordset(receipts) AS t (org_id uuid, id uuid, attempt integer, provider_sid text)
        WHERE NOT EXISTS (SELECT FROM byoc.messages m WHERE m.org_id = t.org_id AND m.id = t.id)
          -- With a provider's id on record the attempt was known, and the message waits because somebody wants it sent again.
          AND NOT EXISTS (SELECT FROM byoc.message_events e
                          WHERE e.org_id = t.org_id AND e.message_id = t.id AND e.attempt = t.attempt AND e.provider_sid IS NOT NULL)
    LOOP
        -- One that looks the same got this id from the message list: the two have changed places, and this one is to be sent.
        CONTINUE WHEN byoc.recorded_sids(told.org_id, ARRAY[told.provider_sid],
            (SELECT min(e.at) - interval '10 minutes' FROM byoc.message_events e
             WHERE e.org_id = told.org_id AND e.message_id = told.id AND e.attempt = told.attempt)) <> '{}';
        WITH unsent AS (
            DELETE FROM byoc.schedule s
            WHERE s.ctid = (SELECT w.ctid FROM byoc.schedule w WHERE w.org_id = told.org_id AND w.id = told.id AND w.attempts = told.attempt
                            FOR UPDATE SKIP LOCKED)
            RETURNING s.org_id, s.id, s.to_number, s.body, s.credential_id, s.attempts, s.source_table, s.idempotency_key, s.created_at, s.send_at, s.expires_at, s.segments
        ), queued AS (
            DELETE FROM byoc.queue q
            WHERE q.ctid = (SELECT w.ctid FROM byoc.queue w
                            WHERE w.org_id = told.org_id AND w.lane = ANY (byoc.lanes_of(told.org_id)) AND w.id = told.id AND w.attempts = told.attempt
                            FOR UPDATE SKIP LOCKED)
            RETURNING q.org_id, q.id, q.to_number, q.body, q.credential_id, q.attempts, q.source_table, q.idempotency_key, q.created_at, q.send_at, q.expires_at, q.segments
        )
        -- When it was claimed is forgotten. Later than that is good enough for byoc.recorded_sids().
        INSERT INTO byoc.messages (org_id, id, to_number, body, credential_id, attempts, source_table, idempotency_key, created_at, send_at,
                                   expires_at, segments, status, finished_at, claimed_at)
        SELECT u.*, 'unknown', clock_timestamp(), clock_timestamp() FROM (TABLE unsent UNION ALL TABLE queued) AS u;
        -- Somebody has it locked, and perhaps an open transaction of its tenant: nobody waits for that.
        IF NOT FOUND AND (EXISTS (SELECT FROM byoc.schedule s WHERE s.org_id = told.org_id AND s.id = told.id AND s.attempts = told.attempt)
                          OR EXISTS (SELECT FROM byoc.queue q WHERE q.org_id = told.org_id AND q.lane = ANY (byoc.lanes_of(told.org_id))
                                                                AND q.id = told.id AND q.attempts = told.attempt)) THEN
            busy := busy || told.id;
        END IF;
    END LOOP;
    RETURN busy;
END
$$;

CREATE OR REPLACE FUNCTION byoc.record_receipts(receipts jsonb) RETURNS integer[]
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
-- As byoc.record_outcomes: a plan made while the tables are empty must not read them as a whole when they are full.
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET jit = off
AS $$
DECLARE
    now CONSTANT timestamptz := clock_timestamp();
    busy CONSTANT uuid[] := byoc.recall_waiting(receipts);
    sought uuid[];
    ready bigint[];
    held integer[];
    failed_orgs uuid[];
    failed uuid[];
BEGIN
    -- Its row is locked while a message list settles a message, and before the message: of two attempts that look alike the list
    -- must not take this one's message for the other's.
    sought := ARRAY(SELECT r.message_id FROM byoc.reconciliations r
                    JOIN (SELECT DISTINCT t.org_id, t.id FROM jsonb_to_recordset(receipts) AS t (org_id uuid, id uuid)) AS t
                      ON r.org_id = t.org_id AND r.message_id = t.id
                    FOR UPDATE OF r SKIP LOCKED);
    -- Whoever has a message locked is about to change it, most likely with the outcome of the very attempt: no waiting, so no
    -- deadlock, but again a moment later. For the same reason a message that a live claim is sending waits unless told to settle.
    WITH told AS MATERIALIZED (
        SELECT t.* FROM ROWS FROM (jsonb_to_recordset(receipts) AS (org_id uuid, id uuid, settle boolean)) WITH ORDINALITY AS t (org_id, id, settle, n)
    ), locked AS MATERIALIZED (
        SELECT m.org_id, m.id, k.is_sought, NOT k.is_sought AND EXISTS (SELECT FROM byoc.claims c WHERE c.id = m.claim_id AND c.lease_until > now) AS in_flight
        FROM (SELECT DISTINCT d.org_id, d.id FROM told d) AS t
        JOIN byoc.messages m ON m.org_id = t.org_id AND m.id = t.id
        CROSS JOIN LATERAL byoc.is_reconciling(m.org_id, m.id, m.claim_id) AS k (is_sought)
        FOR NO KEY UPDATE OF m SKIP LOCKED
    ), sorted AS (
        SELECT t.n, CASE WHEN l.is_sought THEN t.id = ANY (sought) ELSE l.id IS NOT NULL AND (NOT l.in_flight OR coalesce(t.settle, false)) END AS is_ready
        FROM told t
        LEFT JOIN locked l ON l.org_id = t.org_id AND l.id = t.id
        WHERE t.id = ANY (busy) OR EXISTS (SELECT FROM byoc.messages m WHERE m.org_id = t.org_id AND m.id = t.id)
    )
    SELECT array_agg(s.n) FILTER (WHERE s.is_ready), array_agg(s.n - 1) FILTER (WHERE NOT s.is_ready) INTO ready, held FROM sorted s;

    WITH told AS MATERIALIZED (
        SELECT t.org_id, t.id, t.attempt, t.provider_sid, t.status, t.error_code, t.from_number, t.n,
               byoc.receipt_result(t.status) AS result, least(to_timestamp(t.at), now) AS at
        FROM ROWS FROM (jsonb_to_recordset(receipts) AS (
            org_id uuid, id uuid, attempt smallint, provider_sid text, status text, error_code text, from_number text, at double precision))
            WITH ORDINALITY AS t (org_id, id, attempt, provider_sid, status, error_code, from_number, at, n)
        WHERE t.n = ANY (ready)
    ), news AS MATERIALIZED (
        -- What can move a message: it stands at this attempt and is not final. A final status counts before any other.
        SELECT DISTINCT ON (m.org_id, m.id) m.org_id, m.id, m.status AS before, t.provider_sid, t.from_number, t.result,
               CASE WHEN t.result IN ('undelivered', 'failed') THEN coalesce(t.error_code, t.status) END AS error_code,
               greatest(t.at, m.sent_at, m.created_at) AS at
        FROM told t
        JOIN byoc.messages m ON m.org_id = t.org_id AND m.id = t.id
        WHERE m.attempts = t.attempt AND coalesce(m.provider_sid, t.provider_sid) = t.provider_sid
          -- The id of another message belongs to one that looks the same: the two have changed places (byoc.without_exchanged).
          AND CASE WHEN m.provider_sid IS NULL THEN byoc.recorded_sids(m.org_id, ARRAY[t.provider_sid], m.claimed_at) = '{}' ELSE true END
          AND (m.status IN ('sending', 'unknown') OR (m.status = 'sent' AND (t.result IS NOT NULL OR m.provider_sid IS NULL)))
        ORDER BY m.org_id, m.id, t.result IS NULL, t.n
    ), changed AS (
        UPDATE byoc.messages m
        SET status = coalesce(n.result, 'sent'), claim_id = NULL, provider_sid = n.provider_sid,
            from_number = coalesce(m.from_number, n.from_number), sent_at = coalesce(m.sent_at, n.at), finished_at = coalesce(m.finished_at, now),
            delivered_at = CASE n.result WHEN 'delivered' THEN n.at END, error_code = n.error_code,
            error_message = CASE WHEN n.error_code IS NOT NULL THEN byoc.receipt_reason(n.error_code) END
        FROM news n
        WHERE m.org_id = n.org_id AND m.id = n.id
        RETURNING m.org_id, m.id, m.attempts, m.provider_sid, n.before, n.result
    ), found AS (
        DELETE FROM byoc.reconciliations r USING changed c WHERE r.org_id = c.org_id AND r.message_id = c.id AND c.id = ANY (sought)
    ), answered AS (
        DELETE FROM byoc.status_checks s USING changed c WHERE s.org_id = c.org_id AND s.id = c.id AND c.result IS NOT NULL
    ), watched AS (
        INSERT INTO byoc.receipt_watches (org_id, due_at, message_ids)
        SELECT c.org_id, now + interval '10 minutes', array_agg(c.id) FROM changed c
        WHERE c.before <> 'sent' AND c.result IS NULL GROUP BY c.org_id
    ), history AS (
        SELECT c.org_id, c.id, 'settled' AS event, c.attempts AS attempt, NULL AS error_code, c.provider_sid, 0 AS n
        FROM changed c WHERE c.before <> 'sent'
        UNION ALL
        (SELECT DISTINCT ON (t.org_id, t.id, t.attempt, t.status, t.provider_sid) t.org_id, t.id, t.status, t.attempt, t.error_code, t.provider_sid, t.n
         FROM told t
         WHERE t.status IN ('sent', 'delivered', 'undelivered', 'failed', 'canceled', 'read', 'partially_delivered')
           AND NOT EXISTS (SELECT FROM byoc.message_events e
                           WHERE e.org_id = t.org_id AND e.message_id = t.id AND e.attempt = t.attempt AND e.event = t.status
                             AND e.provider_sid = t.provider_sid)
         ORDER BY t.org_id, t.id, t.attempt, t.status, t.provider_sid, t.n)
    ), noted AS (
        INSERT INTO byoc.message_events (org_id, message_id, id, event, attempt, error_code, provider_sid)
        SELECT h.org_id, h.id, byoc.uuid_v7(), h.event, h.attempt, h.error_code, h.provider_sid
        FROM (SELECT * FROM history ORDER BY history.n) AS h
    )
    SELECT array_agg(c.org_id), array_agg(c.id) INTO failed_orgs, failed FROM changed c WHERE c.result IN ('failed', 'undelivered');
    IF failed IS NOT NULL THEN
        -- A suspended account, an unregistered sender: the next ones would not arrive either.
        PERFORM byoc.fail_credentials((
            SELECT jsonb_agg(jsonb_build_object('org_id', m.org_id, 'id', m.id, 'outcome', 'rejected', 'error_code', m.error_code))
            FROM unnest(failed_orgs, failed) AS t (org_id, id) JOIN byoc.messages m ON m.org_id = t.org_id AND m.id = t.id));
        PERFORM byoc.send_again(failed_orgs, failed);
    END IF;
    RETURN coalesce(held, '{}');
END
$$;

CREATE OR REPLACE FUNCTION byoc.expect_receipts(org_ids uuid[], ids uuid[], called_back boolean[]) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO byoc.receipt_watches (org_id, due_at, message_ids)
    SELECT t.org_id, clock_timestamp() + CASE WHEN t.called_back THEN interval '10 minutes' ELSE interval '10 seconds' END, array_agg(t.id)
    FROM unnest(org_ids, ids, called_back) AS t (org_id, id, called_back)
    GROUP BY t.org_id, t.called_back;
END
$$;

CREATE OR REPLACE FUNCTION byoc.claim_status_checks(max_count integer)
RETURNS TABLE (org_id uuid, id uuid, attempt integer, provider_sid text, provider text, credential_id uuid, credential_version integer)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
-- Its tables are empty for long and then, within seconds, are not: a plan from before would read all of them.
SET plan_cache_mode = force_custom_plan
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
#variable_conflict use_column
DECLARE
    waits CONSTANT interval[] := ARRAY['1 minute', '10 minutes', '1 hour', '4 hours'];
    fallback CONSTANT integer := byoc.session_fallback();
BEGIN
    WITH due AS (
        DELETE FROM byoc.receipt_watches w
        USING (SELECT d.org_id, d.id FROM byoc.receipt_watches d WHERE d.due_at <= clock_timestamp()
               ORDER BY d.due_at LIMIT max_count FOR UPDATE SKIP LOCKED) AS ready
        WHERE w.org_id = ready.org_id AND w.id = ready.id
        RETURNING w.org_id, w.message_ids
    )
    INSERT INTO byoc.status_checks (org_id, id, due_at)
    SELECT m.org_id, m.id, clock_timestamp()
    FROM due d CROSS JOIN unnest(d.message_ids) AS u (id)
    JOIN byoc.messages m ON m.org_id = d.org_id AND m.id = u.id
    WHERE m.status = 'sent' AND m.provider_sid IS NOT NULL
    ON CONFLICT DO NOTHING;

    RETURN QUERY
    WITH due AS MATERIALIZED (
        SELECT s.org_id, s.id FROM byoc.status_checks s
        WHERE s.due_at <= clock_timestamp()
          -- What was sent with another environment's account, that byocd asks for.
          AND NOT EXISTS (SELECT FROM byoc.messages m
                          WHERE m.org_id = s.org_id AND m.id = s.id AND m.sent_at > clock_timestamp() - interval '24 hours'
                            AND m.used_credential_id = '00000000-0000-0000-0000-000000000000' AND m.used_credential_version IS DISTINCT FROM fallback)
        ORDER BY s.due_at LIMIT max_count FOR UPDATE SKIP LOCKED
    ), open AS MATERIALIZED (
        SELECT d.org_id, d.id, m.attempts, m.provider_sid, c.credential_type, c.id AS credential_id, c.version
        FROM due d
        JOIN byoc.messages m ON m.org_id = d.org_id AND m.id = d.id
        CROSS JOIN LATERAL byoc.credential_for_account(m.org_id, m.used_credential_id) AS c
        WHERE m.status = 'sent' AND m.provider_sid IS NOT NULL AND m.sent_at > clock_timestamp() - interval '24 hours'
    ), closed AS (
        DELETE FROM byoc.status_checks s USING due d
        WHERE s.org_id = d.org_id AND s.id = d.id AND NOT EXISTS (SELECT FROM open o WHERE o.org_id = d.org_id AND o.id = d.id)
    ), taken AS (
        UPDATE byoc.status_checks s
        SET checks = least(s.checks + 1, 32767), due_at = clock_timestamp() + waits[least(s.checks + 1, 4)]
        FROM open o WHERE s.org_id = o.org_id AND s.id = o.id
    )
    SELECT o.org_id, o.id, o.attempts::integer, o.provider_sid, o.credential_type, o.credential_id, o.version FROM open o;
END
$$;

CREATE OR REPLACE FUNCTION byoc.claim_provider_revocations(max_count integer, lease interval)
RETURNS TABLE (org_id uuid, id uuid, provider text, refresh_token text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    revocation byoc.provider_revocations;
BEGIN
    IF NOT byoc.is_adopted() THEN
        RETURN;
    END IF;
    -- A provider ends all that an account gave a client, so nothing is revoked while another credential lives by it. One of the
    -- same organization: a tenant can write any account into a credential, and must not keep another one's access alive with it.
    DELETE FROM byoc.provider_revocations r USING byoc.organization_api_credentials c
    WHERE r.due_at <= clock_timestamp() AND c.org_id = r.org_id AND c.is_active AND c.credential_type = r.provider
      AND c.fields ->> 'client_id' = r.client_id AND c.fields ->> 'account' = r.account;
    FOR revocation IN
        UPDATE byoc.provider_revocations r SET due_at = clock_timestamp() + lease, attempts = r.attempts + 1
        FROM (SELECT d.org_id, d.id FROM byoc.provider_revocations d WHERE d.due_at <= clock_timestamp()
              ORDER BY d.due_at LIMIT max_count FOR UPDATE SKIP LOCKED) AS due
        WHERE r.org_id = due.org_id AND r.id = due.id
        RETURNING r.*
    LOOP
        org_id := revocation.org_id;
        id := revocation.id;
        provider := revocation.provider;
        BEGIN
            refresh_token := byoc.unseal_fields(revocation.org_id, revocation.credential_id, revocation.encrypted_fields) ->> 'refresh_token';
            RETURN NEXT;
        EXCEPTION WHEN data_exception OR config_file_error OR external_routine_exception THEN
            -- Its key is gone, perhaps for now.
            PERFORM byoc.record_provider_revocation(revocation.org_id, revocation.id, false);
        END;
    END LOOP;
END
$$;

CREATE OR REPLACE FUNCTION byoc.adopt_installation() RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    paused bigint;
BEGIN
    IF byoc.is_adopted() THEN
        RETURN 0;
    END IF;
    LOCK TABLE byoc.queue, byoc.schedule, byoc.messages, byoc.calls IN SHARE ROW EXCLUSIVE MODE;
    -- What came along is paused: kept among the messages, without a job.
    WITH unsent AS (
        DELETE FROM byoc.schedule s
        RETURNING s.org_id, s.id, s.to_number, s.body, s.segments, s.credential_id, s.attempts, s.source_table, s.idempotency_key, s.created_at, s.send_at, s.expires_at
    ), queued AS (
        DELETE FROM byoc.queue q
        RETURNING q.org_id, q.id, q.to_number, q.body, q.segments, q.credential_id, q.attempts, q.source_table, q.idempotency_key, q.created_at, q.send_at, q.expires_at
    ), stored AS (
        INSERT INTO byoc.messages (org_id, id, to_number, body, segments, credential_id, attempts, source_table, idempotency_key, created_at, send_at, expires_at, status)
        SELECT u.*, 'queued' FROM (TABLE unsent UNION ALL TABLE queued) AS u
        RETURNING 1
    )
    SELECT count(*) INTO paused FROM stored;
    -- What its origin was sending may have been sent: a person decides.
    WITH unsure AS (
        UPDATE byoc.messages m
        SET status = 'unknown', claim_id = NULL, finished_at = clock_timestamp(), error_code = 'restored',
            error_message = 'it was being sent when the copy was made'
        WHERE m.status = 'sending'
        RETURNING m.org_id, m.id
    )
    INSERT INTO byoc.unknown_messages (org_id, message_id) SELECT u.org_id, u.id FROM unsure u ON CONFLICT DO NOTHING;
    WITH waiting AS (
        UPDATE byoc.calls c SET status = 'paused', due_at = NULL, claim_id = NULL WHERE c.due_at IS NOT NULL RETURNING 1
    )
    SELECT paused + count(*) INTO paused FROM waiting;
    DELETE FROM byoc.call_breakers;
    DELETE FROM byoc.claims;
    DELETE FROM byoc.reconciliations;
    DELETE FROM byoc.receipt_watches;
    DELETE FROM byoc.status_checks;
    DELETE FROM byoc.lanes;
    DELETE FROM byoc.oauth_states;
    DELETE FROM byoc.provider_revocations;
    PERFORM byoc.take_lanes();
    DELETE FROM byoc.installation;
    PERFORM byoc.record_installation();
    PERFORM byoc.audit_if_possible('installation.adopted', jsonb_build_object('paused', paused));
    RETURN paused;
END
$$;

CREATE OR REPLACE FUNCTION byoc.queue_totals()
RETURNS TABLE (waiting bigint, oldest_waiting_seconds double precision, scheduled bigint, due bigint, sending bigint, reconciling bigint, unknown bigint,
               breakers_open bigint, breakers_half_open bigint, lanes_limited bigint, lanes_paused bigint, dispatchers_sending bigint,
               dispatchers_sleeping integer, credentials_pending bigint, credentials_verified bigint, credentials_failed bigint, fallback_senders bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET jit = off
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH RECURSIVE first AS (
        (SELECT q.org_id, q.lane, q.created_at, q.send_at FROM byoc.queue q ORDER BY q.org_id, q.lane, q.id LIMIT 1)
        UNION ALL
        SELECT n.* FROM first f CROSS JOIN LATERAL (
            SELECT q.org_id, q.lane, q.created_at, q.send_at FROM byoc.queue q WHERE (q.org_id, q.lane) > (f.org_id, f.lane)
            ORDER BY q.org_id, q.lane, q.id LIMIT 1) AS n
    )
    SELECT (SELECT count(*) FROM byoc.queue),
           (SELECT max(greatest(0, extract(epoch FROM clock_timestamp() - greatest(f.created_at, f.send_at)))) FROM first f
            WHERE NOT EXISTS (SELECT FROM byoc.lanes l WHERE l.org_id = f.org_id AND l.lane = f.lane AND l.busy AND l.barred))::double precision,
           s.later, s.due, c.unsettled, r.messages,
           (SELECT count(*) FROM byoc.unknown_messages u JOIN byoc.messages m ON m.org_id = u.org_id AND m.id = u.message_id AND m.status = 'unknown'),
           b.open, b.half_open,
           (SELECT count(*) FROM byoc.lanes l WHERE l.busy AND l.next_at > clock_timestamp() AND NOT l.barred AND l.failures < byoc.breaker_threshold()),
           (SELECT count(*) FROM byoc.lanes l WHERE l.busy AND l.barred),
           c.dispatchers, byoc.sleeping_dispatchers(), k.pending, k.verified, k.failed,
           (SELECT count(*) FROM byoc.fallback_senders f WHERE f.expected_until > clock_timestamp())
    FROM (SELECT count(*) FILTER (WHERE n.due_at > clock_timestamp()) AS later, count(*) FILTER (WHERE n.due_at <= clock_timestamp()) AS due
          FROM byoc.schedule n) AS s,
         (SELECT coalesce(sum(n.unsettled), 0)::bigint AS unsettled,
                 count(DISTINCT n.dispatcher) FILTER (WHERE n.lease_until > clock_timestamp()) AS dispatchers FROM byoc.claims n) AS c,
         (SELECT count(*) AS messages
          FROM byoc.reconciliations n JOIN byoc.messages m ON m.org_id = n.org_id AND m.id = n.message_id AND m.claim_id = n.claim_id) AS r,
         (SELECT count(*) FILTER (WHERE n.next_at > clock_timestamp()) AS open, count(*) FILTER (WHERE n.next_at <= clock_timestamp()) AS half_open
          FROM byoc.lanes n WHERE n.failures > 0 AND n.failures >= byoc.breaker_threshold()) AS b,
         (SELECT count(*) FILTER (WHERE n.verification_status = 'pending') AS pending, count(*) FILTER (WHERE n.verification_status = 'verified') AS verified,
                 count(*) FILTER (WHERE n.verification_status = 'failed') AS failed
          FROM byoc.organization_api_credentials n WHERE n.is_active) AS k;
END
$$;

DO $$
DECLARE
    shared record;
BEGIN
    FOR shared IN
        SELECT a.attname, col_description(a.attrelid, a.attnum) AS meaning FROM pg_catalog.pg_attribute a
        WHERE a.attrelid = 'byoc.credentials'::regclass AND a.attnum > 0 AND NOT a.attisdropped AND a.attname <> 'fields'
    LOOP
        EXECUTE format('COMMENT ON COLUMN byoc.decrypted_credentials.%I IS %L', shared.attname, shared.meaning);
    END LOOP;
END
$$;

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

CREATE OR REPLACE FUNCTION byoc.sms_in_range(org_id uuid, low uuid, high uuid, max_count integer)
RETURNS TABLE (id uuid, to_number text, from_number text, body text, status text, provider_sid text, error_code text, error_message text,
               attempts integer, segments integer, source_table text, credential_id uuid, created_at timestamptz, send_at timestamptz,
               expires_at timestamptz, sent_at timestamptz, delivered_at timestamptz, waiting_reason text)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_bitmapscan = off
SET jit = off
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    (SELECT m.id, m.to_number, m.from_number, m.body, m.status::text, m.provider_sid, m.error_code, m.error_message, m.attempts::integer,
            m.segments::integer, m.source_table, m.credential_id, m.created_at, m.send_at, m.expires_at, m.sent_at, m.delivered_at, NULL
     FROM byoc.messages m WHERE m.org_id = sms_in_range.org_id AND m.id BETWEEN low AND high ORDER BY m.id DESC LIMIT max_count)
    UNION ALL
    (SELECT n.id, n.to_number, NULL, n.body, 'queued', NULL, NULL, NULL, n.attempts::integer, NULL, n.source_table, n.credential_id, n.created_at,
            n.send_at, n.expires_at, NULL, NULL,
            (SELECT c.waiting_reason FROM byoc.senders c
             WHERE c.org_id = n.org_id AND (c.id = n.lane OR (c.is_default AND n.credential_id IS NULL)) ORDER BY c.id = n.lane DESC LIMIT 1)
     FROM unnest(byoc.lanes_of(sms_in_range.org_id)) AS l CROSS JOIN LATERAL (
         SELECT * FROM byoc.queue q WHERE q.org_id = sms_in_range.org_id AND q.lane = l AND q.id BETWEEN low AND high
         ORDER BY q.id DESC LIMIT max_count) AS n)
    UNION ALL
    (SELECT s.id, s.to_number, NULL, s.body, CASE WHEN s.attempts = 0 AND s.due_at > clock_timestamp() THEN 'scheduled' ELSE 'queued' END, NULL, NULL,
            NULL, s.attempts::integer, NULL, s.source_table, s.credential_id, s.created_at, s.send_at, s.expires_at, NULL, NULL,
            (SELECT c.waiting_reason FROM byoc.senders c
             WHERE (s.attempts > 0 OR s.due_at <= now()) AND c.org_id = s.org_id
               AND CASE WHEN s.credential_id IS NULL THEN c.is_default ELSE c.id = s.credential_id END)
     FROM byoc.schedule s WHERE s.org_id = sms_in_range.org_id AND s.id BETWEEN low AND high ORDER BY s.id DESC LIMIT max_count)
    ORDER BY 1 DESC LIMIT max_count;
END
$$;

CREATE OR REPLACE FUNCTION byoc.rest_messages(statuses text, search text, page_size text, after text) RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    own CONSTANT uuid := byoc.current_org_id();
    size CONSTANT integer := byoc.rest_number('limit', page_size, 1, 100, 50);
    start CONSTANT uuid := (byoc.read_rest_cursor(after)).id;
    wanted CONSTANT text[] := string_to_array(nullif(statuses, ''), ',');
    words CONSTANT text := lower(nullif(search, ''));
    number CONSTANT text := nullif(translate(words, ' ()-./', ''), '');
    -- Where most do not match, a page looks at so many and goes on with the next.
    reach CONSTANT integer := CASE WHEN wanted IS NULL AND words IS NULL THEN size ELSE 5000 END;
BEGIN
    PERFORM byoc.require_organization(own);
    IF EXISTS (SELECT FROM unnest(wanted) AS w WHERE w NOT IN ('scheduled', 'queued', 'sending', 'sent', 'delivered', 'undelivered', 'failed',
                                                               'cancelled', 'expired', 'unknown')) THEN
        RAISE EXCEPTION 'it must be states of a message with commas between them' USING ERRCODE = 'invalid_parameter_value', COLUMN = 'status';
    ELSIF length(words) > 200 THEN
        RAISE EXCEPTION 'it has more than 200 characters' USING ERRCODE = 'invalid_parameter_value', COLUMN = 'search';
    END IF;
    RETURN (
        WITH found AS MATERIALIZED (
            SELECT r.*, row_number() OVER (ORDER BY r.id DESC) AS n
            FROM byoc.sms_in_range(own, '00000000-0000-0000-0000-000000000000', start, reach + 1) AS r
        ), fitting AS MATERIALIZED (
            SELECT f.*, row_number() OVER (ORDER BY f.n) AS place FROM found f
            WHERE f.n <= reach AND (wanted IS NULL OR f.status = ANY (wanted))
              AND (words IS NULL OR strpos(lower(f.body), words) > 0 OR strpos(f.to_number, number) > 0 OR strpos(f.from_number, number) > 0
                   OR lower(f.provider_sid) = words OR f.id::text = words)
            ORDER BY f.n LIMIT size + 1
        ), following AS (
            SELECT coalesce((SELECT f.id FROM fitting f WHERE f.place > size), (SELECT f.id FROM found f WHERE f.n > reach)) AS id
        )
        SELECT jsonb_build_object(
            'items', (SELECT coalesce(jsonb_agg(to_jsonb(f) - 'n' - 'place' ORDER BY f.n), '[]') FROM fitting f WHERE f.place <= size),
            'next', (SELECT byoc.rest_cursor('epoch', f.id) FROM following f)));
END
$$;

CREATE OR REPLACE FUNCTION byoc.rest_message(id uuid) RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    own CONSTANT uuid := byoc.current_org_id();
    message jsonb;
BEGIN
    PERFORM byoc.require_organization(own);
    SELECT to_jsonb(m) INTO message FROM byoc.sms_in_range(own, rest_message.id, rest_message.id, 1) AS m;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'message % does not exist', id USING ERRCODE = 'no_data_found';
    END IF;
    RETURN jsonb_build_object('id', message -> 'id', 'body', message || jsonb_build_object('events', (
        SELECT coalesce(jsonb_agg(to_jsonb(e) - 'org_id' - 'message_id' ORDER BY e.id), '[]')
        FROM byoc.message_events e WHERE e.org_id = own AND e.message_id = rest_message.id)));
END
$$;

CREATE OR REPLACE FUNCTION byoc.rest_statistics(hours text) RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_bitmapscan = off
SET jit = off
AS $$
DECLARE
    most CONSTANT integer := 100000;
    own CONSTANT uuid := byoc.current_org_id();
    number CONSTANT integer := byoc.rest_number('hours', hours, 1, 168, 24);
    start CONSTANT timestamptz := date_trunc('hour', now(), 'UTC') - (number - 1) * interval '1 hour';
    low CONSTANT uuid := byoc.first_id_at(start);
BEGIN
    PERFORM byoc.require_organization(own);
    RETURN (
        WITH handled AS MATERIALIZED (
            SELECT m.created_at, m.status::text AS status FROM byoc.messages m WHERE m.org_id = own AND m.id >= low ORDER BY m.id DESC LIMIT most
        ), made AS (
            TABLE handled
            UNION ALL
            SELECT n.created_at, 'queued' FROM unnest(byoc.lanes_of(own)) AS l CROSS JOIN LATERAL (
                SELECT q.created_at FROM byoc.queue q WHERE q.org_id = own AND q.lane = l AND q.id >= low ORDER BY q.id DESC LIMIT most) AS n
            UNION ALL
            (SELECT s.created_at, CASE WHEN s.attempts = 0 AND s.due_at > clock_timestamp() THEN 'scheduled' ELSE 'queued' END
             FROM byoc.schedule s WHERE s.org_id = own AND s.id >= low ORDER BY s.id DESC LIMIT most)
        ), counted AS MATERIALIZED (
            SELECT date_bin('1 hour', greatest(m.created_at, start), 'epoch') AS hour, m.status, count(*) AS messages FROM made m GROUP BY 1, 2
        )
        SELECT jsonb_build_object(
            'hours', (SELECT jsonb_agg(jsonb_build_object('from', h, 'counts', (
                          SELECT coalesce(jsonb_object_agg(c.status, c.messages), '{}') FROM counted c WHERE c.hour = h)) ORDER BY h)
                      FROM generate_series(start, now(), '1 hour') AS h),
            'total', (SELECT coalesce(jsonb_object_agg(t.status, t.messages), '{}')
                      FROM (SELECT c.status, sum(c.messages) AS messages FROM counted c GROUP BY c.status) AS t),
            'complete_from', CASE WHEN (SELECT count(*) FROM handled) < most THEN start ELSE (SELECT min(h.created_at) FROM handled h) END));
END
$$;

CREATE OR REPLACE FUNCTION byoc.grant_tenant(role regrole) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY INVOKER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    grantee text := role::text; -- regrole prints a quoted name
BEGIN
    EXECUTE format('GRANT USAGE ON SCHEMA byoc TO %s', grantee);
    EXECUTE format('GRANT SELECT ON byoc.organizations, byoc.providers, byoc.provider_errors, byoc.sms_events, byoc.audit_log, byoc.queue_health, byoc.call_health, '
        'byoc.inbound_messages, byoc.opt_outs, byoc.webhook_calls TO %s', grantee);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON byoc.credentials, byoc.calendar_events TO %s', grantee);
    EXECUTE format('GRANT SELECT, INSERT ON byoc.sms_messages TO %s', grantee);
    EXECUTE format(
        'GRANT EXECUTE ON FUNCTION byoc.api_version(), byoc.oldest_api_version(), byoc.authenticate(text), byoc.current_org_id(), byoc.current_user_id(), byoc.current_org_role(), '
        'byoc.sees_all_organizations(), byoc.require_organization(uuid, text), byoc.invoking_role(), '
        'byoc.encrypt(uuid, text, text), byoc.decrypt(uuid, bytea, text), byoc.encrypt_bytes(uuid, bytea, text), byoc.decrypt_bytes(uuid, bytea, text), '
        'byoc.envelope_key_id(bytea), byoc.sms_segments(text), byoc.decrypted_fields(uuid, uuid, integer, bytea), '
        'byoc.add_credential(text, jsonb, text, uuid), byoc.add_credential(text, text, text, uuid), byoc.parse_fields(text), '
        'byoc.update_credential(uuid, jsonb), byoc.update_credential(uuid, text), byoc.change_credential(uuid, uuid, jsonb, text, boolean), '
        'byoc.credential_org(uuid), byoc.verify_credential(uuid), byoc.revoke_credential(uuid), byoc.start_oauth(text, bytea, bytea, text, uuid), '
        'byoc.send_sms(text, text, timestamptz, uuid, text, timestamptz, uuid), byoc.cancel_sms(uuid), byoc.retry_sms(uuid), '
        'byoc.save_calendar_event(uuid, jsonb, uuid), byoc.cancel_calendar_event(uuid, uuid), byoc.calendar_event_id(uuid), '
        'byoc.call_webhook(text, jsonb, timestamptz, uuid, text, uuid), byoc.cancel_webhook(uuid), byoc.retry_webhook(uuid), '
        'byoc.resolve_unknown_sms(uuid, text), byoc.lift_opt_out(text, uuid), byoc.is_barred(text), byoc.queue_health(), '
        'byoc.rest_object(text, jsonb), byoc.rest_number(text, text, integer, integer, integer), byoc.rest_cursor(timestamptz, uuid), '
        'byoc.read_rest_cursor(text), byoc.rest_recall(text, text, text), byoc.rest_remember(text, jsonb), byoc.rest_session(), byoc.rest_providers(), '
        'byoc.rest_credential(uuid), byoc.rest_credentials(text, text), byoc.rest_add_credential(text, text, text), byoc.rest_match(uuid, text), '
        'byoc.rest_update_credential(uuid, text, text), byoc.rest_revoke_credential(uuid, text), byoc.rest_verify_credential(uuid, text), '
        'byoc.rest_audit(uuid, text, text), byoc.rest_messages(text, text, text, text), byoc.rest_message(uuid), byoc.rest_send_test(text, text), '
        'byoc.rest_day(text), byoc.rest_availability_window(text, text), byoc.rest_availability(text, text, jsonb), '
        'byoc.rest_statistics(text), byoc.rest_changes(interval) TO %s', grantee);
    PERFORM byoc.audit_if_possible('privileges.granted', jsonb_build_object('to', grantee, 'as', 'tenant'));
END
$$;

CREATE OR REPLACE FUNCTION byoc.grant_dispatcher(role regrole) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY INVOKER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    grantee text := role::text;
BEGIN
    EXECUTE format('GRANT USAGE ON SCHEMA byoc TO %s', grantee);
    EXECUTE format(
        'GRANT EXECUTE ON FUNCTION byoc.api_version(), byoc.oldest_api_version(), byoc.register_dispatcher(uuid), byoc.announce_fallback(text, text), byoc.claim_jobs(uuid, integer, interval, uuid[], integer[], integer), '
        'byoc.dispatcher_sleep(uuid[]), byoc.heartbeat(uuid, interval), byoc.rescue_expired(), '
        'byoc.claim_reconciliations(integer, interval), byoc.record_reconciliation(uuid, text, text, timestamptz, timestamptz, jsonb, text, text), '
        'byoc.record_accepted(uuid[], uuid[], uuid[], smallint[], text[], text[], smallint[], integer[]), '
        'byoc.record_outcomes(jsonb), byoc.open_credentials(uuid[], uuid[]), byoc.claim_verifications(uuid, integer, interval), '
        'byoc.record_verification(uuid, uuid, integer, text, text), byoc.seal_audit_log(), byoc.queue_health(), byoc.stats(), '
        'byoc.queue_totals(), byoc.key_totals(), byoc.readiness(), '
        'byoc.receipt_key(), byoc.open_receipts(text[]), byoc.record_receipts(jsonb), byoc.expect_receipts(uuid[], uuid[], boolean[]), '
        'byoc.claim_calls(integer, interval, integer), byoc.record_calls(jsonb), '
        'byoc.claim_status_checks(integer), byoc.inbound_credential(uuid), '
        'byoc.record_inbound(uuid, uuid, text, text, text, text, text), byoc.note_refusals(uuid[], uuid[]), '
        'byoc.take_oauth_state(bytea, bytea), byoc.add_credential_by_oauth(bytea, text), '
        'byoc.claim_provider_revocations(integer, interval), byoc.record_provider_revocation(uuid, uuid, boolean), '
        'byoc.check_subject(uuid), byoc.send_check_sms(uuid, text, text), byoc.check_sms(uuid, uuid) TO %s', grantee);
    PERFORM byoc.audit_if_possible('privileges.granted', jsonb_build_object('to', grantee, 'as', 'dispatcher'));
END
$$;

CREATE OR REPLACE FUNCTION byoc.grant_auditor(role regrole) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY INVOKER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    grantee text := role::text;
BEGIN
    EXECUTE format('GRANT USAGE ON SCHEMA byoc TO %s', grantee);
    EXECUTE format('GRANT SELECT ON byoc.audit_log, byoc.audit_heads, byoc.organizations, byoc.key_status, byoc.master_keys TO %s', grantee);
    EXECUTE format(
        'GRANT EXECUTE ON FUNCTION byoc.api_version(), byoc.oldest_api_version(), byoc.verify_audit_log(uuid, bigint, bytea), byoc.keyring(), byoc.envelope_key_id(bytea), '
        'byoc.current_org_id(), byoc.current_org_role(), byoc.sees_all_organizations() TO %s', grantee);
    PERFORM byoc.audit_if_possible('privileges.granted', jsonb_build_object('to', grantee, 'as', 'auditor'));
END
$$;

DO $$
DECLARE
    existing text[] := current_setting('pg_byoc.existing');
    opened record;
BEGIN
    FOR opened IN
        WITH object (id, kind, name, owner, acl) AS (
            SELECT n.tableoid::regclass || ' ' || n.oid, 'SCHEMA', n.nspname::text, n.nspowner, n.nspacl FROM pg_catalog.pg_namespace n WHERE n.nspname = 'byoc'
            UNION ALL
            SELECT p.tableoid::regclass || ' ' || p.oid, 'FUNCTION', p.oid::regprocedure::text, p.proowner, coalesce(p.proacl, acldefault('f', p.proowner))
            FROM pg_catalog.pg_proc p WHERE p.pronamespace = 'byoc'::regnamespace
            UNION ALL
            SELECT c.tableoid::regclass || ' ' || c.oid, 'TABLE', c.oid::regclass::text, c.relowner, c.relacl
            FROM pg_catalog.pg_class c WHERE c.relnamespace = 'byoc'::regnamespace AND c.relkind IN ('r', 'v')
            UNION ALL
            SELECT t.tableoid::regclass || ' ' || t.oid, 'TYPE', t.oid::regtype::text, t.typowner, coalesce(t.typacl, acldefault('T', t.typowner))
            FROM pg_catalog.pg_type t WHERE t.typnamespace = 'byoc'::regnamespace AND t.typcategory <> 'A'
        )
        SELECT DISTINCT o.kind, o.name, CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END AS grantee
        FROM object o, aclexplode(o.acl) AS a WHERE a.grantee <> o.owner AND o.id <> ALL (existing)
    LOOP
        EXECUTE format('REVOKE ALL ON %s %s FROM %s', opened.kind, opened.name, opened.grantee);
    END LOOP;
END
$$;

DROP FUNCTION byoc.close_types();

DROP FUNCTION byoc.renew_grants();

DROP FUNCTION byoc.distribute();

DROP FUNCTION byoc.make_coordinator();

DROP FUNCTION byoc.verify_at_homes(uuid, bigint, bytea);

DROP FUNCTION byoc.rows_at_homes(anyelement);

DROP FUNCTION byoc.rows_at_home(text);

DROP FUNCTION byoc.refuse_function(regprocedure, text);

DROP FUNCTION byoc.forward_function(regprocedure);

DROP FUNCTION byoc.require_home(uuid);

DROP FUNCTION byoc.follow_organization();

DROP FUNCTION byoc.take_organization(uuid, text, jsonb);

DROP FUNCTION byoc.follow_setting();

DROP FUNCTION byoc.tell_workers(text, jsonb, jsonb);

DROP FUNCTION byoc.take_setting(text, jsonb, jsonb);

DROP FUNCTION byoc.require_colocated(regclass, name, text);

DROP FUNCTION byoc.distributed_trigger(oid, name);

DROP FUNCTION byoc.home(uuid);

DROP FUNCTION byoc.make_homes();

DROP FUNCTION byoc.worker_anchors();

DROP FUNCTION byoc.require_alike_workers();

DROP FUNCTION byoc.require_distributed();

DROP FUNCTION byoc.require_citus();

DROP FUNCTION byoc.call_totals();

DROP FUNCTION byoc.acceptance_times();

DROP FUNCTION byoc.count_acceptance(timestamptz);

DROP TRIGGER forget_lookups ON byoc.opt_outs;

DROP FUNCTION byoc.recorded_sids(uuid[], text[], timestamptz[]);

DROP FUNCTION byoc.lock_reconciliations(jsonb);

DROP FUNCTION byoc.serve_lanes(uuid, uuid[], uuid[], uuid[], integer, timestamptz, interval, uuid[], integer[], integer);

DROP FUNCTION byoc.prepare_claim(boolean, uuid[]);

DROP TRIGGER forget_lookups ON byoc.organization_api_credentials;

DROP TRIGGER data_keys_truncated ON byoc.organization_keys;

DROP FUNCTION byoc.forget_lookups();
