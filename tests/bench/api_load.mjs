// A thread that makes requests of byocd's REST API, so many a second whether the earlier ones were answered or not, as hosts and
// pages of several organizations do. workerData: { url, perSecond, organizations: [{ token, credential }] }. Says 'begun' when it is
// under way, and on any message stops and answers { seconds, answered, wrong, p50, p99, kinds: [{ what, p50, p99 }] }: what it did
// since then.

import http from 'node:http';
import { parentPort, workerData } from 'node:worker_threads';
import { percentile } from './bars.mjs';

const CREDENTIALS = '/api/organization/credentials';
const MESSAGES = '/api/organization/messages';
const NOBODY = '99999999-0000-4000-8000-000000000009';
const WARM_UP = 500; // requests
const { url, perSecond, organizations } = workerData;
const agent = new http.Agent({ keepAlive: true, maxSockets: 64 });

// How many of a hundred, what the answer must be, and the request: [method, target, headers, body].
const MIX = [
  [12, 200, ({ token }) => ['GET', CREDENTIALS, bearer(token)]],
  [12, 200, ({ token, credential }) => ['GET', `${CREDENTIALS}/${credential}`, bearer(token)]],
  [16, 200, ({ token }) => ['GET', `${MESSAGES}?limit=20`, bearer(token)]],
  [8, 200, ({ token, after }) => ['GET', `${MESSAGES}?limit=20&after=${after}`, bearer(token)]],
  [4, 200, ({ token }) => ['GET', `${MESSAGES}?limit=20&status=failed,unknown`, bearer(token)]],
  [10, 200, ({ token, message }) => ['GET', `${MESSAGES}/${message}`, bearer(token)]],
  [4, 200, ({ token }) => ['GET', '/api/organization/statistics?hours=24', bearer(token)]],
  [4, 200, ({ token }) => ['GET', '/api/session', bearer(token)]],
  [3, 200, ({ token }) => ['GET', '/api/organization/providers', bearer(token)]],
  [3, 200, ({ token, credential }) => ['GET', `${CREDENTIALS}/${credential}/audit?limit=20`, bearer(token)]],
  [6, 200, ({ token, credential }, i) => ['PATCH', `${CREDENTIALS}/${credential}`, { ...bearer(token), 'if-match': '*' }, { display_name: `Name ${i}` }]],
  [2, 202, ({ token, credential }) => ['POST', `${CREDENTIALS}/${credential}/verify`, bearer(token)]],
  [5, 202, ({ token }, i) => ['POST', '/api/organization/sms/test', { ...bearer(token), 'idempotency-key': `test ${i}` }, { to: '+15558000001' }]],
  [2, 422, ({ token }) => ['POST', '/api/organization/sms/test', bearer(token), { to: '5550100' }]],
  [3, 404, ({ token }) => ['GET', `${CREDENTIALS}/${NOBODY}`, bearer(token)]],
  [1, 404, ({ token }) => ['GET', '/api/nowhere', bearer(token)]],
  [3, 401, ({ token }) => ['GET', CREDENTIALS, bearer(`${token.slice(0, -4)}AAAA`)]],
  [2, 401, () => ['GET', MESSAGES, {}]],
].flatMap(([share, expected, make], kind) => Array.from({ length: share }, () => ({ kind, expected, make })));

const bearer = (token) => ({ authorization: `Bearer ${token}` });

function call(method, path, headers, body) {
  const text = body && JSON.stringify(body);
  return new Promise((resolve, reject) => {
    const request = http.request(url, {
      method, path, agent, headers: { ...headers, ...(text && { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }) },
    }, (response) => {
      let answer = '';
      response.setEncoding('utf8').on('data', (chunk) => { answer += chunk; }).on('end', () => resolve({ status: response.statusCode, text: answer }));
    });
    request.on('error', reject).end(text);
  });
}

const done = { begun: 0, waits: [], wrong: {}, kinds: [] };
let asked = 0;

async function ask(i) {
  const { kind, expected, make } = MIX[(i * 37) % MIX.length]; // 37: one kind does not come in a row
  const request = make(organizations[Math.floor(i / 7) % organizations.length], i);
  const begun = performance.now();
  const { status } = await call(...request).catch((error) => ({ status: error.code }));
  const wait = performance.now() - begun;
  done.waits.push(wait);
  done.kinds[kind] ??= { what: `${request[0]} ${request[1].replace(/[0-9a-f-]{36}/g, '{id}').replace(/after=.*/, 'after')} ${expected}`, waits: [] };
  done.kinds[kind].waits.push(wait);
  if (status === expected) return;
  const what = `${request[0]} ${request[1].split('?')[0]}: ${status} instead of ${expected}`;
  done.wrong[what] = (done.wrong[what] ?? 0) + 1;
}

for (const organization of organizations) {
  const page = JSON.parse((await call('GET', `${MESSAGES}?limit=20`, bearer(organization.token))).text);
  Object.assign(organization, { message: page.items[0].id, after: page.next });
}

const start = performance.now();
const timer = setInterval(() => {
  for (const due = (performance.now() - start) / 1000 * perSecond; asked < due; ++asked) ask(asked);
  if (done.begun || asked < WARM_UP) return;
  Object.assign(done, { begun: performance.now(), waits: [], wrong: {}, kinds: [] });
  parentPort.postMessage('begun');
}, 1);

parentPort.once('message', () => {
  clearInterval(timer);
  agent.destroy();
  const { begun, waits, wrong } = done;
  const kinds = done.kinds.map(({ what, waits: each }) => ({ what, p50: percentile(each, 0.5), p99: percentile(each, 0.99) }));
  const seconds = (performance.now() - begun) / 1000;
  parentPort.postMessage({ seconds, answered: waits.length, wrong, kinds, p50: percentile(waits, 0.5), p99: percentile(waits, 0.99) });
  parentPort.close();
});
