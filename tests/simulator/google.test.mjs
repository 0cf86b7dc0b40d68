// Google's endpoints: consent, codes and tokens, and the calendar behind them.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { after, before, beforeEach, test } from 'node:test';
import { Simulator } from './harness.mjs';

const client = { client_id: 'app-1.example', client_secret: 'client-secret-1' };
const other = { client_id: 'app-2.example', client_secret: 'client-secret-2' };
const redirect = 'https://app.example/callback';
const ada = 'ada@example.org';
const verifier = 'v'.repeat(43);
const challenge = createHash('sha256').update(verifier).digest('base64url');
const scope = 'https://www.googleapis.com/auth/calendar.events https://www.googleapis.com/auth/calendar.freebusy';
const asking = { client_id: client.client_id, redirect_uri: redirect, response_type: 'code', scope, access_type: 'offline', state: 'the state', code_challenge: challenge, code_challenge_method: 'S256' };

let simulator;
before(async () => { simulator = await Simulator.start(); });
after(async () => { assert.equal(await simulator.stop(), 0); });
beforeEach(async () => {
  await simulator.reset();
  await simulator.control('DELETE', 'google/');
  await simulator.control('PUT', 'google/clients', [{ ...client, redirect_uris: [redirect] }, { ...other, redirect_uris: [redirect] }]);
  await simulator.control('PUT', 'google/users', { email: ada, time_zone: 'Europe/Berlin', calendars: [{ id: 'team@group.calendar.example', role: 'writer' }, { id: 'read@group.calendar.example', role: 'reader' }] });
});

const form = (fields) => new URLSearchParams(Object.entries(fields).filter(([, value]) => value !== undefined).flatMap(([name, value]) => [value].flat().map((each) => [name, each])));
async function post(path, fields) {
  const response = await fetch(simulator.url + path, { method: 'POST', body: form(fields) });
  return { status: response.status, body: await response.json() };
}
const authorization = (changes = {}) => `/o/oauth2/v2/auth?${form({ ...asking, ...changes })}`;
async function consent(changes, decision = {}) {
  const response = await fetch(simulator.url + authorization(changes), { method: 'POST', redirect: 'manual', body: form({ email: ada, scope: scope.split(' '), decision: 'allow', ...decision }) });
  return response.status === 302 ? new URL(response.headers.get('location')) : response;
}
const exchange = (code, changes = {}) => post('/token', { grant_type: 'authorization_code', code, redirect_uri: redirect, code_verifier: verifier, ...client, ...changes });
const refresh = (token, changes = {}) => post('/token', { grant_type: 'refresh_token', refresh_token: token, ...client, ...changes });
async function connect(changes) {
  const { body } = await exchange((await consent(changes)).searchParams.get('code'));
  return body;
}
async function calendar(token, method, path, body, type = 'application/json') {
  const response = await fetch(`${simulator.url}/calendar/v3/${path}`, {
    method, headers: { ...(token && { authorization: `Bearer ${token}` }), ...(body && { 'content-type': type }) }, body: body && JSON.stringify(body),
  });
  const text = await response.text();
  return { status: response.status, body: text && JSON.parse(text), reason: text && JSON.parse(text).error?.errors[0].reason };
}
const at = (start, end, more = {}) => ({ summary: 'Appointment', start: { dateTime: start }, end: { dateTime: end }, ...more });
const morning = at('2026-11-23T09:00:00+01:00', '2026-11-23T10:00:00+01:00');

test('a user allows, and the code becomes tokens', async () => {
  const page = await fetch(simulator.url + authorization());
  assert.match(await page.text(), /ada@example\.org/);
  const back = await consent();
  assert.equal(back.origin + back.pathname, redirect);
  assert.equal(back.searchParams.get('state'), 'the state');
  const { status, body } = await exchange(back.searchParams.get('code'));
  assert.equal(status, 200);
  assert.deepEqual([body.token_type, body.expires_in, body.scope], ['Bearer', 3599, scope]);
  assert.ok(body.access_token && body.refresh_token);
  const again = await refresh(body.refresh_token);
  assert.equal(again.status, 200);
  assert.notEqual(again.body.access_token, body.access_token);
  assert.equal(again.body.refresh_token, undefined);
});

test('an ID token says who it was', async () => {
  const body = await connect({ scope: `openid email ${scope}` });
  const [header, claims] = body.id_token.split('.').slice(0, 2).map((part) => JSON.parse(Buffer.from(part, 'base64url')));
  assert.deepEqual([header.alg, claims.aud, claims.email], ['HS256', client.client_id, ada]);
  assert.equal((await connect({ prompt: 'consent' })).id_token, undefined);
});

