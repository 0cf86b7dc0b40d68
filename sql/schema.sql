-- The schema, the contract's version, and what C gives to SQL: tenant context, ciphers, ids, wake-up.

-- What is there before this script begins, for the end of privileges.sql: nothing, unless it is an upgrade's.
SELECT pg_catalog.set_config('pg_byoc.existing', coalesce(array_agg(o.class || ' ' || o.oid), '{}')::text, true)
FROM pg_catalog.pg_namespace n,
     LATERAL (SELECT n.tableoid::regclass AS class, n.oid
              UNION ALL SELECT p.tableoid, p.oid FROM pg_catalog.pg_proc p WHERE p.pronamespace = n.oid
              UNION ALL SELECT c.tableoid, c.oid FROM pg_catalog.pg_class c WHERE c.relnamespace = n.oid
              UNION ALL SELECT t.tableoid, t.oid FROM pg_catalog.pg_type t WHERE t.typnamespace = n.oid) AS o
WHERE n.nspname = 'byoc';

DO $$
BEGIN
    IF pg_catalog.getdatabaseencoding() <> 'UTF8' THEN
        RAISE EXCEPTION 'pg_byoc needs a database with encoding UTF8, this one has %', pg_catalog.getdatabaseencoding()
            USING ERRCODE = 'feature_not_supported';
    END IF;
END
$$;

CREATE SCHEMA byoc;
COMMENT ON SCHEMA byoc IS 'pg_byoc: provider credentials per organization, and what is sent with them';

CREATE FUNCTION byoc.api_version() RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN 1;
COMMENT ON FUNCTION byoc.api_version() IS
    'Version of the contract between the database and byocd; byocd checks it at every connect.';

CREATE FUNCTION byoc.oldest_api_version() RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN 1;
COMMENT ON FUNCTION byoc.oldest_api_version() IS
    'The oldest version of the contract that the database still keeps: a byocd that speaks it, or a later one up to byoc.api_version(), may go on.';

-- Tenant context

CREATE FUNCTION byoc.current_org_id() RETURNS uuid
LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'byoc_current_org_id';
COMMENT ON FUNCTION byoc.current_org_id() IS
    'The organization that the session acts for, proved by byoc.token; NULL without a context, error 28000 when it has expired.';

CREATE FUNCTION byoc.current_user_id() RETURNS text
LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'byoc_current_user_id';
COMMENT ON FUNCTION byoc.current_user_id() IS 'The application''s user of the tenant context; NULL when none is named.';

CREATE FUNCTION byoc.current_org_role() RETURNS text
LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'byoc_current_org_role';
COMMENT ON FUNCTION byoc.current_org_role() IS 'The user''s role in the organization: owner, admin or member; NULL without a context.';

CREATE FUNCTION byoc.set_org(org_id uuid, user_id text DEFAULT NULL, org_role text DEFAULT 'member', local boolean DEFAULT true)
RETURNS uuid
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'byoc_set_org';
COMMENT ON FUNCTION byoc.set_org(uuid, text, text, boolean) IS
    'For trusted back ends: sets the tenant context for this transaction (local) or session, for at most 15 minutes. Returns the organization.';

CREATE FUNCTION byoc.authenticate(token text) RETURNS uuid
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'byoc_authenticate';
COMMENT ON FUNCTION byoc.authenticate(text) IS
    'Verifies a JSON Web Token with the keys of byoc.jwks_file and sets the tenant context for this transaction. Returns the organization; raises 28000 for a token that is not good.';

CREATE FUNCTION byoc.sees_all_organizations() RETURNS boolean
LANGUAGE c STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'byoc_sees_all_organizations';
COMMENT ON FUNCTION byoc.sees_all_organizations() IS
    'True for a role that bypasses row-level security and has set no tenant context: the views then show every organization.';

CREATE FUNCTION byoc.require_organization(org_id uuid, least_role text DEFAULT 'member') RETURNS void
LANGUAGE c STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'byoc_require_organization';
COMMENT ON FUNCTION byoc.require_organization(uuid, text) IS
    'Raises 28000 without a tenant context, 42501 when it is of another organization or its role is below least_role.';

