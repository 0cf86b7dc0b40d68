-- What byocd's REST API calls: requests and their errors, pages, ETags, idempotency keys, counts and changes.
BEGIN;
\ir support/setup.sql
SELECT plan(94);

-- 'SQLSTATE column message' of what the statement raises.
CREATE FUNCTION byoc_test.wrong(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    name text;
BEGIN
    EXECUTE statement;
    RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS name = COLUMN_NAME;
    RETURN concat_ws(' ', SQLSTATE, nullif(name, ''), SQLERRM);
END
$$;
CREATE FUNCTION byoc_test.ids(page jsonb) RETURNS text[] LANGUAGE sql AS $$
    SELECT coalesce(array_agg(i ->> 'id' ORDER BY n), '{}') FROM jsonb_array_elements(page -> 'items') WITH ORDINALITY AS e (i, n)
$$;
CREATE FUNCTION byoc_test.plan_of(query text) RETURNS SETOF text LANGUAGE plpgsql SET enable_seqscan = off AS $$
BEGIN
    RETURN QUERY EXECUTE 'EXPLAIN ' || query;
END
$$;
CREATE FUNCTION byoc_test.rows_read() RETURNS bigint LANGUAGE sql SECURITY DEFINER AS $$
    SELECT sum(coalesce(t.idx_tup_fetch, 0) + t.seq_tup_read)::bigint FROM pg_stat_xact_all_tables t WHERE t.schemaname = 'byoc'
$$;

SELECT byoc_test.add_twilio(byoc_test.org_b(), 9) AS of_b \gset
SET LOCAL ROLE byoc_test_tenant;

-- Without a context nothing is answered.
SELECT is(left(byoc_test.wrong('SELECT byoc.' || f), 5), '28000', f || ' needs a context')
FROM unnest(ARRAY['rest_session()', 'rest_providers()', 'rest_credentials(NULL, NULL)', 'rest_messages(NULL, NULL, NULL, NULL)', 'rest_statistics(NULL)',
                  'rest_changes(''1 s'')', 'rest_recall(NULL, ''x'', ''x'')', 'rest_remember(''x'', NULL)',
                  'rest_add_credential(''{}'')', 'rest_send_test(''{"to": "+15005550006"}'')']) AS f;
SELECT is(left(byoc_test.wrong(format('SELECT byoc.%s', format(f, quote_literal(:'of_b')))), 5), '28000', format(f, 'id') || ' needs a context')
FROM unnest(ARRAY['rest_credential(%s)', 'rest_message(%s)', 'rest_audit(%s, NULL, NULL)', 'rest_match(%s, ''*'')', 'rest_revoke_credential(%s, NULL)',
                  'rest_update_credential(%s, ''{}'', ''*'')', 'rest_verify_credential(%s)']) AS f;

SELECT byoc_test.act_as(byoc_test.org_a(), 'owner', 'ada');
SELECT is(byoc.rest_session(), jsonb_build_object('organization', jsonb_build_object('id', byoc_test.org_a(), 'name', 'Organization A'), 'user_id', 'ada', 'org_role', 'owner'),
          'a session says whom it stands for');
SELECT is((SELECT array_agg(p ->> 'name') FROM jsonb_array_elements(byoc.rest_providers() -> 'items') AS p), ARRAY['google_calendar', 'stripe', 'twilio', 'webhook'], 'enabled providers are listed');

-- Requests: what is wrong is named, its value never quoted
SELECT is(byoc_test.wrong(format('SELECT byoc.rest_add_credential(%L)', r)), e, d) FROM (VALUES
    ('[]', '22023 the body must be a JSON object', 'an array is no request'),
    ('{"fields": {}}', '22023 credential_type credential_type is missing', 'a missing member is named'),
    ('{"credential_type": 7, "fields": {}}', '22023 credential_type it must be of type string', 'so is one of the wrong type'),
    ('{"credential_type": "twilio", "fieldz": {}}', '22023 fieldz there is no such member', 'and one that is not known'),
    ('{"credential_type": "twilio", "SECRET value": {}}', '22023 there is no such member', 'unless its name may be a secret'),
    ('{"credential_type": "fax", "fields": {}}', '22023 credential_type unknown credential type "fax"', 'an unknown type is named'),
    ('{"credential_type": "twilio", "fields": {"account_sid": "x"}}', '22023 fields.account_sid account_sid must be AC followed by 32 hexadecimal digits', 'a wrong field is named'),
    ('{"credential_type": "twilio", "fields": {}}', '22023 fields.account_sid account_sid is missing', 'a missing field is named'),
    ('{"credential_type": "twilio", "display_name": "", "fields": {}}', '22023 fields.account_sid account_sid is missing', 'one at a time'),
    ('{"credential_type": "twilio", "fields": {"a": "\u0000"}}', '22023 the body is not JSON that can be stored', 'what PostgreSQL cannot store is refused')) AS v (r, e, d);
SELECT is(byoc_test.wrong(format('SELECT byoc.rest_credentials(%L, NULL)', l)), '22023 limit it must be a whole number from 1 to 100', 'a limit is not ' || l)
FROM unnest(ARRAY['0', '101', '-1', 'x', '1e2', '99999999999999999999']) AS l;
SELECT is(byoc_test.wrong(format('SELECT byoc.rest_credentials(NULL, %L)', c)), '22023 after it is not what a page gave as next', 'a cursor is not ' || c)
FROM unnest(ARRAY['x', '1', '1.x', 'ffffffffffffffffffff.' || repeat('0', 32)]) AS c;

-- Idempotency keys
SELECT a::text AS first, a ->> 'id' AS id
FROM byoc.rest_add_credential(jsonb_build_object('credential_type', 'twilio', 'fields', byoc_test.twilio(1))::text, NULL, 'key-1') AS a \gset
SELECT is(byoc.rest_add_credential('{"fields": ' || byoc_test.twilio(1)::text || ', "credential_type":"twilio"}', NULL, 'key-1')::text, :'first',
          'the same request with the same key gets the same answer');
SELECT is((SELECT count(*) FROM byoc.credentials), 1::bigint, 'and does nothing');
SELECT ok(:'first' !~ 'madeuptoken', 'no secret is in the answer');
SELECT is(byoc_test.wrong(format('SELECT byoc.rest_send_test(%L, %L)', '{"to": "+15005550006"}', 'key-1')), '22023 Idempotency-Key it was given with another request before',
          'another request with it is refused');
SELECT is(byoc_test.wrong(format('SELECT byoc.rest_send_test(%L, %L)', '{"to": "+15005550006"}', '')), '22023 Idempotency-Key it must have 1 to 255 characters', 'an empty key is refused');
SELECT byoc_test.act_as(byoc_test.org_a(), 'owner', 'bob');
SELECT isnt(byoc.rest_add_credential('{"display_name": "Two", "fields": ' || byoc_test.twilio(2)::text || '}', 'twilio', 'key-1') ->> 'id', :'id', 'another user''s key is another key');
SELECT byoc_test.act_as(byoc_test.org_a(), 'member', 'ada');
SELECT byoc_test.refused(format('SELECT byoc.rest_add_credential(%L, NULL, %L)', '{}', 'key-1'), '42501', '', 'a remembered answer is only for who may ask again');
SELECT byoc_test.act_as(byoc_test.org_a(), 'owner', 'ada');
RESET ROLE;
UPDATE byoc.rest_answers SET created_at = now() - interval '25 hours' WHERE key = 'key-1' AND user_id = 'ada';
SET LOCAL ROLE byoc_test_tenant;
SELECT isnt(byoc.rest_send_test('{"to": "+15005550006"}', 'key-1') ->> 'id', :'id', 'after a day a key is new');
RESET ROLE;
UPDATE byoc.rest_answers SET created_at = now() - interval '25 hours' WHERE key = 'key-1' AND user_id = 'ada';
SELECT is(byoc.prune('10 years'), 0::bigint, 'byoc.prune() does not count answers');
SELECT is((SELECT array_agg(user_id) FROM byoc.rest_answers), ARRAY['bob'], 'but deletes those of the day before, however long messages are kept');
SET LOCAL ROLE byoc_test_tenant;

-- Changes
SELECT is(byoc_test.wrong(format('SELECT byoc.rest_update_credential(%L, %L, %L)', :'id', r, m)), e, d) FROM (VALUES
    ('{}', '*', '22023 the body names nothing to change', 'a change changes something'),
    ('{"is_default": false}', '*', '22023 is_default make another credential the default instead', 'a default cannot be taken away'),
    ('{"display_name": ""}', '*', '22023 display_name display_name must have 1 to 200 characters, not 0', 'a name is checked'),
    ('{"display_name": "x"}', '"1.0"', 'PT412 credential ' || :'id' || ' was changed meanwhile', 'another ETag is refused'),
    ('{"display_name": "x"}', '', 'PT412 credential ' || :'id' || ' was changed meanwhile', 'so is none')) AS v (r, m, e, d);
SELECT is(byoc.rest_update_credential(:'id', '{"display_name": "Ünï"}', '"1.0" , ' || (byoc.rest_credential(:'id') ->> 'etag')) #>> '{body,display_name}', 'Ünï', 'one of several ETags is enough');
SELECT is(byoc_test.wrong(format('SELECT byoc.rest_update_credential(%L, %L, %L)', :'of_b', '{"display_name": "x"}', '*')), 'P0002 credential ' || :'of_b' || ' does not exist',
          'another organization''s credential does not exist');
SELECT is((byoc.rest_verify_credential(:'id') #>> '{body,verification_status}'), 'pending', 'a verification is asked for');
SELECT is((SELECT array_agg(i ->> 'action') FROM jsonb_array_elements(byoc.rest_audit(:'id', '2', NULL) -> 'items') AS i),
          ARRAY['credential.verification_requested', 'credential.renamed'], 'the audit trail of a credential, newest first');
SELECT is((SELECT array_agg(i ->> 'action') FROM jsonb_array_elements(byoc.rest_audit(:'id', NULL, byoc.rest_audit(:'id', '2', NULL) ->> 'next') -> 'items') AS i),
          ARRAY['credential.added'], 'and its next page');
SELECT lives_ok(format('SELECT byoc.rest_revoke_credential(%L, NULL), byoc.rest_revoke_credential(%L, NULL)', :'id', :'id'), 'revoking twice does no harm');
SELECT byoc_test.refused(format('SELECT byoc.rest_verify_credential(%L)', :'id'), '55000', 'revoked', 'what is revoked cannot be verified');
SELECT is(byoc_test.wrong('SELECT byoc.rest_send_test(''{"to": "+15005550006"}'')'), '55000 the organization has no active twilio credential', 'nor sent with');

-- Messages of all places, among many
RESET ROLE;
INSERT INTO byoc.messages (org_id, id, to_number, body, status, attempts, finished_at, created_at)
SELECT byoc_test.org_a(), byoc.uuid_v7(), '+1500555' || lpad((i % 7)::text, 4, '0'), 'text ' || i, CASE WHEN i % 5000 = 1 THEN 'failed' ELSE 'sent' END, 1, now(), now()
FROM generate_series(1, 20000) AS i;
SET LOCAL ROLE byoc_test_tenant;
SELECT byoc.send_sms('+15005550099', 'Grüße') AS queued, byoc.send_sms('+15005550007', 'later', now() + interval '1 hour') AS scheduled \gset

SELECT byoc_test.rows_read() AS before \gset
SELECT byoc.rest_messages(NULL, NULL, '10', NULL) AS page \gset
SELECT cmp_ok(byoc_test.rows_read() - :before, '<', 200::bigint, 'a page reads about its own rows, not all');
SELECT is((byoc_test.ids(:'page'))[1:2], ARRAY[:'scheduled', :'queued'], 'what was made last comes first, wherever it is');
SELECT is((SELECT array_agg(i ->> 'status') FROM jsonb_array_elements(:'page'::jsonb -> 'items') WITH ORDINALITY AS e (i, n) WHERE n <= 3), ARRAY['scheduled', 'queued', 'sent'], 'with its state');
SELECT is(cardinality(byoc_test.ids(:'page')), 10, 'a page has its size');
SELECT byoc.rest_messages(NULL, NULL, '10', :'page'::jsonb ->> 'next') AS page2 \gset
SELECT is((SELECT array_agg(i ->> 'body' ORDER BY n) FROM jsonb_array_elements(:'page2'::jsonb -> 'items') WITH ORDINALITY AS e (i, n) WHERE n <= 2), ARRAY['text 19992', 'text 19991'],
          'the next page goes on where it ended');
SELECT byoc_test.rows_read() AS before \gset
SELECT byoc.rest_messages('sent', NULL, '10', NULL) AS page \gset
SELECT cmp_ok(byoc_test.rows_read() - :before, '<', 200::bigint, 'so does one of what is frequent');
SELECT byoc_test.rows_read() AS before \gset
SELECT byoc.rest_messages('failed,undelivered', NULL, NULL, NULL) AS page \gset
SELECT cmp_ok(byoc_test.rows_read() - :before, '<', 6000::bigint, 'a page of what is rare looks at so many and no more');
SELECT ok(byoc_test.ids(:'page') = '{}' AND :'page'::jsonb ->> 'next' IS NOT NULL, 'may be empty, and has a next one');
WITH RECURSIVE page AS (
    SELECT :'page'::jsonb AS p
    UNION ALL
    SELECT byoc.rest_messages('failed,undelivered', NULL, NULL, g.p ->> 'next') FROM page g WHERE g.p ->> 'next' IS NOT NULL)
SELECT is(array_agg(i ->> 'body'), ARRAY['text 15001', 'text 10001', 'text 5001', 'text 1'], 'its pages have all') FROM page, jsonb_array_elements(page.p -> 'items') AS i;
SELECT is(byoc_test.ids(byoc.rest_messages(NULL, s, NULL, NULL)), ARRAY[:'queued'], 'search finds ' || s) FROM unnest(ARRAY['grÜß', '+1 (500) 555-0099', :'queued']) AS s
WHERE s <> 'grÜß' OR lower('Ü') = 'ü';
SELECT is(byoc_test.ids(byoc.rest_messages(NULL, '100%_\', NULL, NULL)), '{}', 'search knows no wildcards');
SELECT is(byoc_test.wrong('SELECT byoc.rest_messages(''sent,lost'', NULL, NULL, NULL)'), '22023 status it must be states of a message with commas between them', 'an unknown state is refused');
SELECT is(byoc_test.wrong('SELECT byoc.rest_messages(NULL, repeat(''x'', 201), NULL, NULL)'), '22023 search it has more than 200 characters', 'a long search is refused');

SELECT byoc_test.rows_read() AS before \gset
SELECT is(byoc.rest_message(:'queued') #>> '{body,body}', 'Grüße', 'one message of the queue');
SELECT is(byoc.rest_message(:'scheduled') #>> '{body,status}', 'scheduled', 'and of the schedule');
SELECT cmp_ok(byoc_test.rows_read() - :before, '<', 100::bigint, 'are found by their keys');
SELECT byoc.cancel_sms(:'scheduled');
SELECT is((SELECT array_agg(e ->> 'event') FROM jsonb_array_elements(byoc.rest_message(:'scheduled') #> '{body,events}') AS e), ARRAY['cancelled'], 'with their history');

SELECT is(byoc.rest_statistics('1') -> 'total', '{"sent": 19996, "failed": 4, "queued": 2, "cancelled": 1}'::jsonb, 'counts by state');
SELECT is(jsonb_array_length(byoc.rest_statistics(NULL) -> 'hours'), 24, 'for a day of hours');
SELECT is(byoc_test.wrong('SELECT byoc.rest_statistics(''0'')'), '22023 hours it must be a whole number from 1 to 168', 'not for none');

SELECT is((SELECT array_agg(c.kind || ' ' || (c.data ->> 'status') ORDER BY c.data ->> 'status') FROM byoc.rest_changes('1 hour') AS c WHERE c.id IN (:'queued', :'scheduled')),
          ARRAY['message cancelled', 'message queued'], 'changes tell what happened to messages');
SELECT is((SELECT count(*) FROM byoc.rest_changes('1 hour') AS c WHERE c.kind = 'message'), 501::bigint, 'so many, no more');
SELECT is((SELECT array_agg(c.data ->> 'is_active' ORDER BY c.data ->> 'is_active') FROM byoc.rest_changes('0') AS c WHERE c.kind = 'credential'), ARRAY['false', 'true'], 'and what credentials are');

-- What is another's is not there
SELECT byoc_test.act_as(byoc_test.org_b());
SELECT is(byoc_test.ids(byoc.rest_messages(NULL, NULL, NULL, NULL)), '{}', 'another organization sees no message');
SELECT is(byoc_test.wrong(format('SELECT byoc.rest_message(%L)', :'queued')), 'P0002 message ' || :'queued' || ' does not exist', 'finds none by its id');
SELECT is(byoc.rest_statistics('1') -> 'total', '{}'::jsonb, 'counts none');
SELECT is((SELECT array_agg(id) FROM byoc.rest_changes('1 hour')), ARRAY[:'of_b'::uuid], 'hears of none');
SELECT is(byoc_test.ids(byoc.rest_credentials(NULL, NULL)), ARRAY[:'of_b'], 'and sees its own credentials');
SELECT byoc_test.act_as('99999999-0000-4000-8000-000000000009');
SELECT is(byoc.rest_session(), NULL, 'an organization that does not exist has no session');
RESET ROLE;

-- By time, not through all that an organization ever did
SELECT ok(bool_or(l LIKE '%message_events_at%'), 'what happened lately is found by a BRIN index')
FROM byoc_test.plan_of($$SELECT e.message_id FROM byoc.message_events e WHERE e.at > now() - interval '6 s' AND (e.org_id = byoc_test.org_a()) IS TRUE$$) AS l;

SELECT * FROM finish();
ROLLBACK;
