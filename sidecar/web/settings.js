// The page /dashboard/settings.

import { get } from './api.js';
import { connectLink, tellOutcome } from './connect.js';
import { openAddForm } from './credential_form.js';
import { showCredentials } from './credential_list.js';
import { byId, el } from './dom.js';
import { act } from './form.js';
import { refreshFollowed } from './message_view.js';
import { startPage } from './page.js';
import { mayAdminister } from './session.js';

let loading = null; // what is under way
let following = null; // what comes after it, for all who asked meanwhile

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
  byId('add').append(connectLink('google_calendar'), add);
}

const show = async () => showCredentials(byId('credentials'), await allCredentials(), load);

// One at a time: many changes at once are loaded once.
function load() {
  if (!loading) {
    loading = show().finally(() => { loading = null; });
    return loading;
  }
  following ??= loading.catch(() => {}).then(() => {
    following = null;
    return load();
  });
  return following;
}

async function loadAll() {
  tellOutcome();
  showAddButton();
  await Promise.all([load(), refreshFollowed()]);
}

startPage({ load: loadAll, change: (kind, data) => (kind === 'message' ? refreshFollowed(data.id) : load()) });
