-- What every test file includes at the start of its transaction: roles, two organizations and helpers. The file's
-- ROLLBACK removes them. Nothing here depends on the server's paths or on the superuser's name.

SET LOCAL client_min_messages = warning;
SET LOCAL search_path = public;

DO $$ BEGIN PERFORM byoc.take_lanes(); END $$; -- what other files left: their ROLLBACK does not reach shared memory

CREATE SCHEMA byoc_test;
GRANT USAGE ON SCHEMA byoc_test TO PUBLIC;

CREATE ROLE byoc_test_tenant;
CREATE ROLE byoc_test_admin;
CREATE ROLE byoc_test_dispatcher;
CREATE ROLE byoc_test_auditor;
CREATE ROLE byoc_test_stranger;
SELECT byoc.grant_tenant('byoc_test_tenant');
SELECT byoc.grant_admin('byoc_test_admin');
SELECT byoc.grant_dispatcher('byoc_test_dispatcher');
SELECT byoc.grant_auditor('byoc_test_auditor');

CREATE FUNCTION byoc_test.org_a() RETURNS uuid LANGUAGE sql IMMUTABLE RETURN 'aaaaaaaa-0000-4000-8000-00000000000a'::uuid;
CREATE FUNCTION byoc_test.org_b() RETURNS uuid LANGUAGE sql IMMUTABLE RETURN 'bbbbbbbb-0000-4000-8000-00000000000b'::uuid;
CREATE FUNCTION byoc_test.dispatcher() RETURNS uuid LANGUAGE sql IMMUTABLE RETURN 'dddddddd-0000-4000-8000-00000000000d'::uuid;

DO $$
BEGIN
    PERFORM byoc.create_organization('Organization A', byoc_test.org_a());
    PERFORM byoc.create_organization('Organization B', byoc_test.org_b());
END
$$;

-- Sets the tenant context of the transaction, whatever role is current.
CREATE FUNCTION byoc_test.act_as(org_id uuid, org_role text DEFAULT 'owner', user_id text DEFAULT 'user-1') RETURNS void
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    PERFORM byoc.set_org(org_id, user_id, org_role);
END
$$;

CREATE FUNCTION byoc_test.no_context() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('byoc.token', '', true);
END
$$;

