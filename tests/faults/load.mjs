// An application under load: rows inserted in batches, messages sent, scheduled, cancelled and given an expiry.

import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { PostgresError } from '../../scripts/postgres.mjs';

// Twilio's magic number for an invalid recipient: the provider refuses it in every account.
const REFUSED = '+15005550001';

export class Load {
  inserted = 0;
  #cancelling = [];

  // `identical`: all messages have the same text and go to few numbers.
  constructor(arena, tag, random, { identical = false } = {}) {
    Object.assign(this, { arena, tag, random, identical });
  }

  // A batch of rows in one transaction, for one organization. Its trigger makes the messages.
  async insert(count) {
    const organization = this.random.pick(this.arena.organizations);
    const phones = Array.from({ length: count }, () => this.#phone());
    const names = phones.map(() => this.#body('row'));
    const batch = randomUUID();
    await this.arena.steadily(async (db) => {
      // A commit whose answer was lost is not made again.
      if (await db.value('SELECT count(*)::int FROM leads WHERE summary = $1', [batch]) > 0) return;
      await db.query(`
        INSERT INTO leads (org_id, name, phone, summary)
        SELECT $1, name, phone, $2 FROM jsonb_to_recordset($3) AS t (name text, phone text)`,
      [organization.id, batch, phones.map((phone, i) => ({ name: names[i], phone }))]);
    });
    this.inserted += count;
    if (!this.identical) await this.#unusual(organization);
  }

  #phone() {
    if (this.identical) return `+1555000000${this.random.whole(1, 4)}`;
    return this.random.fraction() < 0.01 ? REFUSED : `+1555${this.random.whole(1_000_000, 1_000_999)}`;
  }

  #body(kind) { return this.identical ? this.tag : `${this.tag}${kind} ${this.inserted} ${this.random.whole(0, 1e9)}`; }

  // Messages that may end otherwise: for the provider's side it matters only that it agrees with the database.
  async #unusual(organization) {
    const milliseconds = this.random.whole(200, 2000);
    const kind = this.random.pick(['scheduled', 'expiring', 'cancelled']);
    const send = (what) => this.arena.steadily((db) => db.value(
      `SELECT byoc.send_sms($1, $2, org_id => $3, ${what} => now() + $4::int * interval '1 millisecond')`,
      [this.#phone(), this.#body(kind), organization.id, milliseconds]));
    const id = await send(kind === 'expiring' ? 'expires_at' : 'send_at');
    this.inserted += 1;
    if (kind !== 'cancelled') return;
    this.#cancelling.push(this.#cancel(id, this.random.whole(0, 2 * milliseconds)));
  }

  async #cancel(id, after) {
    await delay(after);
    await this.arena.steadily((db) => db.query('SELECT byoc.cancel_sms($1)', [id]).catch((error) => {
      if (!(error instanceof PostgresError && error.code === '55000')) throw error; // too late: it is being sent
    }));
  }

  // Waits for what was begun.
  async settle() { await Promise.all(this.#cancelling); }
}
