// Modal dialogs: the browser's own, so that focus stays within and comes back.

import { el, newId, refocus } from './dom.js';

// Opens one; it is removed when it is closed. Answers it.
export function openDialog(title, ...children) {
  const id = newId('dialog');
  const opener = document.activeElement?.dataset.focus;
  const close = el('button', { type: 'button', class: 'quiet close', 'aria-label': 'Close' }, '×');
  const dialog = el('dialog', { 'aria-labelledby': id }, el('div', { class: 'dialog-head' }, el('h2', { id }, title), close), ...children);
  close.addEventListener('click', () => dialog.close());
  dialog.addEventListener('close', () => {
    dialog.remove();
    // The browser gives the focus back, unless what had it was replaced meanwhile.
    if (opener && document.activeElement === document.body) refocus(opener);
  });
  document.body.append(dialog);
  dialog.showModal();
  dialog.querySelector('form input')?.focus();
  return dialog;
}

// Asks; answers whether the answer was yes.
export function confirmed(title, text, yes) {
  return new Promise((resolve) => {
    const cancel = el('button', { type: 'button', autofocus: true }, 'Cancel');
    const go = el('button', { type: 'button', class: 'danger' }, yes);
    const dialog = openDialog(title, el('p', {}, text), el('div', { class: 'buttons' }, cancel, go));
    let answer = false;
    cancel.addEventListener('click', () => dialog.close());
    go.addEventListener('click', () => { answer = true; dialog.close(); });
    dialog.addEventListener('close', () => resolve(answer));
  });
}
