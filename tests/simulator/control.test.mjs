// The control API, the faults it arranges, and the process itself.
import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, beforeEach, test } from 'node:test';
import { accountA, accountB, accounts, Simulator, to, tokenA, tokenB, until } from './harness.mjs';

let simulator;
before(async () => { simulator = await Simulator.start(); });
after(async () => { assert.equal(await simulator.stop(), 0); });
beforeEach(() => simulator.reset());

const faults = (...rules) => simulator.control('PUT', 'faults', rules);
const count = async () => (await simulator.messages()).length;

test('starts on a free low port, writes it down, loads accounts, and ends with 0 on either signal', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'simulator-'));
  await writeFile(join(folder, 'accounts.json'), JSON.stringify(accounts));
  const other = await Simulator.start('--port-file', join(folder, 'port'), '--accounts', join(folder, 'accounts.json'));
  assert.ok(other.port < 32768);
  assert.equal(Number(await readFile(join(folder, 'port'), 'utf8')), other.port);
  assert.equal((await other.send()).status, 201);
  assert.equal(await other.stop('SIGINT'), 0);
  await rm(folder, { recursive: true });
});

test('ends with 0 while answers are held back', async () => {
  const other = await Simulator.start();
  await other.control('PUT', 'accounts', accounts);
  await other.control('PUT', 'faults', [{ action: 'timeout' }]);
  const held = other.raw();
  await until(async () => (await other.stats()).in_flight === 1, 'a held request');
  assert.equal(await other.stop(), 0);
  assert.equal((await held).bytes, '');
});

test('accounts are listed without secrets, replaced and deleted', async () => {
  const { body } = await simulator.control('GET', 'accounts');
  assert.equal(body.length, 2);
  for (const secret of [tokenA, tokenB, 'key-secret']) assert.ok(!JSON.stringify(body).includes(secret));
  const replaced = await simulator.control('POST', 'accounts', { sid: accountA, auth_token: 'changed' });
  assert.equal(replaced.status, 200);
  assert.equal((await simulator.send()).status, 401);
  assert.equal((await simulator.control('DELETE', `accounts/${accountA}`)).status, 200);
  assert.equal((await simulator.control('DELETE', `accounts/${accountA}`)).status, 404);
  assert.equal((await simulator.control('PUT', 'accounts', { sid: accountA, auth_token: tokenA })).status, 201);
});

test('messages are listed in order, filtered, and forgotten', async () => {
  await simulator.send({ Body: 'one' });
  await simulator.send({ Body: 'two', To: '+15551000002' });
  await simulator.send({ Body: 'three', To: '+15551000002', From: '+15550000003' }, { user: accountB, password: tokenB });
  const bodies = async (query) => (await simulator.messages(query)).map(({ body }) => body);
  assert.deepEqual(await bodies(''), ['one', 'two', 'three']);
  assert.deepEqual(await bodies(`?account_sid=${accountB}`), ['three']);
  assert.deepEqual(await bodies('?to=%2B15551000002'), ['two', 'three']);
  assert.deepEqual(await bodies('?since=2'), ['three']);
  assert.deepEqual(await bodies('?since=1&limit=1'), ['two']);
  const [entry] = await simulator.messages();
  assert.match(entry.received_at, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/);
  assert.deepEqual([entry.account_sid, entry.to, entry.num_segments, entry.index], [accountA, to, 1, 0]);
  const stats = await simulator.stats();
  assert.deepEqual([stats.requests, stats.accepted], [3, 3]);
  assert.ok(stats.accepted_per_second > 0 && stats.max_in_flight >= 1);
  assert.deepEqual((await simulator.control('DELETE', 'messages')).body, { deleted: 3 });
  assert.deepEqual(await bodies(''), []);
  assert.equal((await simulator.stats()).accepted, 0);
});

