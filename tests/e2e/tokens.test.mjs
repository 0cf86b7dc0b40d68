// The tenant context proved by JSON Web Tokens, on a real server: who is accepted, how long, and where a token shows.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, readFileSync, unlinkSync, writeFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { clusterKey, keySet, newKey, now, ownerToken, signToken } from '../../scripts/jwt.mjs';
import { Cluster, FORCE_PARALLEL, Run, until } from './stack.mjs';

const A = 'aaaaaaaa-0000-4000-8000-00000000000a';
const B = 'bbbbbbbb-0000-4000-8000-00000000000b';
const WHO = `SELECT concat_ws(' ', byoc.current_org_id(), byoc.current_user_id(), byoc.current_org_role()) AS who`;
const REFUSED = { code: '28000' };

let run, cluster, admin, db, key;
const keys = { RS256: newKey('RS256', 'rsa'), PS256: newKey('PS256', 'pss'), ES256: newKey('ES256', 'ec') };
const claims = (more = {}) => ({ org_id: A, sub: 'ada', org_role: 'admin', exp: now() + 600, ...more });
const who = (connection = db) => connection.value(WHO);
const writeKeys = (...set) => writeFileSync(cluster.env.BYOC_JWKS, keySet(...set));

// Reloads the configuration and waits until the given connections have noticed.
async function reload(...connections) {
  const loaded = new Map();
  for (const each of connections) loaded.set(each, await each.value('SELECT pg_conf_load_time()::text'));
  await admin.query('SELECT pg_reload_conf()');
  for (const each of connections) {
    await until('the reload', async () => await each.value('SELECT pg_conf_load_time()::text') !== loaded.get(each));
  }
}

async function configure(settings, ...connections) {
  for (const [name, value] of Object.entries(settings)) await admin.query(`ALTER SYSTEM SET ${name} = '${value}'`);
  await reload(...connections);
}

before(async () => {
  run = new Run(`e2e-tokens-${process.pid}`);
  cluster = new Cluster(run, { settings: { log_statement: 'all', log_min_duration_statement: 0, log_parameter_max_length_on_error: -1 } });
  admin = await cluster.connect();
  await admin.query(`CREATE EXTENSION pg_byoc; CREATE ROLE tenant LOGIN; SELECT byoc.grant_tenant('tenant')`);
  for (const [id, name] of [[A, 'A'], [B, 'B']]) await admin.query('SELECT byoc.create_organization($1, $2)', [name, id]);
  key = clusterKey(cluster);
  writeKeys(key, ...Object.values(keys));
  db = await cluster.connect('postgres', 'tenant');
});
after(() => cluster?.disconnect());

test('a token of each algorithm proves organization, user and role', async () => {
  for (const each of [key, ...Object.values(keys)]) {
    await db.query('BEGIN');
    assert.equal(await db.value('SELECT byoc.authenticate($1)', [signToken(each, claims())]), A);
    assert.equal(await who(), `${A} ada admin`);
    assert.deepEqual((await db.rows('SELECT name FROM byoc.organizations')).map(({ name }) => name), ['A']);
    await db.query('COMMIT');
    assert.equal(await who(), '', 'the context ends with the transaction');
  }
});

test('SET, SET LOCAL, RESET, ROLLBACK and savepoints', async () => {
  const [a, b] = [signToken(key, claims()), signToken(key, claims({ org_id: B, sub: 'bob', org_role: 'member' }))];
  await db.query(`SET byoc.token = '${a}'`);
  assert.equal(await who(), `${A} ada admin`);
  await db.query(`BEGIN; SET LOCAL byoc.token = '${b}'`);
  assert.equal(await who(), `${B} bob member`);
  await db.query('SAVEPOINT one');
  await db.query('SELECT byoc.authenticate($1)', [a]);
  assert.equal(await who(), `${A} ada admin`);
  await db.query('ROLLBACK TO one');
  assert.equal(await who(), `${B} bob member`);
  await assert.rejects(db.query('SELECT byoc.authenticate($1)', [`${a}x`]), REFUSED);
  await db.query('ROLLBACK');
  assert.equal(await who(), `${A} ada admin`, 'the session\'s own context is back');
  await db.query('BEGIN');
  await db.query(`SELECT set_config('byoc.token', $1, false)`, [b]);
  await db.query('ROLLBACK');
  assert.equal(await who(), `${A} ada admin`, 'SET is undone by ROLLBACK');
  await db.query('RESET byoc.token');
  assert.equal(await who(), '');
  await db.query(`SELECT set_config('byoc.token', $1, false)`, [a]);
  await db.query('DISCARD ALL');
  assert.equal(await who(), '', 'DISCARD ALL, a pooler\'s reset query, ends the context');
  const started = await cluster.connect('postgres', 'tenant', { 'byoc.token': a });
  assert.equal(await who(started), `${A} ada admin`, 'a token may come with the connection');
  await started.query(FORCE_PARALLEL);
  assert.equal(await who(started), `${A} ada admin`, 'and reaches parallel workers');
  for (const spelling of ['byoc . token', '"byoc"."token"', 'BYOC."token"', 'byoc.token TO']) {
    await db.query(`SET ${spelling}${spelling.endsWith('TO') ? '' : ' ='} '${a}'`); // none of them is logged: see the last test
    assert.equal(await who(), `${A} ada admin`);
  }
  await db.query('RESET byoc.token');
});

