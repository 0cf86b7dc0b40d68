-- byoc.encrypt and its siblings: what goes in comes out, for the right organization, place, row and context only.
BEGIN;
\ir support/setup.sql
SELECT plan(75);

CREATE FUNCTION byoc_test.round_trip(plaintext text, context text DEFAULT '') RETURNS boolean LANGUAGE sql AS $$
    SELECT byoc.decrypt(byoc_test.org_a(), byoc.encrypt(byoc_test.org_a(), plaintext, context), context) = plaintext;
$$;
CREATE FUNCTION byoc_test.round_trip_bytes(plaintext bytea) RETURNS boolean LANGUAGE sql AS $$
    SELECT byoc.decrypt_bytes(byoc_test.org_a(), byoc.encrypt_bytes(byoc_test.org_a(), plaintext)) = plaintext;
$$;

SELECT ok(byoc_test.round_trip(''), 'the empty text comes back');
SELECT ok(byoc_test.round_trip('x'), 'one byte comes back');
SELECT ok(byoc_test.round_trip('Zoë 🔥 日本語 e' || U&'\0301' || U&'\+01F468\200D\+01F469'), 'Unicode text comes back byte for byte');
SELECT ok(byoc_test.round_trip(repeat('0123456789abcdef', 65536)), 'a megabyte of text comes back');
SELECT ok(byoc_test.round_trip('x', 'leads.ssn 🔒'), 'text with a Unicode context comes back');
SELECT ok(byoc_test.round_trip('x', repeat('c', 100000)), 'a long context is allowed');
SELECT ok(byoc_test.round_trip_bytes(''), 'no bytes come back');
SELECT ok(byoc_test.round_trip_bytes('\x00'), 'a single zero byte comes back');
SELECT ok(byoc_test.round_trip_bytes('\x00ff0041000000'), 'bytes with zeros come back');
SELECT ok(byoc_test.round_trip_bytes((SELECT string_agg(set_byte('\x00', 0, i), '' ORDER BY i) FROM generate_series(0, 255) AS i)),
          'every byte value comes back');
SELECT ok(byoc_test.round_trip_bytes(convert_to(repeat('0123456789abcdef', 65536), 'UTF8')), 'a megabyte of bytes comes back');
SELECT is((SELECT count(*) FROM generate_series(0, 200) AS n WHERE byoc_test.round_trip(repeat('q', n))), 201::bigint,
          'every length from 0 to 200 comes back');
SELECT is(byoc.decrypt_bytes(byoc_test.org_a(), byoc.encrypt(byoc_test.org_a(), 'é')), '\xc3a9'::bytea, 'text can be read as its bytes');
SELECT is(byoc.decrypt(byoc_test.org_a(), byoc.encrypt_bytes(byoc_test.org_a(), '\xc3a9')), 'é', 'bytes that are text can be read as text');
SELECT byoc_test.refused($$SELECT byoc.decrypt(byoc_test.org_a(), byoc.encrypt_bytes(byoc_test.org_a(), '\xff41'))$$,
    '22', 'not text', 'bytes that are no UTF-8 are not given out as text');
SELECT byoc_test.refused($$SELECT byoc.decrypt(byoc_test.org_a(), byoc.encrypt_bytes(byoc_test.org_a(), '\x4100'))$$,
    '22', 'not text', 'bytes with a zero are not given out as text');
SELECT is(byoc.encrypt(byoc_test.org_a(), NULL), NULL, 'NULL stays NULL when encrypted');
SELECT is(byoc.decrypt(byoc_test.org_a(), NULL), NULL, 'NULL stays NULL when decrypted');
SELECT is(byoc.encrypt_bytes(byoc_test.org_a(), NULL), NULL, 'NULL bytes stay NULL when encrypted');

-- The envelope
SELECT is((SELECT count(DISTINCT byoc.encrypt(byoc_test.org_a(), 'same')) FROM generate_series(1, 2000)), 2000::bigint,
          'the same text encrypts differently every time');
SELECT is((SELECT count(DISTINCT substr(byoc.encrypt(byoc_test.org_a(), 'same'), 7, 12)) FROM generate_series(1, 2000)), 2000::bigint,
          'no nonce is used twice');
SELECT is(substr(byoc.encrypt(byoc_test.org_a(), 'x'), 1, 6), '\x010400000001'::bytea,
          'an envelope begins with format version 1, the key id''s length and key id 1');
SELECT is(length(byoc.encrypt(byoc_test.org_a(), repeat('x', 100))), 134, 'an envelope is 34 bytes longer than its content');
SELECT ok(position('\x706c61696e74657874'::bytea IN byoc.encrypt(byoc_test.org_a(), 'plaintext')) = 0, 'the content does not stand in the envelope');

