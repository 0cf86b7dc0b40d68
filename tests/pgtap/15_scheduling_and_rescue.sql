-- Times and dead dispatchers: scheduled messages, heartbeats, leases that ran out.
BEGIN;
\ir support/setup.sql
SELECT plan(56);

SELECT byoc_test.add_twilio(byoc_test.org_a(), 1) AS credential \gset
UPDATE byoc.organization_api_credentials SET verification_due_at = NULL;

CREATE FUNCTION byoc_test.sleep() RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    RETURN byoc.dispatcher_sleep();
EXCEPTION WHEN OTHERS THEN
    RETURN SQLERRM;
END $$;

-- Scheduled
SELECT byoc.send_sms('+15005550006', 'later', now() + interval '10 minutes', org_id => byoc_test.org_a()) AS m \gset
SELECT is_empty($$SELECT * FROM byoc_test.claim(10)$$, 'a scheduled message is not given out before its time');
SELECT ok(byoc.dispatcher_sleep() BETWEEN 570000 AND 600000, 'the dispatcher may sleep until then');
SELECT byoc.send_sms('+15005550006', 'sooner', now() + interval '5 minutes', org_id => byoc_test.org_b()) AS sooner \gset
SELECT ok(byoc.dispatcher_sleep() BETWEEN 270000 AND 300000, 'the soonest of all organizations counts');
SELECT byoc.cancel_sms(:'sooner');
SELECT ok(byoc.dispatcher_sleep() BETWEEN 570000 AND 600000, 'a cancelled one does not');
UPDATE byoc.schedule SET due_at = clock_timestamp() - interval '1 second' WHERE id = :'m';
SELECT is(byoc.dispatcher_sleep(), 0, 'when the time has come there is no sleep');
SELECT results_eq($$SELECT body, attempt FROM byoc.claim_jobs(byoc_test.dispatcher(), 10, '1 minute')$$, $$VALUES ('later', 1)$$, 'and the message is given out');
SELECT is((SELECT send_at FROM byoc.sms_messages WHERE id = :'m'), now() + interval '10 minutes', 'it keeps its send_at');
SELECT byoc.send_sms('+15005550006', 'never', 'infinity', org_id => byoc_test.org_a()) AS never \gset
SELECT is(byoc_test.sleep(), '86400000', 'a message that is never due lets the dispatcher sleep a day');
SELECT byoc.cancel_sms(:'never');
SELECT byoc.send_sms('+15005550006', 'far', now() + interval '100 years', org_id => byoc_test.org_a()) AS far \gset
SELECT is(byoc_test.sleep(), '86400000', 'so does one in a hundred years');
SELECT byoc.cancel_sms(:'far');
DO $$ BEGIN PERFORM byoc.send_sms('+15005550006', 's' || n, now() + interval '1 hour', org_id => byoc_test.org_a()) FROM generate_series(1, 20) AS n; END $$;
UPDATE byoc.schedule SET due_at = clock_timestamp() - interval '1 second';
SELECT is(byoc.promote_due(7), 7, 'of twenty due messages exactly as many move to the queue as asked for');
SELECT is((SELECT count(*) FROM byoc.queue), 7::bigint, 'seven are in the queue');
SELECT is(byoc.promote_due(500), 13, 'then the rest');
SELECT is((SELECT count(*) FROM byoc_test.claim(100)), 20::bigint, 'all twenty are given out');
SELECT byoc.send_sms('+15005550006', 'scheduled, then expired', now() + interval '1 hour', expires_at => now() + interval '2 hours', org_id => byoc_test.org_a()) AS m \gset
UPDATE byoc.schedule SET due_at = now() - interval '2 minutes', expires_at = now() - interval '1 minute' WHERE id = :'m';
SELECT is_empty($$SELECT * FROM byoc_test.claim(10)$$, 'a scheduled message whose expiry passed while no dispatcher ran is not sent');
SELECT is(byoc_test.status(:'m'), 'expired', 'it is expired');
SELECT byoc.send_sms('+15005550006', 'x', now() + interval '1 hour', org_id => byoc_test.org_a()) AS m \gset
SELECT byoc_test.act_as(byoc_test.org_a(), 'owner');
SELECT byoc.add_credential('twilio', byoc_test.twilio(2)) AS second \gset
SELECT byoc_test.verified(byoc_test.org_a());
UPDATE byoc.credentials SET is_default = true WHERE id = :'second';
SELECT byoc_test.no_context();
UPDATE byoc.organization_api_credentials SET verification_due_at = NULL;
UPDATE byoc.schedule SET due_at = clock_timestamp() - interval '1 second';
SELECT is((SELECT credential_id FROM byoc_test.claim(10)), :'second'::uuid, 'a scheduled message goes out by the credential that is the default when its time has come');
SELECT is((SELECT count(*) FROM byoc.dispatcher_sleep() AS s WHERE s IS NULL), 1::bigint, 'then nothing is left');

