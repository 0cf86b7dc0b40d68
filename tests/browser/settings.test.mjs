// /dashboard/settings as a person uses it, in real Chromium.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { until } from '../../scripts/run.mjs';
import { Browser, assertAccessible, assertLooksRight, assertNowhere } from './support/browser.mjs';
import { Pages } from './support/pages.mjs';

const stack = new Pages('browser-settings');
const browser = new Browser();
let a; // has a credential
let b; // has none

after(async () => { await browser.stop(); await stack.end(); });
before(async () => {
  await stack.start();
  await browser.start();
  a = await stack.organization(1);
  b = { id: await stack.db.value('SELECT byoc.create_organization($1)', ['Organization B']) };
});

const address = (organization, claims) => stack.address('settings', organization, claims);
const cards = (page) => page.locator('[data-credential]');
const button = (page, name) => page.getByRole('button', { name });

test('a newcomer adds a credential, sees it verified, sends a test SMS, and revokes it', async () => {
  const account = { sid: `AC${'0'.repeat(30)}77`, authToken: `${'0'.repeat(28)}ab77`, number: '+15550000077' };
  await stack.simulator.addAccount(account, 'Account 77');
  const window = await browser.window();
  const page = await window.open(address(b));
  await page.getByRole('heading', { name: 'No account yet' }).waitFor();
  assert.equal(page.url(), `${stack.origin}/dashboard/settings`, 'the token has left the address');
  await assertLooksRight(page, 'settings-empty');

  await button(page, 'Add Twilio account').click();
  const dialog = page.getByRole('dialog');
  await assertLooksRight(page, 'settings-form');
  await dialog.getByLabel('Account SID').fill('AC123');
  await button(dialog, 'Add and verify').click();
  await dialog.getByText('It must be AC followed by 32 hexadecimal digits.').waitFor();
  await dialog.getByText('Auth token is missing.').waitFor();
  assert.equal(await dialog.getByLabel('Account SID').evaluate((input) => input === document.activeElement), true);
  await assertLooksRight(page, 'settings-form-wrong');

  await dialog.getByLabel('Name').fill('Reception');
  await dialog.getByLabel('Account SID').fill(account.sid);
  await dialog.getByLabel('Auth token', { exact: true }).last().fill(account.authToken);
  await dialog.getByLabel('Phone number', { exact: true }).last().fill(account.number);
  await button(dialog, 'Add and verify').click();
  await dialog.waitFor({ state: 'detached' });
  await cards(page).locator('[data-status=verified]').waitFor();
  await page.getByText('Reception is verified.').waitFor();
  await assertNowhere(page, account.authToken);
  await assertLooksRight(page, 'settings-verified');

  await button(page, 'Send test SMS: Reception').click();
  await dialog.getByLabel('Your phone number').fill('+15551000042');
  await button(dialog, /^Send$/).click();
  await dialog.locator('[data-status=delivered]').waitFor();
  assert.equal((await stack.simulator.messages()).filter(({ to }) => to === '+15551000042').length, 1);
  await assertLooksRight(page, 'settings-test-sms');
  await page.keyboard.press('Escape');

  await button(page, 'Audit trail: Reception').click();
  await dialog.getByText('Added', { exact: true }).waitFor();
  await dialog.getByText('By ada, owner · Type: Twilio · Fields: Auth token, Account SID, Phone number').waitFor();
  await assertLooksRight(page, 'settings-audit');
  await page.keyboard.press('Escape');

  await button(page, 'Revoke: Reception').click();
  await button(dialog, 'Cancel').click();
  assert.equal(await cards(page).locator('[data-status=verified]').count(), 1);
  await button(page, 'Revoke: Reception').click();
  await button(dialog, /^Revoke$/).click();
  await page.getByRole('heading', { name: 'No active account' }).waitFor();
  await page.getByText('Revoked (1)').click();
  await cards(page).locator('[data-status=revoked]').waitFor();
  await assertLooksRight(page, 'settings-revoked');
  window.assertClean(stack.origin);
  await window.close();
});

