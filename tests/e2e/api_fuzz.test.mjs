// Requests made up from /api/openapi.json, right ones and wrong ones: no answer is a 5xx, each is one that the document
// promises, and none holds a byte of the other organization. `make fuzz-api` makes many; FUZZ_SEED: the same again.

import assert from 'node:assert/strict';
import http from 'node:http';
import { after, before, test } from 'node:test';
import { now } from '../../scripts/jwt.mjs';
import { Random } from '../faults/random.mjs';
import { Stack } from './stack.mjs';
import { API_ENV, Api } from './support/api.mjs';

const REQUESTS = Number(process.env.FUZZ_REQUESTS ?? 2000);
const SEED = Number(process.env.FUZZ_SEED ?? 1);
const AT_ONCE = 8;
const NOBODY = '99999999-0000-4000-8000-000000000009';
const stack = new Stack('api-fuzz', { env: { ...API_ENV, BYOC_API_RATE: '1000000' } });
const random = new Random(SEED);
const agent = new http.Agent({ keepAlive: true, maxSockets: AT_ONCE });
let api;
let a;
let b;
let tokens;
let ids;
const cursors = [];
const etags = ['*', '"x"', ''];

after(async () => {
  agent.destroy();
  await stack.end();
});
before(async () => {
  await stack.start();
  api = await new Api(stack).open();
  [a, b] = [await stack.organization(1), await stack.organization(77)];
  b.message = await stack.send(b, '+15557777777', 'Victoria\'s appointment');
  const message = await stack.send(a, '+15550100001', 'hello');
  const role = (org_role, more) => api.token(a, { org_role, ...more });
  tokens = [role('owner'), role('owner'), role('admin'), role('member'), null, 'x', `${role('owner')}x`, role('owner', { exp: now() - 60 }), api.token(NOBODY)];
  ids = [a.credential, a.credential, message, a.id, b.credential, b.message, b.id, NOBODY, 'not-a-uuid', '%00', '..', '%2e%2e%2f', 'é', a.credential.toUpperCase()];
});

const maybe = (chance) => random.fraction() < chance;
const TEXTS = ['', 'x', 'Grüße 👋', '\u0000', '\ud800', '%', '\'; DROP TABLE leads; --', '{{org.name}}', '••••ab01', '../../etc/passwd', '<script>', 'x'.repeat(3000), '+15550100009', 'twilio', 'stripe', 'null', '-1', '1e99'];
const anything = () => random.pick([null, true, false, 0, -1, 1e308, 2 ** 53, [], {}, [[]], { a: { b: [1] } }, ...TEXTS]);

const twilio = () => ({ account_sid: a.account.sid, auth_token: a.account.authToken, phone_number: a.account.number });
const FITTING = {
  fields: () => twilio(), credential_type: () => 'twilio', to: () => `+1555${random.whole(1000000, 1999999)}`, credential_id: () => random.pick(ids), token: () => random.pick(tokens),
  is_default: () => true, display_name: () => random.pick(TEXTS), body: () => random.pick(TEXTS), page: () => random.pick(['settings', 'messages', '//evil.example']),
};

// A value that a schema allows, more or less.
function example(schema, name) {
  const rule = api.description.resolve(schema);
  if (FITTING[name]) return FITTING[name]();
  if (rule.enum) return random.pick(rule.enum);
  switch ([rule.type].flat()[0]) {
    case 'object': return Object.fromEntries(Object.entries(rule.properties ?? {})
      .filter(([key]) => (rule.required ?? []).includes(key) || maybe(0.4)).map(([key, value]) => [key, example(value, key)]));
    case 'array': return Array.from({ length: random.whole(0, 3) }, () => example(rule.items));
    case 'integer': return random.whole(rule.minimum ?? 0, rule.maximum ?? 200);
    case 'boolean': return maybe(0.5);
    default: return random.pick(TEXTS);
  }
}

// The same with something wrong in it, now and then.
function spoilt(value) {
  if (!maybe(0.3)) return value;
  if (typeof value !== 'object' || value === null || maybe(0.1)) return anything();
  const copy = { ...value };
  const keys = Object.keys(copy);
  if (keys.length && maybe(0.4)) delete copy[random.pick(keys)];
  if (maybe(0.3)) copy[random.pick(['extra', '__proto__x', 'org_id', 'is_active', ...TEXTS])] = anything();
  if (keys.length) copy[random.pick(keys)] = spoilt(maybe(0.5) ? anything() : copy[random.pick(keys)] ?? null);
  return copy;
}

