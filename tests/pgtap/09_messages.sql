-- Sending from SQL: byoc.send_sms, INSERT INTO byoc.sms_messages, and what a message's row says.
BEGIN;
\ir support/setup.sql
SELECT plan(80);

SET LOCAL ROLE byoc_test_tenant;
SELECT byoc_test.refused($$SELECT byoc.send_sms('+15005550006', 'x')$$, '28000', 'no tenant context', 'without a context nothing can be sent');
SELECT byoc_test.refused($$INSERT INTO byoc.sms_messages (to_number, body) VALUES ('+15005550006', 'x')$$, '28000', 'no tenant context', 'nor inserted');
SELECT byoc_test.act_as(byoc_test.org_a(), 'member');

SELECT byoc.send_sms('+15005550006', 'Hello Zoë 🔥') AS sent \gset
SELECT results_eq(format($$SELECT org_id, to_number, from_number, body, status, provider_sid, error_code, error_message, attempts, segments, source_table,
                                  created_at, sent_at, delivered_at, send_at, expires_at, credential_id, idempotency_key FROM byoc.sms_messages WHERE id = %L$$, :'sent'),
    $$VALUES (byoc_test.org_a(), '+15005550006', NULL::text, 'Hello Zoë 🔥', 'queued', NULL::text, NULL::text, NULL::text, 0, NULL::integer, NULL::text,
              now(), NULL::timestamptz, NULL::timestamptz, NULL::timestamptz, NULL::timestamptz, NULL::uuid, NULL::text)$$,
    'byoc.send_sms queues a message that shows in byoc.sms_messages');
SELECT byoc_test.refused($$SELECT byoc.send_sms('+15005550006', 'x', org_id => byoc_test.org_b())$$, '42501', 'another organization', 'nothing can be sent for another organization');
SELECT byoc_test.refused($$INSERT INTO byoc.sms_messages (org_id, to_number, body) VALUES (byoc_test.org_b(), '+15005550006', 'x')$$, '42501', 'another organization', 'nor inserted');

-- Bad messages: 22023 with the reason
SELECT byoc_test.refused(format('SELECT byoc.send_sms(%L, %L)', number, 'x'), '22023', '^22023 to_number ', 'refused number: ' || coalesce(what, 'NULL'))
FROM (VALUES (NULL, 'NULL'), ('', 'empty'), ('5005550006', 'without +'), ('+05005550006', 'begins with 0'), ('+1 500 555 0006', 'with blanks'), ('+1500555000x', 'with a letter'),
             ('+1234567890123456', '16 digits'), ('+123456', '6 digits'), (E'+15005550006\n', 'line feed'), ('+１５００５５５０００６', 'full width digits'),
             ('whatsapp:+15005550006', 'another channel')) AS v (number, what);
SELECT lives_ok(format('SELECT byoc.send_sms(%L, %L)', number, 'x'), 'accepted number: ' || number) FROM unnest(ARRAY['+1234567', '+123456789012345']) AS number;
SELECT is(byoc_test.error_of($$SELECT byoc.send_sms('5005550006', 'x')$$), '22023 to_number is not an E.164 number such as +14155550100', 'the error does not repeat the number');
SELECT byoc_test.refused(format('SELECT byoc.send_sms(%L, %L)', '+15005550006', body), '22023', '^22023 body is empty', 'refused body: ' || what)
FROM (VALUES (NULL, 'NULL'), ('', 'empty'), (E' \t\r\n ', 'only blanks')) AS v (body, what);
SELECT lives_ok(format('SELECT byoc.send_sms(%L, %L)', '+15005550006', repeat('🔥', 1600)), 'a body of 1,600 characters is accepted, whatever their bytes');
SELECT byoc_test.refused(format('SELECT byoc.send_sms(%L, %L)', '+15005550006', repeat('x', 1601)), '22023', 'body has 1601 characters, at most 1600', 'one of 1,601 is not');

