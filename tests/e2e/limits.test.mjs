// A sender's limit and a provider's pause hold for their account, and hold up no other.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Stack, until } from './stack.mjs';

// So long a poll that whoever waits is woken because the database knows when.
const stack = new Stack('limits', { env: { BYOC_POLL_INTERVAL: '60min' } });
let limited, stuck, free;

after(() => stack.end());
before(async () => {
  await stack.start();
  limited = await stack.organization(1);
  free = await stack.organization(2);
  stuck = await stack.organization(3);
});

const sendMany = (organization, marker, count) => stack.db.query(`
  SELECT byoc.send_sms('+1555' || lpad(i::text, 7, '0'), $2 || i, org_id => $1) FROM generate_series(1, $3::int) AS i`, [organization.id, marker, count]);
const health = async (organization) => (await stack.db.rows('SELECT * FROM byoc.queue_health WHERE org_id = $1', [organization.id]))[0];

const times = async (marker) => (await stack.simulator.messages()).filter((m) => m.body.startsWith(marker)).map((m) => m.arrived);
// When the provider got `count` messages whose text begins so, in ms since the epoch.
const arrivals = (marker, count) => until(`${count} of ${marker}`, async () => {
  const got = await times(marker);
  return got.length >= count && got;
});

test('five segments a second, five at once: no more', async () => {
  await stack.db.query('INSERT INTO byoc.sender_limits VALUES ($1, $2, 5, 5)', [limited.id, limited.account.number]);
  const start = Date.now();
  await sendMany(limited, 'slow ', 20);
  const slow = await arrivals('slow ', 20);
  slow.forEach((time, i) => assert.ok(time - start >= (i + 1 - 5) * 200, `message ${i + 1} came after ${time - start} ms`));
});

test('while one account waits for its limit another goes at full speed', async () => {
  await stack.db.query('INSERT INTO byoc.sender_limits VALUES ($1, $2, 0.0001, 5)', [stuck.id, stuck.account.number]); // one in three hours
  await sendMany(stuck, 'stuck ', 20);
  assert.equal((await until('the lane to be limited', async () => { const h = await health(stuck); return h?.limited && h; })).breaker, 'closed');
  await sendMany(free, 'fast ', 50);
  await arrivals('fast ', 50);
  assert.equal((await times('stuck ')).length, 5);
  await stack.db.query(`SELECT byoc.cancel_sms(id) FROM byoc.sms_messages WHERE org_id = $1 AND status = 'queued'`, [stuck.id]);
});

test('segments are what counts', async () => {
  const start = Date.now();
  await stack.send(limited, '+15553000001', `long ${'x'.repeat(153 * 7)}`); // 8 segments, more than the burst
  await stack.send(limited, '+15553000002', 'after the long one');
  const [last] = await arrivals('after the long one', 1);
  const [long] = await arrivals('long ', 1);
  assert.ok(last >= long);
  assert.ok(last - start >= 4 * 200 - 5, `nine segments went out in ${last - start} ms`); // 9 segments less a burst of 5
});

test('429 with Retry-After pauses its account, all of it, and no other', async () => {
  await stack.db.query('DELETE FROM byoc.sender_limits');
  await stack.faults([{ action: 'status', status: 429, retry_after: 10, count: 1, match: { account_sid: limited.account.sid, method: 'POST' } }]);
  const start = Date.now();
  const first = await stack.send(limited, '+15554000001', 'paused 1');
  await until('the 429', async () => (await stack.events(first)).some((e) => e.event === 'throttled'));
  await sendMany(limited, 'paused too ', 5);
  await sendMany(free, 'not paused ', 5);
  const others = await arrivals('not paused ', 5);
  const { limited: waits, waiting } = await until('the pause to show', async () => { const h = await health(limited); return h?.limited && h; });
  assert.deepEqual([waits, Number(waiting)], [true, 5]);
  const own = [...await arrivals('paused too ', 5), ...await arrivals('paused 1', 1)];
  assert.ok(Math.min(...own) - start >= 10_000, `the first came after ${Math.min(...own) - start} ms`);
  assert.ok(Math.max(...others) < Math.min(...own), 'the others did not wait');
  await until('the failure to be forgotten', async () => ((await health(limited))?.failures ?? 0) === 0);
});

test('a provider that answers 503 gets one message at a time until it recovers', async () => {
  // What a 503 leaves open is looked for at each poll.
  await stack.byocd.program.stop();
  await stack.startByocd({ BYOC_POLL_INTERVAL: '200ms' });
  await stack.reconcileAfter(100, 200);
  await stack.db.query('INSERT INTO byoc.sender_limits VALUES ($1, $2, NULL, 1)', [limited.id, limited.account.number]);
  const outage = { account_sid: limited.account.sid, method: 'POST' };
  await stack.latency(100); // so long that claims follow each other while a trial is on its way
  await stack.faults([{ action: 'status', status: 503, match: outage }]);
  await sendMany(limited, 'outage ', 200);
  await until('the breaker to open', async () => (await health(limited))?.breaker === 'open');
  await until('what was on its way to end', async () => Number((await health(limited)).sending) === 0);
  const tried = async () => (await stack.simulator.request('GET', '/_simulator/faults'))[0].hits;
  const { failures } = await health(limited);
  const before = await tried();
  await until('three more trials', async () => (await health(limited)).failures >= failures + 3);
  const trials = await tried() - before;
  assert.ok(trials <= (await health(limited)).failures - failures + 1, 'each trial is one request, one may be on its way');
  await sendMany(free, 'during the outage ', 5);
  await arrivals('during the outage ', 5);
  await stack.faults([]);
  await arrivals('outage ', 200);
  await until('the breaker to close', async () => !(await health(limited)));
});
