-- Claims: what a dispatcher is given, how many, in which order, and that nothing is given twice.
BEGIN;
\ir support/setup.sql
SELECT plan(66);

-- An empty queue
SELECT is(byoc.dispatcher_sleep(), NULL, 'with nothing to do a dispatcher may sleep without end');
SELECT is_empty($$SELECT * FROM byoc_test.claim(10)$$, 'and a claim gives nothing');

-- One message
SELECT byoc_test.add_twilio(byoc_test.org_a(), 1) AS a1 \gset
UPDATE byoc.organization_api_credentials SET verification_due_at = NULL;
SELECT byoc.send_sms('+15005550006', 'first', org_id => byoc_test.org_a()) AS first \gset
SELECT is(byoc.dispatcher_sleep(), 0, 'with a message waiting a dispatcher must not sleep');
SELECT is_empty($$SELECT * FROM byoc.claim_jobs(byoc_test.dispatcher(), 0, '1 minute')$$, 'no slots, no message');
SELECT byoc_test.refused(format('SELECT * FROM byoc.claim_jobs(%s)', a), '22004', format('argument %s must not be null', n), format('byoc.claim_jobs(%s)', a))
FROM unnest(ARRAY['NULL, 1, ''1 minute''', 'byoc_test.dispatcher(), NULL, ''1 minute''', 'byoc_test.dispatcher(), 1, NULL']) WITH ORDINALITY AS u (a, n);
SELECT byoc_test.refused($$SELECT * FROM byoc.claim_jobs(byoc_test.dispatcher(), 1, '1 minute', ARRAY[byoc_test.org_a()])$$, '2202E', 'each lane in use needs its room',
    'lanes in use without their rooms are refused');
SELECT is_empty($$SELECT * FROM byoc.claim_jobs(byoc_test.dispatcher(), -1, '1 minute')$$, 'nor for a negative number of slots');
CREATE TABLE byoc_test.got AS SELECT * FROM byoc.claim_jobs(byoc_test.dispatcher(), 10, '1 minute');
SELECT results_eq($$SELECT org_id, id, provider, credential_id, credential_version, to_number, body, attempt, validity_seconds FROM byoc_test.got$$,
    format($$VALUES (byoc_test.org_a(), %L::uuid, 'twilio', %L::uuid, 1, '+15005550006', 'first', 1, NULL::integer)$$, :'first', :'a1'), 'a claim gives the message, its credential and the number of the attempt');
SELECT results_eq(format($$SELECT status, attempts FROM byoc.sms_messages WHERE id = %L$$, :'first'), $$VALUES ('sending', 1)$$, 'the message is being sent then, and the attempt counts');
SELECT results_eq(format($$SELECT claim_id, used_credential_id FROM byoc.messages WHERE id = %L$$, :'first'), format($$SELECT claim_id, %L::uuid FROM byoc_test.got$$, :'a1'), 'under its claim, by its credential');
SELECT results_eq($$SELECT org_ids, dispatcher, message_ids, unsettled FROM byoc.claims$$, format($$VALUES (ARRAY[byoc_test.org_a()], byoc_test.dispatcher(), ARRAY[%L::uuid], 1)$$, :'first'), 'the claim is noted with its dispatcher and messages');
SELECT ok((SELECT lease_until - clock_timestamp() BETWEEN interval '50 seconds' AND interval '1 minute' FROM byoc.claims), 'for as long as the lease');
SELECT is_empty($$SELECT * FROM byoc_test.claim(10)$$, 'a second claim gives nothing');
SELECT is((SELECT count(*) FROM byoc.queue), 0::bigint, 'the queue is empty');
SELECT byoc_test.refused(format('SELECT byoc.cancel_sms(%L)', :'first'), '55000', 'is sending and cannot be cancelled', 'a message that is being sent cannot be cancelled');
SELECT is(byoc.dispatcher_sleep(), NULL, 'nothing is left to do');

