-- Keys in their lives, as far as one session sees it: rotation, re-encryption, destruction, shredding, status.
-- Two sessions, restarts and master keys that change: tests/e2e/keys.test.mjs.
BEGIN;
\ir support/setup.sql
SELECT no_plan();

-- Runs a statement for its effect.
CREATE FUNCTION byoc_test.run(statement text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN EXECUTE statement; END $$;

CREATE TABLE byoc_test.samples AS SELECT
    byoc_test.add_twilio(byoc_test.org_a(), 1) AS first, byoc_test.add_twilio(byoc_test.org_a(), 2) AS second,
    byoc_test.add_twilio(byoc_test.org_b(), 3) AS other, byoc.encrypt(byoc_test.org_a(), 'mine', 'leads.note') AS sealed;

-- Status
SELECT is((SELECT count(*) FROM byoc.master_keys WHERE state = 'active'), 1::bigint, 'exactly one master key is active');
SELECT ok((SELECT m.data_keys >= 2 FROM byoc.master_keys m WHERE m.state = 'active'), 'the active master key wraps the data keys');
SELECT is((SELECT row(k.key_id, k.state, k.master_key_state, k.needs_rewrap, k.credentials, k.credentials_to_reencrypt)::text
           FROM byoc.key_status k WHERE k.org_id = byoc_test.org_a()), '(1,active,active,f,2,0)', 'a new organization has one active key');
SELECT is(byoc.envelope_key_id(sealed), 1, 'an envelope tells its key') FROM byoc_test.samples;
SELECT byoc_test.refused($$SELECT byoc.envelope_key_id('\x00')$$, '22000', 'not an envelope', 'other bytes have no key id');
SELECT is(byoc.envelope_key_id(NULL), NULL, 'NULL has no key id');

-- Rotation
SELECT is(byoc.rotate_organization_key(byoc_test.org_a()), 2, 'rotation makes the next key');
SELECT is(byoc.envelope_key_id(byoc.encrypt(byoc_test.org_a(), 'x')), 2, 'what is encrypted now has the new key');
SELECT is(byoc.decrypt(byoc_test.org_a(), sealed, 'leads.note'), 'mine', 'the old key still decrypts') FROM byoc_test.samples;
SELECT is(byoc_test.opened(byoc_test.org_a(), first) ->> 'auth_token', byoc_test.twilio(1) ->> 'auth_token', 'so do credentials') FROM byoc_test.samples;
SELECT is((SELECT string_agg(row(k.key_id, k.state, k.credentials, k.credentials_to_reencrypt)::text, ' ' ORDER BY k.key_id)
           FROM byoc.key_status k WHERE k.org_id = byoc_test.org_a()), '(1,retired,2,2) (2,active,0,0)', 'key_status shows what remains');
SELECT is(byoc.envelope_key_id(byoc.encrypt(byoc_test.org_b(), 'x')), 1, 'another organization''s key is not touched');
SAVEPOINT rotated;
SELECT is(byoc.rotate_organization_key(byoc_test.org_a()), 3, 'rotation within a savepoint');
SELECT is(byoc.envelope_key_id(byoc.encrypt(byoc_test.org_a(), 'x')), 3, 'is in force at once');
ROLLBACK TO rotated;
SELECT is(byoc.envelope_key_id(byoc.encrypt(byoc_test.org_a(), 'x')), 2, 'and undone by ROLLBACK TO');
SELECT byoc_test.refused($$SELECT byoc.rotate_organization_key('cccccccc-0000-4000-8000-00000000000c')$$,
    'P0002', 'organization cccccccc.* does not exist', 'a wrong id is refused');

-- Re-encryption
SELECT byoc_test.refused($$SELECT byoc.destroy_unused_key(byoc_test.org_a(), 1)$$, '55006', 'still encrypts 2 credential.*byoc.reencrypt',
    'a key that credentials need is not destroyed');
SELECT byoc_test.refused($$SELECT byoc.reencrypt(byoc_test.org_a(), 0)$$, '22023', 'batch must be 1 or more', 'a batch has at least one');
CREATE TABLE byoc_test.before AS SELECT c.id, c.version, c.updated_at FROM byoc.organization_api_credentials c;
SELECT is(byoc.reencrypt(byoc_test.org_a(), 1), 1::bigint, 'a batch of one leaves one');
SELECT is(byoc.reencrypt(byoc_test.org_a()), 0::bigint, 'the next call does the rest');
SELECT is(byoc.reencrypt(byoc_test.org_a()), 0::bigint, 'and another one finds nothing to do');
SELECT is((SELECT array_agg(DISTINCT byoc.envelope_key_id(c.encrypted_fields)) FROM byoc.organization_api_credentials c
           WHERE c.org_id = byoc_test.org_a()), ARRAY[2], 'every credential has the new key');
SELECT is(byoc_test.opened(byoc_test.org_a(), second), byoc_test.twilio(2), 'and the same content') FROM byoc_test.samples;
SELECT is_empty($$SELECT c.id, c.version, c.updated_at FROM byoc.organization_api_credentials c EXCEPT SELECT * FROM byoc_test.before$$,
    'neither version nor updated_at changed');

-- A retired key goes when its owner says so
SELECT byoc_test.refused($$SELECT byoc.destroy_unused_key(byoc_test.org_a(), 2)$$, '55000', 'is active, not retired', 'the active key is not destroyed');
SELECT byoc_test.refused($$SELECT byoc.destroy_unused_key(byoc_test.org_a(), 9)$$, 'P0002', 'has no key 9', 'nor is one that does not exist');
SELECT byoc_test.run($$SELECT byoc.destroy_unused_key(byoc_test.org_a(), 1)$$);
SELECT byoc_test.refused($$SELECT byoc.decrypt(byoc_test.org_a(), sealed, 'leads.note') FROM byoc_test.samples$$,
    '22000', 'key 1 of organization .* was destroyed', 'what it encrypted is gone');
SELECT is(byoc.decrypt(byoc_test.org_a(), byoc.encrypt(byoc_test.org_a(), 'x')), 'x', 'the active key goes on');
SELECT byoc_test.refused($$SELECT byoc.destroy_unused_key(byoc_test.org_a(), 1)$$, '55000', 'is destroyed, not retired', 'once only');

-- Master keys
SELECT is(byoc.reload_keyring(), (SELECT m.id FROM byoc.master_keys m WHERE m.state = 'active'), 'reload_keyring returns the active master key');
SELECT is(byoc.decrypt(byoc_test.org_b(), byoc.encrypt(byoc_test.org_b(), 'x')), 'x', 'nothing changes for data keys');
SELECT is(byoc.rewrap_keys(), 0::bigint, 'nothing needs a new wrapping');
SAVEPOINT missing;
UPDATE byoc.organization_keys SET wrapping_key_id = 'k-gone' WHERE org_id = byoc_test.org_b();
SELECT byoc_test.refused($$SELECT byoc.rewrap_keys()$$, '55000', 'lacks master keys that are in use: k-gone \(wraps 1 data keys\).*reload_keyring',
    'a missing master key is named instead of waited for');
SELECT is((SELECT row(m.state, m.data_keys)::text FROM byoc.master_keys m WHERE m.id = 'k-gone'), '(missing,1)', 'byoc.master_keys shows it');
SELECT is((SELECT row(k.master_key_state, k.needs_rewrap)::text FROM byoc.key_status k WHERE k.org_id = byoc_test.org_b()), '(missing,t)', 'so does key_status');
SELECT byoc_test.refused($$SELECT byoc.register_dispatcher(byoc_test.dispatcher())$$, '55000', 'k-gone', 'no dispatcher starts on such a database');
ROLLBACK TO missing;
SELECT is((SELECT r.wrapping_key_id FROM byoc.organization_keys k, byoc.rewrap_data_key(k.org_id, k.key_id, k.wrapped_key) AS r
           WHERE k.org_id = byoc_test.org_b()), (SELECT m.id FROM byoc.master_keys m WHERE m.state = 'active'), 'a data key is wrapped by the active one');
SELECT byoc_test.refused($$SELECT byoc.rewrap_data_key(byoc_test.org_a(), k.key_id, k.wrapped_key) FROM byoc.organization_keys k
                          WHERE k.org_id = byoc_test.org_b()$$, '22000', 'cannot be unwrapped', 'a key moved to another organization is not wrapped anew');

-- Shredding
CREATE TABLE byoc_test.shredded AS SELECT
    byoc.encrypt(byoc_test.org_b(), 'secret') AS sealed,
    byoc.send_sms('+15005550001', 'queued', org_id => byoc_test.org_b()) AS queued,
    byoc.send_sms('+15005550001', 'later', now() + interval '1 hour', org_id => byoc_test.org_b()) AS scheduled,
    byoc.send_sms('+15005550001', 'other', org_id => byoc_test.org_a()) AS not_mine;
SELECT byoc_test.refused($$SELECT byoc.shred_organization('cccccccc-0000-4000-8000-00000000000c')$$,
    'P0002', 'organization cccccccc.* does not exist', 'a wrong id is refused');
SELECT byoc_test.run($$SELECT byoc.shred_organization(byoc_test.org_b())$$);
SELECT byoc_test.refused($$SELECT byoc.decrypt(byoc_test.org_b(), sealed) FROM byoc_test.shredded$$, '22000', 'destroyed', 'nothing decrypts any more');
SELECT byoc_test.refused($$SELECT byoc.encrypt(byoc_test.org_b(), 'x')$$, '22023', 'no active key', 'nothing encrypts any more');
SELECT is((SELECT array_agg(k.wrapped_key) FROM byoc.organization_keys k WHERE k.org_id = byoc_test.org_b()), ARRAY[NULL::bytea], 'its keys are gone');
SELECT is((SELECT row(c.is_active, c.is_default, c.encrypted_fields)::text FROM byoc.organization_api_credentials c, byoc_test.samples s
           WHERE c.id = s.other), '(f,f,)', 'its credentials are revoked');
SELECT is((SELECT array_agg(DISTINCT m.status || ' ' || m.error_code || ' ' || m.error_message) FROM byoc.sms_messages m, byoc_test.shredded s
           WHERE m.id IN (s.queued, s.scheduled)), ARRAY['cancelled shredded the organization was shredded'], 'its waiting messages are cancelled, with the reason');
SELECT is(byoc_test.events(queued), 'cancelled', 'as their history tells') FROM byoc_test.shredded;
SELECT is(byoc_test.status(not_mine), 'queued', 'another organization''s message waits on') FROM byoc_test.shredded;
SELECT ok((SELECT o.shredded_at IS NOT NULL AND o.name = 'Organization B' FROM byoc.organizations o WHERE o.id = byoc_test.org_b()), 'the organization''s row stays');
SELECT byoc_test.refused($$SELECT byoc.shred_organization(byoc_test.org_b())$$, '55000', 'was shredded at', 'it is not shredded twice');
SELECT byoc_test.refused($$SELECT byoc.rotate_organization_key(byoc_test.org_b())$$, '55000', 'was shredded', 'it gets no new key');
SELECT byoc_test.refused($$SELECT byoc.reencrypt(byoc_test.org_b())$$, '55000', 'was shredded', 'there is nothing to re-encrypt');
SELECT byoc_test.refused($$SELECT byoc.send_sms('+15005550001', 'x', org_id => byoc_test.org_b())$$, '55000', 'was shredded', 'it sends nothing');
SELECT byoc_test.refused($$SELECT byoc_test.add_twilio(byoc_test.org_b(), 4)$$, '55000', 'was shredded', 'it gets no credential');
SELECT byoc_test.refused($$SELECT byoc.create_organization('B', byoc_test.org_b())$$, '23505', '', 'its id is not used again');

-- Privileges
SET LOCAL ROLE byoc_test_tenant;
SELECT byoc_test.refused(s, '42501', 'permission denied', 'a tenant may not: ' || s) FROM unnest(ARRAY[
    'SELECT byoc.reload_keyring()', 'SELECT byoc.rewrap_keys()', 'SELECT byoc.rotate_organization_key(byoc_test.org_a())',
    'SELECT byoc.reencrypt(byoc_test.org_a())', 'SELECT byoc.destroy_unused_key(byoc_test.org_a(), 1)',
    'SELECT byoc.shred_organization(byoc_test.org_a())', 'TABLE byoc.key_status', 'TABLE byoc.master_keys', 'SELECT byoc.keyring()',
    $$SELECT byoc.reseal(byoc_test.org_a(), '', byoc_test.org_a(), '')$$, $$SELECT byoc.rewrap_data_key(byoc_test.org_a(), 1, '')$$]) AS s;
SET LOCAL ROLE byoc_test_admin;
SELECT is((SELECT count(*) FROM byoc.key_status k WHERE k.org_id = byoc_test.org_a()), 2::bigint, 'an admin reads key_status');
SELECT ok(count(*) >= 1, 'and master_keys') FROM byoc.master_keys;
SELECT is(byoc.rotate_organization_key(byoc_test.org_a()), 3, 'rotates');
SELECT is(byoc.reencrypt(byoc_test.org_a()), 0::bigint, 're-encrypts');
SELECT is(byoc.rewrap_keys(), 0::bigint, 're-wraps');
SELECT byoc_test.run($$SELECT byoc.shred_organization(byoc_test.org_a())$$);
SELECT pass('shreds');
RESET ROLE;

SELECT * FROM finish();
ROLLBACK;
