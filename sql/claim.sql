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

CREATE FUNCTION byoc.wake_lanes(org_ids uuid[], lanes uuid[], from_ids uuid[]) RETURNS integer
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    woken integer;
BEGIN
    INSERT INTO byoc.lanes AS l (org_id, lane, busy, next_at, cursor)
    SELECT DISTINCT ON (w.org_id, w.lane) w.org_id, w.lane, true, clock_timestamp(), w.from_id
    FROM unnest(org_ids, wake_lanes.lanes, from_ids) AS w (org_id, lane, from_id)
    WHERE NOT EXISTS (SELECT FROM byoc.lanes b WHERE b.org_id = w.org_id AND b.lane = w.lane AND b.busy AND b.cursor <= w.from_id)
    ORDER BY w.org_id, w.lane, w.from_id
    ON CONFLICT (org_id, lane) DO UPDATE
    SET busy = true, next_at = CASE WHEN l.busy THEN l.next_at ELSE greatest(l.next_at, excluded.next_at) END,
        cursor = least(l.cursor, excluded.cursor);
    GET DIAGNOSTICS woken = ROW_COUNT;
    RETURN woken;
END
$$;
COMMENT ON FUNCTION byoc.wake_lanes(uuid[], uuid[], uuid[]) IS
    'Internal: makes these lanes busy from these messages on; returns how many were not yet.';

CREATE FUNCTION byoc.promote_due(max_count integer) RETURNS integer
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    promoted integer;
    org_ids uuid[];
    lanes uuid[];
    ids uuid[];
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
    SELECT count(*), array_agg(q.org_id), array_agg(q.lane), array_agg(q.id) INTO promoted, org_ids, lanes, ids FROM queued q;
    PERFORM byoc.wake_lanes(org_ids, lanes, ids);
    RETURN promoted;
END
$$;
COMMENT ON FUNCTION byoc.promote_due(integer) IS 'Internal: moves messages whose time has come into the queue; returns how many.';

CREATE FUNCTION byoc.sweep_lanes() RETURNS integer
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
AS $$
DECLARE
    org_ids uuid[];
    lanes uuid[];
    ids uuid[];
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
    SELECT array_agg(f.org_id), array_agg(f.lane), array_agg(f.id) INTO org_ids, lanes, ids FROM first f;
    RETURN byoc.wake_lanes(org_ids, lanes, ids);
END
$$;
COMMENT ON FUNCTION byoc.sweep_lanes() IS
    'Internal: wakes lanes that went idle, or whose cursor went by, while a message was not committed yet; returns how many. Run before '
    'sleeping and once a second.';

CREATE FUNCTION byoc.take_wakeups() RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    taken record;
BEGIN
    SELECT * INTO taken FROM byoc.drain_wakeups();
    PERFORM byoc.wake_lanes(taken.org_ids, taken.lanes, taken.from_ids);
    IF taken.overflowed THEN
        PERFORM byoc.sweep_lanes();
    END IF;
END
$$;
COMMENT ON FUNCTION byoc.take_wakeups() IS 'Internal: makes the lanes busy that transactions left work in.';

CREATE FUNCTION byoc.claim_jobs(dispatcher uuid, slots integer, lease interval, lanes_in_use uuid[] DEFAULT '{}', rooms integer[] DEFAULT '{}',
                                room integer DEFAULT NULL)
RETURNS TABLE (claim_id uuid, org_id uuid, id uuid, provider text, credential_id uuid, credential_version integer, to_number text,
               body text, attempt integer, validity_seconds integer, lane uuid)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
-- Plans are made once, and one made while the tables are empty must not read them as a whole when they are full.
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    lanes_at_once CONSTANT integer := 32;
    started timestamptz := clock_timestamp();
    new_claim CONSTANT uuid := byoc.uuid_v7();
    -- Who just slept has looked everywhere before.
    once_a_second CONSTANT boolean := NOT byoc.end_sleep() AND byoc.is_sweep_due();
    none CONSTANT uuid := '00000000-0000-0000-0000-000000000000';
    fallback CONSTANT integer := byoc.session_fallback();
