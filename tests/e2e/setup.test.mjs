// byocd setup: takes a credential, checks it with Twilio, stores it; the secret shows nowhere.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { clusterKey, now, signToken } from '../../scripts/jwt.mjs';
import { freePort } from '../../scripts/run.mjs';
import { BYOCD, Stack, filesWith, plainEnvironment, until } from './stack.mjs';

const stack = new Stack('setup', { settings: { log_statement: 'all', log_min_duration_statement: '0' } });
const TOKEN = '5e7b0000000000000000000000005e7b';
const FIELDS = { account_sid: `AC${'0'.repeat(31)}7`, auth_token: TOKEN, phone_number: '+15550000007' };
const VARIABLES = { TWILIO_ACCOUNT_SID: FIELDS.account_sid, TWILIO_AUTH_TOKEN: TOKEN, TWILIO_PHONE_NUMBER: FIELDS.phone_number };
let db;

after(() => stack.end());
before(async () => {
  await stack.start();
  db = stack.db;
  await db.query(`CREATE ROLE admin LOGIN; SELECT byoc.grant_admin('admin')`);
  await setAccount();
});

const setAccount = (changes = {}) => stack.simulator.request('PUT', '/_simulator/accounts', {
  sid: FIELDS.account_sid, auth_token: TOKEN, friendly_name: 'Account 7', numbers: [{ phone_number: FIELDS.phone_number, sms: true }], ...changes,
});
const environment = (env) => ({
  ...plainEnvironment(), TERM: 'xterm', ...stack.cluster.environment('e2e', 'admin'), BYOC_TWILIO_BASE_URL: stack.simulator.url, ...env,
});
const createOrganization = (name) => db.value('SELECT byoc.create_organization($1)', [name]);
const credentials = (org) => db.rows('SELECT id, fields, is_default FROM byoc.credentials WHERE org_id = $1 ORDER BY created_at', [org]);
const plaintext = async (org) => (await db.rows('SELECT fields FROM byoc.decrypted_credentials WHERE org_id = $1 AND is_default', [org]))[0]?.fields;

// Runs `byocd setup` without a terminal, with `input` at file descriptor 3; answers { code, out, err }.
async function setup(args, { input = '', env = {} } = {}) {
  const child = spawn(BYOCD, ['setup', ...args], { env: environment(env), stdio: ['ignore', 'pipe', 'pipe', 'pipe'] });
  let [out, err] = ['', ''];
  child.stdout.on('data', (text) => { out += text; });
  child.stderr.on('data', (text) => { err += text; });
  child.stdio[3].on('error', () => {}); // it may end without reading
  child.stdio[3].end(input);
  const code = await new Promise((resolve) => { child.once('close', resolve); });
  for (const text of [out, err]) assert.ok(!text.includes(TOKEN), 'the secret is not printed');
  return { code, out, err };
}
const fromFd = (args, fields = FIELDS, env = {}) => setup([...args, '--fields-fd', '3'], { input: JSON.stringify(fields), env });

// The same at a terminal (script(1) makes one): answers[i] is typed once the text answers[i][0] shows. Answers what the terminal showed.
async function atTerminal(command, answers, env = {}) {
  const child = spawn('script', ['-qec', command, '/dev/null'], { env: environment(env), stdio: 'pipe' });
  let shown = '';
  child.stdout.on('data', (text) => { shown += text; });
  const closed = new Promise((resolve) => { child.once('close', resolve); });
  let seen = 0;
  for (const [question, answer] of answers) {
    await until(`the question ${question}`, () => shown.indexOf(question, seen) >= 0, { timeout: 30_000 }).catch((error) => { throw new Error(`${error.message}\n${shown}`); });
    seen = shown.indexOf(question, seen) + question.length;
    child.stdin.write(answer);
  }
  const code = await closed;
  return { code, shown: shown.replaceAll('\r\n', '\n') };
}

test('from a file descriptor into the database: checked, stored, the secret in no log', async () => {
  const org = await createOrganization('Praxis Süß 😀');
  const { code, out, err } = await fromFd(['--org', org]);
  assert.deepEqual([code, err], [0, '']);
  assert.match(out, /^✅ Account Verification\n[^]*   account    Account 7\n[^]*✅ Phone Number Validation\n/);
  const [credential, ...more] = await credentials(org);
  assert.deepEqual(more, []);
  assert.match(out, new RegExp(`Organization "Praxis Süß 😀" \\(${org}\\)\n   credential ${credential.id}\n\nNow: byocd check --org ${org}`));
  assert.deepEqual(await plaintext(org), FIELDS);
  assert.deepEqual(filesWith(stack.cluster.folder, TOKEN), [], 'not in the server\'s files, its log included');
  const [entry] = await db.rows(`SELECT user_id, org_role, role, application_name FROM byoc.audit_log WHERE org_id = $1 AND action = 'credential.added'`, [org]);
  assert.deepEqual(entry, { user_id: 'byocd setup', org_role: 'owner', role: 'admin', application_name: 'byocd setup' });
});

