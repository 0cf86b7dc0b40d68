-- Credentials granted by OAuth: the state is bound to user, organization and browser, good once and for ten minutes; what was
-- granted is stored as the user who set out; what is revoked here is revoked at the provider.
BEGIN;
\ir support/setup.sql
SELECT plan(68);

CREATE FUNCTION byoc_test.hash(text) RETURNS bytea LANGUAGE sql IMMUTABLE RETURN sha256(convert_to($1, 'UTF8'));
CREATE FUNCTION byoc_test.start(state text, browser text DEFAULT 'browser', client text DEFAULT 'server.example', credential uuid DEFAULT NULL) RETURNS text
LANGUAGE sql AS $$ SELECT byoc.start_oauth('google_calendar', byoc_test.hash(state), byoc_test.hash(browser), client, credential) $$;
CREATE FUNCTION byoc_test.take(state text, browser text DEFAULT 'browser') RETURNS text
LANGUAGE sql AS $$ SELECT concat_ws(' ', t.org_id, t.provider, t.client_id, t.client_secret) FROM byoc.take_oauth_state(byoc_test.hash(state), byoc_test.hash(browser)) AS t $$;
CREATE FUNCTION byoc_test.finish(state text, fields text DEFAULT '{"refresh_token": "1//MADEUP-token", "account": "ada@example.org"}') RETURNS uuid
LANGUAGE sql AS $$ SELECT byoc.add_credential_by_oauth(byoc_test.hash(state), fields) $$;
CREATE FUNCTION byoc_test.connected(state text, fields text DEFAULT '{"refresh_token": "1//MADEUP-token", "account": "ada@example.org"}', credential uuid DEFAULT NULL) RETURNS uuid
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM byoc_test.start(state, credential => credential);
    PERFORM byoc_test.take(state);
    RETURN byoc_test.finish(state, fields);
END $$;
CREATE FUNCTION byoc_test.revocations() RETURNS SETOF text LANGUAGE sql AS $$
    SELECT r.refresh_token FROM byoc.claim_provider_revocations(100, '1 minute') AS r
$$;
CREATE FUNCTION byoc_test.age(minutes integer) RETURNS void LANGUAGE sql AS $$
    UPDATE byoc.oauth_states SET created_at = created_at - minutes * interval '1 minute', taken_at = taken_at - minutes * interval '1 minute'
$$;

-- Setting out
SELECT byoc_test.refused($$SELECT byoc_test.start('s')$$, '28000', '', 'nobody sets out without a tenant context');
SELECT byoc_test.act_as(byoc_test.org_a(), 'member');
SELECT byoc_test.refused($$SELECT byoc_test.start('s')$$, '42501', '', 'a member does not connect anything');
SELECT byoc_test.act_as(byoc_test.org_a(), 'admin', 'ada');
SELECT is(byoc_test.start('s1'), 'server.example', 'an admin sets out with the deployment''s client');
SELECT byoc_test.refused($$SELECT byoc_test.start('s', client => NULL)$$, '55000', 'no OAuth client.*Add a credential with client ID', 'without a client there is no way');
SELECT byoc_test.refused($$SELECT byoc.start_oauth('twilio', byoc_test.hash('s'), byoc_test.hash('b'), 'c')$$, '22023', 'not granted by OAuth', 'Twilio is not granted by OAuth');
SELECT byoc_test.refused($$SELECT byoc.start_oauth('google_calendar', 'short', byoc_test.hash('b'), 'c')$$, '23514', '', 'a state is named by its hash');
SELECT byoc_test.refused($$SELECT byoc_test.start('s', credential => gen_random_uuid())$$, 'P0002', '', 'a credential to be connected must exist');
SELECT ok((SELECT org_id = byoc_test.org_a() AND user_id = 'ada' AND org_role = 'admin' FROM byoc.oauth_states), 'the way is the user''s and the organization''s');

