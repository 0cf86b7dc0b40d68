// BENCH=tenants: what 1,000, 10,000 and 100,000 organizations cost, each with a credential: in space, when one is added, when all or only ten have
// messages, and what a message leaves and takes when each is of another organization. The figures of doc/scaling.md.

import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { until } from '../../scripts/run.mjs';
import { keep, percentile, scale } from './bars.mjs';
import { oneBatch } from './batch.mjs';
import { Bed, account } from './bed.mjs';
import { report } from './report.mjs';
import { byoc } from './systems.mjs';

const SIZES = [1_000, 10_000, 100_000].map(scale);
const ACCOUNTS = 100; // at the provider: organizations share them
const TIMED = scale(200); // organizations that are added one by one
const SLOTS = 64;
const BATCHES = scale(100);
const WITH_WORK = 10;
const MOST_SENT = scale(10_000); // of as many organizations
const DATABASE = 'tenants';
const DISPATCHER = randomUUID();

const ADD = `
  CREATE PROCEDURE add_organizations(first integer, last integer) LANGUAGE plpgsql AS $$
  DECLARE
      org uuid;
      credential uuid;
  BEGIN
      FOR n IN first .. last LOOP
          org := byoc.create_organization('Organization ' || n);
          credential := byoc.add_credential('twilio', jsonb_build_object('account_sid', 'AC' || lpad((n % ${ACCOUNTS} + 1)::text, 32, '0'),
              'auth_token', lpad('abcde' || lpad((n % ${ACCOUNTS} + 1)::text, 5, '0'), 32, '0'),
              'messaging_service_sid', 'MG' || lpad((n % ${ACCOUNTS} + 1)::text, 32, '0')), org_id => org);
          COMMIT;
          PERFORM byoc.record_verification(org, credential, 1, 'verified', NULL);
          COMMIT;
      END LOOP;
  END $$`;
const BODY = `'Hello from the bench, this is a message as long as they usually are, so about a hundred characters.'`;
// One transaction each, to organizations in turn.
const QUEUE = `
  CREATE PROCEDURE queue_messages(count integer) LANGUAGE plpgsql AS $$
  DECLARE
      orgs uuid[] := ARRAY(SELECT id FROM byoc.organizations ORDER BY random() LIMIT count);
  BEGIN
      FOR n IN 1 .. count LOOP
          PERFORM byoc.send_sms('+1555' || (1000000 + n), ${BODY}, org_id => orgs[n % cardinality(orgs) + 1]);
          COMMIT;
      END LOOP;
  END $$`;

const bed = await Bed.start('tenants', { accounts: ACCOUNTS });
await bed.admin.query(`CREATE DATABASE ${DATABASE}`);
const db = await bed.cluster.connect(DATABASE);
await db.query(`CREATE EXTENSION pg_byoc; CREATE ROLE byocd LOGIN; SELECT byoc.grant_dispatcher('byocd')`);
await db.query(ADD);
await db.query(QUEUE);
await db.query('SELECT byoc.register_dispatcher($1)', [DISPATCHER]);

const walPosition = () => db.value(`SELECT (pg_current_wal_insert_lsn() - '0/0')::float8`);
const bytes = () => db.value(`SELECT sum(pg_total_relation_size(c.oid))::float8 FROM pg_class c WHERE c.relnamespace = 'byoc'::regnamespace AND c.relkind = 'r'`);
const memory = (pid, name) => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1]) / 1024;
async function timed(sql) {
  const begin = performance.now();
  await db.query(sql);
  return performance.now() - begin;
}
// What `work` took for each of `count`: CPU of the server in ms, WAL in bytes.
async function cost(count, work) {
  const before = await walPosition();
  const { server } = await bed.measureCpu({ pids: [] }, work);
  return { cpu: server * 1000 / count, wal: (await walPosition() - before) / count };
}

let organizations = 0;
async function grow(size) {
  const bulk = size - organizations - TIMED;
  await db.query('SET synchronous_commit = off');
  const added = await cost(bulk, () => db.query(`CALL add_organizations(${organizations + 1}, ${organizations + bulk})`));
  await db.query('RESET synchronous_commit');
  const ms = await timed(`CALL add_organizations(${size - TIMED + 1}, ${size})`) / TIMED;
  organizations = size;
  while (await db.value('SELECT byoc.seal_audit_log()') > 0);
  return { ms, ...added };
}

// Batches while there is something; what one costs, and what claims cost a message, sweeps included.
async function claims() {
  const times = { claim: [], record: [] };
  let messages = 0;
  const { server } = await bed.measureCpu({ pids: [] }, async () => {
    for (let batches = 0, count = 1; batches < BATCHES && count > 0; ++batches, messages += count) count = await oneBatch(db, DISPATCHER, SLOTS, times);
  });
  const all = times.claim.reduce((sum, ms) => sum + ms, 0);
  return { claim: percentile(times.claim, 0.5), longest: Math.max(...times.claim), record: percentile(times.record, 0.5), perMessage: all / messages, cpu: server * 1000 / messages };
}

// What is looked at besides, and how long that takes: before sleeping, and for each scrape of metrics.
const looks = async () => ({
  sweep: await timed('SELECT byoc.sweep_lanes()'),
  totals: await timed('SELECT FROM byoc.queue_totals(), byoc.key_totals()'),
});

