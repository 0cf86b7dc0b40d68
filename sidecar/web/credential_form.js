// The form for a new credential, made of what the provider says its fields are.

import { call, get, newKey } from './api.js';
import { expectResult } from './checking.js';
import { openDialog } from './dialog.js';
import { el, newId } from './dom.js';
import { field, submit } from './form.js';
import { toast } from './toast.js';
import { words } from './format.js';

export async function openAddForm(type, reload) {
  let provider;
  try {
    provider = (await get('organization/providers')).items.find((each) => each.name === type);
  } catch (error) {
    return error.status === 401 ? undefined : toast(error.message, 'bad');
  }
  if (!provider) return toast(`${words(type)} is switched off here.`, 'bad');
  return openForm(provider, reload);
}

function openForm(provider, reload) {
  const name = field('display_name', { title: 'Name', required: false, hint: `For you and your colleagues. Without one: ${words(provider.name)}.` });
  const choices = provider.alternatives.map((lists) => choice(provider, lists));
  const chosen = provider.alternatives.flat(2);
  const always = Object.keys(provider.fields).filter((each) => !chosen.includes(each));
  const required = always.filter((each) => provider.fields[each].required).map((each) => field(each, provider.fields[each]));
  const optional = always.filter((each) => !provider.fields[each].required).map((each) => field(each, provider.fields[each]));
  const general = el('p', { class: 'problem', role: 'alert' });
  const save = el('button', { class: 'primary' }, 'Add and verify');
  const form = el('form', { novalidate: true, autocomplete: 'off' },
    name.element, required.map(elementOf), choices.map(elementOf),
    optional.length > 0 && el('details', {}, el('summary', {}, 'More'), optional.map(elementOf)),
    general, el('div', { class: 'buttons' }, save));
  const dialog = openDialog(`Add ${words(provider.name)} account`, form);
  const key = newKey();
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    const fields = [...required, ...choices.flatMap((each) => each.fields()), ...optional];
    submit([name, ...fields], save, general, async () => {
      const values = Object.fromEntries(fields.filter(({ value }) => value).map((each) => [each.name, each.value]));
      const { body: added } = await call('POST', 'organization/credentials', {
        body: { credential_type: provider.name, fields: values, ...(name.value ? { display_name: name.value } : {}) }, headers: { 'Idempotency-Key': key },
      });
      for (const { input } of [...required, ...choices.flatMap((each) => each.all), ...optional]) input.value = '';
      dialog.close();
      await expectResult(added.id, added.last_verified_at, reload);
    });
  });
}

const elementOf = ({ element }) => element;

// Radio buttons for lists of fields of which one list must be given: { element, fields(), all }.
function choice(provider, lists) {
  const group = newId('choice');
  const options = lists.map((names, n) => {
    const fields = names.map((each) => field(each, { ...provider.fields[each], required: true }));
    const radio = el('input', { type: 'radio', name: group, value: String(n), id: newId('option'), checked: n === 0 });
    const titles = names.map((each) => provider.fields[each].title).join(' and ');
    return { radio, fields, label: el('label', { for: radio.id, class: 'option' }, radio, ' ', titles), body: el('div', {}, fields.map(elementOf)) };
  });
  const show = () => { for (const { radio, body } of options) body.hidden = !radio.checked; };
  for (const { radio } of options) radio.addEventListener('change', show);
  show();
  const element = el('fieldset', {}, el('legend', {}, lists.map((names) => provider.fields[names[0]].title).join(' or ')),
    el('div', { class: 'options' }, options.map(({ label }) => label)), options.map(({ body }) => body));
  return { element, fields: () => options.find(({ radio }) => radio.checked).fields, all: options.flatMap(({ fields }) => fields) };
}
