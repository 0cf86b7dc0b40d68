\echo Use "ALTER EXTENSION pg_byoc UPDATE TO '0.2.0'" to load this file. \quit

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

CREATE FUNCTION byoc.forget_lookups() RETURNS trigger
LANGUAGE c AS 'MODULE_PATHNAME', 'byoc_forget_lookups';

COMMENT ON FUNCTION byoc.forget_lookups() IS
    'Internal: makes every backend forget what it looked up in the table when the change commits. Where its trigger is missing or disabled, nothing is remembered.';

COMMENT ON FUNCTION byoc.is_sweep_due() IS 'Internal: true once a second, for a dispatcher that is too busy to sleep; less often where the sweep that follows takes long.';

CREATE OR REPLACE TRIGGER data_keys_changed AFTER INSERT OR UPDATE OR DELETE ON byoc.organization_keys
FOR EACH ROW EXECUTE FUNCTION byoc.data_keys_changed();

ALTER TABLE byoc.organization_keys ENABLE ALWAYS TRIGGER data_keys_changed;

CREATE TRIGGER data_keys_truncated AFTER TRUNCATE ON byoc.organization_keys
FOR EACH STATEMENT EXECUTE FUNCTION byoc.data_keys_changed();

ALTER TABLE byoc.organization_keys ENABLE ALWAYS TRIGGER data_keys_truncated;

CREATE TRIGGER forget_lookups AFTER INSERT OR DELETE OR UPDATE OF org_id, id, credential_type, is_default ON byoc.organization_api_credentials
FOR EACH ROW EXECUTE FUNCTION byoc.forget_lookups();

ALTER TABLE byoc.organization_api_credentials ENABLE ALWAYS TRIGGER forget_lookups;

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
        UPDATE byoc.organization_api_credentials c SET is_default = true WHERE c.org_id = credential.org_id AND c.id = credential.id;
    END IF;
    -- Without is_default, for which every session would plan anew what reads credentials (forget_lookups).
    UPDATE byoc.organization_api_credentials c
    SET display_name = coalesce(change_credential.display_name, c.display_name), updated_at = now()
    WHERE c.org_id = credential.org_id AND c.id = credential.id;
END
$$;

COMMENT ON TABLE byoc.lanes IS
    'What is to be remembered about lanes: waits, failures and limits. Most have no row. Not dumped: it says nothing about messages.';

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
        -- By ctid, as byoc.expire_queued().
        DELETE FROM byoc.schedule s
        WHERE s.ctid = ANY (ARRAY(SELECT d.ctid FROM byoc.schedule d WHERE d.due_at <= clock_timestamp()
                                  ORDER BY d.due_at LIMIT max_count FOR UPDATE SKIP LOCKED))
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
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'byoc_lane_starts';

