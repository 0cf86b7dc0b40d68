// Sends a test SMS and shows what becomes of it.

import { onceOnly } from './api.js';
import { openDialog } from './dialog.js';
import { el } from './dom.js';
import { field, submit } from './form.js';
import { followMessage } from './message_view.js';
import { timeline } from './timeline.js';

const NUMBER = {
  title: 'Your phone number', required: true, pattern: '^\\+[1-9][0-9]{6,14}$', must_be: 'an E.164 number such as +14155550100', type: 'tel', autocomplete: 'tel',
};

export function openTestForm({ id, display_name: name }) {
  const to = field('to', NUMBER);
  const general = el('p', { class: 'problem', role: 'alert' });
  const send = el('button', { class: 'primary' }, 'Send');
  const result = el('div', { class: 'stack' });
  const form = el('form', { novalidate: true }, to.element, general, el('div', { class: 'buttons' }, send));
  const dialog = openDialog(`Send a test SMS with ${name}`, form, result);
  const post = onceOnly();
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    submit([to], send, general, async () => {
      const message = await post('organization/sms/test', { to: to.value, credential_id: id });
      // It is sent, whether it can be shown now or not until the next change.
      await followMessage(message.id, dialog, result, (now) => [timeline(now)]).catch(() => {});
    });
  });
}
