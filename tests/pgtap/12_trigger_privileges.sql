-- SMS triggers lend no power: who may create and drop them, and with whose rights they run.
BEGIN;
\ir support/setup.sql
SELECT plan(31);

CREATE ROLE byoc_test_writer;
GRANT CREATE, USAGE ON SCHEMA byoc_test TO byoc_test_admin;
GRANT USAGE ON SCHEMA byoc_test TO byoc_test_writer;
CREATE TABLE byoc_test.foreign_table (org_id uuid, phone text, body text);
CREATE TABLE byoc_test.secret (value text);
INSERT INTO byoc_test.secret VALUES ('s');
GRANT ALL ON byoc_test.foreign_table TO byoc_test_tenant;
GRANT INSERT, SELECT ON byoc_test.foreign_table TO byoc_test_admin;

-- Creating
SET LOCAL ROLE byoc_test_tenant;
SELECT byoc_test.refused($$SELECT byoc.create_sms_trigger('byoc_test.foreign_table', '{{phone}}', 'x')$$, '42501', 'permission denied',
    'a tenant cannot create SMS triggers, not even with every privilege on the table');
SELECT byoc_test.refused($$CREATE TRIGGER t AFTER INSERT ON byoc_test.foreign_table FOR EACH ROW EXECUTE FUNCTION byoc.enqueue_sms_trigger()$$, '42501', 'permission denied',
    'nor attach the function by hand');
RESET ROLE;
SET LOCAL ROLE byoc_test_admin;
SELECT byoc_test.refused($$SELECT byoc.create_sms_trigger('byoc_test.foreign_table', '{{phone}}', 'x')$$, '42501', 'permission denied', 'an admin cannot put one on a table without its TRIGGER privilege');
SELECT byoc_test.refused($$SELECT byoc.register_sms_trigger('byoc_test.foreign_table', 'x', '{{phone}}', 'x', 'org_id', NULL, 'record', 'public')$$, '42501', 'permission denied to define triggers',
    'nor store a definition for it');
RESET ROLE;
SELECT byoc.create_sms_trigger('byoc_test.foreign_table', '{{phone}}', '{{body}}', name => 'of_owner');
SET LOCAL ROLE byoc_test_admin;
SELECT byoc_test.refused($$SELECT byoc.unregister_sms_trigger('byoc_test.foreign_table', 'of_owner')$$, '42501', 'must be owner of table', 'nor take a definition away');
SELECT byoc_test.refused($$SELECT byoc.drop_sms_trigger('byoc_test.foreign_table', 'of_owner')$$, '42501', 'must be owner', 'nor drop it');
RESET ROLE;
GRANT TRIGGER ON byoc_test.foreign_table TO byoc_test_admin;
SET LOCAL ROLE byoc_test_admin;
SELECT is(byoc.create_sms_trigger('byoc_test.foreign_table', '{{phone}}', 'second', name => 'of_admin'), 'of_admin', 'with the TRIGGER privilege an admin may create one on another''s table');
SELECT byoc_test.refused($$SELECT byoc.create_sms_trigger('byoc_test.foreign_table', '{{phone}}', 'mine', name => 'of_owner')$$, '42710', 'of_owner', 'but not overwrite the owner''s');
SELECT byoc_test.refused($$SELECT byoc.drop_sms_trigger('byoc_test.foreign_table', 'of_owner')$$, '42501', 'must be owner', 'dropping needs the table''s owner, as DROP TRIGGER does');
SELECT byoc_test.refused($$SELECT byoc.register_sms_trigger('byoc_test.foreign_table', 'of_owner', '{{phone}}', 'stolen', 'org_id', NULL, 'raise', 'public')$$, '42710', 'exists already',
    'nor can the internal function put another definition under the owner''s trigger');
SELECT byoc_test.refused($$SELECT byoc.unregister_sms_trigger('byoc_test.foreign_table', 'of_owner')$$, '42501', 'must be owner of table', 'or take it away');
RESET ROLE;
SELECT is((SELECT body FROM byoc.sms_triggers WHERE name = 'of_owner'), '{{body}}', 'the owner''s definition is as it was');
SELECT is((SELECT created_by FROM byoc.sms_triggers WHERE name = 'of_admin'), 'byoc_test_admin', 'a definition knows who made it');

