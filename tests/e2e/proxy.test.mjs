// Behind nginx with TLS, configured as doc/embedding.md and doc/receipts.md say.

import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import http2 from 'node:http2';
import https from 'node:https';
import { after, before, test } from 'node:test';
import { Stack, until } from './stack.mjs';
import { API_ENV, Api } from './support/api.mjs';
import { fenced, section, settings } from './support/docs.mjs';
import { NGINX, Nginx } from './support/nginx.mjs';

const skip = !NGINX && 'no nginx';
const pages = section('doc/embedding.md', 'Behind nginx, with TLS');
const webhooks = section('doc/receipts.md', 'Behind nginx');
const [SERVER, PAGES_BELOW] = fenced(pages, 'nginx');
const [WEBHOOKS, WEBHOOKS_BELOW] = fenced(webhooks, 'nginx');
const ENV = settings(pages.split('\n').filter((line) => line.startsWith('    BYOC_')).join('\n'));
const [, BELOW] = /with `BYOC_PUBLIC_URL=(\S+)`/.exec(pages);
const [, WEBHOOKS_BELOW_URL] = /with `BYOC_PUBLIC_URL=(\S+)`/.exec(webhooks);
const APP = ENV.BYOC_ALLOWED_ORIGINS;
// The documented server with other locations.
const serverOf = (locations) => SERVER.replace(/( *location .*\n)+/, locations);

const stack = new Stack('proxy', { env: API_ENV });
let a;
let nginx;
let api;
let origin; // of the public URL

after(async () => {
  await nginx?.stop();
  await stack.end();
});
before(async () => {
  await stack.start();
  a = await stack.organization(1);
});

// byocd for `url`, behind nginx with that server.
async function behind(server, url, env = {}) {
  await nginx?.stop();
  await stack.byocd.program.stop();
  await stack.startByocd({ ...env, BYOC_PUBLIC_URL: url });
  const { host, pathname } = new URL(url);
  origin = `https://${host}`;
  nginx = await Nginx.start(stack.run, server, { byocd: stack.byocd.url, hosts: [host] });
  api = await new Api(stack, { url: nginx.url, agent: nginx.agent, path: pathname === '/' ? '' : pathname, headers: { host } }).open();
}

const call = (method, target, options) => api.call(api.token(a), method, target, options);

// Twilio reports what became of a message, over the address that it was given, and lies about it.
async function reportsArrive() {
  await stack.simulator.request('PUT', '/_simulator/delivery', { queued_ms: null, sending_ms: null, sent_ms: null, final_ms: null });
  const id = await stack.send(a, '+15553000001', 'behind nginx');
  await stack.settled(id, ['sent']);
  const { sid, status_callback: given } = (await stack.simulator.messages()).at(-1);
  const [callback] = given.split('#');
  assert.ok(callback.startsWith(`${origin}${api.proxy.path}/webhooks/twilio/status/`), callback);
  const report = { MessageSid: sid, MessageStatus: 'delivered', To: '+15553000001' };
  const post = async (signedFor, headers = {}) => {
    const signed = signedFor + Object.entries(report).sort(([x], [y]) => (x < y ? -1 : 1)).flat().join('');
    const { pathname, search } = new URL(callback);
    return (await api.raw('POST', pathname.slice(api.proxy.path.length) + search, {
      headers: { 'content-type': 'application/x-www-form-urlencoded', 'x-twilio-signature': createHmac('sha1', a.account.authToken).update(signed).digest('base64'), ...headers },
      body: new URLSearchParams(report).toString(),
    })).status;
  };
  const inside = callback.replace(`${origin}${api.proxy.path}`, stack.byocd.url);
  assert.equal(await post(inside), 403, 'signed for the address inside');
  const forwarded = { 'x-forwarded-host': new URL(stack.byocd.url).host, 'x-forwarded-proto': 'http' };
  assert.equal(await post(inside, forwarded), 403, 'and saying that this is the one outside');
  assert.equal(await post(callback, forwarded), 204);
  await stack.settled(id, ['delivered']);
}

