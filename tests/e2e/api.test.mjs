// The REST API as a host application uses it. support/api.mjs compares every answer with /api/openapi.json.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { now } from '../../scripts/jwt.mjs';
import { Stack, until } from './stack.mjs';
import { API_ENV, Api, exchange } from './support/api.mjs';

const CREDENTIALS = '/api/organization/credentials';
const MESSAGES = '/api/organization/messages';
const stack = new Stack('api', { env: API_ENV });
let api;
let a;
let b;
let owner;

after(() => stack.end());
before(async () => {
  await stack.start();
  api = await new Api(stack).open();
  [a, b] = [await stack.organization(1), await stack.organization(2)];
  owner = api.token(a);
});

const fields = ({ account }) => ({ account_sid: account.sid, auth_token: account.authToken, phone_number: account.number });
const call = (method, target, options) => api.call(owner, method, target, options);
const status = async (...request) => (await api.call(...request)).status;
const errors = ({ json }) => json.errors.map(({ field }) => field);

test('a credential\'s life: added, verified, renamed, made the default, revoked, and all of it in its audit trail', async () => {
  const added = await call('POST', CREDENTIALS, { body: { credential_type: 'twilio', display_name: 'Zweitkonto', fields: fields(a) } });
  assert.equal(added.status, 201);
  assert.equal(added.json.fields.auth_token, '••••ab01');
  const at = added.headers.location;
  assert.equal(at, `${CREDENTIALS}/${added.json.id}`);
  await until('it to be verified', async () => (await call('GET', at)).json.verification_status === 'verified');
  const verified = await call('GET', at);
  assert.equal(verified.headers.etag, added.headers.etag, 'the provider\'s word changes no ETag');
  const renamed = await call('PATCH', at, { body: { display_name: 'Renamed' }, headers: { 'if-match': added.headers.etag } });
  assert.deepEqual([renamed.json.display_name, renamed.json.verification_status], ['Renamed', 'verified']);
  assert.notEqual(renamed.headers.etag, added.headers.etag);
  const changed = await call('PATCH', at, { body: { is_default: true }, headers: { 'if-match': renamed.headers.etag, 'content-type': 'application/merge-patch+json' } });
  assert.equal(changed.json.is_default, true);
  const first = (await call('GET', `${CREDENTIALS}/${a.credential}`)).json;
  assert.equal(first.is_default, false);
  const asked = await call('POST', `${at}/verify`);
  assert.equal(asked.status, 202);
  await until('it to be verified again', async () => (await call('GET', at)).json.last_verified_at > asked.json.last_verified_at);
  assert.equal((await call('DELETE', at)).status, 204);
  assert.equal((await call('DELETE', at)).status, 204, 'again does no harm');
  assert.equal((await call('GET', at)).json.is_active, false);
  assert.equal((await call('POST', `${at}/verify`)).status, 409);
  assert.equal((await call('PATCH', at, { body: { display_name: 'x' }, headers: { 'if-match': '*' } })).status, 409);
  const trail = (await call('GET', `${at}/audit`)).json.items.map(({ action }) => action);
  for (const action of ['credential.added', 'credential.renamed', 'credential.made_default', 'credential.revoked']) assert.ok(trail.includes(action), action);
  await call('PATCH', `${CREDENTIALS}/${a.credential}`, { body: { is_default: true }, headers: { 'if-match': '*' } });
});

test('what its commit refuses is not answered as done', async () => {
  const at = `${CREDENTIALS}/${a.credential}`;
  const name = async () => (await call('GET', at)).json.display_name;
  const before = await name();
  await stack.db.query(`CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE 'not today' USING ERRCODE = '23514'; END$$;
    CREATE CONSTRAINT TRIGGER refuse AFTER UPDATE OF display_name ON byoc.organization_api_credentials
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse()`);
  assert.equal((await call('PATCH', at, { body: { display_name: 'Too late' }, headers: { 'if-match': '*' } })).status, 422);
  await stack.db.query('DROP FUNCTION refuse() CASCADE');
  assert.equal(await name(), before);
});

