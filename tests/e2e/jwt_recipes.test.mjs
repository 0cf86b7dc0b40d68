// The recipes for tokens in doc/tenant-context.md and doc/embedding.md, done as they stand there: what they show is read, run, and must open
// a session of the REST API for the right organization, user and role.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { dirname } from 'node:path';
import { after, before, test } from 'node:test';
import { keySet, newKey, now, signToken } from '../../scripts/jwt.mjs';
import { Stack, until } from './stack.mjs';
import { API_ENV, Api } from './support/api.mjs';
import { fenced, indented, section } from './support/docs.mjs';

const TOKENS = 'doc/tenant-context.md';
const PAGES = 'doc/embedding.md';
const ETC = '/etc/postgresql';
const APP = 'https://app.example';
const AsyncFunction = (async () => {}).constructor;

const stack = new Stack('jwt-recipes', { env: { ...API_ENV, BYOC_ALLOWED_ORIGINS: APP } });
const provider = { keys: [] }; // an OpenID provider's /.well-known/jwks.json
let api;
let a;
let b;
let etc; // what stands for ETC

after(async () => {
  provider.server?.close();
  await stack.end();
});
before(async () => {
  await stack.start();
  api = await new Api(stack).open();
  [a, b] = [await stack.organization(1, { verified: false }), await stack.organization(2, { verified: false })];
  etc = dirname(stack.cluster.env.BYOC_JWKS);
  provider.server = createServer((request, response) => {
    response.writeHead(request.url === '/.well-known/jwks.json' ? 200 : 404).end(keySet(...provider.keys));
  }).listen(0, '127.0.0.1');
  await once(provider.server, 'listening');
  provider.url = `http://127.0.0.1:${provider.server.address().port}`;
});

// Runs a documented command in this server's place. An ordinary user is the server's user already.
async function shell(commands) {
  const text = commands.replaceAll(ETC, etc).replaceAll('https://YOUR_TENANT.auth0.com', provider.url)
    .replaceAll(/^chown .*\n/gm, (line) => (process.getuid() === 0 ? line : ''));
  const child = spawn('sh', ['-euc', text], { stdio: ['ignore', 'ignore', 'inherit'], env: { ...process.env, ...stack.cluster.environment('e2e') } });
  const [code] = await once(child, 'exit');
  assert.equal(code, 0, text);
}

// The server with these lines in postgresql.conf, and no others about tokens.
async function configure(...texts) {
  for (const name of ['jwks_file', 'jwt_issuer', 'jwt_audience', 'jwt_org_claim']) await stack.db.query(`ALTER SYSTEM RESET byoc.${name}`);
  const lines = texts.flatMap((text) => [...text.matchAll(/(byoc\.\w+) = ('[^']*')/g)]);
  assert.ok(lines.length > 0);
  for (const [, name, value] of lines) await stack.db.query(`ALTER SYSTEM SET ${name} = ${value.replace(ETC, etc)}`);
  await stack.db.query('SELECT pg_reload_conf()');
}

function writeKeys(...keys) {
  writeFileSync(`${etc}/byoc-jwks.json`, keySet(...keys));
  chmodSync(`${etc}/byoc-jwks.json`, 0o644);
}

async function who(token) {
  const { status, json } = await api.call(token, 'GET', '/api/session');
  return status === 200 ? [json.organization.id, json.user_id, json.org_role] : status;
}

// Sessions notice a reload at their next statement, or the one after.
async function becomes(token, expected) {
  let got;
  await until(`${JSON.stringify(expected)}`, async () => {
    got = await who(token);
    return JSON.stringify(got) === JSON.stringify(expected);
  }).catch(() => assert.deepEqual(got, expected));
}

test('your own back end, HS256', async () => {
  const [keys] = indented(section(TOKENS, 'Recipe: your own back end, HS256'));
  await shell(keys);
  await configure(section(TOKENS, 'The key set'));
  const [{ k }] = JSON.parse(readFileSync(`${etc}/byoc-jwks.json`, 'utf8')).keys;
  const [code] = fenced(section(PAGES, 'Your own, HS256'), 'js');
  writeFileSync(`${stack.run.folder}/token.mjs`, `${code}\nexport { smsToken };\n`);
  const { smsToken } = await import(`${stack.run.folder}/token.mjs`);
  process.env.SMS_SECRET = k;
  const token = smsToken({ organization: a.id, user: 'user-7', role: 'admin' });
  await becomes(token, [a.id, 'user-7', 'admin']);
  process.env.SMS_SECRET = k.replace(/^./, (letter) => (letter === 'A' ? 'B' : 'A'));
  assert.equal(await who(smsToken({ organization: a.id, user: 'user-7', role: 'owner' })), 401);
});

test('Auth0: a namespaced claim, keys that a timer fetches, and their rotation', async () => {
  const recipe = section(TOKENS, 'Recipe: Auth0, Keycloak and other OpenID providers');
  const timer = indented(section(TOKENS, 'The key set'))[1];
  const [, issuer] = /jwt_issuer = '([^']+)'/.exec(recipe);
  const [, audience] = /jwt_audience = '([^']+)'/.exec(recipe);
  const [, claim] = /jwt_org_claim = '([^']+)'/.exec(recipe);
  assert.match(claim, /^https:/);
  const [first, second] = [newKey('RS256', 'first'), newKey('ES256', 'second')];
  const token = (key, claims = {}) => signToken(key, {
    iss: issuer, aud: [audience, `${issuer}userinfo`], sub: 'auth0|7', exp: now() + 3600, scope: 'openid', [claim]: a.id, org_role: 'owner', ...claims,
  });
  provider.keys = [first];
  await shell(timer);
  await configure(recipe);
  const old = token(first);
  await becomes(old, [a.id, 'auth0|7', 'owner']);
  for (const [what, refused] of Object.entries({
    'an ID token': token(first, { aud: 'an-application' }), 'of another tenant of Auth0': token(first, { iss: 'https://other.auth0.com/' }),
    'without the slash': token(first, { iss: issuer.replace(/\/$/, '') }), 'Auth0\'s own organization': token(first, { [claim]: undefined, org_id: 'org_0000000000000000' }),
    'of a key that is not there yet': token(second),
  })) assert.equal(await who(refused), 401, what);

  provider.keys = [first, second];
  await shell(timer);
  await becomes(token(second), [a.id, 'auth0|7', 'owner']);
  assert.deepEqual(await who(old), [a.id, 'auth0|7', 'owner'], 'until the old key goes');
  const stream = await api.watch(old);
  await stream.next('ready');
  provider.keys = [second];
  await shell(timer);
  await becomes(old, 401);
  await stream.end();
  assert.deepEqual(await who(token(second)), [a.id, 'auth0|7', 'owner']);
});

