// STOP, START and what else comes in, signed as Twilio signs it, and what the provider's own refusal teaches.

import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { after, before, test } from 'node:test';
import { freePort } from '../../scripts/run.mjs';
import { Stack, until } from './stack.mjs';

const stack = new Stack('inbound');
let a;
let b;
let url;
let sids = 0;

after(() => stack.end());
before(async () => {
  await stack.start();
  await stack.byocd.program.stop();
  const port = await freePort();
  url = `http://127.0.0.1:${port}`;
  await stack.startByocd({ BYOC_HTTP_LISTEN: `127.0.0.1:${port}`, BYOC_PUBLIC_URL: url });
  a = await stack.organization(1);
  b = await stack.organization(2);
});

// Posts a message from `from` to organization `to`, signed with its token unless `token` or `signature` says otherwise.
async function comesIn(to, from, text, { path = `/webhooks/twilio/inbound/${to.credential}`, token = to.account.authToken, signature, more = {} } = {}) {
  const fields = {
    MessageSid: `SM${String(++sids).padStart(32, '0')}`, From: from, To: to.account.number, Body: text, NumMedia: '0', AccountSid: to.account.sid, ...more,
  };
  const signed = Object.keys(fields).sort().map((name) => name + fields[name]).join('');
  const response = await fetch(url + path, {
    method: 'POST', body: new URLSearchParams(fields),
    headers: { 'x-twilio-signature': signature ?? createHmac('sha1', token).update(url + path + signed).digest('base64') },
  });
  return { status: response.status, type: response.headers.get('content-type'), body: await response.text() };
}

const requests = async (to) => (await stack.simulator.messages()).filter((m) => m.to === to).length;
const lastInbound = async () => (await stack.db.rows('SELECT * FROM byoc.inbound_messages ORDER BY id DESC LIMIT 1'))[0];

test('STOP keeps later messages from being sent, without a request; START lifts it', async () => {
  const answer = await comesIn(a, '+15551000001', 'Stop ');
  assert.equal(answer.status, 200);
  assert.match(answer.type, /^text\/xml/);
  assert.match(answer.body, /<Response\/>/);
  const refused = await stack.message(await stack.send(a, '+15551000001', 'hello?'));
  assert.deepEqual([refused.status, refused.error_code, refused.error_message], ['failed', '21610', 'the recipient has opted out']);
  await stack.settled(await stack.send(b, '+15551000001', 'another organization'), ['sent', 'delivered']);
  assert.equal(await requests('+15551000001'), 1);
  assert.equal((await comesIn(a, '+15551000001', 'start')).status, 200);
  await stack.settled(await stack.send(a, '+15551000001', 'welcome back'), ['sent', 'delivered']);
});

test('what comes in is kept as it was written, once', async () => {
  const text = 'Zoë\nsays "yes" & 💍\t\\ +1';
  const more = { MessageSid: 'SM000000000000000000000000000000ff' };
  for (let i = 0; i < 2; ++i) assert.equal((await comesIn(a, '+15551000002', text, { more })).status, 200);
  const kept = await lastInbound();
  assert.deepEqual([kept.org_id, kept.credential_id, kept.from_number, kept.to_number, kept.body, kept.keyword],
    [a.id, a.credential, '+15551000002', a.account.number, text, null]);
  assert.equal(await stack.db.value('SELECT count(*)::int FROM byoc.inbound_messages WHERE provider_sid = $1', [more.MessageSid]), 1);
  assert.equal((await comesIn(a, '+15551000002', 'a\0b')).status, 200);
  assert.equal((await lastInbound()).body, 'ab');
});

test('what Twilio takes it for counts', async () => {
  await comesIn(a, '+15551000003', 'ARRÊT', { more: { OptOutType: 'STOP' } });
  assert.equal((await stack.message(await stack.send(a, '+15551000003', 'x'))).error_code, '21610');
});

test('what is not signed by the credential\'s account is refused', async () => {
  const before = await stack.db.value('SELECT count(*)::int FROM byoc.inbound_messages');
  assert.equal((await comesIn(a, '+15551000004', 'STOP', { signature: '' })).status, 401);
  assert.equal((await comesIn(a, '+15551000004', 'STOP', { signature: 'AAAA' })).status, 403);
  assert.equal((await comesIn(a, '+15551000004', 'STOP', { token: b.account.authToken })).status, 403);
  assert.equal((await comesIn(a, '+15551000004', 'STOP', { path: `/webhooks/twilio/inbound/${b.credential}` })).status, 403);
  assert.equal((await comesIn(a, '+15551000004', 'STOP', { path: '/webhooks/twilio/inbound/00000000-0000-4000-8000-000000000000' })).status, 404);
  assert.equal((await comesIn(a, '+15551000004', 'STOP', { path: '/webhooks/twilio/inbound/x' })).status, 404);
  assert.equal((await comesIn(a, '+15551000004', 'STOP', { more: { MessageSid: 'x' } })).status, 400);
  assert.equal((await comesIn(a, '+15551000004', 'x'.repeat(70_000))).status, 413);
  assert.equal(await stack.db.value('SELECT count(*)::int FROM byoc.inbound_messages'), before);
  assert.equal(await stack.db.value(`SELECT count(*)::int FROM byoc.opt_outs WHERE number = '+15551000004'`), 0);
});

test('a number that the provider refuses with 21610 is not asked about twice', async () => {
  await stack.settled(await stack.send(a, '+15005550004', 'first'), ['failed']);
  await until('the opt-out', () => stack.db.value(`SELECT count(*) = 1 FROM byoc.opt_outs WHERE number = '+15005550004'`));
  const { rejected } = await stack.simulator.request('GET', '/_simulator/stats');
  const second = await stack.message(await stack.send(a, '+15005550004', 'second'));
  assert.deepEqual([second.status, second.error_code, second.attempts], ['failed', '21610', 0]);
  assert.deepEqual((await stack.simulator.request('GET', '/_simulator/stats')).rejected, rejected, 'no request was made');
});
