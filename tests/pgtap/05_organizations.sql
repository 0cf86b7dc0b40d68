-- Organizations: who creates, sees and changes them.
BEGIN;
\ir support/setup.sql
SELECT plan(30);

SELECT is(byoc.create_organization('Clinic', 'cccccccc-0000-4000-8000-00000000000c'), 'cccccccc-0000-4000-8000-00000000000c'::uuid,
          'byoc.create_organization returns the id it was given');
SELECT ok(byoc.create_organization('Clinic') <> byoc.create_organization('Clinic'), 'without one it makes one; two organizations may have the same name');
SELECT is((SELECT count(*) FROM byoc.organization_keys WHERE org_id = 'cccccccc-0000-4000-8000-00000000000c' AND state = 'active'), 1::bigint,
          'a new organization has a key');
SELECT results_eq($$SELECT name, settings, shredded_at IS NULL, created_at = now() FROM byoc.organizations WHERE id = 'cccccccc-0000-4000-8000-00000000000c'$$,
    $$VALUES ('Clinic', '{}'::jsonb, true, true)$$, 'it has its name, empty settings and lives');
SELECT byoc_test.refused($$SELECT byoc.create_organization('Again', byoc_test.org_a())$$, '23505', 'organizations', 'an id is taken once');
SELECT byoc_test.refused($$SELECT byoc.create_organization('')$$, '22023', '1 to 200 characters', 'a name must not be empty');
SELECT byoc_test.refused($$SELECT byoc.create_organization(NULL)$$, '22023', '1 to 200 characters', 'a name must not be NULL');
SELECT byoc_test.refused($$SELECT byoc.create_organization(repeat('x', 201))$$, '22023', '1 to 200 characters', 'a name has at most 200 characters');
SELECT lives_ok($$SELECT byoc.create_organization(repeat('🔥', 200))$$, '200 characters are characters, not bytes');
SELECT byoc_test.refused($$SELECT byoc.create_organization('x', NULL)$$, '23502', 'id', 'an id must not be NULL');
SELECT byoc_test.refused($$UPDATE byoc.organizations SET settings = '[1]' WHERE id = byoc_test.org_a()$$, '23514', 'settings', 'settings are a JSON object');
SELECT byoc_test.refused($$UPDATE byoc.organizations SET name = '' WHERE id = byoc_test.org_a()$$, '23514', 'name', 'a name cannot be emptied later');
SELECT byoc_test.refused($$DELETE FROM byoc.organizations WHERE id = byoc_test.org_a()$$, '23503', 'organization_keys', 'an organization that has a key cannot be deleted');

-- Tenants
SET LOCAL ROLE byoc_test_tenant;
SELECT byoc_test.refused($$SELECT byoc.create_organization('Mine')$$, '42501', 'permission denied', 'a tenant cannot create organizations');
SELECT is_empty($$SELECT id FROM byoc.organizations$$, 'without a context a tenant sees none');
SELECT byoc_test.act_as(byoc_test.org_a(), 'owner');
SELECT results_eq($$SELECT id FROM byoc.organizations$$, ARRAY[byoc_test.org_a()], 'with a context a tenant sees its own');
SELECT byoc_test.refused($$UPDATE byoc.organizations SET name = 'x'$$, '42501', 'permission denied', 'a tenant cannot rename it');
SELECT byoc_test.refused($$DELETE FROM byoc.organizations$$, '42501', 'permission denied', 'a tenant cannot delete it');
SELECT byoc_test.refused($$INSERT INTO byoc.organizations VALUES (gen_random_uuid(), 'x')$$, '42501', 'permission denied', 'a tenant cannot insert one');
RESET ROLE;
SELECT byoc_test.no_context();

-- Whoever administers them
SET LOCAL ROLE byoc_test_admin;
SELECT is((SELECT count(*) FROM byoc.organizations WHERE id IN (byoc_test.org_a(), byoc_test.org_b())), 2::bigint, 'an admin sees all organizations without a context');
SELECT lives_ok($$UPDATE byoc.organizations SET name = 'Renamed', settings = '{"alert_phone": "+15005550009"}' WHERE id = byoc_test.org_b()$$,
    'an admin may change name and settings');
SELECT is((SELECT settings ->> 'alert_phone' FROM byoc.organizations WHERE id = byoc_test.org_b() AND name = 'Renamed'), '+15005550009', 'and the change is there');
SELECT byoc_test.refused($$UPDATE byoc.organizations SET id = gen_random_uuid()$$, '42501', 'permission denied', 'an admin cannot change an id');
SELECT byoc_test.refused($$UPDATE byoc.organizations SET shredded_at = now()$$, '42501', 'permission denied', 'an admin cannot mark one as shredded');
SELECT byoc_test.refused($$DELETE FROM byoc.organizations$$, '42501', 'permission denied', 'an admin cannot delete rows');
SELECT byoc_test.refused($$INSERT INTO byoc.organizations VALUES (gen_random_uuid(), 'x')$$, '42501', 'permission denied', 'an admin cannot insert one without a key');
SELECT lives_ok($$SELECT byoc.create_organization('By an ordinary role')$$, 'an admin that is no superuser creates organizations');
SELECT is(byoc.set_org(byoc_test.org_a(), 'x', 'owner'), byoc_test.org_a(), 'an admin may choose the organization that it acts for');
SELECT is(byoc.current_org_role(), 'owner', 'and the role in it');
SELECT is(byoc.decrypt(byoc_test.org_a(), byoc.encrypt(byoc_test.org_a(), 'x')), 'x', 'and then works as the tenant does');
RESET ROLE;

SELECT * FROM finish();
ROLLBACK;
