-- Attempts of which nobody knows whether the provider took them: what the account's message list says about them.
BEGIN;
\ir support/setup.sql
SELECT plan(86);

SELECT byoc_test.add_twilio(byoc_test.org_a(), 1) AS credential \gset
UPDATE byoc.organization_api_credentials SET verification_due_at = NULL;

CREATE FUNCTION byoc_test.sending(body text, to_number text DEFAULT '+15005550010', expires_at timestamptz DEFAULT NULL) RETURNS uuid LANGUAGE plpgsql AS $$
DECLARE
    id uuid := byoc.send_sms(to_number, body, expires_at => expires_at, org_id => byoc_test.org_a());
BEGIN
    UPDATE byoc.lanes SET failures = 0, next_at = clock_timestamp(); -- the breaker is not what this is about
    PERFORM byoc_test.claim(100);
    RETURN id;
END $$;
-- A message whose answer was lost.
CREATE FUNCTION byoc_test.lost(body text, to_number text DEFAULT '+15005550010', expires_at timestamptz DEFAULT NULL) RETURNS uuid LANGUAGE plpgsql AS $$
DECLARE
    id uuid := byoc_test.sending(body, to_number, expires_at);
BEGIN
    PERFORM byoc_test.record(id, 'unknown', '{"error_code": "timeout"}');
    RETURN id;
END $$;
-- A message as byocd reports it from the list.
CREATE FUNCTION byoc_test.listed(n integer, body text, more jsonb DEFAULT '{}') RETURNS jsonb LANGUAGE sql AS $$
    SELECT jsonb_build_object('sid', 'SM' || lpad(n::text, 32, '0'), 'sender', '+15005550001', 'texts', ARRAY[body], 'text_is_hidden', false,
                              'created_at', clock_timestamp(), 'status', 'sent', 'segments', 1) || more;
$$;
-- Reads the list when its time has come: answers how many messages it settled.
CREATE FUNCTION byoc_test.look(listed jsonb DEFAULT '[]', state text DEFAULT 'complete', problem text DEFAULT NULL, to_number text DEFAULT '+15005550010')
RETURNS integer LANGUAGE plpgsql AS $$
BEGIN
    UPDATE byoc.reconciliations r SET due_at = clock_timestamp() WHERE r.to_number = look.to_number;
    RETURN byoc.record_reconciliation(byoc_test.org_a(), byoc_test.twilio(1) ->> 'account_sid', to_number, now() - interval '2 days', clock_timestamp(), listed, state, problem);
END $$;

-- Who enters
SELECT is(byoc.is_ambiguous(o, s), e, format('%s %s', o, s)) FROM (VALUES
    ('unknown', NULL, true), ('unknown', 201, true), ('unavailable', 500, true), ('unavailable', 503, true), ('unavailable', NULL, false),
    ('throttled', 429, false), ('rejected', 400, false), ('accepted', 201, false), ('returned', NULL, false)) AS c (o, s, e);
SELECT byoc_test.sending('lost') AS m \gset
SELECT claim_id AS claim FROM byoc.messages WHERE id = :'m' \gset
SELECT is(byoc_test.record(:'m', 'unknown', '{"error_code": "timeout"}'), 1, 'an outcome that nobody knows is recorded');
SELECT is(byoc_test.status(:'m'), 'sending', 'the message is still being sent');
SELECT is(byoc_test.events(:'m'), 'unknown', 'its history says what happened');
SELECT is((SELECT count(*) FROM byoc.claims), 0::bigint, 'the claim has ended');
SELECT ok((SELECT r.account = byoc_test.twilio(1) ->> 'account_sid' AND r.sender = '+15005550001' AND r.reason = 'timeout' AND r.claim_id = :'claim'
                  AND r.due_at - clock_timestamp() BETWEEN '1 second' AND '2 seconds' AND r.attempt_from < r.attempt_until
           FROM byoc.reconciliations r WHERE r.message_id = :'m'), 'it is looked for in two seconds, in the account that sent it');
