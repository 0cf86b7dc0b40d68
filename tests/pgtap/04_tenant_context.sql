-- The tenant context: who the session acts for, how it ends, and that nobody can make one up.
BEGIN;
\ir support/setup.sql
SELECT plan(94);

CREATE FUNCTION byoc_test.context() RETURNS text LANGUAGE sql AS $$
    SELECT coalesce(byoc.current_org_id()::text, 'none') || ' ' || coalesce(byoc.current_user_id(), 'nobody') || ' ' || coalesce(byoc.current_org_role(), 'none');
$$;

SELECT is(byoc_test.context(), 'none nobody none', 'a new session has no context');
SELECT is(current_setting('byoc.token'), '', 'byoc.token is empty then');

-- Setting
SAVEPOINT one;
SELECT is(byoc.set_org(byoc_test.org_a(), 'user-7', 'admin'), byoc_test.org_a(), 'byoc.set_org returns the organization');
SELECT is(byoc_test.context(), byoc_test.org_a() || ' user-7 admin', 'organization, user and role come back');
SELECT is(byoc.set_org(byoc_test.org_b(), NULL, 'owner'), byoc_test.org_b(), 'it can be changed within a transaction');
SELECT is(byoc_test.context(), byoc_test.org_b() || ' nobody owner', 'without a user there is none');
SELECT is(byoc.set_org(byoc_test.org_a()), byoc_test.org_a(), 'user and role may be left out');
SELECT is(byoc_test.context(), byoc_test.org_a() || ' nobody member', 'the role is member then');
SELECT is(byoc.set_org(byoc_test.org_a(), ''), byoc_test.org_a(), 'an empty user is allowed');
SELECT is(byoc.current_user_id(), NULL, 'and means none');
SELECT is(byoc.set_org(byoc_test.org_a(), 'Zoë 🔥 "q" ''s'' | .'), byoc_test.org_a(), 'a user id may hold any text');
SELECT is(byoc.current_user_id(), 'Zoë 🔥 "q" ''s'' | .', 'and comes back as it was');
SELECT is(byoc.set_org(byoc_test.org_a(), repeat('u', 255)), byoc_test.org_a(), 'a user id may have 255 bytes');
SELECT is(byoc.current_user_id(), repeat('u', 255), 'and comes back in full');
SELECT byoc_test.refused($$SELECT byoc.set_org(byoc_test.org_b(), repeat('u', 256))$$, '22001', '256 bytes', 'a longer one is refused');
SELECT byoc_test.refused($$SELECT byoc.set_org(byoc_test.org_b(), repeat('é', 128))$$, '22001', '256 bytes', 'bytes count, not characters');
SELECT byoc_test.refused($$SELECT byoc.set_org(NULL)$$, '22004', 'org_id', 'a NULL organization is refused');
SELECT byoc_test.refused($$SELECT byoc.set_org(byoc_test.org_b(), NULL, 'root')$$, '22023', 'root.*owner, admin and member', 'an unknown role is refused, the known ones are listed');
SELECT byoc_test.refused($$SELECT byoc.set_org(byoc_test.org_b(), NULL, 'Owner')$$, '22023', 'Owner', 'roles are written in lower case');
SELECT is(byoc.current_org_id(), byoc_test.org_a(), 'a refused call leaves the context as it was');

-- Ending
SELECT is(set_config('byoc.token', '', true), '', 'an empty token ends the context');
SELECT is(byoc_test.context(), 'none nobody none', 'then there is none');
SELECT byoc_test.act_as(byoc_test.org_a());
RESET byoc.token;
SELECT is(byoc_test.context(), 'none nobody none', 'RESET byoc.token ends the context');
SELECT byoc_test.act_as(byoc_test.org_a());
SET LOCAL byoc.token TO DEFAULT;
SELECT is(byoc_test.context(), 'none nobody none', 'SET LOCAL byoc.token TO DEFAULT ends the context');
SELECT is(byoc.set_org(byoc_test.org_a(), 'session', 'owner', local => false), byoc_test.org_a(), 'a context may be set for the session');
SELECT byoc_test.act_as(byoc_test.org_b(), 'member', 'transaction');
SELECT is(byoc_test.context(), byoc_test.org_b() || ' transaction member', 'within a transaction another one may cover it');
ROLLBACK TO one;
SELECT is(byoc_test.context(), 'none nobody none', 'rolling back to a savepoint undoes the context, also the session''s');

