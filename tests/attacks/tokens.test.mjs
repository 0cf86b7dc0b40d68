// Attacks on the tenant context: becoming organization B with any token and any way to set one.

import assert from 'node:assert/strict';
import { createHmac, createPublicKey, randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { keySet, newKey, now, signToken } from '../../scripts/jwt.mjs';
import { until } from '../../scripts/run.mjs';
import { A, B, Ground, attempt, nothing, value } from './ground.mjs';

const ground = new Ground('tokens');
const keys = { RS256: newKey('RS256', 'rsa'), PS256: newKey('PS256', 'pss'), ES256: newKey('ES256', 'ec') };
const base64url = (text) => Buffer.from(text).toString('base64url');
const WHO = 'SELECT byoc.current_org_id() AS org';
let session, key;

after(() => ground.end());
before(async () => {
  await ground.start();
  key = ground.key;
  const { db, cluster } = ground;
  writeFileSync(cluster.env.BYOC_JWKS, keySet(key, ...Object.values(keys)));
  await db.query(`ALTER SYSTEM SET byoc.jwt_issuer = 'https://issuer.example'`);
  await db.query(`ALTER SYSTEM SET byoc.jwt_audience = 'app'`);
  await db.query('SELECT pg_reload_conf()');
  await until('the new settings', async () => await db.value('SHOW byoc.jwt_audience') === 'app');
  session = await ground.session({ role: null });
});

const claims = (more = {}) => ({ iss: 'https://issuer.example', aud: 'app', org_id: B, sub: 'mallory', org_role: 'owner', exp: now() + 600, ...more });
const sign = (more, header, by = key) => signToken(by, claims(more), header);
// Signs header and payload as they are written.
const signText = (header, payload, secret = key.jwk.k) => {
  const input = `${base64url(header)}.${base64url(payload)}`;
  return `${input}.${createHmac('sha256', Buffer.from(secret, 'base64url')).update(input).digest('base64url')}`;
};
const HEADER = () => JSON.stringify({ alg: 'HS256', kid: key.jwk.kid });

test('the good token that the others are made from is accepted', async (t) => {
  const by = await ground.session({ role: null });
  await attempt(t, 'SET byoc.token to a good token', value(B), async () => {
    await by.query(`SET byoc.token = '${sign()}'`);
    return by.query(WHO);
  });
  await by.end();
});

test('tokens that prove nothing, by SET, SET LOCAL, set_config, authenticate and the connection\'s parameters', async (t) => {
  const good = sign();
  const [header, payload, signature] = good.split('.');
  const rsa = keys.RS256;
  const mine = newKey('HS256', key.jwk.kid);
  const last = signature.at(-1);
  const twin = String.fromCharCode(last.charCodeAt(0) + 1); // other unused bits, the same signature
  const pem = createPublicKey(rsa.privateKey).export({ type: 'spki', format: 'pem' });
  const tokens = {
    'signed with an own HMAC key': sign({}, {}, mine),
    'signed with an own RSA key of a known kid': sign({}, {}, newKey('RS256', 'rsa')),
    'signed with an own key sent along as jwk': sign({}, { jwk: mine.jwk }, mine),
    'signed with an own key behind jku': sign({}, { jku: 'http://127.0.0.1:1/keys', kid: 'mine' }, mine),
    'an empty HMAC key': signText(HEADER(), JSON.stringify(claims()), ''),
    'expired': sign({ exp: now() - 31 }),
    'not yet valid': sign({ nbf: now() + 60 }),
    'without exp': sign({ exp: undefined }),
    'exp as text': sign({ exp: String(now() + 600) }),
    'exp null': sign({ exp: null }),
    'exp negative': sign({ exp: -1 }),
    'exp NaN': signText(HEADER(), JSON.stringify(claims()).replace(/"exp":\d+/, '"exp":NaN')),
    'exp beyond all numbers': signText(HEADER(), JSON.stringify(claims()).replace(/"exp":\d+/, '"exp":1e999')),
    'exp twice': signText(HEADER(), JSON.stringify(claims()).replace('{', `{"exp":1,`)),
    'org_id twice': signText(HEADER(), JSON.stringify(claims({ org_id: A })).replace('{', `{"org_id":"${B}",`)),
    'org_id twice, once escaped': signText(HEADER(), JSON.stringify(claims({ org_id: A })).replace('{', `{"\\u006frg_id":"${B}",`)),
    'alg twice': signText(`{"alg":"none","alg":"HS256","kid":"${key.jwk.kid}"}`, JSON.stringify(claims())),
    'org_id in an array': sign({ org_id: [B] }),
    'org_id with a NUL': sign({ org_id: `${B}\u0000` }),
    'org_id with blanks': sign({ org_id: ` ${B}` }),
    'org_id in full-width digits': sign({ org_id: B.replaceAll('0', '０') }),
    'a role that is none': sign({ org_role: 'superuser' }),
    'a role with a NUL': sign({ org_role: 'owner\u0000' }),
    'wrong issuer': sign({ iss: 'https://issuer.example/' }),
    'no issuer': sign({ iss: undefined }),
    'wrong audience': sign({ aud: 'other' }),
    'an audience that contains it': sign({ aud: 'app2' }),
    'no audience': sign({ aud: undefined }),
    'algorithm none': sign({}, { alg: 'none' }),
    'algorithm None with the good signature': `${base64url(`{"alg":"None","kid":"${key.jwk.kid}"}`)}.${payload}.${signature}`,
    'algorithm HS512 with the HS256 key': sign({}, { alg: 'HS512' }),
    'algorithm lower case': good.replace(/^[^.]+/, base64url(`{"alg":"hs256","kid":"${key.jwk.kid}"}`)),
    'RS256 key\'s modulus as HS256 secret': signText('{"alg":"HS256","kid":"rsa"}', JSON.stringify(claims()), rsa.jwk.n),
    'RS256 key\'s PEM as HS256 secret': signText('{"alg":"HS256","kid":"rsa"}', JSON.stringify(claims()), base64url(pem)),
    'RS256 key\'s JWK as HS256 secret': signText('{"alg":"HS256","kid":"rsa"}', JSON.stringify(claims()), base64url(JSON.stringify(rsa.jwk))),
    'PS256 by the RS256 key': sign({}, { kid: 'rsa' }, keys.PS256),
    'ES256 signature of zeros': `${base64url('{"alg":"ES256","kid":"ec"}')}.${payload}.${Buffer.alloc(64).toString('base64url')}`,
    'kid of another key': sign({}, { kid: 'rsa' }),
    'kid absent among several keys': sign({}, { kid: undefined }),
    'kid empty': sign({}, { kid: '' }),
    'kid that is a path': sign({}, { kid: '../../../../dev/null' }),
    'kid with SQL': sign({}, { kid: `${key.jwk.kid}' OR 'a'='a` }),
    'kid with a NUL behind it': sign({}, { kid: `${key.jwk.kid}\u0000` }),
    'kid a number': sign({}, { kid: 1 }),
    'kid of 10,000 characters': sign({}, { kid: 'k'.repeat(10_000) }),
    'critical extension': sign({}, { crit: ['exp'], exp: 1 }),
    'B\'s claims under A\'s signature': [header, payload, sign({ org_id: A }).split('.')[2]].join('.'),
    'cut in the header': good.slice(header.length / 2),
    'without its payload': `${header}..${signature}`,
    'without its signature': `${header}.${payload}.`,
    'only a header': header,
    'header and payload': `${header}.${payload}`,
    'one character short': good.slice(0, -1),
    'half a signature': good.slice(0, -22),
    'a fourth part': `${good}.${signature}`,
    'padded signature': `${good}=`,
    'padded payload': `${header}.${payload}==.${signature}`,
    'signature in another spelling of base64url': `${header}.${payload}.${signature.slice(0, -1)}${twin}`,
    'signature in plain base64': `${header}.${payload}.${signature.slice(0, -1)}+/`,
    'line feed at the end': `${good}\n`,
    'blank before it': ` ${good}`,
    'Bearer before it': `Bearer ${good}`,
    'huge': sign({ more: 'x'.repeat(20_000) }),
    'deeply nested': signText(HEADER(), `${'{"a":'.repeat(3000)}1${'}'.repeat(3000)}`),
    'no JSON': signText(HEADER(), 'org_id'),
    'an array of claims': signText(HEADER(), `[${JSON.stringify(claims())}]`),
    'invalid UTF-8 in the claims': signText(HEADER(), Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d])),
    'session token made up': `byoc1.${base64url(randomBytes(80))}.${base64url(randomBytes(32))}`,
    'session token with an empty MAC': `byoc1.${base64url(randomBytes(80))}.`,
    'what SHOW says': '(hidden)',
    'unicode': '🔑.🔑.🔑',
  };
  for (const [what, token] of Object.entries(tokens)) {
    const quoted = `'${token.replaceAll('\'', '\'\'')}'`;
    const ways = {
      'SET LOCAL': () => session.query(`BEGIN; SET LOCAL byoc.token = ${quoted}`).finally(() => session.query('ROLLBACK')),
      set_config: () => session.query('SELECT set_config(\'byoc.token\', $1, false)', [token]),
      authenticate: () => session.query('SELECT byoc.authenticate($1)', [token]),
    };
    if (token.length < 9000) ways.connection = () => ground.cluster.connect('postgres', 'tenant', { 'byoc.token': token }); // a startup packet's limit
    for (const way of Object.values(ways)) {
      const error = await way().then(() => null, (refusal) => refusal);
      assert.equal(error?.code, '28000', `${what}: ${error?.message}`);
      assert.ok(!token.includes('.') || !error.message.includes(token.slice(0, 20)), error.message);
    }
    await attempt(t, `SET byoc.token to a token ${what}`, '28000', () => session.query(`SET byoc.token = ${quoted}`));
    assert.equal(await session.value(WHO), null);
  }
});