-- Times
SELECT byoc.send_sms('+15005550006', 'tomorrow', now() + interval '1 day') AS tomorrow \gset
SELECT results_eq(format($$SELECT status, send_at FROM byoc.sms_messages WHERE id = %L$$, :'tomorrow'), $$VALUES ('scheduled', now() + interval '1 day')$$,
    'send_at in the future schedules');
SELECT byoc.send_sms('+15005550006', 'yesterday', now() - interval '1 day') AS yesterday \gset
SELECT is(byoc_test.status(:'yesterday'), 'queued', 'send_at in the past queues');
SELECT byoc.send_sms('+15005550006', 'no time', NULL) AS no_time \gset
SELECT is(byoc_test.status(:'no_time'), 'queued', 'send_at NULL queues');
SELECT byoc.send_sms('+15005550006', 'expires', expires_at => now() + interval '1 hour') AS expires \gset
SELECT is((SELECT expires_at FROM byoc.sms_messages WHERE id = :'expires'), now() + interval '1 hour', 'expires_at is kept');
SELECT byoc_test.refused($$SELECT byoc.send_sms('+15005550006', 'x', expires_at => now() - interval '1 second')$$, '22023', 'expires_at', 'expires_at in the past is refused');
SELECT byoc_test.refused($$SELECT byoc.send_sms('+15005550006', 'x', expires_at => now())$$, '22023', 'expires_at', 'expires_at now is refused');
SELECT byoc_test.refused($$SELECT byoc.send_sms('+15005550006', 'x', now() + interval '2 hours', expires_at => now() + interval '1 hour')$$, '22023', 'expires_at',
    'expires_at before send_at is refused');
SELECT lives_ok($$SELECT byoc.send_sms('+15005550006', 'x', 'infinity')$$, 'send_at may be infinity');

-- Idempotency
SELECT byoc.send_sms('+15005550006', 'once', idempotency_key => 'order-1') AS once \gset
SELECT is(byoc.send_sms('+15005550006', 'once', idempotency_key => 'order-1'), :'once'::uuid, 'the same idempotency_key gives the same message');
SELECT is(byoc.send_sms('+15005550007', 'something else', now() + interval '1 day', idempotency_key => 'order-1'), :'once'::uuid, 'also when the rest differs');
SELECT is((SELECT count(*) FROM byoc.sms_messages WHERE idempotency_key = 'order-1'), 1::bigint, 'there is one message');
SELECT isnt(byoc.send_sms('+15005550006', 'once', idempotency_key => 'order-2'), :'once'::uuid, 'another key gives another message');
SELECT isnt(byoc.send_sms('+15005550006', 'x'), byoc.send_sms('+15005550006', 'x'), 'without a key each call sends');
SELECT byoc_test.refused($$SELECT byoc.send_sms('+15005550006', 'x', idempotency_key => '')$$, '22023', '1 to 255', 'an empty key is refused');
SELECT byoc_test.refused($$SELECT byoc.send_sms('+15005550006', 'x', idempotency_key => repeat('k', 256))$$, '22023', '1 to 255', 'a key of 256 characters is refused');
SELECT byoc_test.refused($$SELECT byoc.send_sms('bad', 'x', idempotency_key => 'order-3')$$, '22023', 'to_number', 'a message that is refused');
SELECT isnt(byoc.send_sms('+15005550006', 'x', idempotency_key => 'order-3'), NULL, 'does not use up its key');
SELECT byoc_test.act_as(byoc_test.org_b(), 'member');
SELECT isnt(byoc.send_sms('+15005550006', 'once', idempotency_key => 'order-1'), :'once'::uuid, 'another organization''s same key is another one');
SELECT byoc_test.act_as(byoc_test.org_a(), 'member');

