-- Providers: which fields a credential has, what is wrong with bad ones, and the DBA's changes.
BEGIN;
\ir support/setup.sql
SELECT plan(94);

-- Checks one value of one field in an otherwise good credential.
CREATE FUNCTION byoc_test.problem(type text, fields jsonb) RETURNS text LANGUAGE sql AS $$
    SELECT byoc_test.error_of(format('SELECT byoc.add_credential(%L, %L::jsonb, org_id => byoc_test.org_a())', type, fields));
$$;
CREATE FUNCTION byoc_test.google() RETURNS jsonb LANGUAGE sql RETURN
    '{"client_id": "made-up.apps.example", "client_secret": "MADEUP-secret", "refresh_token": "1//MADEUP-refresh", "calendar_id": "primary"}'::jsonb;

SELECT byoc_test.lists($$SELECT name FROM byoc.providers WHERE enabled$$, ARRAY['twilio', 'google_calendar', 'stripe', 'webhook'], 'these providers are shipped');
SELECT byoc_test.lists($$SELECT jsonb_object_keys(fields) FROM byoc.providers WHERE name = 'twilio'$$,
    ARRAY['account_sid', 'auth_token', 'api_key_sid', 'api_key_secret', 'phone_number', 'messaging_service_sid', 'region', 'edge'], 'Twilio has these fields');
SELECT byoc_test.lists($$SELECT p.name || '.' || f.key FROM byoc.providers p, jsonb_each(p.fields) AS f WHERE (f.value ->> 'secret')::boolean$$,
    ARRAY['twilio.auth_token', 'twilio.api_key_secret', 'google_calendar.client_secret', 'google_calendar.refresh_token', 'stripe.secret_key', 'webhook.secret',
          'webhook.previous_secret'],
    'these fields are secret');
SELECT is_empty($$SELECT p.name, f.key FROM byoc.providers p, jsonb_each(p.fields) AS f
                  WHERE NOT f.value ?& ARRAY['title', 'required', 'secret', 'pattern', 'must_be']$$, 'each field says title, required, secret, pattern and must_be');
SELECT is_empty($q$SELECT p.name, f.key FROM byoc.providers p, jsonb_each(p.fields) AS f WHERE f.value ->> 'pattern' !~ '^\^.*[$]$'$q$,
    'each pattern is anchored at both ends');

-- Good
SELECT is(byoc_test.problem('twilio', byoc_test.twilio(1)), 'no error', 'Twilio: account SID, auth token and number');
SELECT is(byoc_test.problem('twilio', byoc_test.twilio(2) - 'auth_token' || jsonb_build_object('api_key_sid', 'SK' || repeat('0', 32), 'api_key_secret', repeat('s', 32))),
          'no error', 'Twilio: an API key instead of the auth token');
SELECT is(byoc_test.problem('twilio', byoc_test.twilio(3) - 'phone_number' || jsonb_build_object('messaging_service_sid', 'MG' || repeat('0', 32))),
          'no error', 'Twilio: a Messaging Service instead of the number');
SELECT is(byoc_test.problem('twilio', byoc_test.twilio(3) || jsonb_build_object('account_sid', 'ACabcdefABCDEF' || repeat('0', 20))), 'no error',
          'Twilio: hexadecimal digits of either case');
SELECT is(byoc_test.problem('google_calendar', byoc_test.google()), 'no error', 'Google Calendar: its four fields');
SELECT is(byoc_test.problem('google_calendar', byoc_test.google() - 'refresh_token'), 'no error', 'Google Calendar: a client that is still to be connected');
SELECT is(byoc_test.problem('stripe', '{"secret_key": "sk_test_MADEUPMADEUP"}'), 'no error', 'Stripe: a test key');
SELECT is(byoc_test.problem('stripe', '{"secret_key": "rk_live_MADEUPMADEUP"}'), 'no error', 'Stripe: a restricted live key');