test('a user may deny, or allow less', async () => {
  const denied = await consent({}, { decision: 'deny' });
  assert.deepEqual(Object.fromEntries(denied.searchParams), { state: 'the state', error: 'access_denied' });
  const less = await consent({}, { scope: [scope.split(' ')[1]] });
  assert.equal((await exchange(less.searchParams.get('code'))).body.scope, scope.split(' ')[1]);
});

test('what cannot be trusted is not redirected to', async () => {
  for (const [changes, status] of [[{ client_id: 'unknown' }, 401], [{ redirect_uri: 'https://app.example/callback/' }, 400], [{ response_type: 'token' }, 400],
    [{ scope: 'all' }, 400], [{ scope: undefined }, 400], [{ code_challenge: 'short' }, 400], [{ code_challenge_method: 'none' }, 400]]) {
    for (const method of ['GET', 'POST']) {
      const response = await fetch(simulator.url + authorization(changes), { method, redirect: 'manual', ...(method === 'POST' && { body: form({ email: ada, decision: 'allow' }) }) });
      assert.equal(response.status, status, JSON.stringify(changes));
      assert.equal(response.headers.get('location'), null);
    }
  }
});

test('a code is good once, for its client, its redirect and its verifier', async () => {
  const code = async () => (await consent()).searchParams.get('code');
  const used = await code();
  await exchange(used);
  for (const [changes, status, error, description] of [
    [{ code: used }, 400, 'invalid_grant', 'Bad Request'], [{ code: 'nothing' }, 400, 'invalid_grant', 'Malformed auth code.'],
    [{ code_verifier: 'w'.repeat(43) }, 400, 'invalid_grant', 'Invalid code verifier.'], [{ code_verifier: undefined }, 400, 'invalid_grant', 'Missing code verifier.'],
    [{ redirect_uri: 'https://app.example/other' }, 400, 'redirect_uri_mismatch', 'Bad Request'],
    [{ client_secret: 'wrong' }, 401, 'invalid_client', 'Unauthorized'], [{ client_id: 'unknown' }, 401, 'invalid_client', 'The OAuth client was not found.'],
    [{ ...other }, 400, 'invalid_grant', 'Bad Request'], [{ grant_type: 'password' }, 400, 'unsupported_grant_type', 'Invalid grant_type: password'],
  ]) {
    const answer = await exchange(await code(), changes);
    assert.deepEqual([answer.status, answer.body.error, answer.body.error_description], [status, error, description], JSON.stringify(changes));
  }
  const wrong = await code();
  await exchange(wrong, { code_verifier: 'w'.repeat(43) });
  assert.equal((await exchange(wrong)).body.error, 'invalid_grant', 'a code is spent by a wrong try, too');
});

test('a refresh token comes with offline access, first or when consent is asked for again', async () => {
  assert.ok((await connect()).refresh_token);
  assert.equal((await connect()).refresh_token, undefined);
  assert.ok((await connect({ prompt: 'consent' })).refresh_token);
  await simulator.control('DELETE', 'google/grants');
  assert.equal((await connect({ access_type: 'online' })).refresh_token, undefined);
});

test('revoking any token ends the whole grant', async () => {
  const first = await connect();
  const second = await connect({ prompt: 'consent' });
  assert.equal((await post('/revoke', { token: first.refresh_token })).status, 200);
  assert.deepEqual((await post('/revoke', { token: first.refresh_token })).body.error, 'invalid_token');
  assert.deepEqual((await refresh(second.refresh_token)).body, { error: 'invalid_grant', error_description: 'Token has been expired or revoked.' });
  assert.equal((await calendar(second.access_token, 'GET', 'calendars/primary/events')).status, 401);
  assert.equal((await refresh((await connect()).refresh_token, other)).body.error, 'unauthorized_client');
});

test('access tokens end, and hold for what was allowed', async () => {
  await simulator.control('PUT', 'google/settings', { access_token_seconds: 0 });
  const short = await connect();
  assert.equal(short.expires_in, 0);
  assert.deepEqual((await calendar(short.access_token, 'GET', 'calendars/primary/events')).reason, 'authError');
  assert.equal((await calendar('', 'GET', 'calendars/primary/events')).status, 401);
  await simulator.control('PUT', 'google/settings', {});
  const { access_token: token } = (await refresh(short.refresh_token)).body;
  assert.equal((await calendar(token, 'GET', 'calendars/primary')).reason, 'insufficientPermissions');
  await simulator.control('DELETE', 'google/access_tokens');
  assert.equal((await calendar(token, 'GET', 'calendars/primary/events')).status, 401);
  const { body: grant } = await simulator.control('POST', 'google/grants', { email: ada, client_id: other.client_id, scopes: ['https://www.googleapis.com/auth/calendar.freebusy'] });
  const free = (await refresh(grant.refresh_token, other)).body.access_token;
  assert.equal((await calendar(free, 'GET', 'calendars/primary/events')).reason, 'insufficientPermissions');
  assert.deepEqual((await simulator.control('GET', 'google/grants')).body.map(({ refreshes }) => refreshes), [1, 1]);
});

