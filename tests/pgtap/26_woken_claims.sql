-- The claim that ends a sleep takes the lane of one wake-up before it looks anywhere else: by the same rules as any claim.
BEGIN;
\ir support/setup.sql
SELECT plan(36);

SELECT byoc_test.add_twilio(byoc_test.org_a(), 1) AS a1 \gset
SELECT byoc_test.add_twilio(byoc_test.org_a(), 2) AS a2 \gset
SELECT byoc_test.add_twilio(byoc_test.org_b(), 9) AS b9 \gset
UPDATE byoc.organization_api_credentials SET verification_due_at = NULL;
UPDATE byoc.lanes SET next_at = clock_timestamp(), paused_until = NULL;
CREATE FUNCTION byoc_test.send(body text, org_id uuid DEFAULT byoc_test.org_a(), credential_id uuid DEFAULT NULL, expires_at timestamptz DEFAULT NULL,
                               send_at timestamptz DEFAULT now()) RETURNS uuid LANGUAGE sql AS $$
    SELECT byoc.send_sms('+15005550006', body, credential_id => credential_id, org_id => org_id, expires_at => expires_at, send_at => send_at);
$$;
-- What the first claim after a sleep gives: texts in their order.
CREATE FUNCTION byoc_test.woken(slots integer DEFAULT 64, room integer DEFAULT NULL, lanes_in_use uuid[] DEFAULT '{}', rooms integer[] DEFAULT '{}') RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    given text;
BEGIN
    PERFORM byoc.announce_sleep();
    SELECT string_agg(c.body, ' ') INTO given FROM byoc.claim_jobs(byoc_test.dispatcher(), slots, '1 minute', lanes_in_use, rooms, room) AS c;
    RETURN coalesce(given, 'nothing');
END $$;
CREATE FUNCTION byoc_test.lane(lane uuid) RETURNS byoc.lanes LANGUAGE sql AS 'SELECT l FROM byoc.lanes l WHERE l.lane = lane.lane';
CREATE FUNCTION byoc_test.wait_over(lane uuid) RETURNS void LANGUAGE sql AS $$
    UPDATE byoc.lanes l SET next_at = clock_timestamp() - interval '1 second', paused_until = NULL WHERE l.lane = wait_over.lane;
$$;

-- An idle lane
SELECT byoc_test.send('first') AS m \gset
SELECT is(byoc_test.woken(), 'first', 'a message in a lane that nobody served before');
SELECT byoc_test.send('second') AS m \gset
SELECT is(byoc_test.woken(), 'second', 'and in one that is known and idle');
SELECT results_eq(format('SELECT busy, cursor FROM byoc_test.lane(%L)', :'a1'), format('VALUES (false, %L::uuid)', :'m'), 'it is idle again, its cursor went along');
SELECT ok((byoc_test.lane(:'a1')).tokens BETWEEN 35997 AND 35999, 'the sender''s bucket is two segments emptier');
SELECT ok(NOT byoc.has_wakeups(), 'the wake-up is used up');
SELECT results_eq(format('SELECT m.status::text, m.attempts::integer, m.used_credential_id, c.dispatcher FROM byoc.messages m JOIN byoc.claims c ON c.id = m.claim_id WHERE m.id = %L', :'m'),
                  format('VALUES (''sending'', 1, %L::uuid, byoc_test.dispatcher())', :'a1'), 'the message is durably being sent');
SELECT is(byoc_test.woken(), 'nothing', 'it is not given out again');

-- Several lanes
SELECT byoc_test.send('a'), byoc_test.send('b', byoc_test.org_b()) \gset ignored_
SELECT byoc_test.send('c', byoc_test.org_a(), :'a2') AS ignored \gset
CREATE FUNCTION byoc_test.sorted(words text) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(word, ' ' ORDER BY word) FROM string_to_table(replace(words, 'nothing', ''), ' ') AS word WHERE word <> '';
$$;
SELECT is(byoc_test.sorted(byoc_test.woken() || ' ' || byoc_test.woken()), 'a b c', 'all woken lanes, whichever is first');
SELECT byoc_test.send('d'), byoc_test.send('e', byoc_test.org_b()) \gset ignored_
SELECT is(byoc_test.woken(1) || ' ' || byoc_test.woken(), 'd e', 'in the order in which they were woken');

-- Room
SELECT byoc_test.send('r' || n) FROM generate_series(1, 5) AS n \g /dev/null
SELECT is(byoc_test.woken(room => 3), 'r1 r2 r3', 'no more than there is room in a lane');
SELECT ok(byoc.has_wakeups(), 'which has more');
SELECT is(byoc_test.woken(room => 3, lanes_in_use => ARRAY[:'a1'::uuid], rooms => ARRAY[0]), 'nothing', 'nothing of a full one');
SELECT is(byoc_test.woken(1), 'r4', 'no more than there are slots');
SELECT is(byoc_test.woken(), 'r5', 'and the rest');
SELECT byoc_test.send('full') AS m \gset
SELECT is(byoc_test.woken(lanes_in_use => ARRAY[:'a1'::uuid], rooms => ARRAY[0]), 'nothing', 'a full idle lane has to wait');
SELECT is(byoc.dispatcher_sleep(), 0, 'and is not forgotten');
SELECT is(byoc_test.woken(), 'full', 'once there is room');
SELECT is(byoc_test.woken(0), 'nothing', 'without a slot there is nothing');

