// Whom the page acts for: the token that the host application put into the address becomes a cookie that no script can read.

import { ApiError, call, get, useCsrfToken } from './api.js';

const tabs = new BroadcastChannel('byoc-session');
let current = null;

// Takes the token out of the address and of its history; answers it.
function tokenFromAddress() {
  const token = new URLSearchParams(location.hash.slice(1)).get('token');
  if (token !== null) history.replaceState(null, '', location.pathname + location.search);
  return token;
}

const sameAs = (session) => session.organization.id === current.organization.id && session.user_id === current.user_id;

function accept(session) {
  current = session;
  useCsrfToken(session.csrf_token);
  return session;
}

// Signs in with the address's token if there is one; answers the session. Throws ApiError.
export async function startSession() {
  const token = tokenFromAddress();
  if (token === null) return accept(await get('session'));
  const { body } = await call('POST', 'session', { body: { token } });
  tabs.postMessage({ organization: body.organization.id, user: body.user_id });
  return accept(body);
}

// Looks whether the cookie is still this page's: another tab may have signed in as somebody else. Then the page starts anew.
export async function checkSession() {
  const session = await get('session');
  if (current && !sameAs(session)) location.reload();
  return accept(session);
}

export const mayAdminister = () => current.org_role !== 'member';
export const mayRevoke = () => current.org_role === 'owner';

export async function endSession() {
  await call('DELETE', 'session');
  dispatchEvent(new Event('session-ended'));
  tabs.postMessage(null);
}

tabs.onmessage = ({ data }) => {
  if (data === null) dispatchEvent(new Event('session-ended'));
  else if (!current || data.organization !== current.organization.id || data.user !== current.user_id) location.reload();
  else checkSession().catch((error) => { if (!(error instanceof ApiError)) throw error; });
};

// A token that is handed to a page that is already open.
addEventListener('hashchange', () => { if (new URLSearchParams(location.hash.slice(1)).has('token')) location.reload(); });