-- Bad: every error is 22023, names the field and does not quote the value.
CREATE TABLE byoc_test.bad (type text, fields jsonb, value text, pattern text, what text);
INSERT INTO byoc_test.bad
SELECT 'twilio', byoc_test.twilio(1) || jsonb_build_object(field, value), value, pattern, what
FROM (VALUES
    ('account_sid', 'ZZ' || repeat('9', 32), '^22023 account_sid must be AC followed by 32 hexadecimal digits$', 'an account SID with another prefix'),
    ('account_sid', 'AC' || repeat('9', 31), '^22023 account_sid must be AC followed by 32 hexadecimal digits$', 'a short account SID'),
    ('account_sid', 'AC' || repeat('9', 33), '^22023 account_sid must be', 'a long account SID'),
    ('account_sid', 'AC' || repeat('g', 32), '^22023 account_sid must be', 'an account SID that is not hexadecimal'),
    ('account_sid', ' AC' || repeat('9', 32), '^22023 account_sid must be', 'an account SID with a blank before it'),
    ('account_sid', 'AC' || repeat('9', 32) || E'\n', '^22023 account_sid must be', 'an account SID with a line feed after it'),
    ('account_sid', E'x\nAC' || repeat('9', 32) || E'\nx', '^22023 account_sid must be', 'an account SID on a line of its own'),
    ('auth_token', repeat('q', 31), '^22023 auth_token must be 32 letters and digits$', 'a short auth token'),
    ('auth_token', repeat('q', 33), '^22023 auth_token must be', 'a long auth token'),
    ('auth_token', repeat('q', 31) || '!', '^22023 auth_token must be', 'an auth token with a sign'),
    ('phone_number', '5005550123', '^22023 phone_number must be an E.164 number', 'a number without +'),
    ('phone_number', '+05005550123', '^22023 phone_number must be an E.164 number', 'a number that begins with 0'),
    ('phone_number', '+1 500 555 0123', '^22023 phone_number must be an E.164 number', 'a number with blanks'),
    ('phone_number', '+1234567890123456', '^22023 phone_number must be an E.164 number', 'a number of 16 digits'),
    ('phone_number', '+١٢٣٤٥٦٧٨٩', '^22023 phone_number must be an E.164 number', 'a number in other digits')) AS v (field, value, pattern, what);
INSERT INTO byoc_test.bad VALUES
    ('twilio', byoc_test.twilio(1) - 'auth_token' || '{"api_key_sid": "SK77777", "api_key_secret": "MADEUPsecret"}', 'SK77777', '^22023 api_key_s(id|ecret) must be', 'a bad API key'),
    ('twilio', byoc_test.twilio(1) - 'phone_number' || '{"messaging_service_sid": "MG77777"}', 'MG77777', '^22023 messaging_service_sid must be MG followed', 'a bad Messaging Service SID'),
    ('google_calendar', byoc_test.google() || '{"client_secret": ""}', NULL, '^22023 client_secret must be printable ASCII without blanks$', 'an empty client secret'),
    ('google_calendar', byoc_test.google() || jsonb_build_object('refresh_token', repeat('MADEUP', 400)), 'MADEUP', '^22023 refresh_token is longer than 2,048 characters$', 'a refresh token of 2,400 characters'),
    ('stripe', '{"secret_key": "pk_test_MADEUPMADEUP"}', 'MADEUP', '^22023 secret_key must be', 'a publishable Stripe key'),
    ('stripe', '{"secret_key": "sk_test_"}', NULL, '^22023 secret_key must be', 'a Stripe key without its end'),
    ('twilio', byoc_test.twilio(1) || '{"account_sid": 4711}', '4711', '^22023 account_sid must be', 'a number where text belongs'),
    ('twilio', byoc_test.twilio(1) || '{"account_sid": null}', NULL, '^22023 account_sid must be', 'a null field'),
    ('twilio', byoc_test.twilio(1) || '{"account_sid": {"a": "MADEUP"}}', 'MADEUP', '^22023 account_sid must be', 'an object where text belongs'),
    ('twilio', byoc_test.twilio(1) || '{"auth_token": ["MADEUP"]}', 'MADEUP', '^22023 auth_token must be', 'an array where text belongs'),
    ('twilio', byoc_test.twilio(1) - 'account_sid', NULL, '^22023 account_sid is missing$', 'a missing field'),
    ('stripe', '{}', NULL, '^22023 secret_key is missing$', 'no fields at all'),
    ('google_calendar', byoc_test.google() || '{"account": "ada"}', NULL, '^22023 account must be the account''s mail address$', 'a Google account that is no address'),
    ('twilio', byoc_test.twilio(1) || '{"auth_tokn": "MADEUPvalue"}', 'MADEUPvalue', '^22023 twilio has no field "auth_tokn".*account_sid.*auth_token.*phone_number', 'an unknown field, with the list of known ones'),
    ('twilio', byoc_test.twilio(1) - 'auth_token', NULL, '^22023 twilio needs either auth_token, or api_key_sid and api_key_secret$', 'neither auth token nor API key'),
    ('twilio', byoc_test.twilio(1) - 'auth_token' || jsonb_build_object('api_key_sid', 'SK' || repeat('0', 32)), NULL, '^22023 twilio needs either auth_token', 'half an API key'),
    ('twilio', byoc_test.twilio(1) || jsonb_build_object('api_key_sid', 'SK' || repeat('0', 32), 'api_key_secret', repeat('s', 32)), repeat('s', 32), '^22023 twilio needs either auth_token.*set the fields of the old one to null', 'auth token and API key at once'),
    ('twilio', byoc_test.twilio(1) || jsonb_build_object('api_key_sid', 'SK' || repeat('0', 32)), NULL, '^22023 twilio needs either auth_token', 'auth token and half an API key'),
    ('twilio', byoc_test.twilio(1) || '{"region": "evil.example"}', 'evil.example', '^22023 region must be a Twilio region such as ie1$', 'a region that would be another host'),
    ('twilio', byoc_test.twilio(1) || '{"region": "ie1/"}', NULL, '^22023 region must be', 'a region with a slash'),
    ('twilio', byoc_test.twilio(1) || '{"edge": "dublin.evil"}', NULL, '^22023 edge must be a Twilio edge location such as dublin$', 'an edge with a dot'),
    ('twilio', byoc_test.twilio(1) || '{"edge": "dublin\n"}', NULL, '^22023 edge must be', 'an edge with a line feed'),
    ('twilio', byoc_test.twilio(1) - 'phone_number', NULL, '^22023 twilio needs either phone_number, or messaging_service_sid$', 'neither number nor Messaging Service'),
    ('twilio', byoc_test.twilio(1) || jsonb_build_object('messaging_service_sid', 'MG' || repeat('0', 32)), NULL, '^22023 twilio needs either phone_number.*to null', 'number and Messaging Service at once'),
    ('twilio', '["MADEUP"]', 'MADEUP', '^22023 fields must be a JSON object$', 'an array instead of an object'),
    ('twilio', '"MADEUP"', 'MADEUP', '^22023 fields must be a JSON object$', 'a string instead of an object'),
    ('twilio', 'null', NULL, '^22023 fields must be a JSON object$', 'JSON null instead of an object'),
    ('twilio', NULL, NULL, '^22023 fields must be a JSON object$', 'NULL instead of an object'),
    ('telegraph', '{"key": "MADEUP"}', 'MADEUP', '^22023 unknown credential type "telegraph".*google_calendar, stripe, twilio, webhook', 'an unknown type, with the list of known ones'),
    ('Twilio', byoc_test.twilio(1), NULL, '^22023 unknown credential type "Twilio"', 'a type in other letters'),
    (NULL, '{}', NULL, '^22023 unknown credential type', 'no type');
