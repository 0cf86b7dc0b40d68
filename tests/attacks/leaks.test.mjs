// Attacks on what the views show: leaky functions, operators and types wherever a query can put them, planner settings,
// statistics, EXPLAIN, COPY, plans and cursors kept across contexts, and what PostgreSQL tells everybody.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { until } from '../../scripts/run.mjs';
import { FORCE_PARALLEL } from '../../scripts/stack.mjs';
import { A, B, Ground, NOBODY, VICTIM, anything, attempt, nothing, onlyA, outcomeOf, value } from './ground.mjs';

const ground = new Ground('leaks', { settings: { max_worker_processes: 8, max_parallel_workers: 8 } });
const VIEWS = { credentials: 'display_name', sms_messages: 'body', sms_events: 'error_message', organizations: 'name', inbound_messages: 'from_number', opt_outs: 'number' };
let session;

after(() => ground.end());
before(async () => {
  await ground.start();
  session = await ground.session();
  await session.query(`
    CREATE FUNCTION lair.leak(value text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 PARALLEL SAFE AS 'BEGIN RAISE NOTICE ''%'', value; RETURN true; END';
    CREATE FUNCTION lair.leaks(value text, other text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 PARALLEL SAFE
      AS 'BEGIN RAISE NOTICE ''%'', concat(value, other); RETURN true; END';
    CREATE FUNCTION lair.passed(value text) RETURNS text LANGUAGE plpgsql COST 0.0000001 PARALLEL SAFE AS 'BEGIN RAISE NOTICE ''%'', value; RETURN value; END';
    CREATE OPERATOR lair.=== (LEFTARG = text, RIGHTARG = text, FUNCTION = lair.leaks, RESTRICT = eqsel, JOIN = eqjoinsel);
    CREATE OPERATOR lair.<<< (LEFTARG = text, RIGHTARG = text, FUNCTION = lair.leaks, RESTRICT = scalarltsel, JOIN = scalarltjoinsel);
    CREATE DOMAIN lair.evil AS text CHECK (lair.leak(VALUE));
    CREATE TYPE lair.box AS (content text);
    CREATE FUNCTION lair.boxed(value text) RETURNS lair.box LANGUAGE plpgsql IMMUTABLE COST 0.0000001 AS 'BEGIN RAISE NOTICE ''%'', value; RETURN row(value); END';
    CREATE CAST (text AS lair.box) WITH FUNCTION lair.boxed(text);
    CREATE FUNCTION lair.step(state text, value text) RETURNS text LANGUAGE plpgsql COST 0.0000001 AS 'BEGIN RAISE NOTICE ''%'', value; RETURN value; END';
    CREATE AGGREGATE lair.collect(text) (SFUNC = lair.step, STYPE = text);
    CREATE TABLE lair.words (word text); INSERT INTO lair.words SELECT 'w' || i FROM generate_series(1, 100) i; ANALYZE lair.words`);
});

