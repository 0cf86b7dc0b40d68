-- Credentials: the view, its INSERT, UPDATE and DELETE, and what storage holds.
BEGIN;
\ir support/setup.sql
SELECT plan(114);
SET LOCAL track_functions = 'all';
CREATE FUNCTION byoc_test.forgotten() RETURNS bigint LANGUAGE sql AS $$SELECT pg_stat_get_xact_function_calls('byoc.forget_lookups()'::regprocedure)$$;

SET LOCAL ROLE byoc_test_tenant;
SELECT byoc_test.refused($$SELECT byoc.add_credential('twilio', byoc_test.twilio(1))$$, '28000', 'no tenant context', 'without a context nothing can be added');
SELECT byoc_test.refused($$INSERT INTO byoc.credentials (credential_type, fields) VALUES ('twilio', byoc_test.twilio(1))$$, '28000', 'no tenant context',
    'nor inserted');
SELECT byoc_test.refused($$SELECT byoc.add_credential('twilio', byoc_test.twilio(1), org_id => byoc_test.org_a())$$, '28000', 'no tenant context',
    'nor by naming the organization');

-- Adding
SELECT byoc_test.act_as(byoc_test.org_a(), 'admin', 'alice');
SELECT byoc.add_credential('twilio', byoc_test.twilio(1)) AS first \gset
SELECT results_eq(format($$SELECT org_id, credential_type, display_name, is_active, is_default, verification_status, verification_error, last_verified_at,
                                  created_by, created_at, updated_at FROM byoc.credentials WHERE id = %L$$, :'first'),
    $$VALUES (byoc_test.org_a(), 'twilio', 'Twilio', true, true, 'pending', NULL::text, NULL::timestamptz, 'alice', now(), now())$$,
    'the first credential of a type is the default, waits for verification and knows who made it');
SELECT is((SELECT fields FROM byoc.credentials WHERE id = :'first'),
    '{"account_sid": "AC00000000000000000000000000000001", "auth_token": "••••0001", "phone_number": "+15005550001"}'::jsonb,
    'public fields are shown, secrets as a mask with their last 4 characters');
INSERT INTO byoc.credentials (credential_type, display_name, fields) VALUES ('twilio', 'Second', byoc_test.twilio(2))
RETURNING id AS second, fields ->> 'auth_token' AS mask, org_id AS returned_org, is_default AS returned_default, created_by AS returned_by \gset
SELECT is(:'mask'::text, '••••0002', 'INSERT ... RETURNING gives the mask, not the secret');
SELECT is(:'returned_org'::uuid, byoc_test.org_a(), 'INSERT takes the organization from the context');
SELECT ok(NOT :'returned_default'::boolean, 'a second credential of the type is not the default');
SELECT is(:'returned_by'::text, 'alice', 'INSERT notes who made it');
SELECT is((SELECT display_name FROM byoc.credentials WHERE id = :'second'), 'Second', 'INSERT takes the name');
SELECT lives_ok($$INSERT INTO byoc.credentials (credential_type, fields) VALUES ('stripe', '{"secret_key": "sk_test_MADEUPMADEUP"}')$$, 'another type may be inserted');
SELECT ok((SELECT is_default AND display_name = 'Stripe' FROM byoc.credentials WHERE credential_type = 'stripe'), 'the first of another type is its default, named after it');
SELECT lives_ok($$SELECT byoc.add_credential('google_calendar', '{"client_id": "made-up", "client_secret": "short", "refresh_token": "exactly12chr", "calendar_id": "c"}')$$,
    'a third type may be added');
SELECT results_eq($$SELECT display_name, fields FROM byoc.credentials WHERE credential_type = 'google_calendar'$$,
    $$VALUES ('Google Calendar', '{"client_id": "made-up", "client_secret": "••••", "refresh_token": "••••2chr", "calendar_id": "c"}'::jsonb)$$,
    'of a secret shorter than 12 characters nothing is shown');
