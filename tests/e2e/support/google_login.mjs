// Google as the simulator plays it, and a browser that is no more than its cookies.

import http from 'node:http';

export const CLIENT = { client_id: 'server.apps.example', client_secret: 'MADEUP-server-secret-0001' };
export const OWN_CLIENT = { client_id: 'own.apps.example', client_secret: 'MADEUP-own-secret-0002' };
export const ADA = 'ada@example.org';

// Settings of byocd for it. `url`: byocd's public address.
export const googleEnv = (simulator, url) => ({
  BYOC_PUBLIC_URL: url, BYOC_GOOGLE_OAUTH_URL: simulator.url, BYOC_GOOGLE_API_URL: simulator.url,
  BYOC_GOOGLE_CLIENT_ID: CLIENT.client_id, BYOC_GOOGLE_CLIENT_SECRET: CLIENT.client_secret,
});

// Two clients that may come back to `url`, and users.
export async function addGoogle(simulator, url) {
  const redirect_uris = [`${url}/api/auth/google/callback`];
  await simulator.request('PUT', '/_simulator/google/clients', [{ ...CLIENT, redirect_uris }, { ...OWN_CLIENT, redirect_uris }]);
  await simulator.request('PUT', '/_simulator/google/users', [{ email: ADA, time_zone: 'Europe/Berlin', calendars: [{ id: 'read@group.calendar.example', role: 'reader' }] }, { email: 'eve@example.org' }]);
}

// One request without following redirects; answers { status, location, text, headers }.
export function visit(url, { method = 'GET', headers = {}, form } = {}) {
  const body = form && new URLSearchParams(form).toString();
  return new Promise((resolve, reject) => {
    const request = http.request(url, { method, agent: false, headers: { ...(body && { 'content-type': 'application/x-www-form-urlencoded' }), ...headers } }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk) => { text += chunk; }).on('error', reject)
        .on('end', () => resolve({ status: response.statusCode, location: response.headers.location, text, headers: response.headers }));
    });
    request.on('error', reject).end(body);
  });
}

// Keeps what Set-Cookie says for one host, and shows it there.
export class CookieJar {
  cookies = new Map();

  take({ headers }) {
    for (const line of headers['set-cookie'] ?? []) {
      const [, name, value] = /^([^=]+)=([^;]*)/.exec(line);
      if (/Max-Age=0/.test(line)) this.cookies.delete(name);
      else this.cookies.set(name, value);
    }
  }

  headers() { return { cookie: [...this.cookies].map(([name, value]) => `${name}=${value}`).join('; ') }; }
}

// Answers Google's page: allows all that is asked for, unless `decision` says otherwise. Answers where that leads.
export async function consent(address, decision = {}) {
  const scopes = new URL(address).searchParams.get('scope').split(' ');
  const fields = { email: ADA, decision: 'allow', ...decision };
  const form = [...Object.entries(fields).filter(([name]) => name !== 'scope'), ...(fields.scope ?? scopes).map((scope) => ['scope', scope])];
  const { status, location, text } = await visit(address, { method: 'POST', form });
  if (status !== 302) throw new Error(`Google answers ${status}: ${text}`);
  return location;
}
