-- The audit trail. Each entry carries a MAC of its own, keyed by a data key of the installation (organization_keys of the nil
-- UUID) that no SQL function uses for anything else. Entries wait in audit_unsealed until a sealer, about a second later, puts
-- them under one chain an organization. Actions of no organization are those of the nil UUID.

-- extension/audit.cpp writes the columns by position.
CREATE TABLE byoc.audit_entries (
    org_id uuid NOT NULL,
    id uuid NOT NULL,
    at timestamptz NOT NULL,
    action text NOT NULL,
    object_id uuid,
    details jsonb,
    role text,
    session_role text,
    user_id text,
    org_role text,
    client_addr inet,
    application_name text,
    pid integer NOT NULL,
    after_seal bigint NOT NULL,
    mac bytea NOT NULL,
    PRIMARY KEY (org_id, id)
);
COMMENT ON TABLE byoc.audit_entries IS 'Who did what, when and from where. Read it through byoc.audit_log.';
COMMENT ON COLUMN byoc.audit_entries.org_id IS 'The organization; the nil UUID for the installation itself.';
COMMENT ON COLUMN byoc.audit_entries.after_seal IS 'How many seals the chain had: the entry cannot stand in one of those.';
COMMENT ON COLUMN byoc.audit_entries.mac IS 'HMAC-SHA256 over all other columns.';

CREATE TABLE byoc.audit_unsealed (
    org_id uuid NOT NULL,
    id uuid NOT NULL,
    PRIMARY KEY (org_id, id)
);
COMMENT ON TABLE byoc.audit_unsealed IS 'Entries that wait for byoc.seal_audit_log().';

-- extension/audit_seals.cpp writes the columns of both by position.
CREATE TABLE byoc.audit_seals (
    org_id uuid NOT NULL,
    n bigint NOT NULL CHECK (n > 0),
    entries uuid[] NOT NULL,
    sealed_at timestamptz NOT NULL,
    digest bytea NOT NULL,
    PRIMARY KEY (org_id, n)
);
COMMENT ON TABLE byoc.audit_seals IS 'The chains: each digest covers its entries and the digest before it.';
COMMENT ON COLUMN byoc.audit_seals.n IS 'Counts from 1 within the organization.';
COMMENT ON COLUMN byoc.audit_seals.digest IS 'HMAC-SHA256 over organization, n, previous digest, time, and each entry''s id and MAC.';

CREATE TABLE byoc.audit_chain_heads (
    org_id uuid PRIMARY KEY,
    n bigint NOT NULL,
    digest bytea NOT NULL,
    last_entry uuid NOT NULL,
    sealed_at timestamptz NOT NULL,
    mac bytea NOT NULL
);
COMMENT ON TABLE byoc.audit_chain_heads IS 'Where each chain ends, so that missing last seals are found.';
COMMENT ON COLUMN byoc.audit_chain_heads.mac IS 'HMAC-SHA256 over all other columns.';

ALTER TABLE byoc.audit_entries ENABLE ROW LEVEL SECURITY;
ALTER TABLE byoc.audit_unsealed ENABLE ROW LEVEL SECURITY;
ALTER TABLE byoc.audit_seals ENABLE ROW LEVEL SECURITY;
ALTER TABLE byoc.audit_chain_heads ENABLE ROW LEVEL SECURITY;
SELECT pg_extension_config_dump('byoc.audit_entries', '');
SELECT pg_extension_config_dump('byoc.audit_unsealed', '');
SELECT pg_extension_config_dump('byoc.audit_seals', '');
SELECT pg_extension_config_dump('byoc.audit_chain_heads', '');

CREATE FUNCTION byoc.refuse_audit_change() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RAISE EXCEPTION '% of %.% is refused: the audit trail only grows', TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege';
END
$$;
COMMENT ON FUNCTION byoc.refuse_audit_change() IS
    'Internal: raises 42501. A table''s owner can disable the triggers; byoc.verify_audit_log() finds what was done then.';

CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON byoc.audit_entries
FOR EACH STATEMENT EXECUTE FUNCTION byoc.refuse_audit_change();
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON byoc.audit_seals
FOR EACH STATEMENT EXECUTE FUNCTION byoc.refuse_audit_change();
CREATE TRIGGER refuse_change BEFORE DELETE OR TRUNCATE ON byoc.audit_chain_heads
FOR EACH STATEMENT EXECUTE FUNCTION byoc.refuse_audit_change();
CREATE TRIGGER refuse_change BEFORE TRUNCATE ON byoc.audit_unsealed
FOR EACH STATEMENT EXECUTE FUNCTION byoc.refuse_audit_change();

-- Writing

