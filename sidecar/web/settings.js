// The page /dashboard/settings.

import { get } from './api.js';
import { openAddForm } from './credential_form.js';
import { showCredentials } from './credential_list.js';
import { byId, el } from './dom.js';
import { act } from './form.js';
import { refreshFollowed } from './message_view.js';
import { startPage } from './page.js';
import { mayAdminister } from './session.js';

let turn = 0; // what was asked for earlier and comes later is dropped

async function allCredentials() {
  const credentials = [];
  let after = null;
  do {
    const page = await get(`organization/credentials?limit=100${after ? `&after=${encodeURIComponent(after)}` : ''}`);
    credentials.push(...page.items);
    after = page.next;
  } while (after);
  return credentials;
}

function showAddButton() {
  if (!mayAdminister() || byId('add').firstChild) return;
  const add = el('button', { type: 'button', class: 'primary', 'data-focus': 'add' }, 'Add Twilio account');
  add.addEventListener('click', () => act(add, () => openAddForm('twilio', load)));
  byId('add').append(add);
}

async function load() {
  const mine = ++turn;
  const credentials = await allCredentials();
  if (mine === turn) showCredentials(byId('credentials'), credentials, load);
}

async function loadAll() {
  showAddButton();
  await Promise.all([load(), refreshFollowed()]);
}

startPage({ load: loadAll, change: (kind, data) => (kind === 'message' ? refreshFollowed(data.id) : load()) });
