// Makes and fills elements. Text is only ever set as text.

const SVG = 'http://www.w3.org/2000/svg';

function fill(element, properties, children) {
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? '' : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

// An element with attributes (`onclick` and the like: listeners) and children; what is null or false is left out.
export const el = (tag, properties, ...children) => fill(document.createElement(tag), properties, children);
export const svg = (tag, properties, ...children) => fill(document.createElementNS(SVG, tag), properties, children);

export const byId = (id) => document.getElementById(id);

let ids = 0;
export const newId = (prefix) => `${prefix}-${++ids}`;

// Replaces the children, and keeps the focus on what has the same `data-focus` as before.
export function replaceChildren(parent, ...children) {
  const focused = parent.contains(document.activeElement) ? document.activeElement.dataset.focus : undefined;
  parent.replaceChildren(...children);
  if (focused) refocus(focused);
}

// Puts the focus on what has this `data-focus`, else on the page's content.
export function refocus(key) {
  (document.querySelector(`[data-focus="${CSS.escape(key)}"]`) ?? byId('main')).focus();
}
