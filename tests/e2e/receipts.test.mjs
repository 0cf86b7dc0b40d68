// Delivery receipts: Twilio's callbacks, as the simulator signs and posts them and as a forger would, and asking instead.

import assert from 'node:assert/strict';
import { createHash, createHmac } from 'node:crypto';
import http from 'node:http';
import { after, before, test } from 'node:test';
import { freePort } from '../../scripts/run.mjs';
import { Stack, until } from './stack.mjs';

const stack = new Stack('receipts');
const at_once = { queued_ms: 0, sending_ms: 0, sent_ms: 0, final_ms: 0 };
const never = { queued_ms: null, sending_ms: null, sent_ms: null, final_ms: null };
let a;
let b;
let url;

const delivery = (settings) => stack.simulator.request('PUT', '/_simulator/delivery', settings);
const history = async (id) => (await stack.events(id)).map((e) => e.event).join(', ');
const callbacks = async () => (await stack.simulator.request('GET', '/_simulator/stats')).callbacks;
const received = async (to) => (await stack.simulator.messages()).filter((m) => m.to === to);
let recipients = 0;
const recipient = () => `+1555300${String(++recipients).padStart(4, '0')}`;

// A message that the simulator took and says nothing about: { id, sid, path } with the path of its callbacks.
async function silent(organization = a) {
  await delivery(never);
  const to = recipient();
  const id = await stack.send(organization, to, 'silent');
  await stack.settled(id, ['sent']);
  const [{ sid, status_callback: callback }] = await received(to);
  return { id, sid, path: callback && new URL(callback).pathname };
}

const form = (message, status, more = {}) => new URLSearchParams({
  MessageSid: message.sid, MessageStatus: status, SmsSid: message.sid, SmsStatus: status, To: '+15553000001', From: '+15550000001', ApiVersion: '2010-04-01',
  ...more,
}).toString();

const sign = (token, path, body = '') => {
  const fields = [...new URLSearchParams(body)].sort(([x], [y]) => (x < y ? -1 : 1));
  return createHmac('sha1', token).update(url + path + fields.map((f) => f.join('')).join('')).digest('base64');
};

// Posts as Twilio does; answers the status. `headers` replace or, with undefined, remove.
function post(path, body, headers = {}, method = 'POST') {
  const all = { 'content-type': 'application/x-www-form-urlencoded; charset=utf-8', 'x-twilio-signature': sign(a.account.authToken, path, body), ...headers };
  for (const name of Object.keys(all)) if (all[name] === undefined) delete all[name];
  return new Promise((resolve, reject) => {
    const request = http.request(url + path, { method, agent: false, headers: all }, (response) => {
      response.resume().on('end', () => resolve(response.statusCode));
    });
    request.on('error', reject);
    request.end(body);
  });
}

async function start(env = {}) {
  await stack.byocd?.program.stop();
  await stack.startByocd(env);
}

async function startPublic(env = {}) {
  const port = await freePort();
  url = `http://127.0.0.1:${port}`;
  await start({ BYOC_HTTP_LISTEN: `127.0.0.1:${port}`, BYOC_PUBLIC_URL: `${url}/`, ...env });
}

after(() => stack.end());
before(async () => {
  await stack.start();
  await startPublic();
  a = await stack.organization(1);
  b = await stack.organization(2);
});

test('a message is delivered, with its time and history', async () => {
  await delivery(at_once);
  const id = await stack.send(a, recipient(), 'hello');
  const message = await stack.settled(id, ['delivered']);
  assert.ok(message.delivered_at >= message.sent_at);
  assert.equal(await history(id), 'accepted, sent, delivered');
});

test('undelivered and failed bring their reason', async () => {
  await delivery({ ...at_once, final_status: 'undelivered', error_code: 30005 });
  const undelivered = await stack.settled(await stack.send(a, recipient(), 'nobody'), ['undelivered']);
  assert.deepEqual([undelivered.error_code, undelivered.error_message, undelivered.delivered_at], ['30005', 'unknown handset', null]);
  await delivery({ ...at_once, final_status: 'failed', error_code: 30007 });
  const failed = await stack.settled(await stack.send(a, recipient(), 'spam'), ['failed']);
  assert.equal(failed.error_code, '30007');
});

