// A key ring that cannot be used is said at start and at every use; without preloading nothing works, clearly.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { appendFileSync, chmodSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { BYOCD, Cluster, Run, until } from './stack.mjs';

const ORG = '00000000-0000-4000-8000-000000000001';
let run, cluster, keyring, good, sealed;

before(async () => {
  run = new Run(`e2e-keyring-${process.pid}`);
  cluster = new Cluster(run);
  keyring = cluster.env.BYOC_KEYRING;
  good = readFileSync(keyring);
  const db = await cluster.connect();
  await db.query('CREATE EXTENSION pg_byoc');
  await db.query(`SELECT byoc.create_organization('A', $1)`, [ORG]);
  sealed = await db.value('SELECT byoc.encrypt($1, $2)', [ORG, 'kept']);
});

after(() => cluster.disconnect());

// Restarts with a changed ring; answers the error of a use and what the log says since.
async function withRing(change) {
  const { size } = statSync(cluster.log);
  await cluster.disconnect();
  change();
  cluster.restart();
  const db = await until('the server', () => cluster.connect().catch(() => null));
  const error = await db.query('SELECT byoc.decrypt($1, $2)', [ORG, sealed]).then(() => null, (e) => e);
  const creating = await db.query(`SELECT byoc.create_organization('B')`).then(() => null, (e) => e);
  return { db, error, creating, log: readFileSync(cluster.log, 'utf8').slice(size) };
}

const restore = () => { writeFileSync(keyring, good); chmodSync(keyring, 0o600); };

const problems = {
  'is missing': [() => renameSync(keyring, `${keyring}.away`), /cannot be opened: No such file or directory; make a key ring with: byocd keyring generate/, () => renameSync(`${keyring}.away`, keyring)],
  'is empty': [() => writeFileSync(keyring, ''), /it holds no key; make one with: byocd keyring generate/],
  'can be read by others': [() => chmodSync(keyring, 0o644), /has mode 0644, so others can reach it; run: chmod 0600/],
  'is damaged': [() => writeFileSync(keyring, good.toString().replace(/ (\S)(\S{42}=) /, (_, c, rest) => ` ${c === 'A' ? 'B' : 'A'}${rest} `)), /a key is damaged: its check digits do not match/],
  'has an unreadable line': [() => appendFileSync(keyring, '\nwhat is this\n'), /line \d+: a line is not: id state created key check/],
};

for (const [what, [change, expected, undo]] of Object.entries(problems)) {
  test(`a key ring that ${what}: a clear error at start and in SQL, never a default key`, async () => {
    const { error, creating, log } = await withRing(change);
    assert.match(log, /WARNING: .*pg_byoc has no key ring/);
    assert.match(log, expected);
    for (const e of [error, creating]) {
      assert.equal(e?.code, 'F0000');
      assert.match(e.message, expected);
    }
    undo?.();
    restore();
  });
}

test('with the right ring again everything can be read', async () => {
  const { db } = await withRing(restore);
  assert.equal(await db.value('SELECT byoc.decrypt($1, $2)', [ORG, sealed]), 'kept');
});

test('another ring: the error names the key that is missing', async () => {
  const another = `${run.folder}/another-ring`;
  execFileSync(BYOCD, ['keyring', 'generate', '--file', another]);
  const { error } = await withRing(() => writeFileSync(keyring, readFileSync(another)));
  assert.match(error.message, /is wrapped by master key "k-[0-9a-f]{8}", which the key ring does not have/);
  assert.match(error.hint, /Put that key back/);
  restore();
});

test('without shared_preload_libraries: an error that says which line to add', async () => {
  await cluster.disconnect();
  cluster.stop();
  appendFileSync(`${cluster.env.PGDATA}/postgresql.auto.conf`, `shared_preload_libraries = ''\n`);
  cluster.start();
  const db = await until('the server', () => cluster.connect().catch(() => null));
  await assert.rejects(db.query('SELECT byoc.current_org_id()'), (error) => {
    assert.equal(error.message, 'pg_byoc must be loaded via shared_preload_libraries');
    assert.match(error.hint, /shared_preload_libraries = 'pg_byoc'/);
    return true;
  });
});
