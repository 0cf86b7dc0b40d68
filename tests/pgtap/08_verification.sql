-- Verification of credentials: asked for, claimed by a dispatcher, its result, and who may send meanwhile.
BEGIN;
\ir support/setup.sql
SELECT plan(74);

SELECT byoc_test.add_twilio(byoc_test.org_a(), 1, 'pending') AS one \gset
SELECT byoc_test.add_twilio(byoc_test.org_b(), 2, 'pending') AS two \gset
CREATE FUNCTION byoc_test.claimed(max_count integer DEFAULT 10) RETURNS SETOF text LANGUAGE sql AS $$
    SELECT v.provider || ' ' || v.version || ' ' || v.id FROM byoc.claim_verifications(byoc_test.dispatcher(), max_count, '1 minute') AS v;
$$;
CREATE FUNCTION byoc_test.verification(id uuid) RETURNS text LANGUAGE sql AS $$
    SELECT concat_ws(' ', c.verification_status, c.verification_error, CASE WHEN c.last_verified_at > now() - interval '1 hour' THEN 'just now' END)
    FROM byoc.credentials c WHERE c.id = verification.id;
$$;
-- When it is checked next.
CREATE FUNCTION byoc_test.due_in(id uuid) RETURNS interval LANGUAGE sql AS $$
    SELECT c.verification_due_at - clock_timestamp() FROM byoc.organization_api_credentials c WHERE c.id = due_in.id;
$$;
-- Results of the credential's checks in the audit trail, in their order.
CREATE FUNCTION byoc_test.audited(id uuid) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(replace(a.action, 'credential.', ''), ', ' ORDER BY a.id) FROM byoc.audit_log a
    WHERE a.object_id = audited.id AND a.action IN ('credential.verified', 'credential.verification_failed');
$$;

-- Claims
SELECT is((SELECT count(*) FROM byoc_test.claimed(1)), 1::bigint, 'new credentials are verified by themselves: at most max_count are claimed');
SELECT is((SELECT count(*) FROM byoc_test.claimed(10)), 1::bigint, 'a claimed one does not come again before its lease ends, the other one does');
SELECT is_empty('SELECT byoc_test.claimed()', 'then nothing is left');
SELECT is(byoc_test.verification(:'one'), 'pending', 'claiming changes no status');
UPDATE byoc.organization_api_credentials SET verification_due_at = clock_timestamp() - interval '1 second';
SELECT byoc_test.lists('SELECT byoc_test.claimed()', ARRAY['twilio 1 ' || :'one', 'twilio 1 ' || :'two'], 'when the lease ends without a result they come up again');

-- Results
SELECT lives_ok(format($$SELECT byoc.record_verification(byoc_test.org_a(), %L, 1, 'verified', NULL)$$, :'one'), 'a good result is recorded');
SELECT is(byoc_test.verification(:'one'), 'verified just now', 'and shows in the view with its time');
SELECT lives_ok(format($$SELECT byoc.record_verification(byoc_test.org_b(), %L, 1, 'failed', 'The account is suspended.')$$, :'two'), 'a bad result is recorded');
SELECT is(byoc_test.verification(:'two'), 'failed The account is suspended.', 'and shows with its sentence');
SELECT is(byoc_test.due_in(:'two'), NULL, 'what failed is not checked again by itself');
SELECT is_empty('SELECT byoc_test.claimed()', 'a result ends the verification');
SELECT is(byoc_test.audited(:'one') || ' / ' || byoc_test.audited(:'two'), 'verified / verification_failed', 'the audit trail has both');
SELECT lives_ok(format($$SELECT byoc.record_verification(byoc_test.org_a(), %L, 2, 'failed', 'late')$$, :'one'), 'a result for another version of the fields');
SELECT is(byoc_test.verification(:'one'), 'verified just now', 'is ignored');
SELECT lives_ok(format($$SELECT byoc.record_verification(byoc_test.org_b(), %L, 1, 'failed', 'wrong')$$, :'one'), 'a result for another organization');
SELECT is(byoc_test.verification(:'one'), 'verified just now', 'is ignored');
SELECT byoc_test.refused(format($$SELECT byoc.record_verification(byoc_test.org_a(), %L, 1, 'perhaps', NULL)$$, :'one'), '22023', 'perhaps', 'an unknown result is refused');
SELECT byoc_test.refused(format($$SELECT byoc.record_verification(byoc_test.org_a(), %L, 1, NULL, NULL)$$, :'one'), '22023', 'status must be', 'so is none');