-- Wrong place
CREATE TABLE byoc_test.envelope AS SELECT byoc.encrypt(byoc_test.org_a(), 's', 'c') AS e;
SELECT is(byoc.decrypt(byoc_test.org_a(), e, 'c'), 's', 'the sample opens where it belongs') FROM byoc_test.envelope;
SELECT byoc_test.refused($$SELECT byoc.decrypt(byoc_test.org_b(), e, 'c') FROM byoc_test.envelope$$,
    '22000', 'does not belong here or was altered', 'another organization cannot open it');
SELECT byoc_test.refused($$SELECT byoc.decrypt(byoc_test.org_a(), e, 'C') FROM byoc_test.envelope$$,
    '22000', 'does not belong here or was altered', 'another context does not open it');
SELECT byoc_test.refused($$SELECT byoc.decrypt(byoc_test.org_a(), e) FROM byoc_test.envelope$$,
    '22000', 'does not belong here or was altered', 'no context does not open what has one');
SELECT byoc_test.refused($$SELECT byoc.decrypt(byoc_test.org_a(), byoc.encrypt(byoc_test.org_a(), 's'), 'c')$$,
    '22000', 'does not belong here', 'a context does not open what has none');
SELECT byoc_test.refused($$SELECT byoc.decrypt_bytes(byoc_test.org_b(), e, 'c') FROM byoc_test.envelope$$,
    '22000', 'does not belong here', 'decrypt_bytes refuses another organization too');

-- Altered
SELECT is((SELECT count(*) FROM byoc_test.envelope, generate_series(0, length(e) * 8 - 1) AS bit
           WHERE byoc_test.error_of(format('SELECT byoc.decrypt(byoc_test.org_a(), %L::bytea, %L)', set_bit(e, bit, 1 - get_bit(e, bit)), 'c')) !~ '^22'),
          0::bigint, 'flipping any single bit of an envelope makes it unreadable, with an error of class 22');
SELECT is((SELECT count(*) FROM byoc_test.envelope, generate_series(0, length(e) - 1) AS size
           WHERE byoc_test.error_of(format('SELECT byoc.decrypt(byoc_test.org_a(), %L::bytea, %L)', substr(e, 1, size), 'c')) !~ '^22'),
          0::bigint, 'an envelope cut short anywhere is refused');
SELECT byoc_test.refused($$SELECT byoc.decrypt(byoc_test.org_a(), e || '\x00'::bytea, 'c') FROM byoc_test.envelope$$,
    '22000', 'altered', 'an envelope with a byte more is refused');
SELECT byoc_test.refused($$SELECT byoc.decrypt(byoc_test.org_a(), '\x'::bytea)$$, '22000', 'not an envelope', 'an empty value is refused');
SELECT byoc_test.refused($$SELECT byoc.decrypt(byoc_test.org_a(), convert_to(repeat('plain text ', 10), 'UTF8'))$$,
    '22000', 'could not', 'plain text is refused');
SELECT byoc_test.refused($$SELECT byoc.decrypt(byoc_test.org_a(), set_byte(e, 0, 2), 'c') FROM byoc_test.envelope$$,
    '22000', 'unknown format version', 'a format version from the future is named as such');
SELECT byoc_test.refused($$SELECT byoc.decrypt(byoc_test.org_a(), set_byte(e, 5, 2), 'c') FROM byoc_test.envelope$$,
    '22000', 'no such key', 'a key id that the organization does not have is named as such');
SELECT byoc_test.refused($$SELECT byoc.decrypt(byoc_test.org_a(), set_byte(e, 5, 0), 'c') FROM byoc_test.envelope$$,
    '22000', 'no such key', 'key id 0 does not mean the active key');

-- Unknown organization
SELECT byoc_test.refused($$SELECT byoc.encrypt('00000000-0000-4000-8000-000000000000', 'x')$$,
    '22', '00000000-0000-4000-8000-000000000000.*create_organization', 'an unknown organization cannot encrypt, and the hint says how to make one');
SELECT byoc_test.refused($$SELECT byoc.decrypt('00000000-0000-4000-8000-000000000000', e, 'c') FROM byoc_test.envelope$$,
    '22', 'no such key', 'an unknown organization cannot decrypt');

-- Values of the extension's own columns
CREATE FUNCTION byoc_test.sealed() RETURNS bytea LANGUAGE sql AS $$
    SELECT byoc.seal(byoc_test.org_a(), 't.c', '11111111-0000-4000-8000-000000000001', 'sealed');
