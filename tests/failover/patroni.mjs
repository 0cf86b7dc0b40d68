// A PostgreSQL cluster of three on loopback that Patroni runs, with an etcd of three: all as an ordinary user, in the run's folder.

import { execFile, execFileSync, spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { randomUUID } from 'node:crypto';
import { promisify } from 'node:util';
import { connect } from '../../scripts/postgres.mjs';
import { freePort, script, until } from '../../scripts/run.mjs';
import { request } from '../../scripts/stack.mjs';
import { tool } from '../e2e/stack.mjs';

const execute = promisify(execFile);
const PYTHON = '/usr/bin/python3'; // Debian's: it has Patroni's libraries
const ETCD = tool('etcd-server', 'usr/bin/etcd');
const PATRONI = tool('patroni', 'usr/bin/patroni')?.replace(/bin\/patroni$/, 'lib/python3/dist-packages');
const HAS_LIBRARIES = spawnSync(PYTHON, ['-c', 'import etcd, psycopg2']).status === 0;
export const MISSING = !(ETCD && PATRONI && HAS_LIBRARIES) && 'no patroni or etcd: make check-failover fetches them';

const SCOPE = 'byoc';
// As short as Patroni allows: a leader that is silent so long is replaced.
const TIMES = { ttl: 20, loop_wait: 1, retry_timeout: 3 };

const asServer = (command) => (process.getuid() === 0
  ? ['setpriv', '--reuid', 'postgres', '--regid', 'postgres', '--clear-groups', ...command] : command);

function start(run, command, log, env) {
  const [program, ...args] = asServer(command);
  return run.start(program, args, { log, env });
}

// One server with its Patroni and its etcd.
class Node {
  constructor(run, number, password) {
    Object.assign(this, { run, password, name: `node${number}`, folder: `${run.folder}/node${number}` });
    const lines = script('cluster', 'prepare', this.folder);
    this.env = Object.fromEntries([...lines.matchAll(/^export (\w+)='(.*)'$/gm)].map(([, name, value]) => [name, value]));
    this.log = `${run.folder}/patroni-${number}.log`;
    this.etcdLog = `${run.folder}/etcd-${number}.log`;
  }

  async choosePorts() {
    [this.port, this.rest, this.client, this.peer] = [await freePort(), await freePort(), await freePort(), await freePort()];
  }

  get home() { return this.env.PGDATA.replace(/\/data$/, ''); }

  // All nodes have the same keys.
  take(file, first) { cpSync(first.env[file], this.env[file]); this.giveAway(this.env[file]); }
  giveAway(path) { if (process.getuid() === 0) execFileSync('chown', ['-R', 'postgres:', path]); }

  startEtcd(programs, nodes) {
    const url = (port) => `http://127.0.0.1:${port}`;
    start(this.run, [`${programs}/etcd`, '--name', this.name, '--data-dir', `${this.home}/etcd`,
      '--listen-client-urls', url(this.client), '--advertise-client-urls', url(this.client),
      '--listen-peer-urls', url(this.peer), '--initial-advertise-peer-urls', url(this.peer),
      '--initial-cluster', nodes.map(({ name, peer }) => `${name}=${url(peer)}`).join(),
      '--initial-cluster-state', 'new', '--logger', 'zap'], this.etcdLog);
  }

  configure(nodes) {
    const account = (username) => ({ username, password: this.password });
    const stage = `${this.home}/stage`;
    const library = execFileSync(process.env.PG_CONFIG ?? '/usr/lib/postgresql/15/bin/pg_config', ['--pkglibdir'], { encoding: 'utf8' }).trim();
    this.configuration = `${this.home}/patroni.json`;
    // JSON is YAML.
    writeFileSync(this.configuration, JSON.stringify({
      scope: SCOPE,
      name: this.name,
      restapi: { listen: `127.0.0.1:${this.rest}`, connect_address: `127.0.0.1:${this.rest}` },
      etcd3: { hosts: nodes.map(({ client }) => `127.0.0.1:${client}`) },
      bootstrap: {
        // Nothing that was committed is lost, and a primary that failed is replaced instead of waited for.
        dcs: { ...TIMES, synchronous_mode: true, primary_start_timeout: 0, postgresql: { use_pg_rewind: true } },
        initdb: [{ encoding: 'UTF8' }, { locale: 'C.UTF-8' }, 'no-sync'],
      },
      postgresql: {
        listen: `127.0.0.1:${this.port}`,
        connect_address: `127.0.0.1:${this.port}`,
        use_unix_socket: true,
        use_unix_socket_repl: false,
        data_dir: this.env.PGDATA,
        bin_dir: library.replace(/\/lib$/, '/bin'),
        pgpass: `${this.home}/pgpass`,
        authentication: { superuser: account('postgres'), replication: account('replicator'), rewind: account('postgres') },
        pg_hba: ['local all all trust', 'host all all 127.0.0.1/32 scram-sha-256', 'host replication all 127.0.0.1/32 scram-sha-256'],
        parameters: {
          unix_socket_directories: this.env.PGHOST,
          shared_preload_libraries: 'pg_byoc',
          'byoc.keyring_file': this.env.BYOC_KEYRING,
          'byoc.jwks_file': this.env.BYOC_JWKS,
          extension_destdir: stage,
          dynamic_library_path: `${stage}${library}:$libdir`,
          log_line_prefix: '%m postgres[%p] %q%u@%d ',
        },
      },
    }));
    this.giveAway(this.configuration);
  }

  start(programs) {
    this.patroni = start(this.run, [PYTHON, '-m', 'patroni', this.configuration], this.log, { PYTHONPATH: `${programs}/patroni` });
  }

  // The server's processes, its own first.
  get processes() {
    const [server] = readFileSync(`${this.env.PGDATA}/postmaster.pid`, 'utf8').split('\n').map(Number);
    const children = readdirSync('/proc').filter((pid) => {
      try {
        return /^\d+$/.test(pid) && Number(readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/.*\) \S /s, '').split(' ')[0]) === server;
      } catch {
        return false;
      }
    });
    return [server, ...children.map(Number)];
  }

  // To the server, all its processes, and Patroni: as if the machine failed.
  signal(signal) {
    this.killed = signal === 'SIGKILL';
    this.stands = signal === 'SIGSTOP';
    if (!this.patroni.ended) process.kill(this.patroni.pid, signal);
    for (const pid of this.processes) {
      try { process.kill(pid, signal); } catch (error) { if (error.code !== 'ESRCH') throw error; }
    }
  }

  connect(database, user, parameters) {
    return connect({ host: this.env.PGHOST, port: this.port, database, user, ...parameters });
  }
}

