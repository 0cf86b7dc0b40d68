// Only verified credentials send; one that the provider refuses waits with its messages, and nobody else does.

import assert from 'node:assert/strict';
import { after, afterEach, before, test } from 'node:test';
import { Byocd, Stack, until as untilSoon } from './stack.mjs';

const IN_FLIGHT = 16;
const stack = new Stack('verification', { env: { BYOC_REQUEST_TIMEOUT: '5s', BYOC_MAX_IN_FLIGHT: String(IN_FLIGHT) } });
const until = (what, condition) => untilSoon(what, condition, { timeout: 60_000 });
let a;
let b;
let recipients = 0;

const credential = async ({ credential: id }) => (await stack.db.rows('SELECT * FROM byoc.credentials WHERE id = $1', [id]))[0];
const update = (organization, fields) => stack.db.query('SELECT byoc.update_credential($1, $2)', [organization.credential, fields]);
const verify = (organization) => stack.db.query('SELECT byoc.verify_credential($1)', [organization.credential]);
const received = async (organization) => (await stack.simulator.messages()).filter((m) => m.account_sid === organization.account.sid);
const failures = ({ credential: id }) => stack.db.value('SELECT verification_failures FROM byoc.organization_api_credentials WHERE id = $1', [id]);
const sendOne = (organization, body) => stack.send(organization, `+1555200${String(recipients++).padStart(4, '0')}`, body);
// `count` messages in one transaction.
const sendMany = (organization, count, body) => stack.db.rows(
  `SELECT byoc.send_sms('+1555300' || lpad(n::text, 4, '0'), $2 || ' ' || n, org_id => $1) AS id FROM generate_series(1, $3) AS n`, [organization.id, body, count]);
const counts = async (organization, body) => Object.fromEntries((await stack.db.rows(
  `SELECT status, count(*)::int AS n FROM byoc.sms_messages WHERE org_id = $1 AND body LIKE $2 || ' %' GROUP BY status`, [organization.id, body]))
  .map(({ status, n }) => [status, n]));
// The token that Twilio knows from now on.
const rotate = (organization, authToken) => stack.simulator.addAccount({ ...organization.account, authToken });
async function configure(settings) {
  for (const [name, value] of Object.entries(settings)) await stack.db.query(`ALTER SYSTEM SET ${name} = '${value}'`);
  await stack.db.query('SELECT pg_reload_conf()');
}

after(() => stack.end());
afterEach(() => stack.faults([]));
before(async () => {
  await stack.start();
  [a, b] = [await stack.organization(1), await stack.organization(2)];
});

test('a new credential is verified by itself; what it is to send waits for that, and says so', async () => {
  await stack.faults([{ action: 'status', status: 503, match: { method: 'GET' } }]);
  const c = await stack.organization(3, { verified: false });
  const id = await sendOne(c, 'patience');
  const found = await until('a first check', async () => {
    const now = await credential(c);
    return now.verification_error && now;
  });
  assert.equal(found.verification_status, 'pending');
  assert.match(found.verification_error, /503/);
  const message = await stack.message(id);
  assert.equal(message.status, 'queued');
  assert.match(message.waiting_reason, /^paused: the credential is not verified yet: .*503/);
  await stack.faults([]);
  await verify(c);
  await stack.verified(c);
  assert.equal((await stack.settled(id)).status, 'sent');
});

test('what fails a check fails the credential, with a sentence to act on', async () => {
  for (const [change, says] of [
    [{ status: 'suspended' }, /suspended.*payment method/s],
    [{ numbers: [] }, /not in this Twilio account.*Active Numbers/s],
    [{ auth_token: '9'.repeat(32) }, /20003.*Copy both again/s],
  ]) {
    const { sid, authToken, number } = a.account;
    await stack.simulator.request('PUT', '/_simulator/accounts', { sid, auth_token: authToken, numbers: [{ phone_number: number }], ...change });
    await verify(a);
    await stack.verified(a, 'failed');
    assert.match((await credential(a)).verification_error, says);
  }
  await stack.simulator.addAccount(a.account);
  await verify(a);
  await stack.verified(a);
  assert.equal((await credential(a)).verification_error, null);
});

test('a network that is down fails no credential: it goes on sending', async () => {
  for (const fault of [{ action: 'reset' }, { action: 'timeout' }, { action: 'status', status: 500 }, { action: 'status', status: 429 }]) {
    await stack.faults([{ ...fault, match: { method: 'GET', account_sid: a.account.sid } }]);
    await verify(a);
    await until(`a check that ends with ${fault.action}`, async () => await failures(a) > 0);
    const { verification_status: status, verification_error: error } = await credential(a);
    assert.deepEqual([status, error], ['verified', null], fault.action);
  }
  assert.equal((await stack.settled(await sendOne(a, 'in spite of it'))).status, 'sent');
});

