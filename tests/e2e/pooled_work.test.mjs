// byocd with its work through PgBouncer in transaction mode, whose few sessions it shares with others.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { clusterKey, ownerToken } from '../../scripts/jwt.mjs';
import { Byocd, Stack, until } from './stack.mjs';
import { PGBOUNCER, PgBouncer } from './support/pgbouncer.mjs';

const stack = new Stack('pooled_work');
const skip = !PGBOUNCER && 'no pgbouncer';
let organization, bouncer, stranger;

after(async () => {
  await stranger?.end();
  await stack.end();
  await bouncer?.stop();
});

const environment = () => ({
  BYOC_POOLED_DATABASE_URL: `host=${bouncer.env.PGHOST} port=${bouncer.env.PGPORT} dbname=e2e user=byocd`, BYOC_TENANT_ROLE: 'tenant', BYOC_LOG_LEVEL: 'debug',
});

before(async () => {
  if (skip) return;
  await stack.start();
  organization = await stack.organization(1);
  await startBouncer();
  stranger = await bouncer.connect();
  await stack.byocd.program.stop();
  await stack.startByocd(environment());
});

// Fewer sessions than byocd has connections: they change hands all the time.
async function startBouncer(port) {
  bouncer = await PgBouncer.start(stack.run, stack.cluster, { database: 'e2e', user: 'byocd', mode: 'transaction', size: 2, port });
}

const metrics = async () => (await fetch(`${stack.byocd.url}/metrics`)).text();
const backends = (where) => stack.db.rows(`
  SELECT pid, application_name, query FROM pg_stat_activity WHERE backend_type = 'client backend' AND usename = 'byocd' AND (${where})`);

test('only the connection that listens is not the pooler\'s', { skip }, async () => {
  // Those of the byocd that went before may take a moment to end.
  await until('one session that listens, and two of the pooler at most', async () => (await backends(
    `query LIKE '%dispatcher_sleep%' OR query LIKE '%claim_jobs%'`)).length === 1 && (await backends('true')).length <= 3);
});

test('messages are sent, recorded and woken for by NOTIFY', { skip }, async () => {
  const ids = [];
  for (let i = 0; i < 200; ++i) ids.push(await stack.send(organization, `+1555014${String(i).padStart(4, '0')}`, `message ${i}`));
  for (const id of ids) assert.equal((await stack.settled(id)).status, 'sent');
  const text = await metrics();
  assert.ok(Number(/^byocd_notifications_total (\d+)$/m.exec(text)[1]) > 0, 'NOTIFY arrived');
  assert.match(text, /^byoc_up 1$/m);
});

test('what a transaction set does not stay in the pooler\'s sessions', { skip }, async () => {
  const settings = ['jit', 'statement_timeout', 'lock_timeout', 'role', 'search_path', 'TimeZone', 'byoc.fallback', 'byoc.token', 'default_transaction_isolation'];
  const fresh = await stack.connect('byocd');
  for (const name of settings) {
    const expected = await fresh.value('SELECT current_setting($1, true)', [name]);
    for (let i = 0; i < 5; ++i) assert.equal(await stranger.value('SELECT current_setting($1, true)', [name]), expected, name);
  }
  assert.equal(await stranger.value('SELECT count(*)::int FROM pg_prepared_statements'), 0, 'no named statement is left there');
  await fresh.end();
});

test('what others leave in them does not reach byocd', { skip }, async () => {
  // A probe in the place of one of its calls: what /readyz says of the database is whether the settings are byocd's own.
  await stack.db.query(`
    CREATE OR REPLACE FUNCTION byoc.readiness() RETURNS TABLE (adopted boolean, keyring boolean) LANGUAGE sql VOLATILE AS $$
      SELECT current_setting('transaction_isolation') = 'read committed', bool_and(current_setting(name) = setting)
      FROM (VALUES ('jit', 'off'), ('statement_timeout', '30s'), ('lock_timeout', '10s'), ('byoc.fallback', '0'), ('search_path', 'pg_catalog, pg_temp')) AS own (name, setting) $$`);
  // In both sessions: the second is had while the first is in a transaction.
  const inBoth = async (statement) => {
    const other = await bouncer.connect();
    for (const each of [stranger, other]) await each.query('BEGIN').then(() => each.query(statement));
    await Promise.all([stranger.query('COMMIT'), other.query('COMMIT')]);
    await other.end();
  };
  const asked = async () => Number(/^byocd_database_call_duration_seconds_count\{call="readiness"\} (\d+)$/m.exec(await metrics())?.[1] ?? 0);
  for (const [name, value] of [['statement_timeout', '7min'], ['lock_timeout', '7min'], ['default_transaction_isolation', 'serializable'], ['byoc.fallback', '7'], ['jit', 'on'], ['search_path', 'nowhere']]) {
    await inBoth(`SET ${name} = '${value}'`);
    const before = await asked();
    await until('byocd to ask anew', async () => {
      const { adopted, keyring } = await (await fetch(`${stack.byocd.url}/readyz`)).json();
      assert.deepEqual([adopted, keyring], [true, true], name);
      return await asked() > before + 1;
    });
    await inBoth(`RESET ${name}`);
  }
});