test('callbacks that come repeated, out of order and with parameters that nobody knows change nothing', async () => {
  await delivery({ ...at_once, out_of_order: true, repeat: 2 });
  const before = await callbacks();
  const id = await stack.send(a, recipient(), 'in disorder');
  await until('nine callbacks', async () => (await callbacks()).succeeded === before.succeeded + 9);
  assert.equal((await stack.message(id)).status, 'delivered');
  assert.deepEqual((await history(id)).split(', ').sort(), ['accepted', 'delivered', 'sent']);

  const message = await silent();
  const body = form(message, 'delivered', { Something: 'new', ChannelPrefix: 'ü&=', RawDlrDoneDate: '2401010000' });
  assert.equal(await post(message.path, body), 204);
  assert.equal(await post(message.path, form(message, 'sent')), 204);
  assert.equal(await post(message.path, form(message, 'undelivered', { ErrorCode: '30003' })), 204);
  assert.equal((await stack.message(message.id)).status, 'delivered');
});

test('what is not Twilio\'s is refused, and changes nothing', async () => {
  const message = await silent();
  const body = form(message, 'delivered');
  const { path } = message;
  const replaced = `${path.slice(0, -1)}${path.endsWith('A') ? 'Q' : 'A'}`;
  const forged = path.replace(/.{30}$/, 'A'.repeat(30));
  assert.equal(await post(path, body, { 'x-twilio-signature': undefined }), 401, 'no signature');
  assert.equal(await post(path, body, { 'x-twilio-signature': 'AAAA' }), 403, 'nonsense');
  assert.equal(await post(path, body, { 'x-twilio-signature': sign(b.account.authToken, path, body) }), 403, 'another account');
  assert.equal(await post(path, form(message, 'failed'), { 'x-twilio-signature': sign(a.account.authToken, path, body) }), 403, 'altered body');
  assert.equal(await post(`${path}?x=1`, body, { 'x-twilio-signature': sign(a.account.authToken, path, body) }), 403, 'altered query');
  assert.equal(await post(path, body, { 'content-type': 'text/plain' }), 403, 'neither a form nor with a hash');
  for (const other of [replaced, forged, `${path}A`, '/webhooks/twilio/status/x', '/webhooks/twilio/status/%00'])
    assert.equal(await post(other, body), 404, other);
  assert.equal(await post('/webhooks/twilio/status/', body), 404);
  assert.equal(await post(path, 'MessageStatus=delivered'), 400, 'no SID');
  assert.equal(await post(path, form({ sid: 'SM1' }, 'delivered')), 400, 'not a SID');
  assert.equal(await post(path, `${body}&x=${'x'.repeat(70_000)}`), 413, 'oversized');
  assert.equal(await post(path, '', {}, 'GET'), 405);
  assert.equal((await stack.message(message.id)).status, 'sent');
  assert.equal(await history(message.id), 'accepted');
});

test('JSON bodies count by their hash in the query', async () => {
  const message = await silent();
  const body = JSON.stringify({ MessageSid: message.sid, MessageStatus: 'undelivered', ErrorCode: 30006, More: { of: ['it'] } });
  const path = `${message.path}?bodySHA256=${createHash('sha256').update(body).digest('hex')}`;
  const headers = { 'content-type': 'application/json', 'x-twilio-signature': sign(a.account.authToken, path) };
  assert.equal(await post(path, body.replace('undelivered', 'delivered'), headers), 403);
  assert.equal(await post(path, body, headers), 204);
  const { status, error_code: code } = await stack.message(message.id);
  assert.deepEqual([status, code], ['undelivered', '30006']);
});

test('what is signed is the public URL, whatever the Host header says', async () => {
  const message = await silent();
  assert.equal(await post(message.path, form(message, 'delivered'), { host: 'internal.example:9999' }), 204);
  assert.equal((await stack.message(message.id)).status, 'delivered');
});

test('a rotated auth token counts at once', async () => {
  const message = await silent(b);
  const body = form(message, 'delivered');
  const fresh = '0000000000000000000000000000cd02';
  assert.equal(await post(message.path, body, { 'x-twilio-signature': sign(fresh, message.path, body) }), 403);
  await stack.db.query('SELECT byoc.update_credential($1, $2)', [b.credential, { auth_token: fresh }]);
  assert.equal(await post(message.path, body, { 'x-twilio-signature': sign(b.account.authToken, message.path, body) }), 403);
  assert.equal(await post(message.path, body, { 'x-twilio-signature': sign(fresh, message.path, body) }), 204);
  await stack.db.query('SELECT byoc.update_credential($1, $2)', [b.credential, { auth_token: b.account.authToken }]);
});