-- Credentials
SELECT byoc_test.add_twilio(byoc_test.org_a(), 1) AS mine \gset
SELECT byoc_test.add_twilio(byoc_test.org_b(), 2) AS theirs \gset
SELECT byoc.send_sms('+15005550006', 'x', credential_id => :'mine') AS by_mine \gset
SELECT is((SELECT credential_id FROM byoc.sms_messages WHERE id = :'by_mine'), :'mine'::uuid, 'a credential may be asked for');
SELECT byoc_test.refused(format($$SELECT byoc.send_sms('+15005550006', 'x', credential_id => %L)$$, :'theirs'), '22023', 'not an active twilio credential of the organization',
    'another organization''s credential is refused');
SELECT byoc_test.refused($$SELECT byoc.send_sms('+15005550006', 'x', credential_id => gen_random_uuid())$$, '22023', 'not an active twilio credential', 'an unknown credential is refused');
SELECT byoc_test.act_as(byoc_test.org_a(), 'owner');
SELECT byoc.add_credential('stripe', '{"secret_key": "sk_test_MADEUPMADEUP"}') AS stripe \gset
SELECT byoc_test.refused(format($$SELECT byoc.send_sms('+15005550006', 'x', credential_id => %L)$$, :'stripe'), '22023', 'not an active twilio credential', 'a credential of another type is refused');
SELECT byoc.revoke_credential(:'mine');
SELECT byoc_test.refused(format($$SELECT byoc.send_sms('+15005550006', 'x', credential_id => %L)$$, :'mine'), '22023', 'not an active twilio credential', 'a revoked credential is refused');

-- INSERT
INSERT INTO byoc.sms_messages (to_number, body) VALUES ('+15005550006', 'inserted') RETURNING id AS inserted, status AS inserted_status, org_id AS inserted_org \gset
SELECT is(:'inserted_status'::text, 'queued', 'INSERT ... RETURNING gives the status');
SELECT is(:'inserted_org'::uuid, byoc_test.org_a(), 'and the organization of the context');
SELECT is((SELECT body FROM byoc.sms_messages WHERE id = :'inserted'), 'inserted', 'and the id of the message');
INSERT INTO byoc.sms_messages (to_number, body, send_at, expires_at, idempotency_key) VALUES ('+15005550006', 'x', now() + interval '1 hour', now() + interval '2 hours', 'insert-1')
RETURNING id AS later, status AS later_status \gset
SELECT is(:'later_status'::text, 'scheduled', 'INSERT with send_at schedules');
SELECT results_eq(format($$SELECT send_at, expires_at, idempotency_key FROM byoc.sms_messages WHERE id = %L$$, :'later'), $$VALUES (now() + interval '1 hour', now() + interval '2 hours', 'insert-1')$$,
    'INSERT takes send_at, expires_at and idempotency_key');
INSERT INTO byoc.sms_messages (to_number, body, idempotency_key) VALUES ('+15005550006', 'y', 'insert-1') RETURNING id AS again, body AS again_body \gset
SELECT is(:'again'::uuid, :'later'::uuid, 'INSERT with a known key returns the first message');
SELECT is(:'again_body'::text, 'x', 'as it was');
SELECT byoc_test.refused($$INSERT INTO byoc.sms_messages (to_number, body) VALUES ('bad', 'x')$$, '22023', '^22023 to_number', 'INSERT refuses a bad number');
SELECT lives_ok($$INSERT INTO byoc.sms_messages (to_number, body) SELECT '+15005550006', 'bulk ' || n FROM generate_series(1, 50) AS n$$, 'many rows can be inserted at once');
SELECT is((SELECT count(DISTINCT id) FROM byoc.sms_messages WHERE body LIKE 'bulk%' AND status = 'queued'), 50::bigint, 'and each is a message');
SELECT byoc_test.refused($$UPDATE byoc.sms_messages SET body = 'x'$$, '55000', 'cannot update view', 'a message cannot be rewritten');
SELECT byoc_test.refused($$DELETE FROM byoc.sms_messages$$, '55000', 'cannot delete from view', 'nor deleted');
SELECT byoc_test.refused($$INSERT INTO byoc.sms_events (event) VALUES ('x')$$, '55000', 'cannot insert into view', 'history cannot be made up');

