// Every function and every tenant's view of the extension, called with what belongs to B, by whoever is not B. Whatever is
// added to the schema later is tried too: the list comes from the catalog.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { A, B, Ground, NOBODY, attempt, leaksOf, nothing, outcomeOf } from './ground.mjs';

const ground = new Ground('functions');
const NOTHING_MADE_UP = NOBODY.replace('9', '8');
let functions;

after(() => ground.end());
before(async () => {
  await ground.start();
  functions = await ground.db.rows(`
    SELECT p.proname AS name, p.oid::regprocedure::text AS signature, has_function_privilege('tenant', p.oid, 'EXECUTE') AS open,
           p.prorettype = 'trigger'::regtype AS is_trigger,
           coalesce((SELECT json_agg(json_build_object('type', t::regtype::text, 'name', p.proargnames[n]) ORDER BY n)
                     FROM unnest(p.proargtypes::oid[]) WITH ORDINALITY AS a (t, n)), '[]') AS parameters
    FROM pg_proc p WHERE p.pronamespace = 'byoc'::regnamespace ORDER BY 2`);
});

const TEXTS = {
  to_number: '+15550138888', body: 'hello', plaintext: 'hello', credential_type: 'twilio', display_name: 'mine', context: '', org_role: 'owner', event_type: 'lead.created',
  least_role: 'member', resolution: 'resend', token: 'x', name: 'mine', settings: '{}', events: 'INSERT', idempotency_key: 'victim-key',
  fields: '{"account_sid": "ACaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "auth_token": "0000000000000000000000000000a0a1", "phone_number": "+15550138800"}',
  place: 'organization_api_credentials.encrypted_fields', user_id: 'victim', status: 'verified', org_column: 'org_id', search_path: 'public', view_name: 'sms_messages',
};

// A plausible argument. `ids`: what stands for the organization, and for every other uuid.
function argument({ type, name }, ids, envelope) {
  switch (type) {
    case 'uuid': return `'${name === 'org_id' ? ids.org : ids.other}'`;
    case 'uuid[]': return `ARRAY['${name === 'org_ids' ? ids.org : ids.other}']::uuid[]`;
    case 'text': case 'name': return `'${TEXTS[name] ?? 'x'}'`;
    case 'text[]': return `ARRAY['sent', 'queued']`;
    case 'jsonb': return name === 'fields' || name === 'changes' ? `'${TEXTS.fields}'` : `'[]'`;
    case 'bytea': return `'${envelope}'`;
    case 'integer': case 'bigint': case 'double precision': return '1';
    case 'smallint[]':
    case 'integer[]': return 'ARRAY[1]';
    case 'bytea[]': return `ARRAY['${envelope}']::bytea[]`;
    case 'boolean': return 'true';
    case 'boolean[]': return 'ARRAY[true]';
    case 'interval': return `'1 hour'`;
    case 'date': return `'2026-07-01'`;
    case 'oid': return `'leads'::regclass`;
    case 'tstzmultirange': return `'{}'`;
    case 'timestamp with time zone[]': return 'ARRAY[now()]';
    case 'timestamp with time zone': return name === 'expires_at' ? 'NULL' : 'now()';
    case 'regclass': case 'oid': return `'leads'::regclass`;
    case 'regrole': return `'tenant'`;
    case 'regprocedure': return `'byoc.api_version()'::regprocedure`;
    case 'anyelement': return `(SELECT NULL::byoc.sms_messages OFFSET 0)`;
    default:
      if (type.startsWith('byoc.')) return `(SELECT NULL::${type} OFFSET 0)`; // a row type; as a constant it would be folded away
      throw new Error(`no argument known for type ${type}: add one to tests/attacks/functions.test.mjs`);
  }
}
const call = ({ name, parameters }, ids, envelope) =>
  `SELECT byoc.${name}(${parameters.map((parameter) => `${argument(parameter, ids, envelope)}${parameter.type === 'anyelement' ? '' : `::${parameter.type}`}`).join(', ')})`;

const CONTEXTS = [['the owner of A', 'owner'], ['a member of A', 'member'], ['nobody', null]];
// What a function that is open to tenants may answer about what is not theirs.
const REFUSALS = ['42501', '28000', 'P0002', '22000', '22023', '0A000'];