test('what is no good token is refused with 28000, and no message repeats it', async () => {
  const good = signToken(key, claims());
  const [header, payload, signature] = good.split('.');
  const pem = keys.RS256.jwk;
  const bad = {
    'algorithm none': signToken(key, claims(), { alg: 'none' }),
    'none with the good signature': `${Buffer.from('{"alg":"none","kid":"cluster"}').toString('base64url')}.${payload}.${signature}`,
    'HS512 with the HS256 key': signToken(key, claims(), { alg: 'HS512' }),
    'the RSA modulus as a secret': signToken({ jwk: { ...pem, alg: 'HS256', k: pem.n } }, claims()),
    'RS256 with the PS256 key': signToken({ ...keys.PS256, jwk: { ...keys.PS256.jwk, alg: 'RS256' } }, claims()),
    'no signature': `${header}.${payload}.`,
    'another organization under the same signature':
      `${header}.${Buffer.from(JSON.stringify(claims({ org_id: B }))).toString('base64url')}.${signature}`,
    'an unknown key id': signToken(key, claims(), { kid: 'other' }),
    'no key id among several keys': signToken(key, claims(), { kid: undefined }),
    'critical extension': signToken(key, claims(), { crit: ['exp'] }),
    'expired': signToken(key, claims({ exp: now() - 31 })),
    'no expiry': signToken(key, claims({ exp: undefined })),
    'not yet valid': signToken(key, claims({ nbf: now() + 60 })),
    'no organization': signToken(key, claims({ org_id: undefined })),
    'organization no uuid': signToken(key, claims({ org_id: 'MADEUP-organization' })),
    'unknown role': signToken(key, claims({ org_role: 'MADEUP-root' })),
    'user too long': signToken(key, claims({ sub: 'u'.repeat(256) })),
    'huge': signToken(key, claims({ more: 'x'.repeat(20_000) })),
    'truncated': good.slice(0, -1),
    'one line feed': `${good}\n`,
    'empty': '',
  };
  for (const [what, token] of Object.entries(bad)) {
    await assert.rejects(db.query('SELECT byoc.authenticate($1)', [token]), (error) => {
      assert.equal(error.code, '28000', `${what}: ${error.message}`);
      const text = JSON.stringify([error.message, error.detail, error.hint]); // CONTEXT has the parameters: log_parameter_max_length_on_error
      for (const secret of ['MADEUP', 'ada', A, ...token.split('.').filter(({ length }) => length > 8)]) {
        assert.ok(!text.includes(secret), `${what}: ${text}`);
      }
      return true;
    });
    if (token) await assert.rejects(db.query(`SET byoc.token = '${token}'`), REFUSED, what);
  }
  await assert.rejects(db.query('SELECT byoc.authenticate(NULL)'), REFUSED);
  assert.equal(await who(), '');
});

test('a token can only be set within a session', async () => {
  const token = ownerToken(key, A, 'ada');
  for (const command of [`ALTER ROLE tenant SET byoc.token = '${token}'`, `ALTER DATABASE postgres SET byoc.token = '${token}'`,
    `ALTER ROLE ALL SET byoc.token = '${token}'`]) {
    await assert.rejects(admin.query(command), REFUSED);
  }
  await assert.rejects(admin.query(`ALTER SYSTEM SET byoc.token = '${token}'`));
  assert.equal(await admin.value('SELECT count(*)::int FROM pg_db_role_setting'), 0);
});

