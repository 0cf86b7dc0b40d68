-- How fast and how much at once: segments, sender limits, room for each lane, and the breaker.
BEGIN;
\ir support/setup.sql
SELECT plan(114);

SELECT byoc_test.add_twilio(byoc_test.org_a(), 1) AS a1 \gset
SELECT byoc_test.add_twilio(byoc_test.org_a(), 2) AS a2 \gset
SELECT byoc_test.add_twilio(byoc_test.org_b(), 9) AS b9 \gset
UPDATE byoc.organization_api_credentials SET verification_due_at = NULL;
CREATE FUNCTION byoc_test.send(count integer, body text DEFAULT 'x', org_id uuid DEFAULT byoc_test.org_a(), credential_id uuid DEFAULT NULL) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM byoc.send_sms('+15005550006', body, credential_id => credential_id, org_id => org_id) FROM generate_series(1, count);
END $$;
-- What a claim gives: credentials' names and how many messages of each.
CREATE FUNCTION byoc_test.take(slots integer DEFAULT 100, lanes_in_use uuid[] DEFAULT '{}', rooms integer[] DEFAULT '{}', room integer DEFAULT NULL) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    given text;
BEGIN
    PERFORM byoc.sweep_lanes();
    WITH got AS MATERIALIZED (SELECT * FROM byoc.claim_jobs(byoc_test.dispatcher(), slots, '1 minute', lanes_in_use, rooms, room))
    SELECT string_agg(format('%s: %s', l.name, l.count), ', ' ORDER BY l.name) INTO given
    FROM (SELECT k.display_name AS name, count(*) FROM got g JOIN byoc.credentials k ON k.id = g.credential_id GROUP BY k.display_name) AS l;
    RETURN coalesce(given, 'nothing');
END $$;
CREATE FUNCTION byoc_test.lane(lane uuid, OUT failures integer, OUT tokens integer, OUT waits_ms integer) LANGUAGE sql AS $$
    SELECT l.failures, round(l.tokens)::integer, round(extract(epoch FROM l.next_at - clock_timestamp()) * 1000)::integer FROM byoc.lanes l WHERE l.lane = lane.lane;
$$;
-- Lets time pass for a lane.
CREATE FUNCTION byoc_test.pass(lane uuid, period interval) RETURNS void LANGUAGE sql AS $$
    UPDATE byoc.lanes l SET tokens_at = l.tokens_at - period, next_at = l.next_at - period WHERE l.lane = pass.lane;
$$;
CREATE FUNCTION byoc_test.clear() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM byoc.queue; DELETE FROM byoc.schedule; DELETE FROM byoc.messages; DELETE FROM byoc.claims; DELETE FROM byoc.lanes; PERFORM byoc.take_lanes();
    DELETE FROM byoc.reconciliations; DELETE FROM byoc.sender_limits;
END $$;

-- Segments
SELECT is(byoc.sms_segments(body), segments, what)
FROM (VALUES ('', 1, 'an empty body takes one segment'), (repeat('a', 160), 1, '160 GSM-7 characters fit one'), (repeat('a', 161), 2, '161 do not'),
             (repeat('a', 306), 2, 'several hold 153 each'), (repeat('a', 307), 3, 'no more'),
             (repeat('a', 158) || '€', 1, 'a character of the extension table counts twice'), (repeat('a', 159) || '[', 2, 'each of them'),
             (repeat('a', 152) || '€' || repeat('a', 151), 2, 'one that would lie across two segments moves to the second'),
             (repeat('a', 152) || '€' || repeat('a', 152), 3, 'and leaves its place empty'),
             (repeat('я', 70), 1, 'other scripts: 70 fit one'), (repeat('я', 71), 2, '71 do not'), (repeat('я', 134), 2, 'several hold 67 each'), (repeat('я', 135), 3, 'no more'),
             (repeat('a', 69) || 'я', 1, 'one such character decides for the whole text'), (repeat('a', 70) || 'я', 2, 'whatever the others are'),
             (repeat('a', 68) || '😀', 1, 'an emoji takes two units'), (repeat('a', 69) || '😀', 2, 'so 71 are too many'),
             (repeat('a', 66) || '😀' || repeat('a', 65), 2, 'an emoji at the boundary moves to the next segment'),
             (repeat('a', 66) || '😀' || repeat('a', 66), 3, 'and leaves its place empty')) AS v (body, segments, what);