test('every function with B\'s ids', async (t) => {
  const { victim } = ground;
  for (const [who, role] of CONTEXTS) {
    const session = await ground.session({ role });
    for (const each of functions) {
      const targets = each.open && each.parameters.some(({ type }) => type.startsWith('uuid'))
        ? { 'B\'s ids': { org: B, other: victim.message }, 'B and its credential': { org: B, other: victim.credential }, 'A and B\'s message': { org: A, other: victim.message },
          'A and B\'s credential': { org: A, other: victim.credential }, 'A and B itself': { org: A, other: B } }
        : { 'B\'s ids': { org: B, other: victim.message } };
      for (const [whose, ids] of Object.entries(targets)) {
        await t.test(...await tried(`byoc.${each.name} with ${whose}, by ${who}`, each, ids, session));
      }
    }
    await session.end();
  }
});

// Calls the function and answers the line to report: name and check.
async function tried(name, each, ids, session) {
  const outcome = await outcomeOf(() => session.query(call(each, ids, ground.victim.envelope)), session);
  return [`${name} -> ${outcome.code ? `refused ${outcome.code}` : 'B is not in its answer'}`, () => {
    assert.deepEqual(leaksOf(outcome), [], JSON.stringify(outcome).slice(0, 1000));
    if (!each.open) {
      assert.equal(outcome.code, '42501', outcome.message);
    } else if (outcome.code) {
      assert.ok(REFUSALS.includes(outcome.code), `${outcome.code} ${outcome.message}`);
    } else {
      // What is done for organization B needs B's context.
      assert.ok(ids.org !== B || !each.parameters.some(({ name: parameter }) => parameter === 'org_id'), JSON.stringify(outcome));
    }
  }];
}

// An error with the ids that were passed taken out.
const told = (outcome, ids) => {
  if (!outcome.code) return 'no error';
  let text = JSON.stringify([outcome.code, outcome.message, outcome.text, outcome.heard]);
  for (const id of Object.values(ids)) text = text.replaceAll(id, '*');
  return text;
};

test('no function tells B\'s ids from ids that nobody has', async (t) => {
  const { victim } = ground;
  for (const [who, role] of CONTEXTS) {
    const session = await ground.session({ role });
    for (const each of functions.filter(({ open, parameters }) => open && parameters.some(({ type }) => type.startsWith('uuid')))) {
      for (const [what, other] of [['message', victim.message], ['credential', victim.credential]]) {
        const pairs = { real: { org: B, other }, made_up: { org: NOBODY, other: NOTHING_MADE_UP } };
        const mixed = { real: { org: A, other }, made_up: { org: A, other: NOTHING_MADE_UP } };
        for (const { real, made_up: madeUp } of [pairs, mixed]) {
          const [first, second] = [await outcomeOf(() => session.query(call(each, real, victim.envelope)), session),
            await outcomeOf(() => session.query(call(each, madeUp, victim.envelope)), session)];
          await t.test(`byoc.${each.name}, ${real.org === A ? 'of A' : 'of B'}, B's ${what} or none, by ${who} -> both ${first.code ? `refused ${first.code}` : 'answered'} alike`,
            () => assert.equal(told(first, real), told(second, madeUp)));
        }
      }
    }
    await session.end();
  }
});

