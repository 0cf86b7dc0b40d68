// Short news at the page's edge, read out by screen readers. Bad ones stay until they are closed, unless the page tells them too.

import { byId, el } from './dom.js';

const SHOWN_MS = 8000;
const MOST = 3;

// A session that ended is told by the page itself.
export function tellFailure(error) {
  if (error.status !== 401) toast(error.message, 'bad');
}

// `about`: the id of what shows it too; what was said about it before is over.
export function toast(text, kind = 'good', about = '') {
  const close = el('button', { type: 'button', class: 'quiet', 'aria-label': 'Close' }, '×');
  const box = el('p', { class: `toast ${kind}`, 'data-about': about }, el('span', {}, text), close);
  close.addEventListener('click', () => box.remove());
  const shown = byId('toasts').children;
  for (const each of [...shown]) if (about && each.dataset.about === about) each.remove();
  while (shown.length >= MOST) shown[0].remove();
  byId('toasts').append(box);
  if (kind === 'good' || about) setTimeout(() => box.remove(), SHOWN_MS);
}