SELECT byoc_test.act_as(byoc_test.org_a(), 'owner', 'outer');
SAVEPOINT two;
SELECT byoc_test.act_as(byoc_test.org_b(), 'member', 'inner');
SELECT is(byoc_test.context(), byoc_test.org_b() || ' inner member', 'a savepoint may have its own context');
ROLLBACK TO two;
SELECT is(byoc_test.context(), byoc_test.org_a() || ' outer owner', 'rolling back to the savepoint brings the outer context back');
SAVEPOINT three;
SELECT byoc_test.act_as(byoc_test.org_b(), 'member', 'inner');
RELEASE three;
SELECT is(byoc_test.context(), byoc_test.org_b() || ' inner member', 'releasing the savepoint keeps the inner context');
CREATE FUNCTION byoc_test.without_context() RETURNS text LANGUAGE sql SET byoc.token = '' AS $$ SELECT byoc_test.context() $$;
SELECT is(byoc_test.without_context(), 'none nobody none', 'a function may run without the context');
SELECT is(byoc_test.context(), byoc_test.org_b() || ' inner member', 'and it is back after it');

-- Hidden
SELECT is(current_setting('byoc.token'), '(hidden)', 'current_setting does not show the token');
SELECT is((SELECT count(*) FROM pg_settings WHERE name = 'byoc.token'), 0::bigint, 'pg_settings does not list it');
CREATE FUNCTION byoc_test.shown() RETURNS text LANGUAGE plpgsql AS $$ DECLARE v text; BEGIN EXECUTE 'SHOW byoc.token' INTO v; RETURN v; END $$;
SELECT is(byoc_test.shown(), '(hidden)', 'SHOW does not show it');
SELECT byoc_test.refused($$SELECT set_config('byoc.token', current_setting('byoc.token'), true)$$, '28000', 'not accepted', 'what is shown is no token');
SELECT byoc_test.refused($$CREATE FUNCTION byoc_test.keeper() RETURNS text LANGUAGE sql SET byoc.token FROM CURRENT AS 'SELECT 1::text'$$,
    '28000', 'within a session', 'a function''s definition cannot keep the token');

-- Forged
SELECT byoc_test.no_context();
CREATE TABLE byoc_test.forged (what text, token text);
INSERT INTO byoc_test.forged VALUES
    ('garbage', 'MADEUPgarbage'),
    ('a bare organization id', 'aaaaaaaa-0000-4000-8000-00000000000a'),
    ('an unsigned JWT', 'eyJhbGciOiJub25lIn0.eyJvcmdfaWQiOiJhYWFhYWFhYSJ9.'),
    ('a JWT signed with a made up secret', 'eyJhbGciOiJIUzI1NiJ9.eyJvcmdfaWQiOiJhYWFhYWFhYSJ9.MADEUPMADEUPMADEUPMADEUPMADEUPMADEUPMADEUPM'),
    ('only the prefix', 'byoc1.'),
    ('no signature', 'byoc1.MADEUPMADEUPMADEUPMADEUPMADEUP'),
    ('a short signature', 'byoc1.MADEUPMADEUPMADEUPMADEUP.MADEUP'),
    ('a wrong signature', 'byoc1.MADEUPMADEUPMADEUPMADEUPMADEUP.' || repeat('A', 43)),
    ('a signature with a wrong alphabet', 'byoc1.MADEUPMADEUPMADEUPMADEUPMADEUP.' || repeat('+', 43)),
    ('a well formed payload with a made up signature', 'byoc1.' || translate(encode(
        '\x026b31'::bytea || decode(replace('aaaaaaaa-0000-4000-8000-00000000000a', '-', ''), 'hex') || '\x7fffffffffffffff'::bytea
        || int4send(pg_backend_pid()) || '\x0200'::bytea, 'base64'), E'+/=\n', '-_') || '.' || repeat('MADEUP', 7) || 'M'),
    ('a payload longer than any', 'byoc1.' || repeat('MADEUP', 2000) || '.' || repeat('A', 43)),
    ('only blanks', '   '),
    ('a token with a line feed', E'byoc1.MADEUP\nMADEUP.' || repeat('A', 43)),
    ('non-ASCII text', 'byoc1.MADEUPé🔥.' || repeat('A', 43));
