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

CREATE FUNCTION byoc.promote_due(max_count integer) RETURNS integer
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
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
        INSERT INTO byoc.queue (org_id, lane, id, to_number, body, credential_id, attempts, source_table, idempotency_key,
                                created_at, send_at, expires_at)
        SELECT d.org_id, byoc.lane_of(d.org_id, d.credential_id), d.id, d.to_number, d.body, d.credential_id, d.attempts,
               d.source_table, d.idempotency_key, d.created_at, d.send_at, d.expires_at
        FROM due d
        RETURNING org_id, lane
    ), woken AS (
        INSERT INTO byoc.wakeups (org_id, lane, rescan) SELECT DISTINCT q.org_id, q.lane, true FROM queued q
    )
    SELECT count(*) INTO promoted FROM queued;
    RETURN promoted;
END
$$;
COMMENT ON FUNCTION byoc.promote_due(integer) IS 'Internal: moves messages whose time has come into the queue; returns how many.';

CREATE FUNCTION byoc.take_wakeups(max_count integer) RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    WITH taken AS (
        DELETE FROM byoc.wakeups w
        WHERE w.ctid = ANY (ARRAY(SELECT n.ctid FROM byoc.wakeups n LIMIT max_count FOR UPDATE SKIP LOCKED))
        RETURNING w.org_id, w.lane, w.rescan
    )
    INSERT INTO byoc.lanes AS l (org_id, lane, busy, next_at, rescan)
    SELECT t.org_id, t.lane, true, clock_timestamp(), bool_or(t.rescan)
    FROM taken t GROUP BY t.org_id, t.lane ORDER BY t.org_id, t.lane
    ON CONFLICT (org_id, lane) DO UPDATE
    SET busy = true, next_at = CASE WHEN l.busy THEN l.next_at ELSE excluded.next_at END, rescan = l.rescan OR excluded.rescan;
END
$$;
COMMENT ON FUNCTION byoc.take_wakeups(integer) IS 'Internal: makes the lanes busy that have a wake-up row.';

CREATE FUNCTION byoc.sweep_lanes() RETURNS integer
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
AS $$
DECLARE
    found_lanes integer;
BEGIN
    -- Steps from lane to lane through the queue's primary key instead of reading every message.
    WITH RECURSIVE lane AS (
        (SELECT q.org_id, q.lane FROM byoc.queue q ORDER BY q.org_id, q.lane LIMIT 1)
        UNION ALL
        SELECT n.org_id, n.lane
        FROM lane CROSS JOIN LATERAL (
            SELECT q.org_id, q.lane FROM byoc.queue q WHERE (q.org_id, q.lane) > (lane.org_id, lane.lane)
            ORDER BY q.org_id, q.lane LIMIT 1) AS n
    ), woken AS (
        INSERT INTO byoc.wakeups (org_id, lane, rescan)
        SELECT w.org_id, w.lane, true FROM lane w
        WHERE NOT EXISTS (SELECT FROM byoc.lanes l WHERE l.org_id = w.org_id AND l.lane = w.lane AND l.busy)
        RETURNING org_id
    )
    SELECT count(*) INTO found_lanes FROM woken;
    RETURN found_lanes;
END
$$;
COMMENT ON FUNCTION byoc.sweep_lanes() IS
    'Internal: wakes lanes that went idle while a message was not committed yet; returns how many. Run before sleeping and once a second.';

CREATE FUNCTION byoc.claim_jobs(dispatcher uuid, slots integer, lease interval)
RETURNS TABLE (claim_id uuid, org_id uuid, id uuid, provider text, credential_id uuid, credential_version integer, to_number text,
               body text, attempt integer, validity_seconds integer)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
-- A plan made while the tables are empty must not read them as a whole when they are full.
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    nil CONSTANT uuid := '00000000-0000-0000-0000-000000000000';
    lanes_at_once CONSTANT integer := 32;
    once_a_second CONSTANT boolean := byoc.is_sweep_due();