SELECT matches(byoc_test.problem(type, fields), pattern, 'refused: ' || what) FROM byoc_test.bad;
SELECT is_empty($$SELECT what FROM byoc_test.bad WHERE position(value IN byoc_test.problem(type, fields)) > 0$$, 'none of these errors quotes the value');
SELECT is((SELECT count(*) FROM byoc.credentials WHERE org_id = byoc_test.org_a()), 8::bigint, 'only the good ones were stored');

-- What is only shown masked must not be stored as if it were the secret.
SELECT matches(byoc_test.problem('google_calendar', byoc_test.google() || '{"client_secret": "••••cret"}'), '^22023 client_secret',
    'a mask is no secret: a new credential with one is refused');

-- JSON as text
SELECT is(byoc_test.error_of($$SELECT byoc.add_credential('stripe', '{"secret_key": "sk_test_MADEUPMADEUP"}'::text, org_id => byoc_test.org_a())$$), 'no error',
    'fields may be given as JSON text');
CREATE FUNCTION byoc_test.everything_told(fields text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    message text;
    detail text;
    hint text;
    context text;
BEGIN
    EXECUTE 'SELECT byoc.add_credential($1, $2, org_id => byoc_test.org_a())' USING 'twilio', fields;
    RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT, context = PG_EXCEPTION_CONTEXT;
    RETURN SQLSTATE || ' ' || concat_ws(' | ', message, detail, hint, context);
END
$$;
SELECT matches(byoc_test.everything_told(bad), '^22023 fields is not valid JSON', 'text that is no JSON is refused: ' || what)
FROM (VALUES ('{"auth_token": "MADEUPtoken"', 'unclosed'), ('MADEUPtoken', 'a bare word'), ('{"auth_token": MADEUPtoken}', 'an unquoted value'), ('', 'empty'),
             ('{"a": "MADEUPtoken\u0000"}', 'a zero character'), ('{"a": "MADEUPtoken \ud800"}', 'half a surrogate pair'), (E'{"a": "MADEUPtoken\n"}', 'a raw line feed')) AS v (bad, what);
SELECT is_empty($$SELECT bad FROM (VALUES ('{"auth_token": "MADEUPtoken"'), ('MADEUPtoken'), ('{"auth_token": MADEUPtoken}'), ('{"a": "MADEUPtoken\u0000"}'),
                                          ('{"a": "MADEUPtoken \ud800"}'), (E'{"a": "MADEUPtoken\n"}')) AS v (bad)
                  WHERE byoc_test.everything_told(bad) ~ 'MADEUP'$$, 'and neither message, detail, hint nor context quotes it');
SELECT matches(byoc_test.everything_told(repeat('[', 100000)), '^(22023|54001)', 'absurdly nested JSON is refused');
SELECT matches(byoc_test.everything_told(NULL), '^22023', 'NULL text is refused');

-- The DBA's changes
SET LOCAL ROLE byoc_test_admin;
SELECT lives_ok($$INSERT INTO byoc.provider_overrides (name, enabled) VALUES ('stripe', false)$$, 'an admin may switch a provider off');
SELECT is((SELECT enabled FROM byoc.providers WHERE name = 'stripe'), false, 'the view shows it switched off');
SELECT is((SELECT fields ? 'secret_key' FROM byoc.providers WHERE name = 'stripe'), true, 'with its fields as shipped');
RESET ROLE;
SELECT matches(byoc_test.problem('stripe', '{"secret_key": "sk_test_MADEUPMADEUP"}'), '^22023 unknown credential type "stripe".*Known are: google_calendar, twilio, webhook\.$',
    'a provider that is switched off takes no credentials and is not listed');
SET LOCAL ROLE byoc_test_admin;
SELECT lives_ok($$UPDATE byoc.provider_overrides SET enabled = true, fields =
        '{"secret_key": {"title": "Key", "required": true, "secret": true, "pattern": "^MADEUP[0-9]+$", "must_be": "MADEUP and digits"}}' WHERE name = 'stripe'$$,
    'an admin may change a provider''s fields');
RESET ROLE;
SELECT is(byoc_test.problem('stripe', '{"secret_key": "MADEUP1"}'), 'no error', 'the changed fields count');
SELECT is(byoc_test.problem('stripe', '{"secret_key": "sk_test_MADEUPMADEUP"}'), '22023 secret_key must be MADEUP and digits', 'the shipped ones do not any more');
SELECT byoc_test.refused($$UPDATE byoc.provider_overrides SET fields = '[]'$$, '23514', 'provider_overrides', 'changed fields must be a JSON object');
SET LOCAL ROLE byoc_test_admin;
SELECT lives_ok($$DELETE FROM byoc.provider_overrides$$, 'an admin may take the change back');
RESET ROLE;
SELECT is(byoc_test.problem('stripe', '{"secret_key": "sk_test_MADEUPMADEUP"}'), 'no error', 'then it is as shipped');
SET LOCAL ROLE byoc_test_admin;
SELECT byoc_test.refused($$UPDATE byoc.shipped_providers SET fields = '{}'$$, '42501', 'permission denied', 'an admin cannot change what is shipped');
RESET ROLE;

-- Error classes
SELECT is((SELECT count(*) FROM byoc.provider_errors), (SELECT count(*) FROM byoc.shipped_provider_errors), 'without overrides the error classes are the shipped ones');
SELECT is_empty($$SELECT * FROM byoc.provider_errors e WHERE NOT EXISTS (SELECT FROM byoc.providers p WHERE p.name = e.provider)$$, 'each error code is of a known provider');
SELECT byoc_test.lists(format($$SELECT code FROM byoc.provider_errors WHERE provider = 'twilio' AND class = %L$$, class), codes, 'class ' || class || ' holds these Twilio codes')
FROM (VALUES ('retry_later', '{20429,21611,63038,30022,30023,30027}'::text[]),
             ('resend', '{30001,30003,30008,30410}'),
             ('pause_credential', '{20003,21212,21606,21701,21703,21704,21705,30002,30032,30034}'),
             ('permanent_recipient', '{21211,21408,21608,21610,21612,21614,30004,30005,30006}'),
             ('permanent_message', '{21602,21617,30007}')) AS v (class, codes);
SET LOCAL ROLE byoc_test_admin;
SELECT lives_ok($$INSERT INTO byoc.provider_error_overrides VALUES ('twilio', '21610', 'retry_later', NULL), ('twilio', '99999', 'permanent_message', 'made up')$$,
    'an admin may override a class and add a code');
RESET ROLE;
SELECT results_eq($$SELECT code, class::text, title FROM byoc.provider_errors WHERE code IN ('21610', '99999') ORDER BY code$$,
    $$VALUES ('21610', 'retry_later', 'the recipient has opted out'), ('99999', 'permanent_message', 'made up')$$,
    'the view shows the override, with the shipped title where it has none');
SELECT byoc_test.refused($$INSERT INTO byoc.provider_error_overrides VALUES ('twilio', '1', 'sometimes')$$, '23514', 'error_class', 'an unknown class is refused');

SELECT * FROM finish();
ROLLBACK;
