-- Messages that the provider took and then reported as failed: which are sent again, when, and how often.
BEGIN;
\ir support/setup.sql
SELECT plan(33);

SELECT byoc_test.add_twilio(byoc_test.org_a(), 1) AS credential \gset
CREATE FUNCTION byoc_test.sid(n integer) RETURNS text LANGUAGE sql IMMUTABLE RETURN 'SM' || lpad(n::text, 32, '0');
CREATE FUNCTION byoc_test.accept(id uuid, n integer) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM byoc_test.claim(100);
    PERFORM byoc_test.record(accept.id, 'accepted', jsonb_build_object('provider_sid', byoc_test.sid(n)));
END $$;
CREATE FUNCTION byoc_test.sent(n integer, to_number text DEFAULT '+15005550006', expires_at timestamptz DEFAULT NULL) RETURNS uuid LANGUAGE plpgsql AS $$
DECLARE
    id uuid := byoc.send_sms(to_number, 'x', org_id => byoc_test.org_a(), expires_at => sent.expires_at);
BEGIN
    PERFORM byoc_test.accept(id, n);
    RETURN id;
END $$;
-- Reports what the provider says about the message's attempt with this id, so many times in one call.
CREATE FUNCTION byoc_test.report(id uuid, n integer, status text, code text DEFAULT NULL, attempt integer DEFAULT 1, times integer DEFAULT 1) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM byoc.record_receipts((SELECT jsonb_agg(jsonb_build_object('org_id', byoc_test.org_a(), 'id', report.id, 'attempt', report.attempt,
        'provider_sid', byoc_test.sid(n), 'status', status, 'error_code', code)) FROM generate_series(1, times)));
END $$;
CREATE FUNCTION byoc_test.waits(id uuid) RETURNS interval LANGUAGE sql RETURN (
    SELECT date_trunc('second', s.due_at - clock_timestamp() + interval '0.9 seconds') FROM byoc.schedule s WHERE s.id = waits.id);
CREATE FUNCTION byoc_test.come_due(id uuid) RETURNS void LANGUAGE sql AS $$ UPDATE byoc.schedule s SET due_at = clock_timestamp() WHERE s.id = come_due.id $$;

-- Bounded
SELECT byoc_test.sent(1) AS m \gset
SELECT byoc_test.report(:'m', 1, 'undelivered', '30003');
SELECT is(byoc_test.status(:'m'), 'queued', 'an error of class resend queues the message again');
SELECT is(byoc_test.waits(:'m'), '1 minute', 'in a minute');
SELECT is(byoc_test.events(:'m'), 'accepted, undelivered, resent', 'as its history says');
SELECT is((SELECT error_code FROM byoc.sms_events WHERE message_id = :'m' AND event = 'resent'), '30003', 'with the reason');
SELECT byoc_test.report(:'m', 1, 'undelivered', '30003', times => 3);
SELECT byoc_test.report(:'m', 1, 'failed', '30008');
SELECT is((SELECT count(*) FROM byoc.sms_events WHERE message_id = :'m' AND event = 'resent'), 1::bigint, 'repeated reports of that attempt change nothing');
SELECT is((SELECT count(*) FROM byoc.schedule WHERE id = :'m'), 1::bigint, 'it waits once');
SELECT byoc_test.come_due(:'m');
SELECT byoc_test.accept(:'m', 2);
SELECT is((SELECT attempts FROM byoc.sms_messages WHERE id = :'m'), 2, 'the next attempt is counted');
SELECT byoc_test.report(:'m', 1, 'undelivered', '30003');
SELECT is(byoc_test.status(:'m'), 'sent', 'a late report of the first attempt does not touch the second');
SELECT byoc_test.report(:'m', 2, 'failed', '30008', 2, 3);
SELECT is(byoc_test.waits(:'m'), '10 minutes', 'the second time it waits longer');
SELECT byoc_test.come_due(:'m');
SELECT byoc_test.accept(:'m', 3);
SELECT byoc_test.report(:'m', 3, 'undelivered', '30003', 3);
SELECT results_eq(format('SELECT status, error_code, error_message FROM byoc.sms_messages WHERE id = %L', :'m'), $$VALUES ('undelivered', '30003', 'handset unreachable')$$, 'the third report is final');
SELECT byoc_test.act_as(byoc_test.org_a());
SELECT byoc.retry_sms(:'m');
SELECT byoc_test.no_context();
SELECT byoc_test.accept(:'m', 4);
SELECT byoc_test.report(:'m', 4, 'undelivered', '30003', 4);
SELECT is(byoc_test.waits(:'m'), '1 minute', 'a person''s retry begins a new count');
SELECT is(byoc.recorded_sids(byoc_test.org_a(), ARRAY[byoc_test.sid(1), byoc_test.sid(4), byoc_test.sid(99)], clock_timestamp()),
    ARRAY[byoc_test.sid(1), byoc_test.sid(4)], 'ids of earlier attempts stay on record: a message list takes none of them for another message');

