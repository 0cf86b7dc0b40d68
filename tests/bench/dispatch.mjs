// BENCH=dispatch: how fast queued messages reach the provider and are recorded, and what CPU that takes, next to
// graphile-worker and pg-boss. ROUNDS=5 rounds of everything, one system after the other; QUICK=1: small and once.

import { against, keep, rounds, scale } from './bars.mjs';
import { Bed } from './bed.mjs';
import { drain } from './drain.mjs';
import { installPeers } from './peers.mjs';
import { median, report } from './report.mjs';
import { boss, byoc, graphile } from './systems.mjs';

const ours = byoc(1);
const spread = byoc(scale(1000));
const alone = graphile(1);
const peers = [alone, graphile(2), boss];
// `bars`: least part of the best peer's (or, for 64 in flight, of the possible) throughput, most of graphile-worker's CPU.
const thousands = (count) => count.toLocaleString('en-US');
const CASES = [
  { title: `${thousands(scale(20_000))} messages, provider answers at once`, count: scale(20_000), latency: 0, inFlight: 64,
    systems: [ours, spread, ...peers], bars: { speed: 1.5, cpu: 0.6 } },
  { title: `${thousands(scale(60_000))} messages, provider answers at once`, count: scale(60_000), latency: 0, inFlight: 64,
    systems: [ours, spread, ...peers], bars: { speed: 1.5, cpu: 0.75 } },
  { title: '50 ms provider, 64 in flight', count: scale(6_400), latency: 50, inFlight: 64,
    systems: [ours, alone, boss], ceiling: 64 / 0.050, bars: { speed: 0.95 } },
  { title: '50 ms provider, 1,000 in flight', count: scale(20_000), latency: 50, inFlight: 1000,
    systems: [ours, alone, boss], bars: { speed: 1.4 } },
];

installPeers();
const bed = await Bed.start('dispatch', { accounts: scale(1000) });
for (const system of [ours, spread, alone, boss]) await system.prepare(bed);

const runs = new Map(CASES.map((each) => [each, new Map(each.systems.map((system) => [system, []]))]));
for (let round = 0; round < rounds; ++round) {
  for (const each of CASES) {
    for (const system of each.systems) runs.get(each).get(system).push(await drain(bed, system, each));
  }
}

const results = CASES.map((each) => {
  const rows = each.systems.map((system) => {
    const of = (value) => median(runs.get(each).get(system).map(value));
    return {
      system: system.name, perSecond: of((run) => run.perSecond), cpu: of((run) => run.cpu.total),
      worker: of((run) => run.cpu.worker), server: of((run) => run.cpu.server),
    };
  });
  const bestPeer = Math.max(...rows.filter((row) => !row.system.startsWith('pg_byoc')).map((row) => row.perSecond));
  const reference = { speed: each.ceiling ?? bestPeer, cpu: rows.find((row) => row.system === alone.name).cpu };
  return { title: each.title, bars: each.bars, reference, rows };
});

for (const { title, bars, reference, rows } of results) {
  report(title, ['', 'messages/s', 'CPU s per 1,000', 'worker', 'PostgreSQL', 'speed', 'CPU'], rows.map((row) => {
    const judged = row.system.startsWith('pg_byoc');
    return [
      row.system, Math.round(row.perSecond), row.cpu.toFixed(3), row.worker.toFixed(3), row.server.toFixed(3),
      against(row.perSecond / reference.speed, judged ? { least: bars.speed } : {}),
      against(row.cpu / reference.cpu, judged ? { most: bars.cpu } : {}),
    ];
  }));
}
keep('dispatch', { results });
await bed.end();
