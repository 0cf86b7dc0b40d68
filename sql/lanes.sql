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