SELECT byoc_test.refused($$SELECT byoc.add_credential('twilio', byoc_test.twilio(3), '')$$, '22023', 'display_name must have 1 to 200', 'an empty name is refused');
SELECT byoc_test.refused($$SELECT byoc.add_credential('twilio', byoc_test.twilio(3), E' \t ')$$, '22023', 'display_name must not be blank', 'a blank name is refused');
SELECT byoc_test.refused($$SELECT byoc.add_credential('twilio', byoc_test.twilio(3), repeat('x', 201))$$, '22023', 'display_name must have 1 to 200', 'a name of 201 characters is refused');
SELECT byoc_test.refused($$SELECT byoc.add_credential('twilio', byoc_test.twilio(3), org_id => byoc_test.org_b())$$, '42501', 'another organization',
    'nothing can be added to another organization');
SELECT byoc_test.refused($$INSERT INTO byoc.credentials (org_id, credential_type, fields) VALUES (byoc_test.org_b(), 'twilio', byoc_test.twilio(3))$$, '42501', 'another organization',
    'nor inserted');
SELECT byoc_test.refused($$INSERT INTO byoc.credentials (credential_type, fields) VALUES ('twilio', '{"account_sid": "MADEUP"}')$$, '22023', '^22023 account_sid must be',
    'INSERT names the wrong field');
SELECT lives_ok($$INSERT INTO byoc.credentials (org_id, credential_type, fields) SELECT byoc_test.org_a(), 'stripe', jsonb_build_object('secret_key', 'sk_test_MADEUPMADEUP' || n)
                  FROM generate_series(1, 20) AS n$$, 'many rows can be inserted at once');
SELECT is((SELECT count(*) FROM byoc.credentials WHERE credential_type = 'stripe' AND is_default), 1::bigint, 'exactly one of them is the default');

-- Roles
SELECT byoc_test.act_as(byoc_test.org_a(), 'member');
SELECT is((SELECT count(*) FROM byoc.credentials), 24::bigint, 'a member sees the credentials');
SELECT byoc_test.refused($$SELECT byoc.add_credential('twilio', byoc_test.twilio(3))$$, '42501', 'admin', 'a member cannot add');
SELECT byoc_test.refused($$INSERT INTO byoc.credentials (credential_type, fields) VALUES ('twilio', byoc_test.twilio(3))$$, '42501', 'admin', 'a member cannot insert');
SELECT byoc_test.refused(format($$UPDATE byoc.credentials SET display_name = 'x' WHERE id = %L$$, :'first'), '42501', 'admin', 'a member cannot rename');
SELECT byoc_test.refused(format($$SELECT byoc.update_credential(%L, '{"phone_number": "+15005550099"}'::jsonb)$$, :'first'), '42501', 'admin', 'a member cannot change fields');
SELECT byoc_test.refused(format($$SELECT byoc.change_credential(byoc_test.org_a(), %L, NULL, 'x', NULL)$$, :'first'), '42501', 'admin', 'nor by the function behind it');
SELECT byoc_test.refused(format($$SELECT byoc.verify_credential(%L)$$, :'first'), '42501', 'admin', 'a member cannot ask for verification');
SELECT byoc_test.refused(format($$SELECT byoc.revoke_credential(%L)$$, :'first'), '42501', 'owner', 'a member cannot revoke');
SELECT byoc_test.refused(format($$DELETE FROM byoc.credentials WHERE id = %L$$, :'first'), '42501', 'owner', 'a member cannot delete');
SELECT byoc_test.act_as(byoc_test.org_a(), 'admin');
SELECT byoc_test.refused(format($$SELECT byoc.revoke_credential(%L)$$, :'first'), '42501', 'owner', 'an admin cannot revoke');
SELECT byoc_test.refused(format($$DELETE FROM byoc.credentials WHERE id = %L$$, :'first'), '42501', 'owner', 'an admin cannot delete');

-- Another organization
SELECT byoc_test.act_as(byoc_test.org_b(), 'owner');
SELECT is_empty($$SELECT * FROM byoc.credentials$$, 'another organization sees none of them');
SELECT byoc_test.refused(format($$SELECT byoc.update_credential(%L, '{"phone_number": "+15005550099"}'::jsonb)$$, :'first'), 'P0002', 'does not exist',
    'another organization''s owner cannot change one: for it, it does not exist');
