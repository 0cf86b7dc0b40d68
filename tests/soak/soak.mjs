// Hours under load, every part restarted in turn. The books are kept in chapters, so that what is finished can be pruned, as in real life.

import { execFile } from 'node:child_process';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { TOP, until } from '../../scripts/run.mjs';
import { PgBouncer } from '../e2e/support/pgbouncer.mjs';
import { Arena } from '../faults/arena.mjs';
import { readLedger } from '../faults/ledger.mjs';
import { Load } from '../faults/load.mjs';
import { Random } from '../faults/random.mjs';
import { Samples } from './samples.mjs';

const execute = promisify(execFile);
const PARTS = ['byocd', 'postgres', 'network', 'pgbouncer'];
const BATCH = 100;

// Settings as shipped; all that need no session of their own go through PgBouncer.
export class SoakArena extends Arena {
  async start() {
    this.settings = { max_wal_size: '256MB', autovacuum_naptime: '15s' };
    await super.start(20, { patient: true });
    await this.db.query(`INSERT INTO byoc.sender_limits (sender, segments_per_second) VALUES ('long_code', NULL)`);
    this.pool = { database: 'e2e', user: 'byocd', mode: 'transaction' };
    await this.startPooler();
    this.environment = {
      ...this.cluster.environment('e2e', 'byocd'),
      BYOC_POOLED_DATABASE_URL: `host=${this.bouncer.env.PGHOST} port=${this.bouncer.env.PGPORT} dbname=e2e user=byocd`,
    };
    for (const sidecar of this.recruit(2)) await sidecar.start();
  }

  async startPooler() {
    this.bouncer = await PgBouncer.start(this.run, this.cluster, this.pool);
    this.pool.port = Number(this.bouncer.env.PGPORT); // the next one takes its place
  }

  async end() {
    await super.end();
    await this.bouncer?.program.stop('SIGKILL'); // asked to stop it would wait for transactions to end
  }
}

export class Soak {
  samples = new Samples();
  totals = { inserted: 0, sent: 0, 'failed, cancelled, expired': 0, unknown: 0, accepted: 0, lost: 0, 'sent twice': 0 };
  restarts = Object.fromEntries(PARTS.map((part) => [part, 0]));
  problems = []; // sentences
  #accepted = new Map(); // tag -> { count, list } (list: until the chapter is closed)
  #index = 0; // of the simulator's next message

  constructor(arena, { minutes, rate, seed }) {
    Object.assign(this, { arena, rate, random: new Random(seed), seconds: minutes * 60 });
    this.round = Math.min(600, this.seconds / 4); // each part is restarted once in so many seconds
    this.chapter = Math.max(15, this.seconds / 16);
    this.steady = arena.sidecars[1]; // the other one is restarted
  }

  get elapsed() { return (performance.now() - this.began) / 1000; }

  async run() {
    this.began = performance.now();
    let closing = Promise.resolve(); // one after the other: to prune a chapter takes what is before it too
    const restarting = this.#restartInTurn();
    const sampling = this.#sample();
    for (let number = 1; this.elapsed < this.seconds; ++number) {
      const chapter = await this.#feed(`soak ${number}, `);
      closing = closing.then(() => this.#close(chapter));
    }
    await Promise.all([restarting, sampling, closing]);
    await this.#readAccepted();
    for (const [tag, { count, list, closed }] of this.#accepted) {
      if (count !== closed) this.problems.push(`${count - (closed ?? 0)} of '${tag}' were accepted after all were final, or are unheard of: ${JSON.stringify(list?.slice(0, 3))}`);
    }
    this.problems.push(...this.arena.crashes.splice(0), ...this.arena.serverErrors());
  }

  async #feed(tag) {
    const load = new Load(this.arena, tag, this.random);
    const [began, before] = [performance.now(), this.elapsed];
    while (this.elapsed < Math.min(this.seconds, before + this.chapter)) {
      const due = Math.floor(this.rate * (performance.now() - began) / 1000) - load.inserted;
      if (due > 1) await load.insert(Math.min(due - 1, BATCH));
      else await delay(100);
    }
    await load.settle();
    return { tag, load, ended: performance.now() };
  }

