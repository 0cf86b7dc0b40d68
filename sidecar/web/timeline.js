// What happened to a message, in order.

import { el } from './dom.js';
import { atTime, words } from './format.js';
import { time } from './time.js';

const NAMES = {
  accepted: 'Taken by the provider', rejected: 'Refused by the provider', throttled: 'The provider was busy', unavailable: 'The provider was not available',
  unknown: 'The outcome is not known', returned: 'Put back into the queue', refused: 'Not sent', rescued: 'Taken over', found: 'Found at the provider',
  not_found: 'Not found at the provider', late: 'A late answer', retried: 'Sent again on request', resent: 'Sent again', resolved: 'Resolved by a person',
  settled: 'Settled by a receipt',
};

// `message`: as GET messages/{id} answers.
export function timeline({ created_at: created, send_at: planned, source_table: table, events }) {
  const origin = [planned && planned > created && `To be sent ${atTime(planned)}`, table && `By a row of ${table}`];
  return el('ol', { class: 'timeline' }, step(created, 'Created', origin), events.map((event) => step(event.at, NAMES[event.event] ?? words(event.event), [
    event.attempt > 1 && `Attempt ${event.attempt}`, event.error_message, event.error_code && `Code ${event.error_code}`,
    event.duration_ms !== null && `${event.duration_ms} ms`,
  ])));
}

function step(at, title, more) {
  const text = more.filter(Boolean).join(' · ');
  return el('li', {}, el('span', { class: 'step' }, title), time(at, { class: 'hint' }), text && el('span', { class: 'more' }, text));
}
