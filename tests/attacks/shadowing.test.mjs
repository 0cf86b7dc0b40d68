// Attacks by names: objects of the attacker's that stand in front of PostgreSQL's own when the extension's functions, views
// and triggers run. None may run with rights other than the attacker's, or change what is seen.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { A, B, Ground, attempt, onlyA } from './ground.mjs';

const ground = new Ground('shadowing');
let session;

after(() => ground.end());

// Every operator and function that the extension's SQL is likely to use, shadowed in schema lair. Each says as whom it runs.
const SHADOWS = `
  CREATE FUNCTION lair.note(what text) RETURNS void LANGUAGE plpgsql AS 'BEGIN RAISE NOTICE ''% as %'', what, current_user; END';
  CREATE FUNCTION lair.yes(a uuid, b uuid) RETURNS boolean LANGUAGE plpgsql AS 'BEGIN PERFORM lair.note(''uuid ='') ; RETURN true; END';
  CREATE OPERATOR lair.= (LEFTARG = uuid, RIGHTARG = uuid, FUNCTION = lair.yes);
  CREATE OPERATOR lair.<> (LEFTARG = uuid, RIGHTARG = uuid, FUNCTION = lair.yes);
  CREATE OPERATOR lair.> (LEFTARG = uuid, RIGHTARG = uuid, FUNCTION = lair.yes);
  CREATE FUNCTION lair.yes(a text, b text) RETURNS boolean LANGUAGE plpgsql AS 'BEGIN PERFORM lair.note(''text =''); RETURN true; END';
  CREATE OPERATOR lair.= (LEFTARG = text, RIGHTARG = text, FUNCTION = lair.yes);
  CREATE OPERATOR lair.<> (LEFTARG = text, RIGHTARG = text, FUNCTION = lair.yes);
  CREATE OPERATOR lair.~ (LEFTARG = text, RIGHTARG = text, FUNCTION = lair.yes);
  CREATE OPERATOR lair.!~ (LEFTARG = text, RIGHTARG = text, FUNCTION = lair.yes);
  CREATE FUNCTION lair.joined(a text, b text) RETURNS text LANGUAGE plpgsql AS 'BEGIN PERFORM lair.note(''||''); RETURN a; END';
  CREATE OPERATOR lair.|| (LEFTARG = text, RIGHTARG = text, FUNCTION = lair.joined);
  CREATE FUNCTION lair.arrow(a jsonb, b text) RETURNS text LANGUAGE plpgsql AS 'BEGIN PERFORM lair.note(''->>''); RETURN ''x''; END';
  CREATE OPERATOR lair.->> (LEFTARG = jsonb, RIGHTARG = text, FUNCTION = lair.arrow);
  CREATE FUNCTION lair.member(a jsonb, b text) RETURNS jsonb LANGUAGE plpgsql AS 'BEGIN PERFORM lair.note(''->''); RETURN ''{}''; END';
  CREATE OPERATOR lair.-> (LEFTARG = jsonb, RIGHTARG = text, FUNCTION = lair.member);
  CREATE FUNCTION lair.later(a timestamptz, b timestamptz) RETURNS boolean LANGUAGE plpgsql AS 'BEGIN PERFORM lair.note(''timestamptz <=''); RETURN true; END';
  CREATE OPERATOR lair.<= (LEFTARG = timestamptz, RIGHTARG = timestamptz, FUNCTION = lair.later);
  CREATE OPERATOR lair.> (LEFTARG = timestamptz, RIGHTARG = timestamptz, FUNCTION = lair.later);
  CREATE FUNCTION lair.now() RETURNS timestamptz LANGUAGE plpgsql AS 'BEGIN PERFORM lair.note(''now''); RETURN pg_catalog.now(); END';
  CREATE FUNCTION lair.clock_timestamp() RETURNS timestamptz LANGUAGE plpgsql AS 'BEGIN PERFORM lair.note(''clock_timestamp''); RETURN pg_catalog.now(); END';
  CREATE FUNCTION lair.gen_random_uuid() RETURNS uuid LANGUAGE plpgsql AS 'BEGIN PERFORM lair.note(''gen_random_uuid''); RETURN ''${B}''; END';
  CREATE FUNCTION lair.length(text) RETURNS int LANGUAGE plpgsql AS 'BEGIN PERFORM lair.note(''length''); RETURN 1; END';
  CREATE FUNCTION lair.format(text, VARIADIC text[]) RETURNS text LANGUAGE plpgsql AS 'BEGIN PERFORM lair.note(''format''); RETURN ''SELECT 1''; END';
  CREATE FUNCTION lair.jsonb_typeof(jsonb) RETURNS text LANGUAGE plpgsql AS 'BEGIN PERFORM lair.note(''jsonb_typeof''); RETURN ''object''; END';
  CREATE FUNCTION lair.jsonb_each(jsonb, OUT key text, OUT value jsonb) RETURNS SETOF record LANGUAGE plpgsql AS 'BEGIN PERFORM lair.note(''jsonb_each''); END';
  CREATE FUNCTION lair.initcap(text) RETURNS text LANGUAGE plpgsql AS 'BEGIN PERFORM lair.note(''initcap''); RETURN $1; END';
  CREATE FUNCTION lair.right(text, int) RETURNS text LANGUAGE plpgsql AS 'BEGIN PERFORM lair.note(''right''); RETURN $1; END';
  CREATE FUNCTION lair.has_function_privilege(text, text) RETURNS boolean LANGUAGE plpgsql AS 'BEGIN PERFORM lair.note(''has_function_privilege''); RETURN true; END';
  CREATE FUNCTION lair.has_table_privilege(oid, text) RETURNS boolean LANGUAGE plpgsql AS 'BEGIN PERFORM lair.note(''has_table_privilege''); RETURN true; END';
  CREATE FUNCTION lair.current_org_id() RETURNS uuid LANGUAGE plpgsql AS 'BEGIN PERFORM lair.note(''current_org_id''); RETURN ''${B}''; END';
  CREATE FUNCTION lair.sees_all_organizations() RETURNS boolean LANGUAGE plpgsql AS 'BEGIN PERFORM lair.note(''sees_all''); RETURN true; END';
  CREATE FUNCTION lair.require_organization(uuid, text DEFAULT '') RETURNS void LANGUAGE plpgsql AS 'BEGIN PERFORM lair.note(''require''); END';
  CREATE DOMAIN lair.uuid AS pg_catalog.uuid; CREATE DOMAIN lair.text AS pg_catalog.text; CREATE DOMAIN lair.jsonb AS pg_catalog.jsonb;
  CREATE TABLE lair.pg_trigger (tgrelid oid, tgname name); CREATE TABLE lair.organizations (id pg_catalog.uuid, shredded_at timestamptz)`;
