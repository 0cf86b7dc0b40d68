// What both pages have: the session's header, the state of the connection, and what to say once the session has ended.

import { byId, el } from './dom.js';
import { count } from './format.js';
import { Live } from './live.js';
import { endSession, startSession } from './session.js';
import { toast } from './toast.js';

const STATES = {
  live: '',
  waiting: 'The server does not answer. Trying again; what you see may be out of date.',
  offline: 'You are offline. What you see may be out of date.',
};
const ENDED = ['Your session has ended', 'Open this page again from your application to sign in. What you saved is safe.'];
const REFUSED = 'You cannot be signed in';

let live = false;

function showConnection(state) {
  if (state === 'ended') return showEnded(...ENDED);
  const banner = byId('connection');
  banner.textContent = STATES[state];
  banner.hidden = state === 'live';
  if (state === 'live' && live === 'lost') toast('Connected again.');
  live = state === 'live' ? 'live' : 'lost';
}

// Nothing of an organization stays on a page without a session.
function showEnded(title, text) {
  for (const dialog of document.querySelectorAll('dialog')) dialog.remove();
  byId('content').remove();
  for (const id of ['organization', 'who', 'connection']) byId(id).replaceChildren();
  byId('ended').replaceChildren(el('div', { class: 'empty' }, el('h1', {}, title), el('p', {}, text)));
  byId('ended').hidden = false;
  byId('main').focus();
}

function showSession(session) {
  byId('organization').textContent = session.organization.name;
  byId('who').replaceChildren(
    el('span', { class: 'user' }, [session.user_id, session.org_role].filter(Boolean).join(', ')),
    el('button', { type: 'button', class: 'quiet', onclick: () => endSession().catch((error) => toast(error.message, 'bad')) }, 'Sign out'));
  byId('content').hidden = false;
}

// Starts the page: `load()` shows all anew, `change(kind, data)` what changed.
export async function startPage({ load, change }) {
  const loading = () => load().catch((error) => { if (error.status !== 401) toast(error.message, 'bad'); });
  for (let pause = 1; ; pause = Math.min(2 * pause, 15)) {
    try {
      showSession(await startSession());
      break;
    } catch (error) {
      if (error.status === 401) return showEnded(...ENDED);
      if (error.status && error.status !== 429 && error.status !== 503) return showEnded(REFUSED, error.message);
      byId('connection').textContent = `${error.message} The next try is in ${count(pause, 'second')}.`;
      byId('connection').hidden = false;
      await new Promise((resolve) => { setTimeout(resolve, pause * 1000); });
    }
  }
  return new Live({ onReady: loading, onChange: change, onState: showConnection });
}
