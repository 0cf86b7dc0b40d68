// Where a tenant's webhook may not lead: to this machine, the network around it, or a cloud's metadata, whatever its URL, its name, a proxy or a
// redirect says; unless the operator allows that network.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { TOP } from '../../scripts/run.mjs';
import { Stack, until } from './stack.mjs';
import { Receiver, answer } from './webhooks/receiver.mjs';

const secret = `whsec_${'A'.repeat(32)}`;
const stack = new Stack('addresses');
let inner; // what must not be reached: it listens on every address of this machine
let org;

const add = (url) => stack.db.value('SELECT byoc.add_credential($1, $2, org_id => $3)', ['webhook', { url, secret }, org]);
const checked = (id) => until(`credential ${id} to be checked`, async () => {
  const [found] = await stack.db.rows('SELECT * FROM byoc.credentials WHERE id = $1', [id]);
  return (found.verification_status !== 'pending' || found.verification_error) && found;
});
const revoke = (id) => stack.db.query('SELECT byoc.revoke_credential($1)', [id]);
async function expectRefused(url) {
  const id = await add(url);
  const found = await checked(id);
  assert.equal(found.verification_status, 'failed', `${url}: ${found.verification_error}`);
  assert.match(found.verification_error, /^The URL may not be called: it leads to an address that is not public\./, url);
  assert.doesNotMatch(found.verification_error, /\d+\.\d+\.\d+\.\d+/, 'it does not tell what a name means inside');
  await revoke(id);
}

after(async () => {
  inner?.stop();
  await stack.end();
});
before(async () => {
  inner = await Receiver.start('::').catch(() => Receiver.start('0.0.0.0'));
  await stack.start();
  // Proxies that would connect to anything.
  await stack.byocd.program.stop();
  const proxy = `http://127.0.0.1:${inner.port}`;
  await stack.startByocd({ http_proxy: proxy, https_proxy: proxy, ALL_PROXY: proxy, all_proxy: proxy });
  org = await stack.db.value(`SELECT byoc.create_organization('Attacker')`);
});

test('no spelling of an inner address is followed', async () => {
  for (const host of ['127.0.0.1', '127.1', '2130706433', '0x7f000001', '0x7f.0.0.1', '0177.0.0.1', '017700000001', 'localhost', '0.0.0.0', '0', '127.8.8.8', '169.254.169.254',
    '10.0.0.1', '172.16.0.1', '192.168.0.1', '100.64.0.1', '168.63.129.16', '224.0.0.1', '255.255.255.255'])
    for (const scheme of ['http', 'https']) await expectRefused(`${scheme}://${host}:${inner.port}/`);
  assert.equal(inner.connections, 0);
});

test('nor one of IPv6', async () => {
  for (const host of ['::1', '::', '::ffff:127.0.0.1', '::ffff:7f00:1', '::127.0.0.1', '64:ff9b::7f00:1', '64:ff9b::', '64:ff9b:1::1', 'fe80::1', 'fc00::1', 'fd00:ec2::254', '2002:7f00:1::', 'ff02::1']) {
    const id = await add(`https://[${host}]:${inner.port}/`);
    const found = await checked(id);
    // Where there is no IPv6 at all, that is the reason.
    assert.match(found.verification_error, /not public|could not be reached/, host);
    await revoke(id);
  }
  assert.equal(inner.connections, 0);
});

test('URLs with a user name are refused at once; plain http and odd ports by byocd', async () => {
  for (const url of ['https://user:pass@127.0.0.1/', 'https://example.org@127.0.0.1/', 'https://example.org#@127.0.0.1/', 'gopher://127.0.0.1/', 'file:///etc/passwd'])
    await assert.rejects(add(url), { code: '22023' }, url);
  for (const [url, says] of [['http://192.31.196.1/', /does not begin with https:/], ['https://192.31.196.1:22/', /its port is neither 443 nor/]]) {
    const found = await checked(await add(url));
    assert.equal(found.verification_status, 'failed');
    assert.match(found.verification_error, says, url);
  }
});

test('byoc.require_verified off does not open the door: an event fails the credential and waits', async () => {
  await stack.db.query(`ALTER SYSTEM SET byoc.require_verified = off`);
  await stack.db.query('SELECT pg_reload_conf()');
  const credential = await add(`http://127.0.0.1:${inner.port}/`);
  const id = await stack.db.value('SELECT byoc.call_webhook($1, credential_id => $2, org_id => $3)', ['sneaky', credential, org]);
  await stack.verified({ credential }, 'failed');
  let found;
  await until('the event to come back', async () => {
    [found] = await stack.db.rows('SELECT * FROM byoc.webhook_calls WHERE id = $1', [id]);
    return found.status !== 'sending';
  });
  assert.equal(found.status, 'queued');
  assert.match(found.waiting_reason, /may not be called/);
  assert.equal(inner.connections, 0);
  await stack.db.query(`ALTER SYSTEM RESET byoc.require_verified`);
  await stack.db.query('SELECT pg_reload_conf()');
});

test('the operator learns where it would have led', () => {
  assert.match(readFileSync(stack.byocdLog, 'utf8'), /a tenant's URL is not followed to 127\.0\.0\.1: it leads to an address that is not public/);
});

test('an allowed network is reached; a name that changes its meaning, and a redirect, lead no further', async () => {
  const library = `${stack.run.folder}/resolver.so`;
  const { status, stderr } = spawnSync('cc', ['-shared', '-fPIC', '-o', library, `${TOP}/tests/e2e/webhooks/resolver.c`], { encoding: 'utf8' });
  assert.equal(status, 0, stderr);
  const answerFile = `${stack.run.folder}/resolver.txt`;
  const env = {
    BYOC_ALLOWED_WEBHOOK_NETWORKS: '127.0.0.1/32', LD_PRELOAD: library, RESOLVER_ANSWER: answerFile,
    ASAN_OPTIONS: `${process.env.ASAN_OPTIONS ?? ''}:verify_asan_link_order=0`,
  };
  const event = async (id) => (await stack.db.rows('SELECT * FROM byoc.webhook_calls WHERE id = $1', [id]))[0];
  // libcurl remembers a name for a minute: another byocd does not.
  const restartWith = async (address) => {
    writeFileSync(answerFile, address);
    await stack.byocd.program.stop();
    await stack.startByocd(env);
  };
  for (const address of ['127.0.0.2', '::1', '169.254.169.254']) {
    await restartWith('127.0.0.1');
    const credential = await add(`http://app.rebinding.test:${inner.port}/`);
    await stack.verified({ credential });
    const call = () => stack.db.value('SELECT byoc.call_webhook($1, credential_id => $2, org_id => $3)', ['rebound', credential, org]);
    const good = await call();
    await until('it to arrive', async () => (await event(good)).status === 'delivered');
    const reached = inner.connections;
    assert.ok(reached >= 2);
    await restartWith(address);
    const bad = await call();
    // connect_failed: where there is no IPv6 at all.
    await until('it to be refused', async () => ['address_not_permitted', 'connect_failed'].includes((await event(bad)).error_code));
    assert.equal(inner.connections, reached, address);
    await stack.db.query('SELECT byoc.revoke_credential($1)', [credential]);
  }
  // A redirect to another place is an answer like any other.
  const other = await Receiver.start('127.0.0.2');
  inner.onVerification = answer(307, { location: other.url });
  await restartWith('127.0.0.1');
  const redirecting = await add(`http://127.0.0.1:${inner.port}/`);
  assert.match((await checked(redirecting)).verification_error, /HTTP 307: redirects are not followed/);
  assert.equal(other.connections, 0);
  other.stop();
});