const TEMPORARY = `
  CREATE TEMP TABLE organizations (id uuid, name text, settings jsonb, shredded_at timestamptz); CREATE TEMP TABLE messages (id uuid);
  CREATE TEMP TABLE pg_trigger (tgrelid oid, tgname name); CREATE TEMP TABLE pg_class (oid oid); CREATE TEMP TABLE providers (name text);
  CREATE TEMP TABLE queue (org_id uuid); CREATE DOMAIN pg_temp.uuid AS pg_catalog.text; CREATE DOMAIN pg_temp.regrole AS pg_catalog.text`;

before(async () => {
  await ground.start();
  session = await ground.session();
  await session.query(SHADOWS);
});

const FIELDS = '{"account_sid": "ACaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "auth_token": "0000000000000000000000000000a0a1", "phone_number": "+15550138800"}';
const SEND = `byoc.send_sms('+15550138888', 'hello')`;
const uses = {
  'SELECT from byoc.credentials': ['SELECT * FROM byoc.credentials', onlyA],
  'SELECT from byoc.sms_messages': ['SELECT * FROM byoc.sms_messages', onlyA],
  'SELECT from byoc.sms_events': ['SELECT * FROM byoc.sms_events', onlyA],
  'SELECT from byoc.organizations': ['SELECT id AS org_id, name FROM byoc.organizations', onlyA],
  'SELECT from byoc.providers': ['SELECT * FROM byoc.providers', (rows) => assert.ok(rows.length > 2)],
  'byoc.add_credential': [`SELECT byoc.add_credential('twilio', '${FIELDS}'::pg_catalog.jsonb)`],
  'byoc.add_credential, as text': [`SELECT byoc.add_credential('twilio', '${FIELDS}'::pg_catalog.text)`],
  'INSERT into byoc.credentials': [`INSERT INTO byoc.credentials (credential_type, display_name, fields) VALUES ('twilio', 'mine', '${FIELDS}') RETURNING *`, onlyA],
  'UPDATE of byoc.credentials': [`UPDATE byoc.credentials SET display_name = 'alice main' WHERE is_default RETURNING *`, onlyA],
  'byoc.update_credential': [`SELECT byoc.update_credential((SELECT id FROM byoc.credentials WHERE is_default), '{"phone_number": "+15550138801"}'::pg_catalog.jsonb)`],
  'byoc.verify_credential': ['SELECT byoc.verify_credential((SELECT id FROM byoc.credentials WHERE is_default))'],
  'DELETE from byoc.credentials': [`DELETE FROM byoc.credentials WHERE display_name OPERATOR(pg_catalog.=) 'mine' RETURNING *`, onlyA],
  'byoc.send_sms': [`SELECT ${SEND}`],
  'byoc.send_sms with a key': [`SELECT byoc.send_sms('+15550138888', 'hello', idempotency_key => 'k')`],
  'byoc.cancel_sms': [`SELECT byoc.cancel_sms(${SEND})`],
  'byoc.resolve_unknown_sms': [`SELECT byoc.resolve_unknown_sms(id, 'failed'), org_id FROM byoc.sms_messages WHERE status OPERATOR(pg_catalog.=) 'unknown' LIMIT 1`, onlyA],
  'INSERT into byoc.sms_messages': [`INSERT INTO byoc.sms_messages (to_number, body) VALUES ('+15550138888', 'hello') RETURNING *`, onlyA],
  'an SMS trigger': [`INSERT INTO leads (org_id, phone, name) VALUES ('${A}', '+15550138888', 'x') RETURNING org_id`, onlyA],
  'an SMS trigger on a bad row': [`INSERT INTO leads (org_id, phone, name) VALUES ('${A}', NULL, 'x') RETURNING org_id`, onlyA],
  'byoc.encrypt and decrypt': [`SELECT byoc.decrypt('${A}', byoc.encrypt('${A}', 'x'))`],
};