CREATE FUNCTION byoc.audit(org_id uuid, action text, object_id uuid DEFAULT NULL, details jsonb DEFAULT NULL) RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'byoc_audit';
COMMENT ON FUNCTION byoc.audit(uuid, text, uuid, jsonb) IS
    'Internal: appends an entry of the current session to the audit trail; org_id NULL: of the installation. Raises when that fails.';

CREATE FUNCTION byoc.audit_if_possible(action text, details jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM byoc.audit(NULL, action, NULL, details);
EXCEPTION WHEN data_exception OR config_file_error THEN
    RAISE LOG 'pg_byoc audit: % % by % could not be recorded: %', action, details, byoc.invoking_role(), SQLERRM;
END
$$;
COMMENT ON FUNCTION byoc.audit_if_possible(text, jsonb) IS
    'Internal: byoc.audit for what must work without a key ring that fits; then the server''s log has it.';

CREATE FUNCTION byoc.audit_organization_change() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM byoc.audit(NEW.id, 'organization.changed', NULL, jsonb_build_object('fields',
        to_jsonb(array_remove(ARRAY[CASE WHEN NEW.name IS DISTINCT FROM OLD.name THEN 'name' END,
                                    CASE WHEN NEW.settings IS DISTINCT FROM OLD.settings THEN 'settings' END], NULL))));
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION byoc.audit_organization_change() IS 'Internal: records which columns of an organization changed.';

CREATE TRIGGER audit_change AFTER UPDATE ON byoc.organizations FOR EACH ROW
WHEN (NEW.name IS DISTINCT FROM OLD.name OR NEW.settings IS DISTINCT FROM OLD.settings)
EXECUTE FUNCTION byoc.audit_organization_change();

-- Sealing

CREATE FUNCTION byoc.seal_audit_log() RETURNS integer
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'byoc_seal_audit_log';
COMMENT ON FUNCTION byoc.seal_audit_log() IS
    'Seals entries that wait, refused tokens among them, and returns how many: call it until 0. byocd does so each second; what is '
    'taken away before that is not noticed. An organization whose chain was tampered with is passed over.';

-- Verifying

CREATE FUNCTION byoc.is_authentic_entry(entry byoc.audit_entries) RETURNS boolean
LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'byoc_is_authentic_entry';
COMMENT ON FUNCTION byoc.is_authentic_entry(byoc.audit_entries) IS 'Internal: whether the entry is as it was written.';

CREATE FUNCTION byoc.is_authentic_seal(seal byoc.audit_seals, previous bytea, macs bytea[]) RETURNS boolean
LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'byoc_is_authentic_seal';
COMMENT ON FUNCTION byoc.is_authentic_seal(byoc.audit_seals, bytea, bytea[]) IS
    'Internal: whether the seal is as it was written, after the given digest and over entries with these MACs.';

CREATE FUNCTION byoc.is_authentic_head(head byoc.audit_chain_heads) RETURNS boolean
LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'byoc_is_authentic_head';
COMMENT ON FUNCTION byoc.is_authentic_head(byoc.audit_chain_heads) IS 'Internal: whether the head is as it was written.';

-- The first of an organization's entries that are in no seal although they should be: it does not wait for one, was altered,
-- belongs to a seal that is gone; or waits, but is gone itself.
CREATE FUNCTION byoc.first_stray_entry(org_id uuid, seals bigint) RETURNS uuid
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT s.id FROM (
        SELECT e.id FROM byoc.audit_entries e LEFT JOIN byoc.audit_unsealed w ON w.org_id = e.org_id AND w.id = e.id
        WHERE e.org_id = first_stray_entry.org_id
          AND e.id IN (SELECT a.id FROM byoc.audit_entries a WHERE a.org_id = first_stray_entry.org_id
                       EXCEPT SELECT unnest(l.entries) FROM byoc.audit_seals l WHERE l.org_id = first_stray_entry.org_id)
          AND (w.id IS NULL OR e.after_seal > first_stray_entry.seals OR NOT byoc.is_authentic_entry(e))
        UNION ALL
        SELECT w.id FROM byoc.audit_unsealed w
        WHERE w.org_id = first_stray_entry.org_id
          AND NOT EXISTS (SELECT FROM byoc.audit_entries e WHERE e.org_id = w.org_id AND e.id = w.id)) AS s
    ORDER BY s.id LIMIT 1;
END;
COMMENT ON FUNCTION byoc.first_stray_entry(uuid, bigint) IS 'Internal: an entry outside of a chain of so many seals (NULL: any number) that was tampered with; NULL: none.';

CREATE FUNCTION byoc.first_broken_entry(org_id uuid, n bigint, digest bytea) RETURNS uuid
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    link record;
    head byoc.audit_chain_heads;
    last_n bigint := 0;
    last_digest bytea;
    last_entry uuid;
BEGIN
    FOR link IN
        SELECT s AS seal, c.macs, c.broken
        FROM byoc.audit_seals s CROSS JOIN LATERAL (
            SELECT array_agg(e.mac ORDER BY i.place) AS macs,
                   (array_agg(i.id ORDER BY i.place) FILTER (WHERE e.id IS NULL OR e.after_seal >= s.n OR NOT byoc.is_authentic_entry(e)))[1] AS broken
            FROM unnest(s.entries) WITH ORDINALITY AS i (id, place)
            LEFT JOIN byoc.audit_entries e ON e.org_id = s.org_id AND e.id = i.id) AS c
        WHERE s.org_id = first_broken_entry.org_id ORDER BY s.n
    LOOP
        IF (link.seal).n <> last_n + 1 THEN
            RETURN coalesce(byoc.first_stray_entry(org_id, NULL), (link.seal).entries[1], org_id);
        ELSIF link.broken IS NOT NULL THEN
            RETURN link.broken;
        ELSIF NOT byoc.is_authentic_seal(link.seal, last_digest, link.macs)
              OR (first_broken_entry.n = (link.seal).n AND first_broken_entry.digest IS DISTINCT FROM (link.seal).digest) THEN
            RETURN coalesce((link.seal).entries[1], org_id);
        END IF;
        last_n := (link.seal).n;
        last_digest := (link.seal).digest;
        last_entry := (link.seal).entries[array_upper((link.seal).entries, 1)];
    END LOOP;
    SELECT * INTO head FROM byoc.audit_chain_heads h WHERE h.org_id = first_broken_entry.org_id;
    IF (head.n, head.digest) IS DISTINCT FROM (nullif(last_n, 0), last_digest) OR (head.org_id IS NOT NULL AND NOT byoc.is_authentic_head(head))
       OR first_broken_entry.n > last_n OR first_broken_entry.n < 1 THEN
        RETURN coalesce(byoc.first_stray_entry(org_id, NULL),
                        CASE WHEN head.n > last_n AND byoc.is_authentic_head(head) THEN head.last_entry END,
                        byoc.first_stray_entry(org_id, last_n), last_entry, org_id);
    END IF;
    IF EXISTS (SELECT FROM byoc.organization_keys k WHERE k.org_id = first_broken_entry.org_id)
       AND NOT EXISTS (SELECT FROM byoc.audit_entries e WHERE e.org_id = first_broken_entry.org_id
                       AND e.action IN ('organization.created', 'audit.started')) THEN
        RETURN coalesce(byoc.first_stray_entry(org_id, last_n), org_id);
    END IF;
    RETURN byoc.first_stray_entry(org_id, last_n);
END
$$;
COMMENT ON FUNCTION byoc.first_broken_entry(uuid, bigint, bytea) IS
    'Internal: follows an organization''s chain, which must hold seal n with this digest unless they are NULL. Returns the first entry '
    'that is not as it was written, the organization''s id when its name cannot be known any more, or NULL.';

CREATE FUNCTION byoc.verify_audit_log(org_id uuid DEFAULT NULL, n bigint DEFAULT NULL, digest bytea DEFAULT NULL)
RETURNS TABLE (org_id uuid, entries bigint, first_broken uuid)
LANGUAGE sql STABLE SECURITY DEFINER
BEGIN ATOMIC
    SELECT o.org_id, (SELECT count(*) FROM byoc.audit_entries e WHERE e.org_id = o.org_id),
           byoc.first_broken_entry(o.org_id, $2, $3)
    FROM (SELECT k.org_id FROM byoc.organization_keys k UNION SELECT a.org_id FROM byoc.audit_entries a
          UNION SELECT s.org_id FROM byoc.audit_seals s UNION SELECT h.org_id FROM byoc.audit_chain_heads h
          UNION SELECT w.org_id FROM byoc.audit_unsealed w UNION SELECT $1 WHERE $1 IS NOT NULL) AS o
    WHERE $1 IS NULL OR o.org_id = $1
    ORDER BY o.org_id;
END;
COMMENT ON FUNCTION byoc.verify_audit_log(uuid, bigint, bytea) IS
    'One row an organization (the nil UUID: the installation): how many entries it has, and the first that was edited, taken away, '
    'put in or moved; NULL: all as written. With a head that byoc.audit_heads gave earlier (n, digest): whether the chain still holds it. '
    'Where no entry can be named any more, first_broken is the organization''s id.';

-- Reading

CREATE VIEW byoc.audit_heads AS
SELECT h.org_id, h.n, h.digest, h.last_entry, h.sealed_at FROM byoc.audit_chain_heads h;
COMMENT ON VIEW byoc.audit_heads IS
    'Where each organization''s chain ends. Keep copies outside of the database: byoc.verify_audit_log(org_id, n, digest) proves that '
    'the chain still holds what it held then.';
COMMENT ON COLUMN byoc.audit_heads.org_id IS 'The organization; the nil UUID for the installation itself.';
COMMENT ON COLUMN byoc.audit_heads.n IS 'How many seals the chain has.';
COMMENT ON COLUMN byoc.audit_heads.digest IS 'Of its last seal: covers all entries up to it.';
COMMENT ON COLUMN byoc.audit_heads.last_entry IS 'Id of the last entry that it covers.';
COMMENT ON COLUMN byoc.audit_heads.sealed_at IS 'When that was sealed.';

-- WITH barrier: see views.sql.
CREATE VIEW byoc.audit_log WITH (security_barrier) AS
WITH barrier AS (SELECT)
SELECT e.id, e.org_id, e.at, e.action, e.object_id, e.details, e.role, e.session_role, e.user_id, e.org_role,
       e.client_addr, e.application_name, e.pid
FROM byoc.audit_entries e
WHERE e.org_id = (SELECT byoc.current_org_id()) AND (SELECT byoc.current_org_role() IN ('owner', 'admin'))
UNION ALL
SELECT e.id, e.org_id, e.at, e.action, e.object_id, e.details, e.role, e.session_role, e.user_id, e.org_role,
       e.client_addr, e.application_name, e.pid
FROM byoc.audit_entries e
WHERE (SELECT byoc.current_org_id() IS NULL
              AND (byoc.sees_all_organizations()
                   OR has_function_privilege('byoc.verify_audit_log(uuid, bigint, bytea)'::regprocedure, 'EXECUTE')));
COMMENT ON VIEW byoc.audit_log IS
    'The audit trail: who did what, when and from where. Owners and admins see their organization''s, auditors all. '
    'ORDER BY at: ids rise within a session only.';
COMMENT ON COLUMN byoc.audit_log.org_id IS 'The organization; the nil UUID for the installation itself.';
COMMENT ON COLUMN byoc.audit_log.object_id IS 'The credential concerned; NULL when it is the organization itself.';
COMMENT ON COLUMN byoc.audit_log.details IS 'Names and numbers, never a secret.';
COMMENT ON COLUMN byoc.audit_log.role IS 'The database role in force, as SET ROLE left it.';
COMMENT ON COLUMN byoc.audit_log.session_role IS 'The database role that logged in.';
COMMENT ON COLUMN byoc.audit_log.user_id IS 'The application''s user, as the tenant context proved it.';
COMMENT ON COLUMN byoc.audit_log.client_addr IS 'NULL for a Unix-domain socket.';
COMMENT ON COLUMN byoc.audit_log.id IS 'The entry.';
COMMENT ON COLUMN byoc.audit_log.at IS 'When it was done.';
COMMENT ON COLUMN byoc.audit_log.action IS 'What was done: see doc/audit.md.';
COMMENT ON COLUMN byoc.audit_log.org_role IS 'The user''s role in the organization, as the tenant context proved it.';
COMMENT ON COLUMN byoc.audit_log.application_name IS 'The session''s application_name.';
COMMENT ON COLUMN byoc.audit_log.pid IS 'Process id of the session.';

CREATE FUNCTION byoc.decrypted_fields(org_id uuid, id uuid, version integer, envelope bytea) RETURNS jsonb
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'byoc_decrypted_fields';
COMMENT ON FUNCTION byoc.decrypted_fields(uuid, uuid, integer, bytea) IS
    'Internal: a credential''s fields in plaintext, for those who may read byoc.decrypted_credentials; writes an audit entry and a line to '
    'the server''s log.';

-- Volatile: the function runs once for each row that is read, whether its result is used or not.
CREATE VIEW byoc.decrypted_credentials WITH (security_barrier) AS
WITH barrier AS (SELECT)
SELECT a.id, a.org_id, a.credential_type, a.display_name, byoc.decrypted_fields(a.org_id, a.id, a.version, a.encrypted_fields) AS fields,
       a.is_active, a.is_default, a.verification_status, a.verification_error, a.last_verified_at, a.created_by, a.created_at, a.updated_at, a.verification_note
FROM (
    SELECT c.* FROM byoc.organization_api_credentials c WHERE c.org_id = (SELECT byoc.current_org_id())
    UNION ALL
    SELECT c.* FROM byoc.organization_api_credentials c WHERE (SELECT byoc.sees_all_organizations())) AS a;
COMMENT ON VIEW byoc.decrypted_credentials IS
    'byoc.credentials with secrets in plaintext; fields is NULL once revoked. No byoc.grant_* opens it: GRANT SELECT to a tenant role that '
    'must have it. Each row that is read is recorded in byoc.audit_log and at once in the server''s log; where that is impossible '
    '(a read-only transaction), reading fails.';

CREATE POLICY audited ON byoc.organizations FOR SELECT
    USING ((SELECT has_function_privilege('byoc.verify_audit_log(uuid, bigint, bytea)'::regprocedure, 'EXECUTE')));
