// byocd check, in every state that an account can be in: what it prints, and how it exits.

import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import https from 'node:https';
import { once } from 'node:events';
import { after, before, test } from 'node:test';
import { freePort } from '../../scripts/run.mjs';
import { BYOCD, Stack, plainEnvironment } from './stack.mjs';

const stack = new Stack('check');
const TO = '+15551000002';
const NAMES = ['account', 'number', 'test_sms', 'hot_lead_sms'];
let org;

after(() => stack.end());
before(async () => {
  await stack.start();
  org = await stack.organization(1);
});

const account = (changes = {}) => ({
  sid: org.account.sid, auth_token: org.account.authToken, friendly_name: 'Account 1', numbers: [{ phone_number: org.account.number, sms: true }], ...changes,
});
const setAccount = (changes) => stack.simulator.request('PUT', '/_simulator/accounts', account(changes));
const fallback = (changes = {}) => ({
  TWILIO_ACCOUNT_SID: org.account.sid, TWILIO_AUTH_TOKEN: org.account.authToken, TWILIO_PHONE_NUMBER: org.account.number, ...changes,
});

// Runs `byocd check`; answers { code, out, err }. Without a terminal, as in a pipe.
function check(args, env = {}) {
  return new Promise((resolve) => {
    execFile(BYOCD, ['check', ...args], {
      env: { ...plainEnvironment(), ...stack.cluster.environment('e2e', 'byocd'), BYOC_TWILIO_BASE_URL: stack.simulator.url, ...env },
    }, (error, out, err) => {
      for (const text of [out, err]) assert.ok(!text.includes(org.account.authToken), 'no secret is printed');
      resolve({ code: error?.code ?? 0, out, err });
    });
  });
}
const checkOrg = (...args) => check(['--org', org.id, ...args]);

// The same as JSON: { code, ...document, by: each check by its name }.
async function report(args, env) {
  const { code, out, err } = await check([...args, '--json'], env);
  assert.equal(err, '');
  const document = JSON.parse(out);
  assert.equal(document.exit_code, code);
  return { code, ...document, by: Object.fromEntries(document.checks.map((each) => [each.name, each])) };
}

// A failing state: the first check that fails, its code, what cause and fix say, and that all later ones were skipped. In the
// text the same.
async function fails(args, { env, at, code, exit = 1, cause, fix }) {
  const found = await report(args, env);
  const failed = found.by[at];
  assert.deepEqual([failed.status, failed.code, found.code], ['failed', code, exit], JSON.stringify(found, null, 1));
  assert.match(failed.cause, cause);
  assert.match(failed.fix, fix);
  const index = found.checks.findIndex(({ name }) => name === at);
  assert.deepEqual(found.checks.map(({ status }) => status), found.checks.map((_, i) => (i < index ? 'passed' : i === index ? 'failed' : 'skipped')));
  assert.ok(found.checks.slice(index + 1).every(({ reason }) => reason === `${failed.title} failed`));
  const { code: again, out } = await check(args, env);
  assert.equal(again, exit);
  assert.ok(out.includes(`❌ ${failed.title}\n`), out);
  assert.match(out, new RegExp(`^   cause      .*${cause.source}`, `m${cause.flags}`));
  assert.match(out, new RegExp(`^   fix        .*${fix.source}`, `m${fix.flags}`));
  const skipped = found.checks.length - index - 1;
  assert.ok(out.endsWith(`\nTotal: ${index} passed, 1 failed${skipped ? `, ${skipped} skipped` : ''}\n`), out);
  return found;
}