-- Slots and order
DO $$ BEGIN PERFORM byoc.send_sms('+15005550006', 'n' || n, org_id => byoc_test.org_a()) FROM generate_series(1, 25) AS n; END $$;
SELECT results_eq($$SELECT body FROM byoc_test.claim(10)$$, $$SELECT 'n' || n FROM generate_series(1, 10) AS n$$, 'a claim gives no more than its slots, oldest first');
SELECT results_eq($$SELECT body FROM byoc_test.claim(10)$$, $$SELECT 'n' || n FROM generate_series(11, 20) AS n$$, 'the next one goes on where it ended');
SELECT is(byoc.dispatcher_sleep(), 0, 'there is more');
SELECT results_eq($$SELECT body FROM byoc_test.claim(10)$$, $$SELECT 'n' || n FROM generate_series(21, 25) AS n$$, 'the last one gives the rest');
SELECT is((SELECT count(DISTINCT claim_id) FROM byoc.messages WHERE body LIKE 'n%'), 3::bigint, 'each under its own claim');

-- Fairness
DO $$
BEGIN
    FOR o IN 1..15 LOOP
        PERFORM byoc.create_organization('Many ' || o, ('cccccccc-0000-4000-8000-' || lpad(o::text, 12, '0'))::uuid);
    END LOOP;
    PERFORM byoc.send_sms('+15005550006', 'big ' || n, org_id => byoc_test.org_a()) FROM generate_series(1, 300) AS n;
    PERFORM byoc.send_sms('+15005550006', 'small ' || n, org_id => ('cccccccc-0000-4000-8000-' || lpad(o::text, 12, '0'))::uuid)
    FROM generate_series(1, 15) AS o, generate_series(1, 3) AS n;
END
$$;
CREATE TABLE byoc_test.round AS SELECT * FROM byoc_test.claim(32);
SELECT is((SELECT count(*) FROM byoc_test.round), 32::bigint, 'with 16 organizations waiting all 32 slots are used');
SELECT is((SELECT count(DISTINCT org_id) FROM byoc_test.round), 16::bigint, 'every organization is served');
SELECT is((SELECT max(n) FROM (SELECT count(*) AS n FROM byoc_test.round GROUP BY org_id) AS counts), 2::bigint, 'the one with 300 messages gets no more than the others');
CREATE TABLE byoc_test.rounds AS SELECT 0 AS r, * FROM byoc_test.claim(6);
INSERT INTO byoc_test.rounds SELECT 1, c.* FROM byoc_test.claim(6) AS c;
INSERT INTO byoc_test.rounds SELECT 2, c.* FROM byoc_test.claim(6) AS c;
SELECT is((SELECT count(DISTINCT org_id) FROM byoc_test.rounds), 16::bigint, 'with fewer slots than organizations three claims go round all of them');
CREATE FUNCTION byoc_test.drain(slots integer) RETURNS SETOF uuid LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 1..2000 LOOP
        RETURN QUERY SELECT c.id FROM byoc.claim_jobs(byoc_test.dispatcher(), slots, '1 minute') AS c;
        EXIT WHEN byoc.dispatcher_sleep() IS DISTINCT FROM 0;
    END LOOP;
END $$;
SELECT is((SELECT count(*) FROM byoc_test.drain(50)), 345::bigint - 32 - (SELECT count(*) FROM byoc_test.rounds), 'all the rest is claimed in the end');
SELECT is((SELECT count(*) FROM byoc.queue), 0::bigint, 'nothing stays behind');

-- What a lane does not need
DO $$
BEGIN
    PERFORM byoc.send_sms('+15005550006', 'few', org_id => byoc_test.org_a());
    PERFORM byoc.send_sms('+15005550006', 'rest ' || n, org_id => 'cccccccc-0000-4000-8000-000000000001') FROM generate_series(1, 20) AS n;
