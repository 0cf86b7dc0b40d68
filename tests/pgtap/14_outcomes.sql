-- Outcomes: what becomes of a message after an attempt, and what people decide about it.
BEGIN;
\ir support/setup.sql
SELECT plan(95);

SELECT byoc_test.add_twilio(byoc_test.org_a(), 1) AS credential \gset
UPDATE byoc.organization_api_credentials SET verification_due_at = NULL;
-- A message of organization A that is being sent.
CREATE FUNCTION byoc_test.sending(body text DEFAULT 'x', expires_at timestamptz DEFAULT NULL) RETURNS uuid LANGUAGE plpgsql AS $$
DECLARE
    id uuid := byoc.send_sms('+15005550006', body, expires_at => expires_at, org_id => byoc_test.org_a());
BEGIN
    PERFORM byoc_test.claim(100);
    RETURN id;
END $$;
-- Makes a waiting message due and claims it.
CREATE FUNCTION byoc_test.next_attempt(id uuid) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    result integer;
BEGIN
    UPDATE byoc.schedule s SET due_at = clock_timestamp() - interval '1 second' WHERE s.id = next_attempt.id;
    SELECT c.attempt INTO result FROM byoc_test.claim(100) AS c WHERE c.id = next_attempt.id;
    RETURN result;
END $$;

-- Accepted
-- Since PostgreSQL 16 such an index does not keep an update from being heap-only.
CREATE INDEX by_time ON byoc.messages USING brin (sent_at);
SELECT byoc_test.sending() AS m \gset
SELECT is(byoc_test.record(:'m', 'accepted', '{"provider_sid": "SM00000000000000000000000000000001", "from_number": "+15005550001", "segments": 2, "http_status": 201, "duration_ms": 120}'), 1,
    'recording tells how many messages were still the caller''s');
SELECT results_eq(format($$SELECT status, provider_sid, from_number, segments, error_code, attempts, sent_at IS NOT NULL, delivered_at FROM byoc.sms_messages WHERE id = %L$$, :'m'),
    $$VALUES ('sent', 'SM00000000000000000000000000000001', '+15005550001', 2, NULL::text, 1, true, NULL::timestamptz)$$, 'accepted: the message is sent, with the provider''s id, sender and segments');
SELECT results_eq(format($$SELECT event, attempt, http_status, provider_sid, duration_ms FROM byoc.sms_events WHERE message_id = %L$$, :'m'),
    $$VALUES ('accepted', 1, 201, 'SM00000000000000000000000000000001', 120)$$, 'its history holds the attempt');
SELECT ok((SELECT claim_id IS NULL AND finished_at IS NOT NULL FROM byoc.messages WHERE id = :'m'), 'it has left its claim');
SELECT sent_at FROM byoc.messages WHERE id = :'m' \gset
SET LOCAL enable_seqscan = off;
SELECT is((SELECT id FROM byoc.messages WHERE sent_at = :'sent_at'), :'m'::uuid, 'and is found by an index that summarizes rows');
RESET enable_seqscan;
SELECT byoc_test.refused(format('SELECT byoc.retry_sms(%L)', :'m'), '55000', 'is sent and cannot be sent again', 'a message that was sent is not sent again');
SELECT byoc_test.refused(format($$SELECT byoc.resolve_unknown_sms(%L, 'failed')$$, :'m'), '55000', 'is sent and cannot be resolved', 'nor resolved');

