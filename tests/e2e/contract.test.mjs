// Every request that byocd makes of Twilio is one that Twilio's OpenAPI document allows: a proxy between byocd and the simulator compares.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { after, before, beforeEach, test } from 'node:test';
import { promisify } from 'node:util';
import { freePort } from '../../scripts/run.mjs';
import { ContractProxy, judge } from './twilio/contract.mjs';
import { BYOCD, Stack, until } from './stack.mjs';

const stack = new Stack('contract');
const proxy = new ContractProxy();
const key = { sid: 'SK00000000000000000000000000000001', secret: '0000000000000000000000000000c0de' };
const service = 'MG00000000000000000000000000000001';
const environment = { TWILIO_ACCOUNT_SID: `AC${'0'.repeat(30)}fa`, TWILIO_AUTH_TOKEN: `${'0'.repeat(28)}facc`, TWILIO_PHONE_NUMBER: '+15550009900' };
let a;
let publicUrl;

async function start(env = {}) {
  const port = await freePort();
  publicUrl = `http://127.0.0.1:${port}`;
  await stack.byocd.program.stop();
  await stack.startByocd({ BYOC_TWILIO_BASE_URL: proxy.url, BYOC_HTTP_LISTEN: `127.0.0.1:${port}`, ...environment, BYOC_ALLOW_ENV_FALLBACK: 'yes', ...env });
}

// An organization whose credential has these fields besides the account.
async function organizationWith(fields, account) {
  await stack.simulator.request('PUT', '/_simulator/accounts', account);
  const id = await stack.db.value('SELECT byoc.create_organization($1)', [`Organization of ${account.sid}`]);
  const credential = await stack.db.value('SELECT byoc.add_credential($1, $2, org_id => $3)', ['twilio', { account_sid: account.sid, ...fields }, id]);
  await stack.verified({ credential });
  return { id, credential };
}
const send = async (organization, to, body) => stack.settled(await stack.send(organization, to, body), ['sent', 'delivered']);
const last = (operation) => proxy.of(operation).at(-1);

after(async () => {
  proxy.stop();
  await stack.end();
});
before(async () => {
  await stack.start();
  await proxy.start(stack.simulator.url);
  await start();
  await stack.simulator.addAccount({ sid: environment.TWILIO_ACCOUNT_SID, authToken: environment.TWILIO_AUTH_TOKEN, number: environment.TWILIO_PHONE_NUMBER }, 'the environment\'s');
  a = await stack.organization(1);
});
beforeEach(() => stack.faults([]));

test('the proxy sees what the document does not allow', () => {
  const account = `AC${'0'.repeat(32)}`;
  const good = {
    method: 'POST', url: `/2010-04-01/Accounts/${account}/Messages.json`, body: 'To=%2B15551000001&From=%2B15550000001&Body=hello+%F0%9F%91%8B',
    headers: { authorization: `Basic ${Buffer.from(`${account}:secret`).toString('base64')}`, 'content-type': 'application/x-www-form-urlencoded' },
  };
  assert.deepEqual(judge(good), { operation: 'CreateMessage', problems: [] });
  const list = { ...good, method: 'GET', body: '', url: `${good.url}?To=%2B15551000001&DateSent%3E=2026-11-20&PageSize=200` };
  assert.deepEqual(judge(list), { operation: 'ListMessage', problems: [] });
  for (const [changes, problem] of [
    [{ url: `/2010-04-01/Accounts/${account}/Message.json` }, /not in the document/],
    [{ url: '/2010-04-01/Accounts/AC1/Messages.json' }, /AccountSid/],
    [{ method: 'PUT' }, /not in the document/],
    [{ body: `${good.body}&ClientReference=1` }, /ClientReference is unknown/],
    [{ body: `${good.body}&Body=twice` }, /Body comes twice/],
    [{ body: 'From=%2B15550000001&Body=x' }, /To is missing/],
    [{ body: 'To=%2B15551000001&From=%2B15550000001' }, /Body is missing/],
    [{ body: 'To=15551000001&From=%2B15550000001&Body=x' }, /To has not the format/],
    [{ body: 'To=%2B15551000001&Body=x' }, /From and MessagingServiceSid/],
    [{ body: `${good.body}&MessagingServiceSid=MG1` }, /MessagingServiceSid/],
    [{ body: `${good.body}&ValidityPeriod=36001` }, /ValidityPeriod/],
    [{ body: `${good.body}&StatusCallback=nowhere` }, /StatusCallback/],
    [{ body: good.body.replace('hello', '%ff') }, /form: /],
    [{ body: good.body.replace('hello', 'x'.repeat(1601)) }, /Body is not/],
    [{ headers: { ...good.headers, authorization: 'Bearer x' } }, /Basic/],
    [{ headers: { ...good.headers, 'content-type': 'application/json' } }, /application\/json/],
    [{ url: `${good.url}?To=x` }, /To is unknown in the query/],
  ]) assert.match(judge({ ...good, ...changes }).problems.join('; '), problem, JSON.stringify(changes));
  assert.match(judge({ ...list, url: `${good.url}?PageSize=1001` }).problems.join(), /PageSize is more/);
  assert.match(judge({ ...list, body: 'x' }).problems.join(), /GET has a body/);
});

