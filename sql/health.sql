-- Keeping history short, and what a DBA looks at: lanes with work or trouble, and totals. All of it steps through primary keys
-- and reads what waits, is under way or was sent within the hour; finished messages cost nothing.

-- Ids are UUIDs version 7: their first 48 bits are milliseconds since 1970.
CREATE FUNCTION byoc.time_of_id(id uuid) RETURNS timestamptz
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN to_timestamp(('x' || translate(left(id::text, 13), '-', ''))::bit(48)::bigint / 1000.0);
COMMENT ON FUNCTION byoc.time_of_id(uuid) IS 'Internal: when an id of byoc.uuid_v7() was made.';

CREATE FUNCTION byoc.first_id_at(at timestamptz) RETURNS uuid
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN rpad(lpad(to_hex(greatest(0, floor(extract(epoch FROM at) * 1000))::bigint), 12, '0'), 32, '0')::uuid;
COMMENT ON FUNCTION byoc.first_id_at(timestamptz) IS 'Internal: ids of byoc.uuid_v7() that are less were made before.';

CREATE FUNCTION byoc.prune_organization(org_id uuid, finished_before timestamptz, batch integer) RETURNS integer
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_bitmapscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET jit = off
AS $$
DECLARE
    before CONSTANT uuid := byoc.first_id_at(finished_before); -- whatever is finished was made earlier
    pruned integer;
BEGIN
    WITH old AS MATERIALIZED (
        SELECT m.org_id, m.id, m.idempotency_key FROM byoc.messages m
        WHERE m.org_id = prune_organization.org_id AND m.id < before AND m.finished_at < finished_before AND m.status <> 'unknown'
        ORDER BY m.id LIMIT batch FOR UPDATE SKIP LOCKED
    ), gone AS (
        DELETE FROM byoc.messages m USING old o WHERE m.org_id = o.org_id AND m.id = o.id RETURNING 1
    ), events AS (
        DELETE FROM byoc.message_events e USING old o WHERE e.org_id = o.org_id AND e.message_id = o.id
    ), keys AS (
        DELETE FROM byoc.idempotency_keys k USING old o
        WHERE k.org_id = o.org_id AND k.key = o.idempotency_key AND k.message_id = o.id
    ), settled AS (
        DELETE FROM byoc.unknown_messages u USING old o WHERE u.org_id = o.org_id AND u.message_id = o.id
    )
    SELECT count(*) INTO pruned FROM gone;
    DELETE FROM byoc.earlier_attempts a WHERE a.org_id = prune_organization.org_id AND a.left_at < finished_before;
    pruned := pruned + byoc.prune_calendar(org_id, finished_before, batch - pruned);
    WITH old AS MATERIALIZED (
        SELECT c.org_id, c.id FROM byoc.calls c
        WHERE c.org_id = prune_organization.org_id AND c.id < before AND c.finished_at < finished_before
          -- The last word about an event that still stands.
          AND (NOT EXISTS (SELECT FROM byoc.calendar_entries e WHERE e.org_id = c.org_id AND e.id = c.subject)
               OR EXISTS (SELECT FROM byoc.calls n WHERE n.org_id = c.org_id AND n.subject = c.subject AND n.revision > c.revision AND n.status = 'completed'))
        ORDER BY c.id LIMIT batch - pruned FOR UPDATE SKIP LOCKED
    ), gone AS (
        DELETE FROM byoc.calls c USING old o WHERE c.org_id = o.org_id AND c.id = o.id RETURNING 1
    )
    SELECT pruned + count(*) INTO pruned FROM gone;
    RETURN pruned;
END
$$;
COMMENT ON FUNCTION byoc.prune_organization(uuid, timestamptz, integer) IS
    'Internal: deletes at most `batch` finished messages of an organization, with history and idempotency keys, and calls; returns how many.';

CREATE FUNCTION byoc.prune(older_than interval, batch integer DEFAULT 10000) RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_bitmapscan = off
AS $$
DECLARE
    -- What an attempt without a known end is compared with (byoc.recorded_sids).
    reach CONSTANT interval := interval '10 minutes' + 2 * byoc.reconciliation_slack();
    start CONSTANT uuid := gen_random_uuid(); -- all organizations alike, and calls that run side by side apart
    finished_before timestamptz;
    last uuid := start;
    wrapped boolean := false;
    org uuid;
    pruned bigint := 0;