-- Back
SELECT byoc_test.no_context();
SELECT is(byoc_test.take('s1', 'another browser'), NULL, 'another browser does not come back with it');
SELECT is(byoc_test.take('s0'), NULL, 'nor this browser with another state');
SELECT byoc_test.refused($$SELECT byoc_test.finish('s1')$$, 'P0002', '', 'nothing is stored for who is not back');
SELECT is(byoc_test.take('s1'), byoc_test.org_a() || ' google_calendar server.example', 'the browser that set out comes back; the secret is the deployment''s');
SELECT is(byoc_test.take('s1'), NULL, 'once');
SELECT byoc_test.refused($$SELECT byoc_test.finish('s1', '{"refresh_token": MADEUP}')$$, '22023', '^22023 fields is not valid JSON$', 'an error does not quote what was granted');
SELECT byoc_test.finish('s1') AS google \gset
SELECT is(byoc.current_org_id(), NULL, 'the dispatcher''s session is nobody''s afterwards');
SELECT byoc_test.refused($$SELECT byoc_test.finish('s1')$$, 'P0002', '', 'what was granted is stored once');
SELECT byoc_test.no_context();
SELECT byoc_test.act_as(byoc_test.org_a(), 'owner', 'olga');
SELECT results_eq(format('SELECT credential_type, fields, is_default, verification_status, created_by FROM byoc.credentials WHERE id = %L', :'google'),
    $$VALUES ('google_calendar', '{"account": "ada@example.org", "client_id": "server.example", "refresh_token": "••••oken"}'::jsonb, true, 'pending', 'ada')$$,
    'it is a credential as any other, of the user who set out');
SELECT is(byoc_test.opened(byoc_test.org_a(), :'google') ->> 'refresh_token', '1//MADEUP-token', 'and opens');
SELECT is((SELECT count(*) FROM byoc.organization_api_credentials WHERE id = :'google' AND verification_due_at = '-infinity'), 1::bigint, 'it is verified at once');
SELECT is((SELECT user_id FROM byoc.audit_log WHERE action = 'credential.added' AND object_id = :'google'), 'ada', 'the audit trail names that user');
SELECT is((SELECT count(*) FROM byoc.oauth_states), 0::bigint, 'nothing is left of the way');

-- Time
SELECT byoc_test.start('s2');
SELECT byoc_test.age(11);
SELECT is(byoc_test.take('s2'), NULL, 'after ten minutes nobody comes back');
SELECT byoc_test.start('s3');
SELECT is((SELECT count(*) FROM byoc.oauth_states), 1::bigint, 'who did not come back is forgotten when the next one sets out');
SELECT isnt(byoc_test.take('s3'), NULL, 'the next one comes back');
SELECT byoc_test.age(11);
SELECT byoc_test.refused($$SELECT byoc_test.finish('s3')$$, 'P0002', '', 'and brings nothing ten minutes later');
SELECT count(byoc_test.start('many ' || n)) FROM generate_series(1, 50) AS n;
SELECT is((SELECT count(*) FROM byoc.oauth_states WHERE org_id = byoc_test.org_a()), 20::bigint, 'an organization has twenty on the way at most');
SELECT isnt(byoc_test.take('many 50'), NULL, 'the latest ones');
SELECT is(byoc_test.take('many 1'), NULL, 'not the first');
SELECT is(count(byoc_test.take('many ' || n)), 19::bigint, 'nobody is turned away too many') FROM generate_series(31, 49) AS n;
DELETE FROM byoc.oauth_states;

-- Organizations do not meet
SELECT byoc_test.start('s4');
SELECT byoc_test.act_as(byoc_test.org_b(), 'owner', 'bob');
SELECT byoc_test.start('s4', 'browser of B');
SELECT byoc_test.refused(format($$SELECT byoc_test.start('s', credential => %L)$$, :'google'), 'P0002', '', 'nobody connects another organization''s credential');
SELECT is(byoc_test.take('s4', 'browser of B'), byoc_test.org_b() || ' google_calendar server.example', 'who knows another one''s state has but an own one');
SELECT is(byoc_test.take('s4'), byoc_test.org_a() || ' google_calendar server.example', 'which takes nothing from it');
DELETE FROM byoc.oauth_states;

-- The rights are looked at again when it is stored
SELECT byoc_test.start('s5');
SELECT byoc_test.take('s5');
UPDATE byoc.oauth_states SET org_role = 'member';
SELECT byoc_test.refused($$SELECT byoc_test.finish('s5')$$, '42501', '', 'what a member was granted is not stored');
SELECT byoc_test.act_as(byoc_test.org_b(), 'owner', 'bob');
SELECT byoc_test.start('s6');
SELECT byoc_test.take('s6');
INSERT INTO byoc.provider_overrides (name, enabled) VALUES ('google_calendar', false);
SELECT byoc_test.refused($$SELECT byoc_test.finish('s6')$$, '22023', 'unknown credential type', 'nor by a provider that is switched off');
SELECT byoc_test.act_as(byoc_test.org_b(), 'owner', 'bob');
SELECT byoc_test.refused($$SELECT byoc_test.start('s')$$, '22023', 'not granted', 'nobody sets out to it');
DELETE FROM byoc.provider_overrides;
DELETE FROM byoc.oauth_states;

