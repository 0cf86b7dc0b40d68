// Claims of several dispatchers at once, each in a session of its own as byocd's are.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Cluster, Run, until } from './stack.mjs';

const run = new Run(`e2e-claims-${process.pid}`);
let cluster, db, organization, other;

class Dispatcher {
  // `number` tells their ids apart, 1 to 9.
  static async connect(number) {
    const dispatcher = new Dispatcher();
    dispatcher.id = `00000000-0000-4000-8000-00000000000${number}`;
    dispatcher.session = await cluster.connect();
    dispatcher.pid = await dispatcher.session.value('SELECT pg_backend_pid()');
    return dispatcher;
  }

  sleep() { return this.session.value('SELECT byoc.dispatcher_sleep()'); }
  query(statement) { return this.session.query(statement); }
  async claim(slots, room = slots) {
    const jobs = await this.session.rows(`SELECT body FROM byoc.claim_jobs($1, $2, '1 hour', '{}', '{}', $3)`, [this.id, slots, room]);
    return jobs.map(({ body }) => body);
  }
}

const send = (session, org, body) => session.value('SELECT byoc.send_sms($1, $2, org_id => $3)', ['+15005550006', body, org]);

after(() => cluster?.disconnect());
before(async () => {
  cluster = new Cluster(run, {});
  db = await cluster.connect();
  await db.query('CREATE EXTENSION pg_byoc');
  [organization, other] = await Promise.all([1, 2].map(async (number) => {
    const id = await db.value('SELECT byoc.create_organization($1)', [`Organization ${number}`]);
    await db.value('SELECT byoc.add_credential($1, $2, org_id => $3)', [
      'twilio', { account_sid: `AC${String(number).repeat(32)}`, auth_token: '0'.repeat(32), messaging_service_sid: `MG${String(number).repeat(32)}` }, id,
    ]);
    return id;
  }));
  // Neither is checked with a provider here.
  await db.query(`UPDATE byoc.organization_api_credentials SET verification_due_at = NULL, verification_status = 'verified'`);
  await db.query('UPDATE byoc.lanes SET paused_until = NULL, next_at = now()');
  const first = await Dispatcher.connect(9);
  for (const org of [organization, other]) {
    await send(db, org, 'hello');
    assert.deepEqual(await first.claim(10), ['hello']);
  }
});

test('dispatchers that sleep and wake among writers are given each message once', async () => {
  const dispatchers = await Promise.all([1, 2, 3].map((number) => Dispatcher.connect(number)));
  const given = [];
  let writing = true;
  const dispatch = async (dispatcher) => {
    const left = () => db.value('SELECT count(*)::int FROM byoc.queue');
    while (writing || await left() > 0) {
      await dispatcher.sleep();
      const jobs = await dispatcher.claim(4, 3);
      given.push(...jobs);
      if (jobs.length > 0) given.push(...await dispatcher.claim(4, 3));
    }
  };
  const write = async (number) => {
    const writer = await cluster.connect();
    for (let i = 0; i < 50; ++i) await send(writer, i % 3 === 0 ? other : organization, `${number} ${i}`);
    await writer.end();
  };
  const dispatching = Promise.all(dispatchers.map(dispatch));
  await Promise.all([1, 2, 3, 4, 5, 6].map(write));
  writing = false;
  await dispatching;
  assert.equal(given.length, 300);
  assert.equal(new Set(given).size, 300);
  assert.equal(await db.value(`SELECT count(*)::int FROM byoc.claims c CROSS JOIN unnest(c.message_ids)`), 302);
});

test('what a tenant is cancelling is passed over, and found again when it stays', async () => {
  const dispatcher = await Dispatcher.connect(4);
  const [, second] = [await send(db, organization, 'one'), await send(db, organization, 'two'), await send(db, organization, 'three')];
  const tenant = await cluster.connect();
  await tenant.query('BEGIN');
  await tenant.query(`SELECT byoc.set_org($1)`, [organization]);
  await tenant.query('SELECT byoc.cancel_sms($1)', [second]);
  await dispatcher.sleep();
  assert.deepEqual(await dispatcher.claim(10), ['one']);
  assert.deepEqual(await dispatcher.claim(10), ['three']);
  assert.deepEqual(await dispatcher.claim(10), [], 'the others left no more than their wake-ups');
  const wait = await dispatcher.sleep();
  assert.ok(wait > 0 && wait <= 1000, `then it waits, ${wait} ms`);
  await tenant.query('ROLLBACK');
  await until('the other one', async () => {
    await dispatcher.sleep();
    const [job] = await dispatcher.claim(10);
    return job === 'two';
  });
});

test('a lane that another dispatcher has in its claim is left to it', async () => {
  const [x, y] = await Promise.all([5, 6].map((number) => Dispatcher.connect(number)));
  for (const body of ['a', 'b', 'c']) await send(db, organization, body);
  await x.query('BEGIN');
  assert.deepEqual(await x.claim(1), ['a']);
  await send(db, organization, 'd'); // leaves a wake-up, as the lane's claim is not committed
  await y.sleep();
  assert.deepEqual(await y.claim(10), []);
  assert.deepEqual(await x.claim(10), ['b', 'c', 'd'], 'nobody else has locked its messages');
  await x.query('COMMIT');
  assert.deepEqual(await y.claim(10), []);
});

