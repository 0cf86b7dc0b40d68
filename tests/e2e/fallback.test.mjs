// The old way, one account in byocd's environment: who may send with it, who never, and what shows it.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { freePort } from '../../scripts/run.mjs';
import { BYOCD, Byocd, Stack, filesWith, until } from './stack.mjs';

const shared = { sid: `AC${'0'.repeat(30)}fa`, authToken: `${'0'.repeat(28)}facc`, number: '+15550009900' };
const variables = { TWILIO_ACCOUNT_SID: shared.sid, TWILIO_AUTH_TOKEN: shared.authToken, TWILIO_PHONE_NUMBER: shared.number };
const fallback = { ...variables, BYOC_ALLOW_ENV_FALLBACK: 'yes' };
const stack = new Stack('fallback', { env: { ...variables, BYOC_LEASE: '3600s', BYOC_REQUEST_TIMEOUT: '600s' } });
const at_once = { queued_ms: 0, sending_ms: 0, sent_ms: 0, final_ms: 0 };
let number = 0;

const bare = async () => ({ id: await stack.db.value('SELECT byoc.create_organization($1)', [`Organization without a credential ${++number}`]) });
const settled = async (id, states) => { const { status, error_code: code, from_number: from } = await stack.settled(id, states); return [status, code, from]; };
const audited = (organization) => stack.db.rows(`
  SELECT details ->> 'account_sid' AS account, (details ->> 'messages')::int AS messages FROM byoc.audit_log
  WHERE org_id = $1 AND action = 'fallback.used' ORDER BY at`, [organization.id]);
const received = async (to) => (await stack.simulator.messages()).filter((m) => m.to === to).map((m) => [m.account_sid, m.from]);
const history = async (id) => (await stack.events(id)).map((e) => e.event);
const announced = () => stack.db.value('SELECT fallback_senders::int FROM byoc.stats');
const expire = () => stack.db.query('UPDATE byoc.fallback_senders SET expected_until = clock_timestamp()');
const restart = async (env) => { await stack.byocd.program.stop(); await stack.startByocd(env); };
// A second byocd beside the stack's.
const another = (env) => Byocd.start(stack.run, stack.cluster, {
  database: 'e2e', simulator: stack.simulator, env: { ...stack.env, ...env }, log: `${stack.run.folder}/another.log`,
});

after(() => stack.end());
before(async () => {
  await stack.start();
  await stack.simulator.addAccount(shared, 'the environment\'s');
});

test('off by default: the environment is not used, whatever it holds', async () => {
  const a = await bare();
  const id = await stack.send(a, '+15551200001', 'no credential');
  assert.deepEqual(await settled(id), ['failed', 'no_credential', null]);
  assert.deepEqual(await received('+15551200001'), []);
  assert.deepEqual(await stack.db.rows('SELECT fallback_senders::int, fallback_last_hour::int FROM byoc.stats'), [{ fallback_senders: 0, fallback_last_hour: 0 }]);
});

test('with the flag, what is missing or malformed is named at the start, never its value', () => {
  const run = (env, args = ['--allow-env-fallback']) => {
    const { status, stderr } = spawnSync(BYOCD, ['run', ...args], { env: { PATH: process.env.PATH, ...env }, encoding: 'utf8', timeout: 60_000 });
    return [status, stderr];
  };
  for (const name of Object.keys(variables)) {
    const secret = 'made-up-value-to-be-kept';
    for (const [env, says] of [[{ [name]: undefined }, 'is not set'], [{ [name]: '' }, 'is not set'], [{ [name]: secret }, 'is not']]) {
      const given = { ...variables, ...env };
      if (given[name] === undefined) delete given[name];
      const [status, message] = run(given);
      assert.equal(status, 2, message);
      assert.match(message, new RegExp(`allow-env-fallback cannot be used: ${name} ${says}`));
      assert.doesNotMatch(message, new RegExp(secret));
    }
  }
  const [status, message] = run(variables, ['--allow-env-fallback', 'perhaps']);
  assert.equal(status, 2);
  assert.match(message, /allow-env-fallback 'perhaps' from the command line cannot be used: it must be yes or no/);
});