-- Stale claims
SELECT byoc_test.sending() AS m \gset
SELECT is(byoc_test.record(:'m', 'accepted', jsonb_build_object('claim_id', gen_random_uuid())), 0, 'an outcome of another claim is ignored');
SELECT is(byoc_test.record(:'m', 'unavailable', jsonb_build_object('claim_id', gen_random_uuid())), 0, 'also one that would try again');
SELECT is(byoc_test.record(:'m', 'accepted', jsonb_build_object('org_id', byoc_test.org_b())), 0, 'an outcome under another organization is ignored');
SELECT is(byoc_test.status(:'m'), 'sending', 'the message is still being sent');
SELECT is(byoc_test.events(:'m'), NULL, 'and its history empty');
SELECT claim_id AS claim FROM byoc.messages WHERE id = :'m' \gset
SELECT is(byoc_test.record(:'m', 'rejected', '{"error_code": "21211", "error_message": "The number is not valid.", "http_status": 400}'), 1, 'the right claim''s outcome counts');
SELECT results_eq(format($$SELECT status, error_code, error_message, attempts, sent_at FROM byoc.sms_messages WHERE id = %L$$, :'m'), $$VALUES ('failed', '21211', 'The number is not valid.', 1, NULL::timestamptz)$$,
    'rejected for good: the message failed with the provider''s code and message');
SELECT is(byoc.record_outcomes(jsonb_build_array(jsonb_build_object('org_id', byoc_test.org_a(), 'id', :'m', 'claim_id', :'claim', 'outcome', 'accepted'))), 0, 'a second outcome of the same claim is ignored');
SELECT is(byoc_test.status(:'m'), 'failed', 'and changes nothing');

-- The claim's row
SELECT byoc.send_sms('+15005550006', 'the other one', org_id => byoc_test.org_a()) AS other \gset
SELECT byoc_test.sending() AS m \gset
SELECT claim_id AS claim FROM byoc.messages WHERE id = :'m' \gset
SELECT is(byoc_test.record(:'m', 'accepted'), 1, 'an outcome that is not the claim''s last');
SELECT is((SELECT count(*) FROM byoc.claims WHERE id = :'claim'), 1::bigint, 'leaves the claim');
SELECT is(byoc_test.record(:'other', 'rejected'), 1, 'the last outcome');
SELECT is((SELECT count(*) FROM byoc.claims WHERE id = :'claim'), 0::bigint, 'ends the claim');

-- Tried again
SELECT byoc_test.sending() AS m \gset
SELECT is(byoc_test.record(:'m', 'unavailable', '{"retry_ms": 60000, "error_code": "connect_failed", "error_message": "refused", "duration_ms": 3}'), 1, 'unavailable, never written');
SELECT is(byoc_test.status(:'m'), 'queued', 'the message waits for another try');
SELECT ok((SELECT due_at - clock_timestamp() BETWEEN interval '58 seconds' AND interval '60 seconds' FROM byoc.schedule WHERE id = :'m'), 'for retry_ms');
SELECT is((SELECT attempts FROM byoc.sms_messages WHERE id = :'m'), 1, 'the attempt counts');
SELECT is_empty($$SELECT * FROM byoc_test.claim(100)$$, 'it is not given out before');
SELECT ok(byoc.dispatcher_sleep() BETWEEN 58000 AND 60000, 'the dispatcher may sleep until then, in milliseconds');
SELECT is(byoc_test.next_attempt(:'m'), 2, 'then it is given out as the second attempt');
SELECT is(byoc_test.record(:'m', 'throttled', '{"retry_ms": 0, "error_code": "20429", "http_status": 429}'), 1, 'throttled is tried again as well');
SELECT is(byoc_test.next_attempt(:'m'), 3, 'as the third attempt');
SELECT is(byoc_test.record(:'m', 'accepted', '{"provider_sid": "SM00000000000000000000000000000002"}'), 1, 'and accepted');
SELECT is(byoc_test.events(:'m'), 'unavailable, throttled, accepted', 'one message, three attempts, all in its history');
SELECT results_eq(format($$SELECT array_agg(attempt ORDER BY id), array_agg(http_status ORDER BY id) FROM byoc.sms_events WHERE message_id = %L$$, :'m'), $$VALUES ('{1,2,3}'::int[], '{NULL,429,NULL}'::int[])$$, 'with their numbers and HTTP status');
SELECT is((SELECT attempts FROM byoc.sms_messages WHERE id = :'m'), 3, 'the message says three attempts');
SELECT byoc_test.sending() AS m \gset
SELECT byoc_test.record(:'m', 'unavailable') AS n \gset
SELECT ok((SELECT due_at - clock_timestamp() BETWEEN interval '0' AND interval '1 second' FROM byoc.schedule WHERE id = :'m'), 'without retry_ms it waits a second');
SELECT byoc_test.next_attempt(:'m') AS n \gset
SELECT byoc_test.record(:'m', 'unavailable', '{"retry_ms": -5000}') AS n \gset
SELECT ok((SELECT due_at <= clock_timestamp() AND due_at > clock_timestamp() - interval '1 second' FROM byoc.schedule WHERE id = :'m'), 'a negative retry_ms means now');
SELECT byoc_test.next_attempt(:'m') AS n \gset

