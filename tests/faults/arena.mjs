// What the fault campaigns run on: PostgreSQL, simulator, organizations, and sidecars whose every connection can be broken.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { cpSync, mkdirSync, readFileSync, readdirSync } from 'node:fs';
import { promisify } from 'node:util';
import { TOP, freePort } from '../../scripts/run.mjs';
import { PostgresError } from '../../scripts/postgres.mjs';
import { Stack, until } from '../e2e/stack.mjs';
import { Proxy } from './proxy.mjs';
import { Sidecar } from './sidecar.mjs';

const run = promisify(execFile);
const UNFINISHED = `('scheduled', 'queued', 'sending')`;

// Leases are as short as they may be, so that what dies is missed soon.
const SETTINGS = {
  BYOC_LEASE: '3s', BYOC_REQUEST_TIMEOUT: '1s', BYOC_POLL_INTERVAL: '200ms', BYOC_MAX_IN_FLIGHT: '32', BYOC_DRAIN_TIMEOUT: '5s',
};

export class Arena extends Stack {
  #reconnecting = null;
  #linesRead = 0;
  sidecars = [];
  crashes = []; // of byocd, and of the campaign itself: sentences

  // `patient`: the waits of the product as shipped.
  async start(organizations, { patient }) {
    await super.start();
    this.provider = new Proxy({ host: '127.0.0.1', port: await freePort() }, { host: '127.0.0.1', port: this.simulator.port });
    await this.provider.open();
    this.providerUrl = `http://127.0.0.1:${this.provider.listen.port}`;
    this.environment = { ...this.cluster.environment('e2e', 'byocd'), ...SETTINGS };
    // Message lists are read 2, 8 and 20 seconds after a lost answer; a small campaign need not wait as long.
    if (!patient) {
      await this.db.query(`CREATE OR REPLACE FUNCTION byoc.reconciliation_schedule() RETURNS interval[] LANGUAGE sql IMMUTABLE PARALLEL SAFE
        RETURN ARRAY['1 second', '2 seconds', '3 seconds']::interval[]`);
    }
    this.organizations = [];
    for (let i = 1; i <= organizations; ++i) this.organizations.push(await this.organization(i, { verified: false }));
    // As long as a campaign fails requests, a check would be put off again and again.
    for (const { id, credential } of this.organizations)
      await this.db.query(`SELECT byoc.record_verification($1, $2, 1, 'verified', NULL)`, [id, credential]);
    await this.db.query(`SELECT byoc.create_sms_trigger('leads', '{{phone}}', '{{name}}')`);
  }

  // The sidecars come later, and several of them.
  async startByocd() {}

  // As many sidecars as are wanted, by name; they are not started.
  recruit(count) {
    while (this.sidecars.length < count)
      this.sidecars.push(new Sidecar(this, `${this.sidecars.length + 1}`, (sentence) => this.crashes.push(sentence)));
    return this.sidecars.slice(0, count);
  }

  // Runs `work` on a connection until the server is there to do it. What it did before the connection broke may count twice.
  async steadily(work) {
    return until('the server to do its work', async () => {
      try {
        return { done: await work(this.db) };
      } catch (error) {
        if (error instanceof PostgresError && !/^(57P|08)/.test(error.code)) throw error;
        await this.reconnect();
        return null;
      }
    }, { timeout: 120_000 }).then(({ done }) => done);
  }

  async reconnect() {
    this.#reconnecting ??= until('the server to accept connections', () => this.connect().catch(() => null))
      .then((db) => { this.db = db; })
      .finally(() => { this.#reconnecting = null; });
    return this.#reconnecting;
  }

  async restartPostgres() { await run(`${TOP}/scripts/cluster`, ['restart', this.cluster.folder, 'immediate']); }

  unfinished(tag) {
    return this.steadily((db) => db.value(`SELECT count(*)::int FROM byoc.sms_messages WHERE status IN ${UNFINISHED} AND body LIKE $1`, [`${tag}%`]));
  }

  // Waits until nothing of the campaign is unfinished, then ends the sidecars; false when something is left over.
  async drain(unfinished, timeout) {
    const drained = await until('everything to be final', async () => (await unfinished()) === 0, { timeout })
      .then(() => true, () => false);
    for (const sidecar of this.sidecars.filter(({ running }) => running))
      assert.deepEqual(await sidecar.stop('SIGTERM'), { code: 0, signal: null }, `byocd ${sidecar.name} at the end`);
    return drained;
  }

  // Errors in the server's log since the last call, but for those that the load provokes, and vacuum, which makes way for others. Nothing that
  // byocd calls may fail.
  serverErrors() {
    const lines = readFileSync(this.cluster.log, 'utf8').split('\n').slice(this.#linesRead);
    this.#linesRead += lines.length - 1;
    return lines.filter((line) => / (ERROR|PANIC): {2}/.test(line) && !/cannot be cancelled|canceling autovacuum task/.test(line));
  }

  // Copies the logs to where they stay; answers the folder.
  keepLogs(name) {
    const folder = `${TOP}/build/check/faults/${name}`;
    mkdirSync(folder, { recursive: true });
    for (const file of readdirSync(this.run.folder).filter((each) => each.endsWith('.log'))) cpSync(`${this.run.folder}/${file}`, `${folder}/${file}`);
    cpSync(this.cluster.log, `${folder}/postgres.log`);
    return folder;
  }

  async end() {
    for (const sidecar of this.sidecars) {
      if (sidecar.running) await sidecar.stop('SIGKILL');
      sidecar.cable.close();
    }
    this.provider?.close();
    await super.end();
  }
}