END
$$;
SELECT is((SELECT count(*) FROM byoc_test.claim(10)), 10::bigint, 'what one organization does not need the next has');
SELECT is((SELECT count(*) FROM byoc_test.drain(50)), 11::bigint, 'and the rest later');

-- A thousand messages
DO $$
BEGIN
    PERFORM byoc.send_sms('+15005550006', 'k' || n, org_id => CASE n % 3 WHEN 0 THEN byoc_test.org_a() WHEN 1 THEN byoc_test.org_b() ELSE 'cccccccc-0000-4000-8000-000000000001'::uuid END)
    FROM generate_series(1, 1000) AS n;
END
$$;
CREATE TABLE byoc_test.thousand AS SELECT id FROM byoc_test.drain(37) AS d (id);
SELECT is((SELECT count(*) FROM byoc_test.thousand), 1000::bigint, 'a thousand messages are claimed');
SELECT is((SELECT count(DISTINCT id) FROM byoc_test.thousand), 1000::bigint, 'each exactly once');
SELECT is((SELECT count(*) FROM byoc.messages m JOIN byoc_test.thousand t USING (id) WHERE m.status = 'sending' AND m.attempts = 1 AND m.claim_id IS NOT NULL), 1000::bigint, 'each is being sent, on its first attempt');
SELECT is_empty($$SELECT m.id FROM byoc.messages m WHERE m.status = 'sending' AND NOT EXISTS (SELECT FROM byoc.claims c WHERE m.org_id = ANY (c.org_ids) AND c.id = m.claim_id AND m.id = ANY (c.message_ids))$$,
    'each stands in the claim that it names');
DO $$ BEGIN DELETE FROM byoc.claims; DELETE FROM byoc.messages; DELETE FROM byoc.lanes; PERFORM byoc.take_lanes(); END $$;

-- Which credential
CREATE FUNCTION byoc_test.claimed_by(id uuid) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    result text;
BEGIN
    SELECT coalesce(k.display_name, 'none') INTO STRICT result FROM byoc_test.claim(10) AS c LEFT JOIN byoc.credentials k ON k.id = c.credential_id WHERE c.id = claimed_by.id;
    RETURN result;
END $$;
SELECT byoc_test.add_twilio(byoc_test.org_a(), 2) AS a2 \gset
SELECT byoc_test.add_twilio(byoc_test.org_b(), 9) AS b9 \gset
SELECT byoc.send_sms('+15005550006', 'x', org_id => byoc_test.org_a()) AS m \gset
SELECT is(byoc_test.claimed_by(:'m'), 'Twilio 1', 'a message goes out by the organization''s default credential');
SELECT byoc.send_sms('+15005550006', 'x', credential_id => :'a2', org_id => byoc_test.org_a()) AS m \gset
SELECT is(byoc_test.claimed_by(:'m'), 'Twilio 2', 'or by the one that the sender asked for');
SELECT byoc.send_sms('+15005550006', 'x', org_id => 'cccccccc-0000-4000-8000-000000000001') AS m \gset
SELECT is(byoc_test.claimed_by(:'m'), 'none', 'an organization without credential gives none, so that the dispatcher can say so');
SELECT byoc.send_sms('+15005550006', 'x', org_id => 'cccccccc-0000-4000-8000-000000000001') AS m \gset
DO $$ BEGIN PERFORM byoc_test.add_twilio('cccccccc-0000-4000-8000-000000000001', 3); END $$;
SELECT is(byoc_test.claimed_by(:'m'), 'Twilio 3', 'a message that was queued before the first credential goes out by it');
SELECT byoc.send_sms('+15005550006', 'x', org_id => byoc_test.org_a()) AS m \gset
UPDATE byoc.credentials SET is_default = true WHERE id = :'a2';
SELECT byoc.send_sms('+15005550006', 'x', org_id => byoc_test.org_a()) AS later \gset
SELECT is(byoc_test.claimed_by(:'later'), 'Twilio 2', 'a message that is queued after the default moved goes out by the new default');
SELECT is((SELECT used_credential_id FROM byoc.messages WHERE id = :'m'), :'a1'::uuid, 'one that was queued before keeps the credential it was queued for');
SELECT byoc.send_sms('+15005550006', 'x', org_id => byoc_test.org_a()) AS m \gset
SELECT byoc.send_sms('+15005550006', 'x', credential_id => :'a2', org_id => byoc_test.org_a()) AS asked \gset
SELECT byoc_test.act_as(byoc_test.org_a(), 'owner');
SELECT byoc.revoke_credential(:'a2');
UPDATE byoc.credentials SET is_default = true WHERE id = :'a1';
SELECT byoc_test.no_context();
SELECT is(byoc_test.claimed_by(:'m'), 'Twilio 1', 'a message whose credential was revoked meanwhile goes out by the current default');
SELECT is((SELECT used_credential_id FROM byoc.messages WHERE id = :'asked'), NULL, 'unless the sender asked for the revoked one: then it has none');
SELECT is((SELECT status::text FROM byoc.messages WHERE id = :'asked'), 'sending', 'and is claimed all the same, so that it comes to an end');

