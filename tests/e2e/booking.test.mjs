// The booking flow of doc/google-calendar.md, as it stands there: free slots, the appointment, its event and its SMS.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { TOP } from '../../scripts/run.mjs';
import { Stack, until } from './stack.mjs';
import { API_ENV, Api } from './support/api.mjs';
import { GoogleCalendar } from './support/google.mjs';

const stack = new Stack('booking', { env: API_ENV });
let a;
let calendar;
let api;

// The document's SQL blocks, in their order.
const blocks = [...readFileSync(`${TOP}/doc/google-calendar.md`, 'utf8').matchAll(/^```sql\n([^]*?)^```$/gm)].map(([, sql]) => sql);

after(() => stack.end());
before(async () => {
  await stack.start();
  api = await new Api(stack).open();
  a = await stack.organization(1);
  calendar = await GoogleCalendar.connect(stack, a, 'ada');
});

const free = async (day) => {
  const { json } = await api.call(api.token(a), 'GET', `/api/organization/calendar/availability?date=${day}&duration=45`);
  return json.slots.map(({ start }) => start);
};

test('an appointment, its event and its SMS leave in one transaction', async () => {
  const [settings, table, booking] = blocks;
  await stack.db.query(settings.replaceAll(':org', `'${a.id}'`));
  await stack.db.query(table);
  assert.deepEqual((await free('2027-07-01')).slice(0, 2), ['2027-07-01T09:00:00+02:00', '2027-07-01T09:15:00+02:00']);
  const book = (start) => stack.db.query(booking.replaceAll(':org', `'${a.id}'`).replaceAll(':start', `'${start}'`));
  await book('2027-07-01T09:15:00+02:00');
  assert.deepEqual(await free('2027-07-01').then((slots) => slots[0]), '2027-07-01T10:00:00+02:00', 'it is taken at once');
  const message = await until('the SMS', async () => (await stack.simulator.messages())[0]);
  assert.equal(message.to, '+14155550142');
  assert.match(message.body, /^Hi Zoë Müller, see you on 2027-07-01 09:15\.$/);
  const event = await until('the event', async () => (await calendar.standing())[0]);
  assert.equal(event.summary, 'Check-up: Zoë Müller');
  assert.equal(Date.parse(event.start.dateTime), Date.parse('2027-07-01T09:15:00+02:00'));
  await assert.rejects(book('2027-07-01T09:30:00+02:00'), { code: '23P01' }, 'nobody books the same time twice');
  assert.equal((await stack.simulator.messages()).length, 1, 'and nothing leaves for what was refused');
  await stack.db.query(`UPDATE appointments SET during = '[2027-07-02 10:00+02,2027-07-02 10:45+02)'`);
  await until('the event to follow', async () => Date.parse((await calendar.standing())[0]?.start.dateTime) === Date.parse('2027-07-02T10:00:00+02:00'));
  await stack.db.query('DELETE FROM appointments');
  await until('the event to go', async () => (await calendar.standing()).length === 0);
});
