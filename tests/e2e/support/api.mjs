// A client of the REST API whose every answer is compared with /api/openapi.json.

import http from 'node:http';
import https from 'node:https';
import { clusterKey, now, signToken } from '../../../scripts/jwt.mjs';
import { until } from '../../../scripts/run.mjs';
import { OpenApi } from './openapi.mjs';

export const API_ENV = { BYOC_TENANT_ROLE: 'tenant' };

const client = (url) => (url.startsWith('https:') ? https : http);

// One HTTP request; answers { status, headers, text }. `body`: text, bytes, or what becomes JSON.
export function exchange(url, method, target, { headers = {}, body, agent = false } = {}) {
  const json = body !== undefined && typeof body !== 'string' && !Buffer.isBuffer(body);
  const bytes = json ? JSON.stringify(body) : body;
  return new Promise((resolve, reject) => {
    const { hostname: host, port } = new URL(url); // not the URL itself: with it, an https agent of Node.js 18 repeats its first path
    const request = client(url).request({
      host, port, method, path: target, agent, headers: { ...(json ? { 'content-type': 'application/json' } : {}), ...(bytes === undefined ? {} : { 'content-length': Buffer.byteLength(bytes) }), ...headers },
    }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk) => { text += chunk; })
        .on('end', () => resolve({ status: response.statusCode, headers: response.headers, text })).on('error', reject);
    });
    request.on('error', reject);
    request.end(bytes);
  });
}

export class Api {
  // `proxy`: what stands before byocd, { url, path, agent, headers }.
  constructor(stack, proxy = {}) { Object.assign(this, { stack, proxy }); }

  get url() { return this.proxy.url ?? this.stack.byocd.url; }

  // Once byocd runs.
  async open() {
    this.key = clusterKey(this.stack.cluster);
    this.description = new OpenApi(JSON.parse((await exchange(this.stack.byocd.url, 'GET', '/api/openapi.json')).text));
    return this;
  }

  token(organization, claims = {}) {
    return signToken(this.key, { org_id: organization.id ?? organization, sub: 'ada', org_role: 'owner', exp: now() + 3600, ...claims });
  }

  // What is not described there: pages and webhooks.
  raw(method, target, { headers = {}, body, agent = this.proxy.agent } = {}) {
    return exchange(this.url, method, `${this.proxy.path ?? ''}${target}`, { headers: { ...this.proxy.headers, ...headers }, body, agent });
  }

  // Answers { status, headers, text, json }. `token` null: none.
  async call(token, method, target, { headers = {}, ...others } = {}) {
    const answer = await this.raw(method, target, { headers: { ...(token ? { authorization: `Bearer ${token}` } : {}), ...headers }, ...others });
    this.description.check(method, target, answer);
    return { ...answer, json: answer.headers['content-type']?.endsWith('json') && answer.text ? JSON.parse(answer.text) : null };
  }

  // A stream of events: { next(kind) -> data, end() waits for its end, close() }.
  async watch(token) {
    const request = client(this.url).get(`${this.url}${this.proxy.path ?? ''}/api/organization/events`, {
      agent: this.proxy.agent ?? false, headers: { ...this.proxy.headers, authorization: `Bearer ${token}` },
    });
    // It says something every 15 seconds.
    request.setTimeout(60_000, () => request.destroy(new Error('nothing comes from the stream')));
    const response = await new Promise((resolve, reject) => { request.on('response', resolve).on('error', reject); });
    const events = [];
    let text = '';
    response.setEncoding('utf8').on('data', (chunk) => {
      text += chunk;
      const blocks = text.split('\n\n');
      text = blocks.pop();
      for (const block of blocks) {
        const [, kind, data] = /^event: (\w+)\ndata: (.*)$/.exec(block) ?? [];
        if (kind) events.push({ kind, data: JSON.parse(data) });
      }
    });
    response.on('error', () => {});
    return {
      status: response.statusCode, headers: response.headers, events,
      end: () => until('the stream to end', () => response.closed),
      // The data of the next event that fits; fails when the stream ends before.
      next: (kind, fits = () => true) => until(`event ${kind}`, () => {
        const at = events.findIndex((event) => event.kind === kind && fits(event.data));
        if (at < 0 && response.closed) throw new Error(`the stream ended before ${kind}`);
        return at >= 0 && events.splice(at, 1)[0].data;
      }),
      close() { request.destroy(); },
    };
  }
}