SELECT byoc_test.send(1, repeat('a', 161));
SELECT byoc.send_sms('+15005550006', repeat('a', 307), send_at => now() + interval '1 hour', org_id => byoc_test.org_a()) AS later \gset
SELECT is((SELECT segments FROM byoc.queue), 2::smallint, 'a queued message knows its segments');
SELECT is((SELECT segments FROM byoc.schedule), 3::smallint, 'so does a scheduled one');
SELECT byoc_test.take() AS taken \gset
SELECT is((SELECT segments FROM byoc.messages), 2::smallint, 'and one that is being sent');
SELECT byoc_test.clear();

-- Kinds and limits
SELECT is(byoc.sender_kind(sender), kind, format('%s is a %s', sender, kind))
FROM (VALUES ('+14155550100', 'long_code'), ('+442079460100', 'long_code'), ('+18005550100', 'toll_free'), ('+18885550100', 'toll_free'), ('+448005550100', 'long_code'),
             ('12345', 'short_code'), ('MG00000000000000000000000000000001', 'messaging_service')) AS v (sender, kind);
CREATE FUNCTION byoc_test.limit_of(sender text, org_id uuid DEFAULT byoc_test.org_a()) RETURNS text LANGUAGE sql AS $$
    SELECT format('%s a second, %s at once', coalesce(l.segments_per_second::text, 'any'), coalesce(l.burst::text, 'any'))
    FROM byoc.sender_limit(org_id, jsonb_build_object(CASE WHEN sender LIKE 'MG%' THEN 'messaging_service_sid' ELSE 'phone_number' END, sender)) AS l;
$$;
SELECT is(byoc_test.limit_of('+14155550100'), '1 a second, 36000 at once', 'by default a long code sends one a second, and fills Twilio''s queue of ten hours at once');
SELECT is(byoc_test.limit_of('+18005550100'), '3 a second, 108000 at once', 'a toll-free number three');
SELECT is(byoc_test.limit_of('12345'), '100 a second, 3600000 at once', 'a short code a hundred');
SELECT is(byoc_test.limit_of('MG00000000000000000000000000000001'), 'any a second, any at once', 'a Messaging Service is not limited');
INSERT INTO byoc.sender_limits (sender, segments_per_second, burst) VALUES ('long_code', 2, 20);
SELECT is(byoc_test.limit_of('+14155550100'), '2 a second, 20 at once', 'a limit for the kind comes before the default');
SELECT is(byoc_test.limit_of('+18005550100'), '3 a second, 108000 at once', 'and touches no other kind');
INSERT INTO byoc.sender_limits (sender, segments_per_second, burst) VALUES ('+14155550100', 3, 30);
SELECT is(byoc_test.limit_of('+14155550100'), '3 a second, 30 at once', 'a limit for the sender comes before its kind''s');
INSERT INTO byoc.sender_limits VALUES (byoc_test.org_a(), '+14155550100', NULL, 1);
SELECT is(byoc_test.limit_of('+14155550100'), 'any a second, 1 at once', 'that of an organization comes first, NULL: no limit');
SELECT is(byoc_test.limit_of('+14155550100', byoc_test.org_b()), '3 a second, 30 at once', 'and is no other organization''s');
SELECT byoc_test.refused($$INSERT INTO byoc.sender_limits (sender, segments_per_second) VALUES ('x', 0)$$, '23514', 'segments_per_second', 'a limit of nothing is refused');
SELECT byoc_test.clear();

-- The bucket: a segment every 100 seconds, five at once.
INSERT INTO byoc.sender_limits VALUES (byoc_test.org_a(), '+15005550001', 0.01, 5);
SELECT byoc_test.send(12);
SELECT byoc_test.send(3, 'x', byoc_test.org_b());
SELECT byoc_test.send(2, 'x', byoc_test.org_a(), :'a2');
SELECT is(byoc_test.take(), 'Twilio 1: 5, Twilio 2: 2, Twilio 9: 3', 'a limited sender gets its burst, others all');
SELECT is(byoc_test.take(), 'nothing', 'then it waits');
SELECT ok((byoc_test.lane(:'a1')).waits_ms BETWEEN 90000 AND 100000, 'until it may send the next segment');
SELECT ok(byoc.dispatcher_sleep() BETWEEN 90000 AND 100000, 'for which the dispatcher sleeps');
SELECT byoc_test.send(1, 'x', byoc_test.org_b());
SELECT is(byoc_test.take(), 'Twilio 9: 1', 'others go on meanwhile');
SELECT byoc_test.pass(:'a1', '100 seconds');
SELECT is(byoc_test.take(), 'Twilio 1: 1', 'after that time one more goes out');
SELECT byoc_test.pass(:'a1', '250 seconds');
SELECT is(byoc_test.take(), 'Twilio 1: 2', 'two, after two and a half times of it');
SELECT ok((byoc_test.lane(:'a1')).waits_ms BETWEEN 40000 AND 50000, 'and the half counts');
SELECT byoc_test.send(2);
SELECT byoc_test.pass(:'a1', '1 day');
SELECT is(byoc_test.take(), 'Twilio 1: 5', 'after a long pause no more than the burst');
UPDATE byoc.sender_limits SET segments_per_second = NULL;
SELECT byoc_test.pass(:'a1', '1 day');
SELECT is(byoc_test.take(), 'Twilio 1: 1', 'without a limit all the rest');
SELECT is((byoc_test.lane(:'a1')).tokens, NULL, 'and nothing is counted');
SELECT byoc_test.clear();

