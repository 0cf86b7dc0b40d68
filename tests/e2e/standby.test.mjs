// A hot standby: what may be read there is right, byocd waits there, and once it is promoted everything goes on.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { Byocd, Cluster } from '../../scripts/stack.mjs';
import { Stack, until } from './stack.mjs';

const stack = new Stack('standby');
let standby;
let replica; // a session there
let organization;
let byocd;

after(async () => {
  await standby?.disconnect();
  await byocd?.program.stop('SIGKILL');
  await stack.end();
});

before(async () => {
  await stack.start();
  organization = await stack.organization(1);
  standby = new Cluster(stack.run, { name: 'standby', of: stack.cluster });
  replica = await standby.connect('e2e');
});

// Waits until the standby has all that was committed so far.
async function replayed() {
  const lsn = await stack.db.value('SELECT pg_current_wal_flush_lsn()');
  await until('the standby to catch up', () => replica.value('SELECT pg_last_wal_replay_lsn() >= $1::pg_lsn', [lsn]));
}

// What both say of the same statement.
async function same(sql, params) {
  const [here, there] = [await stack.db.rows(sql, params), await replica.rows(sql, params)];
  assert.deepEqual(there, here, sql);
  return there;
}

test('messages that were claimed and finished are the same there, row by row and by index', async () => {
  const ids = [];
  for (let i = 0; i < 50; ++i) ids.push(await stack.send(organization, i % 10 ? `+15553000${100 + i}` : '+15005550001', `message ${i}`));
  await Promise.all(ids.map((id) => stack.settled(id, ['sent', 'delivered', 'failed'])));
  // Receipts and statuses that come later would make the two differ.
  await stack.byocd.program.stop();
  await replayed();
  assert.equal((await same(`SELECT * FROM byoc.sms_messages ORDER BY id`)).length, 50);
  assert.ok((await same(`SELECT * FROM byoc.sms_events ORDER BY message_id, id`)).length >= 50);
  for (const table of ['messages', 'message_events', 'queue', 'schedule', 'lanes', 'claims', 'organization_api_credentials', 'organization_keys', 'audit_log'])
    await same(`SELECT t::text FROM byoc.${table} AS t ORDER BY 1`);
  await replica.query('SET enable_seqscan = off');
  for (const id of ids) await same('SELECT * FROM byoc.messages WHERE org_id = $1 AND id = $2', [organization.id, id]);
  await replica.query('RESET enable_seqscan');
});

test('views, settings and secrets can be read there', async () => {
  await replayed();
  for (const view of ['credentials', 'queue_health', 'stats', 'call_health', 'key_status', 'master_keys', 'providers', 'provider_errors', 'sms_triggers'])
    await replica.rows(`SELECT * FROM byoc.${view}`);
  await replica.query(`BEGIN; SELECT byoc.set_org('${organization.id}')`);
  assert.equal(await replica.value('SELECT count(*)::int FROM byoc.sms_messages'), 50);
  await replica.query('COMMIT');
});

test('a data key that is shredded opens nothing there either, in a session that has it', async () => {
  const other = await stack.db.value(`SELECT byoc.create_organization('Other')`);
  const sealed = await stack.db.value(`SELECT byoc.encrypt($1, 'a secret', 'there')`, [other]);
  await replayed();
  const open = () => replica.value(`SELECT byoc.decrypt($1, $2::bytea, 'there')`, [other, sealed]);
  assert.equal(await open(), 'a secret');
  await stack.db.query('SELECT byoc.rotate_organization_key($1)', [other]);
  await replayed();
  assert.equal(await open(), 'a secret');
  const newly = await stack.db.value(`SELECT byoc.encrypt($1, 'a new secret', 'there')`, [other]);
  assert.equal(await replica.value(`SELECT byoc.decrypt($1, $2::bytea, 'there')`, [other, newly]), 'a new secret');
  await stack.db.query('SELECT byoc.shred_organization($1)', [other]);
  await replayed();
  await assert.rejects(open());
});

test('nothing can be written there', async () => {
  for (const statement of [
    `SELECT byoc.send_sms('+15553000001', 'no', org_id => '${organization.id}')`,
    `SELECT byoc.create_organization('no')`,
    'LISTEN byoc_jobs',
  ]) await assert.rejects(replica.query(statement), /recovery|read-only/, statement);
});

test('byocd waits there and says why; promoted, what waited goes out at once', async () => {
  const log = `${stack.run.folder}/standby-byocd.log`;
  byocd = await Byocd.launch(stack.run, standby, { database: 'e2e', simulator: stack.simulator, log, env: { BYOC_POLL_INTERVAL: '5min' } });
  await until('byocd to say why it waits', () => /'dispatch': .*server is in hot standby mode; trying again/.test(readFileSync(log, 'utf8')));
  assert.equal((await fetch(`${byocd.url}/readyz`)).status, 503);
  assert.equal((await fetch(`${byocd.url}/healthz`)).status, 200);
  const waiting = await stack.send(organization, '+15553000001', 'waited for the promotion');
  await replayed();
  stack.cluster.stop('immediate');
  await replica.query('SELECT pg_promote()');
  const status = (id) => replica.value('SELECT status FROM byoc.sms_messages WHERE id = $1', [id]);
  const sent = (id) => until('the message to be sent', async () => ['sent', 'delivered'].includes(await status(id)));
  await sent(waiting);
  // By NOTIFY: the poll is minutes away.
  await sent(await replica.value(`SELECT byoc.send_sms('+15553000002', 'after it', org_id => $1)`, [organization.id]));
  assert.equal((await stack.simulator.messages()).filter(({ body }) => /promotion|after it/.test(body)).length, 2);
});
