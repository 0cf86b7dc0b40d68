// A graphile-worker that sends; its settings come from BENCH_ variables (../systems.mjs). BENCH_SETUP=1 makes the schema only.

import { Logger, run, runMigrations } from 'graphile-worker';
import pg from 'pg';
import { ready, send, setting } from './http.mjs';

const refetch = setting('BENCH_REFETCH_MS');
const complete = setting('BENCH_COMPLETE_MS');
const queue = setting('BENCH_LOCAL_QUEUE');
const logger = new Logger(() => (level, message) => {
  if (level === 'error' || level === 'warning') console.error(message);
});

const pgPool = new pg.Pool({ max: setting('BENCH_POOL') });

if (process.env.BENCH_SETUP) {
  await runMigrations({ pgPool });
  await pgPool.end();
  process.exit(0);
}

await ready();
await run({
  preset: {
    worker: {
      pgPool,
      concurrentJobs: setting('BENCH_CONCURRENCY'),
      maxPoolSize: setting('BENCH_POOL'),
      completeJobBatchDelay: complete,
      failJobBatchDelay: complete,
      ...(queue > 0 && { localQueue: { size: queue, refetchDelay: { durationMs: refetch } } }),
      logger,
    },
  },
  taskList: { send_sms: async (message) => { await send(message); } },
});
