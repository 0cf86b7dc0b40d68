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
    // Another one begins each round: what comes first or last must not be the same one always.
    const first = round % each.systems.length;
    for (const system of [...each.systems.slice(first), ...each.systems.slice(0, first)]) {
      runs.get(each).get(system).push(await drain(bed, system, each));
    }
  }
}

// Ratios are those within a round: the machine's load drifts from one to the next.
const results = CASES.map((each) => {
  const of = (system, value) => runs.get(each).get(system).map(value);
  const speed = (run) => run.perSecond;
  const cpu = (run) => run.cpu.total;
  const [bestPeer] = each.systems.filter((system) => peers.includes(system))
    .sort((x, y) => median(of(y, speed)) - median(of(x, speed)));
  const ratio = (system, value, reference) => median(of(system, value).map((own, round) => own / reference(round)));
  return {
    title: each.title, bars: each.bars,
    rows: each.systems.map((system) => ({
      system: system.name, perSecond: median(of(system, speed)), cpu: median(of(system, cpu)),
      worker: median(of(system, (run) => run.cpu.worker)), server: median(of(system, (run) => run.cpu.server)),
      speedRatio: ratio(system, speed, (round) => each.ceiling ?? of(bestPeer, speed)[round]),
      cpuRatio: ratio(system, cpu, (round) => of(alone, cpu)[round]),
    })),
  };
});

for (const { title, bars, rows } of results) {
  report(title, ['', 'messages/s', 'CPU s per 1,000', 'worker', 'PostgreSQL', 'speed', 'CPU'], rows.map((row) => {
    const judged = row.system.startsWith('pg_byoc');
    return [
      row.system, Math.round(row.perSecond), row.cpu.toFixed(3), row.worker.toFixed(3), row.server.toFixed(3),
      against(row.speedRatio, judged ? { least: bars.speed } : {}),
      against(row.cpuRatio, judged ? { most: bars.cpu } : {}),
    ];
  }));
}
keep('dispatch', { results });
await bed.end();
