-- Webhook events of an application's rows: byoc.create_webhook_trigger.
BEGIN;
\ir support/setup.sql
SELECT plan(44);

CREATE TABLE orders (id int, org_id uuid, total numeric, note text, divisor int DEFAULT 1);
GRANT ALL ON orders TO byoc_test_admin, byoc_test_tenant;
GRANT USAGE ON SCHEMA public TO byoc_test_admin, byoc_test_tenant;
-- The events since the last look, in their order.
CREATE FUNCTION byoc_test.events() RETURNS text LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    found text := (SELECT string_agg(concat_ws(' ', c.event_type, c.status, c.payload, c.error_message), '; ' ORDER BY c.id) FROM byoc.all_webhook_calls c);
BEGIN
    DELETE FROM byoc.calls;
    RETURN found;
END
$$;

-- Made by an admin for a table of somebody else
SET LOCAL ROLE byoc_test_admin;
SELECT is(byoc.create_webhook_trigger('orders', 'order.created', ARRAY['id', 'total']), 'byoc_webhook_1', 'a trigger is made, and named');
SELECT is((SELECT (t.target, t.name, t.event_type, t.columns, t.org_id, t.condition, t.on_error, t.created_by)::text FROM byoc.webhook_triggers t),
    '(orders,byoc_webhook_1,order.created,"{id,total}",org_id,,record,byoc_test_admin)', 'byoc.webhook_triggers lists it');
RESET ROLE;
INSERT INTO orders VALUES (1, byoc_test.org_a(), 9.50, 'secret');
SELECT is((SELECT c.source_table FROM byoc.all_webhook_calls c), 'public.orders', 'an event knows its table');
SELECT is(byoc_test.events(), 'order.created queued {"id": 1, "total": 9.50}', 'an inserted row is an event of the given columns, numbers exact');
UPDATE orders SET total = 10;
SELECT is(byoc_test.events(), NULL, 'an update is none, unless it is asked for');
SELECT byoc.create_webhook_trigger('orders', 'order.paid', condition => 'NEW.total > 10 AND OLD.total <= 10', events => 'UPDATE OF total', name => 'paid');
UPDATE orders SET total = 11;
SELECT is(byoc_test.events(), 'order.paid queued {"id": 1, "note": "secret", "total": 11, "org_id": "aaaaaaaa-0000-4000-8000-00000000000a", "divisor": 1}', 'a condition over the old and the new row, and all columns');
UPDATE orders SET total = 12;
SELECT is(byoc_test.events(), NULL, 'no event where the condition is not met');
UPDATE orders SET note = 'other';
SELECT is(byoc_test.events(), NULL, 'nor for another column');
SELECT byoc.create_webhook_trigger('orders', 'order.deleted', ARRAY['id'], condition => 'OLD.total > 1', events => 'DELETE', name => 'deleted');
DELETE FROM orders;
SELECT is(byoc_test.events(), 'order.deleted queued {"id": 1}', 'a deleted row is an event of what it was');
INSERT INTO orders SELECT n, byoc_test.org_b(), n FROM generate_series(1, 3) AS n;
SELECT is(byoc_test.events(), 'order.created queued {"id": 1, "total": 1}; order.created queued {"id": 2, "total": 2}; order.created queued {"id": 3, "total": 3}', 'many rows are as many events');
SAVEPOINT before_it;
INSERT INTO orders VALUES (4, byoc_test.org_a(), 4);
ROLLBACK TO before_it;
SELECT is(byoc_test.events(), NULL, 'what was rolled back was none');

