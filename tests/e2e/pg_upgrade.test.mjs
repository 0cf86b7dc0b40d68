// pg_upgrade into a new cluster: everything is there, nothing is sent before somebody says so, then all of it once.
// OLD_PG_CONFIG: of the PostgreSQL to come from (scripts/check-versions: 15); otherwise this one.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Stack, until } from './stack.mjs';
import { catalog, differences } from './support/catalog.mjs';
import { data, fill } from './support/upgrade_data.mjs';

const TO = '+15550138888';
const stack = new Stack('pg-upgrade');
let a;
let kept;

after(() => stack.end());
before(async () => {
  const { OLD_PG_CONFIG, PG_CONFIG } = process.env;
  if (OLD_PG_CONFIG) process.env.PG_CONFIG = OLD_PG_CONFIG;
  await stack.start();
  a = await stack.organization(1);
  await fill(stack, a);
  await stack.byocd.program.stop('SIGTERM');
  for (const n of [1, 2, 3]) await stack.send(a, TO, `waiting ${n}`);
  kept = await data(stack.db);
  await stack.cluster.disconnect();
  if (PG_CONFIG) process.env.PG_CONFIG = PG_CONFIG;
  else delete process.env.PG_CONFIG;
  stack.cluster = stack.cluster.upgrade(stack.run, 'upgraded');
  await stack.reconnect();
});

const arrived = async () => (await stack.simulator.messages(`?to=${encodeURIComponent(TO)}`)).map(({ body }) => body).sort();

// pg_dump gives columns of functions' bodies a name that had none, and forgets who closed the types.
function plain(found) {
  return Object.fromEntries(Object.entries(found).filter(([object]) => !object.startsWith('privileges at first, of type')).map(([object, { definition, ...more }]) => (
    [object, { definition: definition?.replace(/ AS \w+/g, ''), ...more }])));
}

test('the data are as they were', async () => {
  assert.deepEqual(await data(stack.db, kept), kept);
});

test('nothing is sent before it was adopted', async () => {
  await stack.launchByocd();
  await until('byocd to see a copy', async () => (await (await fetch(`${stack.byocd.url}/readyz`).catch(() => null))?.json())?.adopted === false);
  assert.deepEqual(await arrived(), []);
});

test('the catalog is that of a fresh install once it was: pg_upgrade had opened types to everybody', async () => {
  assert.ok(await stack.db.value('SELECT byoc.adopt_installation()') > 3);
  await stack.db.query('CREATE DATABASE fresh');
  const fresh = await stack.cluster.connect('fresh');
  await fresh.query(`CREATE EXTENSION pg_byoc; SELECT byoc.grant_dispatcher('byocd'), byoc.grant_tenant('tenant')`);
  assert.equal(differences(plain(await catalog(stack.db)), plain(await catalog(fresh))).join('\n'), '');
});

test('what came along is not sent before it is resumed; what is new is', async () => {
  await stack.settled(await stack.send(a, TO, 'new'), ['sent']);
  assert.deepEqual(await arrived(), ['new']);
  await stack.db.query('SELECT byoc.resume_restored($1)', [a.id]);
  await until('the rest to be sent', async () => (await arrived()).length === 4);
  await until('all to be recorded', async () => await stack.count(`to_number = $1 AND status IN ('queued', 'sending')`, [TO]) === 0);
  assert.deepEqual(await arrived(), ['new', 'waiting 1', 'waiting 2', 'waiting 3']);
});
