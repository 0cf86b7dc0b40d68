// A network cable between two parts that can be cut, made to refuse, or made to swallow everything in silence.

import { once } from 'node:events';
import { connect, createServer } from 'node:net';

export class Proxy {
  #pairs = new Set();
  #server = null;
  #silent = new Set(); // 'requests', 'answers'

  // `listen` and `target`: as net.connect takes them, { path } or { host, port }.
  constructor(listen, target) { Object.assign(this, { listen, target }); }

  async open() {
    if (this.#server) return;
    this.#server = createServer((client) => this.#pair(client));
    this.#server.unref();
    this.#server.listen(this.listen);
    await once(this.#server, 'listening');
  }

  // From now on connections are refused; those that are open go on.
  refuse() {
    this.#server?.close();
    this.#server = null;
  }

  // Breaks every connection; over TCP with a reset.
  cut() {
    for (const pair of this.#pairs) {
      for (const socket of pair) {
        if (socket.remoteAddress) socket.resetAndDestroy();
        else socket.destroy();
      }
    }
  }

  // Nothing passes in these directions any more, and nobody is told: 'requests', 'answers'.
  silence(directions) {
    this.#silent = new Set(directions);
    for (const pair of this.#pairs) this.#apply(pair);
  }

  // As good as new. What was held back is delivered, late.
  async heal() {
    this.silence([]);
    await this.open();
  }

  close() {
    this.refuse();
    this.cut();
  }

  #pair(client) {
    const upstream = connect(this.target);
    const pair = [client, upstream];
    this.#pairs.add(pair);
    for (const [from, to] of [[client, upstream], [upstream, client]]) {
      from.on('data', (chunk) => to.write(chunk));
      from.on('end', () => to.end());
      from.on('error', () => to.destroy());
      from.on('close', () => {
        this.#pairs.delete(pair);
        to.end();
      });
      from.unref();
    }
    this.#apply(pair);
  }

  #apply([client, upstream]) {
    for (const [socket, direction] of [[client, 'requests'], [upstream, 'answers']]) {
      if (this.#silent.has(direction)) socket.pause();
      else socket.resume();
    }
  }
}
