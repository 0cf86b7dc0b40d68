// The form for a new credential, made of what the provider says its fields are.

import { get, onceOnly } from './api.js';
import { expectResult } from './checking.js';
import { openDialog } from './dialog.js';
import { el, newId } from './dom.js';
import { field, submit } from './form.js';
import { words } from './format.js';
import { toast } from './toast.js';

export async function openAddForm(type, reload) {
  const provider = (await get('organization/providers')).items.find(({ name }) => name === type);
  if (provider) openForm(provider, reload);
  else toast(`${words(type)} is switched off here.`, 'bad');
}

function openForm(provider, reload) {
  const name = field('display_name', { title: 'Name', hint: `For you and your colleagues. Without one: ${words(provider.name)}.` });
  const chosen = provider.alternatives.flat(2);
  const single = Object.keys(provider.fields).filter((each) => !chosen.includes(each)).map((each) => field(each, provider.fields[each]));
  const required = single.filter((each) => provider.fields[each.name].required);
  const optional = single.filter((each) => !provider.fields[each.name].required);
  const choices = provider.alternatives.map((lists) => choice(provider, lists));
  const general = el('p', { class: 'problem', role: 'alert' });
  const save = el('button', { class: 'primary' }, 'Add and verify');
  const form = el('form', { novalidate: true, autocomplete: 'off' },
    name.element, required.map(elementOf), choices.map(elementOf),
    optional.length > 0 && el('details', {}, el('summary', {}, 'More'), el('div', { class: 'stack' }, optional.map(elementOf))),
    general, el('div', { class: 'buttons' }, save));
  const dialog = openDialog(`Add ${words(provider.name)} account`, form);
  const post = onceOnly();
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    const fields = [...required, ...choices.flatMap((each) => each.fields()), ...optional];
    submit([name, ...fields], save, general, async () => {
      const values = Object.fromEntries(fields.filter(({ value }) => value).map((each) => [each.name, each.value]));
      const added = await post('organization/credentials', {
        credential_type: provider.name, fields: values, ...(name.value ? { display_name: name.value } : {}),
      });
      // Nothing that was typed stays anywhere, also not in an element that the browser remembers.
      form.reset();
      dialog.close();
      await expectResult(added, reload);
    });
  });
}

const elementOf = ({ element }) => element;

// Radio buttons for lists of fields of which one list must be given: { element, fields() }.
function choice(provider, lists) {
  const group = newId('choice');
  const options = lists.map((names, n) => {
    const radio = el('input', { type: 'radio', name: group, value: n, checked: n === 0 });
    const fields = names.map((each) => field(each, { ...provider.fields[each], required: true }));
    const label = el('label', { class: 'option' }, radio, names.map((each) => provider.fields[each].title).join(' and '));
    return { radio, fields, label, body: el('div', { class: 'stack' }, fields.map(elementOf)) };
  });
  const show = () => { for (const { radio, body } of options) body.hidden = !radio.checked; };
  for (const { radio } of options) radio.addEventListener('change', show);
  show();
  const element = el('fieldset', {}, el('legend', {}, lists.map(([first]) => provider.fields[first].title).join(' or ')),
    el('div', { class: 'options' }, options.map(({ label }) => label)), options.map(({ body }) => body));
  return { element, fields: () => options.find(({ radio }) => radio.checked).fields };
}
