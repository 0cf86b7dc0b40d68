// What Prometheus is told, and what the dashboard and the alerts in ops/ make of it.

import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { TOP } from '../../scripts/run.mjs';
import { Stack, tool, until } from './stack.mjs';
import { Receiver, answer } from './webhooks/receiver.mjs';

const PROMTOOL = tool('prometheus', 'usr/bin/promtool');
const stack = new Stack('metrics', { env: { BYOC_ALLOWED_WEBHOOK_NETWORKS: '127.0.0.1' } });
const noPromtool = { skip: !PROMTOOL && 'no promtool' };
let organization;
let receiver;

after(() => {
  receiver?.stop();
  return stack.end();
});
before(async () => {
  await stack.start();
  organization = await stack.organization(1);
  await stack.settled(await stack.send(organization, '+15550139001', 'hello'));
});

async function scrape() {
  const response = await fetch(`${stack.byocd.url}/metrics`);
  assert.equal(response.status, 200);
  assert.equal(response.headers.get('content-type'), 'text/plain; version=0.0.4; charset=utf-8');
  return response.text();
}

// The value of one sample: `name` with its labels as they stand there.
function valueOf(text, name) {
  const line = text.split('\n').find((each) => each.startsWith(`${name} `));
  return line === undefined ? undefined : Number(line.slice(name.length + 1));
}
const scraped = (name, wanted) => until(`${name} to be ${wanted}`, async () => valueOf(await scrape(), name) === wanted);
const typesOf = (text) => new Map([...text.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map(([, name, type]) => [name, type]));

test('a scrape is what Prometheus expects', noPromtool, async () => {
  const { status, stdout, stderr } = spawnSync(PROMTOOL, ['check', 'metrics'], { input: await scrape(), encoding: 'utf8' });
  assert.equal(`${stdout}${stderr}`, '');
  assert.equal(status, 0);
});

test('messages, requests, calls and connections are counted', async () => {
  const before = await scrape();
  await stack.settled(await stack.send(organization, '+15550139002', 'one more'));
  await stack.settled(await stack.send(organization, '+15005550001', 'an invalid number'), ['failed']);
  const text = await scrape();
  const grown = (name) => valueOf(text, name) - valueOf(before, name);
  assert.equal(grown('byocd_jobs_claimed_total'), 2);
  assert.equal(grown('byocd_outcomes_total{outcome="accepted"}'), 1);
  assert.equal(grown('byocd_outcomes_total{outcome="rejected"}'), 1);
  assert.equal(grown('byocd_request_duration_seconds_count'), 2);
  assert.ok(valueOf(text, 'byocd_database_call_duration_seconds_count{call="claim_jobs"}') > 0);
  for (const connection of ['dispatch', 'record', 'receipts', 'monitor']) {
    assert.equal(valueOf(text, `byocd_database_connected{connection="${connection}"}`), 1);
    assert.equal(valueOf(text, `byocd_database_reconnects_total{connection="${connection}"}`), 0);
  }
  assert.ok(valueOf(text, 'process_resident_memory_bytes') > 1e6);
  assert.ok(Math.abs(valueOf(text, 'process_start_time_seconds') - Date.now() / 1000) < 3600);
});

test('figures of the database follow it', async () => {
  await scraped('byoc_up', 1);
  await stack.db.query(`SELECT byoc.send_sms('+15550139003', 'later', now() + interval '1 day', org_id => $1)`, [organization.id]);
  await scraped('byoc_queue_messages{state="scheduled"}', 1);
  await scraped('byoc_credentials{status="verified"}', 1);
  await scraped('byoc_master_keys{state="active"}', 1);
  await scraped('byoc_dispatchers{state="sleeping"}', 1);
});

test('acceptance is counted from when a message could be sent, not from when it was scheduled', async () => {
  const histogram = async () => {
    const text = await scrape();
    return { count: valueOf(text, 'byoc_acceptance_seconds_count'), sum: valueOf(text, 'byoc_acceptance_seconds_sum') };
  };
  // Those from before: a scrape may be five seconds old.
  const accepted = Number(await stack.db.value(`SELECT count(*) FROM byoc.sms_events WHERE event = 'accepted'`));
  await until('what came before', async () => (await histogram()).count === accepted);
  const before = await histogram();
  const begin = Date.now();
  const ahead = 3;
  const id = await stack.db.value(`SELECT byoc.send_sms('+15550139006', 'soon', now() + make_interval(secs => $2), org_id => $1)`, [organization.id, ahead]);
  await stack.settled(id);
  const took = (Date.now() - begin) / 1000;
  await until('it to be counted', async () => (await histogram()).count === accepted + 1);
  const { sum } = await histogram();
  assert.ok(sum - before.sum >= 0 && sum - before.sum <= took - ahead + 0.1, `${sum - before.sum} seconds of ${took}, the first ${ahead} of them before its time`);
});

test('calls are counted', async () => {
  receiver = await Receiver.start();
  const credential = await stack.db.value('SELECT byoc.add_credential($1, $2, org_id => $3)',
    ['webhook', { url: receiver.url, secret: `whsec_${'A'.repeat(32)}` }, organization.id]);
  await stack.verified({ credential });
  const held = [];
  receiver.onEvent = (response) => held.push(response);
  const call = () => stack.db.value(`SELECT byoc.call_webhook('test', '{}', org_id => $1)`, [organization.id]);
  await call();
  await until('the request', () => held.length === 1);
  assert.equal(valueOf(await scrape(), 'byocd_calls_in_flight'), 1);
  await scraped('byoc_calls{state="running"}', 1);
  held[0].writeHead(204).end();
  await scraped('byocd_call_outcomes_total{provider="webhook",outcome="accepted"}', 1);
  assert.equal(valueOf(await scrape(), 'byocd_call_duration_seconds_count{provider="webhook"}'), 1);
  assert.equal(valueOf(await scrape(), 'byocd_calls_in_flight'), 0);
  receiver.onEvent = answer(503);
  await call();
  await scraped('byocd_call_outcomes_total{provider="webhook",outcome="unavailable"}', 1);
  await scraped('byoc_calls{state="scheduled"}', 1);
});

test('what an earlier database does not tell is left out', async () => {
  await stack.db.query('REVOKE EXECUTE ON FUNCTION byoc.acceptance_times(), byoc.call_totals() FROM byocd');
  await scraped('byoc_acceptance_seconds_count', undefined);
  await scraped('byoc_calls{state="running"}', undefined);
  assert.equal(valueOf(await scrape(), 'byoc_up'), 1);
  await stack.db.query(`SELECT byoc.grant_dispatcher('byocd')`);
  await scraped('byoc_calls{state="running"}', 0);
});

test('many scrapes at a time are one question to the database', async () => {
  const asked = async () => valueOf(await scrape(), 'byocd_database_call_duration_seconds_count{call="totals"}') ?? 0;
  const before = await asked();
  const texts = await Promise.all(Array.from({ length: 40 }, scrape));
  assert.ok(texts.every((text) => valueOf(text, 'byoc_up') === 1));
  const rounds = await asked() - before;
  assert.ok(rounds <= 5, `${rounds} questions for 42 scrapes`); // each takes longer than five seconds only on a standing machine
});

test('no scrape and no probe waits for a database that does not answer', async () => {
  const blocker = await stack.connect();
  await blocker.query('BEGIN; LOCK TABLE byoc.organization_keys IN ACCESS EXCLUSIVE MODE');
  await scraped('byoc_up', 0);
  assert.equal((await fetch(`${stack.byocd.url}/healthz`)).status, 200);
  assert.ok(valueOf(await scrape(), 'byocd_jobs_claimed_total') > 0, 'what byocd knows itself is there');
  await blocker.query('ROLLBACK');
  await blocker.end();
  await scraped('byoc_up', 1);
});

test('lost connections are counted', async () => {
  await stack.db.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'byocd'`);
  for (const connection of ['dispatch', 'record', 'receipts', 'monitor']) {
    await scraped(`byocd_database_reconnects_total{connection="${connection}"}`, 1);
    await scraped(`byocd_database_connected{connection="${connection}"}`, 1);
  }
});

test('leases that ran out are counted', async () => {
  await stack.holdAnswers(100);
  const id = await stack.send(organization, '+15550139004', 'held');
  await stack.unanswered(1);
  await stack.byocd.program.stop('SIGKILL');
  await stack.faults([]);
  await stack.expireLeases();
  await stack.startByocd();
  await scraped('byocd_jobs_rescued_total', 1);
  await stack.settled(id);
});

test('nothing tells who the tenants are, unless that is allowed', async () => {
  await stack.send(await stack.organization(2), '+15550139005', 'hello');
  const secrets = [organization.id, organization.credential, organization.account.sid, organization.account.authToken,
    organization.account.number.slice(2), '15550139', 'Organization 1'];
  let text = await scrape();
  for (const secret of secrets) assert.ok(!text.includes(secret), secret);
  assert.doesNotMatch(text, /\+\d{7}/);

  await stack.byocd.program.stop();
  await stack.startByocd({ BYOC_METRICS_ORGANIZATIONS: 'yes' });
  const scheduled = (line) => line.startsWith(`byoc_lane_messages{org_id="${organization.id}"`) && line.endsWith('state="scheduled"} 1');
  await until('the organization\'s scheduled message', async () => {
    text = await scrape();
    return text.split('\n').some(scheduled);
  });
  for (const secret of secrets.slice(2)) assert.ok(!text.includes(secret), secret);
});

test('doc/operations.md has every metric with its labels, and no other', async () => {
  const documented = new Map([...readFileSync(`${TOP}/doc/operations.md`, 'utf8').matchAll(/^\| `((?:byocd?|process)_\w+)` \| ([^|]*)\|/gm)]
    .map(([, name, labels]) => [name, labels.replaceAll('`', '').trim()]));
  const text = await scrape(); // with lanes: see the test before
  const found = new Map([...typesOf(text).keys()].map((name) => {
    const line = text.split('\n').find((each) => new RegExp(`^${name}(_sum)?[{ ]`).test(each)) ?? '';
    return [name, [...line.matchAll(/[{,](\w+)="/g)].map(([, label]) => label).join(' ')];
  }));
  assert.deepEqual(new Map([...documented].sort()), new Map([...found].sort()));
});

test('doc/operations.md has every alert', () => {
  const text = readFileSync(`${TOP}/doc/operations.md`, 'utf8');
  for (const [, name] of alerts.matchAll(/- alert: (\w+)/g)) assert.ok(text.includes(`\`${name}\``), name);
});

// What stands in the dashboard and the alerts.
const dashboard = JSON.parse(readFileSync(`${TOP}/ops/grafana-dashboard.json`, 'utf8'));
const queries = dashboard.panels.flatMap(({ targets }) => targets ?? []).map(({ expr }) => expr.replaceAll('$__rate_interval', '5m'));
const alerts = readFileSync(`${TOP}/ops/alerts.yml`, 'utf8');

test('dashboard and alerts name only metrics that are there, and the dashboard shows all', async () => {
  const types = typesOf(await scrape());
  const namesIn = (text) => new Set([...text.matchAll(/\b(?:byocd?|process)_[a-z_]+\b/g)].map(([name]) => name).filter((name) => !/^byoc_.*\($/.test(name)));
  const known = (name) => types.has(name) || (/_(bucket|count|sum)$/.test(name) && types.get(name.replace(/_(bucket|count|sum)$/, '')) === 'histogram');
  const expressions = [...alerts.matchAll(/expr: (?:\|\n((?: {10}.*\n)+)|(.*)\n)/g)].map(([, block, line]) => block ?? line);
  assert.equal(expressions.length, alerts.match(/- alert:/g).length);
  const shown = namesIn(queries.join('\n'));
  for (const name of [...shown, ...namesIn(expressions.join('\n'))]) assert.ok(known(name), `${name} is not exported`);
  for (const [name, type] of types) {
    if (/^process_(max_fds|virtual_memory_bytes)$|^byoc_lane_/.test(name)) continue;
    assert.ok(type === 'histogram' ? shown.has(`${name}_bucket`) : shown.has(name), `the dashboard does not show ${name}`);
  }
});

test('promtool accepts the dashboard\'s queries and the alerts, and each alert is raised by what it is about', noPromtool, () => {
  const rules = { groups: [{ name: 'dashboard', rules: queries.map((expr, i) => ({ record: `panel_${i}`, expr })) }] };
  writeFileSync(`${stack.run.folder}/dashboard.json`, JSON.stringify(rules)); // which YAML is too
  execFileSync(PROMTOOL, ['check', 'rules', `${stack.run.folder}/dashboard.json`]);
  execFileSync(PROMTOOL, ['check', 'rules', `${TOP}/ops/alerts.yml`]);
  const tests = readFileSync(`${TOP}/tests/ops/alerts.yml`, 'utf8');
  for (const [, name] of alerts.matchAll(/- alert: (\w+)/g)) {
    assert.match(tests, new RegExp(`- alertname: ${name}\n.*\n.*exp_labels`), `${name} has a test that raises it`);
    assert.match(tests, new RegExp(`alertname: ${name}, .*exp_alerts: \\[\\]`), `${name} is quiet in a healthy system`);
  }
  writeFileSync(`${stack.run.folder}/alerts.yml`, tests.replace(`'{rules}'`, `'${TOP}/ops/alerts.yml'`));
  execFileSync(PROMTOOL, ['test', 'rules', `${stack.run.folder}/alerts.yml`]);
});
