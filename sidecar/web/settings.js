// The page /dashboard/settings.

import { get } from './api.js';
import { openAddForm } from './credential_form.js';
import { showCredentials } from './credential_list.js';
import { byId, el } from './dom.js';
import { startPage } from './page.js';
import { mayAdminister } from './session.js';
import { followMessages } from './test_message.js';

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

async function load() {
  const add = mayAdminister() && el('button', { type: 'button', class: 'primary', 'data-focus': 'add', onclick: () => openAddForm('twilio', load) }, 'Add Twilio account');
  if (add && !byId('add').firstChild) byId('add').append(add);
  showCredentials(byId('credentials'), await allCredentials(), load);
  followMessages();
}

startPage({ load, change: (kind, data) => (kind === 'message' ? followMessages(data.id) : load()) });
