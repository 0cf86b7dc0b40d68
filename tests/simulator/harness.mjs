// Starts the simulator named by SIMULATOR_BIN and speaks to it as Twilio's clients and as tests do.
import { spawn } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { once } from 'node:events';
import http from 'node:http';
import net from 'node:net';

export const accountA = 'AC00000000000000000000000000000001';
export const accountB = 'AC00000000000000000000000000000002';
export const tokenA = '11111111111111111111111111111111';
export const tokenB = '22222222222222222222222222222222';
export const from = '+15550000001';
export const to = '+15551000001';

export const accounts = [
  {
    sid: accountA, auth_token: tokenA, friendly_name: 'Organization "A"',
    numbers: [{ phone_number: from, sms: true }, { phone_number: '+15550000002', sms: false }],
    api_keys: [
      { sid: 'SK00000000000000000000000000000001', secret: 'key-secret' },
      { sid: 'SK00000000000000000000000000000002', secret: 'main-secret', type: 'main' },
    ],
    verified_callers: ['+15551000002'],
    messaging_services: [{ sid: 'MG00000000000000000000000000000001' }],
    opted_out: ['+15551000004'],
  },
  { sid: accountB, auth_token: tokenB, friendly_name: 'B', type: 'Trial', numbers: [{ phone_number: '+15550000003' }], verified_callers: ['+15551000002'] },
];

/** A running simulator. Stop it with `stop`, which resolves to its exit code. */
export class Simulator {
  static async start(...args) {
    const child = spawn(process.env.SIMULATOR_BIN, ['--listen', '127.0.0.1:0', ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
    let line = '';
    for await (const chunk of child.stdout.iterator({ destroyOnReturn: false })) {
      line += chunk;
      if (line.includes('\n')) break;
    }
    child.stdout.resume();
    return new Simulator(child, line.match(/^listening on (http:\/\/\S+)\n$/)[1]);
  }

  constructor(child, url) {
    this.child = child;
    this.url = url;
    this.port = Number(new URL(url).port);
    this.exited = once(child, 'exit');
  }

  async stop(signal = 'SIGTERM') {
    this.child.kill(signal);
    return (await this.exited)[0];
  }

  /** One control request; resolves to {status, body}. */
  async control(method, path, body) {
    const response = await fetch(`${this.url}/_simulator/${path}`, { method, body: typeof body === 'string' || body === undefined ? body : JSON.stringify(body) });
    return { status: response.status, body: await response.json() };
  }

  messages(query = '') {
    return this.control('GET', `messages${query}`).then(({ body }) => body);
  }

  stats() {
    return this.control('GET', 'stats').then(({ body }) => body);
  }

  /** Everything back to how a test expects to find it. */
  async reset() {
    await this.control('DELETE', 'faults');
    await this.control('DELETE', 'latency');
    await this.control('DELETE', 'lists');
    await this.control('DELETE', 'delivery');
    await this.control('DELETE', 'accounts');
    await this.control('DELETE', 'messages');
    await this.control('PUT', 'accounts', accounts);
  }

  /** One request to the provider's API; resolves to {status, body, headers}. */
  async twilio(method, path, { user = accountA, password = tokenA, form, signal } = {}) {
    const response = await fetch(this.url + path, {
      method,
      headers: { authorization: `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}` },
      body: form && new URLSearchParams(form),
      signal,
    });
    return { status: response.status, body: await response.json(), headers: response.headers };
  }

  /** Creates a message, by default a good one of account A. */
  send(fields = {}, options = {}) {
    const form = { To: to, From: from, Body: 'hello', ...fields };
    for (const name of Object.keys(form)) if (form[name] === undefined) delete form[name];
    return this.twilio('POST', `/2010-04-01/Accounts/${options.user?.startsWith('AC') ? options.user : accountA}/Messages.json`, { form, ...options });
  }

  /** Sends a create over a bare socket and resolves to {bytes, error, ended}: what came back and how the connection went. */
  raw(body = 'To=%2B15551000001&From=%2B15550000001&Body=raw') {
    const auth = Buffer.from(`${accountA}:${tokenA}`).toString('base64');
    return new Promise((resolve) => {
      const socket = net.connect(this.port, '127.0.0.1');
      const result = { bytes: '', error: null, ended: false };
      socket.on('data', (data) => { result.bytes += data; });
      socket.on('end', () => { result.ended = true; });
      socket.on('error', (error) => { result.error = error.code; });
      socket.on('close', () => resolve(result));
      socket.write(`POST /2010-04-01/Accounts/${accountA}/Messages.json HTTP/1.1\r\nHost: x\r\nAuthorization: Basic ${auth}\r\n`
        + `Content-Type: application/x-www-form-urlencoded\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
    });
  }
}

/** Waits until `condition` resolves to something true, and resolves to that. */
export async function until(condition, what) {
  const deadline = Date.now() + 60_000;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (Date.now() > deadline) throw new Error(`timed out waiting for ${what}`);
    await new Promise((resolve) => { setImmediate(resolve); });
  }
}

/** X-Twilio-Signature as Twilio's documentation computes it. */
export function signatureOf(token, url, fields) {
  const text = url + [...fields.keys()].sort().map((name) => name + fields.get(name)).join('');
  return createHmac('sha1', token).update(text).digest('base64');
}

/** An HTTP server that collects callbacks: each is {url, signature, fields}. `answer` sets what it replies. */
export class Receiver {
  static async start() {
    const receiver = new Receiver();
    await new Promise((resolve) => { receiver.server.listen(0, '127.0.0.1', resolve); });
    receiver.url = `http://127.0.0.1:${receiver.server.address().port}`;
    return receiver;
  }

  constructor() {
    this.callbacks = [];
    this.answer = (request, response) => response.writeHead(204).end();
    this.server = http.createServer(async (request, response) => {
      let body = '';
      for await (const chunk of request) body += chunk;
      this.callbacks.push({ url: request.url, method: request.method, signature: request.headers['x-twilio-signature'], fields: new URLSearchParams(body) });
      this.answer(request, response);
    });
  }

  statuses() {
    return this.callbacks.map(({ fields }) => fields.get('MessageStatus'));
  }

  stop() {
    this.server.closeAllConnections();
    this.server.close();
  }
}
