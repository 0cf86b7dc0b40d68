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
