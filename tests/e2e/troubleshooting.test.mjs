// doc/troubleshooting.md quotes what the code says, and its statements are ones that the database understands.

import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { TOP } from '../../scripts/run.mjs';
import { Cluster, Run } from './stack.mjs';
import { fenced } from './support/docs.mjs';

const page = readFileSync(`${TOP}/doc/troubleshooting.md`, 'utf8');
let cluster;
let db;

before(async () => {
  cluster = new Cluster(new Run(`e2e-troubleshooting-${process.pid}`));
  db = await cluster.connect();
  await db.query('CREATE EXTENSION pg_byoc; CREATE ROLE byocd');
});
after(() => cluster?.disconnect());

// All texts in the sources, those that a line break divides in one piece.
function sources() {
  const files = ['extension', 'sidecar', 'sql'].flatMap((folder) => readdirSync(`${TOP}/${folder}`, { recursive: true })
    .filter((name) => /\.(cpp|h|sql)$/.test(name)).map((name) => `${TOP}/${folder}/${name}`));
  return files.map((file) => readFileSync(file, 'utf8')).join('\n')
    .replace(/"\s*\n\s*"/g, '').replaceAll('\\"', '"').replaceAll("''", "'");
}

test('what it quotes is said by the code, but for what differs', () => {
  const quotes = [...page.matchAll(/^> (.*)$/gm), ...page.matchAll(/`([A-Za-z][\w.,:"']*(?: [\w.,:"'-]+){3,})`/g)].map(([, text]) => text)
    .filter((text) => !/^(?:[A-Z]+ |byocd )/.test(text));
  assert.ok(quotes.length > 40, `${quotes.length} quotes`);
  const code = sources();
  const made = quotes.flatMap((text) => text.split(/…|: /)).map((piece) => piece.trim()).filter((piece) => piece.length > 3 && !code.includes(piece));
  assert.deepEqual(made, []);
});

test('its statements are understood', async () => {
  const statements = fenced(page, 'sql').flatMap((block) => block.replace(/--.*$/gm, '').split(';')).map((text) => text.trim()).filter(Boolean);
  assert.ok(statements.length > 15, `${statements.length} statements`);
  for (const statement of statements) {
    await assert.doesNotReject(db.query(`PREPARE one AS ${statement}; DEALLOCATE one`), statement);
  }
});
