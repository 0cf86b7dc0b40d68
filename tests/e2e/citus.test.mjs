// Past one machine: a Citus coordinator and two workers. Each organization is at home on one worker, whose byocd sends for it;
// the application and its tenants talk to the coordinator only.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, beforeEach, test } from 'node:test';
import { clusterKey, ownerToken } from '../../scripts/jwt.mjs';
import { API_ENV, Api } from './support/api.mjs';
import { CitusStack, NO_CITUS as skip } from './support/citus.mjs';
import { until } from './stack.mjs';

const stack = new CitusStack('citus', { settings: { log_statement: 'all' }, env: { BYOC_POLL_INTERVAL: '200ms', BYOC_REQUEST_TIMEOUT: '2s' } });
let a, b; // organizations at home on the first and on the second worker
let tenant; // a session of the tenants' role at the coordinator

after(() => stack.end());
before(async () => {
  if (skip) return;
  await stack.start();
  await stack.reconcileAfter(100, 300);
  const found = await organizationsOnBothWorkers();
  [a, b] = stack.workers.map((worker) => found.get(worker));
  await stack.db.query(`SELECT byoc.create_sms_trigger('leads', '{{phone}}', '{{name}} of {{org.company|default:"nobody"}}')`);
  tenant = await stack.connect('tenant');
});
beforeEach(async () => { if (!skip) await stack.faults([]); });

async function organizationsOnBothWorkers() {
  const found = new Map();
  for (let number = 1; found.size < 2; ++number) {
    const organization = await stack.organization(number);
    const home = await stack.home(organization);
    if (!found.has(home)) found.set(home, organization);
  }
  return found;
}

// Runs statements in a transaction of the tenant's, in the context of a token, and ends it so.
async function as(organization, work, end = 'COMMIT') {
  await tenant.query('BEGIN');
  try {
    await tenant.value('SELECT byoc.authenticate($1)', [ownerToken(clusterKey(stack.cluster), organization.id, 'ada')]);
    const result = await work();
    await tenant.query(end);
    return result;
  } catch (error) {
    await tenant.query('ROLLBACK');
    throw error;
  }
}

const insert = (db, organization, phone, name = 'Ann') => db.query('INSERT INTO leads (org_id, name, phone) VALUES ($1, $2, $3)', [organization.id, name, phone]);
const messageTo = async (to) => (await stack.db.rows('SELECT * FROM byoc.sms_messages WHERE to_number = $1', [to]))[0];
const sentTo = (to) => until(`the SMS to ${to}`, async () => {
  const message = await messageTo(to);
  return ['sent', 'delivered'].includes(message?.status) && message;
});
const received = async (to) => (await stack.simulator.messages()).filter((message) => message.to === to);
const events = async (id) => (await stack.events(id)).map(({ event }) => event).join(' ');

test('what is an organization\'s is on its worker only', { skip }, async () => {
  for (const table of ['organization_api_credentials', 'organization_keys']) {
    const holders = await Promise.all(stack.nodes.map(({ db }) => db.value(
      `SELECT count(*)::int FROM byoc.${table} WHERE org_id IN ($1, $2)`, [a.id, b.id])));
    assert.deepEqual(holders, [0, 1, 1], table);
  }
  assert.equal(await stack.db.value('SELECT count(*)::int FROM byoc.credentials WHERE org_id IN ($1, $2)', [a.id, b.id]), 2, 'the coordinator shows them');
});

test('a row inserted through the coordinator is sent by its home, with the organization\'s account', { skip }, async () => {
  await stack.db.query(`UPDATE byoc.organizations SET settings = '{"company": "Acme"}' WHERE id = $1`, [a.id]);
  await insert(stack.db, a, '+15552000001');
  await insert(stack.db, b, '+15552000002');
  for (const [organization, to, body] of [[a, '+15552000001', 'Ann of Acme'], [b, '+15552000002', 'Ann of nobody']]) {
    const message = await sentTo(to);
    assert.deepEqual([message.org_id, message.source_table, message.body], [organization.id, 'public.leads', body]);
    const [sms, ...others] = await received(to);
    assert.deepEqual([sms.account_sid, sms.sid, others.length], [organization.account.sid, message.provider_sid, 0]);
  }
});

