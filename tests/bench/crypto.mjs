// What encryption, the tenant context and a tenant's view cost, beside pgcrypto and an empty C function in the same run.
// Ends with status 1 when a bar is missed.
//
//   node tests/bench/crypto.mjs [ORGANIZATIONS]     default 100,000 of them for the view
//
// An operation is timed as SELECT count(operation) over n equal rows of `sample` in one backend, by the CPU time that the
// kernel charges to that backend; they come from a table, so nothing folds to a constant. Nothing is subtracted: the
// first line is the same query around a plain column. Rounds go through all operations in turn, in alternating
// direction, and medians are shown.

import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { dirname } from 'node:path';
import { TOP, Run } from '../../scripts/run.mjs';
import { Cluster } from '../../scripts/stack.mjs';
import { median, report, save } from './report.mjs';

const ROUNDS = Number(process.env.ROUNDS || 9);
const ROUND_NS = 60e6; // of one operation
const SCANS = 200; // of the view, each as another organization

const IV = `'\\x000102030405060708090a0b0c0d0e0f'::bytea`;
const KEY = `decode(repeat('5a', 32), 'hex')`; // 256 bits, as pg_byoc's

// `peer`: the operation that `ratio` is a bar against; `ns`: a bar in nanoseconds.
const sized = (bytes) => [
  { name: `byoc.encrypt ${bytes} B`, sql: `byoc.encrypt(org, text_${bytes}, 'context')`, peer: `pgcrypto encrypt_iv ${bytes} B`, ratio: 0.5 },
  { name: `pgcrypto encrypt_iv ${bytes} B`, sql: `encrypt_iv(bytes_${bytes}, key, iv, 'aes')` },
  { name: `byoc.decrypt ${bytes} B`, sql: `byoc.decrypt(org, sealed_${bytes}, 'context')`, peer: `pgcrypto decrypt_iv ${bytes} B`, ratio: 0.5 },
  { name: `pgcrypto decrypt_iv ${bytes} B`, sql: `decrypt_iv(aes_${bytes}, key, iv, 'aes')` },
  { name: `pgcrypto pgp_sym_encrypt ${bytes} B`, sql: `pgp_sym_encrypt(text_${bytes}, 'a passphrase')` },
];
const OPERATIONS = [
  { name: 'loop alone', sql: 'org' },
  { name: 'empty C function', sql: 'empty()' },
  { name: 'byoc.current_org_id', sql: 'byoc.current_org_id()', ns: 200 },
  ...sized(32),
  ...sized(200),
];

// The empty function, and one row with all that operations are applied to.
async function prepare(cluster, db, org) {
  const folder = dirname(cluster.env.PGDATA);
  const include = spawnSync(`${TOP}/scripts/pg-config`, ['--includedir-server'], { encoding: 'utf8' });
  const compiler = spawnSync('cc', ['-O2', '-fPIC', '-shared', `-I${include.stdout.trim()}`, '-o', `${folder}/empty.so`,
    `${TOP}/tests/bench/empty.c`], { encoding: 'utf8' });
  if (compiler.status !== 0) throw new Error(`cannot compile empty.c\n${compiler.stderr}`);
  await db.query(`
    SET jit = off; SET max_parallel_workers_per_gather = 0;
    CREATE EXTENSION pgcrypto;
    CREATE FUNCTION empty() RETURNS void LANGUAGE c VOLATILE AS '${folder}/empty.so';
    CREATE TABLE sample (org uuid, text_32 text, text_200 text, bytes_32 bytea, bytes_200 bytea, sealed_32 bytea, sealed_200 bytea,
                         aes_32 bytea, aes_200 bytea, key bytea, iv bytea)`);
  await db.query(`
    INSERT INTO sample
    SELECT $1::uuid, a, b, a::bytea, b::bytea, byoc.encrypt($1::uuid, a, 'context'), byoc.encrypt($1::uuid, b, 'context'),
           encrypt_iv(a::bytea, ${KEY}, ${IV}, 'aes'), encrypt_iv(b::bytea, ${KEY}, ${IV}, 'aes'), ${KEY}, ${IV}
    FROM (SELECT repeat('s', 32) AS a, repeat('s', 200) AS b) AS text`, [org]);
}

// CPU time of the backend in ns.
function cpuTime(pid) {
  return Number(readFileSync(`/proc/${pid}/schedstat`, 'utf8').split(' ')[0]);
}

// Nanoseconds of CPU time for one of `calls` operations.
async function time(db, { sql }, calls) {
  const before = cpuTime(db.pid);
  await db.query(`SELECT count(${sql}) FROM (SELECT *, generate_series(1, ${calls}) FROM sample) AS rows`);
  return (cpuTime(db.pid) - before) / calls;
}

