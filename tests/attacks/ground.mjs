// What the attack suite stands on: a private server with two organizations. The attacker has a tenant role, any SQL and what
// proves organization A; B is the victim. Every attempt and its result is one line of the output.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { clusterKey, now, signToken } from '../../scripts/jwt.mjs';
import { Run } from '../../scripts/run.mjs';
import { Cluster } from '../../scripts/stack.mjs';

export const A = 'aaaaaaaa-0000-4000-8000-00000000000a';
export const B = 'bbbbbbbb-0000-4000-8000-00000000000b';
export const NOBODY = '99999999-0000-4000-8000-000000000009'; // there is nothing of this id

// What is B's and in no other place: none of it may turn up in anything that the attacker is told.
const MARKERS = ['Victoria', 'victim', '+155501399', 'ACbbbbbbbb', 'SMbbbbbbbb', '••••b0b1'];
const number = (i) => `+155501399${String(i).padStart(2, '0')}`;
export const VICTIM = { number: number(1), body: 'victim body', name: 'Victoria', key: 'victim-key' };

const SETUP = `
  CREATE EXTENSION pg_byoc;
  CREATE ROLE tenant LOGIN; SELECT byoc.grant_tenant('tenant');
  CREATE ROLE boss LOGIN; SELECT byoc.grant_admin('boss');
  CREATE ROLE byocd LOGIN; SELECT byoc.grant_dispatcher('byocd');
  CREATE ROLE stranger LOGIN;
  CREATE SCHEMA lair AUTHORIZATION tenant;
  CREATE TABLE leads (id int GENERATED ALWAYS AS IDENTITY, org_id uuid, phone text, name text);
  SELECT byoc.create_sms_trigger('leads', '{{phone}}', 'Hi {{name}}, call {{org.alert_phone}}', condition => 'NEW.name IS NOT NULL');
  ALTER TABLE leads ENABLE ROW LEVEL SECURITY;
  CREATE POLICY own ON leads USING (org_id = byoc.current_org_id());
  GRANT SELECT, INSERT, UPDATE, DELETE ON leads TO tenant`;

export class Ground {
  constructor(name, { settings = {} } = {}) {
    Object.assign(this, { name, settings });
  }

  async start() {
    this.cluster = new Cluster(new Run(`attacks-${this.name}-${process.pid}`), { settings: this.settings });
    this.key = clusterKey(this.cluster);
    this.db = await this.cluster.connect(); // the superuser: prepares, and looks at the damage
    await this.db.query(SETUP);
    const waiting = [await this.populate(A, 'Alice', 'alice', '+155501388', 'a'), await this.populate(B, VICTIM.name, 'victim', '+155501399', 'b')];
    for (const enqueue of waiting) await enqueue();
    this.victim = (await this.db.rows(`
      SELECT (SELECT id FROM byoc.credentials WHERE org_id = $1 AND is_active) AS credential,
             (SELECT encrypted_fields::text FROM byoc.organization_api_credentials WHERE org_id = $1 AND is_active) AS envelope,
             (SELECT id FROM byoc.sms_messages WHERE org_id = $1 AND status = 'queued' LIMIT 1) AS message,
             (SELECT id FROM byoc.webhook_calls WHERE org_id = $1) AS event`, [B]))[0];
    await this.db.query('ANALYZE');
    this.before = await this.rowsOfVictim();
  }

  // An organization with something in every table that holds tenants' data. Answers what makes messages that wait: for later,
  // or the other organization's claim would take them.
  async populate(id, name, word, numbers, letter) {
    const { db } = this;
    const query = (sql, ...values) => db.query(sql, values);
    await query('SELECT byoc.create_organization($1, $2)', name, id);
    await query('UPDATE byoc.organizations SET settings = $2 WHERE id = $1', id, { alert_phone: `${numbers}77` });
    const add = (display) => db.value('SELECT byoc.add_credential($1, $2, $3, $4)', ['twilio', {
      account_sid: `AC${letter.repeat(32)}`, auth_token: `${'0'.repeat(28)}${letter}0${letter}1`, phone_number: `${numbers}00`,
    }, display, id]);
    await query(`SELECT byoc.record_verification($1, $2, 1, 'verified', NULL)`, id, await add(`${word} main`));
    await query('SELECT byoc.revoke_credential($1)', await add(`${word} old`));
    const send = (i, more = '') => query(`SELECT byoc.send_sms($1, $2, org_id => $3 ${more})`, `${numbers}${10 + i % 3}`, `${word} body ${i % 4}`, id);
    for (let i = 0; i < 20; i += 1) await send(i);
    const claimed = await db.rows(`SELECT * FROM byoc.claim_jobs('dddddddd-0000-4000-8000-00000000000d', 20, '1 hour')`);
    await query('SELECT byoc.record_outcomes($1)', claimed.slice(0, -1).map((job, i) => ({
      org_id: job.org_id, id: job.id, claim_id: job.claim_id, outcome: ['accepted', 'rejected', 'unknown'][i % 3], from_number: `${numbers}00`,
      provider_sid: `SM${letter.repeat(32)}`, error_code: '21211', error_message: `${word} error`, http_status: 201, segments: 1, duration_ms: 9,
    })));
    // Nobody found out about those that were lost, and the breaker is closed again.
    await query(`SELECT byoc.give_up_reconciling(r.org_id, r.message_id, 'the list is hidden') FROM byoc.reconciliations r WHERE r.org_id = $1`, id);
    await query('UPDATE byoc.lanes SET failures = 0, next_at = now() WHERE org_id = $1', id);
    for (const i of [60, 61]) {
      await query(`SELECT byoc.record_inbound($1, c.id, $2, $3, $4, 'STOP', NULL) FROM byoc.credentials c WHERE c.org_id = $1 AND c.is_active`,
        id, `SM${letter.repeat(30)}${i}`, `${numbers}${i}`, `${numbers}00`);
    }
    return async () => {
      for (let i = 0; i < 10; i += 1) await send(i);
      await send(1, `, send_at => now() + interval '1 day'`);
      await send(2, `, idempotency_key => '${word}-key'`);
      await query(`SELECT byoc.call_webhook('lead.created', $2, org_id => $1)`, id, { name: word });
      await query('INSERT INTO leads (org_id, phone, name) VALUES ($1, $2, $3)', id, `${numbers}50`, word);
      await query('INSERT INTO leads (org_id, phone, name) VALUES ($1, NULL, $2)', id, word);
    };
  }

