// `make demo`: inserted rows become SMS, each sent with its organization's own account.
// `make demo KEEP=1` (--keep=NAME, of its folder) leaves everything up and writes build/NAME.env.

import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { clusterKey, ownerToken } from '../scripts/jwt.mjs';
import { Run, TOP, freePort, until } from '../scripts/run.mjs';
import { Byocd, Cluster, Simulator } from '../scripts/stack.mjs';
import { FREE_ACCOUNT, ORGANIZATIONS } from './organizations.mjs';
import { bold, dim, say, sayMessage } from './terminal.mjs';

const DATABASE = 'demo';
const [, keep] = /^--keep=(.+)$/.exec(process.argv[2] ?? '') ?? [];

const run = new Run(keep ?? `demo-${process.pid}`);
try {
  await demo(run);
} catch (error) {
  console.error(`\nThe demo failed: ${error.message}`);
  for (const more of [error.detail, error.hint]) if (more) console.error(more);
  console.error(`The end of the log:\n${logTail(`${run.folder}/postgres/log`)}`);
  process.exit(1);
}

async function demo(run) {
  const { cluster, simulator, byocd, database } = await startEverything(run);

  say(bold('\nTwo organizations, each with its own Twilio account'));
  for (const organization of ORGANIZATIONS) await createOrganization(organization, database, simulator);
  await until('byocd to verify both credentials', () => database.value(sql('are_verified')));
  say(dim('  both verified by byocd with the provider: account active, number in it'));
  await database.query(sql('triggers'));

  const app = await cluster.connect(DATABASE, 'app');
  say(bold('\nThe application inserts into leads (role app, which may do nothing else)'));
  const expected = [];
  for (const organization of ORGANIZATIONS) {
    for (const lead of organization.leads) {
      await insertLead(app, organization, lead);
      expected.push(...await showArrivals(organization, lead, simulator));
    }
  }

  const messages = await simulator.messages();
  if (messages.length !== expected.length) {
    throw new Error(`the simulator received ${messages.length} messages instead of ${expected.length}`);
  }
  say(`\n${expected.length} messages, every one from its own organization's account.`);
  await cluster.disconnect();
  if (keep) await keepUp(run, cluster, simulator, byocd);
  else await stopPrograms(byocd, simulator);
}

async function startEverything(run) {
  const started = performance.now();
  const cluster = new Cluster(run, { settings: { fsync: 'on' } });
  const admin = await cluster.connect();
  await admin.query(`CREATE DATABASE ${DATABASE}`);
  const version = await admin.value('SHOW server_version');
  const database = await cluster.connect(DATABASE);
  await database.query('CREATE EXTENSION pg_byoc');
  await database.query(sql('tables'));
  const simulator = await Simulator.start(run, { log: cluster.log });
  const listen = `127.0.0.1:${await freePort()}`;
  const byocd = await Byocd.start(run, cluster, {
    database: DATABASE, simulator, env: { BYOC_TENANT_ROLE: 'tenant', BYOC_HTTP_LISTEN: listen, BYOC_PUBLIC_URL: `http://${listen}` },
  });

  say(bold('Started'), dim(`in ${((performance.now() - started) / 1000).toFixed(1)} s, private to this run`));
  say(`  PostgreSQL ${version.split(' ')[0]} with pg_byoc`, dim(`socket in ${cluster.env.PGHOST}`));
  say('  Twilio simulator', dim(simulator.url));
  say('  byocd', dim('role byocd, which may only call functions'));
  return { cluster, simulator, byocd, database };
}

async function createOrganization(organization, database, simulator) {
  const { name, account, alertPhone } = organization;
  await simulator.addAccount(account, name);
  organization.id = await database.value(sql('create_organization'), [name]);
  await database.query(sql('set_alert_phone'), [organization.id, alertPhone]);
  await database.query(sql('add_credential'), [
    organization.id,
    { account_sid: account.sid, auth_token: account.authToken, phone_number: account.number },
  ]);
  say(`  ${name}`, dim(`${account.sid}, sends from ${account.number}`));
}

