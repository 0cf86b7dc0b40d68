// What each error code does to a message, by its class in byoc.provider_errors: on a refusal, and in a receipt after the message was taken.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { freePort } from '../../scripts/run.mjs';
import { Stack, until } from './stack.mjs';

const port = await freePort();
const url = `http://127.0.0.1:${port}`;
const stack = new Stack('errors', { env: { BYOC_HTTP_LISTEN: `127.0.0.1:${port}`, BYOC_PUBLIC_URL: url } });
const at_once = { queued_ms: 0, sending_ms: 0, sent_ms: 0, final_ms: 0 };
const resends = 2;
let a;
let classes;

const delivery = (settings = {}) => stack.simulator.request('PUT', '/_simulator/delivery', { ...at_once, ...settings });
const history = async (id) => (await stack.events(id)).map((e) => e.event);
const count = (events, event) => events.filter((e) => e === event).length;
const requests = async (to) => (await stack.simulator.messages(`?to=${encodeURIComponent(to)}`)).length;
// Codes of the classes, each with a recipient of its own. No number of Twilio's magic ones.
const codesOf = (...names) => classes.filter((c) => names.includes(c.class)).map(({ code, class: name }) => ({ code, name, to: `+15556${code.padStart(6, '0')}` }));
const sendAll = (cases) => Promise.all(cases.map(async (each) => ({ ...each, id: await stack.send(a, each.to, `code ${each.code}`) })));

// The provider refuses the next request to each recipient, or all, with the code.
const refuse = (cases, times) => stack.faults(cases.map(({ code, to }) => ({
  action: 'status', status: code === '20429' ? 429 : 400, code: Number(code), ...(times && { count: times }), match: { to, method: 'POST' },
})));
// Half of them as failed, half as undelivered.
const report = (cases, settings = {}) => delivery({
  ...settings,
  recipients: Object.fromEntries(cases.map(({ code, to }, i) => [to, { final_status: i % 2 ? 'failed' : 'undelivered', error_code: Number(code) }])),
});

after(() => stack.end());
before(async () => {
  await stack.start();
  await stack.db.query(`CREATE OR REPLACE FUNCTION byoc.resend_schedule() RETURNS interval[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN ARRAY['50 milliseconds', '100 milliseconds']::interval[]`);
  a = await stack.organization(1);
  classes = await stack.db.rows(`SELECT code, class FROM byoc.shipped_provider_errors WHERE provider = 'twilio' ORDER BY code`);
});

test('refused with retry_later or resend: tried again, then sent', async () => {
  await delivery();
  const cases = codesOf('retry_later', 'resend');
  assert.equal(cases.length, 10);
  await refuse(cases, 1);
  for (const { id, code } of await sendAll(cases)) {
    const message = await stack.settled(id, ['delivered', 'failed']);
    assert.deepEqual([message.status, message.attempts], ['delivered', 2], code);
    assert.deepEqual((await history(id)).slice(0, 2), [code === '20429' ? 'throttled' : 'rejected', 'accepted'], code);
    assert.equal((await stack.events(id))[0].error_code, code);
  }
});

test('refused with a permanent error, or one that nobody knows: final after one request', async () => {
  const cases = [...codesOf('permanent_recipient', 'permanent_message'), { code: '39999', to: '+15556039999' }];
  assert.ok(cases.length >= 11);
  await refuse(cases);
  for (const { id, code, to } of await sendAll(cases)) {
    const message = await stack.settled(id);
    assert.deepEqual([message.status, message.error_code, message.attempts, await requests(to)], ['failed', code, 1, 0], code);
    assert.deepEqual(await history(id), ['rejected'], code);
  }
  const opted_out = await stack.db.rows('SELECT number FROM byoc.opt_outs WHERE org_id = $1', [a.id]);
  assert.deepEqual(opted_out, [{ number: cases.find((c) => c.code === '21610').to }], 'and 21610 is remembered');
});

test('taken, then failed with resend: sent again a bounded number of times, however often that is reported', async () => {
  await stack.faults([]);
  const cases = codesOf('resend');
  assert.deepEqual(cases.map((c) => c.code), ['30001', '30003', '30008', '30410']);
  await stack.simulator.request('DELETE', '/_simulator/messages');
  await report(cases, { repeat: 2 });
  const sent = await sendAll(cases);
  for (const [i, { id, code, to }] of sent.entries()) {
    await until(`code ${code} to be final`, async () => (await stack.message(id)).attempts === 1 + resends && (await stack.settled(id, [i % 2 ? 'failed' : 'undelivered'])));
    const message = await stack.message(id);
    assert.equal(message.error_code, code);
    const events = await history(id);
    assert.deepEqual([count(events, 'accepted'), count(events, 'resent')], [1 + resends, resends], `${code}: ${events}`);
    assert.equal(await requests(to), 1 + resends, code);
  }
  const { callbacks } = await stack.simulator.request('GET', '/_simulator/stats');
  assert.equal(callbacks.failed, 0, 'every repeated report was taken');
  // Nothing is left that could send one more.
  assert.equal(await stack.db.value('SELECT count(*)::int FROM byoc.schedule'), 0);
});

