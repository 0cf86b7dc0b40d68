// The page /dashboard/settings.

import { get } from './api.js';
import { connectLink, tellOutcome } from './connect.js';
import { openAddForm } from './credential_form.js';
import { showCredentials } from './credential_list.js';
import { byId, el } from './dom.js';
import { act } from './form.js';
import { words } from './format.js';
import { refreshFollowed } from './message_view.js';
import { startPage } from './page.js';
import { mayAdminister } from './session.js';

const MAIN = 'twilio';
const CONNECTED = ['google_calendar']; // by the provider's own pages, not by typing

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

function addButton(type) {
  const add = el('button', { type: 'button', class: type === MAIN ? 'primary' : undefined, 'data-focus': `add ${type}` }, `Add ${words(type)} account`);
  add.addEventListener('click', () => act(add, () => openAddForm(type, load)));
  return add;
}

// One for each kind of account; the one that sends messages comes last, where the eye ends.
async function showAddButtons() {
  if (!mayAdminister() || byId('add').firstChild) return;
  const types = (await get('organization/providers')).items.map(({ name }) => name).filter((type) => !CONNECTED.includes(type));
  if (!byId('add').firstChild) byId('add').append(...CONNECTED.map((type) => connectLink(type)), ...types.sort((a, b) => (a === MAIN) - (b === MAIN)).map(addButton));
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
  await Promise.all([showAddButtons(), load(), refreshFollowed()]);
}

startPage({ load: loadAll, change: (kind, data) => (kind === 'message' ? refreshFollowed(data.id) : load()) });
