// What the end-to-end tests share: a private server, simulator and byocd, and organizations on them.

import { existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { Run, TOP, until } from '../../scripts/run.mjs';
import { BYOCD, Byocd, Cluster, FORCE_PARALLEL, PG_BIN, Simulator } from '../../scripts/stack.mjs';

export { BYOCD, Byocd, Cluster, FORCE_PARALLEL, PG_BIN, Run, Simulator, until };

const DATABASE = 'e2e';

export const LEADS = `
  CREATE TABLE leads (id int GENERATED ALWAYS AS IDENTITY, org_id uuid, name text, phone text, service text, summary text, score int DEFAULT 50)`;

// Everything up, with the extension, the role byocd and table leads in a database of its own.
export class Stack {
  // `name` names the run's folder; `settings` are lines of postgresql.conf; `env` are settings of byocd, `program` is another one.
  constructor(name, { settings = {}, env = {}, program } = {}) {
    Object.assign(this, { name, settings, env, program });
  }

  async start() {
    this.run = new Run(`e2e-${this.name}-${process.pid}`);
    this.cluster = await this.startCluster();
    const admin = await this.cluster.connect();
    await admin.query(`CREATE DATABASE ${DATABASE}`);
    await admin.end();
    this.db = await this.connect();
    await this.db.query(`CREATE EXTENSION pg_byoc; CREATE ROLE byocd LOGIN NOINHERIT; SELECT byoc.grant_dispatcher('byocd');
      CREATE ROLE tenant; SELECT byoc.grant_tenant('tenant'); GRANT tenant TO byocd`);
    await this.db.query(LEADS);
    this.simulator = await Simulator.start(this.run);
    await this.startByocd();
  }

  startCluster() { return new Cluster(this.run, { settings: this.settings }); }

  connect(user) { return this.cluster.connect(DATABASE, user); }

  // Makes this server's roles in another one, as a dump needs them.
  async copyRoles(session) {
    const roles = await this.db.rows(`SELECT quote_ident(rolname) AS name FROM pg_roles WHERE rolname !~ '^pg_' AND rolname <> 'postgres'`);
    for (const { name } of roles) await session.query(`CREATE ROLE ${name} LOGIN`);
  }

  startByocd(env) { return this.#byocd('start', env); }
  launchByocd(env) { return this.#byocd('launch', env); } // without waiting until it waits for work

  async #byocd(how, env = {}) {
    this.byocdLog = `${this.run.folder}/byocd.log`;
    this.byocd = await Byocd[how](this.run, this.cluster, {
      database: DATABASE, simulator: this.simulator, env: { ...this.env, ...env }, log: this.byocdLog, program: this.program,
    });
  }

  // An organization with an account of its own on the simulator. `number` tells accounts apart, 1 to 99. Waits until byocd has
  // verified its credential, if `verified`.
  async organization(number, { verified = true } = {}) {
    const two = String(number).padStart(2, '0');
    const account = { sid: `AC${'0'.repeat(30)}${two}`, authToken: `${'0'.repeat(28)}ab${two}`, number: `+155500000${two}` };
    await this.simulator.addAccount(account, `Account ${number}`);
    const id = await this.db.value('SELECT byoc.create_organization($1)', [`Organization ${number}`]);
    const credential = await this.db.value('SELECT byoc.add_credential($1, $2, org_id => $3)', [
      'twilio', { account_sid: account.sid, auth_token: account.authToken, phone_number: account.number }, id,
    ]);
    if (verified) await this.verified({ credential });
    return { id, account, credential };
  }

  // Waits until byocd has checked the organization's credential.
  verified({ credential }, status = 'verified') {
    return until(`credential ${credential} to be ${status}`, () => this.db.value(
      'SELECT verification_status = $2 FROM byoc.credentials WHERE id = $1', [credential, status]));
  }

  send(organization, to, body) {
    return this.db.value('SELECT byoc.send_sms($1, $2, org_id => $3)', [to, body, organization.id]);
  }

  async message(id) {
    return (await this.db.rows('SELECT * FROM byoc.sms_messages WHERE id = $1', [id]))[0];
  }

  events(id) {
    return this.db.rows('SELECT * FROM byoc.sms_events WHERE message_id = $1 ORDER BY id', [id]);
  }

  // Waits until the message has one of the states; answers it.
  settled(id, states = ['sent', 'delivered', 'failed', 'unknown', 'expired']) {
    return until(`message ${id} to be ${states.join(' or ')}`, async () => {
      const message = await this.message(id);
      return states.includes(message?.status) && message;
    });
  }

  // As if the leases of all claims had run out.
  expireLeases() { return this.db.query('UPDATE byoc.claims SET lease_until = now()'); }

  // Times in ms after which a lost message is looked for, instead of the seconds that a real provider may need.
  reconcileAfter(...times) {
    const intervals = times.map((ms) => `interval '${ms} milliseconds'`).join(', ');
    return this.db.query(`CREATE OR REPLACE FUNCTION byoc.reconciliation_schedule() RETURNS interval[]
      LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN ARRAY[${intervals}]`);
  }

  count(where, params) {
    return this.db.value(`SELECT count(*)::int FROM byoc.sms_messages WHERE ${where}`, params);
  }

  // Holds the answers of so many requests in a hundred back until the faults change; see faults().
  holdAnswers(percent, match = {}) {
    return this.faults([{ action: 'hold', probability: percent / 100, match: { method: 'POST', ...match } }]);
  }

  // Waits until the simulator has so many requests that it did not answer.
  unanswered(count) {
    return until(`${count} requests without an answer`, async () => (await this.simulator.request('GET', '/_simulator/stats')).in_flight === count);
  }

  faults(rules) { return this.simulator.request('PUT', '/_simulator/faults', rules); }
  latency(ms) { return this.simulator.request('PUT', '/_simulator/latency', { ms }); }

  // A simulator in the place of one that was stopped. It has to know the accounts from the first request on: a wrong token is a
  // permanent error.
  async replaceSimulator(organizations) {
    const args = ['--accounts', `${this.run.folder}/accounts.json`];
    writeFileSync(args[1], JSON.stringify(organizations.map(({ account: { sid, authToken, number } }) => (
      { sid, auth_token: authToken, numbers: [{ phone_number: number, sms: true }] }))));
    this.simulator = await Simulator.start(this.run, { port: this.simulator.port, args });
  }

  // Opens the connection again after a restart of the server.
  async reconnect() {
    this.db = await until('the server to accept connections', () => this.connect().catch(() => null));
  }

  // Also after start() failed half way: open connections would keep the test file alive.
  async end() {
    await this.cluster?.disconnect();
    const { program } = this.byocd ?? {};
    if (program?.ended && !program.stopped) {
      const log = readFileSync(this.byocdLog, 'utf8').split('\n').slice(-30).join('\n');
      throw new Error(`byocd ended by itself: ${JSON.stringify(program.ended)}; its log ends:\n${log}`);
    }
    await this.byocd?.program.stop('SIGKILL');
    await this.simulator?.program.stop();
  }
}

// Where a server program is that scripts/deps only unpacks; undefined: nowhere.
export const tool = (name, program = `usr/sbin/${name}`) => [`/${program}`, `${TOP}/build/tools/${name}/${program}`].find((file) => existsSync(file));

// The files below `folder` that contain `needle`, as bytes.
export function filesWith(folder, needle) {
  const found = [];
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = `${folder}/${entry.name}`;
    if (entry.isDirectory()) found.push(...filesWith(path, needle));
    else if (entry.isFile() && readFileSync(path).includes(needle)) found.push(path);
  }
  return found;
}

// This process's environment without what byocd and libpq would read.
export function plainEnvironment() {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(PG|BYOC_|TWILIO_|DATABASE_URL$|NO_COLOR$)/.test(name)));
}
