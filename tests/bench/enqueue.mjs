// BENCH=enqueue: what a trigger that queues a message costs the application's INSERT: throughput with it against the same
// table without it, for pg_byoc, graphile-worker and pg-boss; and how long one INSERT of many rows takes. No worker runs.

import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { PG_BIN } from '../../scripts/stack.mjs';
import { against, keep, rounds, scale } from './bars.mjs';
import { Bed } from './bed.mjs';
import { cpu } from './cpu.mjs';
import { installPeers } from './peers.mjs';
import { median, report } from './report.mjs';
import { BODY, PHONE, boss, byoc, graphile } from './systems.mjs';

const CLIENTS = { 1: 0.85, 8: 0.75 }; // and the bar: least part of the plain table's throughput
const SECONDS = scale(3);
const SIZES = [1000, 10_000, 100_000];
const LINEAR = 1.25; // most that a row of the largest INSERT may cost, against one of the middle one
const PEER_SIZES = SIZES.slice(0, 1); // the others take them minutes

const ours = byoc(1);
const plain = { ...ours, name: 'no trigger', prepare: () => {}, alter: 'ALTER TABLE leads DISABLE TRIGGER USER' };
const systems = [plain, ours, graphile(1), boss];
const pgbench = `${PG_BIN}/pgbench`;

installPeers();
const bed = await Bed.start('enqueue');
const script = `${bed.run.folder}/insert.sql`;
for (const system of systems) await system.prepare(bed);

async function fresh(system) {
  const db = await bed.fresh(system);
  if (system.alter) await db.query(system.alter);
  await bed.settle(db);
  return db;
}

// { perSecond, cpu: the server's, in ms a row }
async function insertOneByOne(system, clients) {
  const db = await fresh(system);
  const [organization] = await system.organizations(db);
  writeFileSync(script, `INSERT INTO leads (org_id, phone, body) VALUES (${organization ? `'${organization}'` : 'NULL'}, '+15558675310', `
    + `'Hello from the bench, this is a message and as long as they usually are.');\n`);
  const before = cpu(bed.postmaster);
  const output = execFileSync(pgbench, [
    '-n', '-M', 'prepared', '-f', script, '-c', String(clients), '-j', String(Math.min(2, clients)), '-T', String(SECONDS),
  ], { env: { ...process.env, ...bed.cluster.environment('bench') }, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
  const used = cpu(bed.postmaster) - before;
  const transactions = Number(/actually processed: (\d+)/.exec(output)[1]);
  await db.end();
  return { perSecond: Number(/tps = ([\d.]+)/.exec(output)[1]), cpu: used / transactions * 1000 };
}

// Milliseconds of one INSERT ... SELECT.
async function insertMany(system, count) {
  const db = await fresh(system);
  const [organization] = await system.organizations(db);
  const begin = performance.now();
  await db.query(`INSERT INTO leads (org_id, phone, body) SELECT $2, ${PHONE}, ${BODY} FROM generate_series(1, $1::int) AS g`, [count, organization]);
  const ms = performance.now() - begin;
  await db.end();
  return ms;
}

// [{ system, key, runs }] of `measure`, system by system within each round.
async function collect(keys, measure, measured = () => true) {
  const cells = keys.flatMap((key) => systems.filter((system) => measured(system, key)).map((system) => ({ system, key, runs: [] })));
  for (let round = 0; round < rounds; ++round) for (const cell of cells) cell.runs.push(await measure(cell.system, cell.key));
  return cells;
}

const single = (await collect(Object.keys(CLIENTS).map(Number), insertOneByOne)).map(({ system, key, runs }) => ({
  system: system.name, clients: key, perSecond: median(runs.map((run) => run.perSecond)), cpu: median(runs.map((run) => run.cpu)),
}));
for (const clients of Object.keys(CLIENTS).map(Number)) {
  const rows = single.filter((row) => row.clients === clients);
  report(`One row a transaction, ${clients} client${clients > 1 ? 's' : ''} (pgbench, ${rounds} rounds of ${SECONDS} s)`,
    ['', 'rows/s', 'server CPU s per 1,000', 'against no trigger'], rows.map((row) => [
      row.system, Math.round(row.perSecond), row.cpu.toFixed(3),
      against(row.perSecond / rows[0].perSecond, row.system === ours.name ? { least: CLIENTS[clients] } : {}),
    ]));
}

const bulk = (await collect(SIZES, insertMany, (system, count) => system === ours || system === plain || PEER_SIZES.includes(count)))
  .map(({ system, key, runs }) => ({ system: system.name, rows: key, ms: median(runs), usPerRow: median(runs) / key * 1000 }));
const cost = (system, rows) => bulk.find((row) => row.system === system && row.rows === rows)?.usPerRow;
report(`Many rows in one INSERT, us a row (${rounds} rounds)`, ['', ...SIZES.map((count) => `${count} rows`), 'largest against middle'],
  systems.map(({ name }) => [
    name, ...SIZES.map((count) => cost(name, count)?.toFixed(1) ?? ''),
    cost(name, SIZES[2]) ? against(cost(name, SIZES[2]) / cost(name, SIZES[1]), name === ours.name ? { most: LINEAR } : {}) : '',
  ]));
keep('enqueue', { bars: { clients: CLIENTS, linear: LINEAR }, single, bulk });
await bed.end();
