-- Pruning, and what byoc.queue_health and byoc.stats show.
BEGIN;
\ir support/setup.sql
SELECT plan(57);

SELECT byoc_test.add_twilio(byoc_test.org_a(), 1) AS a1 \gset
SELECT byoc_test.add_twilio(byoc_test.org_b(), 9) AS b9 \gset
UPDATE byoc.organization_api_credentials SET verification_due_at = NULL;

-- Ids
SELECT ok(byoc.time_of_id(byoc.uuid_v7()) BETWEEN clock_timestamp() - interval '1 minute' AND clock_timestamp(), 'an id tells when it was made');
SELECT is(byoc.time_of_id(byoc.first_id_at('2026-01-02 03:04:05.678+00')), '2026-01-02 03:04:05.678+00', 'to the millisecond');
SELECT is(byoc.first_id_at('1960-01-01'), '00000000-0000-0000-0000-000000000000', 'before 1970 there are none');

-- A message that was finished some days ago, with history and key, in any state.
CREATE FUNCTION byoc_test.finished(status text, days integer, org_id uuid DEFAULT byoc_test.org_a()) RETURNS uuid LANGUAGE sql AS $$
    WITH stored AS (
        INSERT INTO byoc.messages (org_id, id, to_number, body, status, claimed_at, attempts, idempotency_key, created_at, finished_at)
        SELECT org_id, overlay(byoc.uuid_v7()::text PLACING left(byoc.first_id_at(t)::text, 13) FROM 1)::uuid, '+15005550006', 'old', status, CASE WHEN status <> 'cancelled' THEN t END, 1, -- some were never claimed
               format('%s %s', status, days), t, t
        FROM (SELECT now() - days * interval '1 day') AS age (t)
        RETURNING messages.org_id, messages.id, messages.idempotency_key
    ), noted AS (
        INSERT INTO byoc.message_events (org_id, message_id, id, event, attempt) SELECT s.org_id, s.id, byoc.uuid_v7(), 'accepted', 1 FROM stored s
    ), keyed AS (
        INSERT INTO byoc.idempotency_keys (org_id, key, message_id) SELECT s.org_id, s.idempotency_key, s.id FROM stored s ON CONFLICT DO NOTHING
    )
    SELECT s.id FROM stored s;
$$;
CREATE TABLE byoc_test.old AS
SELECT byoc_test.finished(s, d) AS id, s AS status, d AS days
FROM unnest(ARRAY['sent', 'delivered', 'undelivered', 'failed', 'cancelled', 'expired', 'unknown']) AS s, unnest(ARRAY[3, 30]) AS d;
SELECT byoc_test.finished('sent', 30, byoc_test.org_b()) AS of_b \gset
-- Made long ago, finished yesterday; and paused ever since.
INSERT INTO byoc.messages (org_id, id, to_number, body, status, attempts, finished_at)
VALUES (byoc_test.org_a(), byoc.first_id_at(now() - interval '60 days'), '+15005550006', 'scheduled long before', 'sent', 1, now() - interval '1 day'),
       (byoc_test.org_a(), byoc.first_id_at(now() - interval '61 days'), '+15005550006', 'paused', 'queued', 1, NULL);

-- Refused
SELECT byoc_test.refused($$SELECT byoc.prune(NULL)$$, '22023', 'older_than must be an interval of 0 or more, not NULL.*90 days', 'no interval is refused');
SELECT byoc_test.refused($$SELECT byoc.prune('-1 day')$$, '22023', 'not -1 days', 'a negative one, too');
SELECT byoc_test.refused($$SELECT byoc.prune('1 day', 0)$$, '22023', 'batch must be 1 or more, not 0', 'and a batch of none');
SET LOCAL ROLE byoc_test_tenant;
SELECT byoc_test.refused($$SELECT byoc.prune('1 day')$$, '42501', 'permission denied', 'a tenant may not prune');
RESET ROLE;