-- More segments than the burst
INSERT INTO byoc.sender_limits VALUES (byoc_test.org_a(), '+15005550001', 0.01, 5);
SELECT byoc_test.send(1);
SELECT byoc_test.send(1, repeat('a', 7 * 153));
SELECT byoc_test.send(2);
SELECT is(byoc_test.take(), 'Twilio 1: 1', 'a message of more segments than the burst is not passed over by later ones');
SELECT ok((byoc_test.lane(:'a1')).waits_ms BETWEEN 90000 AND 100000, 'it waits for a full bucket');
SELECT byoc_test.pass(:'a1', '100 seconds');
SELECT is(byoc_test.take(), 'Twilio 1: 1', 'then it goes');
SELECT is((byoc_test.lane(:'a1')).tokens, -2, 'on credit');
SELECT is(byoc_test.take(), 'nothing', 'which the next one');
SELECT ok((byoc_test.lane(:'a1')).waits_ms BETWEEN 290000 AND 300000, 'waits to be paid back');
SELECT byoc_test.clear();

-- Room in a lane
SELECT byoc_test.send(10);
SELECT byoc_test.send(3, 'x', byoc_test.org_b());
SELECT is(byoc_test.take(room => 4), 'Twilio 1: 4, Twilio 9: 3', 'no more of a lane than there is room');
SELECT is(byoc_test.take(lanes_in_use => ARRAY[:'a1'::uuid], rooms => ARRAY[0], room => 4), 'nothing', 'none of a lane that is full');
SELECT is(byoc.dispatcher_sleep(ARRAY[:'a1'::uuid]), NULL, 'which is no reason to stay awake');
SELECT is(byoc.dispatcher_sleep(), 0, 'unless it has room');
SELECT is(byoc_test.take(lanes_in_use => ARRAY[:'b9'::uuid, :'a1'], rooms => ARRAY[0, 1], room => 4), 'Twilio 1: 1', 'what is left of a lane''s room');
SELECT byoc_test.send(2, 'x', byoc_test.org_b());
SELECT is(byoc_test.take(lanes_in_use => ARRAY[:'a1'::uuid], rooms => ARRAY[0], room => 4), 'Twilio 9: 2', 'a full lane does not hold up others');
SELECT is(byoc_test.take(), 'Twilio 1: 5', 'without rooms nothing is kept back');
SELECT byoc_test.clear();

-- The breaker. What is being sent by a lane, oldest first, and its outcomes.
CREATE FUNCTION byoc_test.tell(lane uuid, outcome text, count integer DEFAULT 1, more jsonb DEFAULT '{"error_code": "connect_failed"}') RETURNS integer LANGUAGE sql AS $$
    SELECT byoc.record_outcomes(jsonb_agg(jsonb_build_object('org_id', m.org_id, 'id', m.id, 'claim_id', m.claim_id, 'outcome', outcome, 'retry_ms', 3600000) || more))
    FROM (SELECT * FROM byoc.messages x WHERE x.used_credential_id = lane AND x.status = 'sending' AND NOT byoc.is_reconciling(x.org_id, x.id, x.claim_id)
          ORDER BY x.claimed_at DESC, x.id LIMIT count) AS m;