SELECT is(byoc_test.record(:'m', 'unknown', '{"error_code": "timeout"}'), 0, 'recording it twice does no harm');
SELECT is_empty($$SELECT * FROM byoc_test.claim(100)$$, 'and is not given out before');
SELECT byoc_test.refused(format('SELECT byoc.cancel_sms(%L)', :'m'), '55000', 'is sending', 'nor can it be cancelled');

-- Whose list is read
SELECT is_empty($$SELECT * FROM byoc.claim_reconciliations(8, '1 minute')$$, 'no list is read before its time');
UPDATE byoc.reconciliations SET due_at = clock_timestamp();
SELECT results_eq($$SELECT org_id, credential_id, credential_version, provider, account, to_number, read_at <= clock_timestamp() AND since < read_at - interval '1 minute'
                    FROM byoc.claim_reconciliations(8, '1 minute')$$,
    format($$VALUES (byoc_test.org_a(), %L::uuid, 1, 'twilio', byoc_test.twilio(1) ->> 'account_sid', '+15005550010', true)$$, :'credential'),
    'then the list of the account and recipient, from a minute before the attempt on');
SELECT is_empty($$SELECT * FROM byoc.claim_reconciliations(8, '1 minute')$$, 'one byocd reads it at a time');
UPDATE byoc.reconciliations SET leased_until = clock_timestamp();
SELECT is((SELECT count(*) FROM byoc.claim_reconciliations(8, '1 minute')), 1::bigint, 'another one when the first does not come back');

-- Found
SELECT is(byoc_test.look(jsonb_build_array(byoc_test.listed(1, 'lost', '{"status": "delivered"}'))), 1, 'it is in the list: settled at once');
SELECT results_eq(format($$SELECT status, provider_sid, from_number, segments, attempts, sent_at IS NOT NULL AND delivered_at IS NOT NULL, error_code FROM byoc.sms_messages WHERE id = %L$$, :'m'),
    $$VALUES ('delivered', 'SM00000000000000000000000000000001', '+15005550001', 1, 1, true, NULL::text)$$, 'the message was sent, as the list says');
SELECT is(byoc_test.events(:'m'), 'unknown, found', 'its history says so');
SELECT is((SELECT count(*) FROM byoc.reconciliations), 0::bigint, 'nothing is left to look for');

-- Not found
SELECT byoc_test.lost('absent') AS m \gset
SELECT is(byoc_test.look(jsonb_build_array(byoc_test.listed(1, 'lost'), byoc_test.listed(2, 'something else'))), 0, 'other messages in the list do not settle it');
SELECT is(byoc.record_reconciliation(byoc_test.org_a(), byoc_test.twilio(1) ->> 'account_sid', '+15005550010', now() - interval '1 day', clock_timestamp() - interval '1 second', '[]', 'complete', NULL), 0,
    'a list that was read before it was due');
SELECT is(byoc.record_reconciliation(byoc_test.org_a(), byoc_test.twilio(1) ->> 'account_sid', '+15005550010', clock_timestamp(), clock_timestamp() + interval '1 hour', '[]', 'complete', NULL), 0,
    'or one that does not go back to the attempt');
SELECT results_eq(format($$SELECT absences, due_at - attempt_until > interval '7 seconds' FROM byoc.reconciliations WHERE message_id = %L$$, :'m'),
    $$VALUES (1::smallint, true)$$, 'does not count: it was absent once, and is looked for again after eight seconds');
