// The audit trail between processes: byocd seals it, and it outlives rollbacks, shredding, master keys and a restore. What
// is recorded, and tampering: tests/pgtap/19_audit.sql.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, chownSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { BYOCD, Cluster, PG_BIN, Stack, until } from './stack.mjs';

const NIL = '00000000-0000-0000-0000-000000000000';
const stack = new Stack('audit');
let db;

after(() => stack.end());
before(async () => {
  await stack.start();
  db = stack.db;
});

const unsealed = (session = db) => session.value('SELECT count(*)::int FROM byoc.audit_unsealed');
const sealed = () => until('byocd to seal everything', async () => await unsealed() === 0);
const broken = (session = db) => session.rows('SELECT org_id, first_broken FROM byoc.verify_audit_log() WHERE first_broken IS NOT NULL');
const count = (action, session = db) => session.value('SELECT count(*)::int FROM byoc.audit_log WHERE action = $1', [action]);
const logSince = (size) => readFileSync(stack.cluster.log, 'utf8').slice(size);
const logSize = () => statSync(stack.cluster.log).size;

test('byocd seals what commits, within about a second', async () => {
  const org = await db.value(`SELECT byoc.create_organization('Sealed')`);
  await sealed();
  const [head] = await db.rows('SELECT n, last_entry, now() - sealed_at < interval \'1 hour\' AS recent FROM byoc.audit_heads WHERE org_id = $1', [org]);
  const [entry] = await db.rows('SELECT id, action FROM byoc.audit_log WHERE org_id = $1', [org]);
  assert.deepEqual([Number(head.n), head.last_entry, head.recent, entry.action], [1, entry.id, true, 'organization.created']);
  assert.deepEqual(await broken(), []);
});

test('entries that commit late go into a later seal', async () => {
  const org = await db.value(`SELECT byoc.create_organization('Late')`);
  const slow = await stack.connect();
  await slow.query('BEGIN');
  await slow.query('SELECT byoc.rotate_organization_key($1)', [org]);
  await sealed();
  const seals = () => db.value('SELECT n::int FROM byoc.audit_heads WHERE org_id = $1', [org]);
  assert.equal(await seals(), 1);
  await slow.query('COMMIT');
  await slow.end();
  await until('the second seal', async () => await seals() === 2);
  assert.deepEqual(await broken(), []);
});

test('a refused token is logged at once, and in the audit log although its transaction is rolled back', async () => {
  const app = await stack.connect();
  await db.query(`CREATE ROLE app LOGIN; SELECT byoc.grant_tenant('app')`);
  await app.query('SET ROLE app');
  const before = await count('authentication.failed');
  const size = logSize();
  await app.query('BEGIN');
  await assert.rejects(app.query('SELECT byoc.authenticate($1)', ['made.up.token']), { code: '28000' });
  await app.query('ROLLBACK');
  const lines = logSince(size).split('\n').filter((line) => line.includes('pg_byoc audit'));
  assert.equal(lines.length, 1, 'exactly one line');
  assert.match(lines[0], /LOG: +pg_byoc audit: authentication failed: .*; role "app", session of "postgres", client \[local\], application/);
  assert.ok(!logSince(size).includes('made.up'));
  await until('the entry', async () => await count('authentication.failed') === before + 1);
  const [entry] = await db.rows(`SELECT org_id, role, session_role, details ->> 'reason' AS reason, pid FROM byoc.audit_log WHERE action = 'authentication.failed' ORDER BY at DESC LIMIT 1`);
  assert.deepEqual([entry.org_id, entry.role, entry.session_role, entry.pid], [NIL, 'app', 'postgres', await app.value('SELECT pg_backend_pid()')]);
  assert.match(entry.reason, /^it is /);
  await app.end();
});

test('a flood of refused tokens is counted in few entries', async () => {
  const app = await stack.connect();
  const already = await count('authentication.failed');
  const blocker = await stack.connect(); // no seal while the flood comes
  await blocker.query('BEGIN; LOCK TABLE byoc.audit_chain_heads IN SHARE UPDATE EXCLUSIVE MODE');
  await app.query(`DO $$ BEGIN FOR i IN 1 .. 300 LOOP
    BEGIN PERFORM byoc.authenticate('made.up.' || i); EXCEPTION WHEN invalid_authorization_specification THEN NULL; END;
  END LOOP; END $$`);
  await blocker.query('COMMIT');
  await blocker.end();
  await until('the entries', async () => await count('authentication.failed') > already);
  const [sum] = await db.rows(`SELECT count(*)::int AS entries, sum(1 + coalesce((details ->> 'more')::int, 0))::int AS failures
    FROM (SELECT details FROM byoc.audit_log WHERE action = 'authentication.failed' ORDER BY at OFFSET $1) AS new`, [already]);
  assert.deepEqual(sum, { entries: 64, failures: 300 });
  await app.end();
});