-- 'SQLSTATE message | detail | hint' of what the statement raises; its effects are undone when it fails.
CREATE FUNCTION byoc_test.error_of(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    message text;
    detail text;
    hint text;
BEGIN
    EXECUTE statement;
    RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
    RETURN SQLSTATE || ' ' || concat_ws(' | ', message, nullif(detail, ''), nullif(hint, ''));
END
$$;

-- Passes when the statement fails with this SQLSTATE (or class of two characters) and a text that matches.
CREATE FUNCTION byoc_test.refused(statement text, state text, pattern text, description text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    found text := byoc_test.error_of(statement);
    good boolean := found LIKE state || '%' AND found ~ pattern;
BEGIN
    RETURN ok(good, description) || CASE WHEN good THEN '' ELSE E'\n' || diag('got: ' || found) END;
END
$$;

-- Visibly made up Twilio fields; the number tells them apart.
CREATE FUNCTION byoc_test.twilio(n integer) RETURNS jsonb LANGUAGE sql IMMUTABLE RETURN jsonb_build_object(
    'account_sid', 'AC' || lpad(n::text, 32, '0'),
    'auth_token', 'madeuptoken' || lpad(n::text, 21, '0'),
    'phone_number', '+1500555' || lpad(n::text, 4, '0'));

-- Adds a Twilio credential as the organization's owner, that counts as verified unless told otherwise; leaves the context as it was.
CREATE FUNCTION byoc_test.add_twilio(org_id uuid, n integer, status text DEFAULT 'verified') RETURNS uuid LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    org uuid := byoc.current_org_id();
    org_role text := byoc.current_org_role();
    user_id text := byoc.current_user_id();
    added uuid;
BEGIN
    PERFORM byoc.set_org(org_id, 'fixture', 'owner');
    added := byoc.add_credential('twilio', byoc_test.twilio(n), 'Twilio ' || n);
    UPDATE byoc.organization_api_credentials c SET verification_status = add_twilio.status WHERE c.org_id = add_twilio.org_id AND c.id = added;
    IF org IS NULL THEN
        PERFORM set_config('byoc.token', '', true);
    ELSE
        PERFORM byoc.set_org(org, user_id, org_role);
    END IF;
    RETURN added;
END
$$;

-- A verified Stripe credential with a visibly made up key.
CREATE FUNCTION byoc_test.add_stripe(org_id uuid) RETURNS uuid LANGUAGE plpgsql AS $$
DECLARE
    added uuid;
BEGIN
    PERFORM byoc.set_org(org_id, 'fixture', 'owner');
    added := byoc.add_credential('stripe', '{"secret_key": "sk_test_0000000000000001"}');
    PERFORM byoc.record_verification(org_id, added, 1, 'verified', NULL);
    PERFORM set_config('byoc.token', '', true);
    RETURN added;
END
$$;

-- A verified Google Calendar credential, visibly made up.
CREATE FUNCTION byoc_test.add_google(org_id uuid) RETURNS uuid LANGUAGE plpgsql AS $$
DECLARE
    added uuid;
BEGIN
    PERFORM byoc.set_org(org_id, 'fixture', 'owner');
    added := byoc.add_credential('google_calendar', '{"client_id": "made-up", "client_secret": "made-up-secret", "refresh_token": "made-up-refresh", "calendar_id": "primary"}');
    PERFORM byoc.record_verification(org_id, added, 1, 'verified', NULL);
    PERFORM set_config('byoc.token', '', true);
    RETURN added;
END
$$;
-- What a good answer of the provider makes of an organization's pending credentials.
CREATE FUNCTION byoc_test.verified(org_id uuid) RETURNS void LANGUAGE sql SECURITY DEFINER AS $$
    SELECT byoc.record_verification(c.org_id, c.id, c.version, 'verified', NULL) FROM byoc.organization_api_credentials c
    WHERE c.org_id = verified.org_id AND c.verification_status = 'pending';
$$;

-- The plaintext of a credential, or the error that keeps it from being opened.
CREATE FUNCTION byoc_test.opened(org_id uuid, id uuid) RETURNS jsonb LANGUAGE sql SECURITY DEFINER AS $$
    SELECT coalesce(o.fields, jsonb_build_object('error', o.error)) FROM byoc.open_credentials(ARRAY[org_id], ARRAY[id]) AS o;
$$;

-- A claim that also finds what this same transaction queued after an earlier claim: a dispatcher claims in a
-- transaction of its own, where that cannot happen.
CREATE FUNCTION byoc_test.claim(slots integer, lease interval DEFAULT '1 minute')
RETURNS TABLE (claim_id uuid, org_id uuid, id uuid, provider text, credential_id uuid, credential_version integer, to_number text,
               body text, attempt integer, validity_seconds integer, lane uuid)
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM byoc.sweep_lanes();
    UPDATE byoc.lanes SET failures = 0, next_at = clock_timestamp() WHERE failures > 0; -- breakers have a file of their own
    RETURN QUERY SELECT * FROM byoc.claim_jobs(byoc_test.dispatcher(), slots, lease);
END
$$;

-- Records an outcome for a message that is being sent, as the dispatcher that claimed it.
CREATE FUNCTION byoc_test.record(id uuid, outcome text, more jsonb DEFAULT '{}') RETURNS integer LANGUAGE sql AS $$
    SELECT byoc.record_outcomes(jsonb_build_array(
        jsonb_build_object('org_id', m.org_id, 'id', m.id, 'claim_id', m.claim_id, 'outcome', outcome) || more))
    FROM byoc.messages m WHERE m.id = record.id;
$$;

CREATE FUNCTION byoc_test.status(id uuid) RETURNS text LANGUAGE sql SECURITY DEFINER AS $$
    SELECT m.status FROM byoc.all_sms_messages m WHERE m.id = status.id;
$$;

-- Events of a message in their order.
CREATE FUNCTION byoc_test.events(id uuid) RETURNS text LANGUAGE sql SECURITY DEFINER AS $$
    SELECT string_agg(e.event, ', ' ORDER BY e.id) FROM byoc.message_events e WHERE e.message_id = events.id;
$$;

-- Passes when the query's one text column holds exactly these values, in any order; else says what differs.
CREATE FUNCTION byoc_test.lists(query text, expected text[], description text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    found text[];
    missing text[];
    extra text[];
BEGIN
    EXECUTE format('SELECT coalesce(array_agg(v::text), %L) FROM (%s) AS q (v)', '{}', query) INTO found;
    SELECT array_agg(e) INTO missing FROM (SELECT unnest(expected) EXCEPT ALL SELECT unnest(found)) AS m (e);
    SELECT array_agg(f) INTO extra FROM (SELECT unnest(found) EXCEPT ALL SELECT unnest(expected)) AS x (f);
    RETURN ok(missing IS NULL AND extra IS NULL, description)
        || CASE WHEN missing IS NULL AND extra IS NULL THEN ''
                ELSE E'\n' || diag('missing: ' || coalesce(missing::text, '-')) || E'\n' || diag('not listed: ' || coalesce(extra::text, '-')) END;
END
$$;
