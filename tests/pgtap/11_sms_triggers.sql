-- SMS triggers: which rows become messages, and that a bad row never aborts the application's statement.
BEGIN;
\ir support/setup.sql
SELECT plan(135);

CREATE TABLE byoc_test.leads (id serial PRIMARY KEY, org_id uuid, name text, phone text, score int DEFAULT 50, status text);
CREATE FUNCTION byoc_test.messages() RETURNS SETOF text LANGUAGE sql AS $$
    SELECT m.status || ' ' || coalesce(m.to_number, 'NULL') || ' ' || coalesce(m.body, 'NULL') || coalesce(' (' || m.error_message || ')', '') FROM byoc.all_sms_messages m;
$$;
CREATE FUNCTION byoc_test.forget() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM byoc.queue;
    DELETE FROM byoc.schedule;
    DELETE FROM byoc.messages;
    DELETE FROM byoc.message_events;
END
$$;
-- Runs the statement, which must succeed, and compares the messages that it left.
CREATE FUNCTION byoc_test.makes(statement text, expected text[], description text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    error text := byoc_test.error_of(statement);
    result text;
BEGIN
    IF error <> 'no error' THEN
        RETURN fail(description) || E'\n' || diag('the statement failed: ' || error);
    END IF;
    result := byoc_test.lists('SELECT byoc_test.messages()', expected, description);
    PERFORM byoc_test.forget();
    RETURN result;
END
$$;

-- Creation
SELECT is(byoc.create_sms_trigger('byoc_test.leads', '{{phone}}', 'Hi {{name}}'), 'byoc_sms_1', 'byoc.create_sms_trigger names the trigger when nobody does');
SELECT is(byoc.create_sms_trigger('byoc_test.leads', '{{phone}}', 'Hot: {{name}}', condition => 'NEW.score >= 80'), 'byoc_sms_2', 'and counts on');
SELECT is(byoc.create_sms_trigger('byoc_test.leads', '{{phone}}', 'Won: {{name}}', events => 'UPDATE OF status', condition => $$NEW.status = 'won' AND OLD.status IS DISTINCT FROM NEW.status$$, name => 'Won Lead'),
          'Won Lead', 'a name may be given, with capitals and a blank');
SELECT byoc_test.lists($$SELECT concat_ws('/', name, to_number, body, org_id, condition, on_error, created_by = quote_ident(current_user)) FROM byoc.sms_triggers WHERE target = 'byoc_test.leads'::regclass$$,
    ARRAY['Won Lead/{{phone}}/Won: {{name}}/org_id/NEW.status = ''won'' AND OLD.status IS DISTINCT FROM NEW.status/record/t',
          'byoc_sms_1/{{phone}}/Hi {{name}}/org_id/record/t', 'byoc_sms_2/{{phone}}/Hot: {{name}}/org_id/NEW.score >= 80/record/t'],
    'byoc.sms_triggers shows what each does');
SELECT ok((SELECT definition ~ 'AFTER UPDATE OF status ON byoc_test.leads FOR EACH ROW' FROM byoc.sms_triggers WHERE name = 'Won Lead'), 'and how it is attached');
SELECT byoc_test.refused($$SELECT byoc.create_sms_trigger('byoc_test.leads', '{{phone}}', 'x', name => 'byoc_sms_1')$$, '42710', 'byoc_sms_1', 'a name is taken once a table');
SELECT byoc_test.refused($$SELECT byoc.create_sms_trigger('byoc_test.no_table', '{{phone}}', 'x')$$, '42P01', 'no_table', 'an unknown table is refused');
SELECT byoc_test.refused(format('SELECT byoc.create_sms_trigger(%s)', arguments), '22004', 'must not be null', 'NULL is refused: ' || arguments)
FROM unnest(ARRAY[$$NULL, '{{phone}}', 'x'$$, $$'byoc_test.leads', NULL, 'x'$$, $$'byoc_test.leads', '{{phone}}', NULL$$, $$'byoc_test.leads', '{{phone}}', 'x', org_id => NULL$$]) AS arguments;
SELECT byoc_test.refused(format('SELECT byoc.create_sms_trigger(%L, %L, %L, %s)', 'byoc_test.leads', '{{phone}}', 'x', arguments), state, pattern, 'refused: ' || arguments)
FROM (VALUES
    ($$org_id => 'organization'$$, '42703', 'table leads has no column "organization" for the organization.*org_id =>'),
    ($$org_id => 'name'$$, '42804', 'column "name" holds the organization and must be uuid, not text'),
    ($$org_id => 'tableoid'$$, '42703', 'tableoid'),
    ($$on_error => 'ignore'$$, '22023', 'on_error must be record or raise, not "ignore"'),
    ($$events => 'TRUNCATE'$$, '22023', 'unknown trigger event "TRUNCATE"'),
    ($$events => 'INSERT, UPDATE'$$, '22023', 'unknown trigger event'),
    ($$events => ''$$, '22023', 'unknown trigger event'),
    ($$events => 'INSERT ON byoc_test.leads FOR EACH ROW EXECUTE FUNCTION f(); --'$$, '22023', 'unknown trigger event'),
    ($$events => 'UPDATE OF nonsense'$$, '42703', 'nonsense'),
    ($$events => 'UPDATE OF status ON x; DROP TABLE byoc_test.leads; --'$$, '22023', 'not a valid identifier'),
    ($$events => 'UPDATE OF'$$, '22023', 'unknown trigger event')) AS v (arguments, state, pattern);
CREATE TABLE byoc_test.old_style (org_id uuid, phone text);
SET LOCAL standard_conforming_strings = off;
SET LOCAL escape_string_warning = off;
SELECT byoc.create_sms_trigger('byoc_test.old_style', '{{phone}}', 'x', events => 'INSERT OR UPDATE OF phone');
SET LOCAL standard_conforming_strings = on;
SELECT is((SELECT count(*) FROM pg_trigger WHERE tgrelid = 'byoc_test.old_style'::regclass), 1::bigint, 'events are understood with standard_conforming_strings off, too');
DROP TABLE byoc_test.old_style;

-- Conditions are one boolean expression, checked at creation.
CREATE FUNCTION byoc_test.condition(condition text, path text DEFAULT 'public') RETURNS text LANGUAGE sql AS $$
    SELECT byoc_test.error_of(format('SELECT byoc.create_sms_trigger(%L, %L, %L, condition => %L, search_path => %L)', 'byoc_test.leads', '{{phone}}', 'x', condition, path));
$$;
SELECT matches(byoc_test.condition(condition), '^' || state, 'refused condition: ' || condition)
FROM (VALUES
    ('NEW.skore > 1', '42703'), ('NEW.score >', '42601'), ('', '42601'), ('   ', '42601'), ('NEW.score', '42804 condition must be boolean, not integer'), ($$'yes'$$, '42804'),
    ('true, true', '42601'), ('true; DROP TABLE byoc_test.leads', '42601'), ('true); DROP TABLE byoc_test.leads; --', '42601'), ('true) FROM byoc.organizations; --', '42601'),
    ('true) OR (true', '42601'), ('true FROM byoc.organizations', '42601'), ('true WHERE true', '42601'), ('true ORDER BY 1', '42601'), ('true LIMIT 1', '42601'), ('DISTINCT true', '42601'),
    ('true UNION SELECT false', '42601'), ('true AS x', '42601'), ('true HAVING true', '42601'), ('true FOR UPDATE', '42601'), ('*', '42601'), ('NEW.*', '42'),
    ('/* true', '42601'), ('true --', 'no error'), ('nowhere.f(NEW.score)', '3F000'), ('no_such_function(NEW.score)', '42883'), ('1 / 0 = 1', '22012')) AS v (condition, state);
SELECT is(byoc_test.condition(condition), 'no error', 'accepted condition: ' || condition)
FROM unnest(ARRAY['true', 'NEW.score > 10 OR score < 3', 'EXISTS (SELECT FROM byoc_test.leads l WHERE l.id <> NEW.id)', '(SELECT count(*) FROM byoc_test.leads) > 0',
                  $$NEW.name ~ '^[A-Z]' AND NEW.phone LIKE '+1%' -- a comment$$, 'NEW IS DISTINCT FROM OLD', 'NEW.* IS DISTINCT FROM OLD.*', $$CASE WHEN NEW.score > 1 THEN true END$$,
                  'NEW.score / NULLIF(NEW.id, 0) > 1', 'NULL::boolean']) AS condition;
SELECT ok(to_regclass('byoc_test.leads') IS NOT NULL, 'nothing of it dropped the table');
DO $$ BEGIN PERFORM byoc.drop_sms_trigger(t.target, t.name) FROM byoc.sms_triggers t WHERE t.name LIKE 'byoc_sms_%' AND t.name NOT IN ('byoc_sms_1', 'byoc_sms_2'); END $$;

-- Rows become messages
SELECT byoc_test.makes($$INSERT INTO byoc_test.leads (org_id, name, phone) VALUES (byoc_test.org_a(), 'Ann', '+15005550006')$$, '{queued +15005550006 Hi Ann}', 'an INSERT queues a message');
SELECT byoc_test.makes($$INSERT INTO byoc_test.leads (org_id, name, phone, score) VALUES (byoc_test.org_a(), 'Bob', '+15005550006', 80)$$,
    '{queued +15005550006 Hi Bob,queued +15005550006 Hot: Bob}', 'several triggers on one table each make theirs, where their condition is met');
SELECT byoc_test.makes($$INSERT INTO byoc_test.leads (org_id, name, phone, score) VALUES (byoc_test.org_a(), 'Cy', '+15005550006', NULL)$$, '{queued +15005550006 Hi Cy}', 'a condition that is NULL counts as false');
SELECT byoc_test.makes($$INSERT INTO byoc_test.leads (org_id, name, phone) SELECT byoc_test.org_a(), 'n' || n, '+1500555000' || n FROM generate_series(1, 3) AS n$$,
    '{queued +15005550001 Hi n1,queued +15005550002 Hi n2,queued +15005550003 Hi n3}', 'a statement of many rows makes a message for each');
SELECT byoc_test.makes($$UPDATE byoc_test.leads SET status = 'won' WHERE name = 'Ann'$$, '{queued +15005550006 Won: Ann}', 'UPDATE OF fires on its column, with OLD and NEW');
SELECT byoc_test.makes($$UPDATE byoc_test.leads SET status = 'won' WHERE name = 'Ann'$$, '{}', 'and sees by OLD that nothing changed');
SELECT byoc_test.makes($$UPDATE byoc_test.leads SET score = 99 WHERE name = 'Ann'$$, '{}', 'it does not fire for another column');
SELECT byoc_test.makes($$DELETE FROM byoc_test.leads WHERE name = 'Ann'$$, '{}', 'nor for a DELETE');
INSERT INTO byoc_test.leads (org_id, name, phone) VALUES (byoc_test.org_a(), 'Dee', '+15005550006');
SELECT is((SELECT source_table FROM byoc.sms_messages), 'byoc_test.leads', 'the message names the table that it came from');
SELECT is((SELECT org_id FROM byoc.sms_messages), byoc_test.org_a(), 'and belongs to the row''s organization');
SELECT byoc_test.forget();
SAVEPOINT undone;
INSERT INTO byoc_test.leads (org_id, name, phone) VALUES (byoc_test.org_a(), 'Eve', '+15005550006');
ROLLBACK TO undone;
SELECT is_empty('SELECT byoc_test.messages()', 'a row that is rolled back takes its message along');
INSERT INTO byoc_test.leads (org_id, name, phone) VALUES (byoc_test.org_a(), 'Eve', '+15005550006');
SELECT is((SELECT count(*) FROM byoc_test.claim(10)), 1::bigint, 'a message after a rolled back one of the same lane is found by the dispatcher');
SELECT byoc_test.forget();

-- A bad row
SELECT byoc_test.makes(format($$INSERT INTO byoc_test.leads (org_id, name, phone) VALUES (byoc_test.org_a(), 'Flo', %L)$$, phone), ARRAY[expected], 'the row is stored and the message failed: ' || what)
FROM (VALUES (NULL, 'failed  Hi Flo (to_number is empty)', 'no number'),
             ('', 'failed  Hi Flo (to_number is empty)', 'empty number'),
             ('555-0100', 'failed 555-0100 Hi Flo (to_number is not an E.164 number such as +14155550100)', 'malformed number')) AS v (phone, expected, what);
SELECT is((SELECT count(*) FROM byoc_test.leads WHERE name = 'Flo'), 3::bigint, 'all three rows are there');
SELECT byoc_test.makes($$INSERT INTO byoc_test.leads (org_id, name, phone) VALUES (byoc_test.org_a(), repeat('x', 1700), '+15005550006')$$,
    ARRAY['failed +15005550006 Hi ' || repeat('x', 1700) || ' (body has 1703 characters, at most 1600 can be sent)'], 'a body that is too long fails with its length');
SELECT byoc_test.makes($$INSERT INTO byoc_test.leads (name, phone) VALUES ('Gus', '+15005550006')$$, '{failed +15005550006 Hi Gus (the row names no organization)}', 'a row without organization fails');
INSERT INTO byoc_test.leads (org_id, name, phone) VALUES (byoc_test.org_a(), 'Hal', NULL);
SELECT results_eq($$SELECT status, error_code, attempts, org_id FROM byoc.sms_messages$$, $$VALUES ('failed', 'refused', 0, byoc_test.org_a())$$, 'a refused message was never tried and belongs to the organization');
SELECT is(byoc_test.events((SELECT id FROM byoc.sms_messages)), 'refused', 'its history says so');
SELECT byoc_test.refused($$SELECT byoc.retry_sms(m.id) FROM byoc.sms_messages m$$, '55000', 'can never be sent: to_number is empty', 'it cannot be sent again as it is');
SELECT is_empty($$SELECT * FROM byoc_test.claim(10)$$, 'no dispatcher gets it');
SELECT byoc_test.forget();

-- Conditions that fail while the application works
DO $$ BEGIN PERFORM byoc.drop_sms_trigger('byoc_test.leads', n) FROM unnest(ARRAY['byoc_sms_1', 'byoc_sms_2', 'Won Lead']) AS n; END $$;
SELECT is_empty($$SELECT * FROM pg_trigger WHERE tgrelid = 'byoc_test.leads'::regclass AND NOT tgisinternal$$, 'byoc.drop_sms_trigger drops the triggers');
SELECT byoc_test.makes($$INSERT INTO byoc_test.leads (org_id, name, phone) VALUES (byoc_test.org_a(), 'Ida', '+15005550006')$$, '{}', 'then rows make no messages');
SELECT byoc_test.refused($$SELECT byoc.drop_sms_trigger('byoc_test.leads', 'byoc_sms_1')$$, '42704', 'has no SMS trigger "byoc_sms_1"', 'a trigger that is not there cannot be dropped');
SELECT byoc.create_sms_trigger('byoc_test.leads', '{{phone}}', 'Hi {{name}}', condition => '100 / NEW.score > 1', name => 'divides');
SELECT byoc_test.makes($$INSERT INTO byoc_test.leads (org_id, name, phone, score) VALUES (byoc_test.org_a(), 'Jo', '+15005550006', 10)$$, '{queued +15005550006 Hi Jo}', 'a condition that divides works');
SELECT byoc_test.makes($$INSERT INTO byoc_test.leads (org_id, name, phone, score) VALUES (byoc_test.org_a(), 'Kim', '+15005550006', 0)$$,
    '{failed +15005550006 Hi Kim (condition failed: division by zero)}', 'a condition that fails becomes a failed message with the reason');
SELECT is((SELECT count(*) FROM byoc_test.leads WHERE name = 'Kim'), 1::bigint, 'and the row is there');
SELECT byoc_test.makes($$INSERT INTO byoc_test.leads (org_id, name, phone, score) SELECT byoc_test.org_a(), 'L' || s, '+15005550006', s FROM generate_series(0, 2) AS s$$,
    '{failed +15005550006 Hi L0 (condition failed: division by zero),queued +15005550006 Hi L1,queued +15005550006 Hi L2}', 'other rows of the statement are not affected');
SELECT byoc.drop_sms_trigger('byoc_test.leads', 'divides');

-- on_error => 'raise'
SELECT byoc.create_sms_trigger('byoc_test.leads', '{{phone}}', 'Hi {{name}}', condition => '100 / NEW.score > 1', name => 'strict', on_error => 'raise');
SELECT byoc_test.refused($$INSERT INTO byoc_test.leads (org_id, name, phone) VALUES (byoc_test.org_a(), 'Max', NULL)$$, '22023', 'no SMS can be made of this row: to_number is empty', 'on_error => raise: a bad number aborts the statement');
SELECT byoc_test.refused($$INSERT INTO byoc_test.leads (name, phone) VALUES ('Max', '+15005550006')$$, '22023', 'the row names no organization', 'on_error => raise: so does a missing organization');
SELECT byoc_test.refused($$INSERT INTO byoc_test.leads (org_id, name, phone, score) VALUES (byoc_test.org_a(), 'Max', '+15005550006', 0)$$, '22012', 'division by zero', 'on_error => raise: so does a condition that fails');
SELECT byoc_test.makes($$INSERT INTO byoc_test.leads (org_id, name, phone) VALUES (byoc_test.org_a(), 'Max', '+15005550006')$$, '{queued +15005550006 Hi Max}', 'on_error => raise: a good row is sent');
SELECT is((SELECT count(*) FROM byoc_test.leads WHERE name = 'Max'), 1::bigint, 'only the good row is there');
SELECT byoc.drop_sms_trigger('byoc_test.leads', 'strict');

-- Events
SELECT byoc.create_sms_trigger('byoc_test.leads', '{{phone}}', '{{name}} left', events => 'delete', name => 'left', condition => 'OLD.score > 10');
SELECT byoc_test.makes($$DELETE FROM byoc_test.leads WHERE name = 'Jo'$$, '{}', 'DELETE with a condition over OLD that is not met');
SELECT byoc_test.makes($$DELETE FROM byoc_test.leads WHERE name = 'Max'$$, '{queued +15005550006 Max left}', 'DELETE reads the row that went');
SELECT byoc.drop_sms_trigger('byoc_test.leads', 'left');
SELECT byoc.create_sms_trigger('byoc_test.leads', '{{phone}}', '{{name}} {{status}}', events => 'insert or UPDATE of status , score OR Delete', name => 'all');
INSERT INTO byoc_test.leads (org_id, name, phone, status) VALUES (byoc_test.org_a(), 'Ned', '+15005550006', 'new');
UPDATE byoc_test.leads SET status = 'won' WHERE name = 'Ned';
UPDATE byoc_test.leads SET score = 1 WHERE name = 'Ned';
UPDATE byoc_test.leads SET name = 'Ned' WHERE name = 'Ned';
SELECT byoc_test.makes($$DELETE FROM byoc_test.leads WHERE name = 'Ned'$$, '{queued +15005550006 Ned new,queued +15005550006 Ned won,queued +15005550006 Ned won,queued +15005550006 Ned won}',
    'INSERT OR UPDATE OF two columns OR DELETE, in any letters and spacing; UPDATE takes the new values');
SELECT byoc.drop_sms_trigger('byoc_test.leads', 'all');
SELECT byoc.create_sms_trigger('byoc_test.leads', '{{phone}}', '{{name}} changed', events => 'UPDATE', condition => 'NEW.* IS DISTINCT FROM OLD.*', name => 'changed');
INSERT INTO byoc_test.leads (org_id, name, phone) VALUES (byoc_test.org_a(), 'Oz', '+15005550006');
SELECT byoc_test.makes($$UPDATE byoc_test.leads SET name = name WHERE name = 'Oz'$$, '{}', 'whole rows compare: nothing changed');
SELECT byoc_test.makes($$UPDATE byoc_test.leads SET score = 7 WHERE name = 'Oz'$$, '{queued +15005550006 Oz changed}', 'whole rows compare: something changed');
SELECT byoc.drop_sms_trigger('byoc_test.leads', 'changed');

-- The tenant context, where there is one, must be the row's organization's.
SELECT byoc.create_sms_trigger('byoc_test.leads', '{{phone}}', 'Hi {{name}}', name => 'greet');
SELECT byoc_test.act_as(byoc_test.org_b(), 'owner');
SELECT byoc_test.refused($$INSERT INTO byoc_test.leads (org_id, name, phone) VALUES (byoc_test.org_a(), 'Pam', '+15005550006')$$, '42501', 'another organization', 'a session of another organization cannot cause a message of this one');
INSERT INTO byoc_test.leads (org_id, name, phone) VALUES (byoc_test.org_b(), 'Pam', '+15005550006');
SELECT is((SELECT string_agg(body, ',') FROM byoc.sms_messages), 'Hi Pam', 'for its own it can');
SELECT byoc_test.no_context();
SELECT byoc_test.forget();

-- The table changes after the trigger was made.
ALTER TABLE byoc_test.leads ADD COLUMN city text DEFAULT 'Rome';
SELECT byoc_test.makes($$INSERT INTO byoc_test.leads (org_id, name, phone) VALUES (byoc_test.org_a(), 'Quy', '+15005550006')$$, '{queued +15005550006 Hi Quy}', 'a new column does not disturb');
SELECT byoc.create_sms_trigger('byoc_test.leads', '{{phone}}', '{{city}}', name => 'city', condition => $$NEW.city <> 'Oslo'$$);
SELECT byoc_test.makes($$INSERT INTO byoc_test.leads (org_id, name, phone) VALUES (byoc_test.org_a(), 'Ray', '+15005550006')$$, '{queued +15005550006 Hi Ray,queued +15005550006 Rome}', 'and can be used');
ALTER TABLE byoc_test.leads DROP COLUMN status;
SELECT byoc_test.makes($$INSERT INTO byoc_test.leads (org_id, name, phone) VALUES (byoc_test.org_a(), 'Sal', '+15005550006')$$, '{queued +15005550006 Hi Sal,queued +15005550006 Rome}', 'dropping a column that nobody uses does not disturb');
ALTER TABLE byoc_test.leads ALTER COLUMN name TYPE varchar(2000);
SELECT byoc_test.makes($$INSERT INTO byoc_test.leads (org_id, name, phone) VALUES (byoc_test.org_a(), 'Tom', '+15005550006')$$, '{queued +15005550006 Hi Tom,queued +15005550006 Rome}', 'another type of a column does not disturb');
ALTER TABLE byoc_test.leads RENAME TO customers;
INSERT INTO byoc_test.customers (org_id, name, phone, city) VALUES (byoc_test.org_a(), 'Uwe', '+15005550006', 'Oslo');
SELECT is((SELECT body || ' ' || source_table FROM byoc.sms_messages), 'Hi Uwe byoc_test.customers', 'a renamed table keeps its triggers, and messages name it as it is called now');
SELECT byoc_test.forget();
ALTER TABLE byoc_test.customers RENAME TO leads;
SAVEPOINT dropped;
ALTER TABLE byoc_test.leads DROP COLUMN city;
SELECT matches(byoc_test.error_of($$INSERT INTO byoc_test.leads (org_id, name, phone) VALUES (byoc_test.org_a(), 'Vic', '+15005550006')$$), '^no error',
    'dropping a column that a trigger uses does not abort the application''s INSERT');
SELECT is((SELECT count(*) FROM byoc.sms_messages WHERE status = 'queued' AND body = 'Hi Vic'), 1::bigint, 'the other trigger still sends');
SELECT is((SELECT count(*) FROM byoc.sms_messages WHERE status = 'failed' AND error_message ~ 'city'), 1::bigint, 'the broken one leaves a failed message that names the column');
ROLLBACK TO dropped;
ALTER TABLE byoc_test.leads RENAME COLUMN city TO town;
SELECT matches(byoc_test.error_of($$INSERT INTO byoc_test.leads (org_id, name, phone) VALUES (byoc_test.org_a(), 'Wes', '+15005550006')$$), '^no error',
    'renaming a column that a trigger uses does not abort the application''s INSERT');
ROLLBACK TO dropped;
SELECT byoc_test.makes($$INSERT INTO byoc_test.leads (org_id, name, phone) VALUES (byoc_test.org_a(), 'Xia', '+15005550006')$$, '{queued +15005550006 Hi Xia,queued +15005550006 Rome}', 'once the column is back, all is well again');
DROP TRIGGER city ON byoc_test.leads;
SELECT is_empty($$SELECT name FROM byoc.sms_triggers WHERE name = 'city'$$, 'a trigger dropped by DROP TRIGGER is not shown any more');
SELECT is(byoc.create_sms_trigger('byoc_test.leads', '{{phone}}', 'again', name => 'city'), 'city', 'and its name can be used again');
SELECT byoc.drop_sms_trigger('byoc_test.leads', 'city');
CREATE TRIGGER by_hand AFTER INSERT ON byoc_test.leads FOR EACH ROW EXECUTE FUNCTION byoc.enqueue_sms_trigger();
SET LOCAL client_min_messages = error;
SELECT lives_ok($$INSERT INTO byoc_test.leads (org_id, name, phone) VALUES (byoc_test.org_a(), 'Yan', '+15005550006')$$, 'a trigger without a definition, made by hand or renamed, warns and lets the row in');
RESET client_min_messages;
SELECT byoc_test.forget();
DROP TRIGGER by_hand ON byoc_test.leads;
CREATE TRIGGER by_hand BEFORE INSERT ON byoc_test.leads FOR EACH ROW EXECUTE FUNCTION byoc.enqueue_sms_trigger();
SELECT byoc_test.refused($$INSERT INTO byoc_test.leads (org_id, name, phone) VALUES (byoc_test.org_a(), 'Yan', '+15005550006')$$, '39P01', 'AFTER ROW', 'as a BEFORE trigger it is refused');
DROP TRIGGER by_hand ON byoc_test.leads;
CREATE TABLE byoc_test.short_lived (org_id uuid, phone text);
SELECT byoc.create_sms_trigger('byoc_test.short_lived', '{{phone}}', 'x', name => 'short');
DROP TABLE byoc_test.short_lived;
SELECT byoc.create_sms_trigger('byoc_test.leads', '{{phone}}', 'x', name => 'next');
SELECT byoc.drop_sms_trigger('byoc_test.leads', 'next');
SELECT is_empty($$SELECT * FROM byoc.sms_trigger_definitions WHERE name = 'short'$$, 'the definition that DROP TABLE leaves behind goes when the next one is made');

-- Names that need quotes
CREATE SCHEMA "byoc test Schema";
CREATE TABLE "byoc test Schema"."Größe ""x"" 🔥" ("Org Id" uuid, "The Phone" text, "select" text, "üñí" text, "Quote""d" text);
SELECT is(byoc.create_sms_trigger('"byoc test Schema"."Größe ""x"" 🔥"', '{{The Phone}}', '{{select}} {{üñí}}', org_id => 'Org Id', name => 'Trigger "1" ü', condition => 'NEW."üñí" <> ''no'''),
          'Trigger "1" ü', 'table, columns and trigger may have names that need quotes');
SELECT byoc_test.makes($$INSERT INTO "byoc test Schema"."Größe ""x"" 🔥" VALUES (byoc_test.org_a(), '+15005550006', 'a', 'b'), (byoc_test.org_a(), '+15005550006', 'a', 'no')$$, '{queued +15005550006 a b}', 'and work');
INSERT INTO "byoc test Schema"."Größe ""x"" 🔥" VALUES (byoc_test.org_a(), '+15005550006', 'a', 'b');
SELECT is((SELECT source_table FROM byoc.sms_messages), '"byoc test Schema"."Größe ""x"" 🔥"', 'the message names the table as SQL writes it');
SELECT byoc_test.forget();
SELECT lives_ok($$SELECT byoc.create_sms_trigger('"byoc test Schema"."Größe ""x"" 🔥"', '{{The Phone}}', 'x', org_id => 'Org Id', name => 'upd', events => 'UPDATE OF "Quote""d", select')$$,
    'UPDATE OF takes column names as SQL writes them');
SELECT lives_ok($$SELECT byoc.drop_sms_trigger('"byoc test Schema"."Größe ""x"" 🔥"', 'Trigger "1" ü')$$, 'and can be dropped');
SELECT is(length(byoc.create_sms_trigger('byoc_test.leads', '{{phone}}', 'x', name => repeat('n', 100))), 63, 'a longer name than PostgreSQL keeps is cut as PostgreSQL does');
SELECT lives_ok($$SELECT byoc.drop_sms_trigger('byoc_test.leads', repeat('n', 100))$$, 'and the trigger is found by the longer name too');

-- Partitioned tables
CREATE TABLE byoc_test.parts (org_id uuid, n int, name text, phone text) PARTITION BY RANGE (n);
CREATE TABLE byoc_test.part_1 PARTITION OF byoc_test.parts FOR VALUES FROM (0) TO (10);
SELECT byoc.create_sms_trigger('byoc_test.parts', '{{phone}}', '{{name}} {{n}}', condition => 'NEW.n <> 5');
CREATE TABLE byoc_test.part_2 (name text, gone int, phone text, n int, org_id uuid);
ALTER TABLE byoc_test.part_2 DROP COLUMN gone;
ALTER TABLE byoc_test.parts ATTACH PARTITION byoc_test.part_2 FOR VALUES FROM (10) TO (20);
SELECT byoc_test.makes($$INSERT INTO byoc_test.parts VALUES (byoc_test.org_a(), 1, 'p', '+15005550006'), (byoc_test.org_a(), 5, 'p', '+15005550006'), (byoc_test.org_a(), 11, 'p', '+15005550006')$$,
    '{queued +15005550006 p 1,queued +15005550006 p 11}', 'a trigger on a partitioned table serves old and new partitions, whatever the order of their columns');
SELECT byoc_test.makes($$INSERT INTO byoc_test.part_2 (org_id, n, name, phone) VALUES (byoc_test.org_a(), 12, 'p', '+15005550006')$$, '{queued +15005550006 p 12}', 'also when a row goes into the partition by name');
SELECT lives_ok($$SELECT byoc.drop_sms_trigger('byoc_test.parts', 'byoc_sms_1')$$, 'dropping it');
SELECT byoc_test.makes($$INSERT INTO byoc_test.parts VALUES (byoc_test.org_a(), 1, 'p', '+15005550006'), (byoc_test.org_a(), 11, 'p', '+15005550006')$$, '{}', 'ends it for all partitions');

-- Other relations
CREATE VIEW byoc_test.lead_view AS SELECT * FROM byoc_test.leads;
SELECT byoc_test.refused($$SELECT byoc.create_sms_trigger('byoc_test.lead_view', '{{phone}}', 'x')$$, '42', 'lead_view', 'a view is refused');
SELECT byoc_test.refused($$SELECT byoc.create_sms_trigger('pg_class', '{{relname}}', 'x', org_id => 'relname')$$, '42', '.', 'a system table is refused');
CREATE TABLE byoc_test.computed (org_id uuid, first text, last text, phone text, full_name text GENERATED ALWAYS AS (first || ' ' || last) STORED);
SELECT byoc.create_sms_trigger('byoc_test.computed', '{{phone}}', '{{full_name}}', condition => $$full_name <> ''$$);
SELECT byoc_test.makes($$INSERT INTO byoc_test.computed (org_id, first, last, phone) VALUES (byoc_test.org_a(), 'Ann', 'Lee', '+15005550006')$$, '{queued +15005550006 Ann Lee}', 'generated columns are known');
CREATE FUNCTION byoc_test.fill() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.phone := '+15005550077'; RETURN NEW; END $$;
CREATE TRIGGER fill BEFORE INSERT ON byoc_test.computed FOR EACH ROW EXECUTE FUNCTION byoc_test.fill();
SELECT byoc_test.makes($$INSERT INTO byoc_test.computed (org_id, first, last) VALUES (byoc_test.org_a(), 'Ann', 'Lee')$$, '{queued +15005550077 Ann Lee}', 'what BEFORE triggers changed is what is sent');
SELECT byoc_test.makes($$INSERT INTO byoc_test.leads (org_id, name, phone) VALUES (byoc_test.org_a(), 'Zed', '+15005550006') ON CONFLICT DO NOTHING$$, '{queued +15005550006 Hi Zed}', 'INSERT ... ON CONFLICT fires as well');

-- A condition that itself inserts into the same table
CREATE FUNCTION byoc_test.recurse(depth int) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    IF depth > 0 AND depth < 4 THEN
        INSERT INTO byoc_test.leads (org_id, name, phone, score) VALUES (byoc_test.org_a(), 'depth ' || depth, '+15005550006', depth + 1);
    END IF;
    RETURN true;
END $$;
SELECT byoc.drop_sms_trigger('byoc_test.leads', 'greet');
SELECT byoc.create_sms_trigger('byoc_test.leads', '{{phone}}', '{{name}}', condition => 'byoc_test.recurse(NEW.score)', name => 'nested');
SELECT byoc_test.makes($$INSERT INTO byoc_test.leads (org_id, name, phone, score) VALUES (byoc_test.org_a(), 'top', '+15005550006', 1)$$,
    '{queued +15005550006 top,queued +15005550006 depth 1,queued +15005550006 depth 2,queued +15005550006 depth 3}', 'a trigger may fire within its own condition');
CREATE FUNCTION byoc_test.alters() RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    CREATE TABLE byoc_test.made_by_condition (n int);
    DROP TABLE byoc_test.made_by_condition;
    RETURN true;
END $$;
SELECT byoc.drop_sms_trigger('byoc_test.leads', 'nested');
SELECT byoc.create_sms_trigger('byoc_test.leads', '{{phone}}', '{{name}}', condition => 'byoc_test.alters()', name => 'alters');
SELECT byoc_test.makes($$INSERT INTO byoc_test.leads (org_id, name, phone) SELECT byoc_test.org_a(), 'i' || n, '+15005550006' FROM generate_series(1, 3) AS n$$,
    '{queued +15005550006 i1,queued +15005550006 i2,queued +15005550006 i3}', 'a condition that invalidates caches while it runs does no harm');

SELECT * FROM finish();
ROLLBACK;
