// Every documented way of giving a secret, and every place where it could show: doc/secrets.md has the table, this file proves it,
// the cells that say "shows" included. How statements can be written, and what may go wrong with them: log_guard.test.mjs.

import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { clusterKey, ownerToken } from '../../scripts/jwt.mjs';
import { Stack, filesWith, until } from './stack.mjs';

const TOKEN = `feedface${String(process.pid).padStart(8, '0')}00000000cafecafe`; // given in ways that must not show it
const SHOWN = `facefeed${String(process.pid).padStart(8, '0')}00000000babebabe`; // given in ways that do
const stack = new Stack('secrets', {
  // As talkative as PostgreSQL gets.
  settings: {
    // Here pg_byoc comes last, in log_guard.test.mjs first.
    shared_preload_libraries: 'pg_stat_statements, auto_explain, pg_byoc',
    log_min_messages: 'debug5', log_statement: 'all', log_min_duration_statement: 0, log_parameter_max_length: -1,
    log_parameter_max_length_on_error: -1, log_error_verbosity: 'verbose', debug_print_parse: 'on', debug_print_plan: 'on',
    'auto_explain.log_min_duration': 0, 'auto_explain.log_analyze': 'on', 'auto_explain.log_verbose': 'on',
    'auto_explain.log_nested_statements': 'on', 'auto_explain.log_parameter_max_length': -1,
    'pg_stat_statements.track': 'all', wal_level: 'logical', log_replication_commands: 'on',
  },
  env: { BYOC_LOG_LEVEL: 'debug' },
});
const bytes = (text) => [...Buffer.from(text)].join(' '); // as debug_print_plan shows a constant
const fieldsWith = (token) => ({ account_sid: a.account.sid, auth_token: token, phone_number: a.account.number });
const line = (token) => `twilio\tfrom psql\t${JSON.stringify(fieldsWith(token))}\n`;
const COPY = '\\copy byoc.credentials (credential_type, display_name, fields) FROM';
let a, fields, jwt, other;

// psql as the organization's owner; answers what it wrote. `more`: its arguments and environment.
function psql(input, { args = [], env = {} } = {}) {
  const { stdout, stderr } = spawnSync('psql', ['-X', ...args], { input, encoding: 'utf8', env: psqlEnvironment(env) });
  return { stdout, stderr };
}
const psqlEnvironment = (env) => ({ ...process.env, ...stack.cluster.environment('e2e'), DEMO_ORG_A: a.id, ...env });
const actAsOwner = () => `SELECT byoc.set_org('${a.id}', 'ada', 'owner', local => false);\n`;

// What another session of a superuser sees of a statement that waits; `run` starts it with a lock as its last act.
async function whileItWaits(connection, sql, params) {
  await other.query('SELECT pg_advisory_lock(7)');
  const running = connection.query(sql, params);
  const query = await until('the statement to wait', () =>
    other.value(`SELECT query FROM pg_stat_activity WHERE pid = ${connection.pid} AND wait_event = 'advisory'`));
  await other.query('SELECT pg_advisory_unlock(7)');
  await running;
  return query;
}

// The files of /proc that hold `secret`: command lines, which everybody may read, and environments.
const processesWith = (secret) => readdirSync('/proc').filter((name) => /^\d+$/.test(name))
  .flatMap((pid) => [`/proc/${pid}/cmdline`, `/proc/${pid}/environ`]).filter((file) => {
    try { return readFileSync(file).includes(secret); } catch { return false; } // gone, or another user's
  });

after(() => stack.end());
before(async () => {
  await stack.start();
  other = await stack.connect();
  await other.query('CREATE EXTENSION pg_stat_statements');
  await other.query(`SELECT pg_create_logical_replication_slot('listener', 'test_decoding')`);
  a = await stack.organization(1);
  await stack.simulator.addAccount({ ...a.account, authToken: TOKEN }, 'with the token to look for');
  fields = fieldsWith(TOKEN);
  jwt = ownerToken(clusterKey(stack.cluster), a.id, 'ada');
  await stack.db.query(`SELECT byoc.set_org($1, 'ada', 'owner', local => false)`, [a.id]);
});

