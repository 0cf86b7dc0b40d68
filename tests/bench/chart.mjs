// Draws doc/bench.svg from bench-results.json: bars for pg_byoc and its peers, as readable on a light page as on a dark one.
//
//   node tests/bench/chart.mjs

import { readFileSync, writeFileSync } from 'node:fs';
import { TOP } from '../../scripts/run.mjs';

const results = JSON.parse(readFileSync(`${TOP}/bench-results.json`, 'utf8'));
const WIDTH = 760;
const LABEL = 210; // where bars begin
const LONGEST = 420; // the longest bar
const BAR = 16;
const STEP = 22;

// A panel: rows are [name, value], the largest value is the longest bar.
const panels = [
  ...results.dispatch.results.map(({ title, rows }) => ({
    title: `Messages a second: ${title}`, digits: 0, rows: rows.map((row) => [row.system, row.perSecond]),
  })),
  {
    title: 'CPU of worker and PostgreSQL, s per 1,000 messages (less is better)', digits: 3,
    rows: results.dispatch.results[0].rows.map((row) => [row.system, row.cpu]),
  },
  {
    title: 'Idle: commit to arrival at the provider, ms, median (less is better)', digits: 2,
    rows: results.latency.results.map((row) => [row.system, row.p50]),
  },
  {
    title: 'INSERT with a trigger that queues, rows a second, 8 clients', digits: 0,
    rows: results.enqueue.single.filter((row) => row.clients === 8).map((row) => [row.system, row.perSecond]),
  },
];

const xml = (text) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
const number = (value, digits) => value.toLocaleString('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits });

let y = 0;
const lines = [];
for (const { title, digits, rows } of panels) {
  y += 34;
  lines.push(`<text class="title" x="0" y="${y}">${xml(title)}</text>`);
  const largest = Math.max(...rows.map(([, value]) => value));
  for (const [name, value] of rows) {
    const length = Math.max(1, Math.round(value / largest * LONGEST));
    y += STEP;
    lines.push(`<text class="name" x="${LABEL - 8}" y="${y}">${xml(name)}</text>`);
    lines.push(`<rect class="${name.startsWith('pg_byoc') ? 'ours' : 'other'}" x="${LABEL}" y="${y - BAR + 4}" width="${length}" height="${BAR}" rx="2"/>`);
    lines.push(`<text x="${LABEL + length + 8}" y="${y}">${number(value, digits)}</text>`);
  }
}
const { rounds, at } = results.dispatch;
lines.push(`<text x="0" y="${y += 34}">Medians of ${rounds} rounds, ${at.slice(0, 10)}. Everything on one machine; fsync on.</text>`);

writeFileSync(`${TOP}/doc/bench.svg`, `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${y + 12}" viewBox="0 0 ${WIDTH} ${y + 12}"
     role="img" aria-label="pg_byoc beside graphile-worker and pg-boss">
<style>
  text { font: 13px system-ui, sans-serif; fill: #1f2328; }
  .title { font-weight: 600; }
  .name { text-anchor: end; }
  .ours { fill: #1a7f64; }
  .other { fill: #8c959f; }
  @media (prefers-color-scheme: dark) { text { fill: #e6edf3; } .ours { fill: #3fb68b; } .other { fill: #6e7681; } }
</style>
${lines.join('\n')}
</svg>
`);
console.log('\ndrawn: doc/bench.svg');
