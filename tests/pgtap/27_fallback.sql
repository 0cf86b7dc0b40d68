-- The environment's account: which sessions may use it, for whom, and what becomes of messages that were sent with it.
BEGIN;
\ir support/setup.sql
SELECT plan(35);

\set nil '00000000-0000-0000-0000-000000000000'
CREATE FUNCTION byoc_test.queued(org_id uuid) RETURNS uuid LANGUAGE sql RETURN byoc.send_sms('+15005550006', 'x', org_id => queued.org_id);
-- Makes this session one that announced that account, or none.
CREATE FUNCTION byoc_test.with_account(n integer) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('byoc.fallback', '0', true);
    IF n > 0 THEN
        PERFORM byoc.announce_fallback('AC' || lpad(n::text, 32, '0'), '+1555000000' || n);
    END IF;
END $$;
CREATE FUNCTION byoc_test.taken(org_id uuid) RETURNS SETOF text LANGUAGE sql AS $$
    SELECT coalesce(c.credential_id::text, 'none') || ' ' || coalesce(c.credential_version::text, '') FROM byoc_test.claim(100) AS c WHERE c.org_id = taken.org_id $$;

-- Announcing
SELECT byoc_test.refused($$SELECT byoc.announce_fallback(NULL, '+15550000001')$$, '22004', 'must not be null', 'an account without a SID is none');
SELECT is(byoc.session_fallback(), NULL, 'a session has no account');
SELECT byoc_test.with_account(1);
SELECT is(byoc.session_fallback(), 1, 'until it announces one');
SELECT byoc_test.with_account(2);
SELECT is(byoc.session_fallback(), 2, 'another account is another version');
SELECT byoc_test.with_account(1);
SELECT is(byoc.session_fallback(), 1, 'the same account the same');
SAVEPOINT service;
SELECT byoc.announce_fallback('AC' || lpad('1', 32, '0'), 'MG' || lpad('1', 32, '0'));
SELECT is((SELECT fields - 'account_sid' FROM byoc.fallback_senders WHERE version = byoc.session_fallback()),
    jsonb_build_object('messaging_service_sid', 'MG' || lpad('1', 32, '0')), 'a Messaging Service is a sender too');
ROLLBACK TO service;
SELECT is((SELECT fallback_senders FROM byoc.stats), 2::bigint, 'statistics count them');
UPDATE byoc.fallback_senders SET expected_until = clock_timestamp() + interval '1 minute';
SELECT count(*) FROM byoc_test.claim(1) \gset
SELECT results_eq($$SELECT version, expected_until > clock_timestamp() + interval '4 minutes' FROM byoc.fallback_senders ORDER BY version$$,
    $$VALUES (1, true), (2, false)$$, 'a claim shows that its byocd is still there');

-- For whom
SELECT ok(byoc.falls_back(byoc_test.org_a()), 'an organization that never had a credential may fall back');
SELECT ok(NOT byoc.falls_back(gen_random_uuid()), 'one that does not exist may not');
SELECT byoc_test.act_as(byoc_test.org_a());
SELECT byoc.add_credential('stripe', '{"secret_key": "sk_test_MADEUPMADEUP"}') AS stripe \gset
SELECT byoc_test.no_context();
SELECT ok(byoc.falls_back(byoc_test.org_a()), 'credentials that cannot send do not count');
SELECT byoc_test.add_twilio(byoc_test.org_b(), 3) AS credential \gset
SELECT ok(NOT byoc.falls_back(byoc_test.org_b()), 'an active one does');
UPDATE byoc.organization_api_credentials SET verification_status = 'failed' WHERE id = :'credential';
SELECT ok(NOT byoc.falls_back(byoc_test.org_b()), 'a failed one does');
SELECT byoc_test.act_as(byoc_test.org_b());
SELECT byoc.revoke_credential(:'credential');
SELECT byoc_test.no_context();
SELECT ok(NOT byoc.falls_back(byoc_test.org_b()), 'a revoked one does');
SELECT byoc_test.queued(byoc_test.org_b()) AS m \gset
SELECT results_eq(format('SELECT byoc_test.taken(%L)', byoc_test.org_b()), $$VALUES ('none ')$$, 'its messages are claimed without any credential');
SELECT byoc_test.queued(byoc_test.org_a()) AS m \gset
SELECT results_eq(format('SELECT byoc_test.taken(%L)', byoc_test.org_a()), format('VALUES (%L)', :'nil' || ' 1'), 'the others'' by the account of the session');
SELECT results_eq(format($$SELECT action, details ->> 'messages', details ->> 'account_sid' FROM byoc.audit_log WHERE org_id = %L AND action LIKE 'fallback%%'$$, byoc_test.org_a()),
    format($$VALUES ('fallback.used', '1', %L)$$, 'AC' || lpad('1', 32, '0')), 'which is audited');
SELECT is((SELECT fallback_last_hour FROM byoc.stats), 1::bigint, 'and counted');