test('bind parameters: every function and view, in use and misuse', async () => {
  const { db } = stack;
  await db.query('SELECT byoc.add_credential($1, $2)', ['twilio', fields]);
  const [added] = await db.rows('INSERT INTO byoc.credentials (credential_type, display_name, fields) VALUES ($1, $2, $3) RETURNING *', ['twilio', 'second', fields]);
  assert.equal(added.fields.auth_token, '••••cafe');
  await db.query('UPDATE byoc.credentials SET fields = $1 WHERE id = $2', [fields, a.credential]);
  await db.query('SELECT byoc.update_credential($1, $2)', [a.credential, { auth_token: TOKEN }]);
  await db.query('SELECT byoc.decrypt($1, byoc.encrypt($1, $2))', [a.id, TOKEN]);
  // Wrong in each way that makes PostgreSQL or us complain while holding the token.
  await assert.rejects(db.query('SELECT byoc.add_credential($1, $2)', ['twilio', { ...fields, account_sid: 'AC1' }]), /account_sid must be AC followed by 32/);
  await assert.rejects(db.query('SELECT byoc.add_credential($1, $2)', ['twilio', { ...fields, nick_name: 'x' }]), /has no field "nick_name"/);
  await assert.rejects(db.query('SELECT byoc.add_credential($1, $2)', ['twilio', `{"auth_token": "${TOKEN}`]), /^(?!.*feedface).*not valid JSON/);
  await assert.rejects(db.query('SELECT byoc.add_credential($1, $2::jsonb)', ['twilio', `{"auth_token": "${TOKEN}`]), { code: '22P02' });
  await assert.rejects(db.query('SELECT byoc.add_credential($1, $2, display_name => $3)', ['twilio', fields, 'x'.repeat(201)]), /display_name/);
  await assert.rejects(db.query('SELECT byoc.add_credential($1, $2, 1 / 0)', ['twilio', fields]));
  // While it runs and after it, in a transaction, others see its text.
  await db.query('BEGIN');
  assert.equal(await whileItWaits(db, 'SELECT byoc.add_credential($1, $2), pg_advisory_xact_lock(7)', ['twilio', fields]),
    'SELECT byoc.add_credential($1, $2), pg_advisory_xact_lock(7)');
  assert.equal(await other.value(`SELECT state FROM pg_stat_activity WHERE query LIKE '%($1, $2), pg_advisory%' AND pid = ${db.pid}`), 'idle in transaction');
  await db.query('COMMIT');
  // Used: byocd opens it and sends.
  const message = await stack.settled(await stack.send(a, '+15551000001', 'hello'));
  assert.equal(message.status, 'sent');
});

test('psql: \\copy into byoc.credentials, from a file and typed', async () => {
  const count = () => stack.db.value(`SELECT count(*)::int FROM byoc.credentials WHERE display_name = 'from psql' AND fields ->> 'auth_token' = '••••cafe'`);
  const file = `${stack.run.folder}/credential.txt`;
  for (const [content, from] of [[line(TOKEN).replaceAll('\t', '|'), `'${file}' (DELIMITER '|')`], [line(TOKEN), `PROGRAM 'cat ${file}'`]]) {
    const before = await count();
    writeFileSync(file, content, { mode: 0o600 });
    const { stdout, stderr } = psql(`${actAsOwner()}${COPY} ${from}\n`);
    assert.match(`${stdout}${stderr}`, /COPY 1\n$/);
    assert.equal(await count(), before + 1);
  }
  writeFileSync(file, line(TOKEN).replace('from psql', 'true'));
  psql(`${actAsOwner()}\\copy byoc.credentials (credential_type, is_default, fields) FROM '${file}'\n`);
  assert.equal(await stack.db.value('SELECT fields ->> $1 FROM byoc.credentials WHERE is_default', ['auth_token']), '••••cafe');
  // Typed: while psql reads, nothing of it is in a command line or in pg_stat_activity.
  const typing = spawn('psql', ['-X'], { env: psqlEnvironment(), stdio: ['pipe', 'ignore', 'inherit'] });
  typing.stdin.write(`SET application_name = 'typing';\n${actAsOwner()}${COPY} STDIN\n${line(TOKEN)}`);
  const query = await until('the COPY to run', () =>
    other.value(`SELECT query FROM pg_stat_activity WHERE application_name = 'typing' AND query LIKE 'COPY%' AND state = 'active'`));
  assert.match(query, /^COPY +byoc.credentials \(.*\) FROM STDIN *$/);
  assert.deepEqual(processesWith(TOKEN), []);
  typing.stdin.end('\\.\n');
  assert.deepEqual(await once(typing, 'exit'), [0, null]);
  assert.equal(await count(), 3);
});

