-- The audit trail: what is recorded, who reads it, and that tampering of every kind is found and named.
BEGIN;
\ir support/setup.sql
SELECT plan(131);

-- 'action details' of an organization's entries in their order.
CREATE FUNCTION byoc_test.audited(org uuid) RETURNS SETOF text LANGUAGE sql SECURITY DEFINER AS $$
    SELECT concat_ws(' ', e.action, e.details::text) FROM byoc.audit_entries e WHERE e.org_id = org ORDER BY e.id;
$$;
CREATE FUNCTION byoc_test.nil() RETURNS uuid LANGUAGE sql IMMUTABLE RETURN '00000000-0000-0000-0000-000000000000'::uuid;
-- Runs something for its effect only.
CREATE FUNCTION byoc_test.run(statement text) RETURNS SETOF text LANGUAGE plpgsql AS $$ BEGIN EXECUTE statement; END $$;

-- What is recorded
SET LOCAL ROLE byoc_test_tenant;
SELECT byoc_test.act_as(byoc_test.org_a(), 'owner', 'ada@example.org');
SELECT byoc.add_credential('twilio', byoc_test.twilio(1), 'First') AS one \gset
SELECT byoc.add_credential('twilio', byoc_test.twilio(2), 'Second') AS two \gset
SELECT byoc_test.run(format($$UPDATE byoc.credentials SET display_name = 'Renamed', is_default = true WHERE id = %L$$, :'two'));
SELECT byoc_test.run(format($$SELECT byoc.update_credential(%L, '{"auth_token": "madeuptoken999999999999999999999", "phone_number": null, "messaging_service_sid": "MG00000000000000000000000000000009"}'::jsonb)$$, :'two'));
SELECT byoc_test.run(format('SELECT byoc.verify_credential(%L)', :'two'));
SELECT byoc_test.run(format('SELECT byoc.revoke_credential(%L)', :'one'));
RESET ROLE;
SELECT byoc_test.no_context();
SELECT results_eq($$SELECT byoc_test.audited(byoc_test.org_a())$$, ARRAY[
    'organization.created',
    'credential.added {"type": "twilio", "fields": ["auth_token", "account_sid", "phone_number"]}',
    'credential.added {"type": "twilio", "fields": ["auth_token", "account_sid", "phone_number"]}',
    'credential.renamed', 'credential.made_default',
    'credential.changed {"fields": ["auth_token", "phone_number", "messaging_service_sid"]}',
    'credential.verification_requested', 'credential.revoked'],
    'what a tenant does with credentials: names of fields, never values');
SELECT results_eq(format($$SELECT DISTINCT action FROM byoc.audit_entries WHERE object_id = %L ORDER BY action$$, :'one'),
    ARRAY['credential.added', 'credential.revoked'], 'an entry names the credential');
SELECT results_eq(format($$SELECT role, session_role = session_user, user_id, org_role, client_addr IS NOT DISTINCT FROM inet_client_addr(),
                                 application_name = current_setting('application_name'), pid = pg_backend_pid(),
                                 abs(extract(epoch FROM clock_timestamp() - at)) < 60
                          FROM byoc.audit_entries WHERE org_id = byoc_test.org_a() AND object_id = %L AND action = 'credential.revoked'$$, :'one'),
    $$VALUES ('byoc_test_tenant', true, 'ada@example.org', 'owner', true, true, true, true)$$, 'who, from where and when');
SELECT is_empty($$SELECT action FROM byoc.audit_entries e WHERE e::text ~ 'madeuptoken'$$, 'no entry holds a secret');

SELECT n.version AS version FROM byoc.organization_api_credentials n WHERE n.id = :'two' \gset
SET LOCAL ROLE byoc_test_dispatcher;
SELECT byoc_test.run(format('SELECT * FROM byoc.open_credentials(ARRAY[byoc_test.org_a(), byoc_test.org_a()], ARRAY[%L, %L]::uuid[])', :'one', :'two'));
SELECT byoc_test.run(format('SELECT byoc.record_verification(byoc_test.org_a(), %L, %s, %L, NULL)', :'two', :version, v))
FROM unnest(ARRAY['retry', 'failed', 'verified']) AS v;
SELECT byoc_test.run(format('SELECT byoc.record_verification(byoc_test.org_a(), %L, 1, %L, NULL)', :'two', 'verified'));
RESET ROLE;
SELECT results_eq($$SELECT byoc_test.audited(byoc_test.org_a()) OFFSET 8$$, ARRAY[
    'credential.leased {"version": 2}', 'credential.verification_failed', 'credential.verified'],
    'a dispatcher''s leases and results; not a retry, a stale result or a revoked credential');

