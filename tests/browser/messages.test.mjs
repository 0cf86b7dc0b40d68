// /dashboard/messages as a person uses it, in real Chromium.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { until } from '../../scripts/run.mjs';
import { Browser, assertLooksRight } from './support/browser.mjs';
import { Pages } from './support/pages.mjs';

const stack = new Pages('browser-messages');
const browser = new Browser();
let a;
let b;

after(async () => { await browser.stop(); await stack.end(); });
before(async () => {
  await stack.start();
  await browser.start();
  a = await stack.organization(1);
  b = await stack.organization(2);
});

const open = (window, organization) => window.open(stack.address('messages', organization));
const row = (page, id) => page.locator(`[data-message="${id}"]`);
const rows = (page) => page.locator('[data-message]');

test('an organization without messages is told so', async () => {
  const window = await browser.window();
  const page = await open(window, b);
  await page.getByText('No messages yet').waitFor();
  await page.getByText('No messages in the last 24 hours.').waitFor();
  await assertLooksRight(page, 'messages-empty');
  window.assertClean(stack.origin);
  await window.close();
});

test('messages show up as they are made and followed until they are delivered; markup in them is text', async () => {
  const window = await browser.window();
  const page = await open(window, a);
  await page.getByText('No messages yet').waitFor();
  const text = '<img src=x onerror=alert(1)> & "Zoë" 💍';
  const id = await stack.send(a, '+15551000001', text);
  await row(page, id).locator('[data-status=delivered]').waitFor();
  await row(page, id).getByText(text).waitFor();
  await page.getByRole('button', { name: 'Message to +15551000001: details' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByText('Delivered').first().waitFor();
  await assertLooksRight(page, 'messages-detail');
  await page.keyboard.press('Escape');
  await page.getByRole('img', { name: /^1 message in the last 24 hours/ }).waitFor();
  await page.getByText('Show as a table').click();
  await assertLooksRight(page, 'messages-chart');
  window.assertClean(stack.origin);
  await window.close();
});

test('filter, search and older pages', async () => {
  await stack.faults([{
    action: 'status', status: 400, body: JSON.stringify({ code: 21610, message: 'Attempt to send to unsubscribed recipient', status: 400 }),
    match: { method: 'POST', to: '+15551000009' },
  }]);
  const failed = await stack.send(a, '+15551000009', 'cannot go');
  await stack.settled(failed, ['failed']);
  for (let i = 0; i < 60; ++i) await stack.send(a, '+15551000002', `batch ${i}`);
  await until('all to be delivered', async () => (await stack.count("status = 'delivered' AND body LIKE 'batch %'")) === 60);
  const window = await browser.window();
  const page = await open(window, a);
  await until('a page of 50', async () => (await rows(page).count()) === 50);
  await page.getByRole('button', { name: 'Show older messages' }).click();
  await until('all of them', async () => (await rows(page).count()) === 62);
  await page.getByLabel('Status').selectOption('Not delivered');
  await until('one row', async () => (await rows(page).count()) === 1);
  await row(page, failed).locator('[data-status=failed]').waitFor();
  await row(page, failed).getByText('unsubscribed recipient').waitFor();
  await assertLooksRight(page, 'messages-failed');
  await page.getByLabel('Status').selectOption('All');
  await page.getByLabel('Search numbers and text').fill('BATCH 17');
  await until('one row', async () => (await rows(page).count()) === 1);
  await page.getByText('batch 17').waitFor();
  await page.getByLabel('Search numbers and text').fill('nowhere');
  await page.getByText('Nothing found').waitFor();
  await assertLooksRight(page, 'messages-nothing-found');
  window.assertClean(stack.origin);
  await window.close();
});

test('two tenants side by side each see their own only', async () => {
  const [of_a, of_b] = [await browser.window(), await browser.window()];
  const [page_a, page_b] = [await open(of_a, a), await open(of_b, b)];
  const [id_a, id_b] = [await stack.send(a, '+15551000003', 'only for A'), await stack.send(b, '+15551000004', 'only for B')];
  await row(page_a, id_a).locator('[data-status=delivered]').waitFor();
  await row(page_b, id_b).locator('[data-status=delivered]').waitFor();
  assert.equal(await page_a.getByText('only for B').count(), 0);
  assert.equal(await page_b.getByText('only for A').count(), 0);
  await assertLooksRight(page_b, 'messages-other-tenant');
  await of_a.close();
  await of_b.close();
});
