-- Who may do what: nothing is open to PUBLIC, and each byoc.grant_* gives exactly the listed objects.
BEGIN;
\ir support/setup.sql
SELECT plan(70);

CREATE FUNCTION byoc_test.functions_of(role text) RETURNS SETOF text LANGUAGE sql AS $$
    SELECT p.oid::regprocedure::text FROM pg_proc p
    WHERE p.pronamespace = 'byoc'::regnamespace AND has_function_privilege(role, p.oid, 'EXECUTE');
$$;
-- 'relation: privileges' for whole relations and 'relation(column): privileges' where only columns are granted.
CREATE FUNCTION byoc_test.relations_of(role text) RETURNS SETOF text LANGUAGE sql AS $$
    SELECT c.oid::regclass || ': ' || string_agg(p, ' ' ORDER BY n)
    FROM pg_class c, unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER']) WITH ORDINALITY AS k (p, n)
    WHERE c.relnamespace = 'byoc'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND has_table_privilege(role, c.oid, p)
    GROUP BY c.oid
    UNION ALL
    SELECT c.oid::regclass || '(' || a.attname || '): ' || string_agg(p, ' ' ORDER BY n)
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped,
         unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'REFERENCES']) WITH ORDINALITY AS k (p, n)
    WHERE c.relnamespace = 'byoc'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
      AND has_column_privilege(role, c.oid, a.attnum, p) AND NOT has_table_privilege(role, c.oid, p)
    GROUP BY c.oid, a.attname;
$$;

-- PUBLIC: a role without any grant stands for it, and the access lists are read as well.
SELECT is_empty($$SELECT byoc_test.functions_of('byoc_test_stranger')$$, 'a role without grants may call no function');
SELECT is_empty($$SELECT byoc_test.relations_of('byoc_test_stranger')$$, 'a role without grants may use no table or view');
SELECT ok(NOT has_schema_privilege('byoc_test_stranger', 'byoc', 'USAGE'), 'a role without grants may not use the schema');
SELECT ok(NOT has_schema_privilege('byoc_test_stranger', 'byoc', 'CREATE'), 'a role without grants may not create in the schema');
SELECT is_empty($$SELECT t.oid::regtype FROM pg_type t WHERE t.typnamespace = 'byoc'::regnamespace AND t.typtype IN ('d', 'e', 'r')
                    AND has_type_privilege('byoc_test_stranger', t.oid, 'USAGE')$$, 'a role without grants may use no type');
SELECT is_empty($$SELECT p.oid::regprocedure FROM pg_proc p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) AS a
                  WHERE p.pronamespace = 'byoc'::regnamespace AND a.grantee = 0$$, 'no function''s access list names PUBLIC');