const queries = (view, column) => ({
  WHERE: `SELECT * FROM byoc.${view} v WHERE lair.leak(v.${column})`,
  'WHERE on the whole row': `SELECT * FROM byoc.${view} v WHERE lair.leak(v::text)`,
  'WHERE, a leaky operator': `SELECT * FROM byoc.${view} v WHERE v.${column} OPERATOR(lair.===) 'x'`,
  'WHERE, a domain\'s CHECK': `SELECT * FROM byoc.${view} v WHERE v.${column}::lair.evil <> ''`,
  'WHERE, a cast': `SELECT * FROM byoc.${view} v WHERE ((v.${column}::lair.box).content) <> ''`,
  'WHERE, a row comparison': `SELECT * FROM byoc.${view} v WHERE (lair.passed(v.${column}), 1) >= ('', 0)`,
  'WHERE, CASE': `SELECT * FROM byoc.${view} v WHERE CASE WHEN lair.leak(v.${column}) THEN true END`,
  'WHERE OR': `SELECT * FROM byoc.${view} v WHERE lair.leak(v.${column}) OR 1 / (length(v.${column}) - length(v.${column}) + 1) = 1`,
  'ORDER BY': `SELECT * FROM byoc.${view} v ORDER BY lair.passed(v.${column})`,
  'GROUP BY and HAVING': `SELECT min(v.org_id::text) AS org_id FROM byoc.${view} v GROUP BY lair.passed(v.${column}) HAVING bool_and(lair.leak(v.${column}))`,
  aggregate: `SELECT min(v.org_id::text) AS org_id, lair.collect(v.${column}) FROM byoc.${view} v`,
  'aggregate\'s FILTER': `SELECT min(v.org_id::text) FILTER (WHERE lair.leak(v.${column})) AS org_id FROM byoc.${view} v`,
  window: `SELECT v.org_id, lair.collect(v.${column}) OVER (PARTITION BY lair.passed(v.${column})) FROM byoc.${view} v`,
  'DISTINCT ON': `SELECT DISTINCT ON (lair.passed(v.${column})) * FROM byoc.${view} v`,
  JOIN: `SELECT v.* FROM lair.words w JOIN byoc.${view} v ON lair.leaks(v.${column}, w.word)`,
  'JOIN by a leaky operator': `SELECT v.* FROM lair.words w JOIN byoc.${view} v ON v.${column} OPERATOR(lair.===) w.word`,
  LATERAL: `SELECT v.* FROM byoc.${view} v, LATERAL (SELECT lair.passed(v.${column})) l`,
  'LATERAL, turned round': `SELECT v.* FROM lair.words w, LATERAL (TABLE byoc.${view} OFFSET 0) v WHERE lair.leak(v.${column})`,
  'NOT EXISTS': `SELECT v.* FROM byoc.${view} v WHERE NOT EXISTS (SELECT FROM byoc.${view} u WHERE NOT lair.leak(u.${column}))`,
  'a view of one\'s own': `SELECT * FROM lair.own_${view} v WHERE lair.leak(v.${column})`,
  'a CTE, not materialized': `WITH w AS NOT MATERIALIZED (TABLE byoc.${view}) SELECT * FROM w v WHERE lair.leak(v.${column})`,
});
// v.org_id of organizations is its id.
const of = (view, sql) => (view === 'organizations' ? sql.replaceAll('v.org_id', 'v.id').replaceAll(/\bv\.\*|SELECT(?: DISTINCT ON \([^ ]*\))? \*/g, (found) => `${found}, v.id AS org_id`)
  .replaceAll('SELECT v.id,', 'SELECT v.id AS org_id,') : sql);

const SETTINGS = {
  'default planner settings': '',
  'no index scans': 'SET enable_indexscan = off; SET enable_bitmapscan = off; SET enable_indexonlyscan = off',
  'no subquery collapse, no hashing': 'SET from_collapse_limit = 1; SET join_collapse_limit = 1; SET enable_hashjoin = off; SET enable_hashagg = off; SET enable_material = off',
  'parallel workers': `${FORCE_PARALLEL}; SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0;
    SET min_parallel_index_scan_size = 0`,
  'row_security and generic plans': 'SET plan_cache_mode = force_generic_plan; SET constraint_exclusion = off',
};

test('leaky functions in every place of a query, over each view', async (t) => {
  for (const [settings, sql] of Object.entries(SETTINGS)) {
    await session.query(`RESET ALL; ${sql}`);
    await session.query('SELECT set_config(\'byoc.token\', $1, false)', [ground.token()]);
    for (const [view, column] of Object.entries(VIEWS)) {
      await session.query(`CREATE OR REPLACE VIEW lair.own_${view} AS SELECT * FROM byoc.${view}`);
      for (const [place, query] of Object.entries(queries(view, column))) {
        await attempt(t, `byoc.${view}, a leaky function in ${place}, ${settings}`, (rows, { heard }) => {
          onlyA(rows);
          assert.ok(heard.length > 0, 'the leaky function ran');
        }, () => session.query(of(view, query)), session);
      }
    }
  }
  await session.query('RESET ALL');
});