test('a new organization, from the environment', async () => {
  const { code, out } = await setup(['--create-org', 'New clinic', '--from-env'], { env: VARIABLES });
  assert.equal(code, 0);
  const org = /Now: byocd check --org ([0-9a-f-]{36})/.exec(out)[1];
  assert.equal(await db.value('SELECT name FROM byoc.organizations WHERE id = $1', [org]), 'New clinic');
  assert.deepEqual(await plaintext(org), FIELDS);
});

test('what Twilio does not accept is not stored', async (t) => {
  const org = await createOrganization('Wrong');
  const refused = async (what, fields, { exit = 1, pattern, env }) => t.test(what, async () => {
    const { code, out, err } = await fromFd(['--org', org], fields, env);
    assert.equal(code, exit);
    assert.match(out + err, pattern);
    assert.deepEqual(await credentials(org), []);
  });
  await refused('a wrong token', { ...FIELDS, auth_token: '0'.repeat(32) }, { pattern: /❌ Account Verification\n[^]*cause {6}Twilio does not accept[^]*\nNothing was stored\.\n$/ });
  await refused('a number of somebody else', { ...FIELDS, phone_number: '+15550000008' }, { pattern: /❌ Phone Number Validation\n[^]*not in this Twilio account[^]*Nothing was stored/ });
  await refused('the placeholder', { ...FIELDS, phone_number: '+1234567890' }, { pattern: /placeholder/ });
  await refused('an unreachable Twilio', FIELDS, { exit: 3, pattern: /could not be reached/, env: { BYOC_TWILIO_BASE_URL: `http://127.0.0.1:${await freePort()}` } });
  await refused('a malformed secret', { ...FIELDS, auth_token: `${TOKEN}x` }, { pattern: /auth_token is not 32 letters and digits/ });
  await refused('a missing field', { ...FIELDS, auth_token: undefined }, { pattern: /auth_token is not set/ });
  await refused('a field that is none', { ...FIELDS, [TOKEN]: 'x' }, { pattern: /a name that is none of a Twilio credential's/ });
  await refused('no object', [TOKEN], { pattern: /not a JSON object/ });
  await refused('an unreachable database', FIELDS, { exit: 3, pattern: /database could not be reached/, env: { PGHOST: '127.0.0.1', PGPORT: String(await freePort()) } });
  await refused('a role that may not', FIELDS, { pattern: /byoc\.grant_admin/, env: { PGUSER: 'byocd' } });
  assert.match((await fromFd(['--org', '99999999-0000-4000-8000-000000000009'])).err, /does not exist, or was shredded/);
});

test('a credential that is there is replaced with --force only, and keeps its id', async () => {
  const org = await createOrganization('Replace');
  await fromFd(['--org', org]);
  const [before] = await credentials(org);
  const key = { sid: `SK${'0'.repeat(31)}7`, secret: `${'0'.repeat(28)}5ec7`, type: 'standard' };
  await setAccount({ api_keys: [key] });
  const changed = { account_sid: FIELDS.account_sid, api_key_sid: key.sid, api_key_secret: key.secret, phone_number: FIELDS.phone_number };
  const refused = await fromFd(['--org', org], changed);
  assert.equal(refused.code, 1);
  assert.match(refused.err, /has a Twilio credential already\. With --force it is replaced/);
  assert.deepEqual(await plaintext(org), FIELDS);
  assert.equal((await fromFd(['--org', org, '--force'], changed)).code, 0);
  const [now, ...more] = await credentials(org);
  assert.deepEqual([now.id, more], [before.id, []]);
  assert.deepEqual(await plaintext(org), changed, 'the token is gone: an API key and a token exclude each other');
  await setAccount();
});

test('with a user\'s token instead of a trusted role', async () => {
  const org = await createOrganization('By token');
  await db.query(`CREATE ROLE app LOGIN; SELECT byoc.grant_tenant('app')`);
  const token = (role) => signToken(clusterKey(stack.cluster), { org_id: org, sub: 'ada', org_role: role, exp: now() + 600 });
  const refused = await fromFd([], FIELDS, { PGUSER: 'app', BYOC_TOKEN: token('member') });
  assert.equal(refused.code, 1);
  assert.match(refused.err, /database refuses/);
  const other = await createOrganization('Another');
  assert.match((await fromFd(['--org', other], FIELDS, { PGUSER: 'app', BYOC_TOKEN: token('admin') })).err, new RegExp(`token is of organization ${org}`));
  const { code, err } = await fromFd([], FIELDS, { PGUSER: 'app', BYOC_TOKEN: token('admin') });
  assert.deepEqual([code, err], [0, '']);
  assert.deepEqual(await plaintext(org), FIELDS);
  assert.equal(await db.value(`SELECT user_id FROM byoc.audit_log WHERE org_id = $1 AND action = 'credential.added'`, [org]), 'ada');
});

test('a .env, which byocd check --env then reads', async () => {
  const path = `${stack.run.folder}/made.env`;
  const { code, out } = await setup(['--env-file', path, '--fields-fd', '3'], { input: JSON.stringify(FIELDS), env: { PGHOST: '/nowhere' } });
  assert.equal(code, 0);
  assert.match(out, /\nWritten: .*made\.env \(mode 0600\)\n$/);
  assert.equal(statSync(path).mode & 0o777, 0o600);
  const text = readFileSync(path, 'utf8');
  const example = readFileSync(new URL('../../.env.example', import.meta.url), 'utf8');
  assert.equal(text, Object.entries(VARIABLES).reduce((filled, [name, value]) => filled.replace(`\n${name}=\n`, `\n${name}=${value}\n`), example));
  const checked = await atTerminal(`sh -c 'set -a; . ${path}; exec ${BYOCD} check --env --only account,number'`, []);
  assert.match(checked.shown, /Total: 2 passed, 0 failed/);

  writeFileSync(path, `MINE=1\n${text}`);
  const refused = await setup(['--env-file', path, '--fields-fd', '3'], { input: JSON.stringify(FIELDS) });
  assert.equal(refused.code, 1);
  assert.match(refused.err, /exists already\. With --force/);
  assert.equal((await setup(['--env-file', path, '--from-env', '--force'], { env: VARIABLES })).code, 0);
  assert.equal(readFileSync(path, 'utf8'), `MINE=1\n${text}`);
});

test('used wrongly: exit code 2, and why', async () => {
  const cases = [
    [['--from-env'], /say where to: --org UUID, --create-org NAME, or --env-file PATH/],
    [['--org', 'clinic', '--from-env'], /--org must be a UUID, not 'clinic'/],
    [['--org', '99999999-0000-4000-8000-000000000009'], /no terminal to ask at: give the fields by --fields-fd N \(JSON\) or --from-env/],
    [['--create-org', 'A', '--env-file', 'x', '--from-env'], /exclude each other/],
    [['--create-org', 'A', '--from-env', '--fields-fd', '3'], /fields-fd|from-env/],
    [['--auth-token', 'x'], /auth-token/],
  ];
  for (const [args, pattern] of cases) {
    const { code, out, err } = await setup(args);
    assert.equal(code, 2, args.join(' '));
    assert.equal(out, '');
    assert.match(err, pattern);
  }
  assert.match((await setup(['--create-org', 'A', '--fields-fd', '77'])).err, /File descriptor 77 cannot be read: Bad file descriptor/);
});

const ACCOUNT = 'Account SID (AC...): ';
const SECRET = 'it is not shown: ';
const SENDER = '(MG...): ';

test('at a terminal: asks again for what cannot be right, and never shows the token', async () => {
  const { code, shown } = await atTerminal(`${BYOCD} setup`, [
    ['Organization: its UUID, or a name to create one: ', 'Asked\n'],
    [ACCOUNT, 'AC123\n'], [ACCOUNT, `  ${FIELDS.account_sid} \n`], [SECRET, `${TOKEN}0\n`], [SECRET, `${TOKEN}\n`], [SENDER, '+1234567890\n'], [SENDER, `${FIELDS.phone_number}\n`],
  ]);
  assert.equal(code, 0, shown);
  assert.ok(!shown.includes(TOKEN), shown);
  assert.ok(shown.includes('AC123'), 'what is no secret is shown');
  assert.match(shown, /This is not AC followed by 32 hexadecimal digits\./);
  assert.match(shown, /This is not 32 letters and digits\./);
  assert.match(shown, /placeholder \+1234567890/);
  const org = /Now: byocd check --org ([0-9a-f-]{36})/.exec(shown)[1];
  assert.deepEqual(await plaintext(org), FIELDS);

  const declined = await atTerminal(`${BYOCD} setup --org ${org}`, [['Replace it? (yes/no): ', 'no\n']]);
  assert.equal(declined.code, 1);
  const replaced = await atTerminal(`${BYOCD} setup --org ${org}`, [
    ['Replace it? (yes/no): ', 'yes\n'], [ACCOUNT, `${FIELDS.account_sid}\n`], [SECRET, `${TOKEN}\n`], [SENDER, `${FIELDS.phone_number}\n`],
  ]);
  assert.equal(replaced.code, 0, replaced.shown);
});

test('Ctrl-C while the secret is asked for: nothing is stored, and the terminal shows again what is typed', async () => {
  const path = `${stack.run.folder}/broken-off.env`;
  const { shown } = await atTerminal(`sh -c 'trap : INT; ${BYOCD} setup --env-file ${path}; echo "code $?"; stty -a'`, [
    [ACCOUNT, `${FIELDS.account_sid}\n`], [SECRET, '\x03'],
  ]);
  assert.match(shown, /code 130\n/);
  assert.match(shown, /[ \n]echo[ \n]/, 'echo, not -echo');
  assert.ok(!existsSync(path));
});
