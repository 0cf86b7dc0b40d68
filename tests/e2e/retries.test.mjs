// What a provider's answers do to a message.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Stack, until } from './stack.mjs';

const stack = new Stack('retries');
let a;
const outcomes = async (id) => (await stack.events(id)).map((e) => `${e.event} ${e.http_status ?? e.error_code ?? ''}`.trim());

after(() => stack.end());
before(async () => {
  await stack.start();
  await stack.reconcileAfter(100, 200);
  a = await stack.organization(1);
});

test('500 twice, then accepted: one message, three attempts, each looked for before the next', async () => {
  await stack.faults([{ action: 'status', status: 500, count: 2, match: { to: '+15551000001', method: 'POST' } }]);
  const id = await stack.send(a, '+15551000001', 'third time lucky');
  const message = await stack.settled(id);
  assert.deepEqual([message.status, message.attempts], ['sent', 3]);
  assert.deepEqual(await outcomes(id), ['unavailable 500', 'not_found', 'unavailable 500', 'not_found', 'accepted']);
  const received = (await stack.simulator.messages()).filter((m) => m.to === '+15551000001');
  assert.deepEqual(received.map((m) => m.sid), [message.provider_sid]);
});

test('429 waits as long as Retry-After says', async () => {
  await stack.faults([{ action: 'status', status: 429, retry_after: 1, count: 1, match: { to: '+15551000002' } }]);
  const id = await stack.send(a, '+15551000002', 'patience');
  await stack.settled(id);
  const events = await stack.events(id);
  assert.deepEqual(await outcomes(id), ['throttled 429', 'accepted']);
  const waited = new Date(events[1].at) - new Date(events[0].at);
  assert.ok(waited >= 1000, `waited ${waited} ms`);
});

test('a permanent error ends as failed, with the code and message of Twilio', async () => {
  const id = await stack.send(a, '+15005550004', 'to somebody who opted out');
  const message = await stack.settled(id);
  assert.deepEqual([message.status, message.error_code, message.attempts], ['failed', '21610', 1]);
  assert.match(message.error_message, /unsubscribed|opted|stop/i);
});

test('an error that means "later" is tried again', async () => {
  await stack.faults([{ action: 'status', status: 400, code: 21611, count: 1, match: { to: '+15551000003' } }]);
  const id = await stack.send(a, '+15551000003', 'queue full');
  assert.equal((await stack.settled(id)).status, 'sent');
  assert.deepEqual(await outcomes(id), ['rejected 400', 'accepted']);
});

test('a provider that is down loses nothing', async () => {
  await stack.faults([]);
  await stack.simulator.program.stop('SIGKILL');
  const ids = [];
  for (let i = 0; i < 20; ++i) ids.push(await stack.send(a, `+155520000${String(i).padStart(2, '0')}`, `while down ${i}`));
  await until('the breaker to open', () => stack.db.value('SELECT bool_or(failures >= byoc.breaker_threshold()) FROM byoc.lanes'));
  assert.equal(await stack.db.value(`SELECT count(*)::int FROM byoc.sms_messages WHERE status IN ('queued', 'sending')`), 20);
  await stack.replaceSimulator([a]);
  for (const id of ids) assert.equal((await stack.settled(id)).status, 'sent');
  assert.equal((await stack.simulator.messages()).length, 20);
});
