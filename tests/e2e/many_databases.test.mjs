// A server remembers wake-ups for so many databases; those beyond find their work by looking.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Cluster, Run } from './stack.mjs';

const PLACES = 64; // wakeup_capacity in extension/shared_state.h

const run = new Run(`e2e-many-databases-${process.pid}`);
let cluster;

after(() => cluster?.disconnect());
before(async () => {
  cluster = new Cluster(run, {});
  const first = await cluster.connect();
  await first.query('CREATE DATABASE late');
  await first.query('CREATE DATABASE other_0');
  const other = await cluster.connect('other_0');
  await other.query('CREATE EXTENSION pg_byoc');
  await other.end();
  for (let i = 1; i < PLACES; ++i) await first.query(`CREATE DATABASE other_${i} TEMPLATE other_0`);
});

test('a claim in a database beyond them', async () => {
  const places = [];
  for (let i = 0; i < PLACES; ++i) {
    const other = await cluster.connect(`other_${i}`);
    places.push(await other.value('SELECT byoc.sleeping_dispatchers()'));
    await other.end();
  }
  const db = await cluster.connect('late');
  await db.query('CREATE EXTENSION pg_byoc');
  assert.equal(await db.value('SELECT byoc.sleeping_dispatchers()'), null, 'it has no place');
  assert.deepEqual(new Set(places), new Set([0]));
  const organization = await db.value(`SELECT byoc.create_organization('Late')`);
  const credential = { account_sid: `AC${'1'.repeat(32)}`, auth_token: '0'.repeat(32), messaging_service_sid: `MG${'1'.repeat(32)}` };
  await db.value('SELECT byoc.add_credential($1, $2, org_id => $3)', ['twilio', credential, organization]);
  await db.query(`UPDATE byoc.organization_api_credentials SET verification_status = 'verified'`);
  for (const body of ['a', 'b']) await db.value('SELECT byoc.send_sms($1, $2, org_id => $3)', ['+15005550006', body, organization]);
  const claim = async () => (await db.rows(`SELECT body FROM byoc.claim_jobs($1, 10, '1 hour')`, ['00000000-0000-4000-8000-000000000001'])).map(({ body }) => body);
  assert.deepEqual(await claim(), ['a', 'b']);
  assert.deepEqual(await claim(), []);
});
