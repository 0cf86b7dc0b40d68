// Attacks on the other organizations' work: a tenant holds whatever locks it can get. Whoever would have to wait for it is
// given two seconds.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { until } from '../../scripts/run.mjs';
import { A, B, Ground, attempt } from './ground.mjs';

const ground = new Ground('availability');
const ME = `'eeeeeeee-0000-4000-8000-00000000000e'`;
let session, dispatcher, db;

after(() => ground.end());
before(async () => {
  await ground.start();
  ({ db } = ground);
  session = await ground.session();
  dispatcher = await ground.cluster.connect('postgres', 'byocd');
  await dispatcher.query('SET lock_timeout = \'2s\'');
});

test('LOCK TABLE through views', async (t) => {
  await session.query(`CREATE TABLE lair.own (i int); CREATE VIEW lair.plain AS SELECT * FROM lair.own;
    CREATE VIEW lair.over AS SELECT * FROM byoc.credentials; CREATE VIEW lair.nested AS SELECT 1 AS one FROM lair.own WHERE EXISTS (SELECT FROM lair.over);
    CREATE VIEW lair.hidden AS WITH c AS (SELECT id FROM byoc.credentials) SELECT i FROM lair.own UNION ALL SELECT (SELECT count(*)::int FROM c)`);
  for (const view of ['byoc.credentials', 'lair.over', 'lair.nested', 'lair.hidden', 'lair.own, lair.over']) {
    for (const mode of ['ACCESS EXCLUSIVE', 'EXCLUSIVE', 'SHARE ROW EXCLUSIVE', 'SHARE', 'SHARE UPDATE EXCLUSIVE']) {
      await attempt(t, `LOCK TABLE ${view} IN ${mode} MODE`, '42501', () => session.query(`DO $$ BEGIN LOCK TABLE ${view} IN ${mode} MODE; END $$`));
    }
  }
  for (const view of ['sms_messages', 'sms_events', 'organizations', 'providers', 'inbound_messages', 'opt_outs']) {
    await attempt(t, `LOCK TABLE byoc.${view}`, '42501', () => session.query(`DO $$ BEGIN LOCK TABLE byoc.${view}; END $$`));
  }
  await attempt(t, 'LOCK TABLE in a transaction', '42501', () => session.query('BEGIN; LOCK TABLE byoc.credentials'));
  await session.query('ROLLBACK');
  await attempt(t, 'LOCK TABLE NOWAIT', '42501', () => session.query('DO $$ BEGIN LOCK TABLE byoc.credentials NOWAIT; END $$'));
  await attempt(t, 'LOCK TABLE of one\'s own table and view', () => {}, () => session.query('BEGIN; LOCK TABLE lair.own, lair.plain; COMMIT'));
  await attempt(t, 'LOCK TABLE by the owner', () => {}, () => db.query('BEGIN; LOCK TABLE byoc.credentials; COMMIT'));

  // A harmless view that becomes another while LOCK waits for the table before it.
  const [holder, replacer] = [await ground.session(), await ground.session()];
  await replacer.query('CREATE VIEW lair.swapped AS SELECT 1 AS i');
  await holder.query('BEGIN; LOCK TABLE lair.own');
  const locking = session.query('BEGIN; LOCK TABLE lair.own, lair.swapped');
  locking.catch(() => {}); // looked at below
  await until('LOCK to wait', () => db.value('SELECT count(*)::int FROM pg_locks WHERE pid = $1 AND NOT granted', [session.pid]));
  await replacer.query('CREATE OR REPLACE VIEW lair.swapped AS SELECT count(*)::int AS i FROM byoc.credentials');
  await holder.query('COMMIT');
  await attempt(t, 'LOCK TABLE of a view that is replaced while LOCK waits', '42501', () => locking);
  await session.query('ROLLBACK');
  await Promise.all([holder.end(), replacer.end()]);
});

// `held` runs in a transaction of A that stays open while the others work.
async function whileHolding(t, what, held, others) {
  await session.query('BEGIN');
  await session.query(held);
  for (const [name, expected, sql] of others) await attempt(t, `${name}, while a tenant ${what}`, expected, () => dispatcher.query(sql));
  await session.query('ROLLBACK');
}