-- An organization's own client, and connecting anew
SELECT byoc_test.act_as(byoc_test.org_b(), 'owner', 'bob');
SELECT byoc.add_credential('google_calendar', '{"client_id": "own.example", "client_secret": "MADEUP-client-secret", "calendar_id": "team"}'::jsonb) AS own \gset
SELECT is(byoc_test.start('s7', credential => :'own'), 'own.example', 'a credential with a client of its own sets out with that');
SELECT is(byoc_test.take('s7'), byoc_test.org_b() || ' google_calendar own.example MADEUP-client-secret', 'and comes back to it');
SELECT results_eq(format('SELECT details FROM byoc.audit_log WHERE action = ''credential.leased'' AND object_id = %L', :'own'), $$VALUES ('{"version": 1}'::jsonb)$$, 'the audit trail has that it was opened');
SELECT is(byoc_test.finish('s7'), :'own'::uuid, 'what was granted goes into it');
SELECT is(byoc_test.opened(byoc_test.org_b(), :'own'), '{"client_id": "own.example", "client_secret": "MADEUP-client-secret", "calendar_id": "team", "refresh_token": "1//MADEUP-token", "account": "ada@example.org"}'::jsonb,
    'beside what was there');
SELECT is((SELECT version FROM byoc.organization_api_credentials WHERE id = :'own'), 2, 'it has a new version');
SELECT is_empty('SELECT byoc_test.revocations()', 'nothing is to be revoked');
SELECT byoc_test.act_as(byoc_test.org_b(), 'owner', 'bob');
SELECT is(byoc_test.connected('s8', '{"refresh_token": "1//MADEUP-again", "account": "ada@example.org"}', :'own'), :'own'::uuid, 'it is connected anew');
SELECT is_empty('SELECT byoc_test.revocations()', 'by the same account: whose access must not end');
SELECT is((SELECT count(*) FROM byoc.provider_revocations), 0::bigint, 'not later either');
SELECT byoc_test.act_as(byoc_test.org_b(), 'owner', 'bob');
SELECT byoc_test.connected('s9', '{"refresh_token": "1//MADEUP-other", "account": "eve@example.org"}', :'own');
SELECT results_eq('SELECT byoc_test.revocations()', ARRAY['1//MADEUP-again'], 'by another account: the first one''s access ends');
DELETE FROM byoc.provider_revocations;

-- Disconnecting
SELECT byoc_test.act_as(byoc_test.org_b(), 'owner', 'bob');
SELECT byoc.revoke_credential(:'own');
SELECT byoc_test.refused(format($$SELECT byoc_test.start('s', credential => %L)$$, :'own'), '55000', 'revoked', 'what is revoked is not connected again');
SELECT ok((SELECT encrypted_fields IS NULL AND NOT is_active FROM byoc.organization_api_credentials WHERE id = :'own'), 'a revoked credential has no secret');
SELECT is((SELECT count(*) FROM byoc.provider_revocations WHERE encode(encrypted_fields, 'escape') LIKE '%MADEUP%'), 0::bigint, 'what is to be revoked at the provider is sealed');
SELECT results_eq('SELECT byoc_test.revocations()', ARRAY['1//MADEUP-other'], 'byocd takes the access away at the provider');
SELECT is_empty('SELECT byoc_test.revocations()', 'one byocd at a time');
UPDATE byoc.provider_revocations SET due_at = clock_timestamp();
SELECT results_eq('SELECT byoc_test.revocations()', ARRAY['1//MADEUP-other'], 'another one when the first does not say what became of it');
SELECT byoc.record_provider_revocation(org_id, id, false) FROM byoc.provider_revocations;
SELECT ok((SELECT due_at BETWEEN clock_timestamp() + interval '5 seconds' AND clock_timestamp() + interval '11 minutes' FROM byoc.provider_revocations), 'a provider that cannot be asked is asked again later');
SELECT is((SELECT count(*) FROM byoc.audit_log WHERE action LIKE 'credential.%revoked_at_provider'), 0::bigint, 'that is not the end yet');
SELECT byoc.record_provider_revocation(org_id, id, true) FROM byoc.provider_revocations;
SELECT is((SELECT count(*) FROM byoc.provider_revocations), 0::bigint, 'what is revoked is forgotten');
SELECT byoc_test.act_as(byoc_test.org_b(), 'owner', 'bob');
SELECT results_eq('SELECT action, object_id FROM byoc.audit_log WHERE action LIKE ''credential.%revoked_at_provider''', format('VALUES (''credential.revoked_at_provider'', %L::uuid)', :'own'), 'the audit trail has it');
SELECT lives_ok('SELECT byoc.record_provider_revocation(byoc_test.org_a(), gen_random_uuid(), true)', 'saying it twice does no harm');