test('the REST API acts as the tenants\' role, within each transaction', { skip }, async () => {
  const token = ownerToken(clusterKey(stack.cluster), organization.id);
  const ask = (path) => fetch(`${stack.byocd.url}/api/${path}`, { headers: { authorization: `Bearer ${token}` } });
  const answers = await Promise.all(Array.from({ length: 20 }, () => ask('organization/messages?limit=3')));
  for (const answer of answers) {
    assert.equal(answer.status, 200, await answer.clone().text());
    assert.equal((await answer.json()).items.length, 3);
  }
  assert.equal((await ask('organization/messages?limit=0')).status, 422);
  assert.equal((await fetch(`${stack.byocd.url}/api/organization/messages`, { headers: { authorization: 'Bearer x.y.z' } })).status, 401);
});

test('a restart of the pooler costs nothing', { skip }, async () => {
  await bouncer.stop();
  const id = await stack.send(organization, '+15550140600', 'meanwhile');
  await stranger.end();
  await startBouncer(bouncer.env.PGPORT);
  stranger = await bouncer.connect();
  assert.equal((await stack.settled(id)).status, 'sent');
});

test('a session of the pooler that dies in the middle of a call is made anew', { skip }, async () => {
  const blocker = await stack.connect();
  await blocker.query('BEGIN; LOCK TABLE byoc.organization_keys IN ACCESS EXCLUSIVE MODE');
  const killed = await until('a call that waits', async () => {
    await metrics();
    return stack.db.value(`
      SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'byocd' AND query LIKE '%queue_totals%' AND wait_event_type = 'Lock'`);
  });
  assert.equal(killed, true);
  await blocker.query('ROLLBACK');
  await blocker.end();
  await until('figures again', async () => /^byoc_up 1$/m.test(await metrics()));
  assert.match(await metrics(), /^byocd_database_reconnects_total\{connection="monitor"\} [1-9]/m);
});

test('the environment\'s account is announced by the session that listens only', { skip }, async () => {
  const account = { sid: `AC${'0'.repeat(31)}f`, authToken: '000000000000000000000000000000ff', number: '+15550000077' };
  await stack.simulator.addAccount(account, 'Environment');
  await stack.byocd.program.stop();
  await stack.startByocd({ ...environment(), BYOC_ALLOW_ENV_FALLBACK: 'yes', TWILIO_ACCOUNT_SID: account.sid, TWILIO_AUTH_TOKEN: account.authToken, TWILIO_PHONE_NUMBER: account.number });
  const bare = await stack.db.value(`SELECT byoc.create_organization('Bare')`);
  const id = await stack.db.value('SELECT byoc.send_sms($1, $2, org_id => $3)', ['+15550140700', 'by the environment', bare]);
  const message = await stack.settled(id);
  assert.equal(message.status, 'sent');
  assert.equal(message.from_number, account.number);
  for (let i = 0; i < 5; ++i) assert.equal(await stranger.value(`SELECT current_setting('byoc.fallback')`), '0');
});

test('nothing went wrong meanwhile', { skip }, () => {
  const log = readFileSync(stack.byocdLog, 'utf8');
  assert.doesNotMatch(log, / error /);
  assert.doesNotMatch(readFileSync(stack.cluster.log, 'utf8'), /prepared statement .* (does not|already) exist|WARNING/);
});

test('a pooler in transaction mode in the place of the server is told', { skip }, async () => {
  await stack.byocd.program.stop();
  const wrong = await Byocd.launch(stack.run, stack.cluster, { database: 'e2e', simulator: stack.simulator, env: bouncer.env, log: `${stack.run.folder}/wrong.log` });
  await until('the advice', () => /prepared statement .*; a pooler in transaction mode belongs into pooled-database-url, the server itself into database-url; trying again/
    .test(readFileSync(wrong.program.log, 'utf8')));
  await wrong.program.stop('SIGKILL');
});
