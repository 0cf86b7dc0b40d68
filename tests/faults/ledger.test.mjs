// The judge is judged: the ledger finds what a campaign must never find, and nothing else.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Ledger } from './ledger.mjs';

const where = { org_id: 'one', to_number: '+15551000001' };
const sid = (number) => `SM${String(number).padStart(32, '0')}`;
const message = (body, status, number) => ({ ...where, id: `${body} ${status} ${number}`, body, status, provider_sid: number ? sid(number) : null });
const accepted = (body, number) => ({ ...where, body, sid: sid(number) });

// The problems of these books, as 'what' or 'what xTIMES'.
function problems(messages, log, leads = []) {
  return new Ledger(messages, leads, log).problems.map(({ what, times = 1 }) => (times === 1 ? what : `${what} x${times}`));
}

test('books that agree have no problem', () => {
  const messages = [
    message('a', 'sent', 1), message('b', 'delivered', 2), message('c', 'failed'), message('d', 'cancelled'), message('e', 'expired'),
    message('f', 'unknown'), message('g', 'unknown'),
  ];
  const ledger = new Ledger(messages, [{ ...where, body: 'a' }], [accepted('a', 1), accepted('b', 2), accepted('g', 3)]);
  assert.deepEqual(ledger.problems, []);
  assert.equal(ledger.unknownAccepted, 1);
  assert.equal(ledger.count('sent', 'delivered'), 2);
});

test('what is lost is found', () => {
  assert.deepEqual(problems([message('a', 'sent', 1)], []), ['lost', 'SID that the provider does not know']);
  assert.deepEqual(problems([message('a', 'sending')], []), ['not final']);
  assert.deepEqual(problems([], [], [{ ...where, body: 'a' }]), ['inserted, but no message']);
});

test('what is sent twice, or never should have been, is found', () => {
  assert.deepEqual(problems([message('a', 'sent', 1)], [accepted('a', 1), accepted('a', 2), accepted('a', 3)]), ['sent twice x2']);
  assert.deepEqual(problems([message('a', 'unknown')], [accepted('a', 1), accepted('a', 2)]), ['sent twice']);
  assert.deepEqual(problems([message('a', 'expired')], [accepted('a', 1)]), ['accepted, but the database says no']);
  assert.deepEqual(problems([], [accepted('a', 1)]), ['accepted, but not in the database']);
});

test('identical messages are counted together', () => {
  const two = [message('a', 'sent', 1), message('a', 'unknown')];
  assert.deepEqual(problems(two, [accepted('a', 1)]), []);
  assert.deepEqual(problems(two, [accepted('a', 1), accepted('a', 2)]), []);
  assert.deepEqual(problems(two, [accepted('a', 1), accepted('a', 2), accepted('a', 3)]), ['sent twice']);
  assert.deepEqual(problems([message('a', 'sent', 1), message('a', 'failed')], [accepted('a', 1), accepted('a', 2)]), ['sent twice']);
  assert.deepEqual(problems([message('a', 'sent', 1), message('a', 'sent', 1)], [accepted('a', 1), accepted('a', 2)]), ['SID of two messages']);
});

test('a SID must be that of the message itself', () => {
  assert.deepEqual(problems([message('a', 'sent', 2), message('b', 'sent', 1)], [accepted('a', 1), accepted('b', 2)]),
    ['SID that the provider does not know', 'SID that the provider does not know']);
});

test('an unknown message needs a reason', async () => {
  const events = [{ message_id: 'b unknown undefined', event: 'unknown', error_code: 'timeout' }];
  const arena = { steadily: (work) => work({ rows: async (sql) => (sql.includes('GROUP BY') ? [{ event: 'unknown', count: 2 }] : events) }) };
  const ledger = new Ledger([message('a', 'unknown'), message('b', 'unknown')], [], []);
  await ledger.readHistory(arena, '');
  assert.deepEqual(ledger.problems.map(({ what, messages }) => [what, messages[0].body]), [['unknown without a reason', 'a']]);
  assert.match(ledger.report, /unknown without a reason: 1/);
});
