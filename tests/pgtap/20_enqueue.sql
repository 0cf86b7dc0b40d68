-- How a message gets into the queue, whichever statement brings its row, and what the dispatcher is told of it.
BEGIN;
\ir support/setup.sql
SELECT plan(39);

CREATE TABLE byoc_test.leads (id int PRIMARY KEY, org_id uuid, phone text, body text);
SELECT byoc.create_sms_trigger('byoc_test.leads', '{{phone}}', '{{body}}');
CREATE FUNCTION byoc_test.lead(id int, body text) RETURNS void LANGUAGE sql AS $$
    INSERT INTO byoc_test.leads VALUES (id, byoc_test.org_a(), '+15005550006', body);
$$;
CREATE FUNCTION byoc_test.queued() RETURNS text[] LANGUAGE sql AS $$ SELECT array_agg(q.body ORDER BY q.id) FROM byoc.queue q $$;
CREATE FUNCTION byoc_test.forget() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM byoc.queue; DELETE FROM byoc.lanes; DELETE FROM byoc_test.leads;
    PERFORM byoc.take_lanes();
END $$;

-- Statements
INSERT INTO byoc_test.leads SELECT n, byoc_test.org_a(), '+15005550006', n::text FROM generate_series(1, 2000) AS n;
SELECT is(byoc_test.queued(), (SELECT array_agg(n::text ORDER BY n) FROM generate_series(1, 2000) AS n), 'the messages of one INSERT are queued in the order of its rows');
SELECT is((SELECT count(*) FROM byoc.queue WHERE segments = 1 AND attempts = 0 AND created_at = now() AND source_table = 'byoc_test.leads' AND lane = '00000000-0000-0000-0000-000000000000'),
    2000::bigint, 'with all that belongs to a message');
SELECT byoc_test.forget();
COPY byoc_test.leads FROM stdin;
1	aaaaaaaa-0000-4000-8000-00000000000a	+15005550006	copied
2	aaaaaaaa-0000-4000-8000-00000000000a	+15005550006	copied too
\.
SELECT is(byoc_test.queued(), '{copied,copied too}', 'COPY queues messages');
MERGE INTO byoc_test.leads l USING (VALUES (2, 'matched'), (3, 'merged')) AS v (id, body) ON l.id = v.id
WHEN MATCHED THEN UPDATE SET body = v.body
WHEN NOT MATCHED THEN INSERT VALUES (v.id, byoc_test.org_a(), '+15005550006', v.body);
SELECT is(byoc_test.queued(), '{copied,copied too,merged}', 'MERGE does for the rows that it inserts');
INSERT INTO byoc_test.leads VALUES (3, byoc_test.org_a(), '+15005550006', 'conflict'), (4, byoc_test.org_a(), '+15005550006', 'no conflict') ON CONFLICT DO NOTHING;
SELECT is(byoc_test.queued(), '{copied,copied too,merged,no conflict}', 'ON CONFLICT DO NOTHING for those that are new');
SELECT byoc_test.forget();
SAVEPOINT undone;
SELECT byoc_test.lead(1, 'undone');
ROLLBACK TO undone;
SELECT byoc_test.lead(1, 'kept');
SELECT is(byoc_test.queued(), '{kept}', 'what is rolled back to a savepoint is not queued');
CREATE FUNCTION byoc_test.sees() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE byoc.queue SET body = body || ', seen' WHERE body = NEW.body;
    RETURN NULL;
END $$;
CREATE TRIGGER zz_sees AFTER INSERT ON byoc_test.leads FOR EACH ROW EXECUTE FUNCTION byoc_test.sees();
SELECT byoc_test.lead(2, 'later trigger');
SELECT is(byoc_test.queued(), '{kept,"later trigger, seen"}', 'a later trigger of the same row finds the message');
DROP TRIGGER zz_sees ON byoc_test.leads;
SELECT byoc_test.forget();
SELECT byoc_test.lead(1, repeat(U&'\+01F600', 1600));
SELECT is(byoc_test.queued(), ARRAY[repeat(U&'\+01F600', 1600)], 'the longest body, 6,400 bytes, is kept whole');
SELECT byoc_test.forget();

-- Read-only
SAVEPOINT read_only;
SET LOCAL transaction_read_only = on;
SELECT byoc_test.refused($$SELECT byoc.send_sms('+15005550006', 'x', org_id => byoc_test.org_a())$$, '25006', 'read-only', 'a read-only transaction queues nothing');
ROLLBACK TO read_only;
SELECT is(byoc_test.queued(), NULL, 'nothing at all');