-- Without a row in organizations
RESET ROLE;
SELECT byoc_test.no_context();
SELECT byoc_test.refused($$SELECT byoc.send_sms('+15005550006', 'x', org_id => '00000000-0000-4000-8000-000000000000')$$, '23503', 'does not exist', 'an unknown organization cannot send');
SELECT byoc_test.refused($$SELECT byoc.send_sms('+15005550006', 'x')$$, '28000', 'no tenant context', 'a superuser without a context has to name the organization');
SELECT lives_ok($$SELECT byoc.send_sms('+15005550006', 'x', org_id => byoc_test.org_b())$$, 'and then may send');
SELECT byoc_test.refused($$SELECT byoc.enqueue_sms(NULL, '+15005550006', 'x', NULL, NULL, NULL, NULL)$$, '22004', 'org_id', 'the inner function refuses a NULL organization');

-- A message is in exactly one place
SELECT is((SELECT count(*) FROM byoc.all_sms_messages), (SELECT count(DISTINCT id) FROM byoc.all_sms_messages), 'no message is in two places');

-- Cancelling what waits
SET LOCAL ROLE byoc_test_tenant;
SELECT byoc_test.act_as(byoc_test.org_a(), 'member');
SELECT lives_ok(format('SELECT byoc.cancel_sms(%L)', :'sent'), 'a queued message can be cancelled');
SELECT is(byoc_test.status(:'sent'), 'cancelled', 'and is cancelled then');
SELECT lives_ok(format('SELECT byoc.cancel_sms(%L)', :'tomorrow'), 'a scheduled message can be cancelled');
SELECT is(byoc_test.status(:'tomorrow'), 'cancelled', 'and is cancelled then');
SELECT is(byoc_test.events(:'tomorrow'), 'cancelled', 'its history says so');
SELECT results_eq(format($$SELECT to_number, body, send_at, attempts FROM byoc.sms_messages WHERE id = %L$$, :'tomorrow'), $$VALUES ('+15005550006', 'tomorrow', now() + interval '1 day', 0)$$,
    'it keeps what it was');
SELECT byoc_test.refused(format('SELECT byoc.cancel_sms(%L)', :'sent'), '55000', 'is cancelled and cannot be cancelled', 'it cannot be cancelled twice');
SELECT byoc_test.refused('SELECT byoc.cancel_sms(gen_random_uuid())', 'P0002', 'does not exist', 'an unknown message is refused');
SELECT byoc_test.act_as(byoc_test.org_b(), 'owner');
SELECT byoc_test.refused(format('SELECT byoc.cancel_sms(%L)', :'once'), 'P0002', 'does not exist', 'another organization''s message does not exist for it');
SELECT byoc_test.refused(format('SELECT byoc.retry_sms(%L)', :'sent'), 'P0002', 'does not exist', 'nor for byoc.retry_sms');
SELECT byoc_test.refused(format($$SELECT byoc.resolve_unknown_sms(%L, 'sent')$$, :'sent'), 'P0002', 'does not exist', 'nor for byoc.resolve_unknown_sms');
SELECT byoc_test.no_context();
SELECT byoc_test.refused(format('SELECT byoc.cancel_sms(%L)', :'once'), '28000', 'no tenant context', 'without a context nothing is cancelled');
RESET ROLE;
SELECT is(byoc_test.status(:'once'), 'queued', 'and it still waits');
SELECT lives_ok(format('SELECT byoc.cancel_sms(%L)', :'once'), 'a superuser cancels by id alone');
SELECT byoc_test.refused('SELECT byoc.cancel_sms(gen_random_uuid())', 'P0002', 'does not exist', 'unless there is no such message');

SELECT * FROM finish();
ROLLBACK;
