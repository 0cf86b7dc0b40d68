// BENCH=api: what 500 requests a second of byocd's REST API cost those whose messages it sends. 100 messages a second come in for
// ten organizations; how long do they take to the provider (50 ms), without requests and with them? One byocd for both, in turn. fsync is off: it
// is about what requests take from sending, and a disk that is busy for others at times takes more than both.

import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { clusterKey, ownerToken } from '../../scripts/jwt.mjs';
import { until } from '../../scripts/run.mjs';
import { judged, keep, percentile, rounds, scale } from './bars.mjs';
import { Bed } from './bed.mjs';
import { median, report } from './report.mjs';
import { steadyWaits } from './steady.mjs';
import { byoc } from './systems.mjs';

const ORGANIZATIONS = 10;
const SENT_BEFORE = 20_000; // for the pages to show
const MESSAGES = 100; // a second
const REQUESTS = 500; // a second
const SECONDS = scale(20);
const BARS = { ratio: 2, requests: 0.99 }; // of the p99 without requests; of those that were to be answered

const bed = await Bed.start('api', { accounts: ORGANIZATIONS, settings: { fsync: 'off' } });
const system = byoc(ORGANIZATIONS);
await system.prepare(bed);
const db = await bed.fresh(system);
await db.query(`ALTER ROLE byocd NOINHERIT; CREATE ROLE tenant; SELECT byoc.grant_tenant('tenant'); GRANT tenant TO byocd`);
await system.fill(db, scale(SENT_BEFORE));
await bed.setLatency(0);
const worker = await system.start(bed, 'bench', 64, { BYOC_TENANT_ROLE: 'tenant' });
await worker.begin();
await until('what was queued to be sent', async () => await db.value(system.left) === 0, { timeout: 120_000 });
await bed.setLatency(50);

const key = clusterKey(bed.cluster);
const organizations = (await db.rows('SELECT org_id, id FROM byoc.credentials ORDER BY org_id'))
  .map(({ org_id: organization, id }) => ({ organization, credential: id, token: ownerToken(key, organization, 'ada') }));

const waits = () => steadyWaits(bed, 'bench', organizations.map(({ organization }) => organization), { perSecond: MESSAGES, seconds: SECONDS });

// Waits with requests going on, and what became of these.
async function waitsWithRequests() {
  const load = new Worker(new URL('api_load.mjs', import.meta.url), { workerData: { url: worker.url, perSecond: REQUESTS, organizations } });
  await once(load, 'message');
  const measured = await waits();
  load.postMessage('stop');
  const [requests] = await once(load, 'message');
  return { waits: measured, requests };
}

const runs = [];
for (let round = 0; round < rounds; ++round) {
  await bed.settle(db);
  await bed.forget();
  const without = await waits();
  await bed.forget();
  runs.push({ without, ...await waitsWithRequests() });
}
await worker.stop();

const of = (figure) => median(runs.map(figure));
const results = [
  { requests: 0, p50: of((run) => percentile(run.without, 0.5)), p99: of((run) => percentile(run.without, 0.99)) },
  {
    requests: of(({ requests }) => requests.answered / requests.seconds),
    p50: of((run) => percentile(run.waits, 0.5)), p99: of((run) => percentile(run.waits, 0.99)),
    answer: { p50: of(({ requests }) => requests.p50), p99: of(({ requests }) => requests.p99) },
  },
];
const [without, beside] = results;
const wrong = runs.map(({ requests }) => requests.wrong).filter((each) => Object.keys(each).length);
report(`${MESSAGES} messages a second: commit to arrival, ms, and requests of the REST API (${rounds} rounds of ${SECONDS} s)`,
  ['requests/s', 'p50', 'p99', 'p99 against none', 'answer p50', 'answer p99'], [
    ['none', without.p50.toFixed(2), without.p99.toFixed(2), '', '', ''],
    [judged(`${Math.round(beside.requests)} of ${REQUESTS}`, beside.requests >= REQUESTS * BARS.requests), beside.p50.toFixed(2), beside.p99.toFixed(2),
      judged(`${(beside.p99 / without.p99).toFixed(2)} (at most ${BARS.ratio})`, beside.p99 <= without.p99 * BARS.ratio), beside.answer.p50.toFixed(2), beside.answer.p99.toFixed(2)],
  ]);
const kinds = runs[0].requests.kinds.map(({ what }, kind) => ['p50', 'p99'].reduce((row, name) => ({ ...row, [name]: of(({ requests }) => requests.kinds[kind][name]) }), { what }));
report('The same requests by kind, ms', ['request', 'p50', 'p99'],
  kinds.sort((a, b) => b.p99 - a.p99).map((kind) => [kind.what, kind.p50.toFixed(2), kind.p99.toFixed(2)]));
if (wrong.length) console.log(`  ${judged('other answers than expected:', false)} ${JSON.stringify(wrong)}`);
keep('api', { bars: BARS, results });
await bed.end();
