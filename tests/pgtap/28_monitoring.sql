-- What byocd tells a monitoring system.
BEGIN;
\ir support/setup.sql
SELECT plan(30);

SELECT byoc_test.add_twilio(byoc_test.org_a(), 1) AS a1 \gset
SELECT byoc_test.add_twilio(byoc_test.org_b(), 9) AS b9 \gset

-- Totals are those of byoc.stats, but for breakers, which it counts together
SELECT byoc.send_sms('+15005550006', 'hello', org_id => byoc_test.org_a());
SELECT byoc.send_sms('+15005550006', 'later', now() + interval '1 hour', org_id => byoc_test.org_a());
SELECT results_eq($$SELECT waiting, scheduled, credentials_pending + credentials_verified FROM byoc.queue_totals()$$, $$VALUES (1::bigint, 1::bigint, 2::bigint)$$, 'the queue is counted');
SELECT is((SELECT to_jsonb(t) - 'breakers_half_open' - 'oldest_waiting_seconds' FROM byoc.queue_totals() t),
    (SELECT jsonb_object_agg(key, value) FROM jsonb_each((SELECT to_jsonb(s) FROM byoc.stats() s)) WHERE key !~ '_last_hour$' AND key <> 'oldest_waiting_seconds'),
    'as in byoc.stats');
INSERT INTO byoc.lanes (org_id, lane, busy, next_at, failures) VALUES
    (byoc_test.org_b(), :'b9', true, now() + interval '1 hour', byoc.breaker_threshold()), (byoc_test.org_a(), :'b9', true, now() - interval '1 hour', byoc.breaker_threshold())
ON CONFLICT (org_id, lane) DO UPDATE SET next_at = excluded.next_at, failures = excluded.failures;
SELECT results_eq($$SELECT breakers_open, breakers_half_open FROM byoc.queue_totals()$$, $$VALUES (1::bigint, 1::bigint)$$, 'breakers that are open and half open apart');
SELECT is((SELECT breakers_open FROM byoc.stats()), 2::bigint, 'in byoc.stats together');

-- Very many lanes, one of which waits for longest, and another one for longer still, but for its credential
CREATE FUNCTION byoc_test.oldest() RETURNS double precision LANGUAGE sql AS $$ SELECT floor(oldest_waiting_seconds / 3600) FROM byoc.queue_totals() $$;
SAVEPOINT few;
INSERT INTO byoc.queue (org_id, lane, id, to_number, body, created_at)
SELECT byoc_test.org_a(), gen_random_uuid(), byoc.uuid_v7(), '+15005550006', 'waits', now() - n * interval '1 hour' FROM unnest(ARRAY[2, 5]) AS n;
INSERT INTO byoc.lanes (org_id, lane, busy, barred, next_at) SELECT q.org_id, q.lane, true, true, now() FROM byoc.queue q WHERE q.created_at < now() - interval '4 hours';
SELECT is(byoc_test.oldest(), 2::double precision, 'the oldest message is that of a lane that may send');
INSERT INTO byoc.queue (org_id, lane, id, to_number, body)
SELECT byoc_test.org_a(), gen_random_uuid(), byoc.uuid_v7(), '+15005550006', 'waits' FROM generate_series(1, 1000);
SELECT is(byoc_test.oldest(), 2::double precision, 'also among very many lanes');
ROLLBACK TO few;

-- Calls
CREATE FUNCTION byoc_test.calls() RETURNS text LANGUAGE sql AS $$
    SELECT format('%s waiting, %s scheduled, %s running, %s open, %s half open, %s paused', waiting, scheduled, running, breakers_open, breakers_half_open, paused)
    FROM byoc.call_totals()