CREATE OR REPLACE FUNCTION byoc.expire_queued(org_id uuid, lane uuid, ids uuid[]) RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET jit = off
AS $$
BEGIN
    WITH moved AS (
        -- By ctid: a join could be planned, while the table is empty, to look for them anew for each of its rows.
        DELETE FROM byoc.queue q
        WHERE q.ctid = ANY (ARRAY(
            SELECT e.ctid FROM byoc.queue e
            WHERE e.org_id = expire_queued.org_id AND e.lane = expire_queued.lane AND e.id = ANY (ids) AND e.expires_at <= clock_timestamp()
            FOR UPDATE SKIP LOCKED))
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

CREATE FUNCTION byoc.prepare_claim(sweeps boolean, full_lanes uuid[]) RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    around CONSTANT record := byoc.look_around();
BEGIN
    IF byoc.session_fallback() IS NOT NULL THEN
        PERFORM byoc.keep_fallback();
    END IF;
    -- A restore may begin under a running dispatcher: its second row shows at once.
    IF sweeps OR NOT around.is_alone THEN
        PERFORM byoc.require_adopted();
    END IF;
    IF around.is_any_due THEN
        PERFORM byoc.promote_due(500);
    END IF;
    IF around.is_any_wait_over THEN
        PERFORM byoc.end_waits(16, full_lanes);
    END IF;
    IF sweeps THEN
        PERFORM byoc.sweep_lanes();
    END IF;
END
$$;

COMMENT ON FUNCTION byoc.prepare_claim(boolean, uuid[]) IS
    'Internal: what byoc.claim_jobs() does first when byoc.look_around() finds something or it is time for a sweep: notes lanes that have work by now.';

CREATE FUNCTION byoc.serve_lanes(claim_id uuid, org_ids uuid[], lanes uuid[], from_ids uuid[], slots integer, started timestamptz, lease interval,
                                 lanes_in_use uuid[], rooms integer[], room integer) RETURNS integer
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
-- Plans are made once, and one made while the tables are empty must not read them as a whole when they are full.
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    none CONSTANT uuid := '00000000-0000-0000-0000-000000000000';
    fallback CONSTANT integer := byoc.session_fallback();
    is_any_limit CONSTANT boolean := (byoc.look_around()).is_any_limit;
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
    FOR i IN 1 .. cardinality(lanes) LOOP
        of_org := org_ids[i];
        of_lane := lanes[i];
        from_id := from_ids[i];
        -- Each has the same; what lanes before it did not need goes around.
        share := (slots - taken) / (cardinality(lanes) - i + 1);
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
        IF is_any_limit THEN
            SELECT m.segments_per_second, m.burst INTO rate, burst FROM byoc.sender_limit(of_org, sender.fields) AS m;
        ELSE
            rate := byoc.default_sender_rate(byoc.sender_kind(byoc.limited_sender(sender.fields)));
            burst := byoc.default_sender_burst(rate);
        END IF;
        is_half_open := coalesce(state.failures >= byoc.breaker_threshold(), false);
        -- A lane that is as most are needs no lock, nor a row: nobody else serves it, and nothing about it is to be remembered.
        is_written := coalesce(state.busy OR state.next_at > started OR state.barred, false) OR is_half_open OR byoc.is_barred(sender.state)
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
        got := byoc.take_messages(claim_id, of_org, of_lane, from_id,
                                  CASE WHEN is_half_open THEN 1
                                       ELSE least(share, coalesce(rooms[array_position(lanes_in_use, of_lane)], room)) END,
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
                next_at = CASE WHEN is_trial THEN started + lease
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
    RETURN taken;
END
$$;

COMMENT ON FUNCTION byoc.serve_lanes(uuid, uuid[], uuid[], uuid[], integer, timestamptz, interval, uuid[], integer[], integer) IS
    'Internal: takes at most `slots` messages for the claim from lanes that byoc.take_lanes() gave, in the order in which lanes are locked: those that '
    'are limited, failing, waiting or not verified, or whose next messages are unusual. Returns how many.';

CREATE OR REPLACE FUNCTION byoc.claim_jobs(dispatcher uuid, slots integer, lease interval, lanes_in_use uuid[] DEFAULT '{}', rooms integer[] DEFAULT '{}',
                                room integer DEFAULT NULL)
RETURNS TABLE (claim_id uuid, org_id uuid, id uuid, provider text, credential_id uuid, credential_version integer, to_number text,
               body text, attempt integer, validity_seconds integer, lane uuid)
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'byoc_claim_jobs';

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
        RETURNING m.org_id, m.id, m.attempts, t.claim_id, t.http_status, t.provider_sid, t.duration_ms,
                  byoc.count_acceptance(greatest(m.created_at, m.send_at))
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
    -- Of most lanes there was nothing to remember so far.
    INSERT INTO byoc.lanes (org_id, lane, busy, next_at)
    SELECT DISTINCT m.org_id, m.used_credential_id, false, now()
    FROM jsonb_to_recordset(outcomes) AS t (org_id uuid, id uuid, claim_id uuid, outcome text)
    JOIN byoc.messages m ON m.org_id = t.org_id AND m.id = t.id AND m.claim_id = t.claim_id
    WHERE t.outcome NOT IN ('accepted', 'rejected', 'returned') AND m.used_credential_id IS NOT NULL
    ORDER BY m.org_id, m.used_credential_id
    ON CONFLICT DO NOTHING;
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

CREATE OR REPLACE FUNCTION byoc.recorded_sids(org_id uuid, sids text[], since timestamptz) RETURNS text[]
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

CREATE OR REPLACE FUNCTION byoc.without_exchanged(outcomes jsonb) RETURNS jsonb
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

CREATE OR REPLACE FUNCTION byoc.note_late(outcomes jsonb) RETURNS void
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

CREATE OR REPLACE FUNCTION byoc.recall_waiting(receipts jsonb) RETURNS uuid[]
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    told record;
    busy uuid[] := '{}';
BEGIN
    FOR told IN
        WITH waiting AS MATERIALIZED (
            SELECT DISTINCT t.org_id, t.id, t.attempt, t.provider_sid
            FROM jsonb_to_recordset(receipts) AS t (org_id uuid, id uuid, attempt integer, provider_sid text)
            WHERE NOT EXISTS (SELECT FROM byoc.messages m WHERE m.org_id = t.org_id AND m.id = t.id)
              -- With a provider's id on record the attempt was known, and the message waits because somebody wants it sent again.
              AND NOT EXISTS (SELECT FROM byoc.message_events e
                              WHERE e.org_id = t.org_id AND e.message_id = t.id AND e.attempt = t.attempt AND e.provider_sid IS NOT NULL)
        ), recorded AS MATERIALIZED (
            SELECT r.* FROM (SELECT array_agg(w.org_id) AS org_ids, array_agg(w.provider_sid) AS sids,
                                    array_agg((SELECT min(e.at) - interval '10 minutes' FROM byoc.message_events e
                                               WHERE e.org_id = w.org_id AND e.message_id = w.id AND e.attempt = w.attempt)) AS since
                             FROM waiting w) AS w
            CROSS JOIN LATERAL byoc.recorded_sids(w.org_ids, w.sids, w.since) AS r
        )
        -- One that looks the same got this id from the message list: the two have changed places, and this one is to be sent.
        SELECT w.* FROM waiting w
        WHERE NOT EXISTS (SELECT FROM recorded r WHERE r.org_id = w.org_id AND r.sid = w.provider_sid)
    LOOP
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
    -- These rows are locked while a message list settles messages, and before the messages: the list must not take this one's message for that
    -- of another one to the same recipient, which looks alike.
    sought := ARRAY(SELECT r.message_id FROM byoc.reconciliations r
                    JOIN (SELECT DISTINCT m.org_id, m.to_number FROM jsonb_to_recordset(receipts) AS t (org_id uuid, id uuid)
                          JOIN byoc.messages m ON m.org_id = t.org_id AND m.id = t.id WHERE m.provider_sid IS NULL) AS t
                      ON r.org_id = t.org_id AND r.to_number = t.to_number
                    FOR UPDATE OF r SKIP LOCKED);
    -- Whoever has a message locked is about to change it, most likely with the outcome of the very attempt: no waiting, so no
    -- deadlock, but again a moment later. For the same reason a message that a live claim is sending waits unless told to settle.
    WITH told AS MATERIALIZED (
        SELECT t.* FROM ROWS FROM (jsonb_to_recordset(receipts) AS (org_id uuid, id uuid, settle boolean)) WITH ORDINALITY AS t (org_id, id, settle, n)
    ), locked AS MATERIALIZED (
        SELECT m.org_id, m.id, NOT k.is_sought AND EXISTS (SELECT FROM byoc.claims c WHERE c.id = m.claim_id AND c.lease_until > now) AS in_flight,
               m.provider_sid IS NULL AND EXISTS (SELECT FROM byoc.reconciliations r
                                                  WHERE r.org_id = m.org_id AND r.to_number = m.to_number AND r.message_id <> ALL (sought)) AS is_compared
        FROM (SELECT DISTINCT d.org_id, d.id FROM told d) AS t
        JOIN byoc.messages m ON m.org_id = t.org_id AND m.id = t.id
        CROSS JOIN LATERAL byoc.is_reconciling(m.org_id, m.id, m.claim_id) AS k (is_sought)
        FOR NO KEY UPDATE OF m SKIP LOCKED
    ), sorted AS (
        SELECT t.n, l.id IS NOT NULL AND NOT l.is_compared AND (NOT l.in_flight OR coalesce(t.settle, false)) AS is_ready
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
    ), recorded AS MATERIALIZED (
        SELECT r.* FROM (SELECT array_agg(m.org_id) AS org_ids, array_agg(t.provider_sid) AS sids, array_agg(m.claimed_at) AS since
                         FROM told t JOIN byoc.messages m ON m.org_id = t.org_id AND m.id = t.id
                         WHERE m.provider_sid IS NULL) AS t
        CROSS JOIN LATERAL byoc.recorded_sids(t.org_ids, t.sids, t.since) AS r
    ), news AS MATERIALIZED (
        -- What can move a message: it stands at this attempt and is not final. A final status counts before any other.
        SELECT DISTINCT ON (m.org_id, m.id) m.org_id, m.id, m.status AS before, t.provider_sid, t.from_number, t.result,
               CASE WHEN t.result IN ('undelivered', 'failed') THEN coalesce(t.error_code, t.status) END AS error_code,
               greatest(t.at, m.sent_at, m.created_at) AS at
        FROM told t
        JOIN byoc.messages m ON m.org_id = t.org_id AND m.id = t.id
        WHERE m.attempts = t.attempt AND coalesce(m.provider_sid, t.provider_sid) = t.provider_sid
          -- The id of another message belongs to one that looks the same: the two have changed places (byoc.without_exchanged).
          AND (m.provider_sid IS NOT NULL OR NOT EXISTS (SELECT FROM recorded r WHERE r.org_id = t.org_id AND r.sid = t.provider_sid))
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
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'byoc_expect_receipts';

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
        -- By ctid, as byoc.expire_queued().
        DELETE FROM byoc.receipt_watches w
        WHERE w.ctid = ANY (ARRAY(SELECT d.ctid FROM byoc.receipt_watches d WHERE d.due_at <= clock_timestamp()
                                  ORDER BY d.due_at LIMIT max_count FOR UPDATE SKIP LOCKED))
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

CREATE TRIGGER forget_lookups AFTER INSERT OR UPDATE OR DELETE ON byoc.opt_outs FOR EACH ROW EXECUTE FUNCTION byoc.forget_lookups();

ALTER TABLE byoc.opt_outs ENABLE ALWAYS TRIGGER forget_lookups;

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
        WHERE r.ctid = ANY (ARRAY(SELECT d.ctid FROM byoc.provider_revocations d WHERE d.due_at <= clock_timestamp()
                                  ORDER BY d.due_at LIMIT max_count FOR UPDATE SKIP LOCKED))
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
    PERFORM byoc.close_types();
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
DECLARE
    most_steps CONSTANT integer := 1000;
BEGIN
    RETURN QUERY
    WITH RECURSIVE first AS (
        (SELECT q.org_id, q.lane, q.created_at, q.send_at FROM byoc.queue q ORDER BY q.org_id, q.lane, q.id LIMIT 1)
        UNION ALL
        SELECT n.* FROM first f CROSS JOIN LATERAL (
            SELECT q.org_id, q.lane, q.created_at, q.send_at FROM byoc.queue q WHERE (q.org_id, q.lane) > (f.org_id, f.lane)
            ORDER BY q.org_id, q.lane, q.id LIMIT 1) AS n
    ), stepped AS MATERIALIZED (
        SELECT f.* FROM first f LIMIT most_steps
    ), oldest AS (
        -- Of very many lanes, to look at each costs more than to read all messages.
        SELECT f.* FROM stepped f WHERE (SELECT count(*) FROM stepped) < most_steps
        UNION ALL
        SELECT q.org_id, q.lane, q.created_at, q.send_at FROM byoc.queue q WHERE (SELECT count(*) FROM stepped) = most_steps
    )
    SELECT (SELECT count(*) FROM byoc.queue),
           (SELECT max(greatest(0, extract(epoch FROM clock_timestamp() - greatest(f.created_at, f.send_at)))) FROM oldest f
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

CREATE FUNCTION byoc.count_acceptance(since timestamptz) RETURNS void
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'byoc_count_acceptance';

COMMENT ON FUNCTION byoc.count_acceptance(timestamptz) IS
    'Internal: counts for byoc.acceptance_times() that the provider has just taken a message that could be sent since then.';

CREATE FUNCTION byoc.acceptance_times() RETURNS TABLE (up_to double precision, messages bigint, seconds double precision)
LANGUAGE c VOLATILE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'byoc_acceptance_times';

COMMENT ON FUNCTION byoc.acceptance_times() IS
    'For byocd: how long messages took from when they could be sent (created_at, or send_at when that is later) until their acceptance was recorded, since '
    'the server''s start: how many took at most up_to seconds and more than the row before, and how many seconds these took together. No rows in a '
    'database beyond the 64 that the server keeps count of.';

CREATE FUNCTION byoc.call_totals()
RETURNS TABLE (waiting bigint, scheduled bigint, running bigint, oldest_waiting_seconds double precision, breakers_open bigint, breakers_half_open bigint,
               paused bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET jit = off
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT coalesce(sum(w.waiting), 0)::bigint, coalesce(sum(w.scheduled), 0)::bigint, coalesce(sum(w.running), 0)::bigint,
           coalesce(max(extract(epoch FROM clock_timestamp() - w.since)) FILTER (WHERE NOT w.paused), 0)::double precision,
           count(*) FILTER (WHERE w.failures >= byoc.breaker_threshold() AND w.paused_until > clock_timestamp()),
           count(*) FILTER (WHERE w.failures >= byoc.breaker_threshold() AND w.paused_until <= clock_timestamp()),
           count(*) FILTER (WHERE w.paused)
    FROM (SELECT c.*, b.failures, b.paused_until, k.id IS NULL OR byoc.is_barred(k.verification_status) AS paused
          FROM (SELECT n.org_id, n.credential_type, n.credential_id, count(*) FILTER (WHERE n.claim_id IS NOT NULL) AS running,
                       count(*) FILTER (WHERE n.claim_id IS NULL AND n.due_at <= clock_timestamp()) AS waiting,
                       count(*) FILTER (WHERE n.claim_id IS NULL AND n.due_at > clock_timestamp()) AS scheduled,
                       min(n.due_at) FILTER (WHERE n.claim_id IS NULL AND n.due_at <= clock_timestamp()) AS since
                FROM byoc.calls n WHERE n.due_at IS NOT NULL GROUP BY n.org_id, n.credential_type, n.credential_id) AS c
          LEFT JOIN byoc.organization_api_credentials k
              ON k.org_id = c.org_id AND k.credential_type = c.credential_type AND k.is_active
             AND CASE c.credential_id WHEN '00000000-0000-0000-0000-000000000000' THEN k.is_default ELSE k.id = c.credential_id END
          LEFT JOIN byoc.call_breakers b ON b.org_id = c.org_id AND b.credential_type = c.credential_type AND b.credential_id = c.credential_id
              AND (b.used_credential_id, b.used_credential_version) IS NOT DISTINCT FROM (k.id, k.version)) AS w;
END
$$;

COMMENT ON FUNCTION byoc.call_totals() IS
    'For byocd: calls that are not finished: waiting (could be made now), scheduled (for later, or for another try), running; since when the first of those '
    'that could be made has been due, paused credentials aside; and credentials with calls whose breaker is open or half open, or which are paused: not '
    'verified, or not there.';

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
LANGUAGE sql STABLE -- its callers' plans contain it, and they say how these are made
BEGIN ATOMIC
    (SELECT m.id, m.to_number, m.from_number, m.body, m.status::text, m.provider_sid, m.error_code, m.error_message, m.attempts::integer,
            m.segments::integer, m.source_table, m.credential_id, m.created_at, m.send_at, m.expires_at, m.sent_at, m.delivered_at, NULL
     FROM byoc.messages m WHERE m.org_id = sms_in_range.org_id AND m.id BETWEEN sms_in_range.low AND sms_in_range.high ORDER BY m.id DESC LIMIT sms_in_range.max_count)
    UNION ALL
    (SELECT n.id, n.to_number, NULL, n.body, 'queued', NULL, NULL, NULL, n.attempts::integer, NULL, n.source_table, n.credential_id, n.created_at,
            n.send_at, n.expires_at, NULL, NULL,
            (SELECT c.waiting_reason FROM byoc.senders c
             WHERE c.org_id = n.org_id AND (c.id = n.lane OR (c.is_default AND n.credential_id IS NULL)) ORDER BY c.id = n.lane DESC LIMIT 1)
     FROM unnest(byoc.lanes_of(sms_in_range.org_id)) AS l CROSS JOIN LATERAL (
         SELECT * FROM byoc.queue q WHERE q.org_id = sms_in_range.org_id AND q.lane = l AND q.id BETWEEN sms_in_range.low AND sms_in_range.high
         ORDER BY q.id DESC LIMIT sms_in_range.max_count) AS n)
    UNION ALL
    (SELECT s.id, s.to_number, NULL, s.body, CASE WHEN s.attempts = 0 AND s.due_at > clock_timestamp() THEN 'scheduled' ELSE 'queued' END, NULL, NULL,
            NULL, s.attempts::integer, NULL, s.source_table, s.credential_id, s.created_at, s.send_at, s.expires_at, NULL, NULL,
            (SELECT c.waiting_reason FROM byoc.senders c
             WHERE (s.attempts > 0 OR s.due_at <= now()) AND c.org_id = s.org_id
               AND CASE WHEN s.credential_id IS NULL THEN c.is_default ELSE c.id = s.credential_id END)
     FROM byoc.schedule s WHERE s.org_id = sms_in_range.org_id AND s.id BETWEEN sms_in_range.low AND sms_in_range.high ORDER BY s.id DESC LIMIT sms_in_range.max_count)
    ORDER BY 1 DESC LIMIT sms_in_range.max_count;
END;

CREATE OR REPLACE FUNCTION byoc.rest_messages(statuses text, search text, page_size text, after text) RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_bitmapscan = off
SET jit = off
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
        WITH fitting AS MATERIALIZED (
            SELECT f.*
            FROM (SELECT r.*, row_number() OVER (ORDER BY r.id DESC) AS n
                  FROM byoc.sms_in_range(own, '00000000-0000-0000-0000-000000000000', start, reach + 1) AS r) AS f
            WHERE f.n > reach
               OR ((wanted IS NULL OR f.status = ANY (wanted))
                   AND (words IS NULL OR strpos(lower(f.body), words) > 0 OR strpos(f.to_number, number) > 0 OR strpos(f.from_number, number) > 0
                        OR lower(f.provider_sid) = words OR f.id::text = words))
            ORDER BY f.id DESC LIMIT size + 1
        ), page AS (
            SELECT f.* FROM fitting f WHERE f.n <= reach ORDER BY f.n LIMIT size
        )
        SELECT jsonb_build_object(
            'items', (SELECT coalesce(jsonb_agg(to_jsonb(p) - 'n' ORDER BY p.n), '[]') FROM page p),
            'next', byoc.rest_cursor('epoch', coalesce((SELECT f.id FROM fitting f ORDER BY f.n OFFSET size),
                                                       (SELECT f.id FROM fitting f WHERE f.n > reach)))));
END
$$;

CREATE OR REPLACE FUNCTION byoc.rest_message(id uuid) RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_bitmapscan = off
SET jit = off
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
        WITH made AS (
            (SELECT m.created_at, m.status::text AS status FROM byoc.messages m WHERE m.org_id = own AND m.id >= low ORDER BY m.id DESC LIMIT most)
            UNION ALL
            SELECT n.created_at, 'queued' FROM unnest(byoc.lanes_of(own)) AS l CROSS JOIN LATERAL (
                SELECT q.created_at FROM byoc.queue q WHERE q.org_id = own AND q.lane = l AND q.id >= low ORDER BY q.id DESC LIMIT most) AS n
            UNION ALL
            (SELECT s.created_at, CASE WHEN s.attempts = 0 AND s.due_at > clock_timestamp() THEN 'scheduled' ELSE 'queued' END
             FROM byoc.schedule s WHERE s.org_id = own AND s.id >= low ORDER BY s.id DESC LIMIT most)
        ), counted AS MATERIALIZED (
            SELECT date_bin('1 hour', greatest(m.created_at, start), 'epoch') AS hour, m.status, count(*) AS messages, min(m.created_at) AS oldest
            FROM made m GROUP BY 1, 2
        ), handled AS (
            SELECT sum(c.messages) AS messages, min(c.oldest) AS oldest FROM counted c WHERE c.status NOT IN ('queued', 'scheduled')
        )
        SELECT jsonb_build_object(
            'hours', (SELECT jsonb_agg(jsonb_build_object('from', h, 'counts', (
                          SELECT coalesce(jsonb_object_agg(c.status, c.messages), '{}') FROM counted c WHERE c.hour = h)) ORDER BY h)
                      FROM generate_series(start, now(), '1 hour') AS h),
            'total', (SELECT coalesce(jsonb_object_agg(t.status, t.messages), '{}')
                      FROM (SELECT c.status, sum(c.messages) AS messages FROM counted c GROUP BY c.status) AS t),
            'complete_from', (SELECT CASE WHEN h.messages = most THEN h.oldest ELSE start END FROM handled h)));
END
$$;

CREATE FUNCTION byoc.require_citus() RETURNS void
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_extension e WHERE e.extname = 'citus') THEN
        RAISE EXCEPTION 'this database has no Citus to distribute to' USING ERRCODE = 'object_not_in_prerequisite_state',
            HINT = 'CREATE EXTENSION citus, before pg_byoc, and add the workers; doc/scaling.md shows it. One server needs no byoc.distribute().';
    ELSIF NOT citus_is_coordinator() THEN
        RAISE EXCEPTION 'this is not the coordinator' USING ERRCODE = 'object_not_in_prerequisite_state';
    ELSIF NOT EXISTS (SELECT FROM citus_get_active_worker_nodes()) THEN
        RAISE EXCEPTION 'there is no worker' USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Add one: SELECT citus_add_node(''host'', 5432).';
    ELSIF EXISTS (SELECT FROM pg_dist_node n WHERE n.groupid = 0 AND n.shouldhaveshards) THEN
        RAISE EXCEPTION 'the coordinator may not hold shards: it is nobody''s home' USING ERRCODE = 'object_not_in_prerequisite_state',
            HINT = format('SELECT citus_set_node_property(%L, %s, ''shouldhaveshards'', false).',
                          (SELECT n.nodename FROM pg_dist_node n WHERE n.groupid = 0), (SELECT n.nodeport FROM pg_dist_node n WHERE n.groupid = 0));
    ELSIF current_setting('citus.enable_unsafe_triggers', true) IS DISTINCT FROM 'on' THEN
        RAISE EXCEPTION 'Citus allows no triggers on distributed tables' USING ERRCODE = 'object_not_in_prerequisite_state',
            HINT = 'Add citus.enable_unsafe_triggers = on to postgresql.conf of every node.';
    END IF;
END
$$;

COMMENT ON FUNCTION byoc.require_citus() IS 'Internal: raises 55000 unless this is the coordinator of Citus workers, with what pg_byoc needs of them.';

CREATE FUNCTION byoc.require_distributed() RETURNS void
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF to_regclass('byoc.homes') IS NULL THEN
        RAISE EXCEPTION 'nothing is distributed here' USING ERRCODE = 'feature_not_supported', HINT = 'byoc.distribute() does it, on Citus.';
    END IF;
END
$$;

COMMENT ON FUNCTION byoc.require_distributed() IS 'Internal: raises 0A000 unless this is a node of Citus with byoc.homes.';

CREATE FUNCTION byoc.require_alike_workers() RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    here CONSTANT text := (SELECT e.extversion FROM pg_extension e WHERE e.extname = 'pg_byoc');
    worker record;
BEGIN
    FOR worker IN
        SELECT n.nodename, n.nodeport, r.success, r.result
        FROM run_command_on_workers($command$
            SELECT e.extversion || ' ' || current_setting('byoc.wakeup') || ' ' || (SELECT min(k.id) FROM byoc.keyring() AS k WHERE k.state = 'active')
            FROM pg_catalog.pg_extension e WHERE e.extname = 'pg_byoc'$command$) AS r
        JOIN pg_dist_node n USING (nodename, nodeport)
    LOOP
        IF NOT worker.success OR worker.result = '' THEN
            RAISE EXCEPTION 'worker %:% has no pg_byoc that works: %', worker.nodename, worker.nodeport, coalesce(nullif(worker.result, ''), 'it is not there')
                USING ERRCODE = 'object_not_in_prerequisite_state',
                      HINT = 'Every node needs the extension''s files, shared_preload_libraries = ''citus, pg_byoc'' and the same key ring. '
                          'CREATE EXTENSION pg_byoc reaches the workers when it has committed.';
        ELSIF worker.result <> here || ' poll ' || (SELECT min(k.id) FROM byoc.keyring() AS k WHERE k.state = 'active') THEN
            RAISE EXCEPTION 'worker %:% differs: version, byoc.wakeup and active master key are %', worker.nodename, worker.nodeport, worker.result
                USING ERRCODE = 'object_not_in_prerequisite_state',
                      HINT = format('Every node needs pg_byoc %s, byoc.wakeup = poll and the same key ring.', here);
        END IF;
    END LOOP;
END
$$;

COMMENT ON FUNCTION byoc.require_alike_workers() IS 'Internal: raises 55000 unless pg_byoc is the same on all Citus workers.';

CREATE FUNCTION byoc.worker_anchors() RETURNS SETOF uuid
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM byoc.require_distributed();
    RETURN QUERY
        SELECT DISTINCT ON (p.groupid) a.org_id
        FROM byoc.anchors a
        JOIN pg_dist_placement p ON p.shardid = get_shard_id_for_distribution_column('byoc.homes_anchors', a.org_id)
        ORDER BY p.groupid, a.org_id;
END
$$;

COMMENT ON FUNCTION byoc.worker_anchors() IS 'Internal: for each Citus worker, an id that a statement on byoc.homes_anchors reaches it by.';

CREATE FUNCTION byoc.make_homes() RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    shards bigint[];
    shard bigint;
    anchor uuid;
BEGIN
    IF EXISTS (SELECT FROM byoc.organizations) THEN
        RAISE EXCEPTION 'there are organizations already' USING ERRCODE = 'object_not_in_prerequisite_state',
            HINT = 'Run byoc.distribute() right after CREATE EXTENSION pg_byoc.';
    END IF;
    -- Without a replica identity, which also keeps Citus from moving shards by itself: only byoc.homes would move, not what is at home there.
    CREATE TABLE byoc.homes (org_id uuid NOT NULL);
    ALTER TABLE byoc.homes REPLICA IDENTITY NOTHING;
    PERFORM create_distributed_table('byoc.homes', 'org_id');
    CREATE INDEX homes_org_id ON byoc.homes (org_id);
    CREATE TABLE byoc.anchors (org_id uuid NOT NULL); -- the coordinator's list of them
    CREATE TABLE byoc.homes_anchors (org_id uuid NOT NULL);
    ALTER TABLE byoc.homes_anchors REPLICA IDENTITY NOTHING;
    PERFORM create_distributed_table('byoc.homes_anchors', 'org_id', colocate_with => 'byoc.homes');
    shards := ARRAY(SELECT s.shardid FROM pg_dist_shard s WHERE s.logicalrelid = 'byoc.homes'::regclass);
    WHILE cardinality(shards) > 0 LOOP
        anchor := gen_random_uuid();
        shard := get_shard_id_for_distribution_column('byoc.homes', anchor);
        IF shard = ANY (shards) THEN
            INSERT INTO byoc.homes_anchors (org_id) VALUES (anchor);
            INSERT INTO byoc.anchors (org_id) VALUES (anchor);
            shards := array_remove(shards, shard);
        END IF;
    END LOOP;
    -- Everybody finds the home of the tenant context's organization; who may create organizations or verify their audit trails, everyone's.
    ALTER TABLE byoc.homes ENABLE ROW LEVEL SECURITY;
    CREATE POLICY own_or_administered ON byoc.homes
        USING (org_id = byoc.current_org_id() OR has_function_privilege('byoc.create_organization(text, uuid)'::regprocedure, 'EXECUTE')
               OR has_function_privilege('byoc.verify_audit_log(uuid, bigint, bytea)'::regprocedure, 'EXECUTE'));
    GRANT SELECT ON byoc.homes, byoc.homes_anchors TO PUBLIC;
END
$$;

COMMENT ON FUNCTION byoc.make_homes() IS 'Internal: makes the distributed table that says where an organization is at home.';

CREATE FUNCTION byoc.home(org_id uuid, OUT node_name text, OUT node_port integer)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM byoc.require_distributed();
    SELECT n.nodename, n.nodeport INTO node_name, node_port
    FROM pg_dist_placement p JOIN pg_dist_node n USING (groupid)
    WHERE p.shardid = get_shard_id_for_distribution_column('byoc.homes', home.org_id) AND n.noderole = 'primary';
END
$$;

COMMENT ON FUNCTION byoc.home(uuid) IS 'On Citus: the worker where the organization is at home, whose byocd sends for it.';

CREATE FUNCTION byoc.distributed_trigger(relation oid, trigger_name name, OUT target oid, OUT name name)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    shard CONSTANT bigint := substring((SELECT c.relname FROM pg_class c WHERE c.oid = relation) FROM '_([0-9]{1,18})$');
BEGIN
    IF shard IS NULL OR to_regclass('pg_catalog.pg_dist_shard') IS NULL THEN
        RETURN;
    END IF;
    SELECT coalesce(pg_partition_root(s.logicalrelid), s.logicalrelid) INTO target
    FROM pg_dist_shard s WHERE s.shardid = shard;
    name := regexp_replace(trigger_name, '_[0-9]+$', '');
END
$$;

COMMENT ON FUNCTION byoc.distributed_trigger(oid, name) IS
    'Internal: the table that a shard is of, here, and the name of its trigger; NULL for a relation that is no shard.';

CREATE FUNCTION byoc.require_colocated(target regclass, trigger_name name, org_column text) RETURNS void
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM pg_dist_partition t JOIN pg_dist_partition h ON h.colocationid = t.colocationid
        WHERE t.logicalrelid = target AND h.logicalrelid = 'byoc.homes'::regclass AND column_to_column_name(t.logicalrelid, t.partkey) = org_column) THEN
        RAISE EXCEPTION 'the rows of table % are not where their organizations are at home', target USING ERRCODE = 'object_not_in_prerequisite_state',
            HINT = format('Distribute it by the organization: SELECT create_distributed_table(%L, %L, colocate_with => ''byoc.homes'').', target, org_column);
    ELSIF octet_length(trigger_name) > 40 THEN
        RAISE EXCEPTION 'the name of a trigger on a distributed table has 40 bytes at most' USING ERRCODE = 'name_too_long';
    END IF;
END
$$;

COMMENT ON FUNCTION byoc.require_colocated(regclass, name, text) IS
    'Internal: raises 55000 unless Citus distributes the table by that column, together with byoc.homes.';

CREATE FUNCTION byoc.take_setting(setting text, old_row jsonb, new_row jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF old_row IS NOT NULL THEN
        EXECUTE format('DELETE FROM byoc.%I AS t WHERE t IS NOT DISTINCT FROM jsonb_populate_record(NULL::byoc.%1$I, $1)', setting) USING old_row;
    END IF;
    IF new_row IS NOT NULL THEN
        EXECUTE format('INSERT INTO byoc.%I SELECT r.* FROM jsonb_populate_record(NULL::byoc.%1$I, $1) AS r ON CONFLICT DO NOTHING', setting) USING new_row;
    END IF;
END
$$;

COMMENT ON FUNCTION byoc.take_setting(text, jsonb, jsonb) IS 'Internal: on a Citus worker, what the coordinator changed of one of its tables.';

CREATE FUNCTION byoc.tell_workers(setting text, old_row jsonb, new_row jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    anchor uuid;
BEGIN
    FOR anchor IN SELECT byoc.worker_anchors() LOOP
        PERFORM byoc.take_setting(setting, old_row, new_row) FROM byoc.homes_anchors a WHERE a.org_id = anchor;
    END LOOP;
END
$$;

COMMENT ON FUNCTION byoc.tell_workers(text, jsonb, jsonb) IS 'Internal: byoc.take_setting() on every Citus worker, in this transaction.';

CREATE FUNCTION byoc.follow_setting() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF TG_OP <> 'DELETE' AND TG_TABLE_NAME LIKE '%\_trigger\_definitions' THEN
        PERFORM byoc.require_colocated(NEW.target, NEW.name, NEW.org_column);
    END IF;
    PERFORM byoc.tell_workers(TG_TABLE_NAME, CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) END, CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) END);
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION byoc.follow_setting() IS 'Internal: row trigger of what is set on a Citus coordinator for all nodes.';

CREATE FUNCTION byoc.take_organization(id uuid, name text, settings jsonb) RETURNS void
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
    UPDATE byoc.organizations o SET name = take_organization.name, settings = take_organization.settings WHERE o.id = take_organization.id;
$$;

COMMENT ON FUNCTION byoc.take_organization(uuid, text, jsonb) IS 'Internal: at an organization''s home, what the coordinator changed of it.';

CREATE FUNCTION byoc.follow_organization() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM byoc.take_organization(NEW.id, NEW.name, NEW.settings) FROM byoc.homes h WHERE h.org_id = NEW.id;
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION byoc.follow_organization() IS 'Internal: row trigger of a Citus coordinator''s organizations.';

CREATE FUNCTION byoc.require_home(organization uuid) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY INVOKER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    context_there uuid;
BEGIN
    IF organization IS NULL THEN
        PERFORM byoc.require_organization(organization);
    END IF;
    PERFORM byoc.require_distributed();
    SELECT byoc.current_org_id() INTO context_there FROM byoc.homes h WHERE h.org_id = organization;
    IF NOT FOUND THEN
        PERFORM byoc.require_organization(organization);
        IF NOT EXISTS (SELECT FROM byoc.organizations o WHERE o.id = organization) THEN
            RAISE EXCEPTION 'organization % does not exist', organization USING ERRCODE = 'foreign_key_violation';
        END IF;
    END IF;
    IF context_there IS DISTINCT FROM byoc.current_org_id() THEN
        RAISE EXCEPTION 'the tenant context did not reach the worker where organization % is at home', organization
            USING ERRCODE = 'invalid_authorization_specification',
                  HINT = 'Set it by byoc.authenticate(token) or byoc.set_org(org_id), for the transaction, and not within a savepoint that is released.';
    END IF;
END
$$;

COMMENT ON FUNCTION byoc.require_home(uuid) IS
    'Internal: raises unless the organization has a home, and the tenant context is there what it is here: 28000, 42501 or 23503.';

CREATE FUNCTION byoc.forward_function(forwarded regprocedure) RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    p pg_proc;
    organization text;
    call text;
BEGIN
    SELECT * INTO p FROM pg_proc WHERE oid = forwarded;
    -- Whose: what an argument says, else the tenant context.
    organization := CASE WHEN 'org_id' = ANY (p.proargnames[:p.pronargs]) THEN format('$%s', array_position(p.proargnames, 'org_id'))
                         ELSE 'byoc.current_org_id()' END;
    call := format('byoc.%I(%s)', p.proname, (SELECT string_agg('$' || n, ', ' ORDER BY n) FROM generate_series(1, p.pronargs) AS n));
    EXECUTE format($definition$
        CREATE OR REPLACE FUNCTION byoc.%I(%s) RETURNS %s
        LANGUAGE plpgsql VOLATILE SECURITY INVOKER
        SET search_path = pg_catalog, pg_temp
        AS $function$
        #variable_conflict use_column
        DECLARE
            home_of CONSTANT uuid := %s;
            answer %s;
        BEGIN
            PERFORM byoc.require_home(home_of);
            %s WHERE home.org_id = home_of;
            %s
        END
        $function$ $definition$,
        p.proname, pg_get_function_arguments(p.oid), pg_get_function_result(p.oid), organization,
        CASE WHEN p.proretset OR p.prorettype = 'void'::regtype THEN 'text' ELSE format_type(p.prorettype, NULL) END,
        CASE WHEN p.proretset THEN format('RETURN QUERY SELECT r.* FROM byoc.homes AS home, LATERAL %s AS r', call)
             ELSE format('SELECT %s INTO answer FROM byoc.homes AS home', call) END,
        CASE WHEN p.proretset OR p.prorettype = 'void'::regtype THEN '' ELSE 'RETURN answer;' END);
END
$$;

COMMENT ON FUNCTION byoc.forward_function(regprocedure) IS
    'Internal: makes a function of a Citus coordinator run where the organization is at home that its org_id names, or the tenant context.';

CREATE FUNCTION byoc.refuse_function(refused regprocedure, hint text) RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    p pg_proc;
BEGIN
    SELECT * INTO p FROM pg_proc WHERE oid = refused;
    EXECUTE format($definition$
        CREATE OR REPLACE FUNCTION byoc.%I(%s) RETURNS %s
        LANGUAGE plpgsql VOLATILE SECURITY INVOKER
        SET search_path = pg_catalog, pg_temp
        AS $function$
        BEGIN
            RAISE EXCEPTION 'byoc.%s() does nothing on a Citus coordinator' USING ERRCODE = 'feature_not_supported', HINT = %L;
        END
        $function$ $definition$,
        p.proname, pg_get_function_arguments(p.oid), pg_get_function_result(p.oid), p.proname, hint);
END
$$;

COMMENT ON FUNCTION byoc.refuse_function(regprocedure, text) IS 'Internal: makes a function of a Citus coordinator raise 0A000 with a hint.';

CREATE FUNCTION byoc.rows_at_home(view_name text) RETURNS SETOF jsonb
LANGUAGE plpgsql VOLATILE SECURITY INVOKER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN QUERY EXECUTE format('SELECT to_jsonb(v) FROM byoc.%I v', view_name);
END
$$;

COMMENT ON FUNCTION byoc.rows_at_home(text) IS 'Internal: on a Citus worker, the rows that the caller sees in a view of byoc''s.';

CREATE FUNCTION byoc.rows_at_homes(of_view anyelement) RETURNS SETOF anyelement
LANGUAGE plpgsql VOLATILE SECURITY INVOKER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    view_name CONSTANT text := (SELECT t.typname FROM pg_type t WHERE t.oid = pg_typeof(of_view));
    organization CONSTANT uuid := byoc.current_org_id();
    anchor uuid;
    found jsonb;
BEGIN
    IF organization IS NOT NULL THEN
        PERFORM byoc.require_home(organization);
        FOR found IN SELECT r FROM byoc.homes h, LATERAL byoc.rows_at_home(view_name) AS r WHERE h.org_id = organization LOOP
            RETURN NEXT jsonb_populate_record(of_view, found);
        END LOOP;
        RETURN;
    END IF;
    FOR anchor IN SELECT byoc.worker_anchors() LOOP
        FOR found IN SELECT r FROM byoc.homes_anchors a, LATERAL byoc.rows_at_home(view_name) AS r WHERE a.org_id = anchor LOOP
            RETURN NEXT jsonb_populate_record(of_view, found);
        END LOOP;
    END LOOP;
END
$$;

COMMENT ON FUNCTION byoc.rows_at_homes(anyelement) IS
    'Internal: what a view of byoc''s shows on the Citus worker where the tenant context''s organization is at home; on all workers without a context.';

CREATE FUNCTION byoc.verify_at_homes(organization uuid, n bigint, digest bytea) RETURNS TABLE (org_id uuid, entries bigint, first_broken uuid)
LANGUAGE plpgsql VOLATILE SECURITY INVOKER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    anchor uuid;
BEGIN
    IF organization IS NOT NULL THEN
        RETURN QUERY SELECT v.* FROM byoc.homes h, LATERAL byoc.verify_audit_log(organization, n, digest) AS v WHERE h.org_id = organization;
        RETURN;
    END IF;
    FOR anchor IN SELECT byoc.worker_anchors() LOOP
        RETURN QUERY SELECT v.* FROM byoc.homes_anchors a, LATERAL byoc.verify_audit_log(NULL::uuid, NULL::bigint, NULL::bytea) AS v WHERE a.org_id = anchor;
    END LOOP;
END
$$;

COMMENT ON FUNCTION byoc.verify_at_homes(uuid, bigint, bytea) IS 'Internal: byoc.verify_audit_log() where the organization is at home; on all Citus workers without one.';

CREATE FUNCTION byoc.make_coordinator() RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
-- What is made here is this node's alone.
SET citus.enable_ddl_propagation = off
AS $$
DECLARE
    forwarded CONSTANT text[] := '{add_credential,update_credential,change_credential,verify_credential,revoke_credential,
        send_sms,cancel_sms,retry_sms,resolve_unknown_sms,lift_opt_out,save_calendar_event,cancel_calendar_event,call_webhook,cancel_webhook,retry_webhook,
        encrypt,decrypt,encrypt_bytes,decrypt_bytes,rotate_organization_key,reencrypt,destroy_unused_key,
        rest_session,rest_credential,rest_credentials,rest_add_credential,rest_update_credential,rest_revoke_credential,rest_verify_credential,
        rest_audit,rest_messages,rest_message,rest_send_test,rest_statistics,rest_changes}';
    each_worker CONSTANT text := 'Run it on each worker: SELECT * FROM run_command_on_workers(''SELECT byoc.%s(...)'').';
    at_home CONSTANT text := 'Connect to the organization''s home: SELECT * FROM byoc.home(org_id).';
    f record;
    setting text;
    view_name text;
