// Google's own client library takes the simulator for Google, so that what is tested against the simulator means something.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { after, before, test } from 'node:test';
import { installPackages } from '../../scripts/npm.mjs';
import { Run, TOP } from '../../scripts/run.mjs';
import { Simulator } from '../../scripts/stack.mjs';
import { ADA, CLIENT, addGoogle, consent } from './support/google_login.mjs';

const FOLDER = `${TOP}/build/npm/google`;
const ORIGIN = 'https://sms.app.example';
const SCOPES = ['openid', 'email', 'https://www.googleapis.com/auth/calendar.events', 'https://www.googleapis.com/auth/calendar.freebusy'];
let simulator;
let google;
let auth;
let calendar;

after(() => simulator?.program.stop());
before(async () => {
  // Without a registry to install from, this fails and says so.
  installPackages(`${TOP}/tests/e2e/google`, FOLDER);
  ({ google } = createRequire(`${FOLDER}/package.json`)('googleapis'));
  simulator = await Simulator.start(new Run(`e2e-google-client-${process.pid}`));
  await addGoogle(simulator, ORIGIN);
  auth = client();
  const { codeVerifier, codeChallenge } = await auth.generateCodeVerifierAsync();
  const back = new URL(await consent(address(auth, { code_challenge: codeChallenge, code_challenge_method: 'S256' })));
  const { tokens } = await auth.getToken({ code: back.searchParams.get('code'), codeVerifier });
  auth.setCredentials(tokens);
  calendar = google.calendar({ version: 'v3', auth, rootUrl: `${simulator.url}/` });
});

function client(secret = CLIENT.client_secret) {
  return new google.auth.OAuth2({
    clientId: CLIENT.client_id, clientSecret: secret, redirectUri: `${ORIGIN}/api/auth/google/callback`,
    endpoints: { oauth2AuthBaseUrl: `${simulator.url}/o/oauth2/v2/auth`, oauth2TokenUrl: `${simulator.url}/token`, oauth2RevokeUrl: `${simulator.url}/revoke` },
  });
}
const address = (by, more = {}) => by.generateAuthUrl({ access_type: 'offline', prompt: 'consent', scope: SCOPES, state: 'made up', ...more });
const code = async (by, more) => new URL(await consent(address(by, more))).searchParams.get('code');
const refused = (promise, status, reason) => assert.rejects(promise, (error) => {
  assert.equal(error.status ?? error.code, status);
  assert.equal(error.errors?.[0]?.reason ?? error.response.data.error, reason);
  return true;
});
const event = (hour, more = {}) => ({
  summary: 'Zoë 💍', start: { dateTime: `2026-11-23T${hour}:00:00+01:00` }, end: { dateTime: `2026-11-23T${hour}:45:00+01:00` }, ...more,
});

test('tokens: exchanged, with the account\'s address, and refreshed', async () => {
  assert.ok(auth.credentials.refresh_token);
  assert.equal(JSON.parse(Buffer.from(auth.credentials.id_token.split('.')[1], 'base64url')).email, ADA);
  const before = auth.credentials.access_token;
  await auth.refreshAccessToken();
  assert.notEqual(auth.credentials.access_token, before);
});

test('tokens: wrong secret, wrong verifier, used code', async () => {
  const wrong = client('wrong');
  await refused(wrong.getToken(await code(wrong)), 401, 'invalid_client');
  const other = client();
  await refused(other.getToken({ code: await code(other, { code_challenge: 'c'.repeat(43), code_challenge_method: 'S256' }), codeVerifier: 'v'.repeat(43) }), 400, 'invalid_grant');
  const once = await code(other);
  await other.getToken(once);
  await refused(other.getToken(once), 400, 'invalid_grant');
});

test('events: insert with an id of one\'s own, get, list, patch, update, delete', async () => {
  const id = '0190aaaabbbb7cccdddd000000000001';
  const { data } = await calendar.events.insert({ calendarId: 'primary', requestBody: event('10', { id, attendees: [{ email: 'bob@example.org' }] }) });
  assert.deepEqual([data.id, data.status, data.attendees[0].responseStatus], [id, 'confirmed', 'needsAction']);
  await refused(calendar.events.insert({ calendarId: 'primary', requestBody: event('11', { id }) }), 409, 'duplicate');
  assert.equal((await calendar.events.get({ calendarId: ADA, eventId: id })).data.summary, 'Zoë 💍');
  assert.deepEqual((await calendar.events.list({ calendarId: 'primary', timeMin: '2026-11-23T00:00:00Z', maxResults: 5 })).data.items.map((item) => item.id), [id]);
  assert.equal((await calendar.events.patch({ calendarId: 'primary', eventId: id, requestBody: { summary: 'Moved' } })).data.summary, 'Moved');
  assert.deepEqual((await calendar.events.update({ calendarId: 'primary', eventId: id, requestBody: { start: { date: '2026-11-24' }, end: { date: '2026-11-25' } } })).data.start, { date: '2026-11-24' });
  assert.equal((await calendar.events.delete({ calendarId: 'primary', eventId: id })).status, 204);
  await refused(calendar.events.delete({ calendarId: 'primary', eventId: id }), 410, 'deleted');
});

test('events: what is wrong has Google\'s reason', async () => {
  await refused(calendar.events.insert({ calendarId: 'primary', requestBody: { summary: 'no time' } }), 400, 'required');
  await refused(calendar.events.insert({ calendarId: 'primary', requestBody: { ...event('10'), end: event('09').start } }), 400, 'timeRangeEmpty');
  await refused(calendar.events.insert({ calendarId: 'unknown', requestBody: event('10') }), 404, 'notFound');
  await refused(calendar.calendars.get({ calendarId: 'primary' }), 403, 'insufficientPermissions');
});

test('freebusy', async () => {
  await calendar.events.insert({ calendarId: 'primary', requestBody: event('14') });
  const { data } = await calendar.freebusy.query({ requestBody: { timeMin: '2026-11-23T00:00:00Z', timeMax: '2026-11-24T00:00:00Z', items: [{ id: 'primary' }] } });
  assert.deepEqual(data.calendars.primary.busy, [{ start: '2026-11-23T13:00:00Z', end: '2026-11-23T13:45:00Z' }]);
});

test('revoked access opens nothing any more', async () => {
  await auth.revokeToken(auth.credentials.refresh_token);
  await assert.rejects(calendar.events.list({ calendarId: 'primary' }));
  await refused(auth.refreshAccessToken(), 400, 'invalid_grant');
});