test('all is well: four checks, two messages, the second one through the queue', async () => {
  await stack.simulator.request('DELETE', '/_simulator/messages');
  const { code, out, err } = await checkOrg('--to', TO);
  assert.equal(err, '');
  assert.equal(code, 0, out);
  assert.deepEqual(out.match(/^\S+ \w.*$/gm).slice(1), ['✅ Account Verification', '✅ Phone Number Validation', '✅ Send Test SMS', '✅ Send Hot Lead SMS',
    'Total: 4 passed, 0 failed']);
  assert.match(out, /^Checking the Twilio account of organization "Organization 1" [0-9a-f-]{36}\n\n✅/);
  assert.match(out, /^   account    Account 1\n   status     active\n   type       Full\n   created    \w{3}, \d+/m);
  assert.equal(out.match(/^   status     delivered after \d+\.\d s$/gm).length, 2);
  assert.ok(!out.includes('\x1b'), 'no escapes outside of a terminal');
  const messages = await stack.simulator.messages();
  assert.deepEqual(messages.map(({ account_sid: sid, to }) => [sid, to]), [[org.account.sid, TO], [org.account.sid, TO]]);
  assert.match(messages[1].body, /HOT LEAD/);
  const stored = await stack.db.rows('SELECT body, provider_sid FROM byoc.sms_messages WHERE org_id = $1', [org.id]);
  assert.deepEqual(stored, [{ body: messages[1].body, provider_sid: messages[1].sid }], 'the test message is not the queue\'s');
  assert.deepEqual(await stack.db.rows(`SELECT DISTINCT action, application_name FROM byoc.audit_log WHERE org_id = $1 AND application_name = 'byocd check' ORDER BY 1`, [org.id]),
    [{ action: 'check.sms_queued', application_name: 'byocd check' }, { action: 'credential.leased', application_name: 'byocd check' }]);
});

test('one JSON document with stable names', async () => {
  const found = await report(['--org', org.id, '--to', TO]);
  assert.deepEqual(Object.keys(found), ['code', 'source', 'org_id', 'organization', 'to', 'checks', 'passed', 'failed', 'skipped', 'exit_code', 'by']);
  assert.deepEqual([found.source, found.org_id, found.organization, found.to, found.passed, found.failed, found.skipped, found.exit_code],
    ['database', org.id, 'Organization 1', TO, 4, 0, 0, 0]);
  assert.deepEqual(found.checks.map(({ name }) => name), NAMES);
  for (const each of found.checks) {
    assert.deepEqual(Object.keys(each), ['name', 'title', 'status', 'details', 'seconds', 'warning', 'code', 'cause', 'fix', 'reason']);
    assert.deepEqual([each.status, each.code, each.cause, each.fix, each.reason], ['passed', null, null, null, null]);
  }
  assert.equal(found.by.account.seconds, null);
  assert.ok(found.by.hot_lead_sms.seconds > 0 && found.by.hot_lead_sms.seconds < 30);
  assert.match(found.by.hot_lead_sms.details.message, /^SM[0-9a-f]{32}$/);
});

test('--only account,number sends nothing and needs no recipient', async () => {
  await stack.simulator.request('DELETE', '/_simulator/messages');
  const { code, out } = await checkOrg('--only', 'account,number');
  assert.equal(code, 0, out);
  assert.ok(out.endsWith('\nTotal: 2 passed, 0 failed\n'), out);
  assert.deepEqual(await stack.simulator.messages(), []);
});

test('the environment instead of the database, which is not asked', async () => {
  const env = { ...fallback(), PGHOST: '/nowhere' };
  const found = await report(['--env', '--to', TO], env);
  assert.deepEqual([found.code, found.source, found.org_id, found.passed], [0, 'environment', null, 4]);
  assert.equal((await report(['--only', 'account'], env)).source, 'environment', 'it is what TWILIO_ACCOUNT_SID stands for');
});

test('the recipient is the organization\'s alert_phone, unless another is given', async () => {
  await stack.db.query('UPDATE byoc.organizations SET settings = $1 WHERE id = $2', [{ alert_phone: '+15551000003' }, org.id]);
  assert.equal((await report(['--org', org.id])).to, '+15551000003');
  await stack.db.query(`UPDATE byoc.organizations SET settings = '{}' WHERE id = $1`, [org.id]);
});