GRANT SELECT ON byoc_test.forged TO PUBLIC;
SET LOCAL ROLE byoc_test_tenant;
SELECT byoc_test.refused(format('SET LOCAL byoc.token = %L', token), '28000', 'byoc.token is not accepted', what || ' is no token')
FROM byoc_test.forged;
SELECT is_empty($$SELECT what FROM byoc_test.forged
                  WHERE token !~ '^\s*$' AND position(left(token, 12) IN byoc_test.error_of(format('SELECT set_config(%L, %L, true)', 'byoc.token', token))) > 0$$,
    'no error text repeats the token');
SELECT is(byoc_test.context(), 'none nobody none', 'a refused token leaves no context');
RESET ROLE;
SELECT byoc_test.refused($$ALTER ROLE byoc_test_tenant SET byoc.token = 'byoc1.MADEUP'$$, '28000', 'within a session', 'ALTER ROLE cannot publish a token');
SELECT byoc_test.refused(format('ALTER DATABASE %I SET byoc.token = %L', current_database(), 'byoc1.MADEUP'), '28000', 'within a session',
    'ALTER DATABASE cannot publish a token');
SELECT byoc_test.refused(format('ALTER ROLE byoc_test_tenant IN DATABASE %I SET byoc.token = %L', current_database(), 'byoc1.MADEUP'), '28000', 'within a session',
    'ALTER ROLE IN DATABASE cannot publish a token');
SELECT byoc_test.refused($$CREATE FUNCTION byoc_test.f() RETURNS text LANGUAGE sql SET byoc.token = 'byoc1.MADEUP' AS 'SELECT 1::text'$$, '28000', 'within a session',
    'CREATE FUNCTION ... SET cannot publish a token');