function queryOf(parameters) {
  const pairs = parameters.filter((parameter) => parameter.in === 'query' && maybe(0.5)).map(({ name, schema }) => {
    const value = maybe(0.25) ? anything() : name === 'after' ? random.pick([...cursors, 'x']) : name === 'search' ? random.pick(['hello', '555', b.message, ...TEXTS]) : example(schema);
    return `${name}=${encodeURIComponent((typeof value === 'string' ? value : JSON.stringify(value)).toWellFormed?.() ?? '')}`;
  });
  if (maybe(0.05)) pairs.push(random.pick(['limit=1&limit=2', '%', '=', '&&', 'limit', 'after=%ff%fe', 'search=%00', `search=${'y'.repeat(5000)}`]));
  return pairs.length ? `?${pairs.join('&')}` : '';
}

function request() {
  const { method, path, operation, parameters } = random.pick(api.description.operations.filter(({ operation: { operationId } }) => operationId !== 'watchEvents'));
  const target = path.replace('{id}', () => random.pick(ids)) + queryOf(parameters);
  const [type, media] = random.pick(Object.entries(operation.requestBody?.content ?? { '': null }));
  const headers = { ...(type && { 'content-type': maybe(0.05) ? random.pick(['text/plain', 'application/jsonx', 'APPLICATION/JSON; charset=utf-8']) : type }) };
  if (maybe(0.5)) headers['if-match'] = random.pick(etags);
  if (maybe(0.3)) headers['idempotency-key'] = random.pick(['k1', 'k2', '', 'k'.repeat(300), String(random.whole(1, 500))]);
  if (maybe(0.5)) headers.origin = random.pick([stack.byocd.url, 'https://evil.example', 'null']);
  if (maybe(0.1)) headers.cookie = `byoc_session=${random.pick(tokens) ?? ''}`;
  let body;
  if (media) {
    const value = spoilt(example(media.schema));
    body = type.includes('form') ? new URLSearchParams(Object.entries(value ?? {}).map(([name, each]) => [name, String(each)])).toString()
      : maybe(0.05) ? random.pick(['', '{', '[', '{"a":1}x', '\ufeff{}', '['.repeat(20_000), '"\\ud800"', '{"a":1,"a":2}', 'nul']) : JSON.stringify(value);
  }
  return { token: random.pick(tokens), method: maybe(0.05) ? random.pick(['HEAD', 'PUT', 'DELETE', 'PATCH', 'POST', 'GET']) : method, target: target.replaceAll('é', '%C3%A9'), headers, body };
}

test(`${REQUESTS} made-up requests (FUZZ_SEED=${SEED})`, async (t) => {
  const markers = [b.id, b.credential, b.message, b.account.sid, b.account.authToken, '••••ab77', b.account.number, '5557777777', 'Victoria', 'Organization 77'];
  const counts = {};
  let left = REQUESTS;
  const worker = async () => {
    while (left > 0) {
      left -= 1;
      const { token, method, target, headers, body } = request();
      const answer = await api.call(token, method, target, { headers, body, agent });
      const said = `${method} ${target} ${JSON.stringify(headers)} ${body?.slice(0, 500)} -> ${answer.status} ${answer.text.slice(0, 500)}`;
      assert.ok(answer.status < 500, said);
      // What was asked for may be named in the refusal.
      const shown = markers.filter((marker) => answer.text.includes(marker) && !`${target} ${body}`.includes(marker));
      assert.deepEqual(shown, [], said);
      assert.ok(answer.status >= 400 || !answer.text.includes(a.account.authToken), `a secret: ${said}`);
      counts[answer.status] = (counts[answer.status] ?? 0) + 1;
      if (answer.json?.next) cursors[random.whole(0, 20)] = answer.json.next;
      if (answer.headers.etag) etags[random.whole(3, 10)] = answer.headers.etag;
      for (const list of [cursors, etags]) for (let i = 0; i < list.length; i += 1) list[i] ??= 'x';
      if (answer.status === 201) ids[random.whole(14, 30)] = answer.json.id;
      for (let i = 0; i < ids.length; i += 1) ids[i] ??= NOBODY;
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  t.diagnostic(`answers by status: ${JSON.stringify(counts)}`);
  // It did reach what it is meant to reach.
  for (const status of [200, 201, 202, 204, 400, 401, 403, 404, 412, 415, 422, 428]) assert.ok(counts[status] > 0, `no answer was ${status}`);
});

test('the other organization is what it was, and its messages went out', async () => {
  const [credential] = await stack.db.rows('SELECT is_active, display_name FROM byoc.credentials WHERE org_id = $1', [b.id]);
  assert.deepEqual(credential, { is_active: true, display_name: 'Twilio' });
  assert.match((await stack.settled(b.message)).status, /^(sent|delivered)$/);
  assert.equal(await stack.count('org_id = $1', [b.id]), 1);
});