test('wrong control input is refused in a sentence that names the field', async () => {
  const cases = [
    ['PUT', 'accounts', '{', /not JSON/], ['PUT', 'accounts', { sid: 'AC1', auth_token: 'x' }, /field sid /], ['PUT', 'accounts', { sid: accountA }, /field auth_token /],
    ['PUT', 'accounts', { sid: accountA, auth_token: 'x', numbers: [{}] }, /field numbers\[0\]\.phone_number /],
    ['PUT', 'accounts', [{ sid: accountA, auth_token: 'x', status: 'odd' }], /field \[0\]\.status .*active, suspended, closed/],
    ['PUT', 'faults', [{ action: 'status', status: 200 }], /field \[0\]\.status /], ['PUT', 'faults', [{ action: 'reset', ms: 1 }], /field \[0\]\.ms /],
    ['PUT', 'latency', { ms: -1 }, /field ms /], ['PUT', 'latency', { jitter: 1 }, /field jitter /], ['PUT', 'lists', { delay_ms: 'x' }, /field delay_ms /], ['PUT', 'lists', { redact: true }, /field redact /], ['PUT', 'delivery', { final_status: 'sent' }, /field final_status /],
    ['PUT', 'delivery', { drop_statuses: ['lost'] }, /field drop_statuses /], ['GET', 'messages?since=x', undefined, /parameter since /], ['GET', 'messages?form=x', undefined, /parameter form /],
  ];
  for (const [method, path, input, sentence] of cases) {
    const { status, body } = await simulator.control(method, path, input);
    assert.equal(status, 400, `${path} ${JSON.stringify(input)}`);
    assert.match(body.error, sentence);
  }
  assert.equal((await simulator.control('GET', 'nothing')).status, 404);
  assert.equal((await simulator.control('PUT', 'stats', {})).status, 405);
});

test('HTTP errors are answered a number of times, then no more', async () => {
  await faults({ action: 'status', status: 429, retry_after: 2, count: 2 }, { action: 'status', status: 500, code: 20999, count: 1 });
  const throttled = await simulator.send();
  assert.deepEqual([throttled.status, throttled.body.code, throttled.headers.get('retry-after')], [429, 20429, '2']);
  assert.equal((await simulator.send()).status, 429);
  assert.equal((await simulator.send()).body.code, 20999);
  assert.equal((await simulator.send()).status, 201);
  assert.equal(await count(), 1);
  assert.equal((await simulator.stats()).faults.status, 3);
  assert.equal((await simulator.control('GET', 'faults')).body[0].count, 0);
});

test('an HTTP error may come although the message was processed', async () => {
  await faults({ action: 'status_after', status: 503, code: 20999, count: 1 });
  const refused = await simulator.send();
  assert.deepEqual([refused.status, refused.body.code], [503, 20999]);
  assert.equal(await count(), 1);
  assert.equal((await simulator.stats()).faults.status_after, 1);
});

test('rules hit what they match only, and never the control API', async () => {
  await faults({ action: 'status', status: 503, match: { account_sid: accountA, to, method: 'POST', path: '/2010-04-01' } });
  assert.equal((await simulator.send()).status, 503);
  assert.equal((await simulator.send({ To: '+15551000002' })).status, 201);
  assert.equal((await simulator.twilio('GET', `/2010-04-01/Accounts/${accountA}/Messages.json`)).status, 200);
  await faults({ action: 'reset' });
  assert.equal((await simulator.control('GET', 'stats')).status, 200);
  await simulator.control('DELETE', 'faults');
  assert.equal((await simulator.send()).status, 201);
});

test('probability draws from the seed', async () => {
  const draw = async (seed) => {
    await faults({ action: 'status', status: 503, probability: 0.5, seed });
    const statuses = [];
    for (let i = 0; i < 40; ++i) statuses.push((await simulator.send()).status);
    return statuses.join();
  };
  const first = await draw(7);
  assert.ok(first.includes('503') && first.includes('201'));
  assert.equal(await draw(7), first);
  assert.notEqual(await draw(8), first);
});

test('a reset is a RST, before or after the message is processed', async () => {
  await faults({ action: 'reset', count: 1 }, { action: 'reset_after', count: 1 });
  assert.deepEqual(await simulator.raw(), { bytes: '', error: 'ECONNRESET', ended: false });
  assert.equal(await count(), 0);
  assert.deepEqual(await simulator.raw(), { bytes: '', error: 'ECONNRESET', ended: false });
  assert.equal(await count(), 1);
  assert.ok((await simulator.stats()).connections >= 2);
  assert.equal((await simulator.stats()).in_flight, 0);
});

test('a timeout never answers, before or after the message is processed', async () => {
  for (const [action, processed] of [['timeout', 0], ['timeout_after', 1]]) {
    await faults({ action, count: 1 });
    const gave_up = new AbortController();
    const request = simulator.send({}, { signal: gave_up.signal });
    await until(async () => (await simulator.stats()).in_flight === 1, 'a held request');
    assert.equal(await count(), processed);
    assert.equal(await Promise.race([request, until(async () => (await simulator.stats()).faults[action] === 1 && 'held', 'the fault')]), 'held');
    gave_up.abort();
    await assert.rejects(request, { name: 'AbortError' });
    await until(async () => (await simulator.stats()).in_flight === 0, 'the client\'s end to be noticed');
  }
});