test('the same without a context', async (t) => {
  const nobody = await ground.session({ role: null });
  for (const [view, column] of Object.entries(VIEWS)) {
    for (const place of ['WHERE', 'ORDER BY', 'JOIN', 'window']) {
      await attempt(t, `byoc.${view}, a leaky function in ${place}`, (rows, { heard }) => assert.deepEqual([rows, heard], [[], []]),
        () => nobody.query(of(view, queries(view, column)[place])), nobody);
    }
  }
  await nobody.end();
});

test('planning: leaky operators and estimates', async (t) => {
  await session.query('SELECT set_config(\'byoc.token\', $1, false)', [ground.token()]);
  for (const [view, column] of Object.entries(VIEWS)) {
    for (const operator of ['===', '<<<']) {
      await attempt(t, `EXPLAIN of byoc.${view} with ${operator}, estimated by statistics`, (rows, { heard }) => assert.deepEqual(heard, []),
        () => session.query(`EXPLAIN SELECT * FROM byoc.${view} WHERE ${column} OPERATOR(lair.${operator}) 'zzz'`), session);
    }
    await attempt(t, `EXPLAIN (ANALYZE, VERBOSE, BUFFERS) of byoc.${view}`, anything, () => session.query(`EXPLAIN (ANALYZE, VERBOSE, BUFFERS, SETTINGS, WAL) SELECT * FROM byoc.${view}`), session);
  }
  // What is B's, and what nobody has: the plans must be the same, estimates included.
  const { victim } = ground;
  const questions = {
    'B\'s recipient': ['byoc.sms_messages WHERE to_number = $', '+15550139911', '+15550000000'],
    'B\'s text': ['byoc.sms_messages WHERE body = $', 'victim body 1', 'nobody body 1'],
    'B\'s messages': ['byoc.sms_messages WHERE org_id = $', B, NOBODY],
    'B\'s message': ['byoc.sms_messages WHERE id = $', victim.message, NOBODY],
    'who opted out from B': ['byoc.opt_outs WHERE number = $', '+15550139960', '+15550000000'],
    'who texted B': ['byoc.inbound_messages WHERE from_number = $', '+15550139960', '+15550000000'],
    'numbers that opted out from B': ['byoc.opt_outs WHERE number >= $', '+15550139960', '+15550000000'],
    'B\'s errors': ['byoc.sms_events WHERE error_message = $', 'victim error', 'nobody error'],
    'B\'s credential': ['byoc.credentials WHERE display_name = $', 'victim main', 'nobody main'],
    'B\'s credentials': ['byoc.credentials WHERE org_id = $', B, NOBODY],
    'B\'s name': ['byoc.organizations WHERE name = $', VICTIM.name, 'Nobody'],
    'B\'s id': ['byoc.organizations WHERE id = $', B, NOBODY],
    'names up to B\'s': ['byoc.organizations WHERE name <= $', VICTIM.name, 'Aaa'],
    'ids up to B\'s': ['byoc.organizations WHERE id <= $', B, '00000000-0000-4000-8000-000000000000'],
    'numbers of B': ['byoc.sms_messages WHERE to_number LIKE $', '+1555013991%', '+1555000000%'],
  };
  await ground.db.query(`SELECT byoc.create_organization('Other ' || i) FROM generate_series(1, 200) i`);
  await ground.db.query('ANALYZE');
  for (const [what, [query, real, madeUp]] of Object.entries(questions)) {
    const plan = async (literal) => JSON.stringify(await session.rows(`EXPLAIN (VERBOSE) SELECT * FROM ${query.replace('$', `'${literal}'`)}`)).replaceAll(literal, '*');
    const [first, second] = [await plan(real), await plan(madeUp)];
    await t.test(`EXPLAIN's estimates for ${what} -> ${first === second ? 'as for what nobody has' : 'tells'}`, () => assert.equal(first, second));
  }
});