-- Delivered is delivered
SELECT byoc_test.sent(10) AS m \gset
SELECT byoc_test.report(:'m', 10, 'delivered');
SELECT byoc_test.report(:'m', 10, 'undelivered', '30003');
SELECT is(byoc_test.status(:'m'), 'delivered', 'after delivery nothing is sent again');
SELECT byoc_test.sent(11) AS m \gset
SELECT byoc.record_receipts(jsonb_build_array(
    jsonb_build_object('org_id', byoc_test.org_a(), 'id', :'m', 'attempt', 1, 'provider_sid', byoc_test.sid(11), 'status', 'undelivered', 'error_code', '30003'),
    jsonb_build_object('org_id', byoc_test.org_a(), 'id', :'m', 'attempt', 1, 'provider_sid', byoc_test.sid(11), 'status', 'delivered'))) AS x \gset
SELECT is(byoc_test.status(:'m'), 'undelivered', 'nor when the reports contradict each other');

UPDATE byoc.earlier_attempts SET left_at = now() - interval '91 days' WHERE provider_sid = byoc_test.sid(1);
SELECT byoc.prune('90 days') AS pruned \gset
SELECT is((SELECT array_agg(provider_sid ORDER BY provider_sid) FROM byoc.earlier_attempts), ARRAY[byoc_test.sid(2), byoc_test.sid(3), byoc_test.sid(4)],
    'ids of earlier attempts go with old messages');

-- Not for what nobody wants any more
SELECT byoc_test.sent(20, '+15005550020') AS m \gset
INSERT INTO byoc.opt_outs (org_id, number, source) VALUES (byoc_test.org_a(), '+15005550020', 'inbound');
SELECT byoc_test.report(:'m', 20, 'undelivered', '30003');
SELECT is(byoc_test.status(:'m'), 'undelivered', 'not to a number that has opted out');
SELECT byoc_test.sent(21, '+15005550021') AS m \gset
SELECT byoc_test.report(:'m', 21, 'undelivered', '30003');
SELECT byoc.opt_out(byoc_test.org_a(), '+15005550021', 'inbound');
SELECT results_eq(format('SELECT status, error_code FROM byoc.sms_messages WHERE id = %L', :'m'), $$VALUES ('failed', '21610')$$, 'an opt-out stops one that waits');
SELECT byoc_test.sent(22, expires_at => now() + interval '50 seconds') AS m \gset
SELECT byoc_test.report(:'m', 22, 'undelivered', '30003');
SELECT is(byoc_test.status(:'m'), 'undelivered', 'not one that will have expired');
SELECT byoc_test.sent(23, expires_at => now() + interval '1 hour') AS m \gset
SELECT byoc_test.report(:'m', 23, 'undelivered', '30003');
SELECT is((SELECT expires_at FROM byoc.sms_messages WHERE id = :'m'), now() + interval '1 hour', 'its expiry stays');
SELECT byoc_test.sent(24) AS m \gset
UPDATE byoc.messages SET created_at = now() - byoc.retry_window() WHERE id = :'m';
SELECT byoc_test.report(:'m', 24, 'undelivered', '30003');
SELECT is(byoc_test.status(:'m'), 'undelivered', 'nor one that was tried for long enough');

