// Which lanes have work reaches another session when the transaction that says so commits, and does not get lost.

import assert from 'node:assert/strict';
import { after, before, beforeEach, test } from 'node:test';
import { Cluster, Run, until } from './stack.mjs';

const ORGANIZATION = 'aaaaaaaa-0000-4000-8000-00000000000a';
const run = new Run(`e2e-wakeups-${process.pid}`);
let cluster, writer, dispatcher;

after(() => cluster?.disconnect());
before(async () => {
  cluster = new Cluster(run, { settings: { max_prepared_transactions: 1 } });
  [writer, dispatcher] = [await cluster.connect(), await cluster.connect()];
  await writer.query(`CREATE EXTENSION pg_byoc; SELECT byoc.create_organization('Organization', '${ORGANIZATION}')`);
});
beforeEach(() => dispatcher.query('DELETE FROM byoc.queue; DELETE FROM byoc.lanes; SELECT byoc.take_lanes()'));

const send = (body) => writer.query(`SELECT byoc.send_sms('+15005550006', $1, org_id => $2)`, [body, ORGANIZATION]);
const drain = () => dispatcher.value('SELECT cardinality(lanes) FROM byoc.take_lanes()');
const hasWakeups = () => dispatcher.value('SELECT byoc.has_wakeups()');

test('a lane is told of at commit', async () => {
  await writer.query('BEGIN');
  await send('one');
  assert.equal(await hasWakeups(), false);
  await writer.query('COMMIT');
  assert.equal(await hasWakeups(), true);
  assert.equal(await drain(), 1);
  assert.equal(await hasWakeups(), false);
});

test('many transactions leave one note of a lane', async () => {
  for (let i = 0; i < 20; ++i) await send(`message ${i}`);
  assert.equal(await drain(), 1);
});

test('a rolled back transaction leaves none', async () => {
  await writer.query('BEGIN');
  await send('one');
  await writer.query('ROLLBACK');
  assert.equal(await hasWakeups(), false);
  await writer.query('SELECT 1');
  assert.equal(await hasWakeups(), false);
});

test('a claim that fails after it took the note gives it back', async () => {
  await send('one');
  await dispatcher.query('BEGIN');
  assert.equal(await drain(), 1);
  await dispatcher.query('ROLLBACK');
  assert.equal(await drain(), 1);
});

test('a dispatcher that dies after it took the note gives it back', async () => {
  await send('one');
  const other = await cluster.connect();
  await other.query('BEGIN; SELECT byoc.take_lanes()');
  assert.equal(await hasWakeups(), false);
  await other.end();
  await until('the note to be back', hasWakeups);
});

test('a prepared transaction loses the note and not the message', async () => {
  await writer.query('BEGIN');
  await send('prepared');
  await writer.query(`PREPARE TRANSACTION 'two'`);
  await writer.query(`COMMIT PREPARED 'two'`);
  assert.equal(await hasWakeups(), false);
  assert.equal(await dispatcher.value('SELECT byoc.dispatcher_sleep()'), 0);
  assert.equal(await hasWakeups(), true);
});

// Lanes that others noted: [{ lane, from }]. `take` answers those that it gets.
const lane = (number) => `00000000-0000-4000-8000-00000000000${number}`;
const note = (number, from) => writer.value('SELECT byoc.note_lanes(ARRAY[$1::uuid], ARRAY[$2::uuid], ARRAY[$3::uuid])', [ORGANIZATION, lane(number), lane(from)]);
const take = (connection, most = 10) => connection.rows(`
  SELECT right(u.lane::text, 1)::int AS lane, right(u.id::text, 1)::int AS from FROM byoc.take_lanes($1::int) AS t, unnest(t.lanes, t.from_ids) AS u (lane, id)`, [most]);

test('two dispatchers never have the same lane', async () => {
  for (const number of [1, 2, 3]) await note(number, 1);
  await dispatcher.query('BEGIN');
  assert.deepEqual(await take(dispatcher, 2), [{ lane: 1, from: 1 }, { lane: 2, from: 1 }]);
  assert.deepEqual(await take(writer), [{ lane: 3, from: 1 }]);
  await dispatcher.query('COMMIT');
  assert.deepEqual(await take(writer), []);
});

test('a lane that is woken while it is served is served again, from the message that woke it', async () => {
  await note(1, 1);
  await dispatcher.query('BEGIN');
  await take(dispatcher);
  await note(1, 5);
  await note(1, 4);
  assert.deepEqual(await take(writer), []);
  await dispatcher.query('COMMIT');
  assert.deepEqual(await take(writer), [{ lane: 1, from: 4 }]);
});

test('a lane that is passed on takes its turn behind the others', async () => {
  for (const number of [1, 2]) await note(number, 1);
  await dispatcher.query('BEGIN');
  await take(dispatcher, 1);
  await dispatcher.query('SELECT byoc.pass_on_lane($1, $2, $3)', [ORGANIZATION, lane(1), lane(7)]);
  await dispatcher.query('COMMIT');
  assert.deepEqual(await take(writer), [{ lane: 2, from: 1 }, { lane: 1, from: 7 }]);
});

test('a claim that fails gives its lanes back as they were', async () => {
  await note(1, 3);
  await dispatcher.query('BEGIN');
  await take(dispatcher);
  await dispatcher.query('SELECT byoc.pass_on_lane($1, $2, $3)', [ORGANIZATION, lane(1), lane(7)]);
  await note(1, 5);
  await dispatcher.query('ROLLBACK');
  assert.deepEqual(await take(writer), [{ lane: 1, from: 3 }]);
});

test('more lanes than there are places for are all served', async () => {
  await writer.query(`SELECT byoc.enqueue_sms(gen_random_uuid(), '+15005550006', n::text, NULL, NULL, NULL, NULL) FROM generate_series(1, 3000) AS n`);
  await until('all of them to be served', async () => {
    await dispatcher.query(`SELECT byoc.claim_jobs(gen_random_uuid(), 500, '1 minute')`);
    return dispatcher.value('SELECT NOT EXISTS (SELECT FROM byoc.queue)');
  });
  assert.equal(await dispatcher.value('SELECT count(*)::int FROM byoc.messages'), 3000);
});

test('a sweep that takes long is made less often', async () => {
  // As it is with very many lanes that wait.
  const definition = await dispatcher.value(`SELECT pg_get_functiondef('byoc.lane_starts'::regproc)`);
  await dispatcher.query(`CREATE TABLE public.sweeps (ms float8);
    CREATE OR REPLACE FUNCTION byoc.lane_starts(OUT org_ids uuid[], OUT lanes uuid[], OUT from_ids uuid[]) LANGUAGE plpgsql VOLATILE AS $$
    DECLARE
        begun CONSTANT timestamptz := clock_timestamp();
    BEGIN
        LOOP EXIT WHEN clock_timestamp() > begun + interval '0.5 seconds'; END LOOP;
        INSERT INTO public.sweeps VALUES (extract(epoch FROM clock_timestamp() - begun) * 1000);
    END $$`);
  const begin = performance.now();
  const swept = () => dispatcher.rows('SELECT ms FROM sweeps');
  await until('three sweeps', async () => {
    await dispatcher.query(`SELECT byoc.claim_jobs('dddddddd-0000-4000-8000-00000000000d', 1, '1 minute')`);
    return (await swept()).length >= 3;
  });
  const [, second, third] = (await swept()).map(({ ms }) => ms);
  const share = (second + third) / (performance.now() - begin);
  await dispatcher.query(definition);
  assert.ok(share <= 0.25, `sweeps took ${Math.round(share * 100)} % of the time`);
});
