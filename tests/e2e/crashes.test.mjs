// Nothing is lost and nothing doubled when a part dies.

import assert from 'node:assert/strict';
import { after, before, beforeEach, test } from 'node:test';
import { Stack, until } from './stack.mjs';

const stack = new Stack('crashes', { env: { BYOC_LEASE: '3s', BYOC_REQUEST_TIMEOUT: '1s', BYOC_POLL_INTERVAL: '200ms' } });
let a;

after(() => stack.end());
before(async () => {
  await stack.start();
  await stack.reconcileAfter(200, 400, 800);
  a = await stack.organization(1);
  await stack.db.query(`SELECT byoc.create_sms_trigger('leads', '{{phone}}', '{{name}}')`);
});

beforeEach(() => stack.latency(0));

const insert = (db, marker, count) => db.query(`
  INSERT INTO leads (org_id, name, phone) SELECT $1, $2 || i, '+1555' || lpad(i::text, 7, '0') FROM generate_series(1, $3::int) AS i`, [a.id, marker, count]);
const sent = (marker) => stack.count(`status IN ('sent', 'delivered') AND body LIKE $1`, [`${marker}%`]);

async function expectAll(marker, count) {
  await until(`all ${count} of ${marker}`, async () => (await sent(marker)) === count, { timeout: 60_000, every: 50 });
  const bodies = (await stack.simulator.messages()).map((m) => m.body).filter((body) => body.startsWith(marker));
  assert.equal(bodies.length, count, 'messages at the provider');
  assert.equal(new Set(bodies).size, count, 'none twice');
}

test('kill -9 of byocd with 1,000 jobs queued: all reach a final state after a restart', async () => {
  await stack.latency(20);
  await insert(stack.db, 'kill ', 1000);
  await until('some to be sent', async () => (await sent('kill ')) > 50);
  assert.deepEqual(await stack.byocd.program.stop('SIGKILL'), { code: null, signal: 'SIGKILL' });
  assert.ok((await stack.count(`status IN ('queued', 'sending') AND body LIKE 'kill %'`)) > 0, 'it died in the middle');
  await stack.startByocd();
  await expectAll('kill ', 1000);
});

test('SIGTERM finishes what is in flight, gives the rest back and exits 0', async () => {
  await stack.latency(150);
  await insert(stack.db, 'term ', 500);
  await until('some to be sent', async () => (await sent('term ')) > 0);
  assert.deepEqual(await stack.byocd.program.stop('SIGTERM'), { code: 0, signal: null });
  assert.equal(await stack.count(`status = 'sending'`), 0);
  const bodies = (await stack.simulator.messages()).filter((m) => m.body.startsWith('term '));
  assert.equal(await sent('term '), bodies.length, 'each accepted message is recorded');
  assert.ok(bodies.length < 500, 'it stopped in the middle');
  await stack.latency(0);
  await stack.startByocd();
  await expectAll('term ', 500);
});

test('lost database connections are made again', async () => {
  await stack.latency(10);
  await insert(stack.db, 'cut ', 500);
  for (let i = 1; i <= 5; ++i) {
    await until('progress', async () => (await sent('cut ')) > i * 40);
    await stack.db.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'byocd'`);
  }
  await expectAll('cut ', 500);
});

for (const mode of ['fast', 'immediate']) {
  test(`PostgreSQL restarted (${mode}) under load: byocd reconnects and nothing is lost`, async () => {
    await stack.latency(10);
    let committed = 0;
    let restarted = false;
    const writer = (async () => {
      let db = await stack.connect();
      while (!restarted || committed < 300) {
        try {
          await insert(db, `${mode} ${committed} `, 1);
          committed += 1;
        } catch {
          db = await until('the server', () => stack.connect().catch(() => null), { timeout: 30_000 });
        }
      }
    })();
    await until('load', () => committed > 100);
    stack.cluster.restart(mode);
    restarted = true;
    await writer;
    await stack.reconnect();
    // A commit whose answer was lost counts as not committed here, so there may be one more.
    await until('everything that was committed', async () => (await sent(`${mode} `)) >= committed, { timeout: 60_000, every: 50 });
    const inserted = await stack.db.value('SELECT count(*)::int FROM leads WHERE name LIKE $1', [`${mode} %`]);
    await expectAll(`${mode} `, inserted);
    assert.equal(stack.byocd.program.ended, null, 'byocd never stopped');
  });
}