-- Deleted
SET LOCAL ROLE byoc_test_admin;
SELECT is(byoc.prune('100 days'), 0::bigint, 'nothing is as old as that');
SELECT is(byoc.prune('10 days', 4), 4::bigint, 'a call deletes its batch');
SELECT is(byoc.prune('10 days', 4), 3::bigint, 'the next one the rest, of all organizations');
SELECT is(byoc.prune('10 days', 4), 0::bigint, 'then nothing is left to do');
RESET ROLE;
SELECT set_eq($$SELECT o.status FROM byoc_test.old o JOIN byoc.messages m USING (id) WHERE o.days = 30$$, ARRAY['unknown'], 'whatever was finished is gone; unknown stays');
SELECT is((SELECT count(*) FROM byoc_test.old o JOIN byoc.messages m USING (id) WHERE o.days = 3), 7::bigint, 'what was finished later stays');
SELECT is((SELECT count(*) FROM byoc.messages WHERE body IN ('scheduled long before', 'paused')), 2::bigint, 'so do messages that are old but not finished for long');
SELECT set_eq($$SELECT message_id FROM byoc.message_events$$, $$SELECT id FROM byoc_test.old JOIN byoc.messages USING (id)$$, 'history goes with its message');
SELECT set_eq($$SELECT message_id FROM byoc.idempotency_keys WHERE key LIKE '%30'$$, $$SELECT id FROM byoc_test.old WHERE status = 'unknown' AND days = 30$$, 'and so do keys');
SELECT results_eq($$SELECT org_id, details - 'older_than' FROM byoc.audit_entries WHERE action = 'messages.pruned' ORDER BY (details ->> 'count')::int$$,
    $$VALUES ('00000000-0000-0000-0000-000000000000'::uuid, '{"count": 3}'::jsonb), ('00000000-0000-0000-0000-000000000000', '{"count": 4}')$$, 'the audit trail has each call that deleted');
INSERT INTO byoc.idempotency_keys (org_id, key, message_id) VALUES (byoc_test.org_a(), 'sent 40', gen_random_uuid());
SELECT byoc_test.finished('sent', 40) AS m \gset
SELECT is(byoc.prune('10 days'), 1::bigint, 'a message whose key belongs to another one');
SELECT is((SELECT count(*) FROM byoc.idempotency_keys WHERE key = 'sent 40'), 1::bigint, 'does not take it along');

-- Kept, because a message list will be compared with it
SELECT byoc_test.finished('sent', 30) AS m \gset
SELECT byoc_test.finished('sent', 40) AS before \gset
INSERT INTO byoc.reconciliations (org_id, message_id, claim_id, credential_id, to_number, attempt_from, attempt_until, reason, due_at)
VALUES (byoc_test.org_a(), gen_random_uuid(), gen_random_uuid(), :'a1', '+15005550006', now() - interval '30 days 5 minutes', now(), 'timeout', now());
SELECT is(byoc.prune('10 days'), 1::bigint, 'while an attempt''s end is looked for');
SELECT results_eq(format('SELECT id FROM byoc.messages WHERE id IN (%L, %L)', :'m', :'before'), ARRAY[:'m'::uuid], 'messages of its time stay, older ones go');
DELETE FROM byoc.reconciliations;
INSERT INTO byoc.claims VALUES (byoc.first_id_at(now() - interval '30 days 5 minutes'), byoc_test.dispatcher(), now() - interval '1 day', '{}', '{}', 1);
SELECT is(byoc.prune('10 days'), 0::bigint, 'nor while a claim of that time is not settled');
DELETE FROM byoc.claims;
SELECT is(byoc.prune('10 days'), 1::bigint, 'then they go');
SELECT is(byoc.prune('0'), 7::bigint, 'an interval of 0 means everything that was finished before now');
DO $$ BEGIN DELETE FROM byoc.messages; DELETE FROM byoc.lanes; PERFORM byoc.take_lanes(); END $$;

-- Lanes
SELECT is_empty($$SELECT * FROM byoc.queue_health$$, 'with nothing to do no lane is shown');
DO $$ BEGIN
    PERFORM byoc.send_sms('+15005550006', 'n' || n, org_id => byoc_test.org_a()) FROM generate_series(1, 5) AS n;
    PERFORM byoc.send_sms('+15005550006', 'later', send_at => now() + interval '1 hour', org_id => byoc_test.org_a()) FROM generate_series(1, 2);
    PERFORM byoc.send_sms('+15005550006', 'of b', org_id => byoc_test.org_b());
