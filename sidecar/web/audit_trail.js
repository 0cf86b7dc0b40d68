// Who did what with a credential, and when.

import { get } from './api.js';
import { openDialog } from './dialog.js';
import { el } from './dom.js';
import { act } from './form.js';
import { atTime, words } from './format.js';

export async function openAuditTrail(credential) {
  const rows = el('tbody');
  const more = el('button', { type: 'button' }, 'Show more');
  let after = null;
  const load = async () => {
    const page = await get(`organization/credentials/${credential.id}/audit?limit=50${after ? `&after=${encodeURIComponent(after)}` : ''}`);
    rows.append(...page.items.map(row));
    after = page.next;
    more.hidden = !after;
  };
  more.addEventListener('click', () => act(more, load));
  await load();
  openDialog(`Audit trail of ${credential.display_name}`, el('div', { class: 'scroll', tabindex: '0', role: 'group', 'aria-label': 'Entries' },
    el('table', {},
      el('thead', {}, el('tr', {}, ['When', 'What', 'Who', 'Details'].map((title) => el('th', { scope: 'col' }, title)))), rows)), more);
}

function row({ at, action, details, user_id: user, org_role: orgRole, role }) {
  const who = user ? [user, orgRole].filter(Boolean).join(', ') : role;
  return el('tr', {}, el('td', {}, el('time', { datetime: at }, atTime(at))), el('td', {}, words(action)), el('td', {}, who ?? ''), el('td', {}, described(details)));
}

const described = (details) => Object.entries(details ?? {})
  .map(([name, value]) => `${words(name)}: ${typeof value === 'object' ? JSON.stringify(value) : value}`).join('; ');
