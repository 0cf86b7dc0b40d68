// Keys in their lives, between sessions, processes and servers. One session's view: tests/pgtap/21_keys.sql.

import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import { chmodSync, chownSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { BYOCD, Cluster, PG_BIN, Stack, until } from './stack.mjs';

const stack = new Stack('keys', { settings: { max_prepared_transactions: 2 } });
let db, ring;

after(() => stack.end());
before(async () => {
  await stack.start();
  db = stack.db;
  ring = stack.cluster.env.BYOC_KEYRING;
});

const lines = (file = ring) => readFileSync(file, 'utf8').split('\n').filter((line) => line && !line.startsWith('#'));
const idOf = (line) => line.split(' ')[0];
const decrypt = (session, org, sealed) => session.value('SELECT byoc.decrypt($1, $2)', [org, sealed]);
const reload = (session = db) => session.value('SELECT byoc.reload_keyring()');

// Runs byocd; answers { code, out, err }.
function byocd(...args) {
  return new Promise((resolve) => {
    execFile(BYOCD, args, { env: { ...process.env, ...stack.cluster.environment('e2e') } }, (error, out, err) => {
      resolve({ code: error?.code ?? 0, out, err });
    });
  });
}

// Changes settings of the server and waits until `session` sees them.
async function setSettings(session, settings) {
  for (const [name, value] of Object.entries(settings)) await session.query(`ALTER SYSTEM SET ${name} = '${value.replaceAll("'", "''")}'`);
  await session.query('SELECT pg_reload_conf()');
  await until('the settings to be in force', async () => {
    for (const [name, value] of Object.entries(settings)) {
      if (await session.value('SELECT current_setting($1)', [name]) !== value) return false;
    }
    return true;
  });
}

test('shredding reaches every open session: cached key, REPEATABLE READ, prepared plan', async () => {
  const org = await db.value(`SELECT byoc.create_organization('To shred')`);
  const sealed = await db.value('SELECT byoc.encrypt($1, $2)', [org, 'secret']);
  const sessions = await Promise.all(['plain', 'repeatable read', 'prepared', 'cursor'].map(() => stack.connect()));
  const [plain, frozen, prepared, cursor] = sessions;
  assert.equal(await decrypt(plain, org, sealed), 'secret');
  await frozen.query('BEGIN ISOLATION LEVEL REPEATABLE READ');
  assert.equal(await decrypt(frozen, org, sealed), 'secret');
  await prepared.query('SET plan_cache_mode = force_generic_plan');
  await prepared.query('PREPARE q (uuid, bytea) AS SELECT byoc.decrypt($1, $2)');
  assert.equal(await prepared.value(`EXECUTE q ('${org}', '${sealed}')`), 'secret');
  await cursor.query('BEGIN');
  await cursor.query(`DECLARE c CURSOR FOR SELECT byoc.decrypt('${org}', '${sealed}') FROM generate_series(1, 3)`);
  assert.equal(await cursor.value('FETCH c'), 'secret');

  // Not before it commits, and not when it rolls back.
  await db.query('BEGIN');
  await db.query('SELECT byoc.shred_organization($1)', [org]);
  assert.equal(await decrypt(plain, org, sealed), 'secret');
  await db.query('ROLLBACK');
  assert.equal(await decrypt(plain, org, sealed), 'secret');
  assert.equal(await decrypt(db, org, sealed), 'secret');

  await db.query('SELECT byoc.shred_organization($1)', [org]);
  const gone = { code: '22000', message: `key 1 of organization ${org} was destroyed` };
  await assert.rejects(decrypt(plain, org, sealed), gone);
  await assert.rejects(decrypt(frozen, org, sealed), gone);
  await assert.rejects(prepared.query(`EXECUTE q ('${org}', '${sealed}')`), gone);
  await assert.rejects(cursor.query('FETCH c'), gone);
  await assert.rejects(decrypt(db, org, sealed), gone);
  await Promise.all(sessions.map((session) => session.end()));
});

test('what a shredded organization had queued is cancelled, and byocd sends on for the others', async () => {
  const [a, b] = [await stack.organization(11), await stack.organization(12)];
  const later = await db.value(`SELECT byoc.send_sms('+15551100001', 'later', now() + interval '1 hour', org_id => $1)`, [a.id]);
  await db.query('SELECT byoc.shred_organization($1)', [a.id]);
  const message = await stack.message(later);
  assert.deepEqual([message.status, message.error_code, message.error_message], ['cancelled', 'shredded', 'the organization was shredded']);
  await assert.rejects(stack.send(a, '+15551100002', 'x'), { code: '55000', message: `organization ${a.id} was shredded` });
  assert.equal((await stack.settled(await stack.send(b, '+15551200001', 'hello'))).status, 'sent');
});

test('a rotation that rolls back leaves no trace in any session', async () => {
  const org = await db.value(`SELECT byoc.create_organization('To rotate')`);
  const other = await stack.connect();
  await db.query('BEGIN');
  assert.equal(await db.value('SELECT byoc.rotate_organization_key($1)', [org]), 2);
  const lost = await db.value('SELECT byoc.encrypt($1, $2)', [org, 'x']);
  assert.equal(await db.value('SELECT byoc.envelope_key_id($1)', [lost]), 2);
  assert.equal(await other.value('SELECT byoc.envelope_key_id(byoc.encrypt($1, $2))', [org, 'x']), 1);
  await db.query('ROLLBACK');
  for (const session of [db, other]) assert.equal(await session.value('SELECT byoc.envelope_key_id(byoc.encrypt($1, $2))', [org, 'x']), 1);
  await assert.rejects(decrypt(db, org, lost), /has no such key/);
  await db.query('BEGIN');
  await db.query('SELECT byoc.rotate_organization_key($1)', [org]);
  await assert.rejects(db.query(`PREPARE TRANSACTION 'keys'`), /cannot PREPARE a transaction that changed organization keys/);
  await db.query('ROLLBACK');
  await db.query('SELECT byoc.rotate_organization_key($1)', [org]);
  assert.equal(await other.value('SELECT byoc.envelope_key_id(byoc.encrypt($1, $2))', [org, 'x']), 2, 'a committed one is in force everywhere');
  await other.end();
});

test('hundreds of messages go out while keys rotate and credentials are re-encrypted', async () => {
  const organizations = [await stack.organization(1), await stack.organization(2)];
  const sender = await stack.connect();
  let sending = true;
  let rotations = 0;
  let messages = 0;
  const sent = (async () => {
    for (let i = 0; i < 50 || rotations < 4; ++i) {
      for (const { id } of organizations) {
        await sender.query(`SELECT byoc.send_sms('+1555' || lpad((1000000 + $1 * 10 + n)::text, 7, '0'), 'rotate', org_id => $2) FROM generate_series(1, 5) AS n`, [i, id]);
        messages += 5;
      }
      await until('byocd to keep up', async () => await stack.count(`status = 'queued' AND body = 'rotate'`) < 20);
    }
  })().finally(() => { sending = false; });
  while (sending) {
    for (const { id, credential } of organizations) {
      await db.query('SELECT byoc.rotate_organization_key($1)', [id]);
      // A new version makes byocd open the credential again.
      await db.query('SELECT byoc.update_credential($1, $2)', [credential, { phone_number: organizations.find((o) => o.id === id).account.number }]);
      const { code, out } = await byocd('keyring', 'reencrypt', '--org', id);
      assert.deepEqual([code, await db.value('SELECT byoc.reencrypt($1)', [id])], [0, 0], out);
      rotations += 1;
    }
  }
  await sent;
  await until('all to be sent', async () => await stack.count(`body = 'rotate' AND status IN ('sent', 'delivered')`) === messages);
  assert.equal(await db.value(`SELECT count(*)::int FROM byoc.sms_events e JOIN byoc.sms_messages m ON m.id = e.message_id
                               WHERE m.body = 'rotate' AND e.event <> 'accepted'`), 0, 'nothing was tried twice');
  // The old keys are not needed any more.
  for (const { id } of organizations) {
    await db.query(`SELECT byoc.destroy_unused_key(org_id, key_id) FROM byoc.key_status WHERE org_id = $1 AND state = 'retired'`, [id]);
    assert.equal((await stack.settled(await stack.send({ id }, '+15551000099', 'after'))).status, 'sent');
  }
  await sender.end();
});

test('a master key is replaced from end to end', async () => {
  await db.query(`SELECT byoc.create_organization('Many ' || n) FROM generate_series(1, 2500) AS n`);
  const [{ org_id: org }] = await db.rows(`SELECT id AS org_id FROM byoc.organizations WHERE shredded_at IS NULL LIMIT 1`);
  const sealed = await db.value('SELECT byoc.encrypt($1, $2)', [org, 'kept']);
  const other = await stack.connect();
  assert.equal(await decrypt(other, org, sealed), 'kept');

  await db.query('CREATE DATABASE elsewhere');
  const second = await stack.cluster.connect('elsewhere');
  await second.query(`CREATE EXTENSION pg_byoc; SELECT byoc.create_organization('X'); SELECT byoc.create_organization('Y')`);
  await second.end();

  const before = lines();
  execFileSync(BYOCD, ['keyring', 'add', '--file', ring]);
  const [oldLine, newLine] = lines();
  const active = idOf(newLine);
  assert.equal(await reload(), active);
  assert.equal(await decrypt(other, org, sealed), 'kept');
  const fresh = await db.value(`SELECT byoc.create_organization('Fresh')`);
  assert.equal(await db.value('SELECT master_key_id FROM byoc.key_status WHERE org_id = $1', [fresh]), active);
  const { data_keys: wrapped } = (await db.rows('SELECT * FROM byoc.master_keys WHERE id = $1', [idOf(oldLine)]))[0];
  assert.ok(wrapped >= 2500);

  // Too early: refused with the list, and the ring with both keys stays in force.
  const both = readFileSync(ring);
  writeFileSync(ring, `${newLine}\n`);
  await assert.rejects(reload(), (error) => {
    assert.equal(error.code, '55006');
    assert.equal(error.message, 'the key ring cannot be loaded: it lacks master keys that are in use');
    assert.equal(error.detail, `Master key "${idOf(oldLine)}" wraps ${wrapped} data key(s) in database "e2e".\n`
      + `Master key "${idOf(oldLine)}" wraps 3 data key(s) in database "elsewhere".`);
    assert.match(error.hint, /stays in force/);
    return true;
  });
  assert.equal(await decrypt(await stack.connect(), org, sealed), 'kept', 'a new session unwraps with the old ring');
  writeFileSync(ring, both);

  // Re-wrapping, interrupted after its first batch by somebody and resumed.
  assert.equal(await db.value('SELECT byoc.rewrap_keys()'), wrapped - 1000);
  const { code, out } = await byocd('keyring', 'rewrap');
  assert.equal(code, 0);
  assert.match(out, new RegExp(`^0 of ${wrapped - 1000} data keys re-wrapped\\n1000 of .*\\n(.*\\n)*${wrapped - 1000} of ${wrapped - 1000} data keys re-wrapped\\n$`));
  assert.deepEqual(await db.rows(`SELECT id, state, data_keys = 0 AS free FROM byoc.master_keys ORDER BY state`),
    [{ id: active, state: 'active', free: false }, { id: idOf(oldLine), state: 'retired', free: true }]);

  // Now the old one may go.
  // But another database of the server still needs it.
  writeFileSync(ring, `${newLine}\n`);
  await assert.rejects(reload(), { code: '55006', detail: `Master key "${idOf(oldLine)}" wraps 3 data key(s) in database "elsewhere".` });
  assert.equal((await byocd('keyring', 'rewrap', '--database-url', 'dbname=elsewhere')).code, 0);
  const notices = [];
  db.on('notice', (notice) => notices.push(notice.message));
  assert.equal(await reload(), active);
  assert.deepEqual(notices, []);
  assert.equal(await decrypt(other, org, sealed), 'kept');
  assert.equal(await decrypt(await stack.connect(), org, sealed), 'kept');
  assert.deepEqual([before.length, (await db.rows('TABLE byoc.master_keys')).length], [1, 1]);

  // A ring that cannot be read changes nothing.
  writeFileSync(ring, 'nonsense\n');
  await assert.rejects(reload(), { code: 'F0000', message: /line 1: a line is not: id state created key check/ });
  assert.equal(await decrypt(await stack.connect(), org, sealed), 'kept');
  writeFileSync(ring, `${newLine}\n`);
});

test('byocd keyring rewrap and reencrypt say what is wrong by their exit codes', async () => {
  assert.equal((await byocd('keyring', 'reencrypt', '--org', 'nonsense')).code, 2);
  assert.equal((await byocd('keyring', 'rewrap', '--nonsense')).code, 2);
  assert.equal((await byocd('keyring', 'rewrap', '--database-url', 'host=/nowhere')).code, 3);
  const unknown = await byocd('keyring', 'reencrypt', '--org', '00000000-0000-4000-8000-00000000dead');
  assert.deepEqual([unknown.code, /does not exist/.test(unknown.err)], [1, true]);
  const stranger = await byocd('keyring', 'rewrap', '--database-url', 'user=byocd');
  assert.equal(stranger.code, 1);
  assert.match(stranger.err, /byoc\.grant_admin/);
});

test('Ctrl-C ends a run after its batch; the next one goes on', async () => {
  execFileSync(BYOCD, ['keyring', 'add', '--file', ring]);
  await reload();
  const total = await db.value('SELECT count(*)::int FROM byoc.key_status WHERE needs_rewrap');
  // The first batch waits for this lock, so that the signal comes while it runs.
  const locker = await stack.connect();
  await locker.query('BEGIN; LOCK TABLE byoc.organization_keys IN SHARE MODE');
  const log = `${stack.run.folder}/rewrap.log`;
  const program = stack.run.start(BYOCD, ['keyring', 'rewrap'], { log, env: stack.cluster.environment('e2e') });
  await until('the batch to wait', () => db.value(`SELECT count(*) > 0 FROM pg_stat_activity WHERE application_name = 'byocd keyring' AND wait_event_type = 'Lock'`));
  process.kill(program.pid, 'SIGINT');
  await locker.query('COMMIT');
  assert.deepEqual(await program.exited, { code: 1, signal: null });
  assert.match(readFileSync(log, 'utf8'), /interrupted: run the same command again/);
  assert.equal(await db.value('SELECT count(*)::int FROM byoc.key_status WHERE needs_rewrap'), total - 1000);
  assert.equal((await byocd('keyring', 'rewrap')).code, 0);
  assert.equal(await db.value('SELECT count(*)::int FROM byoc.key_status WHERE needs_rewrap'), 0);
});

test('byoc.keyring_command instead of the file', async () => {
  const org = await db.value(`SELECT byoc.create_organization('Command')`);
  const sealed = await db.value('SELECT byoc.encrypt($1, $2)', [org, 'kept']);
  const works = async () => assert.equal(await decrypt(await stack.connect(), org, sealed), 'kept');
  const secret = lines()[0].split(' ')[3];
  const fails = async (command, pattern, detail) => {
    await setSettings(db, { 'byoc.keyring_command': command });
    await assert.rejects(reload(), (error) => {
      assert.equal(error.code, 'F0000');
      assert.match(error.message, pattern);
      if (detail) assert.match(error.detail, detail);
      assert.ok(!JSON.stringify(error).includes(secret), 'the output is not quoted');
      return true;
    });
    await works();
  };
  await fails(`cat ${ring}`, /byoc\.keyring_file and byoc\.keyring_command are both set/);
  await setSettings(db, { 'byoc.keyring_file': '' });
  await fails('', /byoc\.keyring_file is not set; .* or byoc\.keyring_command/);
  await setSettings(db, { 'byoc.keyring_command': `sed s/^#.*// ${ring} | cat` });
  await reload();
  await works();
  await fails(`cat ${ring}; echo first >&2; echo the vault is sealed >&2; exit 7`, /byoc\.keyring_command ended with exit status 7$/, /^The command said: the vault is sealed$/);
  await fails(`cat ${ring}; kill -9 $$`, /was ended by signal 9/);
  await fails('/no/such/program', /exit status 127/, /not found/);
  await fails('true', /the output of byoc\.keyring_command: it holds no key/);
  await fails(`cat ${ring}; echo ${secret}`, /the output of byoc\.keyring_command, line \d+: a line is not/);
  await fails('yes', /it is larger than 64 kB/);
  // A command that hangs is ended with the query, and its children with it.
  const hang = `tail --sleep-interval=98765${process.pid} -f /dev/null`;
  await setSettings(db, { 'byoc.keyring_command': `${hang} & ${hang}` });
  const hanging = () => commandLines().filter((line) => line.startsWith('tail\0') && line.includes(`=98765${process.pid}\0`)).length;
  const ended = assert.rejects(reload(), { code: '57014' });
  await until('the command and its child to run', () => hanging() === 2);
  await (await stack.connect()).query('SELECT pg_cancel_backend($1)', [db.pid]);
  await ended;
  await until('the command and its child to be gone', () => hanging() === 0);
  await works();

  // At start: the same command, and a failing one.
  const restart = async () => {
    await stack.cluster.disconnect();
    stack.cluster.restart();
    await stack.reconnect();
    ({ db } = stack);
  };
  await setSettings(db, { 'byoc.keyring_command': `cat ${ring}` });
  await restart();
  await works();
  const { size } = statSync(stack.cluster.log);
  await setSettings(db, { 'byoc.keyring_command': 'echo no vault >&2; exit 3' });
  await restart();
  await assert.rejects(decrypt(db, org, sealed), { code: 'F0000', message: 'pg_byoc has no key ring: byoc.keyring_command ended with exit status 3' });
  assert.match(readFileSync(stack.cluster.log, 'utf8').slice(size), /WARNING: .*exit status 3\n.*The command said: no vault/);
  await setSettings(db, { 'byoc.keyring_command': '', 'byoc.keyring_file': ring });
  await reload();
  await works();
});

test('without a background worker to look into other databases, no master key is removed', async () => {
  const small = new Cluster(stack.run, { name: 'small', settings: { max_worker_processes: 0 } });
  const session = await small.connect();
  await session.query('CREATE EXTENSION pg_byoc');
  execFileSync(BYOCD, ['keyring', 'add', '--file', small.env.BYOC_KEYRING]);
  const [oldLine, newLine] = lines(small.env.BYOC_KEYRING);
  assert.equal(await reload(session), idOf(newLine), 'adding one needs no look');
  writeFileSync(small.env.BYOC_KEYRING, `${newLine}\n`);
  await assert.rejects(reload(session), { code: '53400', message: /could not be checked: .*"template1"/ });
  assert.deepEqual(await session.rows('SELECT id, state FROM byoc.master_keys ORDER BY state'),
    [{ id: idOf(newLine), state: 'active' }, { id: idOf(oldLine), state: 'retired' }]);
  await small.disconnect();
  small.stop('immediate');
});

test('a dump restored into a new server: readable with the same ring, refused clearly with another one', async () => {
  const read = (session) => session.rows(`
    SELECT o.org_id, o.id, o.fields, o.error FROM (SELECT array_agg(org_id ORDER BY id) AS orgs, array_agg(id ORDER BY id) AS ids FROM byoc.credentials WHERE is_active) AS c,
    byoc.open_credentials(c.orgs, c.ids) AS o ORDER BY o.id`);
  const digest = (session) => session.value(`
    SELECT md5(string_agg(t, '' ORDER BY t)) FROM (SELECT k::text FROM byoc.organization_keys k UNION ALL SELECT c::text FROM byoc.organization_api_credentials c) AS r (t)`);
  const original = await read(db);
  assert.ok(original.length >= 3 && original.every((row) => row.error === null));
  const expected = await digest(db);
  const dump = `${stack.run.folder}/dump`;
  execFileSync(`${PG_BIN}/pg_dump`, ['-Fc', '-f', dump], { env: { ...process.env, ...stack.cluster.environment('e2e') } });

  const copy = new Cluster(stack.run, { name: 'restored' });
  const admin = await copy.connect();
  await stack.copyRoles(admin);
  await admin.query('CREATE DATABASE e2e');
  execFileSync(`${PG_BIN}/pg_restore`, ['-e', '-d', 'e2e', dump], { env: { ...process.env, ...copy.environment('e2e') } });
  let session = await copy.connect('e2e');

  // The new server has a ring of its own: nothing opens, everything says why, nothing changes.
  const master = idOf(lines().at(-1));
  for (const { fields, error } of await read(session)) {
    assert.equal(fields, null);
    assert.match(error, new RegExp(`is wrapped by master key "${master}", which the key ring does not have`));
  }
  assert.deepEqual(await session.rows(`SELECT id FROM byoc.master_keys WHERE state = 'missing'`), [{ id: master }]);
  await session.query('SELECT byoc.adopt_installation()');
  const refused = { code: '55000', message: new RegExp(`lacks master keys that are in use: ${master} \\(wraps \\d+ data keys\\)`) };
  await assert.rejects(session.query('SELECT byoc.register_dispatcher(gen_random_uuid())'), refused);
  await assert.rejects(session.query('SELECT byoc.rewrap_keys()'), refused);
  assert.equal(await digest(session), expected, 'nothing was damaged');
  const { size } = statSync(copy.log);
  await copy.disconnect();
  copy.restart();
  await until('the warning at start', () => new RegExp(`WARNING: +the key ring of pg_byoc lacks master keys that are in use\\n.*DETAIL: +Master key "${master}" wraps \\d+ data key\\(s\\) in database "e2e"`)
    .test(readFileSync(copy.log, 'utf8').slice(size)));
  session = await copy.connect('e2e');

  // With the ring that belongs to it: also without a restart.
  const { uid, gid } = statSync(copy.env.BYOC_KEYRING);
  writeFileSync(copy.env.BYOC_KEYRING, readFileSync(ring));
  chmodSync(copy.env.BYOC_KEYRING, 0o600);
  chownSync(copy.env.BYOC_KEYRING, uid, gid);
  assert.equal(await reload(session), master);
  assert.deepEqual(await read(session), original);
  await session.query('SELECT byoc.register_dispatcher(gen_random_uuid())');
  await copy.disconnect();
  copy.restart();
  session = await copy.connect('e2e');
  assert.deepEqual(await read(session), original);
  assert.equal(await digest(session), expected);
  await copy.disconnect();
  copy.stop('immediate');
});

// The command lines of all processes.
function commandLines() {
  return readdirSync('/proc').filter((name) => /^\d+$/.test(name)).map((pid) => {
    try { return readFileSync(`/proc/${pid}/cmdline`, 'latin1'); } catch { return ''; } // it has ended
  });
}
