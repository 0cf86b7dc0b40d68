// Nothing is lost and nothing doubled when a part dies.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, beforeEach, test } from 'node:test';
import { Stack, until } from './stack.mjs';

// Requests and leases that outlive each test: what ends early ends because the test says so.
const stack = new Stack('crashes', {
  env: { BYOC_LEASE: '3600s', BYOC_REQUEST_TIMEOUT: '600s', BYOC_DRAIN_TIMEOUT: '600s', BYOC_POLL_INTERVAL: '200ms' },
});
const SHORT = { BYOC_LEASE: '3s', BYOC_REQUEST_TIMEOUT: '1500ms' };
let a;

after(() => stack.end());
before(async () => {
  await stack.start();
  await stack.reconcileAfter(500, 1000, 1500);
  a = await stack.organization(1);
  await stack.db.query(`SELECT byoc.create_sms_trigger('leads', '{{phone}}', '{{name}}')`);
});

beforeEach(() => Promise.all([stack.latency(0), stack.faults([])]));

const insert = (db, marker, count) => db.query(`
  INSERT INTO leads (org_id, name, phone) SELECT $1, $2 || i, '+1555' || lpad(i::text, 7, '0') FROM generate_series(1, $3::int) AS i`, [a.id, marker, count]);
const received = async (marker) => (await stack.simulator.messages()).map((m) => m.body).filter((body) => body.startsWith(marker));
const sent = (marker) => stack.count(`status IN ('sent', 'delivered') AND body LIKE $1`, [`${marker}%`]);

async function expectAll(marker, count) {
  await until(`all ${count} of ${marker}`, async () => (await sent(marker)) === count, { timeout: 300_000 });
  const bodies = await received(marker);
  assert.equal(bodies.length, count, 'messages at the provider');
  assert.equal(new Set(bodies).size, count, 'none twice');
}

// Leaves byocd in the middle of its work: some of `count` messages are sent, and of as many as may be under way no answer comes.
async function stuckIn(marker, count) {
  await stack.holdAnswers(50);
  await insert(stack.db, marker, count);
  await stack.unanswered(64);
  await until('the others to be recorded', async () => (await sent(marker)) === (await received(marker)).length - 64);
  assert.ok((await sent(marker)) > 0);
}

test('kill -9 of byocd with 1,000 jobs queued: all reach a final state after a restart', async () => {
  await stuckIn('kill ', 1000);
  assert.deepEqual(await stack.byocd.program.stop('SIGKILL'), { code: null, signal: 'SIGKILL' });
  await stack.faults([]);
  await stack.expireLeases();
  await stack.startByocd();
  await expectAll('kill ', 1000);
});

test('SIGTERM finishes what is in flight, gives the rest back and exits 0', async () => {
  await stuckIn('term ', 500);
  const ended = stack.byocd.program.stop('SIGTERM');
  await until('byocd to stop', () => readFileSync(stack.byocdLog, 'utf8').includes('stopping: '));
  await stack.faults([]);
  assert.deepEqual(await ended, { code: 0, signal: null });
  assert.equal(await stack.count(`status = 'sending'`), 0);
  const bodies = await received('term ');
  assert.equal(await sent('term '), bodies.length, 'each accepted message is recorded');
  assert.ok(bodies.length < 500, 'it stopped in the middle');
  await stack.startByocd(SHORT);
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
          db = await until('the server', () => stack.connect().catch(() => null));
        }
      }
    })();
    await until('load', () => committed > 100);
    stack.cluster.restart(mode);
    restarted = true;
    await writer;
    await stack.reconnect();
    // A commit whose answer was lost counts as not committed here, so there may be one more.
    await until('everything that was committed', async () => (await sent(`${mode} `)) >= committed, { timeout: 300_000 });
    const inserted = await stack.db.value('SELECT count(*)::int FROM leads WHERE name LIKE $1', [`${mode} %`]);
    await expectAll(`${mode} `, inserted);
    assert.equal(stack.byocd.program.ended, null, 'byocd never stopped');
  });
}