test('used wrongly: exit code 2, and why', async () => {
  const cases = [
    [[], /say which account/],
    [['--org', 'clinic'], /--org must be a UUID, not 'clinic'/],
    [['--org', org.id, '--env'], /--env|--org/],
    [['--org', org.id], /--to \+E164 is needed.*alert_phone.*--only account,number/],
    [['--org', org.id, '--only', 'account,phone'], /--only takes account, number, test_sms and hot_lead_sms, not 'phone'/],
    [['--org', org.id, '--wait', '0'], /--wait/],
    [['--env', '--to', TO], /TWILIO_ACCOUNT_SID is not set/],
    [['--colour'], /--colour/],
  ];
  for (const [args, pattern] of cases) {
    const { code, out, err } = await check(args);
    assert.equal(code, 2, args.join(' '));
    assert.equal(out, '');
    assert.match(err, pattern);
  }
  assert.match((await check(['--env', '--to', TO], fallback({ TWILIO_AUTH_TOKEN: '' }))).err, /TWILIO_AUTH_TOKEN is not set/);
});

test('wrong token', async () => {
  await fails(['--env', '--to', TO], {
    env: fallback({ TWILIO_AUTH_TOKEN: '0'.repeat(32) }), at: 'account', code: '20003', cause: /does not accept this SID and secret/, fix: /Copy both again from the Twilio console/,
  });
  await fails(['--env', '--to', TO], {
    env: fallback({ TWILIO_AUTH_TOKEN: 'your_auth_token' }), at: 'account', code: 'environment_malformed', cause: /TWILIO_AUTH_TOKEN is not 32 letters and digits/, fix: /Copy it again/,
  });
});

test('suspended, and closed', async () => {
  await setAccount({ status: 'suspended' });
  const found = await fails(['--org', org.id, '--to', TO], { at: 'account', code: 'account_suspended', cause: /suspended, perhaps because its trial credit is used up/, fix: /Add a payment method/ });
  assert.equal(found.by.account.details.status, 'suspended');
  await setAccount({ status: 'closed' });
  await fails(['--org', org.id, '--to', TO], { at: 'account', code: '20003', cause: /the account is closed/, fix: /Copy both again/ });
  await setAccount();
});

