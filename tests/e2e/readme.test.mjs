// README's tour works when pasted into psql.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { TOP } from '../../scripts/run.mjs';
import { Stack } from './stack.mjs';

const stack = new Stack('readme');
let a;

after(() => stack.end());
before(async () => {
  await stack.start();
  a = await stack.organization(1);
});

test('the five-minute tour', () => {
  const [, tour] = /## Five minutes in SQL[^]*?```sql\n([^]*?)```/.exec(readFileSync(`${TOP}/README.md`, 'utf8'));
  const { stdout, stderr } = spawnSync('psql', ['-X', '-a'], {
    input: tour, encoding: 'utf8', env: { ...process.env, ...stack.cluster.environment('e2e'), DEMO_ORG_A: a.id },
  });
  // Exactly the three errors that the tour announces.
  assert.deepEqual(stderr.match(/ERROR: .*/g), [
    'ERROR:  body template: table appointments has no column "first_name"',
    'ERROR:  account_sid must be AC followed by 32 hexadecimal digits',
    'ERROR:  could not encrypt or decrypt: the envelope does not belong here or was altered',
  ]);
  for (const expected of ['"auth_token": "••••', 'Hi Zoë, see you on', 'to_number is empty', 'allergic to penicillin']) {
    assert.ok(stdout.includes(expected), `${expected}\n${stdout}`);
  }
});