SELECT byoc_test.refused(format($$SELECT byoc.change_credential(byoc_test.org_a(), %L, NULL, 'x', NULL)$$, :'first'), '42501', 'another organization', 'nor by naming the organization');
SELECT byoc_test.refused(format($$SELECT byoc.revoke_credential(%L)$$, :'first'), 'P0002', 'does not exist', 'nor revoke it');
SELECT byoc_test.refused(format($$SELECT byoc.verify_credential(%L)$$, :'first'), 'P0002', 'does not exist', 'nor have it verified');
UPDATE byoc.credentials SET display_name = 'stolen' WHERE true;
DELETE FROM byoc.credentials WHERE true;
SELECT byoc_test.act_as(byoc_test.org_a(), 'owner');
SELECT is((SELECT count(*) FROM byoc.credentials WHERE is_active AND display_name <> 'stolen'), 24::bigint, 'its UPDATE and DELETE of everything reached nothing here');

-- UPDATE with masks
UPDATE byoc.credentials SET fields = fields || '{"phone_number": "+15005550042"}' WHERE id = :'first' RETURNING fields ->> 'auth_token' AS mask \gset
SELECT is(:'mask'::text, '••••0001', 'UPDATE ... RETURNING gives the mask');
SELECT is(byoc_test.opened(byoc_test.org_a(), :'first'), byoc_test.twilio(1) || '{"phone_number": "+15005550042"}',
    'an UPDATE that sends the mask back keeps the secret and changes the rest');
UPDATE byoc.credentials SET fields = '{"phone_number": "+15005550043"}' WHERE id = :'first';
SELECT is(byoc_test.opened(byoc_test.org_a(), :'first'), byoc_test.twilio(1) || '{"phone_number": "+15005550043"}', 'fields that are left out stay');
UPDATE byoc.credentials SET fields = fields || '{"auth_token": "anothermadeuptoken0000000000wxyz"}' WHERE id = :'first';
SELECT is(byoc_test.opened(byoc_test.org_a(), :'first') ->> 'auth_token', 'anothermadeuptoken0000000000wxyz', 'a new secret replaces the old one');
SELECT is((SELECT fields ->> 'auth_token' FROM byoc.credentials WHERE id = :'first'), '••••wxyz', 'and shows its own mask');
SELECT byoc_test.refused(format($$UPDATE byoc.credentials SET fields = fields || '{"auth_token": "••••0001"}' WHERE id = %L$$, :'first'), '22023',
    '^22023 auth_token is a mask, not a secret', 'the mask of an older secret is refused');
SELECT byoc_test.refused(format($$UPDATE byoc.credentials SET fields = fields || '{"auth_token": "••••"}' WHERE id = %L$$, :'first'), '22023',
    '^22023 auth_token is a mask', 'any text that begins like a mask is refused');
SELECT byoc_test.refused(format($$UPDATE byoc.credentials SET fields = fields || '{"phone_number": "+1"}' WHERE id = %L$$, :'first'), '22023',
    '^22023 phone_number must be', 'UPDATE names the wrong field');
SELECT byoc_test.refused(format($$UPDATE byoc.credentials SET fields = '{"nonsense": "x"}' WHERE id = %L$$, :'first'), '22023', 'no field "nonsense"', 'UPDATE refuses an unknown field');
SELECT byoc_test.refused(format($$UPDATE byoc.credentials SET fields = '[]' WHERE id = %L$$, :'first'), '22023', 'must be a JSON object', 'UPDATE refuses what is no object');
SELECT byoc_test.refused(format($$UPDATE byoc.credentials SET fields = '{"phone_number": null}' WHERE id = %L$$, :'first'), '22023', 'needs either phone_number',
    'null removes a field, so the only sender cannot be removed');
UPDATE byoc.credentials SET fields = '{"phone_number": null, "messaging_service_sid": "MG00000000000000000000000000000001"}' WHERE id = :'first';
SELECT is(byoc_test.opened(byoc_test.org_a(), :'first') - 'auth_token',
    '{"account_sid": "AC00000000000000000000000000000001", "messaging_service_sid": "MG00000000000000000000000000000001"}'::jsonb, 'null removes a field when another takes its part');