test('parallel workers see the context, also after their leader\'s key set was reloaded', async () => {
  await admin.query(`CREATE TABLE many AS SELECT i FROM generate_series(1, 20000) i; GRANT SELECT ON many TO tenant; ANALYZE many`);
  const session = await cluster.connect('postgres', 'tenant');
  await session.query(`${FORCE_PARALLEL}; SET min_parallel_table_scan_size = 0; SET parallel_setup_cost = 0;
    SET parallel_tuple_cost = 0; SET max_parallel_workers_per_gather = 2; SET parallel_leader_participation = off`);
  const seen = `SELECT count(*)::int AS n FROM many WHERE byoc.current_org_id() = '${A}' AND byoc.current_user_id() = 'ada'`;
  // Without the leader every row is read, and the functions are called, in a worker.
  await session.query('BEGIN');
  await session.query('SELECT byoc.authenticate($1)', [signToken(keys.ES256, claims())]);
  // STABLE functions of no argument in WHERE are folded at planning only for estimates; a per-row call needs a column.
  const perRow = `SELECT count(*)::int AS n FROM many WHERE byoc.current_org_id()::text || i = '${A}' || i`;
  assert.match(JSON.stringify(await session.rows(`EXPLAIN (ANALYZE, VERBOSE) ${perRow}`)), /Workers Launched: [12]/);
  assert.equal(await session.value(perRow), 20000);
  assert.equal(await session.value(seen), 20000);
  // Within one statement: the leader waits for the lock, the key set changes, then the workers start, with the new configuration that the
  // leader, which reloads between statements, has not noticed.
  await admin.query(`CREATE FUNCTION explained(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$ BEGIN
    PERFORM pg_advisory_xact_lock(7); RETURN QUERY EXECUTE 'EXPLAIN (ANALYZE) ' || query; END $$`);
  await admin.query('SELECT pg_advisory_lock(7)');
  const explained = session.rows('SELECT explained($1)', [perRow]);
  await until('the leader to wait', () => admin.value('SELECT count(*)::int FROM pg_locks WHERE locktype = $1 AND NOT granted', ['advisory']));
  writeKeys(keys.ES256, newKey('HS256', 'fresh'));
  await reload(db);
  await admin.query('SELECT pg_advisory_unlock(7)');
  const plan = JSON.stringify(await explained);
  assert.match(plan, /Workers Launched: [12]/);
  assert.doesNotMatch(plan, /Rows Removed/);
  writeKeys(key);
  await reload(db);
  await assert.rejects(session.value(perRow), REFUSED, 'a context whose key is gone ends in workers too');
  await session.query('ROLLBACK');
  writeKeys(key, ...Object.values(keys));
  await reload(db);
});

test('expiry is checked at each use', async () => {
  await db.query(`SELECT set_config('byoc.token', $1, false)`, [signToken(key, claims({ exp: now() - 24 }))]);
  assert.equal(await who(), `${A} ada admin`, 'clocks may differ by 30 seconds');
  await until('the token to expire', () => who().then(() => false, (error) => {
    assert.equal(error.code, '28000');
    assert.match(error.message, /has expired/);
    return true;
  }));
  await assert.rejects(db.query('SELECT * FROM byoc.credentials'), REFUSED);
  await db.query('RESET byoc.token');
  assert.equal(await who(), '');
});

test('keys rotate at a reload: the new one is taken, the old one and what it signed are out', async () => {
  const [old, fresh] = [newKey('ES256', 'old'), newKey('HS256', 'new')];
  writeKeys(old);
  await reload(db);
  await db.query(`SELECT set_config('byoc.token', $1, false)`, [signToken(old, claims())]);
  assert.equal(await who(), `${A} ada admin`);
  await assert.rejects(db.query('SELECT byoc.authenticate($1)', [signToken(fresh, claims())]), /no key in byoc.jwks_file has its key id/);
  writeKeys(old, fresh);
  await reload(db);
  assert.equal(await who(), `${A} ada admin`, 'a context outlives a reload that keeps its key');
  assert.equal(await db.value('SELECT byoc.authenticate($1)', [signToken(fresh, claims({ org_id: B }))]), B);
  writeKeys(fresh);
  await reload(db);
  await assert.rejects(who(), (error) => error.code === '28000' && /key that signed the tenant context is no longer/.test(error.message));
  await assert.rejects(db.query('SELECT byoc.authenticate($1)', [signToken(old, claims())]), REFUSED);
  await db.query('RESET byoc.token');
  assert.equal(await db.value('SELECT byoc.authenticate($1)', [signToken(fresh, claims())]), A);
  writeKeys(key, ...Object.values(keys));
  await reload(db);
});

