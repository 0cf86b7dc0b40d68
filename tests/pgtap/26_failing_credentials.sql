-- A credential that the provider refuses while sending: it is failed, its messages wait, and go on once it was mended.
BEGIN;
\ir support/setup.sql
SELECT plan(51);

SELECT byoc_test.add_twilio(byoc_test.org_a(), 1) AS a \gset
SELECT byoc_test.add_twilio(byoc_test.org_b(), 2) AS b \gset
UPDATE byoc.organization_api_credentials SET verification_due_at = NULL;
-- A message of organization A that is being sent.
CREATE FUNCTION byoc_test.sending(body text, expires_at timestamptz DEFAULT NULL) RETURNS uuid LANGUAGE plpgsql AS $$
DECLARE
    id uuid := byoc.send_sms('+15005550006', body, expires_at => expires_at, org_id => byoc_test.org_a());
BEGIN
    PERFORM byoc_test.claim(100);
    RETURN id;
END $$;
CREATE FUNCTION byoc_test.refuse(id uuid, code text) RETURNS integer LANGUAGE sql AS $$
    SELECT byoc_test.record(id, 'rejected', jsonb_build_object('error_code', code, 'error_message', 'Nope', 'http_status', 400, 'retry_ms', 0));
$$;
CREATE FUNCTION byoc_test.sent() RETURNS SETOF text LANGUAGE sql AS $$ SELECT c.body FROM byoc_test.claim(10) AS c $$;
CREATE FUNCTION byoc_test.state(id uuid) RETURNS text LANGUAGE sql AS $$ SELECT c.verification_status FROM byoc.credentials c WHERE c.id = state.id $$;
-- What the tenant does: changes the credential, and byocd verifies it.
CREATE FUNCTION byoc_test.mend(id uuid) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM byoc_test.act_as(byoc_test.org_a());
    PERFORM byoc.update_credential(id, jsonb_build_object('auth_token', 'madeupother' || lpad('1', 21, '0')));
    PERFORM byoc_test.no_context();
    PERFORM byoc_test.verified(byoc_test.org_a());
END $$;

-- A wrong token
SELECT byoc_test.sending('one') AS one \gset
SELECT byoc_test.sending('two') AS two \gset
SELECT is(byoc_test.refuse(:'one', '20003'), 1, 'the provider does not accept the token');
SELECT is(byoc_test.status(:'one'), 'queued', 'nothing was sent, so the message waits');
SELECT is(byoc_test.events(:'one'), 'rejected', 'its history has the attempt');
SELECT results_eq(format('SELECT verification_status, verification_error FROM byoc.credentials WHERE id = %L', :'a'),
    $$VALUES ('failed', 'Twilio refused a message: wrong account SID or token (error 20003). Correct this at Twilio or in the credential and verify it again; messages wait until then.')$$,
    'the credential failed, with a sentence for the tenant');
SELECT matches((SELECT waiting_reason FROM byoc.sms_messages WHERE id = :'one'), '^paused: the credential failed: Twilio refused a message: wrong account', 'the message says why it waits');
SELECT is(byoc_test.refuse(:'two', '20003'), 1, 'what was on its way is refused too');
SELECT is(byoc_test.status(:'two'), 'queued', 'and waits');
SELECT results_eq(format($$SELECT details FROM byoc.audit_log WHERE object_id = %L AND action = 'credential.verification_failed'$$, :'a'),
    $$VALUES ('{"error_code": "20003"}'::jsonb)$$, 'the audit trail has the failure once');
SELECT byoc.send_sms('+15005550006', 'three', org_id => byoc_test.org_a()) AS three \gset
SELECT byoc.send_sms('+15005550006', 'of B', org_id => byoc_test.org_b()) AS of_b \gset
SELECT byoc_test.lists('SELECT byoc_test.sent()', ARRAY['of B'], 'another organization''s messages go out');
SELECT ok((SELECT waiting = 3 AND paused ~ '^paused: the credential failed' AND breaker = 'closed' FROM byoc.queue_health WHERE credential_id = :'a'), 'byoc.queue_health shows the pause');
SELECT byoc_test.act_as(byoc_test.org_a());
SELECT byoc.update_credential(:'a', jsonb_build_object('auth_token', 'madeupother' || lpad('1', 21, '0')));
SELECT byoc_test.no_context();
SELECT is_empty('SELECT byoc_test.sent()', 'the new token must be verified first');
SELECT byoc_test.verified(byoc_test.org_a());
SELECT byoc_test.lists('SELECT byoc_test.sent()', ARRAY['one', 'two', 'three'], 'then everything goes out');
SELECT results_eq($$SELECT body, attempts FROM byoc.messages WHERE body IN ('one', 'two', 'three') ORDER BY id$$, $$VALUES ('one', 2::smallint), ('two', 2::smallint), ('three', 1::smallint)$$, 'each refused attempt counts');

