-- Generated columns: triggers see their values, also of virtual ones, which PostgreSQL 18 has and computes only when they are read.
BEGIN;
\ir support/setup.sql
SELECT plan(15);

SELECT current_setting('server_version_num')::int >= 180000 AS has_virtual \gset
\if :has_virtual
    \set kind VIRTUAL
\else
    \set kind STORED
\endif
CREATE TABLE people (id int PRIMARY KEY, gone int, org_id uuid, first text, last text, phone text, score int DEFAULT 50,
    name text GENERATED ALWAYS AS (first || ' ' || last) :kind,
    ratio int GENERATED ALWAYS AS (100 / score) :kind,
    source oid GENERATED ALWAYS AS (tableoid) :kind) PARTITION BY RANGE (id);
ALTER TABLE people DROP COLUMN gone;
CREATE TABLE few PARTITION OF people FOR VALUES FROM (0) TO (100);
-- The messages since the last look.
CREATE FUNCTION byoc_test.messages() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    found text := (SELECT string_agg(concat_ws(' ', m.status, m.body, '(' || m.error_message || ')'), '; ' ORDER BY m.body) FROM byoc.all_sms_messages m);
BEGIN
    DELETE FROM byoc.queue;
    DELETE FROM byoc.schedule;
    DELETE FROM byoc.messages;
    RETURN found;
END
$$;
CREATE FUNCTION byoc_test.events() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    found text := (SELECT string_agg(concat_ws(' ', c.event_type, c.status, c.payload, c.error_message), '; ' ORDER BY c.id) FROM byoc.all_webhook_calls c);
BEGIN
    DELETE FROM byoc.calls;
    RETURN found;
END
$$;

SELECT byoc.create_sms_trigger('people', '{{phone}}', 'Hi {{name}} of {{source}}', condition => 'NEW.ratio < 10', events => 'INSERT OR UPDATE', name => 'greets');
INSERT INTO people VALUES (1, byoc_test.org_a(), 'Ann', 'Lee', '+15005550006');
SELECT is(byoc_test.messages(), 'queued Hi Ann Lee of ' || 'few'::regclass::oid, 'a message has the values of generated columns');
INSERT INTO people VALUES (2, byoc_test.org_a(), 'Bob', 'Ito', '+15005550006', 5);
SELECT is(byoc_test.messages(), NULL, 'a condition has them, too');
UPDATE people SET score = 20, last = 'Öz' WHERE id = 2;
SELECT is(byoc_test.messages(), 'queued Hi Bob Öz of ' || 'few'::regclass::oid, 'they are those of the new row');
SELECT byoc.create_sms_trigger('people', '{{phone}}', 'Bye {{name}}', condition => 'OLD.ratio < NEW.ratio', events => 'UPDATE', name => 'compares');
UPDATE people SET score = 10 WHERE id = 2;
SELECT is(byoc_test.messages(), 'queued Bye Bob Öz', 'a condition compares them with those of the old row');
SELECT byoc.create_sms_trigger('people', '{{phone}}', 'Gone {{name}}', events => 'DELETE', name => 'misses');
DELETE FROM people WHERE id = 2;
SELECT is(byoc_test.messages(), 'queued Gone Bob Öz', 'a deleted row has them');

SELECT byoc.create_webhook_trigger('people', 'person.changed', ARRAY['id', 'name'], condition => 'NEW.ratio > 1', events => 'UPDATE', name => 'tells');
UPDATE people SET first = 'Anna' WHERE id = 1;
SELECT is(byoc_test.events(), 'person.changed queued {"id": 1, "name": "Anna Lee"}', 'and an event of a webhook');
SELECT byoc_test.add_google(byoc_test.org_a()) AS google \gset
CREATE TABLE visits (id int PRIMARY KEY, org_id uuid, first text, day timestamp, name text GENERATED ALWAYS AS ('Dr. ' || first) :kind,
    ends timestamp GENERATED ALWAYS AS (day + interval '45 minutes') :kind);
SELECT byoc.create_calendar_trigger('visits', 'Visit of {{name}}', 'day', 'ends', time_zone => 'UTC');
INSERT INTO visits VALUES (1, byoc_test.org_a(), 'Cho', '2030-01-01 09:00');
SELECT is((SELECT concat_ws(' ', e.summary, e.ends_at - e.starts_at) FROM byoc.all_calendar_events e), 'Visit of Dr. Cho 00:45:00', 'and a calendar event');

-- What cannot be computed does not abort the application's statement, which does not compute it either.
DELETE FROM people;
SELECT byoc_test.messages();
SELECT byoc_test.events();
\if :has_virtual
    SELECT lives_ok($$INSERT INTO people VALUES (3, byoc_test.org_a(), 'Dee', 'Roe', '+15005550006', 0)$$, 'a row that cannot be read is stored');
    SELECT is(byoc_test.messages(), 'failed Hi  of  (a virtual column failed: division by zero)', 'its message failed');
    UPDATE people SET last = 'Rae';
    SELECT is(byoc_test.events(), 'person.changed failed null division by zero', 'and so did its event');
    SELECT byoc_test.messages();
    SELECT byoc.create_sms_trigger('people', '{{phone}}', 'Hi', on_error => 'raise', name => 'strict');
    SELECT byoc_test.refused($$INSERT INTO people VALUES (4, byoc_test.org_a(), 'Eli', 'Fox', '+15005550006', 0)$$, '22012', 'division by zero', 'unless the trigger raises');
    DROP TRIGGER strict ON people;
    ALTER TABLE people ALTER COLUMN ratio SET EXPRESSION AS (score);
    INSERT INTO people VALUES (5, byoc_test.org_a(), 'Gil', 'Hay', '+15005550006', 0);
    SELECT is(byoc_test.messages(), 'queued Hi Gil Hay of ' || 'few'::regclass::oid, 'a changed expression is seen at once');
    SELECT byoc_test.refused($$SELECT byoc.create_sms_trigger('visits', '{{phone}}', 'Hi {{name}}')$$, '42703', 'phone', 'a column that is not there is refused beside them');
    CREATE TABLE owned (id int, phone text, who text, org_id uuid GENERATED ALWAYS AS (byoc_test.org_a()) STORED,
        seen uuid GENERATED ALWAYS AS (who::uuid) VIRTUAL);
    SELECT byoc.create_sms_trigger('owned', '{{phone}}', 'Of {{org_id}}', org_id => 'seen');
    INSERT INTO owned (phone, who) VALUES ('+15005550006', byoc_test.org_b()::text);
    SELECT is((SELECT m.org_id FROM byoc.all_sms_messages m), byoc_test.org_b(), 'a virtual column may hold the organization');
    SELECT byoc_test.messages();
    INSERT INTO owned (phone, who) VALUES ('+15005550006', 'nobody');
    SELECT is((SELECT concat_ws(' ', m.status, m.error_message) FROM byoc.all_sms_messages m), 'failed a virtual column failed: invalid input syntax for type uuid: "nobody"', 'where it cannot be computed the message failed');
\else
    SELECT skip('virtual generated columns: from PostgreSQL 18 on', 8);
\endif

SELECT * FROM finish();
ROLLBACK;