-- Bad rows do not abort the application's statement
SELECT byoc.create_webhook_trigger('orders', 'order.risky', ARRAY['id'], condition => '1 / NEW.divisor > 0', events => 'INSERT OR UPDATE', name => 'risky');
INSERT INTO orders VALUES (5, byoc_test.org_a(), 5, NULL, 0);
SELECT is(byoc_test.events(), 'order.created queued {"id": 5, "total": 5}; order.risky failed null division by zero', 'a condition that fails makes a failed event');
INSERT INTO orders VALUES (6, NULL, 6), (7, gen_random_uuid(), 7);
SELECT byoc_test.lists($$SELECT c.error_message FROM byoc.all_webhook_calls c WHERE c.status = 'failed' AND c.event_type = 'order.created'$$,
    ARRAY['the row names no organization', 'the organization does not exist or was shredded'], 'so does a row of nobody');
SELECT byoc_test.events();
INSERT INTO orders VALUES (8, byoc_test.org_a(), 8, repeat('x', 70000));
SELECT is(byoc_test.events(), 'order.created queued {"id": 8, "total": 8}; order.risky queued {"id": 8}', 'what is not sent may be large');
UPDATE orders SET total = 9 WHERE id = 8;
SELECT byoc_test.events();
UPDATE orders SET total = 11 WHERE id = 8;
SELECT matches(byoc_test.events(), 'order.paid failed null payload must have at most 64 kB', 'what is sent may not');
SELECT byoc.create_webhook_trigger('orders', 'order.strict', name => 'strict', on_error => 'raise', condition => 'NEW.id > 100');
SELECT byoc_test.refused('INSERT INTO orders VALUES (101, NULL, 1)', '22023', 'no webhook event can be made of this row: the row names no organization', 'unless it shall');
SELECT lives_ok('INSERT INTO orders VALUES (102, byoc_test.org_a(), 1)', 'a good row passes');
SELECT byoc_test.events();
SELECT byoc.drop_webhook_trigger('orders', 'strict');
SELECT byoc.drop_webhook_trigger('orders', 'risky');

-- Within a tenant's session
SET LOCAL ROLE byoc_test_tenant;
SELECT byoc_test.act_as(byoc_test.org_a(), 'member');
SELECT byoc_test.refused('INSERT INTO orders VALUES (9, byoc_test.org_b(), 9)', '42501', 'another organization', 'a tenant makes no events of another organization');
SELECT lives_ok('INSERT INTO orders VALUES (9, byoc_test.org_a(), 9)', 'but its own');
SELECT is((SELECT count(*) FROM byoc.webhook_calls c WHERE c.event_type = 'order.created'), 1::bigint, 'which it sees');
SELECT byoc_test.refused($$SELECT byoc.create_webhook_trigger('orders', 'a')$$, '42501', 'permission denied', 'a tenant makes no triggers');
RESET ROLE;
SELECT byoc_test.no_context();
SELECT byoc_test.events();

-- Partitions
CREATE TABLE visits (id int, org_id uuid) PARTITION BY LIST (id);
CREATE TABLE visits_1 PARTITION OF visits FOR VALUES IN (1);
SELECT byoc.create_webhook_trigger('visits', 'visit.created', ARRAY['id']);
INSERT INTO visits VALUES (1, byoc_test.org_a());
SELECT is(byoc_test.events(), 'visit.created queued {"id": 1}', 'a partition''s rows are its table''s');

-- What is wrong shows when the trigger is made
SELECT byoc_test.refused(format('SELECT byoc.create_webhook_trigger(%s)', arguments), state, pattern, what)
FROM (VALUES ($$'orders', 'not a type'$$, '22023', 'event_type must be', 'a bad event type'),
             ($$'orders', 'byoc.mine'$$, '22023', 'reserved', 'a reserved event type'),
             ($$'orders', NULL$$, '22023', 'event_type must be', 'no event type'),
             ($$NULL, 'a'$$, '22004', 'must not be null', 'no table'),
             ($$'orders', 'a', ARRAY['id', 'colour']$$, '42703', 'orders has no column "colour"', 'an unknown column'),
             ($$'orders', 'a', '{}'$$, '22023', 'columns must name at least one', 'no column'),
             ($$'orders', 'a', org_id => 'tenant'$$, '42703', 'tenant', 'an unknown organization column'),
             ($$'orders', 'a', condition => 'NEW.colour = 1'$$, '42703', 'colour', 'a condition over what is not there'),
             ($$'orders', 'a', condition => 'true); DROP TABLE orders; --'$$, '42601', '', 'a condition that is more than one'),
             ($$'orders', 'a', events => 'TRUNCATE'$$, '22023', 'unknown trigger event', 'an unknown event'),
             ($$'orders', 'a', on_error => 'ignore'$$, '22023', 'on_error must be', 'an unknown on_error'),
             ($$'orders', 'a', name => 'paid'$$, '42710', 'exists already', 'a name that is taken')) AS v (arguments, state, pattern, what);
