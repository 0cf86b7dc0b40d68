// PgBouncer between applications, or byocd, and the server.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Stack } from './stack.mjs';
import { API_ENV, Api } from './support/api.mjs';
import { PGBOUNCER, PgBouncer } from './support/pgbouncer.mjs';

const skip = !PGBOUNCER && 'no pgbouncer';
const WHO = `SELECT concat_ws(' ', byoc.current_org_id(), byoc.current_user_id(), byoc.current_org_role()) AS who`;
const stack = new Stack('poolers', { env: API_ENV });
let api;
let a;
let b;

after(() => stack.end());
before(async () => {
  await stack.start();
  api = await new Api(stack).open();
  [a, b] = [await stack.organization(1), await stack.organization(2)];
});

const pooled = (options) => PgBouncer.start(stack.run, stack.cluster, { database: 'e2e', ...options });

test('transaction mode: a transaction\'s context does not reach the next client', { skip }, async () => {
  await stack.db.query('CREATE ROLE app LOGIN; GRANT tenant TO app');
  const pooler = await pooled({ user: 'app', mode: 'transaction', size: 1 });
  const [first, second] = [await pooler.connect(), await pooler.connect()];
  const who = (connection) => connection.value(WHO);
  const backend = 'SELECT pg_backend_pid()';
  try {
    for (const set of ['SELECT byoc.authenticate($1)', `SELECT set_config('byoc.token', $1, true)`]) {
      await first.query('BEGIN');
      await first.query(set, [api.token(a)]);
      assert.equal(await who(first), `${a.id} ada owner`);
      const server = await first.value(backend);
      await first.query('COMMIT');
      assert.equal(await second.value(backend), server, 'the next client is given the same server connection');
      assert.equal(await who(second), '');
      await second.query('BEGIN');
      await second.query(`SET LOCAL byoc.token = '${api.token(b)}'`);
      assert.equal(await who(second), `${b.id} ada owner`);
      await assert.rejects(second.query('SELECT 1 / 0'));
      await second.query('ROLLBACK');
      assert.equal(await first.value(backend), server);
      assert.equal(await who(first), '');
    }
  } finally {
    await Promise.all([first.end(), second.end()]);
    await pooler.stop();
  }
});

test('session mode: byocd sends and serves through it', { skip }, async () => {
  await stack.byocd.program.stop();
  const pooler = await pooled({ user: 'byocd', mode: 'session' });
  await stack.startByocd(pooler.env);
  const id = await stack.send(a, '+15553000001', 'through a pooler');
  await stack.settled(id, ['sent']);
  const { status, json } = await api.call(api.token(a), 'GET', `/api/organization/messages/${id}`);
  assert.deepEqual([status, json.body], [200, 'through a pooler']);
  await stack.byocd.program.stop();
  await pooler.stop();
  await stack.startByocd();
});