SET LOCAL ROLE byoc_test_admin;
SELECT byoc_test.run($$SELECT byoc.create_organization('C', 'cccccccc-0000-4000-8000-00000000000c')$$);
SELECT byoc_test.run($$UPDATE byoc.organizations SET name = 'Renamed', settings = '{"alert_phone": "+15005550009"}' WHERE id = 'cccccccc-0000-4000-8000-00000000000c'$$);
SELECT byoc_test.run($$UPDATE byoc.organizations SET name = 'Renamed' WHERE id = 'cccccccc-0000-4000-8000-00000000000c'$$);
RESET ROLE;
SELECT byoc_test.add_twilio('cccccccc-0000-4000-8000-00000000000c', 3) AS three \gset
SET LOCAL ROLE byoc_test_admin;
SELECT byoc_test.run($$SELECT byoc.rotate_organization_key('cccccccc-0000-4000-8000-00000000000c')$$);
SELECT byoc_test.run($$SELECT byoc.reencrypt('cccccccc-0000-4000-8000-00000000000c') FROM generate_series(1, 2)$$);
SELECT byoc_test.run($$SELECT byoc.destroy_unused_key('cccccccc-0000-4000-8000-00000000000c', 1)$$);
SELECT byoc_test.run($$SELECT byoc.shred_organization('cccccccc-0000-4000-8000-00000000000c')$$);
SELECT byoc_test.run($$SELECT byoc.reload_keyring()$$);
RESET ROLE;
SELECT results_eq($$SELECT byoc_test.audited('cccccccc-0000-4000-8000-00000000000c')$$, ARRAY[
    'organization.created', 'organization.changed {"fields": ["name", "settings"]}',
    'credential.added {"type": "twilio", "fields": ["auth_token", "account_sid", "phone_number"]}',
    'key.rotated {"key_id": 2}', 'credentials.reencrypted {"count": 1, "key_id": 2, "remaining": 0}', 'key.destroyed {"key_id": 1}',
    'organization.shredded'], 'what becomes of an organization and its keys; its name''s values are not repeated');
SELECT is((SELECT count(*) FROM byoc.audit_entries WHERE org_id = byoc_test.nil() AND action = 'audit.started'), 1::bigint, 'the installation''s chain begins with audit.started');
SELECT ok(EXISTS (SELECT FROM byoc_test.audited(byoc_test.nil()) AS a WHERE a ~ '^keyring.reloaded \{"active": "'), 'a reload of the key ring is the installation''s');
SELECT is((SELECT count(*) FROM byoc_test.audited(byoc_test.nil()) AS a WHERE a = 'privileges.granted {"as": "auditor", "to": "byoc_test_auditor"}'), 1::bigint, 'so are grants');

-- Refused tokens: the transaction's end does not matter
SELECT byoc.seal_audit_log() AS n \gset
SELECT count(*) AS failures FROM byoc.audit_entries WHERE action = 'authentication.failed' \gset
SET LOCAL ROLE byoc_test_tenant;
SELECT byoc_test.refused($$SELECT byoc.authenticate('madeup.token.1')$$, '28000', 'not accepted', 'a token that is none is refused');
SELECT byoc_test.refused($$SET LOCAL byoc.token = 'byoc1.madeup.token'$$, '28000', 'not accepted', 'also when it is set');
SELECT byoc_test.refused($$SELECT byoc.authenticate(NULL)$$, '28000', 'no token', 'also when there is none');
RESET ROLE;
SELECT cmp_ok(byoc.seal_audit_log(), '>', 0, 'sealing writes them down');
SELECT results_eq(format($$SELECT role, details ->> 'reason' ~ '^[a-z ]' FROM byoc.audit_entries WHERE action = 'authentication.failed' ORDER BY id OFFSET %s$$, :failures),
    $$VALUES ('byoc_test_tenant', true), ('byoc_test_tenant', true), ('byoc_test_tenant', true)$$, 'with role and reason');
