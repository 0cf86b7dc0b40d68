// byocd's unit, as it is installed, under a systemd that is process 1 of namespaces of its own (tests/service/boot).

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { TOP, freePort } from '../../scripts/run.mjs';
import { BYOCD, Stack, until } from '../e2e/stack.mjs';

const BOOT = `${TOP}/tests/service/boot`;
const tried = spawnSync(BOOT, ['--try'], { encoding: 'utf8' });
const skip = tried.status !== 0 && tried.stderr.trim();
if (skip) console.log(`skipped: ${skip}`);

const stack = new Stack('systemd');
const patient = { timeout: 180_000 }; // the watchdog alone takes half a minute
const units = {
  'ready.target': '[Unit]\nDefaultDependencies=no\n', // all that this systemd starts by itself
  // What every unit leans on, without what a machine does there.
  ...Object.fromEntries(['sysinit', 'basic', 'shutdown', 'network-online', 'multi-user'].map((name) => [`${name}.target`, '[Unit]\nDefaultDependencies=no\n'])),
  'byocd.service': readFileSync(`${TOP}/ops/byocd.service`),
};
let boot, pid, url, organization;

function inside(command, args, options = {}) {
  const { status, stdout, stderr } = spawnSync('nsenter', ['--target', pid, '--mount', '--pid', '--cgroup', '--uts', '--ipc', command, ...args], { encoding: 'utf8', ...options });
  return { status, stdout, stderr };
}
const systemctl = (...args) => {
  const { status, stderr } = inside('systemctl', args);
  assert.equal(status, 0, stderr);
};
const log = () => inside('cat', ['/run/byocd.log']).stdout;
const show = (property) => inside('systemctl', ['show', '--value', '-p', property, 'byocd']).stdout.trim();
const write = (path, input) => assert.equal(inside('tee', [path], { input }).status, 0);
const most = async () => Number(/^byocd_requests_in_flight_max (\d+)$/m.exec(await (await fetch(`${url}/metrics`)).text())?.[1]);
const sends = async (body) => {
  const message = await stack.settled(await stack.send(organization, '+15550160001', body));
  assert.equal(message.status, 'sent');
};

after(async () => {
  await boot?.stop();
  await stack.end();
});
before(async () => {
  if (skip) return;
  await stack.start();
  organization = await stack.organization(1);
  await stack.byocd.program.stop();
  const folder = `${stack.run.folder}/boot`;
  mkdirSync(`${folder}/units`, { recursive: true });
  for (const [name, content] of Object.entries(units)) writeFileSync(`${folder}/units/${name}`, content);
  mkdirSync(`${folder}/units/byocd.service.d`);
  writeFileSync(`${folder}/units/byocd.service.d/log.conf`, '[Service]\nStandardOutput=append:/run/byocd.log\n'); // no journald here
  writeFileSync(`${folder}/socket`, stack.cluster.env.PGHOST);
  const listen = `127.0.0.1:${await freePort()}`;
  url = `http://${listen}`;
  writeFileSync(`${folder}/default`, `DATABASE_URL=postgresql:///e2e?host=/run/postgresql
BYOC_HTTP_LISTEN=${listen}
BYOC_TWILIO_BASE_URL=${stack.simulator.url}
BYOC_CONFIG=/etc/default/byocd.conf
`);
  boot = stack.run.start(BOOT, [folder], { log: `${stack.run.folder}/systemd.log`, env: { BYOCD_BIN: BYOCD } });
  await until('systemd to boot', () => {
    if (boot.ended) throw new Error(`systemd ended: ${readFileSync(boot.log, 'utf8')}`);
    if (!existsSync(`${folder}/pid`)) return false;
    pid = readFileSync(`${folder}/pid`, 'utf8').trim();
    return pid !== '' && inside('systemctl', ['is-active', 'ready.target']).stdout.trim() === 'active';
  });
  write('/etc/default/byocd.conf', 'max-in-flight = 10\ndrain-timeout = 6s\n');
});

test('systemctl start waits until it is ready, and it sends', { skip }, async () => {
  assert.deepEqual(inside('ps', ['-p', '1', '-o', 'comm=']).stdout.trim(), 'systemd');
  systemctl('start', 'byocd');
  assert.equal(show('Type'), 'notify');
  assert.equal(show('ActiveState'), 'active');
  await until('its status', () => show('StatusText') === 'Sending');
  assert.equal(inside('ps', ['-p', show('MainPID'), '-o', 'user=']).stdout.trim(), 'byocd');
  await sends('from a unit');
});

test('its exposure is below 2.0, as systemd runs it', { skip }, () => {
  const { status, stdout } = inside('systemd-analyze', ['security', '--no-pager', '--threshold=19', 'byocd']);
  assert.equal(status, 0, stdout);
  console.log(stdout.trim().split('\n').at(-1).trim());
});

test('systemctl reload makes the same process read its settings again', { skip }, async () => {
  const main = show('MainPID');
  assert.equal(await most(), 10);
  write('/etc/default/byocd.conf', 'max-in-flight = 20\ndrain-timeout = 6s\n');
  systemctl('reload', 'byocd');
  await until('the new limit', async () => await most() === 20);
  assert.equal(show('MainPID'), main);
  assert.equal(show('ActiveState'), 'active');
  await sends('after a reload');
});

test('one that stands still is ended by the watchdog, and started again', { skip }, async () => {
  assert.equal(show('WatchdogUSec'), '30s');
  const main = show('MainPID');
  systemctl('kill', '--signal=STOP', '--kill-who=main', 'byocd');
  const begin = performance.now();
  await until('another process', () => show('NRestarts') === '1' && show('ActiveState') === 'active', patient);
  console.log(`it stood still for ${((performance.now() - begin) / 1000).toFixed(1)} s, with WatchdogSec=30`);
  assert.notEqual(show('MainPID'), main);
  await sends('after the watchdog');
});

test('one that dies is started again', { skip }, async () => {
  const main = show('MainPID');
  systemctl('kill', '--signal=KILL', '--kill-who=main', 'byocd');
  await until('another process', () => show('MainPID') !== main && show('ActiveState') === 'active', patient);
  await sends('after a death');
});

test('systemctl stop gives it the time that drain-timeout needs, and no more', { skip }, async () => {
  // Much less than drain-timeout: byocd has to ask for more.
  write('/run/units/byocd.service.d/short.conf', '[Service]\nTimeoutStopSec=2\n');
  systemctl('daemon-reload');
  assert.equal(show('TimeoutStopUSec'), '2s');
  await stack.holdAnswers(100);
  const id = await stack.send(organization, '+15550160002', 'its answer never comes');
  await stack.unanswered(1);
  systemctl('stop', 'byocd');
  assert.equal(show('ActiveState'), 'inactive');
  assert.equal(show('Result'), 'success'); // not timeout
  assert.match(log(), /drain timeout: breaking off 1 requests/);
  await stack.faults([]);
  systemctl('start', 'byocd');
  await stack.settled(id, ['sent', 'delivered']); // it is not lost
});