-- The checks that functions make
SELECT lives_ok($$SELECT byoc.require_organization(byoc_test.org_a(), 'owner')$$, 'a role that bypasses row-level security needs no context');
SELECT ok(byoc.sees_all_organizations(), 'it sees all organizations');
SELECT byoc_test.refused($$SELECT byoc.require_organization(NULL)$$, '28000', 'no tenant context', 'but it has to say which one it means');
SELECT byoc_test.act_as(byoc_test.org_a(), 'admin');
SELECT ok(NOT byoc.sees_all_organizations(), 'with a context it is bound to it like everybody');
SELECT byoc_test.refused($$SELECT byoc.require_organization(byoc_test.org_b())$$, '42501', 'another organization', 'and is refused another organization');
SELECT byoc_test.no_context();
CREATE ROLE byoc_test_bypass BYPASSRLS;
SELECT byoc.grant_tenant('byoc_test_bypass');
SET LOCAL ROLE byoc_test_bypass;
SELECT ok(byoc.sees_all_organizations(), 'BYPASSRLS sees all organizations too');
RESET ROLE;
SET LOCAL ROLE byoc_test_tenant;
SELECT ok(NOT byoc.sees_all_organizations(), 'a tenant without a context does not see all organizations');
SELECT byoc_test.refused($$SELECT byoc.require_organization(byoc_test.org_a())$$, '28000', 'no tenant context.*set_org', 'without a context: 28000, and the hint says how to set one');
SELECT byoc_test.refused($$SELECT byoc.require_organization(NULL)$$, '28000', 'no tenant context', 'a NULL organization without a context: 28000');
SELECT byoc_test.act_as(byoc_test.org_a(), 'member');
SELECT lives_ok($$SELECT byoc.require_organization(byoc_test.org_a())$$, 'the own organization is accepted');
SELECT byoc_test.refused($$SELECT byoc.require_organization(byoc_test.org_b())$$, '42501', 'another organization', 'another organization: 42501');
SELECT byoc_test.refused($$SELECT byoc.require_organization(NULL)$$, '42501', 'another organization', 'no organization with a context: 42501');
SELECT byoc_test.refused($$SELECT byoc.require_organization(byoc_test.org_a(), 'admin')$$, '42501', 'admin.*member', 'a member is no admin');
SELECT byoc_test.refused($$SELECT byoc.require_organization(byoc_test.org_a(), 'owner')$$, '42501', 'owner.*member', 'a member is no owner');
SELECT byoc_test.act_as(byoc_test.org_a(), 'admin');
SELECT lives_ok($$SELECT byoc.require_organization(byoc_test.org_a(), 'admin')$$, 'an admin is an admin');
SELECT byoc_test.refused($$SELECT byoc.require_organization(byoc_test.org_a(), 'owner')$$, '42501', 'owner.*admin', 'an admin is no owner');
SELECT byoc_test.act_as(byoc_test.org_a(), 'owner');
SELECT lives_ok($$SELECT byoc.require_organization(byoc_test.org_a(), 'owner'), byoc.require_organization(byoc_test.org_a(), 'admin')$$, 'an owner may do all');
SELECT is(byoc.invoking_role()::text, 'byoc_test_tenant', 'byoc.invoking_role is the current role');
RESET ROLE;
CREATE FUNCTION byoc_test.definer() RETURNS text LANGUAGE sql SECURITY DEFINER AS $$ SELECT byoc.invoking_role()::text || ' ' || byoc.sees_all_organizations()::text $$;
SELECT byoc_test.no_context();
SET LOCAL ROLE byoc_test_tenant;
SELECT is(byoc_test.definer(), 'byoc_test_tenant false', 'a SECURITY DEFINER function of a superuser does not lend its view of all organizations');
RESET ROLE;

-- What a tenant sees through the views
DO $$
BEGIN
    PERFORM byoc_test.add_twilio(byoc_test.org_a(), 1);
    PERFORM byoc_test.add_twilio(byoc_test.org_b(), 2);
    PERFORM byoc.send_sms('+15005550001', 'of A', org_id => byoc_test.org_a());
    PERFORM byoc.send_sms('+15005550002', 'of B', org_id => byoc_test.org_b());
    PERFORM byoc.send_sms('+15005550001', 'of A, later', now() + interval '1 day', org_id => byoc_test.org_a());
    PERFORM byoc.send_sms('+15005550002', 'of B, later', now() + interval '1 day', org_id => byoc_test.org_b());
    PERFORM byoc.send_sms('+15005550001', 'of A, cancelled', org_id => byoc_test.org_a());
    PERFORM byoc.send_sms('+15005550002', 'of B, cancelled', org_id => byoc_test.org_b());
    PERFORM byoc.cancel_sms(m.id) FROM (SELECT s.id FROM byoc.sms_messages s WHERE s.body LIKE '%cancelled') AS m;
END
$$;
CREATE FUNCTION byoc_test.seen() RETURNS text LANGUAGE sql AS $$
    SELECT (SELECT coalesce(string_agg(DISTINCT left(c.org_id::text, 1), ',') || count(*), '0') FROM byoc.credentials c) || ' '
        || (SELECT coalesce(string_agg(DISTINCT left(m.org_id::text, 1), ',') || count(*), '0') FROM byoc.sms_messages m) || ' '
        || (SELECT coalesce(string_agg(DISTINCT left(e.org_id::text, 1), ',') || count(*), '0') FROM byoc.sms_events e) || ' '
        || (SELECT coalesce(string_agg(DISTINCT left(o.id::text, 1), ',') || count(*), '0') FROM byoc.organizations o);