END $$;
UPDATE byoc.queue SET created_at = now() - interval '10 minutes' WHERE body = 'n1';
CREATE TABLE byoc_test.got AS SELECT * FROM byoc.claim_jobs(byoc_test.dispatcher(), 2, '1 minute');
SELECT results_eq($$SELECT org_id, credential_id, sender, waiting, scheduled, sending, reconciling, unknown, breaker, failures, limited, next_at FROM byoc.queue_health ORDER BY org_id$$,
    format($$VALUES (byoc_test.org_a(), %L::uuid, '+15005550001', 4::bigint, 2::bigint, 1::bigint, 0::bigint, 0::bigint, 'closed', 0, false, NULL::timestamptz),
                    (byoc_test.org_b(), %L::uuid, '+15005550009', 0::bigint, 0::bigint, 1::bigint, 0::bigint, 0::bigint, 'closed', 0, false, NULL)$$, :'a1', :'b9'),
    'each lane with work, its sender and what is where');
SELECT is((SELECT sending + waiting FROM byoc.stats), 6::bigint, 'byoc.stats has the sums');
UPDATE byoc.queue SET created_at = now() - interval '10 minutes';
SELECT ok((SELECT oldest_waiting BETWEEN interval '10 minutes' AND interval '12 minutes' FROM byoc.queue_health WHERE waiting > 0), 'the age of the oldest');
SELECT ok((SELECT oldest_waiting_seconds BETWEEN 600 AND 720 FROM byoc.stats), 'in seconds in byoc.stats');
UPDATE byoc.queue SET send_at = now() - interval '1 minute';
SELECT ok((SELECT oldest_waiting BETWEEN interval '1 minute' AND interval '3 minutes' FROM byoc.queue_health WHERE waiting > 0), 'a scheduled one waits since its time');

-- What is looked for, and what nobody knows
SELECT id AS of_a FROM byoc_test.got WHERE org_id = byoc_test.org_a() \gset
SELECT is(byoc_test.record(:'of_a', 'unknown', '{"error_code": "timeout"}'), 1, 'an answer is lost');
SELECT results_eq($$SELECT sending, reconciling, unknown FROM byoc.queue_health WHERE org_id = byoc_test.org_a()$$, $$VALUES (0::bigint, 1::bigint, 0::bigint)$$, 'its message is looked for');
SELECT results_eq($$SELECT sending, reconciling, unknown FROM byoc.stats$$, $$VALUES (1::bigint, 1::bigint, 0::bigint)$$, 'byoc.stats says so');
SELECT ok(byoc.give_up_reconciling(byoc_test.org_a(), :'of_a', 'it may not be read'), 'nobody can tell');
SELECT results_eq($$SELECT sending, reconciling, unknown FROM byoc.queue_health WHERE org_id = byoc_test.org_a()$$, $$VALUES (0::bigint, 0::bigint, 1::bigint)$$, 'then it is unknown');
SELECT results_eq($$SELECT unknown, unknown_last_hour FROM byoc.stats$$, $$VALUES (1::bigint, 1::bigint)$$, 'also in byoc.stats');
SELECT byoc.resolve_unknown_sms(:'of_a', 'failed');
SELECT is((SELECT unknown FROM byoc.queue_health WHERE org_id = byoc_test.org_a()), 0::bigint, 'until somebody decides');
SELECT is_empty($$SELECT * FROM byoc.unknown_messages$$, 'which leaves nothing behind');
SELECT id AS of_b FROM byoc_test.got WHERE org_id = byoc_test.org_b() \gset
SELECT is(byoc_test.record(:'of_b', 'accepted', '{"provider_sid": "SM00000000000000000000000000000001"}'), 1, 'another message is sent');
SELECT results_eq($$SELECT sent_last_hour, failed_last_hour, expired_last_hour FROM byoc.stats$$, $$VALUES (1::bigint, 1::bigint, 0::bigint)$$, 'the last hour by outcome');
SELECT is_empty($$SELECT * FROM byoc.queue_health WHERE org_id = byoc_test.org_b()$$, 'a lane without work or trouble disappears');
UPDATE byoc.messages SET claimed_at = now() - interval '61 minutes';
SELECT is((SELECT sent_last_hour FROM byoc.stats), 0::bigint, 'an hour later it counts no more');

