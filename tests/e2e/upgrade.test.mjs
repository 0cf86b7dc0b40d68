// ALTER EXTENSION UPDATE from every released version: the catalog of a fresh install, the data as they were, and no message lost or
// doubled on the way; and back again.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { after, before, describe, test } from 'node:test';
import { RELEASES, VERSION, upgradeScripts } from '../../scripts/upgrade-scripts.mjs';
import { Stack } from './stack.mjs';
import { catalog, differences } from './support/catalog.mjs';
import { THIS, install, released } from './support/releases.mjs';
import { data, fill } from './support/upgrade_data.mjs';
import { Traffic } from './support/traffic.mjs';

const PG_BIN = '/usr/lib/postgresql/15/bin';
const WHERE = 'functions, views and comments come by `make upgrade-scripts`; write the rest into sql/pg_byoc--*--*.sql, above what is derived';

test('the scripts are what the sources and the last release make of them', () => {
  for (const { path, text } of upgradeScripts()) assert.ok(readFileSync(path, 'utf8') === text, `${path} is out of date: run make upgrade-scripts`);
});

for (const release of RELEASES.filter((version) => version !== VERSION)) {
  describe(`from ${release}`, () => {
    const folder = mkdtempSync(`${tmpdir()}/byoc-upgrade.`);
    const old = released(release, `${folder}/stage`);
    const stack = new Stack(`upgrade-${release}`, { program: old.byocd });
    process.once('exit', () => rmSync(folder, { recursive: true }));
    let a;
    let traffic;
    let kept;
    const dump = `${folder}/dump`;
    const client = (program, database, ...args) => execFileSync(`${PG_BIN}/${program}`, args, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...stack.cluster.environment(database) } });

    // What CREATE EXTENSION makes of a version, and the roles' grants.
    const fresh = new Map();
    async function assertFresh(db, version) {
      if (!fresh.has(version)) {
        const database = `fresh ${version}`;
        client('createdb', 'postgres', database);
        const other = await stack.cluster.connect(database);
        await other.query(`CREATE EXTENSION pg_byoc VERSION '${version}'; SELECT byoc.grant_dispatcher('byocd'), byoc.grant_tenant('tenant')`);
        fresh.set(version, await catalog(other));
        await other.end();
      }
      assert.equal(differences(await catalog(db), fresh.get(version)).join('\n'), '', WHERE);
    }
    const update = async (db, version) => {
      await db.query(`ALTER EXTENSION pg_byoc UPDATE TO '${version}'`);
      if (version === VERSION) await db.query('SELECT byoc.renew_grants()');
    };

    // Starts another byocd beside the one that runs, which then ends.
    async function replaceByocd(program) {
      const { byocd } = stack;
      stack.program = program;
      await stack.startByocd();
      await traffic.flows();
      await byocd.program.stop('SIGTERM');
    }

    after(() => stack.end());
    before(async () => {
      process.env.STAGE = old.stage;
      await stack.start();
      assert.equal(await stack.db.value(`SELECT extversion FROM pg_extension WHERE extname = 'pg_byoc'`), release);
      a = await stack.organization(1);
      await fill(stack, a);
      traffic = await Traffic.prepare(stack, a);
    });

    test('a copy of its data, at rest', async () => {
      await stack.byocd.program.stop('SIGTERM');
      kept = await data(stack.db);
      client('pg_dump', 'e2e', '-Fc', '-f', dump);
      await stack.db.end();
      client('createdb', 'postgres', '-T', 'e2e', 'quiet');
      await stack.reconnect();
      await stack.startByocd();
    });

    test('messages that come in all the while are sent once each, by old and new byocd side by side', async () => {
      traffic.start();
      await traffic.flows();
      install(THIS.stage, stack.cluster);
      stack.cluster.restart(); // from here on the new library works with the old objects
      await stack.reconnect();
      await traffic.flows();
      await update(stack.db, VERSION);
      await traffic.flows();
      await replaceByocd(THIS.byocd);
      await traffic.flows();
      await traffic.ends();
    });

    test('the catalog is that of a fresh install', async () => {
      await assertFresh(stack.db, VERSION);
      const quiet = await stack.cluster.connect('quiet');
      await update(quiet, VERSION);
      await assertFresh(quiet, VERSION);
      await quiet.end();
    });

    test('and a difference would be seen', async () => {
      const db = await stack.cluster.connect('quiet');
      const wanted = await catalog(db);
      for (const [change, line] of [
        ['ALTER TABLE byoc.messages ADD COLUMN more text', /^- column byoc\.messages\.more should not be there$/m],
        ['ALTER TABLE byoc.queue ALTER COLUMN attempts SET DEFAULT 1', /^- column byoc\.queue\.attempts, default: is "1", should be "0"$/m],
        ['DROP TRIGGER credentials_delete ON byoc.credentials', /^- trigger byoc\.credentials credentials_delete is missing$/m],
        ['GRANT EXECUTE ON FUNCTION byoc.prune(interval, integer) TO PUBLIC', /^- function byoc\.prune\(interval,integer\), privileges: is "PUBLIC EXECUTE/m],
        [`COMMENT ON VIEW byoc.stats IS 'changed'`, /^- relation byoc\.stats, comment: is "changed"/m],
        ['ALTER FUNCTION byoc.prune(interval, integer) RESET search_path', /^- function byoc\.prune\(interval,integer\), definition/m],
        ['ALTER TABLE byoc.queue DISABLE ROW LEVEL SECURITY', /^- relation byoc\.queue, row security: is false, should be true$/m],
        ['ALTER TABLE byoc.messages RESET (fillfactor)', /^- relation byoc\.messages, options/m],
        ['ALTER EXTENSION pg_byoc DROP FUNCTION byoc.uuid_v7()', /^- member function byoc\.uuid_v7\(\) is missing$/m],
        [`UPDATE byoc.shipped_provider_errors SET class = 'resend' WHERE code = '20429'`, /^- shipped error twilio 20429, class/m],
      ]) {
        await db.query(`BEGIN; ${change}`);
        assert.match(differences(await catalog(db), wanted).join('\n'), line);
        await db.query('ROLLBACK');
      }
      await db.end();
    });

    test('the data are as they were, and can be opened', async () => {
      const quiet = await stack.cluster.connect('quiet');
      assert.deepEqual(await data(quiet, kept), kept);
      await quiet.end();
    });

    test(`a dump of ${release} can be restored, and is paused`, async () => {
      client('createdb', 'postgres', 'restored');
      client('pg_restore', 'restored', '-e', '-d', 'restored', dump);
      const db = await stack.cluster.connect('restored');
      assert.equal(await db.value(`SELECT extversion FROM pg_extension WHERE extname = 'pg_byoc'`), VERSION);
      assert.deepEqual(await data(db, kept), kept);
      await assert.rejects(db.query('SELECT byoc.register_dispatcher(gen_random_uuid())'), { code: '55000' });
      const waiting = await db.value(`SELECT count(*)::int FROM byoc.sms_messages WHERE status IN ('queued', 'scheduled')`)
        + await db.value('SELECT count(*)::int FROM byoc.calls WHERE due_at IS NOT NULL');
      assert.equal(await db.value('SELECT byoc.adopt_installation()'), waiting);
      assert.equal(await db.value('SELECT (SELECT count(*) FROM byoc.queue) + (SELECT count(*) FROM byoc.schedule)'), 0);
      assert.equal(await db.value('SELECT byoc.resume_restored()'), waiting);
      await db.end();
    });

    test('and back: the catalog as before, the same data, messages go on', async () => {
      const quiet = await stack.cluster.connect('quiet');
      await update(quiet, release);
      assert.deepEqual(await data(quiet, kept), kept);
      traffic.start();
      await traffic.flows();
      await replaceByocd(old.byocd);
      await update(stack.db, release);
      await traffic.flows();
      install(old.stage, stack.cluster);
      stack.cluster.restart();
      await stack.reconnect();
      await traffic.flows();
      await traffic.ends();
      const again = await stack.cluster.connect('quiet');
      await assertFresh(again, release);
      await again.end();
    });

    test('and there once more', async () => {
      traffic.start();
      await traffic.flows();
      install(THIS.stage, stack.cluster);
      stack.cluster.restart();
      await stack.reconnect();
      await update(stack.db, VERSION);
      await replaceByocd(THIS.byocd);
      await traffic.flows();
      await traffic.ends();
      await assertFresh(stack.db, VERSION);
      const quiet = await stack.cluster.connect('quiet');
      await update(quiet, VERSION);
      await assertFresh(quiet, VERSION);
      assert.deepEqual(await data(quiet, kept), kept);
      await quiet.end();
    });
  });
}
