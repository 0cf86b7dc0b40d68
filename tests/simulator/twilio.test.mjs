// The provider's API: authentication, validation, resources, lists.
import assert from 'node:assert/strict';
import { after, before, beforeEach, test } from 'node:test';
import { accountA, accountB, from, Simulator, to, tokenA, tokenB, until } from './harness.mjs';

const base = '/2010-04-01/Accounts';
let simulator;
before(async () => { simulator = await Simulator.start(); });
after(async () => { assert.equal(await simulator.stop(), 0); });
beforeEach(() => simulator.reset());

const unauthorized = { code: 20003, message: 'Authenticate', more_info: 'https://www.twilio.com/docs/errors/20003', status: 401 };
const key = { user: 'SK00000000000000000000000000000001', password: 'key-secret' };
const mainKey = { user: 'SK00000000000000000000000000000002', password: 'main-secret' };

test('wrong credentials are answered as Twilio answers them', async () => {
  for (const wrong of [{ password: 'wrong' }, { user: accountB, password: tokenA }, { user: 'AC0', password: '' }, { ...key, password: 'wrong' }, { user: accountB, password: tokenB }]) {
    const { status, body, headers } = await simulator.twilio('GET', `${base}/${accountA}.json`, wrong);
    assert.equal(status, 401);
    assert.deepEqual(body, unauthorized);
    assert.match(headers.get('www-authenticate'), /^Basic/);
  }
  const bare = await fetch(`${simulator.url}${base}/${accountA}.json`);
  assert.equal(bare.status, 401);
});

test('a standard API key sends and reads, but not /Accounts; a main key reads it too', async () => {
  assert.equal((await simulator.send({}, key)).status, 201);
  assert.equal((await simulator.twilio('GET', `${base}/${accountA}/Messages.json`, key)).status, 200);
  for (const path of [`${base}.json`, `${base}/${accountA}.json`]) {
    assert.deepEqual((await simulator.twilio('GET', path, key)).body, unauthorized);
    assert.equal((await simulator.twilio('GET', path, mainKey)).status, 200);
  }
});

test('an account is read with its status and type, never with its token', async () => {
  const { status, body } = await simulator.twilio('GET', `${base}/${accountA}.json`);
  assert.equal(status, 200);
  assert.equal(body.sid, accountA);
  assert.equal(body.friendly_name, 'Organization "A"');
  assert.equal(body.status, 'active');
  assert.equal(body.type, 'Full');
  assert.ok(!Number.isNaN(Date.parse(body.date_created)));
  assert.ok(!JSON.stringify(body).includes(tokenA));
  assert.equal((await simulator.twilio('GET', `${base}.json`)).body.accounts[0].sid, accountA);
});

test('numbers and verified callers are listed, filtered and fetched', async () => {
  const numbers = (query) => simulator.twilio('GET', `${base}/${accountA}/IncomingPhoneNumbers.json${query}`).then(({ body }) => body.incoming_phone_numbers);
  assert.equal((await numbers('')).length, 2);
  const [number] = await numbers(`?PhoneNumber=${encodeURIComponent(from)}`);
  assert.equal(number.phone_number, from);
  assert.equal(number.capabilities.sms, true);
  assert.equal((await numbers('?PhoneNumber=%2B15550000002'))[0].capabilities.sms, false);
  assert.deepEqual(await numbers('?PhoneNumber=%2B15559999999'), []);
  assert.equal((await simulator.twilio('GET', number.uri)).body.phone_number, from);
  const callers = await simulator.twilio('GET', `${base}/${accountA}/OutgoingCallerIds.json?PhoneNumber=%2B15551000002`);
  assert.equal(callers.body.outgoing_caller_ids[0].phone_number, '+15551000002');
  assert.equal((await simulator.twilio('GET', callers.body.outgoing_caller_ids[0].uri)).status, 200);
  const page = await simulator.twilio('GET', `${base}/${accountA}/IncomingPhoneNumbers.json?PageSize=1`);
  assert.match(page.body.next_page_uri, /Page=1/);
  assert.equal((await simulator.twilio('GET', page.body.next_page_uri)).body.incoming_phone_numbers[0].phone_number, '+15550000002');
});

test('what does not exist is 20404', async () => {
  for (const path of [`${base}/${accountA}/Messages/SM00000000000000000000000000000000.json`, `${base}/${accountA}/Nothing.json`,
    `${base}/${accountA}/IncomingPhoneNumbers/PN00000000000000000000000000000000.json`, `${base}/${accountA}`, '/2010-04-01/Nothing.json']) {
    const { status, body } = await simulator.twilio('GET', path);
    assert.equal(status, 404, path);
    assert.equal(body.code, 20404);
  }
});