-- Again once a day
SELECT ok(byoc_test.due_in(:'one') BETWEEN interval '21 hours' AND interval '27 hours', 'a verified one is checked again in a day, give or take');
UPDATE byoc.organization_api_credentials SET verification_due_at = now() - interval '1 minute' WHERE id = :'one';
SELECT byoc_test.lists('SELECT byoc_test.claimed()', ARRAY['twilio 1 ' || :'one'], 'then it comes up');
SELECT is_empty('SELECT byoc_test.claimed()', 'for one dispatcher only');
SELECT byoc.record_verification(byoc_test.org_a(), :'one', 1, 'verified', NULL);
SELECT is(byoc_test.audited(:'one'), 'verified', 'a result that changes nothing is not in the audit trail');
SET LOCAL byoc.verification_interval = '1h';
SELECT byoc.record_verification(byoc_test.org_a(), :'one', 1, 'verified', NULL);
SELECT ok(byoc_test.due_in(:'one') BETWEEN interval '50 minutes' AND interval '70 minutes', 'byoc.verification_interval says how often');
SET LOCAL byoc.verification_interval = 0;
SELECT byoc.record_verification(byoc_test.org_a(), :'one', 1, 'verified', NULL);
SELECT is(byoc_test.due_in(:'one'), NULL, '0: never by itself');
RESET byoc.verification_interval;

-- The provider could not be asked
SELECT byoc.record_verification(byoc_test.org_a(), :'one', 1, 'retry', 'Twilio could not be reached.');
SELECT is(byoc_test.verification(:'one'), 'verified just now', 'a verified credential does not fail because the network does');
SELECT ok(byoc_test.due_in(:'one') BETWEEN interval '3 seconds' AND interval '7 seconds', 'it is checked again soon');
SELECT byoc.record_verification(byoc_test.org_a(), :'one', 1, 'retry', 'Twilio could not be reached.') FROM generate_series(1, 4);
SELECT ok(byoc_test.due_in(:'one') BETWEEN interval '55 seconds' AND interval '100 seconds', 'later each time');
SELECT byoc.record_verification(byoc_test.org_a(), :'one', 1, 'retry', 'Twilio could not be reached.') FROM generate_series(1, 40);
SELECT ok(byoc_test.due_in(:'one') BETWEEN interval '7 minutes' AND interval '13 minutes', 'up to about ten minutes');
SELECT byoc.record_verification(byoc_test.org_a(), :'one', 1, 'verified', NULL);
SELECT byoc.record_verification(byoc_test.org_a(), :'one', 1, 'retry', 'Twilio could not be reached.');
SELECT ok(byoc_test.due_in(:'one') < interval '7 seconds', 'a result ends the row of failures');
SELECT is(byoc_test.audited(:'one'), 'verified', 'none of this is in the audit trail');

-- What could not be checked
CREATE FUNCTION byoc_test.note(id uuid) RETURNS text LANGUAGE sql AS $$ SELECT concat_ws(' ', c.verification_status, c.verification_error, c.verification_note) FROM byoc.credentials c WHERE c.id = note.id $$;
SELECT byoc.record_verification(byoc_test.org_a(), :'one', 1, 'verified', 'Not the account.');
SELECT is(byoc_test.note(:'one'), 'verified Not the account.', 'a verified credential says what could not be checked');
SELECT byoc.record_verification(byoc_test.org_a(), :'one', 1, 'retry', 'Twilio could not be reached.');
SELECT is(byoc_test.note(:'one'), 'verified Not the account.', 'until the next result');
SELECT byoc.record_verification(byoc_test.org_a(), :'one', 1, 'verified', NULL);
SELECT is(byoc_test.note(:'one'), 'verified', 'of which it is a part');

-- Asked for
SELECT lives_ok(format($$SELECT byoc.verify_credential(%L)$$, :'two'), 'it may be asked for again');
SELECT is(byoc_test.verification(:'two'), 'pending', 'then what had failed is pending, the old error is gone');
SELECT lives_ok(format($$SELECT byoc.verify_credential(%L)$$, :'one'), 'also for a verified one');
SELECT is(byoc_test.verification(:'one'), 'verified just now', 'which goes on sending meanwhile');
UPDATE byoc.organization_api_credentials SET verification_due_at = now() - interval '1 year' WHERE id = :'two';
SELECT byoc_test.lists('SELECT byoc_test.claimed(1)', ARRAY['twilio 1 ' || :'one'], 'what was asked for comes before what is due');
SELECT byoc_test.lists('SELECT byoc_test.claimed()', ARRAY['twilio 1 ' || :'two'], 'then the rest');
SELECT byoc.record_verification(byoc_test.org_b(), :'two', 1, 'retry', 'Twilio could not be reached.');
SELECT is(byoc_test.verification(:'two'), 'pending Twilio could not be reached.', 'a pending one that cannot be checked says why');

