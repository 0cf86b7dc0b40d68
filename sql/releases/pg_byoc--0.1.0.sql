\echo Use "CREATE EXTENSION pg_byoc" to load this file. \quit

-- sql/schema.sql

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

-- Ids and wake-up

CREATE FUNCTION byoc.uuid_v7() RETURNS uuid
LANGUAGE c VOLATILE PARALLEL SAFE AS 'MODULE_PATHNAME', 'byoc_uuid_v7';
COMMENT ON FUNCTION byoc.uuid_v7() IS 'A UUID version 7 (RFC 9562): ids that sort by time of creation.';

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
COMMENT ON FUNCTION byoc.is_sweep_due() IS 'Internal: true once a second, for a dispatcher that is too busy to sleep.';

CREATE FUNCTION byoc.wake_dispatcher(org_id uuid) RETURNS void
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'byoc_wake_dispatcher';
COMMENT ON FUNCTION byoc.wake_dispatcher(uuid) IS 'Internal: this transaction left work for the dispatcher.';

-- sql/providers.sql

-- What a provider's credential consists of, and what a provider's errors mean. Shipped rows are never dumped (the
-- extension's script makes them again); the DBA's changes are, and the views show both as one.

CREATE TABLE byoc.shipped_providers (
    name text PRIMARY KEY,
    fields jsonb NOT NULL,
    alternatives jsonb NOT NULL
);
COMMENT ON TABLE byoc.shipped_providers IS 'Providers that this release knows. Read-only: change them through byoc.provider_overrides.';
COMMENT ON COLUMN byoc.shipped_providers.fields IS
    'Per field: title, required, secret, pattern (regular expression) and must_be, the pattern in words.';
COMMENT ON COLUMN byoc.shipped_providers.alternatives IS
    'List of choices; of each choice exactly one list of fields must be given in full, and nothing of the others.';
ALTER TABLE byoc.shipped_providers ENABLE ROW LEVEL SECURITY;

CREATE TABLE byoc.provider_overrides (
    name text PRIMARY KEY,
    enabled boolean NOT NULL DEFAULT true,
    fields jsonb CHECK (jsonb_typeof(fields) = 'object')
);
COMMENT ON TABLE byoc.provider_overrides IS
    'The DBA''s changes to shipped providers: switched off, or other fields. NULL fields: as shipped.';
COMMENT ON COLUMN byoc.provider_overrides.name IS 'The provider.';
COMMENT ON COLUMN byoc.provider_overrides.enabled IS 'false: no credential of it can be added.';
COMMENT ON COLUMN byoc.provider_overrides.fields IS 'Instead of the shipped ones, in the form of byoc.providers; NULL: as shipped.';
ALTER TABLE byoc.provider_overrides ENABLE ROW LEVEL SECURITY;
CREATE POLICY by_grant ON byoc.provider_overrides USING (true); -- they belong to no organization
SELECT pg_extension_config_dump('byoc.provider_overrides', '');

CREATE VIEW byoc.providers AS
SELECT s.name, coalesce(o.fields, s.fields) AS fields, s.alternatives, coalesce(o.enabled, true) AS enabled
FROM byoc.shipped_providers s
LEFT JOIN byoc.provider_overrides o ON o.name = s.name;
COMMENT ON VIEW byoc.providers IS 'Providers as shipped, with byoc.provider_overrides applied.';
COMMENT ON COLUMN byoc.providers.name IS 'What credential_type says.';
COMMENT ON COLUMN byoc.providers.fields IS 'By field: title, required, secret, and pattern (a regular expression), which must_be puts in words.';
COMMENT ON COLUMN byoc.providers.alternatives IS
    'List of choices; of each choice exactly one list of fields must be given in full, and nothing of the others.';
COMMENT ON COLUMN byoc.providers.enabled IS 'false: switched off by byoc.provider_overrides; no credential of it can be added.';

INSERT INTO byoc.shipped_providers (name, fields, alternatives) VALUES
('twilio', '{
  "account_sid": {"title": "Account SID", "required": true, "secret": false,
    "pattern": "^AC[0-9a-fA-F]{32}$", "must_be": "AC followed by 32 hexadecimal digits"},
  "auth_token": {"title": "Auth token", "required": false, "secret": true,
    "pattern": "^[0-9a-zA-Z]{32}$", "must_be": "32 letters and digits"},
  "api_key_sid": {"title": "API key SID", "required": false, "secret": false,
    "pattern": "^SK[0-9a-fA-F]{32}$", "must_be": "SK followed by 32 hexadecimal digits"},
  "api_key_secret": {"title": "API key secret", "required": false, "secret": true,
    "pattern": "^[0-9a-zA-Z]{32}$", "must_be": "32 letters and digits"},
  "phone_number": {"title": "Phone number", "required": false, "secret": false,
    "pattern": "^\\+[1-9][0-9]{6,14}$", "must_be": "an E.164 number such as +14155550100"},
  "messaging_service_sid": {"title": "Messaging Service SID", "required": false, "secret": false,
    "pattern": "^MG[0-9a-fA-F]{32}$", "must_be": "MG followed by 32 hexadecimal digits"},
  "region": {"title": "Region", "required": false, "secret": false,
    "pattern": "^[a-z]{2}[0-9]{1,2}$", "must_be": "a Twilio region such as ie1"},
  "edge": {"title": "Edge location", "required": false, "secret": false,
    "pattern": "^[a-z]{3,20}(-[a-z]{2,10})?$", "must_be": "a Twilio edge location such as dublin"}
 }', '[[["auth_token"], ["api_key_sid", "api_key_secret"]], [["phone_number"], ["messaging_service_sid"]]]'),
('google_calendar', '{
  "account": {"title": "Google account", "required": false, "secret": false,
    "pattern": "^[!-~]+@[!-~]+$", "must_be": "the account''s mail address"},
  "client_id": {"title": "Client ID", "required": false, "secret": false, "pattern": "^[!-~]+$", "must_be": "printable ASCII without blanks"},
  "client_secret": {"title": "Client secret", "required": false, "secret": true, "pattern": "^[!-~]+$", "must_be": "printable ASCII without blanks"},
  "refresh_token": {"title": "Refresh token", "required": false, "secret": true, "pattern": "^[!-~]+$", "must_be": "printable ASCII without blanks"},
  "calendar_id": {"title": "Calendar ID", "required": false, "secret": false, "pattern": "^[!-~]+$", "must_be": "printable ASCII without blanks"}
 }', '[]'),
('stripe', '{
  "secret_key": {"title": "Secret key", "required": true, "secret": true,
    "pattern": "^(sk|rk)_(test|live)_[0-9a-zA-Z]{10,247}$", "must_be": "a key that begins with sk_test_, sk_live_, rk_test_ or rk_live_"}
 }', '[]'),
('webhook', '{
  "url": {"title": "URL", "required": true, "secret": false,
    "pattern": "^https?://[^/?#@\\\\\\s]+([/?][!-~]*)?$", "must_be": "an address such as https://app.example.org/webhooks, without a user name"},
  "secret": {"title": "Signing secret", "required": true, "secret": true,
    "pattern": "^whsec_([A-Za-z0-9+/]{4}){8,21}([A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{2}==)?$", "must_be": "the prefix whsec_ with 24 to 64 random bytes in base64"},
  "previous_secret": {"title": "Previous signing secret", "required": false, "secret": true,
    "pattern": "^whsec_([A-Za-z0-9+/]{4}){8,21}([A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{2}==)?$", "must_be": "the prefix whsec_ with 24 to 64 random bytes in base64"}
 }', '[]');

CREATE TABLE byoc.shipped_provider_errors (
    provider text NOT NULL,
    code text NOT NULL,
    class text NOT NULL,
    title text NOT NULL,
    PRIMARY KEY (provider, code)
);
COMMENT ON TABLE byoc.shipped_provider_errors IS
    'Provider error codes that this release knows (Twilio: https://www.twilio.com/docs/api/errors). Change them through byoc.provider_error_overrides.';
ALTER TABLE byoc.shipped_provider_errors ENABLE ROW LEVEL SECURITY;

CREATE DOMAIN byoc.error_class AS text
    CHECK (VALUE IN ('retry_later', 'resend', 'pause_credential', 'permanent_recipient', 'permanent_message'));
COMMENT ON DOMAIN byoc.error_class IS
    'What an error means: retry_later (tried again while the message may be), resend (accepted, then failed: sent again as often as '
    'byoc.resend_schedule() says), pause_credential (the tenant has to mend something), permanent_recipient, permanent_message.';
ALTER TABLE byoc.shipped_provider_errors ALTER COLUMN class TYPE byoc.error_class;

CREATE TABLE byoc.provider_error_overrides (
    provider text NOT NULL,
    code text NOT NULL,
    class byoc.error_class NOT NULL,
    title text,
    PRIMARY KEY (provider, code)
);
COMMENT ON TABLE byoc.provider_error_overrides IS 'The DBA''s own classes: for codes that are not shipped, or instead of the shipped class.';
COMMENT ON COLUMN byoc.provider_error_overrides.provider IS 'The provider.';
COMMENT ON COLUMN byoc.provider_error_overrides.code IS 'The provider''s error code.';
COMMENT ON COLUMN byoc.provider_error_overrides.class IS 'What is made of it.';
COMMENT ON COLUMN byoc.provider_error_overrides.title IS 'What people are told; NULL: as shipped.';
ALTER TABLE byoc.provider_error_overrides ENABLE ROW LEVEL SECURITY;
CREATE POLICY by_grant ON byoc.provider_error_overrides USING (true); -- they belong to no organization
SELECT pg_extension_config_dump('byoc.provider_error_overrides', '');

CREATE VIEW byoc.provider_errors AS
SELECT coalesce(o.provider, s.provider) AS provider, coalesce(o.code, s.code) AS code, coalesce(o.class, s.class) AS class,
       coalesce(o.title, s.title) AS title
FROM byoc.shipped_provider_errors s
FULL JOIN byoc.provider_error_overrides o ON o.provider = s.provider AND o.code = s.code;
COMMENT ON VIEW byoc.provider_errors IS 'Error codes and their class as shipped, with byoc.provider_error_overrides applied.';
COMMENT ON COLUMN byoc.provider_errors.provider IS 'The provider.';
COMMENT ON COLUMN byoc.provider_errors.code IS 'The provider''s error code.';
COMMENT ON COLUMN byoc.provider_errors.class IS 'What is made of it: see doc/errors.md.';
COMMENT ON COLUMN byoc.provider_errors.title IS 'What it means.';

INSERT INTO byoc.shipped_provider_errors (provider, code, class, title) VALUES
('twilio', '20429', 'retry_later', 'too many requests'),
('twilio', '21611', 'retry_later', 'the sender''s queue is full'),
('twilio', '63038', 'retry_later', 'daily message cap reached'),
('twilio', '30022', 'retry_later', 'carrier rate limit reached'),
('twilio', '30023', 'retry_later', 'carrier daily cap reached'),
('twilio', '30027', 'retry_later', 'carrier daily cap reached (T-Mobile)'),
('twilio', '30001', 'resend', 'queue overflow'),
('twilio', '30003', 'resend', 'handset unreachable'),
('twilio', '30008', 'resend', 'unknown delivery error'),
('twilio', '30410', 'resend', 'provider timeout'),
('twilio', '20003', 'pause_credential', 'wrong account SID or token'),
('twilio', '21212', 'pause_credential', 'the sender is not a valid number'),
('twilio', '21606', 'pause_credential', 'the sender does not belong to the account'),
('twilio', '21701', 'pause_credential', 'the Messaging Service does not exist'),
('twilio', '21703', 'pause_credential', 'the Messaging Service has no sender'),
('twilio', '21704', 'pause_credential', 'the Messaging Service has no sender for the recipient'),
('twilio', '21705', 'pause_credential', 'the Messaging Service is invalid'),
('twilio', '30002', 'pause_credential', 'account suspended'),
('twilio', '30032', 'pause_credential', 'toll-free number not verified'),
('twilio', '30034', 'pause_credential', 'number not registered for A2P 10DLC'),
('twilio', '21211', 'permanent_recipient', 'the recipient is not a valid number'),
('twilio', '21408', 'permanent_recipient', 'the recipient''s region is not enabled in the account'),
('twilio', '21608', 'permanent_recipient', 'trial account: the recipient is not verified'),
('twilio', '21610', 'permanent_recipient', 'the recipient has opted out'),
('twilio', '21612', 'permanent_recipient', 'the recipient cannot be reached from this sender'),
('twilio', '21614', 'permanent_recipient', 'the recipient is not a mobile number'),
('twilio', '30004', 'permanent_recipient', 'message blocked'),
('twilio', '30005', 'permanent_recipient', 'unknown handset'),
('twilio', '30006', 'permanent_recipient', 'landline or unreachable carrier'),
('twilio', '21602', 'permanent_message', 'empty body'),
('twilio', '21617', 'permanent_message', 'body too long'),
('twilio', '30007', 'permanent_message', 'filtered by the carrier'),
('webhook', 'refused', 'retry_later', 'the receiver did not take it'),
('webhook', 'http_410', 'pause_credential', 'the receiver wants no more webhooks'),
('webhook', 'address_not_permitted', 'pause_credential', 'the URL leads to an address that may not be called'),
('webhook', 'credential_incomplete', 'pause_credential', 'the URL or the secret is missing or malformed');

-- sql/organizations.sql

-- Organizations: the tenants. The nil UUID stands for the installation itself (see audit.sql) and can be none.

CREATE TABLE byoc.organizations (
    id uuid PRIMARY KEY CHECK (id <> '00000000-0000-0000-0000-000000000000'),
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    settings jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(settings) = 'object'),
    created_at timestamptz NOT NULL DEFAULT now(),
    shredded_at timestamptz
);
COMMENT ON TABLE byoc.organizations IS 'The tenants. Create them with byoc.create_organization, which also makes their key.';
COMMENT ON COLUMN byoc.organizations.settings IS 'What templates read as {{org.name}}, for example {"alert_phone": "+14155550100"}.';
COMMENT ON COLUMN byoc.organizations.shredded_at IS 'When the organization''s keys were destroyed; NULL while it lives.';
COMMENT ON COLUMN byoc.organizations.id IS 'The organization.';
COMMENT ON COLUMN byoc.organizations.name IS '1 to 200 characters.';
COMMENT ON COLUMN byoc.organizations.created_at IS 'When it was created.';
SELECT pg_extension_config_dump('byoc.organizations', '');

CREATE FUNCTION byoc.create_organization(name text, id uuid DEFAULT gen_random_uuid()) RETURNS uuid
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF name IS NULL OR length(name) NOT BETWEEN 1 AND 200 THEN
        RAISE EXCEPTION 'an organization''s name has 1 to 200 characters' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    INSERT INTO byoc.organizations (id, name) VALUES (create_organization.id, create_organization.name);
    INSERT INTO byoc.organization_keys (org_id, key_id, wrapping_key_id, wrapped_key, state)
    SELECT create_organization.id, 1, k.wrapping_key_id, k.wrapped_key, 'active'
    FROM byoc.new_data_key(create_organization.id, 1) AS k;
    PERFORM byoc.audit(create_organization.id, 'organization.created');
    RETURN create_organization.id;
END
$$;
COMMENT ON FUNCTION byoc.create_organization(text, uuid) IS 'Creates an organization with a data key of its own; returns its id.';

-- sql/keys.sql

-- The organizations' data keys, wrapped by a master key of the key ring. Rotation adds rows; shredding empties them.

CREATE TABLE byoc.organization_keys (
    org_id uuid NOT NULL,
    key_id integer NOT NULL CHECK (key_id > 0),
    wrapping_key_id text NOT NULL,
    wrapped_key bytea,
    state text NOT NULL CHECK (state IN ('active', 'retired', 'destroyed')),
    created_at timestamptz NOT NULL DEFAULT now(),
    organization uuid GENERATED ALWAYS AS (nullif(org_id, '00000000-0000-0000-0000-000000000000')) STORED REFERENCES byoc.organizations (id),
    PRIMARY KEY (org_id, key_id),
    CHECK ((wrapped_key IS NULL) = (state = 'destroyed'))
);
-- extension/data_keys.cpp reads the first five columns by position.
COMMENT ON TABLE byoc.organization_keys IS 'Data keys (DEK), one active for each organization, wrapped by a master key (KEK).';
COMMENT ON COLUMN byoc.organization_keys.org_id IS 'The organization; the nil UUID for the installation''s own key, which signs the audit trail.';
COMMENT ON COLUMN byoc.organization_keys.organization IS 'The organization; NULL for the installation''s own key.';
COMMENT ON COLUMN byoc.organization_keys.key_id IS 'Counts from 1 within the organization; stands in the header of every envelope.';
COMMENT ON COLUMN byoc.organization_keys.wrapping_key_id IS 'Id of the master key, as in the key ring.';
COMMENT ON COLUMN byoc.organization_keys.wrapped_key IS 'Envelope that holds the key; NULL once destroyed.';
CREATE UNIQUE INDEX organization_keys_one_active ON byoc.organization_keys (org_id) WHERE state = 'active';
CREATE INDEX organization_keys_wrapping ON byoc.organization_keys (wrapping_key_id) WHERE wrapped_key IS NOT NULL;
ALTER TABLE byoc.organization_keys ENABLE ROW LEVEL SECURITY;
SELECT pg_extension_config_dump('byoc.organization_keys', '');

CREATE FUNCTION byoc.data_keys_changed() RETURNS trigger
LANGUAGE c AS 'MODULE_PATHNAME', 'byoc_data_keys_changed';
COMMENT ON FUNCTION byoc.data_keys_changed() IS 'Internal: makes every backend drop its cached data keys when the change commits.';

CREATE TRIGGER data_keys_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON byoc.organization_keys
FOR EACH STATEMENT EXECUTE FUNCTION byoc.data_keys_changed();
ALTER TABLE byoc.organization_keys ENABLE ALWAYS TRIGGER data_keys_changed; -- also for replicated changes

-- sql/credential_fields.sql

-- A credential's fields: checked against byoc.providers, masked for lists, sealed for the table.

CREATE FUNCTION byoc.parse_fields(fields text) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE STRICT
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN fields::jsonb;
EXCEPTION WHEN data_exception THEN
    RAISE EXCEPTION 'fields is not valid JSON' USING ERRCODE = 'invalid_parameter_value';
END
$$;
COMMENT ON FUNCTION byoc.parse_fields(text) IS 'Internal: JSON text to jsonb with an error that does not quote the text.';

CREATE FUNCTION byoc.mask_secret(secret text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN '••••' || CASE WHEN length(secret) >= 12 THEN right(secret, 4) ELSE '' END;
COMMENT ON FUNCTION byoc.mask_secret(text) IS 'Internal: •••• and the last 4 characters; of a short secret nothing is shown.';

CREATE FUNCTION byoc.mask_fields(credential_type text, fields jsonb) RETURNS jsonb
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (SELECT coalesce(jsonb_object_agg(f.key,
                       CASE WHEN coalesce((p.fields -> f.key ->> 'secret')::boolean, true) THEN byoc.mask_secret(f.value) ELSE f.value END), '{}')
            FROM jsonb_each_text(mask_fields.fields) AS f
            JOIN byoc.providers p ON p.name = mask_fields.credential_type);
END
$$;
COMMENT ON FUNCTION byoc.mask_fields(text, jsonb) IS 'Internal: the fields as they may be shown.';

-- Raises 22023 with the field's name, also as COLUMN (fields.auth_token); never quotes a value.
CREATE FUNCTION byoc.check_fields(credential_type text, fields jsonb) RETURNS void
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    provider byoc.providers;
    field record;
    choice jsonb;
    complete integer;
    touched integer;
    wanted text;
BEGIN
    SELECT * INTO provider FROM byoc.providers p WHERE p.name = check_fields.credential_type AND p.enabled;
    IF NOT FOUND THEN
        -- What cannot be a type's name may be a secret in the wrong place.
        RAISE EXCEPTION 'unknown credential type%', CASE WHEN credential_type ~ '^[A-Za-z_]{1,40}$' THEN format(' "%s"', credential_type) ELSE '' END
            USING ERRCODE = 'invalid_parameter_value', COLUMN = 'credential_type',
                  HINT = 'Known are: ' || (SELECT string_agg(p.name, ', ' ORDER BY p.name) FROM byoc.providers p WHERE p.enabled) || '.';
    END IF;
    IF jsonb_typeof(fields) IS DISTINCT FROM 'object' THEN
        RAISE EXCEPTION 'fields must be a JSON object' USING ERRCODE = 'invalid_parameter_value', COLUMN = 'fields';
    END IF;
    FOR field IN SELECT f.key, f.value, provider.fields -> f.key AS rule FROM jsonb_each(fields) AS f LOOP
        IF field.rule IS NULL THEN
            -- A name that cannot be a field's may be a value in the wrong place.
            RAISE EXCEPTION '% has no field %', credential_type,
                CASE WHEN field.key ~ '^[a-z_]{1,40}$' THEN format('"%s"', field.key) ELSE 'of the given name' END
                USING ERRCODE = 'invalid_parameter_value', COLUMN = CASE WHEN field.key ~ '^[a-z_]{1,40}$' THEN 'fields.' || field.key ELSE 'fields' END,
                      HINT = 'Its fields are: ' || (SELECT string_agg(k, ', ' ORDER BY k) FROM jsonb_object_keys(provider.fields) AS k) || '.';
        ELSIF (field.rule ->> 'secret')::boolean AND field.value #>> '{}' LIKE '••••%' THEN
            RAISE EXCEPTION '% is a mask, not a secret', field.key
                USING ERRCODE = 'invalid_parameter_value', COLUMN = 'fields.' || field.key, HINT = 'Leave the field out to keep a stored secret, or give the new one in full.';
        ELSIF length(field.value #>> '{}') > 2048 THEN
            RAISE EXCEPTION '% is longer than 2,048 characters', field.key USING ERRCODE = 'invalid_parameter_value', COLUMN = 'fields.' || field.key;
        ELSIF jsonb_typeof(field.value) <> 'string' OR field.value #>> '{}' !~ (field.rule ->> 'pattern') THEN
            RAISE EXCEPTION '% must be %', field.key, field.rule ->> 'must_be' USING ERRCODE = 'invalid_parameter_value', COLUMN = 'fields.' || field.key;
        END IF;
    END LOOP;
    FOR field IN SELECT r.key FROM jsonb_each(provider.fields) AS r
                 WHERE (r.value ->> 'required')::boolean AND NOT fields ? r.key LOOP
        RAISE EXCEPTION '% is missing', field.key USING ERRCODE = 'invalid_parameter_value', COLUMN = 'fields.' || field.key;
    END LOOP;
    FOR choice IN SELECT c FROM jsonb_array_elements(provider.alternatives) AS c LOOP
        SELECT count(*) FILTER (WHERE fields ?& n.names), count(*) FILTER (WHERE fields ?| n.names), string_agg(array_to_string(n.names, ' and '), ', or ')
        INTO complete, touched, wanted
        FROM jsonb_array_elements(choice) AS o CROSS JOIN LATERAL (SELECT array(SELECT jsonb_array_elements_text(o))) AS n (names);
        IF touched > 1 THEN
            RAISE EXCEPTION '% needs either %', credential_type, wanted
                USING ERRCODE = 'invalid_parameter_value', COLUMN = 'fields',
                      HINT = 'Not parts of both: to change from one to the other, set the fields of the old one to null.';
        ELSIF complete <> 1 THEN
            RAISE EXCEPTION '% needs either %', credential_type, wanted USING ERRCODE = 'invalid_parameter_value', COLUMN = 'fields';
        END IF;
    END LOOP;
END
$$;
COMMENT ON FUNCTION byoc.check_fields(text, jsonb) IS 'Internal: raises 22023 naming the field that is unknown, missing or of the wrong form.';

CREATE FUNCTION byoc.check_display_name(display_name text) RETURNS void
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF length(display_name) NOT BETWEEN 1 AND 200 THEN
        RAISE EXCEPTION 'display_name must have 1 to 200 characters, not %', length(display_name)
            USING ERRCODE = 'invalid_parameter_value', COLUMN = 'display_name';
    ELSIF display_name !~ '[^[:space:]]' THEN
        RAISE EXCEPTION 'display_name must not be blank' USING ERRCODE = 'invalid_parameter_value', COLUMN = 'display_name';
    END IF;
END
$$;
COMMENT ON FUNCTION byoc.check_display_name(text) IS 'Internal: raises 22023 unless the name is NULL or has 1 to 200 characters, not all of them blank.';

CREATE FUNCTION byoc.seal_fields(org_id uuid, credential_id uuid, fields jsonb) RETURNS bytea
LANGUAGE sql VOLATILE STRICT
BEGIN ATOMIC
    SELECT byoc.seal(org_id, 'organization_api_credentials.encrypted_fields', credential_id, fields::text);
END;
COMMENT ON FUNCTION byoc.seal_fields(uuid, uuid, jsonb) IS 'Internal: the envelope of a credential''s fields.';

CREATE FUNCTION byoc.unseal_fields(org_id uuid, credential_id uuid, envelope bytea) RETURNS jsonb
LANGUAGE sql STABLE STRICT
BEGIN ATOMIC
    SELECT byoc.unseal(org_id, 'organization_api_credentials.encrypted_fields', credential_id, envelope)::jsonb;
END;
COMMENT ON FUNCTION byoc.unseal_fields(uuid, uuid, bytea) IS 'Internal: a credential''s fields in plaintext.';

-- sql/credentials.sql

-- Credentials. All fields are sealed in one envelope; `fields` holds what a list may show, secrets masked, so that a list
-- opens no envelope and what is sent with was authenticated.

CREATE TABLE byoc.organization_api_credentials (
    org_id uuid NOT NULL REFERENCES byoc.organizations (id),
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    credential_type text NOT NULL,
    display_name text NOT NULL CHECK (length(display_name) BETWEEN 1 AND 200),
    fields jsonb NOT NULL,
    encrypted_fields bytea,
    version integer NOT NULL DEFAULT 1,
    is_active boolean NOT NULL DEFAULT true,
    is_default boolean NOT NULL DEFAULT false,
    verification_status text NOT NULL DEFAULT 'pending' CHECK (verification_status IN ('pending', 'verified', 'failed')),
    verification_error text,
    verification_due_at timestamptz,
    verification_failures smallint NOT NULL DEFAULT 0,
    verification_note text,
    last_verified_at timestamptz,
    created_by text,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (org_id, id),
    CHECK (is_active = (encrypted_fields IS NOT NULL)),
    CHECK (is_active OR NOT is_default)
);
COMMENT ON TABLE byoc.organization_api_credentials IS
    'Credentials of the organizations: ciphertext and masks only. Tenants and applications use the view byoc.credentials.';
COMMENT ON COLUMN byoc.organization_api_credentials.fields IS 'What may be shown: public fields, and secret ones as •••• and their last 4 characters.';
COMMENT ON COLUMN byoc.organization_api_credentials.encrypted_fields IS
    'Envelope with all fields as JSON, bound to organization, this column and row; NULL once revoked.';
COMMENT ON COLUMN byoc.organization_api_credentials.version IS 'Rises with every change of fields, so that caches know.';
COMMENT ON COLUMN byoc.organization_api_credentials.verification_error IS
    'failed: what the tenant has to do. pending: why it could not be checked yet; NULL: it was not tried.';
COMMENT ON COLUMN byoc.organization_api_credentials.verification_due_at IS
    'When byocd should check it with the provider; -infinity: before all whose time merely came. NULL: not at all.';
COMMENT ON COLUMN byoc.organization_api_credentials.verification_failures IS 'Checks in a row that taught nothing, as the provider could not be asked.';
COMMENT ON COLUMN byoc.organization_api_credentials.verification_note IS 'verified: what could not be checked, and why.';
COMMENT ON COLUMN byoc.organization_api_credentials.last_verified_at IS 'When a check last said that it can send.';
CREATE UNIQUE INDEX organization_api_credentials_one_default
    ON byoc.organization_api_credentials (org_id, credential_type) WHERE is_default;
CREATE INDEX organization_api_credentials_due
    ON byoc.organization_api_credentials (verification_due_at) WHERE verification_due_at IS NOT NULL;
ALTER TABLE byoc.organization_api_credentials ENABLE ROW LEVEL SECURITY;
SELECT pg_extension_config_dump('byoc.organization_api_credentials', '');

CREATE FUNCTION byoc.refuse_ownership_change() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF (NEW.org_id, NEW.id, NEW.credential_type, NEW.created_at, NEW.created_by)
       IS DISTINCT FROM (OLD.org_id, OLD.id, OLD.credential_type, OLD.created_at, OLD.created_by) THEN
        RAISE EXCEPTION 'org_id, id, credential_type, created_at and created_by of a credential never change'
            USING ERRCODE = 'insufficient_privilege', HINT = 'Add a new credential and revoke this one.';
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION byoc.refuse_ownership_change() IS 'Internal: a credential stays with the organization that it was made for.';

CREATE TRIGGER refuse_ownership_change BEFORE UPDATE ON byoc.organization_api_credentials
FOR EACH ROW EXECUTE FUNCTION byoc.refuse_ownership_change();

CREATE FUNCTION byoc.add_credential(credential_type text, fields jsonb, display_name text DEFAULT NULL,
                                    org_id uuid DEFAULT byoc.current_org_id()) RETURNS uuid
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    new_id uuid := gen_random_uuid();
    organization byoc.organizations;
BEGIN
    PERFORM byoc.require_organization(org_id, 'admin');
    PERFORM byoc.check_fields(credential_type, fields);
    PERFORM byoc.check_display_name(display_name);
    -- One at a time within an organization, so that exactly one becomes the default.
    SELECT * INTO organization FROM byoc.organizations o WHERE o.id = add_credential.org_id FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'organization % does not exist', org_id
            USING ERRCODE = 'foreign_key_violation', HINT = 'Create it with byoc.create_organization(name).';
    ELSIF organization.shredded_at IS NOT NULL THEN
        RAISE EXCEPTION 'organization % was shredded: its keys are destroyed, so nothing can be stored for it any more', org_id
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    INSERT INTO byoc.organization_api_credentials
        (org_id, id, credential_type, display_name, fields, encrypted_fields, is_default, verification_due_at, created_by)
    VALUES
        (add_credential.org_id, new_id, add_credential.credential_type,
         coalesce(add_credential.display_name, initcap(replace(add_credential.credential_type, '_', ' '))),
         byoc.mask_fields(add_credential.credential_type, add_credential.fields),
         byoc.seal_fields(add_credential.org_id, new_id, add_credential.fields),
         NOT EXISTS (SELECT FROM byoc.organization_api_credentials c
                     WHERE c.org_id = add_credential.org_id AND c.credential_type = add_credential.credential_type AND c.is_default),
         '-infinity', coalesce(byoc.current_user_id(), byoc.invoking_role()::text));
    PERFORM byoc.audit(org_id, 'credential.added', new_id,
                       jsonb_build_object('type', credential_type, 'fields', (SELECT jsonb_agg(k) FROM jsonb_object_keys(fields) AS k)));
    PERFORM byoc.wake_dispatcher(org_id);
    RETURN new_id;
END
$$;
COMMENT ON FUNCTION byoc.add_credential(text, jsonb, text, uuid) IS
    'Stores a credential, encrypted; the organization''s first of a type becomes its default. Needs the organization role admin. '
    'Raises 22023 naming the wrong field, 55000 when the organization was shredded. Pass fields as a bind parameter.';

CREATE FUNCTION byoc.add_credential(credential_type text, fields text, display_name text DEFAULT NULL,
                                    org_id uuid DEFAULT byoc.current_org_id()) RETURNS uuid
LANGUAGE plpgsql VOLATILE SECURITY INVOKER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN byoc.add_credential(credential_type, byoc.parse_fields(fields), display_name, org_id);
END
$$;
COMMENT ON FUNCTION byoc.add_credential(text, text, text, uuid) IS
    'As byoc.add_credential(text, jsonb, text, uuid), for JSON text: its errors never quote the input, as the JSON parser''s do.';

-- Merges `changes` into the credential's fields: absent means unchanged, null removes, a mask means unchanged.
CREATE FUNCTION byoc.change_credential(org_id uuid, id uuid, changes jsonb, display_name text, is_default boolean) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    credential byoc.organization_api_credentials;
    plain jsonb;
    field record;
    changed text[] := '{}';
BEGIN
    PERFORM byoc.require_organization(org_id, 'admin');
    PERFORM byoc.check_display_name(display_name);
    PERFORM FROM byoc.organizations o WHERE o.id = change_credential.org_id FOR NO KEY UPDATE;
    SELECT * INTO credential FROM byoc.organization_api_credentials c
    WHERE c.org_id = change_credential.org_id AND c.id = change_credential.id FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'credential % does not exist', id USING ERRCODE = 'no_data_found';
    ELSIF NOT credential.is_active THEN
        RAISE EXCEPTION 'credential % is revoked', id
            USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Add a new one with byoc.add_credential.';
    END IF;
    IF changes IS NOT NULL THEN
        IF jsonb_typeof(changes) <> 'object' THEN
            RAISE EXCEPTION 'fields must be a JSON object' USING ERRCODE = 'invalid_parameter_value';
        END IF;
        plain := byoc.unseal_fields(credential.org_id, credential.id, credential.encrypted_fields);
        FOR field IN SELECT c.key, c.value FROM jsonb_each(changes) AS c LOOP
            IF field.value = 'null' THEN
                plain := plain - field.key;
                changed := changed || field.key;
            ELSIF field.value IS DISTINCT FROM credential.fields -> field.key THEN
                plain := jsonb_set(plain, ARRAY[field.key], field.value);
                changed := changed || field.key;
            END IF;
        END LOOP;
        PERFORM byoc.check_fields(credential.credential_type, plain);
        UPDATE byoc.organization_api_credentials c
        SET fields = byoc.mask_fields(credential.credential_type, plain),
            encrypted_fields = byoc.seal_fields(c.org_id, c.id, plain),
            version = c.version + 1, verification_status = 'pending', verification_error = NULL, verification_note = NULL,
            verification_due_at = '-infinity', verification_failures = 0
        WHERE c.org_id = credential.org_id AND c.id = credential.id;
        PERFORM byoc.audit(credential.org_id, 'credential.changed', credential.id, jsonb_build_object('fields', to_jsonb(changed)));
        PERFORM byoc.wake_dispatcher(credential.org_id);
    END IF;
    IF display_name <> credential.display_name THEN
        PERFORM byoc.audit(credential.org_id, 'credential.renamed', credential.id);
    END IF;
    IF is_default THEN
        PERFORM byoc.audit(credential.org_id, 'credential.made_default', credential.id);
        UPDATE byoc.organization_api_credentials c SET is_default = false, updated_at = now()
        WHERE c.org_id = credential.org_id AND c.credential_type = credential.credential_type AND c.is_default AND c.id <> credential.id;
    END IF;
    UPDATE byoc.organization_api_credentials c
    SET display_name = coalesce(change_credential.display_name, c.display_name),
        is_default = c.is_default OR coalesce(change_credential.is_default, false), updated_at = now()
    WHERE c.org_id = credential.org_id AND c.id = credential.id;
END
$$;
COMMENT ON FUNCTION byoc.change_credential(uuid, uuid, jsonb, text, boolean) IS
    'Internal: changes fields or name, or makes it the default; NULL leaves a part as it is. Needs the organization role admin.';

CREATE FUNCTION byoc.credential_org(id uuid) RETURNS uuid
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    found_org uuid := byoc.current_org_id();
BEGIN
    IF byoc.sees_all_organizations() THEN
        SELECT c.org_id INTO found_org FROM byoc.organization_api_credentials c WHERE c.id = credential_org.id;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'credential % does not exist', id USING ERRCODE = 'no_data_found';
        END IF;
    END IF;
    RETURN found_org;
END
$$;
COMMENT ON FUNCTION byoc.credential_org(uuid) IS
    'Internal: the organization whose credential is meant: the tenant context''s, or for a role that sees all the credential''s own.';

CREATE FUNCTION byoc.update_credential(id uuid, fields jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY INVOKER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM byoc.change_credential(byoc.credential_org(id), id, fields, NULL, NULL);
END
$$;
COMMENT ON FUNCTION byoc.update_credential(uuid, jsonb) IS
    'Changes the given fields; null removes one, its mask keeps it. The credential is verified again. Needs the organization role admin.';

CREATE FUNCTION byoc.update_credential(id uuid, fields text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY INVOKER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM byoc.change_credential(byoc.credential_org(id), id, byoc.parse_fields(fields), NULL, NULL);
END
$$;
COMMENT ON FUNCTION byoc.update_credential(uuid, text) IS 'As byoc.update_credential(uuid, jsonb), for JSON text: errors never quote it.';

CREATE FUNCTION byoc.revoke_credential(id uuid) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    of_org uuid := byoc.credential_org(id);
    credential byoc.organization_api_credentials;
BEGIN
    PERFORM byoc.require_organization(of_org, 'owner');
    SELECT * INTO credential FROM byoc.organization_api_credentials c
    WHERE c.org_id = of_org AND c.id = revoke_credential.id AND c.is_active FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'credential % does not exist or is revoked', id USING ERRCODE = 'no_data_found';
    END IF;
    UPDATE byoc.organization_api_credentials c
    SET is_active = false, is_default = false, encrypted_fields = NULL, version = c.version + 1, verification_due_at = NULL, updated_at = now()
    WHERE c.org_id = credential.org_id AND c.id = credential.id;
    PERFORM byoc.revoke_at_provider(credential);
    PERFORM byoc.audit(of_org, 'credential.revoked', id);
END
$$;
COMMENT ON FUNCTION byoc.revoke_credential(uuid) IS
    'Destroys the credential''s secrets and stops its use; the row stays, inactive. What was granted by OAuth is revoked at the provider too, by byocd. '
    'Needs the organization role owner.';

-- For the dispatcher

CREATE FUNCTION byoc.open_credentials(org_ids uuid[], ids uuid[])
RETURNS TABLE (org_id uuid, id uuid, provider text, version integer, fields jsonb, error text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    credential byoc.organization_api_credentials;
BEGIN
    FOR credential IN
        SELECT c.* FROM unnest(org_ids, ids) AS wanted (org_id, id)
        JOIN byoc.organization_api_credentials c ON c.org_id = wanted.org_id AND c.id = wanted.id
        WHERE c.is_active
    LOOP
        org_id := credential.org_id;
        id := credential.id;
        provider := credential.credential_type;
        version := credential.version;
        -- One unreadable credential must not keep the others from being used.
        BEGIN
            fields := byoc.unseal_fields(credential.org_id, credential.id, credential.encrypted_fields);
            error := NULL;
        EXCEPTION WHEN data_exception OR config_file_error OR external_routine_exception THEN
            fields := NULL;
            error := SQLERRM;
        END;
        IF error IS NULL THEN
            PERFORM byoc.audit(credential.org_id, 'credential.leased', credential.id, jsonb_build_object('version', credential.version));
        END IF;
        RETURN NEXT;
    END LOOP;
END
$$;
COMMENT ON FUNCTION byoc.open_credentials(uuid[], uuid[]) IS
    'For byocd: the fields of active credentials in plaintext, or the error that keeps one from being opened. The audit trail records '
    'that a dispatcher has it from now on, not each use.';

-- sql/messages.sql

-- Messages that left the queue: being sent, or final. Unsent ones wait in byoc.queue and byoc.schedule (jobs.sql); a
-- message is in exactly one of the three. No foreign key leads to organizations: it would cost each insert a lock.

CREATE DOMAIN byoc.message_status AS text
    CHECK (VALUE IN ('scheduled', 'queued', 'sending', 'sent', 'delivered', 'undelivered', 'failed', 'cancelled', 'expired', 'unknown'));
COMMENT ON DOMAIN byoc.message_status IS
    'State of a message. sending: claimed, or perhaps sent and looked for in the provider''s message list. sent: the provider took it. '
    'unknown: a request was made, its answer lost and the list could not tell; a person decides (byoc.resolve_unknown_sms), it is never '
    'sent again by itself.';

CREATE TABLE byoc.messages (
    org_id uuid NOT NULL,
    id uuid NOT NULL,
    to_number text,
    from_number text,
    body text,
    status byoc.message_status NOT NULL,
    credential_id uuid,
    used_credential_id uuid,
    used_credential_version integer,
    claim_id uuid,
    claimed_at timestamptz,
    attempts smallint NOT NULL,
    provider_sid text,
    segments smallint,
    error_code text,
    error_message text,
    source_table text,
    idempotency_key text,
    created_at timestamptz NOT NULL DEFAULT now(),
    send_at timestamptz,
    expires_at timestamptz,
    sent_at timestamptz,
    delivered_at timestamptz,
    finished_at timestamptz,
    PRIMARY KEY (org_id, id),
    CHECK ((status = 'sending') = (claim_id IS NOT NULL)),
    CHECK ((status IN ('scheduled', 'queued', 'sending')) = (finished_at IS NULL))
) WITH (fillfactor = 45); -- each row is updated once, soon after its insert, and should stay in its page
COMMENT ON TABLE byoc.messages IS
    'Messages that were claimed or are final. Status queued or scheduled here means paused: a restored message without a job.';
COMMENT ON COLUMN byoc.messages.credential_id IS 'Credential that the sender asked for; NULL: the organization''s default.';
COMMENT ON COLUMN byoc.messages.used_credential_id IS 'Credential of the last attempt; the nil UUID: an account of byoc.fallback_senders.';
COMMENT ON COLUMN byoc.messages.used_credential_version IS 'Its version when the attempt was claimed.';
COMMENT ON COLUMN byoc.messages.claim_id IS 'Claim that is sending it; a result from any other claim is ignored.';
COMMENT ON COLUMN byoc.messages.segments IS 'Segments that the provider billed, or our own count until it says.';
COMMENT ON COLUMN byoc.messages.claimed_at IS 'When the last attempt was claimed; the request was made soon after.';
COMMENT ON COLUMN byoc.messages.finished_at IS 'When the message left the job engine: sent, or given up.';
-- Rows come in by this time, so that a few bytes find what was claimed lately.
CREATE INDEX messages_claimed ON byoc.messages USING brin (claimed_at) WITH (autosummarize = on, pages_per_range = 32);
ALTER TABLE byoc.messages ENABLE ROW LEVEL SECURITY;
SELECT pg_extension_config_dump('byoc.messages', '');

CREATE TABLE byoc.message_events (
    org_id uuid NOT NULL,
    message_id uuid NOT NULL,
    id uuid NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    event text NOT NULL,
    attempt smallint NOT NULL,
    http_status smallint,
    error_code text,
    error_message text,
    provider_sid text,
    duration_ms integer,
    PRIMARY KEY (org_id, message_id, id)
);
COMMENT ON TABLE byoc.message_events IS
    'History of messages: one row for each attempt''s outcome (accepted, rejected, throttled, unavailable, unknown, returned) and '
    'each other change (refused, rescued, found, not_found, late, expired, cancelled, retried, resent, resolved), what the '
    'provider reported later (sent, delivered, undelivered, failed, ...), and settled: a report that proved an attempt whose answer was lost.';
COMMENT ON COLUMN byoc.message_events.duration_ms IS 'From the request''s start to its outcome, in milliseconds.';
ALTER TABLE byoc.message_events ENABLE ROW LEVEL SECURITY;
SELECT pg_extension_config_dump('byoc.message_events', '');

CREATE TABLE byoc.idempotency_keys (
    org_id uuid NOT NULL,
    key text NOT NULL CHECK (length(key) BETWEEN 1 AND 255),
    message_id uuid,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (org_id, key)
);
COMMENT ON TABLE byoc.idempotency_keys IS 'Keys that senders gave, unique within an organization: the same key gives the same message.';
ALTER TABLE byoc.idempotency_keys ENABLE ROW LEVEL SECURITY;
SELECT pg_extension_config_dump('byoc.idempotency_keys', '');

CREATE TABLE byoc.unknown_messages (
    org_id uuid NOT NULL,
    message_id uuid NOT NULL,
    PRIMARY KEY (org_id, message_id)
);
COMMENT ON TABLE byoc.unknown_messages IS
    'Messages that became unknown, so that they are found without an index on each message''s status. One that is settled may still stand here.';
ALTER TABLE byoc.unknown_messages ENABLE ROW LEVEL SECURITY;
SELECT pg_extension_config_dump('byoc.unknown_messages', '');

-- sql/jobs.sql

-- The job engine's tables. A claim moves whole messages from the queue to byoc.messages, so that no message can be claimed
-- twice. It goes on in a lane (organization and credential) where the last one ended, so that it does not walk over dead rows; that
-- and the lanes' turns stand in shared memory (extension/wakeup.h): rows that every claim changed would be dead ones before long.

CREATE TABLE byoc.queue (
    org_id uuid NOT NULL,
    lane uuid NOT NULL,
    id uuid NOT NULL,
    to_number text NOT NULL,
    body text NOT NULL,
    credential_id uuid,
    attempts smallint NOT NULL DEFAULT 0,
    source_table text,
    idempotency_key text,
    created_at timestamptz NOT NULL DEFAULT now(),
    send_at timestamptz,
    expires_at timestamptz,
    segments smallint NOT NULL DEFAULT 1,
    PRIMARY KEY (org_id, lane, id)
);
COMMENT ON TABLE byoc.queue IS 'Messages that can be sent now.';
COMMENT ON COLUMN byoc.queue.lane IS 'Credential that it will go out by, as of when it was queued; the nil UUID when the organization had none.';
COMMENT ON COLUMN byoc.queue.segments IS 'Segments that the body takes (byoc.sms_segments): what sender limits count.';
COMMENT ON COLUMN byoc.queue.credential_id IS 'Credential that the sender asked for; NULL: the organization''s default.';
ALTER TABLE byoc.queue ENABLE ROW LEVEL SECURITY;
SELECT pg_extension_config_dump('byoc.queue', '');

CREATE TABLE byoc.schedule (
    org_id uuid NOT NULL,
    id uuid NOT NULL,
    due_at timestamptz NOT NULL,
    to_number text NOT NULL,
    body text NOT NULL,
    credential_id uuid,
    attempts smallint NOT NULL DEFAULT 0,
    source_table text,
    idempotency_key text,
    created_at timestamptz NOT NULL DEFAULT now(),
    send_at timestamptz,
    expires_at timestamptz,
    segments smallint NOT NULL DEFAULT 1,
    PRIMARY KEY (org_id, id)
);
COMMENT ON TABLE byoc.schedule IS 'Messages that wait for a time: scheduled ones (no attempt yet) and ones to be tried again.';
CREATE INDEX schedule_due ON byoc.schedule (due_at);
ALTER TABLE byoc.schedule ENABLE ROW LEVEL SECURITY;
SELECT pg_extension_config_dump('byoc.schedule', '');

CREATE TABLE byoc.lanes (
    org_id uuid NOT NULL,
    lane uuid NOT NULL,
    busy boolean NOT NULL,
    next_at timestamptz NOT NULL,
    cursor uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000',
    failures integer NOT NULL DEFAULT 0,
    trial uuid,
    paused_until timestamptz,
    barred boolean NOT NULL DEFAULT false,
    tokens double precision,
    tokens_at timestamptz,
    PRIMARY KEY (org_id, lane)
) WITH (fillfactor = 50);
COMMENT ON TABLE byoc.lanes IS
    'What is to be remembered about lanes that were served: waits, failures and limits. Not dumped: it says nothing about messages.';
COMMENT ON COLUMN byoc.lanes.busy IS 'It has work that waits for next_at; claims look at it then.';
COMMENT ON COLUMN byoc.lanes.next_at IS 'Not to be served before; it may have passed.';
COMMENT ON COLUMN byoc.lanes.cursor IS 'Of a busy lane: the message that the next claim begins with, or one that went before it.';
COMMENT ON COLUMN byoc.lanes.failures IS
    'Failures of the provider in a row (no answer, 5xx, 429). From byoc.breaker_threshold() on one message at a time tries the way.';
COMMENT ON COLUMN byoc.lanes.trial IS 'The message that tries the way, or did so last; no other follows before its outcome, or its claim''s lease, ends.';
COMMENT ON COLUMN byoc.lanes.paused_until IS 'Until then the provider asked to send nothing (429); next_at is not before. NULL: it never did.';
COMMENT ON COLUMN byoc.lanes.barred IS
    'The last claim found a credential that may not send (byoc.is_barred). It is looked at again at next_at, or when it was verified.';
COMMENT ON COLUMN byoc.lanes.tokens IS 'Segments that the sender could send at tokens_at (token bucket); NULL: not limited, or never used.';
CREATE INDEX lanes_waiting ON byoc.lanes (next_at) WHERE busy;
CREATE INDEX lanes_failing ON byoc.lanes (org_id, lane) WHERE failures > 0;
ALTER TABLE byoc.lanes ENABLE ROW LEVEL SECURITY;

CREATE TABLE byoc.claims (
    id uuid PRIMARY KEY,
    dispatcher uuid NOT NULL,
    lease_until timestamptz NOT NULL,
    org_ids uuid[] NOT NULL,
    message_ids uuid[] NOT NULL,
    unsettled integer NOT NULL,
    CHECK (cardinality(org_ids) = cardinality(message_ids))
) WITH (fillfactor = 50, toast_tuple_target = 8160);
ALTER TABLE byoc.claims ALTER COLUMN org_ids SET STORAGE EXTERNAL, ALTER COLUMN message_ids SET STORAGE EXTERNAL; -- random: nothing to compress
COMMENT ON TABLE byoc.claims IS
    'What a dispatcher took in one claim and is sending; renewed by its heartbeat, rescued when the lease runs out. One row a claim, '
    'whatever the number of organizations in it.';
COMMENT ON COLUMN byoc.claims.unsettled IS 'Messages without an outcome; the claim ends when none is left.';
ALTER TABLE byoc.claims ENABLE ROW LEVEL SECURITY;

CREATE FUNCTION byoc.default_credential(org_id uuid, credential_type text) RETURNS uuid
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT c.id FROM byoc.organization_api_credentials c
    WHERE c.org_id = default_credential.org_id AND c.credential_type = default_credential.credential_type AND c.is_default AND c.is_active;
END;
COMMENT ON FUNCTION byoc.default_credential(uuid, text) IS 'Internal: the organization''s active default credential of a type; NULL when it has none.';

CREATE FUNCTION byoc.lane_of(org_id uuid, credential_id uuid) RETURNS uuid
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT coalesce(credential_id, byoc.default_credential(org_id, 'twilio'), '00000000-0000-0000-0000-000000000000');
END;
COMMENT ON FUNCTION byoc.lane_of(uuid, uuid) IS
    'Internal: the lane of a message that asks for credential_id or, when NULL, the default. extension/enqueue.cpp says the same.';

-- sql/limits.sql

-- How fast and how much at once: sender limits (token buckets) and the breaker of a lane whose provider fails.

CREATE FUNCTION byoc.sms_segments(body text) RETURNS integer
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'byoc_sms_segments';
COMMENT ON FUNCTION byoc.sms_segments(text) IS
    'Segments that an SMS takes: 160 GSM-7 characters in one, 153 in each of several (3GPP TS 23.038; the extension table''s characters '
    'count twice), or 70 and 67 UTF-16 code units when any character is not in GSM-7. An empty body counts as one.';

CREATE TABLE byoc.sender_limits (
    org_id uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000',
    sender text NOT NULL,
    segments_per_second double precision CHECK (segments_per_second > 0),
    burst double precision NOT NULL DEFAULT 1 CHECK (burst >= 1),
    PRIMARY KEY (org_id, sender)
);
COMMENT ON TABLE byoc.sender_limits IS
    'The DBA''s limits instead of byoc.default_sender_rate(): for a sender of an organization, or, with the nil UUID, for a '
    'sender or a kind of sender (long_code, toll_free, short_code, messaging_service) of all. Counted in each organization on its own.';
COMMENT ON COLUMN byoc.sender_limits.sender IS 'Phone number in E.164, short code, Messaging Service SID, or a kind of sender.';
COMMENT ON COLUMN byoc.sender_limits.segments_per_second IS 'NULL: no limit.';
COMMENT ON COLUMN byoc.sender_limits.burst IS 'Segments that may go at once after a pause.';
COMMENT ON COLUMN byoc.sender_limits.org_id IS 'The organization; the nil UUID: all.';
ALTER TABLE byoc.sender_limits ENABLE ROW LEVEL SECURITY;
CREATE POLICY by_grant ON byoc.sender_limits USING (true); -- only administrators have it
SELECT pg_extension_config_dump('byoc.sender_limits', '');

CREATE FUNCTION byoc.sender_kind(sender text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN sender LIKE 'MG%' THEN 'messaging_service'
            WHEN length(sender) <= 7 THEN 'short_code'
            WHEN left(sender, 5) IN ('+1800', '+1833', '+1844', '+1855', '+1866', '+1877', '+1888') THEN 'toll_free'
            ELSE 'long_code' END;
COMMENT ON FUNCTION byoc.sender_kind(text) IS 'long_code, toll_free (North America), short_code or messaging_service, by the look of the sender.';

CREATE FUNCTION byoc.default_sender_rate(kind text) RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE kind WHEN 'long_code' THEN 1.0::double precision WHEN 'toll_free' THEN 3.0 WHEN 'short_code' THEN 100.0 END;
COMMENT ON FUNCTION byoc.default_sender_rate(text) IS
    'Segments a second that Twilio sends for a kind of sender; NULL: no limit, as a Messaging Service spreads messages over its senders. '
    'https://www.twilio.com/docs/messaging/guides/understanding-twilio-rate-limits-and-message-queues';

CREATE FUNCTION byoc.default_sender_burst(segments_per_second double precision) RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN segments_per_second * 36000;
COMMENT ON FUNCTION byoc.default_sender_burst(double precision) IS
    'Segments that may go at once by such a default rate: Twilio keeps ten hours of them in a sender''s queue, then refuses (error 21611).';

CREATE FUNCTION byoc.limited_sender(fields jsonb) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN coalesce(fields ->> 'messaging_service_sid', fields ->> 'phone_number');
COMMENT ON FUNCTION byoc.limited_sender(jsonb) IS 'Internal: what a credential with these public fields sends from; NULL when there is none.';

CREATE FUNCTION byoc.sender_limit(org_id uuid, fields jsonb)
RETURNS TABLE (segments_per_second double precision, burst double precision)
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT CASE WHEN o.sender IS NOT NULL THEN o.segments_per_second ELSE byoc.default_sender_rate(f.kind) END,
           CASE WHEN o.sender IS NOT NULL THEN o.burst ELSE byoc.default_sender_burst(byoc.default_sender_rate(f.kind)) END
    FROM (SELECT s.sender, byoc.sender_kind(s.sender) AS kind
          FROM (SELECT byoc.limited_sender(fields) AS sender) AS s) AS f
    LEFT JOIN LATERAL (
        SELECT l.sender, l.segments_per_second, l.burst FROM byoc.sender_limits l
        WHERE (l.org_id = sender_limit.org_id AND l.sender = f.sender)
           OR (l.org_id = '00000000-0000-0000-0000-000000000000' AND l.sender IN (f.sender, f.kind))
        ORDER BY l.org_id = sender_limit.org_id DESC, l.sender = f.sender DESC LIMIT 1) AS o ON true;
END;
COMMENT ON FUNCTION byoc.sender_limit(uuid, jsonb) IS 'Internal: the limit of a credential''s sender, by its public fields.';

CREATE FUNCTION byoc.breaker_threshold() RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN 5;
COMMENT ON FUNCTION byoc.breaker_threshold() IS
    'Failures in a row after which a lane is tried with one message at a time, at growing intervals, until the provider answers again.';

-- sql/fallback.sql

-- The old way: one account in the environment of byocd (TWILIO_ACCOUNT_SID, ...). A byocd that was told to use it announces it on
-- each of its sessions; this decides for which organizations. The nil UUID stands for such an account where a credential's id does.

CREATE TABLE byoc.fallback_senders (
    version integer PRIMARY KEY,
    fields jsonb NOT NULL UNIQUE,
    expected_until timestamptz NOT NULL
);
COMMENT ON TABLE byoc.fallback_senders IS 'Accounts in the environments of byocds that may send with them; never a secret. Not dumped.';
COMMENT ON COLUMN byoc.fallback_senders.version IS 'What stands in byoc.messages.used_credential_version for it.';
COMMENT ON COLUMN byoc.fallback_senders.fields IS 'account_sid, and phone_number or messaging_service_sid, as a credential''s public fields.';
COMMENT ON COLUMN byoc.fallback_senders.expected_until IS
    'Until then a byocd that has it is taken to run, or to be back in a moment: messages wait for it.';
ALTER TABLE byoc.fallback_senders ENABLE ROW LEVEL SECURITY;

CREATE FUNCTION byoc.session_fallback() RETURNS integer
LANGUAGE sql STABLE
RETURN nullif(current_setting('byoc.fallback')::integer, 0);
COMMENT ON FUNCTION byoc.session_fallback() IS
    'Internal: version in byoc.fallback_senders of the account that this session announced; NULL: none.';

CREATE FUNCTION byoc.announce_fallback(account_sid text, sender text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    announced integer;
BEGIN
    IF account_sid IS NULL OR sender IS NULL THEN
        RAISE EXCEPTION 'account_sid and sender must not be null' USING ERRCODE = 'null_value_not_allowed';
    END IF;
    LOCK TABLE byoc.fallback_senders IN SHARE ROW EXCLUSIVE MODE; -- one new version at a time
    INSERT INTO byoc.fallback_senders AS f (version, fields, expected_until)
    SELECT coalesce(max(k.version), 0) + 1,
           jsonb_build_object('account_sid', account_sid, CASE WHEN sender LIKE 'MG%' THEN 'messaging_service_sid' ELSE 'phone_number' END, sender),
           clock_timestamp() + interval '5 minutes'
    FROM byoc.fallback_senders k
    ON CONFLICT (fields) DO UPDATE SET expected_until = excluded.expected_until
    RETURNING f.version INTO announced;
    PERFORM set_config('byoc.fallback', announced::text, false);
END
$$;
COMMENT ON FUNCTION byoc.announce_fallback(text, text) IS
    'For byocd, once on each session: it may send with this account, from this number or Messaging Service, for organizations that never had a credential.';

CREATE FUNCTION byoc.keep_fallback() RETURNS void
LANGUAGE sql VOLATILE
BEGIN ATOMIC
    -- A row that somebody else is renewing needs no second time.
    UPDATE byoc.fallback_senders f SET expected_until = clock_timestamp() + interval '5 minutes'
    FROM (SELECT k.version FROM byoc.fallback_senders k
          WHERE k.version = byoc.session_fallback() AND k.expected_until < clock_timestamp() + interval '4 minutes' FOR UPDATE SKIP LOCKED) AS stale
    WHERE f.version = stale.version;
END;
COMMENT ON FUNCTION byoc.keep_fallback() IS 'Internal: the session that announced it is still there.';

CREATE FUNCTION byoc.falls_back(org_id uuid) RETURNS boolean
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT NOT EXISTS (SELECT FROM byoc.organization_api_credentials c WHERE c.org_id = falls_back.org_id AND c.credential_type = 'twilio')
           AND EXISTS (SELECT FROM byoc.organizations o WHERE o.id = falls_back.org_id AND o.shredded_at IS NULL);
END;
COMMENT ON FUNCTION byoc.falls_back(uuid) IS
    'Internal: whether the organization may send with an environment''s account: it never had a credential of its own; one that failed or was revoked counts.';

CREATE FUNCTION byoc.is_left_to_fallback(org_id uuid) RETURNS boolean
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT byoc.session_fallback() IS NULL AND EXISTS (SELECT FROM byoc.fallback_senders f WHERE f.expected_until > clock_timestamp())
           AND byoc.falls_back(is_left_to_fallback.org_id);
END;
COMMENT ON FUNCTION byoc.is_left_to_fallback(uuid) IS
    'Internal: whether messages of the organization that are queued without a credential wait for another byocd than this session''s.';

CREATE FUNCTION byoc.audit_fallback(claim_id uuid) RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM byoc.audit(u.org_id, 'fallback.used', NULL, jsonb_build_object('account_sid', u.account_sid, 'messages', u.messages))
    FROM (SELECT m.org_id, f.fields ->> 'account_sid' AS account_sid, count(*) AS messages
          FROM byoc.claims c CROSS JOIN unnest(c.org_ids, c.message_ids) AS i (org_id, id)
          JOIN byoc.messages m ON m.org_id = i.org_id AND m.id = i.id
          JOIN byoc.fallback_senders f ON f.version = m.used_credential_version
          WHERE c.id = audit_fallback.claim_id AND m.used_credential_id = '00000000-0000-0000-0000-000000000000'
          GROUP BY m.org_id, f.fields) AS u;
END
$$;
COMMENT ON FUNCTION byoc.audit_fallback(uuid) IS
    'Internal: the audit trail''s entry for each organization of a claim whose messages are sent with an environment''s account.';

-- sql/verification.sql

-- Verification: whether a credential can send. Only a verified one does; until then, and once it has failed, its messages wait.

CREATE FUNCTION byoc.is_barred(verification_status text) RETURNS boolean
LANGUAGE sql STABLE
RETURN coalesce(verification_status <> 'verified'
                AND (verification_status = 'failed' OR current_setting('byoc.require_verified')::boolean), false);
COMMENT ON FUNCTION byoc.is_barred(text) IS
    'Internal: whether a credential in this state may not send: a failed one never, a pending one unless byoc.require_verified is off.';

CREATE FUNCTION byoc.verify_credential(id uuid) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    of_org uuid := byoc.credential_org(id);
BEGIN
    PERFORM byoc.require_organization(of_org, 'admin');
    -- One that can send goes on sending meanwhile.
    UPDATE byoc.organization_api_credentials c
    SET verification_due_at = '-infinity', verification_failures = 0, verification_error = NULL,
        verification_status = CASE c.verification_status WHEN 'verified' THEN 'verified' ELSE 'pending' END
    WHERE c.org_id = of_org AND c.id = verify_credential.id AND c.is_active;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'credential % does not exist or is revoked', id USING ERRCODE = 'no_data_found';
    END IF;
    PERFORM byoc.audit(of_org, 'credential.verification_requested', id);
    PERFORM byoc.wake_dispatcher(of_org);
END
$$;
COMMENT ON FUNCTION byoc.verify_credential(uuid) IS
    'Asks byocd to check the credential with its provider now; the result shows in byoc.credentials. Needs the organization role admin.';

CREATE FUNCTION byoc.claim_verifications(dispatcher uuid, max_count integer, lease interval)
RETURNS TABLE (org_id uuid, id uuid, provider text, version integer)
LANGUAGE sql VOLATILE SECURITY DEFINER
BEGIN ATOMIC
    UPDATE byoc.organization_api_credentials c
    SET verification_due_at = clock_timestamp() + lease
    -- The first of each organization before the second of any.
    FROM (SELECT d.org_id, d.id
          FROM (SELECT w.org_id, w.id, row_number() OVER (PARTITION BY w.org_id ORDER BY w.verification_due_at) AS turn
                FROM byoc.organization_api_credentials w WHERE w.verification_due_at <= clock_timestamp() AND w.is_active) AS t
          JOIN byoc.organization_api_credentials d ON d.org_id = t.org_id AND d.id = t.id
          WHERE d.verification_due_at <= clock_timestamp() AND d.is_active
          ORDER BY t.turn, d.verification_due_at LIMIT max_count FOR UPDATE OF d SKIP LOCKED) AS due
    WHERE c.org_id = due.org_id AND c.id = due.id
    RETURNING c.org_id, c.id, c.credential_type, c.version;
END;
COMMENT ON FUNCTION byoc.claim_verifications(uuid, integer, interval) IS
    'For byocd: credentials to check with their provider, organizations taking turns; they come up again after the lease unless their result is recorded.';

CREATE FUNCTION byoc.verification_backoff(failures integer) RETURNS interval
LANGUAGE sql VOLATILE PARALLEL SAFE
RETURN least(interval '10 minutes', interval '5 seconds' * 2 ^ least(failures, 10)) * (0.8 + 0.4 * random());
COMMENT ON FUNCTION byoc.verification_backoff(integer) IS
    'Internal: how long after so many checks that taught nothing the next one is made: 5 seconds, doubling up to 10 minutes, give or take a fifth.';

CREATE FUNCTION byoc.record_verification(org_id uuid, id uuid, version integer, status text, error text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    every CONSTANT interval := nullif(current_setting('byoc.verification_interval')::interval, interval '0');
    before byoc.organization_api_credentials;
BEGIN
    IF status IS NULL OR status NOT IN ('verified', 'failed', 'retry') THEN
        RAISE EXCEPTION 'verification status must be verified, failed or retry, not "%"', status USING ERRCODE = 'invalid_parameter_value';
    END IF;
    -- A tenant that is changing the credential must not hold up the dispatcher: this result would be outdated anyway.
    SELECT c.* INTO before FROM byoc.organization_api_credentials c
    WHERE c.org_id = record_verification.org_id AND c.id = record_verification.id AND c.version = record_verification.version AND c.is_active
    FOR NO KEY UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    UPDATE byoc.organization_api_credentials c
    SET verification_status = CASE status WHEN 'retry' THEN c.verification_status ELSE status END,
        verification_error = CASE WHEN status = 'failed' OR (status = 'retry' AND c.verification_status = 'pending') THEN error
                                  WHEN status = 'retry' THEN c.verification_error END,
        verification_note = CASE status WHEN 'verified' THEN error WHEN 'retry' THEN c.verification_note END,
        verification_failures = CASE status WHEN 'retry' THEN least(c.verification_failures + 1, 32767) ELSE 0 END,
        -- Spread, so that what was added in one go is not checked in one go for ever.
        verification_due_at = clock_timestamp() + CASE status WHEN 'retry' THEN byoc.verification_backoff(c.verification_failures)
                                                              WHEN 'verified' THEN every * (0.9 + 0.2 * random()) END,
        last_verified_at = CASE status WHEN 'verified' THEN clock_timestamp() ELSE c.last_verified_at END
    WHERE c.org_id = before.org_id AND c.id = before.id;
    IF status <> 'retry' AND status <> before.verification_status THEN
        PERFORM byoc.audit(org_id, CASE status WHEN 'verified' THEN 'credential.verified' ELSE 'credential.verification_failed' END, id);
        IF status = 'verified' THEN
            PERFORM byoc.release_lanes(org_id);
        END IF;
    END IF;
END
$$;
COMMENT ON FUNCTION byoc.record_verification(uuid, uuid, integer, text, text) IS
    'For byocd: result of a check: verified (error: what could not be checked), failed (error: what the tenant can do) or retry: the provider could not be asked, so the state stays '
    'and the check is made again, later each time. Ignored when the credential changed meanwhile or is being changed.';

CREATE FUNCTION byoc.release_lanes(org_id uuid) RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    -- All of them: one that a claim is barring at this moment is waited for.
    PERFORM FROM byoc.lanes l WHERE l.org_id = release_lanes.org_id ORDER BY l.lane FOR UPDATE;
    UPDATE byoc.lanes l
    SET barred = false, next_at = CASE WHEN l.barred THEN greatest(clock_timestamp(), l.paused_until) ELSE l.next_at END
    WHERE l.org_id = release_lanes.org_id;
    PERFORM byoc.wake_dispatcher(org_id);
END
$$;
COMMENT ON FUNCTION byoc.release_lanes(uuid) IS 'Internal: lets claims look at once at lanes whose credential could not send.';

-- A credential that fails while sending

CREATE FUNCTION byoc.fail_credential(org_id uuid, id uuid, version integer, claimed_at timestamptz, error_code text, sentence text) RETURNS boolean
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    -- Not one that its tenant is changing: that would hold up everybody's outcomes. Its next job tells again.
    PERFORM FROM byoc.organization_api_credentials c
    WHERE c.org_id = fail_credential.org_id AND c.id = fail_credential.id AND c.version = fail_credential.version AND c.is_active
      AND c.verification_status <> 'failed' AND fail_credential.claimed_at >= coalesce(c.last_verified_at, '-infinity')
    FOR NO KEY UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    UPDATE byoc.organization_api_credentials c
    SET verification_status = 'failed', verification_error = sentence, verification_note = NULL, verification_due_at = NULL, verification_failures = 0
    WHERE c.org_id = fail_credential.org_id AND c.id = fail_credential.id;
    PERFORM byoc.audit(org_id, 'credential.verification_failed', id, jsonb_build_object('error_code', fail_credential.error_code));
    RETURN true;
END
$$;
COMMENT ON FUNCTION byoc.fail_credential(uuid, uuid, integer, timestamptz, text, text) IS
    'Internal: marks a credential failed that the provider refused for a job claimed then, unless it was changed or verified since; true when it did.';

CREATE FUNCTION byoc.fail_credentials(told jsonb) RETURNS integer
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
DECLARE
    failed integer;
BEGIN
    SELECT count(*) FILTER (WHERE byoc.fail_credential(b.org_id, b.id, b.version, b.claimed_at, b.error_code, format(
        'Twilio refused a message: %s (error %s). Correct this at Twilio or in the credential and verify it again; messages wait until then.',
        coalesce(b.title, 'the account or its sender cannot be used'), b.error_code))) INTO failed
    FROM (SELECT DISTINCT ON (m.org_id, m.used_credential_id) m.org_id, m.used_credential_id AS id, m.used_credential_version AS version, m.claimed_at,
                 t.error_code, e.title
          FROM jsonb_to_recordset(told) AS t (org_id uuid, id uuid, claim_id uuid, outcome text, error_code text)
          JOIN byoc.messages m ON m.org_id = t.org_id AND m.id = t.id AND m.claim_id IS NOT DISTINCT FROM t.claim_id
          JOIN byoc.provider_errors e ON e.provider = 'twilio' AND e.code = t.error_code AND e.class = 'pause_credential'
          WHERE t.outcome = 'rejected'
          ORDER BY m.org_id, m.used_credential_id, m.claimed_at DESC) AS b;
    RETURN failed;
END
$$;
COMMENT ON FUNCTION byoc.fail_credentials(jsonb) IS
    'Internal: marks the credentials failed of messages that were refused (outcome rejected) with an error of class pause_credential, unless they were '
    'changed or verified since. Returns how many.';

-- For people

CREATE VIEW byoc.senders AS
SELECT c.org_id, c.id, c.is_default,
       CASE WHEN byoc.is_barred(c.verification_status)
            THEN 'paused: ' || CASE c.verification_status WHEN 'failed' THEN 'the credential failed' ELSE 'the credential is not verified yet' END
                 || coalesce(': ' || c.verification_error, '') END AS waiting_reason
FROM byoc.organization_api_credentials c
WHERE c.is_active AND c.credential_type = 'twilio';
COMMENT ON VIEW byoc.senders IS 'Internal: the credentials that messages go out by, and why one may not send; NULL: it may.';

-- sql/triggers.sql

-- What all triggers have in common that an application puts on its own tables (byoc.create_sms_trigger and its like).

CREATE FUNCTION byoc.require_new_trigger(target regclass, name name) RETURNS void
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF has_table_privilege(byoc.invoking_role()::oid, target, 'TRIGGER') IS NOT TRUE THEN
        RAISE EXCEPTION 'permission denied to define triggers on %', target USING ERRCODE = 'insufficient_privilege';
    END IF;
    -- TRIGGER lets a role add to another's table, never change what its owner or others put there.
    IF EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = target AND t.tgname = require_new_trigger.name) THEN
        RAISE EXCEPTION 'trigger "%" of % exists already', name, target USING ERRCODE = 'duplicate_object';
    END IF;
END
$$;
COMMENT ON FUNCTION byoc.require_new_trigger(regclass, name) IS
    'Internal: raises 42501 unless the invoking role may create triggers on the table, 42710 when it has one of that name.';

CREATE FUNCTION byoc.forget_trigger_definitions(target regclass, name name) RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    definitions regclass;
BEGIN
    FOREACH definitions IN ARRAY '{byoc.sms_trigger_definitions,byoc.calendar_trigger_definitions,byoc.webhook_trigger_definitions}'::regclass[] LOOP
        EXECUTE format('DELETE FROM %s d WHERE NOT EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = d.target AND t.tgname = d.name) '
                       'OR (d.target = $1 AND d.name = $2)', definitions) USING target, name;
    END LOOP;
END
$$;
COMMENT ON FUNCTION byoc.forget_trigger_definitions(regclass, name) IS
    'Internal: deletes definitions of any kind whose trigger was dropped without us, and those that a new trigger of this name would be taken for.';

CREATE FUNCTION byoc.require_table_owner(target regclass) RETURNS void
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = target AND pg_has_role(byoc.invoking_role()::oid, c.relowner, 'USAGE')) THEN
        RAISE EXCEPTION 'must be owner of table %', target USING ERRCODE = 'insufficient_privilege';
    END IF;
END
$$;
COMMENT ON FUNCTION byoc.require_table_owner(regclass) IS 'Internal: raises 42501 unless the invoking role owns the table.';

CREATE FUNCTION byoc.require_on_error(on_error text, failed text) RETURNS void
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF on_error IS NULL OR on_error NOT IN ('record', 'raise') THEN
        RAISE EXCEPTION 'on_error must be record or raise, not "%"', on_error
            USING ERRCODE = 'invalid_parameter_value', HINT = format('record: a bad row becomes a failed %s. raise: it aborts the statement.', failed);
    END IF;
END
$$;
COMMENT ON FUNCTION byoc.require_on_error(text, text) IS 'Internal: raises 22023 unless on_error is record or raise. failed: what a bad row becomes.';

CREATE FUNCTION byoc.free_trigger_name(target regclass, prefix text) RETURNS name
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT format('%s_%s', prefix, n)::name FROM generate_series(1, 1 + (SELECT count(*) FROM pg_trigger t WHERE t.tgrelid = target)) AS n
    WHERE NOT EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = target AND t.tgname = format('%s_%s', prefix, n))
    ORDER BY n LIMIT 1;
$$;
COMMENT ON FUNCTION byoc.free_trigger_name(regclass, text) IS 'Internal: prefix_1, or the first number after it that no trigger of the table has.';

-- Turns 'INSERT OR UPDATE OF status, score' into the clause of CREATE TRIGGER, with every word checked.
CREATE FUNCTION byoc.trigger_events_clause(events text) RETURNS text
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    event text;
    columns text[];
    clauses text[] := '{}';
BEGIN
    FOREACH event IN ARRAY regexp_split_to_array(btrim(events), '[[:space:]]+or[[:space:]]+', 'i') LOOP
        columns := regexp_match(event, '^update[[:space:]]+of[[:space:]]+(.+)$', 'i');
        IF columns IS NOT NULL THEN
            clauses := clauses || ('UPDATE OF ' || (SELECT string_agg(quote_ident((parse_ident(c))[1]), ', ')
                                                    FROM regexp_split_to_table(columns[1], ',') AS c));
        ELSIF lower(event) IN ('insert', 'update', 'delete') THEN
            clauses := clauses || upper(event);
        ELSE
            RAISE EXCEPTION 'unknown trigger event "%"', event
                USING ERRCODE = 'invalid_parameter_value',
                      HINT = 'Events are INSERT, UPDATE, UPDATE OF column, ... and DELETE, joined by OR.';
        END IF;
    END LOOP;
    RETURN array_to_string(clauses, ' OR ');
END
$$;
COMMENT ON FUNCTION byoc.trigger_events_clause(text) IS 'Internal: the events clause of CREATE TRIGGER, every word checked.';

-- sql/enqueue.sql

-- Putting messages into the queue: byoc.send_sms, and triggers on application tables.

CREATE FUNCTION byoc.enqueue_sms(org_id uuid, to_number text, body text, credential_id uuid, send_at timestamptz,
                                 expires_at timestamptz, idempotency_key text) RETURNS uuid
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'byoc_enqueue_sms';
COMMENT ON FUNCTION byoc.enqueue_sms(uuid, text, text, uuid, timestamptz, timestamptz, text) IS
    'Internal: queues or schedules a message. Raises 22023 for one that cannot be sent. No access check.';

CREATE FUNCTION byoc.send_sms(to_number text, body text, send_at timestamptz DEFAULT now(), credential_id uuid DEFAULT NULL,
                              idempotency_key text DEFAULT NULL, expires_at timestamptz DEFAULT NULL,
                              org_id uuid DEFAULT byoc.current_org_id()) RETURNS uuid
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    message_id uuid;
BEGIN
    PERFORM byoc.require_organization(org_id);
    IF NOT EXISTS (SELECT FROM byoc.organizations o WHERE o.id = org_id AND o.shredded_at IS NULL) THEN
        IF EXISTS (SELECT FROM byoc.organizations o WHERE o.id = org_id) THEN
            RAISE EXCEPTION 'organization % was shredded', org_id USING ERRCODE = 'object_not_in_prerequisite_state';
        END IF;
        RAISE EXCEPTION 'organization % does not exist', org_id USING ERRCODE = 'foreign_key_violation';
    END IF;
    IF credential_id IS NOT NULL AND NOT EXISTS (
        SELECT FROM byoc.organization_api_credentials c
        WHERE c.org_id = send_sms.org_id AND c.id = send_sms.credential_id AND c.credential_type = 'twilio' AND c.is_active) THEN
        RAISE EXCEPTION 'credential % is not an active twilio credential of the organization', credential_id
            USING ERRCODE = 'invalid_parameter_value', HINT = 'byoc.credentials lists them; NULL means the default one.';
    END IF;
    IF expires_at <= greatest(send_at, now()) THEN
        RAISE EXCEPTION 'expires_at must be after send_at and in the future' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF idempotency_key IS NOT NULL THEN
        IF length(idempotency_key) NOT BETWEEN 1 AND 255 THEN
            RAISE EXCEPTION 'idempotency_key must have 1 to 255 characters' USING ERRCODE = 'invalid_parameter_value';
        END IF;
        -- Waits for a concurrent sender with the same key, then finds its message.
        INSERT INTO byoc.idempotency_keys AS k (org_id, key) VALUES (send_sms.org_id, send_sms.idempotency_key) ON CONFLICT DO NOTHING;
        IF NOT FOUND THEN
            SELECT k.message_id INTO message_id FROM byoc.idempotency_keys k
            WHERE k.org_id = send_sms.org_id AND k.key = send_sms.idempotency_key;
            RETURN message_id;
        END IF;
    END IF;
    message_id := byoc.enqueue_sms(org_id, to_number, body, credential_id, nullif(send_at, now()), nullif(expires_at, 'infinity'),
                                    idempotency_key);
    IF idempotency_key IS NOT NULL THEN
        UPDATE byoc.idempotency_keys k SET message_id = message_id
        WHERE k.org_id = send_sms.org_id AND k.key = send_sms.idempotency_key;
    END IF;
    RETURN message_id;
END
$$;
COMMENT ON FUNCTION byoc.send_sms(text, text, timestamptz, uuid, text, timestamptz, uuid) IS
    'Queues an SMS in this transaction and returns its id. to_number is E.164, body has at most 1,600 characters; send_at in the future '
    'schedules it; not sent after expires_at. The same idempotency_key of an organization returns the first message''s id.';

-- Triggers on application tables. extension/sms_trigger.cpp reads the first eight columns by position.

CREATE TABLE byoc.sms_trigger_definitions (
    target regclass NOT NULL,
    name name NOT NULL,
    to_number text NOT NULL,
    body text NOT NULL,
    org_column text NOT NULL,
    condition text,
    on_error text NOT NULL CHECK (on_error IN ('record', 'raise')),
    search_path text NOT NULL,
    created_by name NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (target, name)
);
COMMENT ON TABLE byoc.sms_trigger_definitions IS 'What the triggers made by byoc.create_sms_trigger do.';
COMMENT ON COLUMN byoc.sms_trigger_definitions.search_path IS 'Search path of its creator, for the names in condition.';
ALTER TABLE byoc.sms_trigger_definitions ENABLE ROW LEVEL SECURITY;
-- A definition whose trigger was dropped without byoc.drop_sms_trigger is not dumped, and goes when the next one is made.
SELECT pg_extension_config_dump('byoc.sms_trigger_definitions',
    'WHERE EXISTS (SELECT FROM pg_catalog.pg_trigger t WHERE t.tgrelid = target AND t.tgname = name)');

CREATE FUNCTION byoc.enqueue_sms_trigger() RETURNS trigger
LANGUAGE c AS 'MODULE_PATHNAME', 'byoc_enqueue_sms_trigger';
COMMENT ON FUNCTION byoc.enqueue_sms_trigger() IS 'Row trigger made by byoc.create_sms_trigger; its definition is found by table and name.';

CREATE FUNCTION byoc.rehearse_sms_trigger(target regclass, to_number text, body text, org_column text, condition text,
                                          search_path text) RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'byoc_rehearse_sms_trigger';
COMMENT ON FUNCTION byoc.rehearse_sms_trigger(regclass, text, text, text, text, text) IS
    'Internal: raises what would be wrong with such a trigger, before it exists.';

CREATE FUNCTION byoc.register_sms_trigger(target regclass, name name, to_number text, body text, org_column text, condition text,
                                          on_error text, search_path text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM byoc.require_new_trigger(target, name);
    PERFORM byoc.forget_trigger_definitions(target, name);
    INSERT INTO byoc.sms_trigger_definitions
        (target, name, to_number, body, org_column, condition, on_error, search_path, created_by)
    VALUES (register_sms_trigger.target, register_sms_trigger.name, register_sms_trigger.to_number, register_sms_trigger.body,
            register_sms_trigger.org_column, register_sms_trigger.condition, register_sms_trigger.on_error,
            register_sms_trigger.search_path, byoc.invoking_role()::text);
END
$$;
COMMENT ON FUNCTION byoc.register_sms_trigger(regclass, name, text, text, text, text, text, text) IS
    'Internal: stores the definition of a trigger that is about to be created, for whoever may create triggers on the table.';

CREATE FUNCTION byoc.unregister_sms_trigger(target regclass, name name) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM byoc.require_table_owner(target);
    DELETE FROM byoc.sms_trigger_definitions d
    WHERE d.target = unregister_sms_trigger.target AND d.name = unregister_sms_trigger.name;
    RETURN FOUND;
END
$$;
COMMENT ON FUNCTION byoc.unregister_sms_trigger(regclass, name) IS 'Internal: removes a definition for the table''s owner; false when there was none.';

-- search_path is a parameter because its default is evaluated for the caller, before the function's own is set.
CREATE FUNCTION byoc.create_sms_trigger(target regclass, to_number text, body text, org_id text DEFAULT 'org_id',
                                        condition text DEFAULT NULL, events text DEFAULT 'INSERT', name text DEFAULT NULL,
                                        on_error text DEFAULT 'record',
                                        search_path text DEFAULT pg_catalog.current_setting('search_path')) RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY INVOKER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    trigger_name CONSTANT name := coalesce(name::name, byoc.free_trigger_name(target, 'byoc_sms'));
BEGIN
    IF target IS NULL OR to_number IS NULL OR body IS NULL OR org_id IS NULL THEN
        RAISE EXCEPTION 'target, to_number, body and org_id must not be null' USING ERRCODE = 'null_value_not_allowed';
    END IF;
    PERFORM byoc.require_on_error(on_error, 'message');
    PERFORM byoc.rehearse_sms_trigger(target, to_number, body, org_id, condition, search_path);
    PERFORM byoc.register_sms_trigger(target, trigger_name, to_number, body, org_id, condition, on_error, search_path);
    EXECUTE format('CREATE TRIGGER %I AFTER %s ON %s FOR EACH ROW EXECUTE FUNCTION byoc.enqueue_sms_trigger()',
                   trigger_name, byoc.trigger_events_clause(events), target);
    RETURN trigger_name;
END
$$;
COMMENT ON FUNCTION byoc.create_sms_trigger(regclass, text, text, text, text, text, text, text, text) IS
    'Makes a trigger that queues an SMS for a row. to_number and body are templates: {{column}}, {{org.setting}}, filters '
    '{{c|default:"text"}} and {{c|truncate:80}}. condition is a boolean expression over NEW and OLD, its names found by search_path. '
    'Everything is checked now. A bad row becomes a failed message, or an error with on_error => ''raise''. Needs the table''s TRIGGER '
    'privilege; returns the trigger''s name.';

CREATE FUNCTION byoc.drop_sms_trigger(target regclass, name text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY INVOKER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NOT byoc.unregister_sms_trigger(target, name) THEN
        RAISE EXCEPTION 'table % has no SMS trigger "%"', target, name
            USING ERRCODE = 'undefined_object', HINT = 'byoc.sms_triggers lists them.';
    END IF;
    EXECUTE format('DROP TRIGGER IF EXISTS %I ON %s', name, target);
END
$$;
COMMENT ON FUNCTION byoc.drop_sms_trigger(regclass, text) IS 'Drops a trigger made by byoc.create_sms_trigger.';

-- sql/lanes.sql

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
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET jit = off
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

-- sql/claim.sql

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
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET jit = off
AS $$
BEGIN
    WITH moved AS (
        DELETE FROM byoc.queue q
        USING (SELECT e.org_id, e.lane, e.id FROM byoc.queue e
               WHERE e.org_id = expire_queued.org_id AND e.lane = expire_queued.lane AND e.id = ANY (ids) AND e.expires_at <= clock_timestamp()
               FOR UPDATE SKIP LOCKED) AS late
        WHERE q.org_id = late.org_id AND q.lane = late.lane AND q.id = late.id
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

-- What follows takes no statement: to start one would be most of what a claim of few messages costs.

CREATE FUNCTION byoc.look_around(OUT is_alone boolean, OUT is_any_due boolean, OUT is_any_wait_over boolean, OUT is_any_limit boolean)
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'byoc_look_around';
COMMENT ON FUNCTION byoc.look_around() IS
    'Internal: whether byoc.installation has one row, byoc.schedule a message that is due, byoc.lanes a busy one whose next_at has passed, and '
    'byoc.sender_limits any.';

CREATE FUNCTION byoc.lane_state(org_id uuid, lane uuid) RETURNS byoc.lanes
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'byoc_lane_state';
COMMENT ON FUNCTION byoc.lane_state(uuid, uuid) IS 'Internal: the lane''s row as it is now; NULL when it has none.';

CREATE FUNCTION byoc.sender_of(org_id uuid, lane uuid, OUT id uuid, OUT version integer, OUT fields jsonb, OUT state text)
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'byoc_sender_of';
COMMENT ON FUNCTION byoc.sender_of(uuid, uuid) IS
    'Internal: the credential that a lane''s messages go out by, as it is now: its own, or when that is revoked the organization''s default; NULLs '
    'when it has none.';

CREATE FUNCTION byoc.take_messages(claim_id uuid, org_id uuid, lane uuid, from_id uuid, size integer, at timestamptz, sender uuid, version integer,
                                   have double precision, burst double precision,
                                   OUT taken integer, OUT next_id uuid, OUT segments bigint, OUT missing bigint, OUT is_full boolean,
                                   OUT is_held boolean, OUT expired uuid[])
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'byoc_take_messages';
COMMENT ON FUNCTION byoc.take_messages(uuid, uuid, uuid, uuid, integer, timestamptz, uuid, integer, double precision, double precision) IS
    'Internal: moves at most `size` of a lane''s messages, from_id and those behind it, from byoc.queue to byoc.messages as being sent by the sender. '
    'have: segments that its limit leaves, with `burst` a full bucket, by which one goes whatever its size; NULL: no limit. taken, segments: what was '
    'moved; next_id: where to go on; missing: segments that it takes to send one more, NULL unless the limit kept it back; is_full: there may be more; '
    'is_held: somebody has one locked that would have been moved; expired: those whose time is over at that time, which stay where they are.';

CREATE FUNCTION byoc.finish_claim(claim_id uuid, dispatcher uuid, lease_until timestamptz)
RETURNS TABLE (claim_id uuid, org_id uuid, id uuid, provider text, credential_id uuid, credential_version integer, to_number text,
               body text, attempt integer, validity_seconds integer, lane uuid)
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'byoc_finish_claim';
COMMENT ON FUNCTION byoc.finish_claim(uuid, uuid, timestamptz) IS
    'Internal: stores the claim with what byoc.take_messages() moved for it in this transaction, and returns that.';

CREATE FUNCTION byoc.lock_lane(org_id uuid, lane uuid) RETURNS byoc.lanes
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    locked byoc.lanes;
BEGIN
    IF byoc.lane_state(lock_lane.org_id, lock_lane.lane) IS NULL THEN
        INSERT INTO byoc.lanes (org_id, lane, busy, next_at) VALUES (lock_lane.org_id, lock_lane.lane, false, now()) ON CONFLICT DO NOTHING;
    END IF;
    SELECT l.* INTO locked FROM byoc.lanes l WHERE l.org_id = lock_lane.org_id AND l.lane = lock_lane.lane FOR UPDATE SKIP LOCKED;
    RETURN locked;
END
$$;
COMMENT ON FUNCTION byoc.lock_lane(uuid, uuid) IS
    'Internal: the lane''s row, locked, and made when it has none; NULL when somebody else has it: who waits for more than one lane can wait for ever.';

CREATE FUNCTION byoc.bar_lane(org_id uuid, lane uuid, from_id uuid, size integer, at timestamptz) RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET jit = off
AS $$
DECLARE
    ids CONSTANT uuid[] := ARRAY(
        SELECT q.id FROM byoc.queue q
        WHERE q.org_id = bar_lane.org_id AND q.lane = bar_lane.lane AND q.id >= from_id ORDER BY q.id LIMIT size);
BEGIN
    -- What may not be sent waits, but not past its time.
    PERFORM byoc.expire_queued(org_id, lane, ids);
    UPDATE byoc.lanes l SET barred = true, busy = ids <> '{}', cursor = from_id, next_at = at + interval '10 seconds'
    WHERE l.org_id = bar_lane.org_id AND l.lane = bar_lane.lane;
END
$$;
COMMENT ON FUNCTION byoc.bar_lane(uuid, uuid, uuid, integer, timestamptz) IS
    'Internal: lets a locked lane wait whose credential may not send, and ends those of its next messages whose time is over.';

CREATE FUNCTION byoc.leave_to_fallback(org_id uuid, from_id uuid) RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET jit = off
AS $$
DECLARE
    none CONSTANT uuid := '00000000-0000-0000-0000-000000000000';
BEGIN
    IF byoc.lock_lane(org_id, none) IS NULL THEN
        PERFORM byoc.pass_on_lane(org_id, none, from_id);
        RETURN;
    END IF;
    UPDATE byoc.lanes l SET busy = true, cursor = CASE WHEN l.busy THEN least(l.cursor, from_id) ELSE from_id END
    WHERE l.org_id = leave_to_fallback.org_id AND l.lane = none;
    PERFORM byoc.wake_dispatcher(org_id);
END
$$;
COMMENT ON FUNCTION byoc.leave_to_fallback(uuid, uuid) IS
    'Internal: lets messages queued without a credential wait where byocds with an account in their environment find them (byoc.is_left_to_fallback).';

CREATE FUNCTION byoc.claim_jobs(dispatcher uuid, slots integer, lease interval, lanes_in_use uuid[] DEFAULT '{}', rooms integer[] DEFAULT '{}',
                                room integer DEFAULT NULL)
RETURNS TABLE (claim_id uuid, org_id uuid, id uuid, provider text, credential_id uuid, credential_version integer, to_number text,
               body text, attempt integer, validity_seconds integer, lane uuid)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
-- Plans are made once, and one made while the tables are empty must not read them as a whole when they are full.
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    lanes_at_once CONSTANT integer := 32;
    has_slept CONSTANT boolean := byoc.end_sleep();
    -- Who just slept has looked everywhere before.
    once_a_second CONSTANT boolean := NOT has_slept AND byoc.is_sweep_due();
    new_claim CONSTANT uuid := byoc.uuid_v7();
    none CONSTANT uuid := '00000000-0000-0000-0000-000000000000';
    fallback CONSTANT integer := byoc.session_fallback();
    started timestamptz;
    full_lanes uuid[] := '{}';
    around record;
    ready record;
    share integer;
    of_org uuid;
    of_lane uuid;
    from_id uuid;
    state byoc.lanes;
    sender record;
    is_half_open boolean;
    is_trial boolean;
    is_written boolean;
    rate double precision;
    burst double precision;
    have double precision;
    got record;
    taken integer := 0;
BEGIN
    IF fallback IS NOT NULL THEN
        PERFORM byoc.keep_fallback();
    END IF;
    around := byoc.look_around();
    -- A restore may begin under a running dispatcher: its second row shows at once.
    IF once_a_second OR NOT around.is_alone THEN
        PERFORM byoc.require_adopted();
    END IF;
    IF slots < 1 THEN
        RETURN;
    END IF;
    IF 0 >= ANY (rooms) THEN
        full_lanes := ARRAY(SELECT u.lane FROM unnest(lanes_in_use, rooms) AS u (lane, room) WHERE u.room <= 0);
    END IF;
    IF around.is_any_due THEN
        PERFORM byoc.promote_due(500);
    END IF;
    IF around.is_any_wait_over THEN
        PERFORM byoc.end_waits(lanes_at_once, full_lanes);
    END IF;
    IF once_a_second THEN
        PERFORM byoc.sweep_lanes();
    END IF;
    ready := byoc.take_lanes(least(lanes_at_once, slots), full_lanes);
    IF ready.overflowed AND NOT once_a_second THEN
        PERFORM byoc.sweep_lanes();
    END IF;
    started := clock_timestamp();
    FOR i IN 1 .. cardinality(ready.lanes) LOOP
        of_org := ready.org_ids[i];
        of_lane := ready.lanes[i];
        from_id := ready.from_ids[i];
        -- Each has the same; what lanes before it did not need goes around.
        share := (slots - taken) / (cardinality(ready.lanes) - i + 1);
        state := byoc.lane_state(of_org, of_lane);
        sender := byoc.sender_of(of_org, of_lane);
        IF of_lane = none AND sender.id IS NULL THEN
            IF byoc.is_left_to_fallback(of_org) THEN
                PERFORM byoc.leave_to_fallback(of_org, from_id);
                CONTINUE;
            END IF;
            -- This session's own account takes those of an organization that never had a credential.
            IF fallback IS NOT NULL AND byoc.falls_back(of_org) THEN
                SELECT none AS id, f.version, f.fields, NULL::text AS state INTO sender FROM byoc.fallback_senders f WHERE f.version = fallback;
            END IF;
        END IF;
        -- It waits, for these messages too.
        CONTINUE WHEN state.busy AND state.next_at > started AND state.cursor <= from_id;
        IF around.is_any_limit THEN
            SELECT m.segments_per_second, m.burst INTO rate, burst FROM byoc.sender_limit(of_org, sender.fields) AS m;
        ELSE
            rate := byoc.default_sender_rate(byoc.sender_kind(byoc.limited_sender(sender.fields)));
            burst := byoc.default_sender_burst(rate);
        END IF;
        is_half_open := coalesce(state.failures >= byoc.breaker_threshold(), false);
        -- A lane that is as most are needs no lock: nobody else serves it, and nothing about it is to be remembered.
        is_written := state.lane IS NULL OR state.busy OR state.next_at > started OR is_half_open OR state.barred OR byoc.is_barred(sender.state)
                      OR rate IS NOT NULL OR state.tokens IS NOT NULL;
        IF is_written THEN
            state := byoc.lock_lane(of_org, of_lane);
            is_half_open := state.failures >= byoc.breaker_threshold();
            IF state.lane IS NULL THEN
                PERFORM byoc.pass_on_lane(of_org, of_lane, from_id);
                CONTINUE;
            END IF;
            -- What it waited with is behind nothing that came later.
            IF state.busy THEN
                from_id := least(from_id, state.cursor);
            END IF;
            IF state.next_at > started THEN
                UPDATE byoc.lanes l SET busy = true, cursor = CASE WHEN l.busy THEN least(l.cursor, from_id) ELSE from_id END
                WHERE l.org_id = of_org AND l.lane = of_lane AND NOT (l.busy AND l.cursor <= from_id);
                CONTINUE;
            -- Looked at again now that the lane is locked: byoc.release_lanes() may have had it just before.
            ELSIF byoc.is_barred(sender.state) AND byoc.is_barred((byoc.sender_of(of_org, of_lane)).state) THEN
                PERFORM byoc.bar_lane(of_org, of_lane, from_id, share, started);
                CONTINUE;
            END IF;
        END IF;
        have := CASE WHEN rate IS NOT NULL THEN least(burst, coalesce(state.tokens + rate * extract(epoch FROM started - state.tokens_at), burst)) END;
        got := byoc.take_messages(new_claim, of_org, of_lane, from_id,
                                  CASE WHEN is_half_open THEN 1
                                       ELSE least(share, coalesce(rooms[array_position(lanes_in_use, of_lane)], claim_jobs.room, slots)) END,
                                  started, sender.id, sender.version, have, burst);
        taken := taken + got.taken;
        is_trial := is_half_open AND got.taken > 0;
        IF got.expired IS NOT NULL THEN
            PERFORM byoc.expire_queued(of_org, of_lane, got.expired);
        END IF;
        IF got.is_held AND NOT is_written THEN
            state := byoc.lock_lane(of_org, of_lane);
            is_written := state.lane IS NOT NULL;
        END IF;
        IF is_written THEN
            UPDATE byoc.lanes l
            SET cursor = got.next_id, barred = false, busy = is_trial OR got.is_held OR got.missing IS NOT NULL,
                next_at = CASE WHEN is_trial THEN started + claim_jobs.lease
                               WHEN got.is_held THEN started + interval '1 second'
                               WHEN got.missing IS NULL THEN l.next_at
                               ELSE started + (least(got.missing, burst + got.segments) - have) / rate * interval '1 second' END,
                trial = CASE WHEN is_trial THEN got.next_id ELSE l.trial END,
                tokens = have - got.segments, tokens_at = CASE WHEN rate IS NOT NULL THEN started END
            WHERE l.org_id = of_org AND l.lane = of_lane;
        END IF;
        IF got.is_full AND NOT is_trial OR got.is_held AND NOT is_written THEN
            PERFORM byoc.pass_on_lane(of_org, of_lane, got.next_id);
        END IF;
    END LOOP;
    IF taken = 0 THEN
        RETURN;
    END IF;
    RETURN QUERY SELECT f.* FROM byoc.finish_claim(new_claim, claim_jobs.dispatcher, started + claim_jobs.lease) AS f;
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
    IF byoc.has_wakeups(full_lanes) OR byoc.sweep_lanes() > 0 THEN
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

-- sql/outcome.sql

-- What became of an attempt. What people do to messages afterwards is in commands.sql.

CREATE FUNCTION byoc.retry_window() RETURNS interval
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN interval '24 hours';
COMMENT ON FUNCTION byoc.retry_window() IS
    'How long after its creation (or send_at) a message without expires_at is tried, and how long a message list that cannot be read is asked for.';

CREATE FUNCTION byoc.store_sent(org_ids uuid[], ids uuid[], claim_ids uuid[], provider_sids text[], from_numbers text[], segments smallint[],
                                http_statuses smallint[], durations_ms integer[], OUT claims uuid[], OUT messages integer[])
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'byoc_store_sent';
COMMENT ON FUNCTION byoc.store_sent(uuid[], uuid[], uuid[], text[], text[], smallint[], smallint[], integer[]) IS
    'Internal: stores without statements that the provider took these messages, with their history, of claims that are locked; returns how many '
    'messages of which claim were still theirs. NULLs, and nothing done: only a statement may write to these tables, as somebody gave them a trigger, say.';

CREATE FUNCTION byoc.store_sent_by_statement(
    org_ids uuid[], ids uuid[], claim_ids uuid[], provider_sids text[], from_numbers text[], segments smallint[],
    http_statuses smallint[], durations_ms integer[], OUT claims uuid[], OUT messages integer[])
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET jit = off
AS $$
BEGIN
    WITH sent AS (
        UPDATE byoc.messages m
        SET status = 'sent', claim_id = NULL, finished_at = clock_timestamp(), sent_at = clock_timestamp(), provider_sid = t.provider_sid,
            from_number = t.from_number, segments = coalesce(nullif(t.segments, 0), m.segments), error_code = NULL, error_message = NULL
        FROM unnest(org_ids, ids, claim_ids, provider_sids, from_numbers, store_sent_by_statement.segments, http_statuses, durations_ms)
            AS t (org_id, id, claim_id, provider_sid, from_number, segments, http_status, duration_ms)
        WHERE m.org_id = t.org_id AND m.id = t.id AND m.claim_id = t.claim_id
        RETURNING m.org_id, m.id, m.attempts, t.claim_id, t.http_status, t.provider_sid, t.duration_ms
    ), noted AS (
        INSERT INTO byoc.message_events (org_id, message_id, id, event, attempt, http_status, provider_sid, duration_ms)
        SELECT s.org_id, s.id, byoc.uuid_v7(), 'accepted', s.attempts, s.http_status, s.provider_sid, s.duration_ms FROM sent s
    )
    SELECT array_agg(s.claim_id), array_agg(s.messages) INTO claims, messages
    FROM (SELECT s.claim_id, count(*)::integer AS messages FROM sent s GROUP BY s.claim_id) AS s;
END
$$;
COMMENT ON FUNCTION byoc.store_sent_by_statement(uuid[], uuid[], uuid[], text[], text[], smallint[], smallint[], integer[]) IS
    'Internal: byoc.store_sent() for tables that only a statement may write to.';

CREATE FUNCTION byoc.settle_accepted(org_ids uuid[], ids uuid[], claim_ids uuid[], provider_sids text[], from_numbers text[], segments smallint[],
                                     http_statuses smallint[], durations_ms integer[]) RETURNS integer
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET jit = off
AS $$
DECLARE
    settled record;
BEGIN
    -- The claim's id fences off a dispatcher that was taken for dead. Claims are locked first, as byoc.rescue_expired() does:
    -- whoever comes first wins, and neither waits for the other in a circle.
    PERFORM FROM byoc.claims c WHERE c.id = ANY (claim_ids) ORDER BY c.id FOR UPDATE;
    settled := byoc.store_sent(org_ids, ids, claim_ids, provider_sids, from_numbers, segments, http_statuses, durations_ms);
    IF settled.claims IS NULL THEN
        settled := byoc.store_sent_by_statement(org_ids, ids, claim_ids, provider_sids, from_numbers, segments, http_statuses, durations_ms);
    END IF;
    WITH less AS (
        UPDATE byoc.claims c SET unsettled = c.unsettled - s.messages
        FROM unnest(settled.claims, settled.messages) AS s (claim, messages) WHERE c.id = s.claim AND c.unsettled > s.messages
    )
    DELETE FROM byoc.claims c USING unnest(settled.claims, settled.messages) AS s (claim, messages) WHERE c.id = s.claim AND c.unsettled <= s.messages;
    RETURN coalesce((SELECT sum(n) FROM unnest(settled.messages) AS n), 0);
END
$$;
COMMENT ON FUNCTION byoc.settle_accepted(uuid[], uuid[], uuid[], text[], text[], smallint[], smallint[], integer[]) IS
    'Internal: the provider took these messages (parallel arrays); returns how many of them were still the claims''.';

CREATE FUNCTION byoc.record_accepted(org_ids uuid[], ids uuid[], claim_ids uuid[], attempts smallint[], provider_sids text[], from_numbers text[],
                                     segments smallint[], durations_ms integer[]) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    recorded integer := 0;
BEGIN
    IF NOT EXISTS (SELECT FROM byoc.reconciliations) AND NOT EXISTS (SELECT FROM byoc.lanes l WHERE l.failures > 0) THEN
        recorded := byoc.settle_accepted(org_ids, ids, claim_ids, provider_sids, from_numbers, segments, NULL, durations_ms);
    END IF;
    -- Something is late, or in trouble: those that are settled stay so.
    IF recorded < cardinality(ids) THEN
        recorded := recorded + byoc.record_outcomes((
            SELECT jsonb_agg(to_jsonb(t) || '{"outcome": "accepted"}')
            FROM unnest(org_ids, ids, claim_ids, attempts, provider_sids, from_numbers, record_accepted.segments, durations_ms)
                AS t (org_id, id, claim_id, attempt, provider_sid, from_number, segments, duration_ms)));
    END IF;
    RETURN recorded;
END
$$;
COMMENT ON FUNCTION byoc.record_accepted(uuid[], uuid[], uuid[], smallint[], text[], text[], smallint[], integer[]) IS
    'For byocd: byoc.record_outcomes() for accepted messages alone, in parallel arrays: there are many. NULL: the provider did not say.';

CREATE FUNCTION byoc.record_outcomes(outcomes jsonb) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET jit = off
AS $$
DECLARE
    recorded integer;
BEGIN
    IF EXISTS (SELECT FROM byoc.reconciliations) THEN
        outcomes := byoc.without_exchanged(outcomes);
    END IF;
    SELECT byoc.settle_accepted(array_agg(t.org_id), array_agg(t.id), array_agg(t.claim_id), array_agg(t.provider_sid), array_agg(t.from_number),
                                array_agg(t.segments), array_agg(t.http_status), array_agg(t.duration_ms)) INTO recorded
    FROM jsonb_to_recordset(outcomes) AS t (org_id uuid, id uuid, claim_id uuid, outcome text, provider_sid text, from_number text, segments smallint,
                                            http_status smallint, duration_ms integer)
    WHERE t.outcome = 'accepted';
    IF recorded > 0 AND EXISTS (SELECT FROM byoc.lanes l WHERE l.failures > 0) THEN
        PERFORM byoc.close_breakers(outcomes);
    END IF;
    IF recorded < jsonb_array_length(outcomes) THEN
        recorded := recorded + byoc.record_setbacks(outcomes);
        IF recorded < jsonb_array_length(outcomes) THEN
            PERFORM byoc.note_late(outcomes);
        END IF;
    END IF;
    RETURN recorded;
END
$$;
COMMENT ON FUNCTION byoc.record_outcomes(jsonb) IS
    'For byocd: records what became of claimed messages: accepted, rejected, throttled, unavailable, unknown or returned. The classes in '
    'byoc.provider_errors decide what is tried again. Returns how many were still the caller''s.';

-- What was not accepted: rare, so plain statements.
CREATE FUNCTION byoc.record_setbacks(outcomes jsonb) RETURNS integer
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    finished integer;
    returned integer;
BEGIN
    IF EXISTS (SELECT FROM jsonb_to_recordset(outcomes) AS t (outcome text)
               WHERE t.outcome IS NULL
                  OR t.outcome NOT IN ('accepted', 'rejected', 'throttled', 'unavailable', 'unknown', 'returned')) THEN
        RAISE EXCEPTION 'outcome must be accepted, rejected, throttled, unavailable, unknown or returned'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM FROM byoc.claims c
    WHERE c.id IN (SELECT t.claim_id FROM jsonb_to_recordset(outcomes) AS t (claim_id uuid)) ORDER BY c.id FOR UPDATE;
    PERFORM byoc.close_breakers(outcomes);
    PERFORM byoc.open_breakers(outcomes);
    PERFORM byoc.fail_credentials(outcomes);
    -- Final: the provider refused it for good. What it refused because of the credential waits for that, however long.
    WITH told AS MATERIALIZED (
        SELECT t.*, t.outcome IN ('throttled', 'unavailable')
                    OR (t.outcome = 'rejected' AND coalesce(e.class IN ('retry_later', 'resend', 'pause_credential'), false)) AS retryable,
               t.outcome = 'rejected' AND e.class = 'pause_credential' AS waits
        FROM jsonb_to_recordset(outcomes) AS t (
            org_id uuid, id uuid, claim_id uuid, outcome text, from_number text, error_code text, error_message text,
            http_status smallint, duration_ms integer)
        LEFT JOIN byoc.provider_errors e ON e.provider = 'twilio' AND e.code = t.error_code
        WHERE t.outcome NOT IN ('accepted', 'returned')
    ), final AS (
        UPDATE byoc.messages m
        SET status = CASE WHEN m.expires_at <= clock_timestamp() AND t.retryable THEN 'expired' ELSE 'failed' END,
            claim_id = NULL, finished_at = clock_timestamp(), from_number = t.from_number, error_code = t.error_code,
            error_message = t.error_message
        FROM told t
        WHERE m.org_id = t.org_id AND m.id = t.id AND m.claim_id = t.claim_id AND NOT byoc.is_ambiguous(t.outcome, t.http_status)
          -- An environment's account is no credential that its tenant could mend.
          AND (NOT t.retryable OR (t.waits AND m.used_credential_id = '00000000-0000-0000-0000-000000000000')
               OR coalesce(m.expires_at, CASE WHEN t.waits THEN 'infinity' ELSE greatest(m.send_at, m.created_at) + byoc.retry_window() END)
                  <= clock_timestamp())
        RETURNING m.org_id, m.id, m.attempts, t.outcome, t.http_status, t.error_code, t.error_message, t.duration_ms
    ), noted AS (
        INSERT INTO byoc.message_events (org_id, message_id, id, event, attempt, http_status, error_code, error_message, duration_ms)
        SELECT f.org_id, f.id, byoc.uuid_v7(), f.outcome, f.attempts, f.http_status, f.error_code, f.error_message, f.duration_ms
        FROM final f
        RETURNING 1
    )
    SELECT count(*) INTO finished FROM noted;
    -- The rest is tried again, or was never tried, or nobody knows.
    returned := byoc.take_back(outcomes) + byoc.reconcile_later(outcomes);
    UPDATE byoc.claims c
    SET unsettled = (SELECT count(*) FROM unnest(c.org_ids, c.message_ids) AS i (org_id, id)
                     JOIN byoc.messages m ON m.org_id = i.org_id AND m.id = i.id AND m.claim_id = c.id
                     WHERE NOT byoc.is_reconciling(i.org_id, i.id, c.id))
    WHERE c.id IN (SELECT t.claim_id FROM jsonb_to_recordset(outcomes) AS t (claim_id uuid));
    DELETE FROM byoc.claims c
    WHERE c.unsettled = 0 AND c.id IN (SELECT t.claim_id FROM jsonb_to_recordset(outcomes) AS t (claim_id uuid));
    RETURN finished + returned;
END
$$;
COMMENT ON FUNCTION byoc.record_setbacks(jsonb) IS 'Internal: records every outcome but accepted; returns how many were still the caller''s.';

CREATE FUNCTION byoc.take_back(outcomes jsonb) RETURNS integer
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    taken integer;
BEGIN
    WITH told AS MATERIALIZED (
        SELECT t.* FROM jsonb_to_recordset(outcomes) AS t (
            org_id uuid, id uuid, claim_id uuid, outcome text, error_code text, error_message text, http_status smallint,
            retry_ms integer, duration_ms integer)
        WHERE t.outcome <> 'accepted' AND NOT byoc.is_ambiguous(t.outcome, t.http_status)
    ), back AS (
        DELETE FROM byoc.messages m USING told t
        WHERE m.org_id = t.org_id AND m.id = t.id AND m.claim_id = t.claim_id
        RETURNING m.*, t.outcome, t.retry_ms, t.http_status, t.duration_ms, t.error_code AS code, t.error_message AS reason
    ), waiting AS (
        INSERT INTO byoc.schedule (org_id, id, due_at, to_number, body, segments, credential_id, attempts, source_table, idempotency_key,
                                   created_at, send_at, expires_at)
        SELECT b.org_id, b.id,
               CASE WHEN b.outcome = 'returned' THEN clock_timestamp()
                    ELSE clock_timestamp() + greatest(coalesce(b.retry_ms, 1000), 0) * interval '1 millisecond' END,
               b.to_number, b.body, coalesce(b.segments, 1), b.credential_id, b.attempts - (b.outcome = 'returned')::integer, b.source_table,
               b.idempotency_key, b.created_at, b.send_at, b.expires_at
        FROM back b
    ), noted AS (
        INSERT INTO byoc.message_events (org_id, message_id, id, event, attempt, http_status, error_code, error_message, duration_ms)
        SELECT b.org_id, b.id, byoc.uuid_v7(), b.outcome, b.attempts, b.http_status, b.code, b.reason, b.duration_ms
        FROM back b
        RETURNING org_id
    )
    SELECT count(byoc.wake_dispatcher(n.org_id)) INTO taken FROM noted n;
    RETURN taken;
END
$$;
COMMENT ON FUNCTION byoc.take_back(jsonb) IS 'Internal: puts claimed messages back to be sent later (retry_ms) or, when returned, at once.';

-- The breaker of a lane. Closed: failures below the threshold. Open: next_at lies in the future. Half open: next_at has passed, one
-- message at a time.

CREATE FUNCTION byoc.lock_lanes(outcomes jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM FROM byoc.lanes l
    WHERE (l.org_id, l.lane) IN (
        SELECT m.org_id, m.used_credential_id FROM jsonb_to_recordset(outcomes) AS t (org_id uuid, id uuid)
        JOIN byoc.messages m ON m.org_id = t.org_id AND m.id = t.id)
    ORDER BY l.org_id, l.lane FOR UPDATE;
END
$$;
COMMENT ON FUNCTION byoc.lock_lanes(jsonb) IS 'Internal: locks the lanes of these messages, in the order in which everybody locks lanes.';

CREATE FUNCTION byoc.open_breakers(outcomes jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    changed integer;
BEGIN
    PERFORM byoc.lock_lanes(outcomes);
    WITH told AS MATERIALIZED (
        SELECT m.org_id, m.used_credential_id AS lane, array_agg(m.id) AS ids, count(*) FILTER (WHERE t.outcome NOT IN ('rejected', 'returned')) AS failures,
               clock_timestamp() + max(greatest(t.retry_ms, 0)) FILTER (WHERE t.outcome = 'throttled') * interval '1 millisecond' AS paused_until
        FROM jsonb_to_recordset(outcomes) AS t (org_id uuid, id uuid, claim_id uuid, outcome text, retry_ms integer)
        JOIN byoc.messages m ON m.org_id = t.org_id AND m.id = t.id AND m.claim_id = t.claim_id
        WHERE t.outcome <> 'accepted'
        GROUP BY m.org_id, m.used_credential_id
    ), counted AS (
        SELECT t.org_id, t.lane, t.paused_until, c.trial_ended, k.failures + c.more AS failures, c.more > 0 OR c.trial_ended AS is_news
        FROM told t JOIN byoc.lanes k ON k.org_id = t.org_id AND k.lane = t.lane
        -- Once it has opened only trials count, not what was on its way then.
        CROSS JOIN LATERAL (
            SELECT coalesce(k.trial = ANY (t.ids), false) AS trial_ended,
                   CASE WHEN k.failures < byoc.breaker_threshold() THEN least(t.failures, byoc.breaker_threshold() - k.failures)
                        WHEN k.trial = ANY (t.ids) THEN least(t.failures, 1) ELSE 0 END::integer AS more) AS c
    ), waiting AS (
        UPDATE byoc.lanes l
        SET failures = c.failures, trial = CASE WHEN NOT c.trial_ended THEN l.trial END, paused_until = greatest(l.paused_until, c.paused_until),
            next_at = greatest(CASE WHEN NOT c.trial_ended THEN l.next_at END, l.paused_until, c.paused_until,
                CASE WHEN c.is_news AND c.failures >= byoc.breaker_threshold() THEN
                    clock_timestamp() + least(interval '10 seconds', interval '0.5 seconds' * 2 ^ least(10, c.failures - byoc.breaker_threshold())) END)
        FROM counted c
        WHERE l.org_id = c.org_id AND l.lane = c.lane AND (c.is_news OR c.paused_until IS NOT NULL)
        RETURNING l.org_id
    )
    SELECT count(byoc.wake_dispatcher(w.org_id)) INTO changed FROM waiting w;
END
$$;
COMMENT ON FUNCTION byoc.open_breakers(jsonb) IS
    'Internal: counts failures of the provider in their lanes. A lane that reaches byoc.breaker_threshold() waits, each time longer, up to 10 '
    'seconds; one that was throttled waits at least as long as the provider asked.';

CREATE FUNCTION byoc.close_breakers(outcomes jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    changed integer;
BEGIN
    PERFORM byoc.lock_lanes(outcomes);
    WITH closed AS (
        UPDATE byoc.lanes l SET failures = 0, trial = NULL, next_at = greatest(least(l.next_at, clock_timestamp()), l.paused_until)
        FROM (SELECT DISTINCT m.org_id, m.used_credential_id AS lane
              FROM jsonb_to_recordset(outcomes) AS t (org_id uuid, id uuid, outcome text, http_status integer)
              JOIN byoc.messages m ON m.org_id = t.org_id AND m.id = t.id
              WHERE t.outcome = 'accepted' OR (t.outcome = 'rejected' AND t.http_status IS NOT NULL)) AS a
        WHERE l.org_id = a.org_id AND l.lane = a.lane AND l.failures > 0
        RETURNING l.org_id
    )
    SELECT count(byoc.wake_dispatcher(c.org_id)) INTO changed FROM closed c;
END
$$;
COMMENT ON FUNCTION byoc.close_breakers(jsonb) IS 'Internal: the provider answered in these lanes: it took a message, or refused one for what it is.';

-- sql/calls.sql

-- Calls: requests that may be repeated without harm, because the provider tells by the call's id, or by what is asked for, that
-- it has been made (a calendar event, a webhook). So no request in flight needs to be known: a call whose outcome is not recorded
-- within its lease is simply made again.

CREATE DOMAIN byoc.call_status AS text
    CHECK (VALUE IN ('available', 'running', 'retryable', 'completed', 'discarded', 'cancelled', 'paused'));
COMMENT ON DOMAIN byoc.call_status IS
    'Internal: state of a call. available: waits for its turn. running: a dispatcher has it. retryable: failed, and is tried again. completed: the provider '
    'took it. discarded: refused, or failed for too long. cancelled: not wanted any more. paused: came with a restored database.';

CREATE TABLE byoc.calls (
    org_id uuid NOT NULL,
    id uuid NOT NULL,
    credential_type text NOT NULL,
    credential_id uuid NOT NULL,
    operation text NOT NULL,
    subject uuid NOT NULL,
    revision integer NOT NULL,
    payload jsonb NOT NULL CHECK (jsonb_typeof(payload) = 'object'),
    status byoc.call_status NOT NULL DEFAULT 'available',
    send_at timestamptz NOT NULL DEFAULT now(),
    due_at timestamptz DEFAULT now(),
    retry_until timestamptz,
    attempts smallint NOT NULL DEFAULT 0,
    claim_id uuid,
    used_credential_id uuid,
    used_credential_version integer,
    claimed_at timestamptz,
    http_status smallint,
    error_code text,
    error_message text,
    result jsonb,
    source_table text,
    created_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    PRIMARY KEY (org_id, id),
    UNIQUE (org_id, subject, revision),
    CHECK ((due_at IS NULL) = (status NOT IN ('available', 'running', 'retryable'))),
    CHECK ((claim_id IS NULL) = (status <> 'running')),
    CHECK ((finished_at IS NULL) = (status NOT IN ('completed', 'discarded', 'cancelled')))
);
COMMENT ON TABLE byoc.calls IS 'Calls to providers, waiting and finished.';
COMMENT ON COLUMN byoc.calls.credential_id IS 'Credential to use; the nil UUID: the organization''s default of that type when it is made.';
COMMENT ON COLUMN byoc.calls.subject IS
    'What it is about. Of the calls about one subject only the last revision is made, and not while another one is being made; '
    'once more if an older one may have come after it.';
COMMENT ON COLUMN byoc.calls.send_at IS 'Never made before, whatever happens to it.';
COMMENT ON COLUMN byoc.calls.due_at IS 'Not made before; running: when its lease ends. NULL: it is not to be made.';
COMMENT ON COLUMN byoc.calls.retry_until IS 'Until when it is tried again; set by the first attempt.';
COMMENT ON COLUMN byoc.calls.claim_id IS 'Claim that is making it; a result from any other claim is ignored.';
COMMENT ON COLUMN byoc.calls.result IS 'What the provider''s adapter kept of the answer.';
-- Finished calls are in none of these.
CREATE INDEX calls_due ON byoc.calls (org_id, credential_type, credential_id, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX calls_running ON byoc.calls (org_id, credential_type, credential_id) WHERE claim_id IS NOT NULL;
ALTER TABLE byoc.calls ENABLE ROW LEVEL SECURITY;
SELECT pg_extension_config_dump('byoc.calls', '');

CREATE TABLE byoc.call_breakers (
    org_id uuid NOT NULL,
    credential_type text NOT NULL,
    credential_id uuid NOT NULL,
    used_credential_id uuid,
    used_credential_version integer,
    failures integer NOT NULL,
    paused_until timestamptz NOT NULL,
    changed_at timestamptz NOT NULL,
    PRIMARY KEY (org_id, credential_type, credential_id)
);
COMMENT ON TABLE byoc.call_breakers IS
    'Credentials whose calls failed or were throttled last; an answer removes the row. Not dumped: it says nothing about calls.';
COMMENT ON COLUMN byoc.call_breakers.failures IS
    'In a row. From byoc.breaker_threshold() on one call at a time tries the way.';
COMMENT ON COLUMN byoc.call_breakers.used_credential_version IS
    'Says nothing about the credential once that has changed. Nobody deletes it then: the dispatcher would wait for a tenant''s transaction.';
ALTER TABLE byoc.call_breakers ENABLE ROW LEVEL SECURITY;

CREATE FUNCTION byoc.enqueue_call(org_id uuid, credential_type text, operation text, payload jsonb, subject uuid DEFAULT NULL,
                                  credential_id uuid DEFAULT NULL, due_at timestamptz DEFAULT now(), source_table text DEFAULT NULL,
                                  id uuid DEFAULT byoc.uuid_v7()) RETURNS uuid
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    revision integer := 1;
BEGIN
    IF subject IS NOT NULL THEN
        UPDATE byoc.calls c SET status = 'cancelled', due_at = NULL, finished_at = clock_timestamp(), error_code = 'superseded'
        WHERE c.org_id = enqueue_call.org_id AND c.subject = enqueue_call.subject AND c.status IN ('available', 'retryable', 'paused');
        SELECT max(c.revision) + 1 INTO revision FROM byoc.calls c WHERE c.org_id = enqueue_call.org_id AND c.subject = enqueue_call.subject;
    END IF;
    INSERT INTO byoc.calls (org_id, id, credential_type, credential_id, operation, subject, revision, payload, send_at, due_at, source_table)
    VALUES (enqueue_call.org_id, enqueue_call.id, enqueue_call.credential_type,
            coalesce(enqueue_call.credential_id, '00000000-0000-0000-0000-000000000000'), enqueue_call.operation,
            coalesce(enqueue_call.subject, enqueue_call.id), coalesce(revision, 1), enqueue_call.payload, enqueue_call.due_at, enqueue_call.due_at,
            enqueue_call.source_table);
    PERFORM byoc.wake_dispatcher(org_id);
    RETURN id;
END
$$;
COMMENT ON FUNCTION byoc.enqueue_call(uuid, text, text, jsonb, uuid, uuid, timestamptz, text, uuid) IS
    'Internal: leaves a call to be made once this transaction commits; returns its id. No access check. It takes the place of calls about the same '
    'subject that still wait; who gives a subject holds a lock on it. NULL subject: the call itself.';

CREATE FUNCTION byoc.claim_calls(max_count integer, lease interval, per_credential integer)
RETURNS TABLE (org_id uuid, id uuid, claim_id uuid, credential_type text, credential_id uuid, credential_version integer, operation text,
               subject uuid, payload jsonb, attempt integer, created_at bigint)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
-- Plans are made once, and one made while the table is empty must not read it as a whole when it is full.
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    new_claim CONSTANT uuid := byoc.uuid_v7();
    started CONSTANT timestamptz := clock_timestamp();
BEGIN
    IF NOT EXISTS (SELECT FROM byoc.calls c WHERE c.due_at IS NOT NULL) THEN
        RETURN;
    END IF;
    PERFORM byoc.require_adopted();
    RETURN QUERY
    -- Steps from credential to credential through the index instead of reading every call.
    WITH RECURSIVE lanes AS (
        (SELECT c.org_id, c.credential_type, c.credential_id FROM byoc.calls c WHERE c.due_at IS NOT NULL
         ORDER BY c.org_id, c.credential_type, c.credential_id LIMIT 1)
        UNION ALL
        SELECT n.org_id, n.credential_type, n.credential_id
        FROM lanes l CROSS JOIN LATERAL (
            SELECT c.org_id, c.credential_type, c.credential_id FROM byoc.calls c
            WHERE c.due_at IS NOT NULL AND (c.org_id, c.credential_type, c.credential_id) > (l.org_id, l.credential_type, l.credential_id)
            ORDER BY c.org_id, c.credential_type, c.credential_id LIMIT 1) AS n
    ), busy AS MATERIALIZED (
        SELECT l.org_id, l.credential_type, l.credential_id, r.running, sum(r.running) OVER (PARTITION BY l.org_id)::integer AS org_running,
               -- No organization has more than two thirds of what there is room for: an address that never answers leaves slots to the others.
               ceil((max_count + sum(r.running) OVER ()) * 2 / 3.0)::integer AS org_most
        FROM lanes l CROSS JOIN LATERAL (
            SELECT count(*)::integer AS running FROM byoc.calls c
            WHERE c.org_id = l.org_id AND c.credential_type = l.credential_type AND c.credential_id = l.credential_id
              AND c.claim_id IS NOT NULL AND c.due_at > started) AS r
    ), open AS MATERIALIZED (
        SELECT l.org_id, l.credential_type, l.credential_id, l.running, l.org_running, l.org_most, k.id AS sender, k.version,
               -- Somebody may yet give the organization a default one.
               CASE WHEN k.id IS NULL AND l.credential_id = '00000000-0000-0000-0000-000000000000' THEN byoc.retry_window() ELSE interval '0' END AS waits,
               least(CASE WHEN b.failures IS NULL OR b.failures < byoc.breaker_threshold() THEN per_credential ELSE 1 END - l.running,
                     l.org_most - l.org_running, max_count) AS room
        FROM busy l
        LEFT JOIN byoc.organization_api_credentials k
            ON k.org_id = l.org_id AND k.credential_type = l.credential_type AND k.is_active
           AND CASE l.credential_id WHEN '00000000-0000-0000-0000-000000000000' THEN k.is_default ELSE k.id = l.credential_id END
        LEFT JOIN byoc.call_breakers b
            ON b.org_id = l.org_id AND b.credential_type = l.credential_type AND b.credential_id = l.credential_id
           AND (b.used_credential_id, b.used_credential_version) IS NOT DISTINCT FROM (k.id, k.version)
        WHERE NOT byoc.is_barred(k.verification_status) AND coalesce(b.paused_until <= started, true)
    ), ready AS MATERIALIZED (
        -- Whoever has least on the way comes first: of the organizations, and within each of its credentials.
        SELECT t.* FROM (
            SELECT o.org_id, d.id, d.due_at, d.is_outdated, d.is_unanswered, o.sender, o.version, o.org_most,
                   o.org_running + row_number() OVER (PARTITION BY o.org_id ORDER BY o.running + d.turn, d.due_at) AS turn
            FROM open o CROSS JOIN LATERAL (
                SELECT f.*, row_number() OVER (ORDER BY f.due_at) AS turn
                FROM (SELECT c.id, c.due_at, EXISTS (SELECT FROM byoc.calls n WHERE n.org_id = c.org_id AND n.subject = c.subject
                                                                              AND n.revision > c.revision) AS is_outdated,
                             c.claim_id IS NOT NULL OR (c.attempts > 0 AND c.http_status IS NULL) AS is_unanswered
                      FROM byoc.calls c
                      WHERE c.org_id = o.org_id AND c.credential_type = o.credential_type AND c.credential_id = o.credential_id
                        AND c.due_at <= started - o.waits
                        AND NOT EXISTS (SELECT FROM byoc.calls n WHERE n.org_id = c.org_id AND n.subject = c.subject AND n.id <> c.id
                                                                   AND n.claim_id IS NOT NULL AND n.due_at > started)
                      ORDER BY c.due_at LIMIT greatest(o.room, 0) FOR UPDATE OF c SKIP LOCKED) AS f) AS d) AS t
        WHERE t.turn <= t.org_most
        ORDER BY t.turn, t.due_at LIMIT max_count
    ), outdated AS (
        UPDATE byoc.calls c
        SET status = 'cancelled', due_at = NULL, claim_id = NULL, finished_at = started, error_code = 'superseded'
        FROM ready r WHERE c.org_id = r.org_id AND c.id = r.id AND r.is_outdated
        RETURNING c.org_id, c.subject, r.is_unanswered
    ), overtaken AS (
        -- A request that nobody saw answered may have arrived after the newest one, which therefore goes out once more.
        UPDATE byoc.calls n SET status = 'available', due_at = started, finished_at = NULL, retry_until = NULL
        FROM outdated o
        WHERE o.is_unanswered AND n.org_id = o.org_id AND n.subject = o.subject AND n.status = 'completed'
          AND NOT EXISTS (SELECT FROM byoc.calls m WHERE m.org_id = n.org_id AND m.subject = n.subject AND m.revision > n.revision)
    )
    UPDATE byoc.calls c
    SET status = 'running', due_at = started + lease, claim_id = new_claim, claimed_at = started, attempts = least(c.attempts + 1, 32767),
        retry_until = coalesce(c.retry_until, started + byoc.retry_window()), used_credential_id = r.sender, used_credential_version = r.version
    FROM ready r WHERE c.org_id = r.org_id AND c.id = r.id AND NOT r.is_outdated
    RETURNING c.org_id, c.id, new_claim, c.credential_type, r.sender, r.version, c.operation, c.subject, c.payload, c.attempts::integer,
              floor(extract(epoch FROM c.created_at))::bigint;
END
$$;
COMMENT ON FUNCTION byoc.claim_calls(integer, interval, integer) IS
    'For byocd: at most max_count calls to make now, fairly between organizations and between credentials of each; at most per_credential of a credential '
    'at a time, and of an organization two thirds of max_count and what is being made. A call comes up again after the lease unless its '
    'outcome is recorded. credential_id NULL: it cannot be made, as the credential was revoked, or the organization had no default one for byoc.retry_window().';

-- sql/call_outcomes.sql

-- What became of calls.

CREATE FUNCTION byoc.call_backoff(attempts integer) RETURNS interval
LANGUAGE sql VOLATILE PARALLEL SAFE
RETURN least(interval '15 minutes', interval '1 second' * 2 ^ least(greatest(attempts, 1) - 1, 10)) * (0.8 + 0.4 * random());
COMMENT ON FUNCTION byoc.call_backoff(integer) IS
    'Internal: how long after so many attempts the next one is made: 1 second, doubling up to 15 minutes, give or take a fifth.';

CREATE FUNCTION byoc.asked_wait(retry_ms bigint) RETURNS interval
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN least(greatest(retry_ms, 0), 3600000) * interval '1 millisecond';
COMMENT ON FUNCTION byoc.asked_wait(bigint) IS 'Internal: how long to wait that a provider asked for so many milliseconds (NULL: 0): an hour at most.';

CREATE FUNCTION byoc.move_call_breakers(outcomes jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    threshold CONSTANT integer := byoc.breaker_threshold();
    told record;
    breaker byoc.call_breakers;
BEGIN
    -- One after the other, in the order in which everybody locks them.
    FOR told IN
        SELECT c.org_id, c.credential_type, c.credential_id, c.used_credential_id, c.used_credential_version, count(*) FILTER (WHERE t.outcome = 'unavailable')::integer AS failures,
               max(c.claimed_at) AS claimed_at, bool_or(t.outcome = 'throttled') AS is_throttled,
               byoc.asked_wait(max(t.retry_ms) FILTER (WHERE t.outcome = 'throttled')) AS asked,
               bool_or(t.outcome = 'accepted' OR (t.outcome IN ('rejected', 'bad_credential') AND t.http_status IS NOT NULL)) AS is_answered
        FROM jsonb_to_recordset(outcomes) AS t (org_id uuid, id uuid, claim_id uuid, outcome text, http_status integer, retry_ms bigint)
        JOIN byoc.calls c ON c.org_id = t.org_id AND c.id = t.id AND c.claim_id = t.claim_id
        GROUP BY c.org_id, c.credential_type, c.credential_id, c.used_credential_id, c.used_credential_version
        ORDER BY c.org_id, c.credential_type, c.credential_id, c.used_credential_version
    LOOP
        IF told.is_throttled OR (told.failures > 0 AND NOT told.is_answered) THEN
            INSERT INTO byoc.call_breakers AS b (org_id, credential_type, credential_id, used_credential_id, used_credential_version, failures, paused_until, changed_at)
            VALUES (told.org_id, told.credential_type, told.credential_id, told.used_credential_id, told.used_credential_version,
                    least(threshold, greatest(told.failures, 1)), '-infinity', clock_timestamp())
            ON CONFLICT ON CONSTRAINT call_breakers_pkey DO UPDATE
            SET used_credential_id = excluded.used_credential_id, used_credential_version = excluded.used_credential_version,
                paused_until = CASE WHEN (b.used_credential_id, b.used_credential_version) IS DISTINCT FROM (excluded.used_credential_id, excluded.used_credential_version)
                                    THEN '-infinity' ELSE b.paused_until END,
                failures = CASE WHEN (b.used_credential_id, b.used_credential_version) IS DISTINCT FROM (excluded.used_credential_id, excluded.used_credential_version)
                                THEN excluded.failures
                                WHEN b.failures < threshold AND NOT told.is_throttled THEN least(threshold, b.failures + excluded.failures)
                                -- What was on its way when the last one failed says nothing new.
                                ELSE b.failures + (told.claimed_at > b.changed_at)::integer END,
                changed_at = clock_timestamp()
            RETURNING b.* INTO breaker;
            UPDATE byoc.call_breakers b
            SET paused_until = greatest(b.paused_until, clock_timestamp() + CASE
                WHEN told.is_throttled THEN greatest(told.asked, byoc.call_backoff(least(breaker.failures, 7)))
                WHEN breaker.failures >= threshold THEN least(interval '10 seconds', interval '0.5 seconds' * 2 ^ least(10, breaker.failures - threshold)) END)
            WHERE b.org_id = told.org_id AND b.credential_type = told.credential_type AND b.credential_id = told.credential_id;
        ELSIF told.is_answered THEN
            DELETE FROM byoc.call_breakers b
            WHERE b.org_id = told.org_id AND b.credential_type = told.credential_type AND b.credential_id = told.credential_id
              AND b.paused_until <= clock_timestamp();
        END IF;
    END LOOP;
END
$$;
COMMENT ON FUNCTION byoc.move_call_breakers(jsonb) IS
    'Internal: makes the calls of credentials wait whose provider throttles (as long as it asked, an hour at most, or longer each time, up to a minute), or failed '
    'byoc.breaker_threshold() times in a row (up to 10 seconds); an answer ends that.';

CREATE FUNCTION byoc.repeat_overtaken_calls(outcomes jsonb) RETURNS void
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
    UPDATE byoc.calls n SET status = 'available', due_at = clock_timestamp(), finished_at = NULL, retry_until = NULL
    WHERE n.status = 'completed'
      AND (n.org_id, n.subject) IN (SELECT c.org_id, c.subject FROM jsonb_to_recordset(outcomes) AS t (org_id uuid, id uuid)
                                    JOIN byoc.calls c ON c.org_id = t.org_id AND c.id = t.id)
      AND NOT EXISTS (SELECT FROM byoc.calls m WHERE m.org_id = n.org_id AND m.subject = n.subject AND m.revision > n.revision)
      AND EXISTS (SELECT FROM byoc.calls o WHERE o.org_id = n.org_id AND o.subject = n.subject AND o.revision < n.revision
                                             AND o.status IN ('completed', 'discarded') AND o.finished_at > n.claimed_at);
$$;
COMMENT ON FUNCTION byoc.repeat_overtaken_calls(jsonb) IS
    'Internal: of subjects of which two revisions were on their way at once, has the newest made once more: the provider may have got the older one last.';

CREATE FUNCTION byoc.record_calls(outcomes jsonb) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
-- As byoc.claim_calls: calls are found by their indexes, however many there are.
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET jit = off
AS $$
DECLARE
    recorded integer;
BEGIN
    IF EXISTS (SELECT FROM jsonb_to_recordset(outcomes) AS t (outcome text)
               WHERE t.outcome IS NULL OR t.outcome NOT IN ('accepted', 'rejected', 'bad_credential', 'throttled', 'unavailable', 'returned')) THEN
        RAISE EXCEPTION 'outcome must be accepted, rejected, bad_credential, throttled, unavailable or returned' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    -- Those about one subject end one after the other.
    PERFORM FROM byoc.calls c
    WHERE c.claim_id IS NOT NULL AND (c.org_id, c.subject) IN (
        SELECT s.org_id, s.subject FROM jsonb_to_recordset(outcomes) AS t (org_id uuid, id uuid)
        JOIN byoc.calls s ON s.org_id = t.org_id AND s.id = t.id)
    ORDER BY c.org_id, c.id FOR UPDATE;
    PERFORM byoc.move_call_breakers(outcomes);
    PERFORM byoc.fail_credential(c.org_id, c.used_credential_id, c.used_credential_version, c.claimed_at, t.error_code,
                                 coalesce(t.error_message, format('The provider refused the credential (error %s).', t.error_code)))
    FROM jsonb_to_recordset(outcomes) AS t (org_id uuid, id uuid, claim_id uuid, outcome text, error_code text, error_message text)
    JOIN byoc.calls c ON c.org_id = t.org_id AND c.id = t.id AND c.claim_id = t.claim_id
    LEFT JOIN byoc.provider_errors e ON e.provider = c.credential_type AND e.code = t.error_code AND e.class = 'pause_credential'
    WHERE t.outcome = 'bad_credential' OR (t.outcome = 'rejected' AND e.code IS NOT NULL);
    WITH told AS (
        SELECT t.*, c.attempts, n.next,
               CASE n.next WHEN 'retryable' THEN clock_timestamp() + greatest(byoc.asked_wait(t.retry_ms), byoc.call_backoff(c.attempts))
                           WHEN 'available' THEN clock_timestamp() END AS due_at
        FROM jsonb_to_recordset(outcomes) AS t (org_id uuid, id uuid, claim_id uuid, outcome text, http_status smallint, error_code text,
                                                error_message text, retry_ms bigint, result jsonb)
        JOIN byoc.calls c ON c.org_id = t.org_id AND c.id = t.id AND c.claim_id = t.claim_id
        LEFT JOIN byoc.provider_errors e ON t.outcome = 'rejected' AND e.provider = c.credential_type AND e.code = t.error_code
        CROSS JOIN LATERAL (
            SELECT CASE WHEN t.outcome = 'accepted' THEN 'completed'
                        -- What was refused because of the credential waits for that, however long.
                        WHEN t.outcome IN ('returned', 'bad_credential') OR e.class = 'pause_credential' THEN 'available'
                        WHEN (t.outcome <> 'rejected' OR e.class IN ('retry_later', 'resend')) AND c.retry_until > clock_timestamp() THEN 'retryable'
                        ELSE 'discarded' END AS next) AS n
    ), changed AS (
        UPDATE byoc.calls c
        SET status = t.next, due_at = t.due_at, claim_id = NULL, finished_at = CASE WHEN t.due_at IS NULL THEN clock_timestamp() END,
            attempts = c.attempts - (t.outcome = 'returned')::integer, retry_until = CASE t.next WHEN 'available' THEN NULL ELSE c.retry_until END,
            http_status = t.http_status, error_code = t.error_code, error_message = t.error_message, result = coalesce(t.result, c.result)
        FROM told t WHERE c.org_id = t.org_id AND c.id = t.id AND c.claim_id = t.claim_id
        RETURNING c.org_id
    )
    SELECT count(*) INTO recorded FROM changed;
    PERFORM byoc.repeat_overtaken_calls(outcomes);
    RETURN recorded;
END
$$;
COMMENT ON FUNCTION byoc.record_calls(jsonb) IS
    'For byocd: records what became of claimed calls: accepted, rejected, bad_credential (it fails, and they wait for it), throttled, unavailable or '
    'returned. The classes in byoc.provider_errors decide which rejected ones are tried again or wait for their credential too. A call that an older revision '
    'may have overtaken is made once more. Returns how many were still the caller''s.';

-- sql/webhooks.sql

-- Webhooks: signed events to a tenant's own address, made as calls (calls.sql). A call's payload is the body as it is sent:
-- {"type": event type, "timestamp": when it happened, "data": what the application says about it}, as Standard Webhooks has it.

CREATE FUNCTION byoc.webhook_problem(event_type text, payload jsonb) RETURNS text
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF event_type IS NULL OR event_type !~ '^[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*$' OR length(event_type) > 128 THEN
        RETURN 'event_type must be words of letters, digits and _ with dots between them, such as lead.created, of at most 128 characters';
    ELSIF event_type ~ '^byoc\.' THEN
        RETURN 'event types that begin with byoc. are reserved';
    ELSIF payload IS NULL THEN
        RETURN 'payload must not be null';
    ELSIF octet_length(payload::text) > 65536 THEN
        RETURN 'payload must have at most 64 kB as text';
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION byoc.webhook_problem(text, jsonb) IS 'Internal: why there can be no such event, as a sentence; NULL: there can.';

CREATE FUNCTION byoc.webhook_body(event_type text, payload jsonb) RETURNS jsonb
LANGUAGE sql STABLE
RETURN jsonb_build_object('type', event_type, 'timestamp', to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), 'data', payload);
COMMENT ON FUNCTION byoc.webhook_body(text, jsonb) IS 'Internal: an event of this transaction as it is sent.';

CREATE FUNCTION byoc.call_webhook(event_type text, payload jsonb DEFAULT '{}', send_at timestamptz DEFAULT now(), credential_id uuid DEFAULT NULL,
                                  idempotency_key text DEFAULT NULL, org_id uuid DEFAULT byoc.current_org_id()) RETURNS uuid
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    problem CONSTANT text := byoc.webhook_problem(event_type, payload);
    id uuid := byoc.uuid_v7();
BEGIN
    PERFORM byoc.require_organization(org_id);
    IF NOT EXISTS (SELECT FROM byoc.organizations o WHERE o.id = org_id AND o.shredded_at IS NULL) THEN
        RAISE EXCEPTION 'organization % does not exist or was shredded', org_id USING ERRCODE = 'foreign_key_violation';
    ELSIF problem IS NOT NULL THEN
        RAISE EXCEPTION '%', problem USING ERRCODE = 'invalid_parameter_value';
    ELSIF credential_id IS NOT NULL AND NOT EXISTS (
        SELECT FROM byoc.organization_api_credentials c
        WHERE c.org_id = call_webhook.org_id AND c.id = call_webhook.credential_id AND c.credential_type = 'webhook' AND c.is_active) THEN
        RAISE EXCEPTION 'credential % is not an active webhook credential of the organization', credential_id
            USING ERRCODE = 'invalid_parameter_value', HINT = 'byoc.credentials lists them; NULL means the default one.';
    ELSIF length(idempotency_key) NOT BETWEEN 1 AND 255 THEN
        RAISE EXCEPTION 'idempotency_key must have 1 to 255 characters' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF idempotency_key IS NULL THEN
        RETURN byoc.enqueue_call(org_id, 'webhook', 'event', byoc.webhook_body(event_type, payload), NULL, credential_id, send_at, NULL, id);
    END IF;
    -- The same key is the same call. A concurrent one is waited for.
    id := encode(substr(sha256(convert_to('webhook ' || org_id || ' ' || idempotency_key, 'UTF8')), 1, 16), 'hex')::uuid;
    BEGIN
        PERFORM byoc.enqueue_call(org_id, 'webhook', 'event', byoc.webhook_body(event_type, payload), NULL, credential_id, send_at, NULL, id);
    EXCEPTION WHEN unique_violation THEN
        NULL;
    END;
    RETURN id;
END
$$;
COMMENT ON FUNCTION byoc.call_webhook(text, jsonb, timestamptz, uuid, text, uuid) IS
    'Sends an event to the organization''s webhook (its default one, or credential_id) once this transaction commits, or at send_at; returns its id, '
    'which is the receiver''s webhook-id. event_type is like lead.created, payload any JSON of at most 64 kB. The same idempotency_key of an '
    'organization returns the first event''s id, for as long as that is kept.';

CREATE VIEW byoc.all_webhook_calls AS
SELECT c.id, c.org_id, c.payload ->> 'type' AS event_type, c.payload -> 'data' AS payload,
       nullif(c.credential_id, '00000000-0000-0000-0000-000000000000') AS credential_id,
       CASE c.status WHEN 'running' THEN 'sending' WHEN 'retryable' THEN 'retrying' WHEN 'completed' THEN 'delivered' WHEN 'discarded' THEN 'failed'
                     WHEN 'cancelled' THEN 'cancelled' WHEN 'available' THEN CASE WHEN c.due_at > clock_timestamp() THEN 'scheduled' ELSE 'queued' END
                     ELSE 'queued' END AS status,
       c.attempts::integer AS attempts, c.http_status::integer AS http_status, c.error_code, c.error_message,
       CASE WHEN c.status = 'paused' THEN 'paused: it came with a restored database (byoc.resume_restored)'
            WHEN c.finished_at IS NULL AND c.id IS NOT NULL AND c.credential_id = '00000000-0000-0000-0000-000000000000' AND k.id IS NULL THEN 'paused: the organization has no webhook'
            WHEN c.finished_at IS NULL AND byoc.is_barred(k.verification_status)
            THEN 'paused: ' || CASE k.verification_status WHEN 'failed' THEN 'the credential failed' ELSE 'the credential is not verified yet' END
                 || coalesce(': ' || k.verification_error, '') END AS waiting_reason,
       c.source_table, c.created_at, CASE WHEN c.status IN ('available', 'retryable') THEN c.due_at END AS next_at, c.finished_at
FROM byoc.calls c
LEFT JOIN byoc.organization_api_credentials k ON k.org_id = c.org_id AND k.credential_type = 'webhook'
    AND CASE c.credential_id WHEN '00000000-0000-0000-0000-000000000000' THEN k.is_default ELSE k.id = c.credential_id END
WHERE c.credential_type = 'webhook';
COMMENT ON VIEW byoc.all_webhook_calls IS 'Internal: webhook events of all organizations.';

CREATE VIEW byoc.webhook_calls WITH (security_barrier) AS
WITH barrier AS (SELECT)
SELECT c.* FROM byoc.all_webhook_calls c WHERE c.org_id = (SELECT byoc.current_org_id())
UNION ALL
SELECT c.* FROM byoc.all_webhook_calls c WHERE (SELECT byoc.sees_all_organizations());
COMMENT ON VIEW byoc.webhook_calls IS 'The organization''s webhook events, made by byoc.call_webhook and by triggers of byoc.create_webhook_trigger.';
COMMENT ON COLUMN byoc.webhook_calls.id IS 'The receiver''s webhook-id.';
COMMENT ON COLUMN byoc.webhook_calls.status IS
    'scheduled: for later. queued: its turn is to come. sending: on its way. retrying: the receiver did not take it, and is asked again at next_at. delivered: the '
    'receiver answered 2xx. failed: refused for good, or for 24 hours; byoc.retry_webhook sends it again. cancelled: by byoc.cancel_webhook.';
COMMENT ON COLUMN byoc.webhook_calls.waiting_reason IS 'Why it waits although its time has come: its credential may not be used; NULL: nothing stands in its way.';
COMMENT ON COLUMN byoc.webhook_calls.org_id IS 'The organization.';
COMMENT ON COLUMN byoc.webhook_calls.event_type IS 'As it was given to byoc.call_webhook() or the trigger.';
COMMENT ON COLUMN byoc.webhook_calls.payload IS 'What the event is about: data in the body that is sent.';
COMMENT ON COLUMN byoc.webhook_calls.credential_id IS 'Credential that was asked for; NULL: the default one.';
COMMENT ON COLUMN byoc.webhook_calls.attempts IS 'How often it was tried.';
COMMENT ON COLUMN byoc.webhook_calls.http_status IS 'Of the last answer; NULL: there was none.';
COMMENT ON COLUMN byoc.webhook_calls.error_code IS 'Why the last attempt failed, as a word or number.';
COMMENT ON COLUMN byoc.webhook_calls.error_message IS 'The same as a sentence.';
COMMENT ON COLUMN byoc.webhook_calls.source_table IS 'Table whose trigger made it; NULL: byoc.call_webhook().';
COMMENT ON COLUMN byoc.webhook_calls.created_at IS 'When it was made.';
COMMENT ON COLUMN byoc.webhook_calls.next_at IS 'When it is tried next; NULL: it is not waiting.';
COMMENT ON COLUMN byoc.webhook_calls.finished_at IS 'When it was delivered, given up or cancelled; NULL: not yet.';

CREATE FUNCTION byoc.change_webhook(id uuid, from_status text[], to_status text) RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    of_org uuid := byoc.current_org_id();
    found_status text;
    obstacle text;
BEGIN
    IF byoc.sees_all_organizations() THEN
        SELECT c.org_id INTO of_org FROM byoc.calls c WHERE c.id = change_webhook.id AND c.credential_type = 'webhook';
    ELSE
        PERFORM byoc.require_organization(of_org);
    END IF;
    IF to_status = 'available' THEN
        SELECT CASE WHEN c.error_code = 'refused_row' THEN c.error_message
                    WHEN NOT EXISTS (SELECT FROM byoc.organizations o WHERE o.id = c.org_id AND o.shredded_at IS NULL) THEN 'the organization was shredded' END
        INTO obstacle
        FROM byoc.calls c WHERE c.org_id = of_org AND c.id = change_webhook.id AND c.credential_type = 'webhook';
        IF obstacle IS NOT NULL THEN
            RAISE EXCEPTION 'webhook event % can never be sent: %', id, obstacle USING ERRCODE = 'object_not_in_prerequisite_state';
        END IF;
    END IF;
    -- One that is being sent is not even locked: whoever records its outcome would wait for this transaction.
    UPDATE byoc.calls c
    SET status = to_status, due_at = CASE to_status WHEN 'available' THEN greatest(clock_timestamp(), c.send_at) END,
        finished_at = CASE to_status WHEN 'cancelled' THEN clock_timestamp() END, retry_until = NULL
    WHERE c.org_id = of_org AND c.id = change_webhook.id AND c.credential_type = 'webhook' AND c.status = ANY (from_status);
    IF NOT FOUND THEN
        SELECT c.status INTO found_status FROM byoc.all_webhook_calls c WHERE c.org_id = of_org AND c.id = change_webhook.id;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'webhook event % does not exist', id USING ERRCODE = 'no_data_found';
        END IF;
        RAISE EXCEPTION 'webhook event % is %', id, found_status USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    PERFORM byoc.wake_dispatcher(of_org) WHERE to_status = 'available';
END
$$;
COMMENT ON FUNCTION byoc.change_webhook(uuid, text[], text) IS 'Internal: cancels an event or sends it again, for its organization.';

CREATE FUNCTION byoc.cancel_webhook(id uuid) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT byoc.change_webhook(cancel_webhook.id, ARRAY['available', 'retryable', 'paused'], 'cancelled');
$$;
COMMENT ON FUNCTION byoc.cancel_webhook(uuid) IS 'Cancels a webhook event that waits, or is tried again.';

CREATE FUNCTION byoc.retry_webhook(id uuid) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT byoc.change_webhook(retry_webhook.id, ARRAY['discarded', 'cancelled'], 'available');
$$;
COMMENT ON FUNCTION byoc.retry_webhook(uuid) IS 'Sends a webhook event again that failed or was cancelled, with the same webhook-id, not before its send_at.';

-- sql/webhook_triggers.sql

-- Webhook events made of the rows of an application's table. extension/row_trigger.cpp reads a row with the rights of who changes
-- it; what becomes of it is decided here.

CREATE TABLE byoc.webhook_trigger_definitions (
    target regclass NOT NULL,
    name name NOT NULL,
    event_type text NOT NULL,
    columns text[],
    org_column text NOT NULL,
    condition text,
    on_error text NOT NULL CHECK (on_error IN ('record', 'raise')),
    search_path text NOT NULL,
    created_by name NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (target, name)
);
COMMENT ON TABLE byoc.webhook_trigger_definitions IS 'What the triggers made by byoc.create_webhook_trigger do.';
COMMENT ON COLUMN byoc.webhook_trigger_definitions.columns IS 'What of the row is sent; NULL: all of it.';
COMMENT ON COLUMN byoc.webhook_trigger_definitions.search_path IS 'Search path of its creator, for the names in condition.';
ALTER TABLE byoc.webhook_trigger_definitions ENABLE ROW LEVEL SECURITY;
SELECT pg_extension_config_dump('byoc.webhook_trigger_definitions',
    'WHERE EXISTS (SELECT FROM pg_catalog.pg_trigger t WHERE t.tgrelid = target AND t.tgname = name)');

CREATE FUNCTION byoc.follow_webhook_row(definition byoc.webhook_trigger_definitions, source text, org_id uuid, image jsonb, failure text) RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    payload CONSTANT jsonb := CASE WHEN definition.columns IS NULL THEN image
        ELSE (SELECT jsonb_object_agg(c, image -> c) FROM unnest(definition.columns) AS c) END;
    problem CONSTANT text := CASE
        WHEN failure IS NOT NULL THEN failure
        WHEN org_id IS NULL THEN 'the row names no organization'
        WHEN NOT EXISTS (SELECT FROM byoc.organizations o WHERE o.id = follow_webhook_row.org_id AND o.shredded_at IS NULL)
        THEN 'the organization does not exist or was shredded'
        ELSE byoc.webhook_problem(definition.event_type, payload) END;
    id CONSTANT uuid := byoc.uuid_v7();
BEGIN
    IF problem IS NULL THEN
        PERFORM byoc.enqueue_call(org_id, 'webhook', 'event', byoc.webhook_body(definition.event_type, payload), source_table => source, id => id);
    ELSIF definition.on_error = 'raise' THEN
        RAISE EXCEPTION 'no webhook event can be made of this row: %', problem
            USING ERRCODE = 'invalid_parameter_value', HINT = 'The trigger was created with on_error => ''raise''.';
    ELSE
        INSERT INTO byoc.calls (org_id, id, credential_type, credential_id, operation, subject, revision, payload, status, due_at, error_code, error_message,
                                source_table, finished_at)
        VALUES (coalesce(follow_webhook_row.org_id, '00000000-0000-0000-0000-000000000000'), id, 'webhook', '00000000-0000-0000-0000-000000000000',
                'event', id, 1, byoc.webhook_body(definition.event_type, NULL), 'discarded', NULL, 'refused_row', problem, source, clock_timestamp());
    END IF;
END
$$;
COMMENT ON FUNCTION byoc.follow_webhook_row(byoc.webhook_trigger_definitions, text, uuid, jsonb, text) IS
    'Internal: makes the event of a row that met the condition. failure: it could not be read.';

CREATE FUNCTION byoc.register_webhook_trigger(target regclass, name name, event_type text, columns text[], org_column text, condition text,
                                              on_error text, search_path text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM byoc.require_new_trigger(target, name);
    PERFORM byoc.forget_trigger_definitions(target, name);
    INSERT INTO byoc.webhook_trigger_definitions (target, name, event_type, columns, org_column, condition, on_error, search_path, created_by)
    VALUES (register_webhook_trigger.target, register_webhook_trigger.name, register_webhook_trigger.event_type, register_webhook_trigger.columns,
            register_webhook_trigger.org_column, register_webhook_trigger.condition, register_webhook_trigger.on_error,
            register_webhook_trigger.search_path, byoc.invoking_role()::text);
END
$$;
COMMENT ON FUNCTION byoc.register_webhook_trigger(regclass, name, text, text[], text, text, text, text) IS
    'Internal: stores the definition of a trigger that is about to be created, for whoever may create triggers on the table.';

CREATE FUNCTION byoc.unregister_webhook_trigger(target regclass, name name) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM byoc.require_table_owner(target);
    DELETE FROM byoc.webhook_trigger_definitions d
    WHERE d.target = unregister_webhook_trigger.target AND d.name = unregister_webhook_trigger.name;
    RETURN FOUND;
END
$$;
COMMENT ON FUNCTION byoc.unregister_webhook_trigger(regclass, name) IS 'Internal: removes a definition for the table''s owner; false when there was none.';

-- search_path is a parameter because its default is evaluated for the caller, before the function's own is set.
CREATE FUNCTION byoc.create_webhook_trigger(target regclass, event_type text, columns text[] DEFAULT NULL, org_id text DEFAULT 'org_id',
                                            condition text DEFAULT NULL, events text DEFAULT 'INSERT', name text DEFAULT NULL,
                                            on_error text DEFAULT 'record',
                                            search_path text DEFAULT pg_catalog.current_setting('search_path')) RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY INVOKER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    trigger_name CONSTANT name := coalesce(name::name, byoc.free_trigger_name(target, 'byoc_webhook'));
    problem CONSTANT text := byoc.webhook_problem(event_type, '{}');
    missing text;
BEGIN
    IF target IS NULL OR org_id IS NULL THEN
        RAISE EXCEPTION 'target and org_id must not be null' USING ERRCODE = 'null_value_not_allowed';
    ELSIF problem IS NOT NULL THEN
        RAISE EXCEPTION '%', problem USING ERRCODE = 'invalid_parameter_value';
    ELSIF columns = '{}' THEN
        RAISE EXCEPTION 'columns must name at least one column' USING ERRCODE = 'invalid_parameter_value', HINT = 'NULL means all.';
    END IF;
    SELECT c INTO missing FROM unnest(columns) AS c
    WHERE NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = target AND a.attname = c AND a.attnum > 0 AND NOT a.attisdropped) LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'table % has no column "%"', target, missing USING ERRCODE = 'undefined_column';
    END IF;
    PERFORM byoc.require_on_error(on_error, 'event');
    PERFORM byoc.rehearse_row_trigger(target, '{}', '{}', org_id, condition, search_path);
    PERFORM byoc.register_webhook_trigger(target, trigger_name, event_type, columns, org_id, condition, on_error, search_path);
    EXECUTE format('CREATE TRIGGER %I AFTER %s ON %s FOR EACH ROW EXECUTE FUNCTION byoc.follow_row_trigger()',
                   trigger_name, byoc.trigger_events_clause(events), target);
    RETURN trigger_name;
END
$$;
COMMENT ON FUNCTION byoc.create_webhook_trigger(regclass, text, text[], text, text, text, text, text, text) IS
    'Makes a trigger that sends an event to the webhook of a row''s organization. Its payload is the row as JSON: the given columns, or all. '
    'condition is a boolean expression over NEW and OLD, its names found by search_path; events as for CREATE TRIGGER. Everything is checked now. A bad row becomes '
    'a failed event, or an error with on_error => ''raise''. Needs the table''s TRIGGER privilege; returns the trigger''s name.';

CREATE FUNCTION byoc.drop_webhook_trigger(target regclass, name text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY INVOKER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NOT byoc.unregister_webhook_trigger(target, name) THEN
        RAISE EXCEPTION 'table % has no webhook trigger "%"', target, name
            USING ERRCODE = 'undefined_object', HINT = 'byoc.webhook_triggers lists them.';
    END IF;
    EXECUTE format('DROP TRIGGER IF EXISTS %I ON %s', name, target);
END
$$;
COMMENT ON FUNCTION byoc.drop_webhook_trigger(regclass, text) IS 'Drops a trigger made by byoc.create_webhook_trigger.';

CREATE VIEW byoc.webhook_triggers AS
SELECT d.target, d.name::text AS name, d.event_type, d.columns, d.org_column AS org_id, d.condition, d.on_error,
       pg_get_triggerdef(t.oid) AS definition, d.created_by::text AS created_by, d.created_at
FROM byoc.webhook_trigger_definitions d
JOIN pg_trigger t ON t.tgrelid = d.target AND t.tgname = d.name
WHERE has_table_privilege(d.target, 'SELECT, TRIGGER');
COMMENT ON VIEW byoc.webhook_triggers IS 'Triggers made by byoc.create_webhook_trigger on tables that the current role can read or put triggers on.';
COMMENT ON COLUMN byoc.webhook_triggers.target IS 'Table that it is on.';
COMMENT ON COLUMN byoc.webhook_triggers.name IS 'The trigger''s name.';
COMMENT ON COLUMN byoc.webhook_triggers.event_type IS 'Type of its events.';
COMMENT ON COLUMN byoc.webhook_triggers.columns IS 'What of the row is sent; NULL: all of it.';
COMMENT ON COLUMN byoc.webhook_triggers.definition IS 'Its CREATE TRIGGER statement.';
COMMENT ON COLUMN byoc.webhook_triggers.org_id IS 'Column of the table that holds a row''s organization.';
COMMENT ON COLUMN byoc.webhook_triggers.condition IS 'SQL over NEW and OLD, true for the rows that count; NULL: all of them.';
COMMENT ON COLUMN byoc.webhook_triggers.on_error IS 'record: a bad row becomes a failed event. raise: it is an error.';
COMMENT ON COLUMN byoc.webhook_triggers.created_by IS 'Database role that made it.';
COMMENT ON COLUMN byoc.webhook_triggers.created_at IS 'When it was made.';

-- sql/calendar_events.sql

-- Calendar events: what the application wants to stand in the organization's calendar. Each change leaves a call (calls.sql) that
-- says the whole event; the event's own id is the provider's event id, so that nothing can stand there twice.

CREATE TABLE byoc.calendar_entries (
    org_id uuid NOT NULL,
    id uuid NOT NULL,
    credential_id uuid,
    summary text,
    description text,
    location text,
    starts_at timestamptz,
    ends_at timestamptz,
    starts_on date,
    ends_on date,
    time_zone text,
    recurrence text[],
    attendees text[],
    send_updates text,
    source regclass,
    source_table text,
    source_trigger text,
    source_key text,
    refusal text,
    cancelled_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (org_id, id)
);
COMMENT ON TABLE byoc.calendar_entries IS 'Events as the application wants them. Tenants and applications use the view byoc.calendar_events.';
COMMENT ON COLUMN byoc.calendar_entries.source IS 'The table that it follows a row of, whatever that is called; source_table: its name when the event was made.';
COMMENT ON COLUMN byoc.calendar_entries.source_key IS 'Which row of source it follows, by source_trigger: the values of its key, a JSON array.';
COMMENT ON COLUMN byoc.calendar_entries.refusal IS 'Why the row that it follows makes no event; NULL: it does.';
CREATE UNIQUE INDEX calendar_entries_source ON byoc.calendar_entries (org_id, source, source_trigger, source_key)
    WHERE source_trigger IS NOT NULL AND cancelled_at IS NULL;
ALTER TABLE byoc.calendar_entries ENABLE ROW LEVEL SECURITY;
SELECT pg_extension_config_dump('byoc.calendar_entries', '');

CREATE FUNCTION byoc.calendar_event_id(id uuid) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN (SELECT string_agg(substr('0123456789abcdefghijklmnopqrstuv', 1 + substring(b.bits FROM n * 5 + 1 FOR 5)::integer, 1), '' ORDER BY n)
        FROM (SELECT ('x' || replace(id::text, '-', ''))::bit(128)::bit(130) AS bits) AS b, generate_series(0, 25) AS n);
COMMENT ON FUNCTION byoc.calendar_event_id(uuid) IS
    'Internal: an event''s id as Google Calendar wants it: base32hex (RFC 4648), small letters, no padding.';

-- What can be wrong

CREATE FUNCTION byoc.is_time_zone(name text) RETURNS boolean
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    -- PostgreSQL knows abbreviations and POSIX rules too, which a calendar does not.
    IF name IS NULL OR name !~ '^(UTC|GMT|Etc/GMT[+-][0-9]{1,2}|[A-Z][A-Za-z_]+(/[A-Z][A-Za-z_-]+){1,2})$' THEN
        RETURN false;
    END IF;
    PERFORM now() AT TIME ZONE name;
    RETURN true;
EXCEPTION WHEN invalid_parameter_value THEN
    RETURN false;
END
$$;
COMMENT ON FUNCTION byoc.is_time_zone(text) IS 'Internal: whether this is an IANA time zone, such as Europe/Berlin.';

CREATE FUNCTION byoc.recurrence_problem(line text) RETURNS text
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    part text;
    parts text[];
    names text[] := '{}';
    shape text;
BEGIN
    IF line ~ '^(RDATE|EXDATE)(;TZID=[A-Za-z_/+-]+|;VALUE=DATE)?:[0-9]{8}(T[0-9]{6}Z?)?(,[0-9]{8}(T[0-9]{6}Z?)?)*$' THEN
        RETURN NULL;
    ELSIF line IS NULL OR line !~ '^(RRULE|EXRULE):' THEN
        RETURN format('recurrence "%s" is no RRULE, EXRULE, RDATE or EXDATE line (RFC 5545), such as RRULE:FREQ=WEEKLY;COUNT=5', coalesce(left(line, 60), ''));
    END IF;
    parts := string_to_array(split_part(line, ':', 2), ';');
    FOREACH part IN ARRAY parts LOOP
        shape := CASE split_part(part, '=', 1)
            WHEN 'FREQ' THEN '(SECONDLY|MINUTELY|HOURLY|DAILY|WEEKLY|MONTHLY|YEARLY)'
            WHEN 'UNTIL' THEN '[0-9]{8}(T[0-9]{6}Z?)?'
            WHEN 'COUNT' THEN '[1-9][0-9]{0,4}'
            WHEN 'INTERVAL' THEN '[1-9][0-9]{0,4}'
            WHEN 'BYDAY' THEN '[+-]?[0-9]{0,2}(MO|TU|WE|TH|FR|SA|SU)(,[+-]?[0-9]{0,2}(MO|TU|WE|TH|FR|SA|SU))*'
            WHEN 'WKST' THEN '(MO|TU|WE|TH|FR|SA|SU)'
            WHEN 'BYSECOND' THEN '[0-9]{1,2}(,[0-9]{1,2})*' WHEN 'BYMINUTE' THEN '[0-9]{1,2}(,[0-9]{1,2})*'
            WHEN 'BYHOUR' THEN '[0-9]{1,2}(,[0-9]{1,2})*' WHEN 'BYMONTH' THEN '[0-9]{1,2}(,[0-9]{1,2})*'
            WHEN 'BYMONTHDAY' THEN '[+-]?[0-9]{1,2}(,[+-]?[0-9]{1,2})*' WHEN 'BYYEARDAY' THEN '[+-]?[0-9]{1,3}(,[+-]?[0-9]{1,3})*'
            WHEN 'BYWEEKNO' THEN '[+-]?[0-9]{1,2}(,[+-]?[0-9]{1,2})*' WHEN 'BYSETPOS' THEN '[+-]?[0-9]{1,3}(,[+-]?[0-9]{1,3})*'
        END;
        IF shape IS NULL OR part !~ ('^[A-Z]+=' || shape || '$') THEN
            RETURN format('recurrence "%s": "%s" is no part of a rule (RFC 5545)', left(line, 60), left(part, 60));
        END IF;
        names := names || split_part(part, '=', 1);
    END LOOP;
    IF NOT 'FREQ' = ANY (names) THEN
        RETURN format('recurrence "%s" has no FREQ', left(line, 60));
    ELSIF names @> ARRAY['COUNT', 'UNTIL'] THEN
        RETURN format('recurrence "%s" has both COUNT and UNTIL', left(line, 60));
    ELSIF (SELECT count(DISTINCT n) FROM unnest(names) AS n) < cardinality(names) THEN
        RETURN format('recurrence "%s" has a part twice', left(line, 60));
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION byoc.recurrence_problem(text) IS 'Internal: what is wrong with a recurrence line; NULL: nothing.';

CREATE FUNCTION byoc.calendar_problem(entry byoc.calendar_entries) RETURNS text
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    line text;
BEGIN
    IF coalesce(entry.summary, '') = '' THEN
        RETURN 'the event has no summary';
    ELSIF length(entry.summary) > 1024 OR length(entry.location) > 1024 OR length(entry.description) > 8192 THEN
        RETURN 'summary and location have at most 1024 characters, description 8192';
    ELSIF num_nonnulls(entry.starts_at, entry.starts_on) <> 1 THEN
        RETURN 'the event needs either starts_at or, for whole days, starts_on';
    ELSIF entry.starts_at IS NOT NULL AND (entry.ends_at IS NULL OR entry.ends_on IS NOT NULL) THEN
        RETURN 'an event with starts_at needs ends_at';
    ELSIF entry.starts_on IS NOT NULL AND (entry.ends_at IS NOT NULL OR entry.ends_on IS NULL) THEN
        RETURN 'an event of whole days needs ends_on, its last day';
    ELSIF NOT (isfinite(coalesce(entry.starts_at, entry.starts_on)) AND isfinite(coalesce(entry.ends_at, entry.ends_on))) THEN
        RETURN 'an event begins and ends at some time';
    ELSIF entry.ends_at <= entry.starts_at OR entry.ends_on < entry.starts_on THEN
        RETURN 'the event ends before it begins';
    ELSIF extract(year FROM coalesce(entry.starts_at, entry.starts_on)) NOT BETWEEN 1 AND 9998
          OR extract(year FROM coalesce(entry.ends_at, entry.ends_on)) NOT BETWEEN 1 AND 9998 THEN
        RETURN 'the event is not in the years 1 to 9998';
    ELSIF NOT byoc.is_time_zone(entry.time_zone) THEN
        RETURN format('time_zone "%s" is no IANA time zone such as Europe/Berlin', left(entry.time_zone, 60));
    ELSIF entry.send_updates NOT IN ('all', 'externalOnly', 'none') THEN
        RETURN format('send_updates must be all, externalOnly or none, not "%s"', left(entry.send_updates, 20));
    ELSIF cardinality(entry.attendees) > 200 THEN
        RETURN 'an event has at most 200 attendees';
    ELSIF cardinality(entry.recurrence) > 50 THEN
        RETURN 'an event has at most 50 recurrence lines';
    END IF;
    FOREACH line IN ARRAY coalesce(entry.attendees, '{}') LOOP
        -- Not quoted: it may be anything, and is somebody's.
        IF line IS NULL OR length(line) > 254 OR line !~ '^[^][[:space:]@<>()",;:\\]+@[^][[:space:]@<>()",;:\\.]+(\.[^][[:space:]@<>()",;:\\.]+)+$' THEN
            RETURN 'an attendee is no e-mail address';
        END IF;
    END LOOP;
    FOREACH line IN ARRAY coalesce(entry.recurrence, '{}') LOOP
        IF byoc.recurrence_problem(line) IS NOT NULL THEN
            RETURN byoc.recurrence_problem(line);
        END IF;
    END LOOP;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION byoc.calendar_problem(byoc.calendar_entries) IS 'Internal: why no event can be made of this; NULL: it can.';

-- Changes, each with its call

CREATE FUNCTION byoc.calendar_payload(entry byoc.calendar_entries) RETURNS jsonb
LANGUAGE sql STABLE
RETURN jsonb_strip_nulls(jsonb_build_object(
    'event_id', byoc.calendar_event_id(entry.id), 'send_updates', entry.send_updates, 'summary', entry.summary, 'description', entry.description,
    'location', entry.location, 'time_zone', entry.time_zone, 'recurrence', to_jsonb(entry.recurrence), 'attendees', to_jsonb(entry.attendees),
    'starts_at', to_char(entry.starts_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
    'ends_at', to_char(entry.ends_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
    'starts_on', to_char(entry.starts_on, 'YYYY-MM-DD'), 'ends_before', to_char(entry.ends_on + 1, 'YYYY-MM-DD')));
COMMENT ON FUNCTION byoc.calendar_payload(byoc.calendar_entries) IS
    'Internal: what the provider is told of an event. Times are in UTC, to be shown and repeated in time_zone; ends_before is the day after the last.';

CREATE FUNCTION byoc.leave_calendar_call(entry byoc.calendar_entries, operation text) RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM byoc.enqueue_call(entry.org_id, 'google_calendar', operation,
                              CASE operation WHEN 'event.delete' THEN byoc.calendar_payload(entry) - '{summary,description,location,attendees,recurrence}'::text[]
                                             ELSE byoc.calendar_payload(entry) END,
                              entry.id, entry.credential_id, source_table => entry.source_table);
END
$$;
COMMENT ON FUNCTION byoc.leave_calendar_call(byoc.calendar_entries, text) IS 'Internal: has an event written to, or taken from, its calendar.';

CREATE FUNCTION byoc.put_calendar_entry(entry byoc.calendar_entries) RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO byoc.calendar_entries AS e SELECT entry.*
    ON CONFLICT ON CONSTRAINT calendar_entries_pkey DO UPDATE
    SET credential_id = excluded.credential_id, summary = excluded.summary, description = excluded.description, location = excluded.location,
        starts_at = excluded.starts_at, ends_at = excluded.ends_at, starts_on = excluded.starts_on, ends_on = excluded.ends_on,
        time_zone = excluded.time_zone, recurrence = excluded.recurrence, attendees = excluded.attendees, send_updates = excluded.send_updates,
        source_key = excluded.source_key, refusal = excluded.refusal, updated_at = now();
    IF entry.refusal IS NULL THEN
        PERFORM byoc.leave_calendar_call(entry, CASE WHEN EXISTS (SELECT FROM byoc.calls c WHERE c.org_id = entry.org_id AND c.subject = entry.id
                                                                                         AND c.attempts > 0) THEN 'event.update' ELSE 'event.insert' END);
    END IF;
END
$$;
COMMENT ON FUNCTION byoc.put_calendar_entry(byoc.calendar_entries) IS 'Internal: stores an event, new or changed, and has it written to its calendar. No check.';

CREATE FUNCTION byoc.cancel_calendar_entry(org_id uuid, id uuid) RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    entry byoc.calendar_entries;
BEGIN
    -- Once, but for one that could not be taken away: that is tried again.
    UPDATE byoc.calendar_entries e SET cancelled_at = clock_timestamp(), updated_at = now()
    WHERE e.org_id = cancel_calendar_entry.org_id AND e.id = cancel_calendar_entry.id
      AND (e.cancelled_at IS NULL OR (SELECT c.operation = 'event.delete' AND c.status = 'discarded' FROM byoc.calls c
                                      WHERE c.org_id = e.org_id AND c.subject = e.id ORDER BY c.revision DESC LIMIT 1))
    RETURNING e.* INTO entry;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    -- What no dispatcher ever had is in no calendar.
    UPDATE byoc.calls c SET status = 'cancelled', due_at = NULL, finished_at = clock_timestamp(), error_code = 'superseded'
    WHERE c.org_id = entry.org_id AND c.subject = entry.id AND c.status IN ('available', 'paused') AND c.attempts = 0;
    IF EXISTS (SELECT FROM byoc.calls c WHERE c.org_id = entry.org_id AND c.subject = entry.id AND c.attempts > 0) THEN
        PERFORM byoc.leave_calendar_call(entry, 'event.delete');
    END IF;
END
$$;
COMMENT ON FUNCTION byoc.cancel_calendar_entry(uuid, uuid) IS 'Internal: takes an event from its calendar; again only if that failed.';

CREATE FUNCTION byoc.prune_calendar(org_id uuid, finished_before timestamptz, batch integer) RETURNS integer
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    pruned integer;
BEGIN
    WITH old AS MATERIALIZED (
        SELECT e.org_id, e.id FROM byoc.calendar_entries e
        WHERE e.org_id = prune_calendar.org_id AND e.id < byoc.first_id_at(finished_before) AND e.updated_at < finished_before
          AND (e.cancelled_at IS NOT NULL OR e.refusal IS NOT NULL
               OR (e.source_trigger IS NULL AND e.recurrence IS NULL AND coalesce(e.ends_at, e.ends_on) < finished_before))
          AND NOT EXISTS (SELECT FROM byoc.calls c WHERE c.org_id = e.org_id AND c.subject = e.id
                                                   AND (c.finished_at IS NULL OR c.finished_at >= finished_before))
        LIMIT batch FOR UPDATE SKIP LOCKED
    ), gone AS (
        DELETE FROM byoc.calendar_entries e USING old o WHERE e.org_id = o.org_id AND e.id = o.id RETURNING 1
    )
    SELECT count(*) INTO pruned FROM gone;
    RETURN pruned;
END
$$;
COMMENT ON FUNCTION byoc.prune_calendar(uuid, timestamptz, integer) IS
    'Internal: deletes at most `batch` events that ended or were cancelled before, unless a row is still followed; returns how many.';

-- sql/calendar_triggers.sql

-- Events that follow the rows of an application's table. extension/row_trigger.cpp reads a row with the rights of who changes it;
-- what becomes of it is decided here.

CREATE TABLE byoc.calendar_trigger_definitions (
    target regclass NOT NULL,
    name name NOT NULL,
    summary text NOT NULL,
    starts_at text NOT NULL,
    ends_at text,
    duration interval,
    attendees text,
    time_zone text NOT NULL,
    description text,
    location text,
    recurrence text,
    send_updates text NOT NULL,
    org_column text NOT NULL,
    key_columns text[] NOT NULL,
    condition text,
    on_error text NOT NULL CHECK (on_error IN ('record', 'raise')),
    search_path text NOT NULL,
    created_by name NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (target, name)
);
COMMENT ON TABLE byoc.calendar_trigger_definitions IS 'What the triggers made by byoc.create_calendar_trigger do.';
COMMENT ON COLUMN byoc.calendar_trigger_definitions.starts_at IS 'Column; ends_at is one too, and where there is none the event lasts for duration.';
COMMENT ON COLUMN byoc.calendar_trigger_definitions.key_columns IS 'The table''s primary key: which row an event follows.';
COMMENT ON COLUMN byoc.calendar_trigger_definitions.search_path IS 'Search path of its creator, for the names in condition.';
ALTER TABLE byoc.calendar_trigger_definitions ENABLE ROW LEVEL SECURITY;
SELECT pg_extension_config_dump('byoc.calendar_trigger_definitions',
    'WHERE EXISTS (SELECT FROM pg_catalog.pg_trigger t WHERE t.tgrelid = target AND t.tgname = name)');

CREATE FUNCTION byoc.follow_row_trigger() RETURNS trigger
LANGUAGE c AS 'MODULE_PATHNAME', 'byoc_follow_row_trigger';
COMMENT ON FUNCTION byoc.follow_row_trigger() IS 'Row trigger made by byoc.create_calendar_trigger; its definition is found by table and name.';

CREATE FUNCTION byoc.rehearse_row_trigger(target regclass, names text[], templates text[], org_column text, condition text, search_path text) RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'byoc_rehearse_row_trigger';
COMMENT ON FUNCTION byoc.rehearse_row_trigger(regclass, text[], text[], text, text, text) IS
    'Internal: raises what would be wrong with such a trigger, before it exists; names tell in errors which template is meant.';

CREATE FUNCTION byoc.row_trigger(relation oid, trigger_name name, OUT target oid, OUT org_column text, OUT condition text, OUT search_path text,
                                 OUT on_error text, OUT templates text[]) RETURNS SETOF record
LANGUAGE sql STABLE ROWS 1
BEGIN ATOMIC
    -- A partition's trigger is a clone: its definition is kept for the table that the trigger was created on.
    SELECT d.target, d.org_column, d.condition, d.search_path, d.on_error,
           ARRAY[d.summary, d.description, d.location, d.attendees, d.time_zone, d.recurrence]
    FROM byoc.calendar_trigger_definitions d
    WHERE d.name = trigger_name AND (d.target = relation OR d.target IN (SELECT a.relid FROM pg_partition_ancestors(relation) AS a))
    UNION ALL
    SELECT d.target, d.org_column, d.condition, d.search_path, d.on_error, '{}'
    FROM byoc.webhook_trigger_definitions d
    WHERE d.name = trigger_name AND (d.target = relation OR d.target IN (SELECT a.relid FROM pg_partition_ancestors(relation) AS a))
    LIMIT 1;
END;
COMMENT ON FUNCTION byoc.row_trigger(oid, name) IS 'Internal: what extension/row_trigger.cpp has to read of a row.';

CREATE FUNCTION byoc.row_time(kind text, value text, time_zone text) RETURNS timestamptz
LANGUAGE sql STABLE
RETURN CASE kind WHEN 'timestamp without time zone' THEN value::timestamp AT TIME ZONE time_zone WHEN 'date' THEN NULL ELSE value::timestamptz END;
COMMENT ON FUNCTION byoc.row_time(text, text, text) IS
    'Internal: a column''s time; one without a zone is meant in the event''s. NULL for a date, which is no time.';

CREATE FUNCTION byoc.later_in_zone(start timestamptz, duration interval, time_zone text) RETURNS timestamptz
LANGUAGE sql STABLE
-- An hour is 60 minutes across a change of the clocks, a day ends when the clock shows the same.
RETURN CASE date_trunc('day', duration) WHEN interval '0' THEN start
       ELSE (start AT TIME ZONE time_zone + date_trunc('day', duration)) AT TIME ZONE time_zone END + (duration - date_trunc('day', duration));
COMMENT ON FUNCTION byoc.later_in_zone(timestamptz, interval, text) IS
    'Internal: so much later, with days and months as they pass in that zone and not in the session''s.';

CREATE FUNCTION byoc.row_event(definition byoc.calendar_trigger_definitions, entry byoc.calendar_entries, new_row jsonb, texts text[])
RETURNS byoc.calendar_entries
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    kind text;
    ends_kind text;
BEGIN
    entry.summary := texts[1];
    entry.description := nullif(texts[2], '');
    entry.location := nullif(texts[3], '');
    entry.attendees := (SELECT array_agg(btrim(a)) FROM regexp_split_to_table(texts[4], '[,;\s]+') AS a WHERE btrim(a) <> '');
    entry.time_zone := texts[5];
    entry.recurrence := (SELECT array_agg(btrim(r)) FROM regexp_split_to_table(texts[6], '\s+') AS r WHERE btrim(r) <> '');
    entry.send_updates := definition.send_updates;
    IF NOT byoc.is_time_zone(entry.time_zone) THEN
        RETURN entry; -- which byoc.calendar_problem() says
    END IF;
    SELECT max(format_type(a.atttypid, NULL)) FILTER (WHERE a.attname = definition.starts_at),
           max(format_type(a.atttypid, NULL)) FILTER (WHERE a.attname = definition.ends_at)
    INTO kind, ends_kind
    FROM pg_attribute a WHERE a.attrelid = definition.target AND a.attnum > 0 AND NOT a.attisdropped;
    IF kind = 'date' THEN
        entry.starts_on := (new_row ->> definition.starts_at)::date;
        entry.ends_on := coalesce(CASE ends_kind WHEN 'date' THEN (new_row ->> definition.ends_at)::date END, entry.starts_on);
        entry.starts_at := NULL;
        entry.ends_at := NULL;
    ELSE
        entry.starts_at := byoc.row_time(kind, new_row ->> definition.starts_at, entry.time_zone);
        entry.ends_at := CASE WHEN definition.ends_at IS NULL THEN byoc.later_in_zone(entry.starts_at, definition.duration, entry.time_zone)
                              ELSE byoc.row_time(ends_kind, new_row ->> definition.ends_at, entry.time_zone) END;
        entry.starts_on := NULL;
        entry.ends_on := NULL;
    END IF;
    RETURN entry;
END
$$;
COMMENT ON FUNCTION byoc.row_event(byoc.calendar_trigger_definitions, byoc.calendar_entries, jsonb, text[]) IS
    'Internal: the event that a row describes, put into `entry`; texts are the rendered templates.';

CREATE FUNCTION byoc.row_key(key_columns text[], row_image jsonb) RETURNS text
LANGUAGE sql IMMUTABLE
RETURN (SELECT jsonb_agg(row_image -> k.name ORDER BY k.n)::text FROM unnest(key_columns) WITH ORDINALITY AS k (name, n));
COMMENT ON FUNCTION byoc.row_key(text[], jsonb) IS 'Internal: which row this is: the values of its key, a JSON array.';

CREATE FUNCTION byoc.follow_row(target oid, trigger_name name, org_id uuid, new_row jsonb, old_row jsonb, texts text[], failure text) RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    none CONSTANT uuid := '00000000-0000-0000-0000-000000000000';
    definition byoc.calendar_trigger_definitions;
    webhook byoc.webhook_trigger_definitions;
    source_name CONSTANT text := (SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = target);
    old_org uuid;
    key text;
    stored byoc.calendar_entries;
    entry byoc.calendar_entries;
BEGIN
    SELECT d.* INTO webhook FROM byoc.webhook_trigger_definitions d WHERE d.target = follow_row.target AND d.name = trigger_name;
    IF FOUND THEN
        PERFORM byoc.follow_webhook_row(webhook, source_name, org_id, coalesce(new_row, old_row), failure) WHERE texts IS NOT NULL OR failure IS NOT NULL;
        RETURN;
    END IF;
    SELECT d.* INTO definition FROM byoc.calendar_trigger_definitions d WHERE d.target = follow_row.target AND d.name = trigger_name;
    key := byoc.row_key(definition.key_columns, coalesce(new_row, old_row));
    old_org := coalesce((old_row ->> definition.org_column)::uuid, none);
    IF old_row IS NOT NULL THEN
        SELECT e.* INTO stored FROM byoc.calendar_entries e
        WHERE e.org_id = old_org AND e.source = follow_row.target AND e.source_trigger = trigger_name
          AND e.source_key = byoc.row_key(definition.key_columns, old_row) AND e.cancelled_at IS NULL
        FOR UPDATE;
    END IF;
    -- Gone, not wanted any more, or another organization's now.
    IF stored.id IS NOT NULL AND (new_row IS NULL OR (texts IS NULL AND failure IS NULL) OR coalesce(org_id, none) <> old_org) THEN
        IF byoc.current_org_id() IS NOT NULL THEN
            PERFORM byoc.require_organization(old_org);
        END IF;
        PERFORM byoc.cancel_calendar_entry(stored.org_id, stored.id);
        stored := NULL;
    END IF;
    IF new_row IS NULL OR (texts IS NULL AND failure IS NULL) THEN
        RETURN;
    END IF;
    entry := stored;
    IF entry.id IS NULL THEN
        entry.org_id := coalesce(org_id, none);
        entry.id := byoc.uuid_v7();
        entry.source := target;
        entry.source_table := source_name;
        entry.source_trigger := trigger_name;
        entry.created_at := now();
        entry.updated_at := now();
    END IF;
    entry.source_key := key;
    entry.refusal := failure;
    IF failure IS NULL THEN
        entry := byoc.row_event(definition, entry, new_row, texts);
        entry.refusal := CASE
            WHEN org_id IS NULL THEN 'the row names no organization'
            WHEN NOT EXISTS (SELECT FROM byoc.organizations o WHERE o.id = org_id AND o.shredded_at IS NULL) THEN 'the organization does not exist'
            ELSE byoc.calendar_problem(entry) END;
    END IF;
    IF entry.refusal IS NOT NULL AND definition.on_error = 'raise' THEN
        RAISE EXCEPTION 'no calendar event can be made of this row: %', entry.refusal
            USING ERRCODE = 'invalid_parameter_value', HINT = 'The trigger was created with on_error => ''raise''.';
    END IF;
    IF entry IS DISTINCT FROM stored THEN
        PERFORM byoc.put_calendar_entry(entry);
    END IF;
END
$$;
COMMENT ON FUNCTION byoc.follow_row(oid, name, uuid, jsonb, jsonb, text[], text) IS
    'Internal: makes the event of a row what the row says now. texts NULL: the row is gone or does not meet the condition; failure: it could not be read.';

CREATE FUNCTION byoc.register_calendar_trigger(definition jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    d byoc.calendar_trigger_definitions := jsonb_populate_record(NULL::byoc.calendar_trigger_definitions, definition);
BEGIN
    PERFORM byoc.require_new_trigger(d.target, d.name);
    PERFORM byoc.forget_trigger_definitions(d.target, d.name);
    d.created_by := byoc.invoking_role()::text;
    d.created_at := now();
    INSERT INTO byoc.calendar_trigger_definitions SELECT d.*;
END
$$;
COMMENT ON FUNCTION byoc.register_calendar_trigger(jsonb) IS
    'Internal: stores the definition of a trigger that is about to be created, for whoever may create triggers on the table.';

CREATE FUNCTION byoc.unregister_calendar_trigger(target regclass, name name) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM byoc.require_table_owner(target);
    DELETE FROM byoc.calendar_trigger_definitions d
    WHERE d.target = unregister_calendar_trigger.target AND d.name = unregister_calendar_trigger.name;
    RETURN FOUND;
END
$$;
COMMENT ON FUNCTION byoc.unregister_calendar_trigger(regclass, name) IS 'Internal: removes a definition for the table''s owner; false when there was none.';

-- search_path is a parameter because its default is evaluated for the caller, before the function's own is set.
CREATE FUNCTION byoc.create_calendar_trigger(target regclass, summary text, starts_at text, ends_at text DEFAULT NULL, attendees text DEFAULT NULL,
                                             time_zone text DEFAULT 'UTC', description text DEFAULT NULL, location text DEFAULT NULL,
                                             recurrence text DEFAULT NULL, duration interval DEFAULT '1 hour', org_id text DEFAULT 'org_id',
                                             condition text DEFAULT NULL, name text DEFAULT NULL, on_error text DEFAULT 'record',
                                             send_updates text DEFAULT 'all',
                                             search_path text DEFAULT pg_catalog.current_setting('search_path')) RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY INVOKER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    trigger_name CONSTANT name := coalesce(name::name, byoc.free_trigger_name(target, 'byoc_calendar'));
    key_columns text[];
    place record;
BEGIN
    IF target IS NULL OR summary IS NULL OR starts_at IS NULL OR time_zone IS NULL OR org_id IS NULL THEN
        RAISE EXCEPTION 'target, summary, starts_at, time_zone and org_id must not be null' USING ERRCODE = 'null_value_not_allowed';
    ELSIF send_updates IS NULL OR send_updates NOT IN ('all', 'externalOnly', 'none') THEN
        RAISE EXCEPTION 'send_updates must be all, externalOnly or none, not "%"', send_updates USING ERRCODE = 'invalid_parameter_value';
    ELSIF ends_at IS NULL AND (duration IS NULL OR duration <= interval '0') THEN
        RAISE EXCEPTION 'duration must be more than 0 where no column ends_at is named' USING ERRCODE = 'invalid_parameter_value';
    ELSIF time_zone !~ '\{\{' AND NOT byoc.is_time_zone(time_zone) THEN
        RAISE EXCEPTION 'time_zone "%" is no IANA time zone', time_zone
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Such as Europe/Berlin, or a template: {{time_zone}}, {{org.time_zone}}.';
    END IF;
    PERFORM byoc.require_on_error(on_error, 'event');
    PERFORM byoc.rehearse_row_trigger(target, ARRAY['summary', 'description', 'location', 'attendees', 'time_zone', 'recurrence'],
                                      ARRAY[summary, description, location, attendees, time_zone, recurrence], org_id, condition, search_path);
    FOR place IN SELECT p.what, p.column_name, format_type(a.atttypid, NULL) AS kind
                 FROM (VALUES ('starts_at', starts_at), ('ends_at', ends_at)) AS p (what, column_name)
                 LEFT JOIN pg_attribute a ON a.attrelid = target AND a.attname = p.column_name AND a.attnum > 0 AND NOT a.attisdropped
                 WHERE p.column_name IS NOT NULL LOOP
        IF place.kind IS NULL THEN
            RAISE EXCEPTION 'table % has no column "%" for %', target, place.column_name, place.what USING ERRCODE = 'undefined_column';
        ELSIF place.kind NOT IN ('timestamp with time zone', 'timestamp without time zone', 'date') THEN
            RAISE EXCEPTION 'column "%" is %, and must be a time or a date', place.column_name, place.kind USING ERRCODE = 'datatype_mismatch';
        END IF;
    END LOOP;
    SELECT array_agg(a.attname ORDER BY k.n) INTO key_columns
    FROM pg_index i CROSS JOIN unnest(i.indkey::smallint[]) WITH ORDINALITY AS k (number, n)
    JOIN pg_attribute a ON a.attrelid = target AND a.attnum = k.number
    WHERE i.indrelid = target AND i.indisprimary;
    IF key_columns IS NULL THEN
        RAISE EXCEPTION 'table % has no primary key, by which an event follows its row', target USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    PERFORM byoc.register_calendar_trigger(jsonb_build_object(
        'target', target::oid, 'name', trigger_name, 'summary', summary, 'starts_at', starts_at, 'ends_at', ends_at, 'duration', duration,
        'attendees', attendees, 'time_zone', time_zone, 'description', description, 'location', location, 'recurrence', recurrence,
        'send_updates', send_updates, 'org_column', org_id, 'key_columns', key_columns, 'condition', condition, 'on_error', on_error,
        'search_path', search_path));
    EXECUTE format('CREATE TRIGGER %I AFTER INSERT OR UPDATE OR DELETE ON %s FOR EACH ROW EXECUTE FUNCTION byoc.follow_row_trigger()', trigger_name, target);
    RETURN trigger_name;
END
$$;
COMMENT ON FUNCTION byoc.create_calendar_trigger(regclass, text, text, text, text, text, text, text, text, interval, text, text, text, text, text, text) IS
    'Makes a trigger by which a calendar event follows each row: it comes with the row, changes with it and goes with it, and stands while condition (over NEW '
    'and OLD) is true. starts_at and ends_at are columns (of type date: whole days), duration counts where there is no ends_at; the other parts are templates as for '
    'byoc.create_sms_trigger, attendees e-mail addresses separated by commas, recurrence RRULE lines separated by blanks. Everything is checked now. A bad row becomes '
    'a failed event, or an error with on_error => ''raise''. Needs the table''s TRIGGER privilege and a primary key; returns the trigger''s name.';

CREATE FUNCTION byoc.drop_calendar_trigger(target regclass, name text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY INVOKER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NOT byoc.unregister_calendar_trigger(target, name) THEN
        RAISE EXCEPTION 'table % has no calendar trigger "%"', target, name
            USING ERRCODE = 'undefined_object', HINT = 'byoc.calendar_triggers lists them.';
    END IF;
    EXECUTE format('DROP TRIGGER IF EXISTS %I ON %s', name, target);
END
$$;
COMMENT ON FUNCTION byoc.drop_calendar_trigger(regclass, text) IS 'Drops a trigger made by byoc.create_calendar_trigger; events stay in their calendars.';

CREATE VIEW byoc.calendar_triggers AS
SELECT d.target, d.name::text AS name, d.summary, d.starts_at, d.ends_at, d.duration, d.attendees, d.time_zone, d.description, d.location, d.recurrence,
       d.send_updates, d.org_column AS org_id, d.condition, d.on_error, d.created_by::text AS created_by, d.created_at
FROM byoc.calendar_trigger_definitions d
JOIN pg_trigger t ON t.tgrelid = d.target AND t.tgname = d.name
WHERE has_table_privilege(d.target, 'SELECT, TRIGGER');
COMMENT ON VIEW byoc.calendar_triggers IS 'Triggers made by byoc.create_calendar_trigger on tables that the current role can read or put triggers on.';
COMMENT ON COLUMN byoc.calendar_triggers.target IS 'Table that it is on.';
COMMENT ON COLUMN byoc.calendar_triggers.name IS 'The trigger''s name.';
COMMENT ON COLUMN byoc.calendar_triggers.summary IS 'Template.';
COMMENT ON COLUMN byoc.calendar_triggers.starts_at IS 'Column with the beginning; of type date: whole days.';
COMMENT ON COLUMN byoc.calendar_triggers.ends_at IS 'Column with the end; NULL: duration counts.';
COMMENT ON COLUMN byoc.calendar_triggers.duration IS 'How long an event lasts where there is no ends_at.';
COMMENT ON COLUMN byoc.calendar_triggers.attendees IS 'Template: e-mail addresses, separated by commas.';
COMMENT ON COLUMN byoc.calendar_triggers.time_zone IS 'Template: an IANA zone.';
COMMENT ON COLUMN byoc.calendar_triggers.description IS 'Template.';
COMMENT ON COLUMN byoc.calendar_triggers.location IS 'Template.';
COMMENT ON COLUMN byoc.calendar_triggers.recurrence IS 'Template: RRULE lines, separated by blanks.';
COMMENT ON COLUMN byoc.calendar_triggers.send_updates IS 'Whom the provider writes to: all attendees, externalOnly or none.';
COMMENT ON COLUMN byoc.calendar_triggers.org_id IS 'Column of the table that holds a row''s organization.';
COMMENT ON COLUMN byoc.calendar_triggers.condition IS 'SQL over NEW and OLD, true for the rows that count; NULL: all of them.';
COMMENT ON COLUMN byoc.calendar_triggers.on_error IS 'record: a bad row becomes a failed event. raise: it is an error.';
COMMENT ON COLUMN byoc.calendar_triggers.created_by IS 'Database role that made it.';
COMMENT ON COLUMN byoc.calendar_triggers.created_at IS 'When it was made.';

-- sql/commands.sql

-- What people do to messages: cancel, send again, decide.

-- Moves a message that is not being sent from byoc.messages back to the schedule.
CREATE FUNCTION byoc.requeue(org_id uuid, id uuid, from_status text[], event text) RETURNS boolean
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    message byoc.messages;
BEGIN
    DELETE FROM byoc.messages m WHERE m.org_id = requeue.org_id AND m.id = requeue.id AND m.status = ANY (from_status) RETURNING m.* INTO message;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    INSERT INTO byoc.schedule (org_id, id, due_at, to_number, body, segments, credential_id, attempts, source_table, idempotency_key, created_at, send_at,
                               expires_at)
    VALUES (message.org_id, message.id, greatest(clock_timestamp(), message.send_at), message.to_number, message.body, coalesce(message.segments, 1),
            message.credential_id, message.attempts, message.source_table, message.idempotency_key, message.created_at,
            greatest(now(), message.send_at), CASE WHEN event = 'resumed' OR message.expires_at > now() THEN message.expires_at END);
    INSERT INTO byoc.earlier_attempts (org_id, provider_sid)
    SELECT message.org_id, message.provider_sid WHERE message.provider_sid IS NOT NULL ON CONFLICT DO NOTHING;
    INSERT INTO byoc.message_events (org_id, message_id, id, event, attempt)
    VALUES (message.org_id, message.id, byoc.uuid_v7(), requeue.event, message.attempts);
    PERFORM byoc.wake_dispatcher(message.org_id);
    RETURN true;
END
$$;
COMMENT ON FUNCTION byoc.requeue(uuid, uuid, text[], text) IS
    'Internal: sends a message of one of the given states again, with a new retry window and, unless resumed, without an expiry that has passed; '
    'false when there is none.';

-- The message''s organization for functions that take only its id.
CREATE FUNCTION byoc.message_org(id uuid) RETURNS uuid
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    found_org uuid := byoc.current_org_id();
BEGIN
    IF byoc.sees_all_organizations() THEN
        SELECT m.org_id INTO found_org FROM byoc.sms_messages m WHERE m.id = message_org.id;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'message % does not exist', id USING ERRCODE = 'no_data_found';
        END IF;
    END IF;
    PERFORM byoc.require_organization(found_org);
    RETURN found_org;
END
$$;
COMMENT ON FUNCTION byoc.message_org(uuid) IS
    'Internal: the organization whose message is meant: the tenant context''s, or for a role that sees all the message''s own.';

CREATE FUNCTION byoc.refuse_message_state(org_id uuid, id uuid, wish text) RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    state text;
BEGIN
    SELECT m.status INTO state FROM byoc.sms_messages m WHERE m.org_id = refuse_message_state.org_id AND m.id = refuse_message_state.id;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'message % does not exist', id USING ERRCODE = 'no_data_found';
    END IF;
    RAISE EXCEPTION 'message % is % and cannot be %', id, state, wish USING ERRCODE = 'object_not_in_prerequisite_state';
END
$$;
COMMENT ON FUNCTION byoc.refuse_message_state(uuid, uuid, text) IS 'Internal: raises why the message cannot be changed so.';

CREATE FUNCTION byoc.cancel_sms(id uuid) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    of_org uuid := byoc.message_org(id);
    cancelled integer := 0;
BEGIN
    -- Twice, because a message may move from the schedule to the queue while we wait for it.
    FOR try IN 1 .. 2 LOOP
        EXIT WHEN cancelled > 0;
        WITH unsent AS (
            DELETE FROM byoc.schedule s WHERE s.org_id = of_org AND s.id = cancel_sms.id
            RETURNING s.org_id, s.id, s.to_number, s.body, s.segments, s.credential_id, s.attempts, s.source_table, s.idempotency_key, s.created_at, s.send_at, s.expires_at
        ), queued AS (
            DELETE FROM byoc.queue q WHERE q.org_id = of_org AND q.id = cancel_sms.id
                AND q.lane = (SELECT k.lane FROM byoc.queue k WHERE k.org_id = of_org AND k.id = cancel_sms.id)
            RETURNING q.org_id, q.id, q.to_number, q.body, q.segments, q.credential_id, q.attempts, q.source_table, q.idempotency_key, q.created_at, q.send_at, q.expires_at
        ), stored AS (
            INSERT INTO byoc.messages (org_id, id, to_number, body, segments, credential_id, attempts, source_table, idempotency_key, created_at, send_at,
                                       expires_at, status, finished_at)
            SELECT u.*, 'cancelled', clock_timestamp() FROM (TABLE unsent UNION ALL TABLE queued) AS u
            RETURNING messages.org_id, messages.id, messages.attempts
        ), paused AS (
            UPDATE byoc.messages m SET status = 'cancelled', finished_at = clock_timestamp()
            WHERE m.org_id = of_org AND m.id = cancel_sms.id AND m.status = 'queued'
            RETURNING m.org_id, m.id, m.attempts
        ), noted AS (
            INSERT INTO byoc.message_events (org_id, message_id, id, event, attempt)
            SELECT s.org_id, s.id, byoc.uuid_v7(), 'cancelled', s.attempts FROM (TABLE stored UNION ALL TABLE paused) AS s
            RETURNING 1
        )
        SELECT count(*) INTO cancelled FROM noted;
    END LOOP;
    IF cancelled = 0 THEN
        PERFORM byoc.refuse_message_state(of_org, id, 'cancelled');
    END IF;
END
$$;
COMMENT ON FUNCTION byoc.cancel_sms(uuid) IS 'Cancels a message that waits. Raises 55000 when it is being sent or final.';

CREATE FUNCTION byoc.retry_sms(id uuid) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    of_org uuid := byoc.message_org(id);
BEGIN
    IF EXISTS (SELECT FROM byoc.messages m WHERE m.org_id = of_org AND m.id = retry_sms.id AND m.error_code = 'refused') THEN
        RAISE EXCEPTION 'message % can never be sent: %', id,
            (SELECT m.error_message FROM byoc.messages m WHERE m.org_id = of_org AND m.id = retry_sms.id)
            USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Mend the row and send a new message.';
    END IF;
    IF NOT byoc.requeue(of_org, id, ARRAY['failed', 'undelivered', 'expired', 'cancelled'], 'retried') THEN
        PERFORM byoc.refuse_message_state(of_org, id, 'sent again');
    END IF;
END
$$;
COMMENT ON FUNCTION byoc.retry_sms(uuid) IS
    'Sends a failed, undelivered, expired or cancelled message again; an expiry that has passed no longer counts. Raises 55000 in any other state.';

CREATE FUNCTION byoc.resolve_unknown_sms(id uuid, resolution text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    of_org uuid := byoc.message_org(id);
    resolved boolean;
BEGIN
    IF resolution IS NULL OR resolution NOT IN ('sent', 'resend', 'failed') THEN
        RAISE EXCEPTION 'resolution must be sent, resend or failed, not "%"', resolution USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF resolution = 'resend' THEN
        resolved := byoc.requeue(of_org, id, ARRAY['unknown'], 'resolved');
    ELSE
        UPDATE byoc.messages m
        SET status = resolution, sent_at = CASE resolution WHEN 'sent' THEN clock_timestamp() END
        WHERE m.org_id = of_org AND m.id = resolve_unknown_sms.id AND m.status = 'unknown';
        resolved := FOUND;
        IF resolved THEN
            INSERT INTO byoc.message_events (org_id, message_id, id, event, attempt, error_message)
            SELECT m.org_id, m.id, byoc.uuid_v7(), 'resolved', m.attempts, format('resolved as %s', resolution)
            FROM byoc.messages m WHERE m.org_id = of_org AND m.id = resolve_unknown_sms.id;
        END IF;
    END IF;
    IF NOT resolved THEN
        PERFORM byoc.refuse_message_state(of_org, id, 'resolved');
    END IF;
    DELETE FROM byoc.unknown_messages u WHERE u.org_id = of_org AND u.message_id = resolve_unknown_sms.id;
END
$$;
COMMENT ON FUNCTION byoc.resolve_unknown_sms(uuid, text) IS
    'Decides a message whose answer was lost: sent (it arrived), resend (send it again) or failed (leave it).';

-- sql/resend.sql

-- Sending again what the provider took and then reported as failed: what byoc.provider_errors calls resend, a bounded number of
-- times, and what it calls retry_later for as long as the message may be tried.

CREATE TABLE byoc.earlier_attempts (
    org_id uuid NOT NULL,
    provider_sid text NOT NULL,
    left_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (org_id, provider_sid)
);
COMMENT ON TABLE byoc.earlier_attempts IS
    'Provider''s ids of messages that are sent again, and whose rows forget them: what a message list shows under such an id is no other attempt. '
    'Not dumped.';
ALTER TABLE byoc.earlier_attempts ENABLE ROW LEVEL SECURITY;

CREATE FUNCTION byoc.resend_schedule() RETURNS interval[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN ARRAY['1 minute', '10 minutes']::interval[];
COMMENT ON FUNCTION byoc.resend_schedule() IS
    'How long after each report of an error of class resend a message is sent again; as often as there are times.';

CREATE FUNCTION byoc.resend_delay(class byoc.error_class, resends integer) RETURNS interval
LANGUAGE sql STABLE PARALLEL SAFE
RETURN CASE class WHEN 'resend' THEN (byoc.resend_schedule())[resends + 1]
                  WHEN 'retry_later' THEN least(interval '1 hour', (byoc.resend_schedule())[1] * 2 ^ least(resends, 20)) END;
COMMENT ON FUNCTION byoc.resend_delay(byoc.error_class, integer) IS
    'Internal: how long after a report of such an error a message that was sent again so many times is sent again; NULL: it is not.';

CREATE FUNCTION byoc.send_again(org_ids uuid[], ids uuid[]) RETURNS integer
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    resent integer;
BEGIN
    WITH due AS MATERIALIZED (
        SELECT m.org_id, m.id, m.error_code, m.error_message, clock_timestamp() + byoc.resend_delay(e.class, s.resends) AS due_at
        FROM unnest(org_ids, ids) AS t (org_id, id)
        JOIN byoc.messages m ON m.org_id = t.org_id AND m.id = t.id
        JOIN byoc.provider_errors e ON e.provider = 'twilio' AND e.code = m.error_code
        -- A person's retry begins a new count.
        CROSS JOIN LATERAL (
            SELECT count(*)::integer AS resends FROM byoc.message_events r
            WHERE r.org_id = m.org_id AND r.message_id = m.id AND r.event = 'resent'
              AND NOT EXISTS (SELECT FROM byoc.message_events p WHERE p.org_id = m.org_id AND p.message_id = m.id AND p.event = 'retried' AND p.id > r.id)) AS s
        WHERE m.status IN ('failed', 'undelivered')
          -- Whatever contradicts itself is not worth a second message.
          AND NOT EXISTS (SELECT FROM byoc.message_events d
                          WHERE d.org_id = m.org_id AND d.message_id = m.id AND d.attempt = m.attempts AND d.event IN ('delivered', 'read'))
          AND NOT EXISTS (SELECT FROM byoc.opt_outs o WHERE o.org_id = m.org_id AND o.number = m.to_number)
    ), back AS (
        DELETE FROM byoc.messages m USING due d
        WHERE m.org_id = d.org_id AND m.id = d.id
          AND d.due_at < coalesce(m.expires_at, greatest(m.send_at, m.created_at) + byoc.retry_window())
        RETURNING m.*, d.due_at, d.error_code AS code, d.error_message AS reason
    ), waiting AS (
        INSERT INTO byoc.schedule (org_id, id, due_at, to_number, body, segments, credential_id, attempts, source_table, idempotency_key,
                                   created_at, send_at, expires_at)
        SELECT b.org_id, b.id, b.due_at, b.to_number, b.body, coalesce(b.segments, 1), b.credential_id, b.attempts, b.source_table,
               b.idempotency_key, b.created_at, b.send_at, b.expires_at
        FROM back b
    ), kept AS (
        INSERT INTO byoc.earlier_attempts (org_id, provider_sid)
        SELECT b.org_id, b.provider_sid FROM back b WHERE b.provider_sid IS NOT NULL ON CONFLICT DO NOTHING
    ), noted AS (
        INSERT INTO byoc.message_events (org_id, message_id, id, event, attempt, error_code, error_message)
        SELECT b.org_id, b.id, byoc.uuid_v7(), 'resent', b.attempts, b.code, b.reason FROM back b
        RETURNING org_id
    )
    SELECT count(byoc.wake_dispatcher(n.org_id)) INTO resent FROM noted n;
    RETURN resent;
END
$$;
COMMENT ON FUNCTION byoc.send_again(uuid[], uuid[]) IS
    'Internal: schedules those of the messages again that just turned failed or undelivered with an error of class resend or retry_later, unless the '
    'recipient has opted out, the message would have expired by then, or it was sent often enough; returns how many.';

-- sql/reconcile.sql

-- What was perhaps sent: the request was made and nobody knows what became of it. Such a message stays where it is, being
-- sent, until the account's message list was read: found there it was sent; absent for long enough it is sent again; what
-- cannot be decided becomes unknown.

CREATE TABLE byoc.reconciliations (
    org_id uuid NOT NULL,
    message_id uuid NOT NULL,
    claim_id uuid NOT NULL,
    credential_id uuid NOT NULL,
    account text,
    sender text,
    to_number text NOT NULL,
    attempt_from timestamptz NOT NULL,
    attempt_until timestamptz NOT NULL,
    reason text NOT NULL,
    due_at timestamptz NOT NULL,
    leased_until timestamptz,
    absences smallint NOT NULL DEFAULT 0,
    failures smallint NOT NULL DEFAULT 0,
    PRIMARY KEY (org_id, message_id)
);
COMMENT ON TABLE byoc.reconciliations IS
    'Attempts of which nobody knows whether the provider took them. Their messages are still being sent and keep their claim_id, so a '
    'late answer settles them; a row without such a message is stale. Not dumped.';
COMMENT ON COLUMN byoc.reconciliations.account IS
    'The provider''s account that the attempt was made with; NULL: the credential was changed during the attempt, so nobody knows.';
COMMENT ON COLUMN byoc.reconciliations.sender IS 'Number that it was sent from; NULL: chosen by the provider.';
COMMENT ON COLUMN byoc.reconciliations.attempt_from IS 'The request was written between this time and attempt_until, or never.';
COMMENT ON COLUMN byoc.reconciliations.reason IS 'Error code of the attempt, or lease_expired.';
COMMENT ON COLUMN byoc.reconciliations.due_at IS 'When the list is to be read next.';
COMMENT ON COLUMN byoc.reconciliations.leased_until IS 'Until then a byocd is reading the list for it.';
COMMENT ON COLUMN byoc.reconciliations.absences IS 'Complete lists that did not show it.';
COMMENT ON COLUMN byoc.reconciliations.failures IS 'Reads that could not decide.';
CREATE INDEX reconciliations_due ON byoc.reconciliations (due_at);
CREATE INDEX reconciliations_recipient ON byoc.reconciliations (org_id, to_number);
ALTER TABLE byoc.reconciliations ENABLE ROW LEVEL SECURITY;

CREATE FUNCTION byoc.reconciliation_schedule() RETURNS interval[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN ARRAY['2 seconds', '8 seconds', '20 seconds']::interval[];
COMMENT ON FUNCTION byoc.reconciliation_schedule() IS
    'When the message list is read after an attempt that nobody knows the end of. A message that is absent each time was not sent.';

CREATE FUNCTION byoc.reconciliation_slack() RETURNS interval
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN interval '1 minute';
COMMENT ON FUNCTION byoc.reconciliation_slack() IS
    'By how much the provider''s clock may differ from the database''s: a listed message may have been made so much before or after the attempt.';

CREATE FUNCTION byoc.is_ambiguous(outcome text, http_status integer) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN coalesce(outcome = 'unknown' OR (outcome = 'unavailable' AND http_status >= 500), false);
COMMENT ON FUNCTION byoc.is_ambiguous(text, integer) IS
    'Internal: whether an attempt that ended so may have been carried out: its answer was lost, or was a server''s error.';

CREATE FUNCTION byoc.sender_of(fields jsonb, OUT account text, OUT sender text)
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (fields ->> 'account_sid', fields ->> 'phone_number');
COMMENT ON FUNCTION byoc.sender_of(jsonb) IS
    'Internal: the provider''s account of a credential, and the number that it sends from; NULL when a Messaging Service chooses one.';

CREATE FUNCTION byoc.is_reconciling(org_id uuid, message_id uuid, claim_id uuid) RETURNS boolean
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT EXISTS (SELECT FROM byoc.reconciliations r
                   WHERE r.org_id = is_reconciling.org_id AND r.message_id = is_reconciling.message_id AND r.claim_id = is_reconciling.claim_id);
END;
COMMENT ON FUNCTION byoc.is_reconciling(uuid, uuid, uuid) IS
    'Internal: whether the claim''s attempt ended ambiguously: then it is not the claim''s business any more.';

CREATE FUNCTION byoc.reconcile_later(outcomes jsonb) RETURNS integer
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
DECLARE
    entered integer;
BEGIN
    WITH told AS MATERIALIZED (
        SELECT t.* FROM jsonb_to_recordset(outcomes) AS t (
            org_id uuid, id uuid, claim_id uuid, outcome text, http_status smallint, error_code text, error_message text, duration_ms integer)
        WHERE t.outcome = 'rescued' OR byoc.is_ambiguous(t.outcome, t.http_status)
    ), entering AS MATERIALIZED (
        SELECT t.*, m.used_credential_id, m.used_credential_version, m.to_number, m.claimed_at, m.attempts
        FROM told t JOIN byoc.messages m ON m.org_id = t.org_id AND m.id = t.id AND m.claim_id = t.claim_id
        WHERE m.used_credential_id IS NOT NULL
          -- Recording twice does no harm.
          AND NOT EXISTS (SELECT FROM byoc.reconciliations r WHERE r.org_id = t.org_id AND r.message_id = t.id AND r.claim_id = t.claim_id
                                                               AND r.reason <> 'lease_expired')
    ), stored AS (
        INSERT INTO byoc.reconciliations AS r (org_id, message_id, claim_id, credential_id, account, sender, to_number, attempt_from,
                                               attempt_until, reason, due_at)
        SELECT e.org_id, e.id, e.claim_id, e.used_credential_id, CASE WHEN c.version = e.used_credential_version THEN s.account END, s.sender, e.to_number,
               e.claimed_at, clock_timestamp(), coalesce(e.error_code, 'http_' || e.http_status, e.outcome),
               clock_timestamp() + (byoc.reconciliation_schedule())[1]
        FROM entering e
        CROSS JOIN LATERAL (
            SELECT k.version, k.fields FROM byoc.organization_api_credentials k WHERE k.org_id = e.org_id AND k.id = e.used_credential_id
            UNION ALL
            SELECT f.version, f.fields FROM byoc.fallback_senders f
            WHERE e.used_credential_id = '00000000-0000-0000-0000-000000000000' AND f.version = e.used_credential_version) AS c
        CROSS JOIN LATERAL byoc.sender_of(c.fields) AS s
        -- The same attempt once more: its dispatcher was taken for dead and has spoken after all.
        ON CONFLICT (org_id, message_id) DO UPDATE
        SET claim_id = excluded.claim_id, credential_id = excluded.credential_id, sender = excluded.sender,
            account = CASE WHEN r.claim_id = excluded.claim_id THEN r.account ELSE excluded.account END,
            attempt_from = excluded.attempt_from, attempt_until = excluded.attempt_until, reason = excluded.reason,
            due_at = excluded.due_at, leased_until = NULL, absences = 0, failures = 0
    ), noted AS (
        INSERT INTO byoc.message_events (org_id, message_id, id, event, attempt, http_status, error_code, error_message, duration_ms)
        SELECT e.org_id, e.id, byoc.uuid_v7(), e.outcome, e.attempts, e.http_status, e.error_code, e.error_message, e.duration_ms
        FROM entering e
        RETURNING 1
    )
    SELECT count(*) INTO entered FROM noted;
    RETURN entered;
END
$$;
COMMENT ON FUNCTION byoc.reconcile_later(jsonb) IS
    'Internal: notes attempts that ended ambiguously, so that byocd looks for them in the account''s message list; returns how many.';

CREATE FUNCTION byoc.rescue_expired() RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
DECLARE
    lost jsonb;
    unsent jsonb;
BEGIN
    WITH dead AS MATERIALIZED (
        DELETE FROM byoc.claims c
        USING (SELECT x.id FROM byoc.claims x WHERE x.lease_until < clock_timestamp() FOR UPDATE SKIP LOCKED) AS e
        WHERE c.id = e.id
        RETURNING c.id, c.org_ids, c.message_ids
    ), member AS (
        SELECT m.used_credential_id, jsonb_build_object('org_id', m.org_id, 'id', m.id, 'claim_id', m.claim_id, 'outcome', 'rescued',
                                                        'error_code', 'lease_expired', 'retry_ms', 0) AS outcome
        FROM dead d CROSS JOIN unnest(d.org_ids, d.message_ids) AS i (org_id, id)
        JOIN byoc.messages m ON m.org_id = i.org_id AND m.id = i.id AND m.claim_id = d.id
        WHERE NOT byoc.is_reconciling(i.org_id, i.id, d.id)
    )
    -- Without a credential nothing was sent.
    SELECT jsonb_agg(m.outcome) FILTER (WHERE m.used_credential_id IS NOT NULL), jsonb_agg(m.outcome) FILTER (WHERE m.used_credential_id IS NULL)
    INTO lost, unsent FROM member m;
    RETURN byoc.reconcile_later(coalesce(lost, '[]')) + byoc.take_back(coalesce(unsent, '[]'));
END
$$;
COMMENT ON FUNCTION byoc.rescue_expired() IS
    'For byocd: takes over the messages of dispatchers whose lease ran out; returns how many. What may have been sent is reconciled first.';

CREATE VIEW byoc.due_reconciliations AS
SELECT r.* FROM byoc.reconciliations r
WHERE r.due_at <= clock_timestamp() AND (r.leased_until IS NULL OR r.leased_until <= clock_timestamp())
  -- A credential that has failed reads no list either: its tenant may mend it in time.
  AND (r.attempt_until + byoc.retry_window() <= clock_timestamp()
       OR NOT EXISTS (SELECT FROM byoc.organization_api_credentials c
                      WHERE c.org_id = r.org_id AND c.id = r.credential_id AND c.is_active AND c.verification_status = 'failed'))
  -- With an environment's account only those read its list who have it, while somebody may.
  AND (r.credential_id <> '00000000-0000-0000-0000-000000000000'
       OR r.attempt_until + byoc.retry_window() <= clock_timestamp()
       OR EXISTS (SELECT FROM byoc.fallback_senders f WHERE f.version = byoc.session_fallback() AND f.fields ->> 'account_sid' = r.account))
ORDER BY r.due_at LIMIT 1000;
COMMENT ON VIEW byoc.due_reconciliations IS 'Internal: those whose list is to be read now, the first thousand.';

CREATE FUNCTION byoc.claim_reconciliations(max_count integer, lease interval)
RETURNS TABLE (org_id uuid, credential_id uuid, credential_version integer, provider text, account text, to_number text, since timestamptz,
               read_at timestamptz)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
#variable_conflict use_column
BEGIN
    PERFORM byoc.require_adopted();
    -- Settled meanwhile by a late answer.
    DELETE FROM byoc.reconciliations r
    USING (SELECT d.org_id, d.message_id FROM byoc.due_reconciliations d) AS due
    WHERE r.org_id = due.org_id AND r.message_id = due.message_id
      AND NOT EXISTS (SELECT FROM byoc.messages m WHERE m.org_id = r.org_id AND m.id = r.message_id AND m.claim_id = r.claim_id);
    -- Nobody can read the list with what is left of these credentials.
    PERFORM byoc.give_up_reconciling(r.org_id, r.message_id, CASE
            WHEN NOT c.is_active THEN 'the credential was revoked'
            WHEN r.account IS NULL THEN 'the credential was changed during the attempt'
            ELSE 'the credential now has another account' END)
    FROM byoc.due_reconciliations r
    JOIN byoc.organization_api_credentials c ON c.org_id = r.org_id AND c.id = r.credential_id
    WHERE NOT c.is_active OR r.account IS NULL OR r.account IS DISTINCT FROM (byoc.sender_of(c.fields)).account;
    PERFORM byoc.give_up_reconciling(r.org_id, r.message_id, 'no byocd has the account in its environment any more')
    FROM byoc.due_reconciliations r
    WHERE r.credential_id = '00000000-0000-0000-0000-000000000000'
      AND NOT EXISTS (SELECT FROM byoc.fallback_senders f WHERE f.version = byoc.session_fallback() AND f.fields ->> 'account_sid' = r.account);
    RETURN QUERY
    WITH due AS MATERIALIZED (
        SELECT d.org_id, d.account, d.to_number, (array_agg(d.credential_id ORDER BY d.due_at))[1] AS credential_id
        FROM byoc.due_reconciliations d
        GROUP BY d.org_id, d.account, d.to_number ORDER BY min(d.due_at) LIMIT max_count
    ), taken AS (
        UPDATE byoc.reconciliations r SET leased_until = clock_timestamp() + lease
        FROM (SELECT k.org_id, k.message_id FROM due d
              JOIN byoc.reconciliations k ON k.org_id = d.org_id AND k.to_number = d.to_number AND k.account = d.account
              FOR UPDATE OF k SKIP LOCKED) AS locked
        WHERE r.org_id = locked.org_id AND r.message_id = locked.message_id
        RETURNING r.org_id, r.account, r.to_number, r.attempt_from
    )
    SELECT d.org_id, d.credential_id, coalesce(c.version, 0), coalesce(c.credential_type, 'twilio'), d.account, d.to_number,
           date_trunc('second', min(t.attempt_from) - byoc.reconciliation_slack()), clock_timestamp()
    FROM due d
    JOIN taken t ON t.org_id = d.org_id AND t.to_number = d.to_number AND t.account = d.account
    LEFT JOIN byoc.organization_api_credentials c ON c.org_id = d.org_id AND c.id = d.credential_id
    GROUP BY d.org_id, d.credential_id, c.version, c.credential_type, d.account, d.to_number;
END
$$;
COMMENT ON FUNCTION byoc.claim_reconciliations(integer, interval) IS
    'For byocd: message lists to read now, one for each account and recipient: all messages to to_number that the account''s list shows since '
    'then. They come up again after the lease unless byoc.record_reconciliation() is told.';

-- Answers that came too late.

CREATE FUNCTION byoc.recorded_sids(org_id uuid, sids text[], since timestamptz) RETURNS text[]
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
AS $$
    SELECT coalesce(array_agg(r.provider_sid), '{}')
    FROM (SELECT m.provider_sid FROM byoc.messages m
          WHERE m.org_id = recorded_sids.org_id AND m.provider_sid = ANY (sids)
            -- A request takes at most ten minutes (byocd's largest request-timeout).
            AND m.claimed_at >= since - interval '10 minutes' - byoc.reconciliation_slack()
          UNION ALL
          SELECT a.provider_sid FROM byoc.earlier_attempts a
          WHERE a.org_id = recorded_sids.org_id AND a.provider_sid = ANY (sids)) AS r;
$$;
COMMENT ON FUNCTION byoc.recorded_sids(uuid, text[], timestamptz) IS
    'Internal: which of these provider ids, made since then, belong to a message of the organization already.';

CREATE FUNCTION byoc.without_exchanged(outcomes jsonb) RETURNS jsonb
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
DECLARE
    late record;
    exchanged uuid[] := '{}';
BEGIN
    -- Locked as byoc.record_reconciliation() does, so that both cannot give the same id away.
    FOR late IN
        SELECT t.org_id, t.id, t.provider_sid, r.attempt_from
        FROM jsonb_to_recordset(outcomes) AS t (org_id uuid, id uuid, claim_id uuid, outcome text, provider_sid text)
        JOIN byoc.reconciliations r ON r.org_id = t.org_id AND r.message_id = t.id AND r.claim_id = t.claim_id
        WHERE t.outcome = 'accepted' ORDER BY r.message_id FOR UPDATE OF r
    LOOP
        IF byoc.recorded_sids(late.org_id, ARRAY[late.provider_sid], late.attempt_from) <> '{}' THEN
            exchanged := exchanged || late.id;
        END IF;
    END LOOP;
    IF exchanged = '{}' THEN
        RETURN outcomes;
    END IF;
    RETURN (SELECT coalesce(jsonb_agg(o), '[]') FROM jsonb_array_elements(outcomes) AS o WHERE (o ->> 'id')::uuid <> ALL (exchanged));
END
$$;
COMMENT ON FUNCTION byoc.without_exchanged(jsonb) IS
    'Internal: the outcomes but those of attempts whose listed message was given to another one that looks the same: those two have changed places, '
    'and this one is looked for on, as the other would have been.';

CREATE FUNCTION byoc.note_late(outcomes jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
BEGIN
    WITH late AS MATERIALIZED (
        SELECT t.* FROM jsonb_to_recordset(outcomes) AS t (
            org_id uuid, id uuid, claim_id uuid, attempt smallint, outcome text, provider_sid text, from_number text, segments smallint,
            duration_ms integer)
        WHERE t.outcome = 'accepted' AND t.provider_sid IS NOT NULL
          AND EXISTS (SELECT FROM byoc.message_events e WHERE e.org_id = t.org_id AND e.message_id = t.id)
          AND NOT EXISTS (SELECT FROM byoc.message_events e
                          WHERE e.org_id = t.org_id AND e.message_id = t.id AND e.provider_sid = t.provider_sid)
          -- One that looks the same may have got it from the list.
          AND NOT EXISTS (SELECT FROM byoc.messages m
                          WHERE m.org_id = t.org_id AND m.id = t.id
                            AND byoc.recorded_sids(t.org_id, ARRAY[t.provider_sid], m.claimed_at) <> '{}')
    ), known AS (
        UPDATE byoc.messages m
        SET status = 'sent', sent_at = clock_timestamp(), provider_sid = t.provider_sid, from_number = t.from_number,
            segments = coalesce(nullif(t.segments, 0), m.segments),
            error_code = NULL, error_message = NULL
        FROM late t
        WHERE m.org_id = t.org_id AND m.id = t.id AND m.status = 'unknown' AND m.attempts = t.attempt
    )
    INSERT INTO byoc.message_events (org_id, message_id, id, event, attempt, provider_sid, duration_ms)
    SELECT t.org_id, t.id, byoc.uuid_v7(), 'late', t.attempt, t.provider_sid, t.duration_ms FROM late t WHERE t.attempt IS NOT NULL;
END
$$;
COMMENT ON FUNCTION byoc.note_late(jsonb) IS
    'Internal: keeps in the history that an attempt was accepted after its message was taken from it: one that is unknown is sent after all; '
    'one that was sent again went out twice.';

-- sql/settle.sql

-- What an account's message list says about ambiguous attempts, and what then becomes of their messages.

CREATE FUNCTION byoc.give_up_reconciling(org_id uuid, message_id uuid, problem text) RETURNS boolean
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    gone byoc.reconciliations;
BEGIN
    DELETE FROM byoc.reconciliations r WHERE r.org_id = give_up_reconciling.org_id AND r.message_id = give_up_reconciling.message_id
    RETURNING r.* INTO gone;
    WITH parked AS (
        UPDATE byoc.messages m
        SET status = 'unknown', claim_id = NULL, finished_at = clock_timestamp(), error_code = gone.reason,
            error_message = 'it may have been sent, and the message list could not tell: ' || problem
        WHERE m.org_id = gone.org_id AND m.id = gone.message_id AND m.claim_id = gone.claim_id
        RETURNING m.org_id, m.id, m.attempts, m.error_code, m.error_message
    ), listed AS (
        INSERT INTO byoc.unknown_messages (org_id, message_id) SELECT p.org_id, p.id FROM parked p ON CONFLICT DO NOTHING
    )
    INSERT INTO byoc.message_events (org_id, message_id, id, event, attempt, error_code, error_message)
    SELECT p.org_id, p.id, byoc.uuid_v7(), 'unknown', p.attempts, p.error_code, p.error_message FROM parked p;
    RETURN FOUND;
END
$$;
COMMENT ON FUNCTION byoc.give_up_reconciling(uuid, uuid, text) IS
    'Internal: makes the message unknown, with the problem as its reason; false when its answer had come after all.';

CREATE FUNCTION byoc.settle_absent(org_id uuid, message_id uuid) RETURNS boolean
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    gone byoc.reconciliations;
BEGIN
    DELETE FROM byoc.reconciliations r WHERE r.org_id = settle_absent.org_id AND r.message_id = settle_absent.message_id RETURNING r.* INTO gone;
    WITH ended AS (
        UPDATE byoc.messages m
        SET status = CASE WHEN m.expires_at <= clock_timestamp() THEN 'expired' ELSE 'failed' END, claim_id = NULL,
            finished_at = clock_timestamp(), error_code = gone.reason, error_message = 'it was tried until now, and not sent'
        WHERE m.org_id = gone.org_id AND m.id = gone.message_id AND m.claim_id = gone.claim_id
          AND coalesce(m.expires_at, greatest(m.send_at, m.created_at) + byoc.retry_window()) <= clock_timestamp()
        RETURNING m.org_id, m.id, m.attempts
    )
    INSERT INTO byoc.message_events (org_id, message_id, id, event, attempt)
    SELECT e.org_id, e.id, byoc.uuid_v7(), 'not_found', e.attempts FROM ended e;
    RETURN FOUND OR byoc.take_back(jsonb_build_array(jsonb_build_object(
        'org_id', gone.org_id, 'id', gone.message_id, 'claim_id', gone.claim_id, 'outcome', 'not_found', 'retry_ms', 0))) > 0;
END
$$;
COMMENT ON FUNCTION byoc.settle_absent(uuid, uuid) IS
    'Internal: the message was not sent: it is sent again, or has expired, or failed when it was tried for long enough. False when its answer had '
    'come after all.';

CREATE FUNCTION byoc.settle_found(org_id uuid, message_id uuid, listed jsonb) RETURNS boolean
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    gone byoc.reconciliations;
    state text := listed ->> 'status';
BEGIN
    DELETE FROM byoc.reconciliations r WHERE r.org_id = settle_found.org_id AND r.message_id = settle_found.message_id RETURNING r.* INTO gone;
    WITH settled AS (
        UPDATE byoc.messages m
        SET status = CASE WHEN state IN ('delivered', 'undelivered', 'failed') THEN state ELSE 'sent' END, claim_id = NULL,
            provider_sid = listed ->> 'sid', from_number = listed ->> 'sender',
            segments = coalesce(nullif((listed ->> 'segments')::smallint, 0), m.segments), sent_at = (listed ->> 'created_at')::timestamptz, finished_at = clock_timestamp(),
            delivered_at = CASE state WHEN 'delivered' THEN clock_timestamp() END,
            error_code = listed ->> 'error_code', error_message = listed ->> 'error_message'
        WHERE m.org_id = gone.org_id AND m.id = gone.message_id AND m.claim_id = gone.claim_id
        RETURNING m.org_id, m.id, m.status, m.attempts, m.provider_sid, m.error_code, m.error_message
    ), watched AS (
        INSERT INTO byoc.receipt_watches (org_id, due_at, message_ids)
        SELECT s.org_id, clock_timestamp() + interval '10 minutes', ARRAY[s.id] FROM settled s WHERE s.status = 'sent'
    )
    INSERT INTO byoc.message_events (org_id, message_id, id, event, attempt, provider_sid, error_code, error_message)
    SELECT s.org_id, s.id, byoc.uuid_v7(), 'found', s.attempts, s.provider_sid, s.error_code, s.error_message FROM settled s;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM byoc.send_again(ARRAY[gone.org_id], ARRAY[gone.message_id]);
    RETURN true;
END
$$;
COMMENT ON FUNCTION byoc.settle_found(uuid, uuid, jsonb) IS
    'Internal: the message was sent, as the list says, and is sent again when it failed since (byoc.send_again); false when its answer had come after all.';

-- Listed messages that may be one of the recipient's reconciliations: of its sender, made within its time. `text_is_hidden`
-- tells one whose text the provider does not show.
CREATE FUNCTION byoc.plausible_messages(org_id uuid, account text, to_number text, listed jsonb) RETURNS jsonb
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce(jsonb_agg(l.message ORDER BY l.created_at, l.message ->> 'sid'), '[]')
    FROM (SELECT e AS message, (e ->> 'created_at')::timestamptz AS created_at, e ->> 'sender' AS sender FROM jsonb_array_elements(listed) AS e) AS l
    WHERE EXISTS (SELECT FROM byoc.reconciliations r
                  WHERE r.org_id = plausible_messages.org_id AND r.account = plausible_messages.account AND r.to_number = plausible_messages.to_number
                    AND l.created_at BETWEEN r.attempt_from - byoc.reconciliation_slack() AND r.attempt_until + byoc.reconciliation_slack()
                    AND coalesce(l.sender = r.sender, true));
$$;
COMMENT ON FUNCTION byoc.plausible_messages(uuid, text, text, jsonb) IS
    'Internal: those of the listed messages that may belong to an ambiguous attempt by sender and time, oldest first.';

CREATE FUNCTION byoc.match_listed(org_id uuid, account text, to_number text, plausible jsonb) RETURNS text[]
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    message jsonb;
    match uuid;
    matched text[] := '{}';
BEGIN
    FOR message IN SELECT e FROM jsonb_array_elements(plausible) AS e LOOP
        -- The attempt that ended first: then every one that can have a message gets one.
        SELECT r.message_id INTO match
        FROM byoc.reconciliations r JOIN byoc.messages m ON m.org_id = r.org_id AND m.id = r.message_id AND m.claim_id = r.claim_id
        WHERE r.org_id = match_listed.org_id AND r.account = match_listed.account AND r.to_number = match_listed.to_number
          AND message -> 'texts' ? m.body AND coalesce(message ->> 'sender' = r.sender, true)
          AND (message ->> 'created_at')::timestamptz BETWEEN r.attempt_from - byoc.reconciliation_slack()
                                                          AND r.attempt_until + byoc.reconciliation_slack()
        ORDER BY r.attempt_until, r.message_id LIMIT 1;
        IF FOUND AND byoc.settle_found(org_id, match, message) THEN
            matched := matched || (message ->> 'sid');
        END IF;
    END LOOP;
    RETURN matched;
END
$$;
COMMENT ON FUNCTION byoc.match_listed(uuid, text, text, jsonb) IS
    'Internal: settles ambiguous attempts as sent that have a listed message with their text; returns its ids. Attempts that look alike are '
    'interchangeable: of two, one listed message settles one.';

CREATE FUNCTION byoc.record_reconciliation(org_id uuid, account text, to_number text, since timestamptz, read_at timestamptz, listed jsonb,
                                           state text, problem text) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
DECLARE
    most_failures CONSTANT integer := 5;
    shortest_wait CONSTANT interval := least((byoc.reconciliation_schedule())[1], interval '2 seconds');
    times CONSTANT interval[] := byoc.reconciliation_schedule();
    plausible jsonb;
    in_flight jsonb;
    recorded text[];
    settled integer;
    matched text[] := '{}';
    is_busy boolean := false;
    doubt text;
    due record;
BEGIN
    IF state IS NULL OR state NOT IN ('complete', 'incomplete', 'refused', 'unavailable') THEN
        RAISE EXCEPTION 'state must be complete, incomplete, refused or unavailable' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM FROM byoc.reconciliations r
    WHERE r.org_id = record_reconciliation.org_id AND r.account = record_reconciliation.account AND r.to_number = record_reconciliation.to_number
    ORDER BY r.message_id FOR UPDATE;
    plausible := byoc.plausible_messages(org_id, account, to_number, coalesce(listed, '[]'));
    IF plausible <> '[]' THEN
        -- First what is in flight, then what is recorded: nothing can slip from one to the other unseen.
        SELECT coalesce(jsonb_agg(jsonb_build_object('body', m.body, 'claimed_at', m.claimed_at)), '[]') INTO in_flight
        FROM byoc.claims c CROSS JOIN unnest(c.org_ids, c.message_ids) AS i (org_id, id)
        JOIN byoc.messages m ON m.org_id = i.org_id AND m.id = i.id AND m.claim_id = c.id
        WHERE i.org_id = record_reconciliation.org_id AND m.to_number = record_reconciliation.to_number
          AND NOT byoc.is_reconciling(i.org_id, i.id, c.id);
        recorded := byoc.recorded_sids(org_id, ARRAY(SELECT e ->> 'sid' FROM jsonb_array_elements(plausible) AS e),
                                       (plausible -> 0 ->> 'created_at')::timestamptz);
        SELECT coalesce(jsonb_agg(e ORDER BY n), '[]') INTO plausible
        FROM jsonb_array_elements(plausible) WITH ORDINALITY AS p (e, n) WHERE e ->> 'sid' <> ALL (recorded);
        -- A message that another claim is sending may own one of them: its answer tells.
        is_busy := EXISTS (SELECT FROM jsonb_array_elements(plausible) AS e, jsonb_array_elements(in_flight) AS f
                           WHERE (e -> 'texts' ? (f ->> 'body') OR (e ->> 'text_is_hidden')::boolean)
                             AND (f ->> 'claimed_at')::timestamptz <= (e ->> 'created_at')::timestamptz + byoc.reconciliation_slack());
        IF NOT is_busy THEN
            matched := byoc.match_listed(org_id, account, to_number, plausible);
        END IF;
    END IF;
    settled := cardinality(matched);
    -- The rest was not there. That counts for what was due when the read began, and whose time the list covers.
    FOR due IN
        SELECT r.*, r.attempt_until + byoc.retry_window() <= clock_timestamp() AS too_late,
               -- Somebody's message, and perhaps this one: Messaging Services change texts (Smart Encoding, short links).
               EXISTS (SELECT FROM jsonb_array_elements(plausible) AS e
                       WHERE e ->> 'sid' <> ALL (matched)
                         AND (r.sender IS NULL OR ((e ->> 'text_is_hidden')::boolean AND coalesce(e ->> 'sender' = r.sender, true)))
                         AND (e ->> 'created_at')::timestamptz BETWEEN r.attempt_from - byoc.reconciliation_slack()
                                                                   AND r.attempt_until + byoc.reconciliation_slack()) AS is_unclear
        FROM byoc.reconciliations r JOIN byoc.messages m ON m.org_id = r.org_id AND m.id = r.message_id AND m.claim_id = r.claim_id
        WHERE r.org_id = record_reconciliation.org_id AND r.account = record_reconciliation.account
          AND r.to_number = record_reconciliation.to_number AND r.due_at <= read_at
          AND r.attempt_from - byoc.reconciliation_slack() >= record_reconciliation.since
    LOOP
        doubt := CASE WHEN is_busy THEN 'one that looks alike is still being sent'
                      WHEN state <> 'complete' THEN coalesce(problem, state)
                      WHEN due.is_unclear THEN 'it shows a message that may be this one, with another text or none' END;
        IF doubt IS NULL AND due.absences + 1 >= cardinality(times) THEN
            settled := settled + byoc.settle_absent(due.org_id, due.message_id)::integer;
        ELSIF doubt IS NOT NULL AND (CASE WHEN is_busy OR state = 'unavailable' THEN due.too_late ELSE due.failures + 1 >= most_failures END) THEN
            settled := settled + byoc.give_up_reconciling(due.org_id, due.message_id, doubt)::integer;
        ELSE
            UPDATE byoc.reconciliations r
            SET leased_until = NULL,
                absences = r.absences + (doubt IS NULL)::integer,
                failures = r.failures + (doubt IS NOT NULL AND NOT is_busy AND state <> 'unavailable')::integer,
                due_at = CASE WHEN doubt IS NULL
                              THEN greatest(r.attempt_until + times[r.absences + 2], clock_timestamp() + shortest_wait)
                              ELSE clock_timestamp()
                                  + greatest(shortest_wait, least(interval '1 minute', 0.7 * (clock_timestamp() - r.attempt_until))) END
            WHERE r.org_id = due.org_id AND r.message_id = due.message_id;
        END IF;
    END LOOP;
    RETURN settled;
END
$$;
COMMENT ON FUNCTION byoc.record_reconciliation(uuid, text, text, timestamptz, timestamptz, jsonb, text, text) IS
    'For byocd: what an account''s message list shows for a recipient (an array of sid, sender, texts, text_is_hidden, created_at, status, '
    'segments, error_code, error_message). since and read_at as claimed. state: complete (nothing since then is missing), incomplete, '
    'refused (it may not be read) or unavailable (not now); problem says why. Returns how many messages were settled.';

-- sql/receipts.sql

-- Delivery receipts: what the provider says about a message after it took it. They come as callbacks, whose address holds a
-- signed token; where callbacks cannot come, or stay away, byocd asks for the status instead.

CREATE TABLE byoc.receipt_watches (
    org_id uuid NOT NULL,
    id uuid NOT NULL DEFAULT byoc.uuid_v7(),
    due_at timestamptz NOT NULL,
    message_ids uuid[] NOT NULL,
    PRIMARY KEY (org_id, id)
);
ALTER TABLE byoc.receipt_watches ALTER COLUMN message_ids SET STORAGE EXTERNAL; -- random: to compress them takes most of the insert
COMMENT ON TABLE byoc.receipt_watches IS
    'Messages that the provider took at about the same time; from due_at on the status of those that had no final receipt is asked for. '
    'Many messages a row, so that sending pays next to nothing. Not dumped: a copy must not ask.';
CREATE INDEX receipt_watches_due ON byoc.receipt_watches (due_at);
ALTER TABLE byoc.receipt_watches ENABLE ROW LEVEL SECURITY;

CREATE TABLE byoc.status_checks (
    org_id uuid NOT NULL,
    id uuid NOT NULL,
    due_at timestamptz NOT NULL,
    checks smallint NOT NULL DEFAULT 0,
    PRIMARY KEY (org_id, id)
);
COMMENT ON TABLE byoc.status_checks IS 'Messages whose status is asked for because no final receipt came. Not dumped.';
COMMENT ON COLUMN byoc.status_checks.checks IS 'How often it was asked for.';
CREATE INDEX status_checks_due ON byoc.status_checks (due_at);
ALTER TABLE byoc.status_checks ENABLE ROW LEVEL SECURITY;

CREATE FUNCTION byoc.receipt_key() RETURNS bytea
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'byoc_receipt_key';
COMMENT ON FUNCTION byoc.receipt_key() IS
    'For byocd: the key that signs receipt tokens, derived from the active master key. Tokens are good while that master key is in the key ring.';

CREATE FUNCTION byoc.read_receipt_token(token text, OUT org_id uuid, OUT message_id uuid, OUT attempt integer)
LANGUAGE c STABLE STRICT AS 'MODULE_PATHNAME', 'byoc_read_receipt_token';
COMMENT ON FUNCTION byoc.read_receipt_token(text) IS 'Internal: what a receipt token is about; all NULL unless a master key of the key ring signed it.';

CREATE FUNCTION byoc.credential_for_account(org_id uuid, credential_id uuid)
RETURNS TABLE (id uuid, version integer, credential_type text)
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT '00000000-0000-0000-0000-000000000000'::uuid, 0, 'twilio'
    WHERE CASE WHEN credential_for_account.credential_id IS NULL THEN byoc.falls_back(credential_for_account.org_id)
               ELSE credential_for_account.credential_id = '00000000-0000-0000-0000-000000000000' END
    UNION ALL
    (SELECT c.id, c.version, c.credential_type
    FROM byoc.organization_api_credentials c
    LEFT JOIN byoc.organization_api_credentials used ON used.org_id = c.org_id AND used.id = credential_for_account.credential_id
    WHERE c.org_id = credential_for_account.org_id AND c.is_active AND c.credential_type = 'twilio'
      AND (c.id = used.id OR c.fields ->> 'account_sid' = used.fields ->> 'account_sid' OR (used.id IS NULL AND c.is_default))
      AND credential_for_account.credential_id IS DISTINCT FROM '00000000-0000-0000-0000-000000000000'
    ORDER BY c.id = used.id DESC, c.is_default DESC, c.created_at LIMIT 1);
END;
COMMENT ON FUNCTION byoc.credential_for_account(uuid, uuid) IS
    'Internal: the credential, or once it is revoked another active one of the same account; the default when none is named. The nil UUID: an environment''s account.';

CREATE FUNCTION byoc.open_receipts(tokens text[])
RETURNS TABLE (ordinal integer, org_id uuid, id uuid, attempt integer, credential_id uuid, credential_version integer)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT t.n::integer - 1, r.org_id, r.message_id, r.attempt, c.id, c.version
    FROM unnest(tokens) WITH ORDINALITY AS t (token, n)
    CROSS JOIN LATERAL byoc.read_receipt_token(t.token) AS r
    CROSS JOIN LATERAL (
        SELECT coalesce(m.used_credential_id, m.credential_id) AS credential_id
        FROM byoc.messages m WHERE m.org_id = r.org_id AND m.id = r.message_id
        UNION ALL
        SELECT s.credential_id FROM byoc.schedule s WHERE s.org_id = r.org_id AND s.id = r.message_id
        UNION ALL
        SELECT q.credential_id FROM byoc.queue q
        WHERE q.org_id = r.org_id AND q.lane = ANY (byoc.lanes_of(r.org_id)) AND q.id = r.message_id
        LIMIT 1) AS m
    LEFT JOIN LATERAL byoc.credential_for_account(r.org_id, m.credential_id) AS c ON true;
END
$$;
COMMENT ON FUNCTION byoc.open_receipts(text[]) IS
    'For byocd: what the tokens (numbered from 0) are about, and the credential whose secret signs such callbacks, NULL when none is left. '
    'A token that is forged, or whose message is gone, is missing from the answer.';

CREATE FUNCTION byoc.lanes_of(org_id uuid) RETURNS uuid[]
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT array_agg(c.id) || '00000000-0000-0000-0000-000000000000'::uuid
    FROM byoc.organization_api_credentials c WHERE c.org_id = lanes_of.org_id;
END;
COMMENT ON FUNCTION byoc.lanes_of(uuid) IS 'Internal: every lane that messages of the organization can be queued in.';

CREATE FUNCTION byoc.receipt_result(provider_status text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE provider_status
           WHEN 'delivered' THEN 'delivered' WHEN 'read' THEN 'delivered'
           WHEN 'undelivered' THEN 'undelivered'
           WHEN 'failed' THEN 'failed' WHEN 'canceled' THEN 'failed' END;
COMMENT ON FUNCTION byoc.receipt_result(text) IS 'Internal: the final message status that a provider''s status means; NULL: not final.';

-- A message waits for another attempt although the last one reached the provider: nobody knew, until this receipt.
CREATE FUNCTION byoc.recall_waiting(receipts jsonb) RETURNS uuid[]
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    told record;
    busy uuid[] := '{}';
BEGIN
    FOR told IN
        SELECT DISTINCT t.org_id, t.id, t.attempt, t.provider_sid
        FROM jsonb_to_recordset(receipts) AS t (org_id uuid, id uuid, attempt integer, provider_sid text)
        WHERE NOT EXISTS (SELECT FROM byoc.messages m WHERE m.org_id = t.org_id AND m.id = t.id)
          -- With a provider's id on record the attempt was known, and the message waits because somebody wants it sent again.
          AND NOT EXISTS (SELECT FROM byoc.message_events e
                          WHERE e.org_id = t.org_id AND e.message_id = t.id AND e.attempt = t.attempt AND e.provider_sid IS NOT NULL)
    LOOP
        -- One that looks the same got this id from the message list: the two have changed places, and this one is to be sent.
        CONTINUE WHEN byoc.recorded_sids(told.org_id, ARRAY[told.provider_sid],
            (SELECT min(e.at) - interval '10 minutes' FROM byoc.message_events e
             WHERE e.org_id = told.org_id AND e.message_id = told.id AND e.attempt = told.attempt)) <> '{}';
        WITH unsent AS (
            DELETE FROM byoc.schedule s
            WHERE s.ctid = (SELECT w.ctid FROM byoc.schedule w WHERE w.org_id = told.org_id AND w.id = told.id AND w.attempts = told.attempt
                            FOR UPDATE SKIP LOCKED)
            RETURNING s.org_id, s.id, s.to_number, s.body, s.credential_id, s.attempts, s.source_table, s.idempotency_key, s.created_at, s.send_at, s.expires_at, s.segments
        ), queued AS (
            DELETE FROM byoc.queue q
            WHERE q.ctid = (SELECT w.ctid FROM byoc.queue w
                            WHERE w.org_id = told.org_id AND w.lane = ANY (byoc.lanes_of(told.org_id)) AND w.id = told.id AND w.attempts = told.attempt
                            FOR UPDATE SKIP LOCKED)
            RETURNING q.org_id, q.id, q.to_number, q.body, q.credential_id, q.attempts, q.source_table, q.idempotency_key, q.created_at, q.send_at, q.expires_at, q.segments
        )
        -- When it was claimed is forgotten. Later than that is good enough for byoc.recorded_sids().
        INSERT INTO byoc.messages (org_id, id, to_number, body, credential_id, attempts, source_table, idempotency_key, created_at, send_at,
                                   expires_at, segments, status, finished_at, claimed_at)
        SELECT u.*, 'unknown', clock_timestamp(), clock_timestamp() FROM (TABLE unsent UNION ALL TABLE queued) AS u;
        -- Somebody has it locked, and perhaps an open transaction of its tenant: nobody waits for that.
        IF NOT FOUND AND (EXISTS (SELECT FROM byoc.schedule s WHERE s.org_id = told.org_id AND s.id = told.id AND s.attempts = told.attempt)
                          OR EXISTS (SELECT FROM byoc.queue q WHERE q.org_id = told.org_id AND q.lane = ANY (byoc.lanes_of(told.org_id))
                                                                AND q.id = told.id AND q.attempts = told.attempt)) THEN
            busy := busy || told.id;
        END IF;
    END LOOP;
    RETURN busy;
END
$$;
COMMENT ON FUNCTION byoc.recall_waiting(jsonb) IS
    'Internal: takes messages out of the queue whose last attempt, by these receipts, did reach the provider; they are unknown until the receipts settle them. '
    'Returns those that are locked.';

CREATE FUNCTION byoc.record_receipts(receipts jsonb) RETURNS integer[]
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
-- As byoc.record_outcomes: a plan made while the tables are empty must not read them as a whole when they are full.
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET jit = off
AS $$
DECLARE
    now CONSTANT timestamptz := clock_timestamp();
    busy CONSTANT uuid[] := byoc.recall_waiting(receipts);
    sought uuid[];
    ready bigint[];
    held integer[];
    failed_orgs uuid[];
    failed uuid[];
BEGIN
    -- Its row is locked while a message list settles a message, and before the message: of two attempts that look alike the list
    -- must not take this one's message for the other's.
    sought := ARRAY(SELECT r.message_id FROM byoc.reconciliations r
                    JOIN (SELECT DISTINCT t.org_id, t.id FROM jsonb_to_recordset(receipts) AS t (org_id uuid, id uuid)) AS t
                      ON r.org_id = t.org_id AND r.message_id = t.id
                    FOR UPDATE OF r SKIP LOCKED);
    -- Whoever has a message locked is about to change it, most likely with the outcome of the very attempt: no waiting, so no
    -- deadlock, but again a moment later. For the same reason a message that a live claim is sending waits unless told to settle.
    WITH told AS MATERIALIZED (
        SELECT t.* FROM ROWS FROM (jsonb_to_recordset(receipts) AS (org_id uuid, id uuid, settle boolean)) WITH ORDINALITY AS t (org_id, id, settle, n)
    ), locked AS MATERIALIZED (
        SELECT m.org_id, m.id, k.is_sought, NOT k.is_sought AND EXISTS (SELECT FROM byoc.claims c WHERE c.id = m.claim_id AND c.lease_until > now) AS in_flight
        FROM (SELECT DISTINCT d.org_id, d.id FROM told d) AS t
        JOIN byoc.messages m ON m.org_id = t.org_id AND m.id = t.id
        CROSS JOIN LATERAL byoc.is_reconciling(m.org_id, m.id, m.claim_id) AS k (is_sought)
        FOR NO KEY UPDATE OF m SKIP LOCKED
    ), sorted AS (
        SELECT t.n, CASE WHEN l.is_sought THEN t.id = ANY (sought) ELSE l.id IS NOT NULL AND (NOT l.in_flight OR coalesce(t.settle, false)) END AS is_ready
        FROM told t
        LEFT JOIN locked l ON l.org_id = t.org_id AND l.id = t.id
        WHERE t.id = ANY (busy) OR EXISTS (SELECT FROM byoc.messages m WHERE m.org_id = t.org_id AND m.id = t.id)
    )
    SELECT array_agg(s.n) FILTER (WHERE s.is_ready), array_agg(s.n - 1) FILTER (WHERE NOT s.is_ready) INTO ready, held FROM sorted s;

    WITH told AS MATERIALIZED (
        SELECT t.org_id, t.id, t.attempt, t.provider_sid, t.status, t.error_code, t.from_number, t.n,
               byoc.receipt_result(t.status) AS result, least(to_timestamp(t.at), now) AS at
        FROM ROWS FROM (jsonb_to_recordset(receipts) AS (
            org_id uuid, id uuid, attempt smallint, provider_sid text, status text, error_code text, from_number text, at double precision))
            WITH ORDINALITY AS t (org_id, id, attempt, provider_sid, status, error_code, from_number, at, n)
        WHERE t.n = ANY (ready)
    ), news AS MATERIALIZED (
        -- What can move a message: it stands at this attempt and is not final. A final status counts before any other.
        SELECT DISTINCT ON (m.org_id, m.id) m.org_id, m.id, m.status AS before, t.provider_sid, t.from_number, t.result,
               CASE WHEN t.result IN ('undelivered', 'failed') THEN coalesce(t.error_code, t.status) END AS error_code,
               greatest(t.at, m.sent_at, m.created_at) AS at
        FROM told t
        JOIN byoc.messages m ON m.org_id = t.org_id AND m.id = t.id
        WHERE m.attempts = t.attempt AND coalesce(m.provider_sid, t.provider_sid) = t.provider_sid
          -- The id of another message belongs to one that looks the same: the two have changed places (byoc.without_exchanged).
          AND CASE WHEN m.provider_sid IS NULL THEN byoc.recorded_sids(m.org_id, ARRAY[t.provider_sid], m.claimed_at) = '{}' ELSE true END
          AND (m.status IN ('sending', 'unknown') OR (m.status = 'sent' AND (t.result IS NOT NULL OR m.provider_sid IS NULL)))
        ORDER BY m.org_id, m.id, t.result IS NULL, t.n
    ), changed AS (
        UPDATE byoc.messages m
        SET status = coalesce(n.result, 'sent'), claim_id = NULL, provider_sid = n.provider_sid,
            from_number = coalesce(m.from_number, n.from_number), sent_at = coalesce(m.sent_at, n.at), finished_at = coalesce(m.finished_at, now),
            delivered_at = CASE n.result WHEN 'delivered' THEN n.at END, error_code = n.error_code,
            error_message = CASE WHEN n.error_code IS NOT NULL THEN byoc.receipt_reason(n.error_code) END
        FROM news n
        WHERE m.org_id = n.org_id AND m.id = n.id
        RETURNING m.org_id, m.id, m.attempts, m.provider_sid, n.before, n.result
    ), found AS (
        DELETE FROM byoc.reconciliations r USING changed c WHERE r.org_id = c.org_id AND r.message_id = c.id AND c.id = ANY (sought)
    ), answered AS (
        DELETE FROM byoc.status_checks s USING changed c WHERE s.org_id = c.org_id AND s.id = c.id AND c.result IS NOT NULL
    ), watched AS (
        INSERT INTO byoc.receipt_watches (org_id, due_at, message_ids)
        SELECT c.org_id, now + interval '10 minutes', array_agg(c.id) FROM changed c
        WHERE c.before <> 'sent' AND c.result IS NULL GROUP BY c.org_id
    ), history AS (
        SELECT c.org_id, c.id, 'settled' AS event, c.attempts AS attempt, NULL AS error_code, c.provider_sid, 0 AS n
        FROM changed c WHERE c.before <> 'sent'
        UNION ALL
        (SELECT DISTINCT ON (t.org_id, t.id, t.attempt, t.status, t.provider_sid) t.org_id, t.id, t.status, t.attempt, t.error_code, t.provider_sid, t.n
         FROM told t
         WHERE t.status IN ('sent', 'delivered', 'undelivered', 'failed', 'canceled', 'read', 'partially_delivered')
           AND NOT EXISTS (SELECT FROM byoc.message_events e
                           WHERE e.org_id = t.org_id AND e.message_id = t.id AND e.attempt = t.attempt AND e.event = t.status
                             AND e.provider_sid = t.provider_sid)
         ORDER BY t.org_id, t.id, t.attempt, t.status, t.provider_sid, t.n)
    ), noted AS (
        INSERT INTO byoc.message_events (org_id, message_id, id, event, attempt, error_code, provider_sid)
        SELECT h.org_id, h.id, byoc.uuid_v7(), h.event, h.attempt, h.error_code, h.provider_sid
        FROM (SELECT * FROM history ORDER BY history.n) AS h
    )
    SELECT array_agg(c.org_id), array_agg(c.id) INTO failed_orgs, failed FROM changed c WHERE c.result IN ('failed', 'undelivered');
    IF failed IS NOT NULL THEN
        -- A suspended account, an unregistered sender: the next ones would not arrive either.
        PERFORM byoc.fail_credentials((
            SELECT jsonb_agg(jsonb_build_object('org_id', m.org_id, 'id', m.id, 'outcome', 'rejected', 'error_code', m.error_code))
            FROM unnest(failed_orgs, failed) AS t (org_id, id) JOIN byoc.messages m ON m.org_id = t.org_id AND m.id = t.id));
        PERFORM byoc.send_again(failed_orgs, failed);
    END IF;
    RETURN coalesce(held, '{}');
END
$$;
COMMENT ON FUNCTION byoc.record_receipts(jsonb) IS
    'For byocd: what the provider says about messages that it took: org_id, id, attempt, provider_sid, status (the provider''s word) and perhaps '
    'error_code, from_number, at (seconds since 1970) and settle. delivered, undelivered and failed are final, but for a failure whose class in '
    'byoc.provider_errors has the message sent again (byoc.send_again); a message never goes back, and a receipt that comes twice, late or about another attempt changes nothing. One for a message whose answer was lost settles it. Returns '
    'the receipts (numbered from 0) to bring again in a moment: their message is being changed, or its answer is still awaited, until settle is true.';

CREATE FUNCTION byoc.receipt_reason(error_code text) RETURNS text
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT max(e.title) FROM byoc.provider_errors e WHERE e.provider = 'twilio' AND e.code = error_code;
END;
COMMENT ON FUNCTION byoc.receipt_reason(text) IS 'Internal: what byoc.provider_errors says about a code; receipts bring the code only.';

CREATE FUNCTION byoc.expect_receipts(org_ids uuid[], ids uuid[], called_back boolean[]) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO byoc.receipt_watches (org_id, due_at, message_ids)
    SELECT t.org_id, clock_timestamp() + CASE WHEN t.called_back THEN interval '10 minutes' ELSE interval '10 seconds' END, array_agg(t.id)
    FROM unnest(org_ids, ids, called_back) AS t (org_id, id, called_back)
    GROUP BY t.org_id, t.called_back;
END
$$;
COMMENT ON FUNCTION byoc.expect_receipts(uuid[], uuid[], boolean[]) IS
    'For byocd: messages that the provider took. Their status is asked for from ten seconds on or, where callbacks can come, after ten minutes of silence.';

CREATE FUNCTION byoc.claim_status_checks(max_count integer)
RETURNS TABLE (org_id uuid, id uuid, attempt integer, provider_sid text, provider text, credential_id uuid, credential_version integer)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
-- Its tables are empty for long and then, within seconds, are not: a plan from before would read all of them.
SET plan_cache_mode = force_custom_plan
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
#variable_conflict use_column
DECLARE
    waits CONSTANT interval[] := ARRAY['1 minute', '10 minutes', '1 hour', '4 hours'];
    fallback CONSTANT integer := byoc.session_fallback();
BEGIN
    WITH due AS (
        DELETE FROM byoc.receipt_watches w
        USING (SELECT d.org_id, d.id FROM byoc.receipt_watches d WHERE d.due_at <= clock_timestamp()
               ORDER BY d.due_at LIMIT max_count FOR UPDATE SKIP LOCKED) AS ready
        WHERE w.org_id = ready.org_id AND w.id = ready.id
        RETURNING w.org_id, w.message_ids
    )
    INSERT INTO byoc.status_checks (org_id, id, due_at)
    SELECT m.org_id, m.id, clock_timestamp()
    FROM due d CROSS JOIN unnest(d.message_ids) AS u (id)
    JOIN byoc.messages m ON m.org_id = d.org_id AND m.id = u.id
    WHERE m.status = 'sent' AND m.provider_sid IS NOT NULL
    ON CONFLICT DO NOTHING;

    RETURN QUERY
    WITH due AS MATERIALIZED (
        SELECT s.org_id, s.id FROM byoc.status_checks s
        WHERE s.due_at <= clock_timestamp()
          -- What was sent with another environment's account, that byocd asks for.
          AND NOT EXISTS (SELECT FROM byoc.messages m
                          WHERE m.org_id = s.org_id AND m.id = s.id AND m.sent_at > clock_timestamp() - interval '24 hours'
                            AND m.used_credential_id = '00000000-0000-0000-0000-000000000000' AND m.used_credential_version IS DISTINCT FROM fallback)
        ORDER BY s.due_at LIMIT max_count FOR UPDATE SKIP LOCKED
    ), open AS MATERIALIZED (
        SELECT d.org_id, d.id, m.attempts, m.provider_sid, c.credential_type, c.id AS credential_id, c.version
        FROM due d
        JOIN byoc.messages m ON m.org_id = d.org_id AND m.id = d.id
        CROSS JOIN LATERAL byoc.credential_for_account(m.org_id, m.used_credential_id) AS c
        WHERE m.status = 'sent' AND m.provider_sid IS NOT NULL AND m.sent_at > clock_timestamp() - interval '24 hours'
    ), closed AS (
        DELETE FROM byoc.status_checks s USING due d
        WHERE s.org_id = d.org_id AND s.id = d.id AND NOT EXISTS (SELECT FROM open o WHERE o.org_id = d.org_id AND o.id = d.id)
    ), taken AS (
        UPDATE byoc.status_checks s
        SET checks = least(s.checks + 1, 32767), due_at = clock_timestamp() + waits[least(s.checks + 1, 4)]
        FROM open o WHERE s.org_id = o.org_id AND s.id = o.id
    )
    SELECT o.org_id, o.id, o.attempts::integer, o.provider_sid, o.credential_type, o.credential_id, o.version FROM open o;
END
$$;
COMMENT ON FUNCTION byoc.claim_status_checks(integer) IS
    'For byocd: messages whose status to ask the provider for. Each comes again after a minute, ten minutes, an hour and then every four hours, '
    'until byoc.record_receipts() had a final status or 24 hours have passed.';

-- sql/inbound.sql

-- What recipients send back, and who does not want to hear from an organization any more.

CREATE TABLE byoc.inbound_messages (
    org_id uuid NOT NULL,
    id uuid NOT NULL DEFAULT byoc.uuid_v7(),
    credential_id uuid NOT NULL,
    provider_sid text NOT NULL,
    from_number text NOT NULL,
    to_number text NOT NULL,
    body text NOT NULL,
    keyword text CHECK (keyword IN ('stop', 'start', 'help')),
    received_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (org_id, id),
    UNIQUE (org_id, provider_sid)
);
COMMENT ON TABLE byoc.inbound_messages IS
    'Messages that recipients sent to an organization''s numbers, each once. A superuser can put an AFTER INSERT trigger on it, whose '
    'function should be SECURITY DEFINER and the application''s: it runs with the rights of the extension''s owner otherwise.';
COMMENT ON COLUMN byoc.inbound_messages.credential_id IS 'Credential whose webhook it came by.';
COMMENT ON COLUMN byoc.inbound_messages.keyword IS 'stop, start or help when that is all it says, or what the provider made of it; else NULL.';
COMMENT ON COLUMN byoc.inbound_messages.org_id IS 'The organization.';
COMMENT ON COLUMN byoc.inbound_messages.id IS 'The message.';
COMMENT ON COLUMN byoc.inbound_messages.provider_sid IS 'The provider''s id of it.';
COMMENT ON COLUMN byoc.inbound_messages.from_number IS 'Who sent it, E.164.';
COMMENT ON COLUMN byoc.inbound_messages.to_number IS 'The organization''s number that it came to.';
COMMENT ON COLUMN byoc.inbound_messages.body IS 'Its text.';
COMMENT ON COLUMN byoc.inbound_messages.received_at IS 'When it came in.';
ALTER TABLE byoc.inbound_messages ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON byoc.inbound_messages FOR SELECT USING (org_id = (SELECT byoc.current_org_id()));
SELECT pg_extension_config_dump('byoc.inbound_messages', '');

-- extension/opt_outs.cpp finds rows by the first two columns.
CREATE TABLE byoc.opt_outs (
    org_id uuid NOT NULL,
    number text NOT NULL,
    source text NOT NULL CHECK (source IN ('inbound', 'provider')),
    opted_out_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (org_id, number)
);
COMMENT ON TABLE byoc.opt_outs IS
    'Numbers that an organization must not text: what it sends them fails at once, with code 21610 and without a request. START from the '
    'number lifts it, or byoc.lift_opt_out().';
COMMENT ON COLUMN byoc.opt_outs.source IS 'inbound: the recipient''s own word came by webhook. provider: it refused a message with 21610.';
COMMENT ON COLUMN byoc.opt_outs.org_id IS 'The organization.';
COMMENT ON COLUMN byoc.opt_outs.number IS 'E.164.';
COMMENT ON COLUMN byoc.opt_outs.opted_out_at IS 'When it was first heard of.';
ALTER TABLE byoc.opt_outs ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON byoc.opt_outs FOR SELECT USING (org_id = (SELECT byoc.current_org_id()));
SELECT pg_extension_config_dump('byoc.opt_outs', '');

CREATE INDEX organization_api_credentials_id ON byoc.organization_api_credentials (id);

CREATE FUNCTION byoc.inbound_keyword(body text, provider_keyword text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
           WHEN upper(provider_keyword) IN ('STOP', 'START', 'HELP') THEN lower(provider_keyword)
           WHEN upper(btrim(body, E' \t\r\n')) IN ('STOP', 'STOPALL', 'UNSUBSCRIBE', 'CANCEL', 'END', 'QUIT', 'REVOKE', 'OPTOUT') THEN 'stop'
           WHEN upper(btrim(body, E' \t\r\n')) IN ('START', 'YES', 'UNSTOP') THEN 'start'
           WHEN upper(btrim(body, E' \t\r\n')) IN ('HELP', 'INFO') THEN 'help' END;
COMMENT ON FUNCTION byoc.inbound_keyword(text, text) IS
    'Internal: what a message means for opting out: what the provider says (Twilio''s OptOutType), else its default words '
    '(https://help.twilio.com/articles/223134027).';

CREATE FUNCTION byoc.opt_out(org_id uuid, number text, source text) RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    reason text := byoc.receipt_reason('21610');
BEGIN
    -- No waiting for an open transaction of the tenant, which would hold up everybody's receipts.
    PERFORM FROM byoc.opt_outs o WHERE o.org_id = opt_out.org_id AND o.number = opt_out.number FOR KEY SHARE NOWAIT;
    IF NOT FOUND THEN
        INSERT INTO byoc.opt_outs (org_id, number, source) VALUES (opt_out.org_id, opt_out.number, opt_out.source) ON CONFLICT DO NOTHING;
    END IF;
    -- What waits must not go out either. What is locked is being claimed or cancelled.
    WITH unsent AS (
        DELETE FROM byoc.schedule s
        WHERE s.ctid = ANY (ARRAY(SELECT w.ctid FROM byoc.schedule w WHERE w.org_id = opt_out.org_id AND w.to_number = opt_out.number
                                  FOR UPDATE SKIP LOCKED))
        RETURNING s.org_id, s.id, s.to_number, s.body, s.credential_id, s.attempts, s.source_table, s.idempotency_key, s.created_at, s.send_at, s.expires_at, s.segments
    ), queued AS (
        DELETE FROM byoc.queue q
        WHERE q.ctid = ANY (ARRAY(SELECT w.ctid FROM byoc.queue w WHERE w.org_id = opt_out.org_id AND w.to_number = opt_out.number
                                  FOR UPDATE SKIP LOCKED))
        RETURNING q.org_id, q.id, q.to_number, q.body, q.credential_id, q.attempts, q.source_table, q.idempotency_key, q.created_at, q.send_at, q.expires_at, q.segments
    ), stored AS (
        INSERT INTO byoc.messages (org_id, id, to_number, body, credential_id, attempts, source_table, idempotency_key, created_at, send_at,
                                   expires_at, segments, status, finished_at, error_code, error_message)
        SELECT u.*, 'failed', clock_timestamp(), '21610', reason FROM (TABLE unsent UNION ALL TABLE queued) AS u
        RETURNING messages.org_id, messages.id, messages.attempts
    )
    INSERT INTO byoc.message_events (org_id, message_id, id, event, attempt, error_code, error_message)
    SELECT s.org_id, s.id, byoc.uuid_v7(), 'refused', s.attempts, '21610', reason FROM stored s;
END
$$;
COMMENT ON FUNCTION byoc.opt_out(uuid, text, text) IS 'Internal: notes an opt-out, and fails the messages to that number that wait. Raises 55P03 while '
    'it is being lifted.';

CREATE FUNCTION byoc.lift_opt_out(number text, org_id uuid DEFAULT byoc.current_org_id()) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM byoc.require_organization(org_id, 'admin');
    DELETE FROM byoc.opt_outs o WHERE o.org_id = lift_opt_out.org_id AND o.number = lift_opt_out.number;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the number has not opted out' USING ERRCODE = 'no_data_found';
    END IF;
END
$$;
COMMENT ON FUNCTION byoc.lift_opt_out(text, uuid) IS
    'Lets messages to a number go out again, for a START that did not come this way. The provider may still refuse them. Needs the organization role admin.';

-- For byocd

CREATE FUNCTION byoc.inbound_credential(credential_id uuid) RETURNS TABLE (org_id uuid, version integer)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT c.org_id, c.version FROM byoc.organization_api_credentials c
    WHERE c.id = inbound_credential.credential_id AND c.is_active AND c.credential_type = 'twilio';
END
$$;
COMMENT ON FUNCTION byoc.inbound_credential(uuid) IS 'For byocd: whose active Twilio credential this is; no row when there is none.';

CREATE FUNCTION byoc.record_inbound(org_id uuid, credential_id uuid, provider_sid text, from_number text, to_number text, body text,
                                    provider_keyword text) RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    keyword text := byoc.inbound_keyword(body, provider_keyword);
    problem text;
BEGIN
    BEGIN
        INSERT INTO byoc.inbound_messages (org_id, credential_id, provider_sid, from_number, to_number, body, keyword)
        VALUES (record_inbound.org_id, record_inbound.credential_id, record_inbound.provider_sid, record_inbound.from_number,
                record_inbound.to_number, record_inbound.body, keyword)
        ON CONFLICT ON CONSTRAINT inbound_messages_org_id_provider_sid_key DO NOTHING;
        IF NOT FOUND THEN
            RETURN NULL; -- told before; a later word may have come since
        END IF;
    EXCEPTION WHEN OTHERS THEN
        problem := SQLSTATE; -- an application's trigger must not keep anybody from opting out
    END;
    IF keyword = 'stop' THEN
        PERFORM byoc.opt_out(org_id, from_number, 'inbound');
    ELSIF keyword = 'start' THEN
        DELETE FROM byoc.opt_outs o
        WHERE o.ctid = (SELECT w.ctid FROM byoc.opt_outs w WHERE w.org_id = record_inbound.org_id AND w.number = record_inbound.from_number
                        FOR UPDATE SKIP LOCKED);
    END IF;
    RETURN problem;
END
$$;
COMMENT ON FUNCTION byoc.record_inbound(uuid, uuid, text, text, text, text, text) IS
    'For byocd: keeps a message that came in and does what STOP and START mean. Returns NULL or, when an application''s trigger kept it from being '
    'kept, the SQLSTATE: bring it again.';

CREATE FUNCTION byoc.note_refusals(org_ids uuid[], ids uuid[]) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM byoc.opt_out(m.org_id, m.to_number, 'provider')
    FROM unnest(org_ids, ids) AS t (org_id, id)
    JOIN byoc.messages m ON m.org_id = t.org_id AND m.id = t.id
    WHERE m.status = 'failed' AND m.error_code = '21610'
      AND NOT EXISTS (SELECT FROM byoc.opt_outs o WHERE o.org_id = m.org_id AND o.number = m.to_number);
END
$$;
COMMENT ON FUNCTION byoc.note_refusals(uuid[], uuid[]) IS 'For byocd: messages that the provider refused; those with 21610 tell who has opted out.';

-- sql/oauth.sql

-- Credentials that a user grants at the provider (OAuth): from the browser's way there and back to a stored credential, and
-- taking the access away at the provider once the credential is revoked.

CREATE TABLE byoc.oauth_states (
    org_id uuid NOT NULL,
    state_hash bytea NOT NULL CHECK (length(state_hash) = 32),
    browser_hash bytea NOT NULL CHECK (length(browser_hash) = 32),
    provider text NOT NULL,
    client_id text NOT NULL,
    credential_id uuid,
    user_id text,
    org_role text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    taken_at timestamptz,
    PRIMARY KEY (org_id, state_hash)
);
COMMENT ON TABLE byoc.oauth_states IS
    'Users on their way to a provider and back, for ten minutes. Not dumped: in a copied database nobody is on the way.';
COMMENT ON COLUMN byoc.oauth_states.state_hash IS 'SHA-256 of the state that the provider hands back.';
COMMENT ON COLUMN byoc.oauth_states.browser_hash IS 'SHA-256 of the secret in the cookie of the browser that set out.';
COMMENT ON COLUMN byoc.oauth_states.client_id IS 'OAuth client that the user was sent with.';
COMMENT ON COLUMN byoc.oauth_states.credential_id IS 'Credential to be connected; NULL: a new one.';
COMMENT ON COLUMN byoc.oauth_states.taken_at IS 'When the browser was back: a state is good once.';
CREATE INDEX oauth_states_state ON byoc.oauth_states (state_hash);
ALTER TABLE byoc.oauth_states ENABLE ROW LEVEL SECURITY;

CREATE TABLE byoc.provider_revocations (
    org_id uuid NOT NULL,
    id uuid NOT NULL DEFAULT byoc.uuid_v7(),
    credential_id uuid NOT NULL,
    provider text NOT NULL,
    client_id text,
    account text,
    encrypted_fields bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    due_at timestamptz NOT NULL DEFAULT '-infinity',
    attempts smallint NOT NULL DEFAULT 0,
    PRIMARY KEY (org_id, id)
);
COMMENT ON TABLE byoc.provider_revocations IS
    'Access to be taken away at the provider too, for a day at most: what is left of revoked credentials. Not dumped: the origin of a copy does it.';
COMMENT ON COLUMN byoc.provider_revocations.encrypted_fields IS 'The envelope that the credential had.';
CREATE INDEX provider_revocations_due ON byoc.provider_revocations (due_at);
ALTER TABLE byoc.provider_revocations ENABLE ROW LEVEL SECURITY;

CREATE FUNCTION byoc.start_oauth(provider text, state_hash bytea, browser_hash bytea, deployment_client text, credential_id uuid DEFAULT NULL) RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    own CONSTANT uuid := byoc.current_org_id();
    client text := deployment_client;
    credential byoc.organization_api_credentials;
BEGIN
    PERFORM byoc.require_organization(own, 'admin');
    IF NOT EXISTS (SELECT FROM byoc.organizations o WHERE o.id = own AND o.shredded_at IS NULL) THEN
        RAISE EXCEPTION 'organization % does not exist', own USING ERRCODE = 'no_data_found';
    ELSIF NOT EXISTS (SELECT FROM byoc.providers p WHERE p.name = start_oauth.provider AND p.enabled AND p.fields ? 'refresh_token') THEN
        RAISE EXCEPTION 'credentials of this type are not granted by OAuth' USING ERRCODE = 'invalid_parameter_value', COLUMN = 'provider';
    ELSIF credential_id IS NOT NULL THEN
        SELECT * INTO credential FROM byoc.organization_api_credentials c
        WHERE c.org_id = own AND c.id = start_oauth.credential_id AND c.credential_type = start_oauth.provider;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'credential % does not exist', credential_id USING ERRCODE = 'no_data_found';
        ELSIF NOT credential.is_active THEN
            RAISE EXCEPTION 'credential % is revoked', credential_id USING ERRCODE = 'object_not_in_prerequisite_state';
        ELSIF credential.fields ? 'client_secret' THEN
            client := credential.fields ->> 'client_id';
        END IF;
    END IF;
    IF client IS NULL THEN
        RAISE EXCEPTION 'there is no OAuth client to connect by' USING ERRCODE = 'object_not_in_prerequisite_state',
            HINT = 'Add a credential with client ID and client secret and connect that one, or ask who runs this server for a client of its own.';
    END IF;
    -- What nobody came back for goes, and so does all but the latest: no user is in that many places.
    DELETE FROM byoc.oauth_states s
    WHERE s.org_id = own
      AND (s.created_at < clock_timestamp() - interval '10 minutes'
           OR s.state_hash IN (SELECT t.state_hash FROM byoc.oauth_states t WHERE t.org_id = own ORDER BY t.created_at DESC OFFSET 19));
    INSERT INTO byoc.oauth_states (org_id, state_hash, browser_hash, provider, client_id, credential_id, user_id, org_role)
    VALUES (own, start_oauth.state_hash, start_oauth.browser_hash, start_oauth.provider, client, start_oauth.credential_id,
            byoc.current_user_id(), byoc.current_org_role());
    RETURN client;
END
$$;
COMMENT ON FUNCTION byoc.start_oauth(text, bytea, bytea, text, uuid) IS
    'Notes that the user of the tenant context is on the way to the provider, for a new credential or to connect one anew, and returns the client id to '
    'be sent with: the credential''s own, else deployment_client. Good for ten minutes, once, in the browser that has the secret of browser_hash. '
    'Needs the organization role admin. Raises 55000 when there is no client.';

CREATE FUNCTION byoc.take_oauth_state(state_hash bytea, browser_hash bytea)
RETURNS TABLE (org_id uuid, provider text, client_id text, client_secret text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    state byoc.oauth_states;
    credential byoc.organization_api_credentials;
BEGIN
    UPDATE byoc.oauth_states s SET taken_at = clock_timestamp()
    WHERE s.state_hash = take_oauth_state.state_hash AND s.browser_hash = take_oauth_state.browser_hash
      AND s.taken_at IS NULL AND s.created_at > clock_timestamp() - interval '10 minutes'
    RETURNING s.* INTO state;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    org_id := state.org_id;
    provider := state.provider;
    client_id := state.client_id;
    SELECT c.* INTO credential FROM byoc.organization_api_credentials c
    WHERE c.org_id = state.org_id AND c.id = state.credential_id AND c.is_active AND c.fields ? 'client_secret';
    IF FOUND THEN
        client_secret := byoc.unseal_fields(credential.org_id, credential.id, credential.encrypted_fields) ->> 'client_secret';
        PERFORM byoc.audit(credential.org_id, 'credential.leased', credential.id, jsonb_build_object('version', credential.version));
    END IF;
    RETURN NEXT;
END
$$;
COMMENT ON FUNCTION byoc.take_oauth_state(bytea, bytea) IS
    'For byocd: the browser that set out is back. Answers whose way it was and the client that the code is exchanged by (client_secret NULL: the deployment''s), '
    'once; nothing for a state that is unknown, used, older than ten minutes or another browser''s.';

CREATE FUNCTION byoc.add_credential_by_oauth(state_hash bytea, fields text) RETURNS uuid
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    granted jsonb := byoc.parse_fields(fields);
    state byoc.oauth_states;
    credential byoc.organization_api_credentials;
    stored uuid;
BEGIN
    DELETE FROM byoc.oauth_states s
    WHERE s.state_hash = add_credential_by_oauth.state_hash AND s.taken_at > clock_timestamp() - interval '10 minutes'
    RETURNING s.* INTO state;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'nobody is on the way with this state' USING ERRCODE = 'no_data_found';
    END IF;
    granted := jsonb_build_object('client_id', state.client_id) || granted;
    -- As the user who set out, with that user's rights.
    PERFORM byoc.set_org(state.org_id, state.user_id, state.org_role);
    IF state.credential_id IS NULL THEN
        stored := byoc.add_credential(state.provider, granted);
    ELSE
        stored := state.credential_id;
        SELECT * INTO credential FROM byoc.organization_api_credentials c WHERE c.org_id = state.org_id AND c.id = stored;
        PERFORM byoc.change_credential(state.org_id, stored, granted, NULL, NULL);
        -- Not of an account that is not known: it may be the same, whose access would end with it.
        IF credential.fields ? 'account' THEN
            PERFORM byoc.revoke_at_provider(credential);
        END IF;
    END IF;
    PERFORM set_config('byoc.token', '', true);
    RETURN stored;
END
$$;
COMMENT ON FUNCTION byoc.add_credential_by_oauth(bytea, text) IS
    'For byocd: stores what the provider granted (JSON text: refresh_token, account) for the state that was taken, as the user who set out: a new credential, or '
    'the one to be connected. Returns its id. Raises P0002 without such a state, and what byoc.add_credential and byoc.update_credential raise.';

CREATE FUNCTION byoc.revoke_at_provider(credential byoc.organization_api_credentials) RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF credential.encrypted_fields IS NOT NULL AND credential.fields ? 'refresh_token' THEN
        INSERT INTO byoc.provider_revocations (org_id, credential_id, provider, client_id, account, encrypted_fields)
        VALUES (credential.org_id, credential.id, credential.credential_type, credential.fields ->> 'client_id', credential.fields ->> 'account',
                credential.encrypted_fields);
        PERFORM byoc.wake_dispatcher(credential.org_id);
    END IF;
END
$$;
COMMENT ON FUNCTION byoc.revoke_at_provider(byoc.organization_api_credentials) IS
    'Internal: lets byocd take away, at the provider, the access that the credential had by OAuth; nothing to do for others.';

CREATE FUNCTION byoc.claim_provider_revocations(max_count integer, lease interval)
RETURNS TABLE (org_id uuid, id uuid, provider text, refresh_token text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    revocation byoc.provider_revocations;
BEGIN
    IF NOT byoc.is_adopted() THEN
        RETURN;
    END IF;
    -- A provider ends all that an account gave a client, so nothing is revoked while another credential lives by it. One of the
    -- same organization: a tenant can write any account into a credential, and must not keep another one's access alive with it.
    DELETE FROM byoc.provider_revocations r USING byoc.organization_api_credentials c
    WHERE r.due_at <= clock_timestamp() AND c.org_id = r.org_id AND c.is_active AND c.credential_type = r.provider
      AND c.fields ->> 'client_id' = r.client_id AND c.fields ->> 'account' = r.account;
    FOR revocation IN
        UPDATE byoc.provider_revocations r SET due_at = clock_timestamp() + lease, attempts = r.attempts + 1
        FROM (SELECT d.org_id, d.id FROM byoc.provider_revocations d WHERE d.due_at <= clock_timestamp()
              ORDER BY d.due_at LIMIT max_count FOR UPDATE SKIP LOCKED) AS due
        WHERE r.org_id = due.org_id AND r.id = due.id
        RETURNING r.*
    LOOP
        org_id := revocation.org_id;
        id := revocation.id;
        provider := revocation.provider;
        BEGIN
            refresh_token := byoc.unseal_fields(revocation.org_id, revocation.credential_id, revocation.encrypted_fields) ->> 'refresh_token';
            RETURN NEXT;
        EXCEPTION WHEN data_exception OR config_file_error OR external_routine_exception THEN
            -- Its key is gone, perhaps for now.
            PERFORM byoc.record_provider_revocation(revocation.org_id, revocation.id, false);
        END;
    END LOOP;
END
$$;
COMMENT ON FUNCTION byoc.claim_provider_revocations(integer, interval) IS
    'For byocd: refresh tokens to be revoked at their provider; they come up again after the lease unless the result is recorded. None in a copied '
    'database, and none of an account that another credential of the organization is connected by with the same client.';

CREATE FUNCTION byoc.record_provider_revocation(org_id uuid, id uuid, revoked boolean) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    revocation byoc.provider_revocations;
BEGIN
    SELECT * INTO revocation FROM byoc.provider_revocations r
    WHERE r.org_id = record_provider_revocation.org_id AND r.id = record_provider_revocation.id FOR UPDATE;
    IF NOT FOUND THEN
        RETURN;
    ELSIF NOT revoked AND revocation.created_at > clock_timestamp() - interval '1 day' THEN
        UPDATE byoc.provider_revocations r SET due_at = clock_timestamp() + byoc.verification_backoff(r.attempts)
        WHERE r.org_id = revocation.org_id AND r.id = revocation.id;
        RETURN;
    END IF;
    DELETE FROM byoc.provider_revocations r WHERE r.org_id = revocation.org_id AND r.id = revocation.id;
    PERFORM byoc.audit(revocation.org_id, CASE WHEN revoked THEN 'credential.revoked_at_provider' ELSE 'credential.not_revoked_at_provider' END,
                       revocation.credential_id);
END
$$;
COMMENT ON FUNCTION byoc.record_provider_revocation(uuid, uuid, boolean) IS
    'For byocd: the provider has revoked the token, or it could not be asked: then it is asked again, later each time, for a day. The audit trail has the end.';

-- sql/audit.sql

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

-- sql/maintenance.sql

-- Which database this is: a restored or copied one must not start texting by itself.

CREATE TABLE byoc.installation (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    system_identifier bigint NOT NULL,
    database_oid oid NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE byoc.installation IS
    'The database that these tables belong to. It is dumped, so a restored copy holds the row of its origin beside its own and is recognized.';
ALTER TABLE byoc.installation ENABLE ROW LEVEL SECURITY;
SELECT pg_extension_config_dump('byoc.installation', '');

CREATE FUNCTION byoc.record_installation() RETURNS void
LANGUAGE sql VOLATILE
BEGIN ATOMIC
    INSERT INTO byoc.installation (system_identifier, database_oid)
    SELECT s.system_identifier, d.oid FROM pg_control_system() AS s, pg_database AS d WHERE d.datname = current_database();
END;
COMMENT ON FUNCTION byoc.record_installation() IS 'Internal: notes that these tables belong to this database.';
SELECT byoc.record_installation();

CREATE FUNCTION byoc.is_adopted() RETURNS boolean
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT count(*) = 1 AND bool_and(i.system_identifier = s.system_identifier AND i.database_oid = d.oid)
    FROM byoc.installation i, pg_control_system() AS s, pg_database AS d
    WHERE d.datname = current_database();
END;
COMMENT ON FUNCTION byoc.is_adopted() IS 'Internal: false in a database that came from another one by restore or copy.';

CREATE FUNCTION byoc.adopt_installation() RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    paused bigint;
BEGIN
    IF byoc.is_adopted() THEN
        RETURN 0;
    END IF;
    LOCK TABLE byoc.queue, byoc.schedule, byoc.messages, byoc.calls IN SHARE ROW EXCLUSIVE MODE;
    -- What came along is paused: kept among the messages, without a job.
    WITH unsent AS (
        DELETE FROM byoc.schedule s
        RETURNING s.org_id, s.id, s.to_number, s.body, s.segments, s.credential_id, s.attempts, s.source_table, s.idempotency_key, s.created_at, s.send_at, s.expires_at
    ), queued AS (
        DELETE FROM byoc.queue q
        RETURNING q.org_id, q.id, q.to_number, q.body, q.segments, q.credential_id, q.attempts, q.source_table, q.idempotency_key, q.created_at, q.send_at, q.expires_at
    ), stored AS (
        INSERT INTO byoc.messages (org_id, id, to_number, body, segments, credential_id, attempts, source_table, idempotency_key, created_at, send_at, expires_at, status)
        SELECT u.*, 'queued' FROM (TABLE unsent UNION ALL TABLE queued) AS u
        RETURNING 1
    )
    SELECT count(*) INTO paused FROM stored;
    -- What its origin was sending may have been sent: a person decides.
    WITH unsure AS (
        UPDATE byoc.messages m
        SET status = 'unknown', claim_id = NULL, finished_at = clock_timestamp(), error_code = 'restored',
            error_message = 'it was being sent when the copy was made'
        WHERE m.status = 'sending'
        RETURNING m.org_id, m.id
    )
    INSERT INTO byoc.unknown_messages (org_id, message_id) SELECT u.org_id, u.id FROM unsure u ON CONFLICT DO NOTHING;
    WITH waiting AS (
        UPDATE byoc.calls c SET status = 'paused', due_at = NULL, claim_id = NULL WHERE c.due_at IS NOT NULL RETURNING 1
    )
    SELECT paused + count(*) INTO paused FROM waiting;
    DELETE FROM byoc.call_breakers;
    DELETE FROM byoc.claims;
    DELETE FROM byoc.reconciliations;
    DELETE FROM byoc.receipt_watches;
    DELETE FROM byoc.status_checks;
    DELETE FROM byoc.lanes;
    DELETE FROM byoc.oauth_states;
    DELETE FROM byoc.provider_revocations;
    PERFORM byoc.take_lanes();
    DELETE FROM byoc.installation;
    PERFORM byoc.record_installation();
    PERFORM byoc.audit_if_possible('installation.adopted', jsonb_build_object('paused', paused));
    RETURN paused;
END
$$;
COMMENT ON FUNCTION byoc.adopt_installation() IS
    'After a restore or copy: makes this database the one that sends. Messages and calls it came with stay paused until byoc.resume_restored(); '
    'returns how many. Make sure that the origin does not send any more.';

CREATE FUNCTION byoc.resume_restored(org_id uuid DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    resumed bigint;
BEGIN
    SELECT count(*) INTO resumed FROM byoc.messages m
    WHERE m.status = 'queued' AND (org_id IS NULL OR m.org_id = resume_restored.org_id)
      AND byoc.requeue(m.org_id, m.id, ARRAY['queued'], 'resumed');
    WITH due AS (
        UPDATE byoc.calls c SET status = 'available', due_at = greatest(clock_timestamp(), c.send_at), retry_until = NULL
        WHERE c.status = 'paused' AND (org_id IS NULL OR c.org_id = resume_restored.org_id)
        RETURNING c.org_id
    )
    SELECT resumed + count(byoc.wake_dispatcher(d.org_id)) INTO resumed FROM due d;
    IF resumed > 0 THEN
        PERFORM byoc.audit(org_id, 'messages.resumed', NULL, jsonb_build_object('count', resumed));
    END IF;
    RETURN resumed;
END
$$;
COMMENT ON FUNCTION byoc.resume_restored(uuid) IS
    'Makes jobs of the paused messages and calls that a restored database came with, of one organization or of all; returns how many.';

-- sql/health.sql

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
BEGIN
    RETURN QUERY
    WITH RECURSIVE first AS (
        (SELECT q.org_id, q.lane, q.created_at, q.send_at FROM byoc.queue q ORDER BY q.org_id, q.lane, q.id LIMIT 1)
        UNION ALL
        SELECT n.* FROM first f CROSS JOIN LATERAL (
            SELECT q.org_id, q.lane, q.created_at, q.send_at FROM byoc.queue q WHERE (q.org_id, q.lane) > (f.org_id, f.lane)
            ORDER BY q.org_id, q.lane, q.id LIMIT 1) AS n
    )
    SELECT (SELECT count(*) FROM byoc.queue),
           (SELECT max(greatest(0, extract(epoch FROM clock_timestamp() - greatest(f.created_at, f.send_at)))) FROM first f
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

-- sql/monitoring.sql

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

-- sql/credential_views.sql

-- The tenant's door to credentials. WITH barrier: see views.sql.

CREATE VIEW byoc.credentials WITH (security_barrier) AS
WITH barrier AS (SELECT)
SELECT c.id, c.org_id, c.credential_type, c.display_name, c.fields, c.is_active, c.is_default, c.verification_status,
       c.verification_error, c.last_verified_at, c.created_by, c.created_at, c.updated_at, c.verification_note
FROM byoc.organization_api_credentials c WHERE c.org_id = (SELECT byoc.current_org_id())
UNION ALL
SELECT c.id, c.org_id, c.credential_type, c.display_name, c.fields, c.is_active, c.is_default, c.verification_status,
       c.verification_error, c.last_verified_at, c.created_by, c.created_at, c.updated_at, c.verification_note
FROM byoc.organization_api_credentials c WHERE (SELECT byoc.sees_all_organizations());
COMMENT ON VIEW byoc.credentials IS
    'The organization''s credentials, secrets masked. INSERT adds, UPDATE changes display_name, fields and is_default, DELETE revokes.';

COMMENT ON COLUMN byoc.credentials.verification_error IS 'failed: what to do about it. pending: why it could not be checked yet; NULL: it was not tried.';
COMMENT ON COLUMN byoc.credentials.verification_note IS 'verified: what could not be checked, and why; NULL: everything was.';
COMMENT ON COLUMN byoc.credentials.id IS 'The credential.';
COMMENT ON COLUMN byoc.credentials.org_id IS 'The organization. Never changes.';
COMMENT ON COLUMN byoc.credentials.credential_type IS 'Its provider, a name of byoc.providers. Never changes.';
COMMENT ON COLUMN byoc.credentials.display_name IS 'What people call it, 1 to 200 characters.';
COMMENT ON COLUMN byoc.credentials.fields IS 'As byoc.providers lists them; secret ones as •••• and their last 4 characters.';
COMMENT ON COLUMN byoc.credentials.is_active IS 'false: revoked, its secrets destroyed.';
COMMENT ON COLUMN byoc.credentials.is_default IS 'What the organization uses of this type where nothing else is said.';
COMMENT ON COLUMN byoc.credentials.verification_status IS 'pending: not checked yet. verified: it may send. failed: the provider refused it.';
COMMENT ON COLUMN byoc.credentials.last_verified_at IS 'When a check last said that it can send.';
COMMENT ON COLUMN byoc.credentials.created_by IS 'The application''s user who added it, or the database role.';
COMMENT ON COLUMN byoc.credentials.created_at IS 'When it was added.';
COMMENT ON COLUMN byoc.credentials.updated_at IS 'When it was last changed.';

CREATE FUNCTION byoc.credentials_insert() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY INVOKER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    new_id uuid;
BEGIN
    new_id := byoc.add_credential(NEW.credential_type, NEW.fields, NEW.display_name, coalesce(NEW.org_id, byoc.current_org_id()));
    IF NEW.is_default THEN
        PERFORM byoc.change_credential(coalesce(NEW.org_id, byoc.current_org_id()), new_id, NULL, NULL, true);
    END IF;
    SELECT * INTO NEW FROM byoc.credentials c WHERE c.id = new_id;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION byoc.credentials_insert() IS 'Internal: INSERT on byoc.credentials.';
CREATE TRIGGER credentials_insert INSTEAD OF INSERT ON byoc.credentials FOR EACH ROW EXECUTE FUNCTION byoc.credentials_insert();

CREATE FUNCTION byoc.credentials_update() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY INVOKER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF (NEW.id, NEW.org_id, NEW.credential_type, NEW.is_active, NEW.verification_status, NEW.verification_error, NEW.last_verified_at,
        NEW.created_by, NEW.created_at, NEW.updated_at, NEW.verification_note)
       IS DISTINCT FROM
       (OLD.id, OLD.org_id, OLD.credential_type, OLD.is_active, OLD.verification_status, OLD.verification_error, OLD.last_verified_at,
        OLD.created_by, OLD.created_at, OLD.updated_at, OLD.verification_note) THEN
        RAISE EXCEPTION 'only display_name, fields and is_default of a credential can be changed'
            USING ERRCODE = 'insufficient_privilege',
                  HINT = 'Use byoc.verify_credential() and byoc.revoke_credential(); a credential never changes its organization or type.';
    END IF;
    IF OLD.is_default AND NOT NEW.is_default THEN
        RAISE EXCEPTION 'make another credential the default instead' USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    PERFORM byoc.change_credential(OLD.org_id, OLD.id, CASE WHEN NEW.fields IS DISTINCT FROM OLD.fields THEN NEW.fields END,
                                   NEW.display_name, CASE WHEN NEW.is_default AND NOT OLD.is_default THEN true END);
    SELECT * INTO NEW FROM byoc.credentials c WHERE c.id = OLD.id;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION byoc.credentials_update() IS 'Internal: UPDATE on byoc.credentials.';
CREATE TRIGGER credentials_update INSTEAD OF UPDATE ON byoc.credentials FOR EACH ROW EXECUTE FUNCTION byoc.credentials_update();

CREATE FUNCTION byoc.credentials_delete() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY INVOKER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NOT OLD.is_active THEN
        RETURN NULL;
    END IF;
    PERFORM byoc.revoke_credential(OLD.id);
    RETURN OLD;
END
$$;
COMMENT ON FUNCTION byoc.credentials_delete() IS 'Internal: DELETE on byoc.credentials revokes.';
CREATE TRIGGER credentials_delete INSTEAD OF DELETE ON byoc.credentials FOR EACH ROW EXECUTE FUNCTION byoc.credentials_delete();

-- byoc.decrypted_credentials (audit.sql) has the same columns.
DO $$
DECLARE
    shared record;
BEGIN
    FOR shared IN
        SELECT a.attname, col_description(a.attrelid, a.attnum) AS meaning FROM pg_catalog.pg_attribute a
        WHERE a.attrelid = 'byoc.credentials'::regclass AND a.attnum > 0 AND NOT a.attisdropped AND a.attname <> 'fields'
    LOOP
        EXECUTE format('COMMENT ON COLUMN byoc.decrypted_credentials.%I IS %L', shared.attname, shared.meaning);
    END LOOP;
END
$$;
COMMENT ON COLUMN byoc.decrypted_credentials.fields IS 'As byoc.providers lists them, in plaintext; NULL once revoked.';

-- sql/views.sql

-- What tenants see. The views run with their owner's rights and show the rows of the tenant context's organization; a role
-- that bypasses row-level security and has no context sees all. Each branch is a plain scan by org_id, or nothing at all.
--
-- WITH is there to keep the barrier: PostgreSQL pulls a view that is a plain UNION ALL up into the query, security_barrier or
-- not, and runs a cheap function of the query on all rows before it compares org_id. With a WITH it leaves the view alone.

-- All messages of all organizations, wherever they are. Internal: only the view below reads it.
CREATE VIEW byoc.all_sms_messages AS
SELECT m.id, m.org_id, m.to_number, m.from_number, m.body, m.status::text AS status, m.provider_sid, m.error_code, m.error_message,
       m.attempts::integer AS attempts, m.segments::integer AS segments, m.source_table, m.created_at, m.sent_at, m.delivered_at,
       m.send_at, m.expires_at, m.credential_id, m.idempotency_key, NULL AS waiting_reason
FROM byoc.messages m
UNION ALL
SELECT q.id, q.org_id, q.to_number, NULL, q.body, 'queued', NULL, NULL, NULL,
       q.attempts, NULL, q.source_table, q.created_at, NULL, NULL, q.send_at, q.expires_at, q.credential_id, q.idempotency_key,
       (SELECT c.waiting_reason FROM byoc.senders c
        WHERE c.org_id = q.org_id AND (c.id = q.lane OR (c.is_default AND q.credential_id IS NULL)) ORDER BY c.id = q.lane DESC LIMIT 1)
FROM byoc.queue q
UNION ALL
SELECT s.id, s.org_id, s.to_number, NULL, s.body, CASE WHEN s.attempts = 0 AND s.due_at > clock_timestamp() THEN 'scheduled' ELSE 'queued' END, NULL, NULL, NULL,
       s.attempts, NULL, s.source_table, s.created_at, NULL, NULL, s.send_at, s.expires_at, s.credential_id, s.idempotency_key,
       (SELECT c.waiting_reason FROM byoc.senders c
        WHERE (s.attempts > 0 OR s.due_at <= now()) AND c.org_id = s.org_id
          AND CASE WHEN s.credential_id IS NULL THEN c.is_default ELSE c.id = s.credential_id END)
FROM byoc.schedule s;
COMMENT ON VIEW byoc.all_sms_messages IS 'Internal: messages of all organizations.';

CREATE VIEW byoc.sms_messages WITH (security_barrier) AS
WITH barrier AS (SELECT)
SELECT m.* FROM byoc.all_sms_messages m WHERE m.org_id = (SELECT byoc.current_org_id())
UNION ALL
SELECT m.* FROM byoc.all_sms_messages m WHERE (SELECT byoc.sees_all_organizations());
COMMENT ON VIEW byoc.sms_messages IS
    'The organization''s SMS with their status. INSERT (to_number, body, and optionally send_at, expires_at, credential_id, idempotency_key) queues one.';

COMMENT ON COLUMN byoc.sms_messages.waiting_reason IS 'Why a queued message is not sent although its time has come: its credential may not send; NULL: nothing stands in its way.';
COMMENT ON COLUMN byoc.sms_messages.id IS 'The message; what byoc.send_sms() returned.';
COMMENT ON COLUMN byoc.sms_messages.org_id IS 'The organization.';
COMMENT ON COLUMN byoc.sms_messages.to_number IS 'The recipient, E.164; NULL: the row that it was made of had none.';
COMMENT ON COLUMN byoc.sms_messages.from_number IS 'The sender, as the provider says; NULL: it did not say yet.';
COMMENT ON COLUMN byoc.sms_messages.body IS 'The text.';
COMMENT ON COLUMN byoc.sms_messages.status IS
    'A state of byoc.message_status. scheduled: for later. queued: its turn is to come, also for another attempt.';
COMMENT ON COLUMN byoc.sms_messages.provider_sid IS 'The provider''s id of it; NULL: not accepted.';
COMMENT ON COLUMN byoc.sms_messages.error_code IS 'Why it failed: the provider''s code (byoc.provider_errors), or a word.';
COMMENT ON COLUMN byoc.sms_messages.error_message IS 'The same as a sentence.';
COMMENT ON COLUMN byoc.sms_messages.attempts IS 'How often a request was made.';
COMMENT ON COLUMN byoc.sms_messages.segments IS 'Segments that the provider billed, or our own count until it says; NULL: not tried yet.';
COMMENT ON COLUMN byoc.sms_messages.source_table IS 'Table whose trigger made it; NULL: none did.';
COMMENT ON COLUMN byoc.sms_messages.created_at IS 'When it was queued.';
COMMENT ON COLUMN byoc.sms_messages.sent_at IS 'When the provider took it.';
COMMENT ON COLUMN byoc.sms_messages.delivered_at IS 'When the provider reported it delivered.';
COMMENT ON COLUMN byoc.sms_messages.send_at IS 'Not sent before.';
COMMENT ON COLUMN byoc.sms_messages.expires_at IS 'Not sent after; NULL: tried for byoc.retry_window().';
COMMENT ON COLUMN byoc.sms_messages.credential_id IS 'Credential that the sender asked for; NULL: the organization''s default.';
COMMENT ON COLUMN byoc.sms_messages.idempotency_key IS 'As the sender gave it.';

CREATE FUNCTION byoc.sms_messages_insert() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY INVOKER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    new_id uuid;
BEGIN
    IF num_nonnulls(NEW.id, NEW.status, NEW.from_number, NEW.provider_sid, NEW.error_code, NEW.error_message, NEW.attempts, NEW.segments,
                    NEW.source_table, NEW.created_at, NEW.sent_at, NEW.delivered_at, NEW.waiting_reason) > 0 THEN
        RAISE EXCEPTION 'only org_id, to_number, body, send_at, expires_at, credential_id and idempotency_key of a message can be given'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    new_id := byoc.send_sms(NEW.to_number, NEW.body, coalesce(NEW.send_at, now()), NEW.credential_id, NEW.idempotency_key,
                            NEW.expires_at, coalesce(NEW.org_id, byoc.current_org_id()));
    SELECT * INTO NEW FROM byoc.sms_messages m WHERE m.id = new_id AND m.org_id = coalesce(NEW.org_id, byoc.current_org_id());
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION byoc.sms_messages_insert() IS 'Internal: INSERT on byoc.sms_messages.';
CREATE TRIGGER sms_messages_insert INSTEAD OF INSERT ON byoc.sms_messages FOR EACH ROW EXECUTE FUNCTION byoc.sms_messages_insert();

CREATE VIEW byoc.sms_events WITH (security_barrier) AS
WITH barrier AS (SELECT)
SELECT e.id, e.org_id, e.message_id, e.at, e.event, e.attempt::integer AS attempt, e.http_status::integer AS http_status, e.error_code,
       e.error_message, e.provider_sid, e.duration_ms
FROM byoc.message_events e WHERE e.org_id = (SELECT byoc.current_org_id())
UNION ALL
SELECT e.id, e.org_id, e.message_id, e.at, e.event, e.attempt::integer, e.http_status::integer, e.error_code,
       e.error_message, e.provider_sid, e.duration_ms
FROM byoc.message_events e WHERE (SELECT byoc.sees_all_organizations());
COMMENT ON VIEW byoc.sms_events IS
    'History of the organization''s SMS: one row for each attempt''s outcome (accepted, rejected, throttled, unavailable, unknown, returned) '
    'and each other change (refused, rescued, found, not_found, late, expired, cancelled, retried, resent, resolved, resumed), what the '
    'provider reported later (sent, delivered, undelivered, failed, ...), and settled: a report that proved an attempt whose answer was lost.';
COMMENT ON COLUMN byoc.sms_events.id IS 'Rises with time, within a session.';
COMMENT ON COLUMN byoc.sms_events.org_id IS 'The organization.';
COMMENT ON COLUMN byoc.sms_events.message_id IS 'The message.';
COMMENT ON COLUMN byoc.sms_events.at IS 'When it happened.';
COMMENT ON COLUMN byoc.sms_events.event IS 'What happened: see above.';
COMMENT ON COLUMN byoc.sms_events.attempt IS 'Attempt that it is about, counted from 1; 0: none was made.';
COMMENT ON COLUMN byoc.sms_events.http_status IS 'Of the provider''s answer; NULL: there was none.';
COMMENT ON COLUMN byoc.sms_events.error_code IS 'The provider''s code, or a word.';
COMMENT ON COLUMN byoc.sms_events.error_message IS 'The same as a sentence.';
COMMENT ON COLUMN byoc.sms_events.provider_sid IS 'The provider''s id of the message.';
COMMENT ON COLUMN byoc.sms_events.duration_ms IS 'From the request''s start to its outcome, in milliseconds.';

CREATE VIEW byoc.sms_triggers AS
SELECT d.target, d.name::text AS name, d.to_number, d.body, d.org_column AS org_id, d.condition, d.on_error,
       pg_get_triggerdef(t.oid) AS definition, d.created_by::text AS created_by, d.created_at
FROM byoc.sms_trigger_definitions d
JOIN pg_trigger t ON t.tgrelid = d.target AND t.tgname = d.name
WHERE has_table_privilege(d.target, 'SELECT, TRIGGER');
COMMENT ON VIEW byoc.sms_triggers IS 'Triggers made by byoc.create_sms_trigger on tables that the current role can read or put triggers on.';
COMMENT ON COLUMN byoc.sms_triggers.target IS 'Table that it is on.';
COMMENT ON COLUMN byoc.sms_triggers.name IS 'The trigger''s name.';
COMMENT ON COLUMN byoc.sms_triggers.to_number IS 'Template: the recipient.';
COMMENT ON COLUMN byoc.sms_triggers.body IS 'Template: the text.';
COMMENT ON COLUMN byoc.sms_triggers.definition IS 'Its CREATE TRIGGER statement.';
COMMENT ON COLUMN byoc.sms_triggers.org_id IS 'Column of the table that holds a row''s organization.';
COMMENT ON COLUMN byoc.sms_triggers.condition IS 'SQL over NEW and OLD, true for the rows that count; NULL: all of them.';
COMMENT ON COLUMN byoc.sms_triggers.on_error IS 'record: a bad row becomes a failed message. raise: it is an error.';
COMMENT ON COLUMN byoc.sms_triggers.created_by IS 'Database role that made it.';
COMMENT ON COLUMN byoc.sms_triggers.created_at IS 'When it was made.';

-- Row estimates of EXPLAIN are made from statistics of all organizations: without these nobody can ask whether a number, a
-- name or an organization is among them. The primary keys decide every plan that matters.
DO $$
DECLARE
    storage record;
BEGIN
    FOR storage IN
        SELECT a.attrelid::regclass AS relation, string_agg(format('ALTER COLUMN %I SET STATISTICS 0', a.attname), ', ') AS changes
        FROM pg_catalog.pg_attribute a
        WHERE a.attnum > 0 AND NOT a.attisdropped AND a.attrelid IN ('byoc.organizations'::regclass, 'byoc.organization_api_credentials'::regclass,
            'byoc.messages'::regclass, 'byoc.message_events'::regclass, 'byoc.queue'::regclass, 'byoc.schedule'::regclass,
            'byoc.inbound_messages'::regclass, 'byoc.opt_outs'::regclass, 'byoc.calls'::regclass,
            'byoc.calendar_entries'::regclass)
        GROUP BY a.attrelid
    LOOP
        EXECUTE format('ALTER TABLE %s %s', storage.relation, storage.changes);
    END LOOP;
END
$$;

ALTER TABLE byoc.organizations ENABLE ROW LEVEL SECURITY;
-- Whoever may create organizations administers them all; everybody else sees the one of the tenant context. The function is
-- looked up now, as regprocedure: text would be by each caller's search_path, with the caller's types.
CREATE POLICY own_or_administered ON byoc.organizations
    USING (id = (SELECT byoc.current_org_id()) OR (SELECT has_function_privilege('byoc.create_organization(text, uuid)'::regprocedure, 'EXECUTE')));

-- sql/call_health.sql

-- Who waits with calls, for how long and why.

CREATE VIEW byoc.all_call_health AS
SELECT w.org_id, w.credential_type, nullif(w.credential_id, '00000000-0000-0000-0000-000000000000') AS credential_id, w.waiting, w.oldest_waiting, w.retrying, w.running,
       CASE WHEN b.paused_until > clock_timestamp() THEN b.paused_until END AS paused_until, coalesce(b.failures, 0) AS failures,
       CASE WHEN w.credential_id = '00000000-0000-0000-0000-000000000000' AND k.id IS NULL THEN 'the organization has no default credential of that type'
            WHEN byoc.is_barred(k.verification_status)
            THEN CASE k.verification_status WHEN 'failed' THEN 'the credential failed' ELSE 'the credential is not verified yet' END
                 || coalesce(': ' || k.verification_error, '') END AS paused
FROM (SELECT c.org_id, c.credential_type, c.credential_id, count(*) FILTER (WHERE c.status = 'available') AS waiting,
             clock_timestamp() - min(c.due_at) FILTER (WHERE c.status = 'available' AND c.due_at <= clock_timestamp()) AS oldest_waiting,
             count(*) FILTER (WHERE c.status = 'retryable') AS retrying, count(*) FILTER (WHERE c.status = 'running') AS running
      FROM byoc.calls c WHERE c.due_at IS NOT NULL GROUP BY c.org_id, c.credential_type, c.credential_id) AS w
LEFT JOIN byoc.organization_api_credentials k ON k.org_id = w.org_id AND k.credential_type = w.credential_type
    AND CASE w.credential_id WHEN '00000000-0000-0000-0000-000000000000' THEN k.is_default ELSE k.id = w.credential_id END
LEFT JOIN byoc.call_breakers b ON b.org_id = w.org_id AND b.credential_type = w.credential_type AND b.credential_id = w.credential_id
    AND (b.used_credential_id, b.used_credential_version) IS NOT DISTINCT FROM (k.id, k.version);
COMMENT ON VIEW byoc.all_call_health IS 'Internal: byoc.call_health of all organizations.';

CREATE VIEW byoc.call_health WITH (security_barrier) AS
WITH barrier AS (SELECT)
SELECT h.* FROM byoc.all_call_health h WHERE h.org_id = (SELECT byoc.current_org_id())
UNION ALL
SELECT h.* FROM byoc.all_call_health h WHERE (SELECT byoc.sees_all_organizations());
COMMENT ON VIEW byoc.call_health IS 'Credentials with calls that wait or are being made: calendar events, webhooks. byoc.queue_health is the same for messages.';
COMMENT ON COLUMN byoc.call_health.credential_id IS 'NULL: the organization''s default one of that type.';
COMMENT ON COLUMN byoc.call_health.oldest_waiting IS 'How long the first of those that could be made has been waiting.';
COMMENT ON COLUMN byoc.call_health.retrying IS 'Calls that failed and wait for their next attempt.';
COMMENT ON COLUMN byoc.call_health.paused_until IS 'Until then none is made: the provider asked for it, or failed too often; NULL: no such pause.';
COMMENT ON COLUMN byoc.call_health.failures IS 'Failures of the provider in a row.';
COMMENT ON COLUMN byoc.call_health.paused IS 'Why none is made before somebody does something; NULL: nothing stands in the way.';
COMMENT ON COLUMN byoc.call_health.org_id IS 'The organization.';
COMMENT ON COLUMN byoc.call_health.credential_type IS 'What kind of call: the provider.';
COMMENT ON COLUMN byoc.call_health.waiting IS 'Calls that wait for their turn or time.';
COMMENT ON COLUMN byoc.call_health.running IS 'Calls that are being made.';

-- sql/calendar_views.sql

-- The tenant's door to calendar events.

CREATE VIEW byoc.all_calendar_events AS
SELECT e.id, e.org_id, e.summary, e.starts_at, e.ends_at, e.starts_on, e.ends_on, e.time_zone, e.attendees, e.description, e.location, e.recurrence,
       e.send_updates, e.credential_id,
       CASE WHEN e.cancelled_at IS NOT NULL THEN CASE WHEN c.operation IS DISTINCT FROM 'event.delete' OR c.status = 'completed' THEN 'cancelled'
                                                      WHEN c.finished_at IS NULL THEN 'cancelling' ELSE 'failed' END
            WHEN e.refusal IS NOT NULL THEN 'failed'
            WHEN c.finished_at IS NULL THEN 'pending'
            WHEN c.status = 'completed' THEN 'confirmed' ELSE 'failed' END AS status,
       CASE WHEN d.result IS NOT NULL THEN byoc.calendar_event_id(e.id) END AS provider_event_id, d.result ->> 'html_link' AS html_link,
       CASE WHEN e.refusal IS NOT NULL THEN 'refused' ELSE c.error_code END AS error_code, coalesce(e.refusal, c.error_message) AS error_message,
       CASE WHEN c.status = 'paused' THEN 'paused: it came with a restored database (byoc.resume_restored)'
            WHEN c.finished_at IS NULL AND c.id IS NOT NULL AND e.credential_id IS NULL AND k.id IS NULL THEN 'paused: the organization has no calendar connected'
            WHEN c.finished_at IS NULL AND byoc.is_barred(k.verification_status)
            THEN 'paused: ' || CASE k.verification_status WHEN 'failed' THEN 'the credential failed' ELSE 'the credential is not verified yet' END
                 || coalesce(': ' || k.verification_error, '') END AS waiting_reason,
       e.source_table, e.created_at, e.updated_at
FROM byoc.calendar_entries e
LEFT JOIN LATERAL (SELECT c.* FROM byoc.calls c WHERE c.org_id = e.org_id AND c.subject = e.id ORDER BY c.revision DESC LIMIT 1) AS c ON true
LEFT JOIN LATERAL (SELECT d.result FROM byoc.calls d WHERE d.org_id = e.org_id AND d.subject = e.id AND d.status = 'completed'
                   ORDER BY d.revision DESC LIMIT 1) AS d ON true
LEFT JOIN byoc.organization_api_credentials k ON k.org_id = e.org_id AND k.credential_type = 'google_calendar'
    AND CASE WHEN e.credential_id IS NULL THEN k.is_default ELSE k.id = e.credential_id END;
COMMENT ON VIEW byoc.all_calendar_events IS 'Internal: calendar events of all organizations.';

CREATE VIEW byoc.calendar_events WITH (security_barrier) AS
WITH barrier AS (SELECT)
SELECT e.* FROM byoc.all_calendar_events e WHERE e.org_id = (SELECT byoc.current_org_id())
UNION ALL
SELECT e.* FROM byoc.all_calendar_events e WHERE (SELECT byoc.sees_all_organizations());
COMMENT ON VIEW byoc.calendar_events IS
    'The organization''s calendar events. INSERT (summary; starts_at and ends_at, or for whole days starts_on and ends_on; optionally time_zone, attendees, description, '
    'location, recurrence, send_updates, credential_id) writes one to the calendar, UPDATE changes it there, DELETE takes it away.';
COMMENT ON COLUMN byoc.calendar_events.status IS
    'pending: on its way to the calendar. confirmed: it stands there as it stands here. cancelling, cancelled: it is being, or was, taken away. failed: error_message says why.';
COMMENT ON COLUMN byoc.calendar_events.ends_on IS 'The last day, included.';
COMMENT ON COLUMN byoc.calendar_events.time_zone IS
    'IANA zone in which it is shown and repeated. Of a new event: the organization''s setting time_zone, else UTC.';
COMMENT ON COLUMN byoc.calendar_events.recurrence IS 'RRULE, EXRULE, RDATE and EXDATE lines (RFC 5545).';
COMMENT ON COLUMN byoc.calendar_events.send_updates IS 'Whom the provider writes to about changes: all attendees, externalOnly or none.';
COMMENT ON COLUMN byoc.calendar_events.waiting_reason IS 'Why it is pending although its time has come: its credential may not be used; NULL: nothing stands in its way.';
COMMENT ON COLUMN byoc.calendar_events.id IS 'The event.';
COMMENT ON COLUMN byoc.calendar_events.org_id IS 'The organization.';
COMMENT ON COLUMN byoc.calendar_events.summary IS 'Its title.';
COMMENT ON COLUMN byoc.calendar_events.starts_at IS 'Beginning; NULL: it takes whole days.';
COMMENT ON COLUMN byoc.calendar_events.ends_at IS 'End; NULL: it takes whole days.';
COMMENT ON COLUMN byoc.calendar_events.starts_on IS 'First of whole days; NULL: it has a time.';
COMMENT ON COLUMN byoc.calendar_events.attendees IS 'E-mail addresses.';
COMMENT ON COLUMN byoc.calendar_events.description IS 'What the calendar shows below the title.';
COMMENT ON COLUMN byoc.calendar_events.location IS 'Where it takes place.';
COMMENT ON COLUMN byoc.calendar_events.credential_id IS 'Credential of the calendar; NULL: the organization''s default.';
COMMENT ON COLUMN byoc.calendar_events.provider_event_id IS 'Its id in the calendar; NULL: it never stood there.';
COMMENT ON COLUMN byoc.calendar_events.html_link IS 'Its page in the calendar.';
COMMENT ON COLUMN byoc.calendar_events.error_code IS 'Why it failed: the provider''s code, or a word.';
COMMENT ON COLUMN byoc.calendar_events.error_message IS 'The same as a sentence.';
COMMENT ON COLUMN byoc.calendar_events.source_table IS 'Table whose row it follows; NULL: it was inserted here.';
COMMENT ON COLUMN byoc.calendar_events.created_at IS 'When it was made.';
COMMENT ON COLUMN byoc.calendar_events.updated_at IS 'When it was last changed.';

CREATE FUNCTION byoc.save_calendar_event(org_id uuid, event jsonb, id uuid DEFAULT NULL) RETURNS uuid
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    -- Nothing else is the tenant's to say.
    given CONSTANT jsonb := (SELECT coalesce(jsonb_object_agg(m.key, m.value), '{}') FROM jsonb_each(event) AS m
        WHERE m.key IN ('summary', 'description', 'location', 'starts_at', 'ends_at', 'starts_on', 'ends_on', 'time_zone', 'recurrence', 'attendees',
                        'send_updates', 'credential_id'));
    stored byoc.calendar_entries;
    entry byoc.calendar_entries;
    problem text;
BEGIN
    PERFORM byoc.require_organization(org_id);
    IF NOT EXISTS (SELECT FROM byoc.organizations o WHERE o.id = org_id AND o.shredded_at IS NULL) THEN
        RAISE EXCEPTION 'organization % does not exist or was shredded', org_id USING ERRCODE = 'foreign_key_violation';
    END IF;
    IF id IS NULL THEN
        entry := jsonb_populate_record(entry, given);
        entry.org_id := org_id;
        entry.id := byoc.uuid_v7();
        entry.created_at := now();
        entry.time_zone := coalesce(entry.time_zone, (SELECT o.settings ->> 'time_zone' FROM byoc.organizations o WHERE o.id = org_id), 'UTC');
        entry.send_updates := coalesce(entry.send_updates, 'all');
        IF entry.credential_id IS NOT NULL AND NOT EXISTS (
            SELECT FROM byoc.organization_api_credentials c
            WHERE c.org_id = save_calendar_event.org_id AND c.id = entry.credential_id AND c.credential_type = 'google_calendar' AND c.is_active) THEN
            RAISE EXCEPTION 'credential % is not an active google_calendar credential of the organization', entry.credential_id
                USING ERRCODE = 'invalid_parameter_value', HINT = 'byoc.credentials lists them; NULL means the default one.';
        END IF;
    ELSE
        SELECT e.* INTO stored FROM byoc.calendar_entries e
        WHERE e.org_id = save_calendar_event.org_id AND e.id = save_calendar_event.id FOR UPDATE;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'calendar event % does not exist', id USING ERRCODE = 'no_data_found';
        ELSIF stored.cancelled_at IS NOT NULL THEN
            RAISE EXCEPTION 'calendar event % is cancelled', id USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Insert a new one.';
        END IF;
        entry := jsonb_populate_record(stored, given);
        IF entry.credential_id IS DISTINCT FROM stored.credential_id THEN
            RAISE EXCEPTION 'the credential of a calendar event never changes' USING ERRCODE = 'insufficient_privilege', HINT = 'Delete it and insert a new one.';
        END IF;
        entry.refusal := NULL;
    END IF;
    entry.updated_at := now();
    problem := byoc.calendar_problem(entry);
    IF problem IS NOT NULL THEN
        RAISE EXCEPTION '%', problem USING ERRCODE = 'invalid_parameter_value';
    END IF;
    -- A failed one is tried again by any update.
    PERFORM byoc.put_calendar_entry(entry);
    RETURN entry.id;
END
$$;
COMMENT ON FUNCTION byoc.save_calendar_event(uuid, jsonb, uuid) IS
    'Internal: writes an event that byoc.calendar_events was given, new (id NULL) or changed; returns its id. Raises 22023 for one that cannot be.';

CREATE FUNCTION byoc.cancel_calendar_event(org_id uuid, id uuid) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM byoc.require_organization(org_id);
    PERFORM byoc.cancel_calendar_entry(org_id, id);
END
$$;
COMMENT ON FUNCTION byoc.cancel_calendar_event(uuid, uuid) IS 'Internal: DELETE on byoc.calendar_events. An event that is cancelled stays so; one that could not be taken away is tried again.';

CREATE FUNCTION byoc.calendar_events_write() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY INVOKER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    answered CONSTANT text[] := '{id,status,provider_event_id,html_link,error_code,error_message,waiting_reason,source_table,created_at,updated_at}';
    of_org uuid;
    event_id uuid;
BEGIN
    IF TG_OP = 'DELETE' THEN
        PERFORM byoc.cancel_calendar_event(OLD.org_id, OLD.id);
        RETURN OLD;
    ELSIF TG_OP = 'INSERT' THEN
        IF jsonb_strip_nulls(to_jsonb(NEW)) ?| answered THEN
            RAISE EXCEPTION '% of a calendar event cannot be given', array_to_string(answered, ', ') USING ERRCODE = 'invalid_parameter_value';
        END IF;
        of_org := coalesce(NEW.org_id, byoc.current_org_id());
        event_id := byoc.save_calendar_event(of_org, to_jsonb(NEW));
    ELSE
        IF EXISTS (SELECT FROM unnest(answered || 'org_id'::text) AS a WHERE to_jsonb(NEW) -> a IS DISTINCT FROM to_jsonb(OLD) -> a) THEN
            RAISE EXCEPTION 'org_id, % of a calendar event cannot be changed', array_to_string(answered, ', ') USING ERRCODE = 'insufficient_privilege';
        END IF;
        of_org := OLD.org_id;
        event_id := byoc.save_calendar_event(of_org, to_jsonb(NEW), OLD.id);
    END IF;
    SELECT * INTO NEW FROM byoc.calendar_events e WHERE e.org_id = of_org AND e.id = event_id;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION byoc.calendar_events_write() IS 'Internal: INSERT, UPDATE and DELETE on byoc.calendar_events.';
CREATE TRIGGER calendar_events_write INSTEAD OF INSERT OR UPDATE OR DELETE ON byoc.calendar_events FOR EACH ROW EXECUTE FUNCTION byoc.calendar_events_write();

-- sql/api.sql

-- What byocd's REST API does for a tenant, each request within the tenant's context and role: requests and pages as JSON. A wrong
-- member or parameter raises 22023 with its name as COLUMN. PT412 is what If-Match did not agree with.

CREATE TABLE byoc.rest_answers (
    org_id uuid NOT NULL,
    user_id text NOT NULL,
    key text NOT NULL,
    digest bytea NOT NULL,
    answer jsonb,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (org_id, user_id, key)
);
COMMENT ON TABLE byoc.rest_answers IS
    'Answers to requests that had an Idempotency-Key, for a day: the same request gets the same answer. They hold masks, never a secret.';
COMMENT ON COLUMN byoc.rest_answers.digest IS 'SHA-256 of the request.';
CREATE INDEX rest_answers_created ON byoc.rest_answers (created_at);
ALTER TABLE byoc.rest_answers ENABLE ROW LEVEL SECURITY;
SELECT pg_extension_config_dump('byoc.rest_answers', '');

-- Requests

CREATE FUNCTION byoc.rest_object(request text, types jsonb) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE STRICT
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    document jsonb;
    member record;
BEGIN
    BEGIN
        document := request::jsonb;
    EXCEPTION WHEN data_exception OR statement_too_complex THEN
        RAISE EXCEPTION 'the body is not JSON that can be stored' USING ERRCODE = 'invalid_parameter_value';
    END;
    IF jsonb_typeof(document) <> 'object' THEN
        RAISE EXCEPTION 'the body must be a JSON object' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    FOR member IN SELECT d.key, d.value, types ->> d.key AS type FROM jsonb_each(document) AS d LOOP
        IF member.type IS NULL THEN
            -- A name that cannot be a member's may be a secret in the wrong place.
            RAISE EXCEPTION 'there is no such member'
                USING ERRCODE = 'invalid_parameter_value', COLUMN = CASE WHEN member.key ~ '^[a-z_]{1,40}$' THEN member.key ELSE '' END,
                      HINT = 'Known are: ' || (SELECT string_agg(k, ', ' ORDER BY k) FROM jsonb_object_keys(types) AS k) || '.';
        ELSIF jsonb_typeof(member.value) <> ALL (string_to_array(member.type, ' ')) THEN
            RAISE EXCEPTION 'it must be of type %', replace(member.type, ' ', ' or ')
                USING ERRCODE = 'invalid_parameter_value', COLUMN = member.key;
        END IF;
    END LOOP;
    RETURN document;
END
$$;
COMMENT ON FUNCTION byoc.rest_object(text, jsonb) IS
    'A request''s JSON object whose members have these types ({"name": "string null"}). Raises 22023 naming the member; never quotes a value.';

CREATE FUNCTION byoc.rest_number(name text, value text, lowest integer, highest integer, absent integer) RETURNS integer
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF value IS NULL THEN
        RETURN absent;
    ELSIF value !~ '^[0-9]{1,6}$' OR value::integer NOT BETWEEN lowest AND highest THEN
        RAISE EXCEPTION 'it must be a whole number from % to %', lowest, highest USING ERRCODE = 'invalid_parameter_value', COLUMN = name;
    END IF;
    RETURN value::integer;
END
$$;
COMMENT ON FUNCTION byoc.rest_number(text, text, integer, integer, integer) IS 'A parameter that is a number. Raises 22023 naming it.';

CREATE FUNCTION byoc.rest_cursor(at timestamptz, id uuid) RETURNS text
LANGUAGE sql IMMUTABLE
RETURN to_hex((extract(epoch FROM at) * 1000000)::bigint) || '.' || replace(id::text, '-', '');
COMMENT ON FUNCTION byoc.rest_cursor(timestamptz, uuid) IS 'Where a page begins; nothing for callers to read.';

CREATE FUNCTION byoc.read_rest_cursor(after text, OUT at timestamptz, OUT id uuid)
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF after IS NULL THEN
        at := 'infinity';
        id := 'ffffffff-ffff-ffff-ffff-ffffffffffff';
    ELSIF after ~ '^[0-9a-f]{1,14}\.[0-9a-f]{32}$' THEN
        at := timestamptz 'epoch' + ('x' || lpad(split_part(after, '.', 1), 16, '0'))::bit(64)::bigint * interval '1 microsecond';
        id := split_part(after, '.', 2)::uuid;
    ELSE
        RAISE EXCEPTION 'it is not what a page gave as next' USING ERRCODE = 'invalid_parameter_value', COLUMN = 'after';
    END IF;
END
$$;
COMMENT ON FUNCTION byoc.read_rest_cursor(text) IS 'What byoc.rest_cursor() made; NULL: the first page. Raises 22023.';

CREATE FUNCTION byoc.rest_recall(key text, action text, request text) RETURNS jsonb
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    own CONSTANT uuid := byoc.current_org_id();
    actor CONSTANT text := coalesce(byoc.current_user_id(), '');
    asked CONSTANT bytea := sha256(convert_to(concat_ws(E'\n', action, request), 'UTF8'));
    stored byoc.rest_answers;
BEGIN
    PERFORM byoc.require_organization(own);
    IF key IS NULL THEN
        RETURN NULL;
    ELSIF length(key) NOT BETWEEN 1 AND 255 THEN
        RAISE EXCEPTION 'it must have 1 to 255 characters' USING ERRCODE = 'invalid_parameter_value', COLUMN = 'Idempotency-Key';
    END IF;
    -- Waits for a concurrent request with the same key, then finds its answer.
    INSERT INTO byoc.rest_answers (org_id, user_id, key, digest) VALUES (own, actor, rest_recall.key, asked) ON CONFLICT DO NOTHING;
    IF FOUND THEN
        RETURN NULL;
    END IF;
    SELECT * INTO stored FROM byoc.rest_answers a WHERE a.org_id = own AND a.user_id = actor AND a.key = rest_recall.key FOR UPDATE;
    IF stored.created_at < now() - interval '1 day' THEN
        UPDATE byoc.rest_answers a SET digest = asked, answer = NULL, created_at = now()
        WHERE a.org_id = own AND a.user_id = actor AND a.key = rest_recall.key;
        RETURN NULL;
    ELSIF stored.digest <> asked THEN
        RAISE EXCEPTION 'it was given with another request before' USING ERRCODE = 'invalid_parameter_value', COLUMN = 'Idempotency-Key';
    END IF;
    RETURN stored.answer;
END
$$;
COMMENT ON FUNCTION byoc.rest_recall(text, text, text) IS
    'The answer that this user''s request with this key was given within a day; NULL: there is none yet, or no key. Raises 22023 when the key came with another request.';

CREATE FUNCTION byoc.rest_remember(key text, answer jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM byoc.require_organization(byoc.current_org_id());
    UPDATE byoc.rest_answers a SET answer = rest_remember.answer
    WHERE a.org_id = byoc.current_org_id() AND a.user_id = coalesce(byoc.current_user_id(), '') AND a.key = rest_remember.key;
END
$$;
COMMENT ON FUNCTION byoc.rest_remember(text, jsonb) IS 'Keeps the answer to the request that byoc.rest_recall() knew none of.';

-- Session and providers

CREATE FUNCTION byoc.rest_session() RETURNS jsonb
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM byoc.require_organization(byoc.current_org_id());
    RETURN (SELECT jsonb_build_object('organization', jsonb_build_object('id', o.id, 'name', o.name),
                                      'user_id', byoc.current_user_id(), 'org_role', byoc.current_org_role())
            FROM byoc.organizations o WHERE o.id = byoc.current_org_id());
END
$$;
COMMENT ON FUNCTION byoc.rest_session() IS 'Whom the tenant context stands for; NULL when the organization does not exist.';

CREATE FUNCTION byoc.rest_providers() RETURNS jsonb
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM byoc.require_organization(byoc.current_org_id());
    RETURN jsonb_build_object('items', (
        SELECT coalesce(jsonb_agg(jsonb_build_object('name', p.name, 'fields', p.fields, 'alternatives', p.alternatives) ORDER BY p.name), '[]')
        FROM byoc.providers p WHERE p.enabled));
END
$$;
COMMENT ON FUNCTION byoc.rest_providers() IS 'What a credential of each enabled provider consists of.';

-- Credentials

CREATE FUNCTION byoc.rest_credential(id uuid) RETURNS jsonb
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    answer jsonb;
BEGIN
    PERFORM byoc.require_organization(byoc.current_org_id());
    SELECT jsonb_build_object('id', c.id, 'etag', format('"%s"', byoc.rest_cursor(c.updated_at, c.id)), 'body', to_jsonb(c) - 'org_id') INTO answer
    FROM byoc.credentials c WHERE c.id = rest_credential.id;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'credential % does not exist', id USING ERRCODE = 'no_data_found';
    END IF;
    RETURN answer;
END
$$;
COMMENT ON FUNCTION byoc.rest_credential(uuid) IS
    'A credential (body) with its id and etag, which changes with each change that somebody makes to it. Raises P0002.';

CREATE FUNCTION byoc.rest_credentials(page_size text, after text) RETURNS jsonb
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    size CONSTANT integer := byoc.rest_number('limit', page_size, 1, 100, 50);
    start CONSTANT record := byoc.read_rest_cursor(after);
BEGIN
    PERFORM byoc.require_organization(byoc.current_org_id());
    RETURN (
        WITH found AS (
            SELECT c.*, row_number() OVER (ORDER BY c.created_at DESC, c.id DESC) AS n FROM byoc.credentials c
            WHERE (c.created_at, c.id) <= (start.at, start.id) ORDER BY n LIMIT size + 1)
        SELECT jsonb_build_object('items', coalesce(jsonb_agg(to_jsonb(f) - 'org_id' - 'n' ORDER BY f.n) FILTER (WHERE f.n <= size), '[]'),
                                  'next', max(byoc.rest_cursor(f.created_at, f.id)) FILTER (WHERE f.n > size))
        FROM found f);
END
$$;
COMMENT ON FUNCTION byoc.rest_credentials(text, text) IS 'A page of the organization''s credentials, newest first.';

CREATE FUNCTION byoc.rest_add_credential(request text, of_type text DEFAULT NULL, key text DEFAULT NULL) RETURNS jsonb
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    document jsonb;
    answer jsonb;
    new_id uuid;
BEGIN
    PERFORM byoc.require_organization(byoc.current_org_id(), 'admin');
    IF of_type IS NULL THEN
        document := byoc.rest_object(request, '{"credential_type": "string", "display_name": "string null", "fields": "object"}');
    ELSE
        document := byoc.rest_object(request, '{"display_name": "string null", "fields": "object"}' || (
            SELECT jsonb_object_agg(f, 'string') FROM byoc.providers p CROSS JOIN jsonb_object_keys(p.fields) AS f WHERE p.name = of_type));
        document := jsonb_build_object('fields', document - 'display_name') || document || jsonb_build_object('credential_type', of_type);
    END IF;
    answer := byoc.rest_recall(key, 'add_credential', document::text);
    IF answer IS NULL THEN
        IF NOT document ? 'credential_type' THEN
            RAISE EXCEPTION 'credential_type is missing' USING ERRCODE = 'invalid_parameter_value', COLUMN = 'credential_type';
        END IF;
        new_id := byoc.add_credential(document ->> 'credential_type', document -> 'fields', document ->> 'display_name');
        answer := byoc.rest_credential(new_id);
        PERFORM byoc.rest_remember(key, answer);
    END IF;
    RETURN answer;
END
$$;
COMMENT ON FUNCTION byoc.rest_add_credential(text, text, text) IS
    'byoc.add_credential for {credential_type, display_name, fields}; with of_type the fields may also be members. Answers as byoc.rest_credential().';

CREATE FUNCTION byoc.rest_match(id uuid, if_match text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    own CONSTANT uuid := byoc.current_org_id();
    etag text;
BEGIN
    PERFORM byoc.require_organization(own, 'admin');
    -- In the order of byoc.change_credential().
    PERFORM FROM byoc.organizations o WHERE o.id = own FOR NO KEY UPDATE;
    SELECT format('"%s"', byoc.rest_cursor(c.updated_at, c.id)) INTO etag
    FROM byoc.organization_api_credentials c WHERE c.org_id = own AND c.id = rest_match.id FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'credential % does not exist', id USING ERRCODE = 'no_data_found';
    -- A proxy that compresses an answer makes its ETag a weak one.
    ELSIF if_match <> '*' AND NOT ARRAY[etag, 'W/' || etag] && regexp_split_to_array(if_match, '[[:space:]]*,[[:space:]]*') THEN
        RAISE EXCEPTION 'credential % was changed meanwhile', id USING ERRCODE = 'PT412';
    END IF;
END
$$;
COMMENT ON FUNCTION byoc.rest_match(uuid, text) IS
    'Raises PT412 unless If-Match (ETags, or *; NULL: not asked) agrees with the credential, P0002 when there is none; keeps it as it is until the transaction ends.';

CREATE FUNCTION byoc.rest_update_credential(id uuid, request text, if_match text) RETURNS jsonb
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    change jsonb;
BEGIN
    PERFORM byoc.rest_match(id, if_match);
    change := byoc.rest_object(request, '{"display_name": "string", "fields": "object", "is_default": "boolean"}');
    IF change = '{}' THEN
        RAISE EXCEPTION 'the body names nothing to change' USING ERRCODE = 'invalid_parameter_value';
    ELSIF change -> 'is_default' = 'false' THEN
        RAISE EXCEPTION 'make another credential the default instead' USING ERRCODE = 'invalid_parameter_value', COLUMN = 'is_default';
    END IF;
    PERFORM byoc.change_credential(byoc.current_org_id(), id, change -> 'fields', change ->> 'display_name', (change ->> 'is_default')::boolean);
    RETURN byoc.rest_credential(id);
END
$$;
COMMENT ON FUNCTION byoc.rest_update_credential(uuid, text, text) IS
    'Changes a credential by {display_name, fields, is_default}, if it agrees with If-Match. Answers as byoc.rest_credential().';

CREATE FUNCTION byoc.rest_revoke_credential(id uuid, if_match text) RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM byoc.require_organization(byoc.current_org_id(), 'owner');
    PERFORM byoc.rest_match(id, if_match);
    DELETE FROM byoc.credentials c WHERE c.id = rest_revoke_credential.id;
END
$$;
COMMENT ON FUNCTION byoc.rest_revoke_credential(uuid, text) IS 'Revokes a credential, if it agrees with If-Match; one that is revoked stays so.';

CREATE FUNCTION byoc.rest_verify_credential(id uuid, key text DEFAULT NULL) RETURNS jsonb
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    answer jsonb;
BEGIN
    PERFORM byoc.require_organization(byoc.current_org_id(), 'admin');
    answer := byoc.rest_recall(key, 'verify_credential', id::text);
    IF answer IS NULL THEN
        IF NOT (byoc.rest_credential(id) #>> '{body,is_active}')::boolean THEN
            RAISE EXCEPTION 'credential % is revoked', id USING ERRCODE = 'object_not_in_prerequisite_state';
        END IF;
        PERFORM byoc.verify_credential(id);
        answer := byoc.rest_credential(id);
        PERFORM byoc.rest_remember(key, answer);
    END IF;
    RETURN answer;
END
$$;
COMMENT ON FUNCTION byoc.rest_verify_credential(uuid, text) IS 'byoc.verify_credential. Answers as byoc.rest_credential().';

CREATE INDEX audit_entries_object ON byoc.audit_entries (org_id, object_id, at) WHERE object_id IS NOT NULL;

CREATE FUNCTION byoc.rest_audit(id uuid, page_size text, after text) RETURNS jsonb
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    size CONSTANT integer := byoc.rest_number('limit', page_size, 1, 100, 50);
    start CONSTANT record := byoc.read_rest_cursor(after);
BEGIN
    PERFORM byoc.require_organization(byoc.current_org_id(), 'admin');
    PERFORM byoc.rest_credential(id);
    RETURN (
        WITH found AS (
            SELECT e.*, row_number() OVER (ORDER BY e.at DESC, e.id DESC) AS n FROM byoc.audit_log e
            WHERE e.object_id = rest_audit.id AND (e.at, e.id) <= (start.at, start.id) ORDER BY n LIMIT size + 1)
        SELECT jsonb_build_object(
            'items', coalesce(jsonb_agg(jsonb_build_object('id', f.id, 'at', f.at, 'action', f.action, 'details', f.details, 'user_id', f.user_id,
                                                           'org_role', f.org_role, 'role', f.role) ORDER BY f.n) FILTER (WHERE f.n <= size), '[]'),
            'next', max(byoc.rest_cursor(f.at, f.id)) FILTER (WHERE f.n > size))
        FROM found f);
END
$$;
COMMENT ON FUNCTION byoc.rest_audit(uuid, text, text) IS 'A page of a credential''s audit trail, newest first. Needs the organization role admin.';

-- sql/api_messages.sql

-- What byocd's REST API shows of messages: by primary keys only, so that a page costs the same among millions. See api.sql.

-- Rows come in by this time, so that a few bytes find what happened lately.
CREATE INDEX message_events_at ON byoc.message_events USING brin (at) WITH (autosummarize = on, pages_per_range = 32);

CREATE FUNCTION byoc.sms_in_range(org_id uuid, low uuid, high uuid, max_count integer)
RETURNS TABLE (id uuid, to_number text, from_number text, body text, status text, provider_sid text, error_code text, error_message text,
               attempts integer, segments integer, source_table text, credential_id uuid, created_at timestamptz, send_at timestamptz,
               expires_at timestamptz, sent_at timestamptz, delivered_at timestamptz, waiting_reason text)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_bitmapscan = off
SET jit = off
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    (SELECT m.id, m.to_number, m.from_number, m.body, m.status::text, m.provider_sid, m.error_code, m.error_message, m.attempts::integer,
            m.segments::integer, m.source_table, m.credential_id, m.created_at, m.send_at, m.expires_at, m.sent_at, m.delivered_at, NULL
     FROM byoc.messages m WHERE m.org_id = sms_in_range.org_id AND m.id BETWEEN low AND high ORDER BY m.id DESC LIMIT max_count)
    UNION ALL
    (SELECT n.id, n.to_number, NULL, n.body, 'queued', NULL, NULL, NULL, n.attempts::integer, NULL, n.source_table, n.credential_id, n.created_at,
            n.send_at, n.expires_at, NULL, NULL,
            (SELECT c.waiting_reason FROM byoc.senders c
             WHERE c.org_id = n.org_id AND (c.id = n.lane OR (c.is_default AND n.credential_id IS NULL)) ORDER BY c.id = n.lane DESC LIMIT 1)
     FROM unnest(byoc.lanes_of(sms_in_range.org_id)) AS l CROSS JOIN LATERAL (
         SELECT * FROM byoc.queue q WHERE q.org_id = sms_in_range.org_id AND q.lane = l AND q.id BETWEEN low AND high
         ORDER BY q.id DESC LIMIT max_count) AS n)
    UNION ALL
    (SELECT s.id, s.to_number, NULL, s.body, CASE WHEN s.attempts = 0 AND s.due_at > clock_timestamp() THEN 'scheduled' ELSE 'queued' END, NULL, NULL,
            NULL, s.attempts::integer, NULL, s.source_table, s.credential_id, s.created_at, s.send_at, s.expires_at, NULL, NULL,
            (SELECT c.waiting_reason FROM byoc.senders c
             WHERE (s.attempts > 0 OR s.due_at <= now()) AND c.org_id = s.org_id
               AND CASE WHEN s.credential_id IS NULL THEN c.is_default ELSE c.id = s.credential_id END)
     FROM byoc.schedule s WHERE s.org_id = sms_in_range.org_id AND s.id BETWEEN low AND high ORDER BY s.id DESC LIMIT max_count)
    ORDER BY 1 DESC LIMIT max_count;
END
$$;
COMMENT ON FUNCTION byoc.sms_in_range(uuid, uuid, uuid, integer) IS
    'Internal: an organization''s messages with ids from low to high, newest first. No access check.';

CREATE FUNCTION byoc.rest_messages(statuses text, search text, page_size text, after text) RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    own CONSTANT uuid := byoc.current_org_id();
    size CONSTANT integer := byoc.rest_number('limit', page_size, 1, 100, 50);
    start CONSTANT uuid := (byoc.read_rest_cursor(after)).id;
    wanted CONSTANT text[] := string_to_array(nullif(statuses, ''), ',');
    words CONSTANT text := lower(nullif(search, ''));
    number CONSTANT text := nullif(translate(words, ' ()-./', ''), '');
    -- Where most do not match, a page looks at so many and goes on with the next.
    reach CONSTANT integer := CASE WHEN wanted IS NULL AND words IS NULL THEN size ELSE 5000 END;
BEGIN
    PERFORM byoc.require_organization(own);
    IF EXISTS (SELECT FROM unnest(wanted) AS w WHERE w NOT IN ('scheduled', 'queued', 'sending', 'sent', 'delivered', 'undelivered', 'failed',
                                                               'cancelled', 'expired', 'unknown')) THEN
        RAISE EXCEPTION 'it must be states of a message with commas between them' USING ERRCODE = 'invalid_parameter_value', COLUMN = 'status';
    ELSIF length(words) > 200 THEN
        RAISE EXCEPTION 'it has more than 200 characters' USING ERRCODE = 'invalid_parameter_value', COLUMN = 'search';
    END IF;
    RETURN (
        WITH found AS MATERIALIZED (
            SELECT r.*, row_number() OVER (ORDER BY r.id DESC) AS n
            FROM byoc.sms_in_range(own, '00000000-0000-0000-0000-000000000000', start, reach + 1) AS r
        ), fitting AS MATERIALIZED (
            SELECT f.*, row_number() OVER (ORDER BY f.n) AS place FROM found f
            WHERE f.n <= reach AND (wanted IS NULL OR f.status = ANY (wanted))
              AND (words IS NULL OR strpos(lower(f.body), words) > 0 OR strpos(f.to_number, number) > 0 OR strpos(f.from_number, number) > 0
                   OR lower(f.provider_sid) = words OR f.id::text = words)
            ORDER BY f.n LIMIT size + 1
        ), following AS (
            SELECT coalesce((SELECT f.id FROM fitting f WHERE f.place > size), (SELECT f.id FROM found f WHERE f.n > reach)) AS id
        )
        SELECT jsonb_build_object(
            'items', (SELECT coalesce(jsonb_agg(to_jsonb(f) - 'n' - 'place' ORDER BY f.n), '[]') FROM fitting f WHERE f.place <= size),
            'next', (SELECT byoc.rest_cursor('epoch', f.id) FROM following f)));
END
$$;
COMMENT ON FUNCTION byoc.rest_messages(text, text, text, text) IS
    'A page of the organization''s messages, newest first, of these states (with commas between them) and with search in text or numbers. '
    'Each looks at 5,000 messages at most: it may be short and still have a next.';

CREATE FUNCTION byoc.rest_message(id uuid) RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    own CONSTANT uuid := byoc.current_org_id();
    message jsonb;
BEGIN
    PERFORM byoc.require_organization(own);
    SELECT to_jsonb(m) INTO message FROM byoc.sms_in_range(own, rest_message.id, rest_message.id, 1) AS m;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'message % does not exist', id USING ERRCODE = 'no_data_found';
    END IF;
    RETURN jsonb_build_object('id', message -> 'id', 'body', message || jsonb_build_object('events', (
        SELECT coalesce(jsonb_agg(to_jsonb(e) - 'org_id' - 'message_id' ORDER BY e.id), '[]')
        FROM byoc.message_events e WHERE e.org_id = own AND e.message_id = rest_message.id)));
END
$$;
COMMENT ON FUNCTION byoc.rest_message(uuid) IS 'A message with its history (body), and its id. Raises P0002.';

CREATE FUNCTION byoc.rest_send_test(request text, key text DEFAULT NULL) RETURNS jsonb
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    document CONSTANT jsonb := byoc.rest_object(request, '{"to": "string", "body": "string", "credential_id": "string"}');
    credential CONSTANT text := document ->> 'credential_id';
    answer jsonb;
    new_id uuid;
BEGIN
    PERFORM byoc.require_organization(byoc.current_org_id());
    answer := byoc.rest_recall(key, 'send_test', document::text);
    IF answer IS NULL THEN
        IF (document ->> 'to' ~ '^\+[1-9][0-9]{6,14}$') IS NOT TRUE THEN
            RAISE EXCEPTION 'it must be an E.164 number such as +14155550100' USING ERRCODE = 'invalid_parameter_value', COLUMN = 'to';
        ELSIF length(document ->> 'body') NOT BETWEEN 1 AND 1600 THEN
            RAISE EXCEPTION 'it must have 1 to 1,600 characters' USING ERRCODE = 'invalid_parameter_value', COLUMN = 'body';
        ELSIF credential !~ '^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$' THEN
            RAISE EXCEPTION 'it must be the id of an active twilio credential' USING ERRCODE = 'invalid_parameter_value', COLUMN = 'credential_id';
        ELSIF NOT EXISTS (SELECT FROM byoc.credentials c WHERE c.credential_type = 'twilio' AND c.is_active
                          AND (c.id = credential::uuid OR (credential IS NULL AND c.is_default))) THEN
            IF credential IS NOT NULL THEN
                RAISE EXCEPTION 'it must be the id of an active twilio credential' USING ERRCODE = 'invalid_parameter_value', COLUMN = 'credential_id';
            END IF;
            RAISE EXCEPTION 'the organization has no active twilio credential' USING ERRCODE = 'object_not_in_prerequisite_state';
        END IF;
        new_id := byoc.send_sms(document ->> 'to', coalesce(document ->> 'body', 'This is a test message: your SMS account works.'),
                                credential_id => credential::uuid);
        answer := byoc.rest_message(new_id) #- '{body,events}';
        PERFORM byoc.rest_remember(key, answer);
    END IF;
    RETURN answer;
END
$$;
COMMENT ON FUNCTION byoc.rest_send_test(text, text) IS 'byoc.send_sms for {to, body, credential_id}. Answers the message (body) and its id.';

CREATE FUNCTION byoc.rest_statistics(hours text) RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_bitmapscan = off
SET jit = off
AS $$
DECLARE
    most CONSTANT integer := 100000;
    own CONSTANT uuid := byoc.current_org_id();
    number CONSTANT integer := byoc.rest_number('hours', hours, 1, 168, 24);
    start CONSTANT timestamptz := date_trunc('hour', now(), 'UTC') - (number - 1) * interval '1 hour';
    low CONSTANT uuid := byoc.first_id_at(start);
BEGIN
    PERFORM byoc.require_organization(own);
    RETURN (
        WITH handled AS MATERIALIZED (
            SELECT m.created_at, m.status::text AS status FROM byoc.messages m WHERE m.org_id = own AND m.id >= low ORDER BY m.id DESC LIMIT most
        ), made AS (
            TABLE handled
            UNION ALL
            SELECT n.created_at, 'queued' FROM unnest(byoc.lanes_of(own)) AS l CROSS JOIN LATERAL (
                SELECT q.created_at FROM byoc.queue q WHERE q.org_id = own AND q.lane = l AND q.id >= low ORDER BY q.id DESC LIMIT most) AS n
            UNION ALL
            (SELECT s.created_at, CASE WHEN s.attempts = 0 AND s.due_at > clock_timestamp() THEN 'scheduled' ELSE 'queued' END
             FROM byoc.schedule s WHERE s.org_id = own AND s.id >= low ORDER BY s.id DESC LIMIT most)
        ), counted AS MATERIALIZED (
            SELECT date_bin('1 hour', greatest(m.created_at, start), 'epoch') AS hour, m.status, count(*) AS messages FROM made m GROUP BY 1, 2
        )
        SELECT jsonb_build_object(
            'hours', (SELECT jsonb_agg(jsonb_build_object('from', h, 'counts', (
                          SELECT coalesce(jsonb_object_agg(c.status, c.messages), '{}') FROM counted c WHERE c.hour = h)) ORDER BY h)
                      FROM generate_series(start, now(), '1 hour') AS h),
            'total', (SELECT coalesce(jsonb_object_agg(t.status, t.messages), '{}')
                      FROM (SELECT c.status, sum(c.messages) AS messages FROM counted c GROUP BY c.status) AS t),
            'complete_from', CASE WHEN (SELECT count(*) FROM handled) < most THEN start ELSE (SELECT min(h.created_at) FROM handled h) END));
END
$$;
COMMENT ON FUNCTION byoc.rest_statistics(text) IS
    'How many messages the organization made in each of the last hours, by present status: of the newest 100,000, which begin at complete_from.';

CREATE FUNCTION byoc.rest_changes(within interval) RETURNS TABLE (kind text, id uuid, version text, data jsonb)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    most CONSTANT integer := 501;
    own CONSTANT uuid := byoc.current_org_id();
    since CONSTANT timestamptz := clock_timestamp() - least(within, interval '10 minutes');
BEGIN
    PERFORM byoc.require_organization(own);
    RETURN QUERY
    SELECT 'credential', c.id, concat_ws(' ', c.verification_status, c.is_active, c.updated_at, c.last_verified_at, c.verification_error, c.verification_note),
           jsonb_build_object('id', c.id, 'verification_status', c.verification_status, 'verification_error', c.verification_error,
                              'verification_note', c.verification_note, 'last_verified_at', c.last_verified_at, 'is_active', c.is_active)
    FROM byoc.organization_api_credentials c WHERE c.org_id = own;
    RETURN QUERY
    WITH touched AS (
        -- IS TRUE: by the time, not through all that the organization ever did.
        SELECT e.message_id AS id FROM byoc.message_events e WHERE e.at > since AND (e.org_id = own) IS TRUE
        UNION
        SELECT f.id FROM byoc.sms_in_range(own, byoc.first_id_at(since), 'ffffffff-ffff-ffff-ffff-ffffffffffff', most) AS f
        LIMIT most
    )
    SELECT 'message', t.id, concat_ws(' ', n.status, n.attempts), jsonb_build_object('id', t.id, 'status', n.status)
    FROM touched t
    LEFT JOIN byoc.messages m ON m.org_id = own AND m.id = t.id
    LEFT JOIN byoc.schedule s ON s.org_id = own AND s.id = t.id
    CROSS JOIN LATERAL (
        SELECT CASE WHEN m.id IS NOT NULL THEN m.status::text WHEN s.attempts = 0 AND s.due_at > clock_timestamp() THEN 'scheduled' ELSE 'queued' END AS status,
               coalesce(m.attempts, s.attempts, 0) AS attempts) AS n;
END
$$;
COMMENT ON FUNCTION byoc.rest_changes(interval) IS
    'The organization''s credentials, and the messages to which something happened within so long (ten minutes at most); version differs '
    'when data does. More than 500 messages: there may be more still.';

-- sql/availability.sql

-- When an appointment could be made: the organization's working hours, less what stands in its calendar.

CREATE FUNCTION byoc.local_time_text(at timestamptz, time_zone text) RETURNS text
LANGUAGE sql STABLE
RETURN (SELECT to_char(at AT TIME ZONE time_zone, 'YYYY-MM-DD"T"HH24:MI:SS') || CASE WHEN o.minutes < 0 THEN '-' ELSE '+' END
               || lpad((abs(o.minutes) / 60)::text, 2, '0') || ':' || lpad((abs(o.minutes) % 60)::text, 2, '0')
        FROM (SELECT (extract(epoch FROM (at AT TIME ZONE time_zone) - (at AT TIME ZONE 'UTC')) / 60)::integer AS minutes) AS o);
COMMENT ON FUNCTION byoc.local_time_text(timestamptz, text) IS 'Internal: a time in a zone with its offset (RFC 3339): 2026-03-29T10:00:00+02:00.';

CREATE FUNCTION byoc.working_hours(settings jsonb, day date) RETURNS TABLE (opens time, closes time)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    hours CONSTANT jsonb := coalesce(settings -> 'working_hours',
        '{"mon": ["09:00-17:00"], "tue": ["09:00-17:00"], "wed": ["09:00-17:00"], "thu": ["09:00-17:00"], "fri": ["09:00-17:00"]}');
    span text;
BEGIN
    IF jsonb_typeof(hours) <> 'object' OR jsonb_typeof(coalesce(hours -> to_char(day, 'dy'), '[]')) <> 'array' THEN
        RAISE EXCEPTION 'the organization''s setting working_hours is not understood' USING ERRCODE = 'object_not_in_prerequisite_state',
            HINT = 'It is an object of lists by day: {"mon": ["09:00-12:00", "13:00-17:00"]}.';
    END IF;
    FOR span IN SELECT jsonb_array_elements_text(coalesce(hours -> to_char(day, 'dy'), '[]')) LOOP
        IF span !~ '^([01][0-9]|2[0-3]):[0-5][0-9]-(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$' OR split_part(span, '-', 1) >= split_part(span, '-', 2) THEN
            RAISE EXCEPTION 'the organization''s setting working_hours has "%", which is no span of time', left(span, 20)
                USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Write it as 09:00-17:00.';
        END IF;
        opens := split_part(span, '-', 1)::time;
        closes := split_part(span, '-', 2)::time;
        RETURN NEXT;
    END LOOP;
END
$$;
COMMENT ON FUNCTION byoc.working_hours(jsonb, date) IS
    'Internal: when an organization works on a day, in its own zone; Monday to Friday, 9 to 17, unless its setting working_hours says otherwise.';

CREATE FUNCTION byoc.free_slots(settings jsonb, day date, duration interval, busy tstzmultirange, after timestamptz DEFAULT '-infinity')
RETURNS TABLE (starts_at timestamptz, ends_at timestamptz)
LANGUAGE sql STABLE
BEGIN ATOMIC
    -- The working day's ends are local times; in between the clocks may change, and a slot has its length all the same.
    SELECT s.at, s.at + duration
    FROM (SELECT coalesce(settings ->> 'time_zone', 'UTC') AS zone,
                 coalesce((settings ->> 'slot_minutes')::integer * interval '1 minute', duration) AS step) AS o
    CROSS JOIN byoc.working_hours(settings, day) AS w
    CROSS JOIN LATERAL generate_series((day + w.opens) AT TIME ZONE o.zone, (day + w.closes) AT TIME ZONE o.zone - duration, o.step) AS s (at)
    WHERE NOT busy && tstzrange(s.at, s.at + duration) AND s.at > after
    ORDER BY s.at;
END;
COMMENT ON FUNCTION byoc.free_slots(jsonb, date, interval, tstzmultirange, timestamptz) IS
    'Internal: when on a day (in the organization''s zone) something of that length fits between what is busy. Slots begin every slot_minutes (a setting; without it '
    'one after the other).';

CREATE FUNCTION byoc.rest_availability_window(date text, duration text)
RETURNS TABLE (org_id uuid, credential_id uuid, credential_version integer, from_time text, to_time text)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    own CONSTANT uuid := byoc.current_org_id();
    zone text;
BEGIN
    PERFORM byoc.require_organization(own);
    PERFORM byoc.rest_number('duration', duration, 5, 1440, 30);
    PERFORM byoc.rest_day(date);
    SELECT coalesce(o.settings ->> 'time_zone', 'UTC') INTO zone FROM byoc.organizations o WHERE o.id = own;
    IF NOT byoc.is_time_zone(zone) THEN
        RAISE EXCEPTION 'the organization''s setting time_zone is no IANA time zone' USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    RETURN QUERY
    SELECT c.org_id, c.id, c.version, to_char((date::date::timestamp AT TIME ZONE zone) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
           to_char(((date::date + 1)::timestamp AT TIME ZONE zone) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
    FROM byoc.organization_api_credentials c
    WHERE c.org_id = own AND c.credential_type = 'google_calendar' AND c.is_default AND c.is_active;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the organization has no Google Calendar connected' USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
END
$$;
COMMENT ON FUNCTION byoc.rest_availability_window(text, text) IS
    'The calendar to be asked about a day (YYYY-MM-DD, in the organization''s zone) and from when to when. Raises 22023 naming a wrong parameter, 55000 without a calendar.';

CREATE FUNCTION byoc.rest_day(value text) RETURNS date
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF value ~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}$' THEN
        RETURN make_date(left(value, 4)::integer, substr(value, 6, 2)::integer, right(value, 2)::integer);
    END IF;
    RAISE datetime_field_overflow;
EXCEPTION WHEN datetime_field_overflow THEN
    RAISE EXCEPTION 'it must be a day such as 2026-03-29' USING ERRCODE = 'invalid_parameter_value', COLUMN = 'date';
END
$$;
COMMENT ON FUNCTION byoc.rest_day(text) IS 'A parameter date. Raises 22023 naming it.';

CREATE FUNCTION byoc.rest_availability(date text, duration text, busy jsonb) RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    own CONSTANT uuid := byoc.current_org_id();
    day CONSTANT date := byoc.rest_day(date);
    minutes CONSTANT integer := byoc.rest_number('duration', duration, 5, 1440, 30);
    own_settings jsonb;
    zone text;
    taken tstzmultirange;
BEGIN
    PERFORM byoc.require_organization(own);
    SELECT o.settings, coalesce(o.settings ->> 'time_zone', 'UTC') INTO own_settings, zone FROM byoc.organizations o WHERE o.id = own;
    IF own_settings ? 'slot_minutes' AND (own_settings ->> 'slot_minutes') !~ '^[1-9][0-9]{0,3}$' THEN
        RAISE EXCEPTION 'the organization''s setting slot_minutes is no number of minutes' USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    -- With what is on its way to the calendar: nobody shall book what was booked a moment ago.
    SELECT range_agg(r.span) INTO taken
    FROM (SELECT tstzrange((b ->> 'start')::timestamptz, (b ->> 'end')::timestamptz) AS span FROM jsonb_array_elements(busy) AS b
          UNION ALL
          SELECT tstzrange(coalesce(e.starts_at, e.starts_on::timestamp AT TIME ZONE e.time_zone),
                           coalesce(e.ends_at, (e.ends_on + 1)::timestamp AT TIME ZONE e.time_zone))
          FROM byoc.calls c JOIN byoc.calendar_entries e ON e.org_id = c.org_id AND e.id = c.subject
          WHERE c.org_id = own AND c.credential_type = 'google_calendar' AND c.due_at IS NOT NULL AND e.cancelled_at IS NULL AND e.refusal IS NULL) AS r;
    RETURN jsonb_build_object('date', day, 'duration', minutes, 'time_zone', zone, 'slots', coalesce((
        SELECT jsonb_agg(jsonb_build_object('start', byoc.local_time_text(s.starts_at, zone), 'end', byoc.local_time_text(s.ends_at, zone)) ORDER BY s.starts_at)
        FROM byoc.free_slots(own_settings, day, minutes * interval '1 minute', coalesce(taken, '{}'), now()) AS s), '[]'));
END
$$;
COMMENT ON FUNCTION byoc.rest_availability(text, text, jsonb) IS
    'The day''s free slots that are still to come, given the calendar''s busy times ([{"start", "end"}]); events on their way to it count as busy too.';

-- sql/check.sql

-- For `byocd check`: what an organization sends with, and one test message through the queue.

CREATE FUNCTION byoc.check_subject(org_id uuid)
RETURNS TABLE (organization text, alert_phone text, credential_id uuid, state text, verification_status text, verification_error text,
               has_dispatcher boolean)
LANGUAGE sql STABLE SECURITY DEFINER
BEGIN ATOMIC
    SELECT o.name, o.settings ->> 'alert_phone', c.id,
           CASE WHEN o.shredded_at IS NOT NULL THEN 'shredded'
                WHEN c.id IS NULL THEN 'none'
                WHEN NOT c.is_active THEN 'revoked'
                WHEN NOT c.is_default THEN 'no_default'
                ELSE 'ready' END,
           c.verification_status, c.verification_error,
           byoc.sleeping_dispatchers() > 0 OR EXISTS (
               SELECT FROM pg_catalog.pg_stat_activity a
               WHERE a.application_name = 'byocd' AND a.datname = pg_catalog.current_database())
    FROM byoc.organizations o
    LEFT JOIN LATERAL (
        SELECT d.id, d.is_active, d.is_default, d.verification_status, d.verification_error FROM byoc.organization_api_credentials d
        WHERE d.org_id = o.id AND d.credential_type = 'twilio'
        ORDER BY d.is_default DESC, d.is_active DESC, d.created_at DESC LIMIT 1) AS c ON true
    WHERE o.id = check_subject.org_id;
END;
COMMENT ON FUNCTION byoc.check_subject(uuid) IS
    'For byocd check: the organization and the twilio credential that it sends with; no row when there is no such organization. state: ready, none, '
    'no_default, revoked (the last one it had) or shredded. has_dispatcher: a byocd is connected to this database.';

CREATE FUNCTION byoc.send_check_sms(org_id uuid, to_number text, body text) RETURNS uuid
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    message_id uuid;
BEGIN
    PERFORM byoc.require_adopted();
    IF NOT EXISTS (SELECT FROM byoc.organizations o WHERE o.id = send_check_sms.org_id AND o.shredded_at IS NULL) THEN
        RAISE EXCEPTION 'organization % does not exist or was shredded', org_id USING ERRCODE = 'foreign_key_violation';
    END IF;
    message_id := byoc.enqueue_sms(org_id, to_number, body, NULL, NULL, clock_timestamp() + interval '2 minutes', NULL);
    PERFORM byoc.audit(org_id, 'check.sms_queued', message_id);
    RETURN message_id;
END
$$;
COMMENT ON FUNCTION byoc.send_check_sms(uuid, text, text) IS
    'For byocd check: queues a test message that goes the way of every other one and is not sent any more after two minutes. Audited.';

CREATE FUNCTION byoc.check_sms(org_id uuid, id uuid)
RETURNS TABLE (status text, provider_sid text, error_code text, error_message text)
LANGUAGE sql STABLE SECURITY DEFINER
BEGIN ATOMIC
    SELECT m.status, m.provider_sid, m.error_code, m.error_message
    FROM byoc.all_sms_messages m WHERE m.org_id = check_sms.org_id AND m.id = check_sms.id;
END;
COMMENT ON FUNCTION byoc.check_sms(uuid, uuid) IS 'For byocd check: how the message is doing that byoc.send_check_sms queued; or any other.';

-- sql/key_rotation.sql

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

-- sql/privileges.sql

-- Nothing is open to PUBLIC; byoc.grant_* give an existing role what its part needs. No roles are made: they belong to the
-- cluster, and would break dump and restore.

CREATE FUNCTION byoc.grant_tenant(role regrole) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY INVOKER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    grantee text := role::text; -- regrole prints a quoted name
BEGIN
    EXECUTE format('GRANT USAGE ON SCHEMA byoc TO %s', grantee);
    EXECUTE format('GRANT SELECT ON byoc.organizations, byoc.providers, byoc.provider_errors, byoc.sms_events, byoc.audit_log, byoc.queue_health, byoc.call_health, '
        'byoc.inbound_messages, byoc.opt_outs, byoc.webhook_calls TO %s', grantee);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON byoc.credentials, byoc.calendar_events TO %s', grantee);
    EXECUTE format('GRANT SELECT, INSERT ON byoc.sms_messages TO %s', grantee);
    EXECUTE format(
        'GRANT EXECUTE ON FUNCTION byoc.api_version(), byoc.oldest_api_version(), byoc.authenticate(text), byoc.current_org_id(), byoc.current_user_id(), byoc.current_org_role(), '
        'byoc.sees_all_organizations(), byoc.require_organization(uuid, text), byoc.invoking_role(), '
        'byoc.encrypt(uuid, text, text), byoc.decrypt(uuid, bytea, text), byoc.encrypt_bytes(uuid, bytea, text), byoc.decrypt_bytes(uuid, bytea, text), '
        'byoc.envelope_key_id(bytea), byoc.sms_segments(text), byoc.decrypted_fields(uuid, uuid, integer, bytea), '
        'byoc.add_credential(text, jsonb, text, uuid), byoc.add_credential(text, text, text, uuid), byoc.parse_fields(text), '
        'byoc.update_credential(uuid, jsonb), byoc.update_credential(uuid, text), byoc.change_credential(uuid, uuid, jsonb, text, boolean), '
        'byoc.credential_org(uuid), byoc.verify_credential(uuid), byoc.revoke_credential(uuid), byoc.start_oauth(text, bytea, bytea, text, uuid), '
        'byoc.send_sms(text, text, timestamptz, uuid, text, timestamptz, uuid), byoc.cancel_sms(uuid), byoc.retry_sms(uuid), '
        'byoc.save_calendar_event(uuid, jsonb, uuid), byoc.cancel_calendar_event(uuid, uuid), byoc.calendar_event_id(uuid), '
        'byoc.call_webhook(text, jsonb, timestamptz, uuid, text, uuid), byoc.cancel_webhook(uuid), byoc.retry_webhook(uuid), '
        'byoc.resolve_unknown_sms(uuid, text), byoc.lift_opt_out(text, uuid), byoc.is_barred(text), byoc.queue_health(), '
        'byoc.rest_object(text, jsonb), byoc.rest_number(text, text, integer, integer, integer), byoc.rest_cursor(timestamptz, uuid), '
        'byoc.read_rest_cursor(text), byoc.rest_recall(text, text, text), byoc.rest_remember(text, jsonb), byoc.rest_session(), byoc.rest_providers(), '
        'byoc.rest_credential(uuid), byoc.rest_credentials(text, text), byoc.rest_add_credential(text, text, text), byoc.rest_match(uuid, text), '
        'byoc.rest_update_credential(uuid, text, text), byoc.rest_revoke_credential(uuid, text), byoc.rest_verify_credential(uuid, text), '
        'byoc.rest_audit(uuid, text, text), byoc.rest_messages(text, text, text, text), byoc.rest_message(uuid), byoc.rest_send_test(text, text), '
        'byoc.rest_day(text), byoc.rest_availability_window(text, text), byoc.rest_availability(text, text, jsonb), '
        'byoc.rest_statistics(text), byoc.rest_changes(interval) TO %s', grantee);
    PERFORM byoc.audit_if_possible('privileges.granted', jsonb_build_object('to', grantee, 'as', 'tenant'));
END
$$;
COMMENT ON FUNCTION byoc.grant_tenant(regrole) IS
    'Gives a role what a tenant''s session needs: its own credentials and messages, within a tenant context.';

CREATE FUNCTION byoc.grant_admin(role regrole) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY INVOKER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    grantee text := role::text;
BEGIN
    PERFORM byoc.grant_tenant(role);
    EXECUTE format('GRANT UPDATE (name, settings) ON byoc.organizations TO %s', grantee);
    EXECUTE format('GRANT SELECT ON byoc.sms_triggers, byoc.calendar_triggers, byoc.webhook_triggers, byoc.key_status, byoc.master_keys, byoc.stats TO %s', grantee);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON byoc.provider_overrides, byoc.provider_error_overrides, byoc.sender_limits TO %s', grantee);
    EXECUTE format(
        'GRANT EXECUTE ON FUNCTION byoc.set_org(uuid, text, text, boolean), byoc.create_organization(text, uuid), '
        'byoc.create_sms_trigger(regclass, text, text, text, text, text, text, text, text), byoc.drop_sms_trigger(regclass, text), '
        'byoc.enqueue_sms_trigger(), byoc.rehearse_sms_trigger(regclass, text, text, text, text, text), byoc.trigger_events_clause(text), '
        'byoc.require_on_error(text, text), byoc.free_trigger_name(regclass, text), '
        'byoc.register_sms_trigger(regclass, name, text, text, text, text, text, text), byoc.unregister_sms_trigger(regclass, name), '
        'byoc.create_calendar_trigger(regclass, text, text, text, text, text, text, text, text, interval, text, text, text, text, text, text), '
        'byoc.drop_calendar_trigger(regclass, text), byoc.follow_row_trigger(), byoc.rehearse_row_trigger(regclass, text[], text[], text, text, text), '
        'byoc.create_webhook_trigger(regclass, text, text[], text, text, text, text, text, text), byoc.drop_webhook_trigger(regclass, text), '
        'byoc.register_webhook_trigger(regclass, name, text, text[], text, text, text, text), byoc.unregister_webhook_trigger(regclass, name), '
        'byoc.webhook_problem(text, jsonb), '
        'byoc.register_calendar_trigger(jsonb), byoc.unregister_calendar_trigger(regclass, name), byoc.is_time_zone(text), '
        'byoc.keyring(), byoc.reload_keyring(), byoc.rewrap_keys(), byoc.rotate_organization_key(uuid), byoc.reencrypt(uuid, integer), '
        'byoc.destroy_unused_key(uuid, integer), byoc.shred_organization(uuid), '
        'byoc.adopt_installation(), byoc.resume_restored(uuid), byoc.seal_audit_log(), byoc.prune(interval, integer), byoc.stats() TO %s', grantee);
    PERFORM byoc.audit_if_possible('privileges.granted', jsonb_build_object('to', grantee, 'as', 'admin'));
END
$$;
COMMENT ON FUNCTION byoc.grant_admin(regrole) IS
    'Gives a role what the application''s owner or DBA needs: organizations and their keys, tenant contexts, triggers, provider settings.';

CREATE FUNCTION byoc.grant_dispatcher(role regrole) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY INVOKER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    grantee text := role::text;
BEGIN
    EXECUTE format('GRANT USAGE ON SCHEMA byoc TO %s', grantee);
    EXECUTE format(
        'GRANT EXECUTE ON FUNCTION byoc.api_version(), byoc.oldest_api_version(), byoc.register_dispatcher(uuid), byoc.announce_fallback(text, text), byoc.claim_jobs(uuid, integer, interval, uuid[], integer[], integer), '
        'byoc.dispatcher_sleep(uuid[]), byoc.heartbeat(uuid, interval), byoc.rescue_expired(), '
        'byoc.claim_reconciliations(integer, interval), byoc.record_reconciliation(uuid, text, text, timestamptz, timestamptz, jsonb, text, text), '
        'byoc.record_accepted(uuid[], uuid[], uuid[], smallint[], text[], text[], smallint[], integer[]), '
        'byoc.record_outcomes(jsonb), byoc.open_credentials(uuid[], uuid[]), byoc.claim_verifications(uuid, integer, interval), '
        'byoc.record_verification(uuid, uuid, integer, text, text), byoc.seal_audit_log(), byoc.queue_health(), byoc.stats(), '
        'byoc.queue_totals(), byoc.key_totals(), byoc.readiness(), '
        'byoc.receipt_key(), byoc.open_receipts(text[]), byoc.record_receipts(jsonb), byoc.expect_receipts(uuid[], uuid[], boolean[]), '
        'byoc.claim_calls(integer, interval, integer), byoc.record_calls(jsonb), '
        'byoc.claim_status_checks(integer), byoc.inbound_credential(uuid), '
        'byoc.record_inbound(uuid, uuid, text, text, text, text, text), byoc.note_refusals(uuid[], uuid[]), '
        'byoc.take_oauth_state(bytea, bytea), byoc.add_credential_by_oauth(bytea, text), '
        'byoc.claim_provider_revocations(integer, interval), byoc.record_provider_revocation(uuid, uuid, boolean), '
        'byoc.check_subject(uuid), byoc.send_check_sms(uuid, text, text), byoc.check_sms(uuid, uuid) TO %s', grantee);
    PERFORM byoc.audit_if_possible('privileges.granted', jsonb_build_object('to', grantee, 'as', 'dispatcher'));
END
$$;
COMMENT ON FUNCTION byoc.grant_dispatcher(regrole) IS 'Gives a role what byocd needs: functions only, no table.';

CREATE FUNCTION byoc.grant_auditor(role regrole) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY INVOKER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    grantee text := role::text;
BEGIN
    EXECUTE format('GRANT USAGE ON SCHEMA byoc TO %s', grantee);
    EXECUTE format('GRANT SELECT ON byoc.audit_log, byoc.audit_heads, byoc.organizations, byoc.key_status, byoc.master_keys TO %s', grantee);
    EXECUTE format(
        'GRANT EXECUTE ON FUNCTION byoc.api_version(), byoc.oldest_api_version(), byoc.verify_audit_log(uuid, bigint, bytea), byoc.keyring(), byoc.envelope_key_id(bytea), '
        'byoc.current_org_id(), byoc.current_org_role(), byoc.sees_all_organizations() TO %s', grantee);
    PERFORM byoc.audit_if_possible('privileges.granted', jsonb_build_object('to', grantee, 'as', 'auditor'));
END
$$;
COMMENT ON FUNCTION byoc.grant_auditor(regrole) IS
    'Gives a role what an auditor needs: the audit trail of all organizations and its verification, the state of keys; no secret, '
    'no credential, no message.';

-- Nobody but the owner starts with anything: PostgreSQL's defaults open functions and types to PUBLIC, and the default
-- privileges of who runs CREATE EXTENSION may open the rest to others. Row types count: a table with a column of one would
-- keep ours from being altered. In an upgrade this is for what is new: grants on the rest stay.
DO $$
DECLARE
    existing text[] := current_setting('pg_byoc.existing');
    opened record;
BEGIN
    FOR opened IN
        WITH object (id, kind, name, owner, acl) AS (
            SELECT n.tableoid::regclass || ' ' || n.oid, 'SCHEMA', n.nspname::text, n.nspowner, n.nspacl FROM pg_catalog.pg_namespace n WHERE n.nspname = 'byoc'
            UNION ALL
            SELECT p.tableoid::regclass || ' ' || p.oid, 'FUNCTION', p.oid::regprocedure::text, p.proowner, coalesce(p.proacl, acldefault('f', p.proowner))
            FROM pg_catalog.pg_proc p WHERE p.pronamespace = 'byoc'::regnamespace
            UNION ALL
            SELECT c.tableoid::regclass || ' ' || c.oid, 'TABLE', c.oid::regclass::text, c.relowner, c.relacl
            FROM pg_catalog.pg_class c WHERE c.relnamespace = 'byoc'::regnamespace AND c.relkind IN ('r', 'v')
            UNION ALL
            SELECT t.tableoid::regclass || ' ' || t.oid, 'TYPE', t.oid::regtype::text, t.typowner, coalesce(t.typacl, acldefault('T', t.typowner))
            FROM pg_catalog.pg_type t WHERE t.typnamespace = 'byoc'::regnamespace AND t.typcategory <> 'A'
        )
        SELECT DISTINCT o.kind, o.name, CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END AS grantee
        FROM object o, aclexplode(o.acl) AS a WHERE a.grantee <> o.owner AND o.id <> ALL (existing)
    LOOP
        EXECUTE format('REVOKE ALL ON %s %s FROM %s', opened.kind, opened.name, opened.grantee);
    END LOOP;
END
$$;
