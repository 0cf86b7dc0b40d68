// Times as elements.

import { el } from './dom.js';
import { ago, atTime } from './format.js';

const TICK_MS = 10_000;

export const time = (iso, properties) => el('time', { datetime: iso, ...properties }, atTime(iso));

// "5 minutes ago", which stays true while the page is open.
export const timeAgo = (iso) => el('time', { datetime: iso, title: atTime(iso), 'data-ago': true }, ago(iso));

setInterval(() => {
  for (const element of document.querySelectorAll('time[data-ago]')) {
    const text = ago(element.dateTime);
    if (element.textContent !== text) element.textContent = text;
  }
}, TICK_MS);