BEGIN
    PERFORM byoc.end_sleep();
    -- A restore may begin under a running dispatcher: its second row shows at once.
    IF once_a_second OR (SELECT count(*) FROM byoc.installation) <> 1 THEN
        PERFORM byoc.require_adopted();
    END IF;
    IF slots < 1 THEN
        RETURN;
    END IF;
    PERFORM byoc.promote_due(500);
    IF once_a_second THEN
        PERFORM byoc.sweep_lanes();
        -- A lane that never runs dry looks for late commits, too.
        UPDATE byoc.lanes l SET rescan = true
        FROM (SELECT b.org_id, b.lane FROM byoc.lanes b WHERE b.busy AND NOT b.rescan FOR UPDATE SKIP LOCKED) AS busy
        WHERE l.org_id = busy.org_id AND l.lane = busy.lane;
    END IF;
    PERFORM byoc.take_wakeups(1000);
    RETURN QUERY
    WITH ready AS MATERIALIZED (
        SELECT l.org_id, l.lane, l.rescan, CASE WHEN l.rescan THEN nil ELSE l.cursor END AS from_id
        FROM byoc.lanes l WHERE l.busy AND l.next_at <= clock_timestamp()
        ORDER BY l.next_at LIMIT least(lanes_at_once, slots) FOR UPDATE SKIP LOCKED
    ), share AS MATERIALIZED (
        SELECT greatest(1, slots / greatest(1, count(*)))::integer AS size FROM ready
    ), picked AS MATERIALIZED (
        SELECT q.org_id, q.lane, q.id
        FROM ready r CROSS JOIN LATERAL (
            SELECT n.org_id, n.lane, n.id FROM byoc.queue n
            WHERE n.org_id = r.org_id AND n.lane = r.lane AND n.id > r.from_id
            -- Not what a tenant is cancelling: an open transaction of one must not hold up the others' messages.
            ORDER BY n.id LIMIT (SELECT s.size FROM share s) FOR UPDATE SKIP LOCKED) AS q
    ), served AS (
        UPDATE byoc.lanes l
        SET cursor = greatest(l.cursor, coalesce(p.last_id, l.cursor)),
            next_at = clock_timestamp() + CASE WHEN h.held THEN interval '1 second' ELSE interval '0' END,
            -- Short behind the cursor: look once more from the start. Short from the start: what is left is held by others, or nothing.
            rescan = p.size < s.size AND (NOT r.rescan OR h.held),
            busy = NOT (r.rescan AND p.size < s.size) OR h.held
        FROM ready r, share s, LATERAL (
            SELECT count(*) AS size, (array_agg(i.id ORDER BY i.id DESC))[1] AS last_id
            FROM picked i WHERE i.org_id = r.org_id AND i.lane = r.lane) AS p, LATERAL (
            SELECT r.rescan AND p.size < s.size
                   AND p.size < (SELECT count(*) FROM (SELECT FROM byoc.queue n WHERE n.org_id = r.org_id AND n.lane = r.lane
                                                       LIMIT p.size + 1) AS f) AS held) AS h
        WHERE l.org_id = r.org_id AND l.lane = r.lane
    ), moved AS MATERIALIZED (
        DELETE FROM byoc.queue q USING picked p
        WHERE q.org_id = p.org_id AND q.lane = p.lane AND q.id = p.id
        RETURNING q.*, coalesce(q.expires_at <= clock_timestamp(), false) AS expired
    ), claim AS MATERIALIZED (
        SELECT m.org_id, byoc.uuid_v7() AS id, array_agg(m.id) AS message_ids FROM moved m WHERE NOT m.expired GROUP BY m.org_id
    ), claimed AS (
        INSERT INTO byoc.claims (org_id, id, dispatcher, lease_until, message_ids)
        SELECT c.org_id, c.id, claim_jobs.dispatcher, clock_timestamp() + claim_jobs.lease, c.message_ids FROM claim c
    ), sender AS MATERIALIZED (
        -- The lane's credential while it is active; else, unless the sender asked for that one, the current default.
        SELECT s.org_id, s.lane, s.credential_id AS asked_for, c.id, c.version, c.credential_type
        FROM (SELECT DISTINCT m.org_id, m.lane, m.credential_id FROM moved m) AS s
        LEFT JOIN LATERAL (
            SELECT k.id, k.version, k.credential_type FROM byoc.organization_api_credentials k
            WHERE k.org_id = s.org_id AND k.is_active AND k.credential_type = 'twilio'
              AND (k.id = s.lane OR (s.credential_id IS NULL AND k.is_default))
            ORDER BY (k.id = s.lane) DESC LIMIT 1) AS c ON true
    ), stored AS (
        INSERT INTO byoc.messages (org_id, id, to_number, body, status, credential_id, used_credential_id, claim_id, attempts,
                                   source_table, idempotency_key, created_at, send_at, expires_at, finished_at)
        SELECT m.org_id, m.id, m.to_number, m.body, CASE WHEN m.expired THEN 'expired' ELSE 'sending' END, m.credential_id, s.id,
               CASE WHEN NOT m.expired THEN c.id END, CASE WHEN m.expired THEN m.attempts ELSE least(m.attempts + 1, 32767) END, m.source_table, m.idempotency_key,
               m.created_at, m.send_at, m.expires_at, CASE WHEN m.expired THEN clock_timestamp() END
        FROM moved m
        JOIN sender s ON s.org_id = m.org_id AND s.lane = m.lane AND s.asked_for IS NOT DISTINCT FROM m.credential_id
        LEFT JOIN claim c ON c.org_id = m.org_id
    ), expired AS (
        INSERT INTO byoc.message_events (org_id, message_id, id, event, attempt)
        SELECT m.org_id, m.id, byoc.uuid_v7(), 'expired', m.attempts FROM moved m WHERE m.expired
    )
    SELECT c.id, m.org_id, m.id, coalesce(s.credential_type, 'twilio'), s.id, s.version, m.to_number, m.body, m.attempts + 1,
           CASE WHEN isfinite(m.expires_at) THEN least(86400, ceil(extract(epoch FROM m.expires_at - clock_timestamp())))::integer END
    FROM moved m
    JOIN claim c ON c.org_id = m.org_id
    JOIN sender s ON s.org_id = m.org_id AND s.lane = m.lane AND s.asked_for IS NOT DISTINCT FROM m.credential_id
    WHERE NOT m.expired
    ORDER BY m.id;