test('a Twilio credential, its fields as members', async () => {
  const { json, status: code } = await call('POST', `${CREDENTIALS}/twilio`, { body: { ...fields(a), display_name: 'Flat' } });
  assert.deepEqual([code, json.credential_type, json.display_name], [201, 'twilio', 'Flat']);
  assert.equal((await call('POST', `${CREDENTIALS}/twilio`, { body: { fields: fields(a) } })).json.display_name, 'Twilio');
});

test('a change needs the ETag of what is changed', async () => {
  const at = `${CREDENTIALS}/${a.credential}`;
  const { headers: { etag } } = await call('GET', at);
  assert.equal((await call('PATCH', at, { body: { display_name: 'x' } })).status, 428);
  const weak = await call('PATCH', at, { body: { display_name: 'weak' }, headers: { 'if-match': `"x", W/${etag}` } });
  assert.equal(weak.status, 200, 'a proxy that compresses makes a tag a weak one');
  assert.equal((await call('PATCH', at, { body: { display_name: 'x' }, headers: { 'if-match': `W/${etag}` } })).status, 412);
  const rename = (name) => call('PATCH', at, { body: { display_name: name }, headers: { 'if-match': weak.headers.etag } });
  const codes = (await Promise.all(['one', 'two', 'three', 'four'].map(rename))).map((answer) => answer.status);
  assert.deepEqual(codes.sort(), [200, 412, 412, 412], 'of those that saw the same, one wins');
  assert.equal((await call('DELETE', at, { headers: { 'if-match': etag } })).status, 412);
});

test('the same Idempotency-Key gives the same answer and does it once', async () => {
  const body = { credential_type: 'twilio', display_name: 'Once', fields: fields(a) };
  const headers = { 'idempotency-key': 'once' };
  const answers = await Promise.all(Array.from({ length: 5 }, () => call('POST', CREDENTIALS, { body, headers })));
  for (const answer of answers) {
    assert.deepEqual([answer.status, answer.text, answer.headers.etag, answer.headers.location],
      [201, answers[0].text, answers[0].headers.etag, answers[0].headers.location]);
  }
  assert.equal((await call('GET', `${CREDENTIALS}?limit=100`)).json.items.filter((each) => each.display_name === 'Once').length, 1);
  const other = await call('POST', CREDENTIALS, { body: { ...body, display_name: 'Other' }, headers });
  assert.deepEqual([other.status, errors(other)], [422, ['Idempotency-Key']]);
  const failed = { body: { to: 'x' }, headers: { 'idempotency-key': 'failed' } };
  assert.equal((await call('POST', '/api/organization/sms/test', failed)).status, 422);
  const sent = await call('POST', '/api/organization/sms/test', { body: { to: '+15550100001' }, headers: { 'idempotency-key': 'failed' } });
  assert.equal(sent.status, 202, 'what failed may be tried again');
  const again = await call('POST', '/api/organization/sms/test', { body: { to: '+15550100001' }, headers: { 'idempotency-key': 'failed' } });
  assert.equal(again.headers.location, sent.headers.location);
});

test('a test message is followed to its end', async () => {
  const { json, headers: { location } } = await call('POST', '/api/organization/sms/test', { body: { to: '+15550100002', body: 'Grüße 👋' } });
  assert.equal(json.status, 'queued');
  const seen = await until('it to be sent', async () => {
    const { json: message } = await call('GET', location);
    return ['sent', 'delivered'].includes(message.status) && message;
  });
  assert.deepEqual([seen.body, seen.from_number], ['Grüße 👋', a.account.number]);
  assert.equal(seen.events[0].event, 'accepted');
});

