-- Maintenance commands run a table owner's functions while the session's user is a superuser: they lend no power.
BEGIN;
\ir support/setup.sql
SELECT plan(8);

CREATE SCHEMA byoc_trap AUTHORIZATION byoc_test_tenant;
SET LOCAL ROLE byoc_test_tenant;
CREATE TABLE byoc_trap.bait (a int);
CREATE TABLE byoc_trap.loot (what text);
CREATE FUNCTION byoc_trap.try(attempt text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    result text;
BEGIN
    EXECUTE attempt INTO result;
    INSERT INTO byoc_trap.loot VALUES (result);
EXCEPTION WHEN OTHERS THEN
    INSERT INTO byoc_trap.loot VALUES (SQLSTATE);
END $$;
CREATE FUNCTION byoc_trap.spring(a int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$
BEGIN
    PERFORM byoc_trap.try('SELECT byoc.sees_all_organizations()');
    PERFORM byoc_trap.try('SELECT count(*) FROM byoc.sms_messages');
    PERFORM byoc_trap.try(format('SELECT byoc.send_sms(%L, %L, org_id => %L)', '+15005550006', 'phish', byoc_test.org_b()));
    PERFORM byoc_trap.try('SELECT byoc.invoking_role()');
    RETURN a;
END $$;
INSERT INTO byoc_trap.bait SELECT generate_series(1, 3);
RESET ROLE;
SELECT byoc.send_sms('+15005550006', 'of organization B', org_id => byoc_test.org_b()) AS m \gset
SELECT ok(byoc.sees_all_organizations(), 'the session itself sees all organizations');

CREATE INDEX bait_trap ON byoc_trap.bait (byoc_trap.spring(a));
SELECT cmp_ok((SELECT count(*) FROM byoc_trap.loot), '>=', 12::bigint, 'CREATE INDEX by a superuser runs the owner''s function');
SELECT set_eq('SELECT what FROM byoc_trap.loot', ARRAY['false', '0', '28000', '42501'],
    'which sees nothing, may send nothing and is told no role');
DELETE FROM byoc_trap.loot;
REINDEX TABLE byoc_trap.bait;
SELECT set_eq('SELECT what FROM byoc_trap.loot', ARRAY['false', '0', '28000', '42501'], 'nor during REINDEX');
DELETE FROM byoc_trap.loot;
ANALYZE byoc_trap.bait;
SELECT set_eq('SELECT what FROM byoc_trap.loot', ARRAY['false', '0', '28000', '42501'], 'nor during ANALYZE');
SELECT is((SELECT count(*) FROM byoc.sms_messages WHERE body = 'phish'), 0::bigint, 'nothing was sent in another''s name');

-- NULL where a C function reads an argument
SELECT throws_ok($$SELECT byoc.rehearse_sms_trigger('pg_class', NULL, 'x', 'y', NULL, NULL)$$, '22004', NULL, 'NULL arguments are an error, not a crash');
SELECT throws_ok($$SELECT byoc.create_sms_trigger('pg_class', 'x', 'x', search_path => NULL)$$, '22004', NULL, 'a NULL search_path, too');

SELECT * FROM finish();
ROLLBACK;
