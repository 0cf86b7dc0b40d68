// Other values for a credential that is there already, such as a token that was rotated.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { until } from '../../scripts/run.mjs';
import { Browser, assertAccessible, assertLooksRight, assertNowhere } from './support/browser.mjs';
import { Pages } from './support/pages.mjs';

const KEY = { sid: `SK${'0'.repeat(31)}1`, secret: `${'0'.repeat(28)}c0de` };
const ROTATED = `${'0'.repeat(28)}beef`;
const stack = new Pages('browser-change');
const browser = new Browser();
let a;

after(async () => { await browser.stop(); await stack.end(); });
before(async () => {
  await stack.start();
  await browser.start();
  a = await stack.organization(1);
});

const card = (page) => page.locator(`[data-credential="${a.credential}"]`);
const status = (page, name) => card(page).locator(`[data-status=${name}]`);
const stored = async () => (await stack.db.rows('SELECT fields FROM byoc.decrypted_credentials WHERE id = $1', [a.credential]))[0].fields;
const account = (authToken) => stack.simulator.request('PUT', '/_simulator/accounts', {
  sid: a.account.sid, auth_token: authToken, friendly_name: 'Account 1', numbers: [{ phone_number: a.account.number, sms: true }], api_keys: [{ ...KEY, type: 'main' }],
});

// The form, in a page of an owner's.
async function openForm(page) {
  await page.getByRole('button', { name: 'Change: Twilio' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByLabel('Account SID').waitFor();
  return dialog;
}
const save = (dialog) => dialog.getByRole('button', { name: 'Save and verify' }).click();

test('a rotated token: it fails, is changed, is verified again, and what waited goes out', async () => {
  const window = await browser.window();
  const page = await window.open(stack.address('settings', a));
  await status(page, 'verified').waitFor();
  await account(ROTATED);
  await page.getByRole('button', { name: 'Verify: Twilio' }).click();
  await status(page, 'failed').waitFor();
  const waiting = await stack.send(a, '+15551000001', 'until the token is right');

  const dialog = await openForm(page);
  assert.equal(await dialog.getByLabel('Account SID').inputValue(), a.account.sid);
  assert.equal(await dialog.getByRole('textbox', { name: 'Auth token' }).inputValue(), '', 'a secret does not come back');
  await dialog.getByText('Leave it empty to keep ••••ab01.').waitFor();
  await assertLooksRight(page, 'change-form');
  await dialog.getByRole('textbox', { name: 'Auth token' }).fill('too short');
  await save(dialog);
  await dialog.getByText('It must be 32 letters and digits.').waitFor();
  await assertLooksRight(page, 'change-form-wrong');
  await dialog.getByRole('textbox', { name: 'Auth token' }).fill(ROTATED);
  const [request] = await Promise.all([page.waitForRequest((each) => each.method() === 'PATCH'), save(dialog)]);
  assert.deepEqual(request.postDataJSON(), { fields: { auth_token: ROTATED } });
  assert.match(request.headers()['if-match'], /^"/);
  await status(page, 'verified').waitFor();
  await page.getByText('••••beef').waitFor();
  await page.locator('.toast', { hasText: 'Twilio is verified.' }).waitFor();
  await assertNowhere(page, ROTATED);
  await assertLooksRight(page, 'changed');
  await stack.settled(waiting, ['sent', 'delivered']);
  assert.deepEqual(await stored(), { account_sid: a.account.sid, auth_token: ROTATED, phone_number: a.account.number });
  window.assertClean(stack.origin);
  await window.close();
});

test('an API key instead of the token, and a region: what the credential no longer needs is gone', async () => {
  const window = await browser.window();
  const page = await window.open(stack.address('settings', a));
  const dialog = await openForm(page);
  await dialog.getByLabel('API key SID and API key secret').check();
  await save(dialog);
  await dialog.getByText('API key secret is missing.').waitFor();
  await dialog.getByLabel('API key SID', { exact: true }).fill(KEY.sid);
  await dialog.getByLabel('API key secret', { exact: true }).fill(KEY.secret);
  await dialog.getByText('More').click();
  await dialog.getByLabel('Edge location').fill('dublin');
  await dialog.getByLabel('Region').fill('ie1');
  await assertLooksRight(page, 'change-form-api-key');
  await save(dialog);
  await page.getByText('••••c0de').waitFor();
  await status(page, 'verified').waitFor();
  assert.deepEqual(await stored(), {
    account_sid: a.account.sid, api_key_sid: KEY.sid, api_key_secret: KEY.secret, phone_number: a.account.number, region: 'ie1', edge: 'dublin',
  });
  const again = await openForm(page);
  await again.getByLabel('Region').fill('');
  await again.getByLabel('Edge location').fill('');
  await save(again);
  await until('the region to go', async () => !('region' in await stored()));
  assert.ok(!('edge' in await stored()));
  await status(page, 'verified').waitFor();
  window.assertClean(stack.origin);
  await window.close();
});

test('nothing is sent when nothing was changed, and nobody\'s change is lost', async () => {
  const window = await browser.window();
  const page = await window.open(stack.address('settings', a));
  let dialog = await openForm(page);
  await save(dialog);
  await page.getByText('Nothing was changed.').waitFor();
  await status(page, 'verified').waitFor();

  dialog = await openForm(page);
  await dialog.getByLabel('Phone number', { exact: true }).last().fill('+15550000002');
  await stack.db.query(`UPDATE byoc.credentials SET display_name = 'Twilio' WHERE id = $1`, [a.credential]);
  await save(dialog);
  await dialog.getByText('Somebody else has changed this account meanwhile.').waitFor();
  await assertLooksRight(page, 'change-conflict');
  assert.equal((await stored()).phone_number, a.account.number);
  window.assertClean(stack.origin, /412/);
  await window.close();
});

// Changes the secret, to what it is already.
async function changeSecret(page) {
  const dialog = await openForm(page);
  await dialog.getByLabel('API key secret', { exact: true }).fill(KEY.secret);
  await save(dialog);
}

test('while the provider takes its time or has none, the card says so', async () => {
  const window = await browser.window();
  const page = await window.open(stack.address('settings', a));
  await status(page, 'verified').waitFor();
  await stack.holdAnswers(100, { method: 'GET' });
  await changeSecret(page);
  await status(page, 'checking').waitFor();
  await assertAccessible(page); // in a moment: byocd does not wait for ever either
  await stack.faults([]);
  await status(page, 'verified').waitFor();

  await stack.faults([{ action: 'status', status: 503, match: { method: 'GET' } }]);
  await changeSecret(page);
  await status(page, 'pending').waitFor();
  await card(page).getByText('it does not take requests now').waitFor();
  await assertLooksRight(page, 'change-pending');
  await stack.faults([]);
  await page.getByRole('button', { name: 'Verify: Twilio' }).click();
  await status(page, 'verified').waitFor();
  window.assertClean(stack.origin);
  await window.close();
});