test('pages of messages follow Link, and filter by state and text', async () => {
  for (let i = 0; i < 7; i += 1) await stack.send(a, '+15550100003', `paged ${i}`);
  const seen = [];
  let target = `${MESSAGES}?limit=3&search=paged`;
  while (target) {
    const { json, headers: { link } } = await call('GET', target);
    seen.push(...json.items.map(({ body }) => body));
    target = link && `${MESSAGES}${/^<(\?.*)>; rel="next"$/.exec(link)[1]}`;
    assert.equal(Boolean(link), json.next !== null);
  }
  assert.deepEqual(seen, [6, 5, 4, 3, 2, 1, 0].map((i) => `paged ${i}`));
  await until('all to be sent', async () => (await call('GET', `${MESSAGES}?status=queued,sending,scheduled`)).json.items.length === 0);
  const { json: { total } } = await call('GET', '/api/organization/statistics?hours=2');
  const counted = await stack.db.rows('SELECT status, count(*)::int AS n FROM byoc.sms_messages WHERE org_id = $1 GROUP BY 1', [a.id]);
  assert.deepEqual(total, Object.fromEntries(counted.map(({ status: state, n }) => [state, n])));
});

test('what comes in meanwhile moves no page', async () => {
  const one = async (organization, target) => {
    const { json, headers: { link } } = await api.call(api.token(organization), 'GET', target);
    return [json.items, link && `${target.split('?')[0]}${/^<(\?.*)>; rel="next"$/.exec(link)[1]}`];
  };
  const all = async (organization, target, meanwhile = () => {}) => {
    const seen = [];
    for (let next = target; next;) {
      const [items, following] = await one(organization, next);
      seen.push(...items);
      next = following;
      await meanwhile();
    }
    return seen;
  };
  for (let i = 0; i < 4; i += 1) await stack.send(b, '+15550100004', `before ${i}`);
  const bodies = (await all(b, `${MESSAGES}?limit=1`, () => stack.send(b, '+15550100004', 'meanwhile'))).map(({ body }) => body);
  assert.deepEqual(bodies, ['before 3', 'before 2', 'before 1', 'before 0']);
  const id = ({ json }) => json.id;
  const add = (name) => api.call(api.token(b), 'POST', CREDENTIALS, { body: { credential_type: 'twilio', display_name: name, fields: fields(b) } });
  const added = [b.credential];
  for (const name of ['second', 'third']) added.unshift(id(await add(name)));
  const credentials = await all(b, `${CREDENTIALS}?limit=1`, () => (added.length < 5 ? add('meanwhile').then((answer) => added.push(id(answer))) : null));
  assert.deepEqual(credentials.map((credential) => credential.id), added.slice(0, 3));
  const trail = `${CREDENTIALS}/${b.credential}/audit`;
  const [whole] = await one(b, trail);
  assert.ok(whole.length >= 2);
  assert.deepEqual(await all(b, `${trail}?limit=1`), whole);
});

test('what is wrong is named', async () => {
  const twilio = (more) => call('POST', CREDENTIALS, { body: { credential_type: 'twilio', fields: { ...fields(a), ...more } } });
  assert.deepEqual(errors(await twilio({ auth_token: 'short' })), ['fields.auth_token']);
  assert.deepEqual(errors(await twilio({ messaging_service_sid: `MG${'0'.repeat(32)}` })), ['fields']);
  assert.deepEqual(errors(await call('POST', '/api/organization/sms/test', { body: { to: '5550100' } })), ['to']);
  assert.deepEqual(errors(await call('POST', '/api/organization/sms/test', { body: { to: '+15550100001', credential_id: b.credential } })), ['credential_id']);
  assert.deepEqual(errors(await call('POST', '/api/organization/sms/test', { body: { to: '+15550100001', from: 'x' } })), ['from']);
  for (const [target, name] of [[`${MESSAGES}?limit=0`, 'limit'], [`${MESSAGES}?after=x`, 'after'], [`${MESSAGES}?status=lost`, 'status'],
    [`${MESSAGES}?search=%00`, 'search'], ['/api/organization/statistics?hours=x', 'hours']]) {
    const answer = await call('GET', target);
    assert.deepEqual([answer.status, errors(answer)], [422, [name]], target);
  }
  const post = (body, type = 'application/json') => status(owner, 'POST', CREDENTIALS, { body, headers: { 'content-type': type } });
  assert.equal(await post('{"credential_type": '), 400);
  assert.equal(await post('[1]'), 422);
  assert.equal(await post(`${'['.repeat(30_000)}${']'.repeat(30_000)}`), 422);
  assert.equal(await post('{}', 'text/plain'), 415);
  assert.equal(await post(JSON.stringify({ padding: 'x'.repeat(70_000) })), 413);
});

