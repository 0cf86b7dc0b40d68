// Verifications that were asked for here, until their results are in.

import { call } from './api.js';
import { toast } from './toast.js';

const LOOK_MS = 2000; // an event says it sooner, unless the result is the same as before
const LONGEST_MS = 30_000;

const checks = new Map(); // by id: last_verified_at before

export const isChecking = (id) => checks.has(id);

const hasResult = ({ verification_status: status, verification_error: error, last_verified_at: verified }, before) =>
  status === 'failed' || verified !== before || error !== null;

// Takes a credential as it was loaded: its check is over when the result shows in it.
export function settle(credential) {
  const { id, display_name: name, verification_status: status, verification_error: error, is_active: active } = credential;
  if (!checks.has(id) || (active && !hasResult(credential, checks.get(id)))) return;
  checks.delete(id);
  if (!active) return;
  if (status === 'verified') toast(`${name} is verified.`, 'good', id);
  else toast(`${name}: ${error}`, 'bad', id);
}

// Has the credential checked; `reload()` shows all anew, by settle().
export async function verify(credential, reload) {
  await call('POST', `organization/credentials/${credential.id}/verify`);
  await expectResult(credential, reload);
}

// Waits for the result of a check that is under way, such as that of a new credential.
export async function expectResult({ id, display_name: name, last_verified_at: before }, reload) {
  checks.set(id, before);
  const last = Date.now() + LONGEST_MS;
  const look = () => {
    if (!checks.has(id)) return;
    if (Date.now() > last) {
      checks.delete(id);
      toast(`${name}: the provider gave no answer yet. It is asked again, and the result will show here.`, 'good', id);
    }
    reload().catch(() => {}); // the page tells when the server is away
    setTimeout(look, LOOK_MS);
  };
  setTimeout(look, LOOK_MS);
  await reload();
}
