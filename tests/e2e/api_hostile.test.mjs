// What clients may do to the HTTP server, on purpose or not, while byocd goes on sending.

import assert from 'node:assert/strict';
import net from 'node:net';
import { after, before, test } from 'node:test';
import { Stack, until } from './stack.mjs';
import { API_ENV, Api, exchange } from './support/api.mjs';

const stack = new Stack('api-hostile', { env: API_ENV });
let api;
let a;
let port;
const sockets = new Set();

after(async () => {
  for (const socket of sockets) socket.destroy();
  await stack.end();
});
before(async () => {
  await stack.start();
  api = await new Api(stack).open();
  a = await stack.organization(1);
  port = Number(new URL(stack.byocd.url).port);
});

// A raw connection: { socket, received() }.
async function connect() {
  const socket = net.connect(port, '127.0.0.1');
  sockets.add(socket);
  let text = '';
  socket.on('data', (chunk) => { text += chunk; }).on('error', () => {}).on('close', () => sockets.delete(socket));
  await new Promise((resolve) => { socket.on('connect', resolve).on('close', resolve); });
  return { socket, received: () => text };
}

// One answer that is a problem document, with the headers that all answers have; answers the problem.
function assertProblem(text) {
  const [head, body] = text.split('\r\n\r\n');
  assert.match(head, /^Content-Type: application\/problem\+json$/m, text);
  assert.match(head, /^X-Content-Type-Options: nosniff$/m);
  assert.equal(Number(/^Content-Length: (\d+)/m.exec(head)[1]), Buffer.byteLength(body));
  const problem = JSON.parse(body);
  assert.equal(problem.status, Number(head.slice(9, 12)));
  return problem;
}

const sends = async (text) => {
  const id = await stack.send(a, '+15550100001', text);
  assert.match((await stack.settled(id, ['sent', 'delivered', 'failed'])).status, /^(sent|delivered)$/, text);
};
const answers = async () => assert.equal((await api.call(api.token(a), 'GET', '/api/organization/providers')).status, 200);

test('1,000 idle connections, and 1,000 that dribble a header, leave byocd sending and answering', async () => {
  for (const head of ['', 'GET /api/organization/messages HTTP/1.1\r\nHost: x\r\nX-Slow: ']) {
    const slow = [];
    for (let i = 0; i < 1000; i += 1) {
      const { socket } = await connect();
      if (head) socket.write(head);
      slow.push(socket);
    }
    await sends(`beside ${head.length}`);
    await answers();
    for (const socket of slow) if (!socket.destroyed && head) socket.write('a');
    await sends(`still beside ${head.length}`);
    await answers();
    await until('the oldest to be let go', () => slow.filter((socket) => socket.destroyed || socket.readableEnded).length >= 400);
    for (const socket of slow) socket.destroy();
  }
});

test('100 MB bodies are refused before they are taken', async () => {
  for (const head of ['Content-Length: 104857600', 'Transfer-Encoding: chunked']) {
    const { socket, received } = await connect();
    socket.write(`POST /api/organization/credentials HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n${head}\r\n\r\n`);
    const piece = Buffer.alloc(64 * 1024, 'x');
    const chunk = head.startsWith('T') ? Buffer.concat([Buffer.from('10000\r\n'), piece, Buffer.from('\r\n')]) : piece;
    let taken = 0;
    while (taken < 1600 && !socket.destroyed && socket.writable && !received()) {
      taken += 1;
      if (!socket.write(chunk)) await new Promise((resolve) => { socket.once('drain', resolve); socket.once('close', resolve); socket.once('data', resolve); });
    }
    assert.ok(taken < 1600, `${head}: it took ${taken} pieces of 64 KiB`);
    socket.destroy();
  }
  await sends('after large bodies');
});

test('bodies that are announced and held back are refused at once: they would fill the memory', async () => {
  const held = await Promise.all(Array.from({ length: 400 }, async () => {
    const connection = await connect();
    connection.socket.write('POST /api/session HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 500000\r\n\r\n{');
    return connection;
  }));
  await until('all to be refused', () => held.every(({ received }) => received().startsWith('HTTP/1.1 413')));
  for (const { socket } of held) socket.destroy();
});