  // A session of the attacker. `role`: A's proved role, or null for no context.
  async session({ role = 'owner', user = 'tenant', org = A, parameters = {} } = {}) {
    const session = await this.cluster.connect('postgres', user, parameters);
    session.heard = [];
    session.on('notice', (notice) => session.heard.push(notice.message));
    if (role) await session.query('SELECT set_config(\'byoc.token\', $1, false)', [this.token({ org_role: role, org_id: org })]);
    return session;
  }

  token(claims = {}, header = {}, key = this.key) {
    return signToken(key, { org_id: A, sub: 'mallory', org_role: 'owner', exp: now() + 600, ...claims }, header);
  }

  // Everything of B in the extension's tables, whatever tables there are.
  async rowsOfVictim() {
    const tables = await this.db.rows(`
      SELECT c.oid::regclass::text AS name, CASE c.relname WHEN 'organizations' THEN 'id' ELSE 'org_id' END AS key FROM pg_class c
      WHERE c.relnamespace = 'byoc'::regnamespace AND c.relkind = 'r' AND (c.relname = 'organizations'
        OR EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'org_id')) ORDER BY 1`);
    const dump = {};
    for (const { name, key } of tables) {
      dump[name] = (await this.db.rows(`SELECT t::text AS row FROM ${name} t WHERE ${key} = $1 ORDER BY 1`, [B])).map(({ row }) => row);
    }
    return dump;
  }

  // psql as the attacker, for what the small client cannot do (COPY, PGOPTIONS). Answers { rows: [output] } or throws.
  psql(sql, { env = {}, user = 'tenant', input } = {}) {
    const { status, stdout, stderr } = spawnSync('psql', ['-XAtq', '-v', 'VERBOSITY=verbose', '-v', 'ON_ERROR_STOP=1', ...(input ? ['-f', '-'] : ['-c', sql])], {
      encoding: 'utf8', input, timeout: 120_000, env: { ...process.env, ...this.cluster.environment('postgres', user), ...env },
    });
    if (status === 0) return { rows: stdout ? stdout.trimEnd().split('\n').map((line) => ({ line })) : [] };
    const [, code, message] = /(?:ERROR|FATAL): +(\w{5}): (.*)/.exec(stderr) ?? [null, 'psql', stderr];
    throw Object.assign(new Error(message), { code, detail: stderr });
  }

  // The last test of each file.
  async assertUntouched() {
    assert.deepEqual(await this.rowsOfVictim(), this.before);
  }

  end() { return this.cluster?.disconnect(); }
}

// What an attempt came to: { code, message } of an error, or { rows }.
export async function outcomeOf(action, session) {
  session?.heard.splice(0);
  try {
    const result = await action();
    return { rows: result?.rows ?? (result === undefined ? [] : [{ result }]), heard: session?.heard.splice(0) ?? [] };
  } catch (error) {
    if (!/^[0-9A-Z]{5}$/.test(error.code ?? '')) throw error;
    const { code, message, detail, hint } = error;
    return { code, message, text: [message, detail, hint], heard: session?.heard.splice(0) ?? [] };
  }
}

// What can be told of B by an outcome.
export function leaksOf(outcome) {
  const text = JSON.stringify(outcome);
  return MARKERS.filter((marker) => text.includes(marker));
}

const describe = ({ code, rows }) => {
  if (code) return `refused ${code}`;
  const value = rows.length === 1 && Object.values(rows[0]).length === 1 ? String(Object.values(rows[0])[0]) : null;
  return value !== null && value.length <= 60 ? `got ${value || 'an empty text'}` : `got ${rows.length} row${rows.length === 1 ? '' : 's'}`;
};

// Tries `action` and reports one line. `expected`: an SQLSTATE or several ('28000', ['42501', 'P0002']), or a function that
// asserts what the rows must be. Whatever it is, nothing of B may show.
export async function attempt(t, name, expected, action, session) {
  const outcome = await outcomeOf(action, session);
  await t.test(`${name} -> ${describe(outcome)}`, () => {
    assert.deepEqual(leaksOf(outcome), [], `B shows: ${JSON.stringify(outcome).slice(0, 2000)}`);
    if (typeof expected === 'function') {
      assert.equal(outcome.code, undefined, outcome.message);
      expected(outcome.rows, outcome);
    } else {
      assert.ok([expected].flat().includes(outcome.code), `expected ${expected}, ${JSON.stringify(outcome).slice(0, 500)}`);
    }
  });
}

// Expectations of rows.
export const nothing = (rows) => assert.deepEqual(rows, []);
export const anything = () => {}; // nothing of B, that is: see attempt
export const value = (expected) => (rows) => assert.deepEqual(rows.map((row) => Object.values(row)[0]), [expected]);
export const onlyA = (rows) => {
  assert.ok(rows.length > 0);
  for (const row of rows) assert.equal(row.org_id, A);
};
