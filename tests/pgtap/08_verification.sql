-- Verification of credentials: asked for, claimed by a dispatcher, and its result.
BEGIN;
\ir support/setup.sql
SELECT plan(25);

SELECT byoc_test.add_twilio(byoc_test.org_a(), 1) AS one \gset
SELECT byoc_test.add_twilio(byoc_test.org_b(), 2) AS two \gset
CREATE FUNCTION byoc_test.claimed(max_count integer DEFAULT 10) RETURNS SETOF text LANGUAGE sql AS $$
    SELECT v.provider || ' ' || v.version || ' ' || v.id FROM byoc.claim_verifications(byoc_test.dispatcher(), max_count, '1 minute') AS v;
$$;
CREATE FUNCTION byoc_test.verification(id uuid) RETURNS text LANGUAGE sql AS $$
    SELECT concat_ws(' ', c.verification_status, c.verification_error, CASE WHEN c.last_verified_at > now() - interval '1 hour' THEN 'just now' END)
    FROM byoc.credentials c WHERE c.id = verification.id;
$$;

SELECT is((SELECT count(*) FROM byoc_test.claimed(1)), 1::bigint, 'at most max_count verifications are claimed');
SELECT is((SELECT count(*) FROM byoc_test.claimed(10)), 1::bigint, 'a claimed one does not come again before its lease ends, the other one does');
SELECT is_empty('SELECT byoc_test.claimed()', 'then nothing is left');
SELECT is(byoc_test.verification(:'one'), 'pending', 'claiming changes no status');

UPDATE byoc.organization_api_credentials SET verification_due_at = clock_timestamp() - interval '1 second';
SELECT byoc_test.lists('SELECT byoc_test.claimed()', ARRAY['twilio 1 ' || :'one', 'twilio 1 ' || :'two'], 'when the lease ends without a result they come up again');

SELECT lives_ok(format($$SELECT byoc.record_verification(byoc_test.org_a(), %L, 1, 'verified', NULL)$$, :'one'), 'a good result is recorded');
SELECT is(byoc_test.verification(:'one'), 'verified just now', 'and shows in the view with its time');
SELECT lives_ok(format($$SELECT byoc.record_verification(byoc_test.org_b(), %L, 1, 'failed', 'The account is suspended.')$$, :'two'), 'a bad result is recorded');
SELECT is(byoc_test.verification(:'two'), 'failed The account is suspended.', 'and shows with its sentence');
UPDATE byoc.organization_api_credentials SET verification_due_at = verification_due_at - interval '1 day';
SELECT is_empty('SELECT byoc_test.claimed()', 'a result ends the verification');

SELECT lives_ok(format($$SELECT byoc.verify_credential(%L)$$, :'two'), 'it may be asked for again');
SELECT is(byoc_test.verification(:'two'), 'pending', 'then it is pending, the old error is gone');
SELECT byoc_test.lists('SELECT byoc_test.claimed()', ARRAY['twilio 1 ' || :'two'], 'and is claimed');
SELECT lives_ok(format($$SELECT byoc.record_verification(byoc_test.org_b(), %L, 1, 'retry', 'The provider did not answer.')$$, :'two'), 'a provider that does not answer');
SELECT matches(byoc_test.verification(:'two'), '^pending', 'leaves it pending');
SELECT ok((SELECT verification_due_at - clock_timestamp() BETWEEN interval '20 seconds' AND interval '30 seconds' FROM byoc.organization_api_credentials WHERE id = :'two'),
          'to be tried again in 30 seconds');

SELECT lives_ok(format($$SELECT byoc.record_verification(byoc_test.org_a(), %L, 2, 'failed', 'late')$$, :'one'), 'a result for another version of the fields');
SELECT is(byoc_test.verification(:'one'), 'verified just now', 'is ignored');
SELECT lives_ok(format($$SELECT byoc.record_verification(byoc_test.org_b(), %L, 1, 'failed', 'wrong')$$, :'one'), 'a result for another organization');
SELECT is(byoc_test.verification(:'one'), 'verified just now', 'is ignored');
SELECT byoc_test.refused(format($$SELECT byoc.record_verification(byoc_test.org_a(), %L, 1, 'perhaps', NULL)$$, :'one'), '22023', 'perhaps', 'an unknown result is refused');
SELECT byoc_test.act_as(byoc_test.org_a(), 'owner');
SELECT byoc.revoke_credential(:'one');
SELECT lives_ok(format($$SELECT byoc.record_verification(byoc_test.org_a(), %L, 2, 'failed', 'late')$$, :'one'), 'a result for a revoked credential');
SELECT is(byoc_test.verification(:'one'), 'verified just now', 'is ignored');
SELECT byoc_test.no_context();

DO $$ BEGIN PERFORM byoc_test.add_twilio(byoc_test.org_b(), n) FROM generate_series(10, 39) AS n; END $$;
SELECT is((SELECT count(*) FROM byoc_test.claimed(7)), 7::bigint, 'of thirty due ones exactly the seven asked for are claimed');
SELECT is((SELECT count(*) FROM byoc_test.claimed(100)), 23::bigint, 'the next claim gives the other 23');

SELECT * FROM finish();
ROLLBACK;
