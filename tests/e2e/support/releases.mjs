// Installations of released versions, to upgrade from.

import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { TOP } from '../../../scripts/run.mjs';
import { VERSION } from '../../../scripts/upgrade-scripts.mjs';
import { BYOCD } from '../stack.mjs';

const PG_CONFIG = process.env.PG_CONFIG ?? '/usr/lib/postgresql/15/bin/pg_config';
const EXTENSIONS = `${execFileSync(PG_CONFIG, ['--sharedir'], { encoding: 'utf8' }).trim()}/extension`;
const STAGE = process.env.STAGE ?? `${TOP}/build/stage`;

// Where version `release` is installed, and its byocd: the real one where `make check-upgrade` built it, else its script with this
// version's library and byocd, in `folder`.
export function released(release, folder) {
  const built = `${TOP}/build/releases/${release}`;
  if (existsSync(`${built}/stage`)) return { stage: `${built}/stage`, byocd: `${built}/stage/usr/local/bin/byocd` };
  cpSync(STAGE, folder, { recursive: true });
  const extensions = `${folder}${EXTENSIONS}`;
  for (const file of readdirSync(extensions)) if (file.endsWith('.sql')) rmSync(`${extensions}/${file}`);
  cpSync(`${TOP}/sql/releases/pg_byoc--${release}.sql`, `${extensions}/pg_byoc--${release}.sql`);
  const control = `${extensions}/pg_byoc.control`;
  writeFileSync(control, readFileSync(control, 'utf8').replace(`'${VERSION}'`, `'${release}'`));
  return { stage: folder, byocd: BYOCD };
}

// Puts an installation's files in the place of the cluster's, as a package manager does. The server has its library until it is restarted.
export function install(stage, cluster) {
  rmSync(`${cluster.folder}/stage`, { recursive: true });
  mkdirSync(`${cluster.folder}/stage`);
  cpSync(stage, `${cluster.folder}/stage`, { recursive: true });
}
export const THIS = { stage: STAGE, byocd: BYOCD };
