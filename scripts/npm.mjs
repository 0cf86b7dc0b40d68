// npm packages that tests need, at pinned versions, in folders that git ignores.
//
//   node scripts/npm.mjs SOURCE FOLDER     puts them there, as installPackages() does

import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const SELF = fileURLToPath(import.meta.url);

// Puts the packages of `source`/package.json, by its package-lock.json where there is one, into `folder`; nothing to do when they are there.
// Test files start side by side: the first one does it, the others wait. Throws when npm cannot get them.
export function installPackages(source, folder) {
  if (isInstalled(source, folder)) return;
  mkdirSync(folder, { recursive: true });
  const { status, error } = spawnSync('flock', [`${folder}/.lock`, process.execPath, SELF, source, folder], { stdio: ['ignore', 2, 2] });
  if (error || status !== 0) throw new Error(`could not install the npm packages of ${source}${error ? `: ${error.message}` : ''}`);
}

const filesOf = (source) => ['package.json', 'package-lock.json'].filter((file) => existsSync(`${source}/${file}`));
const wanted = (source) => filesOf(source).map((file) => readFileSync(`${source}/${file}`, 'utf8')).join('');
const note = (folder) => `${folder}/installed.txt`;
const isInstalled = (source, folder) => existsSync(note(folder)) && readFileSync(note(folder), 'utf8') === wanted(source);

function install(source, folder) {
  if (isInstalled(source, folder)) return;
  mkdirSync(folder, { recursive: true });
  const files = filesOf(source);
  rmSync(note(folder), { force: true });
  for (const file of files) copyFileSync(`${source}/${file}`, `${folder}/${file}`);
  console.log(`installing npm packages into ${folder} (once)`);
  const command = files.length === 2 ? ['ci'] : ['install', '--no-package-lock'];
  const { status, stderr, error } = spawnSync('npm', [...command, '--no-audit', '--no-fund', '--loglevel=error'], { cwd: folder, encoding: 'utf8' });
  if (error || status !== 0) throw new Error(`npm ${command[0]} failed in ${folder}: ${error?.message ?? stderr}`);
  writeFileSync(note(folder), wanted(source));
}

if (process.argv[1] === SELF) install(...process.argv.slice(2));