  // Compares both sides once everything of a chapter is final, and prunes it.
  async #close({ tag, load, ended }) {
    await until(`all of '${tag}' to be final`, async () => {
      await delay(5000);
      return (await this.arena.unfinished(tag)) === 0;
    }, { timeout: 600_000 }).catch((error) => this.problems.push(error.message));
    await this.#readAccepted();
    const accepted = this.#accepted.get(tag) ?? { count: 0, list: [] };
    const ledger = await readLedger(this.arena, tag, accepted.list);
    accepted.closed = accepted.count;
    accepted.list = null;
    if (ledger.problems.length > 0) this.problems.push(ledger.report);
    if (ledger.messages.length < load.inserted) this.problems.push(`the database has ${ledger.messages.length} of ${load.inserted} messages of '${tag}' that were committed`);
    const add = (name, count) => { this.totals[name] += count; };
    add('inserted', ledger.messages.length);
    add('sent', ledger.count('sent', 'delivered', 'undelivered'));
    add('failed, cancelled, expired', ledger.count('failed', 'cancelled', 'expired'));
    add('unknown', ledger.count('unknown'));
    add('accepted', ledger.accepted.length);
    add('lost', ledger.sum('lost') + ledger.sum('inserted, but no message') + ledger.sum('not final'));
    add('sent twice', ledger.sum('sent twice'));
    await this.arena.steadily(async (db) => {
      await db.query('DELETE FROM leads WHERE name LIKE $1', [`${tag}%`]);
      while (await db.value('SELECT byoc.prune(make_interval(secs => $1))', [(performance.now() - ended) / 1000]) > 0);
    });
  }

  async #readAccepted() {
    this.reading = (this.reading ?? Promise.resolve()).then(async () => {
      for (let messages; messages === undefined || messages.length > 0;) {
        messages = await this.arena.simulator.messages(`?since=${this.#index}&limit=10000`);
        for (const message of messages) {
          const tag = /^soak \d+, /.exec(message.body)?.[0];
          if (!this.#accepted.has(tag)) this.#accepted.set(tag, { count: 0, list: [] });
          const known = this.#accepted.get(tag);
          known.count += 1;
          known.list?.push(message);
          this.#index = message.index + 1;
        }
      }
    });
    return this.reading;
  }

  async #sample() {
    const interval = Math.max(2, this.seconds / 120);
    while (this.elapsed < this.seconds) {
      await this.arena.steadily((db) => this.samples.take(db, this.steady.pid, this.elapsed));
      await delay(interval * 1000);
    }
  }

  async #restartInTurn() {
    for (let turn = 0; ; ++turn) {
      await delay(this.round / PARTS.length * 1000);
      if (this.elapsed >= this.seconds) return;
      const part = PARTS[turn % PARTS.length];
      await this.#restart(part);
      this.restarts[part] += 1;
      console.log(`minute ${(this.elapsed / 60).toFixed(1)}: ${part} restarted`);
    }
  }

  async #restart(part) {
    const { arena } = this;
    const [sidecar] = arena.sidecars;
    switch (part) {
      case 'byocd':
        await sidecar.stop(this.random.pick(['SIGTERM', 'SIGKILL']));
        return sidecar.start();
      case 'postgres': return execute(`${TOP}/scripts/cluster`, ['restart', arena.cluster.folder, 'fast']);
      case 'pgbouncer':
        await arena.bouncer.stop();
        return arena.startPooler();
      default: // between byocd and provider, and of one byocd to the server
        arena.provider.refuse();
        arena.provider.cut();
        sidecar.cable.cut();
        await delay(3000);
        return arena.provider.heal();
    }
  }

  get summary() {
    return [...Object.entries(this.totals), ...Object.entries(this.restarts).map(([part, count]) => [`${part} restarted`, count])]
      .map(([name, value]) => `  ${name.padEnd(30)}${value}`).join('\n');
  }
}
