// Calendar events in a restored copy: nothing is written to a calendar before somebody says so, and rows are followed on.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { Cluster, PG_BIN, Stack } from './stack.mjs';
import { GoogleCalendar } from './support/google.mjs';

const stack = new Stack('calendar-restore');
let a;
let calendar;

after(() => stack.end());
before(async () => {
  await stack.start();
  a = await stack.organization(1);
  calendar = await GoogleCalendar.connect(stack, a, 'ada');
});

test('a dump and its copy', async () => {
  await stack.db.query(`CREATE TABLE visits (id int PRIMARY KEY, org_id uuid, title text, starts_at timestamptz);
    SELECT byoc.create_calendar_trigger('visits', '{{title}}', 'starts_at')`);
  await stack.db.query('INSERT INTO visits VALUES (1, $1, $2, now())', [a.id, 'Written']);
  await calendar.settled(await stack.db.value('SELECT id FROM byoc.calendar_events'), 'confirmed');
  await stack.byocd.program.stop('SIGTERM');
  await stack.db.query('INSERT INTO visits VALUES (2, $1, $2, now())', [a.id, 'Waiting']);
  const dump = `${stack.run.folder}/dump`;
  execFileSync(`${PG_BIN}/pg_dump`, ['-Fc', '-f', dump], { env: { ...process.env, ...stack.cluster.environment('e2e') } });

  const copy = new Cluster(stack.run, { name: 'restored' });
  const admin = await copy.connect();
  await stack.copyRoles(admin);
  await admin.query('CREATE DATABASE e2e');
  await admin.end();
  execFileSync(`${PG_BIN}/pg_restore`, ['-e', '-d', 'e2e', dump], { env: { ...process.env, ...copy.environment('e2e') } });
  const db = await copy.connect('e2e');
  writeFileSync(copy.env.BYOC_KEYRING, readFileSync(stack.cluster.env.BYOC_KEYRING)); // with its owner and mode
  await db.query('SELECT byoc.reload_keyring()');
  const states = async () => Object.fromEntries((await db.rows('SELECT summary, status, waiting_reason FROM byoc.calendar_events'))
    .map(({ summary, status, waiting_reason: reason }) => [summary, reason ? `${status}: ${reason}` : status]));
  await assert.rejects(db.query(`SELECT * FROM byoc.claim_calls(1, '1 minute', 1)`), { code: '55000' });
  assert.equal(await db.value('SELECT byoc.adopt_installation()'), 1);
  assert.deepEqual(await states(), { Written: 'confirmed', Waiting: 'pending: paused: it came with a restored database (byoc.resume_restored)' });
  assert.equal(await db.value(`SELECT count(*)::int FROM byoc.claim_calls(10, '1 minute', 10)`), 0);
  assert.equal(await db.value('SELECT byoc.resume_restored()'), 1);
  await db.query(`UPDATE visits SET title = title || ', moved'`);
  const calls = await db.rows(`SELECT operation, payload ->> 'summary' AS summary FROM byoc.claim_calls(10, '1 minute', 10) ORDER BY summary`);
  assert.deepEqual(calls.map(({ operation, summary }) => `${operation} ${summary}`), ['event.insert Waiting, moved', 'event.update Written, moved']);
  await db.end();
  copy.stop('immediate');
});
