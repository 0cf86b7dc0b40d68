-- What byocd tells a monitoring system besides byoc.queue_totals(): the state of keys, and whether this database may be sent from.

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