BEGIN
    FOR f IN SELECT p.oid FROM pg_proc p WHERE p.pronamespace = 'byoc'::regnamespace AND p.proname = ANY (forwarded) LOOP
        PERFORM byoc.forward_function(f.oid);
    END LOOP;
    FOR f IN SELECT p.oid, p.proname FROM pg_proc p WHERE p.pronamespace = 'byoc'::regnamespace
             AND p.proname IN ('rewrap_keys', 'resume_restored', 'adopt_installation', 'prune') LOOP
        PERFORM byoc.refuse_function(f.oid, format(each_worker, f.proname));
    END LOOP;
    FOR f IN SELECT p.oid FROM pg_proc p WHERE p.pronamespace = 'byoc'::regnamespace AND p.proname IN ('start_oauth', 'rest_availability_window') LOOP
        PERFORM byoc.refuse_function(f.oid, at_home);
    END LOOP;
    FOREACH view_name IN ARRAY
        '{sms_messages,sms_events,credentials,decrypted_credentials,calendar_events,webhook_calls,audit_log,audit_heads,queue_health,call_health,key_status}'::text[] LOOP
        EXECUTE format('CREATE OR REPLACE VIEW byoc.%I WITH (security_barrier) AS SELECT v.* FROM byoc.rows_at_homes(NULL::byoc.%1$I) AS v', view_name);
    END LOOP;
    FOREACH setting IN ARRAY
        '{sms_trigger_definitions,calendar_trigger_definitions,webhook_trigger_definitions,provider_overrides,provider_error_overrides,sender_limits}'::text[] LOOP
        EXECUTE format('CREATE OR REPLACE TRIGGER follow_setting AFTER INSERT OR UPDATE OR DELETE ON byoc.%I FOR EACH ROW '
                       'EXECUTE FUNCTION byoc.follow_setting()', setting);
        EXECUTE format('SELECT byoc.tell_workers(%L, NULL, to_jsonb(t)) FROM byoc.%1$I t', setting);
    END LOOP;
    CREATE OR REPLACE TRIGGER follow_organization AFTER UPDATE OF name, settings ON byoc.organizations
        FOR EACH ROW EXECUTE FUNCTION byoc.follow_organization();
    CREATE OR REPLACE FUNCTION byoc.create_organization(name text, id uuid DEFAULT gen_random_uuid()) RETURNS uuid
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $function$
    BEGIN
        INSERT INTO byoc.organizations (id, name) VALUES (create_organization.id, create_organization.name);
        INSERT INTO byoc.homes (org_id) VALUES (create_organization.id);
        PERFORM byoc.create_organization(create_organization.name, create_organization.id) FROM byoc.homes h WHERE h.org_id = create_organization.id;
        RETURN create_organization.id;
    END
    $function$;
    CREATE OR REPLACE FUNCTION byoc.verify_audit_log(org_id uuid DEFAULT NULL, n bigint DEFAULT NULL, digest bytea DEFAULT NULL)
    RETURNS TABLE (org_id uuid, entries bigint, first_broken uuid)
    LANGUAGE sql VOLATILE SECURITY INVOKER
    SET search_path = pg_catalog, pg_temp
    AS $function$ SELECT v.* FROM byoc.verify_at_homes($1, $2, $3) AS v $function$;
    CREATE OR REPLACE FUNCTION byoc.shred_organization(id uuid) RETURNS void
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $function$
    BEGIN
        PERFORM byoc.shred_organization(shred_organization.id) FROM byoc.homes h WHERE h.org_id = shred_organization.id;
        UPDATE byoc.organizations o SET shredded_at = now() WHERE o.id = shred_organization.id AND o.shredded_at IS NULL;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'organization % does not exist', shred_organization.id USING ERRCODE = 'foreign_key_violation';
        END IF;
    END
    $function$;
