// Whom the page acts for: the token that the host application put into the address becomes a cookie that no script can read.

import { call, get, useCsrfToken } from './api.js';

const tabs = new BroadcastChannel('byoc-session');
let token = null; // from the address, until the server has taken it
let starting = null;
let current = null;
let ended = false;

const tokenOf = (hash) => new URLSearchParams(hash.slice(1)).get('token');
const identity = ({ organization, user_id: user }) => `${organization.id} ${user}`;

// Takes the token out of the address and of its history; answers it.
function tokenFromAddress() {
  const found = tokenOf(location.hash);
  if (found !== null) history.replaceState(null, '', location.pathname + location.search);
  return found;
}

function accept(session) {
  current = session;
  useCsrfToken(session.csrf_token);
  return session;
}

async function start() {
  token ??= tokenFromAddress();
  const session = token === null ? await get('session') : (await call('POST', 'session', { body: { token } })).body;
  token = null;
  tabs.postMessage(identity(session));
  return accept(session);
}

// Signs in with the address's token if there is one; answers the session. Throws ApiError.
export function startSession() {
  starting = start();
  return starting;
}

// Looks whether the cookie is still that of this page: another tab may have signed in as somebody else. Then the page starts anew.
// Throws ApiError.
export async function checkSession() {
  const session = await get('session');
  if (identity(session) !== identity(current)) location.reload();
  accept(session);
}

export const mayAdminister = () => current.org_role !== 'member';
export const mayRevoke = () => current.org_role === 'owner';

// Forgets the cookie. Throws ApiError.
export async function endSession() {
  await call('DELETE', 'session');
  tabs.postMessage(null);
  dispatchEvent(new Event('session-ended'));
}

addEventListener('session-ended', () => { ended = true; });

// Another tab signed out, or was opened. A fresh token of the same user brings a CSRF token of its own.
tabs.onmessage = async ({ data }) => {
  await starting?.catch(() => {}); // the page tells
  if (data === null) dispatchEvent(new Event('session-ended'));
  else if (ended || !current || data !== identity(current)) location.reload();
  else await checkSession().catch(() => {}); // the stream of changes will find out too
};

// A token that is handed to a page that is already open.
addEventListener('hashchange', () => { if (tokenOf(location.hash) !== null) location.reload(); });