test('messages: from a number, with odd texts, an expiry and a callback', async () => {
  await send(a, '+15551000001', 'hello');
  assert.deepEqual(last('CreateMessage').parameters, ['To', 'From', 'Body']);
  for (const text of ['Zoë says "yes" & 100% = 💍\t+1\r\n', '%00 %zz ;?#', 'a'.repeat(1600), '💍'.repeat(1600)]) await send(a, '+15551000001', text);
  for (const validity of ['3 seconds', '1 hour', '30 days']) {
    const id = await stack.db.value(`SELECT byoc.send_sms('+15551000001', $1, org_id => $2, expires_at => now() + $3::interval)`, [`within ${validity}`, a.id, validity]);
    await stack.settled(id, ['sent', 'delivered', 'expired']);
  }
  assert.ok(last('CreateMessage').parameters.includes('ValidityPeriod'));
  await start({ BYOC_PUBLIC_URL: publicUrl });
  await send(a, '+15551000001', 'with a callback');
  assert.ok(last('CreateMessage').parameters.includes('StatusCallback'));
  const received = (await stack.simulator.messages()).map(({ body }) => body);
  assert.ok(received.includes('Zoë says "yes" & 100% = 💍\t+1\r\n') && received.includes('%00 %zz ;?#'));
});

test('messages: by a Messaging Service, an API key and the environment\'s account', async () => {
  const account = { sid: `AC${'0'.repeat(30)}50`, auth_token: `${'0'.repeat(28)}ab50`, numbers: [{ phone_number: '+15550000050' }], messaging_services: [{ sid: service }] };
  const serving = await organizationWith({ auth_token: account.auth_token, messaging_service_sid: service }, account);
  await send(serving, '+15551000002', 'by a service');
  assert.ok(last('CreateMessage').parameters.includes('MessagingServiceSid'));
  const keyed = await organizationWith({ api_key_sid: key.sid, api_key_secret: key.secret, phone_number: '+15550000051' }, {
    sid: `AC${'0'.repeat(30)}51`, auth_token: `${'0'.repeat(28)}ab51`, numbers: [{ phone_number: '+15550000051' }], api_keys: [{ ...key, type: 'standard' }],
  });
  await send(keyed, '+15551000003', 'by a key');
  const bare = { id: await stack.db.value(`SELECT byoc.create_organization('without a credential')`) };
  assert.equal((await send(bare, '+15551000004', 'the old way')).from_number, environment.TWILIO_PHONE_NUMBER);
  assert.ok(last('CreateMessage').url.includes(environment.TWILIO_ACCOUNT_SID));
});

