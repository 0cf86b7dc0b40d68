-- What byocd tells a monitoring system besides byoc.queue_totals(): the state of keys, how long messages take, calls, and whether
-- this database may be sent from.

CREATE FUNCTION byoc.key_totals()
RETURNS TABLE (master_keys_active bigint, master_keys_retired bigint, master_keys_missing bigint, data_keys_active bigint, data_keys_retired bigint,
               data_keys_destroyed bigint, data_keys_to_rewrap bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    active text[];
    retired text[];
BEGIN
    BEGIN
        SELECT array_agg(r.id) FILTER (WHERE r.state = 'active'), array_agg(r.id) FILTER (WHERE r.state = 'retired') INTO active, retired
        FROM byoc.keyring() AS r;
    EXCEPTION WHEN config_file_error THEN
        NULL; -- no key ring: every master key that is in use is missing
    END;
    RETURN QUERY
    SELECT coalesce(cardinality(active), 0)::bigint, coalesce(cardinality(retired), 0)::bigint,
           count(DISTINCT k.wrapping_key_id) FILTER (WHERE k.wrapped AND k.wrapping_key_id <> ALL (coalesce(active, '{}') || coalesce(retired, '{}'))),
           coalesce(sum(k.keys) FILTER (WHERE k.state = 'active'), 0)::bigint, coalesce(sum(k.keys) FILTER (WHERE k.state = 'retired'), 0)::bigint,
           coalesce(sum(k.keys) FILTER (WHERE k.state = 'destroyed'), 0)::bigint,
           coalesce(sum(k.keys) FILTER (WHERE k.wrapped AND k.wrapping_key_id <> ALL (coalesce(active, '{}'))), 0)::bigint
    FROM (SELECT o.wrapping_key_id, o.state, o.wrapped_key IS NOT NULL AS wrapped, count(*) AS keys
          FROM byoc.organization_keys o GROUP BY 1, 2, 3) AS k;
END
$$;
COMMENT ON FUNCTION byoc.key_totals() IS
    'For byocd: how many keys there are by state. Master keys that wrap a data key and are not in the key ring are missing; data_keys_to_rewrap: those '
    'that the active master key does not wrap.';

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

CREATE FUNCTION byoc.readiness() RETURNS TABLE (adopted boolean, keyring boolean)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $$
BEGIN
    RETURN QUERY
    SELECT byoc.is_adopted(), k.master_keys_active = 1 AND k.master_keys_missing = 0 FROM byoc.key_totals() AS k;
END
$$;
COMMENT ON FUNCTION byoc.readiness() IS
    'For byocd: whether this database may be sent from (it is no copy that nobody adopted), and whether the key ring has an active master key and all that are in use.';