SELECT is(byoc_test.look(), 0, 'absent twice is not enough');
SELECT is(byoc_test.status(:'m'), 'sending', 'it still counts as being sent');
SELECT is(byoc_test.look(), 1, 'absent the third time it was not sent');
SELECT is(byoc_test.events(:'m'), 'unknown, not_found', 'its history says so');
UPDATE byoc.schedule SET due_at = clock_timestamp() - interval '1 second';
UPDATE byoc.lanes SET failures = 0, next_at = clock_timestamp();
SELECT is((SELECT attempt FROM byoc_test.claim(10) WHERE id = :'m'), 2, 'and it is given out as the second attempt');
SELECT byoc_test.record(:'m', 'accepted', '{"provider_sid": "SM00000000000000000000000000000003"}') AS n \gset
SELECT byoc_test.lost('expires', expires_at => now() + interval '1 hour') AS e \gset
SELECT byoc_test.lost('old') AS o \gset
UPDATE byoc.messages SET expires_at = now() - interval '1 second' WHERE id = :'e';
UPDATE byoc.messages SET created_at = now() - interval '25 hours' WHERE id = :'o';
SELECT is(byoc_test.look() + byoc_test.look() + byoc_test.look(), 2, 'absent after its time');
SELECT is(byoc_test.status(:'e') || ' ' || byoc_test.status(:'o'), 'expired failed', 'a message is expired, or failed when it was tried for a day');

-- Whose message it is
SELECT byoc_test.lost('mine') AS m \gset
SELECT is(byoc_test.look(jsonb_build_array(byoc_test.listed(10, 'mine', '{"sender": "+15005550009"}'))), 0, 'a message from another number is not it');
SELECT is(byoc_test.look(jsonb_build_array(byoc_test.listed(11, 'mine', jsonb_build_object('created_at', clock_timestamp() - interval '2 minutes')))), 0, 'nor one made before the attempt');
UPDATE byoc.messages SET provider_sid = 'SM00000000000000000000000000000012' WHERE provider_sid = 'SM00000000000000000000000000000003';
UPDATE byoc.reconciliations SET absences = 0;
SELECT is(byoc_test.look(jsonb_build_array(byoc_test.listed(12, 'mine'))), 0, 'nor one that belongs to another message already');
SELECT is(byoc_test.look(jsonb_build_array(byoc_test.listed(13, 'Trial - mine', '{"texts": ["Trial - mine", "mine"]}'))), 1, 'one with what a trial account adds is');

-- Alike
SELECT byoc_test.lost('alike') AS m1 \gset
SELECT byoc_test.lost('alike') AS m2 \gset
SELECT byoc_test.lost('alike') AS m3 \gset
SELECT is(byoc_test.look(jsonb_build_array(byoc_test.listed(20, 'alike'), byoc_test.listed(21, 'alike'))), 2, 'of three that are alike two are in the list: two were sent');
SELECT is((SELECT array_agg(provider_sid ORDER BY id) FROM byoc.messages WHERE id IN (:'m1', :'m2', :'m3')),
    ARRAY['SM00000000000000000000000000000020', 'SM00000000000000000000000000000021', NULL], 'the older message of the list belongs to the older attempt');
SELECT is(byoc_test.look(jsonb_build_array(byoc_test.listed(20, 'alike'), byoc_test.listed(21, 'alike'))), 0, 'the third is looked for on');
SELECT is(byoc_test.look(), 1, 'until it was absent three times');
DELETE FROM byoc.schedule;
SELECT byoc_test.lost('race') AS m \gset
SELECT byoc_test.sending('race') AS rival \gset
SELECT is(byoc_test.look(jsonb_build_array(byoc_test.listed(30, 'race'))), 0, 'while one that is alike is in flight, nobody knows whose the listed one is');
SELECT is((SELECT absences + failures FROM byoc.reconciliations WHERE message_id = :'m'), 0::smallint, 'and that read does not count');
SELECT byoc_test.record(:'rival', 'accepted', '{"provider_sid": "SM00000000000000000000000000000030"}') AS n \gset
SELECT is(byoc_test.look(jsonb_build_array(byoc_test.listed(30, 'race'))), 0, 'when it is the other one''s');
SELECT is(byoc_test.look() + byoc_test.look(), 1, 'this one was not sent');
DELETE FROM byoc.schedule;
SELECT byoc_test.lost('stuck') AS m \gset
SELECT byoc_test.sending('stuck') AS rival \gset
UPDATE byoc.reconciliations SET attempt_from = attempt_from - interval '1 day', attempt_until = attempt_until - interval '1 day' WHERE message_id = :'m';
UPDATE byoc.messages SET claimed_at = claimed_at - interval '1 day' WHERE id = :'rival';
SELECT is(byoc_test.look(jsonb_build_array(byoc_test.listed(31, 'stuck', jsonb_build_object('created_at', clock_timestamp() - interval '1 day')))), 1,
    'one that is alike is waited for no longer than a day');