-- A verification
SELECT byoc.verify_credential(:'second');
UPDATE byoc.organization_api_credentials SET verification_due_at = clock_timestamp() + interval '20 seconds' WHERE id = :'second';
SELECT ok(byoc.dispatcher_sleep() BETWEEN 15000 AND 20000, 'a verification that has to wait ends the sleep as well');
UPDATE byoc.organization_api_credentials SET verification_due_at = NULL;

-- Heartbeat
DELETE FROM byoc.claims;
SELECT byoc.send_sms('+15005550006', 'slow', org_id => byoc_test.org_a()) AS slow \gset
SELECT count(*) AS n FROM byoc_test.claim(10) \gset
SELECT is(byoc.rescue_expired(), 0, 'a lease that still runs is not touched');
SELECT is(byoc.heartbeat(byoc_test.dispatcher(), '1 hour'), 1, 'a heartbeat tells how many claims the dispatcher has');
SELECT ok((SELECT lease_until - clock_timestamp() > interval '50 minutes' FROM byoc.claims), 'and renews their leases');
SELECT is(byoc.heartbeat(gen_random_uuid(), '10 hours'), 0, 'another dispatcher''s heartbeat');
SELECT ok((SELECT lease_until - clock_timestamp() < interval '2 hours' FROM byoc.claims), 'does not renew it');

-- Rescue
CREATE FUNCTION byoc_test.absent() RETURNS integer LANGUAGE sql AS $$
    -- What the message lists do not show.
    SELECT count(byoc.settle_absent(r.org_id, r.message_id))::integer FROM byoc.reconciliations r;
$$;
UPDATE byoc.claims SET lease_until = clock_timestamp() - interval '1 second';
SELECT claim_id AS old_claim FROM byoc.messages WHERE id = :'slow' \gset
SELECT is(byoc.rescue_expired(), 1, 'when the lease ran out the message is taken over');
SELECT is(byoc_test.status(:'slow'), 'sending', 'it may have been sent, so it is looked for first');
SELECT is((SELECT reason FROM byoc.reconciliations WHERE message_id = :'slow'), 'lease_expired', 'for the reason that the lease ran out');
SELECT is((SELECT attempts FROM byoc.sms_messages WHERE id = :'slow'), 1, 'the attempt counts');
SELECT is(byoc_test.events(:'slow'), 'rescued', 'its history says so');
SELECT is((SELECT count(*) FROM byoc.claims), 0::bigint, 'the dead claim is gone');
SELECT is(byoc.rescue_expired(), 0, 'it is rescued once');
SELECT is_empty($$SELECT * FROM byoc_test.claim(10)$$, 'and not given out');
SELECT is(byoc_test.absent(), 1, 'when it was not found');
SELECT is(byoc_test.status(:'slow'), 'queued', 'it waits again');
SELECT is(byoc.record_outcomes(jsonb_build_array(jsonb_build_object('org_id', byoc_test.org_a(), 'id', :'slow', 'claim_id', :'old_claim', 'outcome', 'accepted'))), 0,
    'a late outcome of the dispatcher that was taken for dead is ignored');
SELECT is(byoc_test.status(:'slow'), 'queued', 'and changes nothing');
SELECT is((SELECT attempt FROM byoc_test.claim(10) WHERE id = :'slow'), 2, 'the message is given out as the second attempt');
SELECT is(byoc.record_outcomes(jsonb_build_array(jsonb_build_object('org_id', byoc_test.org_a(), 'id', :'slow', 'claim_id', :'old_claim', 'outcome', 'rejected', 'error_code', '21610'))), 0,
    'an outcome of the first claim is ignored while the second one is sending');
SELECT is(byoc_test.record(:'slow', 'accepted', '{}'), 1, 'the second one''s counts');
SELECT is(byoc_test.events(:'slow'), 'rescued, not_found, accepted', 'and ends the message');