// With what tests use of a Cluster (scripts/stack.mjs).
export class Patroni {
  #connections = new Set();

  static async start(run) {
    const patroni = new Patroni();
    patroni.password = randomUUID();
    patroni.nodes = [1, 2, 3].map((number) => new Node(run, number, patroni.password));
    const [first, ...others] = patroni.nodes;
    for (const node of others) for (const file of ['BYOC_KEYRING', 'BYOC_JWKS']) node.take(file, first);
    // The server's user may not be able to enter our working folder.
    patroni.programs = `${first.home}/programs`;
    mkdirSync(patroni.programs);
    cpSync(ETCD, `${patroni.programs}/etcd`);
    cpSync(PATRONI, `${patroni.programs}/patroni`, { recursive: true });
    first.giveAway(patroni.programs);
    for (const node of patroni.nodes) await node.choosePorts();
    for (const node of patroni.nodes) {
      node.startEtcd(patroni.programs, patroni.nodes);
      node.configure(patroni.nodes);
    }
    for (const node of patroni.nodes) node.start(patroni.programs);
    patroni.log = first.log;
    await patroni.whole();
    return patroni;
  }

  // What Patroni says of each node that it knows.
  async members() {
    for (const { rest } of this.nodes) {
      const answer = await Promise.race([
        request('GET', `http://127.0.0.1:${rest}/cluster`).catch(() => null),
        new Promise((resolve) => { setTimeout(resolve, 1000, null).unref(); }), // one that stands still
      ]);
      if (answer) return answer.members;
    }
    return [];
  }

  // Waits until there is a primary, and the others follow it, one of them synchronously.
  whole() {
    return until('a primary and two standbys', async () => {
      const members = await this.members();
      const roles = members.map(({ role }) => role).sort().join();
      return roles === 'leader,replica,sync_standby' && members.every(({ role, state, lag }) => role === 'leader' || (['running', 'streaming'].includes(state) && lag === 0));
    }, { timeout: 180_000 });
  }

  node(name) { return this.nodes.find((node) => node.name === name); }

  async primary() {
    const leader = await until('a primary', async () => (await this.members()).find(({ role, state }) => role === 'leader' && state === 'running'));
    return this.node(leader.name);
  }

  // Has the synchronous standby take over.
  switchover() {
    const [program, ...args] = asServer([PYTHON, '-c', 'from patroni.ctl import ctl; ctl()', '-c', this.nodes[0].configuration, 'switchover', '--force', SCOPE]);
    return execute(program, args, { env: { ...process.env, PYTHONPATH: `${this.programs}/patroni` } });
  }

  // For libpq, as users write it: every node, whichever is the primary.
  url(user, database) {
    const hosts = this.nodes.map(({ port }) => `127.0.0.1:${port}`).join();
    return `postgresql://${user}@${hosts}/${database}?target_session_attrs=read-write`;
  }

  environment(database, user = 'postgres') { return { DATABASE_URL: this.url(user, database), PGPASSWORD: this.password }; }

  // To the one that may write.
  async connect(database = 'postgres', user = 'postgres', parameters = {}) {
    for (const node of this.nodes) {
      if (node.stands) continue;
      const connection = await node.connect(database, user, parameters).catch(() => null);
      if (!connection) continue;
      if (await connection.value('SELECT NOT pg_is_in_recovery()').catch(() => false)) {
        this.#connections.add(connection);
        connection.once('close', () => this.#connections.delete(connection));
        return connection;
      }
      await connection.end();
    }
    throw new Error('no node may write');
  }

  // Connections to a node that stands still never end by themselves.
  abandon() { for (const connection of this.#connections) connection.abandon(); }

  async disconnect() { await Promise.all([...this.#connections].map((connection) => connection.end())); }
}
