// The parts that run together: PostgreSQL, the provider simulator and byocd, each with what a caller needs of it.

import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import { connect } from './postgres.mjs';
import { TOP, freePort, script, until } from './run.mjs';

const SIMULATOR = process.env.SIMULATOR_BIN ?? `${TOP}/build/cmake/bin/simulator`;
// Where the server's programs are.
export const PG_BIN = script('pg-config', '--bindir').trim();
// A statement that lets every plan have parallel workers that may; PostgreSQL 16 gave the setting another name.
export const FORCE_PARALLEL =
  `SELECT set_config(CASE WHEN current_setting('server_version_num')::int >= 160000 THEN 'debug_parallel_query' ELSE 'force_parallel_mode' END, 'on', false)`;
export const BYOCD = process.env.BYOCD_BIN ?? `${TOP}/build/cmake/bin/byocd`;

// A private PostgreSQL (scripts/cluster) in the run's folder.
export class Cluster {
  #connections = new Set();

  // `settings`: lines of postgresql.conf, { name: value }; `of`: the cluster that this is a hot standby of.
  constructor(run, { name = 'postgres', settings = {}, of = null } = {}) {
    this.folder = `${run.folder}/${name}`;
    const lines = Object.entries(settings).map(([key, value]) => `${key}=${value}`);
    this.env = parseEnv(of ? script('cluster', 'standby', this.folder, of.folder, ...lines) : script('cluster', 'start', this.folder, ...lines));
    this.log = this.env.CLUSTER_LOG;
  }

  // The environment for a client of `database` as `user`.
  environment(database, user = 'postgres') {
    return { PGHOST: this.env.PGHOST, PGPORT: this.env.PGPORT, PGDATABASE: database, PGUSER: user };
  }

  async connect(database = 'postgres', user = 'postgres', parameters = {}) {
    const connection = await connect({
      host: this.env.PGHOST, port: this.env.PGPORT, database, user, ...parameters,
    });
    this.#connections.add(connection);
    connection.once('close', () => this.#connections.delete(connection));
    return connection;
  }

  async disconnect() {
    await Promise.all([...this.#connections].map((connection) => connection.end()));
  }

  stop(mode = 'fast') { script('cluster', 'stop', this.folder, mode); }
  start() { script('cluster', 'start', this.folder); }

  // Stops it, and answers another one in the run's folder, made of it by pg_upgrade.
  upgrade(run, name) {
    this.stop();
    script('cluster', 'upgrade', this.folder, `${run.folder}/${name}`);
    return new Cluster(run, { name });
  }
  restart(mode = 'fast') { script('cluster', 'restart', this.folder, mode); }
}

// The provider stand-in (tests/simulator).
export class Simulator {
  // `port`: that of a stopped one, to take its place; 0: a free one.
  static async start(run, { log = `${run.folder}/simulator.log`, args = [], port: wanted = 0 } = {}) {
    const simulator = new Simulator();
    const portFile = `${run.folder}/simulator.port`;
    rmSync(portFile, { force: true });
    simulator.program = run.start(SIMULATOR, ['--listen', `127.0.0.1:${wanted}`, '--port-file', portFile, ...args], { log });
    const port = await until('the simulator', () => {
      failIfEnded(simulator.program);
      return existsSync(portFile) && Number(readFileSync(portFile, 'utf8'));
    });
    Object.assign(simulator, { port, url: `http://127.0.0.1:${port}` });
    return simulator;
  }

  // Every message that it accepted, oldest first; `arrived` is received_at in ms since the epoch. `query`: see its README.
  async messages(query = '') {
    const messages = await request('GET', `${this.url}/_simulator/messages${query}`);
    return messages.map((message) => ({ ...message, arrived: milliseconds(message.received_at) }));
  }

  // Makes an account known: { sid, authToken, number }.
  addAccount({ sid, authToken, number }, name) {
    return this.request('PUT', '/_simulator/accounts', {
      sid, auth_token: authToken, friendly_name: name, numbers: [{ phone_number: number, sms: true }],
    });
  }

  request(method, path, body) { return request(method, `${this.url}${path}`, body); }
}

// The sidecar, connected to one database as a role that has byoc.grant_dispatcher.
export class Byocd {
  // Resolves once it waits for work. `options`: as for launch().
  static async start(run, cluster, options) {
    const byocd = await Byocd.launch(run, cluster, options);
    const observer = await cluster.connect(options.database);
    await until('byocd to wait for work', async () => {
      failIfEnded(byocd.program);
      return observer.value(`
        SELECT count(*) > 0 FROM pg_stat_activity
        WHERE application_name = 'byocd' AND state = 'idle' AND query LIKE '%dispatcher_sleep%'`);
    });
    await observer.end();
    return byocd;
  }

  // Resolves once it was started. `env`: further settings, BYOC_...; `program`: another release's.
  static async launch(run, cluster, { database, user = 'byocd', simulator, env = {}, log = cluster.log, program = BYOCD }) {
    const byocd = new Byocd();
    const listen = env.BYOC_HTTP_LISTEN ?? `127.0.0.1:${await freePort()}`;
    byocd.url = `http://${listen}`;
    byocd.env = {
      ...cluster.environment(database, user),
      BYOC_TWILIO_BASE_URL: simulator.url,
      BYOC_GOOGLE_OAUTH_URL: simulator.url,
      BYOC_GOOGLE_API_URL: simulator.url,
      BYOC_STRIPE_BASE_URL: simulator.url,
      BYOC_HTTP_LISTEN: listen,
      ...env,
    };
    byocd.program = run.start(program, ['run'], { log, env: byocd.env });
    return byocd;
  }

  // Writes a script that starts the same again, as a part of the run: stopped along with it. Answers its path.
  writeStarter(run) {
    const file = `${run.folder}/byocd`;
    const settings = Object.entries(this.env).map(([name, value]) => `export ${name}='${value}'\n`).join('');
    writeFileSync(file, `#!/bin/sh
${settings}echo "$$ $(awk '{print $22}' /proc/$$/stat)" >>'${run.folder}/pids'
exec '${BYOCD}' run "$@"
`, { mode: 0o755 });
    return file;
  }
}

function failIfEnded(program) {
  if (!program.ended) return;
  const { code, signal } = program.ended;
  throw new Error(`${program.command} ended (${code ?? signal}); its log: ${program.log}`);
}

// `export NAME='value'` lines as an object.
function parseEnv(text) {
  return Object.fromEntries([...text.matchAll(/^export (\w+)='(.*)'$/gm)].map(([, name, value]) => [name, value]));
}

// An ISO 8601 time with microseconds; Date keeps milliseconds only.
function milliseconds(iso) {
  return Date.parse(iso.replace(/\.\d+/, '')) + Number(`0${/\.\d+/.exec(iso)?.[0] ?? ''}`) * 1000;
}

// One HTTP request with a JSON body; answers the JSON that comes back.
export function request(method, url, body) {
  return new Promise((resolve, reject) => {
    const outgoing = http.request(url, { method, agent: false, headers: { 'content-type': 'application/json' } }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk) => { text += chunk; }).on('end', () => {
        if (response.statusCode >= 400) reject(new Error(`${method} ${url}: ${response.statusCode} ${text}`));
        else resolve(text ? JSON.parse(text) : null);
      });
    });
    outgoing.on('error', reject);
    outgoing.end(body === undefined ? undefined : JSON.stringify(body));
  });
}
