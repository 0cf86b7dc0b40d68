// The fields of a credential in a form, made of what its provider says they are.

import { el, newId } from './dom.js';
import { field } from './form.js';

const elementOf = ({ element }) => element;

// Inputs for a credential of the provider ({ fields, alternatives }): { elements, shown(), values() }. `stored`: what is kept already, with
// masks for secrets; an empty input keeps a secret, and values() has what differs, null for what is to go.
export function credentialFields(provider, stored = {}) {
  const make = (name, required) => {
    const { secret, ...rule } = provider.fields[name];
    return field(name, { ...rule, secret, required, ...(secret ? { kept: stored[name] } : { value: stored[name] ?? '' }) });
  };
  const chosen = provider.alternatives.flat(2);
  const single = Object.keys(provider.fields).filter((name) => !chosen.includes(name)).map((name) => make(name, provider.fields[name].required));
  const required = single.filter(({ name }) => provider.fields[name].required);
  const optional = single.filter(({ name }) => !provider.fields[name].required);
  const choices = provider.alternatives.map((lists) => choice(provider, lists, stored, make));
  const shown = () => [...required, ...choices.flatMap((each) => each.fields()), ...optional];
  const open = optional.some(({ value }) => value);
  return {
    elements: [...required.map(elementOf), ...choices.map(elementOf),
      optional.length > 0 && el('details', { open }, el('summary', {}, 'More'), el('div', { class: 'stack' }, optional.map(elementOf)))],
    shown,
    values: () => differences(provider, stored, shown()),
  };
}

function differences(provider, stored, shown) {
  const typed = Object.fromEntries(shown.map(({ name, value }) => [name, value]));
  return Object.fromEntries(Object.keys(provider.fields).flatMap((name) => {
    const before = stored[name] ?? '';
    const kept = provider.fields[name].secret && typed[name] === '' ? before : typed[name] ?? '';
    return kept === before ? [] : [[name, kept || null]];
  }));
}

// Radio buttons for lists of fields of which one list must be given: { element, fields() }.
function choice(provider, lists, stored, make) {
  const group = newId('choice');
  const first = Math.max(0, lists.findIndex((names) => names.every((name) => name in stored)));
  const options = lists.map((names, n) => {
    const radio = el('input', { type: 'radio', name: group, value: n, checked: n === first });
    const fields = names.map((name) => make(name, true));
    const label = el('label', { class: 'option' }, radio, names.map((name) => provider.fields[name].title).join(' and '));
    return { radio, fields, label, body: el('div', { class: 'stack' }, fields.map(elementOf)) };
  });
  const show = () => { for (const { radio, body } of options) body.hidden = !radio.checked; };
  for (const { radio } of options) radio.addEventListener('change', show);
  show();
  const element = el('fieldset', {}, el('legend', {}, lists.map(([name]) => provider.fields[name].title).join(' or ')),
    el('div', { class: 'options' }, options.map(({ label }) => label)), options.map(({ body }) => body));
  return { element, fields: () => options.find(({ radio }) => radio.checked).fields };
}