// Notes on the lead when its commit was acknowledged, in ms since the epoch.
async function insertLead(app, organization, lead) {
  await app.query(sql('insert_lead'), [organization.id, lead.name, lead.phone, lead.service, lead.summary, lead.score]);
  lead.committed = performance.timeOrigin + performance.now();
  say(`\n  ${bold(organization.name)}  ${lead.name ?? dim('(no name)')}, ${lead.phone}, score ${lead.score}`);
}

// Waits for the SMS that this lead causes and shows them as they arrived. Answers them.
async function showArrivals(organization, lead, simulator) {
  const recipients = [lead.phone, ...(lead.score >= 80 ? [organization.alertPhone] : [])];
  const arrivals = await until(`the SMS to ${recipients.join(' and ')}`, async () => {
    const messages = await simulator.messages();
    const found = recipients.map((to) => messages.find((message) => message.to === to));
    return found.every(Boolean) && found;
  });
  for (const message of arrivals) {
    if (message.account_sid !== organization.account.sid) {
      throw new Error(`${organization.name}'s SMS was sent by account ${message.account_sid}`);
    }
    // It may arrive before this process has read that the commit is done.
    sayMessage(message, Math.max(0, message.arrived - lead.committed));
  }
  return arrivals;
}

async function stopPrograms(byocd, simulator) {
  const { code, signal } = await byocd.program.stop();
  if (code !== 0) throw new Error(`byocd ended with ${code ?? signal} instead of 0`);
  await simulator.program.stop();
}

async function keepUp(run, cluster, simulator, byocd) {
  run.keep();
  await simulator.addAccount(FREE_ACCOUNT, 'Free');
  const [a, b] = ORGANIZATIONS;
  const key = clusterKey(cluster);
  const values = {
    ...cluster.environment(DATABASE),
    BYOC_URL: byocd.url,
    SIMULATOR_URL: simulator.url,
    BYOCD_PID: byocd.program.pid,
    BYOCD_RUN: byocd.writeStarter(run),
    DEMO_ORG_A: a.id,
    DEMO_ORG_B: b.id,
    DEMO_TOKEN_A: ownerToken(key, a.id, 'owner-a'),
    DEMO_TOKEN_B: ownerToken(key, b.id, 'owner-b'),
    DEMO_ACCOUNT_A: a.account.sid,
    DEMO_AUTH_TOKEN_A: a.account.authToken,
    DEMO_FROM_A: a.account.number,
    DEMO_PGDATA: cluster.env.PGDATA,
    DEMO_LOG: cluster.log,
  };
  const lines = Object.entries(values).map(([name, value]) => `export ${name}='${value}'\n`);
  writeFileSync(`${TOP}/build/${run.name}.env`, lines.join(''), { mode: 0o600 });

  say(bold('\nKept up'));
  say(`  connect        . build/${run.name}.env && psql`);
  say('  REST API       curl -H "Authorization: Bearer $DEMO_TOKEN_A" $BYOC_URL/api/organization/credentials');
  // A browser keeps the cookies of these two names apart, so both can be open side by side.
  say(`  ${a.name}'s page`);
  say(`    ${byocd.url}/dashboard/settings#token=${values.DEMO_TOKEN_A}`);
  say(`  ${b.name}'s page`);
  say(`    ${byocd.url.replace('127.0.0.1', 'localhost')}/dashboard/settings#token=${values.DEMO_TOKEN_B}`);
  say(`  to add there   account SID ${FREE_ACCOUNT.sid}, auth token ${FREE_ACCOUNT.authToken}, phone number ${FREE_ACCOUNT.number}`);
  say(`  received SMS   ${simulator.url}/_simulator/messages`);
  say(`  log            ${cluster.log}`);
  say(`  stop           make demo-stop${run.name === 'demo' ? '' : ` DEMO=${run.name}`}`);
}

function logTail(file, lines = 15) {
  if (!existsSync(file)) return '(none)';
  return readFileSync(file, 'utf8').trimEnd().split('\n').slice(-lines).join('\n');
}

function sql(name) {
  return readFileSync(new URL(`${name}.sql`, import.meta.url), 'utf8');
}