-- An ordinary role on its own table
SET LOCAL ROLE byoc_test_admin;
CREATE TABLE byoc_test.own (org_id uuid, phone text, name text);
SELECT is(byoc.create_sms_trigger('byoc_test.own', '{{phone}}', 'Hi {{name}}'), 'byoc_sms_1', 'a role with grant_admin that is no superuser creates one on its own table');
SELECT lives_ok($$INSERT INTO byoc_test.own VALUES (byoc_test.org_a(), '+15005550006', 'Ann')$$, 'it works');
SELECT lives_ok($$SELECT byoc.drop_sms_trigger('byoc_test.own', 'byoc_sms_1')$$, 'and its owner drops it');
SELECT byoc_test.refused($$SELECT byoc.create_sms_trigger('byoc_test.own', '{{phone}}', 'x', condition => '(SELECT count(*) FROM byoc_test.secret) > 0')$$, '42501', 'permission denied for table secret',
    'the rehearsal runs a condition with the rights of who creates it');
SELECT byoc_test.refused($$SELECT byoc.create_sms_trigger('byoc_test.own', '{{phone}}', 'x', condition => 'EXISTS (SELECT FROM byoc.organization_keys)')$$, '42501', 'permission denied for table organization_keys',
    'so a condition does not read storage');
RESET ROLE;
SELECT is((SELECT body FROM byoc.sms_messages WHERE source_table = 'byoc_test.own'), 'Hi Ann', 'its message is in the queue');

-- With whose rights it runs
CREATE FUNCTION byoc_test.who() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'run by %', current_user; END $$;
CREATE TABLE byoc_test.jobs (org_id uuid, phone text, name text);
GRANT INSERT ON byoc_test.jobs TO byoc_test_writer;
CREATE FUNCTION byoc_test.name_of(name text) RETURNS text LANGUAGE sql IMMUTABLE RETURN name;
SELECT byoc.create_sms_trigger('byoc_test.jobs', '{{phone}}', 'x', condition => 'NEW.name IS NULL OR (SELECT count(*) FROM byoc_test.secret) > 0', name => 'reads_secret');
INSERT INTO byoc_test.jobs VALUES (byoc_test.org_a(), '+15005550006', 'by owner');
SELECT is((SELECT status || coalesce(error_message, '') FROM byoc.sms_messages WHERE source_table = 'byoc_test.jobs'), 'queued', 'inserted by the owner, the condition reads what the owner may read');
SET LOCAL ROLE byoc_test_writer;
SELECT lives_ok($$INSERT INTO byoc_test.jobs VALUES (byoc_test.org_a(), '+15005550006', 'by writer')$$, 'a role without any privilege in byoc may insert into a table with SMS triggers');
RESET ROLE;
SELECT is((SELECT count(*) FROM byoc.sms_messages WHERE source_table = 'byoc_test.jobs' AND status = 'failed' AND error_message = 'condition failed: permission denied for table secret'),
    1::bigint, 'inserted by another role, the condition has the rights of that role, in the same session and with the same plan');
SELECT byoc.drop_sms_trigger('byoc_test.jobs', 'reads_secret');
SELECT byoc.create_sms_trigger('byoc_test.jobs', '{{phone}}', 'x', condition => 'CASE WHEN NEW.name IS NOT NULL THEN byoc_test.who() END', name => 'asks_who');
SET LOCAL ROLE byoc_test_writer;
SELECT lives_ok($$INSERT INTO byoc_test.jobs VALUES (byoc_test.org_a(), '+15005550006', 'who')$$, 'a condition that raises');
RESET ROLE;
SELECT is((SELECT count(*) FROM byoc.sms_messages WHERE source_table = 'byoc_test.jobs' AND error_message = 'condition failed: run by byoc_test_writer'), 1::bigint, 'ran as the inserting role');
SELECT byoc.drop_sms_trigger('byoc_test.jobs', 'asks_who');
SET LOCAL ROLE byoc_test_writer;
SELECT byoc_test.refused($$SELECT * FROM byoc.sms_messages$$, '42501', 'permission denied', 'after the trigger the inserting role has no more rights than before');
RESET ROLE;

-- The condition's search path is its creator's.
CREATE SCHEMA byoc_test_evil;
GRANT ALL ON SCHEMA byoc_test_evil TO byoc_test_writer;
CREATE FUNCTION byoc_test.allowed(name text) RETURNS boolean LANGUAGE sql RETURN name = 'good';
SET LOCAL search_path = byoc_test, public;
SELECT is(byoc_test.error_of($$SELECT byoc.create_sms_trigger('jobs', '{{phone}}', '{{name}}', condition => 'allowed(NEW.name)', name => 'path')$$), 'no error',
    'a condition may use names without a schema, found by the search path of who creates the trigger');
