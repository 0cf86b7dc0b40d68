// What can go wrong, as functions of a campaign. A step answers once the next one may come; what takes longer goes on beside it.

import { setTimeout as delay } from 'node:timers/promises';
import { everyFault } from './provider_faults.mjs';

const HOUR = 3600;
const DIRECTIONS = [['requests'], ['answers'], ['requests', 'answers']];
const CLOCKS = [-72 * HOUR, -HOUR, -90, -10, 0, 10, 90, HOUR, 72 * HOUR];

// Milliseconds: mostly longer than a lease lasts.
const aroundTheLease = (random) => (random.fraction() < 0.7 ? random.whole(3500, 6000) : random.whole(200, 3500));

// Each draws its numbers first, so that a seed gives the same ones whatever happens meanwhile.
export const STEPS = {
  // kill -9, and at once another one in its place.
  kill: (campaign, random) => campaign.withSidecar(random, async (sidecar) => {
    await sidecar.stop('SIGKILL');
    await sidecar.start();
  }),

  // An orderly end, as in a rolling restart: what is in flight is finished meanwhile.
  term: (campaign, random) => campaign.withSidecar(random, async (sidecar) => {
    const end = await sidecar.stop('SIGTERM');
    campaign.exits.push(end.code ?? end.signal);
    await sidecar.start();
  }),

  // Leaves, and joins again later.
  leave: (campaign, random) => {
    const [away, signal] = [random.whole(200, 3000), random.pick(['SIGTERM', 'SIGKILL'])];
    return campaign.withSidecar(random, async (sidecar) => {
      await sidecar.stop(signal);
      await delay(away);
      await sidecar.start();
    });
  },

  // SIGSTOP, mostly past the lease of 3 s, then SIGCONT.
  pause: (campaign, random) => {
    const ms = aroundTheLease(random);
    return campaign.withSidecar(random, (sidecar) => sidecar.pause(ms));
  },

  // The host's clock jumps, forward or back, by seconds to days.
  clock: (campaign, random) => {
    const seconds = random.pick(CLOCKS);
    return campaign.withSidecar(random, async (sidecar) => sidecar.jumpClock(seconds));
  },

  // Connections to the database break, and new ones are refused for a while.
  cut: (campaign, random) => {
    const ms = random.whole(0, 5000);
    return campaign.withSidecar(random, async ({ cable }) => {
      cable.refuse();
      cable.cut();
      await delay(ms);
      await cable.heal();
    });
  },

  // Nothing comes through from or to the database, without a word; later the connections break, or all of it arrives.
  silence: (campaign, random) => {
    const [ms, directions, breaks] = [aroundTheLease(random), random.pick(DIRECTIONS), random.fraction() < 0.5];
    return campaign.withSidecar(random, async ({ cable }) => {
      cable.silence(directions);
      await delay(ms);
      if (breaks) cable.cut();
      await cable.heal();
    });
  },

  // The same between sidecars and provider.
  provider: (campaign, random) => {
    const [ms, how, directions] = [random.whole(0, 1500), random.pick(['cut', 'refuse', 'silence']), random.pick(DIRECTIONS)];
    const { provider } = campaign.arena;
    return campaign.beside(async () => {
      if (how === 'silence') provider.silence(directions);
      if (how === 'refuse') provider.refuse();
      if (how !== 'silence') provider.cut();
      await delay(how === 'cut' ? 0 : ms);
      await provider.heal();
    });
  },

  // PostgreSQL goes down without a checkpoint and recovers.
  restart: (campaign) => campaign.arena.restartPostgres(),

  // Another mood of the provider.
  faults: async (campaign, random) => {
    await campaign.arena.faults(everyFault(random));
    await campaign.arena.simulator.request('PUT', '/_simulator/lists', { delay_ms: random.whole(0, 300) });
  },
};