$$;
SELECT is(byoc.unseal(byoc_test.org_a(), 't.c', '11111111-0000-4000-8000-000000000001', byoc_test.sealed()), 'sealed', 'a sealed value comes back');
SELECT byoc_test.refused($$SELECT byoc.unseal(byoc_test.org_b(), 't.c', '11111111-0000-4000-8000-000000000001', byoc_test.sealed())$$,
    '22000', 'does not belong here', 'it does not open for another organization');
SELECT byoc_test.refused($$SELECT byoc.unseal(byoc_test.org_a(), 't.d', '11111111-0000-4000-8000-000000000001', byoc_test.sealed())$$,
    '22000', 'does not belong here', 'it does not open in another column');
SELECT byoc_test.refused($$SELECT byoc.unseal(byoc_test.org_a(), 't.c', '11111111-0000-4000-8000-000000000002', byoc_test.sealed())$$,
    '22000', 'does not belong here', 'it does not open in another row');
SELECT byoc_test.refused($$SELECT byoc.decrypt_bytes(byoc_test.org_a(), byoc_test.sealed())$$,
    '22000', 'does not belong here', 'byoc.decrypt does not open what the extension sealed');
SELECT byoc_test.refused($$SELECT byoc.unseal(byoc_test.org_a(), 'application', '11111111-0000-4000-8000-000000000001', byoc.encrypt(byoc_test.org_a(), 'x'))$$,
    '22000', 'does not belong here', 'byoc.unseal does not open an application''s value that has no context');

-- Tenants
SET LOCAL ROLE byoc_test_tenant;
SELECT byoc_test.refused($$SELECT byoc.encrypt(byoc_test.org_a(), 'x')$$, '28000', 'no tenant context', 'a tenant without a context cannot encrypt');
SELECT byoc_test.refused($$SELECT byoc.decrypt(byoc_test.org_a(), '\x00')$$, '28000', 'no tenant context', 'a tenant without a context cannot decrypt');
SELECT byoc_test.act_as(byoc_test.org_a(), 'member');
SELECT ok(byoc_test.round_trip('mine'), 'a member can use the organization''s key');
SELECT ok(byoc_test.round_trip_bytes('\x00'), 'a member can use the organization''s key for bytes');
SELECT byoc_test.refused($$SELECT byoc.encrypt(byoc_test.org_b(), 'x')$$, '42501', 'another organization', 'a tenant cannot encrypt for another organization');
SELECT byoc_test.refused($$SELECT byoc.decrypt(byoc_test.org_b(), '\x00')$$, '42501', 'another organization', 'a tenant cannot decrypt of another organization');
SELECT byoc_test.refused($$SELECT byoc.encrypt_bytes(byoc_test.org_b(), '\x00')$$, '42501', 'another organization', 'nor encrypt bytes');
SELECT byoc_test.refused($$SELECT byoc.decrypt_bytes(byoc_test.org_b(), '\x00')$$, '42501', 'another organization', 'nor decrypt bytes');
SELECT byoc_test.refused($$SELECT byoc.unseal(byoc_test.org_a(), 't.c', byoc_test.org_a(), '\x00')$$, '42501', 'permission denied',
    'a tenant cannot call byoc.unseal, not even for its own organization');
SELECT byoc_test.refused($$SELECT byoc.seal(byoc_test.org_a(), 't.c', byoc_test.org_a(), 'x')$$, '42501', 'permission denied', 'nor byoc.seal');
RESET ROLE;
SELECT byoc_test.no_context();

-- Data keys
SELECT is((SELECT count(*) FROM byoc.organization_keys k WHERE k.org_id IN (byoc_test.org_a(), byoc_test.org_b()) AND k.state = 'active' AND k.key_id = 1), 2::bigint,
          'each organization has one active key, with id 1');
SELECT isnt((SELECT k.wrapped_key FROM byoc.organization_keys k WHERE k.org_id = byoc_test.org_a()),
            (SELECT k.wrapped_key FROM byoc.organization_keys k WHERE k.org_id = byoc_test.org_b()), 'organizations do not share a key');
SELECT is((SELECT count(DISTINCT (byoc.new_data_key(byoc_test.org_a(), 1)).wrapped_key) FROM generate_series(1, 20)), 20::bigint,
          'every new data key differs');
SELECT byoc_test.refused($$INSERT INTO byoc.organization_keys SELECT org_id, 2, wrapping_key_id, wrapped_key, 'active' FROM byoc.organization_keys
                           WHERE org_id = byoc_test.org_a()$$, '23505', 'one_active', 'an organization cannot have two active keys');
SELECT byoc_test.refused($$UPDATE byoc.organization_keys SET wrapped_key = NULL WHERE org_id = byoc_test.org_a()$$, '23514', 'organization_keys',
    'an active key cannot be empty');

