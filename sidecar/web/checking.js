// Verifications that were asked for here, until their results are in.

import { get, newKey, call } from './api.js';
import { toast } from './toast.js';

const LOOK_MS = 2000; // an event says it sooner, except for the same result again

const checks = new Map(); // by id: last_verified_at before

export const isChecking = (id) => checks.has(id);

function hasResult({ verification_status: status, verification_error: error, last_verified_at: verified }, before) {
  return status === 'failed' || verified !== before || error !== null;
}

// Takes a credential as it was loaded: its check is over when the result shows in it.
export function settle(credential) {
  const { id, display_name: name, verification_status: status, is_active: active } = credential;
  if (!checks.has(id) || (active && !hasResult(credential, checks.get(id)))) return;
  checks.delete(id);
  if (!active) return;
  if (status === 'verified') toast(`${name} is verified.`);
  else toast(`${name}: ${credential.verification_error ?? 'not verified.'}`, 'bad');
}

// Has the credential checked; `reload()` is called until the result is in.
export async function verify({ id, last_verified_at: before }, reload) {
  await call('POST', `organization/credentials/${id}/verify`, { headers: { 'Idempotency-Key': newKey() } });
  await expectResult(id, before, reload);
}

// Waits for the result of a check, such as that of a new credential.
export async function expectResult(id, before, reload) {
  checks.set(id, before);
  await reload();
  const look = async () => {
    if (!checks.has(id)) return;
    const found = await get(`organization/credentials/${id}`).catch(() => null);
    if (found && hasResult(found, before)) await reload().catch(() => {});
    setTimeout(look, LOOK_MS);
  };
  setTimeout(look, LOOK_MS);
}
