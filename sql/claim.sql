-- Claiming: what a dispatcher does to get messages to send, and to sleep without missing any.

CREATE FUNCTION byoc.register_dispatcher(dispatcher uuid) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM byoc.require_adopted();
    PERFORM byoc.require_master_keys();
END
$$;
COMMENT ON FUNCTION byoc.register_dispatcher(uuid) IS
    'For byocd: called on each connection that claims. Raises 55000 in a copied database that nobody adopted, and when the key ring '
    'lacks master keys that are in use.';

CREATE FUNCTION byoc.require_adopted() RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NOT byoc.is_adopted() THEN
        RAISE EXCEPTION 'this database is a copy of another one, so nothing is sent from it'
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'If it has taken the other''s place: SELECT byoc.adopt_installation(); then byoc.resume_restored() for the messages it came with.';
    END IF;
END
$$;
COMMENT ON FUNCTION byoc.require_adopted() IS 'Internal: raises 55000 in a copied database that nobody adopted.';

CREATE FUNCTION byoc.expire_queued(org_id uuid, lane uuid, ids uuid[]) RETURNS void
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
COMMENT ON FUNCTION byoc.expire_queued(uuid, uuid, uuid[]) IS 'Internal: ends those of a lane''s messages whose time was over before their turn came.';

-- What follows takes no statement: to start one would be most of what a claim of few messages costs.

CREATE FUNCTION byoc.look_around(OUT is_alone boolean, OUT is_any_due boolean, OUT is_any_wait_over boolean, OUT is_any_limit boolean)
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'byoc_look_around';
COMMENT ON FUNCTION byoc.look_around() IS
    'Internal: whether byoc.installation has one row, byoc.schedule a message that is due, byoc.lanes a busy one whose next_at has passed, and '
    'byoc.sender_limits any.';

CREATE FUNCTION byoc.lane_state(org_id uuid, lane uuid) RETURNS byoc.lanes
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'byoc_lane_state';
COMMENT ON FUNCTION byoc.lane_state(uuid, uuid) IS 'Internal: the lane''s row as it is now; NULL when it has none.';

CREATE FUNCTION byoc.sender_of(org_id uuid, lane uuid, OUT id uuid, OUT version integer, OUT fields jsonb, OUT state text)
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'byoc_sender_of';
COMMENT ON FUNCTION byoc.sender_of(uuid, uuid) IS
    'Internal: the credential that a lane''s messages go out by, as it is now: its own, or when that is revoked the organization''s default; NULLs '
    'when it has none.';

CREATE FUNCTION byoc.take_messages(claim_id uuid, org_id uuid, lane uuid, from_id uuid, size integer, at timestamptz, sender uuid, version integer,
                                   have double precision, burst double precision,
                                   OUT taken integer, OUT next_id uuid, OUT segments bigint, OUT missing bigint, OUT is_full boolean,
                                   OUT is_held boolean, OUT expired uuid[])
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'byoc_take_messages';
COMMENT ON FUNCTION byoc.take_messages(uuid, uuid, uuid, uuid, integer, timestamptz, uuid, integer, double precision, double precision) IS
    'Internal: moves at most `size` of a lane''s messages, from_id and those behind it, from byoc.queue to byoc.messages as being sent by the sender. '
    'have: segments that its limit leaves, with `burst` a full bucket, by which one goes whatever its size; NULL: no limit. taken, segments: what was '
    'moved; next_id: where to go on; missing: segments that it takes to send one more, NULL unless the limit kept it back; is_full: there may be more; '
    'is_held: somebody has one locked that would have been moved; expired: those whose time is over at that time, which stay where they are.';

CREATE FUNCTION byoc.lock_lane(org_id uuid, lane uuid) RETURNS byoc.lanes
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    locked byoc.lanes;
BEGIN
    IF byoc.lane_state(lock_lane.org_id, lock_lane.lane) IS NULL THEN
        INSERT INTO byoc.lanes (org_id, lane, busy, next_at) VALUES (lock_lane.org_id, lock_lane.lane, false, now()) ON CONFLICT DO NOTHING;
    END IF;
    SELECT l.* INTO locked FROM byoc.lanes l WHERE l.org_id = lock_lane.org_id AND l.lane = lock_lane.lane FOR UPDATE SKIP LOCKED;
    RETURN locked;
END
$$;
COMMENT ON FUNCTION byoc.lock_lane(uuid, uuid) IS
    'Internal: the lane''s row, locked, and made when it has none; NULL when somebody else has it: who waits for more than one lane can wait for ever.';

CREATE FUNCTION byoc.bar_lane(org_id uuid, lane uuid, from_id uuid, size integer, at timestamptz) RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET jit = off
AS $$
DECLARE
    ids CONSTANT uuid[] := ARRAY(
        SELECT q.id FROM byoc.queue q
        WHERE q.org_id = bar_lane.org_id AND q.lane = bar_lane.lane AND q.id >= from_id ORDER BY q.id LIMIT size);
BEGIN
    -- What may not be sent waits, but not past its time.
    PERFORM byoc.expire_queued(org_id, lane, ids);
    UPDATE byoc.lanes l SET barred = true, busy = ids <> '{}', cursor = from_id, next_at = at + interval '10 seconds'
    WHERE l.org_id = bar_lane.org_id AND l.lane = bar_lane.lane;