BEGIN
    IF older_than IS NULL OR older_than < interval '0' THEN
        RAISE EXCEPTION 'older_than must be an interval of 0 or more, not %', coalesce(older_than::text, 'NULL')
            USING ERRCODE = 'invalid_parameter_value', HINT = 'byoc.prune(''90 days'') deletes what was finished 90 days ago or earlier.';
    ELSIF batch IS NULL OR batch < 1 THEN
        RAISE EXCEPTION 'batch must be 1 or more, not %', coalesce(batch::text, 'NULL') USING ERRCODE = 'invalid_parameter_value';
    END IF;
    finished_before := least(now() - older_than, now(),
                             byoc.time_of_id((SELECT c.id FROM byoc.claims c ORDER BY c.id LIMIT 1)) - reach);
    LOOP
        SELECT m.org_id INTO org
        FROM ((SELECT m.org_id FROM byoc.messages m WHERE m.org_id > last ORDER BY m.org_id, m.id LIMIT 1)
              UNION ALL
              (SELECT c.org_id FROM byoc.calls c WHERE c.org_id > last ORDER BY c.org_id, c.id LIMIT 1)) AS m
        ORDER BY m.org_id LIMIT 1;
        IF org IS NULL AND NOT wrapped THEN
            wrapped := true;
            last := '00000000-0000-0000-0000-000000000000';
            CONTINUE;
        END IF;
        EXIT WHEN org IS NULL OR (wrapped AND org > start);
        pruned := pruned + byoc.prune_organization(org, least(finished_before, (SELECT min(r.attempt_from) FROM byoc.reconciliations r
                                                                                WHERE r.org_id = org) - reach), (batch - pruned)::integer);
        EXIT WHEN pruned >= batch;
        last := org;
    END LOOP;
    -- These count for a day, whatever is asked for.
    DELETE FROM byoc.rest_answers a WHERE a.ctid = ANY (ARRAY(
        SELECT r.ctid FROM byoc.rest_answers r WHERE r.created_at < now() - interval '1 day' ORDER BY r.created_at LIMIT batch FOR UPDATE SKIP LOCKED));
    IF pruned > 0 THEN
        PERFORM byoc.audit(NULL, 'messages.pruned', NULL, jsonb_build_object('count', pruned, 'older_than', older_than));
    END IF;
    RETURN pruned;
END
$$;
COMMENT ON FUNCTION byoc.prune(interval, integer) IS
    'Deletes messages that were finished so long ago (sent, delivered, undelivered, failed, cancelled, expired), with their history and '
    'idempotency keys, and calls: at most `batch`, and returns how many. Call it, each time in a transaction of its own, until it returns 0. Unknown and '
    'paused messages stay, and those that a message list is still to be compared with. A pruned idempotency key can be used again. Answers of the REST API '
    'that are a day old go too, and do not count.';

-- Lanes

CREATE FUNCTION byoc.queue_health()
RETURNS TABLE (org_id uuid, credential_id uuid, sender text, waiting bigint, oldest_waiting interval, scheduled bigint, sending bigint,
               reconciling bigint, unknown bigint, breaker text, failures integer, limited boolean, next_at timestamptz, paused text)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    most CONSTANT integer := 10000;
    none CONSTANT uuid := '00000000-0000-0000-0000-000000000000';
    own CONSTANT uuid := byoc.current_org_id();
    low CONSTANT uuid := coalesce(own, none);
    high CONSTANT uuid := coalesce(own, 'ffffffff-ffff-ffff-ffff-ffffffffffff');