test('taken, then failed with retry_later: sent again until it is delivered', async () => {
  const cases = codesOf('retry_later').map((each) => ({ ...each, to: each.to.replace('+15556', '+15557') }));
  await report(cases);
  const sent = await sendAll(cases);
  for (const { id, code } of sent)
    await until(`code ${code} to be sent more often than resend allows`, async () => count(await history(id), 'resent') > resends);
  await delivery();
  for (const { id, code, to } of sent) {
    const message = await stack.settled(id, ['delivered']);
    assert.equal(await requests(to), message.attempts, code);
    assert.equal(count(await history(id), 'delivered'), 1, code);
  }
});

test('taken, then failed with a permanent error, or one that nobody knows: final', async () => {
  const cases = [...codesOf('permanent_recipient', 'permanent_message').filter((c) => c.code !== '21610'), { code: '39999', to: '' }]
    .map((each) => ({ ...each, to: `+15558${each.code.padStart(6, '0')}` }));
  await report(cases);
  for (const [i, { id, code, to }] of (await sendAll(cases)).entries()) {
    const message = await stack.settled(id, ['failed', 'undelivered']);
    assert.deepEqual([message.status, message.error_code, await requests(to)], [i % 2 ? 'failed' : 'undelivered', code, 1], code);
  }
});

test('pause_credential: the credential fails and its messages wait, nobody else\'s; verified again it sends them', async () => {
  await delivery();
  const cases = await Promise.all(codesOf('pause_credential').map(async (each, i) => (
    { ...each, to: `+15555${each.code.padStart(6, '0')}`, organization: await stack.organization(20 + i) })));
  assert.ok(cases.length >= 10);
  await refuse(cases);
  for (const each of cases) each.id = await stack.send(each.organization, each.to, `code ${each.code}`);
  for (const { code, id, organization } of cases) {
    await stack.verified(organization, 'failed');
    assert.match(await stack.db.value('SELECT verification_error FROM byoc.credentials WHERE id = $1', [organization.credential]), new RegExp(`\\b${code}\\b`));
    assert.ok(['queued', 'sending'].includes((await stack.message(id)).status), code);
  }
  await stack.settled(await stack.send(a, '+15555900001', 'not concerned'), ['delivered']);
  await stack.faults([]);
  for (const { organization } of cases) await stack.db.query('SELECT byoc.verify_credential($1)', [organization.credential]);
  for (const { code, id, to } of cases) {
    await stack.settled(id, ['delivered'], 30_000);
    assert.equal(await requests(to), 1, code);
  }
  // Taken, then failed so: that message is final, and the next ones wait.
  await report(cases);
  for (const each of cases) {
    each.id = await stack.send(each.organization, each.to, 'reported');
    await stack.settled(each.id, ['failed', 'undelivered']);
    await stack.verified(each.organization, 'failed');
    assert.equal((await stack.message(each.id)).error_code, each.code);
  }
});

test('a DBA\'s override counts from the next answer on, in a byocd that runs', async () => {
  const override = (code, name) => stack.db.query(`
    INSERT INTO byoc.provider_error_overrides (provider, code, class) VALUES ('twilio', $1, $2)
    ON CONFLICT (provider, code) DO UPDATE SET class = excluded.class`, [code, name]);
  const outcome = async (code, to) => {
    await refuse([{ code, to }], 1);
    const { status, attempts } = await stack.settled(await stack.send(a, to, 'overridden'), ['delivered', 'failed']);
    return [status, attempts];
  };
  await delivery();
  await override('21614', 'retry_later');
  assert.deepEqual(await outcome('21614', '+15559000001'), ['delivered', 2], 'a permanent one is tried again');
  await override('21611', 'permanent_message');
  assert.deepEqual(await outcome('21611', '+15559000002'), ['failed', 1], 'a passing one is final');
  await override('39998', 'resend');
  assert.deepEqual(await outcome('39998', '+15559000003'), ['delivered', 2], 'one that is not shipped gets a class');
  await report([{ code: '39998', to: '+15559000004' }]);
  const id = await stack.send(a, '+15559000004', 'reported');
  await until('two more attempts', async () => count(await history(id), 'accepted') === 1 + resends);
  await override('39998', 'permanent_recipient');
  await report([{ code: '39998', to: '+15559000005' }]);
  await stack.settled(await stack.send(a, '+15559000005', 'reported'), ['undelivered']);
  await stack.db.query('DELETE FROM byoc.provider_error_overrides');
  await delivery();
  assert.deepEqual(await outcome('21614', '+15559000006'), ['failed', 1], 'without overrides it is as shipped');
  assert.equal(stack.byocd.program.ended, null);
});
