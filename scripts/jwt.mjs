// Makes JSON Web Tokens and key sets for demo and tests, with node:crypto only.

import { constants, createHmac, generateKeyPairSync, randomBytes, sign as signBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';

const base64url = (value) => Buffer.from(value).toString('base64url');
const hmac = (hash, { jwk }, input) => createHmac(hash, Buffer.from(jwk.k, 'base64url')).update(input).digest();
const ALGORITHMS = {
  HS256: (key, input) => hmac('sha256', key, input),
  HS512: (key, input) => hmac('sha512', key, input), // never accepted
  RS256: (key, input) => signBytes('sha256', input, key.privateKey),
  PS256: (key, input) => signBytes('sha256', input, { key: key.privateKey, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 }),
  ES256: (key, input) => signBytes('sha256', input, { key: key.privateKey, dsaEncoding: 'ieee-p1363' }),
  none: () => '',
};

// A fresh key: { jwk, privateKey }, where jwk is what belongs into the key set.
export function newKey(alg, kid) {
  if (alg === 'HS256') return { jwk: { kty: 'oct', kid, alg, use: 'sig', k: base64url(randomBytes(32)) } };
  const { publicKey, privateKey } = alg === 'ES256'
    ? generateKeyPairSync('ec', { namedCurve: 'P-256' })
    : generateKeyPairSync('rsa', { modulusLength: 2048 });
  return { jwk: { ...publicKey.export({ format: 'jwk' }), kid, alg, use: 'sig' }, privateKey };
}

export const keySet = (...keys) => JSON.stringify({ keys: keys.map(({ jwk }) => jwk) });

// The secret of a cluster that scripts/cluster made.
export const clusterKey = ({ env }) => ({ jwk: JSON.parse(readFileSync(env.BYOC_JWKS, 'utf8')).keys[0] });

export const now = () => Math.floor(Date.now() / 1000);

// A token of `key`. `header` replaces members of the header, for tests of what is refused.
export function signToken(key, claims, header = {}) {
  const whole = { alg: key.jwk.alg, typ: 'JWT', kid: key.jwk.kid, ...header };
  const input = `${base64url(JSON.stringify(whole))}.${base64url(JSON.stringify(claims))}`;
  return `${input}.${base64url(ALGORITHMS[whole.alg](key, input))}`;
}

// An owner's token that is good for an hour.
export const ownerToken = (key, organization, user) =>
  signToken(key, { org_id: organization, sub: user, org_role: 'owner', iat: now(), exp: now() + 3600 });