-- Answers that are older than the last verification
SELECT is(byoc_test.refuse(:'three', '20003'), 1, 'a refusal');
SELECT is(byoc_test.state(:'a'), 'failed', 'of the mended credential fails it again');
SELECT byoc_test.mend(:'a');
SELECT byoc_test.sending('old') AS old \gset
SELECT byoc_test.mend(:'a');
SELECT is(byoc_test.refuse(:'old', '20003'), 1, 'the refusal of an attempt with the token before');
SELECT is(byoc_test.state(:'a'), 'verified', 'says nothing about the new one');
SELECT byoc_test.lists('SELECT byoc_test.sent()', ARRAY['old'], 'its message is simply sent again');
SELECT byoc.verify_credential(:'a');
SELECT byoc.record_verification(byoc_test.org_a(), :'a', (SELECT version FROM byoc.organization_api_credentials WHERE id = :'a'), 'verified', NULL);
SELECT is(byoc_test.refuse(:'old', '20003'), 1, 'the refusal of an attempt that was begun before the last verification');
SELECT is(byoc_test.state(:'a'), 'verified', 'does not count either');
SELECT byoc_test.lists('SELECT byoc_test.sent()', ARRAY['old'], 'its message is sent again');

-- Time
SELECT byoc_test.sending('late', clock_timestamp() + interval '1 hour') AS m \gset
UPDATE byoc.messages SET expires_at = now() - interval '1 second' WHERE id = :'m';
SELECT is(byoc_test.refuse(:'m', '20003'), 1, 'a message that has expired meanwhile');
SELECT is(byoc_test.status(:'m'), 'expired', 'does not wait');
SELECT byoc_test.mend(:'a');
SELECT byoc_test.sending('aged') AS m \gset
UPDATE byoc.messages SET created_at = now() - interval '3 days' WHERE id = :'m';
SELECT is(byoc_test.refuse(:'m', '30002'), 1, 'one that has waited for days');
SELECT is(byoc_test.status(:'m'), 'queued', 'waits on: that is not what the retry window is about');
SELECT matches((SELECT verification_error FROM byoc.credentials WHERE id = :'a'), 'account suspended \(error 30002\)', 'a suspended account fails the credential too');
SELECT byoc_test.mend(:'a');
SELECT byoc_test.lists('SELECT byoc_test.sent()', ARRAY['aged'], 'it goes out in the end');

-- What was perhaps sent
SELECT byoc_test.sending('lost') AS m \gset
SELECT byoc_test.sending('refused') AS m2 \gset
SELECT byoc_test.record(:'m', 'unknown', '{"error_code": "timeout"}') AS n \gset
SELECT byoc_test.refuse(:'m2', '20003') AS n \gset
UPDATE byoc.reconciliations SET due_at = now() - interval '1 second';
SELECT is_empty($$SELECT * FROM byoc.claim_reconciliations(8, '1 minute')$$, 'no message list is read with a credential that has failed');
UPDATE byoc.reconciliations SET attempt_until = now() - interval '25 hours';
SELECT is((SELECT count(*) FROM byoc.claim_reconciliations(8, '1 minute')), 1::bigint, 'until it is too late to wait for it');
UPDATE byoc.reconciliations SET attempt_until = now(), leased_until = NULL;
SELECT byoc_test.mend(:'a');
SELECT is((SELECT count(*) FROM byoc.claim_reconciliations(8, '1 minute')), 1::bigint, 'once it is mended the list is read');
SELECT byoc.record_outcomes(jsonb_build_array(jsonb_build_object('org_id', m.org_id, 'id', m.id, 'claim_id', m.claim_id, 'outcome', 'accepted', 'provider_sid', 'SM' || repeat('3', 32))))
FROM byoc.messages m WHERE m.id = :'m' \gset
SELECT byoc_test.lists('SELECT byoc_test.sent()', ARRAY['refused'], 'and the others go out');