SELECT is_empty($$SELECT e FROM byoc.audit_entries e WHERE e::text ~ 'madeup'$$, 'and nothing of the token');
SELECT is((SELECT sum(byoc.seal_audit_log()) FROM generate_series(1, 5)), 0::bigint, 'once');
SELECT byoc_test.refused($$SELECT byoc.set_org(byoc_test.nil(), 'x', 'owner')$$, '28000', 'nil UUID', 'nobody acts for the installation');
SELECT byoc_test.refused($$SELECT byoc.create_organization('Nil', byoc_test.nil())$$, '23514', 'organizations', 'no organization has its id');
SELECT byoc_test.refused($$SELECT byoc.encrypt(byoc_test.nil(), 'x')$$, '22023', 'no active key', 'the audit key encrypts nothing');
SELECT byoc_test.refused($$SELECT byoc.decrypt(byoc_test.nil(), byoc.encrypt(byoc_test.org_a(), 'x'))$$, '22000', 'no such key', 'and decrypts nothing');
SELECT byoc_test.refused(format('SELECT byoc.%s', f), 'P0002', 'does not exist', 'byoc.' || f || ' leaves it alone')
FROM unnest(ARRAY['rotate_organization_key(byoc_test.nil())', 'shred_organization(byoc_test.nil())', 'destroy_unused_key(byoc_test.nil(), 1)']) AS f;

-- Who reads it
SET LOCAL ROLE byoc_test_tenant;
SELECT byoc_test.act_as(byoc_test.org_a(), r) FROM unnest(ARRAY['member']) AS r;
SELECT is_empty($$SELECT * FROM byoc.audit_log$$, 'a member reads nothing');
SELECT byoc_test.act_as(byoc_test.org_a(), 'admin');
SELECT results_eq($$SELECT DISTINCT org_id FROM byoc.audit_log$$, ARRAY[byoc_test.org_a()], 'an admin reads the organization''s entries');
SELECT byoc_test.act_as(byoc_test.org_a(), 'owner');
SELECT results_eq($$SELECT DISTINCT org_id FROM byoc.audit_log$$, ARRAY[byoc_test.org_a()], 'so does an owner');
SELECT byoc_test.refused(s, '', 'permission denied|^55000 cannot', 'a tenant cannot: ' || s)
FROM unnest(ARRAY['DELETE FROM byoc.audit_log', 'UPDATE byoc.audit_log SET action = NULL', 'INSERT INTO byoc.audit_log (action) VALUES (NULL)',
                  'SELECT * FROM byoc.verify_audit_log()', 'SELECT byoc.seal_audit_log()', $$SELECT byoc.audit(NULL, 'forged')$$]) AS s;
SELECT byoc_test.no_context();
SELECT is_empty($$SELECT * FROM byoc.audit_log$$, 'without a context a tenant reads nothing');
RESET ROLE;
SET LOCAL ROLE byoc_test_auditor;
SELECT ok((SELECT count(DISTINCT org_id) >= 4 FROM byoc.audit_log), 'an auditor reads all organizations and the installation');
SELECT ok((SELECT count(*) >= 3 FROM byoc.organizations), 'and sees the organizations');
SELECT is_empty($$SELECT * FROM byoc.verify_audit_log() WHERE first_broken IS NOT NULL$$, 'an auditor verifies: all is intact');
SELECT lives_ok($$SELECT (SELECT count(*) FROM byoc.key_status), (SELECT count(*) FROM byoc.master_keys), (SELECT count(*) FROM byoc.audit_heads), (SELECT count(*) FROM byoc.keyring())$$,
    'and reads the state of keys and the chains'' heads');
SELECT byoc_test.refused($$SELECT * FROM byoc.credentials$$, '42501', 'permission denied', 'an auditor reads no credential');
SELECT byoc_test.refused($$SELECT * FROM byoc.sms_messages$$, '42501', 'permission denied', 'nor a message');
SELECT byoc_test.refused($$SELECT * FROM byoc.decrypted_credentials$$, '42501', 'permission denied', 'least of all a secret');
RESET ROLE;

-- Plaintext on purpose
CREATE SCHEMA byoc_test_leaky;
CREATE TABLE byoc_test_leaky.seen (org_id uuid);
GRANT ALL ON SCHEMA byoc_test_leaky TO PUBLIC;
GRANT ALL ON byoc_test_leaky.seen TO PUBLIC;
CREATE FUNCTION byoc_test_leaky.leak(org_id uuid) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS
    $$ BEGIN INSERT INTO byoc_test_leaky.seen VALUES (leak.org_id); RETURN true; END $$;