SELECT is_empty($$SELECT c.oid::regclass FROM pg_class c, aclexplode(coalesce(c.relacl, acldefault(CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", c.relowner))) AS a
                  WHERE c.relnamespace = 'byoc'::regnamespace AND a.grantee = 0$$, 'no relation''s access list names PUBLIC');
SELECT is_empty($$SELECT a.attname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid, aclexplode(a.attacl) AS x
                  WHERE c.relnamespace = 'byoc'::regnamespace AND x.grantee = 0$$, 'no column''s access list names PUBLIC');
SELECT is_empty($$SELECT n.nspname FROM pg_namespace n, aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) AS a
                  WHERE n.nspname = 'byoc' AND a.grantee = 0$$, 'the schema''s access list does not name PUBLIC');
SELECT is_empty($$SELECT t.oid::regtype FROM pg_type t, aclexplode(coalesce(t.typacl, acldefault('T', t.typowner))) AS a
                  WHERE t.typnamespace = 'byoc'::regnamespace AND t.typtype IN ('d', 'e', 'r') AND a.grantee = 0$$,
                'no domain''s access list names PUBLIC');

-- Tenants
SELECT byoc_test.lists($$SELECT byoc_test.functions_of('byoc_test_tenant')$$, ARRAY[
    'byoc.api_version()',
    'byoc.authenticate(text)', 'byoc.current_org_id()', 'byoc.current_user_id()', 'byoc.current_org_role()',
    'byoc.sees_all_organizations()', 'byoc.require_organization(uuid,text)', 'byoc.invoking_role()',
    'byoc.encrypt(uuid,text,text)', 'byoc.decrypt(uuid,bytea,text)', 'byoc.encrypt_bytes(uuid,bytea,text)', 'byoc.decrypt_bytes(uuid,bytea,text)',
    'byoc.envelope_key_id(bytea)', 'byoc.sms_segments(text)',
    'byoc.add_credential(text,jsonb,text,uuid)', 'byoc.add_credential(text,text,text,uuid)',
    'byoc.update_credential(uuid,jsonb)', 'byoc.update_credential(uuid,text)',
    'byoc.change_credential(uuid,uuid,jsonb,text,boolean)', 'byoc.parse_fields(text)', 'byoc.credential_org(uuid)',
    'byoc.verify_credential(uuid)', 'byoc.revoke_credential(uuid)',
    'byoc.send_sms(text,text,timestamp with time zone,uuid,text,timestamp with time zone,uuid)',
    'byoc.cancel_sms(uuid)', 'byoc.retry_sms(uuid)', 'byoc.resolve_unknown_sms(uuid,text)', 'byoc.lift_opt_out(text,uuid)'],
    'byoc.grant_tenant gives exactly these functions');
SELECT byoc_test.lists($$SELECT byoc_test.relations_of('byoc_test_tenant')$$, ARRAY[
    'byoc.credentials: SELECT INSERT UPDATE DELETE', 'byoc.sms_messages: SELECT INSERT', 'byoc.sms_events: SELECT',
    'byoc.organizations: SELECT', 'byoc.providers: SELECT', 'byoc.provider_errors: SELECT',
    'byoc.inbound_messages: SELECT', 'byoc.opt_outs: SELECT'],
    'byoc.grant_tenant gives exactly these relations');
SELECT ok(has_schema_privilege('byoc_test_tenant', 'byoc', 'USAGE') AND NOT has_schema_privilege('byoc_test_tenant', 'byoc', 'CREATE'),
          'a tenant may use the schema, not create in it');

-- Application's owner or DBA: what a tenant may, and this
SELECT byoc_test.lists($$SELECT byoc_test.functions_of('byoc_test_admin') EXCEPT SELECT byoc_test.functions_of('byoc_test_tenant')$$, ARRAY[
    'byoc.set_org(uuid,text,text,boolean)', 'byoc.create_organization(text,uuid)',
    'byoc.create_sms_trigger(regclass,text,text,text,text,text,text,text,text)', 'byoc.drop_sms_trigger(regclass,text)',
    'byoc.enqueue_sms_trigger()', 'byoc.rehearse_sms_trigger(regclass,text,text,text,text,text)', 'byoc.trigger_events_clause(text)',
    'byoc.register_sms_trigger(regclass,name,text,text,text,text,text,text)', 'byoc.unregister_sms_trigger(regclass,name)',
    'byoc.keyring()', 'byoc.reload_keyring()', 'byoc.rewrap_keys()', 'byoc.rotate_organization_key(uuid)', 'byoc.reencrypt(uuid,integer)',
    'byoc.destroy_unused_key(uuid,integer)', 'byoc.shred_organization(uuid)',
    'byoc.adopt_installation()', 'byoc.resume_restored(uuid)'],
    'byoc.grant_admin gives exactly these functions on top of a tenant''s');
SELECT is_empty($$SELECT byoc_test.functions_of('byoc_test_tenant') EXCEPT SELECT byoc_test.functions_of('byoc_test_admin')$$,
    'byoc.grant_admin includes every function of a tenant');
SELECT byoc_test.lists($$SELECT byoc_test.relations_of('byoc_test_admin')$$, ARRAY[
    'byoc.credentials: SELECT INSERT UPDATE DELETE', 'byoc.sms_messages: SELECT INSERT', 'byoc.sms_events: SELECT',
    'byoc.organizations: SELECT', 'byoc.organizations(name): UPDATE', 'byoc.organizations(settings): UPDATE',
    'byoc.providers: SELECT', 'byoc.provider_errors: SELECT', 'byoc.inbound_messages: SELECT', 'byoc.opt_outs: SELECT',
    'byoc.sms_triggers: SELECT', 'byoc.key_status: SELECT', 'byoc.master_keys: SELECT',
    'byoc.provider_overrides: SELECT INSERT UPDATE DELETE', 'byoc.provider_error_overrides: SELECT INSERT UPDATE DELETE',
    'byoc.sender_limits: SELECT INSERT UPDATE DELETE'],
    'byoc.grant_admin gives exactly these relations');
SELECT ok(NOT has_schema_privilege('byoc_test_admin', 'byoc', 'CREATE'), 'an admin may not create in the schema');

-- byocd
SELECT byoc_test.lists($$SELECT byoc_test.functions_of('byoc_test_dispatcher')$$, ARRAY[
    'byoc.api_version()', 'byoc.register_dispatcher(uuid)', 'byoc.claim_jobs(uuid,integer,interval,uuid[],integer[],integer)', 'byoc.dispatcher_sleep(uuid[])',
    'byoc.heartbeat(uuid,interval)', 'byoc.rescue_expired()', 'byoc.record_outcomes(jsonb)',
    'byoc.open_credentials(uuid[],uuid[])', 'byoc.claim_verifications(uuid,integer,interval)',
    'byoc.record_verification(uuid,uuid,integer,text,text)',
    'byoc.receipt_key()', 'byoc.open_receipts(text[])', 'byoc.record_receipts(jsonb)', 'byoc.expect_receipts(uuid[],uuid[],boolean[])',
    'byoc.claim_status_checks(integer)', 'byoc.inbound_credential(uuid)', 'byoc.record_inbound(uuid,uuid,text,text,text,text,text)',
    'byoc.note_refusals(uuid[],uuid[])'],
    'byoc.grant_dispatcher gives exactly these functions');
SELECT is_empty($$SELECT byoc_test.relations_of('byoc_test_dispatcher')$$, 'byoc.grant_dispatcher gives no table and no view');
SELECT is_empty($$SELECT p.oid::regprocedure FROM pg_proc p, aclexplode(p.proacl) AS a
                  WHERE p.pronamespace = 'byoc'::regnamespace AND a.is_grantable
                    AND a.grantee IN ('byoc_test_tenant'::regrole, 'byoc_test_admin'::regrole, 'byoc_test_dispatcher'::regrole)$$,
    'nobody may pass a function on');

-- Storage is closed to tenants, row-level security is its second wall.
SELECT is_empty($$SELECT c.oid::regclass FROM pg_class c
                  WHERE c.relnamespace = 'byoc'::regnamespace AND c.relkind = 'r' AND c.relname NOT IN ('organizations', 'inbound_messages', 'opt_outs')
                    AND has_any_column_privilege('byoc_test_tenant', c.oid, 'SELECT, INSERT, UPDATE, REFERENCES')$$,
    'tenants have no access to any storage table but three, of which they see their own rows');
SELECT is_empty($$SELECT c.oid::regclass FROM pg_class c
                  WHERE c.relnamespace = 'byoc'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relrowsecurity$$,
    'row-level security is enabled on every storage table');
SELECT byoc_test.lists($$SELECT polrelid::regclass || ' ' || polname FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid
                         WHERE c.relnamespace = 'byoc'::regnamespace AND c.relname NOT IN ('provider_overrides', 'provider_error_overrides', 'sender_limits')$$,
    ARRAY['byoc.organizations own_or_administered', 'byoc.inbound_messages own', 'byoc.opt_outs own'],
    'of the tables with tenants'' data row-level policies open only organizations and what came in, to themselves');
SELECT byoc_test.lists($$SELECT c.oid::regclass FROM pg_class c
                         WHERE c.relnamespace = 'byoc'::regnamespace AND c.relkind = 'v' AND c.reloptions @> ARRAY['security_barrier=true']$$,
    ARRAY['byoc.credentials', 'byoc.sms_messages', 'byoc.sms_events'], 'the views that filter by organization are security barriers');
SELECT is_empty($$SELECT c.oid::regclass FROM pg_class c WHERE c.relnamespace = 'byoc'::regnamespace AND c.relkind = 'v'
                    AND array_to_string(c.reloptions, ' ') ~ 'security_invoker=(true|on|1)'$$, 'no view needs grants on storage');
SELECT is_empty($$SELECT c.oid::regclass FROM pg_class c
                  WHERE c.relnamespace = 'byoc'::regnamespace AND c.relkind = 'v' AND pg_get_viewdef(c.oid) ~ 'current_org_id'
                    AND NOT coalesce(c.reloptions @> ARRAY['security_barrier=true'], false)$$,
    'no view filters by organization without being a security barrier');
SET LOCAL ROLE byoc_test_tenant;
SELECT byoc_test.act_as(byoc_test.org_a());
SELECT byoc_test.refused('SELECT * FROM byoc.' || t, '42501', 'permission denied', 'a tenant cannot read byoc.' || t)
FROM unnest(ARRAY['organization_api_credentials', 'organization_keys', 'messages', 'message_events', 'queue', 'schedule', 'claims', 'lanes',
                  'wakeups', 'idempotency_keys', 'sms_trigger_definitions', 'installation', 'all_sms_messages', 'provider_overrides',
                  'provider_error_overrides', 'shipped_providers', 'shipped_provider_errors', 'sms_triggers']) AS t;
SELECT byoc_test.refused($$SELECT byoc.set_org(byoc_test.org_b())$$, '42501', 'permission denied', 'a tenant cannot choose its organization');
SELECT byoc_test.refused($$SELECT byoc.enqueue_sms(byoc_test.org_a(), '+15005550006', 'x', NULL, NULL, NULL, NULL)$$, '42501', 'permission denied',
    'a tenant cannot call the unchecked enqueue');
SELECT byoc_test.refused($$SELECT * FROM byoc.open_credentials(NULL, NULL)$$, '42501', 'permission denied', 'a tenant cannot open credentials');
SELECT byoc_test.refused($$SELECT byoc.grant_admin('byoc_test_tenant')$$, '42501', 'permission denied', 'a tenant cannot grant itself more');
SELECT byoc_test.refused($$SELECT byoc.new_data_key(byoc_test.org_a(), 1)$$, '42501', 'permission denied', 'a tenant cannot make keys');
RESET ROLE;
SET LOCAL ROLE byoc_test_dispatcher;
SELECT byoc_test.refused($$SELECT * FROM byoc.messages$$, '42501', 'permission denied', 'a dispatcher reads no table');
SELECT lives_ok($$SELECT * FROM byoc.claim_jobs(byoc_test.dispatcher(), 1, '1 minute')$$, 'a dispatcher claims through its function');
SELECT lives_ok($$SELECT byoc.register_dispatcher(byoc_test.dispatcher()), byoc.dispatcher_sleep(),
                         byoc.heartbeat(byoc_test.dispatcher(), '1 minute'), byoc.rescue_expired(), byoc.record_outcomes('[]')$$,
    'a dispatcher''s other functions work without any table privilege');
SELECT byoc_test.refused($$SELECT byoc.sweep_lanes()$$, '42501', 'permission denied', 'what a claim does inside, a dispatcher cannot call by itself');
SELECT lives_ok($$SELECT * FROM byoc.open_credentials('{}', '{}')$$, 'a dispatcher may open credentials');
SELECT lives_ok($$SELECT * FROM byoc.claim_verifications(byoc_test.dispatcher(), 1, '1 minute')$$, 'a dispatcher may claim verifications');
RESET ROLE;

-- How functions are made
SELECT is_empty($$SELECT p.oid::regprocedure FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
                  WHERE p.pronamespace = 'byoc'::regnamespace AND l.lanname = 'plpgsql'
                    AND NOT coalesce(p.proconfig @> ARRAY['search_path=pg_catalog, pg_temp'], false)$$,
    'every PL/pgSQL function pins search_path to pg_catalog, pg_temp');
SELECT is_empty($$SELECT p.oid::regprocedure FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
                  WHERE p.pronamespace = 'byoc'::regnamespace AND l.lanname = 'sql' AND p.prosqlbody IS NULL
                    AND NOT coalesce(p.proconfig @> ARRAY['search_path=pg_catalog, pg_temp'], false)$$,
    'every SQL function with a string body pins search_path too');
SELECT is_empty($$SELECT p.oid::regprocedure FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
                  WHERE p.pronamespace = 'byoc'::regnamespace AND (l.lanname = 'c' OR p.prosqlbody IS NOT NULL) AND p.proconfig IS NOT NULL$$,
    'no C function and no BEGIN ATOMIC function has SET clauses: they need none and would pay for them');
SELECT is_empty($$SELECT p.oid::regprocedure FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
                  WHERE p.pronamespace = 'byoc'::regnamespace AND l.lanname NOT IN ('c', 'sql', 'plpgsql')$$, 'functions are in C, SQL or PL/pgSQL only');
SELECT byoc_test.lists($$SELECT p.oid::regprocedure FROM pg_proc p WHERE p.pronamespace = 'byoc'::regnamespace AND p.prosecdef$$, ARRAY[
    'byoc.create_organization(text,uuid)', -- writes organizations and keys, which nobody may
    'byoc.add_credential(text,jsonb,text,uuid)', -- writes storage after checking organization and role
    'byoc.change_credential(uuid,uuid,jsonb,text,boolean)', -- likewise
    'byoc.credential_org(uuid)', -- looks a credential up for a role that sees all
    'byoc.verify_credential(uuid)', -- writes storage after checking organization and role
    'byoc.revoke_credential(uuid)', -- likewise
    'byoc.open_credentials(uuid[],uuid[])', -- reads secrets for byocd, which has no table
    'byoc.claim_verifications(uuid,integer,interval)', -- byocd
    'byoc.record_verification(uuid,uuid,integer,text,text)', -- byocd
    'byoc.open_receipts(text[])', -- byocd
    'byoc.record_receipts(jsonb)', -- byocd
    'byoc.expect_receipts(uuid[],uuid[],boolean[])', -- byocd
    'byoc.claim_status_checks(integer)', -- byocd
    'byoc.inbound_credential(uuid)', -- byocd
    'byoc.record_inbound(uuid,uuid,text,text,text,text,text)', -- byocd
    'byoc.note_refusals(uuid[],uuid[])', -- byocd
    'byoc.lift_opt_out(text,uuid)', -- writes storage after checking organization and role
    'byoc.send_sms(text,text,timestamp with time zone,uuid,text,timestamp with time zone,uuid)', -- writes the queue after checking the organization
    'byoc.register_sms_trigger(regclass,name,text,text,text,text,text,text)', -- stores a definition after checking the TRIGGER privilege
    'byoc.unregister_sms_trigger(regclass,name)', -- likewise
    'byoc.register_dispatcher(uuid)', -- byocd
    'byoc.claim_jobs(uuid,integer,interval,uuid[],integer[],integer)', -- byocd
    'byoc.dispatcher_sleep(uuid[])', -- byocd
    'byoc.heartbeat(uuid,interval)', -- byocd
    'byoc.rescue_expired()', -- byocd
    'byoc.record_outcomes(jsonb)', -- byocd
    'byoc.message_org(uuid)', -- looks a message up for a role that sees all
    'byoc.cancel_sms(uuid)', -- writes storage after checking the organization
    'byoc.retry_sms(uuid)', -- likewise
    'byoc.resolve_unknown_sms(uuid,text)', -- likewise
    'byoc.rewrap_keys()', -- the DBA's: keys are in no role's reach
    'byoc.rotate_organization_key(uuid)', -- likewise
    'byoc.reencrypt(uuid,integer)', -- likewise
    'byoc.destroy_unused_key(uuid,integer)', -- likewise
    'byoc.shred_organization(uuid)', -- likewise
    'byoc.adopt_installation()', -- the DBA's, over all organizations
    'byoc.resume_restored(uuid)'], -- likewise
    'exactly these functions run with the owner''s rights');
SELECT is_empty($$SELECT p.oid::regprocedure FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
                  WHERE p.pronamespace = 'byoc'::regnamespace AND p.prosecdef AND l.lanname = 'c'$$, 'no C function runs with the owner''s rights');

-- A shadowing object in the caller's path is never used.
CREATE SCHEMA byoc_test_evil;
GRANT USAGE ON SCHEMA byoc_test_evil TO PUBLIC;
CREATE FUNCTION byoc_test_evil.raise_it() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'shadowed'; END $$;
CREATE FUNCTION byoc_test_evil.length(text) RETURNS integer LANGUAGE sql RETURN byoc_test_evil.raise_it()::integer;
CREATE FUNCTION byoc_test_evil.coalesce_uuid(uuid, uuid) RETURNS boolean LANGUAGE sql RETURN byoc_test_evil.raise_it();
CREATE OPERATOR byoc_test_evil.= (LEFTARG = uuid, RIGHTARG = uuid, FUNCTION = byoc_test_evil.coalesce_uuid);
SET LOCAL ROLE byoc_test_tenant;
SELECT byoc_test.act_as(byoc_test.org_a());
SET LOCAL search_path = byoc_test_evil, pg_catalog, public;
SELECT byoc_test.refused($$SELECT length('x')$$, 'P0001', 'shadowed', 'the shadowing function is in force for the caller');
SELECT byoc_test.refused($$SELECT byoc_test.org_a() = byoc_test.org_a()$$, 'P0001', 'shadowed', 'the shadowing operator is in force for the caller');
SELECT lives_ok($$SELECT byoc.add_credential('twilio', byoc_test.twilio(1), 'name')$$, 'byoc.add_credential is not touched by it');
SELECT lives_ok($$SELECT byoc.send_sms('+15005550006', 'x', idempotency_key => 'k')$$, 'byoc.send_sms is not touched by it');
SELECT lives_ok($$SELECT count(*) FROM byoc.credentials, byoc.sms_messages, byoc.sms_events$$, 'the views are not touched by it');
SET LOCAL search_path = public;
RESET ROLE;

-- Roles with awkward names, and twice
CREATE ROLE "byoc test, ""Odd"" role";
SELECT lives_ok($$SELECT byoc.grant_tenant('"byoc test, ""Odd"" role"'), byoc.grant_admin('"byoc test, ""Odd"" role"'),
                         byoc.grant_dispatcher('"byoc test, ""Odd"" role"')$$, 'a role''s name may hold blanks, commas, quotes and capitals');
SELECT ok(has_function_privilege('byoc test, "Odd" role', 'byoc.set_org(uuid, text, text, boolean)', 'EXECUTE'), 'and such a role gets its grants');
SELECT lives_ok($$SELECT byoc.grant_tenant('byoc_test_tenant')$$, 'granting twice is fine');
SELECT byoc_test.refused($$SELECT byoc.grant_tenant('byoc_test_no_such_role')$$, '42704', 'byoc_test_no_such_role', 'an unknown role is refused');

SELECT * FROM finish();
ROLLBACK;
