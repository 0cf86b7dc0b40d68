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
        WHERE r.ctid = ANY (ARRAY(SELECT d.ctid FROM byoc.provider_revocations d WHERE d.due_at <= clock_timestamp()
                                  ORDER BY d.due_at LIMIT max_count FOR UPDATE SKIP LOCKED))
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