BEGIN
    IF own IS NULL AND NOT byoc.sees_all_organizations()
       AND NOT has_function_privilege(byoc.invoking_role()::oid, 'byoc.stats()'::regprocedure, 'EXECUTE') THEN
        RETURN;
    END IF;
    RETURN QUERY
    WITH RECURSIVE queued AS (
        -- From lane to lane, as byoc.sweep_lanes() does.
        (SELECT q.org_id, q.lane FROM byoc.queue q WHERE q.org_id BETWEEN low AND high ORDER BY q.org_id, q.lane, q.id LIMIT 1)
        UNION ALL
        SELECT n.org_id, n.lane FROM queued f CROSS JOIN LATERAL (
            SELECT q.org_id, q.lane FROM byoc.queue q WHERE (q.org_id, q.lane) > (f.org_id, f.lane) AND q.org_id <= high
            ORDER BY q.org_id, q.lane, q.id LIMIT 1) AS n
    ), planner AS (
        (SELECT s.org_id FROM byoc.schedule s WHERE s.org_id BETWEEN low AND high ORDER BY s.org_id, s.id LIMIT 1)
        UNION ALL
        SELECT n.org_id FROM planner f CROSS JOIN LATERAL (
            SELECT s.org_id FROM byoc.schedule s WHERE s.org_id > f.org_id AND s.org_id <= high ORDER BY s.org_id, s.id LIMIT 1) AS n
    ), work (org_id, lane, scheduled, sending, reconciling, unknown) AS (
        SELECT q.org_id, q.lane, 0, 0, 0, 0 FROM queued q
        UNION ALL
        SELECT p.org_id, byoc.lane_of(p.org_id, s.credential_id), s.messages, 0, 0, 0
        FROM planner p CROSS JOIN LATERAL (
            SELECT f.credential_id, count(*) AS messages
            FROM (SELECT n.credential_id FROM byoc.schedule n WHERE n.org_id = p.org_id ORDER BY n.id LIMIT most) AS f GROUP BY f.credential_id) AS s
        UNION ALL
        SELECT m.org_id, coalesce(m.used_credential_id, none), 0, 1, 0, 0
        FROM byoc.claims c CROSS JOIN unnest(c.org_ids, c.message_ids) AS i (org_id, id)
        JOIN byoc.messages m ON m.org_id = i.org_id AND m.id = i.id AND m.claim_id = c.id
        WHERE i.org_id BETWEEN low AND high AND NOT byoc.is_reconciling(i.org_id, i.id, c.id)
        UNION ALL
        SELECT r.org_id, r.credential_id, 0, 0, 1, 0
        FROM byoc.reconciliations r JOIN byoc.messages m ON m.org_id = r.org_id AND m.id = r.message_id AND m.claim_id = r.claim_id
        WHERE r.org_id BETWEEN low AND high
        UNION ALL
        SELECT m.org_id, coalesce(m.used_credential_id, none), 0, 0, 0, 1
        FROM byoc.unknown_messages u JOIN byoc.messages m ON m.org_id = u.org_id AND m.id = u.message_id AND m.status = 'unknown'
        WHERE u.org_id BETWEEN low AND high
        UNION ALL
        SELECT l.org_id, l.lane, 0, 0, 0, 0 FROM byoc.lanes l
        WHERE l.failures > 0 AND l.failures >= byoc.breaker_threshold() AND l.org_id BETWEEN low AND high
    ), lane AS (
        SELECT w.org_id, w.lane, sum(w.scheduled)::bigint AS scheduled, sum(w.sending)::bigint AS sending, sum(w.reconciling)::bigint AS reconciling,
               sum(w.unknown)::bigint AS unknown
        FROM work w GROUP BY w.org_id, w.lane
    )
    SELECT w.org_id, nullif(w.lane, none), coalesce(k.fields ->> 'messaging_service_sid', k.fields ->> 'phone_number'),
           (SELECT count(*) FROM (SELECT FROM byoc.queue q WHERE q.org_id = w.org_id AND q.lane = w.lane LIMIT most) AS n),
           (SELECT greatest(interval '0', clock_timestamp() - greatest(q.created_at, q.send_at)) FROM byoc.queue q
            WHERE q.org_id = w.org_id AND q.lane = w.lane ORDER BY q.id LIMIT 1),
           w.scheduled, w.sending, w.reconciling, w.unknown,
           CASE WHEN coalesce(l.failures, 0) < byoc.breaker_threshold() THEN 'closed' WHEN s.waits THEN 'open' ELSE 'half_open' END,
           coalesce(l.failures, 0), l.busy IS TRUE AND s.waits AND NOT l.barred AND l.failures < byoc.breaker_threshold(),
           CASE WHEN s.waits THEN l.next_at END,
           (SELECT c.waiting_reason FROM byoc.senders c
            WHERE c.org_id = w.org_id AND (c.id = w.lane OR c.is_default) ORDER BY c.id = w.lane DESC LIMIT 1)
    FROM lane w
    LEFT JOIN byoc.lanes l ON l.org_id = w.org_id AND l.lane = w.lane
    CROSS JOIN LATERAL (SELECT coalesce(l.next_at > clock_timestamp(), false) AS waits) AS s
    LEFT JOIN byoc.organization_api_credentials k ON k.org_id = w.org_id AND k.id = w.lane;
