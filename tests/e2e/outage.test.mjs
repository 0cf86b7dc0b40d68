// A provider that is slow, half dead or dead: byocd stays small, others are served meanwhile, and everything arrives once.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, beforeEach, test } from 'node:test';
import { Stack, until } from './stack.mjs';

// OUTAGE_MESSAGES=200000 makes it an hour's worth.
const BACKLOG = Number(process.env.OUTAGE_MESSAGES ?? 20_000);
const MOST_GROWTH = 32 * 1024; // kB
// Sanitizers and valgrind keep books of their own, and what was freed.
const MEASURABLE = !(process.env.ASAN_OPTIONS || process.env.TSAN_OPTIONS);

// byocd waits longer for an answer than any test: one that is held back comes when the test says so.
const stack = new Stack('outage', { env: { BYOC_POLL_INTERVAL: '200ms', BYOC_REQUEST_TIMEOUT: '600s', BYOC_LEASE: '3600s' } });
let a, b, c, idle;

after(() => stack.end());
before(async () => {
  await stack.start();
  // By name, so that libcurl's resolver threads take part.
  await stack.byocd.program.stop();
  await stack.startByocd({ BYOC_TWILIO_BASE_URL: `http://localhost:${stack.simulator.port}` });
  await stack.reconcileAfter(100, 300);
  await stack.db.query(`INSERT INTO byoc.sender_limits (sender, segments_per_second) VALUES ('long_code', NULL)`);
  a = await stack.organization(1);
  b = await stack.organization(2);
  c = await stack.organization(3);
  idle = memory('VmRSS');
});
beforeEach(() => stack.faults([]));

// kB, by the name that proc(5) gives it.
function memory(name) {
  return Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(readFileSync(`/proc/${stack.byocd.program.pid}/status`, 'utf8'))[1]);
}

const insert = (organization, marker, count) => stack.db.query(
  `SELECT count(byoc.send_sms('+1555' || lpad(n::text, 7, '0'), $1 || ' ' || n, org_id => $2)) FROM generate_series(1, $3::int) AS n`,
  [marker, organization.id, count]);
const sent = (marker) => stack.count(`status IN ('sent', 'delivered') AND body LIKE $1`, [`${marker} %`]);
const received = async (marker) => (await stack.simulator.messages()).map((m) => m.body).filter((body) => body.startsWith(`${marker} `));

async function expectOnce(marker, count) {
  await until(`all ${count} of ${marker}`, async () => (await sent(marker)) === count, { timeout: 300_000 + 2 * count });
  const bodies = await received(marker);
  assert.deepEqual([bodies.length, new Set(bodies).size], [count, count]);
}

test('an account whose answers do not come: the other account does not wait for them', async () => {
  // Answers that come at once make byocd claim ahead, and slower ones make it stop: what it has of the silent account by then is too much.
  await insert(b, 'at once', 500);
  await expectOnce('at once', 500);
  await stack.holdAnswers(100, { account_sid: a.account.sid });
  await insert(a, 'slow', 200);
  await stack.unanswered(64); // as many as an account may have
  await stack.latency(50);
  await insert(b, 'brisk', 1000);
  await expectOnce('brisk', 1000);
  assert.equal(await sent('slow'), 0);
  assert.equal((await received('slow')).length, 64);
  await Promise.all([stack.faults([]), stack.latency(0)]);
  await expectOnce('slow', 200);
});

test('two accounts whose answers do not come leave slots to a third', async () => {
  await stack.faults([a, b].map(({ account }) => ({ action: 'hold', match: { method: 'POST', account_sid: account.sid } })));
  await insert(a, 'silent a', 200);
  await stack.unanswered(64);
  await insert(b, 'silent b', 200);
  await stack.unanswered(64 + 21); // of the 96 it may have twice what it leaves
  await stack.latency(50);
  await insert(c, 'third', 300);
  await expectOnce('third', 300);
  assert.deepEqual([await sent('silent a'), await sent('silent b')], [0, 0]);
  assert.deepEqual([(await received('silent a')).length, (await received('silent b')).length], [64, 21]);
  await Promise.all([stack.faults([]), stack.latency(0)]);
  await expectOnce('silent a', 200);
  await expectOnce('silent b', 200);
});

test('three of ten requests are reset, those that look for lost messages too', async () => {
  const reset = { action: 'reset', probability: 0.3 };
  await stack.faults([{ ...reset, match: { method: 'POST' } }, { ...reset, count: 30, match: { method: 'GET' } }]);
  await insert(a, 'half dead', 150);
  await expectOnce('half dead', 150);
});

test(`dead while ${BACKLOG} messages come in: few attempts, flat memory; then all arrive`, async (t) => {
  await stack.simulator.program.stop('SIGKILL');
  await insert(a, 'down a', BACKLOG / 2);
  await insert(b, 'down b', BACKLOG / 2);
  // Both breakers open, everything that was on its way then has failed, and so many trials of each account too.
  const failed = (trials) => until(`both breakers to be open, and ${trials} trials`, async () => (await stack.db.rows(`
    SELECT sum(failures)::int AS failures, (SELECT count(*)::int FROM byoc.sms_events WHERE event = 'unavailable') AS attempts
    FROM byoc.queue_health HAVING count(*) = 2 AND min(failures) >= byoc.breaker_threshold() + $1 AND sum(sending) = 0`, [trials]))[0]);
  const [opened, { failures, attempts }] = [await failed(0), await failed(3)];
  assert.equal(attempts - opened.attempts, failures - opened.failures, 'a trial is one message');
  // Some for each request that may be on its way, and not one for each message that was claimed ahead.
  assert.ok(attempts < 1000, `${attempts} attempts`);
  await stack.replaceSimulator([a, b]);
  await expectOnce('down a', BACKLOG / 2);
  await expectOnce('down b', BACKLOG / 2);
  const growth = memory('VmHWM') - idle;
  if (MEASURABLE) assert.ok(growth < MOST_GROWTH, `grew by ${growth} kB over ${idle} kB`);
  t.diagnostic(`${attempts} attempts while it was dead; byocd: ${idle} kB when idle, at most ${growth} kB more`);
});
