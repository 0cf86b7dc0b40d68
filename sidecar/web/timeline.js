// What happened to a message, in order.

import { badge } from './badge.js';
import { el } from './dom.js';
import { atTime, count, words } from './format.js';

// `message`: as GET messages/{id} answers.
export function timeline(message) {
  const planned = message.send_at && message.send_at > message.created_at;
  return el('ol', { class: 'timeline' },
    step(message.created_at, 'Created', planned ? `To be sent ${atTime(message.send_at)}` : message.source_table && `By a row of ${message.source_table}`),
    message.events.map((event) => step(event.at, words(event.event), [
      event.attempt > 1 && `attempt ${event.attempt}`, event.error_message, event.error_code && `code ${event.error_code}`,
      event.duration_ms !== null && `${event.duration_ms} ms`,
    ].filter(Boolean).join(', '))));
}

const step = (at, title, more) => el('li', {}, el('span', { class: 'step' }, title), el('time', { class: 'hint', datetime: at }, atTime(at)), more && el('span', { class: 'more' }, more));

export function facts(message) {
  const pairs = [['Status', badge(message.status)], ['To', message.to_number], ['From', message.from_number], ['Text', message.body],
    ['Reason', message.error_message], ['Code', message.error_code], ['Parts', message.segments && count(message.segments, 'segment')],
    ['Provider’s id', message.provider_sid], ['Expires', message.expires_at && atTime(message.expires_at)]];
  return el('dl', { class: 'facts' }, pairs.filter(([, value]) => value).map(([name, value]) => el('div', {}, el('dt', {}, name), el('dd', {}, value))));
}
