// Sends a test SMS and follows it until nothing more happens to it.

import { call, get, newKey } from './api.js';
import { badge } from './badge.js';
import { openDialog } from './dialog.js';
import { el } from './dom.js';
import { field, submit } from './form.js';
import { timeline } from './timeline.js';

const NUMBER = { title: 'Your phone number', required: true, pattern: '^\\+[1-9][0-9]{6,14}$', must_be: 'an E.164 number such as +14155550100', type: 'tel', autocomplete: 'tel' };

let followed = null; // { id, show(message) }

// Loads the followed message again, if it is this one (no id: whichever).
export async function followMessages(id) {
  if (!followed || (id && id !== followed.id)) return;
  const { show } = followed;
  const message = await get(`organization/messages/${followed.id}`).catch(() => null);
  if (message && followed?.id === message.id) show(message);
}

export function openTestForm(credential) {
  const to = field('to', NUMBER);
  const general = el('p', { class: 'problem', role: 'alert' });
  const send = el('button', { class: 'primary' }, 'Send');
  const result = el('div', { 'aria-live': 'polite', 'data-result': 'test' });
  const form = el('form', { novalidate: true }, to.element, general, el('div', { class: 'buttons' }, send));
  const dialog = openDialog(`Send a test SMS with ${credential.display_name}`, form, result);
  dialog.addEventListener('close', () => { followed = null; });
  let key = newKey();
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    submit([to], send, general, async () => {
      const { body: { id } } = await call('POST', 'organization/sms/test', {
        body: { to: to.value, credential_id: credential.id }, headers: { 'Idempotency-Key': key },
      });
      key = newKey();
      followed = { id, show: (message) => result.replaceChildren(el('p', {}, badge(message.status)), message.error_message && el('p', { class: 'problem-box' }, message.error_message) || '', timeline(message)) };
      await followMessages();
    });
  });
}