test('a new data key and a restart leave tokens as good as they were', async () => {
  const message = await silent();
  await stack.db.query('SELECT byoc.rotate_organization_key($1)', [a.id]);
  await start(stack.byocd.env);
  assert.equal(await post(message.path, form(message, 'delivered')), 204);
});

test('a callback settles a message whose answer was lost', async () => {
  await delivery({ ...at_once, final_ms: 200 });
  const to = recipient();
  await stack.faults([{ action: 'timeout_after', count: 1, match: { to } }]);
  const id = await stack.send(a, to, 'the answer never comes');
  const message = await stack.settled(id, ['delivered']);
  const sent = await received(to);
  assert.deepEqual(sent.map((m) => m.sid), [message.provider_sid]);
  assert.match(await history(id), /settled.*delivered/);
  await until('its claim to end', async () => (await stack.db.value('SELECT count(*)::int FROM byoc.claims')) === 0);
  assert.equal((await stack.message(id)).status, 'delivered', 'the late outcome changes nothing');
  assert.equal((await received(to)).length, 1, 'it is not sent again');
});

test('a callback waits while its message is compared with the message list', async () => {
  await delivery(never);
  const to = recipient();
  await stack.reconcileAfter(3_600_000);
  await stack.faults([{ action: 'reset_after', count: 1, match: { to } }]);
  const id = await stack.send(a, to, 'looked for');
  await until('the attempt to end', async () => (await history(id)) === 'unknown');
  const receipt = JSON.stringify([{ org_id: a.id, id, attempt: 1, provider_sid: (await received(to))[0].sid, status: 'delivered', settle: true }]);
  const held = () => stack.db.rows('SELECT unnest(byoc.record_receipts($1)) AS held', [receipt]);
  const comparing = await stack.connect();
  await comparing.query('BEGIN');
  await comparing.query('SELECT FROM byoc.reconciliations WHERE message_id = $1 FOR UPDATE', [id]);
  assert.deepEqual(await held(), [{ held: 0 }]);
  assert.equal((await stack.message(id)).status, 'sending');
  await comparing.query('ROLLBACK');
  assert.deepEqual(await held(), []);
  assert.equal((await stack.message(id)).status, 'delivered');
  assert.equal(await stack.db.value('SELECT count(*)::int FROM byoc.reconciliations'), 0);
});

test('a message that waits for another attempt is not sent again when the first one proves to have arrived', async () => {
  const c = await stack.organization(4); // the others shall not have to wait
  const to = recipient();
  await stack.faults([{ action: 'status', status: 429, retry_after: 600, count: 1, match: { to } }]);
  const id = await stack.send(c, to, 'accepted after all');
  await until('the attempt to fail', async () => (await history(id)) === 'throttled');
  // The simulator refused the request, so the address in it is not to be read there: made from the format's description.
  const key = await stack.db.value(`SELECT encode(byoc.receipt_key(), 'hex')`);
  const payload = Buffer.concat([c.id, id].map((u) => Buffer.from(u.replaceAll('-', ''), 'hex')).concat(Buffer.from([0, 1])));
  const mac = createHmac('sha256', Buffer.from(key, 'hex')).update(payload).digest().subarray(0, 16);
  const path = `/webhooks/twilio/status/${Buffer.concat([payload, mac]).toString('base64url')}`;
  const body = form({ sid: `SM${'0'.repeat(31)}f` }, 'delivered');
  assert.equal(await post(path, body, { 'x-twilio-signature': sign(c.account.authToken, path, body) }), 204);
  assert.equal((await stack.message(id)).status, 'delivered');
  assert.equal((await received(to)).length, 0);
});

test('while the database is away Twilio is asked to come again', async () => {
  const message = await silent();
  const body = form(message, 'delivered');
  stack.cluster.stop('fast');
  await until('byocd to notice', async () => (await post(message.path, body)) === 503);
  stack.cluster.start();
  await stack.reconnect();
  await until('the receipt to be taken', async () => (await post(message.path, body)) === 204);
  assert.equal((await stack.message(message.id)).status, 'delivered');
});

