// How a page gets its session, and what keeps other sites from using it; CORS.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { now } from '../../scripts/jwt.mjs';
import { Stack } from './stack.mjs';
import { API_ENV, Api } from './support/api.mjs';

const HOST_APP = 'https://app.example';
const PROVIDERS = '/api/organization/providers';
const stack = new Stack('api-session', { env: { ...API_ENV, BYOC_ALLOWED_ORIGINS: `${HOST_APP},https://other.example:8443` } });
let api;
let a;
let token;
let origin;

after(() => stack.end());
before(async () => {
  await stack.start();
  api = await new Api(stack).open();
  a = await stack.organization(1);
  token = api.token(a);
  origin = stack.byocd.url;
});

const handOver = (body, headers = { origin }) => api.call(null, 'POST', '/api/session', { body, headers });
const form = (fields, headers) => api.call(null, 'POST', '/dashboard/session', {
  body: new URLSearchParams(fields).toString(), headers: { 'content-type': 'application/x-www-form-urlencoded', ...headers },
});
const cookieOf = ({ headers }) => headers['set-cookie'][0].split(';')[0];

test('a token becomes a cookie that scripts cannot read, and the cookie a session', async () => {
  const started = await handOver({ token });
  assert.equal(started.status, 200);
  assert.match(started.headers['set-cookie'][0], /^byoc_session=[\w.-]+; Path=\/; HttpOnly; SameSite=Strict$/);
  assert.ok(!started.text.includes(token));
  const cookie = cookieOf(started);
  const session = await api.call(null, 'GET', '/api/session', { headers: { cookie: `theme=dark; ${cookie}; x=y` } });
  assert.deepEqual(session.json, started.json);
  assert.deepEqual([session.json.organization, session.json.user_id, session.json.org_role], [{ id: a.id, name: 'Organization 1' }, 'ada', 'owner']);
  assert.equal((await api.call(null, 'GET', PROVIDERS, { headers: { cookie } })).status, 200);
  const ended = await api.call(null, 'DELETE', '/api/session', { headers: { cookie, origin } });
  assert.match(ended.headers['set-cookie'][0], /^byoc_session=; Max-Age=0; Path=\/;/);
});

test('a change by cookie needs the CSRF token of that session', async () => {
  const { json: { csrf_token: csrf }, headers } = await handOver({ token });
  const cookie = headers['set-cookie'][0].split(';')[0];
  const verify = (more) => api.call(null, 'POST', `/api/organization/credentials/${a.credential}/verify`, { headers: { cookie, ...more } });
  const { json: { csrf_token: others } } = await handOver({ token: api.token(a, { sub: 'eve' }) });
  assert.equal((await verify({})).status, 403);
  assert.equal((await verify({ 'x-csrf-token': 'x' })).status, 403);
  assert.equal((await verify({ 'x-csrf-token': others })).status, 403);
  assert.equal((await verify({ 'x-csrf-token': csrf })).status, 202);
});

test('only our pages and allowed origins hand over', async () => {
  for (const headers of [{}, { origin: 'https://evil.example' }, { origin: 'null' }, { origin: `${HOST_APP}.evil.example` }]) {
    assert.equal((await handOver({ token }, headers)).status, 403, JSON.stringify(headers));
    assert.equal((await form({ token }, headers)).status, 403, JSON.stringify(headers));
    assert.equal((await api.call(null, 'DELETE', '/api/session', { headers })).status, 403);
  }
  const handed = await form({ token, page: 'messages' }, { origin: HOST_APP });
  assert.deepEqual([handed.status, handed.headers.location], [303, '/dashboard/messages']);
  assert.equal((await form({ token }, { origin })).headers.location, '/dashboard/settings');
  assert.equal((await form({ token, page: '//evil.example' }, { origin })).status, 422);
});

test('what cannot be a session is refused, and no cookie set', async () => {
  for (const [body, expected] of [[{}, 422], [{ token: 7 }, 422], [{ token, more: 1 }, 422], ['{', 400], [{ token: 'x' }, 401], [{ token: api.token(a, { exp: now() - 60 }) }, 401],
    [{ token: `${token}\r\nSet-Cookie: x=y` }, 401], [{ token: api.token(a, { padding: 'x'.repeat(4000) }) }, 422], [{ token: api.token('99999999-0000-4000-8000-000000000009') }, 403]]) {
    const answer = await handOver(body, { origin, 'content-type': 'application/json' });
    assert.deepEqual([answer.status, answer.headers['set-cookie']], [expected, undefined], JSON.stringify(body).slice(0, 80));
  }
});

test('behind https and a path the cookie is for https and that path', async () => {
  await stack.byocd.program.stop();
  await stack.startByocd({ BYOC_PUBLIC_URL: 'https://sms.example/byoc/' });
  const { headers } = await handOver({ token }, { origin: 'https://sms.example' });
  assert.match(headers['set-cookie'][0], /^__Secure-byoc_session=.*; Path=\/byoc\/; HttpOnly; SameSite=Strict; Secure$/);
  assert.equal((await handOver({ token }, { origin: 'http://sms.example', host: 'sms.example' })).status, 403, 'anybody may answer over plain http');
  assert.equal((await form({ token }, { origin: 'https://sms.example' })).headers.location, '/byoc/dashboard/settings');
  await stack.byocd.program.stop();
  await stack.startByocd();
  origin = stack.byocd.url;
});

test('CORS: an allowed origin may call with a token and read the answer; no other, and never with cookies', async () => {
  const preflight = (from) => api.call(null, 'OPTIONS', '/api/organization/credentials', { headers: { origin: from, 'access-control-request-method': 'POST' } });
  const asked = await fetch(`${stack.byocd.url}/api/organization/credentials`, { method: 'OPTIONS', headers: { origin: HOST_APP, 'access-control-request-method': 'POST' } });
  assert.deepEqual([asked.status, asked.headers.get('access-control-allow-origin'), asked.headers.get('access-control-allow-credentials')], [204, HOST_APP, null]);
  assert.match(asked.headers.get('access-control-allow-methods'), /POST/);
  assert.match(asked.headers.get('access-control-allow-headers'), /If-Match/);
  const refused = await preflight('https://evil.example');
  assert.deepEqual([refused.status, refused.headers['access-control-allow-origin']], [405, undefined]);
  const get = (from) => api.call(token, 'GET', PROVIDERS, { headers: { origin: from } });
  assert.equal((await get('https://other.example:8443')).headers['access-control-allow-origin'], 'https://other.example:8443');
  assert.match((await get(HOST_APP)).headers['access-control-expose-headers'], /ETag/);
  for (const from of ['https://evil.example', 'null', `${HOST_APP}.evil.example`]) {
    assert.equal((await get(from)).headers['access-control-allow-origin'], undefined, from);
  }
  assert.equal((await get(HOST_APP)).headers.vary, 'Origin');
});

test('every answer forbids what an API needs not', async () => {
  for (const [method, target] of [['GET', '/healthz'], ['GET', PROVIDERS], ['GET', '/nowhere'], ['PUT', '/healthz']]) {
    const { headers } = await api.call(token, method, target);
    assert.equal(headers['x-content-type-options'], 'nosniff');
    assert.equal(headers['content-security-policy'], "default-src 'none'; frame-ancestors 'none'");
    assert.equal(headers['cache-control'], 'no-store');
    assert.equal(headers['referrer-policy'], 'no-referrer');
  }
});