CREATE TABLE theirs (org_id uuid);
SET LOCAL ROLE byoc_test_admin;
SELECT byoc_test.refused($$SELECT byoc.create_webhook_trigger('theirs', 'a')$$, '42501', 'permission denied', 'TRIGGER on the table is needed');
SELECT byoc_test.refused($$SELECT byoc.drop_webhook_trigger('orders', 'paid')$$, '42501', 'must be owner', 'only the owner drops one');
RESET ROLE;
SELECT byoc_test.refused($$SELECT byoc.drop_webhook_trigger('orders', 'none')$$, '42704', 'no webhook trigger "none"', 'what is not there cannot be dropped');
SELECT byoc.drop_webhook_trigger('orders', 'byoc_webhook_1');
SELECT byoc.drop_webhook_trigger('orders', 'paid');
INSERT INTO orders VALUES (10, byoc_test.org_a(), 10);
SELECT is(byoc_test.events(), NULL, 'dropped triggers make no events');
SELECT is((SELECT count(*) FROM byoc.webhook_triggers t WHERE t.target = 'orders'::regclass), 1::bigint, 'nor are they listed');

-- A name that another kind of trigger had
CREATE TABLE renewed (id int PRIMARY KEY, org_id uuid, starts_at timestamptz DEFAULT '2026-07-01 10:00+02');
SELECT byoc.create_calendar_trigger('renewed', 'Visit', 'starts_at', name => 'notify');
DROP TRIGGER notify ON renewed;
SELECT byoc.create_webhook_trigger('renewed', 'visit.created', ARRAY['id'], name => 'notify');
INSERT INTO renewed VALUES (1, byoc_test.org_a());
SELECT is(byoc_test.events(), 'visit.created queued {"id": 1}', 'a trigger does what it was made for, not what one of its name did before');
DROP TRIGGER notify ON renewed;
SELECT byoc.create_calendar_trigger('renewed', 'Visit', 'starts_at', name => 'notify');
INSERT INTO renewed VALUES (2, byoc_test.org_a());
SELECT is((SELECT string_agg(c.credential_type, ' ') FROM byoc.calls c), 'google_calendar', 'the other way round, too');
DROP TRIGGER notify ON renewed;
SELECT byoc.create_sms_trigger('renewed', '+14155550100', 'Hello', name => 'notify');
SELECT is((SELECT count(*) FROM byoc.calendar_trigger_definitions d WHERE d.target = 'renewed'::regclass), 0::bigint, 'whatever the kinds');

-- Refused rows
TRUNCATE renewed;
DELETE FROM byoc.calls;
DROP TRIGGER notify ON renewed;
SELECT byoc.create_webhook_trigger('renewed', 'visit.created', condition => '1 / (NEW.id - 7) IS NOT NULL');
INSERT INTO renewed VALUES (7, byoc_test.org_a());
SELECT byoc_test.refused((SELECT format('SELECT byoc.retry_webhook(%L)', c.id) FROM byoc.calls c), '55000', 'can never be sent: division by zero', 'a row that made no event cannot be sent again');
SELECT is(byoc_test.events(), 'visit.created failed null division by zero', 'it stays what it is');

SELECT * FROM finish();
ROLLBACK;
