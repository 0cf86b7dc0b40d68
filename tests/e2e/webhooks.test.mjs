// Webhooks: signed as Standard Webhooks' own library wants it, repeated with the same id until the receiver takes them, whatever it answers.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { after, afterEach, before, test } from 'node:test';
import { installPackages } from '../../scripts/npm.mjs';
import { TOP } from '../../scripts/run.mjs';
import { Stack, filesWith, until } from './stack.mjs';
import { Receiver, answer, inTurn } from './webhooks/receiver.mjs';

const FOLDER = `${TOP}/build/npm/webhooks`;
const secretOf = (letter) => `whsec_${letter.repeat(32)}`;
const stack = new Stack('webhooks', { env: { BYOC_ALLOWED_WEBHOOK_NETWORKS: '127.0.0.1', BYOC_REQUEST_TIMEOUT: '3s', BYOC_LEASE: '6s' } });
let Webhook;
let receiver;
let org;
let hook;

const call = (type, payload = {}, more = {}) => stack.db.value('SELECT byoc.call_webhook($1, $2, credential_id => $3, org_id => $4)',
  [type, JSON.stringify(payload), more.credential ?? null, more.org ?? org]);
const event = async (id) => (await stack.db.rows('SELECT * FROM byoc.webhook_calls WHERE id = $1', [id]))[0];
const become = (id, ...states) => until(`event ${id} to be ${states.join(' or ')}`, async () => {
  const found = await event(id);
  return states.includes(found.status) && found;
});
const add = (url, fields = {}) => stack.db.value('SELECT byoc.add_credential($1, $2, org_id => $3)', ['webhook', { url, secret: secretOf('A'), ...fields }, org]);
const credential = async (id) => (await stack.db.rows('SELECT * FROM byoc.credentials WHERE id = $1', [id]))[0];
const verify = (id) => stack.db.query('SELECT byoc.verify_credential($1)', [id]);
// Waits until it was delivered, as if the waits between attempts were over.
const delivered = (id) => until(`event ${id} to be delivered`, async () => {
  await stack.db.query(`UPDATE byoc.calls SET due_at = now() WHERE id = $1 AND status = 'retryable'`, [id]);
  const found = await event(id);
  return found.status === 'delivered' && found;
});
const verified = (request, secret = secretOf('A')) => new Webhook(secret).verify(request.body, request.headers);

after(async () => {
  receiver?.stop();
  await stack.end();
});
afterEach(() => { receiver.onEvent = answer(204); receiver.onVerification = answer(204); });
before(async () => {
  installPackages(`${TOP}/tests/e2e/webhooks`, FOLDER);
  ({ Webhook } = createRequire(`${FOLDER}/`)('standardwebhooks'));
  receiver = await Receiver.start();
  await stack.start();
  org = await stack.db.value(`SELECT byoc.create_organization('Hooked')`);
  hook = await add(receiver.url);
  await stack.verified({ credential: hook });
});

test('a credential is verified by an event that is signed as all others', async () => {
  const [first] = receiver.verifications;
  assert.equal(verified(first).type, 'byoc.verification');
  assert.deepEqual((await credential(hook)).fields, { url: receiver.url, secret: '••••AAAA' });
  for (const [status, says] of [[401, /HTTP 401.*secret/], [404, /HTTP 404/], [302, /HTTP 302: redirects are not followed/], [410, /HTTP 410/]]) {
    receiver.onVerification = answer(status, { location: receiver.url });
    const id = await add(receiver.url);
    await stack.verified({ credential: id }, 'failed');
    assert.match((await credential(id)).verification_error, says);
  }
  receiver.onVerification = answer(503);
  const id = await add(receiver.url);
  await until('a first check', async () => (await credential(id)).verification_error);
  assert.equal((await credential(id)).verification_status, 'pending');
  receiver.onVerification = answer(200);
  await verify(id);
  await stack.verified({ credential: id });
});

test('an event arrives once it is committed: its body, its id, a signature that the library of Standard Webhooks verifies', async () => {
  const session = await stack.connect();
  await session.query('BEGIN');
  const id = await session.value('SELECT byoc.call_webhook($1, $2, org_id => $3)', ['lead.created', { name: 'Zoë 🔥', score: 90 }, org]);
  assert.equal((await event(id)), undefined);
  await session.query('COMMIT');
  const done = await become(id, 'delivered');
  assert.deepEqual([done.attempts, done.http_status, done.error_code], [1, 204, null]);
  const [request, ...more] = receiver.of(id);
  assert.equal(more.length, 0);
  assert.deepEqual([request.method, request.path, request.headers['content-type']], ['POST', '/hooks?tenant=1', 'application/json']);
  assert.equal(request.headers.authorization, undefined);
  const body = verified(request);
  assert.deepEqual([body.type, body.data], ['lead.created', { name: 'Zoë 🔥', score: 90 }]);
  assert.ok(Math.abs(Date.parse(body.timestamp) - Date.now()) < 600_000);
  assert.throws(() => verified(request, secretOf('B')), /No matching signature/);
  assert.throws(() => verified({ ...request, body: request.body.replace('90', '91') }), /No matching signature/);
});

