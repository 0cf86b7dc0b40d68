// Debian's Chromium, driven by playwright-core, with what every test looks at: axe's findings, errors on the console, requests to
// elsewhere, screenshots.

import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { installPackages } from '../../../scripts/npm.mjs';
import { TOP } from '../../../scripts/run.mjs';

const PACKAGES = `${TOP}/build/npm/browser`;
const SCREENSHOTS = `${TOP}/build/screenshots`;
const CHROMIUM = process.env.CHROMIUM ?? '/usr/bin/chromium';
// WCAG 2.2 AA, and what axe's makers know to help.
const RULES = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'];
export const PHONE = { width: 320, height: 640 };
export const DESKTOP = { width: 1280, height: 800 };

export class Browser {
  async start() {
    installPackages(`${TOP}/tests/browser`, PACKAGES);
    const require = createRequire(`${PACKAGES}/package.json`);
    assert.ok(existsSync(CHROMIUM), `${CHROMIUM} is missing: make check-browser installs it, or set CHROMIUM`);
    this.axe = readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');
    // The pages are our own, so Chromium may do without the sandbox that containers and root do not let it have.
    this.chromium = await require('playwright-core').chromium.launch({ executablePath: CHROMIUM, args: ['--no-sandbox'] });
    return this;
  }

  // A person's window with cookies of its own. `options`: of playwright's newContext.
  async window({ viewport = DESKTOP, colorScheme = 'light', ...options } = {}) {
    const context = await this.chromium.newContext({ viewport, colorScheme, reducedMotion: 'reduce', locale: 'en-GB', timezoneId: 'UTC', ...options });
    context.setDefaultTimeout(60_000);
    await context.addInitScript(this.axe);
    return new Window(context);
  }

  async stop() { await this.chromium?.close(); }
}

export class Window {
  errors = []; // on the console, and broken rules of the content security policy
  requests = [];

  constructor(context) {
    this.context = context;
    context.on('request', (request) => this.requests.push(request.url()));
    context.on('weberror', (error) => this.errors.push(error.error().message));
    context.on('console', (message) => { if (message.type() === 'error') this.errors.push(message.text()); });
  }

  async open(url) {
    const page = await this.context.newPage();
    await page.goto(url);
    return page;
  }

  // Nothing was asked of anybody else, and no script failed. `expected`: patterns of errors that the test provoked.
  assertClean(origin, ...expected) {
    assert.deepEqual(this.requests.filter((url) => !url.startsWith(`${origin}/`)), []);
    assert.deepEqual(this.errors.filter((text) => !expected.some((pattern) => pattern.test(text))), []);
  }

  close() { return this.context.close(); }
}

// axe finds nothing.
export async function assertAccessible(page) {
  const violations = await page.evaluate(async (tags) => (await axe.run(document, { runOnly: tags })).violations
    .map(({ id, help, nodes }) => ({ id, help, nodes: nodes.map((node) => `${node.html} ${node.failureSummary}`) })), RULES);
  assert.deepEqual(violations, []);
}

// What is wider than the window, or than the dialog that it is in.
const stickingOut = (page) => page.evaluate(() => {
  const edge = (element) => (element.closest('dialog')?.getBoundingClientRect().right ?? innerWidth) + 1;
  return [...document.body.querySelectorAll('*')].filter((each) => !each.closest('.unseen, .scroll, thead, svg') && each.getBoundingClientRect().right > edge(each))
    .map((each) => each.outerHTML.slice(0, 100));
});

// Nothing sticks out at the side, and axe finds nothing: in light and dark, on a desktop and on the narrowest phone. Keeps screenshots, with all
// of a dialog that is longer than the window.
export async function assertLooksRight(page, name) {
  mkdirSync(SCREENSHOTS, { recursive: true });
  for (const [size, viewport] of Object.entries({ desktop: DESKTOP, phone: PHONE })) {
    for (const colorScheme of ['light', 'dark']) {
      await page.setViewportSize(viewport);
      await page.emulateMedia({ colorScheme });
      await assertAccessible(page);
      assert.deepEqual(await stickingOut(page), [], `${name}: wider than the window (${size})`);
      const needed = await page.evaluate(() => (document.querySelector('dialog')?.scrollHeight ?? 0) + 40);
      await page.setViewportSize({ ...viewport, height: Math.max(viewport.height, needed) });
      await page.screenshot({ path: `${SCREENSHOTS}/${name}-${size}-${colorScheme}.png`, fullPage: true });
    }
  }
  await page.setViewportSize(DESKTOP);
  await page.emulateMedia({ colorScheme: 'light' });
}

// The secret is neither in the page nor in what the browser keeps, nor in its history.
export async function assertNowhere(page, secret) {
  const places = await page.evaluate(() => ({
    page: document.documentElement.outerHTML, inputs: [...document.querySelectorAll('input')].map((input) => input.value),
    local: { ...localStorage }, session: { ...sessionStorage }, address: location.href, state: history.state, cookies: document.cookie,
  }));
  for (const [place, content] of Object.entries(places)) assert.ok(!JSON.stringify(content ?? null).includes(secret), `the secret is in ${place}`);
}
