// A real PgBouncer in front of a private server.

import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from '../../../scripts/postgres.mjs';
import { freePort, until } from '../../../scripts/run.mjs';
import { tool } from '../stack.mjs';

export const PGBOUNCER = tool('pgbouncer');

export class PgBouncer {
  // `mode`: session, transaction; `size`: server connections; `port`: that of a stopped one, to take its place. Whoever comes is `user`.
  static async start(run, cluster, { database, user, mode, size = 20, port: wanted }) {
    const bouncer = new PgBouncer();
    const folder = `${cluster.env.PGHOST}/pgbouncer`;
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(folder, { mode: 0o755 });
    const port = wanted ?? await freePort();
    cpSync(PGBOUNCER, `${folder}/pgbouncer`); // the server's user may not be able to enter our working folder
    writeFileSync(`${folder}/pgbouncer.ini`, `[databases]
${database} = host=${cluster.env.PGHOST} port=${cluster.env.PGPORT} user=${user} pool_size=${size}
[pgbouncer]
listen_addr =
listen_port = ${port}
unix_socket_dir = ${folder}
auth_type = any
pool_mode = ${mode}
`);
    const command = [`${folder}/pgbouncer`, `${folder}/pgbouncer.ini`];
    if (process.getuid() === 0) {
      execFileSync('chown', ['-R', 'postgres:', folder]);
      command.unshift('setpriv', '--reuid', 'postgres', '--regid', 'postgres', '--clear-groups');
    }
    bouncer.program = run.start(command[0], command.slice(1), { log: `${run.folder}/pgbouncer.log` });
    bouncer.env = { PGHOST: folder, PGPORT: String(port) };
    bouncer.connect = () => connect({ host: folder, port, user, database });
    await until('PgBouncer', async () => {
      const connection = await bouncer.connect().catch(() => null);
      await connection?.end();
      return connection;
    });
    return bouncer;
  }

  stop() { return this.program.stop('SIGINT'); }
}