-- Breaker and limits
UPDATE byoc.lanes SET failures = 5, next_at = now() + interval '1 hour' WHERE org_id = byoc_test.org_b();
SELECT results_eq($$SELECT breaker, failures, limited, next_at > now(), waiting FROM byoc.queue_health WHERE org_id = byoc_test.org_b()$$, $$VALUES ('open', 5, false, true, 0::bigint)$$,
    'a lane whose breaker is open is shown without work, too');
UPDATE byoc.lanes SET next_at = now() WHERE org_id = byoc_test.org_b();
SELECT results_eq($$SELECT breaker, next_at FROM byoc.queue_health WHERE org_id = byoc_test.org_b()$$, $$VALUES ('half_open', NULL::timestamptz)$$, 'half open, once it may be tried');
UPDATE byoc.lanes SET failures = 1, busy = true, next_at = now() + interval '1 hour' WHERE org_id = byoc_test.org_a();
SELECT results_eq($$SELECT breaker, failures, limited, next_at > now() FROM byoc.queue_health WHERE org_id = byoc_test.org_a()$$, $$VALUES ('closed', 1, true, true)$$, 'a lane that waits is limited until next_at');
SELECT results_eq($$SELECT breakers_open, lanes_limited, scheduled, due, dispatchers_sending FROM byoc.stats$$, $$VALUES (1::bigint, 1::bigint, 2::bigint, 0::bigint, 0::bigint)$$, 'both are counted');
UPDATE byoc.schedule SET due_at = now() - interval '1 second' WHERE id = (SELECT id FROM byoc.schedule LIMIT 1);
SELECT results_eq($$SELECT scheduled, due FROM byoc.stats$$, $$VALUES (1::bigint, 1::bigint)$$, 'a message whose time has come is due');
SELECT results_eq($$SELECT credentials_pending, credentials_verified, credentials_failed FROM byoc.stats$$, $$VALUES (0::bigint, 2::bigint, 0::bigint)$$, 'credentials are counted by what their check said');

-- Dispatchers
SELECT is((SELECT dispatchers_sleeping FROM byoc.stats), 0, 'nobody sleeps');
SELECT byoc.announce_sleep();
SELECT is((SELECT dispatchers_sleeping FROM byoc.stats), 1, 'a dispatcher that waits for work is counted');
SELECT byoc.end_sleep();
INSERT INTO byoc.claims VALUES (byoc.uuid_v7(), byoc_test.dispatcher(), now() + interval '1 minute', '{}', '{}', 0), (byoc.uuid_v7(), byoc_test.dispatcher(), now() + interval '1 minute', '{}', '{}', 0),
                               (byoc.uuid_v7(), gen_random_uuid(), now() - interval '1 minute', '{}', '{}', 0);
SELECT is((SELECT dispatchers_sending FROM byoc.stats), 1::bigint, 'one that holds a lease, too; a dead one is not');

-- Who sees what
SET LOCAL ROLE byoc_test_tenant;
SELECT is_empty($$SELECT * FROM byoc.queue_health$$, 'a tenant without a context sees nothing');
SELECT byoc_test.act_as(byoc_test.org_a());
SELECT results_eq($$SELECT DISTINCT org_id FROM byoc.queue_health$$, $$VALUES (byoc_test.org_a())$$, 'with one, its own organization''s lanes');
SELECT byoc_test.refused($$SELECT * FROM byoc.stats$$, '42501', 'permission denied', 'and no totals');
SELECT byoc_test.no_context();
SET LOCAL ROLE byoc_test_admin;
SELECT is((SELECT count(DISTINCT org_id) FROM byoc.queue_health), 2::bigint, 'an administrator sees all');
SET LOCAL ROLE byoc_test_dispatcher;
SELECT is((SELECT count(DISTINCT org_id) FROM byoc.queue_health()), 2::bigint, 'so does a dispatcher, through the functions');
SELECT is((SELECT breakers_open FROM byoc.stats()), 1::bigint, 'totals included');
RESET ROLE;

SELECT * FROM finish();
ROLLBACK;