END
$$;

COMMENT ON FUNCTION byoc.make_coordinator() IS 'Internal: puts what asks the organizations'' homes in the place of what would look for their rows here.';

CREATE FUNCTION byoc.distribute() RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY INVOKER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM byoc.require_citus();
    PERFORM byoc.require_alike_workers();
    IF to_regclass('byoc.homes') IS NULL THEN
        PERFORM byoc.make_homes();
    END IF;
    PERFORM byoc.make_coordinator();
END
$$;

COMMENT ON FUNCTION byoc.distribute() IS
    'On a Citus coordinator, right after CREATE EXTENSION: gives each organization a home on one worker, where its messages are queued and sent, and makes '
    'the functions and views of the coordinator ask there. Run it again after ALTER EXTENSION UPDATE. doc/scaling.md says what works and what does not.';

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
        'byoc.rest_statistics(text), byoc.rest_changes(interval), '
        'byoc.home(uuid), byoc.require_distributed(), byoc.require_home(uuid), byoc.worker_anchors(), byoc.rows_at_home(text), byoc.rows_at_homes(anyelement) TO %s', grantee);
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
        'byoc.queue_totals(), byoc.key_totals(), byoc.call_totals(), byoc.acceptance_times(), byoc.readiness(), '
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
        'byoc.current_org_id(), byoc.current_org_role(), byoc.sees_all_organizations(), byoc.require_organization(uuid, text), '
        'byoc.require_distributed(), byoc.require_home(uuid), byoc.worker_anchors(), byoc.rows_at_home(text), byoc.rows_at_homes(anyelement), byoc.verify_at_homes(uuid, bigint, bytea) TO %s', grantee);
    PERFORM byoc.audit_if_possible('privileges.granted', jsonb_build_object('to', grantee, 'as', 'auditor'));
