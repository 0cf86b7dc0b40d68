// A Stripe key: checked with Stripe, masked for the tenant, in plaintext for the back end that charges with it.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { Stack, filesWith, until } from './stack.mjs';

const stack = new Stack('stripe');
const good = 'sk_test_0000000000000001';
let org;

const key = (fields) => stack.simulator.request('PUT', '/_simulator/stripe/keys', fields);
const credential = async (id) => (await stack.db.rows('SELECT * FROM byoc.credentials WHERE id = $1', [id]))[0];
const checked = (id) => until(`credential ${id} to be checked`, async () => {
  const found = await credential(id);
  return (found.verification_status !== 'pending' || found.verification_error) && found;
});
const add = (secret) => stack.db.value('SELECT byoc.add_credential($1, $2, org_id => $3)', ['stripe', { secret_key: secret }, org]);

after(() => stack.end());
before(async () => {
  await stack.start();
  org = await stack.db.value(`SELECT byoc.create_organization('Charger')`);
  await key({ key: good });
});

test('a key that Stripe knows is verified, and shows its last four characters only', async () => {
  const found = await checked(await add(good));
  assert.equal(found.verification_status, 'verified');
  assert.equal(found.verification_note, null);
  assert.deepEqual(found.fields, { secret_key: '••••0001' });
});

test('a wrong, an expired and a deleted key fail, with a sentence to act on', async () => {
  assert.match((await checked(await add('sk_test_9999999999999999'))).verification_error, /does not accept this key/);
  const rolled = 'sk_test_0000000000000002';
  await key({ key: rolled });
  const id = await add(rolled);
  assert.equal((await checked(id)).verification_status, 'verified');
  await key({ key: rolled, expired: true });
  await stack.db.query('SELECT byoc.verify_credential($1)', [id]);
  await stack.verified({ credential: id }, 'failed');
  assert.match((await credential(id)).verification_error, /expired.*Copy the new key/);
  await stack.db.query('SELECT byoc.update_credential($1, $2)', [id, { secret_key: good }]);
  await stack.verified({ credential: id });
});

test('a restricted key need not read the account; an account that cannot charge yet says so', async () => {
  await key({ key: 'rk_test_0000000000000003', reads_account: false });
  const restricted = await checked(await add('rk_test_0000000000000003'));
  assert.equal(restricted.verification_status, 'verified');
  assert.match(restricted.verification_note, /restricted key may not read the account/);
  await key({ key: 'sk_test_0000000000000004', charges_enabled: false });
  const incomplete = await checked(await add('sk_test_0000000000000004'));
  assert.equal(incomplete.verification_status, 'verified');
  assert.match(incomplete.verification_note, /does not let this account charge/);
});

test('a provider that is away decides nothing', async () => {
  await stack.faults([{ action: 'status', status: 503, match: { path: '/v1/account' } }]);
  const id = await add(good);
  const found = await checked(id);
  assert.equal(found.verification_status, 'pending');
  assert.match(found.verification_error, /503/);
  await stack.faults([]);
  await stack.db.query('SELECT byoc.verify_credential($1)', [id]);
  await stack.verified({ credential: id });
});

test('the back end that charges reads its organization\'s key, each time on record; a tenant cannot', async () => {
  await stack.db.query(`CREATE ROLE billing LOGIN; SELECT byoc.grant_tenant('billing'); GRANT SELECT ON byoc.decrypted_credentials TO billing;
    GRANT EXECUTE ON FUNCTION byoc.set_org(uuid, text, text, boolean) TO billing`);
  const billing = await stack.connect('billing');
  await billing.query('BEGIN');
  await billing.query('SELECT byoc.set_org($1)', [org]);
  const read = `SELECT fields ->> 'secret_key' FROM byoc.decrypted_credentials WHERE credential_type = 'stripe' AND is_default`;
  assert.equal(await billing.value(read), good);
  await billing.query('COMMIT');
  assert.equal(await stack.db.value(`SELECT count(*)::int FROM byoc.audit_log WHERE org_id = $1 AND action = 'credential.decrypted'`, [org]), 1);
  const tenant = await stack.connect();
  await tenant.query('SET ROLE tenant');
  await assert.rejects(tenant.query(read), { code: '42501' });
});

test('no key is in a log or in the data directory', () => {
  for (const log of [stack.byocdLog, stack.cluster.log]) assert.doesNotMatch(readFileSync(log, 'utf8'), /[sr]k_test_\d/, log);
  assert.deepEqual(filesWith(stack.cluster.env.PGDATA, good), []);
});
