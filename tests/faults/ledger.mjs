// The books of a campaign, kept by both sides: what the database says of each message, and what the provider accepted.
//
// Messages with the same organization, number and text cannot be told apart by the provider, so they are counted as one group:
//   accepted >= sent             or one is lost
//   accepted <= sent + unknown   or one was sent twice, or although the database says that it failed

const SENT = ['sent', 'delivered', 'undelivered'];
const NOT_SENT = ['failed', 'cancelled', 'expired'];

// `log`: what the provider accepted, when it is known already.
export async function readLedger(arena, tag, log = arena.simulator.messages()) {
  const [messages, leads, accepted] = await Promise.all([
    arena.steadily((db) => db.rows(`
      SELECT id, org_id, to_number, body, status, provider_sid, error_code, attempts FROM byoc.sms_messages WHERE body LIKE $1`, [`${tag}%`])),
    arena.steadily((db) => db.rows('SELECT org_id, phone AS to_number, name AS body FROM leads WHERE name LIKE $1', [`${tag}%`])),
    log,
  ]);
  const organizationOf = new Map(arena.organizations.map(({ id, account }) => [account.sid, id]));
  const ledger = new Ledger(messages, leads, accepted.filter(({ body }) => body.startsWith(tag))
    .map((each) => ({ ...each, org_id: organizationOf.get(each.account_sid), to_number: each.to })));
  await ledger.readHistory(arena, tag);
  return ledger;
}

export class Ledger {
  problems = []; // { what, messages, accepted }
  history = new Map(); // message id -> events, of unknown messages and those with problems

  constructor(messages, leads, accepted) {
    Object.assign(this, { messages, leads, accepted });
    this.groups = groupsOf({ messages, leads, accepted });
    for (const group of this.groups.values()) this.#check(group);
    const sids = new Set();
    for (const message of messages.filter(({ provider_sid: sid }) => sid)) {
      if (sids.has(message.provider_sid)) this.#add('SID of two messages', { messages: [message] });
      sids.add(message.provider_sid);
    }
  }

  count(...states) { return this.messages.filter(({ status }) => states.includes(status)).length; }
  sum(what) { return this.problems.filter((problem) => problem.what === what).reduce((sum, { times = 1 }) => sum + times, 0); }

  async readHistory(arena, tag) {
    this.events = Object.fromEntries((await arena.steadily((db) => db.rows(`
      SELECT event, count(*)::int AS count FROM byoc.sms_events WHERE message_id IN (SELECT id FROM byoc.sms_messages WHERE body LIKE $1)
      GROUP BY event ORDER BY event`, [`${tag}%`]))).map(({ event, count }) => [event, count]));
    const wanted = new Set(this.problems.flatMap(({ messages = [] }) => messages.map(({ id }) => id)));
    const unknown = this.messages.filter(({ status }) => status === 'unknown');
    for (const { id } of unknown) wanted.add(id);
    const events = await arena.steadily((db) => db.rows(`
      SELECT message_id, at, event, attempt, http_status, error_code, error_message, provider_sid FROM byoc.sms_events
      WHERE message_id = ANY ($1::uuid[]) ORDER BY message_id, id`, [`{${[...wanted].join()}}`]));
    for (const event of events) this.history.set(event.message_id, [...(this.history.get(event.message_id) ?? []), event]);
    for (const message of unknown) {
      const reasons = (this.history.get(message.id) ?? []).filter(({ event, error_code: code, error_message: text }) => ['unknown', 'undecided'].includes(event) && (code || text));
      if (reasons.length === 0) this.#add('unknown without a reason', { messages: [message] });
    }
  }

  // Unknown messages of groups in which the provider accepted more than is surely sent: so many did arrive.
  get unknownAccepted() {
    let count = 0;
    for (const { messages, accepted } of this.groups.values()) {
      const sent = messages.filter(({ status }) => SENT.includes(status)).length;
      const unknown = messages.filter(({ status }) => status === 'unknown').length;
      count += Math.min(unknown, Math.max(0, accepted.length - sent));
    }
    return count;
  }

  #add(what, problem) { this.problems.push({ what, ...problem }); }