test('psql: an error while copying says where, and none of the data', () => {
  const twilio = (json) => `twilio\tx\t${json}\n`;
  for (const [data, expected] of [
    [twilio(`{"auth_token": "${TOKEN}`), /invalid input syntax for type json\nCONTEXT: +COPY credentials, line 1, column fields\n/],
    [twilio(`{"auth_token": ${TOKEN}}`), /invalid input syntax for type json\nCONTEXT: +COPY credentials, line 1, column fields\n/],
    [line(TOKEN) + twilio(JSON.stringify({ ...fields, account_sid: 'AC1' })), /account_sid must be AC followed by 32 hexadecimal digits\nCONTEXT: +COPY credentials, line 2\n/],
    [`twilio\t${TOKEN}\n`, /missing data for column "fields"\nCONTEXT: +COPY credentials, line 1\n/],
    [`${TOKEN}\tx\t{}\n`, /unknown credential type\n/],
    [line(TOKEN).trimEnd() + '\tmore\n', /extra data after last expected column\nCONTEXT: +COPY credentials, line 1\n/],
    [twilio(`{"auth_token": "${TOKEN}\xff"}`), /invalid byte sequence for encoding "UTF8"\nCONTEXT: +COPY credentials, line 1\n/],
  ]) {
    const { stdout, stderr } = psql(Buffer.from(`${actAsOwner()}${COPY} STDIN\n${data}\\.\n`, 'latin1'));
    assert.match(stderr, expected);
    assert.equal(`${stdout}${stderr}`.includes('feedface'), false, stderr);
  }
  const { stderr } = psql(`${actAsOwner()}\\copy byoc.credentials (credential_type, is_default) FROM STDIN\ntwilio\t${JSON.stringify(fields)}\n\\.\n`);
  assert.match(stderr, /invalid input syntax for type boolean\nCONTEXT: +COPY credentials, line 1, column is_default\n/);
});

test('psql: a row that COPY passes over is told without its data', async (t) => {
  if (await stack.db.value(`SELECT current_setting('server_version_num')::int`) < 170000) return t.skip('since PostgreSQL 17');
  const { stdout, stderr } = psql(`${actAsOwner()}${COPY} STDIN (ON_ERROR ignore, LOG_VERBOSITY verbose)\ntwilio\tx\t{"auth_token": "${TOKEN}\n\\.\n`);
  assert.match(stderr, /skipping row due to data type incompatibility at line 1 for column "fields"\n/);
  assert.equal(`${stdout}${stderr}`.includes(TOKEN), false, stderr);
  assert.equal(readFileSync(stack.cluster.log, 'utf8').includes(TOKEN), false);
});

test('a tenant\'s token: as a parameter, as a connection option, in psql\'s environment', async () => {
  const { db } = stack;
  const tenant = await stack.cluster.connect('e2e', 'postgres', { options: `-c byoc.token=${jwt}` });
  assert.equal(await tenant.value('SELECT byoc.current_user_id()'), 'ada');
  await tenant.end();
  await db.query('BEGIN');
  await db.query('SELECT byoc.authenticate($1)', [jwt]);
  await db.query(`SELECT set_config('byoc.token', $1, true)`, [jwt]);
  await db.query('COMMIT');
  const { stdout } = psql('SELECT byoc.current_user_id();', { env: { PGOPTIONS: `-c byoc.token=${jwt}` } });
  assert.match(stdout, /ada/);
});

