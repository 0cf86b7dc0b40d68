// Messages of the last 24 hours by hour and status: stacked bars, and the same as a table.

import { get } from './api.js';
import { el, replaceChildren, svg } from './dom.js';
import { atHour, count, words } from './format.js';

// From the bottom of a bar to its top; a group has one colour.
const GROUPS = [
  ['Delivered', 'delivered', ['delivered']],
  ['Sent', 'sent', ['sent']],
  ['Waiting', 'waiting', ['scheduled', 'queued', 'sending']],
  ['Not delivered', 'bad', ['undelivered', 'failed', 'expired']],
  ['Cancelled or unknown', 'other', ['cancelled', 'unknown']],
];
// In pixels.
const HEIGHT = 180;
const BASE = 152;
const TOP = 12;
const LEFT = 44;
const NARROWEST = 240;
const LABEL = 64;

const sum = (counts, statuses) => statuses.reduce((total, status) => total + (counts[status] ?? 0), 0);
const total = (counts) => sum(counts, Object.keys(counts));

// The next of 1, 2, 5, 10, 20, ...
function roundUp(number) {
  const power = 10 ** Math.floor(Math.log10(Math.max(number, 1)));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= number);
}

export class Chart {
  #parent;
  #statistics = null;
  #width = 0;

  constructor(parent) {
    this.#parent = parent;
    new ResizeObserver(() => { if (this.#statistics && this.#parent.clientWidth !== this.#width) this.#show(); }).observe(parent);
  }

  async load() {
    this.#statistics = await get('organization/statistics?hours=24');
    this.#show();
  }

  #show() {
    const { hours, total: all } = this.#statistics;
    const open = this.#parent.querySelector('details')?.open;
    this.#width = this.#parent.clientWidth;
    replaceChildren(this.#parent, ...(total(all) === 0
      ? [el('p', { class: 'hint' }, 'No messages in the last 24 hours.')]
      : [legend(all), bars(hours, all, Math.max(this.#width, NARROWEST)), table(hours, open)]));
    this.#parent.setAttribute('aria-busy', 'false');
  }
}

const legend = (all) => el('ul', { class: 'legend' }, GROUPS.map(([name, kind, statuses]) => el('li', {},
  svg('svg', { class: 'swatch', viewBox: '0 0 12 12', 'aria-hidden': 'true' }, svg('rect', { class: `bar ${kind}`, width: 12, height: 12, rx: 2 })),
  `${name} `, el('strong', {}, sum(all, statuses).toLocaleString()))));

function bars(hours, all, width) {
  const top = roundUp(Math.max(...hours.map(({ counts }) => total(counts))));
  const step = (width - LEFT) / hours.length;
  const high = (number) => number / top * (BASE - TOP);
  const every = Math.ceil(LABEL / step);
  const name = `${count(total(all), 'message')} in the last 24 hours; the table has the numbers`;
  return svg('svg', { class: 'chart', viewBox: `0 0 ${width} ${HEIGHT}`, role: 'img', 'aria-label': name },
    [0, top / 2, top].filter(Number.isInteger).flatMap((level) => gridline(level, BASE - high(level), width)),
    hours.map(({ from, counts }, n) => bar(from, counts, LEFT + n * step, step, high)),
    // Counted from the present hour.
    hours.map(({ from }, n) => (hours.length - 1 - n) % every === 0 && label(from, LEFT + (n + 0.5) * step, n === hours.length - 1 && width)));
}

// In the middle of its bar; `end`: as far right as it can be.
const label = (from, x, end) => svg('text', { class: 'axis', x: end || x, y: HEIGHT - 10, 'text-anchor': end ? 'end' : 'middle' }, atHour(from));

const gridline = (level, y, width) => [svg('line', { class: 'grid', x1: LEFT, x2: width, y1: y, y2: y }),
  svg('text', { class: 'axis', x: LEFT - 8, y: y + 4, 'text-anchor': 'end' }, level.toLocaleString())];

function bar(from, counts, x, step, high) {
  let y = BASE;
  const parts = GROUPS.map(([, kind, statuses]) => {
    const height = high(sum(counts, statuses));
    y -= height;
    return height > 0 && svg('rect', { class: `bar ${kind}`, x: x + step * 0.1, y, width: step * 0.8, height });
  });
  const numbers = Object.entries(counts).map(([status, number]) => `${number.toLocaleString()} ${words(status).toLowerCase()}`);
  return svg('g', {}, svg('title', {}, `${atHour(from)}: ${numbers.join(', ') || 'none'}`), parts);
}

const table = (hours, open) => el('details', { open }, el('summary', { 'data-focus': 'chart-table' }, 'Show as a table'),
  el('div', { class: 'scroll', tabindex: 0, role: 'group', 'aria-label': 'Messages by hour' }, el('table', { class: 'numbers' },
    el('thead', {}, el('tr', {}, ['Hour', ...GROUPS.map(([name]) => name)].map((title) => el('th', { scope: 'col' }, title)))),
    el('tbody', {}, hours.map(({ from, counts }) => el('tr', {}, el('th', { scope: 'row' }, el('time', { datetime: from }, atHour(from))),
      GROUPS.map(([, , statuses]) => el('td', {}, sum(counts, statuses).toLocaleString())))).reverse()))));