SET LOCAL search_path = public;
SET LOCAL ROLE byoc_test_writer;
CREATE FUNCTION byoc_test_evil.allowed(name text) RETURNS boolean LANGUAGE sql RETURN true;
SET LOCAL search_path = byoc_test_evil, public;
INSERT INTO byoc_test.jobs VALUES (byoc_test.org_a(), '+15005550006', 'good'), (byoc_test.org_a(), '+15005550006', 'bad');
SET LOCAL search_path = public;
RESET ROLE;
SELECT byoc_test.lists($$SELECT body FROM byoc.sms_messages WHERE body IN ('good', 'bad')$$, ARRAY['good'], 'names in a condition are found by the search path of its creator, not of who inserts');
SELECT is(current_setting('search_path'), 'public', 'and the session''s search path is as it was');

-- Nothing that runs with the owner's rights looks names up by the search path of who inserts.
CREATE TABLE byoc_test.intruded (role name, what text);
GRANT INSERT ON byoc_test.intruded TO PUBLIC;
DO $$ BEGIN PERFORM byoc_test.add_twilio(byoc_test.org_a(), 1), byoc_test.add_twilio(byoc_test.org_b(), 2); END $$;
CREATE TABLE byoc_test.plain (org_id uuid, phone text, name text);
GRANT INSERT ON byoc_test.plain TO byoc_test_writer;
SELECT byoc.create_sms_trigger('byoc_test.plain', '{{phone}}', '{{name}} {{org.greeting}}');
SET LOCAL ROLE byoc_test_writer;
CREATE FUNCTION byoc_test_evil.same(a uuid, b uuid) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN INSERT INTO byoc_test.intruded VALUES (current_user, 'operator ='); RETURN a::text OPERATOR(pg_catalog.=) b::text; END $$;
CREATE OPERATOR byoc_test_evil.= (LEFTARG = uuid, RIGHTARG = uuid, FUNCTION = byoc_test_evil.same);
CREATE FUNCTION byoc_test_evil.arrow(a jsonb, b text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN INSERT INTO byoc_test.intruded VALUES (current_user, 'operator ->>'); RETURN 'x'; END $$;
CREATE OPERATOR byoc_test_evil.->> (LEFTARG = jsonb, RIGHTARG = text, FUNCTION = byoc_test_evil.arrow);
CREATE FUNCTION byoc_test_evil.clock_timestamp() RETURNS timestamptz LANGUAGE plpgsql AS $$
BEGIN INSERT INTO byoc_test.intruded VALUES (current_user, 'clock_timestamp'); RETURN pg_catalog.clock_timestamp(); END $$;
SET LOCAL search_path = byoc_test_evil, pg_catalog, public;
INSERT INTO byoc_test.plain VALUES (byoc_test.org_a(), '+15005550006', 'good');
INSERT INTO byoc_test.plain VALUES (byoc_test.org_a(), NULL, 'bad');
INSERT INTO byoc_test.plain VALUES (byoc_test.org_a(), '+15005550006', 'planned already');
SET LOCAL search_path = public;
RESET ROLE;
SELECT is_empty('SELECT DISTINCT role, what FROM byoc_test.intruded', 'who inserts into a table with SMS triggers cannot have its own operators and functions run as the extension''s owner');

-- What the view shows
SET LOCAL ROLE byoc_test_admin;
SELECT byoc_test.lists($$SELECT name FROM byoc.sms_triggers$$, ARRAY['of_owner', 'of_admin'], 'byoc.sms_triggers shows those of tables that the role can read or put triggers on');
RESET ROLE;

-- Settings of the organization are read for a role that cannot read organizations.
UPDATE byoc.organizations SET settings = '{"greeting": "Welcome"}' WHERE id = byoc_test.org_a();
SELECT byoc.create_sms_trigger('byoc_test.jobs', '{{phone}}', '{{org.greeting}} {{name}}', name => 'greets');
SET LOCAL ROLE byoc_test_writer;
INSERT INTO byoc_test.jobs VALUES (byoc_test.org_a(), '+15005550006', 'Bo');
RESET ROLE;
SELECT is((SELECT count(*) FROM byoc.sms_messages WHERE body = 'Welcome Bo'), 1::bigint, 'a template reads its organization''s settings whoever inserts');

SELECT * FROM finish();
ROLLBACK;
