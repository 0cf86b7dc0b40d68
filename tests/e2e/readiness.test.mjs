// /healthz, /readyz, and what the log says of requests and messages.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { Stack, until } from './stack.mjs';

const stack = new Stack('readiness', { env: { BYOC_LOG_FORMAT: 'json', BYOC_LOG_LEVEL: 'debug' } });

after(() => stack.end());
before(() => stack.start());

const ready = { status: 'ready', database: true, api_version: true, adopted: true, keyring: true, dispatch_connection: true, record_connection: true, draining: false };

// Waits until /readyz answers so, as far as `wanted` says.
function answers(wanted) {
  return until(`/readyz to say ${JSON.stringify(wanted)}`, async () => {
    const response = await fetch(`${stack.byocd.url}/readyz`);
    const body = await response.json();
    assert.equal(response.status, body.status === 'ready' ? 200 : 503);
    assert.deepEqual(Object.keys(body), Object.keys(ready));
    return Object.entries(wanted).every(([name, value]) => body[name] === value);
  });
}

test('a byocd that can send is ready', () => answers(ready));

test('a copied database that nobody adopted is not', async () => {
  await stack.db.query('UPDATE byoc.installation SET database_oid = 0');
  await answers({ status: 'not ready', adopted: false, keyring: true, database: true });
  await stack.db.query('SELECT byoc.adopt_installation()');
  await answers(ready);
});

test('nor one whose key ring lacks a key', async () => {
  await stack.organization(1);
  await stack.db.query(`ALTER TABLE byoc.organization_keys DISABLE TRIGGER USER; UPDATE byoc.organization_keys SET wrapping_key_id = wrapping_key_id || '-gone'`);
  await answers({ status: 'not ready', adopted: true, keyring: false });
  await stack.db.query(`UPDATE byoc.organization_keys SET wrapping_key_id = replace(wrapping_key_id, '-gone', '')`);
  await answers(ready);
});

test('nor one that speaks another version', async () => {
  const speak = (oldest, newest) => stack.db.query(Object.entries({ oldest_api_version: oldest, api_version: newest }).map(([name, version]) => (
    `CREATE OR REPLACE FUNCTION byoc.${name}() RETURNS integer LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN ${version}`)).join(';'));
  const reconnect = () => stack.db.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'byocd'`);
  for (const [oldest, newest] of [[0, 0], [2, 3]]) {
    await speak(oldest, newest);
    await reconnect();
    await answers({ status: 'not ready', database: true, api_version: false });
    await until('the log to say so', () => lines().some(({ message }) => (
      message.includes(`the database speaks byoc.api_version() ${newest}, this byocd speaks 1: upgrade the older one`))));
  }
  await speak(1, 3); // one that still keeps ours: an old byocd goes on beside new ones
  await answers(ready);
  await speak(1, 1);
});

test('without a database it lives, and is not ready', async () => {
  stack.cluster.stop('immediate');
  await answers({ status: 'not ready', database: false, dispatch_connection: false, record_connection: false });
  assert.deepEqual(await (await fetch(`${stack.byocd.url}/healthz`)).json(), { status: 'ok' });
  stack.cluster.start();
  await answers(ready);
  await stack.reconnect();
});

test('a request has an id, the client\'s own if it is fit', async () => {
  const idOf = async (id) => (await fetch(`${stack.byocd.url}/nowhere/15550139009`, { headers: id ? { 'x-request-id': id } : {} })).headers.get('x-request-id');
  assert.match(await idOf(), /^[0-9a-f]{8}-[0-9a-f-]{27}$/);
  assert.equal(await idOf('trace-1.A_b'), 'trace-1.A_b');
  for (const unfit of ['a b', 'x'.repeat(65), 'a"b', '+15550139009']) assert.match(await idOf(unfit), /^[0-9a-f]{8}-[0-9a-f-]{27}$/);
  const line = await until('the request in the log', () => lines().find(({ request_id: id }) => id === 'trace-1.A_b'));
  assert.match(line.message, /^request trace-1\.A_b: GET an unknown path was answered with 404 after \d+ us$/);
});

function lines() { return readFileSync(stack.byocdLog, 'utf8').trimEnd().split('\n').map((line) => JSON.parse(line)); }

test('every line of the log is an object with time, level and message; those about a message have its ids', async () => {
  const organization = await stack.organization(2);
  const good = await stack.send(organization, '+15550139008', 'a text that is nobody\'s business');
  const bad = await stack.send(organization, '+15005550001', 'invalid');
  await stack.settled(good);
  await stack.settled(bad, ['failed']);
  for (const id of [good, bad]) {
    const line = await until('the message in the log', () => lines().find(({ message_id: of }) => of === id));
    assert.equal(line.org_id, organization.id);
  }
  for (const line of lines()) {
    assert.match(line.time, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
    assert.ok(['debug', 'info', 'warning', 'error'].includes(line.level), line.level);
    assert.equal(typeof line.message, 'string');
  }
  const log = readFileSync(stack.byocdLog, 'utf8');
  for (const secret of ['15550139', '15005550001', 'nobody\'s business', organization.account.authToken]) assert.ok(!log.includes(secret), secret);
});
