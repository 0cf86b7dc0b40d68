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

-- What says which lane a message takes.
CREATE TRIGGER forget_lookups AFTER INSERT OR DELETE OR UPDATE OF org_id, id, credential_type, is_default ON byoc.organization_api_credentials
FOR EACH ROW EXECUTE FUNCTION byoc.forget_lookups();
ALTER TABLE byoc.organization_api_credentials ENABLE ALWAYS TRIGGER forget_lookups; -- also for replicated changes

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
        UPDATE byoc.organization_api_credentials c SET is_default = true WHERE c.org_id = credential.org_id AND c.id = credential.id;
    END IF;
    -- Without is_default, for which every session would plan anew what reads credentials (forget_lookups).
    UPDATE byoc.organization_api_credentials c
    SET display_name = coalesce(change_credential.display_name, c.display_name), updated_at = now()
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
