// BENCH=fairness: 99 organizations insert one message a second each; how long do these take to the provider, and how long
// when another organization has 200,000 messages queued? The provider takes 50 ms, 64 requests are in flight. graphile-worker
// and pg-boss, which know no organizations, are shown with the same backlog.

import { until } from '../../scripts/run.mjs';
import { judged, keep, percentile, rounds, scale } from './bars.mjs';
import { Bed } from './bed.mjs';
import { installPeers } from './peers.mjs';
import { median, report } from './report.mjs';
import { steadyWaits } from './steady.mjs';
import { boss, byoc, graphile } from './systems.mjs';

const OTHERS = 99;
const BACKLOG = scale(200_000);
const SECONDS = 10;
const BARS = { ratio: 1.5, more: 10 }; // of the p99 without the backlog; or so many ms more

installPeers();
const bed = await Bed.start('fairness', { accounts: OTHERS + 1 });
const ours = byoc(OTHERS + 1);
for (const system of [ours, graphile(1), boss]) await system.prepare(bed);
await bed.setLatency(50);

// Answers the milliseconds from acknowledged commit to arrival of each message of the others; Infinity: not while we looked.
async function measure(system, backlog) {
  const db = await bed.fresh(system);
  const [big, ...others] = await system.organizations(db);
  if (backlog > 0) await system.fill(db, backlog, big);
  await bed.settle(db);
  await bed.forget();
  const worker = await system.start(bed, 'bench', 64);
  await worker.begin();
  if (backlog > 0) await until('the backlog to move', async () => (await bed.stats()).accepted > 1000);
  const waits = await steadyWaits(bed, 'bench', others, { perSecond: OTHERS, seconds: SECONDS });
  await worker.stop();
  await db.end();
  return waits;
}

const cases = [[ours, 0], [ours, BACKLOG], [graphile(1), BACKLOG], [boss, BACKLOG]].map(([system, backlog]) => ({ system, backlog, runs: [] }));
for (let round = 0; round < rounds; ++round) {
  for (const { system, backlog, runs } of cases) {
    const waits = await measure(system, backlog);
    runs.push({ p50: percentile(waits, 0.5), p99: percentile(waits, 0.99), arrived: waits.filter(Number.isFinite).length / waits.length });
  }
}

const results = cases.map(({ system, backlog, runs }) => ({
  system: system.name, backlog, ...Object.fromEntries(['p50', 'p99', 'arrived'].map((figure) => [figure, median(runs.map((run) => run[figure]))])),
}));
const [without, withBacklog] = results;
const comparison = judged(`${(withBacklog.p99 / without.p99).toFixed(2)} (at most ${BARS.ratio}, or ${BARS.more} ms more)`,
  withBacklog.p99 <= Math.max(without.p99 * BARS.ratio, without.p99 + BARS.more));
const shown = (ms) => (Number.isFinite(ms) ? ms.toFixed(1) : 'longer than the run');
report(`99 organizations, one message a second each: commit to arrival, ms (${rounds} rounds of ${SECONDS} s)`,
  ['', 'queued by another', 'p50', 'p99', 'arrived', 'p99 against none queued'], results.map((row) => [
    row.system, row.backlog, shown(row.p50), shown(row.p99), `${Math.round(row.arrived * 100)} %`, row === withBacklog ? comparison : '',
  ]));
keep('fairness', { bars: BARS, results });
await bed.end();