test('an organization that never had a credential sends with the environment\'s account, and that is on record', async () => {
  await restart(fallback);
  assert.equal(await announced(), 1);
  const a = await bare();
  const id = await stack.send(a, '+15551200002', 'the old way');
  assert.deepEqual((await settled(id, ['sent', 'delivered'])).slice(1), [null, shared.number]);
  assert.equal((await stack.message(id)).credential_id, null);
  assert.deepEqual(await received('+15551200002'), [[shared.sid, shared.number]]);
  assert.deepEqual(await audited(a), [{ account: shared.sid, messages: 1 }]);
  await settled(await stack.send(a, '+15551200003', 'again'));
  assert.equal((await audited(a)).length, 2, 'each time');
  assert.equal(await stack.db.value('SELECT fallback_last_hour::int FROM byoc.stats'), 2);
  assert.equal(await stack.db.value('SELECT count(*)::int FROM byoc.verify_audit_log($1) WHERE first_broken IS NOT NULL', [a.id]), 0);
});

test('an own credential counts at once, also for what was queued before; failed or revoked, it is never replaced by the environment', async () => {
  const own = await stack.organization(1);
  await settled(await stack.send(own, '+15551200010', 'by its own'));
  assert.deepEqual(await received('+15551200010'), [[own.account.sid, own.account.number]]);
  await stack.db.query(`UPDATE byoc.organization_api_credentials SET verification_status = 'failed' WHERE id = $1`, [own.credential]);
  await stack.send(own, '+15551200011', 'failed');
  await stack.db.query('SELECT byoc.revoke_credential($1)', [own.credential]);
  const revoked = await stack.send(own, '+15551200012', 'revoked');
  assert.deepEqual(await settled(revoked), ['failed', 'no_credential', null]);
  assert.deepEqual(await received('+15551200012'), []);
  assert.ok((await received('+15551200011')).every(([account]) => account !== shared.sid));
  assert.deepEqual(await audited(own), []);

  const late = await bare();
  await stack.byocd.program.stop();
  const queued = await stack.send(late, '+15551200013', 'queued without a credential');
  const account = { sid: `AC${'0'.repeat(30)}77`, authToken: `${'0'.repeat(28)}ab77`, number: '+15550000077' };
  await stack.simulator.addAccount(account, 'its own');
  await stack.db.query('SELECT byoc.add_credential($1, $2, org_id => $3)', [
    'twilio', { account_sid: account.sid, auth_token: account.authToken, phone_number: account.number }, late.id]);
  await stack.startByocd(fallback);
  assert.equal((await settled(queued, ['sent', 'delivered']))[2], account.number);
  assert.deepEqual(await audited(late), []);
});

test('of two byocds only the one with the flag sends so; the other leaves these messages to it', async () => {
  await restart({});
  const a = await bare();
  assert.equal(await announced(), 1, 'the one that stopped is expected back');
  const waiting = await stack.send(a, '+15551200020', 'waits');
  const own = await stack.organization(2);
  await settled(await stack.send(own, '+15551200021', 'goes out meanwhile'), ['sent', 'delivered']);
  assert.equal((await stack.message(waiting)).status, 'queued');
  assert.deepEqual(await stack.db.rows('SELECT credential_id, waiting::int FROM byoc.queue_health WHERE org_id = $1', [a.id]), [{ credential_id: null, waiting: 1 }]);
  const second = await another(fallback);
  assert.equal((await settled(waiting, ['sent', 'delivered']))[2], shared.number);
  const ids = await Promise.all(Array.from({ length: 20 }, (_, i) => stack.send(a, `+155512001${String(i).padStart(2, '0')}`, `both run ${i}`)));
  for (const id of ids) assert.equal((await settled(id, ['sent', 'delivered', 'failed']))[2], shared.number);
  assert.equal((await audited(a)).reduce((sum, { messages }) => sum + messages, 0), 21);
  await second.program.stop();
  await expire();
  const id = await stack.send(a, '+15551200022', 'nobody falls back any more');
  assert.deepEqual(await settled(id), ['failed', 'no_credential', null]);
});

test('receipts are checked with the environment\'s token', async () => {
  const port = await freePort();
  await restart({ ...fallback, BYOC_HTTP_LISTEN: `127.0.0.1:${port}`, BYOC_PUBLIC_URL: `http://127.0.0.1:${port}` });
  await stack.simulator.request('PUT', '/_simulator/delivery', at_once);
  const a = await bare();
  const id = await stack.send(a, '+15551200030', 'with a receipt');
  await settled(id, ['delivered']);
  assert.deepEqual(await history(id), ['accepted', 'sent', 'delivered']);
  const { callbacks } = await stack.simulator.request('GET', '/_simulator/stats');
  assert.equal(callbacks.failed, 0);
});

