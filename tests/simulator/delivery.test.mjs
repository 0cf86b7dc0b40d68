// Status progress and callbacks.
import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, test } from 'node:test';
import { accountA, from, Receiver, signatureOf, Simulator, to, tokenA, until } from './harness.mjs';

let simulator;
let receiver;
before(async () => { simulator = await Simulator.start(); });
after(async () => { assert.equal(await simulator.stop(), 0); });
beforeEach(async () => {
  receiver = await Receiver.start();
  await simulator.reset();
});
afterEach(() => receiver.stop());

const at_once = { queued_ms: 0, sending_ms: 0, sent_ms: 0, final_ms: 0 };
const settled = (count) => until(async () => {
  const { callbacks } = await simulator.stats();
  return callbacks.succeeded + callbacks.failed + callbacks.dropped >= count && callbacks;
}, `${count} callbacks`);

test('a message moves on by itself and no callback comes unasked', async () => {
  const { body } = await simulator.send();
  assert.equal(body.status, 'queued');
  const seen = new Set();
  const last = await until(async () => {
    const now = (await simulator.twilio('GET', body.uri)).body;
    seen.add(now.status);
    return now.status === 'delivered' && now;
  }, 'delivered');
  assert.ok(last.date_sent);
  for (const status of seen) assert.ok(['queued', 'sending', 'sent', 'delivered'].includes(status), status);
  assert.equal((await simulator.stats()).callbacks.posted, 0);
});

test('callbacks are complete and signed over the URL without its fragment', async () => {
  await simulator.control('PUT', 'delivery', at_once);
  const target = `${receiver.url}/status/a%20b?job=1&attempt=2`;
  const { body } = await simulator.send({ Body: 'ü', StatusCallback: `${target}#rc=3&rp=all` });
  await settled(3);
  assert.deepEqual(receiver.statuses(), ['sending', 'sent', 'delivered']);
  for (const { url, method, signature, fields } of receiver.callbacks) {
    assert.equal(method, 'POST');
    assert.equal(url, '/status/a%20b?job=1&attempt=2');
    assert.equal(signature, signatureOf(tokenA, target, fields));
    assert.equal(fields.get('MessageSid'), body.sid);
    assert.equal(fields.get('SmsSid'), body.sid);
    assert.equal(fields.get('SmsStatus'), fields.get('MessageStatus'));
    assert.deepEqual([fields.get('To'), fields.get('From'), fields.get('AccountSid'), fields.get('ApiVersion')], [to, from, accountA, '2010-04-01']);
    assert.equal(fields.has('ErrorCode'), false);
  }
});

test('messages can end undelivered or failed, all of them or one recipient\'s', async () => {
  await simulator.control('PUT', 'delivery', { ...at_once, final_status: 'failed', recipients: { '+15551000002': { final_status: 'undelivered', error_code: 30005 } } });
  const failed = (await simulator.send({ StatusCallback: receiver.url })).body;
  await settled(2);
  assert.deepEqual(receiver.statuses(), ['sending', 'failed']);
  assert.equal(receiver.callbacks.at(-1).fields.get('ErrorCode'), '30008');
  assert.equal((await simulator.twilio('GET', failed.uri)).body.error_code, 30008);
  const undelivered = (await simulator.send({ To: '+15551000002', StatusCallback: receiver.url })).body;
  await settled(5);
  assert.deepEqual(receiver.statuses().slice(2), ['sending', 'sent', 'undelivered']);
  const fetched = (await simulator.twilio('GET', undelivered.uri)).body;
  assert.deepEqual([fetched.status, fetched.error_code, fetched.error_message], ['undelivered', 30005, 'Unknown destination handset']);
});

test('callbacks can be dropped, repeated and reversed', async () => {
  await simulator.control('PUT', 'delivery', { ...at_once, drop_statuses: ['sent'], repeat: 1 });
  await simulator.send({ StatusCallback: receiver.url });
  assert.equal((await settled(6)).dropped, 2);
  assert.deepEqual(receiver.statuses(), ['sending', 'sending', 'delivered', 'delivered']);
  receiver.callbacks = [];
  await simulator.control('DELETE', 'messages');
  await simulator.control('PUT', 'delivery', { ...at_once, out_of_order: true });
  await simulator.send({ StatusCallback: receiver.url });
  await settled(3);
  assert.deepEqual(receiver.statuses(), ['delivered', 'sent', 'sending']);
  await simulator.control('DELETE', 'messages');
  await simulator.control('PUT', 'delivery', { ...at_once, drop_probability: 1 });
  await simulator.send({ StatusCallback: receiver.url });
  assert.equal((await settled(3)).posted, 0);
});

test('a Messaging Service reports queued too', async () => {
  await simulator.control('PUT', 'delivery', at_once);
  const service = 'MG00000000000000000000000000000001';
  await simulator.send({ From: undefined, MessagingServiceSid: service, StatusCallback: receiver.url });
  await settled(4);
  assert.deepEqual(receiver.statuses(), ['queued', 'sending', 'sent', 'delivered']);
  assert.equal(receiver.callbacks[0].fields.get('MessagingServiceSid'), service);
  assert.equal(receiver.callbacks[0].fields.get('From'), from);
});

test('a refused callback is counted, a broken connection is tried once more', async () => {
  await simulator.control('PUT', 'delivery', { sending_ms: 0, sent_ms: null });
  receiver.answer = (request, response) => response.writeHead(500).end();
  await simulator.send({ StatusCallback: receiver.url });
  assert.deepEqual(await settled(1), { posted: 1, succeeded: 0, failed: 1, dropped: 0 });
  await simulator.control('DELETE', 'messages');
  receiver.answer = (request, response) => {
    if (receiver.callbacks.length === 2) request.socket.destroy();
    else response.writeHead(204).end();
  };
  await simulator.send({ StatusCallback: receiver.url });
  assert.deepEqual(await settled(1), { posted: 2, succeeded: 1, failed: 0, dropped: 0 });
  await simulator.control('DELETE', 'messages');
  receiver.stop();
  await simulator.send({ StatusCallback: receiver.url });
  assert.deepEqual(await settled(1), { posted: 2, succeeded: 0, failed: 1, dropped: 0 });
});