test('tokens kept or handed on where they do not belong', async (t) => {
  const token = sign();
  const kept = {
    'ALTER ROLE of one\'s own': `ALTER ROLE tenant SET byoc.token = '${token}'`,
    'ALTER ROLE IN DATABASE': `ALTER ROLE tenant IN DATABASE postgres SET byoc.token = '${token}'`,
    'a function\'s SET clause': `CREATE FUNCTION lair.f() RETURNS uuid LANGUAGE sql SET byoc.token = '${token}' RETURN byoc.current_org_id()`,
  };
  for (const [what, sql] of Object.entries(kept)) await attempt(t, `good token in ${what}`, '28000', () => session.query(sql));
  await attempt(t, 'good token in ALTER DATABASE', '42501', () => session.query(`ALTER DATABASE postgres SET byoc.token = '${token}'`));
  await attempt(t, 'good token in ALTER SYSTEM', '42501', () => session.query(`ALTER SYSTEM SET byoc.token = '${token}'`));
  await session.query('SELECT set_config(\'byoc.token\', $1, false)', [token]);
  await attempt(t, 'a function with SET byoc.token FROM CURRENT', '28000', () => session.query(
    'CREATE FUNCTION lair.g() RETURNS uuid LANGUAGE sql SET byoc.token FROM CURRENT RETURN byoc.current_org_id()'));
  await attempt(t, 'ALTER ROLE SET byoc.token FROM CURRENT', '28000', () => session.query('ALTER ROLE tenant SET byoc.token FROM CURRENT'));
  const reads = {
    'SHOW byoc.token': 'SHOW byoc.token', 'current_setting': `SELECT current_setting('byoc.token')`,
    'what set_config returns': `SELECT set_config('byoc.token', '${token}', false)`,
  };
  for (const [what, sql] of Object.entries(reads)) await attempt(t, `reading the token back by ${what}`, value('(hidden)'), () => session.query(sql));
  await attempt(t, 'reading the token back from pg_settings', nothing, () => session.query(`SELECT setting FROM pg_settings WHERE name = 'byoc.token'`));
  await attempt(t, 'reading the token back by SHOW ALL', nothing, async () => ({
    rows: (await session.rows('SHOW ALL')).filter((row) => row.name.startsWith('byoc.t') || String(row.setting).includes('byoc1')),
  }));
  await session.query('RESET byoc.token');
  await attempt(t, 'reading the signing keys\' place', '42501', () => session.query('SHOW byoc.jwks_file'));
  await attempt(t, 'pointing byoc.jwks_file elsewhere', '55P02', () => session.query(`SET byoc.jwks_file = '/tmp/mine'`));
  await attempt(t, 'pointing byoc.jwt_org_claim elsewhere', '55P02', () => session.query(`SET byoc.jwt_org_claim = 'sub'`));
  await attempt(t, 'a setting of one\'s own called byoc.org_id', '42602', () => session.query(`SET byoc.org_id = '${B}'`));
  await attempt(t, 'PGOPTIONS with a forged token', '28000', () => ground.cluster.connect('postgres', 'tenant', {
    options: `-c byoc.token=${sign({}, {}, newKey('HS256', key.jwk.kid))}`,
  }));
  await attempt(t, 'request.jwt.claims that name B', value(null), async () => {
    await session.query('SELECT set_config(\'request.jwt.claims\', $1, false)', [JSON.stringify(claims())]);
    return session.query(WHO);
  });
});