CREATE FUNCTION byoc.invoking_role() RETURNS regrole
LANGUAGE c STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'byoc_invoking_role';
COMMENT ON FUNCTION byoc.invoking_role() IS 'The role that runs the statement, also when seen from a SECURITY DEFINER function.';

-- Encryption

CREATE FUNCTION byoc.encrypt(org_id uuid, plaintext text, context text DEFAULT '') RETURNS bytea
LANGUAGE c VOLATILE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'byoc_encrypt';
COMMENT ON FUNCTION byoc.encrypt(uuid, text, text) IS
    'Encrypts with the organization''s own key (AES-256-GCM, NIST SP 800-38D). Decrypting needs the same organization and context.';

CREATE FUNCTION byoc.decrypt(org_id uuid, ciphertext bytea, context text DEFAULT '') RETURNS text
LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'byoc_decrypt';
COMMENT ON FUNCTION byoc.decrypt(uuid, bytea, text) IS
    'Decrypts what byoc.encrypt made. Another organization, context or key, or an altered byte, raises 22000; never a wrong plaintext.';

CREATE FUNCTION byoc.encrypt_bytes(org_id uuid, plaintext bytea, context text DEFAULT '') RETURNS bytea
LANGUAGE c VOLATILE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'byoc_encrypt';
COMMENT ON FUNCTION byoc.encrypt_bytes(uuid, bytea, text) IS 'byoc.encrypt for bytes.';

CREATE FUNCTION byoc.decrypt_bytes(org_id uuid, ciphertext bytea, context text DEFAULT '') RETURNS bytea
LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'byoc_decrypt_bytes';
COMMENT ON FUNCTION byoc.decrypt_bytes(uuid, bytea, text) IS 'byoc.decrypt for bytes.';

CREATE FUNCTION byoc.seal(org_id uuid, place text, row_id uuid, plaintext text) RETURNS bytea
LANGUAGE c VOLATILE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'byoc_seal';
COMMENT ON FUNCTION byoc.seal(uuid, text, uuid, text) IS
    'Internal: encrypts a value of the extension''s own tables, bound to organization, place (table.column) and row. No access check.';

CREATE FUNCTION byoc.unseal(org_id uuid, place text, row_id uuid, envelope bytea) RETURNS text
LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'byoc_unseal';
COMMENT ON FUNCTION byoc.unseal(uuid, text, uuid, bytea) IS 'Internal: decrypts what byoc.seal made. No access check.';

CREATE FUNCTION byoc.new_data_key(org_id uuid, key_id integer, OUT wrapping_key_id text, OUT wrapped_key bytea)
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'byoc_new_data_key';
COMMENT ON FUNCTION byoc.new_data_key(uuid, integer) IS
    'Internal: a fresh random data key, wrapped by the key ring''s active master key.';

CREATE FUNCTION byoc.reseal(org_id uuid, place text, row_id uuid, envelope bytea) RETURNS bytea
LANGUAGE c VOLATILE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'byoc_reseal';
COMMENT ON FUNCTION byoc.reseal(uuid, text, uuid, bytea) IS
    'Internal: what byoc.seal made, sealed anew with the organization''s active key. No access check.';

CREATE FUNCTION byoc.envelope_key_id(ciphertext bytea) RETURNS integer
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'byoc_envelope_key_id';
COMMENT ON FUNCTION byoc.envelope_key_id(bytea) IS
    'Id of the organization''s key that byoc.encrypt used: finds envelopes in an application''s own columns that an old key holds. '
    'Raises 22000 for anything that is not an envelope.';

CREATE FUNCTION byoc.rewrap_data_key(org_id uuid, key_id integer, old_wrapped_key bytea, OUT wrapping_key_id text, OUT wrapped_key bytea)
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'byoc_rewrap_data_key';
COMMENT ON FUNCTION byoc.rewrap_data_key(uuid, integer, bytea) IS
    'Internal: the same data key, wrapped by the key ring''s active master key.';

-- Master keys

CREATE FUNCTION byoc.keyring() RETURNS TABLE (id text, state text, created text)
LANGUAGE c VOLATILE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'byoc_keyring';
COMMENT ON FUNCTION byoc.keyring() IS 'Ids, states (active, retired) and dates of the master keys in the key ring; never a key.';

