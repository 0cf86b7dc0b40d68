// graphile-worker and pg-boss, from npm: installed once into build/bench, which git ignores, and started there.

import { copyFileSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { installPackages } from '../../scripts/npm.mjs';
import { TOP, until } from '../../scripts/run.mjs';
import { account } from './bed.mjs';

const HERE = `${TOP}/tests/bench`;
const FOLDER = `${TOP}/build/bench`;
const NODE = `${FOLDER}/node_modules/node-linux-${process.arch}/bin/node`;

// The packages of package.json, exactly those versions. What npm says about engines is about the Node.js that it runs on itself; the
// workers run on the one that it installs.
export function installPeers() {
  installPackages(HERE, FOLDER);
  // Next to node_modules, where imports are looked for.
  for (const file of readdirSync(`${HERE}/peers`)) copyFileSync(`${HERE}/peers/${file}`, `${FOLDER}/${file}`);
}

// Lets a peer make its schema.
export async function setUpPeer(bed, database, program) {
  const { exited, log } = launch(bed, database, program, 'setup', { BENCH_SETUP: 1, BENCH_CONNECTIONS: 1, BENCH_POOL: 2 });
  const { code } = await exited;
  if (code !== 0) throw new Error(`${program} could not be set up: ${readFileSync(log, 'utf8')}`);
}

// Starts `processes` of a worker, loaded and waiting for begin().
export async function startPeer(bed, database, program, processes, settings) {
  const programs = Array.from({ length: processes }, (_, number) => launch(bed, database, program, number, settings));
  for (const each of programs) {
    await until(`${program} to be loaded`, () => {
      if (each.ended) throw new Error(`${program} ended: ${readFileSync(each.log, 'utf8')}`);
      return readFileSync(each.log, 'utf8').includes('ready');
    }, { timeout: 30_000 });
  }
  return {
    pids: programs.map(({ pid }) => pid),
    begin() { for (const { pid } of programs) process.kill(pid, 'SIGUSR2'); },
    stop: () => Promise.all(programs.map((each) => each.stop('SIGKILL'))),
  };
}

function launch(bed, database, program, number, settings) {
  const { sid, authToken, service } = account(1);
  const log = `${bed.run.folder}/${program}-${number}.log`;
  rmSync(log, { force: true });
  const env = {
    ...bed.cluster.environment(database), NODE_ENV: 'production',
    BENCH_URL: bed.simulator.url, BENCH_SID: sid, BENCH_TOKEN: authToken, BENCH_SERVICE: service, ...settings,
  };
  return bed.run.start(NODE, [`${FOLDER}/${program}.mjs`], { log, env });
}