test('literals are kept out of the log and of pg_stat_statements', async () => {
  const { db } = stack;
  const literal = JSON.stringify(fields);
  await db.query(`SELECT byoc . "add_credential" ('twilio', '${literal}')`);
  await db.query(`INSERT INTO byoc.credentials (credential_type, fields) VALUES ('twilio', '${literal}')`);
  await db.query(`PREPARE add (text) AS SELECT byoc.add_credential('twilio', $1)`);
  await db.query(`EXECUTE add ('${literal}')`);
  await db.query(`PREPARE "Add json" (jsonb) AS SELECT byoc.add_credential('twilio', $1)`);
  await assert.rejects(db.query(`EXECUTE "Add json" ('{"auth_token": "${TOKEN}" oops}')`), { code: '22P02' });
  await assert.rejects(db.query(`SELECT byoc.encrypt('${TOKEN} execute x', 'y')`), { code: '22P02' });
  await assert.rejects(db.query(`SELECT byoc.add_credential('${literal}', '{}')`), /unknown credential type/);
  await assert.rejects(db.query(`SET byoc . "token" = '${TOKEN}'`), { code: '28000' });
  await db.query(`SET byoc.token = '${jwt}'`);
  await db.query(`DO $$ BEGIN PERFORM byoc.add_credential('twilio', '${literal}'); END $$`);
});

test('literals show to superusers and to the same role while they run, to nobody else', async () => {
  await stack.db.query('CREATE ROLE owner_a LOGIN; CREATE ROLE stranger LOGIN');
  await stack.db.query(`SELECT byoc.grant_tenant('owner_a')`);
  const [running, same, stranger] = await Promise.all(['owner_a', 'owner_a', 'stranger'].map((user) => stack.connect(user)));
  await running.query('SELECT set_config($1, $2, false)', ['byoc.token', jwt]);
  const statement = `SELECT byoc.add_credential('twilio', '${JSON.stringify(fieldsWith(SHOWN))}'), pg_advisory_xact_lock(7)`;
  assert.equal(await whileItWaits(running, statement), statement);
  const seen = (connection) => connection.value('SELECT query FROM pg_stat_activity WHERE pid = $1', [running.pid]);
  assert.equal(await seen(same), statement, 'and after it, until the next one');
  assert.equal(await seen(stranger), '<insufficient privilege>');
  await running.query('SELECT 1');
  assert.equal(await seen(other), 'SELECT 1');
});

