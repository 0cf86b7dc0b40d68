// However a statement is written that carries a secret, and whatever goes wrong with it: the secret is neither in the server's
// log nor among what pg_stat_statements keeps. Each case has a secret of its own, so that a finding names its case.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { Cluster, Run, until } from './stack.mjs';

// $SECRET becomes the case's secret, $FIELDS fields that hold it, $BAD the same as broken JSON.
const CASES = [
  // How names are written.
  ['a comment before the parenthesis', `SELECT byoc.add_credential/* why */('twilio', '$FIELDS')`],
  ['a comment to the end of a line', `SELECT byoc.add_credential -- why (\n  ('twilio', '$FIELDS')`],
  ['nested comments', `SELECT byoc.add_credential/* a /* b */ c */('twilio', '$FIELDS')`],
  ['a comment within byoc.token', `SET byoc/**/./**/token = '$SECRET'`, '28000'],
  ['byoc.token, unicode-escaped', `SET U&"\\0062yoc".U&"\\0074oken" = '$SECRET'`, '28000'],
  ['a function, unicode-escaped', `SELECT byoc.U&"\\0061dd_credential"('twilio', '$FIELDS')`],
  ['an unqualified name', [`SET search_path = byoc, pg_catalog`, `SELECT add_credential('twilio', '$FIELDS')`, `RESET search_path`]],
  ['a wrapper whose name contains add_credential', `SELECT app_add_credential_v2('$FIELDS')`],
  // Where the statement stands.
  ['a later error in the same query string', `SELECT byoc.add_credential('twilio', '$FIELDS'); SELECT 1 / 0`, '22012'],
  ['a later statement of the same query string', `SELECT 1; SELECT byoc.add_credential('twilio', '$FIELDS')`],
  ['a long statement', `SELECT 1${' '.repeat(200_000)}, byoc.add_credential('twilio', '$FIELDS')`],
  ['DO', `DO $do$ BEGIN PERFORM byoc.add_credential('twilio', '$FIELDS'); END $do$`],
  ['CALL', `CALL app_add_credential_procedure('$FIELDS')`],
  ['a function body', `CREATE FUNCTION kept() RETURNS uuid LANGUAGE plpgsql AS $f$ BEGIN RETURN byoc.add_credential('twilio', '$FIELDS'); END $f$; DROP FUNCTION kept()`],
  ['WITH', `WITH added AS (SELECT byoc.add_credential('twilio', '$FIELDS')) SELECT FROM added`],
  ['EXPLAIN ANALYZE', `EXPLAIN (ANALYZE, VERBOSE) SELECT byoc.add_credential('twilio', '$FIELDS')`],
  ['PREPARE and EXECUTE', [`PREPARE p1 (text) AS SELECT byoc.add_credential('twilio', $1)`, `EXECUTE p1('$FIELDS')`]],
  ['PREPARE with a literal', [`PREPARE p5 AS SELECT byoc.add_credential('twilio', '$FIELDS')`, 'EXECUTE p5']],
  ['EXECUTE with a value that says nothing', [`PREPARE p6 AS SELECT byoc.encrypt(id, $1) FROM byoc.organizations`, `EXECUTE p6('$SECRET')`]],
  ['EXECUTE behind a comment', [`PREPARE p2 (jsonb) AS SELECT byoc.add_credential('twilio', $1)`, `/* why */ EXECUTE p2('$BAD')`], '22P02'],
  ['EXECUTE behind another statement', [`PREPARE p3 (jsonb) AS SELECT byoc.add_credential('twilio', $1)`, `SELECT 1; EXECUTE p3('$BAD')`], '22P02'],
  ['EXPLAIN EXECUTE', [`PREPARE p4 (jsonb) AS SELECT byoc.add_credential('twilio', $1)`, `EXPLAIN ANALYZE EXECUTE p4('$BAD')`], '22P02'],
  ['FETCH that fails', ['BEGIN', `DECLARE c1 CURSOR FOR SELECT byoc.add_credential('twilio', v::jsonb) FROM (VALUES ('$FIELDS'), ('$BAD')) AS t (v)`,
    `FETCH ALL FROM c1`, 'ROLLBACK'], '22P02'],
  ['a cursor that is held', ['BEGIN', `DECLARE c2 CURSOR WITH HOLD FOR SELECT byoc.decrypt(id, byoc.encrypt(id, '$SECRET')) FROM byoc.organizations`, 'COMMIT',
    `FETCH ALL FROM c2`, 'CLOSE c2']],
  ['DETAIL of a wrong row', `INSERT INTO short SELECT byoc.decrypt(id, byoc.encrypt(id, '$SECRET')) FROM byoc.organizations`, '23514'],
  ['an entry of pg_stat_statements that goes meanwhile', `SELECT byoc.add_credential('twilio', '$FIELDS'), pg_stat_statements_reset()`],
  ['a line that another extension writes', `DO $$ BEGIN RAISE LOG 'AUDIT: SESSION,1,1,READ,SELECT,,,"SELECT byoc.add_credential(''twilio'', ''$SECRET'')"'; END $$`],
  // What people get wrong.
  ['double quotes for single ones', `SELECT byoc.add_credential('twilio', "$SECRET")`, '42703'],
  ['a missing quote', `SELECT byoc.add_credential('twilio', '$FIELDS)`, '42601'],
  ['too many arguments', `SELECT byoc.add_credential('twilio', '$FIELDS', 'a', 'b', '$SECRET')`, '42883'],
  ['an argument of the wrong type', `SELECT byoc.encrypt('$SECRET!', 'x')`, '22P02'],
  ['broken JSON', `SELECT byoc.add_credential('twilio', '$BAD'::jsonb)`, '22P02'],
  ['a savepoint and a prepared transaction', ['BEGIN', 'SAVEPOINT s', `SELECT byoc.encrypt(id, '$SECRET') FROM byoc.organizations`, `PREPARE TRANSACTION 'two'`, `ROLLBACK PREPARED 'two'`]],
  // Names that are only known once it runs. Fields of a credential have names, whoever takes them.
  ['a wrapper of one\'s own, with fields', `SELECT app_store('$FIELDS')`],
  ['a procedure of one\'s own, with fields', `CALL app_store_procedure('$FIELDS')`],
  ['an error in a wrapper of one\'s own', `SELECT app_store('$BAD')`, '22023'],
  ['an error behind a wrapper of one\'s own', `SELECT app_store('$FIELDS'), 1 / (random() * 0)::int`, '22012'],
  ['a view of one\'s own', `INSERT INTO app_accounts VALUES ('twilio', '$FIELDS')`],
  ['a name made at run time', `SELECT set_config('byoc.' || 'token', '$SECRET', false)`, '28000', 'statement'],
  ['a wrapper of one\'s own', `SELECT app_note('$SECRET')`, undefined, 'statement'],
  ['a wrapper in SQL', `SELECT app_note_sql('$SECRET')`, undefined, 'statement'],
  ['an error behind a function of one\'s own', `SELECT app_note('$SECRET'), 1 / (random() * 0)::int`, '22012', 'statement'],
];

