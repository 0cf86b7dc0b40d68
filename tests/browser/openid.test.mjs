// The same way with an OpenID provider in Google's place that somebody else wrote (npm's oidc-provider): what byocd asks and takes is
// OAuth's, not just the simulator's. Its access tokens open a calendar that is made up here.

import assert from 'node:assert/strict';
import http from 'node:http';
import { createRequire } from 'node:module';
import { after, before, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { installPackages } from '../../scripts/npm.mjs';
import { TOP, freePort } from '../../scripts/run.mjs';
import { Browser } from './support/browser.mjs';
import { CLIENT, GooglePages, connectLink } from './support/google_pages.mjs';

const FOLDER = `${TOP}/build/npm/oidc`;
const SCOPES = ['https://www.googleapis.com/auth/calendar.events', 'https://www.googleapis.com/auth/calendar.freebusy'];
let issuer;
const stack = new GooglePages('browser-openid', () => issuer);
const browser = new Browser();
let provider;
let server;

after(async () => {
  await browser.stop();
  await stack.end();
  server?.closeAllConnections();
  server?.close();
});
before(async () => {
  // Without a registry to install from, this fails and says so.
  installPackages(`${TOP}/tests/browser/oidc`, FOLDER);
  issuer = `http://localhost:${await freePort()}`;
  await stack.start();
  await browser.start();
  await startProvider();
});

async function startProvider() {
  const { default: Provider } = await import(pathToFileURL(createRequire(`${FOLDER}/package.json`).resolve('oidc-provider')));
  provider = new Provider(issuer, {
    clients: [{
      ...CLIENT, redirect_uris: [`${stack.origin}/api/auth/google/callback`], grant_types: ['authorization_code', 'refresh_token'], response_types: ['code'],
      token_endpoint_auth_method: 'client_secret_post',
    }],
    routes: { authorization: '/o/oauth2/v2/auth', token: '/token', revocation: '/revoke' },
    scopes: ['openid', 'email', 'offline_access', ...SCOPES],
    claims: { email: ['email'] },
    conformIdTokenClaims: false, // the address is in the ID token, as at Google
    findAccount: (context, id) => ({ accountId: id, claims: () => ({ sub: id, email: `${id}@example.org` }) }),
    pkce: { required: () => true, methods: ['S256'] },
    issueRefreshToken: () => true,
    rotateRefreshToken: false,
    cookies: { keys: ['made up'] },
  });
  provider.use(async (context, next) => {
    if (!context.path.startsWith('/calendar/v3/')) return next();
    const token = await provider.AccessToken.find(context.get('authorization').replace('Bearer ', ''));
    context.status = token?.scope.includes(SCOPES[0]) ? 200 : 401;
    context.body = context.status === 200 ? { accessRole: 'owner', summary: 'Made up' }
      : { error: { code: 401, message: 'Invalid Credentials', errors: [{ domain: 'global', reason: 'authError', message: 'Invalid Credentials' }] } };
    return undefined;
  });
  server = http.createServer(provider.callback());
  await new Promise((resolve) => { server.listen(new URL(issuer).port, 'localhost', resolve); });
}

const cards = (page) => page.locator('[data-credential]');

async function settings(name) {
  const window = await browser.window();
  await window.context.route(/fonts\.googleapis\.com/, (route) => route.abort()); // its pages' only wish from elsewhere
  const page = await window.open(stack.address('settings', await stack.newOrganization(name)));
  await page.getByRole('heading', { name: 'No account yet' }).waitFor();
  return { window, page };
}
// To the provider, and signed in there: it then asks for consent.
async function setOut(page, login = 'ada') {
  await connectLink(page).click();
  const consent = page.getByRole('button', { name: 'Continue' });
  await page.getByPlaceholder('Enter any login').or(consent).waitFor();
  if (await consent.count() === 0) {
    await page.getByPlaceholder('Enter any login').fill(login);
    await page.getByPlaceholder('and password').fill('made up');
    await page.getByRole('button', { name: 'Sign-in' }).click();
  }
  return consent;
}
// Where the browser was sent back to, before it went there.
function wayBack(page) {
  return new Promise((resolve) => { page.on('request', (request) => { if (request.url().includes('/api/auth/google/callback')) resolve(new URL(request.url())); }); });
}

test('the whole way: connected, verified, not connected by a replay, failed once access is taken away', async () => {
  const { window, page } = await settings('Connects');
  const back = wayBack(page);
  await (await setOut(page)).click();
  await page.getByText('Connected. It is being verified now.').waitFor();
  await cards(page).locator('[data-status=verified]').waitFor();
  await cards(page).getByText('ada@example.org').waitFor();
  await page.goto((await back).href);
  await page.getByText(/began in another window/).waitFor();
  await cards(page).first().waitFor();
  assert.equal(await cards(page).count(), 1);

  const token = await stack.db.value(`SELECT o.fields ->> 'refresh_token' FROM byoc.credentials c, byoc.open_credentials(ARRAY[c.org_id], ARRAY[c.id]) AS o
    WHERE c.fields ->> 'account' = 'ada@example.org' AND c.is_active`);
  await (await provider.RefreshToken.find(token)).destroy();
  await page.getByRole('button', { name: /^Verify/ }).click();
  await page.getByText(/Connect Google Calendar again/).first().waitFor();
  await window.close();
});

test('consent is denied', async () => {
  const { window, page } = await settings('Denies');
  await setOut(page);
  await page.getByRole('link', { name: /Cancel/ }).click();
  await page.getByText('Nothing was connected: access was not allowed.').waitFor();
  await page.getByRole('heading', { name: 'No account yet' }).waitFor();
  await window.close();
});

test('a state that was tampered with connects nothing, and a code is good once', async () => {
  const { window, page } = await settings('Tampers');
  const back = wayBack(page);
  await (await setOut(page)).click();
  await cards(page).locator('[data-status=verified]').waitFor();
  const used = await back;
  const forged = new URL(used);
  forged.searchParams.set('state', `${'A'.repeat(42)}B`);
  await page.goto(forged.href);
  await page.getByText(/began in another window/).waitFor();
  await setOut(page);
  const state = await stack.db.value('SELECT count(*)::int FROM byoc.oauth_states WHERE taken_at IS NULL');
  assert.ok(state > 0, 'a new way has begun');
  // The used code, on the new way.
  const started = window.requests.filter((url) => url.startsWith(`${issuer}/o/oauth2/v2/auth?`)).at(-1);
  used.searchParams.set('state', new URL(started).searchParams.get('state'));
  await page.goto(used.href);
  await page.getByText(/Google refused/).waitFor();
  await cards(page).first().waitFor();
  assert.equal(await cards(page).count(), 1);
  await window.close();
});
