// What must not grow, sampled over time.

import { readFileSync } from 'node:fs';

const MB = 2 ** 20;

// What is sampled, and by how much more its mean in the last quarter may be than in the second one: a share, and an amount.
const FIGURES = {
  'byocd, MB': { share: 0.1, amount: 8 },
  connections: { share: 0, amount: 2 },
  'WAL, MB': { share: 0.1, amount: 48 },
  'tables, MB': { share: 0.15, amount: 24 },
};

export class Samples {
  rows = []; // { seconds, waiting, and each figure }

  // `pid`: of a byocd that is never restarted.
  async take(db, pid, seconds) {
    const [figures] = await db.rows(`
      SELECT (SELECT count(*)::int FROM pg_stat_activity WHERE backend_type = 'client backend') AS connections,
             (SELECT sum(size)::float8 FROM pg_ls_waldir()) / ${MB} AS "WAL, MB",
             (SELECT sum(pg_total_relation_size(oid))::float8 FROM pg_class
              WHERE relkind = 'r' AND relnamespace IN ('byoc'::regnamespace, 'public'::regnamespace)) / ${MB} AS "tables, MB",
             (SELECT count(*)::int FROM byoc.sms_messages WHERE status IN ('queued', 'sending')) AS waiting`);
    const resident = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
    this.rows.push({ seconds, 'byocd, MB': Number(resident[1]) / 1024, ...figures });
  }

  #mean(name, quarter) {
    const some = this.rows.slice(Math.floor(this.rows.length * quarter / 4), Math.ceil(this.rows.length * (quarter + 1) / 4));
    return some.reduce((sum, row) => sum + row[name], 0) / some.length;
  }

  // A line for each of about `lines` moments, then the means.
  table(lines = 24) {
    const names = [...Object.keys(FIGURES), 'waiting'];
    const line = (first, values) => [first.padEnd(16), ...values.map((value, i) => String(value).padStart(names[i].length + 3))].join('');
    const step = Math.max(1, Math.round(this.rows.length / lines));
    return [
      line('minute', names),
      ...this.rows.filter((_, i) => i % step === 0).map((row) => line((row.seconds / 60).toFixed(1), names.map((name) => Math.round(row[name])))),
      ...['second', 'last'].map((which, i) => line(`${which} quarter`, names.map((name) => this.#mean(name, i ? 3 : 1).toFixed(1)))),
    ].join('\n');
  }

  // Sentences: what has grown.
  get grown() {
    return Object.entries(FIGURES).flatMap(([name, { share, amount }]) => {
      const [then, now] = [this.#mean(name, 1), this.#mean(name, 3)];
      return now > then * (1 + share) + amount ? [`${name} grew from ${then.toFixed(1)} in the second quarter to ${now.toFixed(1)} in the last`] : [];
    });
  }
}
