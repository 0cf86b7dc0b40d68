// Search and status filter of the message list.

import { el } from './dom.js';

const GROUPS = [
  ['All', ''], ['Waiting', 'scheduled,queued,sending'], ['Sent', 'sent'], ['Delivered', 'delivered'], ['Not delivered', 'undelivered,failed,expired'],
  ['Cancelled', 'cancelled'], ['Unknown', 'unknown'],
];
const PAUSE_MS = 300;

// Calls `changed({ status, search })` when the user is done with a change.
export function showFilters(parent, changed) {
  const search = el('input', { type: 'search', id: 'search', maxlength: '200', autocomplete: 'off', spellcheck: 'false' });
  const status = el('select', { id: 'status' }, GROUPS.map(([name, value]) => el('option', { value }, name)));
  const tell = () => changed({ search: search.value.trim(), status: status.value });
  let timer;
  search.addEventListener('input', () => { clearTimeout(timer); timer = setTimeout(tell, PAUSE_MS); });
  status.addEventListener('change', tell);
  parent.append(el('form', { class: 'filters', onsubmit: (event) => { event.preventDefault(); clearTimeout(timer); tell(); } },
    el('div', { class: 'field' }, el('label', { for: 'search' }, 'Search numbers and text'), search),
    el('div', { class: 'field' }, el('label', { for: 'status' }, 'Status'), status)));
}