END
$$;
COMMENT ON FUNCTION byoc.bar_lane(uuid, uuid, uuid, integer, timestamptz) IS
    'Internal: lets a locked lane wait whose credential may not send, and ends those of its next messages whose time is over.';

CREATE FUNCTION byoc.leave_to_fallback(org_id uuid, from_id uuid) RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET jit = off
AS $$
DECLARE
    none CONSTANT uuid := '00000000-0000-0000-0000-000000000000';
BEGIN
    IF byoc.lock_lane(org_id, none) IS NULL THEN
        PERFORM byoc.pass_on_lane(org_id, none, from_id);
        RETURN;
    END IF;
    UPDATE byoc.lanes l SET busy = true, cursor = CASE WHEN l.busy THEN least(l.cursor, from_id) ELSE from_id END
    WHERE l.org_id = leave_to_fallback.org_id AND l.lane = none;
    PERFORM byoc.wake_dispatcher(org_id);
END
$$;
COMMENT ON FUNCTION byoc.leave_to_fallback(uuid, uuid) IS
    'Internal: lets messages queued without a credential wait where byocds with an account in their environment find them (byoc.is_left_to_fallback).';

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

-- Takes from lanes what byoc.claim_jobs() could not without a statement.
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

CREATE FUNCTION byoc.claim_jobs(dispatcher uuid, slots integer, lease interval, lanes_in_use uuid[] DEFAULT '{}', rooms integer[] DEFAULT '{}',
                                room integer DEFAULT NULL)
RETURNS TABLE (claim_id uuid, org_id uuid, id uuid, provider text, credential_id uuid, credential_version integer, to_number text,
               body text, attempt integer, validity_seconds integer, lane uuid)
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'byoc_claim_jobs';
COMMENT ON FUNCTION byoc.claim_jobs(uuid, integer, interval, uuid[], integer[], integer) IS
    'For byocd: at most `slots` messages to send now, fairly between organizations, each durably marked as being sent. `room`: at most so '
    'many of one lane (organization and credential); `rooms`: what is left of that in the lanes of `lanes_in_use`. '
    'Fewer rows do not mean that the queue is empty: byoc.dispatcher_sleep() knows. credential_id NULL: the organization has none; the nil UUID: it goes by the '
    'account that byoc.announce_fallback() told of.';

CREATE FUNCTION byoc.dispatcher_sleep(full_lanes uuid[] DEFAULT '{}') RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    none CONSTANT uuid := '00000000-0000-0000-0000-000000000000';
    next_due timestamptz;
BEGIN
    PERFORM byoc.announce_sleep();
    -- Each statement from here on has a snapshot that sees everything committed before the announcement.
    IF byoc.has_wakeups(full_lanes) OR byoc.sweep_lanes() > 0 THEN
        RETURN 0;
    END IF;
    SELECT least((SELECT min(l.next_at) FROM byoc.lanes l WHERE l.busy AND l.lane <> ALL (full_lanes)
                    AND NOT (l.lane = none AND byoc.is_left_to_fallback(l.org_id))), (SELECT min(s.due_at) FROM byoc.schedule s),
                 (SELECT min(c.verification_due_at) FROM byoc.organization_api_credentials c WHERE c.verification_due_at > now()))
    INTO next_due;
    IF next_due IS NULL THEN
        RETURN NULL;
    END IF;
    -- What is overdue and locked is being changed by a tenant: not a reason to try again all the time.
    IF next_due <= clock_timestamp() AND NOT EXISTS (SELECT FROM byoc.lanes l WHERE l.busy AND l.next_at <= clock_timestamp()
                                                                            AND NOT (l.lane = none AND byoc.is_left_to_fallback(l.org_id))) THEN
        PERFORM FROM byoc.schedule s WHERE s.due_at <= clock_timestamp() LIMIT 1 FOR UPDATE SKIP LOCKED;
        IF NOT FOUND THEN
            RETURN 1000;
        END IF;
    END IF;
    -- A time that is too far away for an integer of milliseconds is as good as a day.
    RETURN greatest(0, ceil(extract(epoch FROM least(next_due, clock_timestamp() + interval '1 day') - clock_timestamp()) * 1000))::integer;
END
$$;
COMMENT ON FUNCTION byoc.dispatcher_sleep(uuid[]) IS
    'For byocd, on the connection that listens: from now on inserters notify. Returns milliseconds until work is due in any lane but '
    'full_lanes: 0: claim again, NULL: nothing is known. The next claim ends the sleep.';

CREATE FUNCTION byoc.heartbeat(dispatcher uuid, lease interval) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    renewed integer;
BEGIN
    UPDATE byoc.claims c SET lease_until = clock_timestamp() + heartbeat.lease WHERE c.dispatcher = heartbeat.dispatcher;
    GET DIAGNOSTICS renewed = ROW_COUNT;
    RETURN renewed;
END
$$;
COMMENT ON FUNCTION byoc.heartbeat(uuid, interval) IS 'For byocd: renews the leases of its claims; returns how many it has.';
