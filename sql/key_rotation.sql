-- What happens to keys in their lives. Master keys: load, re-wrap, remove. Data keys: rotate, re-encrypt, destroy. All of it is
-- online: a key that is on its way out opens envelopes until nothing needs it.

CREATE VIEW byoc.master_keys AS
SELECT coalesce(r.id, w.id) AS id, coalesce(r.state, 'missing') AS state, r.created, coalesce(w.data_keys, 0) AS data_keys
FROM byoc.keyring() AS r
FULL JOIN (SELECT k.wrapping_key_id AS id, count(*) AS data_keys FROM byoc.organization_keys k
           WHERE k.wrapped_key IS NOT NULL GROUP BY k.wrapping_key_id) AS w ON w.id = r.id;
COMMENT ON VIEW byoc.master_keys IS
    'Master keys: active, retired (may leave the key ring once data_keys is 0 in every database) or missing from the key ring.';
COMMENT ON COLUMN byoc.master_keys.data_keys IS 'How many of this database''s data keys it wraps.';
COMMENT ON COLUMN byoc.master_keys.id IS 'Its name in the key ring.';
COMMENT ON COLUMN byoc.master_keys.state IS 'active: wraps new data keys. retired: still unwraps. missing: what it wrapped cannot be opened.';
COMMENT ON COLUMN byoc.master_keys.created IS 'When it was made, as the key ring says.';

CREATE VIEW byoc.key_status AS
SELECT k.org_id, k.key_id, k.state, k.created_at, CASE WHEN k.wrapped_key IS NOT NULL THEN k.wrapping_key_id END AS master_key_id,
       CASE WHEN k.wrapped_key IS NOT NULL THEN coalesce(r.state, 'missing') END AS master_key_state,
       k.wrapped_key IS NOT NULL AND r.state IS DISTINCT FROM 'active' AS needs_rewrap,
       coalesce(c.credentials, 0) AS credentials,
       CASE k.state WHEN 'retired' THEN coalesce(c.credentials, 0) ELSE 0 END AS credentials_to_reencrypt
FROM byoc.organization_keys k
LEFT JOIN byoc.keyring() AS r ON r.id = k.wrapping_key_id
LEFT JOIN (SELECT a.org_id, byoc.envelope_key_id(a.encrypted_fields) AS key_id, count(*) AS credentials
           FROM byoc.organization_api_credentials a WHERE a.encrypted_fields IS NOT NULL
           GROUP BY a.org_id, byoc.envelope_key_id(a.encrypted_fields)) AS c ON c.org_id = k.org_id AND c.key_id = k.key_id;
COMMENT ON VIEW byoc.key_status IS
    'Data keys of all organizations, and of the installation (nil UUID: it signs the audit trail): which master key wraps each, what byoc.rewrap_keys() and byoc.reencrypt() still have to do. '
    'Envelopes in an application''s own columns are not counted: byoc.envelope_key_id() finds those.';
COMMENT ON COLUMN byoc.key_status.state IS 'active: encrypts. retired: still decrypts. destroyed: what it encrypted is lost.';
COMMENT ON COLUMN byoc.key_status.master_key_state IS 'active, retired, or missing from the key ring; NULL once the data key is destroyed.';
COMMENT ON COLUMN byoc.key_status.credentials IS 'Credentials that it encrypts.';
COMMENT ON COLUMN byoc.key_status.org_id IS 'The organization; the nil UUID for the installation itself.';
COMMENT ON COLUMN byoc.key_status.key_id IS 'Counts from 1 within the organization.';
COMMENT ON COLUMN byoc.key_status.created_at IS 'When it was made.';
COMMENT ON COLUMN byoc.key_status.master_key_id IS 'Master key that wraps it; NULL: destroyed.';
COMMENT ON COLUMN byoc.key_status.needs_rewrap IS 'byoc.rewrap_keys() has it still to do.';
COMMENT ON COLUMN byoc.key_status.credentials_to_reencrypt IS 'Credentials that byoc.reencrypt() has still to do.';

CREATE FUNCTION byoc.reload_keyring() RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    active text;
BEGIN
    active := byoc.load_keyring();
    PERFORM byoc.audit_if_possible('keyring.reloaded', jsonb_build_object('active', active));
    RETURN active;