END
$$;
COMMENT ON FUNCTION byoc.queue_health() IS
    'What byoc.queue_health shows: the rows of the tenant context''s organization, or without one, to who may call byoc.stats(), all.';

CREATE VIEW byoc.queue_health AS SELECT h.* FROM byoc.queue_health() AS h;
COMMENT ON VIEW byoc.queue_health IS 'Lanes (organization and credential) that have work or trouble. Counts of messages that wait end at 10,000.';
COMMENT ON COLUMN byoc.queue_health.credential_id IS 'NULL: the organization had no credential when its messages were queued.';
COMMENT ON COLUMN byoc.queue_health.sender IS 'The credential''s Messaging Service SID, or else its phone number.';
COMMENT ON COLUMN byoc.queue_health.waiting IS 'Messages that can be sent now.';
COMMENT ON COLUMN byoc.queue_health.oldest_waiting IS 'How long the first of them has been waiting.';
COMMENT ON COLUMN byoc.queue_health.scheduled IS 'Messages that wait for their time: for send_at, or to be tried again.';
COMMENT ON COLUMN byoc.queue_health.sending IS 'Messages that a dispatcher is sending.';
COMMENT ON COLUMN byoc.queue_health.reconciling IS 'Messages that were perhaps sent and are looked for in the account''s message list.';
COMMENT ON COLUMN byoc.queue_health.unknown IS 'Messages that wait for byoc.resolve_unknown_sms().';
COMMENT ON COLUMN byoc.queue_health.breaker IS
    'closed; open: the provider failed byoc.breaker_threshold() times in a row, nothing is sent until next_at; half_open: one message at a time tries the way.';
COMMENT ON COLUMN byoc.queue_health.failures IS 'Failures of the provider in a row.';
COMMENT ON COLUMN byoc.queue_health.limited IS 'The lane waits until next_at: its sender''s limit is reached, or the provider asked for a pause.';
COMMENT ON COLUMN byoc.queue_health.next_at IS 'When the next message may go out, or when it is looked at again whether one may; NULL: now.';
COMMENT ON COLUMN byoc.queue_health.paused IS 'Why nothing is sent until the credential is verified; NULL: it may send.';
COMMENT ON COLUMN byoc.queue_health.org_id IS 'The organization.';

-- Totals

CREATE FUNCTION byoc.queue_totals()
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
COMMENT ON FUNCTION byoc.queue_totals() IS
    'For byocd: what byoc.stats shows of now, without the last hour, which would be read anew for each scrape of its metrics; breakers_open does not '
    'count those that are half open.';

