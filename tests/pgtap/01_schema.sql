-- The schema's contents: contract version, comments, ids, what a dump takes along.
BEGIN;
\ir support/setup.sql
SELECT plan(26);

SELECT has_schema('byoc');
SELECT is(byoc.api_version(), 1, 'the contract between database and byocd has version 1');
SELECT ok(byoc.oldest_api_version() BETWEEN byoc.api_version() - 1 AND byoc.api_version(), 'and keeps at most the one before it');
SELECT is((SELECT extname::text FROM pg_extension e WHERE e.extname = 'pg_byoc'), 'pg_byoc', 'the extension is installed');
SELECT is((SELECT n.nspname::text FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'pg_byoc'),
          'pg_catalog', 'the extension itself lives in pg_catalog, so that schema byoc drops with it');
SELECT ok(NOT (SELECT extrelocatable FROM pg_extension WHERE extname = 'pg_byoc'), 'the extension cannot be moved to another schema');
SELECT ok(EXISTS (SELECT FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid AND d.refclassid = 'pg_extension'::regclass
                  WHERE e.extname = 'pg_byoc' AND d.classid = 'pg_namespace'::regclass AND d.objid = 'byoc'::regnamespace AND d.deptype = 'e'),
          'schema byoc is a member of the extension');

-- Comments
SELECT is_empty($$SELECT p.oid::regprocedure FROM pg_proc p
                  WHERE p.pronamespace = 'byoc'::regnamespace AND obj_description(p.oid, 'pg_proc') IS NULL$$,
                'every function has a comment');
SELECT is_empty($$SELECT c.oid::regclass FROM pg_class c
                  WHERE c.relnamespace = 'byoc'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
                    AND obj_description(c.oid, 'pg_class') IS NULL$$,
                'every table and view has a comment');
SELECT is_empty($$SELECT t.oid::regtype FROM pg_type t
                  WHERE t.typnamespace = 'byoc'::regnamespace AND t.typtype IN ('d', 'e', 'r') AND obj_description(t.oid, 'pg_type') IS NULL$$,
                'every type has a comment');
SELECT isnt(obj_description('byoc'::regnamespace, 'pg_namespace'), NULL, 'the schema has a comment');
SELECT is_empty($$SELECT p.oid::regprocedure FROM pg_proc p
                  WHERE p.pronamespace = 'byoc'::regnamespace
                    AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')$$,
                'every function in the schema belongs to the extension');

-- Dump and restore
SELECT byoc_test.lists(
    $$SELECT c.oid::regclass FROM pg_extension e CROSS JOIN unnest(e.extconfig) AS t JOIN pg_class c ON c.oid = t
      WHERE e.extname = 'pg_byoc'$$,
    ARRAY['byoc.audit_entries', 'byoc.calls', 'byoc.calendar_entries', 'byoc.calendar_trigger_definitions', 'byoc.webhook_trigger_definitions', 'byoc.audit_unsealed', 'byoc.audit_seals', 'byoc.audit_chain_heads', 'byoc.idempotency_keys', 'byoc.rest_answers', 'byoc.unknown_messages', 'byoc.inbound_messages', 'byoc.opt_outs', 'byoc.installation', 'byoc.message_events', 'byoc.messages', 'byoc.organization_api_credentials',
          'byoc.organization_keys', 'byoc.organizations', 'byoc.provider_error_overrides', 'byoc.provider_overrides', 'byoc.queue',
          'byoc.schedule', 'byoc.sender_limits', 'byoc.sms_trigger_definitions'],
    'pg_dump takes the data of exactly these tables: shipped rows, lanes, claims and wake-ups are made again');
SELECT byoc_test.lists(
    $$SELECT t.tgrelid::regclass || ' ' || t.tgname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
      WHERE c.relnamespace = 'byoc'::regnamespace AND c.relkind = 'r' AND NOT t.tgisinternal AND (t.tgtype & 4) <> 0$$,
    ARRAY['byoc.organization_keys data_keys_changed', 'byoc.opt_outs forget_lookups', 'byoc.organization_api_credentials forget_lookups'],
    'no storage table has an INSERT trigger with effects: restored messages must not become new jobs');
SELECT is_empty($$SELECT con.conname FROM pg_constraint con
                  WHERE con.connamespace = 'byoc'::regnamespace AND con.contype = 'f'
                    AND (SELECT c.relnamespace FROM pg_class c WHERE c.oid = con.confrelid) <> 'byoc'::regnamespace$$,
                'no foreign key leaves the schema');
SELECT is_empty($$SELECT i.indexrelid::regclass FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
                  WHERE c.relnamespace = 'byoc'::regnamespace AND c.relkind = 'r' AND i.indisprimary
                    AND EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'org_id')
                    AND i.indkey[0] <> (SELECT a.attnum FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'org_id')$$,
                'the organization comes first in every primary key of a table that has it');

-- Ids
SELECT is((SELECT count(DISTINCT byoc.uuid_v7()) FROM generate_series(1, 2000)), 2000::bigint, '2000 ids are 2000 different ids');
SELECT ok((SELECT bool_and(u::text ~ '^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$')
           FROM (SELECT byoc.uuid_v7() AS u FROM generate_series(1, 100)) AS ids),
          'ids have the version 7 and the variant of RFC 9562');
SELECT ok((SELECT bool_and(u > before) FROM (SELECT u, lag(u) OVER (ORDER BY n) AS before
                                             FROM (SELECT n, byoc.uuid_v7() AS u FROM generate_series(1, 2000) AS n OFFSET 0) AS ids) AS pairs
           WHERE before IS NOT NULL),
          'ids of one session rise in the order in which they were made');
SELECT ok((SELECT abs(extract(epoch FROM clock_timestamp()) * 1000 - ('x' || lpad(replace(left(byoc.uuid_v7()::text, 13), '-', ''), 16, '0'))::bit(64)::bigint) < 60000),
          'an id begins with the current time in milliseconds');

-- Settings
SELECT is((SELECT setting FROM pg_settings WHERE name = 'byoc.wakeup'), 'notify', 'byoc.wakeup is notify by default');
SELECT byoc_test.refused($$SET LOCAL byoc.wakeup = 'never'$$, '22023', 'byoc.wakeup', 'byoc.wakeup refuses an unknown mode');
SELECT lives_ok($$SET LOCAL byoc.wakeup = 'poll'$$, 'byoc.wakeup may be poll');
SELECT byoc_test.refused($$SET byoc.no_such_setting = '1'$$, '42602', 'byoc.no_such_setting', 'a misspelt byoc setting is refused');
SELECT byoc_test.refused($$SET byoc.keyring_file = '/tmp/other'$$, '55P02', 'keyring_file', 'the key ring''s file cannot be changed by SET');
SET LOCAL ROLE byoc_test_tenant;
SELECT byoc_test.refused($$SELECT current_setting('byoc.keyring_file')$$, '42501', 'keyring_file', 'ordinary roles do not learn where the key ring is');
RESET ROLE;

SELECT * FROM finish();
ROLLBACK;
