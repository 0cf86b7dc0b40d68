// Attacks on who may do what: the roles within an organization, the database roles, SMS triggers that should lend power, and
// privileges that an installation inherits.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { A, B, Ground, attempt, value } from './ground.mjs';

const ground = new Ground('roles');
const FIELDS = '{"account_sid": "ACaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "auth_token": "0000000000000000000000000000a0a1", "phone_number": "+15550138800"}';
let db;

after(() => ground.end());
before(async () => {
  await ground.start();
  ({ db } = ground);
});

test('members and admins of A beyond their role, owners of another organization', async (t) => {
  const own = await db.value('SELECT id FROM byoc.credentials WHERE org_id = $1 AND is_active', [A]);
  const revoking = { revoke_credential: `SELECT byoc.revoke_credential('${own}')`, 'DELETE of a credential': `DELETE FROM byoc.credentials WHERE id = '${own}'` };
  const changing = {
    add_credential: `SELECT byoc.add_credential('twilio', '${FIELDS}'::jsonb)`,
    update_credential: `SELECT byoc.update_credential('${own}', '{"phone_number": "+15550138801"}'::jsonb)`,
    change_credential: `SELECT byoc.change_credential('${A}', '${own}', NULL, 'mine', true)`,
    verify_credential: `SELECT byoc.verify_credential('${own}')`,
    'INSERT of a credential': `INSERT INTO byoc.credentials (credential_type, display_name, fields) VALUES ('twilio', 'mine', '${FIELDS}')`,
    'UPDATE of a credential': `UPDATE byoc.credentials SET display_name = 'mine' WHERE id = '${own}'`,
    'UPDATE of what never changes': `UPDATE byoc.credentials SET verification_status = 'pending' WHERE id = '${own}'`,
  };
  const member = await ground.session({ role: 'member' });
  for (const [what, sql] of Object.entries({ ...changing, ...revoking })) await attempt(t, `${what}, by a member`, '42501', () => member.query(sql));
  const admin = await ground.session({ role: 'admin' });
  for (const [what, sql] of Object.entries(revoking)) await attempt(t, `${what}, by an admin`, '42501', () => admin.query(sql));
  await attempt(t, 'UPDATE of what never changes, by an admin', '42501', () => admin.query(changing['UPDATE of what never changes']));
  // B's owner has the same database role and every right in B.
  const victim = await ground.session({ org: B });
  for (const sql of [revoking.revoke_credential, changing.update_credential, changing.verify_credential]) {
    await attempt(t, `${sql.slice(7, 33)}... of A's credential, by B's owner`, 'P0002', () => victim.query(sql));
  }
  await attempt(t, 'change_credential of A, by B\'s owner', '42501', () => victim.query(changing.change_credential));
  await Promise.all([member, admin, victim].map((each) => each.end()));
});

test('database roles beyond their part', async (t) => {
  const storage = ['organization_api_credentials', 'organization_keys', 'messages', 'all_sms_messages', 'sms_trigger_definitions', 'calls', 'all_webhook_calls', 'webhook_trigger_definitions'];
  for (const user of ['boss', 'byocd', 'stranger']) {
    const session = await ground.session({ role: null, user });
    for (const table of storage) await attempt(t, `${user} reads byoc.${table}`, '42501', () => session.query(`SELECT * FROM byoc.${table}`));
    await attempt(t, `${user} unseals`, '42501', () => session.query(`SELECT byoc.unseal('${B}', 'x', '${B}', '${ground.victim.envelope}')`));
    await attempt(t, `${user} makes itself more`, '42501', () => session.query(`SELECT byoc.grant_dispatcher('${user}')`));
    await session.end();
  }
  const dispatcher = await ground.session({ role: null, user: 'byocd' });
  await attempt(t, 'byocd sets a context', '42501', () => dispatcher.query(`SELECT byoc.set_org('${B}')`));
  await attempt(t, 'byocd decrypts', '42501', () => dispatcher.query(`SELECT byoc.decrypt('${B}', '${ground.victim.envelope}')`));
  await attempt(t, 'byocd sends an SMS of its own', '42501', () => dispatcher.query(`SELECT byoc.send_sms('+15550138888', 'x', org_id => '${B}')`));
  await dispatcher.end();
});

