// The stream of changes: what arrives, to whom, and when it ends.

import assert from 'node:assert/strict';
import http from 'node:http';
import { after, before, test } from 'node:test';
import { now } from '../../scripts/jwt.mjs';
import { Stack, until } from './stack.mjs';
import { API_ENV, Api } from './support/api.mjs';

const stack = new Stack('api-events', { env: API_ENV });
let api;
let a;
let b;

after(() => stack.end());
before(async () => {
  await stack.start();
  api = await new Api(stack).open();
  [a, b] = [await stack.organization(1), await stack.organization(2)];
  await until('both to be verified', async () => (await stack.db.value(`SELECT count(*)::int FROM byoc.credentials WHERE verification_status = 'verified'`)) === 2);
});

async function watching(organization, claims) {
  const stream = await api.watch(api.token(organization, claims));
  assert.deepEqual([stream.status, stream.headers['content-type']], [200, 'text/event-stream']);
  await stream.next('ready');
  return stream;
}

test('messages and credentials are told as they change, to their organization only', async () => {
  const [first, second, other] = [await watching(a), await watching(a, { org_role: 'member' }), await watching(b)];
  const id = await stack.send(a, '+15550100001', 'watched');
  for (const stream of [first, second]) assert.equal((await stream.next('message', (data) => data.id === id && data.status === 'sent')).id, id);
  await api.call(api.token(a), 'POST', `/api/organization/credentials/${a.credential}/verify`);
  await first.next('credential', (data) => data.id === a.credential && data.verification_status === 'verified');
  await api.call(api.token(a), 'DELETE', `/api/organization/credentials/${a.credential}`);
  assert.equal((await second.next('credential', (data) => !data.is_active)).id, a.credential);
  const ofB = await stack.send(b, '+15550100002', 'of b');
  await other.next('message', (data) => data.id === ofB);
  assert.ok(!JSON.stringify(other.events).includes(id) && !JSON.stringify(other.events).includes(a.credential));
  for (const stream of [first, second, other]) stream.close();
});

test('more than can be listed is told as reload', async () => {
  const busy = await stack.organization(3);
  const stream = await watching(busy);
  await stack.db.query(`SELECT byoc.send_sms('+15550100003', 'bulk ' || i, org_id => $1) FROM generate_series(1, 700) AS i`, [busy.id]);
  await stream.next('reload');
  stream.close();
});

test('a stream ends with its token, others of the organization go on', async () => {
  const stays = await watching(b);
  // The database allows 30 seconds of clock skew: it is good for ten.
  const ends = await watching(b, { exp: now() - 20 });
  await ends.end();
  const id = await stack.send(b, '+15550100004', 'after');
  await stays.next('message', (data) => data.id === id);
  stays.close();
});

test('a restart of PostgreSQL is survived, and what happened meanwhile is told', async () => {
  const stream = await watching(b);
  stack.cluster.restart('immediate');
  await stack.reconnect();
  const id = await stack.send(b, '+15550100005', 'restarted');
  await stream.next('message', (data) => data.id === id && data.status === 'sent');
  stream.close();
});

test('an organization has 32 streams at most, and a client that leaves makes room', async () => {
  const streams = await Promise.all(Array.from({ length: 33 }, () => api.watch(api.token(b))));
  const open = streams.filter(({ status }) => status === 200);
  assert.deepEqual([open.length, streams.find(({ status }) => status !== 200).status], [32, 429]);
  const neighbour = await watching(a);
  neighbour.close();
  for (const stream of open.slice(0, 5)) stream.close();
  await until('room for one more', async () => {
    const stream = await api.watch(api.token(b));
    open.push(stream);
    return stream.status === 200;
  });
  for (const stream of open) stream.close();
});

test('a client that does not read holds up no other', async () => {
  const token = api.token(b);
  const lazy = http.get(`${stack.byocd.url}/api/organization/events`, { agent: false, headers: { authorization: `Bearer ${token}` } });
  const response = await new Promise((resolve) => { lazy.on('response', resolve); });
  response.pause();
  lazy.on('error', () => {});
  const stream = await watching(b);
  const id = await stack.send(b, '+15550100006', 'beside a lazy one');
  await stream.next('message', (data) => data.id === id);
  stream.close();
  lazy.destroy();
});

test('byocd stops while a stream is open: the stream ends, byocd too', async () => {
  const stream = await watching(b);
  const stopped = stack.byocd.program.stop();
  await stream.end();
  await stopped;
  assert.equal(stack.byocd.program.ended.code, 0);
  await stack.startByocd();
});