test('reset, rollback and savepoints bring no context back that was not set here', async (t) => {
  const [a, b] = [sign({ org_id: A }), sign()];
  const who = async (sql, ...more) => {
    await session.query(sql);
    for (const each of more) await session.query(each).catch(() => {});
    return session.query(WHO);
  };
  await attempt(t, 'SET LOCAL to B, COMMIT, go on', value(null), () => who(`BEGIN; SET LOCAL byoc.token = '${b}'; COMMIT`));
  await attempt(t, 'SET to B, ROLLBACK, go on', value(null), () => who(`BEGIN; SET byoc.token = '${b}'; ROLLBACK`));
  await attempt(t, 'B in a savepoint that is rolled back, then A', value(A),
    () => who(`BEGIN; SET LOCAL byoc.token = '${a}'; SAVEPOINT s; SET LOCAL byoc.token = '${b}'; ROLLBACK TO s`));
  await session.query('ROLLBACK');
  await attempt(t, 'a failed SET after a good one', value(A), () => who(`SET byoc.token = '${a}'`, 'SET byoc.token = \'x\''));
  await attempt(t, 'DISCARD ALL', value(null), () => who('DISCARD ALL'));
  await attempt(t, 'B within a function with SET, then outside', value(null), () => who(`DO $$ BEGIN
    PERFORM set_config('byoc.token', '${b}', true); RAISE 'undo'; EXCEPTION WHEN OTHERS THEN END $$`));
});

