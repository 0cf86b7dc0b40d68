// BENCH=depth: what claiming and recording a batch costs when much is queued, when much was sent, and when an old snapshot keeps
// the dead rows of 100,000 messages, against an empty system.

import { randomUUID } from 'node:crypto';
import { against, keep, percentile, rounds, scale } from './bars.mjs';
import { oneBatch } from './batch.mjs';
import { Bed } from './bed.mjs';
import { median, report } from './report.mjs';
import { byoc } from './systems.mjs';

const ORGANIZATIONS = 100;
const SLOTS = 64;
const BATCHES = 50; // in each round
const MOST = 1.5; // times the empty system's
const QUEUED = scale(1_000_000);
const FINISHED = scale(5_000_000);
const THROUGH = scale(100_000);

const DISPATCHER = randomUUID();

const ours = byoc(ORGANIZATIONS);
const bed = await Bed.start('depth', { accounts: ORGANIZATIONS });
await ours.prepare(bed);
const fill = (state, count) => ours.fill(state.db, count);

const states = [
  { title: 'empty', build: () => {} },
  { title: `${QUEUED.toLocaleString('en-US')} queued`, build: (state) => fill(state, QUEUED) },
  { title: `${FINISHED.toLocaleString('en-US')} finished`, build: ({ db }) => finished(db) },
  { title: `old snapshot, ${THROUGH.toLocaleString('en-US')} messages ago`, after: oldSnapshot, build: () => {} },
];

// Rows as a sent message leaves them, with its event.
function finished(db) {
  return db.query(`
    INSERT INTO byoc.messages (org_id, id, to_number, body, status, attempts, provider_sid, segments, source_table, sent_at, finished_at)
    SELECT o.id, byoc.uuid_v7(), '+15551000001', 'Hello from the bench, this is a message as long as they usually are.', 'sent', 1,
           'SM' || md5(g::text), 1, 'public.leads', now(), now()
    FROM generate_series(1, ${Math.ceil(FINISHED / ORGANIZATIONS)}) AS g CROSS JOIN byoc.organizations AS o;
    INSERT INTO byoc.message_events (org_id, message_id, id, event, attempt, provider_sid)
    SELECT org_id, id, byoc.uuid_v7(), 'accepted', 1, provider_sid FROM byoc.messages`);
}

// A transaction that sees, and so keeps, everything from now on.
async function oldSnapshot(state) {
  state.holder = await bed.cluster.connect(state.database);
  await state.holder.query('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM byoc.organizations');
  await fill(state, THROUGH);
  for (let left = THROUGH; left > 0;) left -= await batch(state.db);
}

// `times` takes those of full batches.
async function batch(db, times) {
  const own = { claim: [], record: [] };
  const count = await oneBatch(db, DISPATCHER, SLOTS, own);
  if (count === SLOTS) for (const name of Object.keys(own)) times?.[name].push(...own[name]);
  return count;
}

for (const [number, state] of states.entries()) {
  state.database = `bench_${number}`;
  state.db = await bed.fresh(ours, state.database);
  await state.db.query('SELECT byoc.register_dispatcher($1)', [DISPATCHER]);
  await state.build(state);
  await bed.settle(state.db);
  await state.after?.(state);
  state.runs = [];
}

for (let round = 0; round < rounds; ++round) {
  for (const state of states) {
    await fill(state, 2 * BATCHES * SLOTS);
    const times = { claim: [], record: [] };
    while (times.claim.length < BATCHES) {
      if (await batch(state.db, times) === 0) throw new Error(`nothing to claim in the state: ${state.title}`);
    }
    state.runs.push({ claim: percentile(times.claim, 0.5), record: percentile(times.record, 0.5) });
    if (state.title === 'empty' || state.holder) while (await batch(state.db) > 0);
  }
}

const results = states.map(({ title, runs }) => ({
  title, claim: median(runs.map((run) => run.claim)), record: median(runs.map((run) => run.record)),
}));
report(`One batch of ${SLOTS} messages, ${ORGANIZATIONS} organizations, p50 in ms (${rounds} rounds of ${BATCHES} batches)`,
  ['', 'claim', 'against empty', 'record', 'against empty'], results.map((row, number) => [
    row.title, row.claim.toFixed(2), against(row.claim / results[0].claim, number > 0 ? { most: MOST } : {}),
    row.record.toFixed(2), against(row.record / results[0].record),
  ]));
keep('depth', { bars: { claim: MOST }, results });
await bed.end();