test('the views, with B\'s ids and with ids that nobody has', async (t) => {
  const { victim } = ground;
  const session = await ground.session();
  const fields = TEXTS.fields;
  const statements = (org, message, credential) => [
    `SELECT * FROM byoc.credentials WHERE id = '${credential}'`,
    `SELECT * FROM byoc.credentials WHERE org_id = '${org}'`,
    `UPDATE byoc.credentials SET display_name = 'mine' WHERE id = '${credential}' RETURNING *`,
    `UPDATE byoc.credentials SET org_id = '${org}' RETURNING *`,
    `UPDATE byoc.credentials SET id = '${credential}' RETURNING *`,
    `DELETE FROM byoc.credentials WHERE id = '${credential}' RETURNING *`,
    `INSERT INTO byoc.credentials (org_id, credential_type, display_name, fields) VALUES ('${org}', 'twilio', 'mine', '${fields}') RETURNING *`,
    `INSERT INTO byoc.credentials (id, credential_type, display_name, fields) VALUES ('${credential}', 'twilio', 'mine', '{}') RETURNING *`,
    `SELECT * FROM byoc.sms_messages WHERE id = '${message}'`,
    `INSERT INTO byoc.sms_messages (org_id, to_number, body) VALUES ('${org}', '+15550138888', 'x') RETURNING *`,
    `INSERT INTO byoc.sms_messages (id, to_number, body) VALUES ('${message}', '+15550138888', 'x') RETURNING *`,
    `INSERT INTO byoc.sms_messages (to_number, body, credential_id) VALUES ('+15550138888', 'x', '${credential}') RETURNING *`,
    `SELECT * FROM byoc.sms_events WHERE message_id = '${message}'`,
    `SELECT * FROM byoc.organizations WHERE id = '${org}'`,
    `INSERT INTO leads (org_id, phone, name) VALUES ('${org}', '+15550138888', 'x')`,
    `UPDATE leads SET org_id = '${org}'`,
  ];
  const [real, madeUp] = [statements(B, victim.message, victim.credential), statements(NOBODY, NOTHING_MADE_UP, NOTHING_MADE_UP)];
  for (const [i, sql] of real.entries()) {
    const first = await outcomeOf(() => session.query(sql), session);
    const second = await outcomeOf(() => session.query(madeUp[i]), session);
    const name = sql.replaceAll(B, 'B').replaceAll(victim.message, 'B\'s message').replaceAll(victim.credential, 'B\'s credential').replaceAll(fields, '...');
    await t.test(`${name} -> ${first.code ? `refused ${first.code}` : `${first.rows.length} rows`}, as with ids that nobody has`, () => {
      assert.deepEqual(leaksOf(first), []);
      assert.deepEqual(first.rows ?? [], []);
      assert.equal(told(first, { B, ...victim }), told(second, { NOBODY, NOTHING_MADE_UP }));
    });
  }
  await attempt(t, 'the idempotency key of B, used by A, gives A\'s own message', (rows) => assert.equal(rows.length, 1), async () => {
    const id = await session.value(`SELECT byoc.send_sms('+15550138888', 'mine', idempotency_key => 'victim-key')`);
    return session.query('SELECT id FROM byoc.sms_messages WHERE id = $1 AND body = $2', [id, 'mine']);
  });
  await session.end();
});

test('what names and numbers give away', async (t) => {
  const session = await ground.session();
  const forbidden = {
    'a foreign key to byoc.organizations': 'CREATE TABLE lair.f (org uuid REFERENCES byoc.organizations)',
    'a child table of byoc.organizations': 'CREATE TABLE lair.c () INHERITS (byoc.organizations)',
    'a trigger on byoc.organizations': 'CREATE TRIGGER t BEFORE UPDATE ON byoc.organizations FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()',
    'a rule on byoc.credentials': 'CREATE RULE r AS ON INSERT TO byoc.credentials DO ALSO NOTHING',
    'an index on byoc.messages': 'CREATE INDEX ON byoc.messages (body)',
    'statistics on byoc.messages': 'CREATE STATISTICS lair.s ON body, org_id FROM byoc.messages',
    'a policy on byoc.organizations': 'CREATE POLICY mine ON byoc.organizations USING (true)',
    'row security off': 'SET row_security = off; SELECT * FROM byoc.organizations',
    'a column of a row type': 'CREATE TABLE lair.rows (message byoc.messages)',
    'a column of an array of a row type': 'CREATE TABLE lair.rows (messages byoc.messages[])',
    'a function of a row type': 'CREATE FUNCTION lair.row(byoc.credentials) RETURNS int LANGUAGE sql RETURN 1',
    'a publication of byoc.messages': 'CREATE PUBLICATION p FOR TABLE byoc.messages',
    'TRUNCATE of the view\'s table': 'TRUNCATE byoc.organization_api_credentials',
    'VACUUM with a file of its own': 'SELECT pg_read_file(\'global/pg_control\')',
    'a server-side COPY': 'COPY byoc.credentials TO PROGRAM \'cat\'',
    'reading storage': 'SELECT * FROM byoc.messages',
    'reading what is behind the view': 'SELECT * FROM byoc.all_sms_messages',
    'locking an own row of organizations': 'SELECT * FROM byoc.organizations FOR UPDATE',
    'DROP of a view': 'DROP VIEW byoc.credentials',
    'byoc.organizations renamed': `UPDATE byoc.organizations SET name = 'mine'`,
  };
  for (const [what, sql] of Object.entries(forbidden)) {
    await attempt(t, what, '42501', () => session.query(sql), session);
    await session.query('RESET row_security');
  }
  await attempt(t, 'sequences to count by', nothing, () => session.query(`SELECT oid::regclass FROM pg_class WHERE relnamespace = 'byoc'::regnamespace AND relkind = 'S'`));
  await session.end();
});

test('B\'s rows are what they were', () => ground.assertUntouched());
