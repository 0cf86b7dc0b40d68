// Which lanes have work reaches another session when the transaction that says so commits, and does not get lost.

import assert from 'node:assert/strict';
import { after, before, beforeEach, test } from 'node:test';
import { Cluster, Run, until } from './stack.mjs';

const ORGANIZATION = 'aaaaaaaa-0000-4000-8000-00000000000a';
const run = new Run(`e2e-wakeups-${process.pid}`);
let cluster, writer, dispatcher;

after(() => cluster?.disconnect());
before(async () => {
  cluster = new Cluster(run, { settings: { max_prepared_transactions: 1 } });
  [writer, dispatcher] = [await cluster.connect(), await cluster.connect()];
  await writer.query(`CREATE EXTENSION pg_byoc; SELECT byoc.create_organization('Organization', '${ORGANIZATION}')`);
});
beforeEach(() => dispatcher.query('DELETE FROM byoc.queue; DELETE FROM byoc.lanes; SELECT byoc.drain_wakeups()'));

const send = (body) => writer.query(`SELECT byoc.send_sms('+15005550006', $1, org_id => $2)`, [body, ORGANIZATION]);
const drain = () => dispatcher.value('SELECT cardinality(lanes) FROM byoc.drain_wakeups()');
const hasWakeups = () => dispatcher.value('SELECT byoc.has_wakeups()');

test('a lane is told of at commit', async () => {
  await writer.query('BEGIN');
  await send('one');
  assert.equal(await hasWakeups(), false);
  await writer.query('COMMIT');
  assert.equal(await hasWakeups(), true);
  assert.equal(await drain(), 1);
  assert.equal(await hasWakeups(), false);
});

test('many transactions leave one note of a lane', async () => {
  for (let i = 0; i < 20; ++i) await send(`message ${i}`);
  assert.equal(await drain(), 1);
});

test('a rolled back transaction leaves none', async () => {
  await writer.query('BEGIN');
  await send('one');
  await writer.query('ROLLBACK');
  assert.equal(await hasWakeups(), false);
  await writer.query('SELECT 1');
  assert.equal(await hasWakeups(), false);
});

test('a claim that fails after it took the note gives it back', async () => {
  await send('one');
  await dispatcher.query('BEGIN');
  assert.equal(await drain(), 1);
  await dispatcher.query('ROLLBACK');
  assert.equal(await drain(), 1);
});

test('a dispatcher that dies after it took the note gives it back', async () => {
  await send('one');
  const other = await cluster.connect();
  await other.query('BEGIN; SELECT byoc.drain_wakeups()');
  assert.equal(await hasWakeups(), false);
  await other.end();
  await until('the note to be back', hasWakeups);
});

test('a prepared transaction loses the note and not the message', async () => {
  await writer.query('BEGIN');
  await send('prepared');
  await writer.query(`PREPARE TRANSACTION 'two'`);
  await writer.query(`COMMIT PREPARED 'two'`);
  assert.equal(await hasWakeups(), false);
  assert.equal(await dispatcher.value('SELECT byoc.dispatcher_sleep()'), 0);
  assert.equal(await dispatcher.value('SELECT busy FROM byoc.lanes'), true);
});
