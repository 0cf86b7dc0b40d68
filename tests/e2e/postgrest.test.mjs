// The recipe for PostgREST: its documented function and requests, as PostgREST would put them to the server.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { clusterKey, now, signToken } from '../../scripts/jwt.mjs';
import { Stack } from './stack.mjs';
import { fenced, indented, section } from './support/docs.mjs';
import { postgrest, readCurl } from './support/postgrest.mjs';

const [RECIPE] = fenced(section('doc/tenant-context.md', 'Recipe: Supabase and PostgREST'), 'sql');
const [CONFIGURATION, CALLS] = indented(section('doc/embedding.md', 'The same through PostgREST'));
const setting = (name) => new RegExp(`^${name} = "(.*)"$`, 'm').exec(CONFIGURATION)[1];
const OPTIONS = { preRequest: setting('db-pre-request'), schemas: setting('db-schemas').split(', ') };
const COMMANDS = CALLS.trim().split(/\n(?=curl)/).map((command) => command.replaceAll('\\\n', ''));

const stack = new Stack('postgrest');
let session;
let a;
let b;

after(() => stack.end());
before(async () => {
  await stack.start();
  [a, b] = [await stack.organization(1), await stack.organization(2)];
  await stack.db.query('CREATE ROLE authenticated; CREATE ROLE anon; CREATE ROLE authenticator LOGIN NOINHERIT; GRANT authenticated, anon TO authenticator');
  await stack.db.query(RECIPE);
  session = await stack.connect('authenticator');
});

const token = (claims = {}) => signToken(clusterKey(stack.cluster), { org_id: a.id, sub: 'ada', org_role: 'admin', role: 'authenticated', exp: now() + 600, ...claims });
const bearer = (text) => ({ authorization: `Bearer ${text}` });
const call = (request) => postgrest(session, OPTIONS, { method: 'GET', query: '', headers: {}, ...request });
const find = (part) => COMMANDS.find((command) => command.includes(part));
const FAILED = '+15550100666';

test('the documented requests: credentials, sending, what failed', async () => {
  assert.equal(COMMANDS.length, 3);
  const [credential, ...others] = await call(readCurl(find('/credentials?'), token()));
  assert.deepEqual([credential.id, credential.fields.auth_token, credential.verification_status, others.length], [a.credential, '••••ab01', 'verified', 0]);
  const [{ pgrst_scalar: id }] = await call(readCurl(find('/rpc/send_sms'), token()));
  const sent = await stack.settled(id);
  assert.deepEqual([sent.org_id, sent.status, sent.body], [a.id, 'sent', 'Hello']);
  await stack.faults([{ action: 'status', status: 400, code: 21211, match: { to: FAILED } }]);
  for (const organization of [a, b]) await stack.settled(await stack.send(organization, FAILED, `of ${organization.id}`), ['failed']);
  const failed = await call(readCurl(find('/sms_messages?'), token()));
  assert.deepEqual(failed.map(({ body, status }) => [body, status]), [[`of ${a.id}`, 'failed']]);
});

test('the token is taken from the header, and no claims', async () => {
  const who = async (headers) => {
    const [one] = await call({ path: 'credentials', query: 'select=org_id', headers: { 'accept-profile': 'byoc', ...headers } });
    return one?.org_id;
  };
  assert.equal(await who(bearer(token())), a.id);
  await assert.rejects(who(bearer(`${token().slice(0, -4)}AAAA`)), { code: '28000' });
  const forged = `${token().split('.')[0]}.${Buffer.from(JSON.stringify({ org_id: b.id, role: 'authenticated', exp: now() + 600 })).toString('base64url')}.AAAA`;
  await assert.rejects(who(bearer(forged)), { code: '28000' }, 'claims that PostgREST believed, by another key');
  await assert.rejects(who({}), { code: '42501' }, 'anon has no rights');
  await assert.rejects(who(bearer(token({ role: 'anon' }))), { code: '42501' });
  // Claims set by hand count for nothing.
  await session.query('START TRANSACTION');
  await session.query(`SELECT set_config('role', 'authenticated', true), set_config('request.jwt.claims', $1, true), set_config('request.headers', '{}', true)`,
    [JSON.stringify({ org_id: b.id, role: 'authenticated' })]);
  await session.query('SELECT public.byoc_pre_request()');
  assert.equal(await session.value('SELECT byoc.current_org_id()'), null);
  assert.deepEqual(await session.rows('SELECT * FROM byoc.credentials'), []);
  await session.query('ROLLBACK');
});

test('nothing of a request is left for the next', async () => {
  await call({ path: 'credentials', query: 'select=id', headers: { 'accept-profile': 'byoc', ...bearer(token()) } });
  assert.equal(await session.value('SELECT current_user::text'), 'authenticator');
  const [{ org_id: next }] = await call({ path: 'credentials', query: 'select=org_id', headers: { 'accept-profile': 'byoc', ...bearer(token({ org_id: b.id })) } });
  assert.equal(next, b.id);
});