test('psql -c shows a literal to everybody on the machine, interactive psql keeps it in its history', async () => {
  const literal = `SELECT byoc.add_credential('twilio', '${JSON.stringify(fieldsWith(SHOWN))}')`;
  await other.query('SELECT pg_advisory_lock(7)');
  const running = spawn('psql', ['-X', '-c', `${literal}, pg_advisory_xact_lock(7)`],
    { env: psqlEnvironment({ PGOPTIONS: `-c byoc.token=${jwt}` }), stdio: 'ignore' });
  await until('psql to wait', () => other.value(`SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event = 'advisory'`));
  assert.ok(processesWith(SHOWN).includes(`/proc/${running.pid}/cmdline`));
  assert.deepEqual(processesWith(jwt), [`/proc/${running.pid}/environ`], 'PGOPTIONS is in no command line');
  await other.query('SELECT pg_advisory_unlock(7)');
  assert.deepEqual(await once(running, 'exit'), [0, null]);

  const history = `${stack.run.folder}/history`;
  const terminal = spawn('script', ['-qec', 'psql -X', '/dev/null'], { env: psqlEnvironment({ PSQL_HISTORY: history, PAGER: 'cat', TERM: 'dumb' }) });
  const ended = once(terminal, 'exit');
  let shown = '';
  terminal.stdout.on('data', (data) => { shown += data; });
  // What is typed before psql asks may be lost.
  for (const typed of `${actAsOwner()}${literal};\n${COPY} STDIN\n${line(TOKEN)}\\.\n\\q\n`.match(/.*\n/g)) {
    await until('psql to ask', () => /(=[#>]|>>) $/.test(shown));
    shown = '';
    terminal.stdin.write(typed);
  }
  await ended;
  const kept = readFileSync(history, 'utf8');
  assert.ok(kept.includes(SHOWN) && kept.includes('FROM STDIN'));
  assert.equal(kept.includes(TOKEN), false);
});

test('a sort of decrypted values spills them into a temporary file', async () => {
  const { db } = stack;
  assert.equal(await other.value('SELECT temp_files::int FROM pg_stat_database WHERE datname = current_database()'), 0, 'nothing else did');
  const sealed = await db.value('SELECT byoc.encrypt($1, $2)', [a.id, SHOWN]);
  await db.query(`SET work_mem = '64kB'; BEGIN`);
  await db.query('CREATE TEMP TABLE notes ON COMMIT DROP AS SELECT n, $1::bytea AS sealed FROM generate_series(1, 20000) AS n', [sealed]);
  await db.query(`DECLARE sorted CURSOR FOR SELECT byoc.decrypt('${a.id}', sealed) || n FROM notes ORDER BY 1; FETCH 1 FROM sorted`);
  assert.equal(existsSync(`${stack.cluster.env.PGDATA}/base/pgsql_tmp`), true);
  assert.notDeepEqual(filesWith(`${stack.cluster.env.PGDATA}/base/pgsql_tmp`, SHOWN), []);
  await db.query('ROLLBACK');
});

test('neither token nor JWT is in pg_stat_statements, pg_stat_activity or what logical decoding reads', async () => {
  const texts = await other.rows('SELECT query FROM pg_stat_statements');
  const changes = await other.rows(`SELECT data AS query FROM pg_logical_slot_peek_changes('listener', NULL, NULL)`);
  const running = await other.rows('SELECT query FROM pg_stat_activity');
  for (const rows of [texts, changes, running]) {
    assert.ok(rows.length > 5);
    assert.deepEqual(rows.filter(({ query }) => [TOKEN, SHOWN, jwt].some((secret) => query?.includes(secret))), []);
  }
  assert.ok(changes.some(({ query }) => query.includes('byoc.organization_api_credentials: INSERT')), 'it decodes credentials');
});

test('neither is in a command line or an environment', () => {
  assert.deepEqual([TOKEN, jwt].flatMap(processesWith), []);
});

test('byocd leaves no core dump', () => {
  const limits = readFileSync(`/proc/${stack.byocd.program.pid}/limits`, 'utf8');
  assert.match(limits, /^Max core file size\s+0\s+0\s/m);
});

test('neither is in the data directory or in a log', async () => {
  const { cluster } = stack;
  const inFiles = () => [TOKEN, SHOWN, jwt].flatMap((secret) => filesWith(cluster.env.PGDATA, secret));
  await stack.db.query('CHECKPOINT');
  assert.deepEqual(inFiles(), []);
  const log = readFileSync(cluster.log, 'latin1');
  assert.ok(log.includes('withheld by pg_byoc'), 'the statements were logged, without their text');
  assert.match(log, /ERROR: +22023: account_sid must be AC followed by/, 'an error of ours keeps its severity and message');
  assert.match(log, /plan:\(withheld/, 'auto_explain was at work');
  assert.ok(readFileSync(stack.byocdLog, 'utf8').includes('debug'), 'byocd logs at debug level');
  for (const secret of [TOKEN, SHOWN, jwt, bytes(TOKEN), bytes(SHOWN)]) {
    for (const file of [cluster.log, stack.byocdLog]) assert.equal(readFileSync(file).includes(secret), false, file);
  }
  // What is written at shutdown: pg_stat_statements keeps its texts in a file.
  await stack.byocd.program.stop();
  await cluster.disconnect();
  cluster.stop();
  assert.deepEqual(inFiles(), []);
});
