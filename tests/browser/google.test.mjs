// "Connect Google Calendar" as a person does it, in real Chromium, with the simulator in Google's place.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { until } from '../../scripts/run.mjs';
import { ADA, OWN_CLIENT, addGoogle, consent } from '../e2e/support/google_login.mjs';
import { Browser, assertLooksRight, assertNowhere } from './support/browser.mjs';
import { GooglePages, connectLink } from './support/google_pages.mjs';

const stack = new GooglePages('browser-google');
const browser = new Browser();

after(async () => { await browser.stop(); await stack.end(); });
before(async () => {
  await stack.start();
  await browser.start();
  await addGoogle(stack.simulator, stack.origin);
});

const cards = (page) => page.locator('[data-credential]');
const grants = () => stack.simulator.request('GET', '/_simulator/google/grants');

// A window of an owner on the settings page.
async function settings(name, claims) {
  const organization = await stack.newOrganization(name);
  const window = await browser.window();
  const page = await window.open(stack.address('settings', organization, claims));
  await page.getByRole('heading', { name: 'No account yet' }).waitFor();
  return { organization, window, page };
}
// Goes to Google's page by the link; answers its address.
async function setOut(page) {
  await connectLink(page).click();
  await page.getByRole('heading', { name: /wants access to your Google Account/ }).waitFor();
  return page.url();
}