test('a token that is rotated at Twilio: its messages wait and none is lost; nobody else waits', async (t) => {
  const sendBeside = async () => {
    const message = await stack.settled(await sendOne(b, 'beside'));
    assert.deepEqual([message.status, message.attempts], ['sent', 1]);
  };
  // However long a commit takes, the refusal's too.
  await configure({ fsync: 'on', commit_delay: 100_000, commit_siblings: 0 });
  t.after(() => configure({ fsync: 'off', commit_delay: 0, commit_siblings: 5 }));
  await rotate(a, '8'.repeat(32));
  await sendMany(a, 300, 'rotated');
  for (let i = 0; i < 20; ++i) {
    await sendBeside();
    const [health] = await stack.db.rows('SELECT breaker, limited, paused FROM byoc.queue_health WHERE credential_id = $1', [b.credential]);
    if (health) assert.deepEqual(health, { breaker: 'closed', limited: false, paused: null });
  }
  await stack.verified(a, 'failed');
  await sendMany(a, 20, 'afterwards');
  await sendBeside();
  await until('everything in flight to come back', async () => (await counts(a, 'rotated')).queued === 300);
  assert.match((await credential(a)).verification_error, /wrong account SID or token \(error 20003\)/);
  const [health] = await stack.db.rows('SELECT * FROM byoc.queue_health WHERE credential_id = $1', [a.credential]);
  assert.match(health.paused, /^paused: the credential failed: Twilio refused a message/);
  // What was on its way at the first refusal, and once more of a claim that did not see it recorded.
  const refused = await stack.db.value(`
    SELECT count(*)::int FROM byoc.sms_messages m JOIN byoc.sms_events e ON e.message_id = m.id
    WHERE m.org_id = $1 AND m.body LIKE 'rotated %' AND e.event = 'rejected'`, [a.id]);
  assert.ok(refused > 0 && refused <= 2 * IN_FLIGHT, `${refused} refusals`);

  await update(a, { auth_token: '8'.repeat(32) });
  await until('all of them to be sent', async () => (await counts(a, 'rotated')).sent === 300 && (await counts(a, 'afterwards')).sent === 20);
  const bodies = (await received(a)).map((m) => m.body).filter((body) => body.match(/^(rotated|afterwards) /));
  assert.deepEqual([bodies.length, new Set(bodies).size], [320, 320]);
  a.account.authToken = '8'.repeat(32);
});

test('a tenant that holds its credential in an open transaction while it is refused holds up nobody', async (t) => {
  await rotate(a, '7'.repeat(32));
  const tenant = await stack.connect();
  t.after(() => tenant.end());
  await tenant.query('BEGIN');
  await tenant.query('SELECT byoc.update_credential($1, $2)', [a.credential, { auth_token: '6'.repeat(32) }]);
  const held = await sendOne(a, 'held');
  await until('its message to be refused', async () => (await stack.events(held)).some((e) => e.error_code === '20003'));
  for (let i = 0; i < 10; ++i) assert.equal((await stack.settled(await sendOne(b, 'beside it'))).status, 'sent');
  await tenant.query('ROLLBACK');
  await stack.verified(a, 'failed');
  await update(a, { auth_token: '7'.repeat(32) });
  a.account.authToken = '7'.repeat(32);
  assert.equal((await stack.settled(held)).status, 'sent');
});

test('an account that is suspended while it sends', async () => {
  const { sid, authToken, number } = a.account;
  const account = (status) => stack.simulator.request('PUT', '/_simulator/accounts', { sid, auth_token: authToken, status, numbers: [{ phone_number: number }] });
  await account('suspended');
  const id = await sendOne(a, 'suspended');
  await stack.verified(a, 'failed');
  assert.match((await credential(a)).verification_error, /suspended \(error 30002\)/);
  assert.equal((await until('the message to come back', async () => {
    const message = await stack.message(id);
    return message.status !== 'sending' && message;
  })).status, 'queued');
  await account('active');
  await verify(a);
  assert.equal((await stack.settled(id)).status, 'sent');
});

test('each verified credential is checked again when its day has come: once, whoever is there to do it, also after a restart', async () => {
  await stack.byocd.program.stop();
  await stack.faults([a, b].map(({ account }) => (
    { action: 'slow_body', ms: 1, match: { path: `/2010-04-01/Accounts/${account.sid}.json` } })));
  const at = await stack.db.value(`
    UPDATE byoc.organization_api_credentials SET verification_due_at = now() - interval '1 hour' WHERE id IN ($1, $2) RETURNING now()`, [a.credential, b.credential]);
  await stack.startByocd();
  const second = await Byocd.launch(stack.run, stack.cluster, { database: 'e2e', simulator: stack.simulator, log: `${stack.run.folder}/second.log` });
  await until('both to be checked', () => stack.db.value(
    'SELECT count(*) = 2 FROM byoc.credentials WHERE id IN ($1, $2) AND last_verified_at > $3', [a.credential, b.credential, at]));
  assert.deepEqual((await stack.simulator.request('GET', '/_simulator/faults')).map((rule) => rule.hits), [1, 1]);
  assert.ok(await stack.db.value(`
    SELECT bool_and(verification_due_at - now() BETWEEN interval '20 hours' AND interval '28 hours') AND count(DISTINCT verification_due_at) = 2
    FROM byoc.organization_api_credentials WHERE id IN ($1, $2)`, [a.credential, b.credential]), 'the next times, apart from each other');
  await second.program.stop();
});

test('byoc.require_verified off: what is not verified yet sends as well', async () => {
  await configure({ 'byoc.require_verified': 'off' });
  await stack.faults([{ action: 'status', status: 503, match: { method: 'GET' } }]);
  const d = await stack.organization(4, { verified: false });
  assert.equal((await stack.settled(await sendOne(d, 'at once'))).status, 'sent');
  assert.equal((await credential(d)).verification_status, 'pending');
  await configure({ 'byoc.require_verified': 'on' });
});
