// The list of credentials: what each is, how it is, and what can be done with it.

import { openAuditTrail } from './audit_trail.js';
import { badge } from './badge.js';
import { isChecking, settle, verify } from './checking.js';
import { connectLink, isConnectable } from './connect.js';
import { rename, revoke, setDefault } from './credential_actions.js';
import { openChangeForm } from './credential_form.js';
import { el, replaceChildren } from './dom.js';
import { act } from './form.js';
import { words } from './format.js';
import { mayAdminister, mayRevoke } from './session.js';
import { openTestForm } from './test_message.js';
import { timeAgo } from './time.js';

// `reload()` loads and shows them anew.
export function showCredentials(parent, credentials, reload) {
  credentials.forEach(settle);
  const [active, revoked] = [true, false].map((wanted) => credentials.filter((each) => each.is_active === wanted).map((each) => card(each, reload)));
  replaceChildren(parent,
    ...(active.length ? active : [empty(revoked.length > 0)]),
    ...(revoked.length ? [shelf(revoked, parent.querySelector('details')?.open)] : []));
  parent.setAttribute('aria-busy', 'false');
}

const shelf = (revoked, open) => el('details', { open }, el('summary', { 'data-focus': 'revoked' }, `Revoked (${revoked.length})`), revoked);

function empty(anyRevoked) {
  return el('div', { class: 'empty' },
    el('h2', {}, anyRevoked ? 'No active account' : 'No account yet'),
    el('p', {}, mayAdminister() ? 'Add your Twilio account to send messages from your own number.' : 'An admin of your organization can add one.'));
}

function state(credential) {
  if (!credential.is_active) return 'revoked';
  return isChecking(credential.id) ? 'checking' : credential.verification_status;
}

function card(credential, reload) {
  const { id, display_name: name, credential_type: type, is_active: active } = credential;
  return el('article', { class: 'card', 'data-credential': id, 'aria-label': name },
    el('div', { class: 'card-head' },
      el('div', {}, el('h2', {}, name), el('p', { class: 'hint' }, words(type))),
      el('div', { class: 'badges' }, badge(state(credential)), active && credential.is_default && el('span', { class: 'badge' }, 'Default'))),
    active && !isChecking(id) && explanation(credential),
    facts(credential),
    el('div', { class: 'buttons', role: 'group', 'aria-label': `Actions for ${name}` }, actions(credential, reload)));
}

function explanation({ verification_status: status, verification_error: error, verification_note: note }) {
  if (error) return el('p', { class: `box ${status === 'failed' ? 'bad' : 'note'}` }, error);
  return note && el('p', { class: 'box note' }, note);
}

// Masks last.
function facts({ fields, last_verified_at: verified }) {
  const shown = Object.entries(fields).sort(([, a], [, b]) => a.startsWith('•') - b.startsWith('•')).map(([name, value]) => [words(name), value]);
  if (verified) shown.push(['Last verified', timeAgo(verified)]);
  return el('dl', { class: 'facts' }, shown.map(([name, value]) => el('div', {}, el('dt', {}, name), el('dd', {}, value))));
}

function actions(credential, reload) {
  const { id, display_name: name, is_active: active, is_default: isDefault, credential_type: type } = credential;
  const button = (label, action, properties) => {
    const element = el('button', { type: 'button', 'data-focus': `${label} ${id}`, 'aria-label': `${label}: ${name}`, ...properties }, label);
    element.addEventListener('click', () => act(element, () => action(credential, reload)));
    return element;
  };
  return [
    active && mayAdminister() && button('Verify', verify, { 'aria-disabled': isChecking(id) && 'true' }),
    active && mayAdminister() && isConnectable(type) && connectLink(type, credential),
    active && type === 'twilio' && button('Send test SMS', openTestForm),
    active && mayAdminister() && button('Change', openChangeForm),
    active && mayAdminister() && button('Rename', rename),
    active && mayAdminister() && !isDefault && button('Set as default', setDefault),
    mayAdminister() && button('Audit trail', openAuditTrail),
    active && mayRevoke() && button('Revoke', revoke, { class: 'danger-quiet' }),
  ];
}