-- A dispatcher that was taken for dead and lives
SELECT byoc.send_sms('+15005550006', 'alive 1', org_id => byoc_test.org_a()) AS one \gset
SELECT byoc.send_sms('+15005550006', 'alive 2', org_id => byoc_test.org_a()) AS two \gset
SELECT byoc.send_sms('+15005550006', 'alive 3', org_id => byoc_test.org_a()) AS three \gset
SELECT count(*) AS n FROM byoc_test.claim(10, '-1 second') \gset
SELECT is(byoc.rescue_expired(), 3, 'three messages are taken from it');
SELECT is(byoc_test.record(:'one', 'accepted', '{"provider_sid": "SM00000000000000000000000000000001"}'), 1, 'its answer still counts');
SELECT is(byoc_test.record(:'two', 'returned'), 1, 'what it never sent it gives back');
SELECT is(byoc_test.record(:'three', 'unknown', '{"error_code": "timeout"}'), 1, 'what it does not know either is looked for from now on');
SELECT is(byoc_test.status(:'one') || ' ' || byoc_test.status(:'two') || ' ' || byoc_test.status(:'three'), 'sent queued sending', 'each as it says');
SELECT is((SELECT reason FROM byoc.reconciliations WHERE message_id = :'three'), 'timeout', 'for its reason');
DELETE FROM byoc.reconciliations;
DELETE FROM byoc.schedule;

-- A dispatcher that died in the middle of a batch
SELECT byoc_test.add_twilio(byoc_test.org_b(), 3) AS b \gset
CREATE TABLE byoc_test.batch AS SELECT n, byoc.send_sms('+15005550006', 'b' || n, org_id => CASE WHEN n % 2 = 0 THEN byoc_test.org_a() ELSE byoc_test.org_b() END) AS id FROM generate_series(1, 40) AS n;
SELECT count(*) AS n FROM byoc_test.claim(1000, '-1 second') \gset
SELECT is((SELECT sum(byoc_test.record(id, 'accepted')) FROM byoc_test.batch WHERE n <= 10), 10::bigint, 'it recorded ten of forty outcomes');
SELECT is(byoc.rescue_expired(), 30, 'the other thirty are rescued, of both organizations');
SELECT byoc_test.lists($$SELECT m.status || ' ' || count(*) FROM byoc_test.batch b JOIN byoc.sms_messages m USING (id) GROUP BY m.status$$, ARRAY['sent 10', 'sending 30'], 'what was sent stays sent');
SELECT is(byoc_test.absent(), 30, 'none is found');
SELECT is((SELECT count(*) FROM byoc_test.claim(1000)), 30::bigint, 'and all thirty are given out again');
SELECT is((SELECT count(*) FROM byoc.all_sms_messages JOIN byoc_test.batch USING (id)), 40::bigint, 'none is lost or doubled');

-- A message without a credential was not sent by anybody.
UPDATE byoc.organization_api_credentials SET is_default = false WHERE org_id = byoc_test.org_b();
SELECT byoc.send_sms('+15005550006', 'no credential', org_id => byoc_test.org_b()) AS m \gset
SELECT count(*) AS n FROM byoc_test.claim(10, '-1 second') \gset
SELECT byoc.rescue_expired() AS n \gset
SELECT is(byoc_test.status(:'m'), 'queued', 'a rescued message that had no credential waits again at once');
SELECT byoc.cancel_sms(:'m');

-- A message that expired while its dispatcher was dead
SELECT byoc.send_sms('+15005550006', 'x', expires_at => now() + interval '1 hour', org_id => byoc_test.org_a()) AS m \gset
SELECT count(*) AS n FROM byoc_test.claim(10, '-1 second') \gset
UPDATE byoc.messages SET expires_at = now() - interval '1 second' WHERE id = :'m';
SELECT byoc.rescue_expired() + byoc_test.absent() AS n \gset
SELECT is_empty($$SELECT * FROM byoc_test.claim(10)$$, 'a rescued message whose expiry passed is not sent');
SELECT results_eq(format($$SELECT status, attempts FROM byoc.sms_messages WHERE id = %L$$, :'m'), $$VALUES ('expired', 1)$$, 'it is expired, with the attempt that was made');

-- The queue's mark of a sleeping dispatcher
SELECT lives_ok($$SELECT byoc.announce_sleep(), byoc.announce_sleep(), byoc.end_sleep(), byoc.end_sleep()$$, 'announcing and ending a sleep twice does no harm');
SELECT lives_ok($$SELECT byoc.wake_dispatcher(byoc_test.org_a())$$, 'work left by SQL can be announced');

SELECT * FROM finish();
ROLLBACK;