CREATE ROLE byoc_test_reader;
SELECT byoc.grant_tenant('byoc_test_reader');
GRANT SELECT ON byoc.decrypted_credentials TO byoc_test_reader;
SELECT byoc_test.add_twilio(byoc_test.org_b(), 4) AS four \gset
CREATE FUNCTION byoc_test.decrypts() RETURNS bigint LANGUAGE sql SECURITY DEFINER AS
    $$ SELECT count(*) FROM byoc.audit_entries WHERE action = 'credential.decrypted' $$;
SELECT results_eq($$SELECT attname::text FROM pg_attribute WHERE attrelid = 'byoc.decrypted_credentials'::regclass ORDER BY attnum$$,
    $$SELECT attname::text FROM pg_attribute WHERE attrelid = 'byoc.credentials'::regclass ORDER BY attnum$$, 'byoc.decrypted_credentials has the columns of byoc.credentials');
SET LOCAL ROLE byoc_test_tenant;
SELECT byoc_test.act_as(byoc_test.org_b());
SELECT byoc_test.refused($$SELECT * FROM byoc.decrypted_credentials$$, '42501', 'permission denied', 'a tenant that was not given it on purpose cannot read it');
SELECT byoc_test.refused(format($$SELECT byoc.decrypted_fields(byoc_test.org_b(), %L, 1, '\x00')$$, :'four'), '42501', 'permission denied', 'nor call what is behind it');
SET LOCAL ROLE byoc_test_reader;
SELECT byoc_test.no_context();
SELECT is_empty($$SELECT * FROM byoc.decrypted_credentials$$, 'without a context nothing is read');
SELECT byoc_test.act_as(byoc_test.org_b(), 'member', 'billing');
SELECT is((SELECT fields FROM byoc.decrypted_credentials), byoc_test.twilio(4), 'who was given it reads plaintext, of the own organization');
SELECT is(byoc_test.decrypts(), 1::bigint, 'one entry for one row');
SELECT is((SELECT count(*) FROM byoc.decrypted_credentials), 1::bigint, 'counting rows reads them, too');
SELECT is(byoc_test.decrypts(), 2::bigint, 'and is recorded');
SET LOCAL enable_indexscan = off;
SET LOCAL enable_bitmapscan = off;
SELECT is((SELECT count(*) FROM byoc.decrypted_credentials WHERE byoc_test_leaky.leak(org_id)), 1::bigint, 'a leaky function in WHERE');
SELECT results_eq($$SELECT DISTINCT org_id FROM byoc_test_leaky.seen$$, ARRAY[byoc_test.org_b()], 'sees no row of another organization');
SELECT is(byoc_test.decrypts(), 3::bigint, 'and does not avoid the entry');
SELECT is((SELECT count(*) FROM byoc.audit_log WHERE byoc_test_leaky.leak(org_id)), 0::bigint, 'nor does one over byoc.audit_log');
SELECT results_eq($$SELECT DISTINCT org_id FROM byoc_test_leaky.seen$$, ARRAY[byoc_test.org_b()], 'see another organization''s entry');
RESET enable_indexscan;
RESET enable_bitmapscan;
SELECT is_empty(format($$SELECT * FROM byoc.decrypted_credentials WHERE id = %L$$, :'two'), 'another organization''s credential is not there');
SELECT byoc_test.refused(format($$SELECT byoc.decrypted_fields(byoc_test.org_a(), %L, 1, '\x00')$$, :'two'), '42501', 'another organization', 'nor behind the view');
RESET ROLE;
SELECT byoc_test.act_as(byoc_test.org_b());
SELECT results_eq($$SELECT role, user_id, object_id FROM byoc.audit_entries WHERE action = 'credential.decrypted' LIMIT 1$$,
    format($$VALUES ('byoc_test_reader', 'billing', %L::uuid)$$, :'four'), 'the entry says who read what');
SELECT byoc_test.run($$SELECT byoc.revoke_credential(id) FROM byoc.credentials WHERE org_id = byoc_test.org_b()$$);
SELECT results_eq($$SELECT is_active, fields FROM byoc.decrypted_credentials$$, $$VALUES (false, NULL::jsonb)$$, 'of a revoked one nothing is left to read');
SELECT byoc_test.no_context();