SELECT is((SELECT fields ? 'phone_number' FROM byoc.credentials WHERE id = :'first'), false, 'and it is not shown any more');
SELECT lives_ok(format($$SELECT byoc.update_credential(%L, '{"messaging_service_sid": null, "phone_number": "+15005550044"}'::jsonb)$$, :'first'), 'byoc.update_credential does the same');
SELECT lives_ok(format($$SELECT byoc.update_credential(%L, '{"auth_token": "textmadeuptoken00000000000000000"}'::text)$$, :'first'), 'byoc.update_credential takes JSON text');
SELECT is(byoc_test.opened(byoc_test.org_a(), :'first') ->> 'auth_token', 'textmadeuptoken00000000000000000', 'and stores it');
SELECT is(byoc_test.error_of(format($$SELECT byoc.update_credential(%L, '{"auth_token": MADEUPtoken'::text)$$, :'first')), '22023 fields is not valid JSON',
    'text that is no JSON is not quoted in the error');
SELECT byoc_test.refused($$SELECT byoc.update_credential('00000000-0000-4000-8000-000000000001', '{}'::jsonb)$$, 'P0002', 'does not exist', 'an unknown credential is refused');
UPDATE byoc.credentials SET display_name = 'Renamed' WHERE id = :'first';
SELECT is((SELECT display_name FROM byoc.credentials WHERE id = :'first'), 'Renamed', 'UPDATE renames');
SELECT byoc_test.refused(format($$UPDATE byoc.credentials SET display_name = '' WHERE id = %L$$, :'first'), '22023', 'display_name', 'UPDATE refuses an empty name');

-- Versions and verification follow the fields
RESET ROLE;
SELECT is((SELECT version FROM byoc.organization_api_credentials WHERE id = :'first'), 7, 'each change of fields raised the version, renaming did not');
UPDATE byoc.organization_api_credentials SET verification_status = 'verified', verification_due_at = NULL WHERE id = :'first';
SET LOCAL ROLE byoc_test_tenant;
UPDATE byoc.credentials SET display_name = 'Renamed again', fields = fields WHERE id = :'first';
SELECT is((SELECT verification_status FROM byoc.credentials WHERE id = :'first'), 'verified', 'renaming does not ask for verification');
UPDATE byoc.credentials SET fields = fields || '{"phone_number": "+15005550045"}' WHERE id = :'first';
SELECT is((SELECT verification_status FROM byoc.credentials WHERE id = :'first'), 'pending', 'changed fields are verified again');

-- The default
SELECT byoc_test.forgotten() AS before \gset
UPDATE byoc.credentials SET display_name = 'Still the second' WHERE id = :'second';
SELECT is(byoc_test.forgotten(), :before::bigint, 'a new name has no session look up the default anew, nor plan anew what reads credentials');
UPDATE byoc.credentials SET is_default = true WHERE id = :'second';
SELECT cmp_ok(byoc_test.forgotten(), '>', :before::bigint, 'another default does');
SELECT results_eq($$SELECT id FROM byoc.credentials WHERE credential_type = 'twilio' AND is_default$$, ARRAY[:'second'::uuid], 'is_default moves to the credential that is made the default');
SELECT is((SELECT count(*) FROM byoc.credentials WHERE credential_type = 'stripe' AND is_default), 1::bigint, 'other types keep theirs');
SELECT byoc_test.refused(format($$UPDATE byoc.credentials SET is_default = false WHERE id = %L$$, :'second'), '55000', 'another credential the default',
    'the default cannot be left empty');
INSERT INTO byoc.credentials (credential_type, display_name, fields, is_default) VALUES ('twilio', 'Third', byoc_test.twilio(3), true) RETURNING id AS third, is_default AS third_default \gset
SELECT ok(:'third_default'::boolean, 'INSERT may make the new credential the default');
SELECT is((SELECT count(*) FROM byoc.credentials WHERE credential_type = 'twilio' AND is_default), 1::bigint, 'there is one default still');

-- What never changes
SELECT byoc_test.refused(format('UPDATE byoc.credentials SET %s WHERE id = %L', change, :'first'), '42501', 'only display_name, fields and is_default', 'the view refuses: ' || change)
FROM unnest(ARRAY['id = gen_random_uuid()', 'org_id = byoc_test.org_b()', $$credential_type = 'stripe'$$, $$created_by = 'mallory'$$,
                  $$created_at = '2000-01-01'$$, $$updated_at = '2000-01-01'$$, 'is_active = false', $$verification_status = 'verified'$$,
                  $$verification_error = 'x'$$, 'last_verified_at = now()']) AS change;
