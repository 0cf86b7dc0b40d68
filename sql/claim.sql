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
AS $$
BEGIN
    WITH moved AS (
        DELETE FROM byoc.queue q
        WHERE q.org_id = expire_queued.org_id AND q.lane = expire_queued.lane AND q.id = ANY (ids) AND q.expires_at <= clock_timestamp()
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

CREATE FUNCTION byoc.next_of_lane(org_id uuid, lane uuid, from_id uuid, size integer, at timestamptz)
RETURNS TABLE (places tid[], ids uuid[], segments smallint[], total bigint, is_any_expired boolean, is_full boolean, is_held boolean)
-- STABLE so that it becomes part of the statement that calls it; on its own it could not lock rows.
LANGUAGE sql STABLE ROWS 1
BEGIN ATOMIC
    SELECT array_agg(w.ctid), array_agg(w.id), array_agg(w.segments), sum(w.segments), bool_or(w.expires_at <= at), count(*) = size,
           count(*) < size AND count(*) < (
               SELECT count(*) FROM (SELECT FROM byoc.queue q WHERE q.org_id = next_of_lane.org_id AND q.lane = next_of_lane.lane AND q.id >= from_id
                                     LIMIT size) AS f)
    FROM (SELECT q.ctid, q.id, q.segments, q.expires_at FROM byoc.queue q
          WHERE q.org_id = next_of_lane.org_id AND q.lane = next_of_lane.lane AND q.id >= from_id
          -- Not what a tenant is cancelling: an open transaction of one must not hold up the others' messages.
          ORDER BY q.id LIMIT size FOR UPDATE SKIP LOCKED) AS w;
END;
COMMENT ON FUNCTION byoc.next_of_lane(uuid, uuid, uuid, integer, timestamptz) IS
    'Internal: locks and describes the next messages of a lane, by their places in byoc.queue. is_any_expired: one''s time is over at that time; '
    'is_full: there are `size` of them; is_held: somebody has one locked that would have been among them.';

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
    has_slept CONSTANT boolean := byoc.end_sleep();
    -- Who just slept has looked everywhere before: what woke it comes first, and the next claim follows at once.
    in_haste boolean := has_slept AND slots > 0;
    once_a_second CONSTANT boolean := NOT has_slept AND byoc.is_sweep_due();
    new_claim CONSTANT uuid := byoc.uuid_v7();
    none CONSTANT uuid := '00000000-0000-0000-0000-000000000000';
    fallback CONSTANT integer := byoc.session_fallback();
    started timestamptz := clock_timestamp();
    is_alone boolean;
    is_any_due boolean;
    is_any_woken boolean;
    is_any_ready boolean;
    woken_orgs uuid[];
    woken_lanes uuid[];
    woken_ids uuid[];
    turns refcursor;
    turn record;
    rate double precision;
    burst double precision;
    have double precision;
    missing bigint;
    fitting integer;
    places tid[];
    senders uuid[];
    versions integer[];
BEGIN
    IF fallback IS NOT NULL THEN
        PERFORM byoc.keep_fallback();
    END IF;
    -- To start a statement, and each node of its plan, is most of what a claim of one message costs: few of both.
    LOOP
        IF in_haste THEN
            -- The lane of one wake-up, when it is idle and need not wait.
            SELECT ARRAY[w.org_id], ARRAY[w.lane], ARRAY[w.from_id] INTO woken_orgs, woken_lanes, woken_ids
            FROM byoc.take_wakeup() AS w WHERE w.lane IS NOT NULL;
            SELECT r.*, c.id AS sender, c.version, c.fields, c.verification_status AS state, EXISTS (SELECT FROM byoc.sender_limits) AS is_any_limited, p.*
            INTO turn
            FROM (SELECT l.ctid AS lane_row, l.org_id, l.lane, least(l.cursor, woken_ids[1]) AS cursor, l.tokens, l.tokens_at,
                         false AS is_half_open, least(slots, coalesce(rooms[array_position(lanes_in_use, l.lane)], claim_jobs.room)) AS room
                  FROM byoc.lanes l
                  WHERE l.org_id = woken_orgs[1] AND l.lane = woken_lanes[1] AND l.lane <> none
                    AND NOT l.busy AND l.next_at <= started AND l.failures < byoc.breaker_threshold()
                    AND coalesce(rooms[array_position(lanes_in_use, l.lane)], claim_jobs.room, slots) > 0
                    AND (SELECT count(*) = 1 FROM byoc.installation)
                  FOR UPDATE OF l SKIP LOCKED) AS r
            LEFT JOIN byoc.organization_api_credentials c
                ON c.org_id = r.org_id AND c.id = r.lane AND c.is_active AND c.credential_type = 'twilio'
            CROSS JOIN LATERAL byoc.next_of_lane(r.org_id, r.lane, r.cursor, r.room, started) AS p;
        ELSE
            SELECT (SELECT count(*) = 1 FROM byoc.installation), EXISTS (SELECT FROM byoc.schedule s WHERE s.due_at <= started),
                   woken_orgs IS NOT NULL OR byoc.has_wakeups(), EXISTS (SELECT FROM byoc.lanes l WHERE l.busy AND l.next_at <= started)
            INTO is_alone, is_any_due, is_any_woken, is_any_ready;
            -- A restore may begin under a running dispatcher: its second row shows at once.
            IF once_a_second OR NOT is_alone THEN
                PERFORM byoc.require_adopted();
            END IF;
            IF slots < 1 THEN
                RETURN;
            END IF;
            IF is_any_due THEN
                SELECT woken_orgs || d.org_ids, woken_lanes || d.lanes, woken_ids || d.from_ids INTO woken_orgs, woken_lanes, woken_ids
                FROM byoc.promote_due(500) AS d;
            END IF;
            IF is_any_due OR is_any_woken OR once_a_second THEN
                is_any_ready := byoc.take_wakeups(woken_orgs, woken_lanes, woken_ids, once_a_second) > 0 OR is_any_ready;
            END IF;
            IF NOT is_any_ready THEN
                RETURN;
            END IF;
            started := clock_timestamp();
            OPEN turns FOR
                SELECT r.*, c.id AS sender, c.version, c.fields, c.verification_status AS state, EXISTS (SELECT FROM byoc.sender_limits) AS is_any_limited, p.*
                FROM (SELECT k.*, greatest(1, slots / count(*) OVER ())::integer AS share
                      FROM (SELECT l.ctid AS lane_row, l.org_id, l.lane, l.cursor, l.tokens, l.tokens_at,
                                   l.failures >= byoc.breaker_threshold() AS is_half_open,
                                   coalesce(rooms[array_position(lanes_in_use, l.lane)], claim_jobs.room, slots) AS room
                            FROM byoc.lanes l
                            WHERE l.busy AND l.next_at <= started
                              AND coalesce(rooms[array_position(lanes_in_use, l.lane)], claim_jobs.room, slots) > 0
                              AND NOT (l.lane = none AND byoc.is_left_to_fallback(l.org_id))
                            ORDER BY l.next_at LIMIT least(lanes_at_once, slots) FOR UPDATE SKIP LOCKED) AS k) AS r
                LEFT JOIN byoc.organization_api_credentials c
                    ON c.org_id = r.org_id AND c.id = r.lane AND c.is_active AND c.credential_type = 'twilio'
                CROSS JOIN LATERAL byoc.next_of_lane(r.org_id, r.lane, r.cursor, CASE WHEN r.is_half_open THEN 1 ELSE least(r.share, r.room) END,
                                                     started) AS p;
            FETCH turns INTO turn;
        END IF;
        WHILE FOUND LOOP
            IF turn.sender IS NULL THEN
                -- The current default takes the messages that did not ask for the lane's credential, and this session's own account
                -- those of an organization that never had a credential.
                SELECT c.id, c.version, c.fields, c.verification_status INTO turn.sender, turn.version, turn.fields, turn.state
                FROM byoc.organization_api_credentials c
                WHERE c.org_id = turn.org_id AND c.is_default AND c.credential_type = 'twilio';
                IF turn.sender IS NULL AND turn.lane = none AND fallback IS NOT NULL THEN
                    SELECT none, f.version, f.fields INTO turn.sender, turn.version, turn.fields
                    FROM byoc.fallback_senders f WHERE f.version = fallback AND byoc.falls_back(turn.org_id);
                END IF;
            END IF;
            -- Looked at again now that the lane is locked: byoc.release_lanes() may have had it just before.
            IF byoc.is_barred(turn.state) AND byoc.is_barred((SELECT c.verification_status FROM byoc.organization_api_credentials c
                                                              WHERE c.org_id = turn.org_id AND c.id = turn.sender)) THEN
                -- What may not be sent waits, but not past its time.
                IF turn.is_any_expired THEN
                    PERFORM byoc.expire_queued(turn.org_id, turn.lane, turn.ids);
                END IF;
                UPDATE byoc.lanes l
                SET barred = true, busy = turn.ids[1] IS NOT NULL OR turn.is_held, next_at = started + interval '10 seconds'
                WHERE l.ctid = turn.lane_row;
                EXIT WHEN in_haste;
                FETCH turns INTO turn;
                CONTINUE;
            END IF;
            IF turn.is_any_limited THEN
                SELECT m.segments_per_second, m.burst INTO rate, burst FROM byoc.sender_limit(turn.org_id, turn.fields) AS m;
            ELSE
                rate := byoc.default_sender_rate(byoc.sender_kind(byoc.limited_sender(turn.fields)));
                burst := byoc.default_sender_burst(rate);
            END IF;
            missing := NULL;
            IF rate IS NOT NULL THEN
                have := least(burst, coalesce(turn.tokens + rate * extract(epoch FROM started - turn.tokens_at), burst));
                IF turn.total > have THEN
                    fitting := 0;
                    missing := turn.segments[1];
                    turn.total := 0;
                    -- By a full bucket one goes out, whatever its size.
                    WHILE missing <= have OR (fitting = 0 AND have >= burst) LOOP
                        fitting := fitting + 1;
                        turn.total := missing;
                        missing := missing + turn.segments[fitting + 1];
                    END LOOP;
                    turn.places := turn.places[:fitting];
                    turn.ids := turn.ids[:fitting];
                END IF;
            END IF;
            IF NOT turn.is_held THEN
                turn.cursor := coalesce(turn.ids[cardinality(turn.ids)], turn.cursor);
            END IF;
            IF turn.is_any_expired THEN
                PERFORM byoc.expire_queued(turn.org_id, turn.lane, turn.ids);
                SELECT array_agg(q.ctid), array_agg(q.id) INTO turn.places, turn.ids
                FROM byoc.queue q WHERE q.ctid = ANY (turn.places);
            END IF;
            UPDATE byoc.lanes l
            SET cursor = turn.cursor, barred = false, busy = turn.is_full OR turn.is_held OR missing IS NOT NULL,
                next_at = CASE WHEN turn.is_half_open AND turn.ids[1] IS NOT NULL THEN started + claim_jobs.lease
                               WHEN turn.is_held THEN started + interval '1 second'
                               WHEN missing IS NULL THEN started
                               ELSE started + (least(missing, burst + turn.total) - have) / rate * interval '1 second' END,
                trial = CASE WHEN turn.is_half_open THEN coalesce(turn.ids[1], l.trial) ELSE l.trial END,
                tokens = CASE WHEN rate IS NOT NULL THEN have - coalesce(turn.total, 0) END,
                tokens_at = CASE WHEN rate IS NOT NULL THEN started END
            WHERE l.ctid = turn.lane_row;
            IF turn.ids[1] IS NOT NULL THEN
                places := places || turn.places;
                senders := senders || array_fill(turn.sender, ARRAY[cardinality(turn.places)]);
                versions := versions || array_fill(turn.version, ARRAY[cardinality(turn.places)]);
            END IF;
            EXIT WHEN in_haste;
            FETCH turns INTO turn;
        END LOOP;
        EXIT WHEN NOT in_haste OR places IS NOT NULL;
        -- Its lane is locked by now, and who waits for more with a lock can wait for ever: the next claim looks further.
        IF turn.lane_row IS NOT NULL THEN
            RETURN;
        END IF;
        in_haste := false;
    END LOOP;
    IF places IS NULL THEN
        RETURN;
    END IF;
    RETURN QUERY
    WITH moved AS (
        DELETE FROM byoc.queue q USING unnest(places, senders, versions) AS p (place, sender, version)
        WHERE q.ctid = p.place
        RETURNING q.*, CASE WHEN p.sender = q.lane OR q.credential_id IS NULL THEN p.sender END AS sender,
                  CASE WHEN p.sender = q.lane OR q.credential_id IS NULL THEN p.version END AS version
    ), claimed AS (
        INSERT INTO byoc.claims (id, dispatcher, lease_until, org_ids, message_ids, unsettled)
        SELECT new_claim, claim_jobs.dispatcher, started + claim_jobs.lease, array_agg(m.org_id), array_agg(m.id), count(*) FROM moved m
    ), stored AS (
        INSERT INTO byoc.messages (
            org_id, id, to_number, body, status, credential_id, used_credential_id, used_credential_version, claim_id, claimed_at, attempts, segments,
            source_table, idempotency_key, created_at, send_at, expires_at)
        SELECT m.org_id, m.id, m.to_number, m.body, 'sending', m.credential_id, m.sender, m.version, new_claim, started, least(m.attempts + 1, 32767),
               m.segments, m.source_table, m.idempotency_key, m.created_at, m.send_at, m.expires_at
        FROM moved m
    )
    SELECT new_claim, m.org_id, m.id, 'twilio', m.sender, m.version, m.to_number, m.body, m.attempts + 1,
           CASE WHEN isfinite(m.expires_at) THEN least(86400, ceil(extract(epoch FROM m.expires_at - clock_timestamp())))::integer END, m.lane
    FROM moved m ORDER BY m.id;
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