-- Only growing
SELECT byoc.seal_audit_log() AS n \gset
SELECT byoc_test.refused(s, '42501', 'the audit trail only grows', 'even a superuser gets: ' || s)
FROM unnest(ARRAY['UPDATE byoc.audit_entries SET pid = 0', 'DELETE FROM byoc.audit_entries', 'TRUNCATE byoc.audit_entries',
                  'UPDATE byoc.audit_seals SET n = n', 'DELETE FROM byoc.audit_seals', 'TRUNCATE byoc.audit_seals',
                  'DELETE FROM byoc.audit_chain_heads', 'TRUNCATE byoc.audit_chain_heads', 'TRUNCATE byoc.audit_unsealed']) AS s;

-- Several organizations are sealed by one call
SELECT byoc_test.run($$SELECT byoc.audit(NULL, 'd1'), byoc.audit(byoc_test.org_b(), 'd2'), byoc.audit(byoc_test.org_b(), 'd3')$$);
SELECT cmp_ok(byoc.seal_audit_log(), '>=', 3, 'one call seals what waits of several organizations');
SELECT results_eq($$SELECT h.org_id, array_agg(e.action ORDER BY e.id)::text FROM byoc.audit_chain_heads h JOIN byoc.audit_seals s ON s.org_id = h.org_id AND s.n = h.n
    JOIN byoc.audit_entries e ON e.org_id = s.org_id AND e.id = ANY (s.entries) WHERE h.org_id IN (byoc_test.nil(), byoc_test.org_b()) GROUP BY 1 ORDER BY 1$$,
    $$VALUES (byoc_test.nil(), '{d1}'), (byoc_test.org_b(), '{d2,d3}')$$, 'each in a seal of its own');

-- Tampering, by someone who disables the triggers. Of org_a: seal 1 (a1 the creation, a2, ...), seals 2 (b1, b2), 3 (c1); w waits.
SELECT byoc.seal_audit_log() AS n \gset
SELECT byoc_test.run($$SELECT byoc.audit(byoc_test.org_a(), 'b1'), byoc.audit(byoc_test.org_a(), 'b2')$$);
SELECT byoc.seal_audit_log() AS n \gset
SELECT byoc_test.run($$SELECT byoc.audit(byoc_test.org_a(), 'c1')$$);
SELECT byoc.seal_audit_log() AS n \gset
SELECT byoc_test.run($$SELECT byoc.audit(byoc_test.org_a(), 'w')$$);
ALTER TABLE byoc.audit_entries DISABLE TRIGGER USER;
ALTER TABLE byoc.audit_seals DISABLE TRIGGER USER;
ALTER TABLE byoc.audit_chain_heads DISABLE TRIGGER USER;
SELECT entries[1] AS a1, entries[2] AS a2 FROM byoc.audit_seals WHERE org_id = byoc_test.org_a() AND n = 1 \gset
SELECT max(n) AS top FROM byoc.audit_seals WHERE org_id = byoc_test.org_a() \gset
SELECT entries[1] AS b1, entries[2] AS b2 FROM byoc.audit_seals WHERE org_id = byoc_test.org_a() AND n = :top - 1 \gset
SELECT entries[1] AS c1 FROM byoc.audit_seals WHERE org_id = byoc_test.org_a() AND n = :top \gset
SELECT id AS w FROM byoc.audit_entries WHERE org_id = byoc_test.org_a() AND action = 'w' \gset

-- Passes when after these statements verification names the expected entry of org_a; their effects are undone.
CREATE FUNCTION byoc_test.finds(statements text, expected uuid, description text, of_org uuid DEFAULT byoc_test.org_a()) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
    found text;
BEGIN
    BEGIN
        EXECUTE statements;
        SELECT coalesce(v.first_broken::text, 'intact') INTO found FROM byoc.verify_audit_log(of_org) AS v;
        RAISE EXCEPTION 'undo' USING ERRCODE = 'B0000';
    EXCEPTION WHEN SQLSTATE 'B0000' THEN
        RETURN is(found, coalesce(expected::text, 'intact'), description);
    END;