  #check({ messages, leads, accepted }) {
    const inState = (states) => messages.filter(({ status }) => states.includes(status));
    const sent = inState(SENT);
    const unknown = inState(['unknown']);
    const open = messages.filter(({ status }) => ![...SENT, ...NOT_SENT, 'unknown'].includes(status));
    const group = { messages, accepted };
    if (messages.length === 0 && accepted.length > 0) return this.#add('accepted, but not in the database', { ...group, times: accepted.length });
    if (messages.length < leads.length) this.#add('inserted, but no message', { ...group, times: leads.length - messages.length });
    if (open.length > 0) this.#add('not final', { ...group, times: open.length });
    if (accepted.length < sent.length) this.#add('lost', { ...group, times: sent.length - accepted.length });
    const most = sent.length + unknown.length;
    if (accepted.length > most && open.length === 0) {
      const what = accepted.length > messages.length || most > 0 ? 'sent twice' : 'accepted, but the database says no';
      this.#add(what, { ...group, times: accepted.length - most });
    }
    const sids = new Set(accepted.map(({ sid }) => sid));
    for (const message of sent.filter(({ provider_sid: sid }) => !sids.has(sid))) this.#add('SID that the provider does not know', { messages: [message], accepted });
    return undefined;
  }

  // The courses that messages with this problem took, the most frequent first.
  #courses(what) {
    const courses = new Map();
    for (const { id } of this.problems.filter((problem) => problem.what === what).flatMap(({ messages = [] }) => messages)) {
      const course = (this.history.get(id) ?? []).map(({ event, error_code: code }) => (code ? `${event} ${code}` : event)).join(' > ');
      courses.set(course, (courses.get(course) ?? 0) + 1);
    }
    return [...courses].sort(([, a], [, b]) => b - a).slice(0, 6).map(([course, count]) => `  ${count} x ${course}`);
  }

  // Lines for people.
  get summary() {
    const not = this.count(...NOT_SENT);
    const unknown = this.count('unknown');
    return [
      ['inserted', this.messages.length],
      ['  sent', this.count(...SENT)],
      ...NOT_SENT.map((state) => [`  ${state}`, this.count(state)]),
      ['  unknown', `${unknown} (${this.unknownAccepted} of them accepted)`],
      ['inserted - failed - cancelled - expired - unknown', this.messages.length - not - unknown],
      ['accepted by the provider, without unknown ones', this.accepted.length - this.unknownAccepted],
      ['lost', this.sum('lost') + this.sum('inserted, but no message') + this.sum('not final')],
      ['sent twice', this.sum('sent twice')],
      ['events', Object.entries(this.events).map(([event, count]) => `${count} ${event}`).join(', ')],
    ].map(([name, value]) => `  ${name.padEnd(52)}${value}`).join('\n');
  }

  // Every kind of problem with its count, and the first ones with all that is known of them.
  get report() {
    const kinds = [...new Set(this.problems.map(({ what }) => what))];
    const counts = kinds.flatMap((what) => [`${what}: ${this.sum(what)}`, ...this.#courses(what)]);
    const examples = kinds.flatMap((what) => this.problems.filter((problem) => problem.what === what).slice(0, 4)).flatMap(({ what, messages = [], accepted = [] }) => [
      `* ${what}`,
      ...messages.slice(0, 5).flatMap((message) => [
        `    ${message.id} "${message.body}" to ${message.to_number}: ${message.status} ${message.provider_sid ?? ''} ${message.error_code ?? ''}`,
        ...(this.history.get(message.id) ?? []).map((event) =>
          `      ${event.at} ${event.event}, attempt ${event.attempt} ${[event.http_status, event.error_code, event.error_message, event.provider_sid].filter(Boolean).join(' ')}`),
      ]),
      ...accepted.slice(0, 5).map(({ sid, received_at: at }) => `    accepted ${at} ${sid}`),
    ]);
    return [...counts, ...examples].join('\n');
  }
}

function groupsOf(lists) {
  const groups = new Map();
  for (const [name, list] of Object.entries(lists)) {
    for (const item of list) {
      const key = `${item.org_id} ${item.to_number} ${item.body}`;
      if (!groups.has(key)) groups.set(key, { messages: [], leads: [], accepted: [] });
      groups.get(key)[name].push(item);
    }
  }
  return groups;
}
