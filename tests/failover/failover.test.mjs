// The primary dies, steps down or stands still under load, and comes back: nothing is lost, nothing is sent twice, and what waits goes
// out soon after another server accepts writes. `make check-failover` runs it. KILLS: how often the primary is killed.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { FailoverArena } from './arena.mjs';
import { MISSING } from './patroni.mjs';

const BAR = 2000; // ms from the first write that the new primary accepts to a message at the provider
const KILLS = Number(process.env.KILLS || 3);
const skip = MISSING;
const arena = new FailoverArena('failover', { env: {} });
after(() => arena.end());
before(() => skip || arena.start());

async function underLoad(name, times, failOver) {
  await arena.cluster.whole();
  const settle = arena.feed(name, times);
  const took = [];
  for (let i = 0; i < times; ++i) {
    const old = await arena.cluster.primary();
    const others = arena.cluster.nodes.filter((node) => node !== old);
    const begun = performance.now();
    const [resumed] = await Promise.all([arena.resumption(others), failOver(old)]);
    took.push(resumed);
    console.log(`${name}: sending again ${Math.round(resumed)} ms after ${(await arena.cluster.primary()).name} accepted a write`);
    await back(old);
    console.log(`${name}: whole again after ${Math.round(performance.now() - begun)} ms`);
  }
  const { ledger, inserted } = await settle();
  console.log(ledger.summary);
  const problems = ledger.problems.length > 0 ? [ledger.report] : [];
  if (ledger.messages.length < inserted) problems.push(`the database has ${ledger.messages.length} of ${inserted} messages that were committed`);
  if (ledger.count('unknown') > 0) problems.push(`${ledger.count('unknown')} messages are unknown`);
  if (took.some((ms) => ms >= BAR)) problems.push(`sending again after ${took.map(Math.round).join(', ')} ms`);
  if (problems.length > 0) assert.fail(`${problems.join('\n')}\nlogs: ${arena.keepLogs(name.replaceAll(' ', '-'))}`);
}

// Lets a node follow the new primary. One that stood still is started anew, as by a watchdog: Patroni's does not let it wake up as a
// primary that was replaced meanwhile.
async function back(node) {
  if (node.stands) node.signal('SIGKILL');
  if (node.killed) node.start(arena.cluster.programs);
  node.killed = false;
  await arena.cluster.whole();
}

test(`${KILLS} times the primary's machine fails`, { skip }, () => underLoad('killed', KILLS, (primary) => {
  primary.signal('SIGKILL');
}));

test('switchovers', { skip }, () => underLoad('switched over', 2, () => arena.cluster.switchover()));

test('the primary stands still: its connections stay, and nothing answers', { skip }, () => underLoad('standing still', 1, (primary) => {
  primary.signal('SIGSTOP');
  arena.cluster.abandon();
}));