-- Given back
SELECT is(byoc_test.record(:'m', 'returned'), 1, 'a dispatcher that stops gives back');
SELECT is((SELECT attempts FROM byoc.sms_messages WHERE id = :'m'), 2, 'and the attempt that was not made does not count');
SELECT is(byoc_test.status(:'m'), 'queued', 'the message waits');
SELECT is((SELECT c.attempt FROM byoc_test.claim(100) AS c WHERE c.id = :'m'), 3, 'and is given out at once, with the same number');
SELECT byoc_test.sending('never tried') AS m \gset
SELECT byoc_test.record(:'m', 'returned') AS n \gset
SELECT is((SELECT attempts FROM byoc.sms_messages WHERE id = :'m'), 0, 'a message given back before its first attempt has none');

-- Classes of errors
SELECT byoc_test.sending() AS m \gset
SELECT byoc_test.record(:'m', 'rejected', '{"error_code": "21611", "retry_ms": 5000}') AS n \gset
SELECT is(byoc_test.status(:'m'), 'queued', 'rejected with a code of class retry_later: tried again');
SELECT is(byoc_test.events(:'m'), 'rejected', 'with the rejection in its history');
SELECT byoc_test.sending() AS m \gset
SELECT byoc_test.record(:'m', 'rejected', '{"error_code": "21610"}') AS n \gset
SELECT is(byoc_test.status(:'m'), 'failed', 'rejected with a permanent code: failed');
SELECT byoc_test.sending() AS m \gset
SELECT byoc_test.record(:'m', 'rejected', '{"error_code": "88888"}') AS n \gset
SELECT is(byoc_test.status(:'m'), 'failed', 'rejected with an unknown code: failed');
SELECT byoc_test.sending() AS m \gset
SELECT byoc_test.record(:'m', 'rejected') AS n \gset
SELECT is(byoc_test.status(:'m'), 'failed', 'rejected without a code: failed');
INSERT INTO byoc.provider_error_overrides VALUES ('twilio', '88888', 'retry_later'), ('twilio', '21611', 'permanent_message');
SELECT byoc_test.sending() AS m \gset
SELECT byoc_test.record(:'m', 'rejected', '{"error_code": "88888"}') AS n \gset
SELECT is(byoc_test.status(:'m'), 'queued', 'the DBA''s class for a code of its own counts');
SELECT byoc_test.sending() AS m \gset
SELECT byoc_test.record(:'m', 'rejected', '{"error_code": "21611"}') AS n \gset
SELECT is(byoc_test.status(:'m'), 'failed', 'and comes before the shipped one');