test('issuer, audience and claim path', async () => {
  const nested = (more = {}) => signToken(key, { sub: 'ada', exp: now() + 60, iss: 'https://issuer.example/', aud: ['x', 'byoc'],
    app_metadata: { org_id: B, org_role: 'owner' }, ...more });
  const accepts = (token) => db.value('SELECT byoc.authenticate($1)', [token]);
  await configure({ 'byoc.jwt_issuer': 'https://issuer.example/', 'byoc.jwt_audience': 'byoc', 'byoc.jwt_org_claim': 'app_metadata.org_id' }, db);
  await db.query('BEGIN');
  assert.equal(await accepts(nested()), B);
  assert.equal(await who(), `${B} ada owner`);
  await db.query('COMMIT');
  assert.equal(await accepts(nested({ aud: 'byoc' })), B);
  for (const wrong of [{ iss: 'https://issuer.example' }, { iss: undefined }, { aud: 'other' }, { aud: [] }, { aud: undefined }]) {
    await assert.rejects(accepts(nested(wrong)), REFUSED, JSON.stringify(wrong));
  }
  await assert.rejects(accepts(nested({ app_metadata: {}, org_id: A })), REFUSED);
  await configure({ 'byoc.jwt_issuer': '', 'byoc.jwt_audience': '', 'byoc.jwt_org_claim': 'org_id' }, db);
});

test('tenants cannot choose keys or rules', async () => {
  for (const name of ['jwks_file', 'jwt_issuer', 'jwt_audience', 'jwt_org_claim']) {
    await assert.rejects(db.query(`SET byoc.${name} = 'x'`), { code: '55P02' });
    await assert.rejects(db.query(`SHOW byoc.${name}`), { code: '42501' });
  }
});

test('a key set that cannot be used is a clear error', async () => {
  const file = cluster.env.BYOC_JWKS;
  const good = readFileSync(file);
  const token = signToken(key, claims());
  const problems = [
    [() => unlinkSync(file), /cannot be opened: No such file/],
    [() => writeFileSync(file, '{"keys": [', { mode: 0o600 }), /not a JSON object with an array "keys"/],
    [() => writeFileSync(file, '{"keys": []}'), /no key that can verify/],
    [() => writeFileSync(file, keySet(key, key)), /key 2: another key has the same "kid"/],
    [() => writeFileSync(file, keySet({ jwk: { ...key.jwk, k: 'c2hvcnQ' } })), /key 1: it is too weak/],
    [() => writeFileSync(file, JSON.stringify({ keys: [keys.ES256.privateKey.export({ format: 'jwk' })] })), /key 1: it is a private key/],
    [() => chmodSync(file, 0o622), /mode 0622, so others can change it; run: chmod go-w/],
    [() => chmodSync(file, 0o644), /holds an HS256 secret and others can read it/],
  ];
  for (const [spoil, expected] of problems) {
    spoil();
    if (process.getuid() === 0 && existsSync(file)) execFileSync('chown', ['postgres:', file]);
    await reload(db);
    await assert.rejects(db.query('SELECT byoc.authenticate($1)', [token]), (error) => {
      assert.equal(error.code, 'F0000', error.message);
      assert.match(error.message, expected);
      return true;
    });
    writeFileSync(file, good);
    chmodSync(file, 0o600);
  }
  writeFileSync(file, keySet(keys.ES256));
  chmodSync(file, 0o644);
  await reload(db);
  assert.equal(await db.value('SELECT byoc.authenticate($1)', [signToken(keys.ES256, claims())]), A, 'public keys may be read by everybody');
  writeFileSync(file, good);
  chmodSync(file, 0o600);
  await configure({ 'byoc.jwks_file': '' }, db);
  await assert.rejects(db.query('SELECT byoc.authenticate($1)', [token]), (error) => error.code === '28000' && /byoc.jwks_file is not set/.test(error.message));
  await admin.query('ALTER SYSTEM RESET byoc.jwks_file');
  await reload(db);
});

test('no token, and no part of one, is in the server\'s log or in pg_stat_activity', async () => {
  const log = readFileSync(cluster.log, 'utf8');
  assert.match(log, /withheld by pg_byoc/);
  assert.match(log, /ERROR: .*byoc\.token is not accepted: its signature is wrong/, 'the reason is logged');
  // Every header begins like this, and so does every payload.
  assert.doesNotMatch(log, /eyJ[\w-]{8}/);
  assert.equal(await admin.value(`SELECT count(*)::int FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND query LIKE '%byoc1.%'`), 0);
  await db.query('SELECT byoc.authenticate($1)', [signToken(key, claims())]);
  assert.equal(await admin.value(`SELECT query FROM pg_stat_activity WHERE pid = ${db.pid}`), 'SELECT byoc.authenticate($1)');
});
