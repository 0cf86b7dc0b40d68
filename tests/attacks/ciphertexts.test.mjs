// Attacks with ciphertexts: moved or copied between rows, columns, organizations, contexts and keys, by a tenant and by somebody
// who can write the tables themselves (a backup put back, a DBA's UPDATE). Nothing may open anywhere but where it was sealed.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { A, B, Ground, NOBODY, attempt, value } from './ground.mjs';

const ground = new Ground('ciphertexts');
let session, db;

after(() => ground.end());
before(async () => {
  await ground.start();
  ({ db } = ground);
  session = await ground.session();
});

test('a tenant with envelopes', async (t) => {
  const { envelope } = ground.victim;
  const seal = (org, text, context) => db.value('SELECT byoc.encrypt($1, $2, $3)::text', [org, text, context]);
  const [own, ofB] = [await seal(A, 'mine', 'notes.a'), await seal(B, 'victim text', 'notes.a')];
  const fields = await db.value('SELECT encrypted_fields::text FROM byoc.organization_api_credentials WHERE org_id = $1 AND is_active', [A]);
  const bytes = Buffer.from(own.slice(2), 'hex');
  const changed = (at, by) => { const copy = Buffer.from(bytes); copy[at] ^= by; return `\\x${copy.toString('hex')}`; };
  const decrypt = (org, sealed, context = 'notes.a', name = 'decrypt') => () => session.query(`SELECT byoc.${name}('${org}', '${sealed}', '${context}')`);
  await attempt(t, 'decrypt one\'s own', value('mine'), decrypt(A, own));
  await attempt(t, 'decrypt one\'s own in another context', '22000', decrypt(A, own, 'notes.b'));
  await attempt(t, 'decrypt one\'s own without its context', '22000', decrypt(A, own, ''));
  await attempt(t, 'decrypt one\'s own as B', '42501', decrypt(B, own));
  await attempt(t, 'decrypt B\'s as B', '42501', decrypt(B, ofB));
  await attempt(t, 'decrypt B\'s as A', '22000', decrypt(A, ofB));
  await attempt(t, 'decrypt B\'s bytes as A', '22000', decrypt(A, ofB, 'notes.a', 'decrypt_bytes'));
  await attempt(t, 'decrypt B\'s credential as A', '22000', decrypt(A, envelope));
  await attempt(t, 'decrypt one\'s own credential, which is sealed for another place', '22000', decrypt(A, fields));
  for (const context of ['organization_api_credentials.encrypted_fields', 'application', '\u0001']) {
    await attempt(t, `decrypt one's own credential in context ${JSON.stringify(context)}`, '22000', decrypt(A, fields, context));
  }
  await attempt(t, 'unseal one\'s own credential', '42501', () => session.query(
    `SELECT byoc.unseal('${A}', 'organization_api_credentials.encrypted_fields', '${NOBODY}', '${fields}')`));
  for (const key of [2, 3, 255]) await attempt(t, `key id ${1 ^ key} written into the header`, '22000', decrypt(A, changed(5, key)));
  await attempt(t, 'another format version', '22000', decrypt(A, changed(0, 1)));
  await attempt(t, 'a flipped bit of the text', '22000', decrypt(A, changed(bytes.length - 17, 1)));
  await attempt(t, 'a flipped bit of the tag', '22000', decrypt(A, changed(bytes.length - 1, 128)));
  await attempt(t, 'one byte short', '22000', decrypt(A, own.slice(0, -2)));
  await attempt(t, 'empty', '22000', decrypt(A, '\\x'));
  await attempt(t, 'A\'s text behind B\'s header', '22000', decrypt(A, ofB.slice(0, 20) + own.slice(20)));
});

