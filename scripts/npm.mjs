// npm packages that tests need, at pinned versions, in folders that git ignores.

import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';

// Puts the packages of `source`/package.json, by its package-lock.json where there is one, into `folder`; nothing to do when they are there.
// Throws when npm cannot get them.
export function installPackages(source, folder) {
  const files = ['package.json', 'package-lock.json'].filter((file) => existsSync(`${source}/${file}`));
  const wanted = files.map((file) => readFileSync(`${source}/${file}`, 'utf8')).join('');
  const done = `${folder}/installed.txt`;
  mkdirSync(folder, { recursive: true });
  if (existsSync(done) && readFileSync(done, 'utf8') === wanted) return;
  rmSync(done, { force: true });
  for (const file of files) copyFileSync(`${source}/${file}`, `${folder}/${file}`);
  console.log(`installing npm packages into ${folder} (once)`);
  const command = files.length === 2 ? ['ci'] : ['install', '--no-package-lock'];
  const { status, stderr, error } = spawnSync('npm', [...command, '--no-audit', '--no-fund', '--loglevel=error'], { cwd: folder, encoding: 'utf8' });
  if (error || status !== 0) throw new Error(`npm ${command[0]} failed in ${folder}: ${error?.message ?? stderr}`);
  writeFileSync(done, wanted);
}