test('webhook events of another organization, and triggers with text that is more than it should be', async (t) => {
  const tenant = await ground.session();
  for (const sql of [`SELECT byoc.cancel_webhook('${ground.victim.event}')`, `SELECT byoc.retry_webhook('${ground.victim.event}')`]) {
    await attempt(t, `${sql.slice(7, 25)} of B's event`, 'P0002', () => tenant.query(sql));
  }
  await attempt(t, 'B\'s events', value(0), () => tenant.query(`SELECT count(*)::int FROM byoc.webhook_calls WHERE org_id = '${B}' OR payload::text LIKE '%victim%'`));
  await attempt(t, 'an event of B', '42501', () => tenant.query(`SELECT byoc.call_webhook('a', org_id => '${B}')`));
  await attempt(t, 'B\'s key is another event', value(true), () => tenant.query(
    `SELECT byoc.call_webhook('a', idempotency_key => 'victim-key') <> '${ground.victim.event}'`));
  await tenant.end();
  await db.query(`CREATE SCHEMA hooks AUTHORIZATION boss; CREATE TABLE hooked (org_id uuid, name text); GRANT TRIGGER ON hooked TO boss;
    SELECT byoc.create_webhook_trigger('hooked', 'of.the.owner', name => 'owners')`);
  const boss = await ground.session({ role: null, user: 'boss' });
  await boss.query('CREATE TABLE hooks.t (org_id uuid, name text); CREATE VIEW hooks.v AS SELECT * FROM hooks.t');
  for (const [what, target, more, code] of [
    ['condition with a second statement', 'hooks.t', `condition => 'true; DROP TABLE leads'`, '42601'],
    ['condition with a closing parenthesis', 'hooks.t', `condition => 'true) FROM leads --'`, '42601'],
    ['condition over storage', 'hooks.t', `condition => 'EXISTS (SELECT FROM byoc.calls)'`, '42501'],
    ['events that are more', 'hooks.t', `events => 'INSERT ON hooks.t EXECUTE FUNCTION f(); --'`, '22023'],
    ['a column that is more', 'hooks.t', `columns => ARRAY['name") FROM leads --']`, '42703'],
    ['a system column', 'hooks.t', `columns => ARRAY['ctid']`, '42703'],
    ['an event type that is more', 'hooks.t', `event_type => 'a"}, {"b'`, '22023'],
    ['another\'s table', 'leads', 'name => NULL', '42501'], ['storage', 'byoc.calls', 'name => NULL', '42501'],
    ['an own view', 'hooks.v', 'name => NULL', '42809'], ['another one\'s name', 'hooked', `name => 'owners'`, '42710'],
  ]) {
    const type = more.includes('event_type') ? '' : `event_type => 'mine', `;
    await attempt(t, `a webhook trigger: ${what}`, code, () => boss.query(`SELECT byoc.create_webhook_trigger('${target}', ${type}${more})`));
  }
  await attempt(t, 'the owner\'s trigger dropped', '42501', () => boss.query(`SELECT byoc.drop_webhook_trigger('hooked', 'owners')`));
  await boss.end();
});

