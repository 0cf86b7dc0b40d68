// A run: what the demo or one test file starts, in a folder of its own under build/run, and removes again
// however it ends. After a kill -9 the next run's start does it (scripts/stop-leftovers).

import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync, mkdirSync, openSync, closeSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { fileURLToPath } from 'node:url';
import { setTimeout as delay } from 'node:timers/promises';

export const TOP = fileURLToPath(new URL('..', import.meta.url)).replace(/\/$/, '');

export class Run {
  #kept = false;

  // `name` is the folder's name. A kept run (see keep) outlives this process and has a fixed name.
  constructor(name) {
    this.name = name;
    this.folder = `${TOP}/build/run/${name}`;
    script('stop-leftovers');
    script('stop-leftovers', name);
    mkdirSync(this.folder, { recursive: true });
    writeFileSync(`${this.folder}/owner`, identify(process.pid));
    process.once('exit', () => { if (!this.#kept) script('stop-leftovers', this.name); });
    for (const [signal, number] of [['SIGINT', 2], ['SIGTERM', 15], ['SIGHUP', 1]]) {
      process.once(signal, () => process.exit(128 + number));
    }
  }

  // Leaves everything up: `scripts/stop-leftovers NAME` ends it.
  keep() {
    this.#kept = true;
    writeFileSync(`${this.folder}/owner`, '');
  }

  // Starts a program with its output appended to the file `log`; `env` adds to this process's environment.
  start(command, args, { log, env = {} }) {
    const output = openSync(log, 'a');
    const child = spawn(command, args, {
      env: { ...process.env, ...env }, stdio: ['ignore', output, output], detached: true,
    });
    closeSync(output);
    if (child.pid) appendFileSync(`${this.folder}/pids`, identify(child.pid));
    return new Program(command, child, log);
  }
}

// A running program. It does not keep this process alive, unless somebody awaits its end.
export class Program {
  #child;
  #exited;
  ended = null; // { code, signal } once it has
  stopped = false; // whether somebody asked for that

  constructor(command, child, log) {
    Object.assign(this, { command, pid: child.pid, log });
    this.#child = child;
    this.#exited = new Promise((resolve) => {
      child.once('error', (error) => resolve({ code: null, signal: error.message }));
      child.once('exit', (code, signal) => resolve({ code, signal }));
    }).then((end) => { this.ended = end; return end; });
    child.unref();
  }

  get exited() {
    this.#child.ref();
    return this.#exited;
  }

  // Sends the signal and waits for the end: { code, signal }.
  async stop(signal = 'SIGTERM') {
    const { exited } = this;
    this.stopped = true;
    if (!this.ended && this.pid) process.kill(this.pid, signal);
    return exited;
  }
}

// Runs one of scripts/ to its end; answers its output, throws with its error output.
export function script(name, ...args) {
  const { status, stdout, stderr, error } = spawnSync(`${TOP}/scripts/${name}`, args, { encoding: 'utf8' });
  if (error) throw error;
  if (status !== 0) throw new Error(`scripts/${name} ${args.join(' ')} failed\n${stderr}`);
  return stdout;
}

// Waits until `condition` answers something true and answers that; throws after `timeout` ms, saying what was awaited. The time is for a
// slow machine under a sanitizer. It looks again after 5 ms, then less and less often, down to ten times a second.
export async function until(what, condition, { timeout = 60_000 } = {}) {
  const start = performance.now();
  for (;;) {
    const result = await condition();
    if (result) return result;
    const waited = performance.now() - start;
    if (waited > timeout) throw new Error(`waited ${timeout} ms in vain for ${what}`);
    await delay(Math.min(Math.max(5, waited / 20), 100));
  }
}

// A free port below those of outgoing connections (32768 and up), which could take it at any time.
export async function freePort() {
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 12_000);
    const server = createServer();
    server.listen(port, '127.0.0.1');
    const free = await once(server, 'listening').then(() => true, () => false); // once() rejects on 'error'
    if (!free) continue;
    server.close();
    await once(server, 'close');
    return port;
  }
}

// Process id and start time, as scripts/stop-leftovers compares them.
function identify(pid) {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  return `${pid} ${stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]}\n`;
}