test('a shredded organization\'s user is told so', async () => {
  const gone = await stack.organization(3);
  await stack.db.query('SELECT byoc.shred_organization($1)', [gone.id]);
  const answer = await api.call(api.token(gone), 'POST', CREDENTIALS, { body: { credential_type: 'twilio', fields: fields(gone) } });
  assert.deepEqual([answer.status, answer.json.errors], [409, undefined]);
  assert.equal(answer.json.detail, `Organization ${gone.id} was shredded: its keys are destroyed, so nothing can be stored for it any more.`);
});

test('methods: HEAD answers as GET without a body, others are 405 with Allow', async () => {
  for (const target of [CREDENTIALS, MESSAGES, '/api/organization/events', '/api/openapi.json']) {
    const [head, get] = [await call('HEAD', target), target.endsWith('events') ? null : await call('GET', target)];
    assert.equal(head.status, 200, target);
    if (get) assert.equal(head.headers['content-length'], get.headers['content-length'], target);
  }
  const refused = await call('PUT', CREDENTIALS);
  assert.deepEqual([refused.status, refused.headers.allow], [405, 'GET, HEAD, POST']);
  assert.equal((await call('OPTIONS', CREDENTIALS)).status, 405);
  assert.equal((await call('GET', '/api/organization/no-such-thing')).status, 404);
});

test('what is described is what is served: every address, and no other methods', async () => {
  const described = new Map();
  for (const { method, path } of api.description.operations) described.set(path, [...described.get(path) ?? [], method, ...(method === 'GET' ? ['HEAD'] : [])]);
  for (const [path, methods] of described) {
    const { status: code, headers } = await call('PUT', path.replaceAll(/\{\w+\}/g, a.credential));
    assert.deepEqual([code, headers.allow?.split(', ').sort()], [405, methods.sort()], path);
  }
});

test('CORS is off: no page of another origin may read an answer', async () => {
  const headers = { origin: 'https://app.example', 'access-control-request-method': 'POST', 'access-control-request-headers': 'authorization' };
  for (const answer of [await call('OPTIONS', CREDENTIALS, { headers }), await call('GET', CREDENTIALS, { headers })]) {
    assert.deepEqual(Object.keys(answer.headers).filter((name) => name.startsWith('access-control')), []);
    assert.equal(answer.headers['cross-origin-resource-policy'], 'same-origin');
  }
});

test('no token, a bad one and an expired one are 401, all alike', async () => {
  for (const token of [null, 'x', 'a.b.c', `${owner}x`, api.token(a, { exp: now() - 60 }), api.token('not-a-uuid'), 'é', 'x'.repeat(15_000)]) {
    for (const target of [CREDENTIALS, '/api/organization/events', '/api/session']) {
      assert.equal(await status(null, 'GET', target, { headers: token === null ? {} : { authorization: `Bearer ${Buffer.from(token).toString('latin1')}` } }), 401, token);
    }
  }
  assert.equal(await status(null, 'GET', CREDENTIALS, { headers: { authorization: `Basic ${owner}` } }), 401);
  assert.equal((await api.call(null, 'GET', CREDENTIALS)).headers['www-authenticate'], 'Bearer');
  assert.equal(await status(api.token('99999999-0000-4000-8000-000000000009'), 'GET', '/api/session'), 403, 'an organization that does not exist');
});

test('roles are the database\'s business: 403', async () => {
  const at = `${CREDENTIALS}/${a.credential}`;
  const [member, admin] = [api.token(a, { org_role: 'member' }), api.token(a, { org_role: 'admin' })];
  assert.equal(await status(member, 'GET', at), 200);
  assert.equal(await status(member, 'POST', CREDENTIALS, { body: { credential_type: 'twilio', fields: fields(a) } }), 403);
  assert.equal(await status(member, 'PATCH', at, { body: { display_name: 'x' }, headers: { 'if-match': '*' } }), 403);
  assert.equal(await status(member, 'POST', `${at}/verify`), 403);
  assert.equal(await status(member, 'GET', `${at}/audit`), 403);
  assert.equal(await status(admin, 'DELETE', at), 403);
  assert.equal(await status(admin, 'POST', `${at}/verify`), 202);
});