-- Other classes
SELECT byoc_test.sent(30) AS m \gset
SELECT byoc_test.report(:'m', 30, 'failed', '30022');
SELECT is(byoc_test.waits(:'m'), '1 minute', 'retry_later: the carrier''s cap is reached, it is sent later');
INSERT INTO byoc.message_events (org_id, message_id, id, event, attempt) SELECT byoc_test.org_a(), :'m', byoc.uuid_v7(), 'resent', 1 FROM generate_series(1, 9);
SELECT byoc_test.come_due(:'m');
SELECT byoc_test.accept(:'m', 31);
SELECT byoc_test.report(:'m', 31, 'failed', '30022', 2);
SELECT is(byoc_test.waits(:'m'), '1 hour', 'each time later, at most an hour, while it may be tried');
SELECT byoc_test.sent(32) AS m \gset
SELECT byoc_test.report(:'m', 32, 'failed', '30007');
SELECT is(byoc_test.status(:'m'), 'failed', 'permanent for the message: final');
SELECT byoc_test.sent(33) AS m \gset
SELECT byoc_test.report(:'m', 33, 'undelivered', '30005');
SELECT is(byoc_test.status(:'m'), 'undelivered', 'permanent for the recipient: final');
SELECT byoc_test.sent(34) AS m \gset
SELECT byoc_test.report(:'m', 34, 'failed', '39999');
SELECT results_eq(format('SELECT status, error_code, error_message FROM byoc.sms_messages WHERE id = %L', :'m'), $$VALUES ('failed', '39999', NULL)$$, 'a code that nobody knows: final');
INSERT INTO byoc.provider_error_overrides VALUES ('twilio', '39999', 'resend', 'made up'), ('twilio', '30003', 'permanent_recipient', NULL);
SELECT byoc_test.sent(35) AS m \gset
SELECT byoc_test.report(:'m', 35, 'failed', '39999');
SELECT is(byoc_test.waits(:'m'), '1 minute', 'until the DBA gives it a class');
SELECT byoc_test.sent(36) AS m \gset
SELECT byoc_test.report(:'m', 36, 'undelivered', '30003');
SELECT is(byoc_test.status(:'m'), 'undelivered', 'or takes one away');
SELECT byoc_test.report(:'m', 36, 'undelivered', '30003');
DELETE FROM byoc.provider_error_overrides;
SELECT byoc_test.report(:'m', 36, 'undelivered', '30003');
SELECT is(byoc_test.status(:'m'), 'undelivered', 'what is final stays so');
SELECT byoc.send_sms('+15005550006', 'x', org_id => byoc_test.org_a()) AS m \gset
SELECT byoc_test.claim(100) AS c \gset
SELECT byoc_test.record(:'m', 'rejected', '{"error_code": "30001", "http_status": 400, "retry_ms": 5000}') AS x \gset
SELECT is(byoc_test.events(:'m'), 'rejected', 'refused at once with an error of class resend');
SELECT is(byoc_test.waits(:'m'), '5 seconds', 'nothing was sent, so it is tried again');

-- What a message list shows
SELECT byoc.send_sms('+15005550006', 'x', org_id => byoc_test.org_a()) AS m \gset
SELECT byoc_test.claim(100) AS c \gset
SELECT byoc_test.record(:'m', 'unknown', '{"error_code": "timeout"}') AS x \gset
SELECT ok(byoc.settle_found(byoc_test.org_a(), :'m', jsonb_build_object('sid', byoc_test.sid(40), 'status', 'undelivered', 'error_code', '30003', 'created_at', now())),
    'a message whose answer was lost is found undelivered');
SELECT is(byoc_test.waits(:'m'), '1 minute', 'and sent again');
SELECT is(byoc_test.events(:'m'), 'unknown, found, resent', 'as its history says');

SELECT * FROM finish();
ROLLBACK;
