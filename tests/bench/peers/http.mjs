// What both peers' workers share: one message as Twilio's API takes it, over kept connections, and the start signal.

import { once } from 'node:events';
import { Pool } from 'undici';

const { BENCH_URL, BENCH_CONNECTIONS, BENCH_SID, BENCH_TOKEN, BENCH_SERVICE } = process.env;
const provider = new Pool(BENCH_URL, { connections: Number(BENCH_CONNECTIONS), pipelining: 1 });
const path = `/2010-04-01/Accounts/${BENCH_SID}/Messages.json`;
const headers = {
  'content-type': 'application/x-www-form-urlencoded',
  authorization: `Basic ${Buffer.from(`${BENCH_SID}:${BENCH_TOKEN}`).toString('base64')}`,
};

// Answers the SID that the provider gave.
export async function send({ phone, body }) {
  const answer = await provider.request({
    path, method: 'POST', headers, body: `To=${encodeURIComponent(phone)}&MessagingServiceSid=${BENCH_SERVICE}&Body=${encodeURIComponent(body)}`,
  });
  const message = await answer.body.json();
  if (answer.statusCode !== 201) throw new Error(`the provider answered ${answer.statusCode}`);
  return message.sid;
}

// Tells the bench that everything is loaded, and waits for its signal.
export async function ready() {
  const begin = once(process, 'SIGUSR2');
  const alive = setInterval(() => {}, 1000);
  console.log('ready');
  await begin;
  clearInterval(alive);
}

export const setting = (name) => Number(process.env[name]);
