// Twilio's own client library: it takes the simulator for Twilio, and byocd takes its signatures for Twilio's.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import http from 'node:http';
import { createRequire } from 'node:module';
import { after, before, test } from 'node:test';
import { installPackages } from '../../scripts/npm.mjs';
import { TOP, freePort } from '../../scripts/run.mjs';
import { Stack, until } from './stack.mjs';

const FOLDER = `${TOP}/build/npm/twilio`;
const stack = new Stack('twilio');
const key = { sid: 'SK00000000000000000000000000000001', secret: '0000000000000000000000000000c0de' };
const service = 'MG00000000000000000000000000000001';
const caller = '+15551000001';
let twilio;
let a;
let url;
let client;

// The library, with its requests sent to the simulator. Credentials as in twilio().
function connect(...credentials) {
  const real = new twilio.RequestClient();
  const options = credentials.length > 2 ? credentials.pop() : {};
  const httpClient = { request: (request) => real.request({ ...request, uri: request.uri.replace('https://api.twilio.com', stack.simulator.url) }) };
  return twilio(...credentials, { ...options, httpClient });
}

after(() => stack.end());
before(async () => {
  // Without a registry to install from, this fails and says so.
  installPackages(`${TOP}/tests/e2e/twilio`, FOLDER);
  twilio = createRequire(`${FOLDER}/package.json`)('twilio');
  await stack.start();
  const port = await freePort();
  url = `http://127.0.0.1:${port}`;
  await stack.byocd.program.stop();
  await stack.startByocd({ BYOC_HTTP_LISTEN: `127.0.0.1:${port}`, BYOC_PUBLIC_URL: url });
  a = await stack.organization(1);
  const { sid, authToken, number } = a.account;
  await stack.simulator.request('PUT', '/_simulator/accounts', {
    sid, auth_token: authToken, friendly_name: 'Account 1', numbers: [{ phone_number: number, sms: true }, { phone_number: '+15550000091', sms: false }],
    api_keys: [{ ...key, type: 'standard' }], verified_callers: [caller], messaging_services: [{ sid: service, numbers: [number] }],
  });
  client = connect(sid, authToken);
});

test('messages: create and fetch', async () => {
  const created = await client.messages.create({ to: caller, from: a.account.number, body: 'Zoë says "hi" & 💍', validityPeriod: 600 });
  assert.match(created.sid, /^SM[0-9a-f]{32}$/);
  assert.deepEqual([created.status, created.direction, created.numSegments, created.errorCode], ['queued', 'outbound-api', '1', null]);
  assert.equal(created.accountSid, a.account.sid);
  assert.ok(created.dateCreated instanceof Date && !Number.isNaN(created.dateCreated.getTime()));
  const fetched = await until('its delivery', async () => {
    const message = await client.messages(created.sid).fetch();
    return message.status === 'delivered' && message;
  });
  assert.deepEqual([fetched.sid, fetched.to, fetched.from, fetched.body], [created.sid, caller, a.account.number, 'Zoë says "hi" & 💍']);
  assert.ok(fetched.dateSent >= created.dateCreated);
  const throughService = await client.messages.create({ to: caller, messagingServiceSid: service, body: 'by a service' });
  assert.deepEqual([throughService.status, throughService.from, throughService.messagingServiceSid], ['accepted', null, service]);
});

test('messages: lists, page by page, and filters', async () => {
  const to = '+15551000007';
  const sids = [];
  for (let i = 0; i < 5; ++i) sids.unshift((await client.messages.create({ to, from: a.account.number, body: `number ${i}` })).sid);
  assert.deepEqual((await client.messages.list({ to, pageSize: 2 })).map((m) => m.sid).sort(), [...sids].sort());
  assert.equal((await client.messages.list({ to, pageSize: 2, limit: 3 })).length, 3);
  const page = await client.messages.page({ to, pageSize: 4 });
  assert.deepEqual([page.instances.length, (await page.nextPage()).instances.length], [4, 1]);
  const today = new Date();
  const sent = await until('all to be sent', async () => {
    const found = await client.messages.list({ to, dateSentAfter: new Date(today - 86_400_000) });
    return found.length === 5 && found;
  });
  assert.ok(sent.every((m) => m.body.startsWith('number ')));
  assert.deepEqual(await client.messages.list({ to, dateSentBefore: new Date(today - 2 * 86_400_000) }), []);
  assert.deepEqual(await client.messages.list({ to, from: '+15550000091' }), []);
});

test('accounts and numbers', async () => {
  const account = await client.api.v2010.accounts(a.account.sid).fetch();
  assert.deepEqual([account.sid, account.friendlyName, account.status, account.type], [a.account.sid, 'Account 1', 'active', 'Full']);
  assert.deepEqual((await client.api.v2010.accounts.list()).map((each) => each.sid), [a.account.sid]);

  const numbers = await client.incomingPhoneNumbers.list();
  assert.deepEqual(numbers.map((n) => [n.phoneNumber, n.capabilities.sms]), [[a.account.number, true], ['+15550000091', false]]);
  const [one] = await client.incomingPhoneNumbers.list({ phoneNumber: a.account.number });
  assert.match(one.sid, /^PN[0-9a-f]{32}$/);
  assert.equal((await client.incomingPhoneNumbers(one.sid).fetch()).phoneNumber, a.account.number);
  assert.deepEqual(await client.incomingPhoneNumbers.list({ phoneNumber: '+15550000092' }), []);

  const [verified] = await client.outgoingCallerIds.list({ phoneNumber: caller });
  assert.equal(verified.phoneNumber, caller);
  assert.equal((await client.outgoingCallerIds(verified.sid).fetch()).sid, verified.sid);
});

