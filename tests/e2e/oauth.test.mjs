// Connecting Google Calendar, without a browser but with its cookies: what binds the way there to the way back, what is stored, what
// shows where, and what Google hears when it is revoked.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { freePort } from '../../scripts/run.mjs';
import { Stack, filesWith, until } from './stack.mjs';
import { API_ENV, Api } from './support/api.mjs';
import { ADA, CLIENT, CookieJar, OWN_CLIENT, addGoogle, consent, googleEnv, visit } from './support/google_login.mjs';

const stack = new Stack('oauth', { env: API_ENV, settings: { log_statement: 'all', log_min_duration_statement: 0 } });
let api;
let url;
let a; // organizations
let b;

after(() => stack.end());
before(async () => {
  url = `http://127.0.0.1:${await freePort()}`;
  await stack.start();
  await stack.byocd.program.stop();
  stack.env = { ...API_ENV, ...googleEnv(stack.simulator, url), BYOC_HTTP_LISTEN: new URL(url).host };
  await stack.startByocd();
  await addGoogle(stack.simulator, url);
  api = await new Api(stack).open();
  [a, b] = await Promise.all(['A', 'B'].map(async (name) => ({ id: await stack.db.value('SELECT byoc.create_organization($1)', [name]) })));
});

const google = (method, path, body) => stack.simulator.request(method, `/_simulator/google/${path}`, body);
const credentials = (organization) => stack.db.rows(
  'SELECT id, fields, is_active, verification_status, verification_error, created_by FROM byoc.credentials WHERE org_id = $1 AND credential_type = $2 ORDER BY created_at', [organization.id, 'google_calendar']);
const becomes = (id, status) => until(`credential ${id} to be ${status}`, async () => {
  const [row] = await stack.db.rows('SELECT verification_status, verification_error FROM byoc.credentials WHERE id = $1', [id]);
  return row.verification_status === status && row;
});

// Sets out as the organization's owner; answers Google's address and the browser's cookies.
async function start(organization, { claims, query = '', headers = {} } = {}) {
  const jar = new CookieJar();
  const answer = await visit(`${url}/api/auth/google/start${query}`, { headers: { authorization: `Bearer ${api.token(organization, claims)}`, accept: 'text/html', ...headers } });
  jar.take(answer);
  return { ...answer, jar };
}
const disconnect = (organization, id) => api.call(api.token(organization), 'DELETE', `/api/organization/credentials/${id}`);

// Comes back to the address; answers what the settings page is told.
async function comeBack(address, jar) {
  const answer = await visit(address, { headers: jar.headers() });
  jar.take(answer);
  assert.equal(answer.status, 303);
  const settings = /^\/dashboard\/settings\?connect=(\w+)$/.exec(answer.location);
  assert.ok(settings, `${answer.location} is our own page, and tells nothing else`);
  return settings[1];
}
async function connect(organization, { decision, ...options } = {}) {
  const { location, jar } = await start(organization, options);
  return comeBack(await consent(location, decision), jar);
}

test('a calendar is connected, verified, used and disconnected', async () => {
  const { status, location, jar, headers } = await start(a);
  assert.equal(status, 303);
  const asked = new URL(location);
  assert.equal(asked.origin + asked.pathname, `${stack.simulator.url}/o/oauth2/v2/auth`);
  const said = Object.fromEntries(asked.searchParams);
  assert.deepEqual([said.client_id, said.redirect_uri, said.code_challenge_method, said.access_type], [CLIENT.client_id, `${url}/api/auth/google/callback`, 'S256', 'offline']);
  assert.match(headers['set-cookie'][0], /^byoc_oauth=[\w-]{43}; Max-Age=600; Path=\/; HttpOnly; SameSite=Lax$/);
  assert.equal(headers['cache-control'], 'no-store');
  const secret = jar.cookies.get('byoc_oauth');
  assert.ok(!location.includes(secret), 'the cookie\'s secret stays in the browser');

  assert.equal(await comeBack(await consent(location), jar), 'connected');
  assert.equal(jar.cookies.size, 0, 'the cookie is gone');
  const [credential] = await credentials(a);
  assert.deepEqual([credential.fields.account, credential.fields.client_id, credential.created_by], [ADA, CLIENT.client_id, 'ada']);
  assert.match(credential.fields.refresh_token, /^••••/);
  await becomes(credential.id, 'verified');

  await disconnect(a, credential.id);
  await until('Google to know that it is revoked', async () => (await google('GET', 'grants')).length === 0);
  await until('the audit trail to say so', () => stack.db.value(
    `SELECT count(*) = 1 FROM byoc.audit_log WHERE action = 'credential.revoked_at_provider' AND object_id = $1`, [credential.id]));
});