-- Who may send
SELECT byoc_test.add_twilio(byoc_test.org_a(), 3, 'pending') AS three \gset
CREATE FUNCTION byoc_test.sent() RETURNS SETOF text LANGUAGE sql AS $$ SELECT c.body FROM byoc_test.claim(10) AS c $$;
CREATE FUNCTION byoc_test.reason(id uuid) RETURNS text LANGUAGE sql AS $$ SELECT m.status || ' ' || m.waiting_reason FROM byoc.sms_messages m WHERE m.id = reason.id $$;
-- As if ten seconds had passed.
CREATE FUNCTION byoc_test.later() RETURNS void LANGUAGE sql AS $$ UPDATE byoc.lanes SET next_at = next_at - interval '10 seconds' WHERE barred $$;
SELECT byoc.send_sms('+15005550006', 'by a pending one', credential_id => :'three', org_id => byoc_test.org_a()) AS m3 \gset
SELECT byoc.send_sms('+15005550006', 'by a verified one', org_id => byoc_test.org_a()) AS m1 \gset
SELECT byoc_test.lists('SELECT byoc_test.sent()', ARRAY['by a verified one'], 'only a verified credential sends');
SELECT is(byoc_test.reason(:'m3'), 'queued paused: the credential is not verified yet', 'the other''s message waits, and says why');
SELECT is((SELECT attempts FROM byoc.sms_messages WHERE id = :'m3'), 0, 'no attempt was made');
SELECT results_eq(format($$SELECT waiting, limited, paused FROM byoc.queue_health WHERE credential_id = %L$$, :'three'),
    $$VALUES (1::bigint, false, 'paused: the credential is not verified yet')$$, 'byoc.queue_health says so too');
SELECT results_eq($$SELECT waiting, lanes_limited, lanes_paused, oldest_waiting_seconds FROM byoc.stats$$, $$VALUES (1::bigint, 0::bigint, 1::bigint, NULL::double precision)$$,
    'byoc.stats counts it, and nothing that could be sent');
SELECT ok(byoc.dispatcher_sleep() BETWEEN 2000 AND 10000, 'nobody is kept awake by it');
SELECT is_empty('SELECT byoc_test.sent()', 'nor does it come up again at once');
SELECT byoc_test.later();
SELECT is_empty('SELECT byoc_test.sent()', 'when it comes up it is as before');
SELECT byoc.record_verification(byoc_test.org_a(), :'three', 1, 'retry', 'Twilio could not be reached.');
SELECT is(byoc_test.reason(:'m3'), 'queued paused: the credential is not verified yet: Twilio could not be reached.', 'its reason follows the checks');
SELECT byoc.record_verification(byoc_test.org_a(), :'three', 1, 'verified', NULL);
SELECT is(byoc.dispatcher_sleep(), 0, 'once it is verified there is work');
SELECT byoc_test.lists('SELECT byoc_test.sent()', ARRAY['by a pending one'], 'and the message goes out at once');
SELECT is(byoc_test.reason(:'m3'), NULL, 'nothing stands in its way any more');

-- A paused lane without messages is nobody's business.
SELECT byoc_test.act_as(byoc_test.org_a());
SELECT byoc.update_credential(:'three', '{"phone_number": "+15005550034"}');
SELECT byoc_test.no_context();
SELECT byoc.send_sms('+15005550006', 'never mind', credential_id => :'three', org_id => byoc_test.org_a()) AS m3 \gset
SELECT is_empty('SELECT byoc_test.sent()', 'a message waits');
SELECT byoc.cancel_sms(:'m3');
SELECT byoc_test.later();
SELECT is_empty('SELECT byoc_test.sent()', 'and is cancelled');
SELECT is((SELECT lanes_paused FROM byoc.stats), 0::bigint, 'then its lane is not looked at any more');
SELECT is((SELECT busy FROM byoc.lanes WHERE lane = :'three'), false, 'nor by a claim');
SELECT byoc.send_sms('+15005550006', 'until then', credential_id => :'three', expires_at => clock_timestamp() + interval '1 hour', org_id => byoc_test.org_a()) AS m3 \gset
SELECT is_empty('SELECT byoc_test.sent()', 'a message that expires waits too');
UPDATE byoc.queue SET expires_at = now() - interval '1 second' WHERE id = :'m3';
SELECT byoc_test.later();
SELECT is_empty('SELECT byoc_test.sent()', 'not for longer than that');
SELECT is(byoc_test.status(:'m3'), 'expired', 'then it has expired');
SELECT byoc_test.verified(byoc_test.org_a());

