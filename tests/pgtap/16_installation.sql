-- Restored and copied databases: they do not start texting by themselves.
BEGIN;
\ir support/setup.sql
SELECT plan(37);

SELECT is((SELECT count(*) FROM byoc.installation), 1::bigint, 'a fresh installation knows its database');
SELECT results_eq($$SELECT system_identifier, database_oid FROM byoc.installation$$,
    $$SELECT s.system_identifier, d.oid FROM pg_control_system() AS s, pg_database AS d WHERE d.datname = current_database()$$, 'by system identifier and database');
SELECT ok(byoc.is_adopted(), 'it belongs here');
SELECT lives_ok($$SELECT byoc.register_dispatcher(byoc_test.dispatcher())$$, 'a dispatcher may register');
SELECT is(byoc.adopt_installation(), 0::bigint, 'adopting it once more does nothing');

-- Messages of all kinds, then the marks of a copy
SELECT byoc_test.add_twilio(byoc_test.org_a(), 1) AS credential \gset
UPDATE byoc.organization_api_credentials SET verification_due_at = NULL;
SELECT byoc.send_sms('+15005550006', 'being sent', org_id => byoc_test.org_a()) AS sending \gset
SELECT count(*) AS n FROM byoc_test.claim(10) \gset
SELECT byoc.send_sms('+15005550006', 'queued', org_id => byoc_test.org_a()) AS queued \gset
SELECT byoc.send_sms('+15005550006', 'scheduled', now() + interval '1 day', expires_at => now() + interval '2 days', org_id => byoc_test.org_b()) AS scheduled \gset
SELECT byoc.send_sms('+15005550006', 'cancelled', org_id => byoc_test.org_a()) AS cancelled \gset
SELECT byoc.cancel_sms(:'cancelled');

SAVEPOINT mine;
UPDATE byoc.installation SET system_identifier = system_identifier + 1;
SELECT ok(NOT byoc.is_adopted(), 'a database with another system identifier is a copy');
ROLLBACK TO mine;
UPDATE byoc.installation SET database_oid = 1;
SELECT ok(NOT byoc.is_adopted(), 'so is another database of the same server');
ROLLBACK TO mine;
DELETE FROM byoc.installation;
SELECT ok(byoc.is_adopted() IS NOT TRUE, 'and one that does not know where it belongs');
SELECT byoc_test.refused($$SELECT byoc.register_dispatcher(byoc_test.dispatcher())$$, '55000', 'copy', 'there no dispatcher may register either');
ROLLBACK TO mine;
INSERT INTO byoc.installation (system_identifier, database_oid) VALUES (1, 1);
SELECT ok(NOT byoc.is_adopted(), 'a row of another installation beside its own, as pg_restore leaves it, marks a copy');
SELECT byoc_test.refused($$SELECT byoc.register_dispatcher(byoc_test.dispatcher())$$, '55000', 'is a copy of another one.*byoc.adopt_installation\(\).*byoc.resume_restored\(\)',
    'no dispatcher may register in a copy, and the hint says what to do');
SET LOCAL ROLE byoc_test_dispatcher;
SELECT byoc_test.refused($$SELECT byoc.register_dispatcher(byoc_test.dispatcher())$$, '55000', 'is a copy', 'also for a role that has only the dispatcher''s functions');
RESET ROLE;

-- Adopting pauses
SET LOCAL ROLE byoc_test_tenant;
SELECT byoc_test.refused($$SELECT byoc.adopt_installation()$$, '42501', 'permission denied', 'a tenant cannot adopt it');
SELECT byoc_test.refused($$SELECT byoc.resume_restored()$$, '42501', 'permission denied', 'nor resume');
RESET ROLE;
SET LOCAL ROLE byoc_test_admin;
SELECT is(byoc.adopt_installation(), 2::bigint, 'an admin adopts it; the waiting messages are counted');
RESET ROLE;
SELECT ok(byoc.is_adopted(), 'it belongs here then');
SELECT is((SELECT count(*) FROM byoc.installation), 1::bigint, 'with one row');
SELECT lives_ok($$SELECT byoc.register_dispatcher(byoc_test.dispatcher())$$, 'a dispatcher may register');
UPDATE byoc.schedule SET due_at = clock_timestamp() - interval '1 hour';
SELECT is_empty($$SELECT * FROM byoc_test.claim(10)$$, 'but nothing is sent by itself');
SELECT is(byoc.dispatcher_sleep(), NULL, 'and nothing waits for it');
SELECT is((SELECT count(*) FROM byoc.queue) + (SELECT count(*) FROM byoc.schedule) + (SELECT count(*) FROM byoc.claims) + (SELECT count(*) FROM byoc.lanes), 0::bigint,
    'there are no jobs');
SELECT is(byoc_test.status(:'queued'), 'queued', 'a message that waited is paused: queued, without a job');
SELECT ok(byoc_test.status(:'scheduled') IN ('queued', 'scheduled'), 'so is a scheduled one');
SELECT results_eq(format($$SELECT status, error_code FROM byoc.sms_messages WHERE id = %L$$, :'sending'), $$VALUES ('unknown', 'restored')$$, 'what was being sent when the copy was made is for a person to decide');
SELECT is(byoc_test.status(:'cancelled'), 'cancelled', 'what was final stays so');
SELECT lives_ok(format('SELECT byoc.cancel_sms(%L)', :'queued'), 'a paused message can be cancelled');
SELECT is(byoc_test.status(:'queued'), 'cancelled', 'and is cancelled then');
SELECT byoc.send_sms('+15005550006', 'new', org_id => byoc_test.org_a()) AS new \gset
SELECT results_eq($$SELECT body FROM byoc_test.claim(10)$$, ARRAY['new'], 'new messages are sent as always');

-- Resuming
SET LOCAL ROLE byoc_test_admin;
SELECT is(byoc.resume_restored('eeeeeeee-0000-4000-8000-00000000000e'), 0::bigint, 'resuming an organization without paused messages does nothing');
SELECT is(byoc.resume_restored(byoc_test.org_b()), 1::bigint, 'one organization''s messages are resumed');
RESET ROLE;
SELECT is(byoc_test.status(:'scheduled'), 'scheduled', 'a scheduled one waits for its time again');
SELECT results_eq(format($$SELECT send_at, expires_at FROM byoc.sms_messages WHERE id = %L$$, :'scheduled'), $$VALUES (now() + interval '1 day', now() + interval '2 days')$$, 'with its times as they were');
SELECT is(byoc_test.events(:'scheduled'), 'resumed', 'its history says so');
ROLLBACK TO mine;
INSERT INTO byoc.installation (system_identifier, database_oid) VALUES (1, 1);
SELECT byoc.adopt_installation() AS n \gset
SELECT is(byoc.resume_restored(), 2::bigint, 'without an organization all are resumed');
SELECT results_eq($$SELECT body FROM byoc_test.claim(10)$$, ARRAY['queued'], 'what was waiting is given out');
SELECT is(byoc_test.status(:'sending'), 'unknown', 'what may have been sent is not');
SELECT is(byoc.resume_restored(), 0::bigint, 'a second time there is nothing to resume');

SELECT * FROM finish();
ROLLBACK;
