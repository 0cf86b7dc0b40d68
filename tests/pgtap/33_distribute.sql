-- Without Citus: what is for a cluster says so and changes nothing. With it: tests/e2e/citus.test.mjs.
BEGIN;
\ir support/setup.sql
SELECT plan(7);

SELECT throws_matching('SELECT byoc.distribute()', 'this database has no Citus', 'distribute() says what is missing');
SELECT throws_ok('SELECT byoc.distribute()', '55000', NULL, 'by a state of its own');
SELECT hasnt_table('byoc', 'homes', 'and leaves nothing');
SELECT throws_ok(format('SELECT * FROM byoc.home(%L)', byoc_test.org_a()), '0A000', NULL, 'no organization is at home elsewhere');

-- A table that is called like a shard is none.
CREATE TABLE byoc_test.leads_102008 (org_id uuid, phone text);
SELECT is(byoc.distributed_trigger('byoc_test.leads_102008'::regclass, 'byoc_sms_1_102008'), ROW(NULL::oid, NULL::name), 'a number in its name makes no shard');
CREATE TRIGGER byoc_sms_1_102008 AFTER INSERT ON byoc_test.leads_102008 FOR EACH ROW EXECUTE FUNCTION byoc.enqueue_sms_trigger();
SELECT lives_ok(format('INSERT INTO byoc_test.leads_102008 VALUES (%L, %L)', byoc_test.org_a(), '+15005550006'), 'a trigger without a definition only warns');
SELECT is_empty('SELECT 1 FROM byoc.sms_messages', 'and sends nothing');

SELECT * FROM finish();
ROLLBACK;