CREATE FUNCTION byoc.stats()
RETURNS TABLE (waiting bigint, oldest_waiting_seconds double precision, scheduled bigint, due bigint, sending bigint, reconciling bigint, unknown bigint,
               breakers_open bigint, lanes_limited bigint, lanes_paused bigint, dispatchers_sending bigint, dispatchers_sleeping integer, sent_last_hour bigint,
               failed_last_hour bigint, expired_last_hour bigint, unknown_last_hour bigint, credentials_pending bigint,
               credentials_verified bigint, credentials_failed bigint, fallback_senders bigint, fallback_last_hour bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET jit = off
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT t.waiting, t.oldest_waiting_seconds, t.scheduled, t.due, t.sending, t.reconciling, t.unknown, t.breakers_open + t.breakers_half_open,
           t.lanes_limited, t.lanes_paused, t.dispatchers_sending, t.dispatchers_sleeping, d.sent, d.failed, d.expired, d.unknown,
           t.credentials_pending, t.credentials_verified, t.credentials_failed, t.fallback_senders, d.by_fallback
    FROM byoc.queue_totals() AS t,
         (SELECT count(*) FILTER (WHERE m.status IN ('sent', 'delivered')) AS sent, count(*) FILTER (WHERE m.status IN ('failed', 'undelivered')) AS failed,
                 count(*) FILTER (WHERE m.status = 'expired') AS expired, count(*) FILTER (WHERE m.status = 'unknown') AS unknown,
                 count(*) FILTER (WHERE m.used_credential_id = '00000000-0000-0000-0000-000000000000') AS by_fallback
          FROM byoc.messages m WHERE m.claimed_at >= now() - interval '1 hour') AS d;
END
$$;
COMMENT ON FUNCTION byoc.stats() IS 'What byoc.stats shows; for byocd, which may read no view.';

CREATE VIEW byoc.stats AS SELECT s.* FROM byoc.stats() AS s;
COMMENT ON VIEW byoc.stats IS
    'Totals of all organizations, one row. What was finished in the last hour is counted among messages that were claimed in it (refused and '
    'cancelled ones never were): reading those is most of its cost.';
COMMENT ON COLUMN byoc.stats.oldest_waiting_seconds IS 'Age of the oldest message that could be sent now (not of those in paused lanes); NULL: none waits.';
COMMENT ON COLUMN byoc.stats.scheduled IS 'Messages whose time has not come: for send_at, or to be tried again.';
COMMENT ON COLUMN byoc.stats.due IS 'Messages whose time has come, and which no claim has moved to the queue yet.';
COMMENT ON COLUMN byoc.stats.breakers_open IS 'Lanes whose provider failed byoc.breaker_threshold() times in a row and has not answered since.';
COMMENT ON COLUMN byoc.stats.lanes_limited IS 'Lanes that wait for their sender''s limit, or because the provider asked for a pause.';
COMMENT ON COLUMN byoc.stats.lanes_paused IS 'Lanes with messages that wait for their credential to be verified.';
COMMENT ON COLUMN byoc.stats.dispatchers_sending IS 'Dispatchers that hold a lease.';
COMMENT ON COLUMN byoc.stats.dispatchers_sleeping IS
    'Dispatchers that wait for work; one that still waits for answers may be counted in both. None in either: nothing is sent.';
COMMENT ON COLUMN byoc.stats.sent_last_hour IS 'Accepted by the provider, delivered or not yet.';
COMMENT ON COLUMN byoc.stats.fallback_senders IS
    'Accounts in the environments of byocds that were told to use them for organizations without a credential; 0: nobody falls back.';
COMMENT ON COLUMN byoc.stats.fallback_last_hour IS 'Messages whose last attempt was made with one of them, whatever became of it.';
COMMENT ON COLUMN byoc.stats.credentials_pending IS 'Active credentials that were not verified yet.';
COMMENT ON COLUMN byoc.stats.waiting IS 'Messages in the queue, those of paused lanes included.';
COMMENT ON COLUMN byoc.stats.sending IS 'Messages that dispatchers are sending.';
COMMENT ON COLUMN byoc.stats.reconciling IS 'Messages that were perhaps sent and are looked for in the accounts'' message lists.';
COMMENT ON COLUMN byoc.stats.unknown IS 'Messages that wait for byoc.resolve_unknown_sms().';
COMMENT ON COLUMN byoc.stats.failed_last_hour IS 'Failed or undelivered.';
COMMENT ON COLUMN byoc.stats.expired_last_hour IS 'Not sent before their time ran out.';
COMMENT ON COLUMN byoc.stats.unknown_last_hour IS 'Nobody knows whether they were sent.';
COMMENT ON COLUMN byoc.stats.credentials_verified IS 'Active credentials that may send.';
COMMENT ON COLUMN byoc.stats.credentials_failed IS 'Active credentials that the provider refused: their messages wait.';
