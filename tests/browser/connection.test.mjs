// What the pages say when the session, the network or the server is gone, and how they come back.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { now } from '../../scripts/jwt.mjs';
import { until } from '../../scripts/run.mjs';
import { Browser, assertLooksRight, assertNowhere } from './support/browser.mjs';
import { Pages } from './support/pages.mjs';

const CLOCK_SKEW_S = 30; // the database allows
const stack = new Pages('browser-connection');
const browser = new Browser();
let a;
let b;
let origin;

after(async () => { await browser.stop(); await stack.end(); });
before(async () => {
  await stack.start();
  origin = stack.origin;
  await browser.start();
  a = await stack.organization(1);
  b = await stack.organization(2);
});

const credentials = ({ id }) => stack.db.value('SELECT count(*)::int FROM byoc.credentials WHERE org_id = $1', [id]);

// Opens the form and fills it in with an account that the simulator knows; answers the token.
async function fillAddForm(page, number) {
  const account = { sid: `AC${'0'.repeat(30)}${number}`, authToken: `${'0'.repeat(26)}beef${number}`, number: `+155500000${number}` };
  await stack.simulator.addAccount(account, `Account ${number}`);
  await page.getByRole('button', { name: 'Add Twilio account' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByLabel('Account SID').fill(account.sid);
  await dialog.getByRole('textbox', { name: 'Auth token' }).fill(account.authToken);
  await dialog.getByRole('textbox', { name: 'Phone number' }).fill(account.number);
  return account.authToken;
}

const open = (window, page, organization, claims) => window.open(stack.address(page, organization, claims));

test('without a session, with an expired token and with nonsense the page says what to do', async () => {
  const window = await browser.window();
  const page = await window.open(`${origin}/dashboard/settings`);
  await page.getByRole('heading', { name: 'Your session has ended' }).waitFor();
  await assertLooksRight(page, 'session-none');
  for (const token of [stack.api.token(a, { exp: now() - 3600 }), 'nonsense!']) {
    const other = await window.open(`${origin}/dashboard/messages#token=${token}`);
    await other.getByRole('heading', { name: 'Your session has ended' }).waitFor();
    assert.equal(other.url(), `${origin}/dashboard/messages`);
  }
  window.assertClean(origin, /401/);
  await window.close();
});

test('who belongs to no organization that is known cannot sign in, and is told so', async () => {
  const window = await browser.window();
  const page = await open(window, 'settings', '99999999-9999-4999-8999-999999999999');
  await page.getByRole('heading', { name: 'You cannot be signed in' }).waitFor();
  await assertLooksRight(page, 'session-refused');
  await window.close();
});

// A page whose session ends soon, but not before it was seen: a slow machine needs a longer one.
async function openBriefly(window) {
  for (let seconds = 10; ; seconds *= 3) {
    const page = await open(window, 'settings', a, { exp: now() - CLOCK_SKEW_S + seconds });
    const loaded = page.locator('[data-status=verified]');
    await loaded.or(page.getByRole('heading', { name: 'Your session has ended' })).waitFor();
    if (await loaded.count()) return page;
    await page.close();
  }
}

test('a session that expires under an open page ends it, and nothing of the organization stays', async () => {
  const window = await browser.window();
  const page = await openBriefly(window);
  await page.getByRole('heading', { name: 'Your session has ended' }).waitFor();
  assert.equal(await page.getByText('Organization 1').count(), 0);
  await assertLooksRight(page, 'session-expired');
  window.assertClean(origin, /401/);
  await window.close();
});

test('neither does what stands in an open form', async () => {
  const window = await browser.window();
  const page = await open(window, 'settings', a);
  const secret = await fillAddForm(page, 11);
  const [cookie] = await window.context.cookies();
  await window.context.addCookies([{ ...cookie, value: stack.api.token(a, { exp: now() - 3600 }) }]);
  await page.evaluate(() => dispatchEvent(new Event('online'))); // it looks whether all is as before
  await page.getByRole('heading', { name: 'Your session has ended' }).waitFor();
  assert.equal(await page.getByRole('dialog').count(), 0);
  await assertNowhere(page, secret);
  await window.close();
});

test('what was typed survives an absent server and no network, and a lost answer stores nothing twice', async () => {
  const window = await browser.window();
  const page = await open(window, 'settings', b);
  await fillAddForm(page, 12);
  const dialog = page.getByRole('dialog');
  const save = () => dialog.getByRole('button', { name: 'Add and verify' }).click();
  const away = dialog.getByText('The server cannot be reached. Nothing is lost');
  await stack.byocd.program.stop();
  await save();
  await away.waitFor();
  await assertLooksRight(page, 'form-server-away');
  await stack.startByocd();
  await window.context.setOffline(true);
  await save();
  await away.waitFor();
  await window.context.setOffline(false);
  await page.route('**/api/organization/credentials', async (route) => {
    await route.fetch();
    await route.abort();
  }, { times: 1 });
  await save();
  await until('it to be stored', async () => (await credentials(b)) === 2);
  await away.waitFor();
  await save();
  await dialog.waitFor({ state: 'detached' });
  await until('both to be verified', async () => (await page.locator('[data-status=verified]').count()) === 2);
  assert.equal(await credentials(b), 2);
  await window.close();
});

test('offline is said, and over when it is over', async () => {
  const window = await browser.window();
  const page = await open(window, 'messages', a);
  await page.getByText('No messages yet').waitFor();
  await window.context.setOffline(true);
  await page.getByText('You are offline.').waitFor();
  await assertLooksRight(page, 'offline');
  const id = await stack.send(a, '+15551000001', 'meanwhile');
  await stack.settled(id, ['delivered']);
  await window.context.setOffline(false);
  await page.locator(`[data-message="${id}"] [data-status=delivered]`).waitFor();
  await until('the banner to go', async () => (await page.locator('#connection').textContent()) === '');
  await window.close();
});

test('a restart of the server is said, and what happened meanwhile shows up', async () => {
  const window = await browser.window();
  const page = await open(window, 'messages', a);
  await page.getByText('meanwhile').waitFor();
  await stack.byocd.program.stop();
  await page.getByText('The server does not answer.').waitFor();
  await assertLooksRight(page, 'server-away');
  const id = await stack.send(a, '+15551000001', 'while it was away');
  const told = page.getByText('Connected again.').waitFor(); // it does not stay long
  await stack.startByocd();
  await told;
  await page.locator(`[data-message="${id}"] [data-status=delivered]`).waitFor();
  await until('the banner to go', async () => (await page.locator('#connection').textContent()) === '');
  await window.close();
});

test('a restart of the database is over when it is over', async () => {
  const window = await browser.window();
  const page = await open(window, 'messages', a);
  await page.getByText('while it was away').waitFor();
  await stack.cluster.disconnect();
  stack.cluster.stop('immediate');
  const late = await open(window, 'settings', a);
  await late.getByText('The next try is in').waitFor();
  await assertLooksRight(late, 'database-away');
  stack.cluster.start();
  await stack.reconnect();
  await late.locator('[data-status=verified]').waitFor();
  const id = await stack.send(a, '+15551000001', 'after the database came back');
  await page.locator(`[data-message="${id}"] [data-status=delivered]`).waitFor();
  await until('the banner to go', async () => (await page.locator('#connection').textContent()) === '');
  await window.close();
});

test('without a stream of changes the page still shows all, and looks for news', async () => {
  const events = '**/api/organization/events';
  const window = await browser.window();
  await window.context.route(events, (route) => route.fulfill({ status: 429, contentType: 'application/problem+json', body: '{}' }));
  const page = await open(window, 'messages', a);
  await page.getByText('There are no live updates at the moment.').waitFor();
  await assertLooksRight(page, 'no-stream');
  await page.getByText('while it was away').waitFor();
  const id = await stack.send(a, '+15551000001', 'unheard of');
  await page.locator(`[data-message="${id}"] [data-status=delivered]`).waitFor();
  await window.context.unroute(events);
  await until('the banner to go', async () => (await page.locator('#connection').textContent()) === '');
  await window.close();
});

test('who signs in as somebody else in another tab is not shown the former organization', async () => {
  const window = await browser.window();
  const first = await open(window, 'settings', a);
  await first.getByText('Organization 1', { exact: true }).waitFor();
  const second = await open(window, 'settings', b);
  await second.getByText('Organization 2', { exact: true }).waitFor();
  await first.getByText('Organization 2', { exact: true }).waitFor();
  assert.equal(await first.getByText('Organization 1').count(), 0);
  await second.getByRole('button', { name: 'Sign out' }).click();
  await second.getByRole('heading', { name: 'Your session has ended' }).waitFor();
  await first.getByRole('heading', { name: 'Your session has ended' }).waitFor();
  assert.deepEqual(await window.context.cookies(), []);
  await window.close();
});