RESET ROLE;
SELECT byoc_test.no_context();
SELECT byoc_test.refused(format('UPDATE byoc.organization_api_credentials SET %s WHERE id = %L', change, :'first'), '42501', 'never change', 'storage refuses, even from a superuser: ' || change)
FROM unnest(ARRAY['id = gen_random_uuid()', 'org_id = byoc_test.org_b()', $$credential_type = 'stripe'$$, $$created_by = 'mallory'$$, 'created_by = NULL',
                  $$created_at = '2000-01-01'$$]) AS change;
SELECT byoc_test.refused(format('UPDATE byoc.credentials SET org_id = byoc_test.org_b() WHERE id = %L', :'first'), '42501', 'only display_name', 'the view refuses a superuser too');
SELECT byoc_test.refused(format('UPDATE byoc.organization_api_credentials SET is_default = true WHERE id = %L', :'first'), '23505', 'one_default', 'storage holds one default a type');

-- Storage holds no plaintext
SELECT is((SELECT count(*) FROM byoc.organization_api_credentials c
           WHERE position('madeuptoken'::bytea IN c.encrypted_fields) > 0 OR position('MADEUPMADEUP'::bytea IN c.encrypted_fields) > 0
              OR position('AC000'::bytea IN c.encrypted_fields) > 0), 0::bigint, 'no envelope contains bytes of its plaintext');
SELECT is((SELECT count(*) FROM byoc.organization_api_credentials c WHERE row_to_json(c)::text ~ 'madeuptoken|MADEUPMADEUP|exactly12chr'), 0::bigint, 'no column contains a secret');
SELECT is((SELECT count(*) FROM byoc.organization_api_credentials c WHERE substr(c.encrypted_fields, 1, 2) = '\x0104'), 25::bigint, 'every envelope has the format''s header');

-- An envelope belongs to its row
SELECT byoc_test.add_twilio(byoc_test.org_b(), 9) AS of_b \gset
SAVEPOINT moved;
UPDATE byoc.organization_api_credentials SET encrypted_fields = (SELECT encrypted_fields FROM byoc.organization_api_credentials WHERE id = :'second') WHERE id = :'third';
UPDATE byoc.organization_api_credentials SET encrypted_fields = (SELECT encrypted_fields FROM byoc.organization_api_credentials WHERE id = :'second') WHERE id = :'of_b';
CREATE TABLE byoc_test.opened_all AS
SELECT * FROM byoc.open_credentials(ARRAY[byoc_test.org_a(), byoc_test.org_a(), byoc_test.org_b()], ARRAY[:'second', :'third', :'of_b']::uuid[]);
SELECT is((SELECT count(*) FROM byoc_test.opened_all), 3::bigint, 'byoc.open_credentials answers for every credential');
SELECT ok((SELECT fields = byoc_test.twilio(2) AND error IS NULL AND provider = 'twilio' AND version = 1 FROM byoc_test.opened_all WHERE id = :'second'), 'the good one opens');
SELECT ok((SELECT fields IS NULL AND error ~ 'does not belong here' FROM byoc_test.opened_all WHERE id = :'third'), 'an envelope copied from another row is an error of that row alone');
SELECT ok((SELECT fields IS NULL AND error ~ 'could not decrypt|does not belong here' FROM byoc_test.opened_all WHERE id = :'of_b'),
    'an envelope copied from another organization is an error of that row alone');
ROLLBACK TO moved;
UPDATE byoc.organization_api_credentials SET encrypted_fields = byoc.encrypt(byoc_test.org_a(), '{}') WHERE id = :'third';
SELECT matches(byoc_test.opened(byoc_test.org_a(), :'third') ->> 'error', 'does not belong here', 'a value made by byoc.encrypt is no credential');
ROLLBACK TO moved;
UPDATE byoc.organization_keys SET state = 'destroyed', wrapped_key = NULL WHERE org_id = byoc_test.org_b();
SELECT ok((SELECT bool_and(CASE o.org_id WHEN byoc_test.org_b() THEN o.error ~ 'destroyed' ELSE o.error IS NULL END) AND count(*) = 2
           FROM byoc.open_credentials(ARRAY[byoc_test.org_a(), byoc_test.org_b()], ARRAY[:'second', :'of_b']::uuid[]) AS o),
          'an organization whose key was destroyed does not keep the others from being opened');