test('what is another organization\'s does not exist', async () => {
  const message = await stack.send(b, '+15550100009', 'of b');
  const [of, nobodys] = [{ credential: b.credential, message }, { credential: '99999999-0000-4000-8000-000000000009', message: '99999999-0000-4000-8000-000000000009' }];
  const requests = ({ credential, message: id }) => [
    ['GET', `${CREDENTIALS}/${credential}`], ['GET', `${CREDENTIALS}/${credential}/audit`], ['POST', `${CREDENTIALS}/${credential}/verify`], ['DELETE', `${CREDENTIALS}/${credential}`],
    ['PATCH', `${CREDENTIALS}/${credential}`, { body: { display_name: 'mine' }, headers: { 'if-match': '*' } }], ['GET', `${MESSAGES}/${id}`], ['GET', `${MESSAGES}/not-a-uuid`],
  ];
  for (const [i, request] of requests(of).entries()) {
    const [real, madeUp] = [await call(...request), await call(...requests(nobodys)[i])];
    assert.equal(real.status, 404, request[1]);
    const told = ({ text }, ids) => Object.values(ids).reduce((left, id) => left.replaceAll(id, '*'), text);
    assert.equal(told(real, of), told(madeUp, nobodys), request[1]);
  }
  assert.ok(!(await call('GET', `${MESSAGES}?limit=100`)).text.includes(message));
});

test('too many requests with one token are 429, and its neighbour\'s are not', async () => {
  await stack.byocd.program.stop();
  await stack.startByocd({ BYOC_API_RATE: '5' });
  const codes = await Promise.all(Array.from({ length: 40 }, () => status(owner, 'GET', '/api/organization/providers')));
  assert.ok(codes.includes(429) && codes.includes(200), `${codes}`);
  assert.equal(await status(api.token(b), 'GET', '/api/organization/providers'), 200);
  await stack.byocd.program.stop();
  await stack.startByocd();
});

test('PostgreSQL restarts: 503 with Retry-After, then it goes on', async () => {
  stack.cluster.stop('immediate');
  const answer = await until('byocd to notice', async () => {
    const got = await call('GET', CREDENTIALS);
    return got.status !== 200 && got;
  });
  assert.deepEqual([answer.status, answer.headers['retry-after']], [503, '1']);
  stack.cluster.start();
  await stack.reconnect();
  await until('it to answer again', async () => (await call('GET', CREDENTIALS)).status === 200);
});

test('without a role for tenants the API is off, and the log says so', async () => {
  await stack.byocd.program.stop();
  await stack.startByocd({ BYOC_TENANT_ROLE: '' });
  const answer = await exchange(stack.byocd.url, 'GET', CREDENTIALS, { headers: { authorization: `Bearer ${owner}` } });
  assert.deepEqual([answer.status, answer.headers['content-type']], [404, 'application/problem+json']);
  assert.match(answer.text, /tenant-role/);
  assert.match(readFileSync(stack.byocdLog, 'utf8'), /REST API is switched off: set tenant-role/);
  await stack.byocd.program.stop();
  await stack.startByocd({ BYOC_TENANT_ROLE: 'postgres' });
  await until('the log to say what is wrong', () => /permission denied to set role "postgres".*tenant-role must be/.test(readFileSync(stack.byocdLog, 'utf8')));
  assert.equal((await exchange(stack.byocd.url, 'GET', CREDENTIALS, { headers: { authorization: `Bearer ${owner}` } })).status, 503);
});

test('neither token nor secret is in a log', () => {
  for (const log of [stack.byocdLog, stack.cluster.log]) {
    const text = readFileSync(log, 'utf8');
    for (const secret of [owner, a.account.authToken]) assert.ok(!text.includes(secret), log);
  }
});
