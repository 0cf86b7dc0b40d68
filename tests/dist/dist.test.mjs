// The zip for PGXN: the same bytes from the same commit, a valid META.json, and what its client does with it.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { Run, TOP, script } from '../../scripts/run.mjs';
import { Cluster } from '../../scripts/stack.mjs';

const PG_CONFIG = process.env.PG_CONFIG ?? '/usr/lib/postgresql/15/bin/pg_config';
let run;
let zip;
let unpacked;
let meta;

const execute = (program, args, options) => execFileSync(program, args, { stdio: ['ignore', 'pipe', 'pipe'], encoding: 'utf8', maxBuffer: 1 << 26, ...options });

before(() => {
  run = new Run(`dist-${process.pid}`);
  zip = script('make-dist', `${run.folder}/one`).trim();
  execute('unzip', ['-q', zip, '-d', run.folder]);
  unpacked = `${run.folder}/${/([^/]+)\.zip$/.exec(zip)[1]}`;
  meta = JSON.parse(readFileSync(`${unpacked}/META.json`, 'utf8'));
});
let cluster;
after(() => cluster?.disconnect());

test('whoever makes it, wherever, it has the same bytes', () => {
  execute('git', ['clone', '-q', TOP, `${run.folder}/clone`]);
  execute('sh', ['-c', 'umask 077 && scripts/make-dist ../two'], { cwd: `${run.folder}/clone`, env: { ...process.env, TZ: 'Asia/Tokyo', LANG: 'C' } });
  assert.ok(readFileSync(zip).equals(readFileSync(zip.replace('/one/', '/two/'))));
});

// PGXN's Meta Spec 1.0: what is required, and the form of it.
test('META.json is what the specification wants', () => {
  const version = /^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)$/;
  for (const name of ['name', 'version', 'abstract', 'maintainer', 'license', 'provides', 'meta-spec']) assert.ok(meta[name], name);
  assert.match(meta.version, version);
  assert.match(meta['meta-spec'].version, /^1\.0\.\d+$/);
  assert.ok(['apache_2_0', 'bsd', 'gpl_3', 'mit', 'mozilla_2_0', 'postgresql'].includes(meta.license));
  assert.ok(['stable', 'testing', 'unstable'].includes(meta.release_status));
  for (const [name, provided] of Object.entries(meta.provides)) {
    assert.match(name, /^[^\s/\\\p{Cc}]{2,}$/u);
    assert.equal(provided.version, meta.version);
    for (const file of [provided.file, provided.docfile]) assert.ok(existsSync(`${unpacked}/${file}`), file);
  }
  for (const prerequisites of Object.values(meta.prereqs)) {
    for (const needed of Object.values(prerequisites.requires)) assert.match(needed, version);
  }
  for (const tag of meta.tags) assert.match(tag, /^[^/\\\p{Cc}]{1,255}$/u);
});

test('pgxn installs it, and pgxn check passes', async () => {
  const pgxn = (command, ...args) => execute('pgxn', [command, '--pg_config', PG_CONFIG, ...args, `${unpacked}/`], {
    cwd: run.folder, env: { ...process.env, DESTDIR: `${run.folder}/stage` },
  });
  pgxn('install', '--nosudo');
  Object.assign(process.env, { STAGE: `${run.folder}/stage`, BYOCD_BIN: `${run.folder}/stage/usr/local/bin/byocd` });
  cluster = new Cluster(run);
  const { PGHOST, PGPORT } = cluster.env;
  assert.match(pgxn('check', '-h', PGHOST, '-p', PGPORT, '-U', 'postgres', '-d', 'postgres'), /All tests successful\.[^]*Result: PASS/);
});