test('a created message carries every field', async () => {
  const { status, body } = await simulator.send({ Body: 'Grüße 😀 & "quotes" \\ 100%\n+' });
  assert.equal(status, 201);
  assert.match(body.sid, /^SM[0-9a-f]{32}$/);
  assert.equal(body.status, 'queued');
  assert.equal(body.account_sid, accountA);
  assert.equal(body.from, from);
  assert.equal(body.to, to);
  assert.equal(body.body, 'Grüße 😀 & "quotes" \\ 100%\n+');
  assert.equal(body.num_segments, '1');
  assert.equal(body.direction, 'outbound-api');
  assert.equal(body.uri, `${base}/${accountA}/Messages/${body.sid}.json`);
  assert.match(body.date_created, /^[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d \+0000$/);
  for (const field of ['date_sent', 'messaging_service_sid', 'error_code', 'error_message', 'price']) assert.equal(body[field], null, field);
  for (const field of ['date_updated', 'num_media', 'api_version', 'price_unit', 'subresource_uris']) assert.ok(body[field], field);
  const [logged] = await simulator.messages();
  assert.equal(logged.body, body.body);
  assert.equal(logged.sid, body.sid);
});

test('a Messaging Service accepts first, and picks the sender later', async () => {
  await simulator.control('PUT', 'delivery', { queued_ms: null });
  const service = 'MG00000000000000000000000000000001';
  const { status, body } = await simulator.send({ From: undefined, MessagingServiceSid: service });
  assert.equal(status, 201);
  assert.deepEqual([body.status, body.from, body.num_segments, body.messaging_service_sid], ['accepted', null, '0', service]);
  await simulator.control('PUT', 'delivery', { queued_ms: 0, sending_ms: null });
  const second = await simulator.send({ From: undefined, MessagingServiceSid: service });
  assert.equal(second.body.status, 'accepted');
  const fetched = (await simulator.twilio('GET', second.body.uri)).body;
  assert.deepEqual([fetched.status, fetched.from, fetched.num_segments], ['queued', from, '1']);
});

test('a Messaging Service is read by its own account, also with a key', async () => {
  const path = '/v1/Services/MG00000000000000000000000000000001';
  for (const who of [{}, key]) {
    const { status, body } = await simulator.twilio('GET', path, who);
    assert.deepEqual([status, body.sid, body.account_sid], [200, path.slice(-34), accountA]);
  }
  assert.deepEqual([(await simulator.twilio('GET', `${path.slice(0, -1)}9`)).body.code, (await simulator.twilio('POST', path)).status], [20404, 405]);
  assert.equal((await simulator.twilio('GET', path, { user: accountB, password: tokenB })).body.code, 20404);
});

test('refusals carry Twilio\'s codes and accept nothing', async () => {
  const cases = [
    [21604, { To: undefined }], [21603, { From: undefined }], [21602, { Body: '' }], [21617, { Body: 'a'.repeat(1601) }],
    [21606, { From: '+15550000009' }], [21606, { From: '+15550000002' }], [21212, { From: '555' + 'x' }], [21211, { To: '+1234567890' }], [21211, { To: '5551000001' }],
    [21610, { To: '+15551000004' }], [21701, { From: undefined, MessagingServiceSid: 'MG00000000000000000000000000000009' }],
    [21609, { StatusCallback: 'nowhere' }], [21212, { From: '+15005550001' }], [21606, { From: '+15005550007' }], [21611, { From: '+15005550008' }],
    [21211, { To: '+15005550001' }], [21612, { To: '+15005550002' }], [21408, { To: '+15005550003' }], [21610, { To: '+15005550004' }], [21614, { To: '+15005550009' }],
  ];
  for (const [code, fields] of cases) {
    const { status, body } = await simulator.send(fields);
    assert.equal(status, 400, String(code));
    assert.equal(body.code, code);
    assert.equal(body.status, 400);
    assert.equal(body.more_info, `https://www.twilio.com/docs/errors/${code}`);
  }
  assert.deepEqual(await simulator.messages(), []);
  assert.equal((await simulator.stats()).rejected['21211'], 3);
});

test('trial and suspended accounts are held back', async () => {
  const trial = { user: accountB, password: tokenB };
  assert.equal((await simulator.send({ From: '+15550000003' }, trial)).body.code, 21608);
  assert.equal((await simulator.send({ From: '+15550000003', To: '+15551000002' }, trial)).status, 201);
  assert.equal((await simulator.send({ From: '+15005550006', To: '+15551000002' }, trial)).status, 201);
  const account = { sid: accountA, auth_token: tokenA, numbers: [{ phone_number: from }] };
  await simulator.control('PUT', 'accounts', { ...account, status: 'suspended' });
  const refused = await simulator.send();
  assert.deepEqual([refused.status, refused.body.code], [403, 30002]);
  assert.equal((await simulator.twilio('GET', `${base}/${accountA}.json`)).body.status, 'suspended');
  await simulator.control('PUT', 'accounts', { ...account, status: 'closed' });
  assert.deepEqual((await simulator.send()).body, unauthorized);
});

test('a trial notice precedes the text when the account asks for it', async () => {
  await simulator.control('PUT', 'accounts', { sid: accountA, auth_token: tokenA, type: 'Trial', trial_prefix: true, numbers: [{ phone_number: from }], verified_callers: [to] });
  assert.equal((await simulator.send()).body.body, 'Sent from your Twilio trial account - hello');
});

test('lists filter by recipient, sender and date', async () => {
  await simulator.send({ Body: 'one' });
  await simulator.send({ Body: 'two', To: '+15551000002' });
  await simulator.send({ Body: 'three', From: '+15005550006' });
  const bodies = async (query) => (await simulator.twilio('GET', `${base}/${accountA}/Messages.json?${query}`)).body.messages.map(({ body }) => body);
  const day = (offset) => new Date(Date.now() + offset * 86_400_000).toISOString().slice(0, 10);
  const plus = encodeURIComponent(to);
  assert.deepEqual(await bodies(''), ['three', 'two', 'one']);
  assert.deepEqual(await bodies(`To=${plus}`), ['three', 'one']);
  assert.deepEqual(await bodies(`To=${plus}&From=${encodeURIComponent(from)}`), ['one']);
  assert.deepEqual(await bodies(`To=${plus}&DateSent>=${day(-1)}`), ['three', 'one']);
  assert.deepEqual(await bodies(`DateSent>=${day(1)}`), []);
  assert.deepEqual(await bodies(`DateSent%3C=${day(1)}`), ['three', 'two', 'one']);
  assert.deepEqual(await bodies(`DateSent%3E=${encodeURIComponent(new Date(Date.now() - 3_600_000).toISOString())}`), ['three', 'two', 'one']);
  assert.deepEqual(await bodies(`DateSent<=${day(-2)}`), []);
  assert.equal((await simulator.twilio('GET', `${base}/${accountA}/Messages.json?DateSent=today`)).status, 400);
  const others = await simulator.twilio('GET', `${base}/${accountB}/Messages.json`, { user: accountB, password: tokenB });
  assert.deepEqual(others.body.messages, []);
});

test('lists show a message late, without its text or only once it was sent, if they are told to', async () => {
  const list = async (query) => (await simulator.twilio('GET', `${base}/${accountA}/Messages.json?To=${encodeURIComponent(to)}${query}`)).body.messages;
  const since = `&DateSent>=${new Date(Date.now() - 86_400_000).toISOString().slice(0, 10)}`;
  await simulator.control('PUT', 'delivery', { sending_ms: null });
  const { body: created } = await simulator.send({ Body: 'secret' });
  await simulator.control('PUT', 'lists', { delay_ms: 3_600_000 });
  assert.deepEqual(await list(''), []);
  assert.equal((await simulator.twilio('GET', created.uri)).body.body, 'secret', 'a single message is there at once');
  await simulator.control('PUT', 'lists', { delay_ms: 50, redact_bodies: true });
  assert.equal((await until(async () => (await list(''))[0], 'the message to be listed')).body, '');
  assert.ok(Date.now() - Date.parse((await simulator.messages())[0].received_at) >= 50);
  assert.equal((await simulator.twilio('GET', created.uri)).body.body, '');
  assert.equal((await simulator.messages())[0].body, 'secret');
  assert.equal((await list(since)).length, 1, 'an unsent message counts by its creation');
  assert.deepEqual((await simulator.control('PUT', 'lists', { date_filters_skip_unsent: true })).body,
    { delay_ms: 0, redact_bodies: false, date_filters_skip_unsent: true });
  assert.deepEqual([(await list('')).length, (await list(since)).length], [1, 0]);
});

test('pages are followed by next_page_uri and back by previous_page_uri', async () => {
  for (let i = 0; i < 5; ++i) await simulator.send({ Body: String(i) });
  const bodies = ({ messages }) => messages.map(({ body }) => body);
  const first = (await simulator.twilio('GET', `${base}/${accountA}/Messages.json?To=${encodeURIComponent(to)}&PageSize=2`)).body;
  assert.deepEqual(bodies(first), ['4', '3']);
  assert.deepEqual([first.page, first.page_size, first.start, first.end, first.previous_page_uri], [0, 2, 0, 1, null]);
  await simulator.send({ Body: 'late' });
  const second = (await simulator.twilio('GET', first.next_page_uri)).body;
  assert.deepEqual(bodies(second), ['2', '1']);
  const third = (await simulator.twilio('GET', second.next_page_uri)).body;
  assert.deepEqual(bodies(third), ['0']);
  assert.equal(third.next_page_uri, null);
  assert.deepEqual(bodies((await simulator.twilio('GET', third.previous_page_uri)).body), ['2', '1']);
  for (const wrong of ['PageSize=0', 'PageSize=x', 'PageToken=PASM00000000000000000000000000000000']) {
    assert.equal((await simulator.twilio('GET', `${base}/${accountA}/Messages.json?${wrong}`)).status, 400, wrong);
  }
});

test('a message is fetched by its own account only', async () => {
  const { body } = await simulator.send();
  assert.equal((await simulator.twilio('GET', body.uri)).body.sid, body.sid);
  const other = await simulator.twilio('GET', `${base}/${accountB}/Messages/${body.sid}.json`, { user: accountB, password: tokenB });
  assert.equal(other.status, 404);
});
