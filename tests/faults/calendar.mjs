// The books of a campaign with calendar events: rows of a table, and what stands in each organization's calendar at the provider.

import { GoogleCalendar } from '../e2e/support/google.mjs';

export const VISITS = `
  CREATE TABLE visits (id uuid PRIMARY KEY, org_id uuid, title text, starts_at timestamptz);
  SELECT byoc.create_calendar_trigger('visits', '{{title}}', 'starts_at')`;

// Connects each organization of the arena.
export async function connectCalendars(arena) {
  arena.calendars = [];
  for (const [i, organization] of arena.organizations.entries()) {
    const calendar = await GoogleCalendar.connect(arena, organization, `user${i}`, { verified: false });
    await arena.db.query(`SELECT byoc.record_verification($1, $2, 1, 'verified', NULL)`, [organization.id, calendar.credential]);
    arena.calendars.push(calendar);
  }
  await arena.db.query(VISITS);
}

// Rows inserted in batches; some change, some change again and again, some go. Each statement may be made twice without harm.
class Load {
  inserted = 0;
  #known = [];

  constructor(arena, tag, random) { Object.assign(this, { arena, tag, random }); }

  async insert(count) {
    const organization = this.random.pick(this.arena.organizations);
    const rows = Array.from({ length: count }, () => this.#row());
    await this.#run('INSERT INTO visits SELECT v.id, $1, v.title, now() FROM jsonb_to_recordset($2) AS v (id uuid, title text) ON CONFLICT DO NOTHING', [organization.id, rows]);
    this.#known.push(...rows.map(({ id }) => id));
    for (let i = this.random.whole(0, 3); i > 0; --i) {
      const changed = this.#some(0.2);
      await this.#run('UPDATE visits SET title = split_part(title, $1, 1) || $1 || $2 WHERE id = ANY ($3::uuid[])', [' #', this.random.whole(1, 1e6), changed]);
    }
    await this.#run('DELETE FROM visits WHERE id = ANY ($1::uuid[])', [this.#some(0.05)]);
  }

  async settle() {}

  #run(sql, params) { return this.arena.steadily((db) => db.query(sql, params)); }
  #some(share) { return `{${this.#known.slice(-200).filter(() => this.random.fraction() < share).join()}}`; }
  #row() {
    const id = Array.from({ length: 4 }, () => this.random.whole(0, 2 ** 32 - 1).toString(16).padStart(8, '0')).join('');
    return { id, title: `${this.tag}visit ${this.inserted++} #0` };
  }
}

async function read(arena, tag) {
  const [visits, events] = await Promise.all([
    arena.steadily((db) => db.rows('SELECT org_id, title FROM visits WHERE title LIKE $1', [`${tag}%`])),
    arena.steadily((db) => db.rows('SELECT id, org_id, summary, status, error_message FROM byoc.calendar_events WHERE summary LIKE $1', [`${tag}%`])),
  ]);
  const standing = [];
  for (const calendar of arena.calendars)
    standing.push(...(await calendar.standing()).filter(({ summary }) => summary?.startsWith(tag)).map((event) => ({ ...event, org_id: calendar.organization.id })));
  return new Ledger(visits, events, standing);
}

const name = ({ org_id: organization, title, summary }) => `${organization} ${title ?? summary}`;

class Ledger {
  problems = [];
  events = {};

  constructor(visits, messages, standing) {
    Object.assign(this, { visits, messages, standing });
    const wanted = new Set(visits.map(name));
    const seen = new Set();
    for (const event of standing) {
      if (!wanted.has(name(event))) this.problems.push(`in the calendar, and no row says it: ${name(event)}`);
      if (seen.has(name(event))) this.problems.push(`twice in the calendar: ${name(event)}`);
      seen.add(name(event));
    }
    for (const one of wanted) if (!seen.has(one)) this.problems.push(`not in the calendar: ${one}`);
    const confirmed = new Set(messages.filter(({ status }) => status === 'confirmed').map(name));
    for (const one of wanted) if (!confirmed.has(one)) this.problems.push(`not confirmed: ${one}`);
    for (const { id, status, error_message: reason } of messages)
      if (!['confirmed', 'cancelled'].includes(status)) this.problems.push(`event ${id} is ${status}: ${reason}`);
  }

  get report() { return this.problems.join('\n'); }
  get summary() {
    const count = (pattern) => this.problems.filter((problem) => pattern.test(problem)).length;
    return `events: ${this.messages.length}, rows at the end: ${this.visits.length}, in the calendars: ${this.standing.length}, `
      + `lost: ${count(/^not in/)}, doubled: ${count(/^twice|^in the/)}`;
  }
}

export const CALENDAR = {
  Load, read,
  unfinished: (arena) => arena.steadily((db) => db.value('SELECT count(*)::int FROM byoc.calls WHERE due_at IS NOT NULL')),
};