test('Auth0: one claim with organization and role, made by the documented Action', async () => {
  const text = section(PAGES, 'Auth0, Keycloak and others with a JWKS');
  const recipe = section(TOKENS, 'Recipe: Auth0, Keycloak and other OpenID providers');
  const key = newKey('RS256', 'first');
  writeKeys(key);
  await configure(recipe, text);
  const claims = {};
  const action = {};
  new Function('exports', fenced(text, 'js')[0])(action);
  await action.onExecutePostLogin(
    { user: { app_metadata: { org_id: a.id, org_role: 'admin' }, user_metadata: { org_id: b.id } } },
    { accessToken: { setCustomClaim: (name, value) => { claims[name] = value; } } },
  );
  const [, issuer] = /jwt_issuer = '([^']+)'/.exec(recipe);
  const [, audience] = /jwt_audience = '([^']+)'/.exec(recipe);
  await becomes(signToken(key, { iss: issuer, aud: audience, sub: 'auth0|7', exp: now() + 3600, ...claims }), [a.id, 'auth0|7', 'admin']);
});

test('Supabase: its access token opens the pages; a claim that users can edit says nothing, nor do the project\'s own keys', async () => {
  await configure(section(TOKENS, 'The key set'), section(TOKENS, 'Recipe: Supabase and PostgREST'));
  const legacy = { jwk: { kty: 'oct', alg: 'HS256', k: Buffer.from('a-made-up-jwt-secret-with-at-least-32-characters').toString('base64url') } };
  for (const key of [legacy, newKey('ES256', 'signing-key')]) {
    writeKeys(key);
    chmodSync(`${etc}/byoc-jwks.json`, 0o600);
    if (process.getuid() === 0) await shell(`chown postgres: ${ETC}/byoc-jwks.json\n`);
    await stack.db.query('SELECT pg_reload_conf()');
    const claims = { iss: 'https://project.supabase.co/auth/v1', aud: 'authenticated', role: 'authenticated', sub: 'user-7', exp: now() + 3600 };
    const access = signToken(key, { ...claims, app_metadata: { provider: 'email', org_id: a.id, org_role: 'owner' }, user_metadata: { org_id: b.id } });
    await becomes(access, [a.id, 'user-7', 'owner']);
    assert.equal(await who(signToken(key, { ...claims, user_metadata: { org_id: b.id }, org_id: b.id })), 401, 'a user\'s own word');
    for (const role of ['anon', 'service_role']) assert.equal(await who(signToken(key, { iss: 'supabase', ref: 'project', role, exp: now() + 3600 })), 401, role);

    // The page's script, and the form that it fills in and sends.
    const [html] = fenced(section(PAGES, 'Handing over the user'), 'html');
    const elements = Object.fromEntries([...html.matchAll(/name="(\w+)" value="([^"]*)"/g)].map(([, name, value]) => [name, { value }]));
    let sent;
    const form = { elements, submit: () => { sent = Object.fromEntries(Object.entries(elements).map(([name, { value }]) => [name, value])); } };
    const supabase = { auth: { getSession: async () => ({ data: { session: { access_token: access } } }) } };
    await new AsyncFunction('supabase', 'form', fenced(section(PAGES, 'Supabase'), 'js')[0])(supabase, form);
    const [, action] = /action="([^"]+)"/.exec(html);
    const { status, headers } = await api.call(null, 'POST', new URL(action).pathname, {
      headers: { origin: APP, 'content-type': 'application/x-www-form-urlencoded' }, body: new URLSearchParams(sent).toString(),
    });
    assert.deepEqual([status, headers.location], [303, '/dashboard/settings']);
    const session = await api.call(null, 'GET', '/api/session', { headers: { cookie: headers['set-cookie'][0].split(';')[0] } });
    assert.deepEqual([session.json.organization.id, session.json.user_id, session.json.org_role], [a.id, 'user-7', 'owner']);
  }
});