SELECT ok((SELECT status = 'unknown' AND error_message ~ 'looks alike is still being sent' FROM byoc.sms_messages WHERE id = :'m'), 'then it is unknown');
SELECT byoc_test.record(:'rival', 'accepted', '{"provider_sid": "SM00000000000000000000000000000031"}') AS n \gset

-- Undecided
SELECT byoc_test.lost('hidden') AS m \gset
SELECT is((SELECT sum(byoc_test.look(jsonb_build_array(byoc_test.listed(40, '', '{"text_is_hidden": true}')))) FROM generate_series(1, 4)), 0::bigint,
    'a message without its text may be it: looked at again');
SELECT is(byoc_test.look(jsonb_build_array(byoc_test.listed(40, '', '{"text_is_hidden": true}'))), 1, 'but not for ever');
SELECT results_eq(format($$SELECT status, error_code, error_message ~ 'with another text or none' FROM byoc.sms_messages WHERE id = %L$$, :'m'), $$VALUES ('unknown', 'timeout', true)$$, 'then a person decides, and reads why');
SELECT is(byoc_test.events(:'m'), 'unknown, unknown', 'its history says so');
SELECT lives_ok(format($$SELECT byoc.resolve_unknown_sms(%L, 'resend')$$, :'m'), 'the person may send it again');
DELETE FROM byoc.schedule;
SELECT byoc_test.lost('refused') AS m \gset
SELECT is((SELECT sum(byoc_test.look(NULL, 'refused', 'Twilio refused it with HTTP 403')) FROM generate_series(1, 5)), 1::bigint, 'a list that may not be read');
SELECT is((SELECT status || ': ' || error_message FROM byoc.sms_messages WHERE id = :'m'),
    'unknown: it may have been sent, and the message list could not tell: Twilio refused it with HTTP 403', 'leaves the message unknown, with the reason');
SELECT byoc_test.lost('long') AS m \gset
SELECT is(byoc_test.look(jsonb_build_array(byoc_test.listed(50, 'long')), 'incomplete', 'it is too long'), 1, 'a list that was not read to its end can show a message');
SELECT byoc_test.lost('long 2') AS m \gset
SELECT is((SELECT sum(byoc_test.look('[]', 'incomplete', 'it is too long')) FROM generate_series(1, 5)), 1::bigint, 'but not its absence');
SELECT is(byoc_test.status(:'m'), 'unknown', 'which stays unknown');
SELECT byoc_test.lost('down') AS m \gset
SELECT is((SELECT sum(byoc_test.look(NULL, 'unavailable', 'HTTP 503')) FROM generate_series(1, 20)), 0::bigint, 'while the provider is down the list is asked for again');
UPDATE byoc.messages SET expires_at = now() - interval '1 second' WHERE id = :'m';
SELECT is(byoc_test.look(NULL, 'unavailable', 'HTTP 503'), 0, 'also when the message has expired: it may have been sent before');
UPDATE byoc.reconciliations SET attempt_from = attempt_from - interval '1 day', attempt_until = attempt_until - interval '1 day' WHERE message_id = :'m';
SELECT is(byoc_test.look(NULL, 'unavailable', 'HTTP 503'), 1, 'for a day');
SELECT is(byoc_test.status(:'m'), 'unknown', 'then it is unknown');
SELECT byoc_test.refused($$SELECT byoc.record_reconciliation(NULL, NULL, NULL, NULL, NULL, '[]', 'nonsense', NULL)$$, '22023', 'complete, incomplete', 'a state that is none is refused');