$$;
SELECT is(byoc_test.seen(), 'a,b2 a,b6 a,b2 a,b2', 'a superuser without a context sees credentials, messages, events and organizations of all');
SET LOCAL ROLE byoc_test_tenant;
SELECT is(byoc_test.seen(), '0 0 0 0', 'a tenant without a context sees nothing');
SELECT byoc_test.act_as(byoc_test.org_a(), 'member');
SELECT is(byoc_test.seen(), 'a1 a3 a1 a1', 'a tenant sees its own credentials, messages, events and organization only');
SELECT byoc_test.act_as(byoc_test.org_b(), 'owner');
SELECT is(byoc_test.seen(), 'b1 b3 b1 b1', 'so does the other one');
SELECT is((SELECT count(*) FROM byoc.sms_messages WHERE org_id = byoc_test.org_a()), 0::bigint, 'asking for the other organization by id gives nothing');
SELECT byoc_test.act_as('eeeeeeee-0000-4000-8000-00000000000e', 'owner');
SELECT is(byoc_test.seen(), '0 0 0 0', 'a context of an organization that does not exist sees nothing');
RESET ROLE;
SELECT byoc_test.act_as(byoc_test.org_a(), 'member');
SELECT is(byoc_test.seen(), 'a1 a3 a1 a,b2', 'a superuser with a context sees through the views what the tenant sees');
SELECT byoc_test.no_context();

-- A function in WHERE that tells what it is given
CREATE TABLE byoc_test.leaked (value text);
GRANT INSERT, SELECT, DELETE ON byoc_test.leaked TO PUBLIC;
CREATE FUNCTION byoc_test.leak(value text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS $$
BEGIN INSERT INTO byoc_test.leaked VALUES (value); RETURN true; END $$;
SET LOCAL ROLE byoc_test_tenant;
SELECT byoc_test.act_as(byoc_test.org_a(), 'member');
SELECT is((SELECT count(*) FROM byoc.credentials WHERE byoc_test.leak(org_id::text)), 1::bigint, 'a leaky function in WHERE runs on byoc.credentials');
SELECT byoc_test.lists('SELECT value FROM byoc_test.leaked', ARRAY[byoc_test.org_a()::text], 'and is given own rows only');
DO $$ BEGIN DELETE FROM byoc_test.leaked; END $$;
SELECT is((SELECT count(*) FROM byoc.sms_messages WHERE byoc_test.leak(org_id::text)), 3::bigint, 'a leaky function in WHERE runs on byoc.sms_messages');
SELECT byoc_test.lists('SELECT DISTINCT value FROM byoc_test.leaked', ARRAY[byoc_test.org_a()::text], 'and is given own rows only');
DO $$ BEGIN DELETE FROM byoc_test.leaked; END $$;
SELECT is((SELECT count(*) FROM byoc.sms_events WHERE byoc_test.leak(org_id::text)), 1::bigint, 'a leaky function in WHERE runs on byoc.sms_events');
SELECT byoc_test.lists('SELECT DISTINCT value FROM byoc_test.leaked', ARRAY[byoc_test.org_a()::text], 'and is given own rows only');
DO $$ BEGIN DELETE FROM byoc_test.leaked; END $$;
SELECT is((SELECT count(*) FROM byoc.organizations WHERE byoc_test.leak(id::text)), 1::bigint, 'a leaky function in WHERE runs on byoc.organizations');
SELECT byoc_test.lists('SELECT DISTINCT value FROM byoc_test.leaked', ARRAY[byoc_test.org_a()::text], 'and is given own rows only');

-- Parallel workers take the context over
SELECT set_config(CASE WHEN current_setting('server_version_num')::int >= 160000 THEN 'debug_parallel_query' ELSE 'force_parallel_mode' END, 'on', true) AS mode \gset
SELECT is((SELECT byoc.current_org_id()), byoc_test.org_a(), 'a parallel plan reads the same organization');
SELECT is((SELECT byoc.current_org_role()), 'member', 'and the same role');
SELECT is((SELECT count(*) FROM byoc.credentials), 1::bigint, 'a parallel plan over a view sees own rows');
RESET ROLE;

SELECT * FROM finish();
ROLLBACK;
