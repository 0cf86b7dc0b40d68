// An application that inserts rows while the stack changes under it, and the count of what came of them.

import assert from 'node:assert/strict';
import { until } from '../stack.mjs';

const TO = '+15550139999';

export class Traffic {
  #n = 0;
  #stop = true;
  #writing;

  // A table whose rows become messages of `organization`.
  static async prepare(stack, organization) {
    const traffic = new Traffic();
    Object.assign(traffic, { stack, organization });
    await stack.db.query(`CREATE TABLE orders (n int PRIMARY KEY, org_id uuid, phone text);
      SELECT byoc.create_sms_trigger('orders', '{{phone}}', 'Order {{n}}.')`);
    return traffic;
  }

  start() {
    this.#stop = false;
    this.#writing = this.#write();
  }

  // One row after the other, a few ahead of what was sent; a lost connection is made again.
  async #write() {
    let db = await this.stack.connect();
    while (!this.#stop) {
      try {
        await db.query('INSERT INTO orders VALUES ($1, $2, $3)', [this.#n += 1, this.organization.id, TO]);
        await until('the queue to be short', async () => this.#stop || await db.value('SELECT count(*) < 20 FROM byoc.queue'));
      } catch (error) {
        if (error.code && !/^(57|08)/.test(error.code) && !/^E[A-Z]+$/.test(error.code)) throw error;
        db = await until('the server to accept connections', () => this.stack.connect().catch(() => null));
      }
    }
    await db.end();
  }

  async #sent() {
    return (await this.stack.simulator.messages(`?to=${encodeURIComponent(TO)}`)).map(({ body }) => Number(/^Order (\d+)\.$/.exec(body)[1]));
  }

  // Waits until rows that are inserted from now on arrive, as long as nobody stopped it.
  async flows() {
    const from = this.#n + 20;
    await until(`order ${from} to arrive`, async () => {
      if (this.#stop) await this.#writing;
      return (await this.#sent()).includes(from);
    });
  }

  // Stops writing, and looks that what was committed was sent once, all of it, and nothing else.
  async ends() {
    this.#stop = true;
    await this.#writing;
    const committed = (await this.stack.db.rows('SELECT n FROM orders ORDER BY n')).map(({ n }) => n);
    await until('all orders to be sent', async () => {
      const open = await this.stack.count(`source_table = 'public.orders' AND status IN ('queued', 'sending', 'scheduled')`);
      return open === 0;
    });
    assert.deepEqual((await this.#sent()).sort((x, y) => x - y), committed);
  }
}
