// Messages of the last 24 hours by hour and status: stacked bars, and the same as a table.

import { get } from './api.js';
import { el, replaceChildren, svg } from './dom.js';
import { atHour, count, words } from './format.js';

// From the bottom of a bar to its top; a group is one colour.
const GROUPS = [
  ['Delivered', 'delivered', ['delivered']],
  ['Sent', 'sent', ['sent']],
  ['Waiting', 'waiting', ['scheduled', 'queued', 'sending']],
  ['Not delivered', 'bad', ['undelivered', 'failed', 'expired']],
  ['Cancelled or unknown', 'other', ['cancelled', 'unknown']],
];
const WIDTH = 720;
const HEIGHT = 180;
const BASE = 152;
const LEFT = 44;

const sum = (counts, statuses) => statuses.reduce((total, status) => total + (counts[status] ?? 0), 0);
const total = (counts) => Object.values(counts).reduce((a, b) => a + b, 0);

// The next number up of 1, 2, 5, 10, 20, ...
function roundUp(number) {
  const power = 10 ** Math.floor(Math.log10(Math.max(number, 1)));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= number);
}

export async function loadChart(parent) {
  const { hours, total: all } = await get('organization/statistics?hours=24');
  const open = parent.querySelector('details')?.open ?? false;
  replaceChildren(parent, ...(total(all) === 0 ? [el('p', { class: 'hint' }, 'No messages in the last 24 hours.')] : [legend(all), bars(hours, all), table(hours, open)]));
  parent.setAttribute('aria-busy', 'false');
}

const legend = (all) => el('ul', { class: 'legend' }, GROUPS.map(([name, kind, statuses]) => el('li', {},
  svg('svg', { class: 'swatch', viewBox: '0 0 12 12', 'aria-hidden': 'true' }, svg('rect', { class: `bar ${kind}`, width: 12, height: 12, rx: 2 })),
  `${name} `, el('strong', {}, sum(all, statuses).toLocaleString()))));

function bars(hours, all) {
  const top = roundUp(Math.max(...hours.map(({ counts }) => total(counts))));
  const step = (WIDTH - LEFT) / hours.length;
  const height = (number) => number / top * (BASE - 12);
  const drawing = svg('svg', { class: 'chart', viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: 'img', 'aria-label': `${count(total(all), 'message')} in the last 24 hours; the table below has the numbers` });
  for (const level of [0, top / 2, top]) {
    if (!Number.isInteger(level)) continue;
    drawing.append(svg('line', { class: 'grid', x1: LEFT, x2: WIDTH, y1: BASE - height(level), y2: BASE - height(level) }),
      svg('text', { class: 'axis', x: LEFT - 8, y: BASE - height(level) + 4, 'text-anchor': 'end' }, level.toLocaleString()));
  }
  hours.forEach(({ from, counts }, n) => {
    const x = LEFT + n * step;
    let y = BASE;
    const bar = svg('g', {}, svg('title', {}, `${atHour(from)}: ${described(counts)}`));
    for (const [, kind, statuses] of GROUPS) {
      const high = height(sum(counts, statuses));
      y -= high;
      if (high > 0) bar.append(svg('rect', { class: `bar ${kind}`, x: x + 3, y, width: step - 6, height: high }));
    }
    drawing.append(bar);
    if (n % 6 === 0 || n === hours.length - 1) {
      drawing.append(svg('text', { class: 'axis', x: x + step / 2, y: HEIGHT - 10, 'text-anchor': n === hours.length - 1 ? 'end' : 'middle' }, atHour(from)));
    }
  });
  return drawing;
}

const described = (counts) => Object.entries(counts).map(([status, number]) => `${number.toLocaleString()} ${words(status).toLowerCase()}`).join(', ') || 'none';

function table(hours, open) {
  return el('details', { open }, el('summary', { 'data-focus': 'chart-table' }, 'Show as a table'),
    el('div', { class: 'scroll', tabindex: '0', role: 'group', 'aria-label': 'Messages by hour' }, el('table', { class: 'numbers' },
      el('thead', {}, el('tr', {}, ['Hour', ...GROUPS.map(([name]) => name)].map((title) => el('th', { scope: 'col' }, title)))),
      el('tbody', {}, [...hours].reverse().map(({ from, counts }) => el('tr', {}, el('th', { scope: 'row' }, el('time', { datetime: from }, atHour(from))),
        GROUPS.map(([, , statuses]) => el('td', {}, sum(counts, statuses).toLocaleString()))))))));
}