END
$$;
COMMENT ON FUNCTION byoc.claim_jobs(uuid, integer, interval) IS
    'For byocd: at most `slots` messages to send now, fairly between organizations, each durably marked as being sent. '
    'Fewer rows do not mean that the queue is empty: byoc.dispatcher_sleep() knows. credential_id NULL: the organization has none.';

CREATE FUNCTION byoc.dispatcher_sleep() RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    next_due timestamptz;
BEGIN
    PERFORM byoc.announce_sleep();
    -- Each statement from here on has a snapshot that sees everything committed before the announcement.
    IF EXISTS (SELECT FROM byoc.wakeups) OR byoc.sweep_lanes() > 0 THEN
        RETURN 0;
    END IF;
    SELECT least((SELECT min(l.next_at) FROM byoc.lanes l WHERE l.busy), (SELECT min(s.due_at) FROM byoc.schedule s),
                 (SELECT min(c.verification_due_at) FROM byoc.organization_api_credentials c WHERE c.verification_due_at > now()))
    INTO next_due;
    IF next_due IS NULL THEN
        RETURN NULL;
    END IF;
    -- What is overdue and locked is being changed by a tenant: not a reason to try again all the time.
    IF next_due <= clock_timestamp() AND NOT EXISTS (SELECT FROM byoc.lanes l WHERE l.busy AND l.next_at <= clock_timestamp()) THEN
        PERFORM FROM byoc.schedule s WHERE s.due_at <= clock_timestamp() LIMIT 1 FOR UPDATE SKIP LOCKED;
        IF NOT FOUND THEN
            RETURN 1000;
        END IF;
    END IF;
    -- A time that is too far away for an integer of milliseconds is as good as a day.
    RETURN greatest(0, ceil(extract(epoch FROM least(next_due, clock_timestamp() + interval '1 day') - clock_timestamp()) * 1000))::integer;
END
$$;
COMMENT ON FUNCTION byoc.dispatcher_sleep() IS
    'For byocd, on the connection that listens: from now on inserters notify. Returns milliseconds until work is due: 0: claim again, '
    'NULL: nothing is known. The next claim ends the sleep.';

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

CREATE FUNCTION byoc.rescue_expired() RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
DECLARE
    rescued integer;
BEGIN
    WITH dead AS MATERIALIZED (
        DELETE FROM byoc.claims c
        USING (SELECT x.org_id, x.id FROM byoc.claims x WHERE x.lease_until < clock_timestamp() FOR UPDATE SKIP LOCKED) AS e
        WHERE c.org_id = e.org_id AND c.id = e.id
        RETURNING c.org_id, c.id, c.message_ids
    ), member AS MATERIALIZED (
        SELECT d.org_id, d.id AS claim_id, m.id FROM dead d CROSS JOIN unnest(d.message_ids) AS m (id)
    ), lost AS (
        DELETE FROM byoc.messages m USING member d
        WHERE m.org_id = d.org_id AND m.id = d.id AND m.claim_id = d.claim_id
        RETURNING m.*
    ), waiting AS (
        INSERT INTO byoc.schedule (org_id, id, due_at, to_number, body, credential_id, attempts, source_table, idempotency_key,
                                   created_at, send_at, expires_at)
        SELECT l.org_id, l.id, clock_timestamp(), l.to_number, l.body, l.credential_id, l.attempts, l.source_table, l.idempotency_key,
               l.created_at, l.send_at, l.expires_at
        FROM lost l
    ), noted AS (
        INSERT INTO byoc.message_events (org_id, message_id, id, event, attempt)
        SELECT l.org_id, l.id, byoc.uuid_v7(), 'rescued', l.attempts FROM lost l
        RETURNING org_id
    )
    SELECT count(byoc.wake_dispatcher(n.org_id)) INTO rescued FROM noted n;
    RETURN rescued;
END
$$;
COMMENT ON FUNCTION byoc.rescue_expired() IS
    'For byocd: gives back the messages of dispatchers whose lease ran out; returns how many. Their last attempt may have reached the provider.';