test('message and row commit together, on one worker and on both', { skip }, async () => {
  await stack.db.query('BEGIN');
  await insert(stack.db, a, '+15552000011');
  await stack.db.query('SELECT byoc.set_org($1)', [a.id]);
  assert.equal((await messageTo('+15552000011')).status, 'queued', 'seen by its transaction');
  await stack.db.query('ROLLBACK');
  for (const [end, expected] of [['ROLLBACK', 0], ['COMMIT', 2]]) {
    await stack.db.query('BEGIN');
    await insert(stack.db, a, '+15552000012');
    await insert(stack.db, b, '+15552000013');
    await stack.db.query(end);
    assert.equal(await stack.count(`to_number IN ('+15552000012', '+15552000013')`), expected, end);
  }
  await sentTo('+15552000012');
  await sentTo('+15552000013');
  assert.deepEqual(await received('+15552000011'), []);
});

test('many rows in one statement: each sent once', { skip }, async () => {
  await stack.db.query(`INSERT INTO leads (org_id, name, phone) SELECT o, 'Bulk', '+1555201' || lpad(i::text, 4, '0')
    FROM generate_series(1, 200) AS i, LATERAL (SELECT CASE i % 2 WHEN 0 THEN $1::uuid ELSE $2::uuid END) AS x (o)`, [a.id, b.id]);
  await until('all to be sent', async () => await stack.count(`to_number LIKE '+1555201%' AND status IN ('sent', 'delivered')`) === 200);
  const bulk = (await stack.simulator.messages()).filter(({ to }) => to.startsWith('+1555201'));
  assert.deepEqual([bulk.length, new Set(bulk.map(({ to }) => to)).size], [200, 200]);
});

test('a tenant sees and sends its own, at the coordinator', { skip }, async () => {
  const id = await as(a, async () => {
    assert.deepEqual(await tenant.rows('SELECT DISTINCT org_id FROM byoc.sms_messages'), [{ org_id: a.id }]);
    assert.deepEqual(await tenant.rows('SELECT id FROM byoc.organizations'), [{ id: a.id }]);
    assert.deepEqual(await tenant.rows('SELECT org_id FROM byoc.homes'), [{ org_id: a.id }]);
    return tenant.value('SELECT byoc.send_sms($1, $2)', ['+15552000021', 'by function']);
  });
  assert.equal((await stack.settled(id)).status, 'sent');
  const [row] = await as(a, () => tenant.rows(`INSERT INTO byoc.sms_messages (to_number, body) VALUES ('+15552000022', 'by view') RETURNING org_id, status`));
  assert.deepEqual(row, { org_id: a.id, status: 'queued' });
  await sentTo('+15552000022');
  const later = await as(a, () => tenant.value(`SELECT byoc.send_sms('+15552000023', 'later', now() + interval '1 day')`));
  await as(a, () => tenant.query('SELECT byoc.cancel_sms($1)', [later]));
  assert.equal((await stack.message(later)).status, 'cancelled');
  assert.equal(await events(later), 'cancelled');
});

test('and nothing of another organization\'s', { skip }, async () => {
  for (const relation of ['sms_messages', 'sms_events', 'credentials', 'homes', 'audit_log']) {
    const seen = await as(a, () => tenant.value(`SELECT count(*)::int FROM byoc.${relation} WHERE org_id <> $1`, [a.id]));
    assert.equal(seen, 0, relation);
    assert.equal(await tenant.value(`SELECT count(*)::int FROM byoc.${relation}`), 0, `${relation} without a context`);
  }
  const { id } = await messageTo('+15552000002');
  const [code, foreign] = [(expected) => ({ code: expected }), { code: '42501' }];
  await assert.rejects(as(a, () => tenant.query('SELECT byoc.send_sms($1, $2, org_id => $3)', ['+15552000031', 'x', b.id])), foreign);
  await assert.rejects(as(a, () => insert(tenant, b, '+15552000032')), foreign);
  await assert.rejects(as(a, () => tenant.query('SELECT byoc.decrypt($1, $2)', [b.id, Buffer.alloc(64)])), foreign);
  await assert.rejects(as(a, () => tenant.query('SELECT byoc.cancel_sms($1)', [id])));
  await assert.rejects(tenant.query(`SELECT byoc.send_sms('+15552000033', 'x')`), code('28000'));
  await assert.rejects(as(a, () => tenant.query('SELECT byoc.set_org($1)', [b.id])), foreign);
  assert.equal(await stack.count(`to_number LIKE '+1555200003%'`), 0);
});

