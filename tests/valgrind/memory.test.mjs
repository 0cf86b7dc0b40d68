// byocd under valgrind: 10,000 messages, with every kind of trouble among them, leak nothing and touch no memory that is not theirs.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { Stack, until } from '../e2e/stack.mjs';

const MESSAGES = 10_000;
// Some hundred times slower than without valgrind: what takes long is not what is tested.
const stack = new Stack('valgrind', { env: { BYOC_REQUEST_TIMEOUT: '5s' } });

after(() => stack.end());
before(async () => {
  await stack.start();
  await stack.reconcileAfter(100, 200, 400);
});

test(`${MESSAGES} messages and SIGTERM`, async () => {
  const good = await stack.organization(1);
  const wrong = await stack.organization(2);
  await stack.db.query('SELECT byoc.update_credential($1, $2)', [wrong.credential, { auth_token: 'e'.repeat(32) }]);
  await stack.faults([
    { action: 'status', status: 429, retry_after: 1, count: 3 }, { action: 'status', status: 500, count: 10, probability: 0.01 },
    { action: 'reset', count: 10, probability: 0.01 }, { action: 'reset_after', count: 10, probability: 0.01 },
    { action: 'timeout_after', count: 2, probability: 0.01 }, { action: 'malformed', count: 10, probability: 0.01 },
  ]);
  await stack.send(wrong, '+15551000002', 'a token that the provider refuses');
  await stack.db.query(`SELECT count(byoc.send_sms('+1555' || lpad(n::text, 7, '0'), 'message ' || n, org_id => $1))
                        FROM generate_series(1, $2::int) AS n`, [good.id, MESSAGES]);
  await until('half of them to be sent', async () => (await stack.count(`status IN ('sent', 'delivered')`)) > MESSAGES / 2,
    { timeout: 300_000 });
  await stack.db.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'byocd'`);
  await until('all to be sent', async () => (await stack.count(`status IN ('sent', 'delivered')`)) === MESSAGES, { timeout: 300_000 });
  assert.equal((await stack.simulator.messages()).length, MESSAGES);
  assert.equal(await stack.count(`status IN ('queued', 'scheduled')`), 1, 'the one whose token is wrong waits');

  const end = await stack.byocd.program.stop('SIGTERM');
  const findings = readFileSync(stack.byocdLog, 'utf8').split('\n').filter((line) => line.startsWith('=='));
  assert.deepEqual({ ...end, findings: findings.join('\n') }, { code: 0, signal: null, findings: '' });
});
