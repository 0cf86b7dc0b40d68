// A form whose fields say themselves what is wrong with them.

import { el, newId } from './dom.js';
import { capitalized } from './format.js';
import { tellFailure } from './toast.js';

// The server has the last word: its regular expressions may say more than JavaScript understands.
function matches(value, pattern) {
  try {
    return new RegExp(pattern).test(value);
  } catch {
    return true;
  }
}

// A labelled input: { element, name, input, value, problem(text), check() }. `definition`: title, required, secret, pattern, must_be,
// hint, kept (the mask of a stored secret, which stays when nothing is typed).
export function field(name, { title, required, secret, pattern, must_be: mustBe, hint, kept, value = '', type = 'text', autocomplete = 'off' }) {
  const id = newId('field');
  const needed = required && !kept;
  const input = el('input', {
    id, type: secret ? 'password' : type, autocomplete: secret ? 'new-password' : autocomplete, spellcheck: 'false', autocapitalize: 'off',
    'aria-required': needed ? 'true' : undefined, 'aria-describedby': `${id}-hint ${id}-problem`, 'data-field': name,
  });
  input.value = value;
  const problem = el('span', { class: 'problem', id: `${id}-problem` });
  const help = el('span', { class: 'hint', id: `${id}-hint` }, kept ? `Leave it empty to keep ${kept}.` : capitalized(hint ?? mustBe ?? ''));
  const element = el('div', { class: 'field' },
    el('label', { for: id }, title, !required && !kept && el('span', { class: 'hint' }, ' (optional)')), input,
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
      if (!self.value) text = needed ? `${title} is missing.` : '';
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

// Runs an action for a button, once at a time. The button keeps the focus meanwhile, which a disabled one would lose.
async function whileBusy(button, action) {
  if (button.getAttribute('aria-disabled') === 'true') return;
  button.setAttribute('aria-disabled', 'true');
  try {
    await action();
  } finally {
    button.removeAttribute('aria-disabled');
  }
}

// Runs `send` for a form's fields once all are right. A problem goes to the field that it names, else to `general`.
export async function submit(fields, button, general, send) {
  general.textContent = '';
  const wrong = fields.filter((each) => !each.check());
  if (wrong.length) return focusOn(wrong[0]);
  return whileBusy(button, async () => {
    try {
      await send();
    } catch (error) {
      if (!showProblems(fields, error)) general.textContent = error.message;
    }
  });
}

function focusOn({ input }) {
  input.closest('details')?.setAttribute('open', '');
  input.focus();
}

function showProblems(fields, error) {
  const named = (error.errors ?? []).flatMap(({ field: name, detail }) => {
    const found = fields.find((each) => name === each.name || name === `fields.${each.name}`);
    found?.problem(detail);
    return found ?? [];
  });
  if (named.length) focusOn(named[0]);
  return named.length > 0;
}

// Runs what a button does. A failure is told.
export const act = (button, action) => whileBusy(button, async () => {
  try {
    await action();
  } catch (error) {
    tellFailure(error);
  }
});
