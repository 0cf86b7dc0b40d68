// No event lost, none doubled, and each as its row says: whatever dies, pauses, restarts or goes dark. As faults.test.mjs, with a
// tenth of MESSAGES as events (at most 2,000), and a quarter of KILLS.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Arena } from './arena.mjs';
import { CALENDAR, connectCalendars } from './calendar.mjs';
import { Campaign } from './campaign.mjs';

const number = (name, otherwise) => Number(process.env[name] || otherwise);
const seed = number('SEED', Math.floor(Math.random() * 1e9));
const events = Math.min(2000, Math.ceil(number('MESSAGES', 3000) / 10));
const kills = Math.ceil(number('KILLS', 12) / 4);
const restarts = Math.ceil(number('RESTARTS', 2) / 4);
const some = Math.ceil(kills / 10); // of each other fault

const arena = new Arena('calendar-faults', { env: {} });
after(() => arena.end());
before(async () => {
  console.log(`seed ${seed}: again with SEED=${seed}`);
  await arena.start(4, { patient: false });
  await connectCalendars(arena);
});

test('calendar events under everything at once', async () => {
  const campaign = new Campaign(arena, 'calendar', {
    seed, messages: events, books: CALENDAR,
    steps: { faults: some, kill: kills, restart: restarts, term: some, leave: some, pause: some, clock: some, cut: some, silence: some, provider: some },
  });
  const ledger = await campaign.run();
  campaign.verify();
  assert.ok(ledger.visits.length > 0.5 * events, 'most rows are left at the end');
  const requests = await arena.simulator.request('GET', '/_simulator/google/requests');
  console.log(`requests: ${JSON.stringify(requests)}`);
  // That one is repeated is chance: few kills may all come at other times.
  if (kills >= 10) assert.ok(requests['insert 409'] > 0, 'no insert was ever repeated: nothing was shown');
});
