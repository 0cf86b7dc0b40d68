// The Debian packages: the same bytes from the same commit, nothing for lintian to say, and in a Debian that has nothing else they
// install, send a message, and go again without a trace.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { before, test } from 'node:test';
import { Run, TOP, script } from '../../scripts/run.mjs';

let run;
let folder;

const execute = (program, args, env) => execFileSync(program, args, {
  stdio: ['ignore', 'pipe', 'pipe'], encoding: 'utf8', maxBuffer: 1 << 26, env: { ...process.env, ...env },
});
// The Debian that this is, and that the packages are for.
const suite = execute('sh', ['-c', '. /etc/os-release && echo $VERSION_CODENAME']).trim();
const debs = (of) => readdirSync(of).filter((file) => file.endsWith('.deb')).sort();

before(() => {
  run = new Run(`deb-${process.pid}`);
  folder = `${TOP}/build/deb`;
  script('make-deb', folder);
});

test('whoever makes them, wherever, they have the same bytes', () => {
  const again = `${run.folder}/in/another/folder`;
  execute('sh', ['-c', 'umask 077 && scripts/make-deb "$0"', again], { TZ: 'Asia/Tokyo' });
  assert.deepEqual(debs(again), debs(folder));
  for (const deb of debs(folder)) assert.ok(readFileSync(`${again}/${deb}`).equals(readFileSync(`${folder}/${deb}`)), deb);
});

test('lintian has nothing to say', () => {
  const changes = readdirSync(folder).find((file) => file.endsWith('.changes'));
  const root = process.getuid() === 0 ? ['--allow-root'] : [];
  assert.equal(execute('lintian', [...root, '--fail-on', 'error,warning', `${folder}/${changes}`]), '');
});

test('in a clean root they install, send a message, and go again', () => {
  // A copy of one in which nothing ever runs, unlike those that packages are built in.
  const clean = execute(`${TOP}/scripts/root`, ['--path', suite], { BYOC_ROOTS: `${process.env.HOME}/.cache/pg_byoc/clean` }).trim();
  const roots = `${run.folder}/roots`;
  const root = `${roots}/${suite}`;
  mkdirSync(roots);
  execute('cp', ['-a', clean, root]);
  // Security updates too: the packages want a PostgreSQL that is not older than the one that they were built with.
  writeFileSync(`${root}/etc/apt/sources.list`, execute('apt-get', ['indextargets', '--format', 'deb $(REPO_URI) $(RELEASE) $(COMPONENT)', 'Created-By: Packages', 'Origin: Debian']));
  for (const deb of debs(folder)) if (!deb.includes('-dbgsym_')) cpSync(`${folder}/${deb}`, `${root}/packages/${deb}`);
  for (const file of ['tests/dist/packages.sh', 'build/cmake/bin/simulator']) cpSync(`${TOP}/${file}`, `${root}/packages/${file.split('/').at(-1)}`);
  const output = execute(`${TOP}/scripts/root`, [suite, 'bash', '/packages/packages.sh'], { BYOC_ROOTS: roots });
  assert.match(output, /^a message was sent$/m);
  assert.match(output, /^nothing is left$/m);
  rmSync(roots, { recursive: true });
});