test('who goes to sleep beside a claim is told of the work that it leaves', async () => {
  const [x, y] = await Promise.all([7, 8].map((number) => Dispatcher.connect(number)));
  for (const body of ['p', 'q', 'r']) await send(db, organization, body);
  await x.query('BEGIN');
  assert.deepEqual(await x.claim(1), ['p']);
  assert.deepEqual(await y.claim(10), []);
  assert.equal(await y.sleep(), 0, 'nobody would wake it when the other commits');
  await x.query('COMMIT');
  assert.deepEqual(await y.claim(10), ['q', 'r']);
});

test('messages whose time has come wait for the claim that serves their lane', async () => {
  const [x, y] = await Promise.all([1, 2].map((number) => Dispatcher.connect(number)));
  for (const body of ['s', 't']) await send(db, organization, body);
  await db.query(`INSERT INTO byoc.schedule (org_id, id, due_at, to_number, body) VALUES ($1, byoc.uuid_v7(), now(), '+15005550006', 'due')`, [organization]);
  await x.query('BEGIN');
  await x.query(`UPDATE byoc.schedule SET due_at = due_at`); // so that the other promotes nothing
  await y.query('BEGIN');
  assert.deepEqual(await y.claim(1), ['s']);
  await x.query('COMMIT');
  assert.deepEqual(await x.claim(10), [], 'it has promoted the message, but not taken those beside it');
  await y.query('COMMIT');
  assert.deepEqual((await x.claim(10)).sort(), ['due', 't']);
});

test('who claims lists to read waits for nobody who settles a message', async () => {
  const [x, y] = await Promise.all([3, 4].map((number) => Dispatcher.connect(number)));
  await send(db, organization, 'settled meanwhile');
  await send(db, other, 'of a revoked credential');
  await x.sleep();
  const jobs = await x.session.rows(`SELECT org_id, id, claim_id, attempt FROM byoc.claim_jobs($1, 10, '1 hour')`, [x.id]);
  assert.equal(jobs.length, 2);
  const outcomes = jobs.map((job) => ({ ...job, outcome: 'unknown', error_code: 'timeout' }));
  await x.session.query('SELECT byoc.record_outcomes($1::jsonb)', [JSON.stringify(outcomes)]);
  await db.query(`UPDATE byoc.messages SET status = 'sent', claim_id = NULL, finished_at = now(), sent_at = now() WHERE body = 'settled meanwhile'`);
  await db.query('SELECT byoc.revoke_credential(c.id) FROM byoc.organization_api_credentials c WHERE c.org_id = $1', [other]);
  await db.query('UPDATE byoc.reconciliations SET due_at = now()');
  const left = () => db.value('SELECT count(*)::int FROM byoc.reconciliations');
  const claim = () => y.session.rows(`SELECT * FROM byoc.claim_reconciliations(10, '1 minute')`);
  await x.query('BEGIN');
  await x.query('SELECT FROM byoc.reconciliations FOR UPDATE');
  await y.query(`SET lock_timeout = '10s'`);
  assert.deepEqual(await claim(), []);
  assert.equal(await left(), 2);
  await x.query('COMMIT');
  assert.deepEqual(await claim(), []);
  assert.equal(await left(), 0);
  assert.equal(await db.value(`SELECT status FROM byoc.messages WHERE body = 'of a revoked credential'`), 'unknown');
});

// A message that is being sent, and nobody else's; what its dispatcher says about it; what its account's list shows, and the reading of it.
async function take(dispatcher, body) {
  await db.query('UPDATE byoc.lanes SET failures = 0, next_at = clock_timestamp()'); // the breaker is not what this is about
  await send(db, organization, body);
  await dispatcher.sleep();
  return (await dispatcher.session.rows(`SELECT org_id, id, claim_id, attempt FROM byoc.claim_jobs($1, 1, '1 hour')`, [dispatcher.id]))[0];
}
const record = (dispatcher, job, outcome) => dispatcher.session.value('SELECT byoc.record_outcomes($1::jsonb)', [JSON.stringify([{ ...job, ...outcome }])]);
const LOST = { outcome: 'unknown', error_code: 'timeout' };
const readList = (dispatcher, job, sid, body) => dispatcher.session.value(`
  SELECT byoc.record_reconciliation(r.org_id, r.account, r.to_number, now() - interval '1 hour', clock_timestamp(), $1::jsonb, 'complete', NULL)
  FROM byoc.reconciliations r WHERE r.message_id = $2`,
[JSON.stringify([{ sid, texts: [body], text_is_hidden: false, created_at: new Date().toISOString(), status: 'sent', segments: 1 }]), job.id]);
const toWait = (dispatcher) => until('it to wait', () => db.value(`SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = $1`, [dispatcher.pid]));
const owners = (sid) => db.rows('SELECT id FROM byoc.messages WHERE provider_sid = $1', [sid]);

