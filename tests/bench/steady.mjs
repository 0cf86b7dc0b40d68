// Messages that keep coming in, one at a time, and how long each takes to the provider.

import { setTimeout as delay } from 'node:timers/promises';
import { until } from '../../scripts/run.mjs';

const PHONE = '+15559'; // how they are told from other messages
const CONNECTIONS = 4;
const PATIENCE = 3000; // ms after the last insert

// Inserts so many rows a second, evenly spread and in turn for each organization, into `database`. Answers the milliseconds from
// acknowledged commit to arrival of each message; Infinity: not while we looked.
export async function steadyWaits(bed, database, organizations, { perSecond, seconds }) {
  const committed = await insertRegularly(bed, database, organizations, perSecond, perSecond * seconds);
  const arrived = await arrivals(bed, committed.size);
  return [...committed].map(([phone, at]) => Math.max(0, (arrived.get(phone) ?? Infinity) - at));
}

// Answers when each was acknowledged, by phone number.
async function insertRegularly(bed, database, organizations, perSecond, count) {
  const connections = await Promise.all(Array.from({ length: CONNECTIONS }, () => bed.cluster.connect(database)));
  const committed = new Map();
  const begin = performance.now();
  const inserts = [];
  for (let i = 0; i < count; ++i) {
    await delay(Math.max(0, begin + i * 1000 / perSecond - performance.now()));
    const phone = `${PHONE}${String(i).padStart(6, '0')}`;
    inserts.push(connections[i % connections.length]
      .query('INSERT INTO leads (org_id, phone, body) VALUES ($1, $2, $3)', [organizations[i % organizations.length], phone, 'Hello from the bench.'])
      .then(() => committed.set(phone, performance.timeOrigin + performance.now())));
  }
  await Promise.all(inserts);
  await Promise.all(connections.map((connection) => connection.end()));
  return committed;
}

// When they arrived, by phone number: all, or those that did within some seconds.
async function arrivals(bed, count) {
  const last = `${PHONE}${String(count - 1).padStart(6, '0')}`;
  // A long list takes the simulator's time: it is asked for in the end.
  const isThere = async () => (await bed.simulator.messages(`?to=${encodeURIComponent(last)}`)).length > 0;
  const ofOurs = async () => (await bed.simulator.messages()).filter(({ to }) => to.startsWith(PHONE));
  const all = async () => { const messages = await ofOurs(); return messages.length === count && messages; };
  const messages = await until('the last to arrive', isThere, { timeout: PATIENCE })
    .then(() => until('all to arrive', all, { timeout: PATIENCE })).catch(ofOurs);
  return new Map(messages.map(({ to, arrived }) => [to, arrived]));
}
