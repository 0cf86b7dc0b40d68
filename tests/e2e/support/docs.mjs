// What the documentation shows, for tests that do it.

import { readFileSync } from 'node:fs';
import { TOP } from '../../../scripts/run.mjs';

// The text below a heading, up to the next one of its level.
export function section(file, heading) {
  const [, level, rest] = new RegExp(`^(#+) ${heading}$([^]*)`, 'm').exec(readFileSync(`${TOP}/${file}`, 'utf8'));
  return rest.split(new RegExp(`^#{1,${level.length}} `, 'm'))[0];
}

// Its fenced blocks in that language.
export function fenced(text, language) {
  return [...text.matchAll(new RegExp(`^\`\`\`${language}\n([^]*?)^\`\`\``, 'gm'))].map(([, block]) => block);
}

// Its indented blocks.
export function indented(text) {
  return [...text.matchAll(/(?<=\n\n)(?: {4}.*\n)+/g)].map(([block]) => block.replaceAll(/^ {4}/gm, ''));
}

// What it sets for byocd: { BYOC_...: value }.
export function settings(text) {
  return Object.fromEntries([...text.matchAll(/\b(BYOC_\w+)=([^\s`]+)/g)].map(([, name, value]) => [name, value]));
}