// A page, all that it loads, and a session handed over by the documented form.
async function pagesWork() {
  const { status, headers, text } = await api.raw('GET', '/dashboard/settings');
  assert.equal(status, 200);
  assert.match(headers['content-security-policy'], new RegExp(`frame-ancestors ${APP}$`));
  assert.deepEqual([headers['x-frame-options'], headers['cache-control']], [undefined, 'no-cache']);
  assert.equal((await api.raw('GET', '/dashboard/settings', { headers: { 'if-none-match': headers.etag } })).status, 304);
  const loaded = [...text.matchAll(/(?:src|href)="(assets\/[^"]+)"/g)].map(([, name]) => name);
  assert.ok(loaded.length >= 3);
  for (const name of loaded) assert.equal((await api.raw('GET', `/dashboard/${name}`)).status, 200, name);

  const [html] = fenced(section('doc/embedding.md', 'Handing over the user'), 'html');
  const inputs = Object.fromEntries([...html.matchAll(/name="(\w+)" value="([^"]+)"/g)].map(([, name, value]) => [name, value]));
  const handOver = (from) => api.call(null, 'POST', '/dashboard/session', {
    headers: { 'content-type': 'application/x-www-form-urlencoded', origin: from }, body: new URLSearchParams({ ...inputs, token: api.token(a) }).toString(),
  });
  const handed = await handOver(APP);
  assert.deepEqual([handed.status, handed.headers.location], [303, `${api.proxy.path}/dashboard/settings`]);
  assert.match(handed.headers['set-cookie'][0], new RegExp(`; Path=${api.proxy.path}/; HttpOnly; SameSite=Strict; Secure$`));
  assert.equal((await handOver('https://evil.example')).status, 403);
  const cookie = handed.headers['set-cookie'][0].split(';')[0];
  assert.match(cookie, api.proxy.path ? /^__Secure-byoc_session=/ : /^__Host-byoc_session=/);
  assert.equal((await api.call(null, 'GET', '/api/session', { headers: { cookie: `byoc_session=${api.token(a)}` } })).status, 401, 'one that a neighbour may have made');
  const session = await api.call(null, 'GET', '/api/session', { headers: { cookie } });
  assert.equal(session.json.organization.id, a.id);
  const ended = await api.call(null, 'DELETE', '/api/session', { headers: { cookie, origin } });
  assert.equal(ended.status, 204);
  assert.match(ended.headers['set-cookie'][0], /Max-Age=0/);
}

async function apiWorks() {
  const body = { credential_type: 'twilio', fields: { account_sid: a.account.sid, auth_token: a.account.authToken, phone_number: a.account.number } };
  const added = await call('POST', '/api/organization/credentials', { body, headers: { 'idempotency-key': origin } });
  assert.equal(added.status, 201);
  assert.ok(added.headers.location.startsWith(`${api.proxy.path}/api/organization/credentials/`), added.headers.location);
  const at = added.headers.location.slice(api.proxy.path.length);
  const change = (etag) => call('PATCH', at, { body: { display_name: 'Changed' }, headers: { 'if-match': etag } });
  assert.deepEqual([(await change('"stale"')).status, (await change(added.headers.etag)).status], [412, 200]);
  assert.equal((await call('POST', '/api/organization/credentials', { body: { padding: 'x'.repeat(70_000) } })).status, 413, 'of byocd: a problem document');
  assert.equal((await call('DELETE', at)).status, 204);
  const cross = await call('GET', '/api/organization/providers', { headers: { origin: APP } });
  assert.equal(cross.headers['access-control-allow-origin'], APP);
}

// What changes is told while the stream goes on: nginx would keep it until there is more, or the end.
async function eventsPass() {
  const stream = await api.watch(api.token(a));
  await stream.next('ready');
  const id = await stack.send(a, '+15553000002', 'watched');
  await stream.next('message', (data) => data.id === id);
  stream.close();
}

test('the documented server: pages, API, events and webhooks, and nothing else', { skip }, async () => {
  await behind(SERVER, ENV.BYOC_PUBLIC_URL, ENV);
  await pagesWork();
  await apiWorks();
  await eventsPass();
  await reportsArrive();
  for (const target of ['/healthz', '/metrics', '/readyz', '/dashboard/../metrics', '/api/..%2fmetrics', '/api/%2e%2e/metrics']) {
    const { status, text } = await api.raw('GET', target);
    assert.ok([400, 404].includes(status), `${target}: ${status} ${text}`);
  }
  assert.equal((await api.raw('GET', '/dashboard/settings')).headers['strict-transport-security'], 'max-age=31536000');
});

test('one address may not ask without end, but reports', { skip }, async () => {
  const agent = new https.Agent({ keepAlive: true, maxSockets: 8, ca: nginx.ca, servername: new URL(origin).host });
  const many = (method, target) => Promise.all(Array.from({ length: 200 }, async () => (await api.raw(method, target, { agent })).status));
  await until('nginx to refuse', async () => (await many('GET', '/dashboard/assets/icon.svg')).includes(429));
  assert.ok(!(await many('POST', '/webhooks/twilio/status/nobodys')).includes(429));
  agent.destroy();
});

test('HTTP/2 towards browsers: streams and requests share a connection', { skip }, async () => {
  await behind(SERVER.replace('443 ssl', '443 ssl http2'), ENV.BYOC_PUBLIC_URL, ENV);
  const { host } = new URL(origin);
  const connection = http2.connect(nginx.url, { ca: nginx.ca, servername: host });
  const get = (path) => {
    const answer = { text: '' };
    const stream = connection.request({ ':path': path, ':authority': host, authorization: `Bearer ${api.token(a)}` });
    stream.on('response', (headers) => { answer.status = headers[':status']; }).setEncoding('utf8').on('data', (chunk) => { answer.text += chunk; });
    return answer;
  };
  const streams = [get('/api/organization/events'), get('/api/organization/events')];
  await until('both streams', () => streams.every(({ text }) => text.includes('event: ready')));
  const list = get('/api/organization/credentials');
  await until('an answer', () => list.text.endsWith('\n'));
  assert.equal(list.status, 200);
  const id = await stack.send(a, '+15553000003', 'over HTTP/2');
  await until('both to be told', () => streams.every(({ text }) => text.includes(id)));
  connection.destroy();
});

test('below a path', { skip }, async () => {
  await behind(serverOf(PAGES_BELOW), BELOW, ENV);
  await pagesWork();
  await apiWorks();
  await eventsPass();
  await reportsArrive();
});

test('webhooks only', { skip }, async () => {
  const [url] = /https:\/\/sms\.example\.org/.exec(section('doc/receipts.md', 'Delivery receipts, and what comes in'));
  await behind(serverOf(WEBHOOKS), url);
  await reportsArrive();
  await behind(serverOf(WEBHOOKS_BELOW), WEBHOOKS_BELOW_URL);
  await reportsArrive();
});
