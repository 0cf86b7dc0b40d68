-- Which lanes have work. Those that can be served stand in shared memory (byoc.take_lanes): transactions that left some note them, and
-- so do messages whose time has come, waits that are over, and a sweep for what was missed. Those that have to wait stand in byoc.lanes.

CREATE FUNCTION byoc.promote_due(max_count integer) RETURNS integer
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
COMMENT ON FUNCTION byoc.promote_due(integer) IS 'Internal: moves messages whose time has come into the queue; returns how many.';

CREATE FUNCTION byoc.end_waits(max_count integer, full_lanes uuid[]) RETURNS integer
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET jit = off
AS $$
BEGIN
    RETURN (SELECT byoc.note_lanes(array_agg(w.org_id), array_agg(w.lane), array_agg(w.cursor))
            FROM (SELECT l.org_id, l.lane, l.cursor FROM byoc.lanes l
                  WHERE l.busy AND l.next_at <= clock_timestamp() AND l.lane <> ALL (full_lanes)
                    AND NOT (l.lane = '00000000-0000-0000-0000-000000000000' AND byoc.is_left_to_fallback(l.org_id))
                  ORDER BY l.next_at LIMIT max_count) AS w);
END
$$;
COMMENT ON FUNCTION byoc.end_waits(integer, uuid[]) IS
    'Internal: notes lanes, but none of full_lanes, that waited for a time that has come; returns of how many that is news. Whoever serves them takes them from byoc.lanes.';

CREATE FUNCTION byoc.lane_starts(OUT org_ids uuid[], OUT lanes uuid[], OUT from_ids uuid[])
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'byoc_lane_starts';
COMMENT ON FUNCTION byoc.lane_starts() IS 'Internal: the first message of each lane in the queue.';

CREATE FUNCTION byoc.sweep_lanes() RETURNS integer
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET jit = off
AS $$
BEGIN
    RETURN coalesce((
        SELECT byoc.note_lanes(array_agg(w.org_id), array_agg(w.lane), array_agg(w.from_id))
        FROM byoc.lane_starts() AS s CROSS JOIN unnest(s.org_ids, s.lanes, s.from_ids) AS w (org_id, lane, from_id)
        WHERE NOT EXISTS (SELECT FROM byoc.lanes b WHERE b.org_id = w.org_id AND b.lane = w.lane AND b.busy AND b.cursor <= w.from_id)), 0);
END
$$;
COMMENT ON FUNCTION byoc.sweep_lanes() IS
    'Internal: notes every lane that has messages and does not wait: those whose note was lost, and those whose note went by a message that was not '
    'committed yet. Returns of how many that is news. Run before sleeping; a claim does the same once a second.';
