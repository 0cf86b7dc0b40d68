// How long an inserted row takes to reach the provider on an idle system: from the moment the application knows that its
// commit is durable to the arrival of the request. Prints percentiles in milliseconds.
//
//   node tests/bench/latency.mjs [COUNT]     default 200 inserts, one after the other

import { Stack, until } from '../e2e/stack.mjs';

const count = Number(process.argv[2] ?? 200);
const stack = new Stack('latency');
try {
  await stack.start();
  const organization = await stack.organization(1);
  await stack.db.query(`SELECT byoc.create_sms_trigger('leads', '{{phone}}', 'Hi {{name}}')`);
  const waits = [];
  for (let i = -20; i < count; ++i) { // 20 to warm up
    const phone = `+1555${String(2_000_000 + i)}`;
    await stack.db.query('INSERT INTO leads (org_id, name, phone) VALUES ($1, $2, $3)', [organization.id, 'Zoë', phone]);
    const committed = performance.timeOrigin + performance.now();
    const message = await until(`the SMS to ${phone}`, async () => (await stack.simulator.messages()).find((m) => m.to === phone));
    // Clocks of two processes on one machine: an arrival may seem to precede the acknowledgement by microseconds.
    if (i >= 0) waits.push(Math.max(0, message.arrived - committed));
    await until('byocd to sleep', () => stack.db.value(`
      SELECT bool_or(query LIKE '%dispatcher_sleep%') AND bool_and(state = 'idle') FROM pg_stat_activity WHERE usename = 'byocd'`));
  }
  waits.sort((a, b) => a - b);
  const at = (share) => waits[Math.min(waits.length - 1, Math.floor(waits.length * share))].toFixed(2);
  console.log(`commit to arrival, ${count} inserts, idle: p50 ${at(0.5)} ms, p95 ${at(0.95)} ms, p99 ${at(0.99)} ms, worst ${at(1)} ms`);
} finally {
  await stack.end();
}