test('webhook events that a tenant holds on to', async (t) => {
  const own = await db.value(`SELECT id FROM byoc.webhook_calls WHERE org_id = '${A}'`);
  await db.query(`SELECT byoc.add_credential('webhook', '{"url": "https://app.example.org/", "secret": "whsec_${'A'.repeat(32)}"}'::jsonb, NULL, '${B}');
    UPDATE byoc.organization_api_credentials SET verification_status = 'verified' WHERE credential_type = 'webhook'`);
  const claimed = [];
  await dispatcher.query('BEGIN');
  await whileHolding(t, 'cancels an event', `SELECT byoc.cancel_webhook('${own}'), byoc.call_webhook('more', idempotency_key => 'victim-key')`, [
    ['byocd claims the others', (rows) => {
      claimed.push(...rows);
      assert.deepEqual(rows.map((row) => row.org_id), [B]);
    }, `SELECT org_id, id, claim_id FROM byoc.claim_calls(100, '1 hour', 10)`],
  ]);
  const [{ id, claim_id: claim }] = claimed;
  await whileHolding(t, 'sends others', `SELECT byoc.call_webhook('more') FROM generate_series(1, 10)`, [
    ['byocd gives them back', (rows) => assert.equal(rows[0].record_calls, 1),
      `SELECT byoc.record_calls('[{"org_id": "${B}", "id": "${id}", "claim_id": "${claim}", "outcome": "returned"}]')`],
  ]);
  await dispatcher.query('ROLLBACK');
});

test('transactions that a tenant leaves open', async (t) => {
  const claim = (slots) => `SELECT org_id FROM byoc.claim_jobs(${ME}, ${slots}, '1 hour')`;
  const awake = (rows) => assert.notEqual(rows[0].dispatcher_sleep, 0, 'it would not spin');
  const queued = await db.value(`SELECT id FROM byoc.sms_messages WHERE org_id = '${A}' AND status = 'queued' AND idempotency_key = 'alice-key'`);
  await db.query(`UPDATE byoc.schedule SET due_at = now() WHERE org_id = '${A}'`);
  const due = await db.value(`SELECT id FROM byoc.schedule WHERE org_id = '${A}'`);
  const all = (await db.value(`SELECT count(*)::int FROM byoc.queue`)) - 1;
  const claimed = [];
  await whileHolding(t, 'cancels a queued and a due message', `SELECT byoc.cancel_sms('${queued}'), byoc.cancel_sms('${due}')`, [
    ['byocd claims everything else', (rows) => {
      claimed.push(...rows);
      assert.equal(rows.length, all);
    }, claim(1000)],
    ['byocd claims what may be left', (rows) => assert.deepEqual(rows, []), claim(1000)],
    ['byocd claims once more', (rows) => assert.deepEqual(rows, []), claim(1000)],
    ['byocd goes to sleep', awake, 'SELECT byoc.dispatcher_sleep()'],
  ]);
  assert.ok(claimed.some(({ org_id: org }) => org === B));
  await t.test('what was not cancelled after all is claimed', () => until('both messages to be claimed', async () => {
    claimed.push(...await dispatcher.rows(claim(1000)));
    return claimed.length === all + 2;
  }));
  const own = await db.value('SELECT id FROM byoc.credentials WHERE org_id = $1 AND is_active', [A]);
  await whileHolding(t, 'changes a credential', `SELECT byoc.update_credential('${own}', '{"phone_number": "+15550138801"}'::jsonb)`, [
    ['byocd records its verification', () => {}, `SELECT byoc.record_verification('${A}', '${own}', 1, 'verified', NULL)`],
    ['byocd looks for credentials to verify', () => {}, `SELECT * FROM byoc.claim_verifications(${ME}, 100, '1 hour') WHERE org_id = '${A}'`],
    ['byocd opens the credential', (rows) => assert.equal(rows.length, 1), `SELECT * FROM byoc.open_credentials(ARRAY['${A}']::uuid[], ARRAY['${own}']::uuid[])`],
    ['byocd claims', () => {}, claim(10)],
    ['byocd gives back what expired', () => {}, 'SELECT byoc.rescue_expired()'],
    ['byocd goes to sleep', awake, 'SELECT byoc.dispatcher_sleep()'],
  ]);
  const unknown = await db.value(`SELECT id FROM byoc.sms_messages WHERE org_id = '${A}' AND status = 'unknown' LIMIT 1`);
  await whileHolding(t, 'sends, retries and resolves', `SELECT byoc.send_sms('+15550138888', 'x', idempotency_key => 'shared'), byoc.resolve_unknown_sms('${unknown}', 'resend')`, [
    ['byocd claims', () => {}, claim(10)],
    ['byocd records outcomes', () => {}, `SELECT byoc.record_outcomes('[]')`],
    ['byocd sends heartbeats', () => {}, `SELECT byoc.heartbeat(${ME}, '1 hour')`],
  ]);
});