-- Lanes
SELECT byoc_test.lead(1, 'none');
SELECT byoc_test.add_twilio(byoc_test.org_a(), 1) AS first \gset
SELECT byoc_test.lead(2, 'first');
SELECT byoc_test.add_twilio(byoc_test.org_a(), 2) AS second \gset
UPDATE byoc.organization_api_credentials SET is_default = false WHERE id = :'first';
UPDATE byoc.organization_api_credentials SET is_default = true WHERE id = :'second';
SELECT byoc_test.lead(3, 'second');
SELECT byoc.send_sms('+15005550006', 'asked for', credential_id => :'first', org_id => byoc_test.org_a()) AS m \gset
SELECT results_eq('SELECT lane FROM byoc.queue ORDER BY id',
    format('VALUES (%L::uuid), (%L), (%L), (%L)', '00000000-0000-0000-0000-000000000000', :'first', :'second', :'first'),
    'each message takes the lane of the credential that is the default by then, or that it asks for');
SELECT is((SELECT array_agg(DISTINCT byoc.lane_of(q.org_id, q.credential_id) = q.lane ORDER BY byoc.lane_of(q.org_id, q.credential_id) = q.lane)
           FROM byoc.queue q WHERE body IN ('second', 'asked for')), '{t}', 'as byoc.lane_of() has it');
SELECT byoc_test.forget();

-- Opt-outs
DO $$ BEGIN PERFORM byoc.opt_out(byoc_test.org_a(), '+1500555000' || n, 'inbound') FROM unnest(ARRAY[1, 2, 4]) AS n; END $$;
INSERT INTO byoc_test.leads SELECT n, byoc_test.org_a(), '+1500555000' || n % 10, n || ' a' FROM generate_series(11, 16) AS n;
INSERT INTO byoc_test.leads SELECT n + 100, byoc_test.org_b(), '+1500555000' || n % 10, n || ' b' FROM generate_series(11, 16) AS n;
SELECT is(byoc_test.queued(), '{13 a,15 a,16 a,11 b,12 b,13 b,14 b,15 b,16 b}', 'of many rows those fail whose recipient opted out of that organization''s messages');
DO $$ BEGIN PERFORM byoc.opt_out(byoc_test.org_b(), '+15005550003', 'inbound'); END $$;
DELETE FROM byoc.queue;
INSERT INTO byoc_test.leads SELECT n + 200, byoc_test.org_b(), '+1500555000' || n % 10, n || ' b' FROM generate_series(11, 16) AS n;
SELECT is(byoc_test.queued(), '{11 b,12 b,14 b,15 b,16 b}', 'the next statement knows who did since');
SELECT byoc_test.forget();

