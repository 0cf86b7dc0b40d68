-- Which lanes have work: woken by transactions that left some, by messages whose time has come, and by a sweep for what both missed.

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
    'Internal: makes these lanes busy from these messages on; returns how many were not yet. It waits for locked lanes, so a transaction '
    'calls it once, before it locks others: then no two can wait for each other.';

CREATE FUNCTION byoc.promote_due(max_count integer, OUT org_ids uuid[], OUT lanes uuid[], OUT from_ids uuid[])
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
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
    SELECT array_agg(q.org_id), array_agg(q.lane), array_agg(q.id) INTO org_ids, lanes, from_ids FROM queued q;
END
$$;
COMMENT ON FUNCTION byoc.promote_due(integer) IS 'Internal: moves messages whose time has come into the queue; tells what byoc.wake_lanes() has to be told.';

CREATE FUNCTION byoc.lane_starts(OUT org_ids uuid[], OUT lanes uuid[], OUT from_ids uuid[])
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
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
COMMENT ON FUNCTION byoc.lane_starts() IS 'Internal: the first message of each lane in the queue.';

CREATE FUNCTION byoc.sweep_lanes() RETURNS integer
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (SELECT byoc.wake_lanes(s.org_ids, s.lanes, s.from_ids) FROM byoc.lane_starts() AS s);
END
$$;
COMMENT ON FUNCTION byoc.sweep_lanes() IS
    'Internal: wakes lanes that went idle, or whose cursor went by, while a message was not committed yet; returns how many. Run before '
    'sleeping; a claim does the same once a second.';

CREATE FUNCTION byoc.take_wakeups(org_ids uuid[], lanes uuid[], from_ids uuid[], sweep boolean) RETURNS integer
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    told record;
    swept record;
BEGIN
    SELECT d.* INTO told FROM byoc.drain_wakeups() AS d;
    IF NOT (sweep OR told.overflowed) THEN
        RETURN byoc.wake_lanes(take_wakeups.org_ids || told.org_ids, take_wakeups.lanes || told.lanes, take_wakeups.from_ids || told.from_ids);
    END IF;
    SELECT s.* INTO swept FROM byoc.lane_starts() AS s;
    RETURN byoc.wake_lanes(take_wakeups.org_ids || told.org_ids || swept.org_ids, take_wakeups.lanes || told.lanes || swept.lanes,
                           take_wakeups.from_ids || told.from_ids || swept.from_ids);
END
$$;
COMMENT ON FUNCTION byoc.take_wakeups(uuid[], uuid[], uuid[], boolean) IS
    'Internal: makes the lanes busy that transactions left work in, these too, and with `sweep` all that have some; returns how many were not yet.';