test('events are made, read, changed and deleted', async () => {
  const { access_token: token } = await connect();
  const id = '0123456789abcdefghijklmnopqrstuv';
  const made = await calendar(token, 'POST', 'calendars/primary/events', { ...morning, id, attendees: [{ email: 'bob@example.org' }], color: 'unknown members are dropped' });
  assert.equal(made.status, 200);
  assert.deepEqual([made.body.id, made.body.status, made.body.attendees[0].responseStatus, made.body.color], [id, 'confirmed', 'needsAction', undefined]);
  assert.ok(made.body.htmlLink && made.body.etag);
  assert.equal((await calendar(token, 'POST', 'calendars/primary/events', { ...morning, id })).reason, 'duplicate');
  const one = `calendars/${encodeURIComponent(ada)}/events/${id}`;
  assert.equal((await calendar(token, 'PATCH', one, { summary: 'Moved', start: { dateTime: '2026-11-23T09:30:00+01:00' } })).body.summary, 'Moved');
  const updated = await calendar(token, 'PUT', one, { start: { date: '2026-11-23' }, end: { date: '2026-11-24' } });
  assert.deepEqual([updated.body.summary, updated.body.start, updated.body.sequence], [undefined, { date: '2026-11-23' }, 2]);
  assert.equal((await calendar(token, 'DELETE', one)).status, 204);
  assert.deepEqual([(await calendar(token, 'DELETE', one)).reason, (await calendar(token, 'GET', one)).body.status], ['deleted', 'cancelled']);
  assert.equal((await calendar(token, 'POST', 'calendars/primary/events', { ...morning, id })).reason, 'duplicate', 'a deleted event keeps its id');
  assert.equal((await calendar(token, 'PUT', one, { ...morning, status: 'confirmed' })).body.status, 'confirmed');
  assert.equal((await calendar(token, 'GET', 'calendars/primary/events/00000')).reason, 'notFound');
  assert.deepEqual((await simulator.control('GET', 'google/events')).body.map((event) => [event.index, event.calendar_id, event.id]), [[0, ada, id]]);
  assert.deepEqual([(await simulator.control('GET', 'google/requests')).body['insert 200'], (await simulator.control('GET', 'google/requests')).body['insert 409']], [1, 2]);
});

test('what is no event is refused with the reason', async () => {
  const { access_token: token } = await connect();
  const insert = (body, type) => calendar(token, 'POST', 'calendars/primary/events', body, type);
  for (const [event, reason] of [
    [{ ...morning, id: 'no' }, 'invalid'], [{ ...morning, id: 'withUpperCase' }, 'invalid'], [{ start: morning.start }, 'required'], [{ end: morning.end }, 'required'],
    [at('2026-11-23T09:00:00', '2026-11-23T10:00:00'), 'invalid'], [at('2026-11-23T10:00:00Z', '2026-11-23T09:00:00Z'), 'timeRangeEmpty'],
    [{ start: { date: '2026-11-23' }, end: { date: '2026-11-23' } }, 'timeRangeEmpty'], [{ start: { date: '2026-11-23' }, end: morning.end }, 'invalid'],
    [{ start: { ...morning.start, timeZone: 'Mars/Olympus' }, end: morning.end }, 'invalid'], [{ ...morning, attendees: [{ email: 'bob' }] }, 'invalid'], [{ ...morning, attendees: [{}] }, 'required'],
    [{ ...morning, recurrence: ['every day'] }, 'invalid'], [{ ...morning, recurrence: ['RRULE:FREQ=DAILY'] }, 'required'], [{ ...morning, summary: 7 }, 'invalid'],
  ]) {
    const answer = await insert(event);
    assert.deepEqual([answer.status, answer.reason], [400, reason], JSON.stringify(event));
  }
  assert.equal((await insert(morning, 'text/plain')).reason, 'parseError');
  assert.equal((await calendar(token, 'POST', 'calendars/read@group.calendar.example/events', morning)).reason, 'requiredAccessLevel');
  assert.equal((await calendar(token, 'POST', 'calendars/unknown/events', morning)).reason, 'notFound');
  const berlin = { timeZone: 'Europe/Berlin' };
  assert.equal((await insert({ start: { dateTime: '2026-11-23T09:00:00', ...berlin }, end: { dateTime: '2026-11-23T10:00:00', ...berlin }, recurrence: ['RRULE:FREQ=WEEKLY;COUNT=3'] })).status, 200);
});

