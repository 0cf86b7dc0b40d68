// Small changes of a credential.

import { change, call } from './api.js';
import { confirmed, openDialog } from './dialog.js';
import { el } from './dom.js';
import { field, submit } from './form.js';
import { toast } from './toast.js';

const path = ({ id }) => `organization/credentials/${id}`;

export function rename(credential, reload) {
  const name = field('display_name', { title: 'Name', required: true, hint: 'For you and your colleagues.', value: credential.display_name });
  name.input.maxLength = 200;
  const general = el('p', { class: 'problem', role: 'alert' });
  const save = el('button', { class: 'primary' }, 'Save');
  const form = el('form', { novalidate: true }, name.element, general, el('div', { class: 'buttons' }, save));
  const dialog = openDialog(`Rename ${credential.display_name}`, form);
  name.input.select();
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    submit([name], save, general, async () => {
      await change('PATCH', path(credential), { display_name: name.value });
      dialog.close();
      await reload();
      toast('Renamed.');
    });
  });
}

export async function setDefault(credential, reload) {
  await change('PATCH', path(credential), { is_default: true });
  await reload();
  toast(`${credential.display_name} is now the default.`);
}

export async function revoke(credential, reload) {
  const name = credential.display_name;
  const text = credential.is_default
    ? 'Its secrets are destroyed at once. It is the default: messages wait until another account is. This cannot be undone.'
    : 'Its secrets are destroyed at once, and nothing can be sent with it any more. This cannot be undone.';
  if (!await confirmed(`Revoke ${name}?`, text, 'Revoke')) return;
  await call('DELETE', path(credential));
  await reload();
  toast(`${name} is revoked.`);
}