test('verification: account, number and Messaging Service', () => {
  assert.ok(proxy.of('FetchService').some(({ url }) => url.endsWith(service)));
  assert.ok(proxy.of('FetchAccount').some(({ url }) => url.includes(a.account.sid)));
  assert.ok(proxy.of('ListIncomingPhoneNumber').some(({ url, parameters }) => url.includes(a.account.sid) && parameters.includes('PhoneNumber')));
});

test('byocd check: the verified recipients of a trial account', async () => {
  const { sid, authToken, number } = { sid: `AC${'0'.repeat(30)}52`, authToken: `${'0'.repeat(28)}ab52`, number: '+15550000052' };
  await stack.simulator.request('PUT', '/_simulator/accounts', { sid, auth_token: authToken, type: 'Trial', numbers: [{ phone_number: number }], verified_callers: ['+15551000009'] });
  const { stdout } = await promisify(execFile)(BYOCD, ['check', '--env', '--only', 'account,number', '--to', '+15551000009'], {
    env: { PATH: process.env.PATH, BYOC_TWILIO_BASE_URL: proxy.url, TWILIO_ACCOUNT_SID: sid, TWILIO_AUTH_TOKEN: authToken, TWILIO_PHONE_NUMBER: number },
  });
  assert.match(stdout, /2 passed, 0 failed/);
  assert.ok(proxy.of('ListOutgoingCallerId').length > 0);
});

test('the status of a message', async () => {
  await stack.simulator.request('PUT', '/_simulator/delivery', { sent_ms: null });
  await start();
  const id = await stack.send(a, '+15551000005', 'asked for');
  await stack.settled(id, ['sent']);
  await until('its status to be awaited', () => stack.db.value(`
    WITH sooner AS (UPDATE byoc.receipt_watches SET due_at = clock_timestamp() WHERE $1 = ANY (message_ids) RETURNING 1) SELECT count(*)::int FROM sooner`, [id]));
  const { provider_sid: sid } = await stack.message(id);
  await until('the request', () => proxy.of('FetchMessage').some(({ url }) => url.endsWith(`/Messages/${sid}.json`)));
});

test('the message list, page by page', async () => {
  const to = '+15551000006';
  const { sid, authToken, number } = a.account;
  const taken = (text) => fetch(`${stack.simulator.url}/2010-04-01/Accounts/${sid}/Messages.json`, {
    method: 'POST', body: new URLSearchParams({ To: to, From: number, Body: text }),
    headers: { authorization: `Basic ${Buffer.from(`${sid}:${authToken}`).toString('base64')}` },
  });
  await stack.reconcileAfter(100, 200);
  await stack.faults([{ action: 'reset_after', count: 1, match: { to, method: 'POST' } }]);
  const id = await stack.send(a, to, 'the answer is lost');
  await until('the attempt', async () => (await stack.simulator.messages(`?to=${encodeURIComponent(to)}`)).length === 1);
  for (let i = 0; i < 205; i += 5) await Promise.all(Array.from({ length: 5 }, (_, k) => taken(`another ${i + k}`)));
  await stack.settled(id, ['sent', 'delivered']);
  // It may have been found before the others were there.
  if (proxy.of('ListMessage').every(({ parameters }) => !parameters.includes('PageToken'))) {
    await stack.faults([{ action: 'reset', count: 1, match: { to, method: 'POST' } }]);
    await stack.settled(await stack.send(a, to, 'once more'), ['sent', 'delivered']);
  }
  const pages = proxy.of('ListMessage').filter(({ parameters }) => parameters.includes('PageToken'));
  assert.ok(pages.length > 0, 'a second page was read');
});

test('no request was one that the document does not allow', () => {
  assert.deepEqual(proxy.of().filter(({ problems }) => problems.length > 0), []);
  for (const operation of ['CreateMessage', 'ListMessage', 'FetchMessage', 'FetchAccount', 'FetchService', 'ListIncomingPhoneNumber', 'ListOutgoingCallerId'])
    assert.ok(proxy.of(operation).length > 0, operation);
});