test('thousands of callbacks at once are taken, each of them', async () => {
  await delivery(at_once);
  const before = await callbacks();
  const count = 2000;
  await stack.db.query(`
    SELECT byoc.send_sms('+1555400' || lpad(i::text, 4, '0'), 'load ' || i, org_id => CASE i % 2 WHEN 0 THEN $1::uuid ELSE $2::uuid END)
    FROM generate_series(1, $3::int) AS i`, [a.id, b.id, count]);
  await until('all to be delivered', async () => (await stack.count(`status = 'delivered' AND body LIKE 'load %'`)) === count, { timeout: 300_000 });
  const done = await until('all callbacks to be answered', async () => {
    const { succeeded, failed } = await callbacks();
    return succeeded + failed === before.succeeded + before.failed + 3 * count && { succeeded, failed };
  }, { timeout: 300_000 });
  assert.equal(done.failed, before.failed, 'none was refused');
  assert.equal(await stack.db.value(`
    SELECT count(*)::int FROM byoc.sms_events e JOIN byoc.sms_messages m ON m.id = e.message_id WHERE m.body LIKE 'load %'`), 3 * count);
});

test('an API key cannot check signatures: Twilio is not asked to call back, the status is asked for', async () => {
  const key = { sid: 'SK00000000000000000000000000000003', secret: '0000000000000000000000000000c0de' };
  const account = 'AC00000000000000000000000000000003';
  await stack.simulator.request('PUT', '/_simulator/accounts', {
    sid: account, auth_token: '000000000000000000000000000000ab', numbers: [{ phone_number: '+15550000003' }], api_keys: [key],
  });
  const c = { id: await stack.db.value(`SELECT byoc.create_organization('Organization 3')`) };
  await stack.db.query('SELECT byoc.add_credential($1, $2, org_id => $3)', ['twilio', {
    account_sid: account, api_key_sid: key.sid, api_key_secret: key.secret, phone_number: '+15550000003',
  }, c.id]);
  const message = await silent(c);
  assert.equal(message.path, null);
  await polled(message.id, c);

  await startPublic({ BYOC_ACCEPT_UNSIGNED_RECEIPTS: 'yes' });
  const believed = await silent(c);
  assert.equal(await post(believed.path, form(believed, 'delivered'), { 'x-twilio-signature': undefined }), 401);
  assert.equal(await post(believed.path, form(believed, 'delivered'), { 'x-twilio-signature': 'AAAA' }), 204);
  const checked = await silent();
  assert.equal(await post(checked.path, form(checked, 'delivered'), { 'x-twilio-signature': 'AAAA' }), 403, 'where it can be checked it is');
  await startPublic();
});

// Sends one whose delivery takes a while, and lets the database ask sooner than after ten seconds.
async function polled(id, organization) {
  await delivery(at_once);
  const to = recipient();
  const next = await stack.send(organization, to, 'ask about me');
  await stack.settled(next, ['sent', 'delivered']);
  await until('its watch', () => stack.db.value('SELECT count(*) > 0 FROM byoc.receipt_watches WHERE $1 = ANY (message_ids)', [next]));
  await stack.db.query('UPDATE byoc.receipt_watches SET due_at = now()');
  const message = await stack.settled(next, ['delivered']);
  assert.equal(await history(next), 'accepted, delivered');
  assert.ok(message.delivered_at >= message.sent_at);
  // The one that the simulator leaves as it is comes up again a minute later.
  await until('the silent one to be asked about', () => stack.db.value('SELECT checks = 1 FROM byoc.status_checks WHERE id = $1', [id]));
  assert.equal((await stack.message(id)).status, 'sent');
}

test('without a public URL the status is asked for', async () => {
  await start();
  const message = await silent();
  assert.equal(message.path, null);
  await polled(message.id, a);
});

test('messages that were sent just before the end are asked about after it', async () => {
  const message = await silent();
  assert.deepEqual(await stack.byocd.program.stop('SIGTERM'), { code: 0, signal: null });
  assert.ok(await stack.db.value('SELECT count(*) > 0 FROM byoc.receipt_watches WHERE $1 = ANY (message_ids)', [message.id]));
});