test('an owner connects a calendar, sees it verified, connects it anew and disconnects it', async () => {
  const { window, page } = await settings('Connects');
  await assertLooksRight(page, 'google-empty');
  await setOut(page);
  assert.equal(new URL(page.url()).hostname, 'localhost', 'another site');
  await page.getByLabel('Account').selectOption(ADA);
  await page.getByRole('button', { name: 'Allow' }).click();
  await page.getByText('Connected. It is being verified now.').waitFor();
  assert.equal(page.url(), `${stack.origin}/dashboard/settings`, 'the address keeps nothing of it');
  await cards(page).locator('[data-status=verified]').waitFor();
  await cards(page).getByText(ADA).waitFor();
  await assertLooksRight(page, 'google-connected');
  const token = await stack.db.value(`SELECT o.fields ->> 'refresh_token' FROM byoc.credentials c, byoc.open_credentials(ARRAY[c.org_id], ARRAY[c.id]) AS o
    WHERE c.fields ->> 'account' = $1 AND c.is_active`, [ADA]);
  await assertNowhere(page, token);
  assert.deepEqual((await window.context.cookies()).filter(({ name }) => name.includes('oauth')), [], 'the cookie of the way is gone');

  await stack.simulator.request('DELETE', '/_simulator/google/grants');
  await page.getByRole('button', { name: /^Verify/ }).click();
  await page.getByText(/access was taken away, or it has expired\. Connect Google Calendar again/).first().waitFor();
  await assertLooksRight(page, 'google-failed');
  await page.getByRole('link', { name: /^Reconnect Google Calendar/ }).click();
  await page.getByLabel('Account').selectOption(ADA);
  await page.getByRole('button', { name: 'Allow' }).click();
  await cards(page).locator('[data-status=verified]').waitFor();
  assert.equal(await cards(page).count(), 1, 'it is the same account');

  await page.getByRole('button', { name: /^Revoke/ }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Revoke' }).click();
  await page.getByText('Google Calendar is revoked.').waitFor();
  await until('Google to know', async () => (await grants()).length === 0);
  assert.deepEqual(window.requests.filter((url) => !url.startsWith(`${stack.origin}/`) && !url.startsWith(stack.where(stack))), []);
  assert.deepEqual(window.errors.filter((text) => !/404/.test(text)), []); // Google's page has no icon
  await window.close();
});

test('who cancels is told, and has nothing', async () => {
  const { page, window } = await settings('Cancels');
  await setOut(page);
  await page.getByRole('button', { name: 'Cancel' }).click();
  await page.getByText('Nothing was connected: access was not allowed.').waitFor();
  await page.getByRole('heading', { name: 'No account yet' }).waitFor();
  await setOut(page);
  await page.getByLabel(/calendar\.events/).uncheck();
  await page.getByRole('button', { name: 'Allow' }).click();
  await page.getByText(/leave all boxes ticked/).waitFor();
  await page.getByRole('heading', { name: 'No account yet' }).waitFor();
  await window.close();
});

test('an outcome that there is not is a failure like others', async () => {
  const { page, window } = await settings('Made up');
  for (const outcome of ['constructor', 'nonsense']) {
    await page.goto(`${stack.origin}/dashboard/settings?connect=${outcome}`);
    await page.getByText('Nothing was connected: something went wrong here.').waitFor();
    assert.equal(page.url(), `${stack.origin}/dashboard/settings`);
  }
  assert.deepEqual(window.errors, []);
  await window.close();
});

test('a state that was tampered with, another window\'s, or used, connects nothing', async () => {
  const { page, window } = await settings('State');
  const back = new URL(await consent(await setOut(page)));
  const forged = new URL(back);
  forged.searchParams.set('state', `${'A'.repeat(42)}B`);
  await page.goto(forged.href);
  await page.getByText(/that took longer than ten minutes, or began in another window/).waitFor();

  const other = await browser.window();
  const victim = await other.open(stack.address('settings', await stack.newOrganization('Victim')));
  await victim.getByRole('heading', { name: 'No account yet' }).waitFor();
  await victim.goto(back.href);
  await victim.getByText(/began in another window/).waitFor();
  await other.close();

  await page.goto(back.href);
  await page.getByText('Connected. It is being verified now.').waitFor();
  await page.goto(back.href);
  await page.getByText(/began in another window/).waitFor();
  await cards(page).first().waitFor();
  assert.equal(await cards(page).count(), 1);
  await window.close();
});

test('a code that was used connects nothing', async () => {
  const { page, window } = await settings('Code');
  const first = new URL(await consent(await setOut(page)));
  await page.goto(first.href);
  await cards(page).first().waitFor();
  const second = new URL(await setOut(page));
  first.searchParams.set('state', second.searchParams.get('state'));
  await page.goto(first.href);
  await page.getByText(/Google refused/).waitFor();
  await cards(page).first().waitFor();
  assert.equal(await cards(page).count(), 1);
  await window.close();
});

test('members do not connect anything', async () => {
  const { page, window } = await settings('Member', { org_role: 'member' });
  assert.equal(await connectLink(page).count(), 0);
  await page.goto(`${stack.origin}/api/auth/google/start`);
  await page.getByText('Only admins and owners connect accounts.').waitFor();
  await window.close();
});

test('a page of another site cannot send a user off', async () => {
  const { page, window } = await settings('Elsewhere');
  const elsewhere = stack.simulator.url.replace('127.0.0.1', 'localhost');
  await page.goto(`${elsewhere}/`);
  await page.evaluate((address) => { location.href = address; }, `${stack.origin}/api/auth/google/start`);
  await page.getByText(/your session has ended/).waitFor();
  assert.equal(page.url(), `${stack.origin}/dashboard/settings`, 'the session\'s cookie does not come along');
  await window.close();
});

test('a server without a client says so, and an own client connects', async () => {
  await stack.byocd.program.stop();
  await stack.startByocd({ BYOC_GOOGLE_CLIENT_ID: '' });
  const { page, window, organization } = await settings('Own');
  await connectLink(page).click();
  await page.getByText(/has no Google client of its own/).waitFor();
  const { json } = await stack.api.call(stack.api.token(organization), 'POST', '/api/organization/credentials', { body: { credential_type: 'google_calendar', fields: OWN_CLIENT } });
  await page.getByText(/No Google account is connected yet/).first().waitFor();
  await page.getByRole('link', { name: 'Connect Google Calendar: Google Calendar' }).click();
  await page.getByRole('button', { name: 'Allow' }).click();
  await page.locator(`[data-credential="${json.id}"] [data-status=verified]`).waitFor();
  await window.close();
});
