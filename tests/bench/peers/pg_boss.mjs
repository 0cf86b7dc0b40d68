// A pg-boss that sends; its settings come from BENCH_ variables (../systems.mjs). BENCH_SETUP=1 makes schema and queue only.

import { PgBoss } from 'pg-boss';
import { ready, send, setting } from './http.mjs';

const { PGHOST, PGPORT, PGUSER, PGDATABASE } = process.env;
const boss = new PgBoss({
  host: PGHOST, port: Number(PGPORT), user: PGUSER, database: PGDATABASE, max: setting('BENCH_POOL'),
  useListenNotify: true, openTelemetry: { enabled: false },
});
boss.on('error', console.error);

if (process.env.BENCH_SETUP) {
  await boss.start();
  await boss.createQueue('send_sms', { notify: true });
  await boss.stop({ graceful: false });
  process.exit(0);
}

await ready();
await boss.start();
await boss.work('send_sms', {
  batchSize: setting('BENCH_BATCH'), localConcurrency: setting('BENCH_CONCURRENCY'), pollingIntervalSeconds: 0.5, burstWhenBatchFull: true,
}, async (jobs) => { await Promise.all(jobs.map((job) => send(job.data))); });
