// Organizations with a Google Calendar at the simulator.

import { until } from '../stack.mjs';

const CLIENT = { client_id: 'app.example', client_secret: 'client-secret-1' };

export class GoogleCalendar {
  // Makes the simulator know a Google user, whose name tells them apart, and stores the connection as `organization`'s credential.
  static async connect(stack, organization, name, { verified = true } = {}) {
    const calendar = new GoogleCalendar();
    Object.assign(calendar, { stack, organization, email: `${name}@example.org` });
    const control = (topic, body) => stack.simulator.request('PUT', `/_simulator/google/${topic}`, body);
    await control('clients', { ...CLIENT, redirect_uris: ['https://app.example/callback'] });
    await control('users', { email: calendar.email, time_zone: 'Europe/Berlin' });
    const { refresh_token: refreshToken } = await stack.simulator.request('POST', '/_simulator/google/grants', { email: calendar.email, client_id: CLIENT.client_id });
    calendar.credential = await stack.db.value('SELECT byoc.add_credential($1, $2, org_id => $3)', [
      'google_calendar', { ...CLIENT, refresh_token: refreshToken, calendar_id: calendar.email }, organization.id,
    ]);
    if (verified) await stack.verified(calendar);
    return calendar;
  }

  // All events that the calendar ever had, cancelled ones too.
  events() { return this.stack.simulator.request('GET', `/_simulator/google/events?calendar_id=${encodeURIComponent(this.email)}`); }

  // Events as they stand: { summary, start } by id.
  async standing() { return (await this.events()).filter(({ status }) => status !== 'cancelled'); }

  // Inserts into byoc.calendar_events; answers the id.
  add(event) {
    const names = ['org_id', ...Object.keys(event)];
    const values = [this.organization.id, ...Object.values(event)];
    return this.stack.db.value(`INSERT INTO byoc.calendar_events (${names.join(', ')}) VALUES (${names.map((_, i) => `$${i + 1}`).join(', ')}) RETURNING id`, values);
  }

  async event(id) { return (await this.stack.db.rows('SELECT * FROM byoc.calendar_events WHERE id = $1', [id]))[0]; }

  // Waits until the event has one of the states; answers it.
  settled(id, ...states) {
    return until(`event ${id} to be ${states.join(' or ')}`, async () => {
      const event = await this.event(id);
      return states.includes(event?.status) && event;
    });
  }
}

// How often each kind of request came to which answer: { "insert 200": 2 }.
export const requests = (stack) => stack.simulator.request('GET', '/_simulator/google/requests');
