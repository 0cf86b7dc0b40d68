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