END
$$;
COMMENT ON FUNCTION byoc.reload_keyring() IS
    'Reads byoc.keyring_file or runs byoc.keyring_command again, for the whole server and at once: a rollback does not undo it. '
    'Returns the active master key''s id. A ring that cannot be read, or from which a master key was removed that still wraps '
    'data keys in any database of the server, is refused with the list, and the old one stays in force.';

CREATE FUNCTION byoc.require_master_keys() RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    missing text;
BEGIN
    SELECT string_agg(format('%s (wraps %s data keys)', m.id, m.data_keys), ', ' ORDER BY m.id) INTO missing
    FROM byoc.master_keys m WHERE m.state = 'missing';
    IF missing IS NOT NULL THEN
        RAISE EXCEPTION 'the key ring lacks master keys that are in use: %', missing
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'Put them back into the key ring and call byoc.reload_keyring(). Nothing is lost while they exist somewhere.';
    END IF;
END
$$;
COMMENT ON FUNCTION byoc.require_master_keys() IS 'Internal: raises 55000 with a list when data keys are wrapped by master keys that the key ring lacks.';

CREATE FUNCTION byoc.rewrap_keys() RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    batch_size CONSTANT integer := 1000;
    active text;
    retired text[];
    rewrapped integer;
    remaining bigint;
BEGIN
    SELECT max(r.id) FILTER (WHERE r.state = 'active'), array_agg(r.id) FILTER (WHERE r.state = 'retired')
    INTO active, retired FROM byoc.keyring() AS r;
    WITH batch AS MATERIALIZED (
        SELECT k.org_id, k.key_id, k.wrapped_key FROM byoc.organization_keys k
        WHERE k.wrapped_key IS NOT NULL AND k.wrapping_key_id = ANY (retired)
        LIMIT batch_size FOR UPDATE SKIP LOCKED
    ), fresh AS MATERIALIZED (
        SELECT b.org_id, b.key_id, r.wrapping_key_id, r.wrapped_key
        FROM batch b CROSS JOIN LATERAL byoc.rewrap_data_key(b.org_id, b.key_id, b.wrapped_key) AS r
    )
    UPDATE byoc.organization_keys k SET wrapping_key_id = f.wrapping_key_id, wrapped_key = f.wrapped_key
    FROM fresh f WHERE k.org_id = f.org_id AND k.key_id = f.key_id;
    GET DIAGNOSTICS rewrapped = ROW_COUNT;
    SELECT count(*) INTO remaining FROM byoc.organization_keys k WHERE k.wrapped_key IS NOT NULL AND k.wrapping_key_id <> active;
    IF rewrapped = 0 AND remaining > 0 THEN
        PERFORM byoc.require_master_keys(); -- else a concurrent call has the rest
    ELSIF rewrapped > 0 THEN
        PERFORM byoc.audit(NULL, 'keys.rewrapped', NULL, jsonb_build_object('count', rewrapped, 'remaining', remaining, 'active', active));
    END IF;
    RETURN remaining;
END
$$;
COMMENT ON FUNCTION byoc.rewrap_keys() IS
    'After a new master key: wraps up to 1,000 data keys by the active one and returns how many remain. Call it, each time in a '
    'transaction of its own, until it returns 0; then the old master key may leave the key ring. Touches no credential.';

-- Locks an organization against other changes of its keys and credentials.
CREATE FUNCTION byoc.lock_organization(id uuid) RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    organization byoc.organizations;
BEGIN
    SELECT * INTO organization FROM byoc.organizations o WHERE o.id = lock_organization.id FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'organization % does not exist', id USING ERRCODE = 'no_data_found';
    ELSIF organization.shredded_at IS NOT NULL THEN
        RAISE EXCEPTION 'organization % was shredded at %', id, organization.shredded_at USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
END
$$;
COMMENT ON FUNCTION byoc.lock_organization(uuid) IS 'Internal: locks a living organization''s row; raises P0002 or 55000 when there is none.';