test('create_sms_trigger with text that is more than it should be', async (t) => {
  await db.query(`CREATE SCHEMA office AUTHORIZATION boss; CREATE TABLE secrets (value text); CREATE TABLE others (org_id uuid, phone text); GRANT TRIGGER ON others TO boss;
    SELECT byoc.create_sms_trigger('others', '{{phone}}', 'of the owner', name => 'owners')`);
  const boss = await ground.session({ role: null, user: 'boss' });
  await boss.query('CREATE TABLE office.t (org_id uuid, phone text, name text); CREATE VIEW office.v AS SELECT * FROM office.t');
  const create = (more, target = 'office.t') => () =>
    boss.query(`SELECT byoc.create_sms_trigger('${target}', '${target.startsWith('byoc') ? '{{to_number}}' : '{{phone}}'}', 'x', ${more})`);
  const conditions = {
    'a second statement': ['true; DROP TABLE secrets', '42601'], 'a closing parenthesis': ['true) FROM secrets --', '42601'],
    'an open comment': ['true /*', '42601'], 'a line comment and more': ['true --\n) FROM secrets', '42601'],
    'a FROM clause': ['true FROM secrets', '42601'], 'a second column': ['true, true', '42601'], 'a UNION': ['true UNION SELECT true', '42601'],
    'a parameter': ['$1 IS NULL', '42601'], 'INTO': ['true INTO x', '42601'], 'a data-changing WITH': ['(WITH d AS (DELETE FROM secrets RETURNING 1) SELECT true)', '0A000'],
    'a table of others': ['(SELECT count(*) FROM secrets) = 0', '42501'], 'storage': ['EXISTS (SELECT FROM byoc.messages)', '42501'],
    'set_org for everybody': [`byoc.set_org('${B}') IS NULL AND (SELECT count(*) FROM secrets) = 0`, '42501'],
    'no boolean': [`'x'::text`, '42804'], 'an unknown column': ['NEW.nothing', '42703'], 'a file': [`pg_read_file('postgresql.conf') = ''`, '42501'],
  };
  for (const [what, [condition, code]] of Object.entries(conditions)) {
    await attempt(t, `condition with ${what}`, code, create(`condition => $c$${condition}$c$`));
  }
  const rest = {
    'events with a second statement': [`events => 'INSERT ON office.t EXECUTE FUNCTION f(); --'`, '22023'],
    'events with a column that is more': [`events => 'UPDATE OF name ON x; DROP TABLE office.t'`, '22023'],
    'TRUNCATE': [`events => 'TRUNCATE'`, '22023'], 'an organization\'s column that is more': [`org_id => 'org_id"; --'`, '42703'],
    'a column that is no uuid': [`org_id => 'name'`, '42804'], 'on_error': [`on_error => 'raise; --'`, '22023'],
    'search_path that is no list': [`condition => 'true', search_path => 'a b; --'`, '22023'],
  };
  for (const [what, [more, code]] of Object.entries(rest)) await attempt(t, what, code, create(more));
  await attempt(t, 'a name full of quotes is a name', value('x"; DROP TABLE secrets; --'), create(`name => 'x"; DROP TABLE secrets; --'`));
  for (const [what, body] of Object.entries({ 'a system column': '{{ctid}}', 'the whole row': '{{t}}', 'another\'s column': '{{secrets.value}}', 'a subquery': '{{(SELECT 1)}}' })) {
    await attempt(t, `template with ${what}`, ['42703', '42601'], () => boss.query(`SELECT byoc.create_sms_trigger('office.t', '{{phone}}', '${body}')`));
  }
  const targets = {
    'another\'s table': ['leads', '42501'], 'a system catalog': ['pg_class', ['42501', '42703']], 'the extension\'s storage': ['byoc.messages', '42501'],
    'an own view': ['office.v', '42809'], 'a tenant\'s view': ['byoc.sms_messages', ['42501', '42809']],
  };
  for (const [what, [target, code]] of Object.entries(targets)) await attempt(t, `a trigger on ${what}`, code, create('name => NULL', target));
  await attempt(t, 'another definition under the owner\'s trigger', '42710',
    () => boss.query(`SELECT byoc.register_sms_trigger('others', 'owners', '{{phone}}', 'stolen', 'org_id', NULL, 'raise', 'public')`));
  await attempt(t, 'the owner\'s definition removed', '42501', () => boss.query(`SELECT byoc.unregister_sms_trigger('others', 'owners')`));
  await attempt(t, 'the owner\'s trigger dropped', '42501', () => boss.query(`SELECT byoc.drop_sms_trigger('others', 'owners')`));
  assert.equal(await db.value(`SELECT body FROM byoc.sms_triggers WHERE name = 'owners'`), 'of the owner');
  await boss.end();
});