test('the sender\'s number: not in the account, without SMS, a placeholder, not E.164', async () => {
  const args = ['--org', org.id, '--to', TO];
  await setAccount({ numbers: [] });
  await fails(args, { at: 'number', code: 'number_not_in_account', cause: /not in this Twilio account/, fix: /Active Numbers/ });
  await setAccount({ numbers: [{ phone_number: org.account.number, sms: false }] });
  await fails(args, { at: 'number', code: 'number_without_sms', cause: /cannot send SMS/, fix: /SMS capability/ });
  await setAccount();
  const number = (value) => ({ env: fallback({ TWILIO_PHONE_NUMBER: value }), at: 'number' });
  await fails(['--env', '--to', TO], { ...number('+1234567890'), code: 'placeholder_number', cause: /sender's number is still the placeholder \+1234567890/, fix: /\+14155550100/ });
  await fails(['--env', '--to', TO], { ...number('555-0100'), code: 'not_e164', cause: /sender's number is not in E\.164 form/, fix: /\+14155550100/ });
});

test('the recipient\'s number: a placeholder, not E.164, refused by Twilio', async () => {
  await fails(['--org', org.id, '--to', '+1234567890'], { at: 'number', code: 'placeholder_number', cause: /recipient's number is still the placeholder/, fix: /\+14155550100/ });
  await fails(['--org', org.id, '--to', '07911 123456'], { at: 'number', code: 'not_e164', cause: /recipient's number is not in E\.164/, fix: /\+14155550100/ });
  await setAccount({ opted_out: ['+15551000004'] });
  await fails(['--org', org.id, '--to', '+15551000004'], { at: 'test_sms', code: '21610', cause: /opted out by STOP/, fix: /START/ });
  await setAccount();
});

test('a trial account sends to verified recipients only, and they are listed', async () => {
  await setAccount({ type: 'Trial', verified_callers: [TO, '+15551000007'] });
  const found = await fails(['--org', org.id, '--to', '+15551000009'], { at: 'number', code: '21608', cause: /trial account and the recipient is not verified \(21608\)/, fix: /Verify the recipient.*or upgrade/ });
  assert.equal(found.by.number.details.verified, `${TO}, +15551000007`);
  assert.equal(found.by.account.details.type, 'Trial');
  assert.equal((await report(['--org', org.id, '--to', TO])).code, 0);
  // Twilio's refusal says the same.
  await fails(['--org', org.id, '--to', '+15551000009', '--only', 'account,test_sms'], { at: 'test_sms', code: '21608', cause: /recipient is not verified/, fix: /Verify the recipient/ });
  await setAccount();
});

test('Twilio out of reach: name, port, TLS, silence, trouble, somebody else; exit code 3', async (t) => {
  const args = ['--org', org.id, '--to', TO];
  const unreachable = (what, env, code, cause, fix) => t.test(what, () => fails(args, { env, at: 'account', code, exit: 3, cause, fix }));
  await unreachable('DNS', { BYOC_TWILIO_BASE_URL: 'https://api.twilio.invalid' }, 'dns', /name does not resolve \(.*api\.twilio\.invalid/, /DNS/);
  await unreachable('refused', { BYOC_TWILIO_BASE_URL: `https://127.0.0.1:${await freePort()}` }, 'connect_failed', /no connection was made/, /firewall, proxy/);
  await unreachable('no TLS', { BYOC_TWILIO_BASE_URL: stack.simulator.url.replace('http:', 'https:') }, 'tls', /TLS failed/, /ca-certificates/);
  const server = await selfSigned();
  await unreachable('a certificate that nobody knows', { BYOC_TWILIO_BASE_URL: `https://127.0.0.1:${server.address().port}` }, 'tls', /TLS failed \(.*certificate/, /ca-certificates/);
  server.close();
  await stack.faults([{ action: 'timeout', match: { method: 'GET' } }]);
  await unreachable('timeout', { BYOC_REQUEST_TIMEOUT: '300ms' }, 'timeout', /no answer in time/, /Try again; check egress/);
  await stack.faults([{ action: 'status', status: 503, match: { method: 'GET' } }]);
  await unreachable('503', {}, '20503', /HTTP 503/, /Try again in a minute/);
  await stack.faults([{ action: 'malformed', variant: 'not_json', match: { method: 'GET' } }]);
  await unreachable('not Twilio', {}, 'bad_answer', /does not speak Twilio's API/, /base URL/);
  await stack.faults([]);
});

async function selfSigned() {
  const file = (name) => `${stack.run.folder}/${name}.pem`;
  execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2', '-subj', '/CN=127.0.0.1',
    '-keyout', file('key'), '-out', file('cert')], { stdio: 'ignore' });
  const server = https.createServer({ key: readFileSync(file('key')), cert: readFileSync(file('cert')) }, (_, response) => response.end('{}'));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return server;
}

test('a lost answer to the test message is said to be perhaps sent', async () => {
  await stack.faults([{ action: 'timeout_after', count: 2, match: { method: 'POST' } }]);
  await fails(['--env', '--to', TO], { env: { ...fallback(), BYOC_REQUEST_TIMEOUT: '3s' }, at: 'test_sms', code: 'timeout', exit: 3, cause: /may have been sent/, fix: /Try again/ });
  await stack.faults([]);
});

test('a message that fails after it was taken, and one that nobody hears of again', async () => {
  const delivery = (knobs) => stack.simulator.request('PUT', '/_simulator/delivery', knobs);
  await delivery({ recipients: { [TO]: { final_status: 'undelivered', error_code: 30003 } } });
  const found = await fails(['--org', org.id, '--to', TO], { at: 'test_sms', code: '30003', cause: /phone is off, out of reach/, fix: /Try again/ });
  assert.match(found.by.test_sms.details.status, /^undelivered after \d+\.\d s$/);
  await delivery({ final_ms: null });
  const sent = await report(['--env', '--to', TO, '--only', 'hot_lead_sms', '--wait', '3'], fallback());
  assert.equal(sent.code, 0);
  assert.match(sent.by.hot_lead_sms.warning, /has not said yet that it arrived/);
  await delivery({ sending_ms: null });
  await fails(['--org', org.id, '--to', TO, '--wait', '1'], { at: 'test_sms', code: 'not_delivered', cause: /has not sent it on \(queued\)/, fix: /Monitor > Logs/ });
  // Five seconds are promised.
  await delivery({ final_ms: 5500 });
  const slow = await report(['--env', '--to', TO, '--only', 'hot_lead_sms'], fallback());
  assert.equal(slow.code, 0);
  assert.match(slow.by.hot_lead_sms.warning, /longer than the 5 seconds/);
  await stack.simulator.request('DELETE', '/_simulator/delivery');
});

test('API key: what it cannot read is no failure', async () => {
  const key = { sid: `SK${'0'.repeat(31)}1`, secret: '0'.repeat(31) + 'b', type: 'standard' };
  await setAccount({ api_keys: [key] });
  const env = fallback({ TWILIO_AUTH_TOKEN: '', TWILIO_API_KEY: key.sid, TWILIO_API_SECRET: key.secret });
  const found = await report(['--env', '--to', TO], env);
  assert.equal(found.code, 0);
  assert.match(found.by.account.details.account, /accepts this API key/);
  await fails(['--env', '--to', TO], { env: { ...env, TWILIO_API_SECRET: '0'.repeat(32) }, at: 'account', code: '20003', cause: /SID and secret/, fix: /Copy both/ });
  await setAccount();
});

test('Messaging Service as sender', async () => {
  const sid = `MG${'0'.repeat(31)}1`;
  const env = fallback({ TWILIO_PHONE_NUMBER: '', TWILIO_MESSAGING_SERVICE_SID: sid });
  await setAccount({ messaging_services: [{ sid, numbers: [org.account.number] }] });
  const found = await report(['--env', '--to', TO], env);
  assert.deepEqual([found.code, found.by.number.details.sender], [0, `Messaging Service ${sid}, in this account`]);
  await setAccount({ messaging_services: [] });
  await fails(['--env', '--to', TO], { env, at: 'number', code: '21701', cause: /Messaging Service/, fix: /Messaging > Services/ });
  await setAccount({ messaging_services: [{ sid, numbers: [] }] });
  await fails(['--env', '--to', TO], { env, at: 'test_sms', code: '21703', cause: /has no sender/, fix: /sender pool/ });
  await setAccount();
});

test('the organization: unknown, without a credential, revoked, shredded', async () => {
  const of = (id) => ['--org', id, '--to', TO];
  await fails(of('99999999-0000-4000-8000-000000000009'), { at: 'account', code: 'no_organization', cause: /does not exist in this database/, fix: /byoc\.organizations/ });
  const bare = await stack.db.value(`SELECT byoc.create_organization('Клиника 😀 "Sonne"')`);
  await fails(of(bare), { at: 'account', code: 'no_credential', cause: /has no Twilio credential/, fix: /byocd setup/ });
  assert.match((await check(of(bare))).out, /organization "Клиника 😀 "Sonne"" /);
  const revoked = await stack.organization(2);
  await stack.db.query('SELECT byoc.revoke_credential($1)', [revoked.credential]);
  await fails(of(revoked.id), { at: 'account', code: 'credential_revoked', cause: /was revoked/, fix: /byocd setup/ });
  await stack.db.query('SELECT byoc.shred_organization($1)', [revoked.id]);
  await fails(of(revoked.id), { at: 'account', code: 'organization_shredded', cause: /was shredded/, fix: /another organization/ });
});

test('a credential that is marked failed: its messages wait, so none is queued', async () => {
  await stack.db.query(`UPDATE byoc.organization_api_credentials SET verification_status = 'failed', verification_error = 'The token is wrong.' WHERE id = $1`, [org.credential]);
  await fails(['--org', org.id, '--to', TO], { at: 'hot_lead_sms', code: 'credential_failed', cause: /marked failed: The token is wrong\./, fix: /SELECT byoc\.verify_credential\('[0-9a-f-]{36}'\)/ });
  await stack.db.query(`UPDATE byoc.organization_api_credentials SET verification_status = 'verified', verification_error = NULL WHERE id = $1`, [org.credential]);
});

test('the database: unreachable, without the extension, without the part', async () => {
  const args = ['--org', org.id, '--to', TO];
  await fails(args, { env: { PGHOST: '127.0.0.1', PGPORT: String(await freePort()) }, at: 'account', code: 'database_unreachable', exit: 3, cause: /could not be reached.*refused/, fix: /DATABASE_URL/ });
  await fails(args, { env: { PGDATABASE: 'postgres' }, at: 'account', code: 'not_installed', cause: /has no pg_byoc/, fix: /CREATE EXTENSION pg_byoc/ });
  await stack.db.query('CREATE ROLE stranger LOGIN');
  await fails(args, { env: { PGUSER: 'stranger' }, at: 'account', code: 'permission_denied', cause: /permission denied/, fix: /byoc\.grant_dispatcher/ });
});

test('what others wrote does not steer the terminal', async () => {
  await setAccount({ friendly_name: 'Evil \u001b[2J\u202e\u009b name' });
  const { out } = await checkOrg('--only', 'account');
  assert.match(out, /^   account    Evil \uFFFD\[2J\uFFFD\uFFFD name$/m);
  await setAccount();
});

test('colours on a terminal, none with NO_COLOR', async () => {
  const onTerminal = (env) => execFileSync('script', ['-qec', `${BYOCD} check --org ${org.id} --only account`, '/dev/null'], {
    env: { ...plainEnvironment(), TERM: 'xterm', ...stack.cluster.environment('e2e', 'byocd'), BYOC_TWILIO_BASE_URL: stack.simulator.url, ...env }, encoding: 'utf8',
  });
  assert.ok(onTerminal({}).includes('\x1b[1mAccount Verification\x1b[0m'));
  assert.ok(!onTerminal({ NO_COLOR: '1' }).includes('\x1b'));
});

test('no byocd runs: the account is fine, the queue is not, and nothing is left in it', async () => {
  await stack.byocd.program.stop();
  const before = await stack.db.value('SELECT count(*)::int FROM byoc.sms_messages');
  await fails(['--org', org.id, '--to', TO], { at: 'hot_lead_sms', code: 'no_dispatcher', cause: /No byocd is connected to this database/, fix: /byocd run/ });
  assert.equal(await stack.db.value('SELECT count(*)::int FROM byoc.sms_messages'), before);
  await stack.startByocd();
});

test('a byocd that cannot reach Twilio: the message is reported as waiting, and not sent later', async () => {
  await stack.byocd.program.stop();
  await stack.startByocd({ BYOC_TWILIO_BASE_URL: `http://127.0.0.1:${await freePort()}` });
  const found = await fails(['--org', org.id, '--to', TO, '--wait', '1', '--only', 'account,hot_lead_sms'], { at: 'hot_lead_sms', code: 'not_sent', cause: /still (queued|sending)/, fix: /byoc\.sms_events WHERE message_id = '[0-9a-f-]{36}'/ });
  const [, id] = /message_id = '([0-9a-f-]{36})'/.exec(found.by.hot_lead_sms.fix);
  assert.equal(await stack.db.value(`SELECT expires_at < created_at + interval '121 seconds' FROM byoc.sms_messages WHERE id = $1`, [id]), true);
});
