// The other ways to name account and sender: API keys, Messaging Services, edges and regions.

import assert from 'node:assert/strict';
import http from 'node:http';
import { after, afterEach, before, test } from 'node:test';
import { Stack, until as untilSoon } from './stack.mjs';

const stack = new Stack('senders', { env: { BYOC_REQUEST_TIMEOUT: '10s' } });
const until = (what, condition) => untilSoon(what, condition, { timeout: 60_000 });
const hosts = [];
let proxy;

const KEY = { sid: `SK${'0'.repeat(31)}1`, secret: '0'.repeat(31) + 'k' };
const SERVICE = `MG${'0'.repeat(31)}1`;

// In the place of all of Twilio's hosts: notes which one was asked, and passes on to the simulator. Names below
// .localhost are loopback addresses (RFC 6761).
async function startProxy() {
  const server = http.createServer((request, response) => {
    hosts.push(request.headers.host.replace(/:\d+$/, ''));
    const { method, url: path, headers } = request;
    request.pipe(http.request({ host: '127.0.0.1', port: stack.simulator.port, method, path, headers }, (answer) => {
      response.writeHead(answer.statusCode, answer.headers);
      answer.pipe(response);
    }).on('error', () => request.socket.resetAndDestroy()));
  });
  await new Promise((resolve) => { server.listen(0, '127.0.0.1', resolve); });
  return server;
}

// An organization whose credential has these fields beside the account's SID.
async function organization(number, fields, account = {}) {
  const sid = `AC${String(number).padStart(32, '0')}`;
  const phoneNumber = `+155500001${String(number).padStart(2, '0')}`;
  await stack.simulator.request('PUT', '/_simulator/accounts', {
    sid, auth_token: `${'0'.repeat(30)}a${number}`, numbers: [{ phone_number: phoneNumber }],
    api_keys: [{ sid: KEY.sid.slice(0, -1) + number, secret: KEY.secret, type: 'standard' }],
    messaging_services: [{ sid: SERVICE, numbers: [phoneNumber] }], ...account,
  });
  const all = { account_sid: sid, ...fields({ number, phoneNumber }) };
  const id = await stack.db.value('SELECT byoc.create_organization($1)', [`Organization ${number}`]);
  const credential = await stack.db.value(`SELECT byoc.add_credential('twilio', $2::jsonb, org_id => $1)`, [id, all]);
  return { id, sid, phoneNumber, credential };
}
const withToken = ({ number }) => ({ auth_token: `${'0'.repeat(30)}a${number}` });
const withKey = ({ number }) => ({ api_key_sid: KEY.sid.slice(0, -1) + number, api_key_secret: KEY.secret });
const error = ({ credential }) => stack.db.value('SELECT verification_error FROM byoc.credentials WHERE id = $1', [credential]);

after(async () => {
  await stack.end();
  proxy?.close();
});
afterEach(() => stack.faults([]));
before(async () => {
  await stack.start();
  await stack.reconcileAfter(100, 200);
  await stack.byocd.program.stop();
  proxy = await startProxy();
  await stack.startByocd({ BYOC_TWILIO_BASE_URL: `http://api.localhost:${proxy.address().port}` });
});

test('an API key with a number: verified by what it may read, and sends', async () => {
  const made = await organization(1, (its) => ({ ...withKey(its), phone_number: its.phoneNumber }));
  await stack.verified(made);
  assert.match(await stack.db.value('SELECT verification_note FROM byoc.credentials WHERE id = $1', [made.credential]), /may not read the account/);
  const message = await stack.settled(await stack.send(made, '+15551000001', 'by key'));
  assert.deepEqual([message.status, message.from_number], ['sent', made.phoneNumber]);
  assert.ok(hosts.every((host) => host === 'api.localhost'), hosts.join());
});

test('a wrong API key, and a number that the key shows not to be there, fail', async () => {
  const wrong = await organization(2, (its) => ({ ...withKey(its), api_key_secret: 'x'.repeat(32), phone_number: its.phoneNumber }));
  await stack.verified(wrong, 'failed');
  assert.match(await error(wrong), /20003/);
  const elsewhere = await organization(3, (its) => ({ ...withKey(its), phone_number: '+15550000999' }));
  await stack.verified(elsewhere, 'failed');
  assert.match(await error(elsewhere), /not in this Twilio account/);
});

test('a Messaging Service: verified on its own host; the number that it chose is told later', async () => {
  hosts.length = 0;
  const made = await organization(4, (its) => ({ ...withToken(its), messaging_service_sid: SERVICE }));
  await stack.verified(made);
  assert.deepEqual(hosts, ['api.localhost', 'messaging.localhost']);
  const id = await stack.send(made, '+15551000002', 'by service');
  const message = await stack.settled(id);
  assert.deepEqual([message.status, message.from_number, message.segments], ['sent', null, 1]);
  const [received] = (await stack.simulator.messages()).filter((m) => m.sid === message.provider_sid);
  assert.equal(received.messaging_service_sid, SERVICE);
  await until('its watch', () => stack.db.value('SELECT count(*) > 0 FROM byoc.receipt_watches WHERE $1 = ANY (message_ids)', [id]));
  await stack.db.query('UPDATE byoc.receipt_watches SET due_at = now()');
  assert.equal((await stack.settled(id, ['delivered'])).from_number, made.phoneNumber);
});

test('a Messaging Service that is not in the account', async () => {
  const made = await organization(5, (its) => ({ ...withToken(its), messaging_service_sid: SERVICE }), { messaging_services: [] });
  await stack.verified(made, 'failed');
  assert.match(await error(made), /Messaging Service does not exist in this account.*Copy its SID again/);
});

test('a Messaging Service without a sender: the first message finds out, and waits with the others', async () => {
  const made = await organization(6, (its) => ({ ...withKey(its), messaging_service_sid: SERVICE }), { messaging_services: [{ sid: SERVICE, numbers: [] }] });
  await stack.verified(made);
  const id = await stack.send(made, '+15551000003', 'no sender');
  await stack.verified(made, 'failed');
  assert.match(await error(made), /Messaging Service has no sender \(error 21703\)/);
  await until('the message to wait', async () => (await stack.message(id)).status === 'queued');
});

test('a lost answer of a Messaging Service is found in the list, where a number stands in its place', async () => {
  const made = await organization(7, (its) => ({ ...withKey(its), messaging_service_sid: SERVICE }));
  await stack.verified(made);
  await stack.faults([{ action: 'reset_after', count: 1, match: { method: 'POST', to: '+15551000004' } }]);
  const id = await stack.send(made, '+15551000004', 'lost and found');
  assert.match((await stack.settled(id)).status, /^(sent|delivered)$/);
  assert.deepEqual((await stack.events(id)).map((e) => e.event), ['unknown', 'found']);
  assert.equal((await stack.simulator.messages('?to=%2B15551000004')).length, 1);
});

test('edge and region choose the host, for every kind of request', async () => {
  hosts.length = 0;
  const made = await organization(8, (its) => ({ ...withToken(its), messaging_service_sid: SERVICE, edge: 'dublin', region: 'ie1' }));
  await stack.verified(made);
  await stack.faults([{ action: 'reset_after', count: 1, match: { method: 'POST', to: '+15551000005' } }]);
  const id = await stack.send(made, '+15551000005', 'from Ireland');
  assert.match((await stack.settled(id)).status, /^(sent|delivered)$/);
  const [first, second, ...rest] = hosts;
  assert.deepEqual([first, second], ['api.dublin.ie1.localhost', 'messaging.dublin.ie1.localhost']);
  assert.deepEqual([...new Set(rest)], ['api.dublin.ie1.localhost']);
});