CREATE FUNCTION byoc.rotate_organization_key(org_id uuid) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    new_id integer;
BEGIN
    PERFORM byoc.lock_organization(org_id);
    SELECT max(k.key_id) + 1 INTO new_id FROM byoc.organization_keys k WHERE k.org_id = rotate_organization_key.org_id;
    UPDATE byoc.organization_keys k SET state = 'retired' WHERE k.org_id = rotate_organization_key.org_id AND k.state = 'active';
    INSERT INTO byoc.organization_keys (org_id, key_id, wrapping_key_id, wrapped_key, state)
    SELECT rotate_organization_key.org_id, new_id, k.wrapping_key_id, k.wrapped_key, 'active'
    FROM byoc.new_data_key(rotate_organization_key.org_id, new_id) AS k;
    PERFORM byoc.audit(org_id, 'key.rotated', NULL, jsonb_build_object('key_id', new_id));
    RETURN new_id;
END
$$;
COMMENT ON FUNCTION byoc.rotate_organization_key(uuid) IS
    'Gives the organization a new data key for everything encrypted from now on; returns its id. The old one still decrypts: go on '
    'with byoc.reencrypt().';

CREATE FUNCTION byoc.reencrypt(org_id uuid, batch integer DEFAULT 1000) RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    active integer;
    reencrypted integer;
    remaining bigint;
BEGIN
    IF batch IS NULL OR batch < 1 THEN
        RAISE EXCEPTION 'batch must be 1 or more, not %', batch USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM byoc.lock_organization(org_id);
    SELECT k.key_id INTO active FROM byoc.organization_keys k WHERE k.org_id = reencrypt.org_id AND k.state = 'active';
    -- The version stays: what dispatchers have opened is still right.
    UPDATE byoc.organization_api_credentials c
    SET encrypted_fields = byoc.reseal(c.org_id, 'organization_api_credentials.encrypted_fields', c.id, c.encrypted_fields)
    WHERE c.org_id = reencrypt.org_id
      AND c.id IN (SELECT o.id FROM byoc.organization_api_credentials o
                   WHERE o.org_id = reencrypt.org_id AND o.encrypted_fields IS NOT NULL
                     AND byoc.envelope_key_id(o.encrypted_fields) <> active LIMIT reencrypt.batch);
    GET DIAGNOSTICS reencrypted = ROW_COUNT;
    SELECT count(*) INTO remaining FROM byoc.organization_api_credentials c
    WHERE c.org_id = reencrypt.org_id AND c.encrypted_fields IS NOT NULL AND byoc.envelope_key_id(c.encrypted_fields) <> active;
    IF reencrypted > 0 THEN
        PERFORM byoc.audit(org_id, 'credentials.reencrypted', NULL,
                           jsonb_build_object('count', reencrypted, 'remaining', remaining, 'key_id', active));
    END IF;
    RETURN remaining;
END
$$;
COMMENT ON FUNCTION byoc.reencrypt(uuid, integer) IS
    'Encrypts up to `batch` of the organization''s credentials with its active key and returns how many remain: call it until 0. '
    'For your own columns: `UPDATE ... SET c = byoc.encrypt(org_id, byoc.decrypt(org_id, c)) WHERE byoc.envelope_key_id(c) < active_key_id`.';

CREATE FUNCTION byoc.destroy_unused_key(org_id uuid, key_id integer) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    key byoc.organization_keys;
    used bigint;
BEGIN
    PERFORM byoc.lock_organization(org_id);
    SELECT * INTO key FROM byoc.organization_keys k
    WHERE k.org_id = destroy_unused_key.org_id AND k.key_id = destroy_unused_key.key_id;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'organization % has no key %', org_id, key_id USING ERRCODE = 'no_data_found';
    ELSIF key.state <> 'retired' THEN
        RAISE EXCEPTION 'key % of organization % is %, not retired', key_id, org_id, key.state
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    SELECT count(*) INTO used FROM byoc.organization_api_credentials c
    WHERE c.org_id = destroy_unused_key.org_id AND c.encrypted_fields IS NOT NULL
      AND byoc.envelope_key_id(c.encrypted_fields) = destroy_unused_key.key_id;
    IF used > 0 THEN
        RAISE EXCEPTION 'key % of organization % still encrypts % credential(s)', key_id, org_id, used
            USING ERRCODE = 'object_in_use', HINT = 'Call byoc.reencrypt(org_id) until it returns 0.';
    END IF;
    UPDATE byoc.organization_keys k SET wrapped_key = NULL, state = 'destroyed'
    WHERE k.org_id = destroy_unused_key.org_id AND k.key_id = destroy_unused_key.key_id;
    PERFORM byoc.audit(org_id, 'key.destroyed', NULL, jsonb_build_object('key_id', key_id));
