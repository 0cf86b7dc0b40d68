// Accounts that are connected at their provider's own page: the way there, and what came of it.

import { el } from './dom.js';
import { toast } from './toast.js';

const NAMES = { google_calendar: 'Google Calendar' };
const STARTS = { google_calendar: 'auth/google/start' };
const OUTCOMES = {
  connected: ['Connected. It is being verified now.', 'good'],
  denied: ['Nothing was connected: access was not allowed.', 'bad'],
  expired: ['Nothing was connected: that took longer than ten minutes, or began in another window. Try again.', 'bad'],
  scope_missing: ['Nothing was connected: leave all boxes ticked when you are asked what to allow.', 'bad'],
  no_refresh_token: ['Nothing was connected: Google gave no lasting access. Try again.', 'bad'],
  refused: ['Nothing was connected: Google refused. Try again; if that does not help, check the client ID and its secret.', 'bad'],
  not_configured: ['This server has no Google client of its own. Ask who runs it, or connect an account that has a client ID and a client secret.', 'bad'],
  not_allowed: ['Only admins and owners connect accounts.', 'bad'],
  signed_out: ['Nothing was connected: your session has ended.', 'bad'],
  gone: ['Nothing was connected: the account is not there any more.', 'bad'],
  unavailable: ['Nothing was connected: a server does not answer. Try again in a moment.', 'bad'],
  failed: ['Nothing was connected: something went wrong here.', 'bad'],
};

export const isConnectable = (type) => type in STARTS;

// A link to the provider's page: for a new account, or to connect this one anew. No provider lets itself be shown in a frame.
export function connectLink(type, credential) {
  const again = credential?.fields.refresh_token !== undefined;
  const label = credential ? `${again ? 'Reconnect' : 'Connect'} ${NAMES[type]}` : `Connect ${NAMES[type]}`;
  const address = new URL(`../api/${STARTS[type]}`, document.baseURI);
  if (credential) address.searchParams.set('credential', credential.id);
  return el('a', {
    class: 'button', href: address.href, 'data-focus': `${label} ${credential?.id ?? ''}`,
    'aria-label': credential && `${label}: ${credential.display_name}`, ...(window.top === window ? {} : { target: '_blank' }),
  }, label);
}

// Says what came of it, once, when the browser is back from there.
export function tellOutcome() {
  const address = new URL(location.href);
  const outcome = address.searchParams.get('connect');
  if (outcome === null) return;
  address.searchParams.delete('connect');
  history.replaceState(null, '', address);
  toast(...OUTCOMES[Object.hasOwn(OUTCOMES, outcome) ? outcome : 'failed']);
}
