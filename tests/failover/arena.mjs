// What failovers are tried on: a cluster of three, byocd twice, and load that never ends while they happen.

import { setTimeout as delay } from 'node:timers/promises';
import { until } from '../../scripts/run.mjs';
import { BYOCD } from '../../scripts/stack.mjs';
import { Arena } from '../faults/arena.mjs';
import { readLedger } from '../faults/ledger.mjs';
import { Load } from '../faults/load.mjs';
import { Random } from '../faults/random.mjs';
import { Patroni } from './patroni.mjs';

const PROBER = 1; // which organization sends nothing but probes

export class FailoverArena extends Arena {
  byocds = [];
  #probes = 0;

  startCluster() { return Patroni.start(this.run); }

  async start(options) {
    await super.start(3, { patient: false });
    await this.db.query(`ALTER ROLE byocd PASSWORD '${this.cluster.password}'`);
    [this.prober] = this.organizations.splice(0, PROBER);
    for (const name of ['1', '2']) this.byocds.push(this.launch(name, options));
  }

  launch(name, env = {}) {
    return this.run.start(BYOCD, ['run'], {
      log: `${this.run.folder}/byocd-${name}.log`,
      env: { ...this.environment, BYOC_TWILIO_BASE_URL: this.providerUrl, BYOC_HTTP_LISTEN: '127.0.0.1:0', ...env },
    });
  }

  // Inserts rows and sends messages until stopped: the returned function does it, and answers the books.
  feed(tag, seed) {
    const load = new Load(this, `${tag}, `, new Random(seed));
    let stopped = false;
    const feeding = (async () => {
      while (!stopped && !this.over) {
        await load.insert(load.random.whole(1, 30));
        await delay(30);
      }
      await load.settle();
    })();
    return async () => {
      stopped = true;
      await feeding;
      await this.drain(() => this.unfinished(load.tag), 300_000);
      const ledger = await readLedger(this, load.tag);
      return { ledger, inserted: load.inserted };
    };
  }

  // Sends a message as soon as one of the nodes lets it; answers how long after that the provider had it, in ms.
  async resumption(nodes) {
    const body = `probe ${++this.#probes}`;
    let writable;
    await Promise.any(nodes.map(async (node) => {
      let session;
      while (!writable) {
        try {
          session ??= await node.connect('e2e', 'postgres');
          if (await session.value('SELECT pg_is_in_recovery()')) {
            await delay(5);
            continue;
          }
          const id = await session.value('SELECT byoc.send_sms($1, $2, org_id => $3)', ['+15553000001', body, this.prober.id]);
          writable ??= { at: Date.now(), id };
        } catch {
          session = null;
          await delay(5);
        }
      }
      await session?.end();
    }));
    const message = await until('the probe to arrive', async () => (await this.simulator.messages()).find((each) => each.body === body));
    return Math.max(0, message.arrived - writable.at);
  }

  async end() {
    this.over = true;
    for (const program of this.byocds) await program.stop('SIGKILL');
    this.cluster?.abandon();
    await super.end();
  }
}
