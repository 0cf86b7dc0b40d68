// One place where a byocd runs, again and again, with its own cable to the database and its own host clock.

import { existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { until } from '../../scripts/run.mjs';
import { BYOCD } from '../../scripts/stack.mjs';
import { Proxy } from './proxy.mjs';

// From Debian's package faketime: the clock of one process, and only that.
const LIBFAKETIME = ['x86_64', 'aarch64'].map((machine) => `/usr/lib/${machine}-linux-gnu/faketime/libfaketime.so.1`)
  .find((path) => existsSync(path));

export class Sidecar {
  #program = null;
  #ending = null;
  #ownClock = false;
  #logBegan = 0; // bytes before the running byocd's first line

  // `onCrash` is told when byocd ended although nobody asked it to.
  constructor(arena, name, onCrash) {
    const folder = `${arena.cluster.env.PGHOST}/${name}`;
    mkdirSync(folder);
    Object.assign(this, { arena, name, onCrash, log: `${arena.run.folder}/byocd-${name}.log`, clockFile: `${arena.run.folder}/clock-${name}` });
    this.cable = new Proxy({ path: `${folder}/.s.PGSQL.5432` }, { path: `${arena.cluster.env.PGHOST}/.s.PGSQL.5432` });
    this.env = {
      ...arena.environment, PGHOST: folder, BYOC_TWILIO_BASE_URL: arena.providerUrl, BYOC_GOOGLE_OAUTH_URL: arena.providerUrl, BYOC_GOOGLE_API_URL: arena.providerUrl, BYOC_HTTP_LISTEN: '127.0.0.1:0',
    };
  }

  get pid() { return this.#program?.pid; }
  get running() { return this.#program !== null && !this.#program.ended; }

  async start() {
    await this.cable.heal();
    this.#logBegan = existsSync(this.log) ? statSync(this.log).size : 0;
    const program = this.arena.run.start(BYOCD, ['run'], { log: this.log, env: { ...this.env, ...this.#clockEnvironment() } });
    this.#program = program;
    this.#ending = null;
    program.exited.then((end) => {
      for (const left of [`faketime_shm_${program.pid}`, `sem.faketime_sem_${program.pid}`]) rmSync(`/dev/shm/${left}`, { force: true });
      if (this.#ending !== program) this.onCrash(`byocd ${this.name} ended by itself: ${end.code ?? end.signal}; its log: ${this.log}`);
    });
  }

  // Ends byocd by a signal; answers { code, signal }. SIGTERM waits until it is listened to.
  async stop(signal) {
    const program = this.#program;
    if (signal === 'SIGTERM')
      await until('byocd to run', () => program.ended || readFileSync(this.log).includes(' runs: ', this.#logBegan));
    this.#ending = program;
    return program.stop(signal);
  }

  // Holds the process still for so many ms, as an overloaded or suspended host does.
  async pause(ms) {
    const program = this.#program;
    if (program.ended) return;
    process.kill(program.pid, 'SIGSTOP');
    await delay(ms);
    if (!program.ended) process.kill(program.pid, 'SIGCONT');
  }

  // Whether those started from now on have a clock that can jump.
  ownClock(wanted) {
    this.#ownClock = wanted;
    if (wanted && !LIBFAKETIME) throw new Error('libfaketime is not there: run scripts/deps');
    this.jumpClock(0);
  }

  // Sets the host's clock off by so many seconds; what measures durations (CLOCK_MONOTONIC) goes on undisturbed, as on a real host.
  jumpClock(seconds) { writeFileSync(this.clockFile, `${seconds < 0 ? '-' : '+'}${Math.abs(seconds)}\n`); }

  #clockEnvironment() {
    if (!this.#ownClock) return {};
    return { LD_PRELOAD: LIBFAKETIME, FAKETIME_TIMESTAMP_FILE: this.clockFile, FAKETIME_CACHE_DURATION: '1', FAKETIME_DONT_FAKE_MONOTONIC: '1' };
  }
}