ROLLBACK TO moved;
SELECT is_empty(format($$SELECT * FROM byoc.open_credentials(ARRAY[byoc_test.org_b()], ARRAY[%L::uuid])$$, :'second'), 'a credential is found under its own organization only');
SELECT is_empty($$SELECT * FROM byoc.open_credentials(ARRAY[byoc_test.org_b()], ARRAY[gen_random_uuid()])$$, 'an unknown credential gives no row');

-- Revoking
SET LOCAL ROLE byoc_test_tenant;
SELECT byoc_test.act_as(byoc_test.org_a(), 'owner');
DELETE FROM byoc.credentials WHERE id = :'third';
SELECT results_eq(format($$SELECT is_active, is_default, display_name FROM byoc.credentials WHERE id = %L$$, :'third'), $$VALUES (false, false, 'Third')$$,
    'DELETE revokes: the row stays, inactive and not the default');
SELECT lives_ok(format($$SELECT byoc.revoke_credential(%L)$$, :'second'), 'byoc.revoke_credential does the same');
SELECT byoc_test.refused(format($$SELECT byoc.revoke_credential(%L)$$, :'second'), 'P0002', 'is revoked', 'revoking twice is refused');
SELECT lives_ok(format($$DELETE FROM byoc.credentials WHERE id = %L$$, :'second'), 'deleting a revoked one does nothing');
SELECT byoc_test.refused(format($$SELECT byoc.update_credential(%L, '{}'::jsonb)$$, :'second'), '55000', 'is revoked', 'a revoked one cannot be changed');
SELECT byoc_test.refused(format($$UPDATE byoc.credentials SET is_default = true WHERE id = %L$$, :'second'), '55000', 'is revoked', 'a revoked one cannot become the default');
SELECT byoc_test.refused(format($$SELECT byoc.verify_credential(%L)$$, :'second'), 'P0002', 'is revoked', 'a revoked one cannot be verified');
RESET ROLE;
SELECT results_eq(format($$SELECT encrypted_fields IS NULL, verification_due_at IS NULL, version FROM byoc.organization_api_credentials WHERE id = %L$$, :'second'), $$VALUES (true, true, 2)$$,
    'the ciphertext is gone, no verification waits, and caches learn of it by the version');
SELECT is_empty(format($$SELECT * FROM byoc.open_credentials(ARRAY[byoc_test.org_a()], ARRAY[%L::uuid])$$, :'second'), 'a revoked credential is not opened');
SET LOCAL ROLE byoc_test_tenant;
SELECT byoc.add_credential('twilio', byoc_test.twilio(4)) AS fourth \gset
SELECT ok((SELECT is_default FROM byoc.credentials WHERE id = :'fourth'), 'where the default was revoked, the next credential becomes the default');
RESET ROLE;
SELECT byoc_test.no_context();

-- A superuser without a context names the organization
SELECT byoc_test.refused($$SELECT byoc.add_credential('twilio', byoc_test.twilio(5))$$, '28000', 'no tenant context', 'a superuser without a context has to name the organization');
SELECT lives_ok($$SELECT byoc.add_credential('twilio', byoc_test.twilio(5), org_id => byoc_test.org_b())$$, 'and then may add');
SELECT is((SELECT created_by FROM byoc.credentials WHERE org_id = byoc_test.org_b() ORDER BY created_at DESC, is_default LIMIT 1), quote_ident(current_user), 'the role is noted where no user is known');
SELECT lives_ok(format($$SELECT byoc.update_credential(%L, '{"phone_number": "+15005550046"}'::jsonb)$$, :'of_b'), 'a superuser may change any credential by its id');
SELECT byoc_test.refused($$SELECT byoc.update_credential('00000000-0000-4000-8000-000000000001', '{}'::jsonb)$$, 'P0002', 'does not exist', 'unless there is none');
SELECT byoc_test.refused($$SELECT byoc.add_credential('twilio', byoc_test.twilio(5), org_id => '00000000-0000-4000-8000-000000000000')$$, '23503', 'does not exist.*create_organization',
    'an organization that does not exist is named as such');

SELECT * FROM finish();
ROLLBACK;
