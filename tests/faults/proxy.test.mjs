// The cable between two parts breaks as it says.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { after, before, test } from 'node:test';
import { freePort, until } from '../../scripts/run.mjs';
import { Proxy } from './proxy.mjs';

const server = createServer((socket) => socket.on('error', () => {}).pipe(socket)); // echoes
let proxy;
before(async () => {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  proxy = new Proxy({ host: '127.0.0.1', port: await freePort() }, { host: '127.0.0.1', port: server.address().port });
  await proxy.open();
});
after(() => {
  proxy.close();
  server.close();
});

// So many echoes one after the other, past the proxy.
async function roundTrips(count) {
  const direct = await client(server.address());
  for (let i = 1; i <= count; ++i) {
    direct.socket.write('.');
    await until('the echo', () => direct.text.length === i);
  }
  direct.socket.destroy();
}

async function client({ address: host = '127.0.0.1', port } = proxy.listen) {
  const socket = connect({ host, port });
  const seen = { socket, text: '', error: null };
  socket.setEncoding('utf8').on('data', (text) => { seen.text += text; }).on('error', ({ code }) => { seen.error = code; });
  await once(socket, 'connect');
  return seen;
}

test('passes both ways, and breaks with a reset', async () => {
  const seen = await client();
  seen.socket.write('one');
  await until('the echo', () => seen.text === 'one');
  proxy.cut();
  await until('the reset', () => seen.error === 'ECONNRESET');
});

test('refuses new connections only, until it is healed', async () => {
  const seen = await client();
  seen.socket.write('one');
  await until('the echo', () => seen.text === 'one');
  proxy.refuse();
  await assert.rejects(client(), { code: 'ECONNREFUSED' });
  seen.socket.write(' two');
  await until('the echo', () => seen.text === 'one two');
  await proxy.heal();
  (await client()).socket.destroy();
  seen.socket.destroy();
});

for (const direction of ['requests', 'answers']) {
  test(`holds ${direction} back in silence, and delivers them late`, async () => {
    const silenced = await client();
    silenced.socket.write('one');
    await until('the echo', () => silenced.text === 'one');
    proxy.silence([direction]);
    silenced.socket.write(' two');
    const later = await client();
    later.socket.write('three');
    await roundTrips(10); // an echo through the proxy would have come by now
    assert.deepEqual([silenced.text, later.text], ['one', '']);
    await proxy.heal();
    await until('what was held back', () => silenced.text === 'one two' && later.text === 'three');
    silenced.socket.destroy();
    later.socket.destroy();
  });
}
