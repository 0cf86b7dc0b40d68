// How benchmarks show and keep their results.

import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { TOP } from '../../scripts/run.mjs';

const RESULTS = `${TOP}/bench-results.json`;

// Prints an aligned table: `columns` are headings, `rows` arrays of cells. Numbers stand right, text left.
export function report(title, columns, rows) {
  const numeric = columns.map((_, at) => rows.every((row) => row[at] === '' || typeof row[at] === 'number'));
  const cells = [columns, ...rows].map((row) => row.map(String));
  const widths = columns.map((_, at) => Math.max(...cells.map((row) => row[at].length)));
  console.log(`\n${title}`);
  for (const row of cells) {
    console.log(`  ${row.map((cell, at) => (numeric[at] ? cell.padStart(widths[at]) : cell.padEnd(widths[at]))).join('  ').trimEnd()}`);
  }
}

// Keeps `data` as section `section` of bench-results.json, beside what other benchmarks left there.
export function save(section, data) {
  const results = existsSync(RESULTS) ? JSON.parse(readFileSync(RESULTS, 'utf8')) : {};
  results[section] = { at: new Date().toISOString(), ...data };
  writeFileSync(RESULTS, `${JSON.stringify(results, null, 2)}\n`);
}

// The middle of the values, or the mean of the two that share it.
export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const half = sorted.length / 2;
  return Number.isInteger(half) ? (sorted[half - 1] + sorted[half]) / 2 : sorted[Math.floor(half)];
}