test('reading plaintext: logged although rolled back, refused where it cannot be recorded', async () => {
  const { id, account, credential } = await stack.organization(1);
  const reader = await stack.connect();
  const act = async (begin) => {
    await reader.query(begin);
    await reader.query(`SELECT byoc.set_org($1, 'billing')`, [id]);
    await reader.query('SET LOCAL ROLE "credentials reader"');
  };
  await db.query(`CREATE ROLE "credentials reader"; SELECT byoc.grant_tenant('"credentials reader"'); GRANT SELECT ON byoc.decrypted_credentials TO "credentials reader"`);
  const size = logSize();
  await act('BEGIN');
  assert.equal(await reader.value(`SELECT fields ->> 'auth_token' FROM byoc.decrypted_credentials`), account.authToken);
  await reader.query('ROLLBACK');
  assert.equal(await count('credential.decrypted'), 0, 'the entry went with the transaction');
  assert.match(logSince(size), new RegExp(`LOG: +pg_byoc audit: credential ${credential} of organization ${id} was decrypted; role "credentials reader", session of "postgres"`));
  assert.ok(!logSince(size).includes(account.authToken));
  await act('BEGIN READ ONLY');
  await assert.rejects(reader.query('SELECT * FROM byoc.decrypted_credentials'), { code: '25006' });
  await reader.query('ROLLBACK');
  await act('BEGIN');
  await reader.query('SELECT * FROM byoc.decrypted_credentials');
  await reader.query('COMMIT');
  assert.equal(await count('credential.decrypted'), 1);
  await reader.end();
});

test('2,000 messages: a lease for each credential, not an entry for each use', async () => {
  const organizations = [await stack.organization(2), await stack.organization(3)];
  await sealed();
  await db.query('SELECT byoc.send_sms(\'+1555\' || lpad(n::text, 7, \'0\'), \'hello\', org_id => o) FROM generate_series(1, 1000) AS n, unnest($1::uuid[]) AS o',
    [`{${organizations.map(({ id }) => id)}}`]);
  await until('all to be sent', async () => await stack.count(`status = 'sent' AND body = 'hello'`) === 2000, { timeout: 300_000 });
  for (const { id, credential } of organizations) {
    const leases = await db.value(`SELECT count(*)::int FROM byoc.audit_log WHERE org_id = $1 AND object_id = $2 AND action = 'credential.leased'`, [id, credential]);
    assert.ok(leases >= 1 && leases <= 2, `${leases} leases`); // one more when the check with the provider came first
  }
  await sealed();
  assert.deepEqual(await broken(), []);
});

test('verification beside writers and sealers sees one moment: no false alarm', async () => {
  const org = await db.value(`SELECT byoc.create_organization('Busy')`);
  // Again and again until it was verified twice meanwhile; answers how often.
  const work = async (statement, times) => {
    const session = await stack.connect();
    let i = 0;
    for (; i < times || verified < 2; ++i) await session.query(statement, [org]);
    await session.end();
    return i;
  };
  let writing = true;
  let verified = 0;
  const writers = Promise.all([1, 2].map(() => work(`SELECT byoc.audit($1, 'test')`, 300))).finally(() => { writing = false; });
  const sealers = Promise.all([1, 2].map(() => work('SELECT byoc.seal_audit_log() WHERE $1::uuid IS NOT NULL', 150)));
  while (writing) {
    assert.equal(await db.value('SELECT first_broken FROM byoc.verify_audit_log($1)', [org]), null);
    ++verified;
  }
  const entries = 1 + (await writers).reduce((sum, times) => sum + times);
  await sealers;
  await sealed();
  assert.deepEqual(await db.rows('SELECT entries::int, first_broken FROM byoc.verify_audit_log($1)', [org]), [{ entries, first_broken: null }]);
  assert.equal(await db.value('SELECT sum(cardinality(entries))::int FROM byoc.audit_seals WHERE org_id = $1', [org]), entries);
});