test('an API client gets the address as JSON, and problems as such', async () => {
  const headers = { accept: 'application/json' };
  const { status, text, jar } = await start(b, { headers });
  assert.equal(status, 200);
  assert.equal(jar.cookies.size, 1);
  assert.match(JSON.parse(text).authorization_url, /state=/);
  assert.equal((await start(b, { headers, claims: { org_role: 'member' } })).status, 403);
  assert.equal((await start(b, { headers, query: '?credential=x' })).status, 422);
  assert.equal((await start(b, { headers: { ...headers, authorization: 'Bearer x' } })).status, 401);
  assert.equal((await visit(`${url}/api/auth/google/start`)).status, 401);
  for (const [options, outcome] of [[{ claims: { org_role: 'member' } }, 'not_allowed'], [{ claims: { exp: 1 } }, 'signed_out'], [{ query: '?credential=00000000-0000-4000-8000-000000000000' }, 'gone']])
    assert.equal((await start(b, options)).location, `/dashboard/settings?connect=${outcome}`);
});

test('who denies, or allows too little, has nothing connected', async () => {
  assert.equal(await connect(b, { decision: { decision: 'deny' } }), 'denied');
  assert.equal(await connect(b, { decision: { scope: ['https://www.googleapis.com/auth/calendar.freebusy'] } }), 'scope_missing');
  assert.deepEqual(await credentials(b), []);
});

test('a state is good once, in its browser, as it was given', async () => {
  const requests = async () => (await stack.simulator.request('GET', '/_simulator/stats')).requests;
  const { location, jar } = await start(b);
  const { jar: elsewhere } = await start(b);
  const back = await consent(location);
  const changed = (name, value) => { const other = new URL(back); other.searchParams.set(name, value); return other.href; };
  const before = await requests();
  assert.equal(await comeBack(back, new CookieJar()), 'expired', 'no cookie: a victim who was sent here');
  assert.equal(await comeBack(back, elsewhere), 'expired', 'the cookie of another way');
  const state = new URL(back).searchParams.get('state');
  for (const tampered of [`${state.slice(0, -1)}${state.endsWith('A') ? 'B' : 'A'}`, '', 'x', `${state}x`, `${state}' OR 1=1 --`]) {
    assert.equal(await comeBack(changed('state', tampered), jar), 'expired', `state ${tampered}`);
    assert.equal(jar.cookies.size, 1, 'a forged state does not end the way');
  }
  assert.equal(await requests(), before, 'Google is not asked about any of these');
  const copy = new CookieJar();
  copy.cookies = new Map(jar.cookies);
  assert.equal(await comeBack(back, jar), 'connected');
  assert.equal(await comeBack(back, copy), 'expired', 'replayed');
  assert.equal((await credentials(b)).length, 1);
});

test('a code is good once', async () => {
  const first = await start(b);
  const back = new URL(await consent(first.location));
  assert.equal(await comeBack(back.href, first.jar), 'connected');
  const second = await start(b);
  back.searchParams.set('state', new URL(second.location).searchParams.get('state'));
  assert.equal(await comeBack(back.href, second.jar), 'refused', 'Google refuses the code in another state');
  const third = await start(b);
  back.searchParams.set('state', new URL(third.location).searchParams.get('state'));
  back.searchParams.set('code', '4/0forged');
  assert.equal(await comeBack(back.href, third.jar), 'refused');
  const fourth = await start(b);
  back.searchParams.set('state', new URL(fourth.location).searchParams.get('state'));
  back.searchParams.delete('code');
  assert.equal(await comeBack(back.href, fourth.jar), 'refused');
});

