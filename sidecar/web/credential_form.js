// The forms for a new credential, and for other values of one that is there: a token that was rotated, say.

import { call, get, onceOnly } from './api.js';
import { expectResult } from './checking.js';
import { changeCredential, credentialPath } from './credential_actions.js';
import { credentialFields } from './credential_fields.js';
import { openDialog } from './dialog.js';
import { el } from './dom.js';
import { field, submit } from './form.js';
import { words } from './format.js';
import { toast } from './toast.js';

const providerOf = async (type) => (await get('organization/providers')).items.find(({ name }) => name === type);
const sayOff = (type) => toast(`${words(type)} is switched off here.`, 'bad');

export async function openAddForm(type, reload) {
  const provider = await providerOf(type);
  if (!provider) return sayOff(type);
  const name = field('display_name', { title: 'Name', hint: `For you and your colleagues. Without one: ${words(type)}.` });
  name.input.maxLength = 200;
  const fields = credentialFields(provider);
  const post = onceOnly();
  return openForm({
    title: `Add ${words(type)} account`, action: 'Add and verify', elements: [name.element, ...fields.elements], shown: () => [name, ...fields.shown()], reload,
    send: () => post('organization/credentials', {
      credential_type: type, fields: fields.values(), ...(name.value ? { display_name: name.value } : {}),
    }),
  });
}

export async function openChangeForm(credential, reload) {
  const type = credential.credential_type;
  const [{ body: seen, etag }, provider] = await Promise.all([call('GET', credentialPath(credential)), providerOf(type)]);
  if (!provider) return sayOff(type);
  const fields = credentialFields(provider, seen.fields);
  const note = el('p', { class: 'hint' }, 'It is verified again, and its messages wait for that.');
  return openForm({
    title: `Change ${seen.display_name}`, action: 'Save and verify', elements: [...fields.elements, note], shown: fields.shown, reload,
    send: async () => {
      const changes = fields.values();
      return Object.keys(changes).length === 0 ? null : changeCredential(credential, { fields: changes }, etag);
    },
  });
}

// `send()` answers the credential that is verified now; null: nothing was to be done.
function openForm({ title, action, elements, shown, send, reload }) {
  const general = el('p', { class: 'problem', role: 'alert' });
  const save = el('button', { class: 'primary' }, action);
  const form = el('form', { novalidate: true, autocomplete: 'off' }, elements, general, el('div', { class: 'buttons' }, save));
  const dialog = openDialog(title, form);
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    submit(shown(), save, general, async () => {
      const saved = await send();
      // Nothing that was typed stays anywhere, also not in an element that the browser remembers.
      form.reset();
      dialog.close();
      if (saved) await expectResult(saved, reload);
      else toast('Nothing was changed.');
    });
  });
}