-- Expiry
SELECT byoc.send_sms('+15005550006', 'in time', expires_at => now() + interval '1 hour', org_id => byoc_test.org_a()) AS m \gset
SELECT ok((SELECT validity_seconds BETWEEN 3500 AND 3600 FROM byoc_test.claim(10) WHERE id = :'m'), 'a claim says for how many seconds the message is still good');
SELECT byoc.send_sms('+15005550006', 'too late', expires_at => now() + interval '1 hour', org_id => byoc_test.org_a()) AS late \gset
SELECT byoc.send_sms('+15005550006', 'in time', org_id => byoc_test.org_a()) AS m \gset
UPDATE byoc.queue SET expires_at = now() - interval '1 second' WHERE id = :'late';
SELECT results_eq($$SELECT body FROM byoc_test.claim(10)$$, ARRAY['in time'], 'an expired message is not given out, others are');
SELECT results_eq(format($$SELECT status, attempts FROM byoc.sms_messages WHERE id = %L$$, :'late'), $$VALUES ('expired', 0)$$, 'it is expired, without an attempt');
SELECT is(byoc_test.events(:'late'), 'expired', 'and its history says so');
SELECT byoc.send_sms('+15005550006', 'alone and late', expires_at => now() + interval '1 hour', org_id => 'cccccccc-0000-4000-8000-000000000009') AS late \gset
UPDATE byoc.queue SET expires_at = now() - interval '1 second' WHERE id = :'late';
SELECT is_empty($$SELECT * FROM byoc_test.claim(10)$$, 'an organization''s only message, expired');
SELECT is(byoc_test.status(:'late'), 'expired', 'comes to its end as well');
SELECT is_empty($$SELECT * FROM byoc.claims WHERE 'cccccccc-0000-4000-8000-000000000009' = ANY (org_ids)$$, 'and leaves no claim');

SAVEPOINT far;
SELECT byoc_test.error_of($$SELECT byoc.send_sms('+15005550006', 'far', expires_at => 'infinity', org_id => byoc_test.org_a())$$) AS error \gset
SELECT is(byoc_test.error_of($$SELECT * FROM byoc_test.claim(10)$$), 'no error', 'a message that never expires, where it is accepted, does not keep others from being claimed');
ROLLBACK TO far;
SELECT byoc_test.error_of($$SELECT byoc.send_sms('+15005550006', 'far', expires_at => '2500-01-01', org_id => byoc_test.org_a())$$) AS error \gset
SELECT is(byoc_test.error_of($$SELECT * FROM byoc_test.claim(10)$$), 'no error', 'nor does one that expires in 500 years');
ROLLBACK TO far;

