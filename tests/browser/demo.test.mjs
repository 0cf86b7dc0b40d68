// A newcomer's walk: `make demo KEEP=1`, the two links that it prints, an account of one's own, `make demo-stop`.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { TOP, script } from '../../scripts/run.mjs';
import { Browser, assertLooksRight, assertNowhere } from './support/browser.mjs';

const DEMO = `demo-walk-${process.pid}`; // beside the one that somebody keeps up here
const browser = new Browser();
let printed;

// As from a shell, whatever make runs this test.
function make(...args) {
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(MAKE|MFLAGS)/.test(name)));
  const { status, stdout, stderr } = spawnSync('make', ['-C', TOP, '--no-print-directory', ...args, `DEMO=${DEMO}`], { env, encoding: 'utf8' });
  assert.equal(status, 0, `make ${args.join(' ')}: ${stderr}\n${stdout}`);
  return stdout;
}

process.once('exit', () => script('stop-leftovers', DEMO));
after(() => browser.stop());
before(async () => {
  printed = make('demo', 'KEEP=1');
  await browser.start();
});

test('two links, two tenants side by side; an account is added, verified, tried until a message is delivered, and revoked', async () => {
  const links = printed.match(/http:\S+\/dashboard\/settings#token=\S+/g);
  const [, sid, token, number] = /to add there +account SID (\S+), auth token (\S+), phone number (\S+)/.exec(printed);
  assert.equal(links.length, 2);
  const window = await browser.window();
  const [a, b] = [await window.open(links[0]), await window.open(links[1])];
  for (const [page, name, other] of [[a, 'Bright Smile Dental', 'Café Ōsaka'], [b, 'Café Ōsaka', 'Bright Smile Dental']]) {
    await page.getByText(name, { exact: true }).waitFor();
    await page.locator('[data-credential] [data-status=verified]').waitFor();
    assert.equal(await page.getByText(other).count(), 0);
    assert.ok(!page.url().includes('token'));
  }

  const dialog = a.getByRole('dialog');
  await a.getByRole('button', { name: 'Add Twilio account' }).click();
  await dialog.getByLabel('Name').fill('My own');
  await dialog.getByLabel('Account SID').fill(sid);
  await dialog.getByRole('textbox', { name: 'Auth token' }).fill(token);
  await dialog.getByRole('textbox', { name: 'Phone number' }).fill(number);
  await dialog.getByRole('button', { name: 'Add and verify' }).click();
  const card = a.getByRole('article', { name: 'My own' });
  await card.locator('[data-status=verified]').waitFor();
  await assertNowhere(a, token);
  await a.getByRole('button', { name: 'Verify: My own' }).click();
  await a.getByText('My own is verified.').waitFor();

  await a.getByRole('button', { name: 'Send test SMS: My own' }).click();
  await dialog.getByLabel('Your phone number').fill('+14155550177');
  await a.keyboard.press('Enter');
  await dialog.locator('[data-status=delivered]').waitFor();
  await assertLooksRight(a, 'demo-delivered');
  await a.keyboard.press('Escape');
  await a.getByRole('link', { name: 'Messages' }).click();
  await a.getByRole('button', { name: 'Message to +14155550177: details' }).waitFor();
  await a.getByText('Hi Zoë Müller, thank you').waitFor();
  await assertLooksRight(a, 'demo-messages');
  await a.getByRole('link', { name: 'Accounts' }).click();

  await a.getByRole('button', { name: 'Revoke: My own' }).click();
  await dialog.getByRole('button', { name: 'Revoke' }).click();
  await a.getByText('Revoked (1)').click();
  await card.locator('[data-status=revoked]').waitFor();
  await assertLooksRight(a, 'demo-revoked');
  assert.equal(await b.locator('[data-credential]').count(), 1);
  await assertLooksRight(b, 'demo-second-tenant');
  assert.deepEqual(window.errors, []);
  await window.close();
});

test('make demo-stop ends it', async () => {
  const [, origin] = /(http:\/\/127\.0\.0\.1:\d+)\/dashboard/.exec(printed);
  assert.equal((await fetch(`${origin}/healthz`)).status, 200);
  assert.ok(existsSync(`${TOP}/build/${DEMO}.env`));
  make('demo-stop');
  await assert.rejects(fetch(`${origin}/healthz`));
  assert.ok(!existsSync(`${TOP}/build/run/${DEMO}`) && !existsSync(`${TOP}/build/${DEMO}.env`));
});