-- The end of trying
SELECT byoc_test.sending() AS m \gset
UPDATE byoc.messages SET created_at = now() - interval '25 hours' WHERE id = :'m';
SELECT byoc_test.record(:'m', 'unavailable', '{"error_message": "HTTP 503"}') AS n \gset
SELECT results_eq(format($$SELECT status, error_message FROM byoc.sms_messages WHERE id = %L$$, :'m'), $$VALUES ('failed', 'HTTP 503')$$, 'after 24 hours a message is not tried again');
SELECT byoc_test.sending() AS m \gset
UPDATE byoc.messages SET created_at = now() - interval '25 hours', send_at = now() - interval '1 hour' WHERE id = :'m';
SELECT byoc_test.record(:'m', 'unavailable') AS n \gset
SELECT is(byoc_test.status(:'m'), 'queued', 'the 24 hours of a scheduled message begin at send_at');
SELECT byoc_test.sending('x', now() + interval '1 hour') AS m \gset
UPDATE byoc.messages SET expires_at = now() - interval '1 second' WHERE id = :'m';
SELECT byoc_test.record(:'m', 'throttled') AS n \gset
SELECT is(byoc_test.status(:'m'), 'expired', 'a message whose expires_at passed meanwhile is expired');
SELECT byoc_test.sending('x', now() + interval '1 hour') AS m \gset
UPDATE byoc.messages SET expires_at = now() - interval '1 second' WHERE id = :'m';
SELECT byoc_test.record(:'m', 'rejected', '{"error_code": "21610"}') AS n \gset
SELECT is(byoc_test.status(:'m'), 'failed', 'unless it failed for good: then it failed');
SELECT byoc_test.sending('x', now() + interval '1 hour') AS m \gset
UPDATE byoc.messages SET expires_at = now() - interval '1 second' WHERE id = :'m';
SELECT byoc_test.record(:'m', 'accepted') AS n \gset
SELECT is(byoc_test.status(:'m'), 'sent', 'or was accepted: then it is sent');
SELECT byoc_test.sending('x', now() + interval '10 days') AS m \gset
UPDATE byoc.messages SET created_at = now() - interval '3 days' WHERE id = :'m';
SELECT byoc_test.record(:'m', 'unavailable') AS n \gset
SELECT is(byoc_test.status(:'m'), 'queued', 'with expires_at a message is tried until then, however old');
SELECT is(byoc.retry_window(), interval '24 hours', 'the window is 24 hours');

-- Many at once
CREATE TABLE byoc_test.batch AS SELECT n, byoc.send_sms('+15005550006', 'batch', org_id => byoc_test.org_a()) AS id FROM generate_series(1, 60) AS n;
SELECT count(*) AS n FROM byoc_test.claim(1000) \gset
SELECT is((SELECT byoc.record_outcomes(jsonb_agg(jsonb_build_object('org_id', m.org_id, 'id', m.id, 'claim_id', m.claim_id,
        'outcome', (ARRAY['accepted', 'rejected', 'throttled', 'unavailable', 'unknown', 'returned'])[b.n % 6 + 1])))
    FROM byoc_test.batch b JOIN byoc.messages m USING (id)), 60, 'sixty outcomes of all kinds are recorded in one call');
SELECT byoc_test.lists($$SELECT m.status || ' ' || count(*) FROM byoc_test.batch b JOIN byoc.sms_messages m USING (id) GROUP BY m.status$$,
    ARRAY['sent 10', 'failed 10', 'sending 10', 'queued 30'], 'each as its outcome says; what was given back is queued again, what nobody knows is looked for');
SELECT is((SELECT count(*) FROM byoc.all_sms_messages m JOIN byoc_test.batch USING (id)), 60::bigint, 'none is lost or doubled');
SELECT is(byoc.record_outcomes('[]'), 0, 'no outcomes are fine');

-- Accepted ones in arrays
CREATE FUNCTION byoc_test.record_accepted(ids uuid[], claim uuid DEFAULT NULL) RETURNS integer LANGUAGE sql AS $$
    SELECT byoc.record_accepted(array_agg(m.org_id), array_agg(m.id), array_agg(coalesce(claim, m.claim_id)), array_agg(m.attempts),
        array_agg('SM' || replace(m.id::text, '-', '')), array_agg('+15005550001'::text), array_agg(2::smallint), array_agg(120))
    FROM byoc.messages m WHERE m.id = ANY (ids);
$$;
SELECT byoc_test.sending('array 1') AS a1 \gset
SELECT byoc_test.sending('array 2') AS a2 \gset
SELECT claim_id AS claim FROM byoc.messages WHERE id = :'a2' \gset
SELECT is(byoc_test.record_accepted(ARRAY[:'a1', :'a2']::uuid[]), 2, 'accepted messages are recorded in arrays too');
SELECT results_eq(format($$SELECT status, provider_sid, from_number, segments, error_code, attempts, sent_at IS NOT NULL FROM byoc.sms_messages WHERE id = %L$$, :'a1'),
    format($$VALUES ('sent', 'SM' || replace(%L, '-', ''), '+15005550001', 2, NULL::text, 1, true)$$, :'a1'), 'with the provider''s id, sender and segments');