-- Sessions without it
SELECT byoc_test.with_account(0);
SELECT byoc_test.queued(byoc_test.org_a()) AS left \gset
SELECT is_empty(format('SELECT byoc_test.taken(%L)', byoc_test.org_a()), 'a session without an account leaves such messages to one that has it');
SELECT ok(coalesce(byoc.dispatcher_sleep() > 0, true), 'and may sleep');
UPDATE byoc.fallback_senders SET expected_until = clock_timestamp();
SELECT is(byoc.dispatcher_sleep(), 0, 'when none is expected any more there is something to do');
SELECT results_eq(format('SELECT byoc_test.taken(%L)', byoc_test.org_a()), $$VALUES ('none ')$$, 'they are claimed without any');

-- An answer that was lost
SELECT byoc_test.with_account(1);
SELECT byoc_test.queued(byoc_test.org_a()) AS lost \gset
SELECT byoc_test.taken(byoc_test.org_a()) AS x \gset
SELECT byoc_test.record(:'lost', 'unknown', '{"error_code": "timeout"}') AS x \gset
SELECT results_eq(format('SELECT account, sender FROM byoc.reconciliations WHERE message_id = %L', :'lost'),
    format('VALUES (%L, %L)', 'AC' || lpad('1', 32, '0'), '+15550000001'), 'is looked up in the account that was used');
UPDATE byoc.reconciliations SET due_at = clock_timestamp();
SELECT byoc_test.with_account(0);
SELECT is_empty($$SELECT * FROM byoc.claim_reconciliations(8, '1 minute')$$, 'not by a session without an account');
SELECT byoc_test.with_account(2);
SELECT is_empty($$SELECT * FROM byoc.claim_reconciliations(8, '1 minute')$$, 'nor by one with another');
SELECT byoc_test.with_account(1);
SELECT results_eq($$SELECT credential_id::text, provider, account FROM byoc.claim_reconciliations(8, '1 minute')$$,
    format('VALUES (%L, %L, %L)', :'nil', 'twilio', 'AC' || lpad('1', 32, '0')), 'but by one with it');
SELECT byoc_test.with_account(0);
UPDATE byoc.reconciliations SET leased_until = NULL, attempt_until = clock_timestamp() - byoc.retry_window();
SELECT is_empty($$SELECT * FROM byoc.claim_reconciliations(8, '1 minute')$$, 'when none came for long enough');
SELECT results_eq(format('SELECT status, error_message FROM byoc.sms_messages WHERE id = %L', :'lost'),
    $$VALUES ('unknown', 'it may have been sent, and the message list could not tell: no byocd has the account in its environment any more')$$, 'a person has to decide');

-- Nothing that its tenant could mend
SELECT byoc_test.with_account(1);
SELECT byoc_test.queued(byoc_test.org_a()) AS m \gset
SELECT byoc_test.taken(byoc_test.org_a()) AS x \gset
SELECT byoc_test.record(:'m', 'rejected', '{"error_code": "20003", "http_status": 401}') AS x \gset
SELECT results_eq(format('SELECT status, error_code FROM byoc.sms_messages WHERE id = %L', :'m'), $$VALUES ('failed', '20003')$$, 'a wrong token in the environment is final');

-- Receipts and status checks
SELECT byoc_test.queued(byoc_test.org_a()) AS m \gset
SELECT byoc_test.taken(byoc_test.org_a()) AS x \gset
SELECT byoc_test.record(:'m', 'accepted', jsonb_build_object('provider_sid', 'SM' || lpad('7', 32, '0'), 'from_number', '+15550000001')) AS x \gset
SELECT results_eq(format('SELECT id::text FROM byoc.credential_for_account(%L, %L)', byoc_test.org_a(), :'nil'), format('VALUES (%L)', :'nil'), 'the environment''s account signs its receipts');
SELECT byoc.expect_receipts(ARRAY[byoc_test.org_a()], ARRAY[:'m'::uuid], ARRAY[false]);
UPDATE byoc.receipt_watches SET due_at = clock_timestamp();
SELECT byoc_test.with_account(2);
SELECT is_empty('SELECT * FROM byoc.claim_status_checks(8)', 'another account cannot ask for its status');
SELECT byoc_test.with_account(1);
SELECT results_eq('SELECT credential_id::text FROM byoc.claim_status_checks(8)', format('VALUES (%L)', :'nil'), 'the one it was sent with can');

-- An own credential
SELECT byoc_test.queued(byoc_test.org_a()) AS before \gset
SELECT byoc_test.add_twilio(byoc_test.org_a(), 4) AS own \gset
SELECT byoc_test.queued(byoc_test.org_a()) AS after \gset
SELECT results_eq(format('SELECT byoc_test.taken(%L)', byoc_test.org_a()), format('VALUES (%1$L), (%1$L)', :'own' || ' 1'), 'an own credential takes over, also for what is queued');
SELECT results_eq(format('SELECT id::text FROM byoc.credential_for_account(%L, %L)', byoc_test.org_a(), :'nil'), format('VALUES (%L)', :'nil'), 'what was sent before stays the environment''s');

-- The setting is nobody's
SET LOCAL ROLE byoc_test_tenant;
SELECT byoc_test.refused($$SELECT byoc.announce_fallback('x', 'y')$$, '42501', 'permission denied', 'a tenant cannot announce an account');
RESET ROLE;

SELECT * FROM finish();
ROLLBACK;
