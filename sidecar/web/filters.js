// Search and status filter of the message list.

import { el } from './dom.js';

const GROUPS = [
  ['All', ''], ['Waiting', 'scheduled,queued,sending'], ['Sent', 'sent'], ['Delivered', 'delivered'], ['Not delivered', 'undelivered,failed,expired'],
  ['Cancelled', 'cancelled'], ['Unknown', 'unknown'],
];
const PAUSE_MS = 300; // in typing

// Calls `changed({ status, search })` when something else is wanted.
export function showFilters(parent, changed) {
  const search = el('input', { type: 'search', id: 'search', maxlength: 200, autocomplete: 'off', spellcheck: 'false' });
  const status = el('select', { id: 'status', autocomplete: 'off' }, GROUPS.map(([name, value]) => el('option', { value }, name)));
  let timer = null;
  const tell = () => {
    clearTimeout(timer);
    changed({ search: search.value.trim(), status: status.value });
  };
  const form = el('form', { class: 'filters' },
    el('div', { class: 'field' }, el('label', { for: 'search' }, 'Search numbers and text'), search),
    el('div', { class: 'field' }, el('label', { for: 'status' }, 'Status'), status));
  search.addEventListener('input', () => {
    clearTimeout(timer);
    timer = setTimeout(tell, PAUSE_MS);
  });
  status.addEventListener('change', tell);
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    tell();
  });
  parent.append(form);
}