test('a message that falls from a claim into reconciliation keeps its id, though one that looks the same is being looked up', async () => {
  const [x, reader, holder] = await Promise.all([1, 2, 3].map((number) => Dispatcher.connect(number)));
  const SID = `SM${'7'.repeat(32)}`;
  const one = await take(x, 'twin');
  await record(x, one, LOST);
  const two = await take(x, 'twin');

  await holder.query('BEGIN');
  await holder.query('SELECT FROM byoc.reconciliations FOR UPDATE');
  await reader.query('BEGIN');
  const reading = readList(reader, one, SID, 'twin');
  await toWait(reader);
  await db.query(`UPDATE byoc.claims SET lease_until = now() - interval '1 second' WHERE id = '${two.claim_id}'`);
  assert.equal(await db.value('SELECT byoc.rescue_expired()'), 1);
  await holder.query('COMMIT');
  await reading;
  await record(x, two, { outcome: 'accepted', provider_sid: SID });
  await reader.query('COMMIT');
  assert.deepEqual(await owners(SID), [{ id: two.id }]);
});

test('who records late outcomes and who reads a list take what is looked for in the same order', async () => {
  const [x, reader, holder] = await Promise.all([1, 2, 3].map((number) => Dispatcher.connect(number)));
  const [first, second] = [await take(x, 'late'), await take(x, 'late')];
  await db.query(`UPDATE byoc.claims SET lease_until = now() - interval '1 second' WHERE id IN ($1, $2)`, [first.claim_id, second.claim_id]);
  assert.equal(await db.value('SELECT byoc.rescue_expired()'), 2);
  await holder.query('BEGIN');
  await holder.session.query('SELECT FROM byoc.reconciliations WHERE message_id = $1 FOR UPDATE', [first.id]);
  const reading = readList(reader, second, `SM${'5'.repeat(32)}`, 'another');
  await toWait(reader);
  const outcomes = [{ ...second, outcome: 'accepted', provider_sid: `SM${'6'.repeat(32)}` }, { ...first, ...LOST }];
  const recording = x.session.value('SELECT byoc.record_outcomes($1::jsonb)', [JSON.stringify(outcomes)]);
  await toWait(x);
  await holder.query('COMMIT');
  assert.deepEqual(await Promise.all([reading, recording]), [0, 2]);
});

// One of two that look alike was given up, the other one is looked for.
async function unknownAndLost(dispatcher, body) {
  const [unknown, lost] = [await take(dispatcher, body), await take(dispatcher, body)];
  for (const job of [unknown, lost]) await record(dispatcher, job, LOST);
  await db.value(`SELECT byoc.give_up_reconciling($1, $2, 'nobody can tell')`, [unknown.org_id, unknown.id]);
  return [unknown, lost];
}
const report = (dispatcher, { org_id, id, attempt }, sid) => dispatcher.session.value('SELECT byoc.record_receipts($1::jsonb)',
  [JSON.stringify([{ org_id, id, attempt, provider_sid: sid, status: 'sent' }])]);

test('an id that the list gives to a message is not given to one that looks the same by a callback', async () => {
  const [x, reader] = await Promise.all([4, 5].map((number) => Dispatcher.connect(number)));
  const SID = `SM${'8'.repeat(32)}`;
  const [unknown, lost] = await unknownAndLost(x, 'called back');
  await reader.query('BEGIN');
  assert.equal(await readList(reader, lost, SID, 'called back'), 1);
  assert.equal(await report(x, unknown, SID), '{0}', 'it is to come again');
  await reader.query('COMMIT');
  assert.equal(await report(x, unknown, SID), '{}');
  assert.deepEqual(await owners(SID), [{ id: lost.id }]);
});

test('an id that the list gives to a message is not given to one that looks the same by a late answer', async () => {
  const [x, reader] = await Promise.all([6, 7].map((number) => Dispatcher.connect(number)));
  const SID = `SM${'9'.repeat(32)}`;
  const [unknown, lost] = await unknownAndLost(x, 'answered late');
  await reader.query('BEGIN');
  assert.equal(await readList(reader, lost, SID, 'answered late'), 1);
  const answer = record(x, unknown, { outcome: 'accepted', provider_sid: SID });
  await toWait(x);
  await reader.query('COMMIT');
  await answer;
  assert.deepEqual(await owners(SID), [{ id: lost.id }]);
});

test('an id that a callback or a late answer gives to a message is not given to one that looks the same by the list', async () => {
  const [x, reader] = await Promise.all([8, 9].map((number) => Dispatcher.connect(number)));
  const ways = [(job, sid) => report(x, job, sid), (job, sid) => record(x, job, { outcome: 'accepted', provider_sid: sid })];
  for (const [index, tell] of ways.entries()) {
    const SID = `SM${String(index + 1).repeat(32)}`;
    const [unknown, lost] = await unknownAndLost(x, `told ${index}`);
    await x.query('BEGIN');
    await tell(unknown, SID);
    const reading = readList(reader, lost, SID, `told ${index}`);
    await toWait(reader);
    await x.query('COMMIT');
    assert.equal(await reading, 0);
    assert.deepEqual(await owners(SID), [{ id: unknown.id }]);
  }
});