CREATE FUNCTION byoc.load_keyring() RETURNS text
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'byoc_load_keyring';
COMMENT ON FUNCTION byoc.load_keyring() IS 'Internal: what byoc.reload_keyring() does, without an audit entry.';

-- Ids, look-ups and wake-up

CREATE FUNCTION byoc.uuid_v7() RETURNS uuid
LANGUAGE c VOLATILE PARALLEL SAFE AS 'MODULE_PATHNAME', 'byoc_uuid_v7';
COMMENT ON FUNCTION byoc.uuid_v7() IS 'A UUID version 7 (RFC 9562): ids that sort by time of creation.';

CREATE FUNCTION byoc.forget_lookups() RETURNS trigger
LANGUAGE c AS 'MODULE_PATHNAME', 'byoc_forget_lookups';
COMMENT ON FUNCTION byoc.forget_lookups() IS
    'Internal: makes every backend forget what it looked up in the table when the change commits. Where its trigger is missing or disabled, nothing is remembered.';

CREATE FUNCTION byoc.announce_sleep() RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'byoc_announce_sleep';
COMMENT ON FUNCTION byoc.announce_sleep() IS
    'Internal: from now on transactions that enqueue send a NOTIFY on byoc_jobs; those that were committing without one are waited for.';

CREATE FUNCTION byoc.end_sleep() RETURNS boolean
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'byoc_end_sleep';
COMMENT ON FUNCTION byoc.end_sleep() IS 'Internal: this session needs no NOTIFY any more; true when it slept until now.';

CREATE FUNCTION byoc.sleeping_dispatchers() RETURNS integer
LANGUAGE c VOLATILE PARALLEL SAFE AS 'MODULE_PATHNAME', 'byoc_sleeping_dispatchers';
COMMENT ON FUNCTION byoc.sleeping_dispatchers() IS
    'Internal: how many sessions wait for a NOTIFY on byoc_jobs; NULL in a database beyond the 64 that the server keeps count of.';

CREATE FUNCTION byoc.has_wakeups(full_lanes uuid[] DEFAULT '{}') RETURNS boolean
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'byoc_has_wakeups';
COMMENT ON FUNCTION byoc.has_wakeups(uuid[]) IS 'Internal: true while a lane waits for byoc.take_lanes() that is none of full_lanes.';

CREATE FUNCTION byoc.take_lanes(most integer DEFAULT 2147483647, full_lanes uuid[] DEFAULT '{}',
                                OUT org_ids uuid[], OUT lanes uuid[], OUT from_ids uuid[], OUT overflowed boolean)
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'byoc_take_lanes';
COMMENT ON FUNCTION byoc.take_lanes(integer, uuid[]) IS
    'Internal: takes lanes that have work, none of full_lanes and at most so many: those that have waited longest, each with the first message '
    'meant. Until this transaction ends no other gets them, then they are idle unless byoc.pass_on_lane() says otherwise; they come back when it fails. '
    'overflowed: there were more than the 2048 that fit, so byoc.sweep_lanes() has to look for the rest.';

CREATE FUNCTION byoc.pass_on_lane(org_id uuid, lane uuid, from_id uuid) RETURNS void
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'byoc_pass_on_lane';
COMMENT ON FUNCTION byoc.pass_on_lane(uuid, uuid, uuid) IS
    'Internal: the lane has work from this message on, as will be known when this transaction commits.';

CREATE FUNCTION byoc.note_lanes(org_ids uuid[], lanes uuid[], from_ids uuid[]) RETURNS integer
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'byoc_note_lanes';
COMMENT ON FUNCTION byoc.note_lanes(uuid[], uuid[], uuid[]) IS
    'Internal: these lanes have work from these messages on, as everybody can see already; returns of how many that is news.';

CREATE FUNCTION byoc.is_sweep_due() RETURNS boolean
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'byoc_is_sweep_due';
COMMENT ON FUNCTION byoc.is_sweep_due() IS 'Internal: true once a second, for a dispatcher that is too busy to sleep; less often where the sweep that follows takes long.';

CREATE FUNCTION byoc.wake_dispatcher(org_id uuid) RETURNS void
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'byoc_wake_dispatcher';
COMMENT ON FUNCTION byoc.wake_dispatcher(uuid) IS 'Internal: this transaction left work for the dispatcher.';
