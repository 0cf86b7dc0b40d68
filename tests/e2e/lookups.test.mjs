// What a session remembers of opt-outs, default credentials and data keys is what others committed, as soon as they did. More of data
// keys: keys.test.mjs.

import assert from 'node:assert/strict';
import { after, before, beforeEach, test } from 'node:test';
import { Cluster, Run, until } from './stack.mjs';

const ORGANIZATION = 'aaaaaaaa-0000-4000-8000-00000000000a';
const NUMBER = '+15005550006';
const INSTALL = `CREATE EXTENSION pg_byoc; SELECT byoc.create_organization('Organization', '${ORGANIZATION}')`;
const run = new Run(`e2e-lookups-${process.pid}`);
let cluster, sender, other;

after(() => cluster?.disconnect());
before(async () => {
  cluster = new Cluster(run, { settings: { max_prepared_transactions: 1, wal_level: 'logical' } });
  [sender, other] = [await cluster.connect(), await cluster.connect()];
  await sender.query(INSTALL);
});
beforeEach(async () => {
  await other.query('DELETE FROM byoc.opt_outs; UPDATE byoc.organization_api_credentials SET is_default = false');
  assert.equal(await send(), 'queued', 'and remembers that nobody opted out');
});

const queue = () => sender.value('SELECT byoc.send_sms($1, $2, org_id => $3)', [NUMBER, 'hello', ORGANIZATION]);
// 'queued', or the code that it failed with.
const send = async () => sender.value('SELECT coalesce(error_code, status) FROM byoc.sms_messages WHERE id = $1', [await queue()]);
const lane = async () => sender.value('SELECT lane FROM byoc.queue WHERE id = $1', [await queue()]);
const optOut = (session = other) => session.query(`SELECT byoc.opt_out('${ORGANIZATION}', '${NUMBER}', 'inbound')`);
const addCredential = (digit) => other.value(`
  SELECT byoc.add_credential('twilio', jsonb_build_object('account_sid', 'AC' || repeat($1, 32), 'auth_token', repeat($1, 32),
    'phone_number', '+15005550001'), org_id => $2)`, [String(digit), ORGANIZATION]);

test('an opt-out holds from its commit on, its end too', async () => {
  await other.query('BEGIN');
  await optOut();
  assert.equal(await send(), 'queued');
  await other.query('COMMIT');
  assert.equal(await send(), '21610');
  await other.query('DELETE FROM byoc.opt_outs');
  assert.equal(await send(), 'queued');
});

test('within a transaction that has sent before', async () => {
  await sender.query('BEGIN');
  assert.equal(await send(), 'queued');
  await optOut();
  assert.equal(await send(), '21610');
  await sender.query('COMMIT');
});

test('what the session itself did holds until it is rolled back', async () => {
  await sender.query('BEGIN');
  await optOut(sender);
  assert.equal(await send(), '21610');
  await sender.query('ROLLBACK');
  assert.equal(await send(), 'queued');
  await sender.query('BEGIN; SAVEPOINT s');
  await optOut(sender);
  assert.equal(await send(), '21610');
  await sender.query('ROLLBACK TO s');
  assert.equal(await send(), 'queued');
  await sender.query('COMMIT');
});

test('a prepared transaction holds from its commit on', async () => {
  await other.query('BEGIN');
  await optOut();
  await other.query(`PREPARE TRANSACTION 'opt-out'`);
  assert.equal(await send(), 'queued');
  await other.query(`COMMIT PREPARED 'opt-out'`);
  assert.equal(await send(), '21610');
});

test('one that came by replication, or while the trigger was disabled', async () => {
  await other.query('SET session_replication_role = replica');
  await optOut();
  await other.query('RESET session_replication_role');
  assert.equal(await send(), '21610');
  await other.query('DELETE FROM byoc.opt_outs');
  assert.equal(await send(), 'queued');
  await other.query('ALTER TABLE byoc.opt_outs DISABLE TRIGGER forget_lookups');
  assert.equal(await send(), 'queued');
  await optOut();
  assert.equal(await send(), '21610');
  await other.query('ALTER TABLE byoc.opt_outs ENABLE ALWAYS TRIGGER forget_lookups');
});

test('what logical replication brought holds from then on', async () => {
  const MOVED = 'bbbbbbbb-0000-4000-8000-00000000000b';
  await other.query('CREATE DATABASE publisher');
  const publisher = await cluster.connect('publisher');
  await publisher.query(INSTALL);
  await publisher.query(`SELECT byoc.create_organization('Moved', '${MOVED}')`);
  const sealed = await publisher.value('SELECT byoc.encrypt($1, $2)', [MOVED, 'secret']);
  await publisher.query(`CREATE PUBLICATION moved FOR TABLE byoc.organization_keys WHERE (org_id = '${MOVED}'), byoc.opt_outs`);
  await publisher.query(`SELECT pg_create_logical_replication_slot('moved', 'pgoutput')`);
  const { PGHOST, PGPORT } = cluster.env;
  await other.query(`CREATE SUBSCRIPTION moved CONNECTION 'host=${PGHOST} port=${PGPORT} user=postgres dbname=publisher'
    PUBLICATION moved WITH (create_slot = false)`);
  const decrypted = () => sender.value('SELECT byoc.decrypt($1, $2)', [MOVED, sealed]);
  const arrived = (what) => until(`${what} to arrive`, () => other.value(`SELECT EXISTS (SELECT FROM byoc.${what})`));
  await arrived('organization_keys WHERE org_id = $$' + MOVED + '$$');

  await other.query('ALTER SUBSCRIPTION moved DISABLE'); // of one server: its memory tells of a change at once
  await publisher.query('SELECT byoc.shred_organization($1)', [MOVED]);
  await optOut(publisher);
  assert.equal(await decrypted(), 'secret');
  assert.equal(await send(), 'queued');
  await other.query('ALTER SUBSCRIPTION moved ENABLE');
  await arrived('organization_keys WHERE state = $$destroyed$$');
  await arrived('opt_outs');
  await assert.rejects(decrypted(), { code: '22000', message: `key 1 of organization ${MOVED} was destroyed` });
  assert.equal(await send(), '21610');
  await other.query('DROP SUBSCRIPTION moved');
});

test('a truncated table, and one of a new installation', async () => {
  await optOut();
  assert.equal(await send(), '21610');
  await other.query('TRUNCATE byoc.opt_outs');
  assert.equal(await send(), 'queued');
  await optOut();
  assert.equal(await send(), '21610');
  await other.query(`DROP EXTENSION pg_byoc CASCADE; ${INSTALL}`);
  assert.equal(await send(), 'queued');
  await optOut();
  assert.equal(await send(), '21610');
});

test('a message takes the lane of the default credential of its moment', async () => {
  const none = await lane();
  const first = await addCredential(1);
  assert.equal(await lane(), first);
  const second = await addCredential(2);
  assert.equal(await lane(), first);
  await other.query('BEGIN');
  await other.query('UPDATE byoc.credentials SET is_default = true WHERE id = $1', [second]);
  assert.equal(await lane(), first);
  await other.query('COMMIT');
  assert.equal(await lane(), second);
  await other.query('UPDATE byoc.organization_api_credentials SET is_default = false');
  assert.equal(await lane(), none);
});
