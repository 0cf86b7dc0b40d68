// How much is measured, and how a figure is shown beside the bar that it is held to.

import { save } from './report.mjs';

// QUICK=1 is for developing: a tenth of everything, once. Its figures mean little and are not kept.
const quick = Number(process.env.QUICK || 0) > 0;
export const rounds = Number(process.env.ROUNDS || (quick ? 1 : 5));
export const scale = (count) => (quick ? Math.ceil(count / 10) : count);

let missed = false;

// Into bench-results.json. A missed bar makes the program fail.
export function keep(section, data) {
  if (quick) return;
  save(section, { rounds, ...data });
  if (missed) process.exitCode = 1;
}

// "1.62 (at least 1.5)", with MISSED where it is; without a bar only the ratio.
export function against(ratio, { least, most } = {}) {
  const shown = ratio.toFixed(2);
  if (least !== undefined) return judged(`${shown} (at least ${least})`, ratio >= least);
  if (most !== undefined) return judged(`${shown} (at most ${most})`, ratio <= most);
  return shown;
}

export function judged(text, good) {
  if (good) return text;
  missed = true;
  return `${text} MISSED`;
}

// The value below which `share` of them are, 0 to 1.
export function percentile(values, share) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];
}