-- A setting lets pending ones send, never failed ones.
SELECT byoc_test.act_as(byoc_test.org_a());
SELECT byoc.update_credential(:'three', '{"phone_number": "+15005550033"}');
SELECT byoc_test.no_context();
SELECT is(byoc_test.verification(:'three'), 'pending just now', 'one whose fields were changed is pending again');
SELECT byoc.send_sms('+15005550006', 'by a pending one', credential_id => :'three', org_id => byoc_test.org_a()) AS m3 \gset
SELECT is_empty('SELECT byoc_test.sent()', 'and does not send');
SET LOCAL byoc.require_verified = off;
SELECT is(byoc_test.reason(:'m3'), NULL, 'byoc.require_verified off: nothing stands in its way');
SELECT byoc_test.later();
SELECT byoc_test.lists('SELECT byoc_test.sent()', ARRAY['by a pending one'], 'it sends, within ten seconds');
SELECT byoc.record_verification(byoc_test.org_a(), :'three', 3, 'failed', 'The number is not in the account.');
SELECT byoc.send_sms('+15005550006', 'by a failed one', credential_id => :'three', org_id => byoc_test.org_a()) AS m3 \gset
SELECT is_empty('SELECT byoc_test.sent()', 'a failed one never does');
SELECT is(byoc_test.reason(:'m3'), 'queued paused: the credential failed: The number is not in the account.', 'and its messages say why');
RESET byoc.require_verified;

-- Other lanes of the organization: without a credential of their own they go by the default.
SELECT byoc_test.act_as(byoc_test.org_a());
SELECT byoc.send_sms('+15005550006', 'queued for the old default') AS m1 \gset
UPDATE byoc.credentials SET is_default = true WHERE id = :'three';
SELECT byoc.revoke_credential(:'one');
SELECT byoc_test.no_context();
SELECT is_empty('SELECT byoc_test.sent()', 'the default that takes over for a revoked one must be verified as well');
SELECT matches(byoc_test.reason(:'m1'), '^queued paused: the credential failed', 'its state is the reason');
SELECT byoc.verify_credential(:'three');
SELECT byoc_test.verified(byoc_test.org_a());
SELECT byoc_test.lists('SELECT byoc_test.sent()', ARRAY['queued for the old default', 'by a failed one'], 'verified, it sends what all of them have');
SELECT lives_ok(format($$SELECT byoc.record_verification(byoc_test.org_a(), %L, 2, 'failed', 'late')$$, :'one'), 'a result for a revoked credential');
SELECT is(byoc_test.verification(:'one'), 'verified just now', 'is ignored');
SELECT byoc_test.act_as(byoc_test.org_a(), 'member');
SELECT byoc_test.refused(format('SELECT byoc.verify_credential(%L)', :'three'), '42501', 'admin', 'a member may not ask for a verification');
SELECT byoc_test.no_context();

DO $$ BEGIN PERFORM byoc_test.add_twilio(byoc_test.org_b(), n, 'pending') FROM generate_series(10, 39) AS n; END $$;
SELECT is((SELECT count(*) FROM byoc_test.claimed(7)), 7::bigint, 'of thirty new ones exactly the seven asked for are claimed');
SELECT is((SELECT count(*) FROM byoc_test.claimed(100)), 23::bigint, 'the next claim gives the other 23');

-- Turns
UPDATE byoc.organization_api_credentials SET verification_due_at = NULL;
SELECT byoc_test.add_twilio(byoc_test.org_a(), n, 'pending') FROM generate_series(3, 6) AS n;
SELECT byoc_test.add_twilio(byoc_test.org_b(), 7, 'pending') AS last \gset
UPDATE byoc.organization_api_credentials SET verification_due_at = CASE id WHEN :'last' THEN clock_timestamp() ELSE '-infinity' END WHERE verification_due_at IS NOT NULL;
SELECT is((SELECT count(*) FROM byoc_test.claimed(2) AS c WHERE c LIKE '%' || :'last'), 1::bigint, 'organizations take turns, however many one has asked for');

SELECT * FROM finish();
ROLLBACK;