test('another one\'s code does not come with the right proof', async () => {
  // A code that was stolen on its way to somebody else's browser: bound to that one's verifier.
  const victim = await start(a);
  const stolen = new URL(await consent(victim.location));
  const thief = await start(b);
  stolen.searchParams.set('state', new URL(thief.location).searchParams.get('state'));
  const had = (await credentials(b)).length;
  assert.equal(await comeBack(stolen.href, thief.jar), 'refused');
  assert.equal((await credentials(b)).length, had);
});

test('the database holds hashes of what is on the way', async () => {
  const { location, jar } = await start(b);
  const state = new URL(location).searchParams.get('state');
  const hash = (text) => `\\x${createHash('sha256').update(text).digest('hex')}`;
  assert.equal(await stack.db.value('SELECT browser_hash = $2::bytea FROM byoc.oauth_states WHERE state_hash = $1::bytea', [hash(state), hash(jar.cookies.get('byoc_oauth'))]), true);
  await stack.db.query("UPDATE byoc.oauth_states SET created_at = created_at - interval '11 minutes'");
  assert.equal(await comeBack(await consent(location), jar), 'expired', 'after ten minutes');
});

test('an organization connects by a client of its own', async () => {
  const { json } = await api.call(api.token(b), 'POST', '/api/organization/credentials', { body: { credential_type: 'google_calendar', fields: { ...OWN_CLIENT, calendar_id: 'primary' } } });
  const waiting = await becomes(json.id, 'failed');
  assert.match(waiting.verification_error, /No Google account is connected yet/);
  assert.equal(await connect(b, { query: `?credential=${json.id}`, decision: { email: 'eve@example.org' } }), 'connected');
  await becomes(json.id, 'verified');
  const credential = (await credentials(b)).find(({ id }) => id === json.id);
  assert.deepEqual([credential.fields.client_id, credential.fields.account, credential.fields.calendar_id], [OWN_CLIENT.client_id, 'eve@example.org', 'primary']);
  assert.equal((await google('GET', 'grants')).filter(({ client_id: id }) => id === OWN_CLIENT.client_id).length, 1);

  // Removed at Google: found out, said, and mended by connecting anew.
  await google('DELETE', 'grants');
  await api.call(api.token(b), 'POST', `/api/organization/credentials/${json.id}/verify`);
  const failed = await becomes(json.id, 'failed');
  assert.match(failed.verification_error, /does not accept this connection any more.*Connect Google Calendar again/);
  assert.equal(await connect(b, { query: `?credential=${json.id}`, decision: { email: 'eve@example.org' } }), 'connected');
  await becomes(json.id, 'verified');
  // By another account: the first one's access ends, the new one's does not.
  assert.equal(await connect(b, { query: `?credential=${json.id}` }), 'connected');
  await until('the first account\'s access to end', async () => (await google('GET', 'grants')).filter(({ client_id: id }) => id === OWN_CLIENT.client_id).map(({ email }) => email).join() === ADA);
  await api.call(api.token(b), 'POST', `/api/organization/credentials/${json.id}/verify`);
  await becomes(json.id, 'verified');
});