END
$$;
COMMENT ON FUNCTION byoc.destroy_unused_key(uuid, integer) IS
    'Destroys a retired data key for good. By calling it you declare that none of your own columns holds its envelopes any more: '
    'credentials are checked, yours cannot be (byoc.envelope_key_id() finds them).';

CREATE FUNCTION byoc.shred_organization(id uuid) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    reason CONSTANT text := 'the organization was shredded';
BEGIN
    PERFORM byoc.lock_organization(id);
    UPDATE byoc.organization_keys k SET wrapped_key = NULL, state = 'destroyed' WHERE k.org_id = shred_organization.id;
    UPDATE byoc.organization_api_credentials c
    SET is_active = false, is_default = false, encrypted_fields = NULL, version = c.version + 1, verification_due_at = NULL, updated_at = now()
    WHERE c.org_id = shred_organization.id AND c.is_active;
    DELETE FROM byoc.oauth_states s WHERE s.org_id = shred_organization.id;
    DELETE FROM byoc.provider_revocations r WHERE r.org_id = shred_organization.id;
    -- Those that are being sent end with their outcome; whatever comes back from them finds no credential.
    WITH unsent AS (
        DELETE FROM byoc.schedule s WHERE s.org_id = shred_organization.id
        RETURNING s.org_id, s.id, s.to_number, s.body, s.segments, s.credential_id, s.attempts, s.source_table, s.idempotency_key, s.created_at, s.send_at, s.expires_at
    ), queued AS (
        DELETE FROM byoc.queue q WHERE q.org_id = shred_organization.id
        RETURNING q.org_id, q.id, q.to_number, q.body, q.segments, q.credential_id, q.attempts, q.source_table, q.idempotency_key, q.created_at, q.send_at, q.expires_at
    ), paused AS (
        UPDATE byoc.messages m SET status = 'cancelled', finished_at = clock_timestamp(), error_code = 'shredded', error_message = reason
        WHERE m.org_id = shred_organization.id AND m.status IN ('queued', 'scheduled')
        RETURNING m.org_id, m.id, m.attempts
    ), stored AS (
        INSERT INTO byoc.messages (org_id, id, to_number, body, segments, credential_id, attempts, source_table, idempotency_key, created_at, send_at,
                                   expires_at, status, finished_at, error_code, error_message)
        SELECT u.*, 'cancelled', clock_timestamp(), 'shredded', reason FROM (TABLE unsent UNION ALL TABLE queued) AS u
        RETURNING org_id, id, attempts
    )
    INSERT INTO byoc.message_events (org_id, message_id, id, event, attempt, error_code, error_message)
    SELECT s.org_id, s.id, byoc.uuid_v7(), 'cancelled', s.attempts, 'shredded', reason FROM (TABLE stored UNION ALL TABLE paused) AS s;
    UPDATE byoc.calls c SET status = 'cancelled', due_at = NULL, finished_at = clock_timestamp(), error_code = 'shredded', error_message = reason
    WHERE c.org_id = shred_organization.id AND c.status IN ('available', 'retryable', 'paused');
    UPDATE byoc.organizations o SET shredded_at = clock_timestamp() WHERE o.id = shred_organization.id;
    PERFORM byoc.audit(id, 'organization.shredded');
END
$$;
COMMENT ON FUNCTION byoc.shred_organization(uuid) IS
    'Destroys the organization''s keys: every secret of it, also in your own columns, is unreadable for good, in every session once '
    'this commits. Its credentials are revoked, its waiting messages and calls cancelled; ids, names, message history and audit trail stay. Backups and WAL '
    'still hold the wrapped key: they are final only once the master key that wrapped it is destroyed too.';
