// The test bed of all benchmarks: one PostgreSQL and one provider simulator, used by one system after the other.

import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { Run } from '../../scripts/run.mjs';
import { Cluster, Simulator } from '../../scripts/stack.mjs';
import { cpu } from './cpu.mjs';

// Everything else as PostgreSQL comes. A checkpoint is made before each measurement, none within.
const SETTINGS = { fsync: 'on', max_connections: '200', shared_buffers: '512MB', max_wal_size: '8GB', checkpoint_timeout: '1h' };

// Account 1 is what everybody sends from; the others are for further organizations. A Messaging Service has no limit of
// messages a second, as a number has.
export function account(number) {
  const digits = String(number).padStart(5, '0');
  return { sid: `AC${'0'.repeat(27)}${digits}`, authToken: `${'0'.repeat(22)}abcde${digits}`, service: `MG${'0'.repeat(27)}${digits}` };
}

export class Bed {
  // `accounts`: how many the simulator knows. `settings`: further lines of postgresql.conf.
  static async start(name, { accounts = 1, settings = {} } = {}) {
    const bed = new Bed();
    bed.run = new Run(`bench-${name}-${process.pid}`);
    bed.cluster = new Cluster(bed.run, { settings: { ...SETTINGS, ...settings } });
    bed.postmaster = Number(readFileSync(`${bed.cluster.env.PGDATA}/postmaster.pid`, 'utf8').split('\n')[0]);
    bed.admin = await bed.cluster.connect();
    bed.simulator = await Simulator.start(bed.run);
    await bed.simulator.request('PUT', '/_simulator/accounts', Array.from({ length: accounts }, (_, index) => {
      const { sid, authToken, service } = account(index + 1);
      const number = `+1555${sid.slice(-7)}`;
      return { sid, auth_token: authToken, numbers: [{ phone_number: number }], messaging_services: [{ sid: service, numbers: [number] }] };
    }));
    return bed;
  }

  async end() {
    await this.cluster.disconnect();
    await this.simulator.program.stop();
  }

  // A new database, filled by `prepare(connection, database)`: what fresh() copies.
  async template(name, prepare) {
    await this.admin.query(`CREATE DATABASE ${name}`);
    const connection = await this.cluster.connect(name);
    await prepare(connection, name);
    await connection.query('VACUUM ANALYZE');
    await connection.end();
  }

  // A copy of the system's template named `database`, in place of the last one; answers a connection.
  async fresh(system, database = 'bench') {
    await this.admin.query(`DROP DATABASE IF EXISTS ${database} WITH (FORCE)`);
    await this.admin.query(`CREATE DATABASE ${database} TEMPLATE ${system.template}`);
    const connection = await this.cluster.connect(database);
    await system.adopt?.(connection);
    return connection;
  }

  // Plans that fit what is there, no checkpoint in the middle, and a disk that does not still write what came before.
  async settle(connection) {
    await connection.query('VACUUM ANALYZE');
    await connection.query('CHECKPOINT');
    execFileSync('sync');
  }

  setLatency(ms) { return this.simulator.request('PUT', '/_simulator/latency', { ms }); }
  forget() { return this.simulator.request('DELETE', '/_simulator/messages'); }
  stats() { return this.simulator.request('GET', '/_simulator/stats'); }

  // Runs `work` and answers what the worker and the server used meanwhile, in seconds of CPU.
  async measureCpu(worker, work) {
    const before = { worker: cpu(...worker.pids), server: cpu(this.postmaster) };
    await work();
    return { worker: cpu(...worker.pids) - before.worker, server: cpu(this.postmaster) - before.server };
  }
}
