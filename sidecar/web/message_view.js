// One message in a dialog, which follows it while it is open.

import { get } from './api.js';
import { badge } from './badge.js';
import { el } from './dom.js';
import { capitalized } from './format.js';

let followed = null; // { id, show(message) }

// What stands in the way of a message, or what became of it: a list with one element or none.
function reason({ error_message: error, waiting_reason: waiting }) {
  if (error) return [el('p', { class: 'box bad' }, capitalized(error))];
  return waiting ? [el('p', { class: 'box note' }, capitalized(waiting))] : [];
}

// Shows the message in `parent`, within `dialog`: its status, which screen readers say when it changes, and `details(message)`.
export async function followMessage(id, dialog, parent, details) {
  const status = el('p', { role: 'status' });
  const rest = el('div', { class: 'stack' });
  let shown;
  parent.replaceChildren(status, rest);
  const show = (message) => {
    if (shown !== message.status) status.replaceChildren(badge(message.status));
    shown = message.status;
    rest.replaceChildren(...reason(message), ...details(message));
  };
  const mine = { id, show };
  followed = mine;
  dialog.addEventListener('close', () => { if (followed === mine) followed = null; });
  await refreshFollowed();
}

// Loads the followed message again, if it is this one (no id: whichever).
export async function refreshFollowed(id) {
  const wanted = followed;
  if (!wanted || (id && id !== wanted.id)) return;
  const message = await get(`organization/messages/${wanted.id}`);
  if (wanted === followed) wanted.show(message);
}