-- Lanes that went idle while a message was not committed yet
DO $$ BEGIN DELETE FROM byoc.lanes; PERFORM byoc.take_lanes(); END $$;
SELECT byoc.send_sms('+15005550006', 'swept', org_id => byoc_test.org_b()) AS m \gset
DO $$ BEGIN PERFORM byoc.take_lanes(); END $$;
SELECT is(byoc.sweep_lanes(), 1, 'a message without a wake-up: byoc.sweep_lanes finds its lane');
SELECT is((SELECT count(*) FROM byoc.claim_jobs(byoc_test.dispatcher(), 10, '1 minute')), 1::bigint, 'and the next claim gives it');
SELECT is(byoc.sweep_lanes(), 0, 'with nothing waiting it finds nothing');
SELECT byoc.send_sms('+15005550006', 'x', org_id => byoc_test.org_b()) AS m \gset
DO $$ BEGIN PERFORM byoc.take_lanes(); DELETE FROM byoc.lanes; END $$;
SELECT ok((SELECT bool_and(due IN (true, false)) AND NOT bool_and(due) FROM (SELECT byoc.is_sweep_due() AS due FROM generate_series(1, 50)) AS calls),
          'a busy dispatcher sweeps now and then, not at every claim');
SELECT is(byoc.dispatcher_sleep(), 0, 'byoc.dispatcher_sleep sweeps before it lets anybody sleep');
SELECT is(byoc_test.claimed_by(:'m'), 'Twilio 9', 'so the message is not forgotten');
DO $$
BEGIN
    PERFORM byoc.send_sms('+15005550006', 'early', org_id => 'cccccccc-0000-4000-8000-000000000005');
    PERFORM byoc_test.add_twilio('cccccccc-0000-4000-8000-000000000005', 5);
    PERFORM byoc.send_sms('+15005550006', 'late', org_id => 'cccccccc-0000-4000-8000-000000000005');
END
$$;
SELECT is((SELECT count(*) FROM byoc_test.drain(10)), 2::bigint, 'messages queued before and after the first credential in one transaction are both found');

-- A lane that has to wait
SELECT byoc.send_sms('+15005550006', 'waits', org_id => byoc_test.org_b()) AS m \gset
SELECT byoc.sweep_lanes() AS swept \gset
SELECT is_empty($$SELECT * FROM byoc.claim_jobs(byoc_test.dispatcher(), 10, '1 minute', room => 0)$$, 'nothing is claimed without room');
UPDATE byoc.lanes SET next_at = clock_timestamp() + interval '10 minutes' WHERE org_id = byoc_test.org_b();
SELECT is_empty($$SELECT * FROM byoc.claim_jobs(byoc_test.dispatcher(), 10, '1 minute')$$, 'a lane that has to wait is not claimed from');
SELECT ok(byoc.dispatcher_sleep() BETWEEN 590000 AND 600000, 'and the dispatcher knows how many milliseconds to sleep');
UPDATE byoc.lanes SET next_at = clock_timestamp() - interval '1 second' WHERE org_id = byoc_test.org_b();
SELECT is(byoc_test.claimed_by(:'m'), 'Twilio 9', 'when the time has come the message is given out');

-- What a sweep goes through
DELETE FROM byoc.queue;
SELECT is_empty('SELECT unnest(org_ids) FROM byoc.lane_starts()', 'an empty queue has no lanes');
INSERT INTO byoc.queue (org_id, lane, id, to_number, body)
SELECT md5('organization ' || n % 60)::uuid, md5('lane ' || n % 90)::uuid, byoc.uuid_v7(), '+15005550006', 'one of many' FROM generate_series(1, 500) AS n;
SELECT results_eq('SELECT unnest(org_ids), unnest(lanes), unnest(from_ids) FROM byoc.lane_starts()',
    'SELECT DISTINCT ON (q.org_id, q.lane) q.org_id, q.lane, q.id FROM byoc.queue q ORDER BY q.org_id, q.lane, q.id', 'each lane''s first message, of many lanes');

SELECT * FROM finish();
ROLLBACK;
