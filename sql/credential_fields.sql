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