test('statistics, activity, locks and files', async (t) => {
  const boss = await ground.cluster.connect('postgres', 'boss');
  await boss.query(`BEGIN; SELECT byoc.set_org('${B}', 'victim', 'owner'); SELECT byoc.add_credential('twilio', '{}'::jsonb, 'victim new')`).catch(() => {});
  await boss.query('ROLLBACK');
  await boss.query(`SELECT 'victim', pg_advisory_lock(hashtext('victim'))`);
  const open = {
    'pg_stats': `SELECT * FROM pg_stats WHERE schemaname = 'byoc'`,
    'pg_stats_ext': `SELECT * FROM pg_stats_ext WHERE schemaname = 'byoc'`,
    'B\'s statements in pg_stat_activity': `SELECT query FROM pg_stat_activity WHERE usename = 'boss' AND query NOT LIKE '<insufficient%'`,
    'large objects': 'SELECT * FROM pg_largeobject_metadata',
    'prepared statements of others': `SELECT * FROM pg_prepared_statements WHERE statement LIKE '%byoc%'`,
    'settings of roles': `SELECT * FROM pg_db_role_setting WHERE setconfig::text LIKE '%byoc%'`,
  };
  for (const [what, sql] of Object.entries(open)) await attempt(t, what, nothing, () => session.query(sql));
  for (const [what, sql] of Object.entries({ 'pg_locks': 'SELECT * FROM pg_locks', 'pg_stat_activity': 'SELECT * FROM pg_stat_activity', 'pg_stat_user_tables': 'SELECT * FROM pg_stat_user_tables' })) {
    await attempt(t, what, anything, () => session.query(sql));
  }
  const closed = {
    'pg_statistic': 'SELECT * FROM pg_statistic', 'pg_authid': 'SELECT * FROM pg_authid', 'pg_largeobject': 'SELECT * FROM pg_largeobject',
    'pg_read_file': `SELECT pg_read_file('postgresql.conf')`, 'pg_read_binary_file of a table': `SELECT pg_read_binary_file(pg_relation_filepath('byoc.messages'))`,
    'pg_ls_dir': `SELECT pg_ls_dir('.')`, 'lo_import': `SELECT lo_import('/etc/passwd')`, 'COPY FROM a file': `COPY lair.words FROM '/etc/passwd'`,
    'COPY TO a file': `COPY lair.words TO '/tmp/words'`, 'COPY FROM PROGRAM': `COPY lair.words FROM PROGRAM 'id'`,
    'the log\'s file': 'SELECT pg_current_logfile()', 'a replication slot': `SELECT pg_create_logical_replication_slot('s', 'test_decoding')`,
    'pageinspect': 'CREATE EXTENSION pageinspect', 'an untrusted language': 'CREATE EXTENSION plpython3u',
    'the key ring\'s file': 'SHOW byoc.keyring_file', 'the key ring\'s command': 'SHOW byoc.keyring_command',
    'reload of the key ring': 'SELECT byoc.reload_keyring()',
  };
  for (const [what, sql] of Object.entries(closed)) await attempt(t, what, ['42501', '58P01', '0A000'], () => session.query(sql));
  await boss.end();
});

test('LISTEN byoc_jobs says that there is work, not whose', async (t) => {
  const dispatcher = await ground.cluster.connect('postgres', 'byocd');
  const heard = [];
  session.on('notification', ({ payload }) => heard.push({ payload }));
  await session.query('LISTEN byoc_jobs');
  await dispatcher.query('SELECT byoc.dispatcher_sleep()');
  await ground.db.query(`SELECT byoc.send_sms('${VICTIM.number}', 'victim body', org_id => '${B}')`);
  await until('the notification', async () => {
    await session.query('SELECT 1');
    return heard.length > 0;
  });
  await attempt(t, 'LISTEN byoc_jobs while B sends', value(''), async () => ({ rows: heard }));
  await session.query('UNLISTEN *');
  await dispatcher.end();
  ground.before = await ground.rowsOfVictim();
});

