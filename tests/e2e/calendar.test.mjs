// Calendar events in a calendar at the simulator: written, changed, taken away, each once; and when it is free.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Stack, until } from './stack.mjs';
import { API_ENV, Api } from './support/api.mjs';
import { GoogleCalendar, requests } from './support/google.mjs';

const stack = new Stack('calendar', { env: API_ENV });
let api;
let a;
let calendar;

after(() => stack.end());
before(async () => {
  await stack.start();
  api = await new Api(stack).open();
  a = await stack.organization(1);
  calendar = await GoogleCalendar.connect(stack, a, 'ada');
});

const at = (hour, day = '2027-07-01') => `${day} ${hour}+02`;
const visit = (more = {}) => ({ summary: 'Visit', starts_at: at('10:00'), ends_at: at('10:45'), time_zone: 'Europe/Berlin', ...more });
const inCalendar = async (id) => (await calendar.events()).find((event) => event.id === id);
const fault = (rule) => stack.faults([{ ...rule, match: { path: '/calendar/v3/', ...rule.match } }]);
const noFaults = () => stack.faults([]);

test('an event comes to the calendar, changes there and goes', async () => {
  const id = await calendar.add(visit({ attendees: '{max@example.org}', location: 'Room 2', recurrence: '{RRULE:FREQ=WEEKLY;COUNT=3}' }));
  const event = await calendar.settled(id, 'confirmed', 'failed');
  assert.deepEqual([event.status, event.error_message], ['confirmed', null]);
  const stands = await inCalendar(event.provider_event_id);
  assert.deepEqual([stands.summary, stands.location, stands.attendees[0].email, stands.recurrence], ['Visit', 'Room 2', 'max@example.org', ['RRULE:FREQ=WEEKLY;COUNT=3']]);
  assert.equal(Date.parse(stands.start.dateTime), Date.parse('2027-07-01T08:00:00Z'));
  assert.equal(stands.start.timeZone, 'Europe/Berlin');
  assert.match(event.html_link, /^http/);
  await stack.db.query('UPDATE byoc.calendar_events SET summary = $1, location = NULL WHERE id = $2', ['Moved', id]);
  await calendar.settled(id, 'confirmed');
  const changed = await inCalendar(event.provider_event_id);
  assert.deepEqual([changed.summary, changed.location], ['Moved', undefined]);
  await stack.db.query('DELETE FROM byoc.calendar_events WHERE id = $1', [id]);
  await calendar.settled(id, 'cancelled');
  assert.equal((await inCalendar(event.provider_event_id)).status, 'cancelled');
  assert.equal((await calendar.events()).length, 1);
});

test('whole days', async () => {
  const id = await calendar.add({ summary: 'Holidays', starts_on: '2027-12-24', ends_on: '2027-12-26' });
  const { provider_event_id: eventId } = await calendar.settled(id, 'confirmed');
  const stands = await inCalendar(eventId);
  assert.deepEqual([stands.start.date, stands.end.date], ['2027-12-24', '2027-12-27']);
});

test('a committed event is written within moments, not at the next poll', async () => {
  const began = performance.now();
  for (let i = 0; i < 20; ++i) await calendar.settled(await calendar.add(visit({ summary: `Quick ${i}` })), 'confirmed');
  // Waiting for polls would take twenty intervals of a second.
  assert.ok(performance.now() - began < 15_000);
});

test('an answer that is lost doubles nothing', async () => {
  await fault({ action: 'reset_after', count: 1, match: { method: 'POST' } });
  const id = await calendar.add(visit({ summary: 'Lost answer' }));
  await calendar.settled(id, 'confirmed');
  await noFaults();
  assert.equal((await calendar.standing()).filter(({ summary }) => summary === 'Lost answer').length, 1);
  assert.ok((await requests(stack))['insert 409'] >= 1, 'the second insert met the first');
});

test('a byocd that dies in the middle doubles nothing, and what changed meanwhile comes after it', async () => {
  await stack.faults([{ action: 'hold', match: { path: '/calendar/v3/', method: 'POST' } }]);
  const id = await calendar.add(visit({ summary: 'Before the crash' }));
  await stack.unanswered(1);
  await stack.byocd.program.stop('SIGKILL');
  await stack.db.query('UPDATE byoc.calendar_events SET summary = $1 WHERE id = $2', ['After the crash', id]);
  await noFaults();
  await stack.startByocd();
  await stack.db.query('UPDATE byoc.calls SET due_at = now() WHERE claim_id IS NOT NULL'); // as if its lease had run out
  const { provider_event_id: eventId } = await calendar.settled(id, 'confirmed');
  assert.equal((await inCalendar(eventId)).summary, 'After the crash');
  assert.equal((await calendar.standing()).filter(({ summary }) => /the crash/.test(summary)).length, 1);
});

test('what a person deleted in the calendar comes back with the next change', async () => {
  const id = await calendar.add(visit({ summary: 'Deleted by hand' }));
  const { provider_event_id: eventId } = await calendar.settled(id, 'confirmed');
  await stack.simulator.request('DELETE', '/_simulator/google/events');
  await stack.db.query('UPDATE byoc.calendar_events SET summary = $1 WHERE id = $2', ['Back again', id]);
  await calendar.settled(id, 'confirmed');
  assert.equal((await inCalendar(eventId)).summary, 'Back again');
});

