// A Citus cluster in the place of the one server: a coordinator, two workers, and a byocd at each worker.

import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { Run, script } from '../../../scripts/run.mjs';
import { Byocd, Cluster, Simulator } from '../../../scripts/stack.mjs';
import { LEADS, Stack } from '../stack.mjs';

// Where Citus is installed; CITUS_DIR names what `make install DESTDIR=...` of it made, for one that is not.
const CONTROL = `${process.env.CITUS_DIR ?? ''}${script('pg-config', '--sharedir').trim()}/extension/citus.control`;
export const NO_CITUS = !existsSync(CONTROL) && `no citus: there is no ${CONTROL}; build Citus 13.2 and name its DESTDIR in CITUS_DIR`;

const DATABASE = 'e2e';

export class CitusStack extends Stack {
  workers = []; // { cluster, db, byocd }

  async start() {
    this.run = new Run(`e2e-${this.name}-${process.pid}`);
    this.cluster = await this.#node('coordinator');
    this.db = await this.connect();
    for (const name of ['worker_1', 'worker_2']) {
      const cluster = await this.#node(name);
      for (const file of ['BYOC_KEYRING', 'BYOC_JWKS']) writeFileSync(cluster.env[file], readFileSync(this.cluster.env[file]));
      cluster.restart();
      this.workers.push({ cluster, db: await cluster.connect(DATABASE) });
    }
    await this.db.query('SELECT citus_set_coordinator_host($1, $2)', this.#address(this.cluster));
    for (const { cluster } of this.workers) await this.db.query('SELECT citus_add_node($1, $2)', this.#address(cluster));
    await this.db.query('CREATE EXTENSION pg_byoc');
    await this.db.query('SELECT byoc.distribute()');
    await this.db.query('CREATE ROLE byocd LOGIN NOINHERIT; CREATE ROLE tenant LOGIN; GRANT tenant TO byocd');
    for (const { db } of this.nodes) await db.query(`SELECT byoc.grant_dispatcher('byocd'), byoc.grant_tenant('tenant')`);
    await this.db.query(`${LEADS}; SELECT create_distributed_table('leads', 'org_id', colocate_with => 'byoc.homes'); GRANT SELECT, INSERT ON leads TO tenant`);
    this.simulator = await Simulator.start(this.run);
    for (const worker of this.workers) await this.startWorker(worker);
  }

  // Coordinator and workers, each { cluster, db }.
  get nodes() { return [{ cluster: this.cluster, db: this.db }, ...this.workers]; }

  async startWorker(worker, env = {}) {
    worker.byocd = await Byocd.start(this.run, worker.cluster, {
      database: DATABASE, simulator: this.simulator, env: { ...this.env, ...env }, log: `${this.run.folder}/byocd.log`,
    });
  }

  // Puts a standby of the worker in its place, as when it moves to another machine.
  async moveWorker(worker) {
    const { cluster: old } = worker;
    const standby = new Cluster(this.run, { name: `${old.folder.split('/').pop()}_moved`, settings: this.#settings, of: old });
    await worker.db.end();
    old.stop();
    worker.cluster = standby;
    worker.db = await standby.connect(DATABASE);
    await worker.db.query('SELECT pg_promote()');
    await this.db.query('SELECT citus_update_node(nodeid, $3, $4) FROM pg_dist_node WHERE (nodename, nodeport) = ($1, $2::int)',
      [...this.#address(old), ...this.#address(standby)]);
  }

  // The worker where the organization is at home.
  async home({ id }) {
    const [{ node_name: host }] = await this.db.rows('SELECT * FROM byoc.home($1)', [id]);
    return this.workers.find(({ cluster }) => cluster.env.PGHOST === host);
  }

  // Times in ms, where the work is done.
  async reconcileAfter(...times) {
    const intervals = times.map((ms) => `interval '${ms} milliseconds'`).join(', ');
    for (const { db } of this.workers) await db.query(`SET citus.enable_ddl_propagation = off; CREATE OR REPLACE FUNCTION
      byoc.reconciliation_schedule() RETURNS interval[] LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN ARRAY[${intervals}]`);
  }

  async end() {
    for (const { cluster, byocd } of this.workers) {
      await cluster.disconnect();
      await byocd?.program.stop('SIGKILL');
    }
    await super.end();
  }

  get #settings() {
    return {
      shared_preload_libraries: 'citus, pg_byoc',
      max_prepared_transactions: 100,
      wal_level: 'logical',
      'byoc.wakeup': 'poll',
      'citus.enable_unsafe_triggers': 'on',
      'citus.node_conninfo': 'sslmode=disable',
      'citus.enable_version_checks': 'off', // they look for an installed Citus only
      ...this.settings,
    };
  }

  #address({ env }) { return [env.PGHOST, Number(env.PGPORT)]; }

  async #node(name) {
    const cluster = new Cluster(this.run, { name, settings: this.#settings });
    const admin = await cluster.connect();
    await admin.query(`CREATE DATABASE ${DATABASE}`);
    await admin.end();
    const db = await cluster.connect(DATABASE);
    await db.query('CREATE EXTENSION citus');
    await db.end();
    return cluster;
  }
}
