// An inserted row becomes an SMS from the organization's own account.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Stack, until } from './stack.mjs';

// So long a poll that whatever arrives was woken by NOTIFY.
const stack = new Stack('delivery', { env: { BYOC_POLL_INTERVAL: '60min' } });
let a, b, app;

after(() => stack.end());
before(async () => {
  await stack.start();
  a = await stack.organization(1);
  b = await stack.organization(2);
  await stack.db.query(`
    SELECT byoc.create_sms_trigger('leads', '{{phone}}', 'Hi {{name|default:"there"}}: {{summary|truncate:80}}');
    SELECT byoc.create_sms_trigger('leads', '+15551000099', 'hot: {{name}}', condition => 'NEW.score >= 80');
    CREATE ROLE app LOGIN; GRANT INSERT ON leads TO app`);
  app = await stack.connect('app');
});

const insert = (organization, lead) => app.query(
  'INSERT INTO leads (org_id, name, phone, summary, score) VALUES ($1, $2, $3, $4, $5)',
  [organization.id, lead.name, lead.phone, lead.summary, lead.score ?? 50]);

const received = (to) => until(`the SMS to ${to}`, async () => (await stack.simulator.messages()).find((m) => m.to === to));

test('two organizations, each from its own account and number', async () => {
  await insert(a, { name: 'Ann', phone: '+15551000001', summary: 'x' });
  await insert(b, { name: 'Bob', phone: '+15551000002', summary: 'y' });
  const [toAnn, toBob] = [await received('+15551000001'), await received('+15551000002')];
  assert.deepEqual([toAnn.account_sid, toAnn.from], [a.account.sid, a.account.number]);
  assert.deepEqual([toBob.account_sid, toBob.from], [b.account.sid, b.account.number]);
});

test('Unicode arrives byte for byte', async () => {
  const name = '🔥 Zoë “quoted” & 100% + = ; 李小龍 \u0301 \u200d end\n\ttab';
  await insert(a, { name, phone: '+15551000003', summary: '💍'.repeat(90) });
  assert.equal((await received('+15551000003')).body, `Hi ${name}: ${'💍'.repeat(80)}`);
});

test('a condition is met by some rows of one session and not by others', async () => {
  // One session, several transactions: what the trigger keeps between them must live as long as the session.
  for (let i = 0; i < 5; ++i) await insert(a, { name: `hot ${i}`, phone: `+1555100001${i}`, summary: '', score: 75 + i * 5 });
  await until('five thank-yous and four alerts', async () => {
    const messages = await stack.simulator.messages();
    const alerts = messages.filter((m) => m.to === '+15551000099').map((m) => m.body).sort();
    const thanks = messages.filter((m) => m.to.startsWith('+1555100001'));
    return thanks.length === 5 && alerts.join() === 'hot: hot 1,hot: hot 2,hot: hot 3,hot: hot 4';
  });
});

test('a row with a NULL or malformed number commits and leaves a failed message that says why', async () => {
  await insert(a, { name: 'No number', phone: null, summary: 'a' });
  await insert(a, { name: 'Bad number', phone: '555-1234', summary: 'b' });
  assert.equal(await stack.db.value(`SELECT count(*)::int FROM leads WHERE name IN ('No number', 'Bad number')`), 2);
  const failed = await stack.db.rows(`SELECT body, error_message FROM byoc.sms_messages WHERE status = 'failed' ORDER BY body`);
  assert.deepEqual(failed, [
    { body: 'Hi Bad number: b', error_message: 'to_number is not an E.164 number such as +14155550100' },
    { body: 'Hi No number: a', error_message: 'to_number is empty' },
  ]);
});

test('a template that names a missing column is refused at creation', async () => {
  await assert.rejects(stack.db.query(`SELECT byoc.create_sms_trigger('leads', '{{phone}}', '{{surname}}')`), {
    code: '42703', message: 'body template: table leads has no column "surname"',
  });
});

test('a rolled back row sends nothing', async () => {
  await app.query('BEGIN');
  await insert(a, { name: 'Nobody', phone: '+15551000004', summary: '' });
  await app.query('ROLLBACK');
  await insert(a, { name: 'Somebody', phone: '+15551000005', summary: '' });
  await received('+15551000005');
  assert.equal((await stack.simulator.messages()).some((m) => m.to === '+15551000004'), false);
});

test('a scheduled message is sent when its time has come, without a poll', async () => {
  const due = Date.now() + 700;
  await stack.db.query('BEGIN'); // nobody takes it before its status was looked at
  const id = await stack.db.value(`SELECT byoc.send_sms('+15551000006', 'later', send_at => $1, org_id => $2)`, [new Date(due).toISOString(), a.id]);
  const { status } = await stack.message(id);
  await stack.db.query('COMMIT');
  assert.equal(status, 'scheduled');
  const message = await received('+15551000006');
  assert.ok(message.arrived >= due, `arrived ${due - message.arrived} ms early`);
  assert.equal((await stack.settled(id)).status, 'sent');
});

test('no wake-up is lost among concurrent writers', async () => {
  const writers = await Promise.all(Array.from({ length: 8 }, () => stack.connect('app')));
  // Commits that take long, so that the dispatcher goes to sleep in the middle of some.
  await Promise.all(writers.map((writer) => writer.query('SET commit_delay = 500; SET commit_siblings = 0').catch(() => {})));
  await Promise.all(writers.map(async (writer, w) => {
    for (let i = 0; i < 40; ++i) {
      await writer.query('INSERT INTO leads (org_id, name, phone) VALUES ($1, $2, $3)', [b.id, `w${w} ${i}`, `+15552${w}000${String(i).padStart(2, '0')}`]);
    }
  }));
  await until('all 320', async () => (await stack.simulator.messages()).filter((m) => m.to.startsWith('+15552')).length === 320);
});

test('an organization without a credential gets a failed message that says so', async () => {
  const id = await stack.db.value(`SELECT byoc.create_organization('Without')`);
  const sms = await stack.send({ id }, '+15551000007', 'hello');
  const message = await stack.settled(sms);
  assert.deepEqual([message.status, message.error_code], ['failed', 'no_credential']);
});

test('a revoked credential is not used any more', async () => {
  const c = await stack.organization(3);
  await stack.settled(await stack.send(c, '+15551000008', 'before'));
  await stack.db.query('SELECT byoc.revoke_credential($1)', [c.credential]);
  const message = await stack.settled(await stack.send(c, '+15551000009', 'after'));
  assert.deepEqual([message.status, message.error_code], ['failed', 'no_credential']);
  assert.equal((await stack.simulator.messages()).some((m) => m.to === '+15551000009'), false);
});

test('a credential is verified with its provider by itself, and after a change again', async () => {
  const status = (id, wanted) => until(`credential to be ${wanted}`, async () => {
    const [row] = await stack.db.rows('SELECT verification_status, verification_error FROM byoc.credentials WHERE id = $1', [id]);
    return row.verification_status === wanted && row;
  });
  await status(a.credential, 'verified');
  await stack.db.query('SELECT byoc.update_credential($1, $2)', [b.credential, { auth_token: 'f'.repeat(32) }]);
  const failed = await status(b.credential, 'failed');
  assert.match(failed.verification_error, /token|SID/i);
  await stack.db.query('SELECT byoc.update_credential($1, $2)', [b.credential, { auth_token: b.account.authToken }]);
  await status(b.credential, 'verified');
});
