-- Who may do what: nothing is open to PUBLIC, and each byoc.grant_* gives exactly the listed objects.
BEGIN;
\ir support/setup.sql
\ir support/grants.sql
SELECT plan(92);

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
SELECT is_empty($$SELECT t.oid::regtype FROM pg_type t WHERE t.typnamespace = 'byoc'::regnamespace
                    AND has_type_privilege('byoc_test_stranger', t.oid, 'USAGE')$$, 'a role without grants may use no type, row types and arrays included');
SELECT is_empty($$SELECT p.oid::regprocedure FROM pg_proc p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) AS a
                  WHERE p.pronamespace = 'byoc'::regnamespace AND a.grantee = 0$$, 'no function''s access list names PUBLIC');
SELECT is_empty($$SELECT c.oid::regclass FROM pg_class c, aclexplode(coalesce(c.relacl, acldefault(CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", c.relowner))) AS a
                  WHERE c.relnamespace = 'byoc'::regnamespace AND a.grantee = 0$$, 'no relation''s access list names PUBLIC');
SELECT is_empty($$SELECT a.attname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid, aclexplode(a.attacl) AS x
                  WHERE c.relnamespace = 'byoc'::regnamespace AND x.grantee = 0$$, 'no column''s access list names PUBLIC');
SELECT is_empty($$SELECT n.nspname FROM pg_namespace n, aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) AS a
                  WHERE n.nspname = 'byoc' AND a.grantee = 0$$, 'the schema''s access list does not name PUBLIC');
SELECT is_empty($$SELECT t.oid::regtype FROM pg_type t, aclexplode(coalesce(t.typacl, acldefault('T', t.typowner))) AS a
                  WHERE t.typnamespace = 'byoc'::regnamespace AND t.typcategory <> 'A' AND a.grantee <> t.typowner$$,
                'no type''s access list names anybody but its owner');

-- The catalog against support/grants.sql: neither more objects nor fewer, and exactly these grants.
SELECT byoc_test.lists($$SELECT p.oid::regprocedure FROM pg_proc p WHERE p.pronamespace = 'byoc'::regnamespace$$,
    (SELECT array_agg('byoc.' || signature) FROM byoc_test.functions), 'every function is in the table');
SELECT byoc_test.lists($$SELECT c.oid::regclass FROM pg_class c WHERE c.relnamespace = 'byoc'::regnamespace AND c.relkind NOT IN ('i', 'I', 't')$$,
    (SELECT array_agg('byoc.' || name) FROM byoc_test.relations), 'every table and view is in the table, and nothing else is a relation: no sequence, no materialized view');
SELECT byoc_test.lists($$SELECT t.oid::regtype FROM pg_type t LEFT JOIN pg_class c ON c.oid = t.typrelid
                         WHERE t.typnamespace = 'byoc'::regnamespace AND t.typcategory <> 'A' AND c.relkind IS DISTINCT FROM 'r' AND c.relkind IS DISTINCT FROM 'v'$$,
    (SELECT array_agg('byoc.' || name) FROM byoc_test.named_types), 'every type that is no row type is in the table');
SELECT byoc_test.lists(format($$SELECT byoc_test.functions_of('byoc_test_%s')$$, part),
    (SELECT array_agg('byoc.' || signature) FROM byoc_test.functions WHERE part = ANY (string_to_array(parts, ' '))),
    format('byoc.grant_%s gives exactly its functions', part))
FROM unnest(ARRAY['tenant', 'admin', 'dispatcher', 'auditor']) AS part;
SELECT byoc_test.lists(format($$SELECT byoc_test.relations_of('byoc_test_%s')$$, part),
    (SELECT coalesce(array_agg(format('byoc.%s: %s', relation, privileges)), '{}') FROM byoc_test.relation_grants
     WHERE part = ANY (string_to_array(parts, ' '))),
    format('byoc.grant_%s gives exactly its tables and views', part))
FROM unnest(ARRAY['tenant', 'admin', 'dispatcher', 'auditor']) AS part;
SELECT is_empty(format($$SELECT t.oid::regtype FROM pg_type t WHERE t.typnamespace = 'byoc'::regnamespace
                           AND has_type_privilege('byoc_test_%s', t.oid, 'USAGE')$$, part), format('byoc.grant_%s gives no type', part))
FROM unnest(ARRAY['tenant', 'admin', 'dispatcher', 'auditor']) AS part;
SELECT ok(has_schema_privilege('byoc_test_' || part, 'byoc', 'USAGE') AND NOT has_schema_privilege('byoc_test_' || part, 'byoc', 'CREATE'),
          format('byoc.grant_%s: may use the schema, not create in it', part))
FROM unnest(ARRAY['tenant', 'admin', 'dispatcher', 'auditor']) AS part;
SELECT is_empty($$SELECT grantee, object FROM (
        SELECT p.oid::regprocedure::text, a.grantee FROM pg_proc p, aclexplode(p.proacl) AS a WHERE p.pronamespace = 'byoc'::regnamespace
        UNION ALL SELECT c.relname, a.grantee FROM pg_class c, aclexplode(c.relacl) AS a WHERE c.relnamespace = 'byoc'::regnamespace
        UNION ALL SELECT t.attname, a.grantee FROM pg_class c JOIN pg_attribute t ON t.attrelid = c.oid, aclexplode(t.attacl) AS a
                  WHERE c.relnamespace = 'byoc'::regnamespace
        UNION ALL SELECT n.nspname, a.grantee FROM pg_namespace n, aclexplode(n.nspacl) AS a WHERE n.nspname = 'byoc') AS g (object, grantee)
    WHERE grantee NOT IN ('byoc_test_tenant'::regrole, 'byoc_test_admin'::regrole, 'byoc_test_dispatcher'::regrole, 'byoc_test_auditor'::regrole)
      AND grantee <> (SELECT nspowner FROM pg_namespace WHERE nspname = 'byoc')$$, 'no access list names anybody else');
SELECT is_empty($$SELECT p.oid::regprocedure FROM pg_proc p, aclexplode(p.proacl) AS a
                  WHERE p.pronamespace = 'byoc'::regnamespace AND a.is_grantable
                    AND a.grantee IN ('byoc_test_tenant'::regrole, 'byoc_test_admin'::regrole, 'byoc_test_dispatcher'::regrole, 'byoc_test_auditor'::regrole)$$,
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
    ARRAY['byoc.organizations own_or_administered', 'byoc.organizations audited', 'byoc.inbound_messages own', 'byoc.opt_outs own'],
    'of the tables with tenants'' data row-level policies open only organizations, to themselves, administrators and auditors, and to tenants what came in');
SELECT byoc_test.lists($$SELECT c.oid::regclass || ' ' || coalesce(c.reloptions @> ARRAY['security_barrier=true'], false) FROM pg_class c
                         WHERE c.relnamespace = 'byoc'::regnamespace AND c.relkind = 'v'$$,
    (SELECT array_agg(format('byoc.%s %s', name, is_barrier::text)) FROM byoc_test.relations WHERE is_barrier IS NOT NULL),
    'every view is a security barrier, or is none, on purpose');
SELECT is_empty($$SELECT name FROM byoc_test.relations WHERE (is_barrier IS NULL) <> (reason IS NULL)$$, 'and the reason is given');
SELECT is_empty($$SELECT c.oid::regclass FROM pg_class c WHERE c.relnamespace = 'byoc'::regnamespace AND c.relkind = 'v'
                    AND array_to_string(c.reloptions, ' ') ~ 'security_invoker=(true|on|1)'$$, 'no view needs grants on storage');
SELECT is_empty($$SELECT c.oid::regclass FROM pg_class c
                  WHERE c.relnamespace = 'byoc'::regnamespace AND c.relkind = 'v' AND pg_get_viewdef(c.oid) ~ 'current_org_id'
                    AND NOT coalesce(c.reloptions @> ARRAY['security_barrier=true'], false)$$,
    'no view filters by organization without being a security barrier');
SELECT is_empty($$SELECT c.oid::regclass FROM pg_class c
                  WHERE c.relnamespace = 'byoc'::regnamespace AND c.reloptions @> ARRAY['security_barrier=true']
                    AND pg_get_viewdef(c.oid) ~ 'UNION ALL' AND pg_get_viewdef(c.oid) !~ '^\s*WITH '$$,
    'no security barrier is a plain UNION ALL, which PostgreSQL flattens as if it were none');
SET LOCAL ROLE byoc_test_tenant;
SELECT byoc_test.act_as(byoc_test.org_a());
SELECT byoc_test.refused('SELECT * FROM byoc.' || t, '42501', 'permission denied', 'a tenant cannot read byoc.' || t)
FROM unnest(ARRAY['organization_api_credentials', 'organization_keys', 'messages', 'message_events', 'queue', 'schedule', 'claims', 'lanes',
                  'reconciliations', 'due_reconciliations', 'receipt_watches', 'status_checks', 'earlier_attempts', 'fallback_senders', 'idempotency_keys', 'sms_trigger_definitions', 'installation', 'all_sms_messages', 'provider_overrides',
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
SELECT byoc_test.lists($$SELECT p.oid::regprocedure FROM pg_proc p WHERE p.pronamespace = 'byoc'::regnamespace AND p.prosecdef$$,
    (SELECT array_agg('byoc.' || signature) FROM byoc_test.functions WHERE definer_reason IS NOT NULL),
    'exactly the functions with a reason in the table run with the owner''s rights');
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

SELECT is_empty($$SELECT c.oid::regclass, a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
                  WHERE c.oid IN ('byoc.organizations'::regclass, 'byoc.organization_api_credentials'::regclass, 'byoc.messages'::regclass,
                                  'byoc.message_events'::regclass, 'byoc.queue'::regclass, 'byoc.schedule'::regclass,
                                  'byoc.inbound_messages'::regclass, 'byoc.opt_outs'::regclass)
                    AND a.attstattarget <> 0$$, 'no statistics are kept of what is behind the tenants'' views: EXPLAIN shows estimates made from them');

-- Roles with awkward names, and twice
CREATE ROLE "byoc test, ""Odd"" role";
SELECT lives_ok($$SELECT byoc.grant_tenant('"byoc test, ""Odd"" role"'), byoc.grant_admin('"byoc test, ""Odd"" role"'),
                         byoc.grant_dispatcher('"byoc test, ""Odd"" role"')$$, 'a role''s name may hold blanks, commas, quotes and capitals');
SELECT ok(has_function_privilege('byoc test, "Odd" role', 'byoc.set_org(uuid, text, text, boolean)', 'EXECUTE'), 'and such a role gets its grants');
SELECT lives_ok($$SELECT byoc.grant_tenant('byoc_test_tenant')$$, 'granting twice is fine');
SELECT byoc_test.refused($$SELECT byoc.grant_tenant('byoc_test_no_such_role')$$, '42704', 'byoc_test_no_such_role', 'an unknown role is refused');

-- After an upgrade
REVOKE EXECUTE ON FUNCTION byoc.readiness() FROM byoc_test_dispatcher;
REVOKE SELECT ON byoc.key_status FROM byoc_test_admin;
SELECT set_eq($$SELECT role::text, part FROM byoc.renew_grants() WHERE role::text ~ '^byoc_test_'$$,
    $$VALUES ('byoc_test_tenant', 'tenant'), ('byoc_test_admin', 'admin'), ('byoc_test_admin', 'tenant'), ('byoc_test_dispatcher', 'dispatcher'), ('byoc_test_auditor', 'auditor')$$,
    'every role that has a part is given it again');
SELECT ok(has_function_privilege('byoc_test_dispatcher', 'byoc.readiness()', 'EXECUTE') AND has_table_privilege('byoc_test_admin', 'byoc.key_status', 'SELECT'),
    'with what it did not have');
SELECT is_empty($$SELECT byoc_test.functions_of('byoc_test_stranger')$$, 'and nobody else anything');

SELECT * FROM finish();
ROLLBACK;