test('a tenant cannot hold up sealing', async () => {
  const tenant = await stack.cluster.connect('e2e', 'app');
  for (const table of ['audit_chain_heads', 'audit_unsealed', 'audit_entries', 'audit_seals']) {
    await assert.rejects(tenant.query(`DO 'BEGIN LOCK TABLE byoc.${table} IN ACCESS SHARE MODE; END'`), { code: '42501' });
  }
  await tenant.end();
});

test('sessions that make the audit key at the same time make one', async () => {
  await db.query('CREATE DATABASE fresh');
  const sessions = await Promise.all([1, 2, 3, 4].map(() => stack.cluster.connect('fresh')));
  await sessions[0].query('CREATE EXTENSION pg_byoc');
  await sessions[0].query('BEGIN');
  await sessions[0].query(`SELECT byoc.create_organization('First')`);
  const others = sessions.slice(1).map((session) => session.query(`SELECT byoc.create_organization('Other')`));
  await until('the others to wait', () => db.value(`SELECT count(*) = 3 FROM pg_stat_activity WHERE datname = 'fresh' AND wait_event_type = 'Lock'`));
  await sessions[0].query('ROLLBACK'); // one of the others makes it then
  await Promise.all(others);
  assert.equal(await sessions[0].value('SELECT count(*)::int FROM byoc.organization_keys WHERE org_id = $1', [NIL]), 1);
  assert.equal(await count('audit.started', sessions[0]), 1);
  assert.equal(await sessions[0].value('SELECT byoc.seal_audit_log()'), 4);
  assert.deepEqual(await broken(sessions[0]), []);
  await Promise.all(sessions.map((session) => session.end()));
  await db.query('DROP DATABASE fresh');
});

test('shredding, a new master key without the old one, a dump and a restore: the audit log verifies', async () => {
  const { id } = await stack.organization(4);
  await db.query('SELECT byoc.shred_organization($1)', [id]);
  const ring = stack.cluster.env.BYOC_KEYRING;
  execFileSync(BYOCD, ['keyring', 'add', '--file', ring]);
  await db.query('SELECT byoc.reload_keyring()');
  await until('all keys to be wrapped anew', async () => await db.value('SELECT byoc.rewrap_keys()::int') === 0);
  const lines = readFileSync(ring, 'utf8').split('\n').filter((line) => line && !line.startsWith('#'));
  writeFileSync(ring, `${lines.at(-1)}\n`);
  await db.query('SELECT byoc.reload_keyring()');
  const other = await stack.connect();
  assert.deepEqual(await broken(other), []);
  await other.end();
  assert.ok(await count('keys.rewrapped') >= 1);
  assert.equal(await count('keyring.reloaded'), 2);
  await sealed();
  const heads = await db.rows('SELECT * FROM byoc.audit_heads ORDER BY org_id');

  const dump = `${stack.run.folder}/dump`;
  execFileSync(`${PG_BIN}/pg_dump`, ['-Fc', '-f', dump], { env: { ...process.env, ...stack.cluster.environment('e2e') } });
  const copy = new Cluster(stack.run, { name: 'restored' });
  const { uid, gid } = statSync(copy.env.BYOC_KEYRING);
  writeFileSync(copy.env.BYOC_KEYRING, readFileSync(ring));
  chmodSync(copy.env.BYOC_KEYRING, 0o600);
  chownSync(copy.env.BYOC_KEYRING, uid, gid);
  const admin = await copy.connect();
  await admin.query('SELECT 1');
  await stack.copyRoles(admin);
  await admin.query('CREATE DATABASE e2e');
  await copy.disconnect();
  copy.restart();
  execFileSync(`${PG_BIN}/pg_restore`, ['-e', '-d', 'e2e', dump], { env: { ...process.env, ...copy.environment('e2e') } });
  const session = await copy.connect('e2e');
  assert.deepEqual(await session.rows('SELECT * FROM byoc.audit_heads ORDER BY org_id'), heads);
  assert.deepEqual(await broken(session), []);
  assert.ok(heads.length >= 5);
  for (const { org_id: org, n, digest } of heads) {
    assert.equal(await session.value('SELECT first_broken FROM byoc.verify_audit_log($1, $2, $3)', [org, n, digest]), null);
  }
  await session.query('SELECT byoc.adopt_installation()');
  await session.query('SELECT byoc.seal_audit_log()');
  assert.equal(await count('installation.adopted', session), 1);
  assert.deepEqual(await broken(session), []);
  await copy.disconnect();
  copy.stop('immediate');
});
