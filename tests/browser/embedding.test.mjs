// The dashboard within a host application: signing in by a form, and frames.

import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { after, before, test } from 'node:test';
import { Browser } from './support/browser.mjs';
import { Pages } from './support/pages.mjs';

const stack = new Pages('browser-embedding');
const browser = new Browser();
const servers = [];
let a;
let host; // may frame the pages and hand sessions over
let stranger;

// A web server of somebody who shows this page; answers { origin, page }, whose page can be set.
async function website() {
  const site = { page: '' };
  const server = createServer((request, response) => {
    response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' }).end(`<!doctype html><title>Host</title>${site.page}`);
  });
  await new Promise((resolve) => { server.listen(0, '127.0.0.1', resolve); });
  servers.push(server);
  site.origin = `http://127.0.0.1:${server.address().port}`;
  return site;
}

after(async () => {
  await browser.stop();
  for (const server of servers) server.close();
  await stack.end();
});
before(async () => {
  host = await website();
  stranger = await website();
  stack.env = { BYOC_ALLOWED_ORIGINS: host.origin, BYOC_FRAME_ANCESTORS: host.origin };
  await stack.start();
  await browser.start();
  a = await stack.organization(1);
});

const form = () => `<form method="post" action="${stack.origin}/dashboard/session"><input type="hidden" name="token" value="${stack.api.token(a)}">
  <input type="hidden" name="page" value="messages"><button>Messages</button></form>`;
const frame = () => `<iframe title="Accounts" src="${stack.origin}/dashboard/settings"></iframe>`;

test('a form of the host application signs in and goes to the page', async () => {
  host.page = form();
  const window = await browser.window();
  const page = await window.open(host.origin);
  await page.getByRole('button', { name: 'Messages' }).click();
  await page.getByText('No messages yet').waitFor();
  assert.equal(page.url(), `${stack.origin}/dashboard/messages`);
  const [cookie] = await window.context.cookies();
  assert.deepEqual([cookie.name, cookie.httpOnly, cookie.sameSite], ['byoc_session', true, 'Strict']);
  await page.getByRole('link', { name: 'Accounts' }).click();
  await page.locator('[data-status=verified]').waitFor();
  await window.close();
});

test('the form of a stranger does not', async () => {
  stranger.page = form();
  const window = await browser.window();
  const page = await window.open(stranger.origin);
  await page.getByRole('button', { name: 'Messages' }).click();
  await page.getByText('allowed origins').waitFor();
  assert.deepEqual(await window.context.cookies(), []);
  await window.close();
});

test('a frame works where it is allowed, and nowhere else', async () => {
  host.page = frame();
  stranger.page = frame();
  const window = await browser.window();
  const own = await window.open(stack.address('settings', a));
  await own.locator('[data-status=verified]').waitFor();
  const good = await window.open(host.origin);
  await good.frameLocator('iframe').locator('[data-status=verified]').waitFor();
  const refused = window.context.waitForEvent('console', (message) => message.text().includes('frame-ancestors'));
  const bad = await window.open(stranger.origin);
  await refused;
  assert.equal(await bad.frameLocator('iframe').getByRole('heading', { name: 'Accounts' }).count(), 0);
  await window.close();
});