END
$$;
SELECT byoc_test.finds('SELECT', NULL, 'as written: intact');
SELECT byoc_test.finds(format('UPDATE byoc.audit_entries SET %s WHERE org_id = byoc_test.org_a() AND id = %L', s, :'a2'), :'a2', 'an edited entry is named: ' || s)
FROM unnest(ARRAY['at = at + interval ''1 us''', 'action = ''x''', 'object_id = NULL', 'details = ''{}''', 'role = ''x''', 'session_role = NULL', 'user_id = ''eve''',
                  'org_role = ''member''', 'client_addr = ''10.0.0.1''', 'application_name = ''x''', 'pid = pid + 1', 'after_seal = after_seal - 1',
                  'mac = set_byte(mac, 31, get_byte(mac, 31) # 1)', 'user_id = org_role, org_role = user_id', 'mac = ''''']) AS s;
SELECT byoc_test.finds(format('UPDATE byoc.audit_entries SET pid = 0 WHERE id IN (%L, %L)', :'b1', :'a2'), :'a2', 'of two the first');
SELECT byoc_test.finds(format('UPDATE byoc.audit_entries SET pid = 0 WHERE id = %L', :'w'), :'w', 'one that waits is checked, too');
SELECT byoc_test.finds(format('DELETE FROM byoc.audit_entries WHERE id = %L', x), x, 'a deleted entry is named') FROM unnest(ARRAY[:'a1', :'a2', :'b2', :'c1', :'w']::uuid[]) AS x;
SELECT byoc_test.finds(format('DELETE FROM byoc.audit_entries WHERE id = %L; SELECT byoc.seal_audit_log()', :'w'), :'w', 'one deleted before it is sealed, too, once it was waiting');
SELECT byoc_test.finds(format('DELETE FROM byoc.audit_unsealed WHERE id = %L', :'w'), :'w', 'one that would never be sealed');
SELECT byoc_test.finds($$INSERT INTO byoc.audit_entries (org_id, id, at, action, pid, after_seal, mac)
    VALUES (byoc_test.org_a(), 'ffffffff-0000-7000-8000-000000000001', now(), 'forged', 1, 0, decode(repeat('ab', 32), 'hex'))$$,
    'ffffffff-0000-7000-8000-000000000001', 'a forged entry');
SELECT byoc_test.finds($$INSERT INTO byoc.audit_entries (org_id, id, at, action, pid, after_seal, mac)
    VALUES (byoc_test.org_a(), 'ffffffff-0000-7000-8000-000000000001', now(), 'forged', 1, 0, decode(repeat('ab', 32), 'hex'));
    INSERT INTO byoc.audit_unsealed VALUES (byoc_test.org_a(), 'ffffffff-0000-7000-8000-000000000001'); SELECT byoc.seal_audit_log()$$,
    'ffffffff-0000-7000-8000-000000000001', 'also after it was sealed');
SELECT byoc_test.finds(format($$INSERT INTO byoc.audit_entries SELECT org_id, 'ffffffff-0000-7000-8000-000000000001', at, action, object_id, details, role, session_role,
    user_id, org_role, client_addr, application_name, pid, after_seal, mac FROM byoc.audit_entries WHERE id = %L$$, :'a2'),
    'ffffffff-0000-7000-8000-000000000001', 'a copied entry');
SELECT byoc_test.finds(format('UPDATE byoc.audit_entries SET org_id = byoc_test.org_b() WHERE id = %L', :'a2'), :'a2', 'an entry moved to another organization is missed');
SELECT byoc_test.finds(format('UPDATE byoc.audit_entries SET org_id = byoc_test.org_b() WHERE id = %L', :'a2'), :'a2', 'and found where it does not belong', byoc_test.org_b());
SELECT byoc_test.finds(format($$UPDATE byoc.audit_entries SET id = 'ffffffff-0000-7000-8000-000000000001' WHERE id = %1$L;
    UPDATE byoc.audit_entries SET id = %1$L WHERE id = %2$L; UPDATE byoc.audit_entries SET id = %2$L WHERE id = 'ffffffff-0000-7000-8000-000000000001'$$, :'b1', :'b2'), :'b1', 'two entries that changed places');
SELECT byoc_test.finds('UPDATE byoc.audit_seals SET entries = ARRAY[entries[2], entries[1]] WHERE org_id = byoc_test.org_a() AND n = ' || :top - 1, :'b2', 'a seal''s entries in another order');
SELECT byoc_test.finds(format('UPDATE byoc.audit_seals SET entries = entries || %L::uuid WHERE org_id = byoc_test.org_a() AND n = %s', :'w', :top), :'w', 'an entry put into a seal afterwards');
SELECT byoc_test.finds(format('UPDATE byoc.audit_seals SET entries = ARRAY[entries[1]] WHERE org_id = byoc_test.org_a() AND n = %s', :top - 1), :'b1', 'or taken out of it');
SELECT byoc_test.finds(format('UPDATE byoc.audit_seals SET n = CASE n WHEN %1$s THEN 1000 ELSE %1$s END WHERE org_id = byoc_test.org_a() AND n IN (%1$s, %2$s);
    UPDATE byoc.audit_seals SET n = %2$s WHERE org_id = byoc_test.org_a() AND n = 1000', :top - 1, :top), :'c1', 'two seals that changed places');
SELECT byoc_test.finds('UPDATE byoc.audit_seals SET sealed_at = sealed_at - interval ''1 day'' WHERE org_id = byoc_test.org_a() AND n = ' || :top - 1, :'b1', 'a seal''s time');
SELECT byoc_test.finds('DELETE FROM byoc.audit_seals WHERE org_id = byoc_test.org_a() AND n = ' || :top - 1, :'b1', 'a deleted seal: its first entry is in none');
SELECT byoc_test.finds(format('DELETE FROM byoc.audit_seals WHERE org_id = byoc_test.org_a() AND n = %s; DELETE FROM byoc.audit_entries WHERE id IN (%L, %L)', :top - 1, :'b1', :'b2'),
    :'c1', 'deleted together with its entries: the first one after the gap');
SELECT byoc_test.finds(format('DELETE FROM byoc.audit_seals WHERE org_id = byoc_test.org_a() AND n = %s', :top), :'c1', 'the newest seal deleted');
SELECT byoc_test.finds(format('DELETE FROM byoc.audit_seals WHERE org_id = byoc_test.org_a() AND n = %s; DELETE FROM byoc.audit_entries WHERE id = %L', :top, :'c1'),
    :'c1', 'the newest seal deleted with its entries: the head knows the last one');
SELECT byoc_test.finds(format('DELETE FROM byoc.audit_seals WHERE org_id = byoc_test.org_a() AND n = %1$s; DELETE FROM byoc.audit_entries WHERE id = %2$L;
    UPDATE byoc.audit_chain_heads h SET n = s.n, digest = s.digest, last_entry = %3$L FROM byoc.audit_seals s WHERE h.org_id = s.org_id AND s.org_id = byoc_test.org_a() AND s.n = %1$s - 1',
    :top, :'c1', :'b2'), :'w', 'the head put back by hand: what came after knows better');
SELECT byoc_test.finds('DELETE FROM byoc.audit_chain_heads WHERE org_id = byoc_test.org_a()', :'c1', 'a head deleted');
SELECT byoc_test.finds(format('DELETE FROM byoc.audit_chain_heads WHERE org_id = byoc_test.org_a(); DELETE FROM byoc.audit_seals WHERE org_id = byoc_test.org_a() AND n = %s;
    DELETE FROM byoc.audit_entries WHERE id IN (%L, %L); DELETE FROM byoc.audit_unsealed; SELECT byoc.audit(byoc_test.org_a(), ''later''), byoc.seal_audit_log()', :top, :'c1', :'w'),
    :'b2', 'a head deleted with all that it knew: sealing goes not on as if nothing had been');
SELECT byoc_test.finds($$UPDATE byoc.audit_chain_heads SET n = n + 1 WHERE org_id = byoc_test.org_a(); SELECT byoc.audit(byoc_test.org_a(), 'x'), byoc.audit(byoc_test.org_b(), 'y');
    SELECT byoc.seal_audit_log(); DELETE FROM byoc.audit_unsealed WHERE org_id = byoc_test.org_b()$$,
    NULL, 'others'' entries are sealed all the same', byoc_test.org_b());
SELECT byoc_test.finds(format('DELETE FROM byoc.audit_chain_heads WHERE org_id = byoc_test.org_a(); DELETE FROM byoc.audit_seals WHERE org_id = byoc_test.org_a();
    DELETE FROM byoc.audit_entries WHERE id = %L; INSERT INTO byoc.audit_unsealed SELECT org_id, id FROM byoc.audit_entries WHERE org_id = byoc_test.org_a() AND id <> %L;
    SELECT byoc.seal_audit_log()', :'a2', :'w'), :'b1', 'a chain made anew without an entry: others were written when it was longer');
SELECT byoc_test.finds($$DELETE FROM byoc.audit_chain_heads WHERE org_id = byoc_test.org_a(); SELECT byoc.audit(byoc_test.org_b(), 'later'), byoc.seal_audit_log();
    DO 'BEGIN ASSERT NOT EXISTS (SELECT FROM byoc.audit_unsealed WHERE org_id = byoc_test.org_b()) AND EXISTS (SELECT FROM byoc.audit_unsealed WHERE org_id = byoc_test.org_a()); END'$$,
    NULL, 'one organization''s broken chain, which is not prolonged, does not hold up another''s', byoc_test.org_b());
SELECT byoc_test.finds(format('UPDATE byoc.audit_chain_heads SET %s WHERE org_id = byoc_test.org_a()', s), :'c1', 'an edited head: ' || s)
FROM unnest(ARRAY['sealed_at = now()', 'mac = ''''']) AS s;
SELECT byoc_test.finds('DELETE FROM byoc.audit_entries WHERE org_id = byoc_test.org_a()', :'a1', 'all entries deleted');
SELECT byoc_test.finds('TRUNCATE byoc.audit_seals', :'a1', 'seals truncated');
SELECT byoc_test.finds('TRUNCATE byoc.audit_entries', :'a1', 'entries truncated');
SELECT byoc_test.finds('TRUNCATE byoc.audit_chain_heads', :'c1', 'heads truncated');
SELECT byoc_test.finds('TRUNCATE byoc.audit_entries, byoc.audit_seals, byoc.audit_chain_heads; DELETE FROM byoc.audit_unsealed', o, 'everything truncated: the organization''s id', o)
FROM unnest(ARRAY[byoc_test.org_a(), byoc_test.nil()]) AS o;
SELECT byoc_test.finds($$TRUNCATE byoc.audit_entries, byoc.audit_seals, byoc.audit_chain_heads; DELETE FROM byoc.audit_unsealed;
    SELECT byoc.audit(byoc_test.org_a(), 'later'), byoc.seal_audit_log()$$, byoc_test.org_a(), 'and goes on: its creation is missing');
