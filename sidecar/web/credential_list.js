// The list of credentials: what each is, how it is, and what can be done with it.

import { badge } from './badge.js';
import { isChecking, settle, verify } from './checking.js';
import { rename, revoke, setDefault } from './credential_actions.js';
import { openAuditTrail } from './audit_trail.js';
import { el, replaceChildren } from './dom.js';
import { act } from './form.js';
import { ago, atTime, words } from './format.js';
import { mayAdminister, mayRevoke } from './session.js';
import { openTestForm } from './test_message.js';

export function showCredentials(parent, credentials, reload) {
  credentials.forEach(settle);
  const active = credentials.filter((each) => each.is_active);
  const revoked = credentials.filter((each) => !each.is_active);
  replaceChildren(parent,
    ...(active.length ? active.map((each) => card(each, reload)) : [empty(revoked.length > 0)]),
    ...(revoked.length ? [el('details', { class: 'revoked' }, el('summary', { 'data-focus': 'revoked' }, `Revoked (${revoked.length})`), revoked.map((each) => card(each, reload)))] : []));
  parent.setAttribute('aria-busy', 'false');
}

function empty(anyRevoked) {
  return el('div', { class: 'empty' },
    el('h2', {}, anyRevoked ? 'No active account' : 'No account yet'),
    el('p', {}, mayAdminister() ? 'Add your Twilio account to send messages from your own number.' : 'An admin of your organization can add one.'));
}

// Masks last.
const shownFields = ({ fields }) => Object.entries(fields).sort(([, a], [, b]) => a.startsWith('•') - b.startsWith('•'));

function state(credential) {
  if (!credential.is_active) return 'revoked';
  return isChecking(credential.id) ? 'checking' : credential.verification_status;
}

function card(credential, reload) {
  const { id, display_name: name, credential_type: type, verification_error: error, last_verified_at: verified } = credential;
  return el('article', { class: 'card credential', 'data-credential': id, 'aria-label': name },
    el('div', { class: 'card-head' },
      el('div', {}, el('h2', {}, name), el('p', { class: 'hint' }, words(type))),
      el('div', { class: 'badges' }, badge(state(credential)), credential.is_default && credential.is_active && el('span', { class: 'badge plain' }, 'Default'))),
    credential.is_active && error && !isChecking(id) && el('p', { class: 'problem-box' }, error),
    el('dl', { class: 'facts' },
      shownFields(credential).map(([field, value]) => el('div', {}, el('dt', {}, words(field)), el('dd', {}, value))),
      verified && el('div', {}, el('dt', {}, 'Last verified'), el('dd', {}, el('time', { datetime: verified, title: atTime(verified) }, ago(verified))))),
    el('div', { class: 'buttons', role: 'group', 'aria-label': `Actions for ${name}` }, actions(credential, reload)));
}

function actions(credential, reload) {
  const { id, display_name: name, is_active: active } = credential;
  const button = (label, action, properties = {}) => {
    const element = el('button', { type: 'button', 'data-focus': `${label} ${id}`, 'aria-label': `${label}: ${name}`, ...properties }, label);
    element.addEventListener('click', () => act(element, action));
    return element;
  };
  return [
    active && mayAdminister() && button('Verify', () => verify(credential, reload), isChecking(id) ? { disabled: true } : {}),
    active && credential.credential_type === 'twilio' && button('Send test SMS', () => openTestForm(credential)),
    active && mayAdminister() && button('Rename', () => rename(credential, reload)),
    active && mayAdminister() && !credential.is_default && button('Set as default', () => setDefault(credential, reload)),
    mayAdminister() && button('Audit trail', () => openAuditTrail(credential)),
    active && mayRevoke() && button('Revoke', () => revoke(credential, reload), { class: 'danger-quiet' }),
  ];
}
