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
