// What both pages have: who is signed in, the state of the connection, and what to say once the session has ended.

import { byId, el } from './dom.js';
import { act } from './form.js';
import { count } from './format.js';
import { Live } from './live.js';
import { endSession, startSession } from './session.js';
import { tellFailure, toast } from './toast.js';

const STATES = {
  live: '',
  slow: 'There are no live updates at the moment. This page looks for news every few seconds.',
  waiting: 'The server does not answer. Trying again; what you see may be out of date.',
  offline: 'You are offline. What you see may be out of date.',
};
const ENDED = ['Your session has ended', 'Open this page again from your application to sign in. What you saved is safe.'];
const REFUSED = 'You cannot be signed in';
const NOT_YET = ['One moment, please', 'What you look for shows up here by itself as soon as it can be had.'];
const LONGEST_PAUSE_S = 15;

let away = false;

function showState(state) {
  if (state === 'ended') return showEnded(...ENDED);
  byId('connection').textContent = STATES[state];
  if (away && state === 'live') toast('Connected again.');
  away = state === 'waiting' || state === 'offline';
  return undefined;
}

// Instead of the content.
function showNotice(title, text) {
  byId('notice').replaceChildren(el('h1', {}, title), el('p', {}, text));
  byId('notice').hidden = false;
}

// Nothing of an organization stays on a page without a session.
function showEnded(title, text) {
  for (const dialog of document.querySelectorAll('dialog')) dialog.remove();
  byId('content')?.remove();
  for (const id of ['organization', 'who', 'connection', 'toasts']) byId(id).replaceChildren();
  showNotice(title, text);
  byId('main').focus();
}

function showSession(session) {
  const out = el('button', { type: 'button', class: 'quiet' }, 'Sign out');
  out.addEventListener('click', () => act(out, endSession));
  byId('organization').textContent = session.organization.name;
  byId('who').replaceChildren(el('span', {}, [session.user_id, session.org_role].filter(Boolean).join(', ')), out);
  byId('connection').replaceChildren();
  byId('notice').hidden = true;
  byId('content').hidden = false;
}

// The session; null when there is none, which the page then says. A server that is away is waited for.
async function session() {
  for (let pause = 1; ; pause = Math.min(2 * pause, LONGEST_PAUSE_S)) {
    try {
      return await startSession();
    } catch (error) {
      if (![0, 429, 503].includes(error.status)) {
        showEnded(...(error.status === 401 ? ENDED : [REFUSED, error.message]));
        return null;
      }
      showNotice(...NOT_YET);
      byId('connection').textContent = `${error.message} The next try is in ${count(pause, 'second')}.`;
      await new Promise((resolve) => { setTimeout(resolve, pause * 1000); });
    }
  }
}

// Starts the page: `load()` shows all anew, `change(kind, data)` what changed.
export async function startPage({ load, change }) {
  const started = await session();
  if (!started) return;
  showSession(started);
  // Without a connection there is nothing to tell that the page does not say already.
  const tell = (error) => { if (error.status !== 0) tellFailure(error); };
  new Live({ onState: showState, onReady: () => load().catch(tell), onChange: (kind, data) => change(kind, data).catch(tell) });
}