$$;
SELECT byoc_test.send(40);
SELECT byoc_test.send(2, 'x', byoc_test.org_b());
SELECT is(byoc_test.take(48), 'Twilio 1: 24, Twilio 9: 2', 'of two lanes the first has half');
SELECT is(byoc_test.tell(:'a1', 'unavailable', 4), 4, 'four failures');
SELECT results_eq(format('SELECT failures, waits_ms <= 0 FROM byoc_test.lane(%L)', :'a1'), 'VALUES (4, true)', 'are counted');
SELECT is(byoc_test.tell(:'a1', 'accepted'), 1, 'a message is accepted');
SELECT is((byoc_test.lane(:'a1')).failures, 0, 'and they are forgotten');
SELECT is(byoc_test.tell(:'a1', 'unavailable', 3) + byoc_test.tell(:'a1', 'unknown') + byoc_test.tell(:'a1', 'throttled', 1, '{"retry_ms": 0}'), 5, 'five failures in a row, of any kind');
SELECT ok((SELECT failures = 5 AND waits_ms BETWEEN 1 AND 500 FROM byoc_test.lane(:'a1')), 'open the breaker for half a second');
UPDATE byoc.lanes SET next_at = clock_timestamp() + interval '1 minute' WHERE lane = :'a1';
SELECT is(byoc_test.take(), 'nothing', 'nothing is given out then');
SELECT results_eq(format('SELECT failures FROM byoc_test.lane(%L)', :'b9'), 'VALUES (0)', 'other lanes are not touched');
UPDATE byoc.lanes SET next_at = clock_timestamp() WHERE lane = :'a1';
SELECT is(byoc_test.take(), 'Twilio 1: 1', 'half open: one message tries the way');
SELECT is(byoc_test.take(), 'nothing', 'and no other while it is on its way');
SELECT ok((byoc_test.lane(:'a1')).waits_ms BETWEEN 30000 AND 60000, 'for as long as its claim''s lease');
-- What is told of the rest of those that were given out before: three.
CREATE FUNCTION byoc_test.tell_trial(outcome text, more jsonb DEFAULT '{"error_code": "connect_failed"}') RETURNS integer LANGUAGE sql AS $$
    SELECT byoc_test.record(l.trial, outcome, '{"retry_ms": 3600000}' || more) FROM byoc.lanes l WHERE l.trial IS NOT NULL;
$$;
CREATE TABLE byoc_test.early AS SELECT id FROM byoc.messages m JOIN byoc.lanes l ON l.lane = m.used_credential_id AND l.trial <> m.id
WHERE m.status = 'sending' AND NOT byoc.is_reconciling(m.org_id, m.id, m.claim_id);
SELECT is((SELECT sum(byoc_test.record(id, 'unavailable')) FROM (SELECT id FROM byoc_test.early ORDER BY id LIMIT 2) AS e), 2::bigint, 'failures of what was on its way when it opened');
SELECT ok((SELECT failures = 5 AND waits_ms > 30000 FROM byoc_test.lane(:'a1')), 'do not count');
SELECT is((SELECT byoc_test.record(id, 'throttled', '{"retry_ms": 600000}') FROM byoc_test.early ORDER BY id DESC LIMIT 1), 1, 'only, if the provider asks for a longer pause');
SELECT ok((SELECT failures = 5 AND waits_ms BETWEEN 570000 AND 600000 FROM byoc_test.lane(:'a1')), 'it gets that');
UPDATE byoc.lanes SET paused_until = NULL;
SELECT is(byoc_test.tell_trial('unavailable'), 1, 'the trial fails');
SELECT ok((SELECT failures = 6 AND waits_ms BETWEEN 1 AND 1000 FROM byoc_test.lane(:'a1')), 'and the wait doubles, to a second');
-- A trial after another, each failing; the waits in half seconds, rounded up.
CREATE FUNCTION byoc_test.waits(count integer) RETURNS integer[] LANGUAGE plpgsql AS $$
DECLARE
    waits integer[];
BEGIN
    FOR i IN 1 .. count LOOP
        UPDATE byoc.lanes SET next_at = clock_timestamp() WHERE failures > 0;
        PERFORM byoc_test.take();
        PERFORM byoc_test.tell_trial('unavailable');
        waits := waits || (SELECT ceil(extract(epoch FROM next_at - clock_timestamp()) * 2)::integer FROM byoc.lanes WHERE failures > 0);
    END LOOP;
    RETURN waits;
