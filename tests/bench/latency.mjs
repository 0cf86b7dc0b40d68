// BENCH=latency: how long an inserted row takes to reach the provider on an idle system, from the moment when the application
// knows that its commit is durable to the arrival of the request, next to graphile-worker with its quickest settings. Both
// workers wait at the same time, and inserts alternate. ROUNDS=5 rounds, the medians of their percentiles are shown.

import { against, keep, percentile, rounds, scale } from './bars.mjs';
import { until } from '../../scripts/run.mjs';
import { Bed } from './bed.mjs';
import { installPeers } from './peers.mjs';
import { median, report } from './report.mjs';
import { byoc, graphile } from './systems.mjs';

const COUNT = scale(400);
const WARM_UP = 30;
const BARS = { p50: 0.6, p99: 3 }; // of graphile-worker's; ms

installPeers();
const bed = await Bed.start('latency');
const ours = byoc(1);
const peer = { ...graphile(1), start: graphile(1).startPrompt };
const systems = [ours, peer];
for (const [number, system] of systems.entries()) {
  await system.prepare(bed);
  system.database = `bench_${number}`;
  system.db = await bed.fresh(system, system.database);
  await bed.settle(system.db);
  [system.organization] = await system.organizations(system.db);
  system.worker = await system.start(bed, system.database, 64);
  await system.worker.begin();
  system.runs = [];
}
await bed.setLatency(0);

let seen = 0; // messages that the simulator has

// Inserts one row; answers the milliseconds from its acknowledgement to its arrival.
async function measure({ name, database, db, organization }) {
  await until(`${name} to be idle`, () => bed.admin.value(`
    SELECT count(*) > 0 AND bool_and(state = 'idle' AND state_change < clock_timestamp() - interval '20 ms')
    FROM pg_stat_activity WHERE datname = $1 AND backend_type = 'client backend'`, [database]));
  await db.query('INSERT INTO leads (org_id, phone, body) VALUES ($1, $2, $3)', [organization, '+15551000001', 'Hello from the bench.']);
  const committed = performance.timeOrigin + performance.now();
  const [message] = await until(`the message of ${name}`, async () => {
    const messages = await bed.simulator.messages(`?since=${seen}`);
    return messages.length > 0 && messages;
  });
  seen += 1;
  // Clocks of two processes on one machine: an arrival may seem to precede the acknowledgement by microseconds.
  return Math.max(0, message.arrived - committed);
}

for (let i = 0; i < WARM_UP; ++i) for (const system of systems) await measure(system);
for (let round = 0; round < rounds; ++round) {
  const waits = systems.map(() => []);
  for (let i = 0; i < COUNT; ++i) for (const [number, system] of systems.entries()) waits[number].push(await measure(system));
  for (const [number, system] of systems.entries()) {
    system.runs.push({ p50: percentile(waits[number], 0.5), p95: percentile(waits[number], 0.95), p99: percentile(waits[number], 0.99) });
  }
}
for (const system of systems) await system.worker.stop();

const results = systems.map(({ name, runs }) => ({
  system: name, ...Object.fromEntries(['p50', 'p95', 'p99'].map((share) => [share, median(runs.map((run) => run[share]))])),
}));
report(`Commit acknowledged to arrival, idle, ms (${rounds} rounds of ${COUNT} inserts each)`,
  ['', 'p50', 'p95', 'p99', 'p50, ratio', 'p99'], results.map(({ system, p50, p95, p99 }, number) => [
    system, p50.toFixed(2), p95.toFixed(2), p99.toFixed(2),
    against(p50 / results[1].p50, number === 0 ? { most: BARS.p50 } : {}),
    number === 0 ? against(p99, { most: BARS.p99 }) : '',
  ]));
keep('latency', { bars: BARS, results });
await bed.end();