test('quota errors make one credential wait, and no other', async () => {
  const b = await stack.organization(2);
  const other = await GoogleCalendar.connect(stack, b, 'bob');
  await stack.faults([{ action: 'status', status: 403, match: { path: `/calendar/v3/calendars/${encodeURIComponent(calendar.email)}/` } }]);
  const id = await calendar.add(visit({ summary: 'Too many' }));
  await until('the pause', () => stack.db.value('SELECT count(*) > 0 FROM byoc.call_breakers WHERE org_id = $1', [a.id]));
  await other.settled(await other.add(visit()), 'confirmed');
  assert.equal((await calendar.event(id)).status, 'pending');
  await noFaults();
  await calendar.settled(id, 'confirmed');
});

test('an access token that ended is renewed, once for all', async () => {
  await stack.simulator.request('DELETE', '/_simulator/google/access_tokens');
  const before = await requests(stack);
  const ids = await Promise.all(Array.from({ length: 10 }, (_, i) => calendar.add(visit({ summary: `Renewed ${i}` }))));
  for (const id of ids) await calendar.settled(id, 'confirmed');
  const refreshes = (all) => Object.entries(all).filter(([name]) => /refresh/.test(name)).reduce((sum, [, count]) => sum + count, 0);
  assert.ok(refreshes(await requests(stack)) - refreshes(before) <= 2, JSON.stringify([before, await requests(stack)]));
});

test('an event that Google refuses fails with its words', async () => {
  await fault({ action: 'status', status: 400, count: 1, body: JSON.stringify({ error: { code: 400, message: 'Invalid attendee email.', errors: [{ reason: 'invalid', message: 'Invalid attendee email.' }] } }) });
  const id = await calendar.add(visit({ summary: 'Refused' }));
  const event = await calendar.settled(id, 'failed');
  assert.deepEqual([event.error_code, event.error_message], ['invalid', 'Invalid attendee email.']);
  await noFaults();
});

test('free slots of a day, from working hours and the calendar', async () => {
  await stack.simulator.request('DELETE', '/_simulator/google/events');
  await stack.db.query('UPDATE byoc.organizations SET settings = $1 WHERE id = $2',
    [{ time_zone: 'Europe/Berlin', working_hours: { thu: ['09:00-12:00'], sun: ['01:00-05:00'] } }, a.id]);
  await calendar.settled(await calendar.add(visit({ summary: 'Taken' })), 'confirmed');
  const slots = async (query) => (await api.call(api.token(a, { org_role: 'member' }), 'GET', `/api/organization/calendar/availability?${query}`));
  const day = await slots('date=2027-07-01&duration=45');
  assert.equal(day.status, 200, day.text);
  assert.deepEqual(day.json, { date: '2027-07-01', duration: 45, time_zone: 'Europe/Berlin', slots: [
    { start: '2027-07-01T09:00:00+02:00', end: '2027-07-01T09:45:00+02:00' }, { start: '2027-07-01T11:15:00+02:00', end: '2027-07-01T12:00:00+02:00' },
  ] });
  // The clocks go forward from 2 to 3: an hour less, and another offset.
  const spring = await slots('date=2027-03-28&duration=60');
  assert.deepEqual(spring.json.slots.map(({ start }) => start), ['2027-03-28T01:00:00+01:00', '2027-03-28T03:00:00+02:00', '2027-03-28T04:00:00+02:00']);
  assert.equal((await slots('date=2027-02-30')).status, 422);
  assert.equal((await slots('date=2027-07-01&duration=2')).status, 422);
  assert.equal((await slots('duration=30')).status, 422);
  await fault({ action: 'status', status: 503, count: 1 });
  assert.equal((await slots('date=2027-07-01')).status, 503);
  await noFaults();
});

test('a Google that hangs keeps nobody else waiting', async () => {
  await stack.faults([{ action: 'timeout', match: { path: '/calendar/v3/freeBusy' } }]);
  const waiting = api.call(api.token(a), 'GET', '/api/organization/calendar/availability?date=2027-07-01');
  await stack.unanswered(1);
  const sms = await stack.send(a, '+15550001234', 'Meanwhile');
  await stack.settled(sms, ['sent', 'delivered']);
  assert.equal((await waiting).status, 503);
  await noFaults();
});

test('without a calendar, and with one that is not connected any more', async () => {
  const c = await stack.organization(3);
  const ask = () => api.call(api.token(c), 'GET', '/api/organization/calendar/availability?date=2027-07-01');
  assert.equal((await ask()).status, 409);
  const ended = await GoogleCalendar.connect(stack, c, 'cleo');
  await stack.simulator.request('DELETE', '/_simulator/google/grants');
  const id = await ended.add(visit());
  await stack.verified(ended, 'failed');
  const event = await ended.event(id);
  assert.equal(event.status, 'pending');
  assert.match(event.waiting_reason, /credential failed.*Connect Google Calendar again/);
  const answer = await ask();
  assert.equal(answer.status, 409);
  assert.match(answer.json.detail, /Connect Google Calendar again/);
});
