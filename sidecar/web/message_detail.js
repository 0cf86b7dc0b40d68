// One message with its timeline, in a dialog that follows it.

import { get } from './api.js';
import { openDialog } from './dialog.js';
import { el } from './dom.js';
import { facts, timeline } from './timeline.js';

let shown = null; // { id, body }

const content = (message) => [facts(message), el('h3', {}, 'Timeline'), timeline(message)];

export async function openDetail(id) {
  const message = await get(`organization/messages/${id}`);
  const body = el('div', { 'aria-live': 'polite', 'data-detail': id }, content(message));
  const opened = { id, body };
  shown = opened;
  openDialog(`Message to ${message.to_number ?? 'nobody'}`, body).addEventListener('close', () => { if (shown === opened) shown = null; });
}

// Loads the shown message again, if it is this one (no id: whichever).
export async function followDetail(id) {
  if (!shown || (id && id !== shown.id)) return;
  const { body } = shown;
  const message = await get(`organization/messages/${shown.id}`).catch(() => null);
  if (message && message.id === shown?.id) body.replaceChildren(...content(message));
}
