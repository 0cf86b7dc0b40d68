// Small changes of a credential.

import { call } from './api.js';
import { confirmed, openDialog } from './dialog.js';
import { el } from './dom.js';
import { field, submit } from './form.js';
import { toast } from './toast.js';

export const credentialPath = ({ id }) => `organization/credentials/${id}`;

// Answers the credential as it is now. `etag`: of what was seen. Throws ApiError.
export async function changeCredential(credential, changes, etag) {
  try {
    return (await call('PATCH', credentialPath(credential), { body: changes, headers: { 'If-Match': etag } })).body;
  } catch (error) {
    if (error.status === 412) error.message = 'Somebody else has changed this account meanwhile. Close this form and look again.';
    throw error;
  }
}

export async function rename(credential, reload) {
  const { body: seen, etag } = await call('GET', credentialPath(credential));
  const name = field('display_name', { title: 'Name', required: true, hint: 'For you and your colleagues.', value: seen.display_name });
  name.input.maxLength = 200;
  const general = el('p', { class: 'problem', role: 'alert' });
  const save = el('button', { class: 'primary' }, 'Save');
  const form = el('form', { novalidate: true }, name.element, general, el('div', { class: 'buttons' }, save));
  const dialog = openDialog(`Rename ${seen.display_name}`, form);
  name.input.select();
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    submit([name], save, general, async () => {
      await changeCredential(credential, { display_name: name.value }, etag);
      dialog.close();
      toast('Renamed.', 'good', credential.id);
      await reload();
    });
  });
}

export async function setDefault(credential, reload) {
  await changeCredential(credential, { is_default: true }, '*');
  toast(`${credential.display_name} is now the default.`, 'good', credential.id);
  await reload();
}

export async function revoke(credential, reload) {
  const name = credential.display_name;
  const text = credential.is_default
    ? 'Its secrets are destroyed at once. It is the default: messages wait until another account is. This cannot be undone.'
    : 'Its secrets are destroyed at once, and nothing can be sent with it any more. This cannot be undone.';
  if (!await confirmed(`Revoke ${name}?`, text, 'Revoke')) return;
  await call('DELETE', credentialPath(credential));
  toast(`${name} is revoked.`, 'good', credential.id);
  await reload();
}