test('the context ends with the transaction, on the workers too', { skip }, async () => {
  await as(a, () => tenant.value('SELECT count(*) FROM byoc.sms_messages'));
  assert.deepEqual(await as(b, () => tenant.rows('SELECT DISTINCT org_id FROM byoc.sms_messages')), [{ org_id: b.id }]);
  assert.equal(await tenant.value('SELECT count(*)::int FROM byoc.sms_messages'), 0);
  await assert.rejects(stack.db.query(`SELECT byoc.set_org($1, 'ada', 'owner', false)`, [a.id]), { code: '0A000' });
  await assert.rejects(as(a, () => tenant.value('SELECT byoc.authenticate($1)', ['wrong'])), (error) => error.code === '28000' && !`${error.where}`.includes('wrong'));
});

test('a context that Citus forgets is missed, also by who may see everything', { skip }, async () => {
  const reads = ['SELECT count(*) FROM byoc.sms_messages', 'SELECT byoc.rest_session()', `SELECT byoc.send_sms('+15552000035', 'x')`];
  for (const session of [stack.db, tenant]) {
    for (const read of reads) {
      const token = ownerToken(clusterKey(stack.cluster), a.id, 'ada');
      await session.query('BEGIN');
      await session.query('SAVEPOINT around');
      await session.query('SELECT byoc.authenticate($1)', [token]);
      await session.query('SAVEPOINT within');
      await session.query(read);
      await session.query('ROLLBACK');
      await session.query('BEGIN');
      await session.query('SAVEPOINT around');
      await session.query('SELECT byoc.authenticate($1)', [token]);
      await session.query('RELEASE around');
      await assert.rejects(session.query(read), { code: '28000', message: /did not reach the worker/, hint: /savepoint/ });
      await session.query('ROLLBACK');
    }
  }
});

test('credentials: added, changed, verified and revoked through the coordinator; secrets only at home', { skip }, async () => {
  const secret = a.account.authToken;
  const id = await as(a, () => tenant.value('SELECT byoc.add_credential($1, $2, $3)', ['twilio', {
    account_sid: a.account.sid, auth_token: secret, phone_number: a.account.number }, 'Second']));
  await stack.verified({ credential: id });
  await as(a, () => tenant.query(`UPDATE byoc.credentials SET display_name = 'Renamed' WHERE id = $1`, [id]));
  const [shown] = await as(a, () => tenant.rows('SELECT display_name, fields FROM byoc.credentials WHERE id = $1', [id]));
  assert.deepEqual([shown.display_name, shown.fields.auth_token], ['Renamed', `••••${secret.slice(-4)}`]);
  assert.equal(await stack.db.value(`SELECT fields ->> 'auth_token' FROM byoc.decrypted_credentials WHERE id = $1`, [id]), secret);
  await as(a, () => tenant.query('DELETE FROM byoc.credentials WHERE id = $1', [id]));
  assert.equal(await stack.db.value('SELECT is_active FROM byoc.credentials WHERE id = $1', [id]), false);
});

test('application columns are encrypted with the key at home', { skip }, async () => {
  const sealed = await as(a, () => tenant.value('SELECT byoc.encrypt($1, $2)', [a.id, 'a note']));
  assert.equal(await as(a, () => tenant.value('SELECT byoc.decrypt($1, $2)', [a.id, sealed])), 'a note');
  await stack.db.query('SELECT byoc.rotate_organization_key($1)', [a.id]);
  assert.equal(await stack.db.value('SELECT byoc.decrypt($1, $2)', [a.id, sealed]), 'a note');
  await assert.rejects(stack.db.query('SELECT byoc.decrypt($1, $2)', [b.id, sealed]), { code: /^22/ });
});

