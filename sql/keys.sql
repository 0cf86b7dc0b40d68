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

CREATE TRIGGER data_keys_changed AFTER INSERT OR UPDATE OR DELETE ON byoc.organization_keys
FOR EACH ROW EXECUTE FUNCTION byoc.data_keys_changed(); -- logical replication fires no statement triggers for these
ALTER TABLE byoc.organization_keys ENABLE ALWAYS TRIGGER data_keys_changed; -- also for replicated changes
CREATE TRIGGER data_keys_truncated AFTER TRUNCATE ON byoc.organization_keys
FOR EACH STATEMENT EXECUTE FUNCTION byoc.data_keys_changed();
ALTER TABLE byoc.organization_keys ENABLE ALWAYS TRIGGER data_keys_truncated;
