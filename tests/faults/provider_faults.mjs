// What the simulator does wrong during a campaign.

const UNAVAILABLE = [500, 502, 503, 504];

export const ACTIONS = ['status', 'status_after', 'timeout', 'timeout_after', 'reset', 'reset_after', 'slow_body', 'malformed'];

// Rules of every kind: each once for certain, and then so often that most messages still get through. The seeds come from `random`.
export function everyFault(random) {
  const seed = () => random.whole(1, 2 ** 31);
  const post = (action, probability, more = {}) => ({ action, probability, seed: seed(), match: { method: 'POST' }, ...more });
  const read = (action, probability, more = {}) => ({ action, probability, seed: seed(), match: { method: 'GET' }, ...more });
  const status = () => ({ status: random.pick(UNAVAILABLE) });
  return [
    ...random.shuffle([...ACTIONS]).map((action) => post(action, 0.2, { count: 1, ...(action.startsWith('status') && status()) })),
    post('status', 0.01, status()), post('status', 0.01, { status: 429, retry_after: 1 }), post('status', 0.005, { status: 429 }),
    post('status_after', 0.01, status()), post('reset', 0.01), post('reset_after', 0.01),
    post('timeout', 0.003), post('timeout_after', 0.003), post('slow_body', 0.01, { ms: 400 }),
    ...['truncated_json', 'not_json', 'short_body'].map((variant) => post('malformed', 0.003, { variant })),
    // What changes calendar events.
    ...['PUT', 'DELETE'].flatMap((method) => [
      post('status', 0.02, { match: { method }, ...status() }), post('reset', 0.02, { match: { method } }), post('reset_after', 0.03, { match: { method } }), post('timeout_after', 0.01, { match: { method } }),
    ]),
    read('status', 0.05, status()), read('status', 0.03, { status: 429 }), read('reset', 0.03), read('timeout', 0.01),
    read('slow_body', 0.03, { ms: 300 }), read('malformed', 0.03, { variant: 'truncated_json' }), read('malformed', 0.02, { variant: 'not_json' }),
  ];
}

// Puts everything right again.
export async function noFaults(arena) {
  for (const knob of ['faults', 'latency', 'lists', 'delivery']) await arena.simulator.request('DELETE', `/_simulator/${knob}`);
}