test('outcomes, retries and reports of the provider', { skip }, async () => {
  await stack.faults([{ action: 'status', status: 429, retry_after: 1, count: 1, match: { to: '+15552000041' } }]);
  await insert(stack.db, a, '+15552000041');
  assert.equal(await events((await sentTo('+15552000041')).id), 'throttled accepted');
  await insert(stack.db, b, '+15005550004');
  const failed = await until('the refusal', async () => { const m = await messageTo('+15005550004'); return m?.status === 'failed' && m; });
  assert.equal(failed.error_code, '21610');
});

test('a byocd that dies, a lost answer: looked for at the provider, one SMS', { skip }, async () => {
  const home = await stack.home(b);
  await stack.faults([{ action: 'timeout_after', count: 1, match: { to: '+15552000051' } }]);
  await insert(stack.db, b, '+15552000051');
  assert.equal(await events((await sentTo('+15552000051')).id), 'unknown found');

  await stack.holdAnswers(100, { to: '+15552000052' });
  await insert(stack.db, b, '+15552000052');
  await stack.unanswered(1);
  await home.byocd.program.stop('SIGKILL');
  await stack.faults([]);
  await home.db.query('UPDATE byoc.claims SET lease_until = now()');
  await insert(stack.db, a, '+15552000053');
  await sentTo('+15552000053'); // the other home goes on meanwhile
  await stack.startWorker(home);
  await sentTo('+15552000052');
  for (const to of ['+15552000051', '+15552000052']) assert.equal((await received(to)).length, 1, to);
});

test('a worker that restarts: its organizations\' rows wait for it, nothing is lost or doubled', { skip }, async () => {
  const home = await stack.home(b);
  await insert(stack.db, b, '+15552000061');
  await home.db.end();
  home.cluster.restart('immediate');
  home.db = await until('the worker', () => home.cluster.connect('e2e').catch(() => null));
  await until('a row to be inserted', () => insert(stack.db, b, '+15552000062').then(() => true, () => false));
  for (const to of ['+15552000061', '+15552000062']) {
    await sentTo(to);
    assert.equal((await received(to)).length, 1, to);
  }
});

test('a worker that moves to another machine takes its organizations along', { skip }, async () => {
  const home = await stack.home(b);
  await home.byocd.program.stop();
  await insert(stack.db, b, '+15552000065');
  await stack.moveWorker(home);
  assert.equal((await messageTo('+15552000065')).status, 'queued');
  await insert(stack.db, b, '+15552000066');
  await stack.startWorker(home);
  for (const to of ['+15552000065', '+15552000066']) {
    await sentTo(to);
    assert.equal((await received(to)).length, 1, to);
  }
});