-- A late answer
SELECT byoc_test.lost('late') AS m \gset
SELECT claim_id AS claim FROM byoc.messages WHERE id = :'m' \gset
SELECT is(byoc_test.record(:'m', 'accepted', '{"provider_sid": "SM00000000000000000000000000000060"}'), 1, 'a late answer settles the message before its time');
UPDATE byoc.reconciliations SET due_at = clock_timestamp();
SELECT is_empty($$SELECT * FROM byoc.claim_reconciliations(8, '1 minute')$$, 'no list is read for it any more');
SELECT is((SELECT count(*) FROM byoc.reconciliations), 0::bigint, 'and it is forgotten');
SELECT byoc_test.lost('too late') AS m \gset
SELECT claim_id AS claim FROM byoc.messages WHERE id = :'m' \gset
SELECT byoc_test.look() + byoc_test.look() + byoc_test.look() AS n \gset
SELECT jsonb_build_array(jsonb_build_object('org_id', byoc_test.org_a(), 'id', :'m', 'claim_id', :'claim', 'attempt', 1, 'outcome', 'accepted',
                         'provider_sid', 'SM00000000000000000000000000000070')) AS late \gset
SELECT is(byoc.record_outcomes(:'late') + byoc.record_outcomes(:'late'), 0, 'an answer that comes when the message is to be sent again changes nothing');
SELECT results_eq(format($$SELECT event, attempt, provider_sid FROM byoc.sms_events WHERE message_id = %L AND event = 'late'$$, :'m'),
    $$VALUES ('late', 1, 'SM00000000000000000000000000000070')$$, 'but is in the history, once');
DELETE FROM byoc.schedule;
SELECT byoc_test.lost('parked') AS m \gset
SELECT claim_id AS claim FROM byoc.messages WHERE id = :'m' \gset
SELECT sum(byoc_test.look(NULL, 'refused', 'x')) AS n FROM generate_series(1, 5) \gset
SELECT byoc.record_outcomes(jsonb_build_array(jsonb_build_object('org_id', byoc_test.org_a(), 'id', :'m', 'claim_id', :'claim', 'attempt', 1, 'outcome', 'accepted',
                         'provider_sid', 'SM00000000000000000000000000000071'))) AS n \gset
SELECT results_eq(format($$SELECT status, provider_sid, error_code FROM byoc.sms_messages WHERE id = %L$$, :'m'), $$VALUES ('sent', 'SM00000000000000000000000000000071', NULL::text)$$,
    'one that was unknown is known to be sent');

-- A late answer when another message that looks the same got its id from the list: they change places.
SELECT byoc_test.lost('twin') AS one \gset
SELECT byoc_test.lost('twin') AS two \gset
SELECT claim_id AS claim FROM byoc.messages WHERE id = :'two' \gset
SELECT byoc_test.look(jsonb_build_array(byoc_test.listed(90, 'twin'))) AS n \gset
SELECT is(byoc_test.record(:'two', 'accepted', '{"attempt": 1, "provider_sid": "SM00000000000000000000000000000090"}'), 0, 'an answer with the id that the twin got does not settle the message');
SELECT is(byoc_test.status(:'one') || ' ' || byoc_test.status(:'two'), 'sent sending', 'one of the two was sent, the other is looked for on');
SELECT is(byoc_test.record(:'two', 'accepted', '{"attempt": 1, "provider_sid": "SM00000000000000000000000000000091"}'), 1, 'an answer with another id settles it');
SELECT byoc_test.lost('twin 2') AS one \gset
SELECT byoc_test.lost('twin 2') AS two \gset
SELECT claim_id AS claim FROM byoc.messages WHERE id = :'two' \gset
SELECT sum(byoc_test.look(jsonb_build_array(byoc_test.listed(92, 'twin 2')), 'incomplete', 'x')) AS n FROM generate_series(1, 5) \gset
SELECT byoc.record_outcomes(jsonb_build_array(jsonb_build_object('org_id', byoc_test.org_a(), 'id', :'two', 'claim_id', :'claim', 'attempt', 1, 'outcome', 'accepted',
                         'provider_sid', 'SM00000000000000000000000000000092'))) AS n \gset