test('errors and API keys', async () => {
  await assert.rejects(client.messages.create({ to: '+1234567890', from: a.account.number, body: 'x' }),
    (error) => error instanceof twilio.RestException && error.status === 400 && error.code === 21211 && /21211$/.test(error.moreInfo));
  await assert.rejects(connect(a.account.sid, 'f'.repeat(32)).messages.list(), { status: 401, code: 20003 });
  await assert.rejects(client.messages(`SM${'0'.repeat(32)}`).fetch(), { status: 404, code: 20404 });
  const byKey = connect(key.sid, key.secret, { accountSid: a.account.sid });
  const { sid } = await byKey.messages.create({ to: caller, from: a.account.number, body: 'by key' });
  assert.equal((await byKey.messages(sid).fetch()).body, 'by key');
  await assert.rejects(byKey.api.v2010.accounts(a.account.sid).fetch(), { status: 401 });
});

test('the library believes the simulator\'s callbacks', async () => {
  const received = [];
  const server = http.createServer((request, response) => {
    let body = '';
    request.setEncoding('utf8').on('data', (chunk) => { body += chunk; }).on('end', () => {
      received.push({ path: request.url, signature: request.headers['x-twilio-signature'], params: Object.fromEntries(new URLSearchParams(body)) });
      response.writeHead(204).end();
    });
  });
  await new Promise((resolve) => { server.listen(0, '127.0.0.1', resolve); });
  const at = `http://127.0.0.1:${server.address().port}`;
  const { sid } = await client.messages.create({ to: caller, from: a.account.number, body: 'callbacks', statusCallback: `${at}/status?of=it#rc=1` });
  await until('the last callback', () => received.some(({ params }) => params.MessageStatus === 'delivered'));
  server.close();
  for (const { path, signature, params } of received) {
    assert.equal(params.MessageSid, sid);
    assert.ok(twilio.validateRequest(a.account.authToken, signature, at + path, params), params.MessageStatus);
    assert.ok(!twilio.validateRequest('f'.repeat(32), signature, at + path, params));
  }
});

// Posts to byocd; answers the status.
async function post(path, body, type, signature) {
  const response = await fetch(url + path, { method: 'POST', body, headers: { 'content-type': type, 'x-twilio-signature': signature } });
  await response.arrayBuffer();
  return response.status;
}
const FORM = 'application/x-www-form-urlencoded; charset=UTF-8';

// A message that waits for receipts: { id, sid, path of its callbacks }.
async function silent(to) {
  await stack.simulator.request('PUT', '/_simulator/delivery', { queued_ms: null, sending_ms: null, sent_ms: null, final_ms: null });
  const id = await stack.send(a, to, 'silent');
  await stack.settled(id, ['sent']);
  const { sid, status_callback: callback } = (await stack.simulator.messages()).find((m) => m.to === to);
  return { id, sid, path: new URL(callback).pathname };
}

test('byocd accepts forms that the library signed, and refuses altered ones', async () => {
  const { id, sid, path } = await silent('+15551000020');
  const params = { MessageSid: sid, MessageStatus: 'delivered', SmsSid: sid, To: '+15551000020', From: a.account.number, ApiVersion: '2010-04-01', Text: 'ü & = + %' };
  const signature = twilio.getExpectedTwilioSignature(a.account.authToken, url + path, params);
  const body = (changes) => new URLSearchParams({ ...params, ...changes }).toString();
  assert.equal(await post(path, body({ MessageStatus: 'failed' }), FORM, signature), 403, 'another status');
  assert.equal(await post(path, body({ More: 'x' }), FORM, signature), 403, 'one parameter more');
  assert.equal(await post(`${path}?x=1`, body(), FORM, signature), 403, 'another address');
  assert.equal(await post(path, body(), FORM, twilio.getExpectedTwilioSignature('f'.repeat(32), url + path, params)), 403, 'another token');
  assert.equal((await stack.message(id)).status, 'sent');
  assert.equal(await post(path, body(), FORM, signature), 204);
  assert.equal((await stack.message(id)).status, 'delivered');
});

test('byocd accepts JSON that the library signed, and refuses altered JSON', async () => {
  const { id, sid, path } = await silent('+15551000021');
  const body = JSON.stringify({ MessageSid: sid, MessageStatus: 'delivered', Text: 'ü & = + %' });
  const hashed = `${path}?bodySHA256=${createHash('sha256').update(body).digest('hex')}`;
  const signature = twilio.getExpectedTwilioSignature(a.account.authToken, url + hashed, {});
  assert.ok(twilio.validateRequestWithBody(a.account.authToken, signature, url + hashed, body), 'as the library itself has it');
  assert.equal(await post(hashed, body.replace('delivered', 'failed'), 'application/json', signature), 403, 'another body');
  assert.equal(await post(path, body, 'application/json', signature), 403, 'without its hash');
  assert.equal((await stack.message(id)).status, 'sent');
  assert.equal(await post(hashed, body, 'application/json', signature), 204);
  assert.equal((await stack.message(id)).status, 'delivered');
});

test('what comes in is judged alike', async () => {
  const path = `/webhooks/twilio/inbound/${a.credential}`;
  const params = { MessageSid: `SM${'0'.repeat(31)}7`, From: '+15551000022', To: a.account.number, Body: 'STOP', NumMedia: '0', AccountSid: a.account.sid, OptOutType: 'STOP' };
  const signature = twilio.getExpectedTwilioSignature(a.account.authToken, url + path, params);
  assert.equal(await post(path, new URLSearchParams({ ...params, From: '+15551000023' }).toString(), FORM, signature), 403);
  assert.equal(await post(path, new URLSearchParams(params).toString(), FORM, signature), 200);
  assert.deepEqual(await stack.db.rows('SELECT number FROM byoc.opt_outs'), [{ number: '+15551000022' }]);
});