async function everyUse(t, how, by) {
  for (const [what, [sql, expected]] of Object.entries(uses)) {
    await attempt(t, `${what}, ${how}`, (rows, { heard }) => {
      expected?.(rows);
      assert.deepEqual(heard.filter((line) => !line.endsWith(' as tenant')), [], 'nothing of the attacker\'s ran with other rights');
    }, () => by.query(sql), by);
  }
}

test('an own schema first in search_path', async (t) => {
  await session.query('SET search_path = lair, pg_catalog, byoc, public');
  await session.query(`SELECT '${A}'::uuid = '${B}'`);
  assert.deepEqual(session.heard.splice(0), ['uuid = as tenant'], 'the shadows are in force');
  await everyUse(t, 'search_path = lair, pg_catalog', session);
});

test('plans that were cached under the good path first, then under the evil one', async (t) => {
  const other = await ground.session();
  for (const [sql] of Object.values(uses)) await other.query(sql).catch(() => {});
  await other.query('SET search_path = lair, pg_catalog, public; SET plan_cache_mode = force_generic_plan');
  other.heard.splice(0);
  await everyUse(t, 'planned before, then search_path = lair', other);
  await other.end();
});

test('temporary objects', async (t) => {
  const other = await ground.session();
  await other.query(`${TEMPORARY}; SET search_path = pg_temp, public, pg_catalog`);
  await everyUse(t, 'with temporary tables and types of the same names', other);
  await other.end();
});

test('a search_path that the role keeps', async (t) => {
  await session.query('ALTER ROLE tenant SET search_path = lair, pg_catalog, public');
  const other = await ground.session();
  await everyUse(t, 'ALTER ROLE tenant SET search_path', other);
  await other.query('ALTER ROLE tenant RESET search_path');
  await other.end();
});

test('B\'s rows are what they were', () => ground.assertUntouched());