test('events are listed in pages', async () => {
  const { access_token: token } = await connect();
  for (let hour = 10; hour < 15; ++hour) await calendar(token, 'POST', 'calendars/primary/events', at(`2026-11-23T${hour}:00:00Z`, `2026-11-23T${hour}:30:00Z`, { id: `event${hour}` }));
  await calendar(token, 'DELETE', 'calendars/primary/events/event12');
  const list = async (query) => (await calendar(token, 'GET', `calendars/primary/events?${form(query)}`)).body;
  const first = await list({ maxResults: 2 });
  assert.deepEqual([first.accessRole, first.timeZone, first.items.map(({ id }) => id)], ['owner', 'Europe/Berlin', ['event10', 'event11']]);
  assert.deepEqual((await list({ maxResults: 2, pageToken: first.nextPageToken })).items.map(({ id }) => id), ['event13', 'event14']);
  assert.deepEqual((await list({ timeMin: '2026-11-23T12:15:00Z', timeMax: '2026-11-23T13:10:00Z', showDeleted: true })).items.map(({ id }) => id), ['event12', 'event13']);
  assert.equal((await calendar(token, 'GET', 'calendars/primary/events?timeMin=yesterday')).status, 400);
});

test('freeBusy joins what touches, and knows time zones', async () => {
  const { access_token: token } = await connect();
  const insert = (event, where = 'primary') => calendar(token, 'POST', `calendars/${where}/events`, event);
  await insert(at('2026-10-25T00:30:00Z', '2026-10-25T01:30:00Z'));
  await insert(at('2026-10-25T01:30:00Z', '2026-10-25T02:00:00Z'));
  await insert(at('2026-10-25T08:00:00Z', '2026-10-25T09:00:00Z', { transparency: 'transparent' }));
  await insert({ start: { date: '2026-10-26' }, end: { date: '2026-10-27' } });
  const ask = (changes) => calendar(token, 'POST', 'freeBusy', { timeMin: '2026-10-25T00:00:00Z', timeMax: '2026-10-26T12:00:00Z', items: [{ id: 'primary' }, { id: 'unknown' }], ...changes });
  const { body } = await ask({});
  assert.deepEqual(body.calendars.primary.busy, [{ start: '2026-10-25T00:30:00Z', end: '2026-10-25T02:00:00Z' }, { start: '2026-10-25T23:00:00Z', end: '2026-10-26T12:00:00Z' }]);
  assert.equal(body.calendars.unknown.errors[0].reason, 'notFound');
  assert.deepEqual((await ask({ timeZone: 'Europe/Berlin' })).body.calendars.primary.busy[0], { start: '2026-10-25T02:30:00+02:00', end: '2026-10-25T03:00:00+01:00' });
  for (const [changes, reason] of [[{ timeMin: undefined }, 'required'], [{ timeMax: '2026-10-25' }, 'badRequest'], [{ timeMax: '2026-10-24T00:00:00Z' }, 'timeRangeEmpty'], [{ timeZone: 'Nowhere' }, 'invalid'], [{ items: [{}] }, 'required']])
    assert.equal((await ask(changes)).reason, reason, JSON.stringify(changes));
});

test('faults are answered in Google\'s form', async () => {
  const { access_token: token } = await connect();
  await simulator.control('PUT', 'faults', [{ action: 'status', status: 403, count: 1, match: { path: '/calendar/v3', method: 'PATCH' } }, { action: 'status_after', status: 503, count: 1, match: { path: '/calendar/v3', method: 'POST' } }]);
  assert.equal((await calendar(token, 'PATCH', 'calendars/primary/events/event1', morning)).reason, 'rateLimitExceeded');
  assert.equal((await calendar(token, 'POST', 'calendars/primary/events', { ...morning, id: 'event1' })).reason, 'backendError');
  assert.equal((await calendar(token, 'POST', 'calendars/primary/events', { ...morning, id: 'event1' })).reason, 'duplicate');
});

test('control input is checked, and secrets are never shown', async () => {
  for (const [path, input, sentence] of [['clients', { client_id: 'x' }, /field client_secret /], ['users', [{ email: 'x', time_zone: 'Nowhere' }], /field \[0\]\.time_zone /],
    ['users', { email: 'x', calendars: [{ id: 'y', role: 'king' }] }, /field calendars\[0\]\.role /], ['grants', { email: 'nobody', client_id: client.client_id }, /field email /], ['settings', { seconds: 1 }, /field seconds /]]) {
    const { status, body } = await simulator.control('PUT', `google/${path}`, input);
    assert.equal(status, 400);
    assert.match(body.error, sentence);
  }
  assert.ok(!JSON.stringify((await simulator.control('GET', 'google/clients')).body).includes('client-secret'));
  assert.equal((await simulator.control('GET', 'google/nothing')).status, 404);
  assert.equal((await simulator.control('DELETE', 'google/users')).status, 405);
  assert.equal((await simulator.control('GET', 'google/users')).body[0].calendars[0].id, ada);
});
