// Much of everything: long names and texts in all scripts, and 200 accounts.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { until } from '../../scripts/run.mjs';
import { Browser, assertAccessible, assertLooksRight } from './support/browser.mjs';
import { Pages } from './support/pages.mjs';

const NAMES = [
  'W'.repeat(200), 'Zahnärzte am Markt, Empfang und Terminvergabe, zweite Etage, gleich neben der Apotheke am Brunnen', 'عيادة الأسنان', '歯科医院 受付',
  'Ζωή — Łódź — Škoda', 'e\u0301'.repeat(60), '👩‍👩‍👧‍👦 🦷 💍', '<script>alert(1)</script>', 'a\u202egnp.exe',
];
const TEXTS = ['x'.repeat(1600), `${'line\n'.repeat(40)}end`, '忘年会 '.repeat(100), 'مرحبا '.repeat(60), '🔥'.repeat(200), '<img src=x onerror=alert(1)>'];
const USER = { sub: 'a.very.long.name.of.somebody@department.subsidiary.corporation.example.org' };
const stack = new Pages('browser-crowd');
const browser = new Browser();
const crowd = {};
let many;

const add = (organization, name, number) => stack.db.value('SELECT byoc.add_credential($1, $2, $3, $4)', ['twilio', {
  account_sid: `AC${String(number).padStart(32, '0')}`, auth_token: '0'.repeat(32), phone_number: `+1555${String(number).padStart(7, '0')}`,
}, name, organization.id]);

after(async () => { await browser.stop(); await stack.end(); });
before(async () => {
  await stack.start();
  await browser.start();
  crowd.id = await stack.db.value('SELECT byoc.create_organization($1)', [`Łukasz & Söhne 歯科 🦷 ${'and many more names '.repeat(6)}${'x'.repeat(60)}`]);
  many = await stack.organization(1);
});

test('long and strange names stay where they belong', async () => {
  for (const [n, name] of NAMES.entries()) await add(crowd, name, 100 + n);
  const window = await browser.window();
  const page = await window.open(stack.address('settings', crowd, USER));
  await until('all to be refused', async () => (await page.locator('[data-status=failed]').count()) === NAMES.length);
  for (const name of NAMES) assert.equal(await page.getByRole('article', { name, exact: true }).count(), 1, name);
  await assertLooksRight(page, 'crowd-names');
  await page.getByRole('button', { name: `Revoke: ${NAMES[0]}` }).click();
  await assertLooksRight(page, 'crowd-revoke');
  await page.keyboard.press('Escape');
  await page.getByRole('button', { name: `Rename: ${NAMES[2]}` }).click();
  await assertLooksRight(page, 'crowd-rename');
  window.assertClean(stack.origin);
  await window.close();
});

test('long texts in all scripts stay where they belong', async () => {
  for (const text of TEXTS) await stack.send(many, '+15551000001', text);
  await until('all to be sent', async () => (await stack.count("status = 'delivered'")) === TEXTS.length);
  const window = await browser.window();
  const page = await window.open(stack.address('messages', many, USER));
  await until('all rows', async () => (await page.locator('[data-message]').count()) === TEXTS.length);
  await assertLooksRight(page, 'crowd-messages');
  await page.locator('[data-message]', { hasText: 'xxxx' }).getByRole('button').click();
  await page.getByRole('dialog').getByText('Delivered').first().waitFor();
  await assertLooksRight(page, 'crowd-message');
  window.assertClean(stack.origin);
  await window.close();
});

test('200 accounts are all there, and can be used', async () => {
  for (let n = 2; n <= 200; ++n) await add(many, `Branch ${n}`, 200 + n);
  const window = await browser.window();
  const page = await window.open(stack.address('settings', many));
  const cards = page.locator('[data-credential]');
  await until('all cards', async () => (await cards.count()) === 200);
  await until('all but one to be refused', async () => (await page.locator('[data-status=failed]').count()) === 199);
  assert.equal(await page.locator('[data-status=verified]').count(), 1);
  await page.getByRole('button', { name: 'Rename: Branch 2', exact: true }).click();
  await page.getByRole('dialog').getByLabel('Name').fill('Headquarters');
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { name: 'Headquarters' }).waitFor();
  await assertAccessible(page);
  window.assertClean(stack.origin);
  await window.close();
});