test('rename, default, verification again with its live result, and a second account by API key and Messaging Service', async () => {
  const { sid, authToken, number } = a.account;
  const key = { sid: 'SK00000000000000000000000000000001', secret: '0000000000000000000000000000c0de' };
  const service = 'MG00000000000000000000000000000001';
  const account = (token) => stack.simulator.request('PUT', '/_simulator/accounts', {
    sid, auth_token: token, friendly_name: 'Account 1', numbers: [{ phone_number: number, sms: true }],
    api_keys: [{ ...key, type: 'standard' }], messaging_services: [{ sid: service, numbers: [number] }],
  });
  await account(authToken);
  const window = await browser.window();
  const page = await window.open(address(a));
  const dialog = page.getByRole('dialog');

  await button(page, 'Rename: Twilio').click();
  await dialog.getByLabel('Name').fill('');
  await page.keyboard.press('Enter');
  await dialog.getByText('Name is missing.').waitFor();
  await dialog.getByLabel('Name').fill('Front desk <b>&');
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { name: 'Front desk <b>&' }).waitFor();

  await button(page, 'Add Twilio account').click();
  await dialog.getByLabel('Name').fill('By key');
  await dialog.getByLabel('Account SID').fill(sid);
  await dialog.getByLabel('API key SID and API key secret').check();
  await dialog.getByLabel('API key SID', { exact: true }).fill(key.sid);
  await dialog.getByLabel('API key secret', { exact: true }).fill(key.secret);
  await dialog.getByRole('radio', { name: 'Messaging Service SID' }).check();
  await dialog.getByRole('textbox', { name: 'Messaging Service SID' }).fill(service);
  await assertLooksRight(page, 'settings-form-api-key');
  await page.keyboard.press('Enter');
  await page.getByText('By key is verified.').waitFor();
  await assertNowhere(page, key.secret);
  assert.equal(await page.getByText('Default', { exact: true }).count(), 1);
  await button(page, 'Set as default: By key').click();
  await button(page, 'Set as default: Front desk <b>&').waitFor();

  await account('f'.repeat(32));
  await button(page, 'Verify: Front desk <b>&').click();
  const desk = page.getByRole('article', { name: 'Front desk <b>&' });
  await desk.locator('[data-status=failed]').waitFor();
  await until('the sentence', async () => (await desk.locator('.box.bad').textContent()).length > 20);
  await assertLooksRight(page, 'settings-failed');
  await page.locator('.toast.bad').waitFor({ state: 'detached' });
  await button(page, 'Verify: Front desk <b>&').click();
  await page.locator('.toast.bad', { hasText: 'Front desk' }).waitFor();
  await account(authToken);
  await button(page, 'Verify: Front desk <b>&').click();
  await desk.locator('[data-status=verified]').waitFor();
  assert.equal(await page.locator('.toast.bad').count(), 0, 'what was wrong is over');
  window.assertClean(stack.origin);
  await window.close();
});

test('what the server finds wrong stands at its field, and nothing is lost', async () => {
  const window = await browser.window();
  const page = await window.open(address(a));
  await button(page, 'Add Twilio account').click();
  const dialog = page.getByRole('dialog');
  await page.route('**/api/organization/credentials', (route) => route.fulfill({
    status: 422, contentType: 'application/problem+json',
    body: JSON.stringify({
      type: 'about:blank', title: 'Unprocessable Content', status: 422, detail: 'No.', errors: [{ field: 'fields.account_sid', detail: 'Not this one.' }],
    }),
  }));
  await dialog.getByLabel('Account SID').fill(`AC${'1'.repeat(32)}`);
  await dialog.getByRole('textbox', { name: 'Auth token' }).fill('1'.repeat(32));
  await dialog.getByRole('textbox', { name: 'Phone number' }).fill('+15550000001');
  await button(dialog, 'Add and verify').click();
  await dialog.getByText('Not this one.').waitFor();
  assert.equal(await dialog.getByLabel('Account SID').inputValue(), `AC${'1'.repeat(32)}`);
  await assertAccessible(page);
  await window.close();
});

test('a member sees the accounts and may change nothing', async () => {
  const window = await browser.window();
  const page = await window.open(address(a, { org_role: 'member' }));
  await cards(page).first().waitFor();
  for (const name of [/^Verify/, /^Rename/, /^Revoke/, /^Audit/, /^Add/, /^Set/]) assert.equal(await button(page, name).count(), 0, String(name));
  await assertLooksRight(page, 'settings-member');
  window.assertClean(stack.origin);
  await window.close();
});

test('the keyboard alone is enough, and the focus comes back', async () => {
  const window = await browser.window();
  const page = await window.open(address(a));
  await cards(page).first().waitFor();
  const focused = () => page.evaluate(() => document.activeElement.getAttribute('aria-label') ?? document.activeElement.textContent);
  await page.keyboard.press('Tab');
  assert.equal(await focused(), 'Skip to content');
  for (let presses = 0; presses < 30 && !(await focused()).startsWith('Rename'); ++presses) await page.keyboard.press('Tab');
  const opener = await focused();
  assert.match(opener, /^Rename/);
  await page.keyboard.press('Enter');
  assert.equal(await page.getByRole('dialog').getByLabel('Name').evaluate((input) => input === document.activeElement), true);
  await page.keyboard.press('Escape');
  await until('the focus to come back', async () => (await focused()) === opener);
  await window.close();
});
