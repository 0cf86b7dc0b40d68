// A status as a badge: a word and a sign, never a colour alone.

import { el } from './dom.js';
import { words } from './format.js';

const SIGNS = { good: '✓', bad: '✕', wait: '○', note: '!', off: '–' };
const TONES = {
  verified: 'good', pending: 'note', failed: 'bad', revoked: 'off', checking: 'wait',
  scheduled: 'wait', queued: 'wait', sending: 'wait', sent: 'wait', delivered: 'good', undelivered: 'bad', cancelled: 'off', expired: 'bad', unknown: 'note',
};
const NAMES = { pending: 'Needs verification', checking: 'Checking…' };

export function badge(status) {
  const tone = TONES[status] ?? 'note';
  return el('span', { class: `badge ${tone}`, 'data-status': status }, el('span', { 'aria-hidden': 'true' }, SIGNS[tone]), ' ', NAMES[status] ?? words(status));
}
