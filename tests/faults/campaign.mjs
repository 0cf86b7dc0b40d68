// A campaign: load, and faults in an order that a seed gives, then quiet, then the books of both sides.
// The seed repeats what happens and what is sent; how it interleaves with the programs under test is never the same twice.

import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import { readLedger } from './ledger.mjs';
import { Load } from './load.mjs';
import { noFaults } from './provider_faults.mjs';
import { Random } from './random.mjs';
import { STEPS } from './steps.mjs';

// What is fed in and counted at the end; the same for other jobs than messages is in calendar.mjs.
const MESSAGES = { Load, read: readLedger, unfinished: (arena, tag) => arena.unfinished(tag) };

const MOST_WAITING = 600; // messages not final: enough that every sidecar is in the middle of its work when it is hit

export class Campaign {
  exits = []; // of sidecars that were ended by SIGTERM
  #beside = new Set();
  #busy = new Set();

  // `name` tells messages apart; `steps`: how many of each of STEPS; `knobs`: settings of the simulator, by topic; `books`: as MESSAGES.
  constructor(arena, name, { seed, messages, steps, sidecars = 3, identical = false, knobs = {}, books = MESSAGES }) {
    Object.assign(this, { arena, name, seed, messages, steps, knobs, books, tag: `${name}, ` });
    this.random = new Random(seed);
    this.load = new books.Load(arena, this.tag, new Random(seed + 1), { identical });
    this.sidecars = arena.recruit(sidecars);
  }

  // Answers the ledger, all steps done and everything final.
  async run() {
    this.began = performance.now();
    const order = this.random.shuffle(Object.entries(this.steps).flatMap(([kind, count]) => Array(count).fill(kind)));
    if (this.steps.faults > 0) order.unshift('faults'); // from the start
    const draws = order.map(() => new Random(this.random.whole(1, 2 ** 31)));
    // Slow enough that a sidecar that is hit has requests in flight.
    await this.#setProvider({ latency: { ms: 30, jitter_ms: 150, seed: this.seed }, ...this.knobs });
    const before = await this.#providerFaults();
    for (const sidecar of this.sidecars) {
      if (sidecar.running) await sidecar.stop('SIGKILL'); // left over by a campaign that failed
      sidecar.ownClock(this.steps.clock > 0);
      await sidecar.start();
    }
    for (const [i, kind] of order.entries()) {
      await this.#feed(Math.round((this.messages * (i + 1)) / order.length));
      await delay(draws[i].whole(0, 200));
      await STEPS[kind](this, draws[i]);
      this.#progress(i + 1, order.length);
    }
    await Promise.all(this.#beside);
    await this.load.settle();
    this.faults = Object.fromEntries(Object.entries(await this.#providerFaults()).map(([action, count]) => [action, count - (before[action] ?? 0)]));
    await this.#setProvider(this.knobs);
    for (const sidecar of this.sidecars.filter(({ running }) => !running)) await sidecar.start();
    // A list that cannot tell is read five times, and the later the longer after the attempt.
    await this.arena.drain(() => this.#unfinished(), 300_000 + this.messages * 4);
    this.ledger = await this.books.read(this.arena, this.tag);
    return this.ledger;
  }

  // Nothing is lost or doubled, and nothing ended by itself. On failure logs are kept and the message says what is known.
  verify() {
    const { ledger } = this;
    this.#say(`${Math.round((performance.now() - this.began) / 1000)} s, seed ${this.seed}: ${list(this.steps)}; provider faults: ${list(this.faults)}`);
    console.log(ledger.summary);
    const problems = [...this.arena.crashes.splice(0), ...this.arena.serverErrors(), ...(ledger.problems.length > 0 ? [ledger.report] : [])];
    if (ledger.messages.length < this.load.inserted) problems.push(`the database has ${ledger.messages.length} of ${this.load.inserted} messages that were committed`);
    if (problems.length === 0) return;
    const logs = this.arena.keepLogs(`${this.name.replaceAll(/\W+/g, '-')}-${this.seed}`);
    assert.fail(`${problems.join('\n')}\nlogs: ${logs}; again with SEED=${this.seed}`);
  }

  // Runs `work`, whatever it takes, beside the next steps.
  beside(work) {
    const done = work().catch((error) => this.arena.crashes.push(error.stack)).finally(() => this.#beside.delete(done));
    this.#beside.add(done);
  }

  // The same with a sidecar that nothing else is being done to.
  async withSidecar(random, work) {
    const wanted = random.whole(0, this.sidecars.length - 1);
    let sidecar;
    while (!sidecar) {
      sidecar = this.sidecars.map((_, i) => this.sidecars[(wanted + i) % this.sidecars.length]).find((each) => !this.#busy.has(each));
      if (!sidecar) await Promise.race(this.#beside);
    }
    this.#busy.add(sidecar);
    this.beside(() => work(sidecar).finally(() => this.#busy.delete(sidecar)));
  }

  // Inserts until there are so many, as long as the sidecars keep up; they may all be down for a while.
  async #feed(total) {
    const patience = performance.now() + 10_000;
    while (this.load.inserted < total) {
      while (await this.#unfinished() > MOST_WAITING && performance.now() < patience) await delay(100);
      await this.load.insert(Math.min(this.random.whole(1, 100), total - this.load.inserted));
    }
  }

  #unfinished() { return this.books.unfinished(this.arena, this.tag); }

  async #setProvider(knobs) {
    await noFaults(this.arena);
    for (const [topic, settings] of Object.entries(knobs)) await this.arena.simulator.request('PUT', `/_simulator/${topic}`, settings);
  }

  async #providerFaults() { return (await this.arena.simulator.request('GET', '/_simulator/stats')).faults; }

  #progress(step, steps) {
    const now = performance.now();
    if (step < steps && now - (this.spoke ?? this.began) < 5000) return;
    this.spoke = now;
    this.#say(`step ${step} of ${steps}, ${this.load.inserted} messages inserted`);
  }

  #say(text) { console.log(`${this.name}: ${text}`); }
}

function list(counts) { return Object.entries(counts).filter(([, count]) => count > 0).map(([name, count]) => `${count} ${name}`).join(', ') || 'none'; }