SELECT byoc_test.finds('DELETE FROM byoc.organization_keys WHERE org_id = byoc_test.nil()', :'a1', 'without the audit key nothing is authentic');
SELECT byoc_test.finds($$DELETE FROM byoc.organization_keys WHERE org_id = byoc_test.nil(); SELECT byoc.audit(byoc_test.org_a(), 'later')$$, :'a1', 'with another one neither');
SELECT ok((SELECT bool_and(v.first_broken IS NULL) FROM byoc.verify_audit_log() AS v), 'after all that was undone, all chains are intact');

-- Heads kept outside
SELECT n AS head_n, digest AS head_digest FROM byoc.audit_heads WHERE org_id = byoc_test.org_a() \gset
SELECT byoc.seal_audit_log() AS n \gset
SELECT is((SELECT v.first_broken FROM byoc.verify_audit_log(byoc_test.org_a(), :head_n, :'head_digest') AS v), NULL, 'the chain still holds a head that was kept');
SELECT is((SELECT v.first_broken FROM byoc.verify_audit_log(byoc_test.org_a(), :head_n, :'head_digest'::bytea || '\x00') AS v), :'c1', 'but not one of another chain');
SELECT isnt((SELECT v.first_broken FROM byoc.verify_audit_log(byoc_test.org_a(), 1000, :'head_digest') AS v), NULL, 'nor one that it never reached');

-- A shredded organization's audit, and keys in their lives
SELECT byoc_test.run($$SELECT byoc.shred_organization(byoc_test.org_a())$$);
SELECT byoc.seal_audit_log() AS n \gset
SELECT is((SELECT v.first_broken FROM byoc.verify_audit_log(byoc_test.org_a()) AS v), NULL, 'a shredded organization''s audit is kept and verifies');
SELECT ok((SELECT k.state = 'active' AND k.master_key_state = 'active' FROM byoc.key_status k WHERE k.org_id = byoc_test.nil()), 'the audit key shows in byoc.key_status');

SELECT * FROM finish();
ROLLBACK;
