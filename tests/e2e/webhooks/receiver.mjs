// A tenant's receiver of webhooks: a real HTTP server that keeps what came and answers as the test says.

import { once } from 'node:events';
import http from 'node:http';

export class Receiver {
  requests = []; // { headers, body, path, at }, without verifications
  verifications = [];
  connections = 0;
  // Answers an event: (response, request) => anything. Verifications are answered by `onVerification`.
  onEvent = (response) => response.writeHead(204).end();
  onVerification = (response) => response.writeHead(204).end();

  static async start(host = '127.0.0.1', port = 0) {
    const receiver = new Receiver();
    receiver.server = http.createServer((request, response) => receiver.#take(request, response));
    receiver.server.on('connection', () => { receiver.connections += 1; });
    receiver.server.listen(port, host);
    await once(receiver.server, 'listening');
    receiver.port = receiver.server.address().port;
    receiver.url = `http://${host.includes(':') ? `[${host}]` : host}:${receiver.port}/hooks?tenant=1`;
    return receiver;
  }

  async #take(request, response) {
    let body = '';
    for await (const chunk of request.setEncoding('utf8')) body += chunk;
    const got = { headers: request.headers, body, path: request.url, method: request.method, at: performance.now() };
    const isVerification = body.includes('"type":"byoc.verification"');
    (isVerification ? this.verifications : this.requests).push(got);
    (isVerification ? this.onVerification : this.onEvent)(response, got);
  }

  // Those of one event, in their order.
  of(id) { return this.requests.filter(({ headers }) => headers['webhook-id'] === id); }

  stop() {
    this.server.closeAllConnections();
    this.server.close();
  }
}

export const answer = (status, headers = {}) => (response) => response.writeHead(status, headers).end('{"error": "an answer of the receiver"}');
// The answers one after the other; the last one stays.
export const inTurn = (...answers) => (...args) => (answers.length > 1 ? answers.shift() : answers[0])(...args);