SAVEPOINT keys;
DO $$
BEGIN
    UPDATE byoc.organization_keys SET state = 'retired' WHERE org_id = byoc_test.org_a();
    INSERT INTO byoc.organization_keys SELECT byoc_test.org_a(), 2, k.wrapping_key_id, k.wrapped_key, 'active' FROM byoc.new_data_key(byoc_test.org_a(), 2) AS k;
END
$$;
SELECT is(substr(byoc.encrypt(byoc_test.org_a(), 'x'), 3, 4), '\x00000002'::bytea, 'a new active key is used at once');
SELECT is(byoc.decrypt(byoc_test.org_a(), byoc.encrypt(byoc_test.org_a(), 'x')), 'x', 'what it encrypted opens');
SELECT is(byoc.decrypt(byoc_test.org_a(), e, 'c'), 's', 'what the retired key encrypted still opens') FROM byoc_test.envelope;
DO $$ BEGIN UPDATE byoc.organization_keys SET state = 'destroyed', wrapped_key = NULL WHERE org_id = byoc_test.org_a() AND key_id = 1; END $$;
SELECT byoc_test.refused($$SELECT byoc.decrypt(byoc_test.org_a(), e, 'c') FROM byoc_test.envelope$$, '22000', 'destroyed',
    'what a destroyed key encrypted is gone, also for a session that had the key cached');
SELECT is(byoc.decrypt(byoc_test.org_a(), byoc.encrypt(byoc_test.org_a(), 'x')), 'x', 'the other key still works');
ROLLBACK TO keys;
SELECT is(byoc.decrypt(byoc_test.org_a(), e, 'c'), 's', 'a rolled back destruction leaves the key usable') FROM byoc_test.envelope;
SELECT is(substr(byoc.encrypt(byoc_test.org_a(), 'x'), 3, 4), '\x00000001'::bytea, 'a rolled back rotation is forgotten');

SAVEPOINT keys;
DO $$ BEGIN UPDATE byoc.organization_keys SET state = 'retired' WHERE org_id = byoc_test.org_a(); END $$;
SELECT byoc_test.refused($$SELECT byoc.encrypt(byoc_test.org_a(), 'x')$$, '22', 'no active key', 'without an active key nothing is encrypted');
ROLLBACK TO keys;
DO $$ BEGIN UPDATE byoc.organization_keys SET wrapped_key = set_byte(wrapped_key, 40, get_byte(wrapped_key, 40) # 1) WHERE org_id = byoc_test.org_a(); END $$;
SELECT byoc_test.refused($$SELECT byoc.encrypt(byoc_test.org_a(), 'x')$$, '22000', 'cannot be unwrapped', 'an altered stored key is noticed');
ROLLBACK TO keys;
DO $$
BEGIN
    UPDATE byoc.organization_keys SET wrapped_key = (SELECT b.wrapped_key FROM byoc.organization_keys b WHERE b.org_id = byoc_test.org_b())
    WHERE org_id = byoc_test.org_a();
END
$$;
SELECT byoc_test.refused($$SELECT byoc.encrypt(byoc_test.org_a(), 'x')$$, '22000', 'cannot be unwrapped', 'another organization''s stored key does not open here');
ROLLBACK TO keys;
DO $$ BEGIN UPDATE byoc.organization_keys SET wrapped_key = '\x0102' WHERE org_id = byoc_test.org_a(); END $$;
SELECT byoc_test.refused($$SELECT byoc.encrypt(byoc_test.org_a(), 'x')$$, '22000', 'cannot be unwrapped', 'a damaged stored key is noticed');
ROLLBACK TO keys;

-- An organization that is rolled back and made again with the same id has another key.
SAVEPOINT organization;
DO $$ BEGIN PERFORM byoc.create_organization('C', 'cccccccc-0000-4000-8000-00000000000c'); END $$;
SELECT encode(byoc.encrypt('cccccccc-0000-4000-8000-00000000000c', 'first'), 'hex') AS first_envelope \gset
ROLLBACK TO organization;
SELECT byoc_test.refused($$SELECT byoc.encrypt('cccccccc-0000-4000-8000-00000000000c', 'x')$$, '22', 'no active key', 'a rolled back organization has no key');
DO $$ BEGIN PERFORM byoc.create_organization('C', 'cccccccc-0000-4000-8000-00000000000c'); END $$;
SELECT is(byoc.decrypt('cccccccc-0000-4000-8000-00000000000c', byoc.encrypt('cccccccc-0000-4000-8000-00000000000c', 'second')), 'second',
          'made again, it has a key that works');
SELECT byoc_test.refused(format($$SELECT byoc.decrypt('cccccccc-0000-4000-8000-00000000000c', decode(%L, 'hex'))$$, :'first_envelope'),
    '22000', 'does not belong', 'and that is not the rolled back one');

SELECT * FROM finish();
ROLLBACK;