test('the definition of a trigger follows on every worker', { skip }, async () => {
  const { db } = stack;
  await db.query('CREATE TABLE orders (org_id uuid, phone text, total int)');
  await assert.rejects(db.query(`SELECT byoc.create_sms_trigger('orders', '{{phone}}', 'x')`), { code: '55000', hint: /create_distributed_table\('public.orders', 'org_id'/ });
  await db.query(`SELECT create_distributed_table('orders', 'org_id', colocate_with => 'byoc.homes')`);
  for (const [name, body] of [['first', 'one {{total}}'], ['first', 'two {{total}}']]) {
    const trigger = await db.value(`SELECT byoc.create_sms_trigger('orders', '{{phone}}', $1, condition => 'NEW.total > 10', name => $2)`, [body, name]);
    const to = `+155520007${body.slice(0, 1) === 'o' ? 1 : 2}0`;
    for (const organization of [a, b]) await db.query('INSERT INTO orders VALUES ($1, $2, 11), ($1, $2, 9)', [organization.id, to]);
    assert.deepEqual((await db.rows('SELECT body FROM byoc.sms_messages WHERE to_number = $1', [to])).map((m) => m.body), [body, body].map((t) => t.replace('{{total}}', '11')));
    await db.query(`SELECT byoc.drop_sms_trigger('orders', $1)`, [trigger]);
  }
  await db.query('INSERT INTO orders VALUES ($1, $2, 11)', [a.id, '+15552000073']);
  assert.equal(await stack.count('to_number = $1', ['+15552000073']), 0);
  await db.query(`SELECT byoc.create_webhook_trigger('orders', 'order.created')`);
  await db.query('INSERT INTO orders VALUES ($1, NULL, 12)', [b.id]);
  assert.deepEqual(await db.rows(`SELECT org_id, event_type, source_table, payload -> 'total' AS total FROM byoc.webhook_calls`),
    [{ org_id: b.id, event_type: 'order.created', source_table: 'public.orders', total: 12 }]);
});

test('partitions, long names and other schemas', { skip }, async () => {
  const { db } = stack;
  const long = 'l'.repeat(63);
  await db.query(`CREATE SCHEMA other; CREATE TABLE other.${long} (org_id uuid, phone text);
    CREATE TABLE parted (org_id uuid, phone text, at int) PARTITION BY RANGE (at); CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (10)`);
  for (const table of ['parted', `other.${long}`]) {
    await db.query(`SELECT create_distributed_table('${table}', 'org_id', colocate_with => 'byoc.homes')`);
    await db.query(`SELECT byoc.create_sms_trigger('${table}', '{{phone}}', 'Hello')`);
  }
  await db.query('CREATE TABLE parted_2 PARTITION OF parted FOR VALUES FROM (10) TO (20)');
  await db.query(`INSERT INTO parted VALUES ($1, '+15552000074', 5), ($2, '+15552000075', 15)`, [a.id, b.id]);
  await db.query(`INSERT INTO other.${long} SELECT org_id, '+15552000076' FROM parted WHERE at = 5`);
  const made = await db.rows(`SELECT to_number, source_table FROM byoc.sms_messages WHERE to_number IN ('+15552000074', '+15552000075', '+15552000076') ORDER BY 1`);
  assert.deepEqual(made.map(({ to_number: to, source_table: table }) => [to, table]),
    [['+15552000074', 'public.parted'], ['+15552000075', 'public.parted'], ['+15552000076', `other.${long}`]]);
});

test('calendar events: of rows, and of the tenant\'s view', { skip }, async () => {
  const { db } = stack;
  await db.query('CREATE TABLE visits (org_id uuid, id int, title text, at timestamptz, PRIMARY KEY (org_id, id))');
  await db.query(`SELECT create_distributed_table('visits', 'org_id', colocate_with => 'byoc.homes')`);
  await db.query(`SELECT byoc.create_calendar_trigger('visits', summary => '{{title}}', starts_at => 'at', duration => '1 hour')`);
  for (const organization of [a, b]) await db.query(`INSERT INTO visits VALUES ($1, 1, 'Visit', now() + interval '1 day')`, [organization.id]);
  await db.query(`UPDATE visits SET title = 'Moved' WHERE org_id = $1`, [a.id]);
  const seen = (organization) => as(organization, () => tenant.rows('SELECT summary, source_table FROM byoc.calendar_events'));
  assert.deepEqual(await seen(a), [{ summary: 'Moved', source_table: 'public.visits' }]);
  assert.deepEqual(await seen(b), [{ summary: 'Visit', source_table: 'public.visits' }]);
  await as(a, () => tenant.query(`INSERT INTO byoc.calendar_events (summary, starts_at, ends_at, time_zone)
    VALUES ('By view', '2100-01-01 10:00Z', '2100-01-01 11:00Z', 'UTC')`));
  await as(a, () => tenant.query(`UPDATE byoc.calendar_events SET summary = 'Changed' WHERE summary = 'By view'`));
  await as(a, () => tenant.query(`DELETE FROM byoc.calendar_events WHERE summary = 'Moved'`));
  assert.deepEqual((await seen(a)).map(({ summary }) => summary).filter((summary) => summary !== 'Moved'), ['Changed']);
});

test('settings of the installation made at the coordinator hold on the workers', { skip }, async () => {
  const limits = () => Promise.all(stack.workers.map(({ db }) => db.rows('SELECT sender, burst FROM byoc.sender_limits')));
  await stack.db.query(`INSERT INTO byoc.sender_limits (sender, segments_per_second, burst) VALUES ('toll_free', 2, 3)`);
  assert.deepEqual(await limits(), Array(2).fill([{ sender: 'toll_free', burst: 3 }]));
  await stack.db.query('UPDATE byoc.sender_limits SET burst = 4');
  assert.deepEqual(await limits(), Array(2).fill([{ sender: 'toll_free', burst: 4 }]));
  await stack.db.query('DELETE FROM byoc.sender_limits');
  assert.deepEqual(await limits(), [[], []]);
});

test('the audit trail is sealed at home, read and verified at the coordinator', { skip }, async () => {
  for (const { db } of stack.workers) await until('the seals', async () => await db.value('SELECT count(*)::int FROM byoc.audit_unsealed') === 0);
  assert.ok(await as(a, () => tenant.value(`SELECT count(*)::int FROM byoc.audit_log WHERE action = 'credential.added'`)) > 0);
  const verified = new Map((await stack.db.rows('SELECT * FROM byoc.verify_audit_log()')).map((row) => [row.org_id, row]));
  for (const { id } of [a, b]) assert.ok(verified.get(id).entries > 0 && verified.get(id).first_broken === null);
  await (await stack.home(a)).db.query(`ALTER TABLE byoc.audit_entries DISABLE TRIGGER USER; UPDATE byoc.audit_entries SET action = 'forged' WHERE org_id = '${a.id}' AND action = 'credential.added'`);
  assert.ok((await stack.db.rows('SELECT * FROM byoc.verify_audit_log($1)', [a.id]))[0].first_broken);
});

test('the REST API of a byocd at the coordinator answers for every home', { skip }, async () => {
  await stack.startByocd({ ...API_ENV });
  const api = await new Api(stack).open();
  for (const organization of [a, b]) {
    const token = api.token(organization);
    const { status, json } = await api.call(token, 'GET', '/api/organization/credentials');
    assert.deepEqual([status, json.items.some(({ id }) => id === organization.credential)], [200, true]);
    const test = await api.call(token, 'POST', '/api/organization/sms/test', { body: { to: '+15552000081' } });
    assert.equal((await stack.settled(test.json.id)).org_id, organization.id);
    const listed = await api.call(token, 'GET', '/api/organization/messages');
    assert.ok(listed.json.items.some(({ id }) => id === test.json.id));
  }
});

test('neither secrets nor tokens are in a log', { skip }, async () => {
  const token = ownerToken(clusterKey(stack.cluster), a.id, 'ada');
  await stack.db.query('BEGIN');
  await stack.db.query('SELECT byoc.authenticate($1)', [token]);
  await stack.db.query('SELECT byoc.update_credential($1, $2::text)', [a.credential, JSON.stringify({ auth_token: a.account.authToken })]);
  await stack.db.query('COMMIT');
  for (const { cluster } of stack.nodes) {
    const log = readFileSync(cluster.log, 'utf8');
    assert.match(log, /statement: /, 'statements are logged');
    for (const secret of [token, token.split('.')[2], a.account.authToken, 'byoc1.']) assert.ok(!log.includes(secret), `${secret} in ${cluster.folder}`);
  }
});

test('what a coordinator cannot do says so', { skip }, async () => {
  for (const [statement, hint] of [[`SELECT byoc.prune('1 year')`, /run_command_on_workers/], ['SELECT byoc.rewrap_keys()', /run_command_on_workers/]])
    await assert.rejects(stack.db.query(statement), { code: '0A000', hint });
  const home = await stack.home(a);
  const [from, to] = [home, stack.workers.find((worker) => worker !== home)].map(({ cluster }) => cluster.env);
  await assert.rejects(stack.db.query(`SELECT citus_move_shard_placement(get_shard_id_for_distribution_column('leads', $1::uuid), $2, 5432, $3, 5432)`,
    [a.id, from.PGHOST, to.PGHOST]), { message: /homes.*REPLICA IDENTITY/ });
});

test('byoc.distribute() again changes nothing; shredding reaches the keys at home', { skip }, async () => {
  await stack.db.query('SELECT byoc.distribute()');
  await insert(stack.db, a, '+15552000091');
  await sentTo('+15552000091');
  const sealed = await stack.db.value('SELECT byoc.encrypt($1, $2)', [b.id, 'gone']);
  await stack.db.query('SELECT byoc.shred_organization($1)', [b.id]);
  await assert.rejects(stack.db.query('SELECT byoc.decrypt($1, $2)', [b.id, sealed]));
  assert.ok(await stack.db.value('SELECT shredded_at FROM byoc.organizations WHERE id = $1', [b.id]));
});
