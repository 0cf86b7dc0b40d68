-- What byocd check asks the database for.
BEGIN;
\ir support/setup.sql
SELECT plan(18);

CREATE FUNCTION byoc_test.subject(org_id uuid DEFAULT byoc_test.org_a()) RETURNS text LANGUAGE sql AS $$
    SELECT concat_ws(' ', s.organization, s.alert_phone, s.credential_id IS NOT NULL, s.state, s.verification_status, s.verification_error)
    FROM byoc.check_subject(org_id) AS s;
$$;

SELECT is(byoc_test.subject('99999999-0000-4000-8000-000000000009'), NULL, 'an organization that does not exist has no row');
SELECT is(byoc_test.subject(), 'Organization A f none', 'one without a credential says so');
SELECT byoc_test.add_twilio(byoc_test.org_a(), 1, 'pending') AS a1 \gset
UPDATE byoc.organizations SET settings = '{"alert_phone": "+15550001111"}' WHERE id = byoc_test.org_a();
SELECT is(byoc_test.subject(), 'Organization A +15550001111 t ready pending', 'the default credential is shown with its state');
SELECT is((SELECT credential_id FROM byoc.check_subject(byoc_test.org_a())), :'a1', 'it is that one');
UPDATE byoc.organization_api_credentials SET verification_status = 'failed', verification_error = 'Wrong token.' WHERE id = :'a1';
SELECT is(byoc_test.subject(), 'Organization A +15550001111 t ready failed Wrong token.', 'with what its verification found');

SET LOCAL ROLE byoc_test_dispatcher;
SELECT is((SELECT has_dispatcher FROM byoc.check_subject(byoc_test.org_a())), false, 'nobody dispatches in this database');
RESET ROLE;
SET LOCAL application_name = 'byocd';
SELECT pg_stat_clear_snapshot();
SELECT is((SELECT has_dispatcher FROM byoc.check_subject(byoc_test.org_a())), true, 'a session of byocd is seen');

-- Through the queue
SET LOCAL ROLE byoc_test_dispatcher;
SELECT byoc.send_check_sms(byoc_test.org_a(), '+15005550006', 'a test') AS message \gset
SELECT results_eq(format('SELECT * FROM byoc.check_sms(%L, %L)', byoc_test.org_a(), :'message'),
                  $$VALUES ('queued', NULL::text, NULL::text, NULL::text)$$, 'a test message is queued');
SELECT is_empty(format('SELECT * FROM byoc.check_sms(%L, %L)', byoc_test.org_b(), :'message'), 'it is that organization''s only');
SELECT byoc_test.refused($$SELECT byoc.send_check_sms('99999999-0000-4000-8000-000000000009', '+15005550006', 'x')$$, '23503',
                         'does not exist', 'nothing is queued for nobody');
SELECT byoc_test.refused($$SELECT byoc.send_check_sms(byoc_test.org_a(), '555', 'x')$$, '22023', '', 'nor to what is no number');
RESET ROLE;
SELECT is((SELECT body FROM byoc.queue WHERE id = :'message' AND expires_at BETWEEN now() AND clock_timestamp() + interval '2 minutes'), 'a test',
          'after two minutes it is not sent any more');
SELECT is((SELECT count(*) FROM byoc.audit_entries WHERE action = 'check.sms_queued' AND object_id = :'message' AND org_id = byoc_test.org_a()), 1::bigint,
          'the audit trail has it');

SELECT byoc.revoke_credential(:'a1');
SELECT is(byoc_test.subject(), 'Organization A +15550001111 t revoked failed Wrong token.', 'a revoked credential is told from none');
SELECT byoc_test.add_twilio(byoc_test.org_a(), 2) AS a2 \gset
UPDATE byoc.organization_api_credentials SET is_default = false WHERE id = :'a2';
SELECT is(byoc_test.subject(), 'Organization A +15550001111 t no_default verified', 'one that is not the default is told from one that is');
SELECT byoc.shred_organization(byoc_test.org_a());
SELECT matches(byoc_test.subject(), 'shredded', 'a shredded organization says so');

-- A copy that nobody adopted sends nothing, tests included.
UPDATE byoc.installation SET database_oid = 1;
SELECT byoc_test.refused($$SELECT byoc.send_check_sms(byoc_test.org_b(), '+15005550006', 'x')$$, '55000', 'copy of another one', 'nothing is sent from a copy');

SET LOCAL ROLE byoc_test_tenant;
SELECT byoc_test.refused($$SELECT * FROM byoc.check_subject(byoc_test.org_b())$$, '42501', 'permission denied', 'a tenant may not ask');
SELECT * FROM finish();
ROLLBACK;
