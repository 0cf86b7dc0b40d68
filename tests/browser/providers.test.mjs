// Accounts of every kind, added by forms that are made of what byoc.providers says.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Receiver } from '../e2e/webhooks/receiver.mjs';
import { Browser, assertLooksRight, assertNowhere } from './support/browser.mjs';
import { Pages } from './support/pages.mjs';

const stack = new Pages('browser-providers', { env: { BYOC_ALLOWED_WEBHOOK_NETWORKS: '127.0.0.1' } });
const browser = new Browser();
let receiver;
let page;
let window;

after(async () => {
  receiver?.stop();
  await browser.stop();
  await stack.end();
});
before(async () => {
  await stack.start();
  await browser.start();
  receiver = await Receiver.start();
  const id = await stack.db.value(`SELECT byoc.create_organization('Organization P')`);
  window = await browser.window();
  page = await window.open(stack.address('settings', { id }));
});

const button = (within, name) => within.getByRole('button', { name });
async function add(kind, fields) {
  await button(page, `Add ${kind} account`).click();
  const dialog = page.getByRole('dialog');
  for (const [label, value] of Object.entries(fields)) await dialog.getByLabel(label, { exact: true }).fill(value);
  return dialog;
}

test('a Stripe key and a webhook: what is wrong with a field, and then a verified account', async () => {
  await stack.simulator.request('PUT', '/_simulator/stripe/keys', { key: 'sk_test_0000000000000007' });
  const stripe = await add('Stripe', { 'Secret key': 'pk_test_0000000000000007' });
  await button(stripe, 'Add and verify').click();
  await stripe.getByText('It must be a key that begins with sk_test_').waitFor();
  await stripe.getByLabel('Secret key', { exact: true }).fill('sk_test_0000000000000007');
  await assertLooksRight(page, 'providers-stripe');
  await button(stripe, 'Add and verify').click();
  await stripe.waitFor({ state: 'detached' });

  const secret = `whsec_${'A'.repeat(32)}`;
  const webhook = await add('Webhook', { URL: 'https://user@app.example.org/', 'Signing secret': secret });
  await button(webhook, 'Add and verify').click();
  await webhook.getByText('It must be an address such as https://app.example.org/webhooks').waitFor();
  await webhook.getByLabel('URL', { exact: true }).fill(receiver.url);
  await assertLooksRight(page, 'providers-webhook');
  await button(webhook, 'Add and verify').click();
  await webhook.waitFor({ state: 'detached' });

  await page.locator('[data-credential] [data-status=verified]').nth(1).waitFor();
  assert.equal(receiver.verifications.length, 1);
  for (const typed of ['sk_test_0000000000000007', secret]) await assertNowhere(page, typed);
  await assertLooksRight(page, 'providers-verified');
  window.assertClean(stack.origin);
});

test('a kind that is switched off is not offered', async () => {
  await stack.db.query(`INSERT INTO byoc.provider_overrides (name, enabled) VALUES ('stripe', false)`);
  await page.reload();
  await button(page, 'Add Webhook account').waitFor();
  assert.equal(await button(page, 'Add Stripe account').count(), 0);
});
