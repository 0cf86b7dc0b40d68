// The scripts by which ALTER EXTENSION goes from the last released version to this one and back: what follows from comparing the two
// versions' scripts, after what somebody wrote by hand (changes of tables, and of data).
//
//   node scripts/upgrade-scripts.mjs     writes both; what it cannot derive it says

import { existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { TOP } from './run.mjs';
import { describe, statementsOf } from './sql_statements.mjs';

const BY_HAND = '-- By hand: what cannot be derived, such as changes of tables. Nothing that is named here is derived below.';
const DERIVED = '-- Derived by `make upgrade-scripts`: change the files in sql/ instead.';

export const VERSION = /^default_version *= *'(.*)'/m.exec(readFileSync(`${TOP}/extension/pg_byoc.control`, 'utf8'))[1];
// Every released version, the oldest first.
export const RELEASES = readdirSync(`${TOP}/sql/releases`).map((file) => /^pg_byoc--(.*)\.sql$/.exec(file)[1])
  .sort((a, b) => a.localeCompare(b, 'en', { numeric: true }));

const installScript = (version) => `${TOP}/${version === VERSION ? 'build' : 'sql/releases'}/pg_byoc--${version}.sql`;
const pathOf = (from, to) => `${TOP}/sql/pg_byoc--${from}--${to}.sql`;

// How an object that exists is made to be as another statement wants it; a kind that is not here needs somebody's thought.
const REPLACE = {
  FUNCTION: ({ text }) => text.replace(/^CREATE/, 'CREATE OR REPLACE'),
  VIEW: ({ text }) => text.replace(/^CREATE/, 'CREATE OR REPLACE'),
  TRIGGER: ({ text }) => text.replace(/^CREATE/, 'CREATE OR REPLACE'),
  INDEX: (statement) => `${drop(statement)}\n${statement.text}`,
  POLICY: (statement) => `${drop(statement)}\n${statement.text}`,
  COMMENT: ({ text }) => text,
  INSERT: ({ name, text }) => `DELETE FROM ${name};\n${text}`, // rows that are shipped
};
const DROPPED = ['FUNCTION', 'VIEW', 'TRIGGER', 'POLICY', 'INDEX', 'TABLE', 'DOMAIN', 'TYPE'];

function drop({ kind, name }) { return `DROP ${kind} ${name};`; }

// The statements that lead from one script to another, and a sentence for each thing that somebody has to write. `byHand`: what is written.
export function derive(from, to, byHand) {
  const before = index(from);
  const after = index(to);
  for (const { text } of byHand) {
    const [, object] = /^DROP (\w+ [^;]*);/.exec(text) ?? [];
    for (const [key, statement] of before) if (object && concerns(statement, object)) before.delete(key);
  }
  const isReplaced = (key) => before.has(key) && before.get(key).text !== after.get(key)?.text;
  const written = new Set(byHand.map(({ text, kind, name }) => /^ALTER (\w+ \S+)/.exec(text)?.[1] ?? `${kind} ${name}`));

  const statements = [];
  const missing = [];
  for (const [key, statement] of after) {
    const old = before.get(key);
    const replace = REPLACE[statement.kind];
    if (statement.kind === 'DO') statements.push(statement.text); // does no harm when it is done again
    else if (written.has(key)) continue;
    else if (!old) statements.push(statement.text);
    else if (statement.kind === 'ENABLE' && isReplaced(`TRIGGER ${statement.name}`)) statements.push(statement.text); // which made it ordinary
    else if (old.text === statement.text) continue;
    else if (replace) statements.push(replace(statement));
    else missing.push(`${key} changed`);
  }
  const gone = [...before].filter(([key]) => !after.has(key) && !written.has(key));
  const dropped = gone.filter(([, { kind }]) => DROPPED.includes(kind)).reverse();
  for (const [key, statement] of gone) {
    if (!dropped.some(([object]) => concerns(statement, object))) missing.push(`${key.split('\n')[0]} is gone`);
  }
  return { statements: [...statements, ...dropped.map(([, statement]) => drop(statement))], missing };
}

function index(script) {
  return new Map(statementsOf(script).map(describe).map((statement) => [`${statement.kind} ${statement.name}`, statement]));
}

// Whether a statement makes the object (its kind and name), or something that goes with it, such as a comment.
function concerns({ kind, name }, object) {
  const bare = object.slice(object.indexOf(' ') + 1).replace(/[^\w ]/g, '\\$&');
  return `${kind} ${name}` === object || new RegExp(`(^|[^\\w.])${bare}(?!\\w)`).test(name);
}

// One script's text, and what is to be written by hand.
export function upgradeScript(from, to, existing = '') {
  const byHand = existing.slice(existing.indexOf(BY_HAND) + BY_HAND.length, existing.indexOf(DERIVED)).trim();
  const target = readFileSync(installScript(to), 'utf8');
  const { statements, missing } = derive(readFileSync(installScript(from), 'utf8'), target, statementsOf(byHand).map(describe));
  const text = [
    `\\echo Use "ALTER EXTENSION pg_byoc UPDATE TO '${to}'" to load this file. \\quit`,
    statementsOf(target)[0], // notes what exists
    `${BY_HAND}${byHand && `\n\n${byHand}`}`, DERIVED, ...statements,
  ].join('\n\n');
  return { text: `${text}\n`, missing };
}

// Both scripts, as they should be: [{ path, text, missing }].
export function upgradeScripts() {
  const last = RELEASES.filter((version) => version !== VERSION).at(-1);
  return [[last, VERSION], [VERSION, last]].map(([from, to]) => {
    const path = pathOf(from, to);
    return { path, ...upgradeScript(from, to, existsSync(path) ? readFileSync(path, 'utf8') : undefined) };
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const { path, text, missing } of upgradeScripts()) {
    writeFileSync(path, text);
    for (const sentence of missing) console.log(`${path}: ${sentence}; is that done by hand, above the derived part?`);
  }
}