-- Limits
INSERT INTO byoc.sender_limits VALUES (byoc_test.org_a(), '+15005550001', 0.01, 2);
SELECT byoc_test.send('l' || n) FROM generate_series(1, 3) AS n \g /dev/null
SELECT is(byoc_test.woken(), 'l1 l2', 'a limited sender gets its burst');
SELECT is(byoc_test.woken(), 'nothing', 'then it waits');
SELECT ok(byoc.dispatcher_sleep() BETWEEN 90000 AND 100000, 'for its next segment');
SELECT byoc_test.send('l4') AS m \gset
SELECT is(byoc_test.woken(), 'nothing', 'though another message wakes the dispatcher');
UPDATE byoc.sender_limits SET segments_per_second = NULL;
SELECT byoc_test.wait_over(:'a1');
SELECT is(byoc_test.woken(), 'l3 l4', 'without a limit all go');

-- A lane that is paused, and one whose provider fails
SELECT byoc_test.send('p', byoc_test.org_b()) AS m \gset
UPDATE byoc.lanes SET busy = false, paused_until = clock_timestamp() + interval '1 hour', next_at = clock_timestamp() + interval '1 hour' WHERE lane = :'b9';
SELECT is(byoc_test.woken(), 'nothing', 'a wake-up does not end a pause');
SELECT ok((byoc_test.lane(:'b9')).next_at > clock_timestamp() + interval '50 minutes', 'which lasts as long as it did');
SELECT byoc_test.wait_over(:'b9');
SELECT is(byoc_test.woken(), 'p', 'the message goes out after it');
SELECT byoc_test.send('t1', byoc_test.org_b()), byoc_test.send('t2', byoc_test.org_b()) \gset
UPDATE byoc.lanes SET busy = false, failures = byoc.breaker_threshold() WHERE lane = :'b9';
SELECT is(byoc_test.woken(), 't1', 'by a breaker half open one message tries the way');
SELECT is((byoc_test.lane(:'b9')).trial, (SELECT id FROM byoc.messages WHERE body = 't1'), 'as its trial');
SELECT is(byoc_test.woken(), 'nothing', 'alone');
UPDATE byoc.lanes SET failures = 0, trial = NULL WHERE lane = :'b9';
SELECT byoc_test.wait_over(:'b9');
SELECT is(byoc_test.woken(), 't2', 'until the provider answers');

-- What is expired, cancelled, late, due, or without a credential
SELECT byoc_test.send('alive'), byoc_test.send('dead', expires_at => now() + interval '1 hour') AS dead \gset
UPDATE byoc.queue SET expires_at = now() WHERE id = :'dead';
SELECT is(byoc_test.woken() || ', ' || byoc_test.status(:'dead') || ': ' || byoc_test.events(:'dead'), 'alive, expired: expired', 'what is too late ends here');
SELECT byoc_test.send('gone') AS gone, byoc_test.send('due', byoc_test.org_b(), send_at => now() + interval '1 hour') AS due \gset
SELECT byoc.cancel_sms(:'gone');
UPDATE byoc.schedule SET due_at = now() WHERE id = :'due';
SELECT is(byoc_test.sorted(byoc_test.woken() || ' ' || byoc_test.woken()), 'due', 'a wake-up for nothing keeps no other work waiting');
INSERT INTO byoc.queue (org_id, lane, id, to_number, body) VALUES (byoc_test.org_a(), :'a1', '01000000-0000-7000-8000-000000000000', '+15005550006', 'late');
SELECT byoc_test.send('in time') AS m \gset
SELECT byoc.note_lanes(ARRAY[byoc_test.org_a()], ARRAY[:'a1'::uuid], ARRAY['01000000-0000-7000-8000-000000000000'::uuid]) AS woken \gset
SELECT is(byoc_test.woken(), 'late in time', 'a message that was committed late, with an id behind the cursor');
SELECT byoc_test.send('asked', byoc_test.org_a(), :'a2'), byoc_test.send('any') \gset
UPDATE byoc.queue SET lane = :'a2' WHERE body = 'any';
SELECT byoc_test.act_as(byoc_test.org_a());
SELECT byoc.revoke_credential(:'a2');
SELECT byoc_test.no_context();
SELECT byoc_test.woken() || ' ' || byoc_test.woken() AS both \gset
SELECT results_eq('SELECT body, used_credential_id FROM byoc.messages WHERE body IN (''any'', ''asked'') ORDER BY body',
                  format('VALUES (''any'', %L::uuid), (''asked'', NULL)', :'a1'), 'of two in the lane of a revoked credential one goes by the default, the one that asked for it by none');

-- A restored database
SELECT byoc_test.send('copied') AS m \gset
INSERT INTO byoc.installation (system_identifier, database_oid) VALUES (1, 1);
SELECT throws_ok('SELECT byoc_test.woken()', '55000', NULL, 'nothing is claimed in a copied database');
DELETE FROM byoc.installation WHERE system_identifier = 1;
SELECT byoc.sweep_lanes() AS swept \gset
SELECT is(byoc_test.woken(), 'copied', 'and goes on when it belongs here');

SELECT * FROM finish();
ROLLBACK;