test('what comes back for a tenant that leaves a transaction open', async (t) => {
  const number = (i) => `+155501388${i}`;
  const waiting = await db.value('SELECT byoc.send_sms($1, $2, send_at => now() + interval \'1 day\', org_id => $3)', [number(70), 'held', A]);
  const unknown = await db.value(`SELECT id FROM byoc.sms_messages WHERE org_id = '${A}' AND status = 'unknown' LIMIT 1`);
  const credential = await db.value('SELECT id FROM byoc.credentials WHERE org_id = $1 AND is_active LIMIT 1', [A]);
  const receipts = [[waiting, 0], [unknown, 1], [ground.victim.message, 1]].map(([id, attempt], i) => ({
    org_id: i < 2 ? A : B, id, attempt, provider_sid: `SM${'c'.repeat(31)}${i}`, status: 'delivered', settle: true,
  }));
  const comesIn = (i, from, body) => `SELECT byoc.record_inbound('${A}', '${credential}', 'SM${'d'.repeat(31)}${i}', '${number(from)}', '${number('00')}', '${body}', NULL) AS problem`;
  const taken = (rows) => assert.deepEqual(rows, [{ problem: null }]);
  await whileHolding(t, 'cancels, resolves and lifts an opt-out', `SELECT byoc.cancel_sms('${waiting}'), byoc.resolve_unknown_sms('${unknown}', 'failed'), byoc.lift_opt_out('${number(60)}')`, [
    ['byocd puts receipts about these off', (rows) => assert.deepEqual(rows, [{ held: 0 }, { held: 1 }]),
      `SELECT held FROM unnest(byoc.record_receipts('${JSON.stringify(receipts)}')) AS held ORDER BY 1`],
    ['byocd takes STOP from the recipient of what is cancelled', taken, comesIn(1, 70, 'STOP')],
    ['byocd takes STOP from somebody else', taken, comesIn(2, 71, 'STOP')],
    ['byocd leaves it to the provider to bring a STOP again that is being lifted', '55P03', comesIn(3, 60, 'STOP')],
    ['byocd takes START', taken, comesIn(4, 60, 'START')],
    ['byocd notes refusals', () => {}, `SELECT byoc.note_refusals(ARRAY['${A}']::uuid[], ARRAY['${unknown}']::uuid[])`],
    ['byocd looks for statuses to ask for', () => {}, 'SELECT * FROM byoc.claim_status_checks(10)'],
  ]);
  await t.test('what was held is recorded', async () => {
    assert.deepEqual(await dispatcher.rows(`SELECT unnest(byoc.record_receipts('${JSON.stringify(receipts)}')) AS held`), []);
    assert.equal(await db.value('SELECT status FROM byoc.sms_messages WHERE id = $1', [unknown]), 'delivered');
  });
});

test('another organization works on meanwhile', async (t) => {
  const victim = await ground.session({ org: B });
  await victim.query('SET lock_timeout = \'2s\'');
  await session.query('BEGIN');
  await session.query(`SELECT byoc.send_sms('+15550138888', 'x', idempotency_key => 'shared'), count(*) FROM byoc.credentials`);
  await session.query(`UPDATE byoc.credentials SET display_name = 'held' WHERE is_active`);
  await t.test('B sends with the idempotency key that A holds -> not held up', async () => {
    assert.ok(await victim.value(`SELECT byoc.send_sms('+15550139912', 'victim body', idempotency_key => 'shared')`));
  });
  await t.test('B adds a credential while A holds its own -> not held up', async () => {
    assert.ok(await victim.value(`SELECT byoc.add_credential('stripe', '{"secret_key": "sk_test_${'0'.repeat(24)}"}'::jsonb)`));
  });
  await session.query('ROLLBACK');
  await victim.end();
});