BEGIN
    -- A restore may begin under a running dispatcher: its second row shows at once.
    IF once_a_second OR (SELECT count(*) FROM byoc.installation) <> 1 THEN
        PERFORM byoc.require_adopted();
    END IF;
    IF fallback IS NOT NULL THEN
        PERFORM byoc.keep_fallback();
    END IF;
    IF slots < 1 THEN
        RETURN;
    END IF;
    IF EXISTS (SELECT FROM byoc.schedule s WHERE s.due_at <= started) THEN
        PERFORM byoc.promote_due(500);
    END IF;
    IF once_a_second THEN
        PERFORM byoc.sweep_lanes();
    END IF;
    IF byoc.has_wakeups() THEN
        PERFORM byoc.take_wakeups();
    END IF;
    started := clock_timestamp();
    -- To start the statement below costs more than to see that there is nothing for it to do.
    IF NOT EXISTS (SELECT FROM byoc.lanes l WHERE l.busy AND l.next_at <= started) THEN
        RETURN;
    END IF;
    RETURN QUERY
    WITH ready AS MATERIALIZED (
        SELECT l.org_id, l.lane, l.cursor, l.failures, l.tokens, l.tokens_at,
               coalesce(rooms[array_position(lanes_in_use, l.lane)], claim_jobs.room, slots) AS room
        FROM byoc.lanes l
        WHERE l.busy AND l.next_at <= started AND coalesce(rooms[array_position(lanes_in_use, l.lane)], claim_jobs.room, slots) > 0
          AND NOT (l.lane = none AND byoc.is_left_to_fallback(l.org_id))
        ORDER BY l.next_at LIMIT least(lanes_at_once, slots) FOR UPDATE SKIP LOCKED
    ), sender AS MATERIALIZED (
        -- The lane's credential while it is active; else, unless the message asked for that one, the current default, or for an
        -- organization that never had a credential this session's own.
        SELECT r.org_id, r.lane, r.cursor, r.failures >= byoc.breaker_threshold() AS is_half_open, v.is_barred, own.id AS own_id, own.version AS own_version, main.id AS main_id, main.version AS main_version,
               least(CASE WHEN v.is_barred THEN 0 WHEN r.failures >= byoc.breaker_threshold() THEN 1 ELSE greatest(1, slots / (SELECT count(*) FROM ready)) END,
                     r.room) AS size,
               m.segments_per_second, m.burst,
               least(m.burst, coalesce(r.tokens + m.segments_per_second * extract(epoch FROM started - r.tokens_at), m.burst)) AS tokens
        FROM ready r
        LEFT JOIN byoc.organization_api_credentials own ON own.org_id = r.org_id AND own.id = r.lane AND own.is_active AND own.credential_type = 'twilio'
        LEFT JOIN LATERAL (
            SELECT c.id, c.version, c.fields, c.verification_status FROM byoc.organization_api_credentials c
            WHERE own.id IS NULL AND c.org_id = r.org_id AND c.is_default AND c.credential_type = 'twilio'
            UNION ALL
            SELECT none, f.version, f.fields, NULL FROM byoc.fallback_senders f
            WHERE f.version = fallback AND r.lane = none AND byoc.falls_back(r.org_id)
            LIMIT 1) AS main ON true
        CROSS JOIN LATERAL (SELECT byoc.is_barred(coalesce(own.verification_status, main.verification_status)) AS is_barred) AS v
        CROSS JOIN LATERAL byoc.sender_limit(r.org_id, coalesce(own.fields, main.fields)) AS m
    ), picked AS MATERIALIZED (
        SELECT s.org_id, s.lane, q.place, q.id, q.total, q.expired, s.segments_per_second IS NULL OR q.total <= s.tokens OR (q.total = q.segments AND s.tokens >= s.burst) AS fits,
               s.own_id, s.own_version, s.main_id, s.main_version
        FROM sender s CROSS JOIN LATERAL (
            SELECT n.ctid AS place, n.id, n.segments, coalesce(n.expires_at <= started, false) AS expired, sum(n.segments) OVER (ORDER BY n.id) AS total
            FROM (SELECT w.ctid, w.id, w.segments, w.expires_at FROM byoc.queue w
                  WHERE w.org_id = s.org_id AND w.lane = s.lane AND w.id >= s.cursor
                  -- Not what a tenant is cancelling: an open transaction of one must not hold up the others' messages.
                  ORDER BY w.id LIMIT s.size FOR UPDATE SKIP LOCKED) AS n) AS q
    ), served AS (
        UPDATE byoc.lanes l
        SET cursor = CASE WHEN h.held THEN l.cursor ELSE coalesce(p.last_id, l.cursor) END, busy = p.size = s.size OR p.missing IS NOT NULL OR h.held,
            barred = s.is_barred,
            next_at = CASE WHEN s.is_barred THEN started + interval '10 seconds'
                           WHEN t.id IS NOT NULL THEN started + claim_jobs.lease
                           WHEN h.held THEN started + interval '1 second'
                           WHEN p.missing IS NULL THEN started
                           ELSE started + (least(p.missing, s.burst + coalesce(p.taken, 0)) - s.tokens) / s.segments_per_second * interval '1 second' END,
            trial = coalesce(t.id, l.trial),
            tokens = CASE WHEN s.segments_per_second IS NOT NULL THEN s.tokens - coalesce(p.taken, 0) END,
            tokens_at = CASE WHEN s.segments_per_second IS NOT NULL THEN started END
        FROM sender s CROSS JOIN LATERAL (
            SELECT count(*) AS size, (array_agg(i.id ORDER BY i.id DESC) FILTER (WHERE i.fits))[1] AS last_id,
                   max(i.total) FILTER (WHERE i.fits) AS taken, min(i.total) FILTER (WHERE NOT i.fits) AS missing
            FROM picked i WHERE i.org_id = s.org_id AND i.lane = s.lane) AS p
        CROSS JOIN LATERAL (
            SELECT p.size < s.size AND p.size < (SELECT count(*) FROM (SELECT FROM byoc.queue n WHERE n.org_id = s.org_id AND n.lane = s.lane
                                                                         AND n.id >= s.cursor LIMIT p.size + 1) AS f) AS held) AS h
        CROSS JOIN LATERAL (
            SELECT CASE WHEN s.is_half_open THEN (SELECT i.id FROM picked i WHERE i.org_id = s.org_id AND i.lane = s.lane AND i.fits AND NOT i.expired) END AS id) AS t
        WHERE l.org_id = s.org_id AND l.lane = s.lane
    ), moved AS MATERIALIZED (
        DELETE FROM byoc.queue q USING picked p
        WHERE q.ctid = p.place AND p.fits
        RETURNING q.*, p.expired,
                  coalesce(p.own_id, CASE WHEN q.credential_id IS NULL THEN p.main_id END) AS sender_id,
                  coalesce(p.own_version, p.main_version) AS sender_version
    ), claimed AS (
        INSERT INTO byoc.claims (id, dispatcher, lease_until, org_ids, message_ids, unsettled)
        SELECT new_claim, claim_jobs.dispatcher, started + claim_jobs.lease, array_agg(m.org_id), array_agg(m.id), count(*)
        FROM moved m WHERE NOT m.expired HAVING count(*) > 0
    ), stored AS (
        INSERT INTO byoc.messages (org_id, id, to_number, body, status, credential_id, used_credential_id, used_credential_version, claim_id,
                                   claimed_at, attempts, segments, source_table, idempotency_key, created_at, send_at, expires_at, finished_at)
        SELECT m.org_id, m.id, m.to_number, m.body, CASE WHEN m.expired THEN 'expired' ELSE 'sending' END, m.credential_id, m.sender_id,
               m.sender_version, CASE WHEN NOT m.expired THEN new_claim END, started,
               CASE WHEN m.expired THEN m.attempts ELSE least(m.attempts + 1, 32767) END, m.segments, m.source_table, m.idempotency_key,
               m.created_at, m.send_at, m.expires_at, CASE WHEN m.expired THEN started END
        FROM moved m
    ), expired AS (
        INSERT INTO byoc.message_events (org_id, message_id, id, event, attempt)
        SELECT m.org_id, m.id, byoc.uuid_v7(), 'expired', m.attempts FROM moved m WHERE m.expired
    )
    SELECT new_claim, m.org_id, m.id, 'twilio', m.sender_id, CASE WHEN m.sender_id IS NOT NULL THEN m.sender_version END, m.to_number, m.body, m.attempts + 1,
           CASE WHEN isfinite(m.expires_at) THEN least(86400, ceil(extract(epoch FROM m.expires_at - clock_timestamp())))::integer END, m.lane
    FROM moved m
    WHERE NOT m.expired
    ORDER BY m.id;
    IF fallback IS NOT NULL THEN
        PERFORM byoc.audit_fallback(new_claim);
    END IF;
END
$$;
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
    IF byoc.has_wakeups() OR byoc.sweep_lanes() > 0 THEN
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