async function work(condition) {
  await db.query(`SELECT byoc.send_sms('+15551000001', ${BODY}, org_id => o.id) FROM byoc.organizations o, generate_series(1, $1::int) ${condition}`,
    [condition ? BATCHES * SLOTS / WITH_WORK : 1]);
  await bed.settle(db);
  return { ...await looks(), ...await claims() };
}

// byocd sends what is queued, each message for another organization.
async function send(count) {
  const left = () => db.value(`SELECT (SELECT count(*) FROM byoc.claims) + (SELECT count(*) FROM (SELECT FROM byoc.queue LIMIT 1) AS q)`);
  await bed.setLatency(0);
  await bed.forget();
  const before = await bytes();
  const queued = await cost(count, async () => {
    await db.query('SET synchronous_commit = off');
    await db.query(`CALL queue_messages(${count})`);
    await db.query('RESET synchronous_commit');
  });
  const worker = await byoc(organizations).start(bed, DATABASE, 256);
  let cpu;
  const begin = performance.now();
  const sent = await cost(count, async () => {
    cpu = await bed.measureCpu(worker, async () => {
      await worker.begin();
      await until('all to be sent', async () => (await bed.stats()).accepted >= count, { timeout: 600_000 });
      await until('all to be recorded', async () => await left() === 0, { timeout: 600_000 });
    });
  });
  const perSecond = count / ((performance.now() - begin) / 1000);
  const backends = (await db.rows(`SELECT pid FROM pg_stat_activity WHERE usename = 'byocd'`)).map(({ pid }) => memory(pid, 'RssAnon'));
  const byocd = memory(worker.pids[0], 'VmRSS');
  await worker.stop();
  await bed.settle(db);
  return { queued, sent, worker: cpu.worker * 1000 / count, perSecond, byocd, backends: Math.max(...backends), bytes: (await bytes() - before) / count };
}

// Everything that was sent; the next size begins with no room in the tables.
async function prune() {
  const count = await db.value('SELECT count(*) FROM byoc.messages');
  const result = await cost(count, async () => { while (await db.value(`SELECT byoc.prune('0 s')`) > 0); });
  await db.query('VACUUM FULL byoc.messages, byoc.message_events');
  return result;
}

const results = [];
for (const size of SIZES) {
  const before = await bytes();
  const from = organizations;
  const added = await grow(size);
  const space = (await bytes() - before) / (size - from);
  await bed.settle(db);
  const few = await work(`WHERE o.id IN (SELECT id FROM byoc.organizations ORDER BY id LIMIT ${WITH_WORK})`);
  const all = await work('');
  await db.query('DELETE FROM byoc.queue; SELECT byoc.take_lanes()');
  await bed.settle(db);
  const first = await send(Math.min(size, MOST_SENT));
  const again = await send(Math.min(size, MOST_SENT)); // without a checkpoint's full pages
  const pruned = await prune();
  results.push({ size, space, added, few, all, first, again, pruned });
  console.log(`${size.toLocaleString('en-US')} organizations: done`);
}

const table = (title, rows) => report(title, ['organizations', ...SIZES.map((size) => size.toLocaleString('en-US'))],
  rows.map(([name, value, digits = 2]) => [name, ...results.map((result) => Number(value(result).toFixed(digits)))]));
table('An organization with a credential', [
  ['bytes in tables and indexes', ({ space }) => space, 0],
  ['ms to add and verify one', ({ added }) => added.ms],
  ['CPU ms of PostgreSQL', ({ added }) => added.cpu],
  ['bytes of WAL', ({ added }) => added.wal, 0],
]);
for (const [title, of] of [[`${WITH_WORK} have messages`, 'few'], ['each has one message', 'all']]) {
  table(`${title}: ms, claims of ${SLOTS}`, [
    ['claim, p50', (result) => result[of].claim],
    ['claim, longest', (result) => result[of].longest],
    ['claims, per message', (result) => result[of].perMessage, 3],
    ['record, p50', (result) => result[of].record],
    ['CPU of PostgreSQL, per message', (result) => result[of].cpu, 3],
    ['sweep', (result) => result[of].sweep],
    ['totals for metrics', (result) => result[of].totals],
  ]);
}
table('A message, each of another organization', [
  ['bytes of WAL, queued', ({ again }) => again.queued.wal, 0],
  ['bytes of WAL, sent', ({ again }) => again.sent.wal, 0],
  ['the same after a checkpoint', ({ first }) => first.queued.wal + first.sent.wal, 0],
  ['bytes in tables and indexes', ({ first }) => first.bytes, 0],
  ['CPU ms of PostgreSQL, queued', ({ again }) => again.queued.cpu, 3],
  ['CPU ms of PostgreSQL, sent', ({ again }) => again.sent.cpu, 3],
  ['CPU ms of PostgreSQL, pruned', ({ pruned }) => pruned.cpu, 3],
  ['bytes of WAL, pruned', ({ pruned }) => pruned.wal, 0],
  ['CPU ms of byocd', ({ again }) => again.worker, 3],
  ['sent a second', ({ again }) => again.perSecond, 0],
  ['MB of byocd', ({ again }) => again.byocd, 0],
  ['MB of its largest backend', ({ again }) => again.backends, 0],
]);
keep('tenants', { results });
await bed.end();