SELECT is(byoc_test.status(:'one') || ' ' || byoc_test.status(:'two'), 'sent unknown', 'nor does it tell that an unknown one was sent');
SELECT is(byoc_test.events(:'two'), 'unknown, unknown', 'or came too late');

-- Credentials that changed
SELECT byoc_test.sending('changed') AS m \gset
SELECT byoc_test.act_as(byoc_test.org_a());
SELECT byoc.update_credential(:'credential', '{"phone_number": "+15005550077"}');
SELECT byoc_test.verified(byoc_test.org_a());
SELECT byoc_test.no_context();
SELECT byoc_test.record(:'m', 'unavailable', '{"http_status": 500}') AS n \gset
UPDATE byoc.reconciliations SET due_at = clock_timestamp();
SELECT is_empty($$SELECT * FROM byoc.claim_reconciliations(8, '1 minute')$$, 'of a credential that was changed during the attempt no list is read');
SELECT results_eq(format($$SELECT status, error_code, error_message ~ 'the credential was changed during the attempt' FROM byoc.sms_messages WHERE id = %L$$, :'m'), $$VALUES ('unknown', 'http_500', true)$$,
    'nobody knows which account and number to look for');
SELECT byoc_test.verified(byoc_test.org_a());
SELECT byoc_test.lost('other account') AS m \gset
SELECT byoc_test.act_as(byoc_test.org_a());
SELECT byoc.update_credential(:'credential', jsonb_build_object('account_sid', 'AC' || repeat('7', 32)));
SELECT byoc_test.no_context();
UPDATE byoc.reconciliations SET due_at = clock_timestamp();
SELECT is_empty($$SELECT * FROM byoc.claim_reconciliations(8, '1 minute')$$, 'nor of one that now has another account');
SELECT is(byoc_test.status(:'m'), 'unknown', 'the message is unknown');
SELECT byoc_test.verified(byoc_test.org_a());
SELECT byoc_test.lost('revoked') AS m \gset
SELECT byoc_test.act_as(byoc_test.org_a());
SELECT byoc.revoke_credential(:'credential');
SELECT byoc_test.no_context();
UPDATE byoc.reconciliations SET due_at = clock_timestamp();
SELECT is_empty($$SELECT * FROM byoc.claim_reconciliations(8, '1 minute')$$, 'nor of one that was revoked');
SELECT ok((SELECT status = 'unknown' AND error_message ~ 'was revoked' FROM byoc.sms_messages WHERE id = :'m'), 'the message is unknown');

-- A Messaging Service
SELECT byoc_test.act_as(byoc_test.org_a());
SELECT byoc.add_credential('twilio', byoc_test.twilio(1) - 'phone_number' || jsonb_build_object('messaging_service_sid', 'MG' || repeat('0', 32))) AS service \gset
SELECT byoc_test.verified(byoc_test.org_a());
UPDATE byoc.credentials SET is_default = true WHERE id = :'service';
SELECT byoc_test.no_context();
SELECT byoc_test.lost('“Smart” quotes') AS m \gset
SELECT is(byoc_test.look(jsonb_build_array(byoc_test.listed(80, '"Smart" quotes', '{"sender": "+15005550055"}'))), 0, 'a Messaging Service may change a text');
SELECT is((SELECT failures FROM byoc.reconciliations WHERE message_id = :'m'), 1::smallint, 'so a message with another text is a doubt');
SELECT is(byoc_test.look(jsonb_build_array(byoc_test.listed(81, '“Smart” quotes', '{"sender": "+15005550055"}'))), 1, 'one with the same text is it, from whatever number');

-- Not in a copy
INSERT INTO byoc.installation (system_identifier, database_oid) VALUES (1, 1);
SELECT throws_ok($$SELECT byoc.claim_reconciliations(8, '1 minute')$$, '55000', NULL, 'in a restored database nothing is reconciled');

SELECT * FROM finish();
ROLLBACK;