-- The classes decide
CREATE FUNCTION byoc_test.after_refusal(code text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    credential uuid := byoc.default_credential(byoc_test.org_a(), 'twilio');
    message uuid := byoc_test.sending('refused with ' || code);
    found text;
BEGIN
    PERFORM byoc_test.refuse(message, code);
    found := byoc_test.status(message) || ', ' || byoc_test.state(credential);
    PERFORM byoc_test.mend(credential);
    PERFORM byoc_test.claim(100);
    RETURN found;
END $$;
SELECT is(byoc_test.after_refusal(code), expected, 'a refusal with ' || code || ': ' || what)
FROM (VALUES ('21212', 'queued, failed', 'the sender'), ('21606', 'queued, failed', 'the sender'), ('21703', 'queued, failed', 'the Messaging Service'),
             ('21211', 'failed, verified', 'the recipient'), ('21617', 'failed, verified', 'the message'), ('20429', 'queued, verified', 'later'),
             -- One recipient must not stop all others.
             ('21408', 'failed, verified', 'the recipient''s region'), ('21608', 'failed, verified', 'a recipient that a trial account may not send to'),
             ('99999', 'failed, verified', 'an unknown code')) AS v (code, expected, what);
INSERT INTO byoc.provider_error_overrides VALUES ('twilio', '21608', 'pause_credential', NULL), ('twilio', '21606', 'permanent_message', NULL), ('twilio', '99999', 'pause_credential', NULL);
SELECT is(byoc_test.after_refusal('21608'), 'queued, failed', 'the DBA may have a trial account paused');
SELECT is(byoc_test.after_refusal('21606'), 'failed, verified', 'and have a sender''s error concern the message only');
SELECT is(byoc_test.after_refusal('99999'), 'queued, failed', 'and give an unknown code a class');

-- What the provider reports later
SELECT byoc_test.sending('reported') AS m \gset
SELECT byoc_test.record(:'m', 'accepted', '{"provider_sid": "SM00000000000000000000000000000001", "http_status": 201}') AS n \gset
CREATE FUNCTION byoc_test.report(id uuid, status text, code text) RETURNS integer[] LANGUAGE sql AS $$
    SELECT byoc.record_receipts(jsonb_build_array(jsonb_build_object('org_id', m.org_id, 'id', m.id, 'attempt', m.attempts, 'provider_sid', m.provider_sid, 'status', report.status,
                                                                     'error_code', code)))
    FROM byoc.messages m WHERE m.id = report.id;
$$;
SELECT is(byoc_test.report(:'m', 'undelivered', '30034'), '{}'::integer[], 'a message was not delivered, as the number is not registered');
SELECT is(byoc_test.status(:'m') || ', ' || byoc_test.state(:'a'), 'undelivered, failed', 'the next ones would not be either: the credential failed');
SELECT byoc_test.mend(:'a');
SELECT byoc_test.sending('reported too') AS m \gset
SELECT byoc_test.record(:'m', 'accepted', '{"provider_sid": "SM00000000000000000000000000000002", "http_status": 201}') AS n \gset
SELECT is(byoc_test.report(:'m', 'undelivered', '30005'), '{}'::integer[], 'a message was not delivered, as nobody has the number');
SELECT is(byoc_test.status(:'m') || ', ' || byoc_test.state(:'a'), 'undelivered, verified', 'which says nothing about the credential');

-- Revoked meanwhile
SELECT byoc_test.sending('revoked') AS m \gset
SELECT byoc_test.act_as(byoc_test.org_a());
SELECT byoc.revoke_credential(:'a');
SELECT byoc_test.no_context();
SELECT is(byoc_test.refuse(:'m', '20003'), 1, 'a refusal of a credential that was revoked meanwhile');
SELECT is(byoc_test.state(:'a'), 'verified', 'changes nothing about it');
SELECT is(byoc_test.status(:'m'), 'queued', 'its message goes by what the organization has then');
SELECT is(byoc_test.state(:'b'), 'verified', 'the other organization''s credential was never touched');

SELECT * FROM finish();
ROLLBACK;
