// Short news at the page's edge, read out by screen readers. Bad ones stay until they are closed.

import { byId, el } from './dom.js';

const SHOWN_MS = 8000;

// A session that ended is told by the page itself.
export function tellFailure(error) {
  if (error.status !== 401) toast(error.message, 'bad');
}

export function toast(text, kind = 'good') {
  const close = el('button', { type: 'button', class: 'quiet', 'aria-label': 'Close' }, '×');
  const box = el('p', { class: `toast ${kind}` }, el('span', {}, text), close);
  close.addEventListener('click', () => box.remove());
  byId('toasts').append(box);
  if (kind === 'good') setTimeout(() => box.remove(), SHOWN_MS);
}
