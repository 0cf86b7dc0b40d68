// byocd top, printed once and live in a terminal.

import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { after, before, test } from 'node:test';
import { BYOCD, Stack, plainEnvironment, until } from './stack.mjs';

const stack = new Stack('top');
let organization;

after(() => stack.end());
before(async () => {
  await stack.start();
  organization = await stack.organization(1);
  await stack.settled(await stack.send(organization, '+15550160001', 'a text that is nobody\'s business'));
  await stack.db.query(`SELECT byoc.send_sms('+15550160002', 'later', now() + interval '1 day', org_id => $1)`, [organization.id]);
});

const environment = (user = 'byocd') => ({ ...plainEnvironment(), ...stack.cluster.environment('e2e', user), TERM: 'xterm' });
const once = (args = ['--once'], env = environment()) => spawnSync(BYOCD, ['top', ...args], { env, encoding: 'utf8' });

test('a frame for scripts: totals and lanes, no escape sequences, no recipients and texts', () => {
  for (const args of [['--once'], []]) { // what is no terminal gets one frame, too
    const { status, stdout, stderr } = once(args);
    assert.equal(stderr, '');
    assert.equal(status, 0);
    assert.match(stdout, /^pg_byoc in e2e, \d\d:\d\d:\d\d\nwaiting 0, the oldest for 0\.0 s; scheduled 1; due 0; sending 0; looked for 0; unknown 0\nlast hour: sent 1; failed 0/);
    assert.match(stdout, /byocd: \d sending, \d waiting for work\n.*credentials: 1 verified, 0 pending, 0 failed/);
    assert.match(stdout, new RegExp(`^${organization.id}  .*  1  `, 'm'));
    assert.doesNotMatch(stdout, /\x1b|1555016|nobody/);
  }
});

test('what waits says why', async () => {
  await stack.db.query('UPDATE byoc.organization_api_credentials SET verification_status = \'failed\', verification_due_at = NULL');
  await stack.send(organization, '+15550160003', 'waits');
  await until('the reason', () => new RegExp(`^${organization.id} .*paused: `, 'm').test(once().stdout));
  assert.match(once().stdout, /1 paused; credentials: 0 verified, 0 pending, 1 failed/);
});

test('a role that may not look, and a database that is not there, are told and end with 3', async () => {
  await stack.db.query('CREATE ROLE nobody_at_all LOGIN');
  const refused = once(['--once'], environment('nobody_at_all'));
  assert.equal(refused.status, 3);
  assert.match(refused.stderr, /permission denied.*byoc\.grant_dispatcher/);
  const away = once(['--once'], { ...environment(), PGHOST: '/nowhere' });
  assert.equal(away.status, 3);
  assert.match(away.stderr, /could not be reached/);
});

// In a terminal of its own: script(1) of Debian's bsdutils.
class Terminal {
  output = '';
  constructor() {
    this.child = spawn('script', ['-qefc', `'${BYOCD}' top --interval 0.1`, '/dev/null'], { env: environment(), stdio: ['pipe', 'pipe', 'inherit'] });
    this.child.stdout.setEncoding('utf8').on('data', (text) => { this.output += text; });
    this.ended = new Promise((resolve) => { this.child.on('exit', (code) => resolve(code)); });
  }
  shows(pattern) { return until(`${pattern} on the screen`, () => pattern.test(this.output)); }
}
const ENTER = '\x1b[?1049h';
const LEAVE = '\x1b[?1049l';

test('live, it is drawn anew until q ends it, and the terminal is as it was', async () => {
  const terminal = new Terminal();
  await terminal.shows(/pg_byoc in e2e/);
  assert.ok(terminal.output.includes(ENTER));
  await stack.db.query(`SELECT byoc.send_sms('+15550160004', 'later', now() + interval '1 day', org_id => $1)`, [organization.id]);
  await terminal.shows(/scheduled 2;/);
  terminal.child.stdin.write('q');
  assert.equal(await terminal.ended, 0);
  assert.ok(terminal.output.trimEnd().endsWith(LEAVE), JSON.stringify(terminal.output.slice(-200)));
});

test('it outlives a restart of the database', async () => {
  const terminal = new Terminal();
  await terminal.shows(/pg_byoc in e2e/);
  await stack.db.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'byocd top'`);
  await terminal.shows(/trying again; q ends/);
  const before = terminal.output.length;
  await until('the next frame', () => terminal.output.slice(before).includes('pg_byoc in e2e'));
  terminal.child.stdin.write('q');
  assert.equal(await terminal.ended, 0);
});

test('Ctrl-C ends it, and the terminal is as it was', async () => {
  const terminal = new Terminal();
  await terminal.shows(/pg_byoc in e2e/);
  terminal.child.stdin.write('\x03');
  assert.notEqual(await terminal.ended, 0);
  assert.ok(terminal.output.includes(LEAVE));
});