SELECT results_eq(format($$SELECT event, attempt, http_status, provider_sid, duration_ms FROM byoc.sms_events WHERE message_id = %L$$, :'a1'),
    format($$VALUES ('accepted', 1, NULL::integer, 'SM' || replace(%L, '-', ''), 120)$$, :'a1'), 'and the attempt in their history');
SELECT is((SELECT count(*) FROM byoc.claims WHERE id = :'claim'), 0::bigint, 'which ends their claims');
SELECT is(byoc_test.record_accepted(ARRAY[:'a1', :'a2']::uuid[], :'claim'), 0, 'a second time changes nothing');
SELECT is(byoc_test.events(:'a1') || ', ' || byoc_test.events(:'a2'), 'accepted, accepted', 'nor does it stand in the history');
SELECT is(byoc.record_accepted('{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}'), 0, 'no messages are fine');

SELECT byoc_test.sending('array 3') AS a3 \gset
UPDATE byoc.lanes SET failures = 2 WHERE org_id = byoc_test.org_a();
SELECT is(byoc_test.record_accepted(ARRAY[:'a3']::uuid[]), 1, 'where a provider failed');
SELECT is((SELECT max(failures) FROM byoc.lanes WHERE org_id = byoc_test.org_a()), 0, 'an accepted message closes the breaker');

SELECT byoc_test.sending('array 4') AS a4 \gset
SELECT claim_id AS claim FROM byoc.messages WHERE id = :'a4' \gset
SELECT byoc_test.record(:'a4', 'unknown') AS n \gset
SELECT is(byoc_test.record_accepted(ARRAY[:'a4']::uuid[]), 1, 'an answer that was given up is still good');
SELECT is(byoc_test.status(:'a4'), 'sent', 'and settles its message');

SELECT byoc_test.sending('array 5') AS a5 \gset
SELECT claim_id AS claim FROM byoc.messages WHERE id = :'a5' \gset
SELECT byoc_test.record(:'a5', 'unavailable') AS n \gset
SELECT is(byoc_test.next_attempt(:'a5'), 2, 'the answer to an attempt that is over,');
SELECT is(byoc_test.record_accepted(ARRAY[:'a5']::uuid[], :'claim')::text || byoc_test.events(:'a5'), '0unavailable, late', 'is kept in the history only');

