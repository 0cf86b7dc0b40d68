// What nobody knows is looked for before it is sent again: nothing goes out twice, nothing is lost.

import assert from 'node:assert/strict';
import { after, before, beforeEach, test } from 'node:test';
import { Stack, until } from './stack.mjs';

// A request that times out does so because the test wants it: two seconds are long for the simulator.
const ENV = { BYOC_REQUEST_TIMEOUT: '2s', BYOC_POLL_INTERVAL: '100ms' };
const PATIENT = { BYOC_LEASE: '3600s', BYOC_REQUEST_TIMEOUT: '600s' }; // what ends early ends because the test says so
const LEAVING = { BYOC_LEASE: '8s', BYOC_REQUEST_TIMEOUT: '4s' };
const SCHEDULE = [100, 300, 600]; // ms
const stack = new Stack('reconciliation', { env: ENV });
let a;

after(() => stack.end());
before(async () => {
  await stack.start();
  await stack.reconcileAfter(...SCHEDULE);
  a = await stack.organization(1);
});
beforeEach(() => stack.faults([]));

const events = async (id) => (await stack.events(id)).map((e) => e.event).join(' ');
const received = async (to) => (await stack.simulator.messages()).filter((m) => m.to === to);
const refused = (to, action) => until(`${action} for ${to}`, async () =>
  (await stack.simulator.request('GET', '/_simulator/faults')).some((rule) => rule.match.to === to && rule.hits > 0));

async function restart(env) {
  await stack.byocd.program.stop();
  await stack.startByocd(env);
}

// One SMS to this number, and the message says that it was sent with its id.
async function sentOnce(id, to) {
  const message = await stack.settled(id);
  const sids = (await received(to)).map((m) => m.sid);
  assert.match(message.status, /^(sent|delivered)$/);
  assert.deepEqual(sids, [message.provider_sid]);
  return message;
}

const TAKEN = [['timeout_after', 'timeout'], ['reset_after', 'connection_lost'], ['malformed', 'bad_answer']];
for (const [n, [action, code]] of TAKEN.entries()) {
  test(`a lost answer to a message that was taken (${action}): found, one SMS`, async () => {
    const to = `+1555100001${n}`;
    await stack.faults([{ action, count: 1, match: { to } }]);
    const id = await stack.send(a, to, `taken,\n${action} 👋`);
    await sentOnce(id, to);
    assert.equal((await stack.events(id))[0].error_code, code);
    assert.equal(await events(id), 'unknown found');
  });
}

for (const [n, [rule, first]] of [[{ action: 'timeout' }, 'unknown'], [{ action: 'reset' }, 'unknown'], [{ action: 'status', status: 500 }, 'unavailable']].entries()) {
  test(`a lost answer to a message that was not taken (${rule.action}): absent, sent again, one SMS`, async () => {
    const to = `+1555100002${n}`;
    await stack.faults([{ ...rule, count: 1, match: { to, method: 'POST' } }]);
    const id = await stack.send(a, to, 'not taken');
    assert.equal((await sentOnce(id, to)).attempts, 2);
    assert.equal(await events(id), `${first} not_found accepted`);
  });
}

test('two messages that are alike, one of them taken: two SMS', async () => {
  const to = '+15551000030';
  await stack.faults([{ action: 'timeout_after', count: 1, match: { to } }, { action: 'timeout', count: 1, match: { to } }]);
  const ids = await Promise.all([1, 2].map(async () => stack.send(a, to, 'alike')));
  const sids = [];
  for (const id of ids) sids.push((await stack.settled(id)).provider_sid);
  assert.deepEqual(sids.sort(), (await received(to)).map((m) => m.sid).sort());
  assert.equal(new Set(sids).size, 2);
  assert.deepEqual((await Promise.all(ids.map(events))).sort(), ['unknown found', 'unknown not_found accepted']);
});

test('a list that may not be read: unknown, with the reason, and not sent again', async () => {
  const to = '+15551000040';
  await stack.faults([{ action: 'timeout_after', count: 1, match: { to, method: 'POST' } }, { action: 'status', status: 403, match: { method: 'GET' } }]);
  const id = await stack.send(a, to, 'may not be read');
  const message = await stack.settled(id);
  assert.deepEqual([message.status, message.error_code], ['unknown', 'timeout']);
  assert.match(message.error_message, /the message list could not tell: Twilio refused it with HTTP 403/);
  assert.equal((await received(to)).length, 1);
  await stack.db.query(`SELECT byoc.resolve_unknown_sms($1, 'sent')`, [id]);
  assert.equal(await events(id), 'unknown unknown resolved');
});

test('a list that cannot be read for a while', async () => {
  const to = '+15551000041';
  await stack.faults([{ action: 'reset_after', count: 1, match: { to, method: 'POST' } }, { action: 'status', status: 503, count: 2, match: { method: 'GET' } },
    { action: 'timeout', count: 1, match: { method: 'GET' } }]);
  await sentOnce(await stack.send(a, to, 'unavailable for a while'), to);
});

test('a recipient with more than one page of messages', async () => {
  await restart(PATIENT);
  const to = '+15551000042';
  await stack.faults([{ action: 'reset_after', count: 1, match: { to } }]);
  await stack.reconcileAfter(3_600_000);
  const first = await stack.send(a, to, 'the first of many');
  await until('the attempt to end', async () => (await events(first)) === 'unknown');
  await stack.db.query(`SELECT count(byoc.send_sms($1, 'one of many ' || n, org_id => $2)) FROM generate_series(1, 450) AS n`, [to, a.id]);
  await until('the others to be sent', async () => (await stack.count(`to_number = $1 AND status IN ('sent', 'delivered')`, [to])) === 450);
  await stack.reconcileAfter(...SCHEDULE);
  await stack.db.query('UPDATE byoc.reconciliations SET due_at = now()');
  const message = await stack.settled(first);
  assert.equal(message.provider_sid, (await received(to))[0].sid);
  assert.equal((await received(to)).length, 451);
});

const LEFT = [['timeout_after', 'rescued found'], ['timeout', 'rescued not_found accepted']];
for (const [n, [action, expected]] of LEFT.entries()) {
  test(`kill -9 of byocd while a request is on its way (${action}): one SMS`, async () => {
    await restart(PATIENT);
    const to = `+1555100005${n}`;
    await stack.faults([{ action, count: 1, match: { to } }]);
    const id = await stack.send(a, to, `killed, ${action}`);
    await refused(to, action);
    await stack.byocd.program.stop('SIGKILL');
    await stack.expireLeases();
    await stack.startByocd(PATIENT);
    await sentOnce(id, to);
    assert.equal(await events(id), expected);
  });
}

for (const [n, [action, expected]] of LEFT.entries()) {
  test(`byocd stopped until after its lease, and continued (${action}): one SMS`, async () => {
    await restart(LEAVING);
    const to = `+1555100006${n}`;
    await stack.faults([{ action, count: 1, match: { to } }]);
    const id = await stack.send(a, to, `stopped, ${action}`);
    await refused(to, action);
    const stopped = stack.byocd;
    process.kill(stopped.program.pid, 'SIGSTOP');
    await until('its lease to run out', () => stack.db.value('SELECT bool_and(lease_until < now()) FROM byoc.claims'));
    await stack.startByocd(LEAVING);
    await sentOnce(id, to);
    process.kill(stopped.program.pid, 'SIGCONT');
    assert.deepEqual(await stopped.program.stop('SIGTERM'), { code: 0, signal: null });
    await sentOnce(id, to);
    assert.equal(await events(id), expected);
  });
}
