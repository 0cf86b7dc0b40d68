// Who did what with a credential, and when.

import { get } from './api.js';
import { openDialog } from './dialog.js';
import { el } from './dom.js';
import { act } from './form.js';
import { words } from './format.js';
import { time } from './time.js';

const NAMES = { leased: 'Opened to send or verify', read: 'Read as plain text' };

export async function openAuditTrail({ id, display_name: name }) {
  const list = el('ol', { class: 'timeline' });
  const more = el('button', { type: 'button' }, 'Show older entries');
  let after = null;
  const load = async () => {
    const page = await get(`organization/credentials/${id}/audit?limit=50${after ? `&after=${encodeURIComponent(after)}` : ''}`);
    list.append(...page.items.map(entry));
    after = page.next;
    more.hidden = !after;
  };
  more.addEventListener('click', () => act(more, load));
  await load();
  openDialog(`Audit trail of ${name}`, list, more);
}

function entry({ at, action, details, user_id: user, org_role: orgRole, role }) {
  const what = action.replace(/^credential\./, '');
  const who = user ? [user, orgRole].filter(Boolean).join(', ') : role;
  return el('li', {}, el('span', { class: 'step' }, NAMES[what] ?? words(what)), time(at, { class: 'hint' }),
    el('span', { class: 'more' }, [who && `By ${who}`, ...described(details)].filter(Boolean).join(' · ')));
}

const described = (details) => Object.entries(details ?? {}).map(([name, value]) => `${words(name)}: ${plain(value)}`);

function plain(value) {
  if (Array.isArray(value)) return value.map(plain).join(', ');
  if (typeof value === 'string' && /^[a-z_]+$/.test(value)) return words(value);
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}
