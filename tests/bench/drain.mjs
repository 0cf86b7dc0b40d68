// How long a system takes to empty a queue, and what that costs.

import { performance } from 'node:perf_hooks';
import { until } from '../../scripts/run.mjs';

// Drains `count` messages, `inFlight` requests at a time, from a provider that answers after `latency` ms.
// Answers { perSecond, cpu: { worker, server, total } } with CPU in ms a message (seconds per 1,000). The clock runs from the first request to the last
// outcome in the database; CPU is counted from the start of work.
export async function drain(bed, system, { count, latency, inFlight }) {
  const db = await bed.fresh(system);
  await system.fill(db, count);
  await bed.settle(db);
  await bed.setLatency(latency);
  await bed.forget();
  const worker = await system.start(bed, 'bench', inFlight);
  let done;
  const cpu = await bed.measureCpu(worker, async () => {
    await worker.begin();
    const timeout = { timeout: 180_000 };
    // until() looks ever less often: the last part begins anew, so that the end is seen when it comes.
    for (const part of [0.95, 1]) {
      await until(`${count} messages of ${system.name}`, async () => (await bed.stats()).accepted >= count * part, timeout);
    }
    await until(`${system.name} to have everything recorded`, async () => await db.value(system.left) === 0, timeout);
    done = performance.timeOrigin + performance.now();
  });
  await worker.stop();
  const stats = await bed.stats();
  if (stats.accepted !== count) throw new Error(`${system.name} sent ${stats.accepted} messages instead of ${count}`);
  await system.check?.(db, count);
  await db.end();
  const share = (seconds) => seconds / count * 1000;
  return {
    perSecond: count / ((done - Date.parse(stats.first_accepted_at)) / 1000),
    cpu: { worker: share(cpu.worker), server: share(cpu.server), total: share(cpu.worker + cpu.server) },
  };
}