test('an expired token, also in what was prepared while it was good', async (t) => {
  const brief = await ground.session({ role: null });
  await brief.query(`PREPARE p AS ${WHO}; PREPARE names AS SELECT name FROM byoc.organizations`);
  // Accepted within the clock skew of 30 s, of which 5 to 6 s are left.
  await brief.query('SELECT set_config(\'byoc.token\', $1, false)', [sign({ exp: now() - 24 })]);
  await until('the token to expire', () => brief.value(WHO).then(() => false, ({ code }) => code === '28000'));
  for (const sql of [WHO, 'EXECUTE p', 'EXECUTE names', 'SELECT * FROM byoc.sms_messages', 'SELECT * FROM byoc.organizations',
    `SELECT byoc.encrypt('${B}', 'x')`, `INSERT INTO leads (org_id, name) VALUES ('${B}', 'x')`]) {
    await attempt(t, `with an expired context: ${sql}`, '28000', () => brief.query(sql));
  }
  await brief.query('RESET byoc.token');
  await attempt(t, 'after RESET', value(null), () => brief.query(WHO));
});

test('becoming somebody else', async (t) => {
  for (const role of ['postgres', 'boss', 'byocd', 'pg_read_all_data', 'pg_monitor', 'pg_database_owner']) {
    await attempt(t, `SET ROLE ${role}`, '42501', () => session.query(`SET ROLE ${role}`));
    await attempt(t, `SET SESSION AUTHORIZATION ${role}`, role.startsWith('pg_') ? ['42501', '22023'] : '42501', () => session.query(`SET SESSION AUTHORIZATION ${role}`));
    // Nobody may be a member of pg_database_owner, whoever asks: XX000 in PostgreSQL 17, 0A000 in 18; 15 looks at who asks first.
    const refusals = ['42501', '0LP01', ...(role === 'pg_database_owner' ? ['XX000', '0A000'] : [])];
    await attempt(t, `GRANT ${role} TO tenant`, refusals, () => session.query(`GRANT ${role} TO tenant`));
  }
  await attempt(t, 'ALTER ROLE tenant SUPERUSER', '42501', () => session.query('ALTER ROLE tenant SUPERUSER'));
  await attempt(t, 'ALTER ROLE tenant BYPASSRLS', '42501', () => session.query('ALTER ROLE tenant BYPASSRLS'));
  await attempt(t, 'CREATE ROLE', '42501', () => session.query('CREATE ROLE other LOGIN SUPERUSER'));
  await attempt(t, 'byoc.set_org to B', '42501', () => session.query(`SELECT byoc.set_org('${B}', 'x', 'owner')`));
  await attempt(t, 'GRANT of byoc.set_org to oneself', '42501', () => session.query('GRANT EXECUTE ON FUNCTION byoc.set_org(uuid, text, text, boolean) TO tenant'));
  await attempt(t, 'an own function on the symbol byoc_set_org', '42501', () => session.query(
    `CREATE FUNCTION lair.set_org(uuid, text, text, boolean) RETURNS uuid LANGUAGE c AS 'pg_byoc', 'byoc_set_org'`));
  await attempt(t, 'LOAD of another library', '42501', () => session.query(`LOAD 'auto_explain'`));
  await attempt(t, 'ALTER EXTENSION', '42501', () => session.query('ALTER EXTENSION pg_byoc ADD SCHEMA lair'));
});

test('B\'s rows are what they were', () => ground.assertUntouched());
