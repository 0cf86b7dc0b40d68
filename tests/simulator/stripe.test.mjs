// Stripe's account endpoint, and the keys behind it.
import assert from 'node:assert/strict';
import { after, before, beforeEach, test } from 'node:test';
import { Simulator } from './harness.mjs';

let simulator;
before(async () => { simulator = await Simulator.start(); });
after(async () => { assert.equal(await simulator.stop(), 0); });
beforeEach(() => simulator.control('DELETE', 'stripe/keys'));

const key = 'sk_test_0000000000';
const put = (fields) => simulator.control('PUT', 'stripe/keys', { key, ...fields });
async function account(authorization, path = '/v1/account', method = 'GET') {
  const response = await fetch(simulator.url + path, { method, headers: authorization ? { authorization } : {} });
  return { status: response.status, body: await response.json(), challenge: response.headers.has('www-authenticate') };
}

test('a key reads its account, as Bearer token and as a user', async () => {
  assert.equal((await put({ account: 'acct_000000000000002', country: 'DE', charges_enabled: false })).status, 200);
  for (const authorization of [`Bearer ${key}`, `Basic ${btoa(`${key}:`)}`]) {
    const { status, body } = await account(authorization);
    assert.equal(status, 200);
    assert.deepEqual([body.object, body.id, body.country, body.charges_enabled], ['account', 'acct_000000000000002', 'DE', false]);
  }
});

test('no key, another one, an expired one', async () => {
  await put({ expired: true });
  for (const [authorization, message, code] of [
    ['', /did not provide an API key/], [`Bearer ${key}1`, /^Invalid API Key provided: sk_test_\*+0001$/], [`Bearer ${key.toUpperCase()}`, /^Invalid/],
    [`Digest ${key}`, /did not provide/], [`Bearer ${key}`, /^Expired API Key provided: sk_test_\*+0000$/, 'api_key_expired'],
  ]) {
    const { status, body, challenge } = await account(authorization);
    assert.deepEqual([status, body.error.type, body.error.code, challenge], [401, 'invalid_request_error', code, true]);
    assert.match(body.error.message, message);
  }
});

test('a restricted key that may not read the account', async () => {
  await put({ key: 'rk_test_0000000000', reads_account: false });
  const { status, body } = await account('Bearer rk_test_0000000000');
  assert.equal(status, 403);
  assert.match(body.error.message, /does not have the required permissions/);
  assert.equal((await put({ reads_account: false })).status, 400, 'only a restricted key can be restricted');
});

test('there is nothing else, and wrong input is refused', async () => {
  await put({});
  for (const [path, method] of [['/v1/accounts', 'GET'], ['/v1/account', 'POST']]) assert.equal((await account(`Bearer ${key}`, path, method)).status, 404);
  assert.match((await put({ colour: 'blue' })).body.error, /colour/);
  assert.equal((await simulator.control('PUT', 'stripe/nothing', {})).status, 404);
  assert.equal((await simulator.control('PATCH', 'stripe/keys')).status, 405);
});