// { name: ns } of every operation.
async function measure(db) {
  const operations = [];
  for (const operation of OPERATIONS) {
    const first = await time(db, operation, 2000); // warms up, too
    operations.push({ ...operation, calls: Math.ceil(ROUND_NS / first), times: [] });
  }
  for (let round = 0; round < ROUNDS; ++round) {
    for (const operation of operations) operation.times.push(await time(db, operation, operation.calls));
    operations.reverse();
  }
  return Object.fromEntries(operations.map(({ name, times }) => [name, median(times)]));
}

// A tenant's look at byoc.credentials, from sending the query to having the row.
async function scan(cluster, db, count) {
  await db.query(`
    CREATE ROLE tenant LOGIN; SELECT byoc.grant_tenant('tenant');
    GRANT EXECUTE ON FUNCTION byoc.set_org TO tenant;
    CREATE TABLE scanned AS
    SELECT org, byoc.add_credential('twilio', jsonb_build_object('account_sid', 'AC' || repeat('0', 32),
      'auth_token', repeat('0', 32), 'phone_number', '+15550000000'), org_id => org) AS credential
    FROM (SELECT byoc.create_organization('Organization ' || n) AS org FROM generate_series(1, ${count}) AS n) AS made`);
  await db.query('VACUUM ANALYZE');
  const some = await db.rows(`SELECT org, credential FROM scanned ORDER BY random() LIMIT ${SCANS}`);
  const tenant = await cluster.connect('postgres', 'tenant');
  const times = [];
  for (const { org, credential } of some) {
    await tenant.query('SELECT byoc.set_org($1, local => false)', [org]);
    const before = performance.now();
    const { rows } = await tenant.query('SELECT * FROM byoc.credentials');
    times.push(performance.now() - before);
    if (rows.length !== 1 || rows[0].id !== credential) throw new Error(`${org} sees ${rows.length} credentials`);
  }
  const [plan] = await tenant.value('EXPLAIN (ANALYZE, FORMAT JSON) SELECT * FROM byoc.credentials');
  await tenant.end();
  return { organizations: count, milliseconds: median(times), nodes: scans(plan.Plan), execution: plan['Execution Time'] };
}

// The scans of tables that ran.
function scans(node) {
  const own = node['Relation Name'] && node['Actual Loops'] > 0 ? [`${node['Node Type']} using ${node['Index Name'] ?? node.Plans?.[0]['Index Name'] ?? 'nothing'}`] : [];
  return [...own, ...(node.Plans ?? []).flatMap(scans)];
}

const count = Number(process.argv[2] ?? 100_000);
const run = new Run(`bench-crypto-${process.pid}`);
const cluster = new Cluster(run, { settings: { shared_buffers: '512MB' } });
const db = await cluster.connect();
try {
  await db.query('CREATE EXTENSION pg_byoc');
  const org = await db.value(`SELECT byoc.create_organization('Measured')`);
  await prepare(cluster, db, org);
  await db.query('SELECT byoc.set_org($1, local => false)', [org]);
  const nanoseconds = await measure(db);
  await db.query('RESET byoc.token');
  const view = await scan(cluster, db, count);

  const verdict = (good) => (good ? 'met' : 'MISSED');
  const rows = OPERATIONS.map(({ name, peer, ratio, ns }) => {
    const own = nanoseconds[name];
    const part = peer ? own / nanoseconds[peer] : '';
    const good = peer ? part <= ratio : own < ns;
    return [name, Math.round(own), part && part.toFixed(2), ratio ?? (ns ? `${ns} ns` : ''), peer || ns ? verdict(good) : ''];
  });
  const indexed = view.nodes.every((node) => node.startsWith('Index') || node.startsWith('Bitmap'));
  rows.push([`view scan, ${count} organizations`, Math.round(view.milliseconds * 1e6), '', '1 ms, by index', verdict(view.milliseconds < 1 && indexed)]);
  const server = await db.value('SHOW server_version');
  report(`ns an operation: PostgreSQL ${server}, ${cpus().length} x ${cpus()[0].model}`, ['operation', 'ns', 'of pgcrypto', 'bar', ''], rows);
  console.log(`\nview: ${view.nodes.join(', ')}`);
  save('crypto', { server, cpu: cpus()[0].model, nanoseconds, view });
  if (rows.some((row) => row.at(-1) === 'MISSED')) process.exitCode = 1;
} finally {
  await cluster.disconnect();
}