END $$;
SELECT is(byoc_test.waits(5), ARRAY[4, 8, 16, 20, 20], 'so on to ten seconds, and no further');
UPDATE byoc.lanes SET next_at = clock_timestamp() WHERE lane = :'a1';
SELECT is(byoc_test.take(), 'Twilio 1: 1', 'another trial');
SELECT is(byoc_test.tell_trial('returned'), 1, 'that a stopping dispatcher gives back');
SELECT ok((SELECT failures = 11 AND waits_ms BETWEEN 1 AND 10000 FROM byoc_test.lane(:'a1')), 'is no failure, and the lane does not wait for its lease');
UPDATE byoc.lanes SET next_at = clock_timestamp() WHERE lane = :'a1';
SELECT is(byoc_test.take(), 'Twilio 1: 1', 'the next trial');
SELECT is(byoc_test.tell_trial('rejected', '{"error_code": "21610", "http_status": 400}'), 1, 'is refused for what it is');
SELECT results_eq(format('SELECT failures, waits_ms <= 0 FROM byoc_test.lane(%L)', :'a1'), 'VALUES (0, true)', 'the provider answers: the breaker closes, and the lane need not wait');
SELECT is(byoc_test.take(3), 'Twilio 1: 3', 'messages go out as before');
SELECT is(byoc_test.tell(:'a1', 'unavailable', 3), 3, 'a few failures');
SELECT is((byoc_test.lane(:'a1')).failures, 3, 'count from the beginning');
UPDATE byoc.lanes SET failures = 7, next_at = clock_timestamp() WHERE lane = :'a1';
SELECT is(byoc_test.take(), 'Twilio 1: 1', 'another trial');
SELECT is(byoc_test.tell_trial('accepted', '{"provider_sid": "SM00000000000000000000000000000002"}'), 1, 'is accepted');
SELECT results_eq(format('SELECT failures, waits_ms <= 0 FROM byoc_test.lane(%L)', :'a1'), 'VALUES (0, true)', 'that closes the breaker as well');

-- A trial that is not sent
UPDATE byoc.queue SET expires_at = clock_timestamp() - interval '1 second' WHERE id = (SELECT id FROM byoc.queue ORDER BY id LIMIT 1);
UPDATE byoc.lanes SET failures = 7, next_at = clock_timestamp() WHERE lane = :'a1';
SELECT is(byoc_test.take(), 'nothing', 'a message that has expired tries nothing');
SELECT is(byoc_test.take(), 'Twilio 1: 1', 'the next one does, at once');
SELECT byoc_test.clear();

-- 429
SELECT byoc_test.send(5);
SELECT byoc_test.send(2, 'x', byoc_test.org_b());
SELECT is(byoc_test.take(2), 'Twilio 1: 1, Twilio 9: 1', 'two lanes');
SELECT is(byoc_test.tell(:'a1', 'throttled', 1, '{"retry_ms": 60000, "error_code": "20429"}'), 1, 'one is told to wait a minute');
SELECT ok((SELECT failures = 1 AND waits_ms BETWEEN 30000 AND 60000 FROM byoc_test.lane(:'a1')), 'and all of it waits');
SELECT is(byoc_test.take(), 'Twilio 9: 1', 'the other goes on');
SELECT byoc_test.clear();
SELECT byoc_test.send(9);
SELECT is(byoc_test.take(8), 'Twilio 1: 8', 'messages are on their way together');
SELECT is(byoc_test.tell(:'a1', 'throttled', 1, '{"retry_ms": 60000}'), 1, 'one is told to wait a minute');
SELECT is(byoc_test.tell(:'a1', 'accepted'), 1, 'after which one that was sent before is accepted');
SELECT ok((SELECT failures = 0 AND waits_ms BETWEEN 30000 AND 60000 FROM byoc_test.lane(:'a1')), 'that does not shorten the pause');
SELECT is(byoc_test.tell(:'a1', 'throttled', 5, '{"retry_ms": 60000}'), 5, 'nor when so many are told so');
SELECT is(byoc_test.tell(:'a1', 'accepted'), 1, 'that the breaker opened');
SELECT ok((SELECT failures = 0 AND waits_ms BETWEEN 30000 AND 60000 FROM byoc_test.lane(:'a1')), 'and closes again');
SELECT byoc_test.clear();

-- What is refused before it reaches the provider says nothing about it.
SELECT byoc_test.send(9);
SELECT is(byoc_test.take(6), 'Twilio 1: 6', 'six');
SELECT is(byoc_test.tell(:'a1', 'unavailable', 5), 5, 'five fail');
SELECT is(byoc_test.tell(:'a1', 'rejected', 1, '{"error_code": "no_credential"}'), 1, 'one cannot be sent at all');
SELECT is((byoc_test.lane(:'a1')).failures, 5, 'which closes no breaker');
UPDATE byoc.lanes SET next_at = clock_timestamp() WHERE lane = :'a1';
SELECT is(byoc_test.take(), 'Twilio 1: 1', 'a trial');
SELECT is(byoc_test.tell_trial('rejected', '{"error_code": "no_credential"}'), 1, 'that cannot be sent either');
SELECT ok((SELECT failures = 5 AND waits_ms BETWEEN 1 AND 1000 FROM byoc_test.lane(:'a1')), 'makes way for another soon');

SELECT * FROM finish();
ROLLBACK;
