// BENCH=latency: how long an inserted row takes to reach the provider on an idle system, from the moment when the application
// knows that its commit is durable to the arrival of the request, next to graphile-worker with its quickest settings. Both
// workers wait at the same time, and inserts alternate. ROUNDS=5 rounds, the medians of their percentiles are shown. A claim is
// durable before its request is sent, so how long a commit takes by itself, at the same times, is shown as well: it is the disk's.

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
const alone = { name: 'a commit by itself', database: peer.database, db: peer.db, runs: [] };
await alone.db.query('CREATE TABLE commits (n integer)');

let seen = 0; // messages that the simulator has

const idle = ({ name, database }) => until(`${name} to be idle`, () => bed.admin.value(`
  SELECT count(*) > 0 AND bool_and(state = 'idle' AND state_change < clock_timestamp() - interval '20 ms')
  FROM pg_stat_activity WHERE datname = $1 AND backend_type = 'client backend'`, [database]));

// Inserts one row; answers the milliseconds from its acknowledgement to its arrival.
async function arrival({ name, db, organization }) {
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

async function commit({ db }) {
  const start = performance.now();
  await db.query('INSERT INTO commits VALUES (1)');
  return performance.now() - start;
}

async function measure(system) {
  await idle(system);
  return system === alone ? commit(system) : arrival(system);
}

const measured = [...systems, alone];
for (let i = 0; i < WARM_UP; ++i) for (const system of measured) await measure(system);
for (let round = 0; round < rounds; ++round) {
  const waits = measured.map(() => []);
  for (let i = 0; i < COUNT; ++i) for (const [number, system] of measured.entries()) waits[number].push(await measure(system));
  for (const [number, { runs }] of measured.entries()) {
    runs.push({ p50: percentile(waits[number], 0.5), p95: percentile(waits[number], 0.95), p99: percentile(waits[number], 0.99) });
  }
}
for (const system of systems) await system.worker.stop();

const medians = ({ name, runs }) => ({
  system: name, ...Object.fromEntries(['p50', 'p95', 'p99'].map((share) => [share, median(runs.map((run) => run[share]))])),
});
const [results, commits] = [systems.map(medians), medians(alone)];
const [own, others] = results;
const figures = ({ system, p50, p95, p99 }) => [system, ...[p50, p95, p99].map((ms) => ms.toFixed(2))];
report(`Commit acknowledged to arrival, idle, ms (${rounds} rounds of ${COUNT} inserts each)`, ['', 'p50', 'p95', 'p99', 'p50, ratio', 'p99'], [
  [...figures(own), against(own.p50 / others.p50, { most: BARS.p50 }), against(own.p99, { most: BARS.p99 })],
  [...figures(others), against(1), ''],
  [...figures(commits), '', ''],
]);
keep('latency', { bars: BARS, results, commits });
await bed.end();
