// For hours: nothing is lost, nothing is sent twice, nothing grows. `make soak` runs it. SOAK_MINUTES, SOAK_RATE (messages a second), SEED.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { PGBOUNCER } from '../e2e/support/pgbouncer.mjs';
import { Soak, SoakArena } from './soak.mjs';

const number = (name, otherwise) => Number(process.env[name] || otherwise);
const [minutes, rate] = [number('SOAK_MINUTES', 120), number('SOAK_RATE', 200)];
const seed = number('SEED', Math.floor(Math.random() * 1e9));
const skip = !PGBOUNCER && 'no pgbouncer';
const arena = new SoakArena('soak', { env: {} });
after(() => arena.end());
before(() => skip || arena.start());

test(`${minutes} minutes at ${rate} messages a second, each part restarted in turn`, { skip }, async () => {
  const soak = new Soak(arena, { minutes, rate, seed });
  await soak.run();
  await arena.drain(async () => 0, 60_000);
  console.log(`${soak.samples.table()}\n${soak.summary}`);
  soak.problems.push(...soak.samples.grown);
  if (soak.problems.length > 0) assert.fail(`${soak.problems.join('\n')}\nlogs: ${arena.keepLogs(`soak-${seed}`)}`);
  assert.ok(soak.totals.inserted >= minutes * 60 * rate * 0.8, 'the load was as large as it should be');
  assert.ok(Object.values(soak.restarts).every((count) => count > 0), 'each part was restarted');
});