test('held answers come once the rules are replaced, and hold up nobody else', async () => {
  await faults({ action: 'hold', match: { account_sid: accountA } });
  const inFlight = async (wanted) => until(async () => (await simulator.stats()).in_flight === wanted, `${wanted} held requests`);
  const leave = new AbortController();
  const left = simulator.send({}, { signal: leave.signal });
  const held = [simulator.send(), simulator.send()];
  await inFlight(3);
  leave.abort();
  await assert.rejects(left, { name: 'AbortError' });
  await inFlight(2);
  assert.equal((await simulator.send({ From: '+15550000003', To: '+15551000002' }, { user: accountB, password: tokenB })).status, 201);
  assert.deepEqual([await count(), (await simulator.stats()).in_flight], [4, 2]);
  await faults({ action: 'hold', count: 0 });
  for (const answer of held) assert.equal((await answer).status, 201);
  assert.equal((await simulator.stats()).in_flight, 0);
});

test('a slow body comes whole, in pieces over its time', async () => {
  await faults({ action: 'slow_body', ms: 2000, count: 1 });
  const auth = Buffer.from(`${accountA}:${tokenA}`).toString('base64');
  const started = performance.now();
  const response = await fetch(`${simulator.url}/2010-04-01/Accounts/${accountA}/Messages.json`, {
    method: 'POST', headers: { authorization: `Basic ${auth}` }, body: new URLSearchParams({ To: to, From: '+15550000001', Body: 'slow' }),
  });
  let pieces = 0;
  let text = '';
  for await (const piece of response.body) {
    ++pieces;
    text += Buffer.from(piece);
  }
  assert.ok(pieces > 3, `${pieces} pieces`);
  assert.ok(performance.now() - started >= 1870);
  assert.equal(JSON.parse(text).body, 'slow');
  assert.equal((await simulator.send()).status, 201);
});

test('a client that leaves in the middle of a slow body costs nothing', async () => {
  await faults({ action: 'slow_body', ms: 60_000 });
  const leave = new AbortController();
  const request = fetch(`${simulator.url}/2010-04-01/Accounts/${accountA}.json`, { signal: leave.signal });
  await request;
  leave.abort();
  await simulator.control('DELETE', 'faults');
  assert.equal((await simulator.send()).status, 201);
});

test('malformed answers are truncated, not JSON, or shorter than announced', async () => {
  for (const variant of ['truncated_json', 'not_json']) {
    await faults({ action: 'malformed', variant, count: 1 });
    await assert.rejects(simulator.send(), SyntaxError);
  }
  await faults({ action: 'malformed', variant: 'short_body', count: 1 });
  const { bytes, ended } = await simulator.raw();
  const [head, body] = bytes.split('\r\n\r\n');
  assert.ok(ended);
  assert.ok(body.length > 0 && body.length < Number(head.match(/Content-Length: (\d+)/)[1]));
  assert.equal(await count(), 3);
});

test('latency delays the provider, not the control API, and clients wait side by side', async () => {
  await simulator.control('PUT', 'latency', { ms: 2000, jitter_ms: 20 });
  const started = performance.now();
  const answers = Array.from({ length: 10 }, () => simulator.send());
  await until(async () => (await simulator.stats()).in_flight > 0, 'a request in flight');
  for (const answer of answers) assert.equal((await answer).status, 201);
  assert.ok(performance.now() - started >= 2000);
  assert.ok((await simulator.stats()).max_in_flight >= 10);
  await simulator.control('DELETE', 'latency');
  assert.equal((await simulator.control('GET', 'latency')).body.ms, 0);
});

test('a client that gives up during latency is forgotten', async () => {
  await simulator.control('PUT', 'latency', { ms: 60_000 });
  const socket = net.connect(simulator.port, '127.0.0.1');
  socket.on('error', () => {});
  socket.write(`GET /2010-04-01/Accounts/${accountA}.json HTTP/1.1\r\nHost: x\r\n\r\n`);
  await until(async () => (await simulator.stats()).in_flight === 1, 'a delayed request');
  socket.destroy();
  await until(async () => (await simulator.stats()).in_flight === 0, 'the client\'s end to be noticed');
});