-- Unknown
SELECT byoc_test.sending('maybe 1') AS u1 \gset
SELECT byoc_test.sending('maybe 2') AS u2 \gset
SELECT byoc_test.sending('maybe 3') AS u3 \gset
SELECT sum(byoc_test.record(u, 'unknown', '{"error_message": "The answer was lost."}')) AS n FROM unnest(ARRAY[:'u1', :'u2', :'u3']::uuid[]) AS u \gset
SELECT count(byoc.give_up_reconciling(byoc_test.org_a(), u, 'it could not be read')) AS n FROM unnest(ARRAY[:'u1', :'u2', :'u3']::uuid[]) AS u \gset
SELECT is(byoc_test.status(:'u1') || byoc_test.status(:'u2') || byoc_test.status(:'u3'), 'unknownunknownunknown', 'a message whose answer was lost is parked when the message list cannot tell');
UPDATE byoc.schedule SET due_at = clock_timestamp() - interval '1 hour';
SELECT is_empty(format($$SELECT * FROM byoc_test.claim(1000) WHERE id IN (%L, %L, %L)$$, :'u1', :'u2', :'u3'), 'and never sent again by itself');
SELECT byoc_test.refused(format('SELECT byoc.retry_sms(%L)', :'u1'), '55000', 'is unknown and cannot be sent again', 'nor by byoc.retry_sms');
SELECT byoc_test.refused(format('SELECT byoc.cancel_sms(%L)', :'u1'), '55000', 'is unknown', 'nor can it be cancelled');
SELECT byoc_test.refused(format($$SELECT byoc.resolve_unknown_sms(%L, 'maybe')$$, :'u1'), '22023', 'sent, resend or failed, not "maybe"', 'a resolution is sent, resend or failed');
SELECT byoc_test.refused(format($$SELECT byoc.resolve_unknown_sms(%L, NULL)$$, :'u1'), '22', 'resolution', 'not NULL, with an error that does not quote the row');
SET LOCAL ROLE byoc_test_tenant;
SELECT byoc_test.act_as(byoc_test.org_a(), 'member');
SELECT lives_ok(format($$SELECT byoc.resolve_unknown_sms(%L, 'sent')$$, :'u1'), 'resolved as sent');
SELECT ok((SELECT status = 'sent' AND sent_at IS NOT NULL FROM byoc.sms_messages WHERE id = :'u1'), 'it is sent');
SELECT lives_ok(format($$SELECT byoc.resolve_unknown_sms(%L, 'failed')$$, :'u2'), 'resolved as failed');
SELECT ok((SELECT status = 'failed' AND sent_at IS NULL FROM byoc.sms_messages WHERE id = :'u2'), 'it failed');
SELECT lives_ok(format($$SELECT byoc.resolve_unknown_sms(%L, 'resend')$$, :'u3'), 'resolved to be sent again');
SELECT is(byoc_test.status(:'u3'), 'queued', 'it waits again');
SELECT is(byoc_test.events(:'u3'), 'unknown, unknown, resolved', 'the decision is in its history');
SELECT byoc_test.refused(format($$SELECT byoc.resolve_unknown_sms(%L, 'sent')$$, :'u3'), '55000', 'is queued and cannot be resolved', 'a decision is taken once');
RESET ROLE;
SELECT byoc_test.no_context();
SELECT is(byoc_test.next_attempt(:'u3'), 2, 'and is given out as the second attempt');

-- Sent again by a person
SET LOCAL ROLE byoc_test_tenant;
SELECT byoc_test.act_as(byoc_test.org_a(), 'member');
SELECT lives_ok(format('SELECT byoc.retry_sms(%L)', :'u2'), 'a failed message can be sent again');
RESET ROLE;
SELECT byoc_test.no_context();
SELECT is(byoc_test.next_attempt(:'u2'), 2, 'it is given out again, attempts go on counting');
SELECT byoc_test.record(:'u2', 'accepted') AS n \gset
SELECT is(byoc_test.events(:'u2'), 'unknown, unknown, resolved, retried, accepted', 'its history holds everything');
SELECT byoc.send_sms('+15005550006', 'cancelled', now() + interval '1 day', idempotency_key => 'again', org_id => byoc_test.org_a()) AS c \gset
SELECT byoc.cancel_sms(:'c');
SELECT lives_ok(format('SELECT byoc.retry_sms(%L)', :'c'), 'a cancelled message can be sent again');
SELECT results_eq(format($$SELECT status, send_at, idempotency_key FROM byoc.sms_messages WHERE id = %L$$, :'c'), $$VALUES ('scheduled', now() + interval '1 day', 'again')$$, 'at its own time');
SELECT byoc_test.sending('x', now() + interval '1 hour') AS m \gset
UPDATE byoc.messages SET expires_at = now() - interval '1 second', created_at = now() - interval '3 days' WHERE id = :'m';
SELECT byoc_test.record(:'m', 'unavailable') AS n \gset
SELECT lives_ok(format('SELECT byoc.retry_sms(%L)', :'m'), 'an expired message can be sent again');
SELECT is(byoc_test.next_attempt(:'m'), 2, 'its old expiry does not count');
SELECT byoc_test.record(:'m', 'unavailable') AS n \gset
SELECT is(byoc_test.status(:'m'), 'queued', 'and it has a new window of 24 hours');
SELECT byoc_test.refused(format('SELECT byoc.retry_sms(%L)', :'m'), '55000', 'is queued and cannot be sent again', 'a message that waits is not sent twice');

SELECT * FROM finish();
ROLLBACK;