$$;
SELECT is(byoc_test.calls(), '0 waiting, 0 scheduled, 0 running, 0 open, 0 half open, 0 paused', 'no calls');
SELECT is((SELECT oldest_waiting_seconds FROM byoc.call_totals()), 0::double precision, 'so none is old');
SELECT byoc_test.add_stripe(byoc_test.org_a()) AS s1 \gset
SELECT byoc_test.verified(byoc_test.org_a());
SELECT byoc.enqueue_call(byoc_test.org_a(), 'stripe', 'now', '{}', due_at => now() - interval '1 hour');
SELECT byoc.enqueue_call(byoc_test.org_a(), 'stripe', 'later', '{}', due_at => now() + interval '1 hour');
SELECT byoc.enqueue_call(byoc_test.org_b(), 'google_calendar', 'nowhere', '{}', due_at => now() - interval '2 hours');
SELECT is(byoc_test.calls(), '2 waiting, 1 scheduled, 0 running, 0 open, 0 half open, 1 paused', 'calls by state');
SELECT is((SELECT oldest_waiting_seconds BETWEEN 3600 AND 7199 FROM byoc.call_totals()), true, 'one that nobody could make is not old');
SELECT count(*) FROM byoc.claim_calls(10, '1 minute', 10);
SELECT is(byoc_test.calls(), '1 waiting, 1 scheduled, 1 running, 0 open, 0 half open, 1 paused', 'one is being made');
INSERT INTO byoc.call_breakers SELECT c.org_id, 'stripe', '00000000-0000-0000-0000-000000000000', c.id, c.version, byoc.breaker_threshold(), now() + interval '1 hour', now()
FROM byoc.organization_api_credentials c WHERE c.id = :'s1';
SELECT is(byoc_test.calls(), '1 waiting, 1 scheduled, 1 running, 1 open, 0 half open, 1 paused', 'its breaker is open');
UPDATE byoc.call_breakers SET paused_until = now();
SELECT is(byoc_test.calls(), '1 waiting, 1 scheduled, 1 running, 0 open, 1 half open, 1 paused', 'and half open');

-- Acceptance
SELECT is((SELECT array_agg(up_to ORDER BY up_to) = array_agg(up_to) AND max(up_to) = 'infinity' FROM byoc.acceptance_times()), true,
    'a row for each bound, the last has none');

-- Keys
SELECT results_eq($$SELECT master_keys_active, master_keys_missing, data_keys_retired, data_keys_to_rewrap FROM byoc.key_totals()$$,
    $$VALUES (1::bigint, 0::bigint, 0::bigint, 0::bigint)$$, 'one master key is active, nothing is left to do');
SELECT is((SELECT data_keys_active FROM byoc.key_totals()), (SELECT count(*) FROM byoc.organization_keys), 'every data key is active');
SELECT is((SELECT master_keys_retired FROM byoc.key_totals()), (SELECT count(*) FROM byoc.keyring() WHERE state = 'retired'), 'retired master keys are counted');
SELECT byoc.rotate_organization_key(byoc_test.org_a());
SELECT is((SELECT data_keys_retired FROM byoc.key_totals()), 1::bigint, 'a rotated key is retired');
SELECT results_eq($$SELECT adopted, keyring FROM byoc.readiness()$$, $$VALUES (true, true)$$, 'this database is ready');
SAVEPOINT lost;
UPDATE byoc.organization_keys SET wrapping_key_id = 'gone' WHERE org_id = byoc_test.org_b();
SELECT results_eq($$SELECT master_keys_missing, data_keys_to_rewrap FROM byoc.key_totals()$$, $$VALUES (1::bigint, 1::bigint)$$, 'a master key that is needed and not there is missing');
SELECT results_eq($$SELECT adopted, keyring FROM byoc.readiness()$$, $$VALUES (true, false)$$, 'then the key ring is not ready');
ROLLBACK TO lost;
SELECT byoc.shred_organization(byoc_test.org_b());
SELECT ok((SELECT data_keys_destroyed >= 1 FROM byoc.key_totals()), 'keys of a shredded organization are destroyed');
UPDATE byoc.installation SET database_oid = 0;
SELECT results_eq($$SELECT adopted, keyring FROM byoc.readiness()$$, $$VALUES (false, true)$$, 'a copy is not ready until somebody adopts it');

-- Who may ask
SET LOCAL ROLE byoc_test_dispatcher;
SELECT is((SELECT adopted FROM byoc.readiness()), false, 'byocd may ask');
SELECT is((SELECT count(*) FROM byoc.queue_totals(), byoc.key_totals(), byoc.call_totals()), 1::bigint, 'for all of it');
SELECT isnt((SELECT count(*) FROM byoc.acceptance_times()), 0::bigint, 'and how long messages take');
SET LOCAL ROLE byoc_test_tenant;
SELECT byoc_test.refused($$SELECT byoc.queue_totals()$$, '42501', 'permission denied', 'a tenant may not');
SELECT byoc_test.refused($$SELECT byoc.key_totals()$$, '42501', 'permission denied', 'for nothing of it');
SELECT byoc_test.refused($$SELECT byoc.call_totals()$$, '42501', 'permission denied', 'not of calls either');
SELECT byoc_test.refused($$SELECT byoc.acceptance_times()$$, '42501', 'permission denied', 'nor how long messages take');
RESET ROLE;

SELECT * FROM finish();
ROLLBACK;