-- An account that two credentials are connected by
SELECT byoc_test.act_as(byoc_test.org_b(), 'owner', 'bob');
SELECT byoc_test.connected('s10') AS b1 \gset
SELECT byoc_test.act_as(byoc_test.org_b(), 'owner', 'bob');
SELECT byoc_test.connected('s13') AS b2 \gset
SELECT byoc_test.act_as(byoc_test.org_b(), 'owner', 'bob');
SELECT byoc.revoke_credential(:'b1');
SELECT is_empty('SELECT byoc_test.revocations()', 'the other credential goes on by the same account');
SELECT byoc_test.act_as(byoc_test.org_b(), 'owner', 'bob');
SELECT byoc.revoke_credential(:'b2');
SELECT results_eq('SELECT byoc_test.revocations()', ARRAY['1//MADEUP-token'], 'the last one ends it, whatever account another organization claims to have');
UPDATE byoc.provider_revocations SET created_at = created_at - interval '2 days';
SELECT byoc.record_provider_revocation(org_id, id, false) FROM byoc.provider_revocations;
SELECT is((SELECT count(*) FROM byoc.provider_revocations), 0::bigint, 'a provider that cannot be asked for a day is asked no more');
SELECT is((SELECT count(*) FROM byoc.audit_log WHERE action = 'credential.not_revoked_at_provider'), 1::bigint, 'which the audit trail says');

-- What has no token, keys and copies
SELECT byoc_test.act_as(byoc_test.org_a(), 'owner', 'olga');
SELECT byoc.revoke_credential(byoc.add_credential('google_calendar', '{"client_id": "a", "client_secret": "b"}'::jsonb));
SELECT byoc.revoke_credential(byoc_test.add_twilio(byoc_test.org_a(), 7));
SELECT is((SELECT count(*) FROM byoc.provider_revocations), 0::bigint, 'without a refresh token there is nothing to revoke');
SELECT byoc.revoke_credential(byoc_test.connected('s11', '{"refresh_token": "1//MADEUP-token", "account": "zoe@example.org"}'));
INSERT INTO byoc.installation (system_identifier, database_oid) VALUES (1, 1);
SELECT is_empty('SELECT byoc_test.revocations()', 'a copied database revokes nothing');
DELETE FROM byoc.installation WHERE system_identifier = 1;
UPDATE byoc.provider_revocations SET encrypted_fields = overlay(encrypted_fields PLACING '\x00' FROM length(encrypted_fields) FOR 1);
SELECT is_empty('SELECT byoc_test.revocations()', 'what cannot be opened is not claimed');
SELECT is((SELECT count(*) FROM byoc.provider_revocations WHERE due_at > clock_timestamp()), 1::bigint, 'and tried again later');
SELECT byoc_test.act_as(byoc_test.org_a(), 'owner', 'olga');
SELECT byoc_test.start('s12');
SELECT byoc.shred_organization(byoc_test.org_a());
SELECT is((SELECT count(*) FROM byoc.provider_revocations) + (SELECT count(*) FROM byoc.oauth_states WHERE org_id = byoc_test.org_a()), 0::bigint, 'a shredded organization leaves neither');
SELECT byoc_test.refused($$SELECT byoc_test.start('s')$$, 'P0002', 'does not exist', 'and nobody sets out for it');
SELECT is((SELECT array_agg(c.oid::regclass::text) FROM pg_class c, pg_extension e WHERE e.extname = 'pg_byoc' AND c.oid = ANY (e.extconfig)
           AND c.relname IN ('oauth_states', 'provider_revocations')), NULL, 'neither is dumped');

SELECT * FROM finish();
ROLLBACK;