const secretOf = (index) => `feedface${String(index).padStart(4, '0')}0000cafe0000cafecafe`.slice(0, 32);
const fieldsOf = (secret) => JSON.stringify({ account_sid: `AC${'0'.repeat(32)}`, auth_token: secret, phone_number: '+15550000001' });
const spell = (text, index) => text.replaceAll('$SECRET', secretOf(index)).replaceAll('$FIELDS', fieldsOf(secretOf(index)))
  .replaceAll('$BAD', `{"auth_token": ${secretOf(index)}`);
const bytes = (text) => [...Buffer.from(text)].join(' '); // as debug_print_parse shows a constant

// Numbered after the cases.
const MORE = ['a function call of the old protocol', 'a parameter, its plan logged when its portal ends', 'a deadlock', 'a crash', 'a field'];
const secret = (name) => secretOf(CASES.length + MORE.indexOf(name));

const leaked = (text) => [...CASES.map(([name]) => name), ...MORE].filter((_, index) =>
  text.includes(secretOf(index)) || text.includes(bytes(secretOf(index))));

const run = new Run(`e2e-log-guard-${process.pid}`);

for (const language of ['en', 'de']) describe(`in ${language}`, () => {
  let cluster, db;

  after(async () => { await cluster?.disconnect(); cluster?.stop('immediate'); });
  before(async () => {
    process.env.LANGUAGE = language; // the server's messages
    cluster = new Cluster(run, {
      name: language,
      settings: {
        // Here the others come after pg_byoc, in secrets.test.mjs before it.
        shared_preload_libraries: 'pg_byoc, auto_explain, pg_stat_statements', 'pg_stat_statements.track': 'all', max_prepared_transactions: 2,
        log_min_messages: 'debug5', log_min_duration_statement: 0, log_parameter_max_length: -1, log_parameter_max_length_on_error: -1,
        log_error_verbosity: 'verbose',
        'auto_explain.log_min_duration': 0, 'auto_explain.log_analyze': 'on', 'auto_explain.log_verbose': 'on', 'auto_explain.log_nested_statements': 'on',
      },
    });
    db = await cluster.connect();
    await db.query(`
      CREATE EXTENSION pg_byoc; CREATE EXTENSION pg_stat_statements;
      CREATE TABLE short (note text CHECK (length(note) < 9));
      CREATE FUNCTION app_add_credential_v2(fields text) RETURNS uuid LANGUAGE sql AS $$ SELECT byoc.add_credential('twilio', fields) $$;
      CREATE PROCEDURE app_add_credential_procedure(fields text) LANGUAGE plpgsql AS $$ BEGIN PERFORM byoc.add_credential('twilio', fields); END $$;
      CREATE FUNCTION app_store(fields text) RETURNS uuid LANGUAGE plpgsql AS $$ BEGIN RETURN byoc.add_credential('twilio', fields); END $$;
      CREATE PROCEDURE app_store_procedure(fields text) LANGUAGE plpgsql AS $$ BEGIN PERFORM byoc.add_credential('twilio', fields); END $$;
      CREATE FUNCTION app_note(note text) RETURNS bytea LANGUAGE plpgsql AS $$ BEGIN RETURN byoc.encrypt(byoc.current_org_id(), note); END $$;
      CREATE FUNCTION app_note_sql(note text) RETURNS bytea LANGUAGE sql AS $$ SELECT byoc.encrypt(byoc.current_org_id(), note) $$;
      CREATE VIEW app_accounts AS SELECT credential_type, fields FROM byoc.credentials`);
    const organization = await db.value(`SELECT byoc.create_organization('A')`);
    await db.query(`SELECT byoc.set_org($1, 'ada', 'owner', local => false)`, [organization]);
  });

  test('each case does what it says', async () => {
    for (const [index, [name, statements, code, unknown]] of CASES.entries()) {
      // These log before the statement runs, when nothing but its text is known.
      const early = unknown ? ['none', 'off'] : ['all', 'on'];
      await db.query(`SET log_statement = '${early[0]}'; SET debug_print_parse = ${early[1]}; SET debug_print_plan = ${early[1]}`);
      let failed;
      for (const statement of [statements].flat()) {
        await db.query(spell(statement, index)).catch((error) => { failed ??= error; });
      }
      assert.equal(failed?.code, code, `${name}: ${failed?.message}`);
    }
  });

  test('a value of any provider\'s secret field', async () => {
    const names = await db.rows(`SELECT DISTINCT key AS name FROM byoc.providers, jsonb_each(fields) WHERE (value ->> 'secret')::boolean`);
    assert.ok(names.length >= 2);
    for (const { name } of names) {
      for (const spelling of [`'{"${name}" : "$SECRET"}'::jsonb`, `E'{\\"${name}\\":\\"$SECRET\\"}'::jsonb`, `jsonb_build_object('${name}', '$SECRET')`]) {
        await db.query(`SELECT ${spelling.replace('$SECRET', secret(MORE[4]))}`);
      }
    }
  });

  // So says doc/secrets.md, and that another name helps: that is one of the cases.
  test('a function of one\'s own, whose name says nothing, is logged before it runs', async () => {
    const shown = secretOf(9999);
    await db.query(`SET log_statement = 'all'`);
    await db.query(`SELECT app_note('${shown}')`);
    assert.ok(readFileSync(cluster.log, 'latin1').includes(shown));
  });

  test('function calls of the old protocol', async () => {
    const oid = await db.value(`SELECT 'byoc.add_credential(text, jsonb, text, uuid)'::regprocedure::oid`);
    await assert.rejects(db.call(oid, ['twilio', `{"auth_token": ${secret(MORE[0])}`, null, null]), { code: '22P02' });
  });

  test('a parameter, its plan logged when its portal ends', async () => {
    await db.query(`SET log_min_duration_statement = -1; SET log_statement = 'none'; SET debug_print_parse = off; SET debug_print_plan = off`);
    await db.query('BEGIN');
    await db.query('SELECT app_note($1)', [secret(MORE[1])]);
    await db.query('SELECT $1 AS next', [1]);
    await db.query('COMMIT; RESET ALL');
  });

  test('a deadlock, whose report quotes the statements of both', async () => {
    await db.query('SET deadlock_timeout = 100');
    const other = await cluster.connect();
    const holds = (connection, lock) => connection.query(`BEGIN; SELECT pg_advisory_xact_lock(${lock})`);
    await Promise.all([holds(db, 1), holds(other, 2)]);
    const ends = await Promise.allSettled([
      other.query(`SELECT pg_advisory_xact_lock(1), '${fieldsOf(secret(MORE[2]))}'::jsonb`),
      db.query('SELECT pg_advisory_xact_lock(2)'),
    ]);
    assert.deepEqual(ends.filter(({ status }) => status === 'rejected').map(({ reason }) => reason.code), ['40P01']);
    await db.query('ROLLBACK; RESET ALL');
    await other.end();
  });

  test('no secret is in pg_stat_statements', async () => {
    await db.query(`SELECT 'something else' AS kept`);
    const texts = (await db.rows('SELECT query FROM pg_stat_statements')).map(({ query }) => query);
    assert.ok(texts.includes('SELECT $1 AS kept'), 'it keeps statements');
    assert.deepEqual(leaked(texts.join('\n')), []);
  });

  test('a crash, whose report quotes the statement', async () => {
    const victim = await cluster.connect();
    await db.query('SELECT pg_advisory_lock(3)');
    const crashed = assert.rejects(victim.query(`SELECT '${fieldsOf(secret(MORE[3]))}'::jsonb, pg_advisory_lock(3)`));
    await until('it to run', () => db.value(`SELECT count(*) > 0 FROM pg_stat_activity WHERE pid = ${victim.pid} AND wait_event = 'advisory'`));
    let ended = false; // a crash ends every session
    db.once('close', () => { ended = true; });
    process.kill(victim.pid, 'SIGKILL');
    await crashed;
    await until('the other session to end', () => ended);
    db = await until('the server to be back', () => cluster.connect().catch(() => null));
    assert.ok(/signal 9.*\n(.*\n)?.*DETAIL: +\(withheld by pg_byoc/i.test(readFileSync(cluster.log, 'latin1')), 'it was reported');
  });

  test('a statement about the storage of credentials, which holds no secret, keeps its text', async () => {
    await db.query('SELECT count(*) AS kept_text FROM byoc.organization_api_credentials');
    await db.query('SELECT count(*) AS lost_text FROM byoc.organization_api_credentials, byoc.credentials');
    const log = readFileSync(cluster.log, 'latin1');
    assert.ok(log.includes('AS kept_text'));
    assert.equal(log.includes('AS lost_text'), false);
  });

  test('no secret is in the log', () => {
    assert.deepEqual(leaked(readFileSync(cluster.log, 'latin1')), []);
  });
});
