// byocd as a service: systemd's unit, what it is told, settings that change while it runs, and its end.

import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { TOP } from '../../scripts/run.mjs';
import { BYOCD, Stack, until } from './stack.mjs';

const stack = new Stack('service');
const noSystemd = { skip: !existsSync('/usr/bin/systemd-analyze') && 'no systemd-analyze' };
const WATCHDOG_MS = 300;
let socket, told, config, organization;

// The other end of NOTIFY_SOCKET: a line for each message, with the time in seconds. Node has no such sockets, Debian's perl-base has.
const RECEIVER = `use Socket; use Time::HiRes 'time'; $| = 1; socket(S, AF_UNIX, SOCK_DGRAM, 0) or die; bind(S, sockaddr_un($ARGV[0])) or die;
while (defined recv(S, $m, 4096, 0)) { $m =~ s/\\n/ /g; print time, " $m\\n" }`;

after(() => stack.end());
before(async () => {
  await stack.start();
  organization = await stack.organization(1);
  await stack.byocd.program.stop();
  socket = `${stack.cluster.env.PGHOST}/notify`; // a short path
  told = `${stack.run.folder}/told`;
  config = `${stack.run.folder}/byocd.conf`;
  stack.run.start('perl', ['-e', RECEIVER, socket], { log: told });
  await until('the socket', () => existsSync(socket));
  writeFileSync(config, 'max-in-flight = 10\nlog-level = info\ndrain-timeout = 1s\n');
  await stack.startByocd({ NOTIFY_SOCKET: socket, WATCHDOG_USEC: `${WATCHDOG_MS * 1000}`, BYOC_CONFIG: config });
});

const messages = () => readFileSync(told, 'utf8').split('\n').slice(0, -1).map((line) => [Number(line.slice(0, line.indexOf(' '))), line.slice(line.indexOf(' ') + 1)]);
const count = (text) => messages().filter(([, message]) => message === text).length;
const heard = (text) => until(`byocd to tell ${text}`, () => count(text) > 0);
const log = () => readFileSync(stack.byocdLog, 'utf8');
const mostInFlight = async () => Number(/^byocd_requests_in_flight_max (\d+)$/m.exec(await (await fetch(`${stack.byocd.url}/metrics`)).text())[1]);

test('systemd accepts the unit and rates its exposure below 2.0', noSystemd, () => {
  const file = `${stack.run.folder}/byocd.service`;
  writeFileSync(file, readFileSync(`${TOP}/ops/byocd.service`, 'utf8').replace('/usr/local/bin/byocd', BYOCD));
  const verified = spawnSync('systemd-analyze', ['verify', '--man=no', file], { encoding: 'utf8' });
  assert.doesNotMatch(`${verified.stdout}${verified.stderr}`, /byocd\.service/);
  execFileSync('systemd-analyze', ['security', '--offline=true', '--threshold=19', '--no-pager', file]);
  assert.notEqual(spawnSync('systemd-analyze', ['security', '--offline=true', '--threshold=1', '--no-pager', file]).status, 0, 'the threshold counts');
});

test('it tells when it is ready, and feeds the watchdog', async () => {
  await heard('READY=1');
  await heard('STATUS=Sending');
  await until('the watchdog to be fed for the fifth time', () => count('WATCHDOG=1') >= 5);
});

test('a process that stands still does not feed it', async () => {
  process.kill(stack.byocd.program.pid, 'SIGSTOP');
  try {
    await until('the watchdog to bark', () => Date.now() / 1000 - messages().at(-1)[0] > 2 * WATCHDOG_MS / 1000);
  } finally {
    process.kill(stack.byocd.program.pid, 'SIGCONT');
  }
  const fed = count('WATCHDOG=1');
  await until('the watchdog to be fed again', () => count('WATCHDOG=1') > fed);
});

test('its status says that the database is away', async () => {
  stack.cluster.restart('immediate');
  await heard('STATUS=Waiting for the database');
  await until('byocd to send again', () => messages().findLast(([, message]) => message.startsWith('STATUS='))[1] === 'STATUS=Sending');
  await stack.reconnect();
});

test('SIGHUP makes it read its settings again', async () => {
  assert.equal(await mostInFlight(), 10);
  assert.doesNotMatch(log(), / debug /);
  const hangUp = () => process.kill(stack.byocd.program.pid, 'SIGHUP');
  writeFileSync(config, 'max-in-flight = 20\nlog-level = debug\ndrain-timeout = 1s\nlease = 60s\n');
  hangUp();
  await until('the new limit', async () => await mostInFlight() === 20);
  await stack.settled(await stack.send(organization, '+15550150001', 'hello'));
  await until('the new level', () => / debug /.test(log()));
  assert.match(log(), /setting lease was changed: that takes effect with a restart/);
  assert.doesNotMatch(log(), /setting (max-in-flight|log-level|drain-timeout)/);
  assert.equal(messages().filter(([, message]) => /^RELOADING=1 MONOTONIC_USEC=\d+$/.test(message)).length, 1);
  await until('the end of the reload', () => count('READY=1') === 2);

  writeFileSync(config, 'max-in-flight = many\n');
  hangUp();
  await until('the refusal', () => /the settings stay as they were: max-in-flight 'many' from the config file cannot be used/.test(log()));
  await until('the end of the reload', () => count('READY=1') === 3);
  assert.equal(await mostInFlight(), 20);
  await stack.settled(await stack.send(organization, '+15550150002', 'and on'));
});

test('SIGTERM lets requests end, but not for longer than drain-timeout; nothing is lost by it', async () => {
  await stack.holdAnswers(100);
  const id = await stack.send(organization, '+15550150003', 'its answer never comes');
  await stack.unanswered(1);
  const { code } = await stack.byocd.program.stop();
  assert.equal(code, 0, 'what became of it is recorded');
  assert.match(log(), /drain timeout: breaking off 1 requests/);
  await heard('STATUS=Stopping');
  assert.equal(messages().filter(([, message]) => /^STOPPING=1 EXTEND_TIMEOUT_USEC=7000000$/.test(message)).length, 1);
  await stack.faults([]);
  await stack.startByocd();
  await stack.settled(id, ['sent', 'delivered']);
  assert.equal((await stack.simulator.messages()).filter(({ to }) => to === '+15550150003').length, 1);
});