test('malformed HTTP is refused or dropped', async () => {
  const junk = ['\0\0\0\0', 'GET\r\n\r\n', 'GET / HTTP/9.9\r\n\r\n', 'BREW /api HTTP/1.1\r\nHost: x\r\n\r\n', 'GET http://[::1 HTTP/1.1\r\n\r\n', 'GET /%zz%00?%%%=&&= HTTP/1.1\r\nHost: x\r\n\r\n',
    `GET / HTTP/1.1\r\n${'X: y\r\n'.repeat(20_000)}\r\n`, `GET /${'a'.repeat(100_000)} HTTP/1.1\r\n\r\n`, 'POST /api/session HTTP/1.1\r\nContent-Length: -1\r\n\r\n{}',
    'POST /api/session HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 50\r\n\r\n{}', 'POST /api/session HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n', ': \r\n\r\n',
    'GET /api/organization/messages HTTP/1.1\r\nAuthorization: Bearer \xff\xfe\r\nIf-Match: \x01\r\n\r\n', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'];
  for (const bytes of junk) {
    const { socket, received } = await connect();
    socket.end(Buffer.from(bytes, 'latin1'));
    await until('an answer or the end', () => socket.destroyed || socket.readableEnded);
    assert.ok(!/^HTTP\/1\.\d (2|500)/.test(received()), `${JSON.stringify(bytes.slice(0, 60))}: ${received().slice(0, 100)}`);
    if (received()) assertProblem(received());
  }
  await sends('after junk');
  await answers();
});

test('what libevent refuses itself is a problem document as well', async () => {
  for (const [status, title, bytes] of [
    [400, 'Bad Request', 'GET / HTTP/1.1\r\nno colon\r\n\r\n'], [400, 'Bad Request', 'POST /api/session HTTP/1.1\r\nHost: x\r\nContent-Length: many\r\n\r\n'],
    [400, 'Bad Request', `GET /api/session HTTP/1.1\r\nHost: x\r\nX-Long: ${'a'.repeat(25_000)}\r\n\r\n`],
    [413, 'Request Entity Too Large', 'POST /api/session HTTP/1.1\r\nHost: x\r\nContent-Length: 2000000\r\n\r\n'],
    [501, 'Not Implemented', 'BREW /api/session HTTP/1.1\r\nHost: x\r\n\r\n'],
  ]) {
    const { socket, received } = await connect();
    socket.write(bytes);
    await until('the end', () => socket.destroyed || socket.readableEnded);
    const problem = assertProblem(received());
    assert.deepEqual([problem.status, problem.title], [status, title], received());
  }
  await answers();
});

test('pipelined requests are answered in order, and garbage after them does no harm', async () => {
  const { socket, received } = await connect();
  const one = (target) => `GET ${target} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${api.token(a)}\r\n\r\n`;
  socket.write(one('/api/organization/credentials?limit=1') + one('/healthz') + one('/nowhere') + one('/api/session'));
  await until('four answers', () => received().split('HTTP/1.1 ').length === 5 && received().includes('csrf_token'));
  assert.deepEqual([...received().matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, code]) => code), ['200', '200', '404', '200']);
  const garbage = await connect();
  garbage.socket.end(`${one('/healthz')}${'\0garbage\r\n'.repeat(1000)}`);
  await until('it to end', () => garbage.socket.destroyed || garbage.socket.readableEnded);
  socket.destroy();
  await answers();
});

