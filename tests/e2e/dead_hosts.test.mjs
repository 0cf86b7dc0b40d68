// The server finds out soon when byocd's host is gone without a word, over TCP: what was being done there keeps rows locked until then.

import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { freePort } from '../../scripts/run.mjs';
import { Cluster, Stack, until } from './stack.mjs';

let stack;
let port;

before(async () => {
  port = await freePort();
  stack = new Stack('dead-hosts', { settings: { listen_addresses: '127.0.0.1', port }, env: { BYOC_TENANT_ROLE: 'tenant' } });
  stack.startCluster = () => {
    const cluster = new Cluster(stack.run, { settings: stack.settings });
    cluster.env.PGPORT = String(port); // scripts/cluster has 5432, which somebody may listen at
    return cluster;
  };
  await stack.start();
  await stack.db.query(`COPY (VALUES ('local all all trust'), ('host all all 127.0.0.1/32 trust')) TO '${await stack.db.value('SHOW hba_file')}'`);
  await stack.db.query('SELECT pg_reload_conf()');
  await stack.byocd.program.stop();
  await stack.startByocd({ PGHOST: '127.0.0.1' });
});
after(() => stack.end());

// The server's ends of TCP connections, as the kernel has them (proc(5)): which timer runs, and for how many seconds at most.
function serverSockets() {
  const [, ...lines] = readFileSync('/proc/net/tcp', 'utf8').trim().split('\n');
  const ESTABLISHED = '01';
  const HZ = 100;
  return lines.map((line) => line.trim().split(/\s+/))
    .filter(([, local, , state]) => state === ESTABLISHED && parseInt(local.split(':')[1], 16) === port)
    .map(([, , , , , timer]) => ({ kind: timer.split(':')[0], seconds: parseInt(timer.split(':')[1], 16) / HZ }));
}

test('each of its sessions is asked for a sign of life after ten seconds of silence', async () => {
  const KEEPALIVE = '02';
  await until('all of its sessions to be watched', async () => {
    const sessions = await stack.db.value(`SELECT count(*)::int FROM pg_stat_activity WHERE application_name = 'byocd' AND client_addr IS NOT NULL`);
    const sockets = serverSockets();
    return sessions >= 4 && sockets.length === sessions && sockets.every(({ kind, seconds }) => kind === KEEPALIVE && seconds <= 10);
  });
});
