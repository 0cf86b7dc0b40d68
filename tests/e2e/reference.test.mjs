// doc/reference.md is what the catalog says, and the catalog says something about everything.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { REFERENCE, reference } from '../../scripts/reference.mjs';
import { Cluster, Run } from './stack.mjs';

let db;
let cluster;

before(async () => {
  cluster = new Cluster(new Run(`e2e-reference-${process.pid}`));
  db = await cluster.connect();
});
after(() => cluster?.disconnect());

test('everything that others than the extension use has a comment, views and tables one for each column', async () => {
  assert.deepEqual((await reference(db)).uncommented, []);
});

test('doc/reference.md is up to date: make reference writes it', async () => {
  const { text } = await reference(db);
  assert.equal(readFileSync(REFERENCE, 'utf8'), text);
});