test('while the secret is changed both sign', async () => {
  await stack.db.query('SELECT byoc.update_credential($1, $2)', [hook, { secret: secretOf('B'), previous_secret: secretOf('A') }]);
  await stack.verified({ credential: hook });
  const id = await call('rotated');
  await become(id, 'delivered');
  for (const letter of ['A', 'B']) assert.equal(verified(receiver.of(id)[0], secretOf(letter)).type, 'rotated');
  await stack.db.query('SELECT byoc.update_credential($1, $2)', [hook, { secret: secretOf('A'), previous_secret: null }]);
  await stack.verified({ credential: hook });
});

test('what is not taken is repeated with the same id and body, and a new time and signature', async () => {
  for (const status of [500, 503, 404, 400, 302, 408]) {
    receiver.onEvent = inTurn(answer(status, { location: `${receiver.url}&elsewhere` }), answer(200));
    const id = await call('stubborn', { status });
    assert.equal((await delivered(id)).attempts, 2, `after ${status}`);
    const [first, second] = receiver.of(id);
    assert.equal(second.body, first.body);
    for (const request of [first, second]) assert.equal(verified(request).type, 'stubborn');
  }
  assert.equal(receiver.requests.filter(({ path }) => path.includes('elsewhere')).length, 0, 'no redirect was followed');
});

test('the receiver\'s answer is not kept', async () => {
  receiver.onEvent = answer(400);
  const id = await call('curious');
  const refused = await become(id, 'retrying');
  assert.deepEqual([refused.error_code, refused.error_message], ['refused', 'The receiver answered HTTP 400.']);
  assert.ok(refused.next_at > refused.created_at);
  receiver.onEvent = answer(200);
  await delivered(id);
});

test('429 is obeyed: nothing more to this address before its time', async () => {
  receiver.onEvent = inTurn(answer(429, { 'retry-after': '2' }), answer(200));
  const id = await call('busy');
  await become(id, 'retrying', 'delivered');
  const next = await call('behind.it');
  await become(id, 'delivered');
  await become(next, 'delivered');
  const [first, second] = receiver.of(id);
  assert.ok(Math.min(second.at, receiver.of(next)[0].at) - first.at >= 1900, 'at least the 2 s that it asked for');
});

test('410 ends it: the credential fails, its events wait, and go out once it is verified again', async () => {
  receiver.onEvent = answer(410);
  const id = await call('unwanted');
  await stack.verified({ credential: hook }, 'failed');
  assert.match((await credential(hook)).verification_error, /wants no more webhooks/);
  assert.match((await event(id)).waiting_reason, /^paused: the credential failed/);
  receiver.onEvent = answer(200);
  await verify(hook);
  await stack.verified({ credential: hook });
  await become(id, 'delivered');
});

test('one that hangs is given up, and keeps no other waiting', async () => {
  const held = [];
  receiver.onEvent = (response, { body }) => (body.includes('hanging') ? held.push(response) : response.writeHead(200).end());
  const hanging = await call('hanging');
  await until('it to hang', () => held.length > 0);
  const other = await stack.db.value(`SELECT byoc.create_organization('Neighbour')`);
  await stack.db.query('SELECT byoc.add_credential($1, $2, org_id => $3)', ['webhook', { url: receiver.url, secret: secretOf('A') }, other]);
  await become(await call('swift', {}, { org: other }), 'delivered');
  assert.equal((await until('a timeout', async () => (await event(hanging)).error_code && event(hanging))).error_code, 'timeout');
  receiver.onEvent = answer(200);
  await delivered(hanging);
  assert.ok(receiver.of(hanging).length >= 2);
});

test('of an endless answer little is read', async () => {
  let written = 0;
  const cutOff = new Promise((resolve) => {
    receiver.onEvent = (response) => {
      const more = () => {
        do written += 1 << 16; while (response.write('x'.repeat(1 << 16)));
      };
      response.on('drain', more).on('close', resolve).writeHead(200);
      more();
    };
  });
  await become(await call('endless'), 'delivered');
  await cutOff;
  assert.ok(written < 64 << 20, `${written} bytes`);
});

test('a byocd that is killed in between: the event comes again, with the same id', async () => {
  let hang = true;
  receiver.onEvent = (response) => { if (!hang) response.writeHead(200).end(); };
  const id = await call('survivor');
  await until('it to be on its way', () => receiver.of(id).length > 0);
  await stack.byocd.program.stop('SIGKILL');
  hang = false;
  await stack.startByocd();
  await become(id, 'delivered');
  assert.ok(receiver.of(id).length >= 2);
  for (const request of receiver.of(id)) assert.equal(verified(request).type, 'survivor');
});

test('no secret is in a log, nor in the data directory', async () => {
  for (const log of [stack.byocdLog, stack.cluster.log]) assert.doesNotMatch(readFileSync(log, 'utf8'), /whsec_|A{32}|B{32}/, log);
  await stack.db.query('CHECKPOINT');
  for (const letter of ['A', 'B']) assert.deepEqual(filesWith(stack.cluster.env.PGDATA, secretOf(letter)), []);
});