test('SMS triggers fired by a tenant', async (t) => {
  await db.query(`
    CREATE FUNCTION as_whom() RETURNS boolean LANGUAGE plpgsql AS 'BEGIN RAISE NOTICE ''condition as %'', current_user; RETURN true; END';
    CREATE TABLE signups (org_id uuid, phone text); GRANT INSERT ON signups TO tenant;
    SELECT byoc.create_sms_trigger('signups', '{{phone}}', 'x', condition => 'as_whom()');
    CREATE FUNCTION sign_up(org uuid) RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = public AS 'INSERT INTO signups VALUES (org, ''+15550138888'')'`);
  const session = await ground.session();
  await attempt(t, 'B\'s row, in A\'s context', '42501', () => session.query(`INSERT INTO signups VALUES ('${B}', '+15550138888')`), session);
  await attempt(t, 'B\'s row through an application\'s SECURITY DEFINER function, in A\'s context', '42501', () => session.query(`SELECT sign_up('${B}')`), session);
  await attempt(t, 'B\'s row in a table with a policy, in A\'s context', '42501', () => session.query(`INSERT INTO leads (org_id, phone, name) VALUES ('${B}', '+15550138888', 'x')`));
  await session.query('RESET byoc.token');
  await attempt(t, 'B\'s row in a table with a policy, without a context', '42501', () => session.query(`INSERT INTO leads (org_id, phone, name) VALUES ('${B}', '+15550138888', 'x')`));
  await session.query('SELECT set_config(\'byoc.token\', $1, false)', [ground.token()]);
  await attempt(t, 'A\'s row: the condition runs with the rights of who inserts', (rows, { heard }) => assert.ok(heard.includes('condition as tenant'), heard.join()),
    () => session.query(`INSERT INTO signups VALUES ('${A}', '+15550138888')`), session);
  for (const call of ['byoc.enqueue_sms_trigger()', 'byoc.credentials_update()', 'byoc.data_keys_changed()']) {
    await session.query('CREATE TABLE IF NOT EXISTS lair.t (id uuid, org_id uuid)');
    await attempt(t, `a trigger of one's own that runs ${call}`, '42501', () => session.query(`CREATE TRIGGER t AFTER INSERT ON lair.t FOR EACH ROW EXECUTE FUNCTION ${call}`));
  }
  await attempt(t, 'create_sms_trigger, by a tenant', '42501', () => session.query(`SELECT byoc.create_sms_trigger('lair.t', '{{id}}', 'x')`));
  await session.end();
});

test('default privileges of who installs', async (t) => {
  await db.query('CREATE DATABASE inherited');
  const owner = await ground.cluster.connect('inherited');
  for (const what of ['ALL ON TABLES', 'ALL ON SEQUENCES', 'EXECUTE ON FUNCTIONS', 'USAGE ON TYPES', 'ALL ON SCHEMAS']) {
    await owner.query(`ALTER DEFAULT PRIVILEGES GRANT ${what} TO stranger; ALTER DEFAULT PRIVILEGES GRANT ${what} TO PUBLIC`);
  }
  await owner.query('CREATE EXTENSION pg_byoc');
  const stranger = await ground.cluster.connect('inherited', 'stranger');
  await attempt(t, 'byoc.set_org', '42501', () => stranger.query(`SELECT byoc.set_org('${B}')`));
  await attempt(t, 'byoc.all_sms_messages', '42501', () => stranger.query('SELECT * FROM byoc.all_sms_messages'));
  await owner.query('GRANT USAGE ON SCHEMA byoc TO stranger');
  await attempt(t, 'byoc.set_org, with the schema opened', '42501', () => stranger.query(`SELECT byoc.set_org('${B}')`));
  await attempt(t, 'byoc.messages, with the schema opened', '42501', () => stranger.query('SELECT * FROM byoc.messages'));
  await attempt(t, 'anything that stayed open', (rows) => assert.deepEqual(rows, []), () => owner.query(`
    SELECT p.oid::regprocedure AS what FROM pg_proc p WHERE p.pronamespace = 'byoc'::regnamespace AND has_function_privilege('stranger', p.oid, 'EXECUTE')
    UNION ALL SELECT NULL FROM pg_class c WHERE c.relnamespace = 'byoc'::regnamespace AND c.relkind IN ('r', 'v')
      AND has_any_column_privilege('stranger', c.oid, 'SELECT, INSERT, UPDATE, REFERENCES')
    UNION ALL SELECT NULL FROM pg_type y WHERE y.typnamespace = 'byoc'::regnamespace AND has_type_privilege('stranger', y.oid, 'USAGE')`));
  await stranger.end();
  await owner.end();
});

test('B\'s rows are what they were', () => ground.assertUntouched());