// What byocd would be given after `change`, which is undone.
async function opened(change, org, id) {
  await db.query('BEGIN; SET LOCAL session_replication_role = replica');
  try {
    await db.query(change);
    await db.query('SET LOCAL session_replication_role = origin; UPDATE byoc.organization_keys SET state = state');
    return { rows: await db.rows('SELECT fields, error FROM byoc.open_credentials(ARRAY[$1]::uuid[], ARRAY[$2]::uuid[])', [org, id]) };
  } finally {
    await db.query('ROLLBACK');
  }
}
const refused = (rows) => {
  assert.equal(rows.length, 1);
  assert.equal(rows[0].fields, null);
  assert.match(rows[0].error, /does not belong here|cannot be unwrapped|has no such key|not an envelope|unknown format version/);
};

test('an owner of the tables who moves what is in them', async (t) => {
  const table = 'byoc.organization_api_credentials';
  const { credential } = ground.victim;
  const own = await db.value(`SELECT id FROM ${table} WHERE org_id = $1 AND is_active`, [A]);
  const second = await db.value(`SELECT byoc.add_credential('twilio', $1, 'alice second', $2)`, [
    { account_sid: `AC${'a'.repeat(32)}`, auth_token: `${'0'.repeat(28)}a2a3`, phone_number: '+15550138802' }, A]);
  const copy = `UPDATE ${table} t SET encrypted_fields = s.encrypted_fields FROM ${table} s`;
  const keys = 'byoc.organization_keys';
  const moves = {
    'B\'s envelope in A\'s row': [`${copy} WHERE t.id = '${own}' AND s.id = '${credential}'`, A, own],
    'A\'s envelope in B\'s row': [`${copy} WHERE t.id = '${credential}' AND s.id = '${own}'`, B, credential],
    'A\'s envelope in another row of A': [`${copy} WHERE t.id = '${second}' AND s.id = '${own}'`, A, second],
    'B\'s whole row made A\'s': [`UPDATE ${table} SET org_id = '${A}', is_default = false WHERE id = '${credential}'`, A, credential],
    'B\'s row under another id': [`UPDATE ${table} SET id = '${NOBODY}' WHERE id = '${credential}'`, B, NOBODY],
    'B\'s wrapped key made A\'s': [`UPDATE ${keys} t SET wrapped_key = s.wrapped_key FROM ${keys} s WHERE t.org_id = '${A}' AND s.org_id = '${B}'`, A, own],
    'B\'s row and B\'s wrapped key made A\'s': [`UPDATE ${table} SET org_id = '${A}', is_default = false WHERE id = '${credential}';
      UPDATE ${keys} t SET wrapped_key = s.wrapped_key FROM ${keys} s WHERE t.org_id = '${A}' AND s.org_id = '${B}'`, A, credential],
    'a wrapped key under another key id': [`UPDATE ${keys} SET key_id = 2 WHERE org_id = '${A}'`, A, own],
    'an application\'s envelope in place of a credential': [`UPDATE ${table} SET encrypted_fields = byoc.encrypt('${A}', '{"account_sid": "x"}') WHERE id = '${own}'`, A, own],
    'a wrapped key in place of a credential': [`UPDATE ${table} t SET encrypted_fields = k.wrapped_key FROM ${keys} k WHERE k.org_id = '${A}' AND t.id = '${own}'`, A, own],
    'plaintext in place of a credential': [`UPDATE ${table} SET encrypted_fields = '{"account_sid": "x"}'::text::bytea WHERE id = '${own}'`, A, own],
  };
  await attempt(t, 'as it is', ([row]) => assert.equal(row.fields.phone_number, '+15550138800'), () => opened('SELECT 1', A, own));
  for (const [what, [change, org, id]] of Object.entries(moves)) await attempt(t, what, refused, () => opened(change, org, id));
  await attempt(t, 'a credential\'s org_id changed with the triggers in force', '42501', () => db.query(`UPDATE ${table} SET org_id = '${A}' WHERE id = '${credential}'`));
});

test('B\'s rows are what they were', () => ground.assertUntouched());