test('COPY', async (t) => {
  const token = ground.token();
  const copy = (sql, input) => ground.psql(null, { input: `SELECT set_config('byoc.token', '${token}', false) \\g /dev/null\n${sql};\n${input ?? ''}` });
  for (const view of Object.keys(VIEWS)) {
    await attempt(t, `COPY (SELECT * FROM byoc.${view}) TO STDOUT`, (rows) => assert.ok(rows.length > 0), () => Promise.resolve().then(() => copy(`COPY (SELECT * FROM byoc.${view}) TO STDOUT`)));
  }
  for (const table of ['messages', 'queue', 'organization_api_credentials', 'organization_keys', 'message_events']) {
    await attempt(t, `COPY byoc.${table} TO STDOUT`, '42501', () => Promise.resolve().then(() => copy(`COPY byoc.${table} TO STDOUT`)));
    await attempt(t, `COPY byoc.${table} FROM STDIN`, '42501', () => Promise.resolve().then(() => copy(`COPY byoc.${table} FROM STDIN`, '\\.\n')));
  }
  await attempt(t, 'COPY byoc.sms_messages (org_id of B, ...) FROM STDIN', '42501',
    () => Promise.resolve().then(() => copy('COPY byoc.sms_messages (org_id, to_number, body) FROM STDIN', `${B}\t+15550138888\tx\n\\.\n`)));
  await attempt(t, 'COPY byoc.credentials (org_id of B, ...) FROM STDIN', '42501',
    () => Promise.resolve().then(() => copy('COPY byoc.credentials (org_id, credential_type, display_name, fields) FROM STDIN', `${B}\ttwilio\tmine\t{}\n\\.\n`)));
});

test('plans and cursors that outlive a context', async (t) => {
  const become = (org) => session.query('SELECT set_config(\'byoc.token\', $1, false)', [ground.token({ org_id: org })]);
  for (const mode of ['force_custom_plan', 'force_generic_plan']) {
    await session.query(`DEALLOCATE ALL; SET plan_cache_mode = ${mode}`);
    await become(B);
    await session.query(`PREPARE m AS SELECT * FROM byoc.sms_messages; PREPARE c AS SELECT * FROM byoc.credentials;
      PREPARE o AS SELECT *, id AS org_id FROM byoc.organizations; PREPARE f(uuid) AS SELECT byoc.current_org_id() AS org_id`);
    for (const name of ['m', 'c', 'o']) await session.query(`EXECUTE ${name}`);
    await become(A);
    for (const name of ['m', 'c', 'o', `f('${B}')`]) await attempt(t, `EXECUTE ${name}, planned and run under B, now under A (${mode})`, onlyA, () => session.query(`EXECUTE ${name}`));
    await session.query('RESET byoc.token');
    for (const name of ['m', 'c', 'o']) await attempt(t, `EXECUTE ${name}, planned under B, now without a context (${mode})`, nothing, () => session.query(`EXECUTE ${name}`));
  }
  await session.query('RESET plan_cache_mode');
  await session.query('BEGIN; DECLARE early CURSOR WITH HOLD FOR SELECT * FROM byoc.sms_messages; COMMIT');
  await become(A);
  await attempt(t, 'a cursor opened without a context, fetched with one', nothing, () => session.query('FETCH ALL FROM early'));
  await session.query('BEGIN; DECLARE mine CURSOR FOR SELECT * FROM byoc.sms_messages; FETCH 1 FROM mine');
  await session.query('SELECT set_config(\'byoc.token\', \'\', true)');
  await attempt(t, 'a cursor of A, fetched after the context ended: keeps what it was opened with, as documented', onlyA, () => session.query('FETCH ALL FROM mine'));
  await session.query('ROLLBACK');
});

test('B\'s rows are what they were', async () => {
  assert.equal((await outcomeOf(() => session.query('SELECT 1'))).code, undefined);
  await ground.assertUntouched();
});