END
$$;

CREATE FUNCTION byoc.renew_grants() RETURNS TABLE (role regrole, part text)
LANGUAGE plpgsql VOLATILE SECURITY INVOKER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    -- What tells each part, whatever arguments a release's function has. An admin is a tenant too.
    FOR role, part IN
        SELECT DISTINCT a.grantee::regrole, k.part
        FROM (VALUES ('tenant', 'send_sms'), ('admin', 'set_org'), ('dispatcher', 'register_dispatcher'), ('auditor', 'verify_audit_log')) AS k (part, name)
        JOIN pg_proc p ON p.pronamespace = 'byoc'::regnamespace AND p.proname = k.name
        CROSS JOIN aclexplode(p.proacl) AS a
        WHERE a.grantee NOT IN (0, p.proowner)
        ORDER BY 1, 2
    LOOP
        EXECUTE format('SELECT byoc.grant_%s($1)', part) USING role;
        RETURN NEXT;
    END LOOP;
END
$$;

COMMENT ON FUNCTION byoc.renew_grants() IS
    'After ALTER EXTENSION pg_byoc UPDATE: gives each role that has a part (byoc.grant_tenant and its like) what this release''s part consists of. '
    'Returns the roles and their parts.';

CREATE FUNCTION byoc.close_types() RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    opened regtype;
BEGIN
    FOR opened IN
        SELECT DISTINCT t.oid::regtype FROM pg_type t, aclexplode(coalesce(t.typacl, acldefault('T', t.typowner))) AS a
        WHERE t.typnamespace = 'byoc'::regnamespace AND t.typcategory <> 'A' AND a.grantee = 0
    LOOP
        EXECUTE format('REVOKE ALL ON TYPE %s FROM PUBLIC', opened);
    END LOOP;
END
$$;

COMMENT ON FUNCTION byoc.close_types() IS
    'Internal: takes from PUBLIC the use of types that pg_upgrade gave it, since PostgreSQL dumps no privileges of row types.';

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

DROP FUNCTION byoc.finish_claim(uuid, uuid, timestamptz);