test('without receipts the status is asked for with the environment\'s account', async () => {
  await restart(fallback);
  const a = await bare();
  const id = await stack.send(a, '+15551200031', 'asked for');
  await settled(id, ['sent']);
  await until('its status to be awaited', () => stack.db.value(`
    WITH sooner AS (UPDATE byoc.receipt_watches SET due_at = clock_timestamp() WHERE $1 = ANY (message_ids) RETURNING 1) SELECT count(*)::int FROM sooner`, [id]));
  assert.equal((await settled(id, ['delivered']))[0], 'delivered');
});

test('a lost answer is looked up in the environment\'s account', async () => {
  await stack.reconcileAfter(100, 200);
  const a = await bare();
  await stack.faults([{ action: 'reset_after', count: 1, match: { to: '+15551200032' } }, { action: 'reset', count: 1, match: { to: '+15551200033', method: 'POST' } }]);
  const taken = await stack.send(a, '+15551200032', 'taken');
  const lost = await stack.send(a, '+15551200033', 'lost');
  await settled(taken, ['sent', 'delivered']);
  await settled(lost, ['sent', 'delivered']);
  assert.deepEqual((await history(taken)).slice(0, 2), ['unknown', 'found']);
  assert.deepEqual((await history(lost)).slice(0, 2), ['unknown', 'not_found']);
  for (const to of ['+15551200032', '+15551200033']) assert.deepEqual(await received(to), [[shared.sid, shared.number]]);
});

test('a byocd that dies leaves nothing undecided, and one without the environment does not decide it', async () => {
  const a = await bare();
  await stack.faults([{ action: 'timeout_after', match: { to: '+15551200034', method: 'POST' } }]);
  const id = await stack.send(a, '+15551200034', 'byocd dies');
  await until('the request', async () => (await received('+15551200034')).length === 1);
  await stack.byocd.program.stop('SIGKILL');
  await stack.expireLeases();
  await stack.startByocd();
  await until('its rescue', async () => (await history(id)).includes('rescued'));
  const before = await stack.db.value('SELECT count(*)::int FROM byoc.claim_reconciliations(8, \'1 second\')');
  assert.equal(before, 0, 'a session without the account is given no list to read');
  assert.equal((await stack.message(id)).status, 'sending');
  await restart(fallback);
  await settled(id, ['sent', 'delivered']);
  assert.deepEqual((await history(id)).slice(0, 2), ['rescued', 'found']);
  assert.equal((await received('+15551200034')).length, 1);
  await stack.faults([]);
});

test('who opts out from the shared number is not texted again by that organization', async () => {
  const a = await bare();
  const other = await bare();
  const opted_out = { sid: shared.sid, auth_token: shared.authToken, numbers: [{ phone_number: shared.number, sms: true }], opted_out: ['+15551200040'] };
  await stack.simulator.request('PUT', '/_simulator/accounts', opted_out);
  assert.deepEqual((await settled(await stack.send(a, '+15551200040', 'first'))).slice(0, 2), ['failed', '21610']);
  await until('the opt-out', () => stack.db.value('SELECT count(*) > 0 FROM byoc.opt_outs WHERE org_id = $1', [a.id]));
  const { requests } = await stack.simulator.request('GET', '/_simulator/stats');
  assert.equal((await stack.message(await stack.send(a, '+15551200040', 'second'))).status, 'failed');
  assert.equal((await stack.simulator.request('GET', '/_simulator/stats')).requests, requests, 'without a request');
  assert.equal(await stack.db.value('SELECT count(*)::int FROM byoc.opt_outs WHERE org_id = $1', [other.id]), 0);
});

test('the environment\'s wrong token fails its messages with the reason, and no credential', async () => {
  await restart({ ...fallback, TWILIO_AUTH_TOKEN: 'e'.repeat(32) });
  const own = await stack.organization(3);
  const a = await bare();
  const id = await stack.send(a, '+15551200050', 'wrong token');
  assert.deepEqual((await settled(id)).slice(0, 2), ['failed', '20003']);
  await settled(await stack.send(own, '+15551200051', 'another organization'), ['sent', 'delivered']);
});

test('a shredded organization does not fall back', async () => {
  await restart(fallback);
  const a = await bare();
  await stack.db.query('SELECT byoc.shred_organization($1)', [a.id]);
  assert.equal(await stack.db.value('SELECT byoc.falls_back($1)', [a.id]), false);
});

test('the token is in no log and no file of the database', () => {
  for (const secret of [shared.authToken, 'e'.repeat(32)]) {
    for (const log of [stack.byocdLog, stack.cluster.log]) assert.ok(!readFileSync(log, 'utf8').includes(secret), log);
    assert.deepEqual(filesWith(stack.cluster.folder, secret), []);
  }
});
