-- Delivery receipts: tokens, what a receipt does to a message, and asking for the status instead.
BEGIN;
\ir support/setup.sql
SELECT plan(95);

SELECT byoc_test.add_twilio(byoc_test.org_a(), 1) AS credential \gset
CREATE FUNCTION byoc_test.sid(n integer) RETURNS text LANGUAGE sql IMMUTABLE RETURN 'SM' || lpad(n::text, 32, '0');
CREATE FUNCTION byoc_test.sending() RETURNS uuid LANGUAGE plpgsql AS $$
DECLARE
    id uuid := byoc.send_sms('+15005550006', 'x', org_id => byoc_test.org_a());
BEGIN
    PERFORM byoc_test.claim(100);
    RETURN id;
END $$;
CREATE FUNCTION byoc_test.sent(n integer) RETURNS uuid LANGUAGE plpgsql AS $$
DECLARE
    id uuid := byoc_test.sending();
BEGIN
    PERFORM byoc_test.record(id, 'accepted', jsonb_build_object('provider_sid', byoc_test.sid(n)));
    RETURN id;
END $$;
-- One receipt, as byoc.record_receipts takes it.
CREATE FUNCTION byoc_test.receipt(id uuid, n integer, status text, more jsonb DEFAULT '{}') RETURNS jsonb LANGUAGE sql
RETURN jsonb_build_object('org_id', byoc_test.org_a(), 'id', id, 'attempt', 1, 'provider_sid', byoc_test.sid(n), 'status', status) || more;
CREATE FUNCTION byoc_test.receive(VARIADIC receipts jsonb[]) RETURNS integer[] LANGUAGE sql
RETURN byoc.record_receipts(to_jsonb(receipts));
-- A token, made from the format's description (HMAC by RFC 2104, for want of a function).
CREATE FUNCTION byoc_test.pad(key bytea, byte integer) RETURNS bytea LANGUAGE sql RETURN (
    SELECT decode(string_agg(lpad(to_hex(CASE WHEN i < length(key) THEN get_byte(key, i) ELSE 0 END # byte), 2, '0'), '' ORDER BY i), 'hex')
    FROM generate_series(0, 63) AS i);
CREATE FUNCTION byoc_test.token(org_id uuid, id uuid, attempt integer) RETURNS text LANGUAGE sql RETURN (
    SELECT rtrim(translate(encode(p || substr(sha256(byoc_test.pad(k, 92) || sha256(byoc_test.pad(k, 54) || p)), 1, 16), 'base64'), E'+/\n', '-_'), '=')
    FROM byoc.receipt_key() AS k, LATERAL (SELECT uuid_send(org_id) || uuid_send(id) || int2send(attempt::smallint)) AS b (p));

-- Tokens
SELECT byoc_test.sent(1) AS m \gset
SELECT byoc_test.token(byoc_test.org_a(), :'m', 1) AS token \gset
SELECT is(length(byoc.receipt_key()), 32, 'the key has 32 bytes');
SELECT is(length(:'token'), 67, 'a token has 67 characters');
SELECT results_eq(format('SELECT * FROM byoc.open_receipts(ARRAY[%L, %L, %L])', 'x', :'token', repeat('A', 67)),
    format('VALUES (1, %L::uuid, %L::uuid, 1, %L::uuid, 1)', byoc_test.org_a(), :'m', :'credential'),
    'a token says what it is about and which credential signs; forged ones are missing');
SELECT is_empty(format('SELECT * FROM byoc.open_receipts(ARRAY[%L])', overlay(:'token' PLACING CASE WHEN substr(:'token', 47, 1) = 'A' THEN 'B' ELSE 'A' END FROM 47 FOR 1)), 'a token for another attempt does not verify');
SELECT is_empty(format('SELECT * FROM byoc.open_receipts(ARRAY[%L])', byoc_test.token(byoc_test.org_b(), :'m', 1)), 'a message of another organization is unknown');
SELECT is_empty(format('SELECT * FROM byoc.open_receipts(ARRAY[%L])', byoc_test.token(byoc_test.org_a(), gen_random_uuid(), 1)), 'so is one that is gone');
SELECT is_empty($$SELECT * FROM byoc.open_receipts(ARRAY[NULL, ''])$$, 'nothing is no token');
SELECT lives_ok(format('SELECT byoc.rotate_organization_key(%L)', byoc_test.org_a()), 'with a new data key');
SELECT is((SELECT credential_id FROM byoc.open_receipts(ARRAY[:'token'])), :'credential', 'tokens are as good as before');
SELECT byoc.send_sms('+15005550006', 'x', org_id => byoc_test.org_a()) AS waiting \gset
SELECT is((SELECT credential_id FROM byoc.open_receipts(ARRAY[byoc_test.token(byoc_test.org_a(), :'waiting', 1)])), :'credential',
    'a message in the queue is known, by its organization''s default credential');
SELECT count(*) AS claimed FROM byoc_test.claim(100) \gset
SELECT byoc_test.record(:'waiting', 'unavailable', '{"retry_ms": 60000}') AS recorded \gset
SELECT is((SELECT credential_id FROM byoc.open_receipts(ARRAY[byoc_test.token(byoc_test.org_a(), :'waiting', 1)])), :'credential', 'and so is one that waits for another attempt');
SELECT byoc_test.act_as(byoc_test.org_a());
SELECT byoc_test.add_twilio(byoc_test.org_a(), 1) AS second \gset
SELECT byoc_test.add_twilio(byoc_test.org_a(), 2) AS other_account \gset
SELECT byoc.revoke_credential(:'credential');
SELECT is((SELECT credential_id FROM byoc.open_receipts(ARRAY[:'token'])), :'second', 'once the credential is revoked, another one of the same account signs');
SELECT byoc.revoke_credential(:'second');
SELECT results_eq(format('SELECT id, credential_id FROM byoc.open_receipts(ARRAY[%L])', :'token'), format('VALUES (%L::uuid, NULL::uuid)', :'m'), 'and without one, none');
SELECT byoc_test.no_context();
SELECT byoc_test.add_twilio(byoc_test.org_b(), 9) AS of_b \gset
SELECT byoc_test.add_twilio(byoc_test.org_a(), 1) AS credential \gset
SELECT byoc_test.act_as(byoc_test.org_a());
UPDATE byoc.credentials SET is_default = true WHERE id = :'credential';
SELECT byoc_test.no_context();

-- Forward only
SELECT byoc_test.sent(2) AS m \gset
SELECT is(byoc_test.receive(byoc_test.receipt(:'m', 2, 'queued'), byoc_test.receipt(:'m', 2, 'sending')), '{}', 'receipts before "sent"');
SELECT is(byoc_test.events(:'m'), 'accepted', 'say nothing new');
SELECT is(byoc_test.receive(byoc_test.receipt(:'m', 2, 'sent')), '{}', '"sent": the carrier has it');
SELECT results_eq(format('SELECT status, delivered_at FROM byoc.sms_messages WHERE id = %L', :'m'), $$VALUES ('sent', NULL::timestamptz)$$, 'which is a line of history');
SELECT is(byoc_test.receive(byoc_test.receipt(:'m', 2, 'delivered')), '{}', '"delivered"');
SELECT results_eq(format('SELECT status, delivered_at >= sent_at, error_code, provider_sid FROM byoc.sms_messages WHERE id = %L', :'m'),
    format('VALUES (%L, true, NULL::text, %L)', 'delivered', byoc_test.sid(2)), 'makes it delivered, with the time');
SELECT delivered_at AS first FROM byoc.sms_messages WHERE id = :'m' \gset
SELECT is(byoc_test.receive(byoc_test.receipt(:'m', 2, 'delivered'), byoc_test.receipt(:'m', 2, 'sent'), byoc_test.receipt(:'m', 2, 'delivered'),
                            byoc_test.receipt(:'m', 2, 'failed', '{"error_code": "30008"}')), '{}', 'repeats and late ones are taken');
SELECT results_eq(format('SELECT status, delivered_at, error_code FROM byoc.sms_messages WHERE id = %L', :'m'), format('VALUES (%L, %L::timestamptz, NULL::text)', 'delivered', :'first'), 'and change nothing');
SELECT is(byoc_test.events(:'m'), 'accepted, sent, delivered, failed', 'history has each once');

SELECT byoc_test.sent(3) AS m \gset
SELECT is(byoc_test.receive(byoc_test.receipt(:'m', 3, 'sent'), byoc_test.receipt(:'m', 3, 'undelivered', '{"error_code": "30005"}'),
                            byoc_test.receipt(:'m', 3, 'delivered')), '{}', 'several for one message at once');
SELECT results_eq(format('SELECT status, error_code, error_message, delivered_at FROM byoc.sms_messages WHERE id = %L', :'m'),
    $$VALUES ('undelivered', '30005', 'unknown handset', NULL::timestamptz)$$, 'the first final one counts, with its reason');

SELECT byoc_test.sent(4) AS m \gset
SELECT byoc_test.receive(byoc_test.receipt(:'m', 4, 'failed')) AS x \gset
SELECT results_eq(format('SELECT status, error_code FROM byoc.sms_messages WHERE id = %L', :'m'), $$VALUES ('failed', 'failed')$$, 'failed without a code');
SELECT byoc_test.sent(5) AS m \gset
SELECT byoc_test.receive(byoc_test.receipt(:'m', 5, 'delivered', jsonb_build_object('at', extract(epoch FROM now() + interval '1 day')))) AS x \gset
SELECT ok((SELECT delivered_at BETWEEN sent_at AND clock_timestamp() FROM byoc.sms_messages WHERE id = :'m'), 'a provider''s clock that is ahead does not put delivery into the future');
SELECT byoc_test.sent(6) AS m \gset
SELECT byoc_test.receive(byoc_test.receipt(:'m', 6, 'delivered', '{"at": 1000000000}')) AS x \gset
SELECT ok((SELECT delivered_at = sent_at FROM byoc.sms_messages WHERE id = :'m'), 'nor one that is behind before sending');

-- What is not about this attempt
SELECT byoc_test.sent(7) AS m \gset
SELECT byoc_test.receive(byoc_test.receipt(:'m', 8, 'delivered'), byoc_test.receipt(:'m', 7, 'delivered', '{"attempt": 2}')) AS x \gset
SELECT is(byoc_test.status(:'m'), 'sent', 'another SID or attempt does not move a message');
SELECT is(byoc_test.events(:'m'), 'accepted, delivered, delivered', 'but is kept in its history');
SELECT is(byoc_test.receive(byoc_test.receipt(:'m', 7, 'delivered', jsonb_build_object('org_id', byoc_test.org_b()))), '{}', 'under another organization');
SELECT is(byoc_test.status(:'m'), 'sent', 'there is no such message');
SELECT byoc_test.sending() AS m \gset
SELECT byoc_test.record(:'m', 'rejected', '{"error_code": "21211"}') AS x \gset
SELECT byoc_test.receive(byoc_test.receipt(:'m', 9, 'delivered')) AS x \gset
SELECT is(byoc_test.status(:'m'), 'failed', 'a message that was decided differently stays');
SELECT is(byoc_test.events(:'m'), 'rejected, delivered', 'and the receipt is on record');

-- Lost answers
SELECT byoc_test.sending() AS m \gset
SELECT is(byoc_test.receive(byoc_test.receipt(:'m', 10, 'delivered')), '{0}', 'while the answer may still come, the receipt waits');
SELECT is(byoc_test.status(:'m'), 'sending', 'and changes nothing');
SELECT is(byoc_test.receive(byoc_test.receipt(:'m', 10, 'queued', '{"settle": true, "from_number": "+15005550001"}')), '{}', 'but not for ever');
SELECT results_eq(format('SELECT status, provider_sid, from_number, sent_at IS NOT NULL, delivered_at FROM byoc.sms_messages WHERE id = %L', :'m'),
    format('VALUES (%L, %L, %L, true, NULL::timestamptz)', 'sent', byoc_test.sid(10), '+15005550001'), 'then it settles the message as sent');
SELECT is(byoc_test.events(:'m'), 'settled', 'which its history says');
SELECT ok((SELECT claim_id IS NULL AND finished_at IS NOT NULL FROM byoc.messages WHERE id = :'m'), 'the message has left its claim');
SELECT ok(EXISTS (SELECT FROM byoc.receipt_watches WHERE :'m' = ANY (message_ids)), 'and is watched for its final status');
SELECT byoc_test.sending() AS m \gset
SELECT claim_id AS claim FROM byoc.messages WHERE id = :'m' \gset
SELECT byoc_test.receive(byoc_test.receipt(:'m', 11, 'delivered', '{"settle": true}')) AS x \gset
SELECT is(byoc.record_outcomes(jsonb_build_array(jsonb_build_object('org_id', byoc_test.org_a(), 'id', :'m', 'claim_id', :'claim', 'outcome', 'unknown'))), 0,
    'the outcome that comes after all changes nothing');
SELECT is(byoc_test.status(:'m') || ': ' || byoc_test.events(:'m'), 'delivered: settled, delivered', 'the message is delivered');
SELECT is((SELECT count(*) FROM byoc.claims WHERE id = :'claim'), 0::bigint, 'and its claim ends');
-- Another message of the same claim: the claim lives until its dispatcher has spoken of both.
SELECT byoc.send_sms('+15005550006', 'x', org_id => byoc_test.org_a()) AS n \gset
SELECT byoc_test.sending() AS m \gset
SELECT claim_id AS claim FROM byoc.messages WHERE id = :'m' \gset
SELECT byoc_test.receive(byoc_test.receipt(:'m', 19, 'delivered', '{"settle": true}')) AS x \gset
SELECT is((SELECT unsettled FROM byoc.claims WHERE id = :'claim'), 2, 'a receipt leaves the claim alone');
SELECT is(byoc_test.record(:'n', 'accepted', jsonb_build_object('provider_sid', byoc_test.sid(20))), 1, 'the other message''s answer');
SELECT is((SELECT unsettled FROM byoc.claims WHERE id = :'claim'), 1, 'does not end it');
SELECT is(byoc.record_outcomes(jsonb_build_array(jsonb_build_object('org_id', byoc_test.org_a(), 'id', :'m', 'claim_id', :'claim', 'attempt', 1, 'outcome', 'accepted',
                                                                   'provider_sid', byoc_test.sid(19)))), 0, 'the late answer of the first');
SELECT is_empty(format('SELECT FROM byoc.claims WHERE id = %L', :'claim'), 'does');
SELECT is(byoc_test.events(:'m'), 'settled, delivered', 'and says nothing new');
SELECT byoc_test.sending() AS m \gset
UPDATE byoc.claims SET lease_until = clock_timestamp() - interval '1 second';
SELECT is(byoc_test.receive(byoc_test.receipt(:'m', 12, 'sent')), '{}', 'a dead dispatcher''s answer is not awaited');
SELECT is(byoc_test.status(:'m'), 'sent', 'the message is settled at once');
SELECT is(byoc.rescue_expired() >= 0 AND byoc_test.status(:'m') = 'sent', true, 'and is not rescued');
SELECT byoc_test.sending() AS m \gset
SELECT byoc_test.record(:'m', 'unknown', '{"error_code": "timeout"}') AS x \gset
SELECT is(byoc_test.receive(byoc_test.receipt(:'m', 13, 'sent')), '{}', 'a message that is looked for in the account''s list');
SELECT results_eq(format('SELECT status, provider_sid, error_code FROM byoc.sms_messages WHERE id = %L', :'m'),
    format('VALUES (%L, %L, NULL::text)', 'sent', byoc_test.sid(13)), 'is known by its receipt');
SELECT is(byoc_test.events(:'m'), 'unknown, settled, sent', 'as its history says');
SELECT is_empty('SELECT FROM byoc.reconciliations', 'it is looked for no more');
SELECT is(byoc.recorded_sids(byoc_test.org_a(), ARRAY[byoc_test.sid(13)], clock_timestamp()), ARRAY[byoc_test.sid(13)], 'and no list takes its SID for another''s');
SELECT byoc_test.sending() AS m \gset
SELECT byoc_test.record(:'m', 'unknown', '{"error_code": "timeout"}') AS x \gset
SELECT byoc.give_up_reconciling(byoc_test.org_a(), :'m', 'x') AS x \gset
SELECT byoc_test.receive(byoc_test.receipt(:'m', 18, 'sent')) AS x \gset
SELECT results_eq(format('SELECT status, provider_sid, error_code FROM byoc.sms_messages WHERE id = %L', :'m'),
    format('VALUES (%L, %L, NULL::text)', 'sent', byoc_test.sid(18)), 'an unknown message is known by its receipt');
SELECT byoc_test.sending() AS m \gset
SELECT byoc_test.record(:'m', 'unknown') AS x \gset
SELECT byoc.give_up_reconciling(byoc_test.org_a(), :'m', 'x') AS x \gset
SELECT byoc.resolve_unknown_sms(:'m', 'sent');
SELECT byoc_test.receive(byoc_test.receipt(:'m', 14, 'delivered')) AS x \gset
SELECT is(byoc_test.status(:'m'), 'delivered', 'also when a person had said so');

-- An attempt that was thought to have failed
SELECT byoc_test.sending() AS m \gset
SELECT byoc_test.record(:'m', 'unavailable', '{"retry_ms": 60000}') AS x \gset
SELECT is(byoc_test.receive(byoc_test.receipt(:'m', 15, 'sent', '{"attempt": 2}')), '{}', 'a receipt of an attempt that was not made');
SELECT is(byoc_test.status(:'m'), 'queued', 'leaves the message waiting');
SELECT byoc_test.receive(byoc_test.receipt(:'m', 15, 'delivered')) AS x \gset
SELECT is(byoc_test.status(:'m') || ': ' || byoc_test.events(:'m'), 'delivered: unavailable, settled, delivered', 'one of the last attempt keeps it from being sent twice');
SELECT is_empty(format('SELECT FROM byoc.schedule WHERE id = %L', :'m'), 'it waits no more');
SELECT is(byoc.recorded_sids(byoc_test.org_a(), ARRAY[byoc_test.sid(15)], clock_timestamp()), ARRAY[byoc_test.sid(15)], 'its SID is on record');
SELECT is((SELECT segments FROM byoc.messages WHERE id = :'m'), 1::smallint, 'with its segments');
SELECT byoc_test.sending() AS m \gset
SELECT byoc_test.record(:'m', 'unavailable', '{"retry_ms": 0}') AS x \gset
SELECT byoc.promote_due(100) AS x \gset
SELECT byoc_test.receive(byoc_test.receipt(:'m', 16, 'sent')) AS x \gset
SELECT is(byoc_test.status(:'m'), 'sent', 'also when it is already in the queue');
SELECT is_empty(format('SELECT FROM byoc.queue WHERE id = %L', :'m'), 'it is there no more');
SELECT byoc_test.sent(17) AS m \gset
SELECT byoc_test.receive(byoc_test.receipt(:'m', 17, 'undelivered')) AS x \gset
SELECT byoc.retry_sms(:'m');
SELECT byoc_test.receive(byoc_test.receipt(:'m', 17, 'undelivered'), byoc_test.receipt(:'m', 17, 'sent')) AS x \gset
SELECT is(byoc_test.status(:'m'), 'queued', 'a late receipt does not undo that somebody wants the message sent again');
UPDATE byoc.schedule SET due_at = clock_timestamp() WHERE id = :'m';
SELECT count(*) AS x FROM byoc_test.claim(100) \gset
SELECT byoc_test.receive(byoc_test.receipt(:'m', 17, 'delivered', '{"settle": true}')) AS x \gset
SELECT is(byoc_test.status(:'m'), 'sending', 'nor that it is being sent again');

-- Attempts that look alike, of which the list gave one the other's message
CREATE FUNCTION byoc_test.lost() RETURNS uuid LANGUAGE plpgsql AS $$
DECLARE
    id uuid := byoc.send_sms('+15005550040', 'alike', org_id => byoc_test.org_a());
BEGIN
    PERFORM byoc_test.claim(100);
    PERFORM byoc_test.record(id, 'unknown', '{"error_code": "timeout"}');
    RETURN id;
END $$;
SELECT byoc_test.lost() AS m \gset
SELECT byoc_test.lost() AS n \gset
SELECT byoc_test.lost() AS o \gset
SELECT is(byoc.record_reconciliation(byoc_test.org_a(), byoc_test.twilio(1) ->> 'account_sid', '+15005550040', now() - interval '1 day', clock_timestamp(),
    jsonb_build_array(jsonb_build_object('sid', byoc_test.sid(40), 'texts', ARRAY['alike'], 'created_at', clock_timestamp(), 'status', 'sent')), 'complete', NULL),
    1, 'the list has a message for one of three');
SELECT is(byoc_test.status(:'m'), 'sent', 'the first one gets it');
SELECT ok(EXISTS (SELECT FROM byoc.receipt_watches WHERE :'m' = ANY (message_ids)), 'and is watched for its final status');
SELECT is(byoc_test.receive(byoc_test.receipt(:'n', 40, 'delivered')), '{}', 'a receipt says that it was another one''s');
SELECT is(byoc_test.status(:'n') || ': ' || byoc_test.events(:'n'), 'sending: unknown, delivered', 'the two have changed places, so this one is looked for on');
SELECT byoc.settle_absent(byoc_test.org_a(), :'o') AS x \gset
SELECT is(byoc_test.receive(byoc_test.receipt(:'o', 40, 'delivered')), '{}', 'one that was not found');
SELECT is(byoc_test.status(:'o'), 'queued', 'is sent again');

-- Asking for the status
DELETE FROM byoc.receipt_watches;
SELECT byoc_test.sent(21) AS silent \gset
SELECT byoc_test.sent(22) AS called \gset
SELECT byoc_test.sent(23) AS done \gset
SELECT byoc.expect_receipts(array_fill(byoc_test.org_a(), ARRAY[3]), ARRAY[:'silent', :'called', :'done']::uuid[], ARRAY[false, true, false]);
SELECT results_eq('SELECT cardinality(message_ids), round(extract(epoch FROM due_at - clock_timestamp())) FROM byoc.receipt_watches ORDER BY due_at',
    'VALUES (2, 10::numeric), (1, 600)', 'where no callback can come the first question is due in ten seconds, else in ten minutes');
SELECT throws_ok(format('SELECT byoc.expect_receipts(ARRAY[%L]::uuid[], ARRAY[%L]::uuid[], ARRAY[true, false])', byoc_test.org_a(), :'silent'),
    '2202E', NULL, 'what does not belong together is refused');
SELECT is_empty('SELECT * FROM byoc.claim_status_checks(10)', 'not before');
SELECT byoc_test.receive(byoc_test.receipt(:'done', 23, 'delivered')) AS x \gset
UPDATE byoc.receipt_watches SET due_at = clock_timestamp() WHERE cardinality(message_ids) = 2;
SELECT results_eq('SELECT * FROM byoc.claim_status_checks(10)',
    format('VALUES (%L::uuid, %L::uuid, 1, %L, %L, %L::uuid, 1)', byoc_test.org_a(), :'silent', byoc_test.sid(21), 'twilio', :'credential'),
    'then those are asked about that had no final receipt');
SELECT is_empty('SELECT * FROM byoc.claim_status_checks(10)', 'by one dispatcher');
CREATE FUNCTION byoc_test.next_wait() RETURNS numeric LANGUAGE sql AS $$
    UPDATE byoc.status_checks SET due_at = clock_timestamp();
    SELECT count(*) FROM byoc.claim_status_checks(10);
    SELECT round(extract(epoch FROM due_at - clock_timestamp())) FROM byoc.status_checks;
$$;
SELECT is((SELECT round(extract(epoch FROM due_at - clock_timestamp())) FROM byoc.status_checks), 60::numeric, 'again after a minute');
SELECT is(byoc_test.next_wait(), 600::numeric, 'ten minutes');
SELECT is(byoc_test.next_wait(), 3600::numeric, 'an hour');
SELECT is(byoc_test.next_wait(), 14400::numeric, 'four hours');
SELECT is(byoc_test.next_wait(), 14400::numeric, 'and so on');
UPDATE byoc.messages SET sent_at = sent_at - interval '24 hours', created_at = created_at - interval '24 hours' WHERE id = :'silent';
SELECT is(byoc_test.next_wait(), NULL, 'for 24 hours');
SELECT is_empty('SELECT FROM byoc.status_checks', 'then never again');
UPDATE byoc.receipt_watches SET due_at = clock_timestamp();
SELECT is((SELECT count(*) FROM byoc.claim_status_checks(10)), 1::bigint, 'ten minutes of silence');
SELECT byoc_test.receive(byoc_test.receipt(:'called', 22, 'sent')) AS x \gset
SELECT is((SELECT count(*) FROM byoc.status_checks), 1::bigint, 'a receipt that is not final');
SELECT byoc_test.receive(byoc_test.receipt(:'called', 22, 'delivered')) AS x \gset
SELECT is_empty('SELECT FROM byoc.status_checks', 'a final one ends it');
SELECT is_empty('SELECT FROM byoc.receipt_watches', 'nothing is left behind');

-- A dispatcher that found nothing to do for a while, then a burst: the plan must not be the one for an empty table.
TRUNCATE byoc.status_checks;
ANALYZE byoc.status_checks;
DO $$ BEGIN FOR i IN 1 .. 10 LOOP PERFORM * FROM byoc.claim_status_checks(8); END LOOP; END $$;
INSERT INTO byoc.status_checks (org_id, id, due_at) SELECT byoc_test.org_b(), gen_random_uuid(), clock_timestamp() FROM generate_series(1, 5000);
SELECT pg_stat_get_xact_tuples_returned('byoc.status_checks_pkey'::regclass) AS before \gset
SELECT count(*) AS nothing FROM byoc.claim_status_checks(8) \gset
SELECT cmp_ok(pg_stat_get_xact_tuples_returned('byoc.status_checks_pkey'::regclass) - :before, '<', 500::bigint, 'a few of many are claimed without reading all');
DELETE FROM byoc.status_checks;

-- Shredding
SELECT byoc_test.sent(30) AS m \gset
SELECT byoc.expect_receipts(ARRAY[byoc_test.org_a()], ARRAY[:'m']::uuid[], ARRAY[false]);
UPDATE byoc.receipt_watches SET due_at = clock_timestamp();
SELECT byoc.shred_organization(byoc_test.org_a());
SELECT is_empty('SELECT * FROM byoc.claim_status_checks(10)', 'a shredded organization has no credential to ask with');
SELECT is((SELECT credential_id FROM byoc.open_receipts(ARRAY[byoc_test.token(byoc_test.org_a(), :'m', 1)])), NULL, 'nor one that signs');

SELECT * FROM finish();
ROLLBACK;