test('a calendar that may only be read is no good', async () => {
  assert.equal(await connect(a), 'connected');
  const { id } = (await credentials(a)).find(({ is_active: active }) => active);
  await becomes(id, 'verified');
  for (const [calendar, sentence] of [['read@group.calendar.example', /may not change the calendar's events/], ['unknown@example.org', /has no such calendar/]]) {
    await api.call(api.token(a), 'PATCH', `/api/organization/credentials/${id}`, { headers: { 'if-match': '*' }, body: { fields: { calendar_id: calendar } } });
    assert.match((await becomes(id, 'failed')).verification_error, sentence);
  }
});

test('a revocation that Google does not answer is made later', async () => {
  for (const organization of [a, b])
    for (const { id } of (await credentials(organization)).filter(({ is_active: active, fields }) => active && fields.client_id === CLIENT.client_id)) await disconnect(organization, id);
  await until('all access by the server\'s client to end', async () => (await google('GET', 'grants')).every(({ client_id: id }) => id !== CLIENT.client_id));
  // One revocation ends the access of both: the other's would meet the fault.
  await until('nothing to be left to revoke', () => stack.db.value('SELECT count(*) = 0 FROM byoc.provider_revocations'));
  assert.equal(await connect(a), 'connected');
  await stack.faults([{ action: 'status', status: 503, count: 1, match: { path: '/revoke' } }]);
  await disconnect(a, (await credentials(a)).find(({ is_active: active }) => active).id);
  await until('the first try to fail', async () => (await stack.simulator.request('GET', '/_simulator/faults'))[0].hits === 1);
  await until('it to be recorded', () => stack.db.value('SELECT count(*) = 1 FROM byoc.provider_revocations WHERE attempts = 1 AND due_at > now()'));
  assert.equal((await google('GET', 'grants')).filter(({ client_id: client }) => client === CLIENT.client_id).length, 1);
  await stack.db.query("UPDATE byoc.provider_revocations SET due_at = '-infinity'");
  await until('the second try to end it', async () => (await google('GET', 'grants')).every(({ client_id: client }) => client !== CLIENT.client_id));
  await stack.faults([]);
});

test('Google in trouble is told, and changes nothing', async () => {
  const had = (await credentials(b)).length;
  for (const fault of [{ action: 'status', status: 503 }, { action: 'reset' }, { action: 'malformed', variant: 'not_json' }]) {
    const { location, jar } = await start(b);
    const back = await consent(location);
    await stack.faults([{ ...fault, match: { path: '/token' } }]);
    assert.equal(await comeBack(back, jar), 'unavailable', fault.action);
    await stack.faults([]);
  }
  assert.equal((await credentials(b)).length, had);
});

test('no token, code, state or client secret is in a log or a file', async () => {
  const { location, jar } = await start(b);
  const state = new URL(location).searchParams.get('state');
  const browser = jar.cookies.get('byoc_oauth');
  const back = await consent(location);
  const code = new URL(back).searchParams.get('code');
  assert.equal(await comeBack(back, jar), 'connected');
  const { id } = (await credentials(b)).at(-1);
  await becomes(id, 'verified');
  const { refresh_token: token } = await stack.db.value('SELECT o.fields FROM byoc.open_credentials(ARRAY[$1::uuid], ARRAY[$2::uuid]) AS o', [b.id, id]);
  const logs = readFileSync(stack.byocdLog, 'utf8') + readFileSync(stack.cluster.log, 'utf8');
  assert.match(logs, /take_oauth_state/, 'the server\'s log has the statements');
  await stack.db.query('CHECKPOINT');
  for (const [what, secret] of Object.entries({ token, code, state, browser, 'client secret': OWN_CLIENT.client_secret, 'server\'s client secret': CLIENT.client_secret })) {
    assert.ok(!logs.includes(secret), `${what} in a log`);
    assert.deepEqual(filesWith(`${stack.cluster.env.PGDATA}`, secret), [], `${what} in the data directory`);
  }
});

test('without a client, or without a public address, nobody sets out', async () => {
  await stack.byocd.program.stop();
  const { BYOC_GOOGLE_CLIENT_ID: client, ...without } = stack.env;
  assert.ok(client);
  stack.env = without;
  await stack.startByocd();
  assert.equal((await start(b)).location, '/dashboard/settings?connect=not_configured');
  const { status, text } = await start(b, { headers: { accept: 'application/json' } });
  assert.equal(status, 409);
  assert.match(JSON.parse(text).detail, /no OAuth client/);
  const own = (await credentials(b)).find(({ fields, is_active: active }) => active && fields.client_id === OWN_CLIENT.client_id);
  assert.equal(await connect(b, { query: `?credential=${own.id}` }), 'connected', 'but with a client of one\'s own');
  await stack.byocd.program.stop();
  const { BYOC_PUBLIC_URL: address, ...hidden } = stack.env;
  assert.ok(address);
  stack.env = hidden;
  await stack.startByocd();
  assert.equal((await start(b, { headers: { accept: 'application/json' } })).status, 409);
});
