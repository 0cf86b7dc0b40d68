// A form whose fields say themselves what is wrong with them.

import { el, newId } from './dom.js';
import { toast } from './toast.js';

// The server has the last word: its regular expressions may say more than JavaScript understands.
function matches(value, pattern) {
  try {
    return new RegExp(pattern).test(value);
  } catch {
    return true;
  }
}

// A labelled input: { element, name, input, value, problem(text), check() }. `definition`: title, required, secret, pattern, must_be,
// hint.
export function field(name, { title, required, secret, pattern, must_be: mustBe, hint, value = '', type = 'text', autocomplete = 'off' }) {
  const id = newId('field');
  const input = el('input', {
    id, type: secret ? 'password' : type, autocomplete: secret ? 'new-password' : autocomplete, spellcheck: 'false', autocapitalize: 'off',
    'aria-required': required ? 'true' : undefined, 'aria-describedby': `${id}-hint ${id}-problem`, 'data-field': name,
  });
  input.value = value;
  const problem = el('span', { class: 'problem', id: `${id}-problem` });
  const said = hint ?? mustBe ?? '';
  const help = el('span', { class: 'hint', id: `${id}-hint` }, said.charAt(0).toUpperCase() + said.slice(1));
  const element = el('div', { class: 'field' },
    el('label', { for: id }, title, !required && el('span', { class: 'hint' }, ' (optional)')), input,
    help, problem);
  const self = {
    element, name, input,
    get value() { return secret ? input.value : input.value.trim(); },
    problem(text) {
      problem.textContent = text;
      help.hidden = Boolean(text);
      if (text) input.setAttribute('aria-invalid', 'true');
      else input.removeAttribute('aria-invalid');
    },
    check() {
      let text = '';
      if (!self.value) text = required ? `${title} is missing.` : '';
      else if (pattern && !matches(self.value, pattern)) text = `It must be ${mustBe}.`;
      self.problem(text);
      return !text;
    },
  };
  // Not on the way to a button: what moves under the pointer is not clicked.
  input.addEventListener('blur', ({ relatedTarget }) => { if (self.value && relatedTarget?.tagName !== 'BUTTON') self.check(); });
  input.addEventListener('input', () => { if (input.hasAttribute('aria-invalid')) self.check(); });
  return self;
}

// Runs `send` for a form's fields once all are right; while it runs, the button waits. A problem goes to the field that it names.
// Answers whether it went well.
export async function submit(fields, button, general, send) {
  general.textContent = '';
  const wrong = fields.filter((each) => !each.check());
  if (wrong.length) return wrong[0].input.focus();
  if (button.disabled) return undefined;
  button.disabled = true;
  try {
    await send();
  } catch (error) {
    if (!showProblems(fields, error)) general.textContent = error.message;
  } finally {
    button.disabled = false;
  }
  return undefined;
}

function showProblems(fields, error) {
  const named = (error.errors ?? []).flatMap(({ field: name, detail }) => {
    const found = fields.find((each) => name === each.name || name === `fields.${each.name}`);
    found?.problem(detail);
    return found ?? [];
  });
  named[0]?.input.focus();
  return named.length > 0;
}

// Runs what a button does; while it runs, the button waits. A failure is told.
export async function act(button, action) {
  button.disabled = true;
  try {
    await action();
  } catch (error) {
    if (error.status !== 401) toast(error.message, 'bad');
  } finally {
    button.disabled = false;
  }
}