test('a body where none is read is not taken for the next request', async () => {
  const smuggled = `GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n`;
  for (const head of [`GET /healthz HTTP/1.1\r\nContent-Length: ${smuggled.length}`, `DELETE /api/session HTTP/1.1\r\nContent-Length: ${smuggled.length}`,
    `GET /healthz HTTP/1.1\r\nTransfer-Encoding: chunked`, `POST /api/session HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 5`,
    'POST /api/session HTTP/1.1\r\nContent-Length: 0\r\nContent-Length: 5']) {
    const { socket, received } = await connect();
    socket.write(`${head}\r\nHost: x\r\n\r\n${head.startsWith('POST') ? `0\r\n\r\n${smuggled}` : smuggled}`);
    await until('the end', () => socket.destroyed || socket.readableEnded);
    // One answer, a refusal: libevent's own where it cannot read the chunks.
    assertProblem(received());
    assert.match([...received().matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, code]) => code).join(), /^(400|413)$/, head);
  }
});

test('clients that leave before their answer cost nothing that lasts', async () => {
  for (let i = 0; i < 300; i += 1) {
    const { socket } = await connect();
    socket.write(`GET /api/organization/${i % 2 ? 'messages' : 'events'} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${api.token(a)}\r\n\r\n`);
    if (i % 3) await new Promise((resolve) => { socket.once('data', resolve).once('close', resolve); });
    socket.destroy();
  }
  await until('streams to be free again', async () => {
    const stream = await api.watch(api.token(a));
    stream.close();
    return stream.status === 200;
  });
  await sends('after those that left');
});

test('a slow statement holds up neither other requests nor sending', async () => {
  const blocker = await stack.connect();
  await blocker.query('BEGIN');
  await blocker.query('SELECT FROM byoc.organizations WHERE id = $1 FOR UPDATE', [a.id]);
  const waiting = api.call(api.token(a), 'PATCH', `/api/organization/credentials/${a.credential}`, { body: { display_name: 'waits' }, headers: { 'if-match': '*' } });
  await until('it to wait', () => stack.db.value(`SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%rest_update_credential%'`));
  await answers();
  await sends('beside a slow statement');
  assert.equal((await waiting).status, 503, 'it does not wait for ever');
  await blocker.query('ROLLBACK');
  await blocker.end();
});

test('a statement that never ends is ended, and beside it others and sending go on', async () => {
  const definition = await stack.db.value(`SELECT pg_get_functiondef('byoc.rest_statistics(text)'::regprocedure)`);
  await stack.db.query(`CREATE OR REPLACE FUNCTION byoc.rest_statistics(hours text) RETURNS jsonb LANGUAGE plpgsql STABLE SECURITY DEFINER
    AS $$ BEGIN LOOP END LOOP; END $$`);
  const waiting = api.call(api.token(a), 'GET', '/api/organization/statistics');
  await until('it to run', () => stack.db.value(`SELECT count(*) > 0 FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%rest_statistics%' AND pid <> pg_backend_pid()`));
  await answers();
  await sends('beside an endless statement');
  const { status, headers } = await waiting;
  assert.deepEqual([status, headers['retry-after']], [503, '1']);
  await stack.db.query(definition);
  assert.equal((await api.call(api.token(a), 'GET', '/api/organization/statistics')).status, 200);
});

test('when all connections are busy and the queue is full, 503 comes at once', async () => {
  const blocker = await stack.connect();
  await blocker.query('BEGIN');
  await blocker.query('SELECT FROM byoc.organizations WHERE id = $1 FOR UPDATE', [a.id]);
  const change = () => exchange(stack.byocd.url, 'PATCH', `/api/organization/credentials/${a.credential}`, {
    body: { display_name: 'x' }, headers: { 'if-match': '*', authorization: `Bearer ${api.token(a)}` },
  });
  const all = Array.from({ length: 300 }, change);
  const first = await Promise.race(all);
  assert.deepEqual([first.status, first.headers['retry-after']], [503, '1']);
  await until('all connections to be busy', async () => (
    await stack.db.value(`SELECT count(*)::int FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%rest_update_credential%'`)) === 2);
  await sends('beside a full queue');
  await blocker.query('ROLLBACK');
  await blocker.end();
  for (const { status } of await Promise.all(all)) assert.ok([200, 503].includes(status), `${status}`);
});
