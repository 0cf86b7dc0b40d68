// Never lost, never doubled: whatever dies, pauses, restarts or goes dark. `make check-faults` runs it small, `make campaign` large.
// From the environment: SEED, MESSAGES, KILLS (of byocd), RESTARTS (of PostgreSQL); PATIENT=1: waits as shipped.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Arena } from './arena.mjs';
import { Campaign } from './campaign.mjs';
import { ACTIONS } from './provider_faults.mjs';

const number = (name, otherwise) => Number(process.env[name] || otherwise);
const seed = number('SEED', Math.floor(Math.random() * 1e9));
const [messages, kills, restarts] = [number('MESSAGES', 3000), number('KILLS', 12), number('RESTARTS', 2)];
const some = Math.ceil(kills / 10); // of each other fault
const part = (share) => Math.ceil(messages * share);

const arena = new Arena('faults', { env: {} });
after(() => arena.end());
before(() => {
  console.log(`seed ${seed}: again with SEED=${seed}`);
  return arena.start(4, { patient: process.env.PATIENT === '1' });
});

async function campaign(name, options) {
  const running = new Campaign(arena, name, { seed, ...options });
  await running.run();
  running.verify();
  return running;
}

// A campaign in which no message ever lost its sidecar would show nothing.
const assertRescues = ({ ledger }) => assert.ok(ledger.events.rescued > 0, 'nothing was rescued');

test('everything at once, each message with its own text', async () => {
  const run = await campaign('everything', {
    messages,
    steps: { faults: some, kill: kills, restart: restarts, term: some, leave: some, pause: some, clock: some, cut: some, silence: some, provider: some },
  });
  for (const action of ACTIONS) assert.ok(run.faults[action] > 0, `the provider's fault ${action} never struck`);
  assertRescues(run);
  const { ledger } = run;
  assert.ok(ledger.count('sent', 'delivered') > ledger.messages.length * 0.9, 'most messages arrive');
  assert.ok(ledger.count('unknown') <= ledger.messages.length * 0.02, 'hardly any has to be decided by a person');
});

test('the same text to the same few numbers', () => campaign('identical', {
  messages: part(0.2), identical: true,
  steps: { faults: some, kill: Math.ceil(kills / 3), restart: Math.ceil(restarts / 4), term: some, pause: 2 * some, cut: some, silence: 2 * some, provider: some },
}));

test('a message list that hides the texts, and what is not sent yet from filters by date', async () => assertRescues(await campaign('veiled', {
  messages: part(0.1), steps: { kill: 3 * some, provider: some },
  // So slow that each of the few kills finds requests on their way.
  knobs: { latency: { ms: 400, jitter_ms: 300, seed }, lists: { delay_ms: 200, redact_bodies: true, date_filters_skip_unsent: true }, delivery: { sending_ms: null } },
})));

test('clocks that jump by seconds to days, with kills and lost answers', () => campaign('clocks', {
  messages: part(0.1), steps: { faults: 1, clock: 4 * some, kill: 3 * some, provider: some },
}));

test('processes that stand still past their lease', async () => assertRescues(await campaign('pauses', {
  messages: part(0.2), steps: { pause: 4 * some },
})));

test('a network that fails between sidecars and database', async () => assertRescues(await campaign('network', {
  messages: part(0.2), steps: { cut: 2 * some, silence: 4 * some },
})));

test('sidecars that join and leave in order, under load: nothing is even unknown', async () => {
  const { exits, ledger } = await campaign('rolling', { messages: part(0.2), sidecars: 4, steps: { term: 8 * some } });
  assert.equal(ledger.count('unknown'), 0);
  assert.deepEqual(new Set(exits), new Set([0]), 'each ends with 0');
});