-- A queue that its administrator did something to is written by a statement, which heeds it.
CREATE FUNCTION byoc_test.as_stored(change text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    error text;
    found text;
BEGIN
    EXECUTE change;
    error := byoc_test.error_of($q$SELECT byoc_test.lead(1, 'as stored')$q$);
    SELECT string_agg(q.body, ',') INTO found FROM byoc.queue q;
    RETURN coalesce(found, error);
END $$;
SAVEPOINT plain;
CREATE FUNCTION byoc_test.loud() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.body := upper(NEW.body); RETURN NEW; END $$;
SELECT is(byoc_test.as_stored('CREATE TRIGGER loud BEFORE INSERT ON byoc.queue FOR EACH ROW EXECUTE FUNCTION byoc_test.loud()'), 'AS STORED', 'a trigger on it');
ROLLBACK TO plain;
SELECT matches(byoc_test.as_stored($$ALTER TABLE byoc.queue ADD CHECK (body <> 'as stored')$$), 'check', 'a check');
ROLLBACK TO plain;
SELECT is(byoc_test.as_stored('ALTER TABLE byoc.queue ADD COLUMN note text DEFAULT 5'), 'as stored', 'another column');
SELECT is((SELECT note FROM byoc.queue), '5', 'with its default');
ROLLBACK TO plain;
SELECT is(byoc_test.as_stored('CREATE INDEX by_body ON byoc.queue (lower(body)) WHERE attempts = 0'), 'as stored', 'an index over expressions and some rows');
SET LOCAL enable_seqscan = off;
SELECT is((SELECT count(*) FROM byoc.queue WHERE lower(body) = 'as stored' AND attempts = 0), 1::bigint, 'where the message is found');
ROLLBACK TO plain;
SELECT is(byoc_test.as_stored('CREATE INDEX by_number ON byoc.queue (to_number)'), 'as stored', 'a plain index');
SET LOCAL enable_seqscan = off;
SELECT is((SELECT count(*) FROM byoc.queue WHERE to_number = '+15005550006'), 1::bigint, 'where it is found as well');
ROLLBACK TO plain;

-- Wake-ups
SELECT byoc_test.forget(); -- also those of what was rolled back: they are hints
SELECT ok(NOT byoc.has_wakeups(), 'without a message there is nothing to tell');
DO $$
BEGIN
    PERFORM byoc_test.lead(n, n::text) FROM generate_series(1, 10) AS n;
    PERFORM byoc.send_sms('+15005550006', 'b', org_id => byoc_test.org_b());
    PERFORM byoc.send_sms('+15005550006', 'later', send_at => now() + interval '1 day', org_id => byoc_test.org_b());
END $$;
SELECT ok(byoc.has_wakeups(), 'with some there is');
CREATE TABLE byoc_test.told AS SELECT u.* FROM byoc.take_lanes() d, unnest(d.org_ids, d.lanes, d.from_ids) AS u (org_id, lane, id);
SELECT set_eq('SELECT org_id, lane, id FROM byoc_test.told', 'SELECT DISTINCT ON (org_id, lane) org_id, lane, id FROM byoc.queue ORDER BY org_id, lane, id',
    'each lane once, with its first message');
SELECT ok(NOT byoc.has_wakeups(), 'that is told once');
SELECT is((SELECT d::text FROM byoc.take_lanes() AS d), '({},{},{},f)', 'then there is nothing');
SELECT byoc_test.forget();

-- Turns
CREATE FUNCTION byoc_test.lane(number integer) RETURNS uuid LANGUAGE sql AS $$ SELECT format('%s-0000-4000-8000-000000000000', to_char(number, 'FM00000000'))::uuid $$;
CREATE FUNCTION byoc_test.note(number integer, from_id integer DEFAULT 1) RETURNS integer LANGUAGE sql AS $$
    SELECT byoc.note_lanes(ARRAY[byoc_test.org_a()], ARRAY[byoc_test.lane(number)], ARRAY[byoc_test.lane(from_id)]);
$$;
CREATE FUNCTION byoc_test.taken(most integer, full_lanes uuid[] DEFAULT '{}') RETURNS text LANGUAGE sql AS $$
    SELECT coalesce(string_agg(format('%s from %s', left(u.lane::text, 8)::integer, left(u.id::text, 8)::integer), ', ' ORDER BY u.n), '-')
    FROM byoc.take_lanes(most, full_lanes) AS t, unnest(t.lanes, t.from_ids) WITH ORDINALITY AS u (lane, id, n);
$$;
SELECT is(byoc_test.note(3) + byoc_test.note(1) + byoc_test.note(2), 3, 'three lanes have work');
SELECT is(byoc_test.note(1), 0, 'which is no news the second time');
SELECT is(byoc_test.note(1, 0), 1, 'an earlier message is');
SELECT is(byoc_test.taken(2), '3 from 1, 1 from 0', 'those that have waited longest come first, from the first message on');
SELECT ok(byoc.has_wakeups() AND NOT byoc.has_wakeups(ARRAY[byoc_test.lane(2)]), 'one waits');
SELECT is(byoc_test.taken(5, ARRAY[byoc_test.lane(2)]), '-', 'and goes on waiting while it is full');
SELECT byoc.pass_on_lane(byoc_test.org_a(), byoc_test.lane(1), byoc_test.lane(7));
SELECT is(byoc_test.taken(5), '2 from 1, 1 from 7', 'then it gets its turn, and after it one that was passed on');
SELECT is(byoc_test.taken(5), '-', 'others are done');
SELECT is(byoc_test.note(3, 4), 1, 'until they are woken again');
SELECT is(byoc_test.taken(5), '3 from 4', 'which is told');

-- More lanes than places
SELECT byoc_test.forget();
DO $$ BEGIN PERFORM byoc.enqueue_sms(gen_random_uuid(), '+15005550006', n::text, NULL, NULL, NULL, NULL) FROM generate_series(1, 3000) AS n; END $$;
SELECT ok((SELECT d.overflowed AND cardinality(d.lanes) = 2048 FROM byoc.take_lanes() AS d), 'of a crowd of lanes it says that there are more');
SELECT is((SELECT d::text FROM byoc.take_lanes() AS d), '({},{},{},f)', 'once');

SELECT * FROM finish();
ROLLBACK;
